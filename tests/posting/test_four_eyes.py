"""What one person may give or take by hand alone, and what another one has to decide."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.members.types import MemberStatus
from loyalty.posting.commands import Approve, ChangeMember, EraseMember, Reject, WriteOff
from loyalty.posting.validate import faults
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
    card,
    freeze,
    imported,
    program,
    purchase,
    shop,
)

STAFF: dict[str, Any] = {"kind": "staff"}


def desk(members: tuple[str, ...] = (ANN,), **policy: Any) -> Shop:
    """A shop where more than 100 points by hand need a second person, unless `policy` says otherwise."""
    rules: dict[str, Any] = {"approval_above": 100} | policy
    return shop(members=members, policies={"adjustments": Adjustments(**rules)})


def proposed(at: Shop, points: int = 500, by: UUID = SUE) -> UUID:
    reply = at.send(adjust(points), by=by, **STAFF)
    assert (reply.status, reply["state"]) == (202, "proposed")
    return UUID(reply["id"])


def approve(at: Shop, proposal: UUID, by: UUID = MAX) -> Reply:
    return at.send(Approve(proposal), by=by, **STAFF)


def reject(at: Shop, proposal: UUID, by: UUID = MAX) -> Reply:
    return at.send(Reject(proposal), by=by, **STAFF)


def test_up_to_the_threshold_points_move_at_once() -> None:
    corner = desk()
    assert corner.send(adjust(100), by=SUE, **STAFF).balance == {"available": 100}
    assert corner.send(adjust(-100), by=SUE, **STAFF).balance == {}


@pytest.mark.parametrize("points", [101, -101])
def test_above_it_nothing_moves_before_another_person_agreed(points: int) -> None:
    corner = desk()
    corner.done(imported(1000))
    proposal = proposed(corner, points)
    assert (corner.balance(), corner.entries) == ({"available": 1000}, ["import"])
    reply = approve(corner, proposal)
    assert (reply.status, reply["state"], reply.balance) == (200, "approved", {"available": 1000 + points})
    assert corner.decisions[-1].entries[0].cause == "goodwill"
    assert corner.decisions[-1].actor_id == MAX
    assert [event for event, _ in corner.events[-2:]] == [
        "loyalty.adjustment.proposed",
        "loyalty.points.adjusted",
    ]


def test_nobody_decides_what_he_proposed_himself() -> None:
    corner = desk()
    proposal = proposed(corner, by=MAX)
    assert approve(corner, proposal, by=MAX).refused == (403, "own_proposal")
    assert reject(corner, proposal, by=MAX).refused == (403, "own_proposal")
    assert approve(corner, proposal, by=SUE).status == 200


def test_a_system_may_propose_and_never_decide() -> None:
    corner = desk()
    reply = corner.send(adjust(500))
    assert reply.status == 202
    proposal = UUID(reply["id"])
    assert corner.send(Approve(proposal), by=UUID(int=9)).refused == (403, "people_only")
    assert corner.send(Reject(proposal), by=UUID(int=9)).refused == (403, "people_only")
    assert approve(corner, proposal).status == 200


def test_a_proposal_is_decided_once() -> None:
    corner = desk()
    first, second = proposed(corner), proposed(corner)
    assert approve(corner, first).status == 200
    assert reject(corner, second)["state"] == "rejected"
    for proposal, state in ((first, "approved"), (second, "rejected")):
        for again in (approve, reject):
            reply = again(corner, proposal)
            assert (reply.refused, reply["state"]) == ((409, "proposal_decided"), state)
    assert corner.balance() == {"available": 500}


def test_a_proposal_waits_so_many_days_and_no_longer() -> None:
    corner = desk(proposal_days=2)
    kept, late = proposed(corner), proposed(corner)
    corner.now = NOW + timedelta(days=2) - timedelta(microseconds=1)
    assert approve(corner, kept).status == 200
    corner.now = NOW + timedelta(days=2)
    assert approve(corner, late).refused == (409, "proposal_lapsed")
    assert reject(corner, late).refused == (409, "proposal_lapsed")
    assert approve(corner, kept).refused == (409, "proposal_decided")


def test_approved_late_points_are_dated_by_the_approval_and_decided_on_what_is_there_then() -> None:
    corner = desk()
    corner.done(imported(200))
    proposal = proposed(corner, -150)
    corner.done(adjust(-100))
    refused = approve(corner, proposal)
    assert (refused.refused, refused["available"]) == ((409, "insufficient_points"), 100)
    corner.done(adjust(60))
    assert approve(corner, proposal).balance == {"available": 10}


def test_what_stands_against_the_member_then_leaves_the_proposal_open() -> None:
    corner = desk((ANN, BOB))
    proposal, debit = proposed(corner), proposed(corner, -101)
    corner.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    assert approve(corner, proposal).refused == (409, "member_blocked")
    corner.done(ChangeMember(card(ANN), MemberStatus.ACTIVE), freeze())
    assert approve(corner, proposal).status == 200
    assert approve(corner, debit).refused == (409, "account_frozen")
    corner.done(EraseMember(card(ANN)))
    assert approve(corner, debit).refused == (409, "member_erased")


def test_a_proposal_that_was_never_made_is_not_found() -> None:
    corner = desk()
    assert approve(corner, UUID(int=77)).refused == (404, "proposal_not_found")
    assert corner.send(Approve(UUID(int=77))).refused == (404, "proposal_not_found")


def test_one_person_gives_and_takes_so_much_a_day_alone() -> None:
    corner = desk(daily_max=150)
    assert corner.send(adjust(100), by=SUE, **STAFF).status == 201
    assert corner.send(adjust(-50), by=SUE, **STAFF).status == 201
    reply = corner.send(adjust(1), by=SUE, **STAFF)
    assert (reply.refused, reply["maximum"], reply["used"]) == ((409, "adjustment_limit"), 150, 150)
    assert reply["until"] == "2026-11-20T23:00:00Z"  # midnight in Berlin
    assert corner.send(adjust(100), by=MAX, **STAFF).status == 201
    proposal = proposed(corner, by=SUE)  # a second person will look at it
    assert approve(corner, proposal).status == 200
    corner.now = NOW + timedelta(hours=8)
    assert corner.send(adjust(100), by=SUE, **STAFF).status == 201


def test_the_decision_says_what_it_counted_for_whom() -> None:
    corner = desk(daily_max=150)
    corner.send(adjust(100), by=SUE, **STAFF)
    assert f'"used":[["{SUE}","actor:adjust:points","2026-11-20",100]]' in corner.decisions[-1].detail


def test_only_reasons_that_the_program_names_are_taken() -> None:
    corner = desk(reasons=(AdjustmentReason("goodwill", "Goodwill"),))
    assert corner.send(adjust(5)).status == 201
    assert corner.send(adjust(5, reason="friendship")).refused == (422, "reason_unknown")
    assert shop().send(adjust(5, reason="friendship")).status == 201


def test_causes_of_the_books_are_no_reasons() -> None:
    assert shop().send(adjust(5, reason="waived")).refused == (422, "reason_unknown")
    reasons = (AdjustmentReason("waived", "Waived"), AdjustmentReason("a", "A"), AdjustmentReason("a", "B"))
    found = faults(program(policies={"adjustments": Adjustments(reasons)}))
    assert [fault.code for fault in found] == ["reserved", "duplicate"]


# --- what is owed ---------------------------------------------------------------------------------------------


def indebted() -> Shop:
    """Ann owes 10 points."""
    corner = desk((ANN, BOB))
    corner.done(purchase(), adjust(-10), cancel())
    assert corner.balance() == {"debt": 10}
    return corner


def write_off(at: Shop, by: UUID = SUE) -> Reply:
    return at.send(WriteOff(card(ANN), "points", "CASE-7"), by=by, **STAFF)


def test_a_debt_is_let_go_by_two_people_however_small() -> None:
    corner = indebted()
    reply = write_off(corner)
    assert (reply.status, reply["points"], reply["reason"], reply["reference"]) == (
        202,
        10,
        "waived",
        "CASE-7",
    )
    assert corner.balance() == {"debt": 10}
    assert approve(corner, UUID(reply["id"])).balance == {}
    assert [(entry.kind, entry.cause) for entry in corner.decisions[-1].entries] == [
        ("adjust_credit", "waived"),
        ("repay", None),
    ]


def test_no_more_is_let_go_than_is_owed_then_nor_than_was_proposed() -> None:
    corner = indebted()
    proposal = UUID(write_off(corner)["id"])
    corner.done(adjust(4))  # repays
    assert approve(corner, proposal).balance == {}
    assert corner.decisions[-1].entries[0].postings[0].points == 6

    corner = indebted()
    proposal = UUID(write_off(corner)["id"])
    corner.done(purchase("R-2", 2000), cancel("R-2"), purchase("R-3", 3000), adjust(-20), cancel("R-3"))
    assert corner.balance() == {"debt": 30}
    assert approve(corner, proposal).balance == {"debt": 20}


def test_where_nothing_is_owed_nothing_is_let_go() -> None:
    corner = indebted()
    proposal = UUID(write_off(corner)["id"])
    corner.done(adjust(10))
    assert approve(corner, proposal).refused == (409, "nothing_owed")
    assert write_off(corner).refused == (409, "nothing_owed")
    assert corner.send(WriteOff(card(BOB), "points")).refused == (409, "nothing_owed")
    assert reject(corner, proposal).status == 200


def test_what_a_blocked_member_owes_can_be_let_go() -> None:
    corner = indebted()
    corner.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    assert approve(corner, UUID(write_off(corner)["id"])).balance == {}


def test_what_is_owed_is_repaid_by_what_matures_before_it_can_expire_and_only_the_rest_is_let_go() -> None:
    corner = shop(
        policies={"adjustments": Adjustments(proposal_days=90)}, expiry=Rolling(days=30), pending_days=10
    )
    corner.done(imported(20, "1", activates_at=ago(days=1)), purchase("R-1", 2000), cancel("R-1"))
    corner.done(purchase("R-2", 3000, at=ago(days=12)), adjust(-50), cancel("R-2"))
    assert corner.balance() == {"debt": 30}
    corner.done(adjust(12))  # pending for ten days, good for thirty
    assert corner.balance() == {"pending": 12, "debt": 30}
    proposal = UUID(write_off(corner)["id"])
    corner.now = NOW + timedelta(days=40)  # matured and, had it not repaid, expired
    assert approve(corner, proposal).balance == {}
    matured, repaid, waived, closed = corner.decisions[-1].entries
    assert [entry.kind for entry in (matured, repaid, waived, closed)] == [
        "mature",
        "repay",
        "adjust_credit",
        "repay",
    ]
    assert (repaid.debt, waived.postings[0].points, closed.debt) == (18, 18, 0)
