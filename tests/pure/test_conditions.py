"""What each condition means, one purchase at a time."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.conditions.basket import Basket, LineIndex
from loyalty.conditions.compile import Why, compile_condition, in_hour
from loyalty.conditions.types import (
    AllOf,
    AnyOf,
    AtLocation,
    Condition,
    Facts,
    HasLine,
    InChannel,
    LineFacts,
    Lines,
    MinimumSpend,
    Not,
    Window,
)

BERLIN = ZoneInfo("Europe/Berlin")
COFFEE = LineFacts("COF", ("grocery", "coffee"), ("organic",), 1_000, 700)
BREAD = LineFacts("BRD", ("grocery", "bakery"), (), 1_000, 300)
FUEL = LineFacts("DSL", ("fuel",), (), 30_000, 5_000)


def looked_at(
    condition: Condition,
    *lines: LineFacts,
    at: str = "2026-05-04T12:00",
    excluded: Lines | None = None,
    basis: tuple[int, ...] | None = None,
    channel: str | None = None,
    location: str | None = None,
) -> Why | None:
    """Why the condition does not hold for a purchase in Berlin, or None when it does."""
    index = LineIndex()
    check = compile_condition(condition, index, "points")
    out = None if excluded is None else index.selector(excluded)
    local = datetime.fromisoformat(at)
    instant = local.astimezone(UTC) if local.tzinfo else local.replace(tzinfo=BERLIN).astimezone(UTC)
    earns = {"points": basis or tuple(line.amount_minor for line in lines)}
    basket = Basket(Facts(instant, lines, earns, channel, location), index, BERLIN, out)
    return None if check.holds(basket) else check.why(basket)


@pytest.mark.parametrize(
    ("lines", "meant"),
    [
        (Lines(), {"COF", "BRD", "DSL"}),
        (Lines(skus=("COF",)), {"COF"}),
        (Lines(categories=("grocery",)), {"COF", "BRD"}),
        (Lines(tags=("organic",)), {"COF"}),
        (Lines(skus=("DSL",), categories=("bakery",)), {"DSL", "BRD"}),
        (Lines(not_categories=("fuel",)), {"COF", "BRD"}),
        (Lines(categories=("grocery",), not_tags=("organic",)), {"BRD"}),
        (Lines(categories=("grocery",), not_skus=("COF", "BRD")), set()),
        (Lines(categories=("Grocery",)), set()),
        (Lines(skus=("grocery",)), set()),  # a category is no sku
    ],
)
def test_lines_are_meant_when_named_and_not_barred(lines: Lines, meant: set[str]) -> None:
    index = LineIndex()
    selector = index.selector(lines)
    basket = Basket(Facts(datetime(2026, 5, 4, tzinfo=UTC), (COFFEE, BREAD, FUEL), {}), index, BERLIN, None)
    found = basket.lines(selector)
    assert {line.sku for i, line in enumerate(basket.facts.lines) if found >> i & 1} == meant


def test_spend_is_what_may_earn_on_lines_that_are_not_excluded() -> None:
    no_fuel = Lines(categories=("fuel",))
    assert looked_at(MinimumSpend(1_000), COFFEE, BREAD) is None
    assert looked_at(MinimumSpend(1_000), COFFEE, BREAD, basis=(600, 300)) == Why(
        "minimum_spend", {"amount_minor": 1_000, "basis_minor": 900}
    )
    assert looked_at(MinimumSpend(1_001), COFFEE, BREAD) is not None
    assert looked_at(MinimumSpend(1_001), COFFEE, BREAD, FUEL) is None
    assert looked_at(MinimumSpend(1_001), COFFEE, BREAD, FUEL, excluded=no_fuel) is not None
    assert looked_at(MinimumSpend(301, Lines(categories=("bakery",))), COFFEE, BREAD) is not None


def test_a_line_counts_as_being_there_though_it_earns_nothing() -> None:
    wanted = HasLine(Lines(categories=("fuel",)))
    assert looked_at(wanted, COFFEE, FUEL, excluded=Lines(categories=("fuel",))) is None
    nothing_paid = msgspec.structs.replace(FUEL, quantity_milli=0, amount_minor=0)
    assert looked_at(wanted, COFFEE, nothing_paid) is None
    assert looked_at(wanted, COFFEE) == Why("has_line", {})


def test_a_channel_or_location_must_be_named_by_the_purchase() -> None:
    assert looked_at(InChannel(("web", "app")), COFFEE, channel="app") is None
    assert looked_at(InChannel(("web",)), COFFEE, channel="pos") == Why("channel", {"channel": "pos"})
    assert looked_at(InChannel(("web",)), COFFEE) == Why("channel", {"channel": None})
    assert looked_at(AtLocation(("north",)), COFFEE, location="north") is None
    assert looked_at(AtLocation(("north",)), COFFEE) == Why("location", {"location": None})


def test_the_first_condition_that_does_not_hold_is_the_reason() -> None:
    web, rich, north = InChannel(("web",)), MinimumSpend(10_000), AtLocation(("north",))
    all_of = AllOf((web, rich, north))
    assert looked_at(all_of, COFFEE, channel="web") == Why(
        "minimum_spend", {"amount_minor": 10_000, "basis_minor": 700}
    )
    assert looked_at(AnyOf((web, rich)), COFFEE) == Why(
        "any",
        {
            "of": [
                {"reason": "channel", "channel": None},
                {"reason": "minimum_spend", "amount_minor": 10_000, "basis_minor": 700},
            ]
        },
    )
    assert looked_at(AnyOf((web, rich)), COFFEE, channel="web") is None
    assert looked_at(Not(web), COFFEE, channel="web") == Why("not", {"of": "channel"})
    assert looked_at(Not(all_of), COFFEE) is None


@pytest.mark.parametrize(
    ("window", "at", "failing"),
    [
        (Window(from_on=date(2026, 5, 4)), "2026-05-03T23:59", "from_on"),
        (Window(from_on=date(2026, 5, 4)), "2026-05-04T00:00", None),
        (Window(to_on=date(2026, 5, 4)), "2026-05-04T23:59", None),
        (Window(to_on=date(2026, 5, 4)), "2026-05-05T00:00", "to_on"),
        (Window(weekdays=(1, 7)), "2026-05-03T12:00", None),
        (Window(weekdays=(1, 7)), "2026-05-05T12:00", "weekdays"),
        (Window(from_time=time(9)), "2026-05-04T08:59", "from_time"),
        (Window(from_time=time(9)), "2026-05-04T09:00", None),
        (Window(to_time=time(9)), "2026-05-04T08:59", None),
        (Window(to_time=time(9)), "2026-05-04T09:00", "to_time"),
        (Window(from_time=time(9), to_time=time(17)), "2026-05-04T18:00", "to_time"),
        # Over midnight: the hours after it belong to the evening before.
        (Window(weekdays=(5,), from_time=time(22), to_time=time(2)), "2026-05-08T23:00", None),
        (Window(weekdays=(5,), from_time=time(22), to_time=time(2)), "2026-05-09T01:59", None),
        (Window(weekdays=(5,), from_time=time(22), to_time=time(2)), "2026-05-09T02:00", "weekdays"),
        (Window(weekdays=(5,), from_time=time(22), to_time=time(2)), "2026-05-08T01:00", "weekdays"),
        (Window(weekdays=(5,), from_time=time(22), to_time=time(2)), "2026-05-08T12:00", "from_time"),
        (Window(to_on=date(2026, 5, 8), from_time=time(22), to_time=time(2)), "2026-05-09T01:00", None),
        (
            Window(from_on=date(2026, 5, 8), from_time=time(22), to_time=time(2)),
            "2026-05-08T01:00",
            "from_on",
        ),
        (Window(from_time=time(22), to_time=time(0)), "2026-05-08T23:59", None),
        (Window(from_time=time(22), to_time=time(0)), "2026-05-09T00:00", "from_time"),
        # The hour from two to three comes twice on 25 October, and not at all on 29 March.
        (Window(from_time=time(2), to_time=time(3)), "2026-10-25T02:30+02:00", None),
        (Window(from_time=time(2), to_time=time(3)), "2026-10-25T02:30+01:00", None),
        (Window(from_time=time(2), to_time=time(3)), "2026-03-29T03:00+02:00", "to_time"),
    ],
)
def test_a_window_is_read_off_the_shops_own_clock(window: Window, at: str, failing: str | None) -> None:
    why = looked_at(window, COFFEE, at=at)
    assert failing is None if why is None else why.reason == "window" and why.figures["part"] == failing


def test_the_reason_of_a_window_tells_the_local_time() -> None:
    why = looked_at(Window(weekdays=(2,)), COFFEE, at="2026-05-04T22:30+00:00")
    assert why is None  # Tuesday, half past midnight in Berlin
    why = looked_at(Window(weekdays=(1,)), COFFEE, at="2026-05-04T22:30+00:00")
    assert why is not None
    assert why.figures == {"part": "weekdays", "local": "2026-05-05T00:30"}


clock_times = st.none() | st.times(time(0), time(23, 59, 59)).map(lambda t: t.replace(microsecond=0))


@given(clock_times, clock_times, st.integers(0, 86_399))
def test_an_hour_that_is_left_out_never_holds(begin: time | None, end: time | None, second: int) -> None:
    window = Window(from_time=begin, to_time=end)
    at = (datetime(2026, 5, 4) + timedelta(seconds=second)).isoformat()  # noqa: DTZ001
    if looked_at(window, COFFEE, at=at) is None:
        assert in_hour(window, second // 3_600)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "window", "weekdays": [8]},
        {"kind": "window", "from_time": "10:00:00Z"},
        {"kind": "minimum_spend", "amount_minor": 0},
        {"kind": "minimum_spend", "amount_minor": 9.5},
        {"kind": "channel", "any_of": [""]},
        {"kind": "channel", "any_of": ["web"], "or": "app"},
        {"kind": "weather", "any_of": ["sun"]},
        {"any_of": ["web"]},
    ],
)
def test_a_condition_out_of_form_is_refused(wrong: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Condition, strict=True)


def test_conditions_are_stored_in_the_words_of_their_kind() -> None:
    condition = AllOf((Window(weekdays=(1,), from_time=time(9)), Not(InChannel(("web",)))))
    stored = msgspec.json.encode(condition)
    assert msgspec.json.decode(stored, type=Condition) == condition
    assert b'"kind":"all"' in stored
    assert b'"kind":"not"' in stored
