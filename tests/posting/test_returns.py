"""Lines go back in parts: what they had earned is taken back, to the point, whatever came in between."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.base.canonical import Digests
from loyalty.conditions.types import HasLine, Lines, MinimumSpend
from loyalty.posting.commands import EraseMember, Publish
from loyalty.programs.types import PointsCurrency, Rolling
from loyalty.rules.types import CapPeriod, Fixed, MemberCap, Multiplier, OnReturn, PerSpend, Rule
from tests.posting.shop import (
    ANN,
    BASE,
    BOB,
    NOW,
    OLD_SECRET,
    SECRET,
    Reply,
    adjust,
    ago,
    cancel,
    capped,
    card,
    claim,
    exchange,
    forget_lines,
    give_back,
    imported,
    line,
    program,
    purchase,
    shop,
)

COFFEE, BAG, HAM = (
    line(999, line_id="coffee", quantity_milli=3000, categories=("coffee",)),
    line(25, line_id="bag", quantity_milli=0),
    line(700, line_id="ham", sku="HAM", quantity_milli=512),
)
BASKET = (COFFEE, BAG, HAM)  # 17.24: 17 points, of which coffee has 10, the bag none, ham 7


def taken(reply: Reply) -> list[int]:
    """Points taken back, by points currency."""
    assert reply.status == 201, reply.raw
    return [one["points"] for one in reply["revoked"]]


# --- shares -------------------------------------------------------------------------------------------------


def test_a_line_that_goes_back_takes_its_points_along() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET))
    reply = corner.send(give_back("B-1", {"ham": None}))
    assert (reply.status, reply["status"], reply["amount_minor"], reply["complete"]) == (
        201,
        "returned",
        700,
        False,
    )
    assert (taken(reply), reply.balance) == ([7], {"available": 10})
    assert reply["receipt"]["lines"] == ["7 points taken back", "Balance 10"]


def test_single_pieces_round_down_until_the_last_takes_the_rest() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET))
    parts = [corner.send(give_back(f"B-{n}", {"coffee": 1000})) for n in range(3)]
    assert [taken(part) for part in parts] == [[3], [3], [4]]
    assert [part["amount_minor"] for part in parts] == [333, 333, 333]
    assert corner.balance() == {"available": 7}


def test_all_that_is_left_goes_back_in_one_call() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET), give_back("B-1", {"coffee": 1000}))
    reply = corner.send(give_back("B-2"))
    assert (taken(reply), reply["amount_minor"], reply["complete"]) == ([14], 1391, True)
    assert corner.balance() == {}


def test_a_line_of_quantity_nought_goes_back_whole() -> None:
    corner = shop()
    corner.done(purchase(lines=(line(500, line_id="bag", quantity_milli=0), HAM)))
    reply = corner.send(give_back("B-1", {"bag": 0}))
    assert (taken(reply), reply["amount_minor"]) == ([5], 500)
    again = corner.send(give_back("B-2", {"bag": 0}))
    assert (again.refused, again["bought"], again["line_id"]) == ((409, "exceeds_purchase"), "0", "bag")
    assert corner.send(give_back("B-3", {"bag": 1})).refused == (409, "exceeds_purchase")


def test_the_rules_of_today_play_no_part() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET))
    corner.now = NOW + timedelta(minutes=1)
    corner.done(Publish(program(Rule("base", "ten times", "points", PerSpend(10, 100)))))
    assert taken(corner.send(give_back("B-1", {"ham": None}))) == [7]
    corner.done(Publish(program(Rule("other", "a thing", "points", Fixed(1)))))
    assert taken(corner.send(give_back("B-2"))) == [10]


def test_every_points_currency_is_shared_by_itself() -> None:
    stamp = Rule("stamp", "stamps", "stamps", Fixed(4, Lines(categories=("coffee",))))
    corner = shop(BASE, stamp, currencies=(PointsCurrency("stamps", "stamps"),))
    corner.done(purchase(lines=BASKET))
    reply = corner.send(give_back("B-1", {"coffee": 1000}))
    assert taken(reply) == [3, 1]
    assert reply["receipt"]["lines"] == [
        "3 points taken back",
        "1 stamps taken back",
        "Balance 14 points",
        "Balance 3 stamps",
    ]


def test_what_earned_nothing_goes_back_for_nothing() -> None:
    corner = shop()
    corner.done(imported(5), purchase("R-1", 50))
    reply = corner.send(give_back())
    assert (taken(reply), reply.balance, reply["receipt"]["lines"]) == (
        [],
        {"available": 5},
        ["Goods returned", "Balance 5"],
    )


# --- what a bonus hangs on ----------------------------------------------------------------------------------

BONUS = Rule(
    "bonus", "for 15.00 and more", "points", Fixed(50), MinimumSpend(1500), on_return=OnReturn.ALL_IF_UNMET
)


def test_a_bonus_is_lost_whole_once_what_is_left_would_not_have_earned_it() -> None:
    corner = shop(BASE, BONUS)
    corner.done(purchase(lines=BASKET))
    assert corner.balance() == {"available": 67}
    assert taken(corner.send(give_back("B-1", {"bag": 0}))) == [
        1
    ]  # 16.99 is left; the bag had one point of 50
    assert taken(corner.send(give_back("B-2", {"coffee": 1000}))) == [
        52
    ]  # 13.66: 3 of 10, and 49 of the bonus
    assert taken(corner.send(give_back("B-3"))) == [14]
    assert corner.balance() == {}


def test_whether_a_bonus_is_lost_the_rules_of_then_say() -> None:
    corner = shop(BASE, BONUS)
    corner.done(purchase(lines=BASKET))
    corner.now = NOW + timedelta(minutes=1)
    low = Rule("bonus", "for 1.00", "points", Fixed(50), MinimumSpend(100), on_return=OnReturn.ALL_IF_UNMET)
    corner.done(Publish(program(BASE, low)))
    assert taken(corner.send(give_back("B-1", {"coffee": 1000}))) == [53]


def test_a_bonus_shared_by_default_goes_line_by_line() -> None:
    shared = Rule("bonus", "for 15.00 and more", "points", Fixed(50), MinimumSpend(1500))
    corner = shop(BASE, shared)
    corner.done(purchase(lines=BASKET))
    assert taken(corner.send(give_back("B-1", {"coffee": 1000}))) == [
        12
    ]  # 3 of 10, and a third of the bonus's 29


def test_a_bonus_for_a_line_is_lost_with_the_line_it_asked_for() -> None:
    with_ham = Rule(
        "ham", "with ham", "points", Fixed(10), HasLine(Lines(skus=("HAM",))), on_return=OnReturn.ALL_IF_UNMET
    )
    corner = shop(with_ham)
    corner.done(purchase(lines=BASKET))
    assert taken(corner.send(give_back("B-1", {"coffee": 1000}))) == [2]  # 6 of the 10 lie on coffee
    assert taken(corner.send(give_back("B-2", {"ham": 100}))) == []
    assert taken(corner.send(give_back("B-3", {"ham": None}))) == [8]
    assert taken(corner.send(give_back("B-4"))) == []


# --- caps ---------------------------------------------------------------------------------------------------


def test_a_cap_that_a_return_frees_is_free_for_later_purchases() -> None:
    corner = shop(capped(15))
    corner.done(purchase("R-1", lines=(line(1000, quantity_milli=2000),)), purchase("R-2"))  # 10, and 5 of 10
    assert taken(corner.send(give_back("B-1", {"1": 1000}))) == [5]
    assert corner.balance() == {"available": 10}, "what the cap had cut from the second is not given later"
    assert corner.send(purchase("R-3")).earned == 5


def test_a_capped_award_goes_back_as_it_was_cut() -> None:
    corner = shop(capped(5))
    corner.done(purchase(lines=BASKET))  # 5 of 17: coffee 3, ham 2
    assert taken(corner.send(give_back("B-1", {"ham": None}))) == [2]
    assert corner.send(purchase("R-2")).earned == 2


# --- spent points -------------------------------------------------------------------------------------------


def test_spent_points_of_what_goes_back_are_owed() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET), adjust(-15))
    reply = corner.send(give_back("B-1", {"ham": None}))
    assert reply["revoked"] == [{"points_currency": "points", "points": 7, "forgiven": 0, "debt": 5}]
    assert reply["receipt"]["lines"] == ["7 points taken back", "5 points owed", "Balance 0"]
    assert corner.send(give_back("B-2")).balance == {"debt": 15}
    assert corner.send(purchase("R-2", 2000)).balance == {"available": 5}


@pytest.mark.parametrize(
    ("policy", "status", "left"),
    [
        ({"negative": "floor", "floor": 5}, 201, {"debt": 5}),
        ({"negative": "floor", "floor": 4}, 409, {"available": 2}),
        ({"negative": "prevent"}, 409, {"available": 2}),
        ({"negative": "waive"}, 201, {}),
    ],
    ids=["within the floor", "below the floor", "prevent", "waive"],
)
def test_the_policy_says_what_becomes_of_spent_points(
    policy: dict[str, Any], status: int, left: dict[str, int]
) -> None:
    corner = shop(**policy)
    corner.done(purchase(lines=BASKET), adjust(-15))
    reply = corner.send(give_back("B-1", {"ham": None}))
    assert (reply.status, corner.balance()) == (status, left)
    if status == 409:
        assert reply["code"] == "insufficient_points"
        assert taken(corner.send(give_back("B-2", {"coffee": 500}))) == [1], "nothing had gone"


def test_pending_and_expired_points_go_first() -> None:
    corner = shop(pending_days=14, expiry=Rolling(days=30))
    corner.done(purchase(lines=BASKET))
    assert corner.send(give_back("B-1", {"ham": None})).balance == {"pending": 10}
    corner.now = NOW + timedelta(days=31)
    corner.done(imported(4, at=corner.now))
    reply = corner.send(give_back("B-2", at=corner.now))
    assert (taken(reply), reply.balance) == ([10], {"pending": 4})


def test_nobody_owes_for_a_member_who_was_erased() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET), adjust(-15), EraseMember(card(ANN)))
    reply = corner.send(give_back())
    assert reply["revoked"] == [{"points_currency": "points", "points": 2, "forgiven": 15, "debt": 0}]


# --- what cannot go back ------------------------------------------------------------------------------------


def test_more_than_was_bought_and_not_yet_returned_cannot_go_back() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET), give_back("B-1", {"coffee": 1500}))
    reply = corner.send(give_back("B-2", {"bag": 0, "coffee": 1501}))
    assert reply.refused == (409, "exceeds_purchase")
    assert {name: reply[name] for name in ("line_id", "bought", "returned", "wanted")} == {
        "line_id": "coffee",
        "bought": "3",
        "returned": "1.5",
        "wanted": "1.501",
    }
    assert corner.send(give_back("B-3", {"bag": 0, "coffee": 1500})).status == 201
    assert corner.send(give_back("B-4", {"coffee": None})).refused == (409, "exceeds_purchase")


def test_when_nothing_is_left_nothing_goes_back() -> None:
    corner = shop()
    corner.done(
        purchase(lines=BASKET), give_back("B-1", {"coffee": 3000, "bag": 0}), give_back("B-2", {"ham": 512})
    )
    assert corner.send(give_back("B-3")).refused == (409, "already_returned")
    assert corner.send(give_back("B-3", {"ham": 1})).refused == (409, "already_returned")


def test_unknown_lines_are_named_all_at_once() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET))
    reply = corner.send(give_back("B-1", {"tea": 1000, "ham": 0, "coffee": 1000, "rum": None}))
    assert reply.refused == (422, "return_invalid")
    assert [(fault["pointer"], fault["code"]) for fault in reply["errors"]] == [
        ("/lines/0/line_id", "unknown_line"),
        ("/lines/1/quantity", "out_of_range"),
        ("/lines/3/line_id", "unknown_line"),
    ]
    assert corner.balance() == {"available": 17}


def test_money_of_another_country_does_not_go_back() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET))
    assert corner.send(give_back(money="USD")).refused == (422, "currency_mismatch")
    assert corner.send(give_back(money="EUR")).status == 201


def test_a_return_from_the_future_is_refused_and_a_late_one_is_not() -> None:
    corner = shop(policies={"late_days_max": 3})
    corner.done(purchase(lines=BASKET))
    assert corner.send(give_back(at=NOW + timedelta(hours=1))).refused == (422, "in_future")
    reply = corner.send(give_back(at=ago(days=90)))
    assert reply.status == 201
    assert corner.decisions[-1].occurred_at == NOW, "points are taken when that is decided"
    assert corner.events[-1][1]["reported_at"] == "2026-08-22T15:30:00Z"


def test_after_the_lines_are_gone_all_that_is_left_still_goes_back() -> None:
    corner = shop(capped(17))
    corner.done(purchase(lines=BASKET), give_back("B-1", {"ham": None}))
    forget_lines(corner)
    assert corner.send(give_back("B-2", {"coffee": 1000})).refused == (409, "lines_removed")
    reply = corner.send(give_back("B-2"))
    assert (taken(reply), reply["amount_minor"], reply["complete"]) == ([10], 1024, True)
    assert corner.send(give_back("B-3")).refused == (409, "already_returned")
    assert corner.send(purchase("R-2", 2000)).earned == 17


# --- with cancels and claims --------------------------------------------------------------------------------


def test_a_cancel_after_returns_takes_the_rest() -> None:
    corner = shop(capped(17))
    corner.done(purchase(lines=BASKET), give_back("B-1", {"coffee": 1000}))
    reply = corner.send(cancel())
    assert (taken(reply), reply.balance) == ([14], {})
    assert corner.send(purchase("R-2", 2000)).earned == 17
    assert corner.send(give_back("B-2")).refused == (409, "purchase_cancelled")


def test_a_cancel_after_all_was_returned_takes_nothing() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET), give_back())
    reply = corner.send(cancel())
    assert (reply.status, reply["revoked"]) == (201, [])


def test_a_cancelled_purchase_does_not_go_back() -> None:
    corner = shop()
    corner.done(cancel("unseen"), purchase(lines=BASKET), cancel())
    assert corner.send(give_back()).refused == (409, "purchase_cancelled")
    assert corner.send(give_back(of="unseen")).refused == (409, "purchase_cancelled")


def test_what_a_guest_returned_is_not_judged_when_the_rest_is_claimed() -> None:
    corner = shop(BASE, BONUS)
    bought = corner.done(purchase(of=None, lines=BASKET))
    reply = corner.send(give_back("B-1", {"ham": None}))
    assert (taken(reply), reply["member_id"], reply["balances"], reply["amount_minor"]) == ([], None, [], 700)
    claimed = corner.send(claim(bought["id"]))
    assert (claimed.earned, claimed.balance) == (10, {"available": 10}), "10.24 was left, and no bonus for it"
    parts = [corner.send(give_back(f"B-{n}", {"coffee": 1000})) for n in (2, 3)]
    assert [taken(part) for part in parts] == [[3], [3]]
    assert taken(corner.send(give_back("B-4"))) == [4]
    assert corner.balance() == {}


def test_a_half_line_that_is_claimed_goes_back_by_what_was_claimed_of_it() -> None:
    corner = shop(capped(17))
    bought = corner.done(purchase(of=None, lines=(line(1500, quantity_milli=3000),)))
    corner.done(give_back("B-1", {"1": 1000}), claim(bought["id"]))
    assert corner.balance() == {"available": 10}
    assert [taken(corner.send(give_back(f"B-{n}", {"1": 1000}))) for n in (2, 3)] == [[5], [5]]
    assert corner.send(purchase("R-2", 2000)).earned == 17


def test_what_was_returned_whole_cannot_be_claimed() -> None:
    corner = shop()
    bought = corner.done(purchase(of=None, lines=BASKET))
    returned = corner.done(give_back())
    assert corner.send(claim(bought["id"])).refused == (409, "already_returned")
    assert corner.send(claim(returned["id"])).refused == (404, "purchase_not_found"), (
        "a return is no purchase"
    )


# --- names --------------------------------------------------------------------------------------------------


def test_a_purchase_is_named_by_its_id_or_its_receipt() -> None:
    corner = shop()
    bought = corner.done(purchase(lines=BASKET))
    id = UUID(bought["id"])
    assert taken(corner.send(give_back("B-1", {"ham": None}, purchase_id=id))) == [7]
    assert taken(corner.send(give_back("B-2"))) == [10]
    for nothing in (UUID(int=7), UUID(corner.decisions[-1].activity_id.hex)):
        assert corner.send(give_back("B-3", purchase_id=nothing)).refused == (404, "purchase_not_found")


def test_the_same_return_again_is_the_same_return() -> None:
    corner = shop()
    bought = corner.done(purchase(lines=BASKET))
    first = corner.send(give_back("B-1", {"ham": None}))
    again = corner.send(give_back("B-1", {"ham": None}))
    assert (again.status, again.replayed, again.raw) == (200, True, first.raw)
    named_otherwise = corner.send(give_back("B-1", {"ham": None}, purchase_id=UUID(bought["id"])))
    assert (named_otherwise.status, named_otherwise.raw) == (200, first.raw)
    other_secret = corner.send(give_back("B-1", {"ham": None}), digests=Digests(OLD_SECRET))
    assert (other_secret.status, other_secret.raw) == (200, first.raw)
    rotated = corner.send(give_back("B-1", {"ham": None}), digests=Digests(OLD_SECRET, SECRET))
    assert (rotated.status, rotated.raw) == (200, first.raw)
    assert corner.balance() == {"available": 10}


def test_another_return_under_the_same_name_is_told_where_it_differs() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET), purchase("R-2"))
    first = corner.send(give_back("B-1", {"coffee": 1000}))
    other = corner.send(give_back("B-1", {"coffee": 2000}, till="9"))
    assert (other.refused, other["first_id"]) == ((409, "activity_differs"), first["id"])
    assert other["differs"] == ["/lines/0/quantity", "/till"]
    assert corner.send(give_back("B-1", {"coffee": 1000}, of="R-2"))["differs"] == ["/purchase_id"]
    assert corner.send(purchase("B-1")).status == 201, "a purchase may bear the number of a return"


def test_a_till_takes_back_what_another_store_sold() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET, location="store-12"))
    assert corner.send(give_back(location="store-13"), bound_to=("store-13",)).status == 201


# --- never seen ---------------------------------------------------------------------------------------------


def test_a_purchase_never_seen_does_not_go_back() -> None:
    corner = shop()
    assert corner.send(give_back()).refused == (404, "purchase_not_found")


def test_by_policy_a_return_of_a_purchase_never_seen_is_remembered_and_moves_nothing() -> None:
    corner = shop(policies={"blind_returns": "record"})
    reply = corner.send(give_back("B-1", {"ham": 512}))
    assert (reply.status, reply["purchase_id"], reply["member_id"], reply["revoked"]) == (201, None, None, [])
    assert (reply["amount_minor"], reply["receipt"]["lines"]) == (None, ["Goods returned"])
    again = corner.send(give_back("B-1", {"ham": 512}))
    assert (again.status, again.raw) == (200, reply.raw)
    assert corner.send(give_back("B-1", {"ham": 500}))["differs"] == ["/lines/0/quantity"]
    assert corner.send(give_back("B-2", purchase_id=UUID(int=7))).refused == (404, "purchase_not_found")
    corner.done(purchase(lines=BASKET))
    again = corner.send(give_back("B-1", {"ham": 512}), digests=Digests(OLD_SECRET))
    assert (again.status, again.raw) == (200, reply.raw), "also once the purchase has come"


# --- exchange -----------------------------------------------------------------------------------------------


def test_an_exchange_is_a_return_and_a_purchase_at_once() -> None:
    corner = shop(capped(17))
    corner.done(purchase(lines=BASKET))
    reply = corner.send(exchange(give_back("B-1", {"ham": None}), purchase("R-2", 900)))
    assert (reply.status, taken_in(reply), reply["purchase"]["earned"][0]["points"]) == (201, [7], 7)
    assert [reply[part]["balances"][0]["available"] for part in ("returned", "purchase")] == [10, 17]
    assert [decision.kind for decision in corner.decisions[-3:]] == ["return", "purchase", "exchange"]
    assert [kind for kind, _ in corner.events[-2:]] == [
        "loyalty.purchase.returned",
        "loyalty.purchase.recorded",
    ]
    again = corner.send(exchange(give_back("B-1", {"ham": None}), purchase("R-2", 900)))
    assert (again.status, again.raw) == (200, reply.raw)
    alone = corner.send(purchase("R-2", 900))
    assert (alone.status, alone["id"]) == (200, reply["purchase"]["id"])


def taken_in(reply: Reply) -> list[int]:
    return [one["points"] for one in reply["returned"]["revoked"]]


@pytest.mark.parametrize(
    ("back", "bought", "code"),
    [
        (give_back("B-1", {"ham": 513}), purchase("R-2"), "exceeds_purchase"),
        (give_back("B-1", {"ham": 512}), purchase("R-2", money="USD"), "currency_not_supported"),
        (give_back("B-1", {"ham": 512}), purchase("R-2", of="nobody"), "member_not_found"),
        (give_back("B-1", {"ham": 512}), purchase("R-1"), "activity_differs"),
    ],
    ids=["too much goes back", "other money", "a stranger", "a receipt known otherwise"],
)
def test_of_an_exchange_both_happen_or_neither(back: Any, bought: Any, code: str) -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET))
    before = len(corner.decisions)
    assert corner.send(exchange(back, bought))["code"] == code
    assert (corner.balance(), len(corner.decisions)) == ({"available": 17}, before)
    assert corner.send(give_back("B-1", {"ham": 512})).status == 201


def test_a_part_that_stands_alone_is_not_part_of_an_exchange() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET), give_back("B-1", {"ham": None}))
    reply = corner.send(exchange(give_back("B-1", {"ham": None}), purchase("R-2")))
    assert (reply.refused, reply["differs"]) == ((409, "activity_differs"), ["/purchase"])
    corner.done(exchange(give_back("B-2", {"coffee": 1000}), purchase("R-2")))
    reply = corner.send(exchange(give_back("B-2", {"coffee": 2000}), purchase("R-2")))
    assert reply["differs"] == ["/returned/lines/0/quantity"]
    reply = corner.send(exchange(give_back("B-3", {"coffee": 1000}), purchase("R-2")))
    assert reply["differs"] == ["/returned"]


def test_the_lines_of_an_exchange_are_named_by_their_place_in_it() -> None:
    corner = shop()
    corner.done(purchase(lines=BASKET))
    reply = corner.send(exchange(give_back("B-1", {"tea": 1000}), purchase("R-2")))
    assert reply["errors"][0]["pointer"] == "/returned/lines/0/line_id"


def test_what_one_brings_another_may_exchange() -> None:
    corner = shop(members=(ANN, BOB))
    corner.done(purchase(lines=BASKET))
    reply = corner.send(exchange(give_back("B-1"), purchase("R-2", of=BOB)))
    assert (corner.balance(ANN), corner.balance(BOB)) == ({}, {"available": 10})
    assert reply["returned"]["member_id"] != reply["purchase"]["member_id"]


# --- multiplied ---------------------------------------------------------------------------------------------


def test_extra_points_go_with_the_lines_that_brought_them() -> None:
    double = Rule(
        "double", "double coffee", "points", Multiplier(20_000, lines=Lines(categories=("coffee",)))
    )
    cap = MemberCap(6, CapPeriod.MONTH)
    limited = Rule("ham", "for ham", "points", Fixed(9, Lines(skus=("HAM",))), member_cap=cap)
    corner = shop(BASE, double, limited)
    corner.done(purchase(lines=BASKET))
    assert corner.balance() == {"available": 33}
    assert taken(corner.send(give_back("B-1", {"coffee": 1500}))) == [10]
    assert taken(corner.send(give_back("B-2", {"ham": 256}))) == [6]
    assert taken(corner.send(give_back("B-3"))) == [17]
