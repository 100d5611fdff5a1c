"""What was posted, read back: a purchase by receipt or id, a decision, an entry, what waits for a second person,
what is frozen. Nothing is locked.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Row, Select, Text, any_, cast, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.calendar import RoundUp
from loyalty.base.database import reading
from loyalty.base.schema import ID
from loyalty.ledger import service as ledger
from loyalty.ledger.rollforward import RollForward
from loyalty.ledger.tables import accounts, blocks, decisions, entries, postings
from loyalty.ledger.types import Redate
from loyalty.members.cells import cell_of
from loyalty.posting.book import Pin, Proposal
from loyalty.posting.commands import MemberRef, ReceiptName
from loyalty.posting.detail import COUNTERPART
from loyalty.posting.runtime import Runtime
from loyalty.posting.tables import activities, activity_keys, freezes, proposals, returns

_ALL_ENTRIES_MS = 120_000  # the roll-forward reads the whole ledger


class PostedPurchase(msgspec.Struct, frozen=True):
    """A receipt as we know it; a cancel that came before its purchase has neither content nor figures."""

    id: UUID
    source: str
    external_id: str
    state: str  # recorded, cancelled
    cell: int
    decision_id: UUID  # what recorded it (or remembered its cancel)
    awarded_by: UUID | None  # the decision whose awards stand for it: the claim's after a claim
    member_id: UUID | None
    occurred_at: datetime | None
    recorded_at: datetime | None
    location: str | None
    channel: str | None
    till: str | None
    amount_minor: int | None
    content: str | None  # JSON; gone once retention removed the lines
    answer: str  # JSON, as first given


class PostedReturn(msgspec.Struct, frozen=True):
    """A return as we know it; of a purchase never seen it has nothing but what was told."""

    id: UUID
    source: str
    external_id: str
    decision_id: UUID
    member_id: UUID | None
    recorded_at: datetime
    location: str | None
    till: str | None
    content: str | None  # JSON; gone once retention removed it
    answer: str  # JSON, as first given
    lines: str | None = None  # JSON: positions and units that went back


class PostedDecision(msgspec.Struct, frozen=True):
    """A stored decision."""

    id: UUID
    cell: int
    block_number: int
    recorded_at: datetime
    kind: str
    member_id: UUID | None
    activity_id: UUID | None
    actor_kind: str
    actor_id: UUID
    occurred_at: datetime
    evaluator: int
    detail: str  # JSON of posting/detail.py
    answer_status: int
    answer: str  # JSON
    happened_at: datetime | None  # when the purchase counts for, if it is about one whose lines are kept
    content: str | None  # JSON: its lines


class PostedMove(msgspec.Struct, frozen=True):
    """One posting of an entry."""

    lot_id: UUID
    points: int
    source: str
    target: str


class PostedEntry(msgspec.Struct, frozen=True):
    """A ledger record with what it moved, the dates it gave, and the balance it left."""

    id: UUID
    owner_id: UUID
    points_currency: str
    account_id: UUID
    seq: int
    kind: str
    occurred_at: datetime
    recorded_at: datetime
    cause: str | None
    corrects_entry_id: UUID | None
    pending: int
    available: int
    held: int
    debt: int
    decision_id: UUID
    redates: tuple[Redate, ...]  # none where dates stayed
    postings: tuple[PostedMove, ...]


async def purchase_by_receipt(
    connection: AsyncConnection, program_id: UUID, source: str, external_id: str
) -> PostedPurchase | None:
    """The purchase that a source numbered so."""
    key = activity_keys.c
    return await _purchase(
        connection, _purchases(program_id).where(key.source == source, key.external_id == external_id)
    )


async def purchase_by_id(connection: AsyncConnection, program_id: UUID, id: UUID) -> PostedPurchase | None:
    return await _purchase(connection, _purchases(program_id).where(activity_keys.c.activity_id == id))


async def return_by_receipt(
    connection: AsyncConnection, program_id: UUID, source: str, external_id: str
) -> PostedReturn | None:
    """The return that a source numbered so; which lines went back, `returns_of` its purchase says."""
    key = activity_keys.c
    query = _returns(program_id).where(key.source == source, key.external_id == external_id)
    row: Row[*tuple[Any, ...]] | None = (await connection.execute(query)).one_or_none()
    return None if row is None else PostedReturn(*row)


async def returns_of(
    connection: AsyncConnection, program_id: UUID, purchase: PostedPurchase
) -> tuple[PostedReturn, ...]:
    """What went back of a purchase, in the order in which it was recorded."""
    gone = returns.c
    query = (
        _returns(program_id)
        .add_columns(cast(gone.lines, Text))
        .join(
            returns,
            (gone.program_id == activity_keys.c.program_id)
            & (gone.cell == purchase.cell)
            & (gone.purchase_id == purchase.id)
            & (gone.id == activity_keys.c.activity_id),
        )
        .order_by(gone.id)
    )
    return tuple(PostedReturn(*row) for row in await connection.execute(query))


async def decision(
    connection: AsyncConnection, program_id: UUID, id: UUID, cells: int
) -> PostedDecision | None:
    """A decision by id, in whichever lane it stands."""
    d = decisions.c
    query = (
        select(
            d.id,
            d.cell,
            d.block_number,
            blocks.c.recorded_at,
            d.kind,
            d.member_id,
            d.activity_id,
            d.actor_kind,
            d.actor_id,
            d.occurred_at,
            d.evaluator,
            d.detail,
            d.answer_status,
            d.answer,
            activities.c.occurred_at,
            cast(activities.c.content, Text),
        )
        .outerjoin(
            activities,
            (activities.c.program_id == d.program_id)
            & activities.c.cell.in_(range(cells))
            & (activities.c.id == d.activity_id),
        )
        .join(
            blocks,
            (blocks.c.program_id == d.program_id)
            & (blocks.c.cell == d.cell)
            & (blocks.c.number == d.block_number),
        )
        .where(d.program_id == program_id, d.cell.in_(range(cells)), d.id == id, d.kind != COUNTERPART)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else PostedDecision(*row)


async def entry(connection: AsyncConnection, program_id: UUID, id: UUID, cells: int) -> PostedEntry | None:
    """A ledger record by id, in whichever lane it stands."""
    e, account = entries.c, accounts.c
    query = (
        select(
            e.cell,
            e.id,
            account.owner_id,
            account.points_currency,
            e.account_id,
            e.seq,
            e.kind,
            e.occurred_at,
            e.recorded_at,
            e.cause,
            e.corrects_entry_id,
            e.pending,
            e.available,
            e.held,
            e.debt,
            e.decision_id,
            e.redates,
        )
        .join(
            accounts,
            (account.program_id == e.program_id) & (account.cell == e.cell) & (account.id == e.account_id),
        )
        .where(e.program_id == program_id, e.cell.in_(range(cells)), e.id == id)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    cell, *values, redates = row
    values.append(msgspec.convert(redates or (), tuple[Redate, ...]))
    p = postings.c
    moves = await connection.execute(
        select(p.lot_id, p.points, p.source, p.target)
        .where(p.program_id == program_id, p.cell == cell, p.entry_id == id)
        .order_by(p.position)
    )
    values.append(tuple(PostedMove(*move) for move in moves))
    return PostedEntry(*values)


_PIN = """
WITH who AS MATERIALIZED (
    SELECT cell, member_id AS id FROM identifiers WHERE program_id = $1 AND kind = $2 AND value = $3
    UNION ALL SELECT $5::smallint, $4::uuid WHERE $4::uuid IS NOT NULL
)
SELECT p.version, p.hash, p.failed, p.locked_until FROM who, LATERAL (
    SELECT * FROM member_pins WHERE program_id = $1 AND cell = who.cell AND member_id = who.id OFFSET 0) p
