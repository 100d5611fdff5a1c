"""Points given, taken, moved and stopped by hand: four eyes, write-offs, transfers, frozen accounts."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from loyalty.access.roles import Permission
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.ledger.types import BalanceLimitExceeded, InsufficientPoints, LotsLimitExceeded
from loyalty.members.service import resolve
from loyalty.members.types import IdentifierInvalid, MemberBlocked, MemberErased, MemberNotFound
from loyalty.posting import service as posting
from loyalty.posting.answers import (
    AdjustmentAnswer,
    FreezeAnswer,
    ProposalAnswer,
    ReinstatementAnswer,
    TransferAnswer,
)
from loyalty.posting.book import Proposal
from loyalty.posting.commands import (
    Adjust,
    Answer,
    Approve,
    Freeze,
    MemberRef,
    Reinstate,
    Reject,
    TransferPoints,
    Unfreeze,
    WriteOff,
)
from loyalty.posting.types import (
    AccountFrozen,
    AdjustmentLimit,
    NothingOwed,
    OwnProposal,
    PeopleOnly,
    PinChanged,
    PinLocked,
    PinRequired,
    PinWrong,
    PointsCurrencyUnknown,
    PointsNotSpendable,
    ProposalDecided,
    ProposalLapsed,
    ProposalNotFound,
    ReasonUnknown,
    ReinstatementsOff,
    SpendingLimit,
    TooFewExpired,
    TransferLimit,
    TransferOutOfRange,
    TransfersOff,
    TransferToSelf,
)
from loyalty.web.api import wire
from loyalty.web.api.ledger import ActorView
from loyalty.web.api.naming import named, referred
from loyalty.web.edge import Call, get, post, reply
from loyalty.web.pins import submit_with_pin

ADJUSTMENTS = "/v1/adjustments"
ACCOUNT = "/v1/members/{member}/accounts/{points_currency}"

_NAMED = (IdentifierInvalid, MemberNotFound, MemberErased, PointsCurrencyUnknown)
_MOVES = (
    *_NAMED,
    MemberBlocked,
    AccountFrozen,
    InsufficientPoints,
    SpendingLimit,
    BalanceLimitExceeded,
    LotsLimitExceeded,
)
_DECIDES = (ProposalNotFound, PeopleOnly, OwnProposal, ProposalDecided, ProposalLapsed)


class ProposalView(Struct, frozen=True):
    """What was proposed, by whom, and what became of it; `lapsed` when nobody decided it in time."""

    id: UUID
    kind: Literal["adjustment", "write_off", "reinstatement"]
    state: Literal["proposed", "approved", "rejected", "lapsed"]
    member_id: UUID
    points_currency: str
    points: int
    reason: str
    reference: str | None
    proposed_by: ActorView
    proposed_at: datetime
    lapses_at: datetime
    decided_by: ActorView | None
    decided_at: datetime | None
    proposed_in: UUID  # decision
    decided_in: UUID | None


class ProposalPage(Struct, frozen=True):
    data: tuple[ProposalView, ...]
    next_cursor: str | None


class FreezeView(Struct, frozen=True):
    points_currency: str
    reason: str
    since: datetime


class FreezeList(Struct, frozen=True):
    data: tuple[FreezeView, ...]


@post(
    ADJUSTMENTS,
    Permission.ADJUST,
    keyed=True,
    answers={201: AdjustmentAnswer, 202: ProposalAnswer},
    refusals=(*_MOVES, ReasonUnknown, AdjustmentLimit),
)
async def adjust_points(call: Call, body: wire.AdjustmentBody) -> Answer:
    """Give points by hand, or take them, for a reason.

    A debit takes the points that expire first and never more than are available. Above the program's threshold
    nothing moves yet: 202 is a proposal, which another person approves or rejects.
    """
    member = await referred(call, body.member)
    return await call.submit(Adjust(member, body.points_currency, body.points, body.reason, body.reference))


@post(
    "/v1/write-offs",
    Permission.ADJUST,
    keyed=True,
    answers={202: ProposalAnswer},
    refusals=(*_NAMED, NothingOwed),
)
async def propose_write_off(call: Call, body: wire.WriteOffBody) -> Answer:
    """Propose that what a member owes is let go; another person approves it, always.

    It is decided like an adjustment, at /v1/adjustments/{adjustment}.
    """
    member = await referred(call, body.member)
    return await call.submit(WriteOff(member, body.points_currency, body.reference))


@post(
    "/v1/members/{member}/reinstatements",
    Permission.ADJUST,
    keyed=True,
    answers={201: ReinstatementAnswer, 202: ProposalAnswer},
    refusals=(
        MemberNotFound,
        MemberErased,
        MemberBlocked,
        PointsCurrencyUnknown,
        ReasonUnknown,
        ReinstatementsOff,
        TooFewExpired,
        AdjustmentLimit,
        BalanceLimitExceeded,
        LotsLimitExceeded,
    ),
)
async def reinstate_points(call: Call, member: MemberRef, body: wire.ReinstatementBody) -> Answer:
    """Give expired points back on their own lots, those that ended last first, where the points currency allows it.

    They are good for its `reinstated_days`; what is owed is repaid from them. Above the program's threshold nothing
    moves yet: 202 is a proposal, decided like an adjustment at /v1/adjustments/{adjustment}.
    """
    return await call.submit(
        Reinstate(member, body.points_currency, body.points, body.reason, body.reference)
    )


@get(ADJUSTMENTS, Permission.LEDGER_READ, answers={200: ProposalPage}, refusals=(InvalidCursor,))
async def list_proposals(call: Call, query: wire.PageQuery) -> Answer:
    """Adjustments, write-offs and reinstatements that wait for a second person, oldest first."""
    after = call.page_start(query.cursor)
    now = await call.runtime.now(call.program_id)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await posting.open_proposals(
            connection,
            call.program_id,
            call.runtime.settings.cells,
            now,
            after=None if after is None else UUID(after[0]),
            limit=query.limit + 1,
        )
    views = [_view(one, now) for one in found]
    return call.page(views, query.limit, lambda one: [str(one.id)])


@get(
    f"{ADJUSTMENTS}/{{adjustment}}",
    Permission.LEDGER_READ,
    answers={200: ProposalView},
    refusals=(ProposalNotFound,),
)
async def read_proposal(call: Call, adjustment: UUID) -> Answer:
    """A proposed adjustment or write-off, and what became of it."""
    now = await call.runtime.now(call.program_id)
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await posting.proposal(connection, call.program_id, adjustment, call.runtime.settings.cells)
    if found is None:
        raise ProposalNotFound
    return reply(_view(found, now))


@post(
    f"{ADJUSTMENTS}/{{adjustment}}/approve",
    Permission.ADJUST_DECIDE,
    keyed=True,
    answers={200: ProposalAnswer},
    refusals=(
        *_DECIDES,
        MemberBlocked,
        MemberErased,
        NothingOwed,
        AccountFrozen,
        InsufficientPoints,
        ReinstatementsOff,
        TooFewExpired,
        BalanceLimitExceeded,
        LotsLimitExceeded,
    ),
)
async def approve_adjustment(call: Call, adjustment: UUID, body: wire.Nothing) -> Answer:
    """Let a proposal happen: a person's decision, never that of whoever proposed it.

    The points are decided on now. When they do not suffice, the refusal leaves the proposal open.
    """
    return await call.submit(Approve(adjustment))


@post(
    f"{ADJUSTMENTS}/{{adjustment}}/reject",
    Permission.ADJUST_DECIDE,
    keyed=True,
    answers={200: ProposalAnswer},
    refusals=_DECIDES,
)
async def reject_adjustment(call: Call, adjustment: UUID, body: wire.Nothing) -> Answer:
    """End a proposal: nothing moves. A person's decision, never that of whoever proposed it."""
    return await call.submit(Reject(adjustment))


