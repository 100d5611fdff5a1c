"""The books, read: balances, lots, statement, single records, and why each came about. Every read is settled."""

from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct, structs
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.access.roles import Permission
from loyalty.base.aside import JUDGED, LINE_TEXT
from loyalty.base.calendar import CLOCK_DIFFERENCE_MAX
from loyalty.base.database import reading
from loyalty.base.errors import Fault
from loyalty.base.paging import InvalidCursor
from loyalty.conditions.types import MemberFacts
from loyalty.ledger import service as ledger
from loyalty.ledger.service import Owner
from loyalty.ledger.types import Balances, LotView, StatementLine
from loyalty.members.cells import cell_of
from loyalty.members.service import resolve
from loyalty.members.types import MemberNotFound
from loyalty.posting import service as posting
from loyalty.posting.commands import Answer, MemberRef, ReceiptName
from loyalty.posting.configuration import History
from loyalty.posting.content import Content
from loyalty.posting.detail import Detail
from loyalty.posting.explain import Explanation, explain, explain_undone
from loyalty.posting.returned import facts_judged
from loyalty.posting.types import InFuture, PurchaseNotFound
from loyalty.web.api import wire
from loyalty.web.api.naming import named
from loyalty.web.edge import Call, get, reply
from loyalty.web.types import DecisionNotFound, EntryNotFound

MEMBER = "/v1/members/{member}"


class BalancesQuery(Struct, frozen=True):
    as_of: wire.Instant | None = None
    recorded_by: wire.Instant | None = None


class LotsQuery(Struct, frozen=True):
    points_currency: wire.PointsCurrencyCode | None = None
    limit: wire.Limit = 50
    cursor: wire.CursorText | None = None


class LotPage(Struct, frozen=True):
    data: tuple[LotView, ...]
    next_cursor: str | None


class NamedLine(StatementLine, frozen=True):
    """A line of the statement, and the number under which the shop knows the purchase or return that it is about."""

    known_as: ReceiptName | None = None


class StatementPage(Struct, frozen=True):
    data: tuple[NamedLine, ...]
    next_cursor: str | None


class ActorView(Struct, frozen=True):
    kind: str
    id: UUID


class BlockView(Struct, frozen=True):
    """Where a record stands in the chain."""

    lane: int
    number: int


class DecisionView(Struct, frozen=True):
    """The stored result of one command: the facts it used, what it gave, and every rule in words."""

    id: UUID
    kind: str
    member_id: UUID | None
    activity_id: UUID | None
    actor: ActorView
    occurred_at: datetime
    recorded_at: datetime
    block: BlockView
    detail: Detail
    answer_status: int
    answer: dict[str, Any]
    explanation: Explanation


class PurchaseExplanation(Struct, frozen=True):
    """Why a purchase earned what it earned; the stored awards are the truth."""

    purchase_id: UUID
    decision_id: UUID
    member_id: UUID | None
    explanation: Explanation


@get(
    f"{MEMBER}/balances",
    Permission.MEMBER_READ,
    answers={200: Balances},
    refusals=(MemberNotFound, InFuture),
    hot=True,
)
async def read_balances(call: Call, member: MemberRef, query: BalancesQuery) -> Answer:
    """What a member holds of every points currency, now or as of an instant.

    `as_of` asks for what had happened by then, `recorded_by` for what was known by then. The answer says which instants
    it used; asked again with both, it stays the same for ever, once something was recorded later than that: while the
    clock of a sandbox stands, more may be recorded at the very instant. What is still to come is refused: more may
    happen until then.
    """
    if query.as_of is None and query.recorded_by is None:
        found = await call.runtime.balances_now(call.program_id, member)
        if found is not None:
            return reply(found)
    runtime = call.runtime
    async with runtime.aside.read(call.program_id), reading(runtime.engine, call.program_id) as connection:
        return reply(await balances_as_of(call, connection, member, query.as_of, query.recorded_by))


