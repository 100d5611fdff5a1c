"""A small book for ledger tests: one account, its lots and entries, with verbs that post at once."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.ledger import expiry, holds, lots, postings, settle, undo
from loyalty.ledger.types import Account, Bucket, Entry, EntryDraft, EntryKind, Hold, Lot

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


def day(number: float) -> datetime:
    """Midnight of day `number` (fractions are parts of a day)."""
    return FIRST + timedelta(days=number)


class Books:
    """One account. Verbs post on it and return what they posted."""

    def __init__(self, serial: int = 1) -> None:
        self._ids = count(serial << 64)
        self.account = Account(self.id(), self.id(), "points")
        self.lots: dict[UUID, Lot] = {}
        self.holds: list[Hold] = []
        self.entries: list[Entry] = []

    def id(self) -> UUID:
        return UUID(int=next(self._ids))

    def post(self, draft: EntryDraft, id: UUID | None = None) -> Entry:
        entry = postings.apply(self.account, self.lots, draft, id=id or self.id(), decision_id=self.id())
        if expiry.stir(self.account, entry, UTC_ZONE):
            self.account.next_due_at = settle.next_due(self.account, self.lots, self.holds)
        self.entries.append(entry)
        return entry

    def credit(
        self,
        points: int,
        at: datetime = FIRST,
        *,
        activates: datetime | None = None,
        expires: datetime | None = None,
        kind: EntryKind = EntryKind.EARN,
        slides: str | None = None,
    ) -> Lot:
        """A new lot, not settled."""
        draft = lots.issue(
            self.account,
            lot_id=self.id(),
            decision_id=self.id(),
            points=points,
            vintage_at=at,
            occurred_at=at,
            activates_at=activates,
            expires_at=expires,
            policy_number=1,
            kind=kind,
            slides=slides,
        )
        self.post(draft)
        return draft.lots[0]

    def settle(self, now: datetime) -> list[Entry]:
        return [self.post(draft) for draft in settle.settle(self.account, self.lots, self.holds, now)]

    def spend(self, points: int, at: datetime) -> Entry:
        taken = lots.spend(self.account, self.lots, points)
        return self.post(EntryDraft(self.account.id, EntryKind.REDEEM, at, taken))

    def hold(self, points: int, at: datetime, until: datetime, good_until: datetime | None = None) -> Hold:
        id = self.id()
        made, draft = holds.hold(
            self.account, self.lots, points, at, hold_id=id, lapses_at=until, good_until=good_until
        )
        self.post(draft, id)
        self.holds.append(made)
        self.account.next_due_at = settle.next_due(self.account, self.lots, self.holds)
        return made

    def capture(self, hold: Hold, points: int, at: datetime) -> Hold:
        left, draft = holds.capture(hold, points, at)
        self.post(draft)
        self.holds[self.holds.index(hold)] = left
        return left

    def release(self, hold: Hold, at: datetime) -> Entry:
        _, draft = holds.release(self.account, self.lots, hold, at)
        entry = self.post(draft)
        self.holds.remove(hold)
        return entry

    def revoke(self, own: dict[UUID, int], at: datetime, **policy: Any) -> list[Entry]:
        terms: dict[str, Any] = {"negative": "prevent", "floor": 0} | policy
        return [self.post(d) for d in undo.revoke(self.account, self.lots, own, at, **terms)]

    def auto_cancel(self, lot: Lot, points: int, at: datetime, cause: str) -> Entry:
        """An entry that the format knows and no command makes."""
        taken = lots.moves(((lot.id, points),), Bucket.PENDING, Bucket.REVOKED)
        return self.post(EntryDraft(self.account.id, EntryKind.AUTO_CANCEL, at, taken, cause=cause))

    def restore(self, parts: Iterable[tuple[UUID, int]], at: datetime) -> Entry:
        return self.post(undo.restore(self.account, tuple(parts), at))


def figures(lot: Lot) -> dict[str, int]:
    """The buckets of a lot that are not empty, without `issued`."""
    return {b.value: getattr(lot, b) for b in Bucket if b is not Bucket.ISSUED and getattr(lot, b)}


def moved(entry: Entry) -> list[tuple[int, str, str]]:
    return [(p.points, p.source.value, p.target.value) for p in entry.postings]


def balance(account: Account) -> tuple[int, int, int, int]:
    """Pending, available, held, debt."""
    return account.pending, account.available, account.held, account.debt