WHERE NOT EXISTS (SELECT FROM idempotency_records WHERE program_id = $1 AND scope = $6 AND key = $7)
"""


async def kept_pin(
    runtime: Runtime, program_id: UUID, member: MemberRef, scope: UUID, key: str
) -> tuple[Pin | None, bool]:
    """A member's PIN to hold another one against, and whether it is locked now.

    None where that would tell nothing: there is none, or the request under this key was answered before.
    """
    named, id = member.identifier, member.id
    if named is not None:
        who = (named.kind.value, named.value, None, None)
    else:
        who = (None, None, id, None if id is None else cell_of(id, runtime.settings.cells))
    async with runtime.snapshot(program_id) as connection:
        row = await connection.fetchrow(_PIN, program_id, *who, scope, key)
    if row is None:
        return None, False
    pin = Pin(*row)
    return pin, pin.locked_until is not None and await runtime.now(program_id) < pin.locked_until


# The decision and the activity that a natural key stands for.
_OF_DECISION = (
    (decisions.c.program_id == activity_keys.c.program_id)
    & (decisions.c.cell == activity_keys.c.cell)
    & (decisions.c.id == activity_keys.c.decision_id)
)
_OF_ACTIVITY = (
    (activities.c.program_id == activity_keys.c.program_id)
    & (activities.c.cell == activity_keys.c.cell)
    & (activities.c.id == activity_keys.c.activity_id)
)


async def roll_forward(runtime: Runtime, program_id: UUID, by: RoundUp) -> RollForward:
    """All members' points of a program by local month or day, up to its instant. Raises: ProgramNotFound."""
    history = await runtime.history(program_id)
    async with reading(runtime.engine, program_id, timeout_ms=_ALL_ENTRIES_MS) as connection:
        now = await runtime.now(program_id)  # asked behind the snapshot: nothing in it is later
        zone = history.at(now).zone
        found = await ledger.movements(connection, program_id, runtime.settings.cells, zone, now, by)
    return found.rolled()


