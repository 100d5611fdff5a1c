"""Where a member stands on every ladder, as a command would find it now; nothing is written."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from loyalty.posting.answers import StandingAnswer
from loyalty.posting.book import Book, Keys, Work
from loyalty.posting.commands import Actor, GiveTier, MemberRef, Settle, Submission
from loyalty.posting.decide.standing import shown, stands
from loyalty.posting.needs import deep_keys
from loyalty.posting.runtime import Runtime
from loyalty.posting.ways import Way, last_in_force
from loyalty.tiers.review import effective
from loyalty.tiers.types import Move, Standing, TierSet

AHEAD = timedelta(days=366)
_TOGETHER = 500  # members looked at in one glance


class Place(Struct, frozen=True):
    """One ladder, a member's standing on it, and what comes of that by itself within a year.

    That is, on the ladders that are published by now, those of a later day too.
    """

    ladder: TierSet
    standing: Standing
    shown: StandingAnswer
    ahead: tuple[Move, ...]


async def places(
    runtime: Runtime, program_id: UUID, member: MemberRef, actor: Actor, request_id: str
) -> list[Place]:
    """Every ladder in force. Raises: ProgramNotFound, MemberNotFound, MemberErased."""
    # As if a tier were to be given.
    submission = Submission(program_id, GiveTier(member, "", None, None, ""), actor, request_id)

    def look(work: Work) -> list[Place]:
        known, history = work.book.resolve(member), work.book.history
        last = last_in_force(history, work.now, work.now + AHEAD)
        found: list[Place] = []
        for one in shown(work, known):
            stood = stands(work, known, one.tier_set)
            way = Way(history, one.tier_set, stood, known.enrolled_at, last[one.tier_set])
            _, ahead = way.walk(() if way.since is None else work.days(known.id, way.since))
            found.append(Place(work.policies.ladders[one.tier_set], stood.standing, one, ahead))
        return found

    def deep(book: Book) -> Keys:
        return deep_keys([submission], book)

    return await runtime.glances([submission], look, deep)


async def tiers(
    runtime: Runtime, program_id: UUID, members: Sequence[UUID], actor: Actor
) -> dict[UUID, dict[str, str | None]]:
    """The tier of each member that counts now, by ladder. Raises: ProgramNotFound."""
    found: dict[UUID, dict[str, str | None]] = {}
    for first in range(0, len(members), _TOGETHER):
        some = members[first : first + _TOGETHER]
        asked = [Submission(program_id, Settle(id), actor, "") for id in some]

        def look(work: Work, some: Sequence[UUID] = some) -> dict[UUID, dict[str, str | None]]:
            ladders = work.policies.ladders
            return {
                id: {
                    name: effective(ladder, stands(work, work.book.member(id), name).standing)
                    for name, ladder in ladders.items()
                }
                for id in some
            }

        def deep(book: Book, asked: Sequence[Submission] = asked) -> Keys:
            return deep_keys(asked, book)

        found |= await runtime.glances(asked, look, deep)
    return found
