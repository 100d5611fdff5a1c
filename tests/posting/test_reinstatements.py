"""Expired points are given back by hand: within their time, on their own lots, by the rules of adjustments."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.members.types import MemberStatus
from loyalty.posting.commands import Approve, ChangeMember, Publish
from loyalty.programs.types import AdjustmentReason, Adjustments, Rolling
from tests.posting.shop import (
    ANN,
    BOB,
    MAX,
    NOW,
    SUE,
    Reply,
    Shop,
    adjust,
    ago,
    cancel,
    freeze,
    imported,
    program,
    purchase,
    reinstate,
    shop,
)

STAFF: dict[str, Any] = {"kind": "staff"}
DAY = timedelta(days=1)


def corner(*, policy: dict[str, Any] | None = None, members: tuple[str, ...] = (ANN,), **points: Any) -> Shop:
    """Points are good for 30 days; what expired may be given back for ten, and is then good for a week."""
    fields: dict[str, Any] = {"reinstate_days": 10, "reinstated_days": 7, "expiry": Rolling(days=30)} | points
    return shop(members=members, policies={"adjustments": Adjustments(**(policy or {}))}, **fields)


def approve(at: Shop, reply: Reply, by: UUID = MAX) -> Reply:
    return at.send(Approve(UUID(reply["id"])), by=by, **STAFF)


def test_expired_points_come_back_on_their_own_lot_for_some_days() -> None:
    made = corner()
    lot = made.done(imported(100, at=ago(days=31)))["earned"][0]
    assert made.balance() == {}
    reply = made.done(reinstate())
    assert (reply.status, reply["points"], reply.balance) == (201, 100, {"available": 100})
    assert (reply["last_day_on"], reply["expires_at"]) == ("2026-11-26", "2026-11-26T23:00:00Z")
    (entry,) = made.decisions[-1].entries
    assert (entry.kind.value, entry.cause) == ("reinstate", "goodwill")
    assert [str(posting.lot_id) for posting in entry.postings] == [lot["lot_id"]]
    assert made.events[-1][0] == "loyalty.points.reinstated"
    assert made.events[-1][1]["points"] == 100
    made.now = NOW + 7 * DAY
    assert made.send(adjust(-1)).refused == (409, "insufficient_points")


def test_points_whose_lot_is_good_for_longer_are_told_to_be_so() -> None:
    fields: dict[str, Any] = {"reinstate_days": 10, "expiry": Rolling(days=30)}
    made = corner(reinstated_days=20)
    made.done(imported(100, at=ago(days=31)))
    longer = made.done(reinstate(40))["last_day_on"]
    policies = {"adjustments": Adjustments()}
    made.done(Publish(program(policies=policies, **fields, reinstated_days=3)))
    assert made.done(reinstate(60))["last_day_on"] == longer
    made.now = NOW + 19 * DAY
    assert made.done(adjust(1)).balance == {"available": 101}


def test_giving_back_a_part_renews_what_was_given_back_of_its_lot_before_and_the_time_for_the_rest() -> None:
    made = corner()
    made.done(imported(280, at=ago(days=31)))
    assert made.done(reinstate(80))["last_day_on"] == "2026-11-26"
    made.now = NOW + DAY
    assert made.done(reinstate(10))["last_day_on"] == "2026-11-27"
    made.now = NOW + 7 * DAY
    assert made.done(adjust(1)).balance == {"available": 91}
    made.now = NOW + 8 * DAY
    assert made.done(adjust(1)).balance == {"available": 2}
    made.now = NOW + 17 * DAY  # ten days after the last good one
    assert made.done(reinstate(280)).balance == {"available": 282}
    made.now = NOW + 35 * DAY
    assert made.send(reinstate()).refused == (409, "too_few_expired")


@pytest.mark.parametrize(("days", "there"), [(29, None), (30, 100), (39, 100), (40, None)])
def test_the_time_to_give_back_is_counted_in_local_days_after_the_last_good_one(
    days: int, there: int | None
) -> None:
    made = corner()
    made.done(imported(100, at=ago(days=days)))
    reply = made.send(reinstate())
    if there is None:
        assert (reply.refused, reply["reinstatable"]) == ((409, "too_few_expired"), 0)
    else:
        assert reply.balance == {"available": there}


def test_what_ended_last_comes_back_first_and_no_more_than_there_is() -> None:
    made = corner()
    made.done(*(imported(100, str(days), at=ago(days=days)) for days in (33, 32, 34)))
    assert made.send(reinstate(301)).refused == (409, "too_few_expired")
    assert made.done(reinstate(150)).balance == {"available": 150}
    (entry,) = made.decisions[-1].entries
    assert [posting.points for posting in entry.postings] == [100, 50]
    account = made.book.lots[entry.account_id]
    ages = [(NOW - account[posting.lot_id].vintage_at).days for posting in entry.postings]
    assert ages == [32, 33]
    assert made.done(reinstate())["points"] == 150
    assert made.send(reinstate()).refused == (409, "too_few_expired")


def test_what_falls_due_with_the_command_itself_can_come_back_with_it() -> None:
    made = corner()
    made.done(imported(100))
    made.now = NOW + 30 * DAY
    assert made.done(reinstate()).balance == {"available": 100}
    assert made.entries == ["import", "expire", "reinstate"]


def test_a_debt_is_repaid_first() -> None:
    made = corner()
    made.done(imported(70, at=ago(days=31)), purchase(amount_minor=10_000), adjust(-100), cancel())
    assert made.balance() == {"debt": 100}
    assert made.done(reinstate()).balance == {"debt": 30}
    assert made.entries[-2:] == ["reinstate", "repay"]


def test_without_the_policy_nothing_comes_back() -> None:
    made = corner(reinstate_days=0)
    made.done(imported(100, at=ago(days=31)))
    assert made.send(reinstate()).refused == (409, "reinstatements_off")


def test_a_blocked_or_unknown_member_gets_nothing_and_a_frozen_account_does() -> None:
    made = corner()
    made.done(imported(100, at=ago(days=31)), ChangeMember(reinstate().member, MemberStatus.BLOCKED))
    assert made.send(reinstate()).refused == (409, "member_blocked")
    assert made.send(reinstate(of=BOB)).refused == (404, "member_not_found")
    made.done(ChangeMember(reinstate().member, MemberStatus.ACTIVE), freeze())
    assert made.done(reinstate()).balance == {"available": 100}


def test_reasons_are_those_of_adjustments() -> None:
    made = corner(policy={"reasons": (AdjustmentReason("complaint", "Complaint"),)})
    made.done(imported(100, at=ago(days=31)))
    for reason in ("goodwill", "policy_changed"):
        assert made.send(reinstate(reason=reason)).refused == (422, "reason_unknown")
    assert made.done(reinstate(reason="complaint")).balance == {"available": 100}


def test_it_counts_with_what_one_person_gives_by_hand_on_a_day() -> None:
    made = corner(policy={"daily_max": 150})
    made.done(imported(100, at=ago(days=31)), imported(100, "2", at=ago(days=32)))
    assert made.send(reinstate(100), by=SUE, **STAFF).status == 201
    refused = made.send(reinstate(100), by=SUE, **STAFF)
    assert (refused.refused, refused["used"]) == ((409, "adjustment_limit"), 100)
    assert made.send(adjust(51), by=SUE, **STAFF).refused == (409, "adjustment_limit")


def test_above_the_threshold_another_person_decides() -> None:
    made = corner(policy={"approval_above": 99})
    made.done(imported(100, at=ago(days=39)))
    reply = made.send(reinstate(), by=SUE, **STAFF)
    assert (reply.status, reply["kind"], reply["points"], made.balance()) == (202, "reinstatement", 100, {})
    made.now = NOW + 3 * DAY  # the time of the points is over, that of the proposal is not
    assert made.send(reinstate()).refused == (409, "too_few_expired")
    assert approve(made, reply, SUE).refused == (403, "own_proposal")
    done = approve(made, reply)
    assert (done.status, done["kind"], done.balance) == (200, "reinstatement", {"available": 100})
    assert made.decisions[-1].entries[0].cause == "goodwill"
    assert made.events[-1][0] == "loyalty.points.reinstated"
    assert approve(made, reply).refused == (409, "proposal_decided")


def test_what_was_taken_meanwhile_leaves_the_proposal_open() -> None:
    made = corner(policy={"approval_above": 99})
    made.done(purchase(amount_minor=10_000, at=ago(days=30)))
    reply = made.send(reinstate(), by=SUE, **STAFF)
    made.done(cancel())
    assert approve(made, reply).refused == (409, "too_few_expired")
    assert made.book.proposals[UUID(reply["id"])].state == "proposed"  # pyright: ignore