def _purchases(program_id: UUID) -> "Select[*tuple[Any, ...]]":
    key, activity, decision = activity_keys.c, activities.c, decisions.c
    return (
        select(
            key.activity_id,
            key.source,
            key.external_id,
            key.state,
            key.cell,
            key.decision_id,
            activity.awarded_by,
            activity.member_id,
            activity.occurred_at,
            activity.recorded_at,
            activity.location,
            activity.channel,
            activity.till,
            activity.amount_minor,
            cast(activity.content, Text),
            decision.answer,
        )
        .join(decisions, _OF_DECISION)
        .outerjoin(activities, _OF_ACTIVITY)
        .where(key.program_id == program_id, key.kind == "purchase")
    )


def _returns(program_id: UUID) -> "Select[*tuple[Any, ...]]":
    key, activity, decision = activity_keys.c, activities.c, decisions.c
    return (
        select(
            key.activity_id,
            key.source,
            key.external_id,
            key.decision_id,
            activity.member_id,
            activity.recorded_at,
            activity.location,
            activity.till,
            cast(activity.content, Text),
            decision.answer,
        )
        .join(decisions, _OF_DECISION)
        .join(activities, _OF_ACTIVITY)
        .where(key.program_id == program_id, key.kind == "return")
    )


async def names_of(
    connection: AsyncConnection, program_id: UUID, activity_ids: Collection[UUID]
) -> dict[UUID, ReceiptName]:
    """Under which number of which system the shop knows purchases, returns, cancels and imported rows, by activity."""
    key = activity_keys.c
    query = select(key.activity_id, key.source, key.external_id).where(
        key.program_id == program_id, key.activity_id == any_(literal(list(activity_ids), ARRAY(ID)))
    )
    return {id: ReceiptName(*name) for id, *name in await connection.execute(query)}


async def _purchase(connection: AsyncConnection, query: "Select[*tuple[Any, ...]]") -> PostedPurchase | None:
    row: Row[*tuple[Any, ...]] | None = (await connection.execute(query)).one_or_none()
    return None if row is None else PostedPurchase(*row)


_PROPOSAL = [proposals.c[name] for name in Proposal.__struct_fields__]


async def proposal(connection: AsyncConnection, program_id: UUID, id: UUID, cells: int) -> Proposal | None:
    p = proposals.c
    query = select(*_PROPOSAL).where(p.program_id == program_id, p.cell == cell_of(id, cells), p.id == id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Proposal(*row)


async def open_proposals(
    connection: AsyncConnection,
    program_id: UUID,
    cells: int,
    now: datetime,
    *,
    after: UUID | None,
    limit: int,
) -> list[Proposal]:
    """Proposals that can be decided at `now`, of all lanes, in the order of their ids."""
    p = proposals.c
    query = (
        select(*_PROPOSAL)
        .where(
            p.program_id == program_id,
            p.cell.in_(range(cells)),
            p.state == "proposed",
            p.lapses_at > now,
        )
        .order_by(p.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(p.id > after)
    return [Proposal(*row) for row in await connection.execute(query)]


async def frozen(
    connection: AsyncConnection, program_id: UUID, member_id: UUID, cells: int
) -> list[tuple[str, str, datetime]]:
    """Points currency, reason and beginning of each freeze in force."""
    f = freezes.c
    query = (
        select(f.points_currency, f.reason, f.since)
        .where(
            f.program_id == program_id,
            f.cell == cell_of(member_id, cells),
            f.member_id == member_id,
            f.frozen,
        )
        .order_by(f.points_currency)
    )
    return [(row[0], row[1], row[2]) for row in await connection.execute(query)]
