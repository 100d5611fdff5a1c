"""Issuing, spending order, debts repaid."""

from datetime import datetime

import pytest

from loyalty.ledger.types import POINTS_MAX, BalanceLimitExceeded, InsufficientPoints
from tests.pure.books import Books, balance, day, figures, moved


def test_the_lot_that_expires_first_is_spent_first_and_the_everlasting_last() -> None:
    books = Books()
    forever = books.credit(10, day(1))
    late = books.credit(10, day(2), expires=day(90))
    early = books.credit(10, day(3), expires=day(30))
    books.spend(15, day(4))
    assert (early.available, late.available, forever.available) == (0, 5, 10)


def test_lots_that_expire_together_are_spent_oldest_first() -> None:
    books = Books()
    younger = books.credit(10, day(2), expires=day(30))
    older = books.credit(10, day(1), expires=day(30))
    books.spend(10, day(3))
    assert (older.available, younger.available) == (0, 10)


def test_spending_more_than_there_is_takes_nothing() -> None:
    books = Books()
    books.credit(10)
    books.credit(50, activates=day(5))
    with pytest.raises(InsufficientPoints) as refusal:
        books.spend(11, day(1))
    assert refusal.value.facts == {"wanted": 11, "available": 10}
    assert balance(books.account) == (50, 10, 0, 0)


@pytest.mark.parametrize(
    ("activates", "pending", "available"),
    [(None, 0, 10), (day(0), 0, 10), (day(-1), 0, 10), (day(1), 10, 0)],
)
def test_points_are_pending_only_when_they_activate_later(
    activates: datetime | None, pending: int, available: int
) -> None:
    books = Books()
    books.credit(10, day(0), activates=activates)
    assert balance(books.account) == (pending, available, 0, 0)


def test_a_balance_beyond_exact_counting_is_refused() -> None:
    books = Books()
    books.credit(POINTS_MAX - 5)
    with pytest.raises(BalanceLimitExceeded):
        books.credit(6)
    books.credit(5)
    assert books.account.available == POINTS_MAX


def test_a_debt_is_repaid_by_the_next_credit_and_only_the_rest_is_available() -> None:
    books = Books()
    first = books.credit(100)
    books.spend(100, day(1))
    books.revoke({first.id: 100}, day(2), negative="floor", floor=500)
    books.settle(day(3))
    second = books.credit(130, day(3))
    books.settle(day(3))
    assert balance(books.account) == (0, 30, 0, 0)
    assert moved(books.entries[-1]) == [(100, "available", "deficit")]
    assert figures(second) == {"available": 30, "deficit": 100}


def test_a_credit_smaller_than_the_debt_goes_into_it_whole() -> None:
    books = Books()
    first = books.credit(100)
    books.spend(100, day(1))
    books.revoke({first.id: 100}, day(2), negative="floor", floor=500)
    books.credit(30, day(3))
    books.settle(day(3))
    assert balance(books.account) == (0, 0, 0, 70)
