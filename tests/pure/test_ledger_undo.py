"""Undo: revoke, restore, reinstate, redate, forfeit."""

from datetime import datetime

import pytest

from loyalty.ledger import undo
from loyalty.ledger.types import InsufficientPoints
from tests.pure.books import Books, balance, day, figures, moved


def test_a_return_takes_the_points_of_its_own_lot() -> None:
    books = Books()
    other = books.credit(100, expires=day(10))
    own = books.credit(40)
    books.revoke({own.id: 40}, day(1))
    assert (own.revoked, other.available) == (40, 100)


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        (25, {"pending": 15, "revoked": 25}),
        (40, {"revoked": 40}),
    ],
)
def test_pending_points_go_first(taken: int, left: dict[str, int]) -> None:
    books = Books()
    own = books.credit(40, activates=day(9))
    books.revoke({own.id: taken}, day(1))
    assert figures(own) == left


def test_what_the_member_already_lost_is_not_taken_twice() -> None:
    """40 of 100 were spent and 60 expired: returning everything takes the 60 and then asks for 40."""
    books = Books()
    own = books.credit(100, expires=day(30))
    books.spend(40, day(1))
    books.credit(500, day(2))
    books.settle(day(31))
    (entry,) = books.revoke({own.id: 100}, day(31))
    assert moved(entry) == [(60, "expired", "revoked"), (40, "available", "revoked")]
    assert books.account.available == 460


def test_spent_points_are_taken_from_other_lots_in_spending_order() -> None:
    books = Books()
    own = books.credit(100, expires=day(5))
    late = books.credit(100, expires=day(90))
    early = books.credit(100, expires=day(30))
    books.spend(100, day(1))
    books.revoke({own.id: 100}, day(2))
    assert (early.available, late.available) == (0, 100)


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        ({"negative": "waive"}, (0, 0, 0, 0)),
        ({"negative": "floor", "floor": 60}, (0, 0, 0, 60)),
    ],
)
def test_the_rest_is_debt_or_waived_by_policy(
    policy: dict[str, object], left: tuple[int, int, int, int]
) -> None:
    books = Books()
    own = books.credit(100)
    books.spend(60, day(1))
    books.revoke({own.id: 100}, day(2), **policy)
    assert balance(books.account) == left


@pytest.mark.parametrize("policy", [{"negative": "prevent"}, {"negative": "floor", "floor": 59}])
def test_a_debt_that_policy_forbids_refuses_the_undo_whole(policy: dict[str, object]) -> None:
    books = Books()
    own = books.credit(100)
    books.spend(60, day(1))
    with pytest.raises(InsufficientPoints):
        books.revoke({own.id: 100}, day(2), **policy)
    assert balance(books.account) == (0, 40, 0, 0)


def test_the_floor_counts_the_debt_that_is_there_already() -> None:
    books = Books()
    first = books.credit(50)
    second = books.credit(50)
    books.spend(100, day(1))
    books.revoke({first.id: 50}, day(2), negative="floor", floor=80)
    with pytest.raises(InsufficientPoints) as refusal:
        books.revoke({second.id: 50}, day(2), negative="floor", floor=80)
    assert refusal.value.facts == {"wanted": 50, "available": 30}


def test_held_points_are_left_alone() -> None:
    books = Books()
    own = books.credit(100)
    books.hold(100, day(1), day(9))
    books.revoke({own.id: 100}, day(2), negative="floor", floor=100)
    assert balance(books.account) == (0, 0, 100, 100)


def test_nothing_to_take_writes_nothing() -> None:
    books = Books()
    own = books.credit(10)
    books.spend(10, day(1))
    assert books.revoke({own.id: 10}, day(2), negative="waive") == []


def test_a_cancelled_reward_gives_points_back_to_the_lots_they_came_from() -> None:
    books = Books()
    early = books.credit(30, expires=day(30))
    late = books.credit(30, expires=day(60))
    spent = books.spend(40, day(1))
    books.restore([(p.lot_id, p.points) for p in spent.postings], day(2))
    assert (early.available, late.available) == (30, 30)
    assert early.expires_at == day(30)


def test_points_given_back_while_in_debt_repay_it() -> None:
    books = Books()
    own = books.credit(50)
    spent = books.spend(50, day(1))
    books.revoke({own.id: 50}, day(2), negative="floor", floor=50)
    books.restore([(p.lot_id, p.points) for p in spent.postings], day(3))
    books.settle(day(3))
    assert balance(books.account) == (0, 0, 0, 0)


def test_expired_points_come_back_with_a_new_date() -> None:
    books = Books()
    lot = books.credit(50, expires=day(30))
    books.settle(day(31))
    entry = books.post(undo.reinstate(books.account, books.lots, ((lot.id, 50),), day(40), day(60)))
    assert (lot.available, lot.expires_at) == (50, day(60))
    assert (entry.redates[0].old_expires_at, entry.redates[0].new_expires_at) == (day(30), day(60))
    books.settle(day(61))
    assert books.entries[-1].occurred_at == day(60)


def test_what_ended_last_comes_back_first() -> None:
    books = Books()
    first, second, third = (books.credit(10, expires=day(end)) for end in (10, 12, 11))
    books.credit(7)
    books.settle(day(20))
    found = undo.last_expired(books.lots.values(), 25)
    assert found == ((second.id, 10), (third.id, 10), (first.id, 5))
    assert undo.last_expired(books.lots.values(), 3) == ((second.id, 3),)


@pytest.mark.parametrize(("end", "kept"), [(day(90), day(90)), (day(50), day(60)), (None, None)])
def test_a_lot_that_is_good_for_longer_is_not_cut_by_what_comes_back_to_it(
    end: datetime | None, kept: datetime | None
) -> None:
    books = Books()
    lot = books.credit(50, expires=day(30))
    hold = books.hold(20, day(1), until=day(80))
    books.settle(day(31))
    books.post(undo.redate(books.account, books.lots, {lot.id: (None, end)}, day(40)))
    books.post(undo.reinstate(books.account, books.lots, ((lot.id, 30),), day(41), day(60)))
    assert (lot.available, lot.held, lot.expires_at) == (30, hold.held, kept)


def test_a_redate_into_the_past_expires_from_the_redate_on() -> None:
    books = Books()
    lot = books.credit(50, expires=day(90))
    books.post(undo.redate(books.account, books.lots, {lot.id: (None, day(10))}, day(20)))
    books.settle(day(20))
    assert (books.entries[-1].kind.value, books.entries[-1].occurred_at) == ("expire", day(20))


def test_an_activation_moved_into_the_past_happens_from_the_redate_on() -> None:
    books = Books()
    lot = books.credit(50, activates=day(90))
    books.post(undo.redate(books.account, books.lots, {lot.id: (day(10), None)}, day(20)))
    books.settle(day(20))
    assert (books.entries[-1].kind.value, books.entries[-1].occurred_at) == ("mature", day(20))


def test_a_condition_that_never_came_takes_pending_points_back() -> None:
    books = Books()
    lot = books.credit(50, activates=day(90))
    books.auto_cancel(lot, 50, day(30), "not_attended")
    assert figures(lot) == {"revoked": 50}


def test_an_erased_member_keeps_nothing() -> None:
    books = Books()
    books.credit(50, activates=day(90))
    books.credit(70)
    for draft in undo.forfeit(books.account, books.lots, day(2), "member_erased"):
        books.post(draft)
    assert balance(books.account) == (0, 0, 0, 0)
    assert [(e.kind.value, e.cause) for e in books.entries[2:]] == [
        ("revoke", "member_erased"),
        ("expire", "member_erased"),
    ]
