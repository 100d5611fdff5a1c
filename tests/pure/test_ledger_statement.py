"""What entries say in words, for every kind."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from loyalty.ledger import undo
from loyalty.ledger.lots import choose
from loyalty.ledger.statement import words
from loyalty.ledger.transfers import transfer
from loyalty.ledger.types import Entry, EntryKind
from loyalty.programs.types import PointsCurrency
from tests.pure.books import Books, day

BERLIN = ZoneInfo("Europe/Berlin")
POINTS = PointsCurrency("points", "points")


def every_kind() -> dict[EntryKind, str]:
    """One story in which every kind of entry occurs, told."""
    books, friend = Books(1), Books(2)
    earned = books.credit(1200, day(0), activates=day(2), expires=day(40))
    books.credit(300, day(0), kind=EntryKind.IMPORT)
    books.credit(50, day(0), kind=EntryKind.ADJUST_CREDIT)
    never = books.credit(7, day(0), activates=day(30))
    books.settle(day(2))
    books.auto_cancel(never, 7, day(3), "not_attended")
    held = books.hold(100, day(3), day(9))
    left = books.capture(held, 60, day(4))
    books.release(left, day(4))
    books.hold(10, day(4), day(5))
    books.settle(day(6))
    spent = books.spend(200, day(6))
    books.restore([(p.lot_id, p.points) for p in spent.postings], day(7))
    books.settle(day(41))
    books.post(undo.reinstate(books.account, books.lots, ((earned.id, 1000),), day(42), day(60)))
    books.post(undo.redate(books.account, books.lots, {earned.id: (day(2), None)}, day(43), "long_illness"))
    out, into = transfer(
        books.account,
        books.lots,
        friend.account,
        choose(books.account, books.lots, 350),
        day(44),
        new_id=friend.id,
        decision_id=friend.id(),
    )
    books.post(out)
    books.spend(books.account.available, day(45))
    books.revoke({earned.id: 150}, day(46), negative="floor", floor=1000)
    books.credit(80, day(47))
    books.settle(day(47))
    received = friend.post(into)
    told: dict[EntryKind, str] = {}
    for entry in (*books.entries, received):
        told[entry.kind] = words(entry, POINTS, BERLIN, "purchase")
    return told


TOLD = every_kind()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (EntryKind.IMPORT, "300 points carried over"),
        (EntryKind.ADJUST_CREDIT, "50 points credited"),
        (EntryKind.MATURE, "1,200 points became available"),
        (EntryKind.AUTO_CANCEL, "7 points cancelled while pending: not attended"),
        (EntryKind.HOLD, "10 points set aside"),
        (EntryKind.CAPTURE, "60 points spent of those set aside"),
        (EntryKind.RELEASE, "40 points set aside came back"),
        (EntryKind.LAPSE, "10 points set aside came back"),
        (EntryKind.RESTORE, "200 points given back"),
        (EntryKind.EXPIRE, "1,140 points expired"),
        (EntryKind.REINSTATE, "1,000 points given back that had expired, good to 2 March 2026"),
        (EntryKind.REDATE, "New dates, good for ever: long illness"),
        (EntryKind.TRANSFER_OUT, "350 points given away"),
        (EntryKind.TRANSFER_IN, "350 points received"),
        (EntryKind.REDEEM, "1,000 points spent"),
        (EntryKind.EARN, "80 points earned with a purchase"),
        (EntryKind.REPAY, "10 points paid what was owed"),
    ],
)
def test_an_entry_in_words(kind: EntryKind, expected: str) -> None:
    assert TOLD[kind] == expected


def test_no_kind_is_without_words() -> None:
    assert set(TOLD) | {EntryKind.ADJUST_DEBIT} == set(EntryKind)


def told(entry: Entry, currency: PointsCurrency = POINTS) -> str:
    return words(entry, currency, BERLIN)


def test_words_fit_one_point_too() -> None:
    books, bean = Books(), PointsCurrency("beans", "beans", "bean")
    lot = books.credit(2, expires=day(30))
    held = books.hold(1, day(29), day(40))
    assert told(books.release(held, day(35)), bean) == "1 bean set aside came back; 1 bean had expired"
    back = books.post(undo.reinstate(books.account, books.lots, ((lot.id, 1),), day(36), day(60)))
    assert told(back) == "1 point given back that had expired, good to 2 March 2026"
    spent = books.credit(1, day(37))
    books.spend(books.account.available, day(37))
    (entry,) = books.revoke({spent.id: 1}, day(38), negative="floor", floor=9)
    assert told(entry, bean) == "1 bean taken back; 1 bean already spent and now owed"
    never = books.credit(1, day(39), activates=day(60))
    cancelled = books.auto_cancel(never, 1, day(40), "not_attended")
    assert told(cancelled, bean) == "1 bean cancelled while pending: not attended"


def test_earned_points_say_from_when_and_until_when_they_are_good() -> None:
    books = Books()
    books.credit(41, day(0), activates=day(14), expires=day(90))
    assert told(books.entries[0]) == (
        "41 points earned, available from 15 January 2026, good to 1 April 2026"
    )


def test_what_expired_while_it_was_held_is_said() -> None:
    books = Books()
    books.credit(100, expires=day(30))
    held = books.hold(100, day(29), day(40))
    assert told(books.release(held, day(35))) == "100 points set aside came back; 100 points had expired"


def test_points_taken_back_say_what_is_owed() -> None:
    books = Books()
    lot = books.credit(41)
    books.spend(30, day(1))
    (entry,) = books.revoke({lot.id: 41}, day(2), negative="floor", floor=99, cause="purchase_cancelled")
    assert told(entry) == (
        "41 points taken back: the purchase was cancelled; 30 points already spent and now owed"
    )


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((day(60), day(60)), "New dates, good to 2 March 2026"),
        (
            (day(60), day(90), day(75)),
            "New dates, good to 2 March 2026 at the earliest and 1 April 2026 at the latest",
        ),
        ((day(60), None), "New dates, good to 2 March 2026, some for ever"),
    ],
)
def test_new_dates_are_told_from_the_first_to_the_last(
    ends: tuple[datetime | None, ...], expected: str
) -> None:
    books = Books()
    lots = [books.credit(10, day(0), expires=day(30 + n)) for n in range(len(ends))]
    new = {lot.id: (None, end) for lot, end in zip(lots, ends, strict=True)}
    entry = books.post(undo.redate(books.account, books.lots, new, day(1), "policy_changed"))
    assert told(entry).startswith(expected)
