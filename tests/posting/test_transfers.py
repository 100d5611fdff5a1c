"""Points of one member become another's."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty.members.types import MemberStatus
from loyalty.posting.commands import ChangeMember, EraseMember, TransferPoints
from loyalty.posting.validate import faults
from loyalty.programs.types import PointsCurrency, Transfers
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    Shop,
    adjust,
    ago,
    cancel,
    card,
    freeze,
    give,
    imported,
    program,
    purchase,
    shop,
    unfreeze,
)


def generous(points: int = 100, **policy: Any) -> Shop:
    """Ann has points and may give them to Bob."""
    corner = shop(members=(ANN, BOB), policies={"transfers": Transfers(enabled=True, **policy)})
    if points:
        corner.done(imported(points, at=ago(days=9), expires_at=NOW + timedelta(days=9)))
    return corner


def test_given_points_leave_the_giver_and_come_to_the_taker() -> None:
    corner = generous()
    reply = corner.send(give(30))
    assert (reply.status, reply["points"], reply["fee"], reply.balance) == (201, 30, 0, {"available": 70})
    assert corner.balance(BOB) == {"available": 30}
    out, into = corner.decisions[-1].entries
    assert (out.kind, into.kind) == ("transfer_out", "transfer_in")


def test_they_keep_their_dates_and_their_age() -> None:
    corner = generous()
    corner.done(give(30))
    (lot,) = corner.decisions[-1].entries[1].lots
    assert (lot.expires_at, lot.vintage_at) == (NOW + timedelta(days=9), ago(days=9))
    corner.now = NOW + timedelta(days=9)
    assert corner.send(adjust(-1, of=BOB)).refused == (409, "insufficient_points")


def test_both_are_told_and_each_of_his_own_account_alone() -> None:
    corner = generous()
    corner.done(give(30))
    (gave, giver), (got, taker) = corner.events[-2:]
    assert (gave, got) == ("loyalty.points.given", "loyalty.points.received")
    assert [entry["available"] for entry in giver["entries"]] == [-30]
    assert [entry["available"] for entry in taker["entries"]] == [30]


def test_a_fee_is_the_givers_and_counts_with_what_he_must_have() -> None:
    corner = generous(fee_points=5, fee_bps=250)
    refused = corner.send(give(94))
    assert (refused.refused, refused["wanted"]) == ((409, "insufficient_points"), 101)
    reply = corner.send(give(90))  # and 5 + 2 (2.25 rounded down)
    assert (reply["fee"], reply.balance, corner.balance(BOB)) == (7, {"available": 3}, {"available": 90})
    assert [(e.kind, e.cause) for e in corner.decisions[-1].entries] == [
        ("transfer_out", None),
        ("redeem", "transfer_fee"),
        ("transfer_in", None),
    ]


def test_what_the_taker_owes_is_repaid_first() -> None:
    corner = generous()
    corner.done(purchase(of=BOB), adjust(-10, of=BOB), cancel())
    corner.done(give(30))
    assert corner.balance(BOB) == {"available": 20}


def test_a_purchase_undone_after_its_points_were_given_away_is_the_givers_debt() -> None:
    corner = generous(0)
    corner.done(purchase("R-1", 3000), give(30), cancel("R-1"))
    assert (corner.balance(ANN), corner.balance(BOB)) == ({"debt": 30}, {"available": 30})


def test_transfers_are_off_until_the_program_lets_members_give() -> None:
    corner = shop(members=(ANN, BOB))
    corner.done(adjust(10))
    assert corner.send(give(5)).refused == (409, "transfers_off")
    status = PointsCurrency("status", "status", spendable=False)
    corner = shop(members=(ANN, BOB), currencies=(status,), policies={"transfers": Transfers(enabled=True)})
    assert corner.send(TransferPoints(card(ANN), card(BOB), "status", 5)).refused == (
        422,
        "points_not_spendable",
    )


def test_the_program_says_how_much_at_once_and_in_a_time() -> None:
    corner = generous(minimum=10, maximum=40, giver_max=60, period="week")
    for points in (9, 41):
        assert corner.send(give(points)).refused == (422, "transfer_out_of_range")
    corner.done(give(40))
    reply = corner.send(give(21))
    assert (reply.refused, reply["used"]) == ((409, "transfer_limit"), 40)
    assert reply["until"] == "2026-11-22T23:00:00Z"  # a Friday; Monday begins in Berlin
    corner.done(give(20))
    corner.now = NOW + timedelta(days=3)
    corner.done(give(10))
    assert faults(program(policies={"transfers": Transfers(minimum=10, maximum=9)}))


def test_nobody_gives_to_himself() -> None:
    assert generous().send(give(5, to=ANN)).refused == (422, "transfer_to_self")


@pytest.mark.parametrize("who", [ANN, BOB])
def test_whoever_is_blocked_or_gone_neither_gives_nor_takes(who: str) -> None:
    corner = generous()
    corner.done(ChangeMember(card(who), MemberStatus.BLOCKED))
    assert corner.send(give(5)).refused == (409, "member_blocked")
    corner.done(EraseMember(card(who)))
    assert corner.send(give(5)).refused == (404, "member_not_found")


def test_a_frozen_account_gives_nothing_and_still_receives() -> None:
    corner = generous()
    corner.done(freeze(), freeze(of=BOB))
    assert corner.send(give(5)).refused == (409, "account_frozen")
    corner.done(unfreeze())
    corner.done(give(5))
    assert corner.balance(BOB) == {"available": 5}
