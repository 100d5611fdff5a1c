"""Cancelling a whole purchase by its receipt: before, after, twice, and when its points are gone."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from loyalty.posting.commands import EraseMember
from loyalty.posting.detail import Detail
from loyalty.programs.types import PointsCurrency, Rolling
from loyalty.rules.types import Fixed, Rule
from tests.posting.shop import (
    ANN,
    BASE,
    NOW,
    adjust,
    ago,
    cancel,
    capped,
    card,
    claim,
    imported,
    purchase,
    shop,
)


def test_a_cancel_takes_back_what_the_purchase_earned() -> None:
    corner = shop()
    bought = corner.done(purchase("R-1"), purchase("R-2", 300))
    reply = corner.send(cancel("R-1"))
    assert (reply.status, reply["status"], reply.balance) == (201, "cancelled", {"available": 3})
    assert reply["revoked"] == [{"points_currency": "points", "points": 10, "forgiven": 0, "debt": 0}]
    assert reply["member_id"] == bought["member_id"]
    assert reply["receipt"]["lines"] == ["10 points taken back", "Balance 3"]


def test_a_cancel_occurs_when_it_is_decided_and_names_the_decision_it_undoes() -> None:
    corner = shop()
    corner.done(purchase(at=ago(days=3)))
    undone = corner.decisions[-1].id
    corner.now = NOW + timedelta(days=1)
    corner.done(cancel())
    decision = corner.decisions[-1]
    assert decision.occurred_at == decision.entries[0].occurred_at == corner.now
    assert msgspec.json.decode(decision.detail, type=Detail).undoes == undone
    assert decision.entries[0].cause == "purchase_cancelled"


def test_a_cancel_takes_pending_points_before_they_ever_count() -> None:
    corner = shop(pending_days=14)
    corner.done(purchase())
    assert corner.send(cancel()).balance == {}
    corner.now = NOW + timedelta(days=20)
    corner.done(purchase("R-2", 0))
    assert corner.balance() == {}


def test_a_cancel_after_the_points_expired_takes_nothing_twice() -> None:
    corner = shop(expiry=Rolling(days=30))
    corner.done(purchase("R-1"))
    corner.now = NOW + timedelta(days=31)
    corner.done(purchase("R-2", 500, at=corner.now))
    reply = corner.send(cancel("R-1"))
    assert (reply["revoked"][0]["points"], reply.balance) == (10, {"available": 5})


def test_a_cancel_takes_back_every_points_currency() -> None:
    stamp = Rule("stamp", "a stamp", "stamps", Fixed(1))
    corner = shop(BASE, stamp, currencies=(PointsCurrency("stamps", "stamps"),))
    corner.done(purchase())
    reply = corner.send(cancel())
    assert [(r["points_currency"], r["points"]) for r in reply["revoked"]] == [("points", 10), ("stamps", 1)]
    assert [b["available"] for b in reply["balances"]] == [0, 0]


def test_a_cancel_gives_back_what_a_cap_had_counted_for_later_purchases() -> None:
    corner = shop(capped(15))
    corner.done(purchase("R-1"), purchase("R-2"))  # 10 and, cut by the cap, 5
    assert corner.send(cancel("R-1"))["revoked"][0]["points"] == 10
    assert corner.send(purchase("R-3", 3_000)).earned == 10
    assert corner.balance() == {"available": 15}, "what the cap had cut from the second is not given later"


def test_a_cap_of_another_month_is_given_back_there() -> None:
    corner = shop(capped(10))
    corner.done(purchase("R-1", at=ago(days=25)), purchase("R-2"), cancel("R-1"))
    assert corner.send(purchase("R-3")).earned == 0
    assert corner.send(purchase("R-4", at=ago(days=25))).earned == 10


# --- spent points -------------------------------------------------------------------------------------------


def test_spent_points_are_owed_by_default_and_repaid_by_the_next_that_come() -> None:
    corner = shop()
    corner.done(purchase("R-1"), adjust(-8))
    reply = corner.send(cancel("R-1"))
    assert reply["revoked"] == [{"points_currency": "points", "points": 10, "forgiven": 0, "debt": 8}]
    assert reply.balance == {"debt": 8}
    part = corner.send(purchase("R-2", 500))
    assert (part.balance, part["receipt"]["lines"]) == (
        {"debt": 3},
        ["5 points: 5 for the basket", "5 points paid what was owed", "3 points still owed", "Balance 0"],
    )
    rest = corner.send(purchase("R-3", 700))
    assert (rest.balance, rest["receipt"]["lines"]) == (
        {"available": 4},
        ["7 points: 7 for the basket", "3 points paid what was owed", "Balance 4"],
    )
    assert corner.entries == ["earn", "adjust_debit", "revoke", "earn", "repay", "earn", "repay"]


def test_other_points_of_the_member_pay_before_she_owes() -> None:
    corner = shop()
    corner.done(purchase("R-1"), adjust(-8), purchase("R-2", 500))
    assert corner.send(cancel("R-1")).balance == {"debt": 3}


@pytest.mark.parametrize(
    ("policy", "status", "forgiven", "left"),
    [
        ({"negative": "floor", "floor": 8}, 201, 0, {"debt": 8}),
        ({"negative": "floor", "floor": 7}, 409, None, {"available": 2}),
        ({"negative": "prevent"}, 409, None, {"available": 2}),
        ({"negative": "waive"}, 201, 8, {}),
    ],
    ids=["within the floor", "below the floor", "prevent", "waive"],
)
def test_the_policy_says_what_becomes_of_spent_points(
    policy: dict[str, Any], status: int, forgiven: int | None, left: dict[str, int]
) -> None:
    """10 earned, 8 spent, cancelled."""
    corner = shop(**policy)
    corner.done(purchase("R-1"), adjust(-8))
    reply = corner.send(cancel("R-1"))
    assert (reply.status, corner.balance()) == (status, left)
    if forgiven is None:
        assert reply["code"] == "insufficient_points"
        assert corner.send(purchase("R-1"))["status"] == "recorded", "the purchase stands"
    else:
        assert reply["revoked"][0]["forgiven"] == forgiven


def test_nobody_owes_for_a_member_who_was_erased() -> None:
    corner = shop()
    corner.done(purchase("R-1"), adjust(-8), EraseMember(card(ANN)))
    reply = corner.send(cancel("R-1"))
    assert (reply.status, reply.balance) == (201, {})
    assert reply["revoked"] == [{"points_currency": "points", "points": 2, "forgiven": 8, "debt": 0}]


# --- before it came, twice, afterwards ----------------------------------------------------------------------


def test_a_cancel_may_come_before_its_purchase_which_is_then_refused() -> None:
    corner = shop()
    reply = corner.send(cancel("R-1"))
    assert (reply.status, reply["status"], reply["revoked"]) == (201, "cancelled", [])
    late = corner.send(purchase("R-1"))
    assert (late.refused, late["purchase_id"]) == ((409, "purchase_cancelled"), reply["id"])
    assert corner.entries == []


def test_to_cancel_twice_is_to_cancel_once() -> None:
    corner = shop()
    corner.done(purchase("R-1"))
    first, second = corner.send(cancel("R-1")), corner.send(cancel("R-1"))
    assert (second.status, second.replayed, second.raw) == (200, True, first.raw)
    assert corner.entries == ["earn", "revoke"]


def test_to_cancel_twice_before_arrival_is_to_cancel_once() -> None:
    corner = shop()
    first, second = corner.send(cancel("R-1")), corner.send(cancel("R-1"))
    assert (second.status, second.raw) == (200, first.raw)


def test_a_cancelled_purchase_sent_again_has_its_first_answer_and_earns_nothing() -> None:
    corner = shop()
    first = corner.send(purchase("R-1"))
    corner.done(cancel("R-1"))
    again = corner.send(purchase("R-1"))
    assert (again.status, again.replayed, again.raw) == (200, True, first.raw)
    assert corner.balance() == {}


def test_a_guests_purchase_can_be_cancelled_and_then_not_be_claimed() -> None:
    corner = shop()
    bought = corner.send(purchase("R-1", of=None))
    assert corner.send(cancel("R-1"))["revoked"] == []
    assert corner.send(claim(bought["id"])).refused == (409, "purchase_cancelled")


def test_a_claimed_purchase_is_cancelled_at_the_member_who_claimed_it() -> None:
    corner = shop(capped(10))
    bought = corner.send(purchase("R-1", of=None))
    claimed = corner.done(claim(bought["id"]))
    reply = corner.send(cancel("R-1"))
    assert (reply["member_id"], reply["id"]) == (claimed["member_id"], bought["id"])
    assert (reply["revoked"][0]["points"], reply.balance) == (10, {})
    assert corner.send(purchase("R-2")).earned == 10, "the cap is free again"


def test_the_event_of_a_cancel_says_which_points_went() -> None:
    corner = shop()
    corner.done(purchase("R-1"), cancel("R-1"))
    kind, data = corner.events[-1]
    assert (kind, data["external_id"]) == ("loyalty.purchase.cancelled", "R-1")
    assert [(e["kind"], e["available"]) for e in data["entries"]] == [("revoke", -10)]


def test_a_cancel_of_a_purchase_that_earned_nothing_moves_nothing() -> None:
    corner = shop()
    corner.done(imported(5), purchase("R-1", 50))
    reply = corner.send(cancel("R-1"))
    assert (reply["revoked"], reply.balance) == ([], {"available": 5})
    assert reply["receipt"]["lines"] == ["Purchase cancelled", "Balance 5"]