@post(
    "/v1/transfers",
    Permission.TRANSFER,
    keyed=True,
    answers={201: TransferAnswer},
    refusals=(
        *_MOVES,
        TransferToSelf,
        TransfersOff,
        PointsNotSpendable,
        TransferOutOfRange,
        TransferLimit,
        PinLocked,
        PinRequired,
        PinChanged,
        PinWrong,
    ),
)
async def transfer_points(call: Call, body: wire.TransferBody) -> Answer:
    """Give points of one member to another, where the program lets members do so.

    The points keep their dates; what the taker owes is repaid from them first. The fee is the giver's, beside them.
    """
    giver, taker = (
        await referred(call, body.giver, "/from"),
        await referred(call, body.taker, "/to"),
    )
    command = TransferPoints(giver, taker, body.points_currency, body.points)
    return await submit_with_pin(call, command, giver, body.pin)


@post(
    f"{ACCOUNT}/freeze",
    Permission.FREEZE,
    keyed=True,
    answers={200: FreezeAnswer},
    refusals=(MemberNotFound, MemberErased, PointsCurrencyUnknown),
)
async def freeze_account(
    call: Call, member: MemberRef, points_currency: str, body: wire.FreezeBody
) -> Answer:
    """Let nothing be taken from an account; earning goes on. Fine when it is frozen already."""
    return await call.submit(Freeze(member, points_currency, body.reason))


@post(
    f"{ACCOUNT}/unfreeze",
    Permission.UNFREEZE,
    keyed=True,
    answers={200: FreezeAnswer},
    refusals=(MemberNotFound, MemberErased, PointsCurrencyUnknown),
)
async def unfreeze_account(
    call: Call, member: MemberRef, points_currency: str, body: wire.FreezeBody
) -> Answer:
    """Let points be taken from an account again."""
    return await call.submit(Unfreeze(member, points_currency, body.reason))


@get(
    "/v1/members/{member}/freezes",
    Permission.MEMBER_READ,
    answers={200: FreezeList},
    refusals=(MemberNotFound,),
)
async def list_freezes(call: Call, member: MemberRef) -> Answer:
    """Which accounts of a member are frozen, why and since when."""
    cells = call.runtime.settings.cells
    async with reading(call.runtime.engine, call.program_id) as connection:
        found = await resolve(connection, call.program_id, named(member), cells)
        frozen = await posting.frozen(connection, call.program_id, found.id, cells)
    return reply(FreezeList(tuple(FreezeView(*one) for one in frozen)))


def _view(found: Proposal, now: datetime) -> ProposalView:
    lapsed = found.state == "proposed" and found.lapses_at <= now
    return ProposalView(
        id=found.id,
        kind=found.kind,
        state="lapsed" if lapsed else found.state,
        member_id=found.member_id,
        points_currency=found.points_currency,
        points=found.points,
        reason=found.reason,
        reference=found.reference,
        proposed_by=ActorView(found.proposed_by_kind, found.proposed_by),
        proposed_at=found.proposed_at,
        lapses_at=found.lapses_at,
        decided_by=None if found.decided_by is None else ActorView("staff", found.decided_by),
        decided_at=found.decided_at,
        proposed_in=found.proposed_in,
        decided_in=found.decided_in,
    )
