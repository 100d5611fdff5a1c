"""Accounts, each chunk in one short snapshot: entries without gap, balances, lots, holds, dates, the next due instant.

The sums are made here from postings alone, by other means than those that wrote them.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from loyalty.base.ids import NIL
from loyalty.ledger.expiry import ACTIVITIES, idle_end
from loyalty.ledger.postings import LEGAL
from loyalty.ledger.types import Bucket, EntryKind, Redate
from loyalty.ledger.verify.frame import UNREADABLE, Connect, read, snapshot, stream, zone_of
from loyalty.ledger.verify.report import Figures, Findings

CHUNK_ACCOUNTS = 1_000
CHUNK_ENTRIES = 10_000

_ACCOUNTS = """
SELECT id, owner_id, points_currency, seq, pending, available, held, debt, active_at, next_due_at, first_entry_id,
       last_entry_id, slides, idles_at
FROM accounts WHERE program_id = $1 AND cell = $2 AND (owner_id, points_currency) > ($3, $4)
ORDER BY owner_id, points_currency LIMIT $5
"""
_MOVES = """
SELECT e.account_id, e.seq, e.id, e.decision_id, e.kind, e.occurred_at, e.corrects_entry_id, e.redates::text,
       e.pending, e.available, e.held, e.debt, p.lot_id, p.points, p.source, p.target
FROM entries e LEFT JOIN LATERAL (
    SELECT * FROM postings WHERE program_id = $1 AND cell = $2 AND entry_id = e.id OFFSET 0) p ON true
WHERE e.program_id = $1 AND e.cell = $2 AND e.account_id = ANY($3::uuid[])
ORDER BY e.account_id, e.seq, e.id, p.position
"""
_LOTS = """
SELECT id, account_id, points, parent_lot_id IS NOT NULL, is_open, issued_activates_at, issued_expires_at,
       activates_at, expires_at, arrived_at, slides, was_expired, issued, pending, available, held, redeemed, expired,
       revoked, transferred, deficit
FROM lots WHERE program_id = $1 AND cell = $2
AND (id = ANY($3::uuid[]) OR account_id = ANY($4::uuid[]) AND is_open)
"""

_HOLDS = """
SELECT id, account_id, owner_id, points_currency, points, captured, state, held_at, ended_at, parts::text, lapses_at
FROM holds WHERE program_id = $1 AND cell = $2
AND (id = ANY($3::uuid[]) OR account_id = ANY($4::uuid[]) AND state = 'open')
"""

_OPENED = """
SELECT e.id, d.member_id, d.detail
FROM unnest($3::uuid[]) u(id), LATERAL (
    SELECT * FROM entries WHERE program_id = $1 AND cell = $2 AND id = u.id OFFSET 0) e, LATERAL (
    SELECT * FROM decisions WHERE program_id = $1 AND cell = $2 AND id = e.decision_id OFFSET 0) d
