"""What concerns a whole program: its configuration, the clock of a sandbox, the closing of a day."""

from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loyalty.posting import files
from loyalty.posting.commands import AdvanceClock, CloseDay, MoveClock, Publish
from loyalty.programs.types import PointsCurrency, SandboxClock
from loyalty.rules.types import Fixed, Multiplier, PerSpend, Rule
from tests.posting.shop import (
    BASE,
    NOW,
    Shop,
    adjust,
    cancel,
    program,
    purchase,
    shop,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "programs"
DOUBLE = Rule("double", "double points", "points", Multiplier(20_000))
HUNDRED = Rule("basket", "for the basket", "points", Fixed(100))


# --- configuration ------------------------------------------------------------------------------------------


def test_the_first_configuration_counts_for_everything_before_it_too() -> None:
    corner = Shop()
    reply = corner.send(Publish(program(), effective_at=NOW + timedelta(days=9)))
    assert (reply.status, reply["number"], reply["effective_at"]) == (201, 1, "2026-11-20T15:30:00Z")
    assert corner.events[-1][0] == "loyalty.configuration.published"
    assert corner.send(purchase(of=None, at=NOW - timedelta(days=20))).status == 201


def test_a_configuration_is_in_force_from_its_own_recorded_instant() -> None:
    corner = shop()
    corner.now = NOW + timedelta(hours=1)
    reply = corner.send(Publish(program(BASE, DOUBLE)))
    assert (reply["number"], reply["effective_at"]) == (2, "2026-11-20T16:30:00Z")
    assert corner.send(purchase("R-1", at=corner.now - timedelta(seconds=1))).earned == 10
    assert corner.send(purchase("R-2", at=corner.now)).earned == 20


def test_a_configuration_can_be_published_ahead_of_its_day() -> None:
    """Neither its rules nor its policies hold before."""
    corner = shop()
    tomorrow = NOW + timedelta(days=1)
    corner.done(Publish(program(BASE, DOUBLE, negative="prevent"), effective_at=tomorrow))
    corner.done(purchase("R-1"), adjust(-10))
    assert corner.send(cancel("R-1")).balance == {"debt": 10}
    corner.now = tomorrow
    assert corner.send(purchase("R-2", at=tomorrow)).earned == 20
    corner.done(adjust(-10))
    assert corner.send(cancel("R-2")).refused == (409, "insufficient_points")


def test_a_first_purchase_with_a_new_card_enrols_at_the_cafe() -> None:
    _, configuration = files.load((EXAMPLES / "cafe.toml").read_text("utf-8"))
    assert Shop(configuration).send(purchase()).balance == {"available": 20}


def test_the_rules_bear_the_number_of_their_configuration_whatever_a_body_says() -> None:
    corner = shop()
    good = program(HUNDRED)
    reply = corner.send(Publish(replace(good, ruleset=replace(good.ruleset, version=77))))
    assert (reply["number"], reply["ruleset_version"]) == (2, 2)
    assert corner.send(purchase())["ruleset_version"] == 2


def test_a_plan_holds_back_nothing_and_comes_in_force_at_its_instant() -> None:
    corner = shop()
    later = NOW + timedelta(days=2)
    corner.done(Publish(program(BASE, DOUBLE), effective_at=later), Publish(program(HUNDRED)))
    assert corner.send(purchase("R-1", at=NOW)).earned == 100
    corner.now = later
    assert corner.send(purchase("R-2", at=later - timedelta(seconds=1))).earned == 100
    assert corner.send(purchase("R-3", at=later)).earned == 20


def test_a_plan_is_replaced_by_publishing_for_its_very_instant() -> None:
    corner = shop()
    later = NOW + timedelta(days=2)
    for planned in (program(BASE, DOUBLE), program(HUNDRED), program(BASE)):
        corner.done(Publish(planned, effective_at=later))
    assert [one.number for one in corner.book.history.scheduled(NOW)] == [4]
    corner.now = later
    assert corner.send(purchase(at=later)).earned == 10


def test_a_configuration_never_comes_in_force_before_it_was_published() -> None:
    """A clock that is some seconds behind means now."""
    corner = shop()
    reply = corner.send(Publish(program(), effective_at=NOW - timedelta(minutes=1)))
    assert reply.refused == (422, "effective_in_past")
    assert [fault["pointer"] for fault in reply["errors"]] == ["/effective_at"]
    reply = corner.send(Publish(program(), effective_at=NOW - timedelta(seconds=5)))
    assert (reply["number"], reply["effective_at"]) == (2, "2026-11-20T15:30:00Z")


@given(plans=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8), ago=st.integers(0, 9))
def test_a_purchase_is_judged_by_what_was_in_force_as_known_when_it_is_recorded(
    plans: list[tuple[int, int]], ago: int
) -> None:
    """Configuration n gives n points; plans are so many days ahead, published so many days apart."""
    corner = shop()
    known = [(NOW, 1)]
    for pause, ahead in plans:
        corner.now += timedelta(days=pause)
        number = len(known) + 1
        gives = Rule("basket", "for the basket", "points", Fixed(number))
        at = corner.now + timedelta(days=ahead)
        corner.done(Publish(program(gives), effective_at=at))
        known.append((at, number))
    at = corner.now - timedelta(days=ago)
    _, number = max([one for one in known if one[0] <= at], default=known[0])
    assert corner.send(purchase(at=at)).earned == (10 if number == 1 else number)