async def balances_as_of(
    call: Call,
    connection: AsyncConnection,
    member: MemberRef,
    as_of: datetime | None = None,
    recorded_by: datetime | None = None,
) -> Balances:
    """What a member holds, or held at an instant as recorded until another. Raises: MemberNotFound, InFuture."""
    history = await call.runtime.history(call.program_id)
    now = await call.runtime.now(call.program_id)
    if as_of is not None and as_of > now + CLOCK_DIFFERENCE_MAX:
        raise InFuture(faults=(Fault("/as_of", "out_of_range", "The instant is still to come."),), now=now)
    settings = history.at(now).settings
    return await ledger.balances(
        connection,
        call.runtime.aside,
        await owner(connection, call, member),
        settings.points_currencies,
        ZoneInfo(settings.zone),
        now,
        as_of=None if as_of is None else wire.utc(as_of),
        recorded_by=None if recorded_by is None else wire.utc(recorded_by),
    )


@get(
    f"{MEMBER}/lots", Permission.MEMBER_READ, answers={200: LotPage}, refusals=(MemberNotFound, InvalidCursor)
)
async def read_lots(call: Call, member: MemberRef, query: LotsQuery) -> Answer:
    """The credits a member still has points of, those that expire first at the top: what expires when."""
    after = call.page_start(query.cursor, member, query.points_currency)
    history = await call.runtime.history(call.program_id)
    now = await call.runtime.now(call.program_id)
    runtime, zone = call.runtime, ZoneInfo(history.at(now).settings.zone)

    async def read(connection: AsyncConnection, who: Owner) -> list[LotView]:
        of = query.points_currency
        return await ledger.lots(connection, runtime.aside, who, zone, now, points_currency=of)

    async with reading(runtime.engine, call.program_id) as connection:
        who = await owner(connection, call, member)
        lots = None if await ledger.has_many_lots(connection, who) else await read(connection, who)
    if lots is None:
        async with (
            runtime.aside.read(call.program_id),
            reading(runtime.engine, call.program_id) as connection,
        ):
            lots = await read(connection, who)
    if after is not None:
        lots = [lot for lot in lots if _place(lot) > after]
    return call.page(lots[: query.limit + 1], query.limit, _place, member, query.points_currency)


@get(
    f"{MEMBER}/entries",
    Permission.LEDGER_READ,
    answers={200: StatementPage},
    refusals=(MemberNotFound, InvalidCursor),
)
async def read_statement(call: Call, member: MemberRef, query: LotsQuery) -> Answer:
    """A member's statement, newest first: what changed, the balance it left, and why, in words.

    The first page begins with what is due and not yet written: those lines have no id.
    """
    before = call.page_start(query.cursor, member, query.points_currency)
    history = await call.runtime.history(call.program_id)
    now = await call.runtime.now(call.program_id)
    settings = history.at(now).settings
    async with reading(call.runtime.engine, call.program_id) as connection:
        page = await ledger.statement(
            connection,
            call.runtime.aside,
            await owner(connection, call, member),
            [c for c in settings.points_currencies if query.points_currency in (None, c.code)],
            ZoneInfo(settings.zone),
            now,
            limit=query.limit,
            before=None if before is None else before[0],
        )
        about = {line.activity_id for line in page.lines if line.activity_id is not None}
        names = await posting.names_of(connection, call.program_id, about) if about else {}
    lines = tuple(
        NamedLine(
            **structs.asdict(line), known_as=None if line.activity_id is None else names.get(line.activity_id)
        )
        for line in page.lines
    )
    if page.before is None:
        return reply(StatementPage(lines, None))
    return call.page_on(lines, [page.before], member, query.points_currency)


@get(
    "/v1/entries/{entry}",
    Permission.LEDGER_READ,
    answers={200: posting.PostedEntry},
    refusals=(EntryNotFound,),
)
async def read_entry(call: Call, entry: UUID) -> Answer:
    """One record of the ledger: the points it moved from bucket to bucket of which lots, and the balance it left.

    Where it gave lots new dates (a redate, points given back for a time), `redates` has them beside the old ones.
    """
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await posting.entry(connection, call.program_id, entry, call.runtime.settings.cells)
    if found is None:
        raise EntryNotFound
    return reply(found)


