"""Points without a purchase: credits and debits by hand, opening balances."""

from datetime import timedelta
from typing import Any

import pytest

from loyalty.members.types import MemberStatus
from loyalty.posting.commands import Adjust, ChangeMember
from loyalty.programs.types import Rolling
from tests.posting.shop import ANN, BOB, NOW, adjust, ago, cancel, card, imported, purchase, shop

# --- by hand ------------------------------------------------------------------------------------------------


def test_a_credit_has_its_reason_and_the_dates_of_the_policy() -> None:
    corner = shop(expiry=Rolling(days=10))
    reply = corner.send(adjust(50, reason="goodwill"))
    assert (reply.status, reply.balance) == (201, {"available": 50})
    assert (reply["points"], reply["reason"]) == (50, "goodwill")
    assert reply["earned"][0]["last_day_on"] == "2026-11-29"
    (entry,) = corner.decisions[-1].entries
    assert (entry.kind, entry.cause) == ("adjust_credit", "goodwill")
    assert reply["id"] == reply["decision_id"] == str(corner.decisions[-1].id)


def test_a_debit_takes_the_points_that_end_first() -> None:
    corner = shop()
    corner.done(imported(30, "1", expires_at=NOW + timedelta(days=9)), imported(30, "2"))
    reply = corner.send(adjust(-40))
    assert (reply.balance, reply["earned"]) == ({"available": 20}, [])
    taken = [posting.points for posting in corner.decisions[-1].entries[0].postings]
    assert taken == [30, 10]


def test_a_debit_never_takes_more_than_there_is() -> None:
    corner = shop()
    corner.done(adjust(30))
    reply = corner.send(adjust(-31))
    assert (reply.refused, reply["wanted"], reply["available"]) == ((409, "insufficient_points"), 31, 30)
    assert corner.send(adjust(-30)).balance == {}


def test_a_debit_of_a_member_who_never_had_points_is_refused() -> None:
    assert shop().send(adjust(-1)).refused == (409, "insufficient_points")


def test_expired_points_cannot_be_taken_by_hand() -> None:
    corner = shop(expiry=Rolling(days=10))
    corner.done(adjust(30))
    corner.now = NOW + timedelta(days=10)
    assert corner.send(adjust(-1)).refused == (409, "insufficient_points")


def test_a_credit_pays_a_debt_first() -> None:
    corner = shop()
    corner.done(purchase(), adjust(-10), cancel())
    assert corner.send(adjust(4)).balance == {"debt": 6}
    assert corner.send(adjust(10)).balance == {"available": 4}


def test_what_names_nobody_or_no_points_currency_is_refused() -> None:
    corner = shop(members=(ANN, BOB))
    assert corner.send(adjust(1, of="nobody")).refused == (404, "member_not_found")
    assert corner.send(Adjust(card(ANN), "miles", 1, "goodwill")).refused == (422, "points_currency_unknown")
    corner.done(ChangeMember(card(BOB), MemberStatus.BLOCKED))
    assert corner.send(adjust(1, of=BOB)).refused == (409, "member_blocked")


# --- opening balances ---------------------------------------------------------------------------------------


def test_an_opening_balance_keeps_its_original_dates() -> None:
    corner = shop(expiry=Rolling(days=10))
    reply = corner.send(imported(100, at=ago(days=200), expires_at=NOW + timedelta(days=30)))
    assert (reply.status, reply.balance) == (201, {"available": 100})
    assert reply["earned"][0]["expires_at"] == "2026-12-20T15:30:00Z"
    (entry,) = corner.decisions[-1].entries
    assert (entry.kind, entry.occurred_at) == ("import", ago(days=200))
    assert entry.lots[0].vintage_at == ago(days=200)


def test_an_opening_balance_without_dates_has_those_that_the_policy_gives_its_issue() -> None:
    reply = shop(expiry=Rolling(days=10)).send(imported(100, at=ago(days=4)))
    assert reply["earned"][0]["last_day_on"] == "2026-11-25"


def test_an_opening_balance_that_is_over_already_is_issued_and_expired_at_once() -> None:
    corner = shop()
    reply = corner.send(imported(100, at=ago(days=200), expires_at=ago(days=1)))
    assert (reply["earned"][0]["state"], reply.balance) == ("expired", {})
    assert corner.entries == ["import", "expire"]


def test_an_opening_balance_may_still_have_to_wait() -> None:
    corner = shop()
    reply = corner.send(imported(100, "1", at=ago(days=1), activates_at=NOW + timedelta(days=1)))
    assert reply.balance == {"pending": 100}
    over = corner.send(imported(7, "2", at=ago(days=9), activates_at=ago(days=2)))
    assert over.balance == {"available": 7, "pending": 100}


@pytest.mark.parametrize(
    "dates",
    [
        {"expires_at": ago(days=5)},
        {"expires_at": NOW, "activates_at": NOW},
        {"expires_at": NOW, "activates_at": NOW + timedelta(days=1)},
    ],
    ids=["ends when issued", "ends when active", "ends before active"],
)
def test_dates_that_contradict_each_other_are_refused(dates: dict[str, Any]) -> None:
    assert shop().send(imported(1, at=ago(days=5), **dates)).refused == (422, "contradictory_range")


def test_points_cannot_have_been_issued_in_the_future() -> None:
    assert shop().send(imported(1, at=NOW + timedelta(seconds=1))).refused == (422, "in_future")


def test_a_row_is_imported_once() -> None:
    corner = shop()
    first, again = corner.send(imported(100, "row-1")), corner.send(imported(100, "row-1"))
    assert (again.status, again.replayed, again.raw) == (200, True, first.raw)
    other = corner.send(imported(101, "row-1"))
    assert (other.refused, other["first_id"]) == ((409, "activity_differs"), first["id"])
    assert corner.balance() == {"available": 100}
