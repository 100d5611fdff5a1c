"""What falls due by itself, in which order and at which instant."""

from datetime import datetime

import pytest

from loyalty.base.errors import LawBroken
from loyalty.ledger.settle import next_due, settle
from tests.pure.books import Books, balance, day, moved


def story(books: Books, start: int = 0) -> list[tuple[str, datetime, int]]:
    """Kind, instant and points of every entry from `start` on."""
    return [
        (entry.kind.value, entry.occurred_at, sum(p.points for p in entry.postings))
        for entry in books.entries[start:]
    ]


def test_points_activate_and_expire_at_their_instants_however_late_somebody_looks() -> None:
    books = Books()
    books.credit(100, activates=day(3), expires=day(90))
    books.settle(day(400))
    assert story(books, 1) == [("mature", day(3), 100), ("expire", day(90), 100)]


def test_the_instant_of_expiry_is_the_first_at_which_points_are_gone() -> None:
    books = Books()
    books.credit(100, expires=day(90))
    assert not books.settle(datetime.fromisoformat("2026-03-31T23:59:59.999999+00:00"))
    assert books.settle(day(90))


def test_lots_due_at_the_same_instant_share_one_entry() -> None:
    books = Books()
    books.credit(10, expires=day(30))
    books.credit(20, expires=day(30))
    books.credit(40, expires=day(31))
    books.settle(day(60))
    assert story(books, 3) == [("expire", day(30), 30), ("expire", day(31), 40)]


def test_at_one_instant_points_activate_first_and_expire_last() -> None:
    books = Books()
    books.credit(10, day(0), expires=day(30))
    books.hold(10, day(1), day(30))
    books.credit(20, day(0), activates=day(30), expires=day(60))
    books.credit(40, day(0), expires=day(30))
    start = len(books.entries)
    books.settle(day(30))
    assert [kind for kind, _, _ in story(books, start)] == ["mature", "lapse", "expire"]


def test_what_came_late_expires_when_it_came_not_before() -> None:
    """Points restored after their date: they come back and are gone at the same instant."""
    books = Books()
    lot = books.credit(100, expires=day(30))
    books.spend(60, day(1))
    books.settle(day(50))
    books.restore([(lot.id, 60)], day(50))
    books.settle(day(50))
    assert story(books, 2) == [("expire", day(30), 40), ("restore", day(50), 60), ("expire", day(50), 60)]


def test_a_credit_recorded_after_its_expiry_is_issued_and_expired_at_its_own_dates() -> None:
    books = Books()
    books.settle(day(100))
    books.credit(100, day(0), activates=day(3), expires=day(30))
    books.settle(day(100))
    assert story(books) == [("earn", day(0), 100), ("mature", day(3), 100), ("expire", day(30), 100)]


def test_what_matures_while_in_debt_repays_at_that_instant() -> None:
    books = Books()
    first = books.credit(50)
    books.credit(80, activates=day(10), expires=day(20))
    books.spend(50, day(1))
    books.settle(day(2))
    books.revoke({first.id: 50}, day(2), negative="floor", floor=100)
    assert balance(books.account) == (80, 0, 0, 50)
    start = len(books.entries)
    books.account.settled_at = None  # read from the database again
    books.settle(day(30))
    assert story(books, start) == [("mature", day(10), 80), ("repay", day(10), 50), ("expire", day(20), 30)]


def test_points_recorded_late_do_not_repay_a_debt_before_it_arose() -> None:
    books = Books()
    first = books.credit(50)
    books.spend(50, day(5))
    books.settle(day(6))
    books.revoke({first.id: 50}, day(6), negative="floor", floor=100)
    start = len(books.entries)
    books.settle(day(8))
    books.credit(70, day(1), activates=day(2))
    books.settle(day(8))
    assert story(books, start) == [("earn", day(1), 70), ("mature", day(2), 70), ("repay", day(8), 50)]


def test_held_points_do_not_expire_and_lapse_with_their_date_passed() -> None:
    books = Books()
    lot = books.credit(100, expires=day(30))
    books.hold(60, day(29), day(40))
    books.settle(day(35))
    assert balance(books.account) == (0, 0, 60, 0)
    books.settle(day(45))
    assert story(books, 2) == [("expire", day(30), 40), ("lapse", day(40), 120)]
    assert lot.expired == 100
    assert books.account.next_due_at is None


def test_a_lapse_within_the_lifetime_puts_points_back() -> None:
    books = Books()
    books.credit(100, expires=day(90))
    books.hold(60, day(1), day(2))
    books.settle(day(3))
    assert balance(books.account) == (0, 100, 0, 0)
    assert books.account.next_due_at == day(90)


def test_a_hold_with_grace_gives_expired_points_a_new_date() -> None:
    books = Books()
    lot = books.credit(100, expires=day(30))
    books.hold(60, day(29), day(40), good_until=day(50))
    books.settle(day(45))
    assert balance(books.account) == (0, 60, 0, 0)
    assert lot.expires_at == day(50)
    books.settle(day(51))
    assert story(books, 2) == [("expire", day(30), 40), ("lapse", day(40), 60), ("expire", day(50), 60)]


def test_a_grace_that_begins_at_the_very_instant_of_expiry_holds() -> None:
    books = Books()
    books.credit(60, expires=day(30))
    books.hold(60, day(1), day(30), good_until=day(50))
    books.settle(day(45))
    assert balance(books.account) == (0, 60, 0, 0)


def test_nothing_due_needs_nothing_loaded() -> None:
    books = Books()
    books.credit(100, expires=day(30))
    assert list(settle(books.account, {}, (), day(29))) == []
    assert books.account.next_due_at == day(30)


def test_settling_what_is_due_without_all_open_lots_is_a_bug() -> None:
    books = Books()
    books.credit(100, expires=day(30))
    books.credit(50, expires=day(40))
    some = dict(list(books.lots.items())[:1])
    books.lots = some
    with pytest.raises(LawBroken, match="without all its open lots"):
        books.settle(day(31))


def test_the_next_due_instant_is_the_earliest_of_dates_arrivals_and_holds() -> None:
    books = Books()
    assert next_due(books.account, {}) is None
    books.credit(10)
    assert next_due(books.account, books.lots) is None
    books.credit(10, expires=day(30))
    books.credit(10, activates=day(20))
    assert next_due(books.account, books.lots) == day(20) == books.account.next_due_at
    books.hold(10, day(1), day(5))
    assert next_due(books.account, books.lots, books.holds) == day(5)


def test_a_second_look_at_the_same_instant_finds_nothing() -> None:
    books = Books()
    books.credit(100, activates=day(3), expires=day(90))
    books.settle(day(100))
    assert books.settle(day(100)) == []
    assert moved(books.entries[-1]) == [(100, "available", "expired")]
