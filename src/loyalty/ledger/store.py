"""All reads of the ledger's tables by the rooms' frames; the pipe and verify have statements of their own.

Every statement names program and cell. Rows come back as the ledger's Structs.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Column, ColumnElement, Row, and_, any_, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.rows import columns
from loyalty.base.schema import ID
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
    found: dict[UUID, list[Entry]] = {}
    for entry in await _whole(connection, program_id, cell, rows):
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
        whole = await _whole(connection, program_id, cell, rows)
        found[account_id] = Page(whole, {row.id: row.recorded_at for row in rows}, about)
    return found


async def _whole(
    connection: AsyncConnection, program_id: UUID, cell: int, rows: Sequence[Row[Any]]
) -> list[Entry]:
    """The entries of these rows with their postings and the lots they issued, in the order of the rows."""
    if not rows:
        return []
    ids = [row.id for row in rows]
    moves: dict[UUID, list[Posting]] = {}
    query = (
        select(
            postings.c.entry_id, postings.c.lot_id, postings.c.points, postings.c.source, postings.c.target
        )
        .where(postings.c.program_id == program_id, postings.c.cell == cell, _among(postings.c.entry_id, ids))
        .order_by(postings.c.entry_id, postings.c.position)
    )
    for entry_id, lot_id, points, source, target in await connection.execute(query):
        moves.setdefault(entry_id, []).append(Posting(lot_id, points, Bucket(source), Bucket(target)))
    issued: dict[UUID, list[Lot]] = {}
    of_decisions = select(*_LOT).where(
        lots.c.program_id == program_id,
        lots.c.cell == cell,
        _among(lots.c.decision_id, [row.decision_id for row in rows]),
    )
    for row in await connection.execute(of_decisions):
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
