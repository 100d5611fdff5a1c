"""The posting table: what each kind may move, and which bounds hold."""

import re
from itertools import product
from pathlib import Path

import msgspec
import pytest

from loyalty.base.errors import LawBroken
from loyalty.ledger.postings import LEGAL, apply
from loyalty.ledger.types import POINTS_MAX, Bucket, EntryDraft, EntryKind, Posting
from tests.pure.books import FIRST, Books, balance, day, figures

B = Bucket
MIGRATION = Path(__file__).parents[2] / "migrations/versions/0004_ledger.py"


def drafted(books: Books, kind: EntryKind, *moves: Posting) -> EntryDraft:
    return EntryDraft(books.account.id, kind, day(9), moves)


def test_the_table_is_complete_and_the_database_allows_exactly_its_moves() -> None:
    assert set(LEGAL) == set(EntryKind)
    text = MIGRATION.read_text()
    listed = text[text.index("MOVES = (") : text.index("KINDS = (")]
    database = set(re.findall(r'\("(\w+)", "(\w+)"\)', listed))
    assert database == {(s.value, t.value) for moves in LEGAL.values() for s, t in moves}
    kinds = re.search(r"KINDS = \(([^)]*)\)\.split", text)
    assert kinds is not None
    assert set(re.findall(r"[a-z_]{2,}", kinds[1])) == {kind.value for kind in EntryKind}


@pytest.mark.parametrize("kind", EntryKind)
def test_every_move_that_the_table_does_not_name_is_refused(kind: EntryKind) -> None:
    for source, target in product(B, B):
        if (source, target) in LEGAL[kind]:
            continue
        books = Books()
        lot = books.credit(10)
        with pytest.raises(LawBroken):
            books.post(drafted(books, kind, Posting(lot.id, 1, source, target)))


@pytest.mark.parametrize(
    ("kind", "source", "target"),
    [
        (EntryKind.REDEEM, B.AVAILABLE, B.REDEEMED),
        (EntryKind.MATURE, B.PENDING, B.AVAILABLE),
        (EntryKind.CAPTURE, B.HELD, B.REDEEMED),
        (EntryKind.RESTORE, B.REDEEMED, B.AVAILABLE),
        (EntryKind.REINSTATE, B.EXPIRED, B.AVAILABLE),
        (EntryKind.TRANSFER_IN, B.TRANSFERRED, B.AVAILABLE),
        (EntryKind.EARN, B.ISSUED, B.AVAILABLE),
    ],
)
def test_no_bucket_gives_more_than_it_has(kind: EntryKind, source: Bucket, target: Bucket) -> None:
    books = Books()
    lot = books.credit(10)
    with pytest.raises(LawBroken):
        books.post(drafted(books, kind, Posting(lot.id, 11, source, target)))


def test_entries_are_numbered_without_gap_and_bear_the_balance_they_left() -> None:
    books = Books()
    books.credit(100, activates=day(5))
    books.credit(40)
    books.spend(15, day(1))
    assert [entry.seq for entry in books.entries] == [1, 2, 3]
    assert [(e.pending, e.available) for e in books.entries] == [(100, 0), (100, 40), (100, 25)]
    assert books.account.first_entry_id == books.entries[0].id
    assert books.account.last_entry_id == books.entries[2].id
    assert books.entries[0].lots[0].issuing_entry_id == books.entries[0].id


def test_points_cannot_leave_before_they_came() -> None:
    books = Books()
    books.credit(10, day(3))
    with pytest.raises(LawBroken, match="before they came"):
        books.spend(1, day(2))


def test_a_lot_is_issued_whole_and_once() -> None:
    books = Books()
    lot = books.credit(10)
    again = EntryDraft(books.account.id, EntryKind.EARN, FIRST, (Posting(lot.id, 10, B.ISSUED, B.AVAILABLE),))
    with pytest.raises(LawBroken):
        books.post(again)
    other = Books(2)
    part = msgspec.structs.replace(lot, account_id=other.account.id, issued=0, available=0)
    draft = EntryDraft(
        other.account.id, EntryKind.EARN, FIRST, (Posting(lot.id, 4, B.ISSUED, B.AVAILABLE),), lots=(part,)
    )
    with pytest.raises(LawBroken, match="issued whole"):
        other.post(draft)


def test_an_entry_moves_lots_of_its_own_account_only() -> None:
    mine, yours = Books(1), Books(2)
    lot = yours.credit(10)
    with pytest.raises(LawBroken):
        apply(
            mine.account,
            {lot.id: lot},
            drafted(mine, EntryKind.REDEEM, Posting(lot.id, 1, B.AVAILABLE, B.REDEEMED)),
            id=mine.id(),
            decision_id=mine.id(),
        )
    with pytest.raises(LawBroken, match="applied to"):
        mine.post(drafted(yours, EntryKind.REDEEM, Posting(lot.id, 1, B.AVAILABLE, B.REDEEMED)))


@pytest.mark.parametrize("points", [0, -5, POINTS_MAX + 1])
def test_a_posting_moves_a_positive_count_that_stays_exact(points: int) -> None:
    books = Books()
    lot = books.credit(10)
    with pytest.raises(LawBroken):
        books.post(drafted(books, EntryKind.REDEEM, Posting(lot.id, points, B.AVAILABLE, B.REDEEMED)))


def test_an_entry_without_postings_is_a_redate() -> None:
    books = Books()
    with pytest.raises(LawBroken, match="moves nothing"):
        books.post(drafted(books, EntryKind.REDEEM))


def test_debt_is_what_was_revoked_and_was_not_there() -> None:
    books = Books()
    lot = books.credit(10)
    books.spend(10, day(1))
    books.revoke({lot.id: 10}, day(2), negative="floor", floor=50)
    assert balance(books.account) == (0, 0, 0, 10)
    assert figures(lot) == {"redeemed": 10, "revoked": 10, "deficit": -10}