def test_whoever_publishes_over_a_configuration_he_has_not_seen_is_told() -> None:
    corner = shop()
    assert corner.send(Publish(program(), after=1)).status == 201
    reply = corner.send(Publish(program(), after=1))
    assert (reply.status, reply["number"]) == (412, 2)


def test_money_zone_and_points_currencies_in_use_stay() -> None:
    stamps = PointsCurrency("stamps", "stamps")
    corner = shop(currencies=(stamps,))
    good = program(currencies=(stamps,))
    for change in ({"money": "USD"}, {"zone": "Europe/Vienna"}, {"points_currencies": (stamps,)}):
        settings = msgspec.structs.replace(good.settings, **change)
        rules = msgspec.structs.replace(good.ruleset, rules=())
        changed = msgspec.structs.replace(good, settings=settings, ruleset=rules)
        assert corner.send(Publish(changed)).refused == (409, "configuration_fixed"), change
    more = program(currencies=(stamps, PointsCurrency("miles", "miles")))
    assert corner.send(Publish(more)).status == 201


def test_all_contradictions_of_a_configuration_are_told_at_once() -> None:
    lost = Rule("lost", "nowhere", "miles", PerSpend(points=1, each_minor=100))
    reply = Shop().send(Publish(program(BASE, BASE, lost)))
    assert reply.refused == (422, "configuration_invalid")
    pointers = {fault["pointer"] for fault in reply["errors"]}
    assert pointers == {"/ruleset/rules/1/id", "/ruleset/rules/2/points_currency"}


@pytest.mark.parametrize("zone", ["Mars/Base", "localtime", "Factory", "posixrules", "europe/vienna"])
def test_a_zone_that_is_none_is_told_before_anything_needs_it(zone: str) -> None:
    good = program()
    settings = msgspec.structs.replace(good.settings, zone=zone)
    reply = Shop().send(Publish(msgspec.structs.replace(good, settings=settings)))
    (fault,) = reply["errors"]
    assert (fault["pointer"], fault["code"]) == ("/settings/zone", "unknown_time_zone")


# --- clock and days -----------------------------------------------------------------------------------------


def test_a_sandbox_clock_moves_forward_only() -> None:
    corner = Shop(program(), clock=NOW)
    reply = corner.send(AdvanceClock(NOW + timedelta(days=1)))
    assert (reply.status, reply["now"]) == (200, "2026-11-21T15:30:00Z")
    assert corner.book.clock == SandboxClock(NOW + timedelta(days=1))
    assert corner.send(AdvanceClock(NOW)).refused == (409, "clock_backwards")


def test_while_a_clock_is_moved_nobody_else_writes() -> None:
    """And an answer that was given before is given again."""
    corner = Shop(program(), clock=NOW)
    there = NOW + timedelta(days=2)
    first = corner.send(purchase("R-1", of=None), key="first")
    reply = corner.send(MoveClock(there))
    assert (reply.status, reply["now"], reply["to"]) == (202, "2026-11-20T15:30:00Z", "2026-11-22T15:30:00Z")
    for command in (purchase("R-2", of=None), MoveClock(there), Publish(program())):
        assert corner.send(command).refused == (409, "clock_moving")
    assert corner.send(purchase("R-1", of=None), key="first").raw == first.raw
    assert corner.send(AdvanceClock(NOW + timedelta(days=1))).status == 200
    refused = corner.send(purchase("R-3", of=None), key="again")
    assert (refused.refused, refused["retryable"]) == ((409, "clock_moving"), True)
    assert corner.send(AdvanceClock(there)).status == 200
    assert corner.send(purchase("R-3", of=None), key="again").status == 201


@pytest.mark.parametrize("command", [AdvanceClock, MoveClock])
def test_the_clock_of_a_live_program_cannot_be_moved(command: type) -> None:
    assert shop().send(command(NOW + timedelta(days=1))).refused == (409, "clock_is_real")


@pytest.mark.parametrize(
    ("on", "told"),
    [
        (date(2026, 11, 19), 200),
        (date(2026, 11, 20), (409, "day_not_over")),
        (date(2026, 11, 18), (409, "day_closed")),
        (date(2026, 11, 17), (409, "day_closed")),
    ],
    ids=["yesterday", "today", "closed before", "before one that is closed"],
)
def test_a_day_is_closed_once_after_its_end_and_in_order(on: date, told: object) -> None:
    corner = shop()
    for lane in corner.book.lanes.values():
        lane.last_closed_on = date(2026, 11, 18)
    reply = corner.send(CloseDay(on))
    assert (reply.status if reply.status == 200 else reply.refused) == told
    assert corner.book.closes_on == (on if reply.status == 200 else None)


def test_a_day_ends_at_midnight_of_the_program() -> None:
    corner = shop()
    corner.now = NOW.replace(hour=22, minute=59)  # a minute to midnight in Berlin
    reply = corner.send(CloseDay(date(2026, 11, 20)))
    assert (reply.refused[1], reply["ends_at"]) == ("day_not_over", "2026-11-20T23:00:00Z")
    corner.now = NOW.replace(hour=23, minute=0)
    assert corner.send(CloseDay(date(2026, 11, 20)))["closed_on"] == "2026-11-20"
