"""An account as it was at an instant, read from its entries."""

from datetime import datetime, timedelta

import pytest

from loyalty.ledger.asof import replay, settle_here
from loyalty.ledger.settle import next_due
from loyalty.ledger.types import POINTS_MAX
from tests.pure.books import UTC_ZONE, Books, balance, day

MOMENT = timedelta(microseconds=1)


def read(books: Books, as_of: datetime) -> tuple[int, int, int, int]:
    account, lots = replay(books.account.id, books.account.owner_id, "points", books.entries, as_of, UTC_ZONE)
    account.next_due_at = next_due(account, lots)
    settle_here(account, lots, (), as_of)
    return balance(account)


def a_year() -> Books:
    books = Books()
    books.credit(100, day(1), activates=day(5), expires=day(30))
    books.settle(day(10))
    books.spend(40, day(10))
    books.settle(day(40))
    return books


@pytest.mark.parametrize(
    ("as_of", "left"),
    [
        (day(1) - MOMENT, (0, 0, 0, 0)),
        (day(1), (100, 0, 0, 0)),
        (day(5) - MOMENT, (100, 0, 0, 0)),
        (day(5), (0, 100, 0, 0)),
        (day(10), (0, 60, 0, 0)),
        (day(30) - MOMENT, (0, 60, 0, 0)),
        (day(30), (0, 0, 0, 0)),
        (day(99), (0, 0, 0, 0)),
    ],
)
def test_a_balance_as_of_an_instant_holds_what_happened_by_then(
    as_of: datetime, left: tuple[int, int, int, int]
) -> None:
    assert read(a_year(), as_of) == left


def test_a_credit_recorded_late_shows_from_when_it_happened() -> None:
    books = a_year()
    before = read(books, day(20))
    books.credit(7, day(15))
    assert (before, read(books, day(20)), read(books, day(14))) == (
        (0, 60, 0, 0),
        (0, 67, 0, 0),
        (0, 60, 0, 0),
    )


def test_points_that_never_were_there_together_may_be_so_as_of_a_past_instant() -> None:
    """A lot that ended was recorded first; then one as large as an account can hold, dated before that end."""
    books = Books()
    books.credit(100, day(10), expires=day(30))
    books.settle(day(40))
    books.credit(POINTS_MAX, day(5), expires=day(90))
    assert [read(books, day(n))[1] for n in (7, 20, 35)] == [POINTS_MAX, POINTS_MAX + 100, POINTS_MAX]


def test_what_no_sweep_has_written_yet_is_due_all_the_same() -> None:
    books = Books()
    books.credit(100, day(1), activates=day(5), expires=day(30))
    assert [read(books, day(n)) for n in (4, 6, 31)] == [(100, 0, 0, 0), (0, 100, 0, 0), (0, 0, 0, 0)]


def test_reading_the_past_changes_nothing() -> None:
    books = a_year()
    lot = next(iter(books.lots.values()))
    before = (balance(books.account), lot.available, lot.expired, lot.redeemed)
    read(books, day(6))
    assert (balance(books.account), lot.available, lot.expired, lot.redeemed) == before
