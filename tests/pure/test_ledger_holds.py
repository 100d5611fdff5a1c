"""Holds: set aside, taken in part, given back."""

import pytest

from loyalty.ledger.types import InsufficientPoints
from tests.pure.books import Books, balance, day, figures, moved


def test_a_hold_sets_aside_in_spending_order() -> None:
    books = Books()
    late = books.credit(50, expires=day(90))
    early = books.credit(50, expires=day(30))
    books.hold(70, day(1), day(2))
    assert (early.held, late.held) == (50, 20)
    assert balance(books.account) == (0, 30, 70, 0)


def test_a_hold_beyond_what_is_available_is_refused() -> None:
    books = Books()
    books.credit(50)
    with pytest.raises(InsufficientPoints):
        books.hold(51, day(1), day(2))


def test_capture_takes_a_part_and_release_gives_the_rest_back() -> None:
    books = Books()
    lot = books.credit(100)
    held = books.hold(80, day(1), day(9))
    left = books.capture(held, 50, day(2))
    books.release(left, day(3))
    assert figures(lot) == {"redeemed": 50, "available": 50}
    assert books.account.held == 0


def test_more_than_was_held_cannot_be_captured() -> None:
    books = Books()
    books.credit(100)
    held = books.hold(80, day(1), day(9))
    with pytest.raises(InsufficientPoints) as refusal:
        books.capture(held, 81, day(2))
    assert refusal.value.facts == {"wanted": 81, "available": 80}


def test_held_points_may_be_captured_after_their_lot_expired() -> None:
    books = Books()
    lot = books.credit(100, expires=day(30))
    held = books.hold(80, day(29), day(40))
    books.settle(day(35))
    books.capture(held, 80, day(35))
    assert figures(lot) == {"expired": 20, "redeemed": 80}


def test_released_after_expiry_points_expire_in_the_same_entry() -> None:
    books = Books()
    lot = books.credit(100, expires=day(30))
    held = books.hold(100, day(29), day(40))
    entry = books.release(held, day(35))
    assert moved(entry) == [(100, "held", "available"), (100, "available", "expired")]
    assert (entry.available, figures(lot)) == (0, {"expired": 100})