@get(
    "/v1/decisions/{decision}",
    Permission.LEDGER_READ,
    answers={200: DecisionView},
    refusals=(DecisionNotFound,),
)
async def read_decision(call: Call, decision: UUID) -> Answer:
    """Why something came about: the facts used, the awards, the first answer, and every rule in words."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await posting.decision(connection, call.program_id, decision, call.runtime.settings.cells)
        if found is None:
            raise DecisionNotFound
        posted = undone = None
        detail = msgspec.json.decode(found.detail, type=Detail)
        if detail.undoes is not None:
            cells = call.runtime.settings.cells
            undone = await posting.decision(connection, call.program_id, detail.undoes, cells)
        elif found.activity_id is not None:
            posted = await posting.purchase_by_id(connection, call.program_id, found.activity_id)
    history = await call.runtime.history(call.program_id)

    def told() -> Answer:
        if undone is None:
            explanation = _explanation(found, detail, posted, history)
        else:
            earned = msgspec.json.decode(undone.detail, type=Detail)
            explanation = explain_undone(detail, earned, history, evaluator=undone.evaluator)
        return reply(
            DecisionView(
                found.id,
                found.kind,
                found.member_id,
                found.activity_id,
                ActorView(found.actor_kind, found.actor_id),
                found.occurred_at,
                found.recorded_at,
                BlockView(found.cell, found.block_number),
                detail,
                found.answer_status,
                msgspec.json.decode(found.answer),
                explanation,
            )
        )

    pieces = _pieces(found.detail, posted, history) + (0 if undone is None else len(undone.detail) // 1_000)
    return await call.runtime.aside(call.program_id, pieces, told)


@get(
    "/v1/purchases/{purchase}/explanation",
    Permission.LEDGER_READ,
    answers={200: PurchaseExplanation},
    refusals=(PurchaseNotFound,),
)
async def explain_purchase(call: Call, purchase: UUID) -> Answer:
    """Why a purchase earned what it earned, rule by rule, also when it earned nothing."""
    async with reading(call.runtime.engine, call.program_id) as connection:
        posted = await posting.purchase_by_id(connection, call.program_id, purchase)
        if posted is None or (posted.location is not None and not call.principal.at(posted.location)):
            raise PurchaseNotFound
        found, explanation = await explained(call, connection, posted)
    return reply(PurchaseExplanation(posted.id, found.id, posted.member_id, explanation))


async def explained(
    call: Call, connection: AsyncConnection, posted: posting.PostedPurchase
) -> tuple[posting.PostedDecision, Explanation]:
    """The decision by which a purchase earned what it earned, its claim if it has one, and why."""
    decision = posted.awarded_by or posted.decision_id
    cells = call.runtime.settings.cells
    found = await posting.decision(connection, call.program_id, decision, cells)
    assert found is not None, "an activity without its decision"
    history = await call.runtime.history(call.program_id)

    def why() -> Explanation:
        return _explanation(found, msgspec.json.decode(found.detail, type=Detail), posted, history)

    pieces = _pieces(found.detail, posted, history)
    return found, await call.runtime.aside(call.program_id, pieces, why)


def _pieces(detail: str, posted: posting.PostedPurchase | None, history: History) -> int:
    """What an explanation goes through, in the pieces of base/aside.py: all lines are held against all rules."""
    lines = 0 if posted is None else len(posted.content or "") // LINE_TEXT
    return len(detail) // 1_000 + lines * history.rules_max // JUDGED


def _explanation(
    found: posting.PostedDecision, detail: Detail, posted: posting.PostedPurchase | None, history: History
) -> Explanation:
    """Why a decision was made; the purchase's lines are judged again while they are kept."""
    facts = None
    if posted is not None and posted.content is not None:
        content = msgspec.json.decode(posted.content, type=Content)
        facts = structs.replace(
            facts_judged(content, found.occurred_at, detail.basis, detail.left),
            member=MemberFacts(tiers=detail.tiers),
        )
    return explain(detail, facts, history, evaluator=found.evaluator, guest=found.member_id is None)


async def owner(connection: AsyncConnection, call: Call, member: MemberRef) -> Owner:
    """The member's place. Raises: MemberNotFound."""
    cells = call.runtime.settings.cells
    id = (await resolve(connection, call.program_id, named(member), cells)).id
    return Owner(call.program_id, cell_of(id, cells), id)


def _place(lot: LotView) -> list[Any]:
    """Where a lot stands in the list: never-expiring ones last."""
    expires = lot.expires_at.isoformat() if lot.expires_at is not None else "~"
    return [expires, lot.earned_at.isoformat(), str(lot.id)]
