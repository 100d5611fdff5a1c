"""What keeps a member from a reward, what it costs, and what keeps a catalogue from being published."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.base.calendar import CapPeriod
from loyalty.conditions.types import (
    AllOf,
    AnyOf,
    AtLocation,
    Condition,
    Facts,
    HasIdentifier,
    HasLine,
    InChannel,
    Lines,
    MemberFacts,
    MinimumSpend,
    Not,
    Tenure,
    Window,
)
from loyalty.posting.configuration import Configuration
from loyalty.posting.files import dump, load
from loyalty.posting.validate import faults as all_faults
from loyalty.programs.types import PayPolicy, PointsCurrency, ProgramKind, ProgramSettings
from loyalty.rewards.availability import Circumstances, Offer, reasons
from loyalty.rewards.price import price, worth
from loyalty.rewards.types import (
    MemberLimit,
    PointsAboveMaximum,
    PointsBelowMinimum,
    PointsNotInStep,
    QuantityTooLarge,
    Reward,
    RewardKind,
)
from loyalty.rewards.validate import faults

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 5, 4, 10, tzinfo=UTC)
CURRENCIES = {
    "points": PointsCurrency("points", "points"),
    "status": PointsCurrency("status", "status", spendable=False),
}


def reward(points: int = 100, **more: Any) -> Reward:
    fields: dict[str, Any] = {"name": "Mug", "kind": RewardKind.PRODUCT, "points_currency": "points"} | more
    return Reward(id=fields.pop("id", "mug"), points=points, **fields)


def here(points: int = 100, *, at: datetime = NOON, **more: Any) -> Circumstances:
    fields: dict[str, Any] = {"zone": BERLIN, "blocked": False, "frozen": False, "used": 0, "stock": 1} | more
    fields.setdefault("reserved", 0)
    member = MemberFacts(NOON - timedelta(days=10), frozenset({"card"}))
    return Circumstances(facts=Facts(at, (), {}, member=member), points=points, **fields)


def words(one: Reward, circumstances: Circumstances, quantity: int = 1) -> list[str]:
    return [reason.reason for reason in reasons(Offer(one), circumstances, quantity)]


conditions: st.SearchStrategy[Condition] = st.recursive(
    st.sampled_from(
        (Tenure(5), Tenure(50), HasIdentifier(("card",)), HasIdentifier(("email",)), InChannel(("app",)))
    ),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda of: AllOf(tuple(of)))
        | st.lists(inner, min_size=1, max_size=3).map(lambda of: AnyOf(tuple(of)))
        | inner.map(Not)
    ),
    max_leaves=6,
)
rewards = st.builds(
    reward,
    st.integers(1, 300),
    from_on=st.none() | st.dates(date(2026, 5, 1), date(2026, 5, 8)),
    to_on=st.none() | st.dates(date(2026, 5, 1), date(2026, 5, 8)),
    stocked=st.booleans(),
    member_limit=st.none() | st.builds(MemberLimit, st.integers(1, 5), st.sampled_from(CapPeriod)),
    when=st.none() | conditions,
    money_minor=st.integers(0, 900),
    visible=st.booleans(),
    quantity_max=st.integers(5, 9),
    returnable=st.booleans(),
)
situations = st.builds(
    here,
    st.integers(0, 600),
    blocked=st.booleans(),
    frozen=st.booleans(),
    used=st.integers(0, 5),
    stock=st.integers(0, 5),
)


@given(rewards, situations, st.integers(1, 5))
def test_more_is_never_easier_to_have(one: Reward, circumstances: Circumstances, quantity: int) -> None:
    assert set(words(one, circumstances)) <= set(words(one, circumstances, quantity))


@given(rewards, situations)
def test_each_reason_goes_away_when_its_cause_does(one: Reward, circumstances: Circumstances) -> None:
    """With what is missing, and at another date, only conditions are left."""
    eased = msgspec.structs.replace(circumstances, points=10**6, blocked=False, frozen=False, used=0, stock=5)
    when = {"tenure", "identifier", "channel", "any", "not"}
    before = set(words(one, circumstances))
    assert set(words(one, eased)) == before & (when | {"not_before", "over"})
    open_ended = msgspec.structs.replace(one, from_on=None, to_on=None, when=None)
    assert words(open_ended, eased) == []


@given(rewards, situations)
def test_what_is_missing_is_what_is_missing(one: Reward, circumstances: Circumstances) -> None:
    found = {reason.reason: reason.detail for reason in reasons(Offer(one), circumstances)}
    missing = found.get("insufficient_points", {"missing": 0})["missing"]
    assert missing == max(0, one.points - circumstances.points)
    richer = msgspec.structs.replace(circumstances, points=circumstances.points + missing)
    assert "insufficient_points" not in words(one, richer)


def test_a_limits_end_is_told_in_local_time() -> None:
    limited = reward(member_limit=MemberLimit(1, CapPeriod.WEEK))
    (reason,) = reasons(Offer(limited), here(used=1))
    assert reason.detail["until"] == datetime(2026, 5, 10, 22, tzinfo=UTC)


def test_a_price_is_for_each_piece() -> None:
    assert msgspec.structs.astuple(price(reward(money_minor=250), 3)) == (300, 750)
    with pytest.raises(QuantityTooLarge):
        price(reward(quantity_max=2), 3)


@given(
    st.builds(
        PayPolicy,
        points=st.integers(1, 300),
        each_minor=st.integers(1, 300),
        points_min=st.integers(1, 500),
        step=st.integers(1, 60),
        points_max=st.integers(1, 5_000),
    ),
    st.integers(1, 6_000),
)
def test_a_payment_is_worth_its_rate_rounded_down_or_says_which_bound_it_breaks(
    pay: PayPolicy, points: int
) -> None:
    try:
        money = worth(pay, points)
    except PointsBelowMinimum:
        assert points < pay.points_min
    except PointsNotInStep as refusal:
        lower = refusal.facts["lower"]
        assert lower < points < lower + pay.step
        assert lower % pay.step == 0
    except PointsAboveMaximum:
        assert points > pay.points_max
    else:
        assert pay.points_min <= points <= pay.points_max
        assert points % pay.step == 0
        assert money * pay.points <= points * pay.each_minor < (money + 1) * pay.points


@pytest.mark.parametrize(
    ("wrong", "pointer", "code"),
    [
        ({"name": "\u200b"}, "/0/name", "unprintable_name"),
        ({"points_currency": "stars"}, "/0/points_currency", "unknown_points_currency"),
        ({"points_currency": "status"}, "/0/points_currency", "not_spendable"),
        ({"from_on": date(2026, 1, 2), "to_on": date(2026, 1, 1)}, "/0/to_on", "contradictory_range"),
        ({"when": MinimumSpend(5)}, "/0/when", "misplaced_condition"),
        (
            {"when": AnyOf((Tenure(1), Not(HasLine(Lines(skus=("A",))))))},
            "/0/when/of/1/of",
            "misplaced_condition",
        ),
        ({"when": HasIdentifier(())}, "/0/when/any_of", "empty_list"),
        ({"when": AllOf(())}, "/0/when/of", "empty_list"),
        ({"when": Window()}, "/0/when", "empty_window"),
        ({"when": AllOf((AtLocation(("a",)), AtLocation(("b",))))}, "/0/when", "never_matches"),
        ({"when": Not(Not(Not(Not(Not(Tenure(1))))))}, "/0/when", "too_deep"),
    ],
)
def test_what_keeps_a_reward_from_being_published(wrong: dict[str, Any], pointer: str, code: str) -> None:
    assert [(fault.pointer, fault.code) for fault in faults([reward(**wrong)], CURRENCIES)] == [
        (pointer, code)
    ]


def test_a_reward_is_named_once() -> None:
    found = faults([reward(), reward(id="tea"), reward()], CURRENCIES)
    assert [(fault.pointer, fault.code) for fault in found] == [("/2/id", "duplicate_reward_id")]


@pytest.mark.parametrize(
    ("pay", "pointer", "code"),
    [
        (PayPolicy(1, 1, points_min=30, step=20, points_max=35), "/points_max", "contradictory_range"),
        (PayPolicy(1, 1, points_min=30, step=20, day_max=39), "/day_max", "contradictory_range"),
        (PayPolicy(100, 1), "", "worth_nothing"),
    ],
)
def test_a_payment_must_be_possible_and_worth_something(pay: PayPolicy, pointer: str, code: str) -> None:
    currencies = (PointsCurrency("points", "points", pay=pay),)
    configuration = Configuration(ProgramSettings("Shop", "Europe/Berlin", "EUR", currencies))
    place = f"/settings/points_currencies/0/pay{pointer}"
    assert (place, code) in [(fault.pointer, fault.code) for fault in all_faults(configuration)]


@given(st.lists(rewards, max_size=3), st.none() | st.builds(PayPolicy, st.integers(1, 9), st.integers(1, 9)))
def test_a_catalogue_is_written_to_a_file_and_read_again(found: list[Reward], pay: PayPolicy | None) -> None:
    currencies = (PointsCurrency("points", "points", pay=pay),)
    settings = ProgramSettings("Shop", "Europe/Berlin", "EUR", currencies)
    configuration = Configuration(settings, rewards=tuple(found))
    assert load(dump(ProgramKind.LIVE, configuration)) == (ProgramKind.LIVE, configuration)
