"""The catalogue as one member finds it: each reward with every reason why it cannot be had now; nothing written."""

from collections.abc import Callable, Iterable
from uuid import UUID

from msgspec import Struct

from loyalty.base.calendar import local_date, period_of
from loyalty.posting.book import Book, Keys, Work
from loyalty.posting.commands import Actor, MemberRef, Place, Redeem, Submission
from loyalty.posting.decide.redemption import circumstances
from loyalty.posting.needs import deep_keys
from loyalty.posting.runtime import Runtime
from loyalty.rewards.availability import Offer, reasons
from loyalty.rewards.types import Reason, Reward


class Shown(Struct, frozen=True):
    """A reward, how many there are and are set aside, what keeps the member from it; no reasons without a member."""

    reward: Reward
    stock: int | None
    reserved: int | None
    reasons: tuple[Reason, ...] | None


async def catalogue(
    runtime: Runtime,
    program_id: UUID,
    chosen: Callable[[Reward], bool],
    *,
    member: MemberRef | None,
    place: Place,
    actor: Actor,
    request_id: str,
) -> list[Shown]:
    """The chosen rewards in the order of the catalogue in force.

    Raises: ProgramNotFound, MemberNotFound, MemberErased.
    """
    # As if each of them were wanted.
    wanted = Redeem(member or MemberRef(), "", place=place)
    submission = Submission(program_id, wanted, actor, request_id)

    def deep(book: Book) -> Keys:
        offers = [offer for offer in _offers(book) if chosen(offer.reward)]
        keys = deep_keys([submission], book) if member is not None else Keys.none()
        keys.stocks.update(offer.reward.id for offer in offers if offer.reward.stocked)
        if member is not None:
            on = local_date(book.now, book.history.at(book.now).zone)
            limits = (offer.reward.member_limit for offer in offers)
            keys.periods.update(period_of(on, limit.period) for limit in limits if limit is not None)
            id = member.id if member.identifier is None else book.identifiers.get(member.identifier)
            if id is not None:
                keys.members.add(id)
                if any(offer.asks_identifiers for offer in offers):
                    keys.identified.add(id)
        return keys

    def look(work: Work) -> list[Shown]:
        known = None if member is None else work.book.resolve(member)
        return [
            Shown(
                offer.reward,
                work.stock(offer.reward.id) if offer.reward.stocked else None,
                work.reserved(offer.reward.id) if offer.reward.stocked else None,
                None if known is None else reasons(offer, circumstances(work, known, offer, place)),
            )
            for offer in _offers(work.book)
            if chosen(offer.reward)
        ]

    return await runtime.glances([submission], look, deep)


def _offers(book: Book) -> Iterable[Offer]:
    return book.history.at(book.now).offers.values()
