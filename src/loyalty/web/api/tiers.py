"""Tiers: where a member stands, how it came there, what comes by itself; and tiers given by hand."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct
from msgspec.structs import astuple

from loyalty.access.roles import Permission
from loyalty.base.database import reading
from loyalty.base.paging import InvalidCursor
from loyalty.members.cells import cell_of
from loyalty.members.service import resolve
from loyalty.members.types import MemberErased, MemberNotFound
from loyalty.posting.answers import GivenTier, StandingAnswer, TierAnswer
from loyalty.posting.commands import Answer, GiveTier, MemberRef
from loyalty.posting.places import Place, places
from loyalty.posting.types import TierInvalid, TierSetNotFound
from loyalty.tiers import store
from loyalty.tiers.review import falls_at
from loyalty.tiers.types import KeptMove, Why
from loyalty.web.api import wire
from loyalty.web.api.naming import named
from loyalty.web.edge import Call, get, post, reply

STANDING = "/v1/members/{member}/standing"


class TierView(Struct, frozen=True):
    id: str
    name: str
    threshold: int
    benefits: tuple[str, ...]


class MoveAhead(Struct, frozen=True):
    """A step that comes by itself if nothing more is done."""

    at: datetime
    before: str | None
    after: str | None
    why: Why
    counted: Annotated[int, Meta(description="What will be counted then, in the window that counts.")]


class PlaceView(Struct, frozen=True):
    """A ladder, where the member stands on it and why, and what comes by itself within a year."""

    standing: StandingAnswer
    name: str  # of the tier set
    tiers: tuple[TierView, ...]  # from the lowest
    earned: str | None  # by what was done
    lifetime: str | None  # kept for ever
    given: GivenTier | None  # by hand
    falls_at: datetime | None  # when the tier falls, at the end of its grace
    next_review_at: datetime | None  # null: nothing changes by itself
    ahead: tuple[MoveAhead, ...]


class StandingView(Struct, frozen=True):
    data: tuple[PlaceView, ...]


class MovePage(Struct, frozen=True):
    data: tuple[KeptMove, ...]
    next_cursor: str | None


@get(STANDING, Permission.MEMBER_READ, answers={200: StandingView}, refusals=(MemberNotFound, MemberErased))
async def read_standing(call: Call, member: MemberRef) -> Answer:
    """Where a member stands on every ladder now: its tier with its benefits, and how far the next one is.

    `ahead` are the steps that come by themselves within a year if nothing more is done.
    """
    found = await places(call.runtime, call.program_id, member, call.actor, call.exchange.request_id)
    return reply(StandingView(tuple(_view(one) for one in found)))


@get(
    f"{STANDING}/moves",
    Permission.MEMBER_READ,
    answers={200: MovePage},
    refusals=(MemberNotFound, InvalidCursor),
)
async def list_moves(call: Call, member: MemberRef, query: wire.PageQuery) -> Answer:
    """Every step of a member on every ladder with its reason, the last recorded first.

    `at` is when it counts from: a step that came with a review is written when somebody looks.
    """
    cells = call.runtime.settings.cells
    async with reading(call.runtime.engine, call.program_id) as connection:
        id = (await resolve(connection, call.program_id, named(member), cells)).id
        after = call.page_start(query.cursor, id)
        before = None if after is None else (UUID(after[0]), after[1], after[2])
        rows = await store.moves_of(
            connection, call.program_id, cell_of(id, cells), id, before=before, limit=query.limit + 1
        )
    return call.page(rows, query.limit, _where, id)


@post(
    f"{STANDING}/{{tier_set}}",
    Permission.TIER_GIVE,
    keyed=True,
    answers={200: TierAnswer},
    refusals=(MemberNotFound, MemberErased, TierSetNotFound, TierInvalid),
)
async def give_tier(call: Call, member: MemberRef, tier_set: str, body: wire.TierBody) -> Answer:
    """Give a tier by hand: at least this one until its end, while what is earned counts on behind it.

    With `tier` null what was given is taken back.
    """
    until = None if body.until is None else wire.utc(body.until)
    return await call.submit(GiveTier(member, tier_set, body.tier, until, body.reason))


def _view(place: Place) -> PlaceView:
    standing, manual = place.standing, place.standing.manual
    return PlaceView(
        standing=place.shown,
        name=place.ladder.name,
        tiers=tuple(TierView(one.id, one.name, one.threshold, one.benefits) for one in place.ladder.tiers),
        earned=standing.earned,
        lifetime=standing.lifetime,
        given=None if manual is None else GivenTier(*astuple(manual)),
        falls_at=falls_at(place.ladder, standing),
        next_review_at=standing.next_review_at,
        ahead=tuple(MoveAhead(*astuple(one)) for one in place.ahead),
    )


def _where(move: KeptMove) -> list[Any]:
    return [str(move.decision_id), move.tier_set, move.position]