"""

_INDEX = {bucket.value: place for place, bucket in enumerate(Bucket)}
_PENDING, _AVAILABLE, _HELD, _EXPIRED = (_INDEX[name] for name in ("pending", "available", "held", "expired"))
_ISSUED, _TRANSFERRED, _DEFICIT = (_INDEX[name] for name in ("issued", "transferred", "deficit"))
_ARRIVES = (_AVAILABLE, _PENDING)
_MAY_OWE = (_ISSUED, _TRANSFERRED, _DEFICIT)
_BUCKETS = len(Bucket)
_LEGAL = {
    (kind.value, source.value, target.value) for kind, moves in LEGAL.items() for source, target in moves
}

_ISSUES = ("issued", "transferred")
_ACTIVE = {kind.value for kind in ACTIVITIES}

_ENDED = {"capture": "captured", "release": "released", "lapse": "lapsed"}
_parts = msgspec.json.Decoder(tuple[tuple[UUID, int], ...]).decode
_redates = msgspec.json.Decoder(tuple[Redate, ...]).decode


class _Credited(msgspec.Struct):
    account_id: UUID
    points_currency: str


class _Received(_Credited):
    owner_id: UUID


class _Credits(msgspec.Struct):
    lots: tuple[_Credited, ...] = ()  # the decision's own member's
    received: tuple[_Received, ...] = ()


_credits = msgspec.json.Decoder(_Credits).decode


class _Lot:
    """What entries say of one lot."""

    __slots__ = ("account_id", "arrived_at", "child", "figures", "redates", "slides", "was_expired")

    def __init__(self, account_id: UUID) -> None:
        self.account_id = account_id
        self.figures = [0] * _BUCKETS
        self.arrived_at: datetime | None = None
        self.redates: list[Redate] = []
        self.was_expired = False
        self.child, self.slides = False, None  # as its row says: the chain's reader compares them

    def arrive(self, at: datetime) -> None:
        if self.arrived_at is None or at > self.arrived_at:
            self.arrived_at = at


class _Hold:
    """What entries say of one hold: the entry that set points aside, and those that name it."""

    __slots__ = ("account_id", "captured", "decision_id", "held_at", "last_at", "left", "points", "state")

    def __init__(self, account_id: UUID, held_at: datetime) -> None:
        self.account_id = account_id
        self.held_at = held_at
        self.points = self.captured = 0
        self.left: dict[UUID, int] = {}  # by lot
        self.decision_id: UUID | None = None  # of the last entry that took of it
        self.last_at: datetime | None = None
        self.state = "open"

    def take(self, lot_id: UUID, points: int, kind: str, decision_id: UUID, at: datetime) -> bool:
        """Whether there was so much to be taken or given back."""
        # What one decision captured and what it gave back of the rest end the hold together, as captured.
        if decision_id != self.decision_id or self.state != "captured":
            self.state = _ENDED.get(kind, kind)  # another kind is named where it moves points
        self.decision_id, self.last_at = decision_id, at
        self.left[lot_id] = self.left.get(lot_id, 0) - points
        if kind == "capture":
            self.captured += points
        return self.left[lot_id] >= 0

    def stored(self) -> tuple[object, ...]:
        """What its row must say."""
        parts = tuple((lot_id, points) for lot_id, points in self.left.items() if points)
        over = (self.state, self.last_at) if not parts else ("open", None)
        return (self.account_id, self.points, self.captured, *over, self.held_at, parts)


class _Account:
    """One stored account, and what its entries add up to."""

    __slots__ = (
        "active",
        "active_at",
        "available",
        "debt",
        "due",
        "figures",
        "first_id",
        "held",
        "id",
        "idles_at",
        "last_id",
        "may_slide",
        "pending",
        "row",
        "seq",
        "slides",
        "sliding",
    )

    def __init__(self, row: Any) -> None:
        self.row = row
        self.id: UUID = row["id"]
        self.seq = 0
        self.first_id: UUID | None = None
        self.last_id: UUID | None = None
        self.figures = [0] * _BUCKETS
        # Sums over its stored lots.
        self.pending = self.available = self.held = self.debt = 0
        self.due: datetime | None = None  # by dates
        self.sliding: datetime | None = None  # the same of what slides, if its owner did nothing
        self.active_at: datetime | None = None
        # Entries that may count as activity, with the lots each issued, in order.
        self.active: list[tuple[str, datetime, list[_Lot]]] = []
        self.may_slide = False  # a lot of it has a policy of inactivity
        self.slides: str | None = None
        self.idles_at: datetime | None = None


class AccountReader:
    """Reads the accounts of one lane, chunk after chunk."""

    def __init__(
        self,
        connect: Connect,
        program_id: UUID,
        cell: int,
        findings: Findings,
        figures: Figures,
    ) -> None:
        self.connect = connect
        self.program_id = program_id
        self.cell = cell
        self.findings = findings
        self.figures = figures
        self.zone = ZoneInfo("UTC")

    async def read(self, progress: Callable[[int], None]) -> None:
        """Verify every account of the lane."""
        after: tuple[UUID, str] | None = (NIL, "")
        while after is not None:
            async with snapshot(self.connect, self.program_id) as connection:
                self.zone = await zone_of(connection, self.program_id) or self.zone
                after = await self._chunk(connection, after, progress)

    def _broken(self, account_id: UUID, table: str, key: dict[str, object], what: str) -> None:
        self.findings.add(("account", account_id), table, {"cell": self.cell, **key}, what)

    async def _chunk(
        self, connection: asyncpg.Connection, after: tuple[UUID, str], progress: Callable[[int], None]
    ) -> tuple[UUID, str] | None:
        rows = await connection.fetch(_ACCOUNTS, self.program_id, self.cell, *after, CHUNK_ACCOUNTS)
        more = len(rows) == CHUNK_ACCOUNTS
        accounts: dict[UUID, _Account] = {}
        load = 0
        for row in rows:
            if accounts and load + row["seq"] > CHUNK_ENTRIES:
                more = True
                break
            load += row["seq"]
            if row["id"] in accounts:
                self._broken(row["id"], "accounts", {"id": row["id"]}, "is there twice")
            accounts[row["id"]] = _Account(row)
        if not accounts:
            return None
        lots, holds = await self._sum(connection, accounts)
        await self._compare_lots(connection, accounts, lots)
        await self._compare_holds(connection, accounts, holds)
        await self._compare_owners(connection, accounts)
        for account in accounts.values():
            self._compare(account)
        self.figures.accounts += len(accounts)
        progress(len(accounts))
        last = next(reversed(accounts.values())).row
        return (last["owner_id"], last["points_currency"]) if more else None

    async def _sum(
        self, connection: asyncpg.Connection, accounts: dict[UUID, _Account]
    ) -> tuple[dict[UUID, _Lot], dict[UUID, _Hold]]:
        """Walk the entries in order, adding their postings up."""
        lots: dict[UUID, _Lot] = {}
        holds: dict[UUID, _Hold] = {}
        entry_id: UUID | None = None
        stored: tuple[int, int, int, int] = (0, 0, 0, 0)
        account: _Account | None = None
        issued: list[_Lot] = []
        async for page in stream(connection, _MOVES, self.program_id, self.cell, list(accounts)):
            for row in page:
                (
                    account_id,
                    seq,
                    id,
                    decision_id,
                    kind,
                    occurred_at,
                    corrects_id,
                    redates,
                    pending,
                    available,
                    held,
                    debt,
                    lot_id,
                    points,
                    source,
                    target,
                ) = row
                if id != entry_id:
                    if account is not None and entry_id is not None:
                        self._compare_balance(account, entry_id, stored)
                    account = accounts[account_id]
                    self._next_entry(account, id, seq)
                    if kind == "earn" and (account.active_at is None or occurred_at > account.active_at):
                        account.active_at = occurred_at
                    issued = list[_Lot]()
                    if kind in _ACTIVE:
                        account.active.append((kind, occurred_at, issued))
                    entry_id = id
                    stored = (pending, available, held, debt)
                    if redates:
                        self._redate(account, lots, id, occurred_at, redates)
                if lot_id is not None:
                    assert account is not None
                    lot = self._lot(lots, account, lot_id, id)
                    self._move(account, lot, id, kind, occurred_at, points, source, target)
                    if source in _ISSUES:
                        issued.append(lot)
                    if target == "held":
                        hold = holds.setdefault(id, _Hold(account.id, occurred_at))
                        hold.points += points
                        hold.left[lot_id] = points
                    elif source == "held":
                        hold = holds.get(corrects_id)
                        if hold is None or not hold.take(lot_id, points, kind, decision_id, occurred_at):
                            what = f"takes {points} points of lot {lot_id} that its hold did not have"
                            self._broken(account.id, "entries", {"id": id}, what)
        if account is not None and entry_id is not None:
            self._compare_balance(account, entry_id, stored)
        return lots, holds

    def _redate(
        self, account: _Account, lots: dict[UUID, _Lot], entry_id: UUID, occurred_at: datetime, text: str
    ) -> None:
        redates = read(_redates, text, None)
        if redates is None:
            self._entry_broken(account, entry_id, "gives new dates that cannot be read")
        for redate in redates or ():
            lot = self._lot(lots, account, redate.lot_id, entry_id)
            lot.redates.append(redate)
            lot.arrive(occurred_at)

    def _move(
        self,
        account: _Account,
        lot: _Lot,
        entry_id: UUID,
        kind: str,
        occurred_at: datetime,
        points: int,
        source: str,
        target: str,
    ) -> None:
        if (kind, source, target) not in _LEGAL:
            what = f"{kind} cannot move {source} to {target}"
            self._broken(account.id, "postings", {"entry_id": entry_id}, what)
            if not {source, target} <= _INDEX.keys():
                return
        outof, into = _INDEX[source], _INDEX[target]
        figures = lot.figures
        figures[outof] -= points
        figures[into] += points
        account.figures[outof] -= points
        account.figures[into] += points
        if into in _ARRIVES:
            lot.arrive(occurred_at)
        if outof == _EXPIRED:
            lot.was_expired = True
        if figures[outof] < 0 and outof not in _MAY_OWE:
            what = f"takes more from {source} than there was"
            self._broken(account.id, "postings", {"entry_id": entry_id}, what)

    def _lot(self, lots: dict[UUID, _Lot], account: _Account, lot_id: UUID, entry_id: UUID) -> _Lot:
        lot = lots.get(lot_id)
        if lot is None:
            lot = lots[lot_id] = _Lot(account.id)
        elif lot.account_id is not account.id:
            what = f"moves lot {lot_id} of another account"
            self._broken(account.id, "entries", {"id": entry_id}, what)
        return lot

    def _next_entry(self, account: _Account, id: UUID, seq: int) -> None:
        if seq != account.seq + 1:
            self._entry_broken(account, id, f"has number {seq} after {account.seq}")
        if account.last_id is not None and id <= account.last_id:
            self._entry_broken(account, id, "bears an id below that of the entry before it")
        account.seq = seq
        account.last_id = id
        if account.first_id is None:
            account.first_id = id

    def _compare_balance(self, account: _Account, entry_id: UUID, stored: tuple[int, int, int, int]) -> None:
        figures = account.figures
        summed = (figures[_PENDING], figures[_AVAILABLE], figures[_HELD], -figures[_DEFICIT])
        if summed != stored:
            what = f"says it left {_balance(stored)}, but postings up to it make {_balance(summed)}"
            self._entry_broken(account, entry_id, what)

    def _entry_broken(self, account: _Account, id: UUID, what: str) -> None:
        self._broken(account.id, "entries", {"id": id, "account_id": account.id}, what)

    async def _compare_owners(self, connection: asyncpg.Connection, accounts: dict[UUID, _Account]) -> None:
        """The decision that opened an account says whose it is and what is counted on it."""
        opened = {account.first_id: account for account in accounts.values() if account.first_id is not None}
        for entry_id, member_id, detail in await connection.fetch(
            _OPENED, self.program_id, self.cell, list(opened)
        ):
            account = opened[entry_id]
            owner, currency = account.row["owner_id"], account.row["points_currency"]
            try:
                told = _credits(detail)
            except msgspec.MsgspecError:
                continue  # the lane's reader names it
            credited = [(member_id, one) for one in told.lots]
            credited += [(one.owner_id, one) for one in told.received]
            if (owner, account.id, currency) not in (
                (whose, one.account_id, one.points_currency) for whose, one in credited
            ):
                key: dict[str, object] = {"id": account.id, "owner_id": owner, "points_currency": currency}
                self._broken(account.id, "accounts", key, "was opened for another owner or points currency")

    async def _compare_lots(
        self, connection: asyncpg.Connection, accounts: dict[UUID, _Account], lots: dict[UUID, _Lot]
    ) -> None:
        found: set[UUID] = set()
        async for page in stream(connection, _LOTS, self.program_id, self.cell, list(lots), list(accounts)):
            for row in page:
                id = row[0]
                known = lots.get(id)
                found.add(id)
                if known is None:
                    key: dict[str, object] = {"id": id, "account_id": row["account_id"]}
                    self._broken(row["account_id"], "lots", key, "has points, but no posting moved any")
                else:
                    self._compare_lot(accounts[known.account_id], known, row)
        for lot_id in lots.keys() - found:
            what = "is missing: entries moved its points"
            self._broken(lots[lot_id].account_id, "lots", {"id": lot_id}, what)

    async def _compare_holds(
        self, connection: asyncpg.Connection, accounts: dict[UUID, _Account], holds: dict[UUID, _Hold]
    ) -> None:
        """What entries set aside, took and gave back is what the rows of the holds say."""
        rows = await connection.fetch(_HOLDS, self.program_id, self.cell, list(holds), list(accounts))
        for (
            id,
            account_id,
            owner_id,
            currency,
            points,
            captured,
            state,
            held_at,
            ended_at,
            parts,
            lapses,
        ) in rows:
            known = holds.pop(id, None)
            key: dict[str, object] = {"id": id, "account_id": account_id}
            if known is None:
                self._broken(account_id, "holds", key, "holds points that no entry set aside")
                continue
            account = accounts[known.account_id]
            said = (account_id, points, captured, state, ended_at, held_at, read(_parts, parts, None))
            if said != known.stored() or (owner_id, currency) != (
                account.row["owner_id"],
                account.row["points_currency"],
            ):
                self._broken(account.id, "holds", key, "says other than its entries")
            if state == "open":
                account.due = _earlier(account.due, lapses)
        for id, known in holds.items():
            self._broken(known.account_id, "holds", {"id": id}, "is missing: an entry set its points aside")

    def _compare_lot(self, account: _Account, known: _Lot, row: Any) -> None:
        id, account_id, points, child, is_open, *dates, arrived_at, slides, was_expired = row[:12]
        issued_activates, issued_expires, activates_at, expires_at = dates
        stored: tuple[int, ...] = row[12:]
        known.child, known.slides = child, slides
        account.may_slide = account.may_slide or slides is not None
        key: dict[str, object] = {"id": id, "account_id": account_id}
        if account_id != account.id:
            self._broken(account.id, "lots", key, f"belongs to account {account.id} by its entries")
        if stored != tuple(known.figures):
            bucket = next(b for b in Bucket if stored[_INDEX[b]] != known.figures[_INDEX[b]])
            was, is_ = stored[_INDEX[bucket]], known.figures[_INDEX[bucket]]
            self._broken(account.id, "lots", key, f"says {was} {bucket}, but its postings make {is_}")
        # A child lot's `transferred` rises again when its points are passed on.
        issued = known.figures[_TRANSFERRED] >= -points if child else known.figures[_ISSUED] == -points
        if not issued:
            self._broken(account.id, "lots", key, f"was not issued with its {points} points")
        self._compare_dates(
            account, key, known, (issued_activates, issued_expires), (activates_at, expires_at)
        )
        if arrived_at != known.arrived_at:
            self._broken(account.id, "lots", key, "does not say when its points came last")
        if was_expired != known.was_expired:
            self._broken(account.id, "lots", key, "does not say whether points of it had expired before")
        pending, available, held = stored[_PENDING], stored[_AVAILABLE], stored[_HELD]
        if is_open != bool(pending or available or held):
            what = (
                "is marked open, but nothing is left" if is_open else "is marked closed, but points are left"
            )
            self._broken(account.id, "lots", key, what)
        account.pending += pending
        account.available += available
        account.held += held
        account.debt -= stored[_DEFICIT]
        if pending and activates_at is not None:
            account.due = _earlier(account.due, max(activates_at, arrived_at))
        if available and expires_at is not None:
            end = max(expires_at, arrived_at)
            if known.slides is None or expires_at != issued_expires or stored[_EXPIRED] or was_expired:
                account.due = _earlier(account.due, end)
            else:
                account.sliding = _earlier(account.sliding, end)

    def _compare_dates(
        self,
        account: _Account,
        key: dict[str, object],
        lot: _Lot,
        issued: tuple[datetime | None, datetime | None],
        stored: tuple[datetime | None, datetime | None],
    ) -> None:
        for redate in lot.redates:
            if issued != (redate.old_activates_at, redate.old_expires_at):
                self._broken(
                    account.id, "lots", key, "was given new dates that start from others than it had"
                )
            issued = (redate.new_activates_at, redate.new_expires_at)
        if issued != stored:
            self._broken(account.id, "lots", key, "bears other dates than its entries gave it")

    def _compare(self, account: _Account) -> None:
        row = account.row
        key: dict[str, object] = {"id": account.id, "owner_id": row["owner_id"]}
        if not account.seq:
            self._broken(account.id, "accounts", key, "has no entries: nothing opened it")
        if row["seq"] != account.seq:
            self._broken(
                account.id, "accounts", key, f"counts {row['seq']} entries; the last is {account.seq}"
            )
        if (row["first_entry_id"], row["last_entry_id"]) != (account.first_id, account.last_id):
            self._broken(account.id, "accounts", key, "does not name its first and last entry")
        stored = (row["pending"], row["available"], row["held"], row["debt"])
        summed = (account.pending, account.available, account.held, account.debt)
        if stored != summed:
            self._broken(
                account.id, "accounts", key, f"says {_balance(stored)}, but its lots make {_balance(summed)}"
            )
        if row["active_at"] != account.active_at:
            self._broken(account.id, "accounts", key, "does not say when its owner last earned")
        self._slide(account)
        if (row["slides"], row["idles_at"]) != (account.slides, account.idles_at):
            what = f"says that activity keeps its points to {row['idles_at']}, but it is {account.idles_at}"
            self._broken(account.id, "accounts", key, what)
        if row["next_due_at"] != account.due:
            self._broken(
                account.id,
                "accounts",
                key,
                f"says it is next due {row['next_due_at']}, but it is {account.due}",
            )

    def _slide(self, account: _Account) -> None:
        """How far activity puts the end of what slides off, and when the account is next due by that."""
        if not account.may_slide:
            return
        for kind, occurred_at, issued in account.active:
            for lot in issued:
                if lot.slides is not None and not (lot.child and account.slides):
                    account.slides = lot.slides
            if account.slides is None:
                continue
            try:
                end = idle_end(account.slides, EntryKind(kind), occurred_at, self.zone)
            except UNREADABLE:
                continue  # no policy: the chain's reader names the lot
            if end is not None and (account.idles_at is None or end > account.idles_at):
                account.idles_at = end
        if account.sliding is not None:
            account.due = _earlier(account.due, max(account.sliding, account.idles_at or account.sliding))


def _earlier(known: datetime | None, due: datetime) -> datetime:
    return due if known is None else min(known, due)


def _balance(figures: tuple[int, int, int, int]) -> str:
    pending, available, held, debt = figures
    return f"{available} available, {pending} pending, {held} held, {debt} owed"
