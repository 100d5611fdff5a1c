"""What stands against taking points: a frozen account, and limits against theft."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from loyalty.base.calendar import CapPeriod
from loyalty.members.types import Profile
from loyalty.posting.commands import AddIdentifier, ChangeMember, Command, UseHold
from loyalty.programs.types import PayPolicy, Rolling, SpendingLimits, Transfers
from loyalty.rewards.types import MemberLimit
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    SUE,
    Shop,
    adjust,
    cancel,
    cancel_redemption,
    capture,
    card,
    carded,
    freeze,
    give,
    give_back,
    hold,
    imported,
    pay,
    purchase,
    redeem,
    release,
    reward,
    shop,
    stocked,
    unfreeze,
)

PAY = PayPolicy(points=10, each_minor=100, returnable=True)
MUG = reward(40, stocked=True, returnable=True, member_limit=MemberLimit(3, CapPeriod.MONTH))


def test_nothing_is_taken_from_a_frozen_account_until_it_is_unfrozen() -> None:
    corner = shop()
    corner.done(adjust(30), freeze())
    reply = corner.send(adjust(-5))
    assert (reply.refused, reply["since"]) == ((409, "account_frozen"), "2026-11-20T15:30:00Z")
    corner.done(unfreeze())
    assert corner.send(adjust(-5)).balance == {"available": 25}


def test_earning_expiring_and_undoing_go_on() -> None:
    corner = shop(expiry=Rolling(days=10))
    corner.done(freeze())
    assert corner.done(purchase("R-1"), purchase("R-2")).balance == {"available": 20}
    assert corner.send(cancel("R-2")).balance == {"available": 10}
    corner.now = NOW + timedelta(days=10)
    assert corner.send(purchase("R-3", 100, at=corner.now)).balance == {"available": 1}


def test_freezing_twice_is_freezing_once() -> None:
    corner = shop()
    first = corner.send(freeze())
    corner.now = NOW + timedelta(hours=1)
    again = corner.send(freeze())
    assert (first.status, again.status, again["since"]) == (200, 200, first["since"])
    corner.done(unfreeze(), unfreeze())
    told = [event for event, _ in corner.events]
    assert (told.count("loyalty.account.frozen"), told.count("loyalty.account.unfrozen")) == (1, 1)


def test_nothing_is_set_aside_from_a_frozen_account_and_what_was_may_still_be_taken_or_given_back() -> None:
    corner = shop()
    corner.done(adjust(30))
    first, second = corner.done(hold(10))["id"], corner.done(hold(5))["id"]
    corner.done(freeze())
    assert corner.send(hold(1)).refused == (409, "account_frozen")
    corner.done(capture(first), release(second))
    assert corner.balance() == {"available": 20}


@pytest.mark.parametrize("command", [redeem(), pay(10)], ids=["a reward", "a payment"])
def test_nothing_is_redeemed_from_a_frozen_account(command: Command) -> None:
    corner = shop(rewards=(reward(40),), pay=PAY)
    corner.done(adjust(100), freeze())
    assert corner.send(command).refused == (409, "account_frozen")
    corner.done(unfreeze(), command)


def test_that_an_account_is_frozen_is_told_after_what_else_keeps_a_reward_away_and_before_its_points() -> (
    None
):
    corner = shop(rewards=(MUG,))
    corner.done(freeze())
    reply = corner.send(redeem())
    assert reply.refused == (409, "reward_unavailable")
    assert [one["reason"] for one in reply["reasons"]] == [
        "sold_out",
        "account_frozen",
        "insufficient_points",
    ]
    corner.done(stocked(1))
    assert corner.send(redeem()).refused == (409, "account_frozen")
    corner.done(unfreeze())
    assert corner.send(redeem()).refused == (409, "insufficient_points")


def test_what_was_spent_comes_back_to_a_frozen_account() -> None:
    corner = shop(rewards=(reward(40),), pay=PAY)
    corner.done(imported(100))
    held = corner.done(hold(30))
    taken = corner.done(redeem())
    corner.done(purchase("R-1", 0, holds=(UseHold(UUID(held["id"])),)), freeze())
    assert corner.done(cancel_redemption(taken)).balance == {"available": 70}
    assert corner.done(give_back("B-1")).balance == {"available": 100}
    assert corner.send(pay(10)).refused == (409, "account_frozen")


# --- limits ---------------------------------------------------------------------------------------------------


def watched(**limits: Any) -> Shop:
    """Ann has 1,000 points, and spending is limited."""
    policies = {
        "spending_limits": SpendingLimits(**limits),
        "transfers": Transfers(enabled=True, fee_points=1),
    }
    corner = shop(members=(ANN, BOB), policies=policies, rewards=(MUG,), pay=PAY)
    corner.done(imported(1000))
    return corner


def test_a_member_spends_so_much_in_a_day_and_in_a_week() -> None:
    corner = watched(member_day_max=100, member_week_max=150)
    corner.done(adjust(-60))
    reply = corner.send(adjust(-41))
    assert (reply.refused, reply["limit"], reply["used"]) == ((409, "spending_limit"), "member_day", 60)
    assert reply["until"] == "2026-11-20T23:00:00Z"
    corner.done(adjust(-40))
    corner.now = NOW + timedelta(days=1)
    assert corner.send(adjust(-51))["limit"] == "member_week"
    corner.done(adjust(-50))
    corner.now = NOW + timedelta(days=3)  # Monday
    corner.done(adjust(-100))


def test_what_is_given_away_counts_with_its_fee() -> None:
    corner = watched(member_day_max=100)
    corner.done(give(60))
    assert corner.send(give(39)).refused == (409, "spending_limit")
    corner.done(give(38))


def test_a_till_takes_so_much_in_a_day_whoever_stands_there() -> None:
    corner = watched(till_day_max=100)
    corner.done(imported(1000, "2", of=BOB))
    corner.done(adjust(-60), adjust(-40, of=BOB))
    assert corner.send(adjust(-1))["limit"] == "till_day"
    assert corner.send(adjust(-100), by=SUE, kind="staff", role="support").status == 201


def test_after_a_change_of_who_the_member_is_less_may_be_spent_for_some_hours() -> None:
    corner = watched(changed_hours=10, changed_day_max=20, member_day_max=100)
    corner.done(adjust(-15), AddIdentifier(card(ANN), carded("7777")))
    reply = corner.send(adjust(-6))
    assert (reply["limit"], reply["used"], reply["maximum"]) == ("after_change", 15, 20)
    corner.done(adjust(-5))
    corner.now = NOW + timedelta(hours=10)
    corner.done(adjust(-6), ChangeMember(card(ANN), profile=Profile(name="Ann B.")))
    assert corner.send(adjust(-20))["limit"] == "after_change"


def test_what_was_spent_before_a_change_counts_where_nothing_else_is_limited() -> None:
    corner = watched(changed_hours=10, changed_day_max=20)
    corner.done(adjust(-15), AddIdentifier(card(ANN), carded("7777")))
    reply = corner.send(adjust(-6))
    assert (reply["limit"], reply["used"], reply["maximum"]) == ("after_change", 15, 20)


def test_points_set_aside_count_when_they_are_and_a_till_is_its_name_where_it_says_it() -> None:
    corner = watched(till_day_max=100, member_day_max=500)
    placed = corner.done(hold(90, till="7"))["id"]
    assert corner.send(hold(20, till="7"))["limit"] == "till_day"
    corner.done(hold(90, till="8"), release(placed))
    assert corner.send(hold(20, till="7"))["limit"] == "till_day"
    assert corner.send(hold(101, till="9"))["limit"] == "till_day"
    corner.done(adjust(-100))
    corner.done(hold(99, till="9"))
    assert corner.send(adjust(-130), by=SUE, kind="staff", role="support")["limit"] == "member_day"


def test_a_limit_counts_what_is_redeemed_and_paid_with_points_beside_all_else() -> None:
    corner = watched(member_day_max=100)
    corner.done(stocked(9), redeem(), pay(20), hold(10), adjust(-10))
    for command in (redeem(), pay(30), hold(21), adjust(-21), give(20)):
        reply = corner.send(command)
        assert (reply.refused, reply["used"]) == ((409, "spending_limit"), 80)
    corner.done(pay(20))


def test_what_a_limit_refused_took_nothing_and_counted_nothing() -> None:
    corner = watched(member_day_max=70)
    corner.done(stocked(2), redeem())
    before = len(corner.decisions)
    reply = corner.send(redeem())
    (decision,) = corner.decisions[before:]
    assert (decision.kind, decision.entries, reply["limit"]) == ("attempt", (), "member_day")
    event, data = corner.events[-1]
    assert (event, data["wanted"]) == ("loyalty.spending.limited", 40)
    assert ([line.action for _, line in corner.book.audit], corner.book.stocks) == (
        ["configuration.publish", "spending.limit"],
        {"mug": 1},
    )
    assert corner.balance() == {"available": 960}
    corner.now = NOW + timedelta(days=1)
    corner.done(redeem())  # the second of three in this month
    corner.done(stocked(5))
    corner.now = NOW + timedelta(days=2)
    corner.done(redeem())
    assert [one["reason"] for one in corner.send(redeem())["reasons"]] == ["limit_reached"]


def test_what_is_given_back_frees_a_rewards_limit_and_no_limit_against_theft() -> None:
    corner = watched(member_day_max=50)
    corner.done(stocked(1), cancel_redemption(corner.done(stocked(1), redeem())))
    assert corner.send(redeem())["limit"] == "member_day"
    assert {(key.rule_id, points) for (_, key), points in corner.book.counters.items()} == {
        ("member:spend:points", 40),
        ("reward:mug", 0),
    }


def test_a_till_that_redeems_is_counted_by_its_name() -> None:
    corner = watched(till_day_max=50)
    corner.done(stocked(9), redeem(till="7"))
    assert corner.send(pay(20, till="7"))["limit"] == "till_day"
    corner.done(pay(20, till="8"))
    assert corner.send(redeem(till="7"), by=SUE, kind="staff", role="support").status == 201


def test_the_limit_bites_after_all_else_is_in_order() -> None:
    corner = watched(member_day_max=10)
    assert corner.send(adjust(-2000)).refused == (409, "insufficient_points")
    corner.done(freeze())
    assert corner.send(adjust(-11)).refused == (409, "account_frozen")


def test_an_attempt_that_was_refused_is_recorded() -> None:
    corner = watched(member_day_max=10)
    before = len(corner.decisions)
    first = corner.send(adjust(-11), "k")
    again = corner.send(adjust(-11), "k")
    assert (again.raw, again.replayed) == (first.raw, True)
    (decision,) = corner.decisions[before:]
    assert (decision.kind, decision.entries, decision.answer_status) == ("attempt", (), 409)
    event, data = corner.events[-1]
    assert (event, data["limit"], data["wanted"]) == ("loyalty.spending.limited", "member_day", 11)
    _, (_, line) = corner.book.audit
    assert (line.action, line.outcome) == ("spending.limit", "refused")
    assert msgspec.json.decode(line.detail)["used"] == 0
    assert corner.balance() == {"available": 1000}
