"""A purchase: what it earns, when it is refused, what its answer, decision and event say."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from loyalty.conditions.types import Lines
from loyalty.members.types import Identifier, IdentifierKind, MemberStatus
from loyalty.posting.commands import ChangeMember, EraseMember, MemberRef, Publish, Tender
from loyalty.posting.detail import Detail
from loyalty.programs.types import PointsCurrency, Rolling
from loyalty.rules.types import CapPeriod, Fixed, Multiplier, PerSpend, Rule
from tests.posting.shop import ANN, BASE, NOW, ago, capped, card, claim, line, program, purchase, shop

DOUBLE = Rule("double", "double points", "points", Multiplier(20_000))


# --- what it earns ------------------------------------------------------------------------------------------


def test_a_purchase_earns_by_the_rules_and_says_when_the_points_end() -> None:
    reply = shop(expiry=Rolling(months=12)).send(purchase(amount_minor=4_199))
    assert (reply.status, reply["status"], reply["ruleset_version"]) == (201, "recorded", 1)
    assert (reply.earned, reply.balance) == (41, {"available": 41})
    (earned,) = reply["earned"]
    assert (earned["state"], earned["last_day_on"]) == ("available", "2027-11-19")
    assert earned["expires_at"] == "2027-11-19T23:00:00Z"  # midnight in Berlin
    assert reply["receipt"]["lines"] == ["41 points: 41 for the basket", "Balance 41"]


def test_the_decision_keeps_what_could_earn_the_awards_the_caps_and_the_lots() -> None:
    corner = shop(capped(1_000))
    corner.done(purchase(lines=(line(4_000), line(199, line_id="2", sku="TEA"))))
    detail = msgspec.json.decode(corner.decisions[-1].detail, type=Detail)
    (award,) = detail.awards
    assert (award.points, award.wanted, award.split) == (41, 41, (39, 2))
    assert detail.basis == {"points": (4_000, 199)}
    assert detail.counted == (("base", "2026-11", 41),)
    assert [(lot.points_currency, lot.points) for lot in detail.lots] == [("points", 41)]


def test_the_lines_are_kept_beside_the_books_and_the_decision_has_their_digest() -> None:
    corner = shop()
    corner.done(purchase())
    decision = corner.decisions[-1]
    ((_, activity),) = corner.book.new_activities.values()
    assert activity.content is not None and "COF-500" in activity.content
    assert "COF-500" not in decision.detail + decision.answer
    detail = msgspec.json.decode(decision.detail, type=Detail)
    assert detail.content_sha256 == sha256(activity.content.encode()).hexdigest()


def test_the_event_tells_the_purchase_and_what_each_entry_changed() -> None:
    corner = shop()
    corner.done(purchase(location="store-12"))
    kind, data = corner.events[-1]
    assert kind == "loyalty.purchase.recorded"
    assert (data["external_id"], data["location"], data["amount_minor"]) == ("R-1", "store-12", 1_000)
    (entry,) = data["entries"]
    assert (entry["kind"], entry["available"], entry["pending"], entry["debt"]) == ("earn", 10, 0, 0)


def test_a_purchase_below_the_first_step_is_recorded_without_an_entry() -> None:
    corner = shop()
    reply = corner.send(purchase(amount_minor=99))
    assert (reply.status, reply["earned"], corner.entries) == (201, [], [])
    assert reply["receipt"]["lines"][0] == "No points for this purchase"


def test_a_line_of_which_nothing_was_taken_is_welcome_and_earns_nothing() -> None:
    lines = (line(0, quantity_milli=0), line(500, line_id="2", sku="TEA"))
    assert shop().send(purchase(lines=lines)).earned == 5


def test_a_line_that_gives_money_back_does_not_lower_what_the_others_earn() -> None:
    lines = (line(-300, sku="DEPOSIT"), line(1_000, line_id="2"))
    assert shop().send(purchase(lines=lines)).earned == 10


def test_excluded_lines_earn_nothing_under_any_rule() -> None:
    corner = shop(BASE, DOUBLE, excluded=Lines(tags=("no-points",)))
    lines = (line(1_000), line(500, line_id="2", tags=("no-points",)))
    assert corner.send(purchase(lines=lines)).earned == 20


def test_tax_earns_unless_the_points_currency_says_otherwise() -> None:
    lines = (line(1_190, tax_minor=190),)
    assert shop().send(purchase(lines=lines)).earned == 11
    assert shop(tax_earns=False).send(purchase(lines=lines)).earned == 10


@pytest.mark.parametrize(
    ("paid_minor", "points"), [(0, 10), (400, 6), (1_000, 0), (2_500, 0)], ids="none part all more".split()
)
def test_what_was_paid_with_an_excluded_tender_does_not_earn(paid_minor: int, points: int) -> None:
    corner = shop(excluded_tenders=("gift-card",))
    tenders = (Tender("gift-card", paid_minor), Tender("cash", max(0, 1_000 - paid_minor)))
    assert corner.send(purchase(amount_minor=1_000, tenders=tenders)).earned == points


def test_an_excluded_tender_is_shared_on_the_lines_by_what_they_cost() -> None:
    """30 of 40 euros by gift card: a quarter of each line earns; the tax of a line does not earn twice less."""
    corner = shop(excluded_tenders=("gift-card",), tax_earns=False)
    lines = (line(3_000, tax_minor=500), line(1_000, line_id="2"))
    reply = corner.send(purchase(lines=lines, tenders=(Tender("gift-card", 3_000),)))
    detail = msgspec.json.decode(corner.decisions[-1].detail, type=Detail)
    assert detail.basis == {"points": (625, 250)}
    assert reply.earned == 8


def test_each_points_currency_earns_by_its_own_rules() -> None:
    stamps = PointsCurrency("stamps", "Stamps", spendable=False)
    one = Rule("stamp", "a stamp", "stamps", Fixed(1))
    reply = shop(BASE, one, currencies=(stamps,)).send(purchase())
    assert [(e["points_currency"], e["points"]) for e in reply["earned"]] == [("points", 10), ("stamps", 1)]
    assert [b["available"] for b in reply["balances"]] == [10, 1]


def test_points_that_wait_are_pending_until_their_day_begins() -> None:
    corner = shop(pending_days=14)
    reply = corner.send(purchase())
    assert (reply["earned"][0]["state"], reply.balance) == ("pending", {"pending": 10})
    assert reply["earned"][0]["activates_at"] == "2026-12-03T23:00:00Z"
    corner.now = datetime(2026, 12, 3, 23, tzinfo=UTC)
    assert corner.send(purchase("R-2", 100, at=corner.now)).balance == {"available": 10, "pending": 1}


def test_what_fell_due_is_written_before_the_next_purchase() -> None:
    corner = shop(expiry=Rolling(days=30))
    corner.done(purchase())
    corner.now = NOW + timedelta(days=40)
    reply = corner.send(purchase("R-2", 300, at=corner.now))
    assert (corner.entries, reply.balance) == (["earn", "expire", "earn"], {"available": 3})
    assert [e["kind"] for e in corner.events[-1][1]["entries"]] == ["expire", "earn"]


# --- caps ---------------------------------------------------------------------------------------------------


def test_a_cap_cuts_what_is_above_it_and_the_award_says_so() -> None:
    corner = shop(capped(15))
    assert [corner.send(purchase(f"R-{n}")).earned for n in range(3)] == [10, 5, 0]
    second = msgspec.json.decode(corner.decisions[-2].detail, type=Detail)
    assert [(a.points, a.wanted, a.cut_by) for a in second.awards] == [(5, 10, "member_cap")]


def test_a_late_purchase_uses_the_cap_of_the_month_it_happened_in() -> None:
    corner = shop(capped(15))
    corner.done(purchase("R-1", 1_500))
    late = corner.send(purchase("R-2", 1_500, at=ago(days=25)))
    assert late.earned == 15
    assert corner.send(purchase("R-3", 100)).earned == 0


def test_a_month_begins_at_midnight_of_the_program() -> None:
    """22:30 UTC on 31 October is 23:30 in Berlin; an hour later it is November there."""
    corner = shop(capped(10))
    october = datetime(2026, 10, 31, 22, 30, tzinfo=UTC)
    assert corner.send(purchase("R-1", at=october)).earned == 10
    assert corner.send(purchase("R-2", at=october)).earned == 0
    assert corner.send(purchase("R-3", at=october + timedelta(hours=1))).earned == 10


def test_each_member_has_a_cap_of_her_own() -> None:
    corner = shop(capped(10, CapPeriod.EVER), members=(ANN, "6035550002"))
    corner.done(purchase("R-1"))
    assert corner.send(purchase("R-2", of="6035550002")).earned == 10


# --- late and early -----------------------------------------------------------------------------------------


def test_a_late_purchase_is_judged_by_the_rules_of_when_it_happened() -> None:
    corner = shop()
    corner.now = NOW + timedelta(days=2)
    corner.done(Publish(program(BASE, DOUBLE)))
    assert corner.send(purchase("R-1", at=NOW)).earned == 10
    assert corner.send(purchase("R-2", at=corner.now)).earned == 20


def test_a_purchase_so_late_that_its_points_are_over_is_answered_with_expired_points() -> None:
    corner = shop(expiry=Rolling(days=10))
    reply = corner.send(purchase(at=ago(days=20)))
    assert (reply["earned"][0]["state"], reply.balance) == ("expired", {})
    assert corner.entries == ["earn", "expire"]


def test_a_purchase_later_than_the_program_accepts_is_refused() -> None:
    corner = shop(policies={"late_days_max": 30})
    assert corner.send(purchase("R-1", at=ago(days=30))).status == 201
    assert corner.send(purchase("R-2", at=ago(days=30, seconds=1))).refused == (422, "too_old")


def test_a_replay_of_old_receipts_may_be_as_late_as_it_is() -> None:
    corner = shop(policies={"late_days_max": None})
    assert corner.send(purchase(at=datetime(1999, 1, 1, tzinfo=UTC))).status == 201


def test_a_till_whose_clock_is_a_little_ahead_is_believed_to_mean_now() -> None:
    corner = shop(policies={"future_minutes_max": 15})
    corner.done(purchase("R-1", at=NOW + timedelta(minutes=15)))
    assert corner.decisions[-1].occurred_at == NOW
    refused = corner.send(purchase("R-2", at=NOW + timedelta(minutes=15, seconds=1)))
    assert refused.refused == (422, "in_future")


# --- who ----------------------------------------------------------------------------------------------------


def test_a_guest_earns_nothing_and_is_recorded_all_the_same() -> None:
    corner = shop()
    reply = corner.send(purchase(of=None))
    assert (reply.status, reply["member_id"], reply["earned"], reply["balances"]) == (201, None, [], [])
    assert corner.entries == []


@pytest.mark.parametrize("kind", IdentifierKind)
def test_the_policy_of_its_kind_says_what_becomes_of_a_stranger(kind: IdentifierKind) -> None:
    stranger = MemberRef(identifier=Identifier(kind, "x1"))

    def told(policy: str) -> tuple[int, bool, int]:
        reply = shop(policies={f"unknown_{kind}": policy}).send(purchase(member=stranger))
        if reply.status != 201:
            return reply.status, False, 0
        return reply.status, reply["member_id"] is not None, reply.earned

    assert told("refuse") == (404, False, 0)
    assert told("enrol") == (201, True, 10)
    assert told("guest") == (201, False, 0)
    other = next(k for k in IdentifierKind if k is not kind)
    assert shop(policies={f"unknown_{other}": "enrol"}).send(purchase(member=stranger)).status == 404


def test_a_stranger_is_enrolled_by_the_first_purchase_and_known_by_the_second() -> None:
    corner = shop(members=(), policies={"unknown_card": "enrol"})
    first, second = corner.send(purchase("R-1")), corner.send(purchase("R-2"))
    assert first["member_id"] == second["member_id"]
    assert second.balance == {"available": 20}
    assert [kind for kind, _ in corner.events[-3:]] == [
        "loyalty.member.enrolled",
        "loyalty.purchase.recorded",
        "loyalty.purchase.recorded",
    ]


def test_an_unknown_id_is_refused_whatever_the_policies_say() -> None:
    corner = shop(policies={f"unknown_{kind}": "enrol" for kind in IdentifierKind})
    assert corner.send(purchase(member=MemberRef(id=corner.book.ids()))).refused == (404, "member_not_found")


def test_the_blocked_and_the_erased_earn_nothing() -> None:
    corner = shop()
    member_id = corner.book.identified(card(ANN).identifier)  # type: ignore[arg-type]
    corner.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    assert corner.send(purchase("R-1")).refused == (409, "member_blocked")
    corner.done(EraseMember(card(ANN)))
    assert corner.send(purchase("R-2", member=MemberRef(id=member_id))).refused == (409, "member_erased")
    assert corner.send(purchase("R-3")).refused == (404, "member_not_found")
    assert corner.entries == []


# --- what else is refused -----------------------------------------------------------------------------------


def test_a_purchase_in_another_money_is_refused() -> None:
    reply = shop().send(purchase(money="USD"))
    assert reply.refused == (422, "currency_not_supported")
    assert (reply["money"], reply["program_money"]) == ("USD", "EUR")


def test_of_several_refusals_the_documented_first_is_told() -> None:
    """Natural key, then time, then money, then member."""
    corner = shop()
    corner.done(purchase("R-1"))
    wrong: dict[str, Any] = {"money": "USD", "of": "nobody"}
    assert corner.send(purchase("R-1", at=ago(days=99), **wrong)).refused[1] == "activity_differs"
    assert corner.send(purchase("R-2", at=ago(days=99), **wrong)).refused[1] == "too_old"
    assert corner.send(purchase("R-2", **wrong)).refused[1] == "currency_not_supported"
    assert corner.send(purchase("R-2", of="nobody")).refused[1] == "member_not_found"


def test_an_account_cannot_hold_more_than_can_be_counted_exactly() -> None:
    million = Rule("million", "a lot", "points", PerSpend(points=1_000_000, each_minor=1))
    corner = shop(million)
    assert corner.send(purchase("R-1", 9_007_199_254)).status == 201
    assert corner.send(purchase("R-2", 1_000)).refused == (409, "balance_limit_exceeded")
    assert corner.balance() == {"available": 9_007_199_254_000_000}


def test_a_purchase_told_when_its_points_are_over_says_so() -> None:
    corner = shop(expiry=Rolling(days=10))
    reply = corner.send(purchase("R-1", at=ago(days=20)))
    assert (reply["earned"][0]["state"], reply.balance) == ("expired", {})
    assert reply["receipt"]["lines"] == ["10 points: 10 for the basket", "10 points had expired", "Balance 0"]
    guests = corner.done(purchase("R-2", 100, of=None, at=ago(days=20)))
    claimed = corner.done(claim(guests["id"]))
    assert claimed["receipt"]["lines"] == ["1 point: 1 for the basket", "1 point had expired", "Balance 0"]


def test_points_of_other_purchases_that_expire_meanwhile_are_not_told_with_this_one() -> None:
    corner = shop(expiry=Rolling(days=10))
    corner.done(purchase("R-1"))
    corner.now = NOW + timedelta(days=20)
    reply = corner.done(purchase("R-2", at=corner.now))
    assert reply["receipt"]["lines"] == ["10 points: 10 for the basket", "Balance 10"]


def test_a_refused_purchase_leaves_no_trace_but_its_answer() -> None:
    corner = shop(capped(5), expiry=Rolling(days=30))
    corner.done(purchase("R-1", 300))
    corner.now = NOW + timedelta(days=40)
    before = (len(corner.decisions), corner.entries, len(corner.events))
    assert corner.send(purchase("R-2", at=corner.now, money="USD")).status == 422
    assert (len(corner.decisions), corner.entries, len(corner.events)) == before
    assert corner.balance() == {"available": 3}, "what was due is found again by the next"
