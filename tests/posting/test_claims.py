"""A guest's purchase claimed by a member: once, in time, by the rules of when it happened."""

from datetime import timedelta

from loyalty.members.types import MemberStatus
from loyalty.posting.commands import ChangeMember, ClaimPurchase, Publish
from loyalty.programs.types import PointsCurrency, Rolling
from loyalty.rules.types import Multiplier, PerSpend, Rule
from tests.posting.shop import (
    ANN,
    BASE,
    BOB,
    NOW,
    ago,
    cancel,
    capped,
    card,
    claim,
    forget_lines,
    program,
    purchase,
    shop,
)


def test_a_claim_gives_the_member_what_the_purchase_would_have_earned() -> None:
    corner = shop()
    bought = corner.send(purchase(of=None))
    reply = corner.send(claim(bought["id"]))
    assert (reply.status, reply["id"], reply["status"]) == (201, bought["id"], "recorded")
    assert (reply.earned, reply.balance) == (10, {"available": 10})
    assert corner.events[-1][0] == "loyalty.purchase.claimed"


def test_a_claim_is_judged_by_the_rules_and_dates_of_when_it_was_bought() -> None:
    corner = shop(expiry=Rolling(days=30))
    bought = corner.send(purchase(of=None, at=ago(days=1)))
    corner.now = NOW + timedelta(days=1)
    double = Rule("double", "double points", "points", Multiplier(20_000))
    corner.done(Publish(program(BASE, double, expiry=Rolling(days=30))))
    reply = corner.send(claim(bought["id"]))
    assert (reply.earned, reply["earned"][0]["last_day_on"]) == (10, "2026-12-18")
    assert corner.decisions[-1].occurred_at == ago(days=1)


def test_a_program_put_in_force_at_the_instant_of_the_purchase_behind_it_plays_no_part() -> None:
    """What may earn was told by the one program; by the other's rules it would be a mixture, or not there at all."""
    corner = shop()
    bought = corner.send(purchase(of=None))
    miles = Rule("miles", "miles", "miles", PerSpend(points=1, each_minor=1))
    corner.done(Publish(program(miles, currencies=(PointsCurrency("miles", "miles"),))))
    reply = corner.send(claim(bought["id"]))
    assert [(one["points_currency"], one["points"]) for one in reply["earned"]] == [("points", 10)]


def test_a_claim_counts_in_the_caps_of_the_member() -> None:
    corner = shop(capped(15))
    bought = corner.send(purchase("R-1", of=None))
    corner.done(purchase("R-2"))
    assert corner.send(claim(bought["id"])).earned == 5
    assert corner.send(purchase("R-3")).earned == 0


def test_a_purchase_is_claimed_once() -> None:
    corner = shop(members=(ANN, BOB))
    bought = corner.send(purchase(of=None))
    first = corner.done(claim(bought["id"], by=ANN))
    assert corner.send(claim(bought["id"], by=BOB)).refused == (409, "already_claimed")
    again = corner.send(claim(bought["id"], by=ANN))
    assert (again.status, again.raw, corner.balance()) == (200, first.raw, {"available": 10})


def test_a_claim_sent_again_has_its_first_answer_also_late_and_after_a_cancel() -> None:
    corner = shop()
    bought = corner.send(purchase(of=None))
    first = corner.done(claim(bought["id"]))
    corner.now = NOW + timedelta(days=90)
    assert corner.send(claim(bought["id"])).raw == first.raw
    corner.done(cancel("R-1"))
    assert corner.send(claim(bought["id"])).raw == first.raw


def test_a_members_purchase_cannot_be_claimed() -> None:
    corner = shop(members=(ANN, BOB))
    bought = corner.send(purchase(of=ANN))
    assert corner.send(claim(bought["id"], by=BOB)).refused == (409, "already_claimed")


def test_a_claim_that_comes_too_late_is_refused() -> None:
    corner = shop(policies={"claim_days_max": 10})
    bought = corner.send(purchase(of=None))
    corner.now = NOW + timedelta(days=10, seconds=1)
    assert corner.send(claim(bought["id"])).refused == (409, "claim_too_late")
    corner.now = NOW + timedelta(days=10)
    assert corner.send(claim(bought["id"])).status == 201


def test_a_purchase_whose_lines_were_removed_cannot_be_claimed_any_more() -> None:
    corner = shop()
    bought = corner.send(purchase(of=None))
    forget_lines(corner)
    assert corner.send(claim(bought["id"])).refused == (409, "claim_too_late")


def test_what_was_never_bought_cannot_be_claimed() -> None:
    corner = shop()
    remembered = corner.send(cancel("R-1"))
    assert corner.send(claim(remembered["id"])).refused == (404, "purchase_not_found")
    assert corner.send(ClaimPurchase(corner.book.ids(), card(ANN))).refused == (404, "purchase_not_found")


def test_only_a_member_in_good_standing_can_claim() -> None:
    corner = shop()
    bought = corner.send(purchase(of=None))
    assert corner.send(claim(bought["id"], by="nobody")).refused == (404, "member_not_found")
    corner.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    assert corner.send(claim(bought["id"])).refused == (409, "member_blocked")


def test_the_receipt_of_a_claimed_purchase_sent_again_has_its_first_answer() -> None:
    corner = shop()
    bought = corner.send(purchase(of=None))
    corner.done(claim(bought["id"]))
    again = corner.send(purchase(of=None))
    assert (again.status, again.raw) == (200, bought.raw)
