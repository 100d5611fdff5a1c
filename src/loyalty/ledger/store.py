"""All reads of the ledger's tables by the rooms' frames; the pipe and verify have statements of their own.

Every statement names its program, and the cell where it is about one. Rows come back as the ledger's Structs.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Row,
    and_,
    any_,
    func,
    literal,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.aside import Aside
from loyalty.base.rows import columns
from loyalty.base.schema import ID
from loyalty.ledger.rollforward import Moved
from loyalty.ledger.tables import accounts, blocks, decisions, entries, holds, lots, postings
from loyalty.ledger.types import (
    Account,
    Bucket,
    Deadline,
    Entry,
    EntryKind,
    Hold,
    HoldState,
    Lot,
    PlacedHold,
    Posting,
    Redate,
)

_STORED_ACCOUNT = [accounts.c[name] for name in Account.__struct_fields__ if name != "settled_at"]
_LOT = columns(lots, Lot)
_ACCOUNT_FIELDS = len(_STORED_ACCOUNT)
_HOLD = columns(holds, PlacedHold)
_HOLD_FIELDS = PlacedHold.__struct_fields__
_ACCOUNTS_HOLDS = and_(
    holds.c.program_id == accounts.c.program_id,
    holds.c.cell == accounts.c.cell,
    holds.c.account_id == accounts.c.id,
    holds.c.state == HoldState.OPEN,
)
_MEMBERS_LOTS = and_(
    lots.c.program_id == accounts.c.program_id,
    lots.c.cell == accounts.c.cell,
    lots.c.account_id == accounts.c.id,
    lots.c.is_open,
)


# Bounds are counted by us: the database's own calendar and time zone play no part.
_MOVED = text(
    "SELECT width_bucket(e.occurred_at, CAST(:begins AS timestamptz[])) - 1, a.points_currency, e.kind,"
    " coalesce(e.cause = 'waived', false), p.source, p.target, sum(p.points)"
    " FROM entries e"
    " JOIN postings p ON p.program_id = e.program_id AND p.cell = e.cell AND p.entry_id = e.id"
    " JOIN accounts a ON a.program_id = e.program_id AND a.cell = e.cell AND a.id = e.account_id"
    " WHERE e.program_id = :program AND e.cell = :cell GROUP BY 1, 2, 3, 4, 5, 6"
)


class Held(NamedTuple):
    """An account with its open lots and holds, as stored."""

    account: Account
    lots: dict[UUID, Lot]
    holds: Sequence[Hold] = ()


class Page(NamedTuple):
    """Entries of one account, newest first, and what their decisions were about."""

    entries: list[Entry]
    recorded_at: dict[UUID, datetime]  # by entry
    about: dict[UUID, tuple[str, UUID | None]]  # by decision: kind, activity


async def last_recorded_at(connection: AsyncConnection, program_id: UUID, cell: int) -> datetime | None:
    """The instant of the lane's newest block; None when the lane is empty."""
    query = (
        select(blocks.c.recorded_at)
        .where(blocks.c.program_id == program_id, blocks.c.cell == cell)
        .order_by(blocks.c.number.desc())
        .limit(1)
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def held(connection: AsyncConnection, program_id: UUID, cell: int, owner_id: UUID) -> dict[str, Held]:
    """The owner's accounts with all their open lots and holds, by points currency."""
    query = (
        select(*_STORED_ACCOUNT, *_LOT)
        .select_from(accounts.outerjoin(lots, _MEMBERS_LOTS))
        .where(accounts.c.program_id == program_id, accounts.c.cell == cell, accounts.c.owner_id == owner_id)
        .order_by(lots.c.id)
    )
    found: dict[str, Held] = {}
    for row in await connection.execute(query):
        values = tuple(row)
        account = Account(*values[:_ACCOUNT_FIELDS])
        mine = found.setdefault(account.points_currency, Held(account, {}))
        if values[_ACCOUNT_FIELDS] is not None:
            lot = Lot(*values[_ACCOUNT_FIELDS:])
            mine.lots[lot.id] = lot
    if any(mine.account.held for mine in found.values()):
        for hold in await open_holds(connection, program_id, cell, owner_id):
            mine = found[hold.points_currency]
            found[hold.points_currency] = mine._replace(holds=(*mine.holds, hold))
    return found


async def accounts_of(
    connection: AsyncConnection, program_id: UUID, cell: int, owner_id: UUID
) -> dict[str, Account]:
    """The owner's accounts by points currency, without what they hold."""
    query = select(*_STORED_ACCOUNT).where(
        accounts.c.program_id == program_id, accounts.c.cell == cell, accounts.c.owner_id == owner_id
    )
    return {row.points_currency: Account(*row) for row in await connection.execute(query)}


async def open_lots(connection: AsyncConnection, program_id: UUID, cell: int, owner_id: UUID) -> int:
    """How many lots the owner has open, as stored."""
    query = (
        select(func.count())
        .select_from(accounts.join(lots, _MEMBERS_LOTS))
        .where(accounts.c.program_id == program_id, accounts.c.cell == cell, accounts.c.owner_id == owner_id)
    )
    return (await connection.execute(query)).scalar_one()


async def accounts_after(
    connection: AsyncConnection,
    program_id: UUID,
    cell: int,
    points_currency: str,
    after: UUID,
    limit: int,
) -> list[Held]:
    """Accounts of a lane that hold points, in the order of their ids, with all their open lots and holds."""
    # The index gives them in this order; sorted, all that are left would be read anew for each chunk.
    await connection.execute(text("SET LOCAL enable_sort = off"))
    query = (
        select(*_STORED_ACCOUNT)
        .where(
            accounts.c.program_id == program_id,
            accounts.c.cell == cell,
            accounts.c.id > after,
            accounts.c.points_currency == points_currency,
            accounts.c.pending + accounts.c.available + accounts.c.held > 0,
        )
        .order_by(accounts.c.id)
        .limit(limit)
    )
    found = {row.id: Held(Account(*row), {}) for row in await connection.execute(query)}
    open_lots = select(*_LOT).where(
        lots.c.program_id == program_id, lots.c.cell == cell, _among(lots.c.account_id, found), lots.c.is_open
    )
    for row in await connection.execute(open_lots):
        lot = Lot(*row)
        found[lot.account_id].lots[lot.id] = lot
    holding = [id for id, one in found.items() if one.account.held]
    open_holds = select(*_HOLD).where(
        holds.c.program_id == program_id,
        holds.c.cell == cell,
        _among(holds.c.account_id, holding),
        holds.c.state == HoldState.OPEN,
    )
    for row in await connection.execute(open_holds) if holding else ():
        hold = _hold(row)
        found[hold.account_id] = found[hold.account_id]._replace(holds=(*found[hold.account_id].holds, hold))
    return list(found.values())


async def open_holds(
    connection: AsyncConnection, program_id: UUID, cell: int, owner_id: UUID
) -> list[PlacedHold]:
    """The owner's holds that are stored as open, in the order in which they were placed."""
    query = (
        select(*_HOLD)
        .select_from(accounts.join(holds, _ACCOUNTS_HOLDS))
        .where(accounts.c.program_id == program_id, accounts.c.cell == cell, accounts.c.owner_id == owner_id)
        .order_by(holds.c.held_at, holds.c.id)
    )
    return [_hold(row) for row in await connection.execute(query)]


async def due(
    connection: AsyncConnection,
    program_id: UUID,
    cell: int,
    now: datetime,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Held]:
    """Up to `limit` accounts on which something is due at `now`, the longest due first, with open lots and holds.

    `after`: since when something is due on the last one, and its id.
    """
    query = (
        select(*_STORED_ACCOUNT)
        .where(
            accounts.c.program_id == program_id,
            accounts.c.cell == cell,
            accounts.c.next_due_at <= now,
            true() if after is None else tuple_(accounts.c.next_due_at, accounts.c.id) > after,
        )
        .order_by(accounts.c.next_due_at, accounts.c.id)
        .limit(limit)
    )
    found = {row.id: Held(Account(*row), {}, []) for row in await connection.execute(query)}
    of_lots = select(*_LOT).where(
        lots.c.program_id == program_id, lots.c.cell == cell, lots.c.is_open, _among(lots.c.account_id, found)
    )
    for row in await connection.execute(of_lots):
        found[row.account_id].lots[row.id] = Lot(*row)
    of_holds = select(*_HOLD).where(
        holds.c.program_id == program_id,
        holds.c.cell == cell,
        holds.c.state == HoldState.OPEN,
        _among(holds.c.account_id, [id for id, one in found.items() if one.account.held]),
    )
    for row in await connection.execute(of_holds):
        mine = found[row.account_id]
        found[row.account_id] = mine._replace(holds=(*mine.holds, _hold(row)))
    return list(found.values())


async def moved(
    connection: AsyncConnection, program_id: UUID, cell: int, begins: Sequence[datetime]
) -> list[Moved]:
    """All that entries moved, summed by period and way; `begins` are the instants at which the periods begin."""
    # Sets of rows are joined by hash. Taken for small, as all of a program's are, they were looked up row by row or
    # compared pair by pair (docs/decisions/programs-are-not-counted.md). What is read behind it in this visit joins
    # nothing.
    await connection.execute(text("SET LOCAL enable_nestloop = off"))
    rows = await connection.execute(_MOVED, {"program": program_id, "cell": cell, "begins": list(begins)})
    return [
        Moved(place, code, EntryKind(kind), waived, Bucket(source), Bucket(target), int(points))
        for place, code, kind, waived, source, target, points in rows
    ]


async def first_occurred_at(connection: AsyncConnection, program_id: UUID) -> datetime | None:
    """The instant of the earliest entry; None: there is none."""
    query = select(func.min(entries.c.occurred_at)).where(entries.c.program_id == program_id)
    return (await connection.execute(query)).scalar_one()


async def owned(connection: AsyncConnection, program_id: UUID, cell: int) -> dict[str, int]:
    """What all accounts hold, less what is owed, by points currency, as stored."""
    a = accounts.c
    query = (
        select(a.points_currency, func.sum(a.pending + a.available + a.held - a.debt))
        .where(a.program_id == program_id, a.cell == cell)
        .group_by(a.points_currency)
    )
    return {code: int(points) for code, points in await connection.execute(query)}


async def hold(connection: AsyncConnection, program_id: UUID, cell: int, id: UUID) -> PlacedHold | None:
    """A hold by its id, as stored."""
    query = select(*_HOLD).where(holds.c.program_id == program_id, holds.c.cell == cell, holds.c.id == id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _hold(row)


async def deadlines(
    connection: AsyncConnection, program_id: UUID, cell: int, ids: Collection[UUID]
) -> dict[UUID, tuple[Deadline, ...]]:
    """Every deadline that these holds ever had."""
    if not ids:
        return {}
    query = select(holds.c.id, holds.c.deadlines).where(
        holds.c.program_id == program_id, holds.c.cell == cell, _among(holds.c.id, ids)
    )
    return {id: msgspec.convert(had, tuple[Deadline, ...]) for id, had in await connection.execute(query)}


def _hold(row: Row[Any]) -> PlacedHold:
    return msgspec.convert(dict(zip(_HOLD_FIELDS, row, strict=True)), PlacedHold)


async def history(
    connection: AsyncConnection,
    aside: Aside,
    program_id: UUID,
    cell: int,
    account_ids: Collection[UUID],
    recorded_by: datetime,
) -> dict[UUID, list[Entry]]:
    """All entries of the accounts that were recorded by an instant, in order, with lots and postings."""
    query = (
        select(entries)
        .where(
            entries.c.program_id == program_id,
            entries.c.cell == cell,
            _among(entries.c.account_id, account_ids),
            entries.c.recorded_at <= recorded_by,
        )
        .order_by(entries.c.account_id, entries.c.seq)
    )
    rows = (await connection.execute(query)).all()
    parts = await _parts(connection, program_id, cell, rows)
    found: dict[UUID, list[Entry]] = {}
    for entry in await aside(program_id, len(rows), partial(_whole, rows, *parts)):
        found.setdefault(entry.account_id, []).append(entry)
    return found


async def page(
    connection: AsyncConnection,
    program_id: UUID,
    cell: int,
    before: Mapping[UUID, int | None],
    limit: int,
) -> dict[UUID, Page]:
    """Of each account up to `limit` entries numbered below its bound (None: the newest), newest first."""
    found: dict[UUID, Page] = {}
    for account_id, bound in before.items():
        query = (
            select(entries)
            .where(
                entries.c.program_id == program_id, entries.c.cell == cell, entries.c.account_id == account_id
            )
            .order_by(entries.c.seq.desc())
            .limit(limit)
        )
        if bound is not None:
            query = query.where(entries.c.seq < bound)
        rows = (await connection.execute(query)).all()
        about = await _about(connection, program_id, cell, [row.decision_id for row in rows])
        whole = _whole(rows, *await _parts(connection, program_id, cell, rows))
        found[account_id] = Page(whole, {row.id: row.recorded_at for row in rows}, about)
    return found


async def _parts(
    connection: AsyncConnection, program_id: UUID, cell: int, rows: Sequence[Row[Any]]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """The postings of these entries, and the lots that came with their decisions."""
    if not rows:
        return (), ()
    of_entries = (
        select(
            postings.c.entry_id, postings.c.lot_id, postings.c.points, postings.c.source, postings.c.target
        )
        .where(
            postings.c.program_id == program_id,
            postings.c.cell == cell,
            _among(postings.c.entry_id, [row.id for row in rows]),
        )
        .order_by(postings.c.entry_id, postings.c.position)
    )
    of_decisions = (
        select(*_LOT)
        .where(
            lots.c.program_id == program_id,
            lots.c.cell == cell,
            _among(lots.c.decision_id, [row.decision_id for row in rows]),
        )
        .order_by(lots.c.id)
    )
    moved = (await connection.execute(of_entries)).all()
    return moved, (await connection.execute(of_decisions)).all()


def _whole(rows: Sequence[Row[Any]], moved: Sequence[Any], came: Sequence[Any]) -> list[Entry]:
    """The entries of these rows with their postings and the lots they issued, in the order of the rows."""
    moves: dict[UUID, list[Posting]] = {}
    for entry_id, lot_id, points, source, target in moved:
        moves.setdefault(entry_id, []).append(Posting(lot_id, points, Bucket(source), Bucket(target)))
    issued: dict[UUID, list[Lot]] = {}
    for row in came:
        lot = Lot(*row)
        issued.setdefault(lot.issuing_entry_id, []).append(lot)
    return [
        Entry(
            id=row.id,
            account_id=row.account_id,
            seq=row.seq,
            decision_id=row.decision_id,
            kind=EntryKind(row.kind),
            occurred_at=row.occurred_at,
            postings=tuple(moves.get(row.id, ())),
            cause=row.cause,
            corrects_entry_id=row.corrects_entry_id,
            redates=msgspec.convert(row.redates or (), tuple[Redate, ...]),
            lots=tuple(issued.get(row.id, ())),
            pending=row.pending,
            available=row.available,
            held=row.held,
            debt=row.debt,
        )
        for row in rows
    ]


async def _about(
    connection: AsyncConnection, program_id: UUID, cell: int, ids: Collection[UUID]
) -> dict[UUID, tuple[str, UUID | None]]:
    if not ids:
        return {}
    query = select(decisions.c.id, decisions.c.kind, decisions.c.activity_id).where(
        decisions.c.program_id == program_id, decisions.c.cell == cell, _among(decisions.c.id, ids)
    )
    return {id: (kind, activity_id) for id, kind, activity_id in await connection.execute(query)}


def _among(column: Column[Any], ids: Collection[UUID]) -> ColumnElement[bool]:
    """One array parameter, however many ids."""
    return column == any_(literal(list(ids), ARRAY(ID)))
