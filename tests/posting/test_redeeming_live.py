"""Redemptions in the database: found again by another batch, in few visits, and the catalogue read there."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from loyalty.base.calendar import CapPeriod
from loyalty.conditions.types import HasIdentifier, Tenure
from loyalty.ledger.verify import verify
from loyalty.members.types import MemberErased, MemberNotFound, MemberStatus
from loyalty.posting.book import Keys, Work
from loyalty.posting.catalogue import Shown, catalogue
from loyalty.posting.commands import ChangeMember, EraseMember, MemberRef, Place
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import PayPolicy
from loyalty.rewards.types import MemberLimit
from tests.posting.live import LiveShop, open_shop, visits
from tests.posting.shop import (
    ACTOR,
    ANN,
    BOB,
    adjust,
    cancel_redemption,
    card,
    enrol,
    extend,
    fulfil,
    hold_reward,
    pay,
    redeem,
    release,
    reward,
    stocked,
    submission,
)

MUG = reward(5, stocked=True, member_limit=MemberLimit(2, CapPeriod.DAY), returnable=True)
MANY = [f"m-{n}" for n in range(30)]


async def test_what_was_redeemed_long_ago_is_found_and_undone(runtime: Runtime) -> None:
    shop = await open_shop(runtime, rewards=(MUG,), pay=PayPolicy(1, 1, returnable=True))
    await shop.done(adjust(20), stocked(3))
    taken = await shop.done(redeem(quantity=2, location="north", channel="pos", till="7", reference="R-1"))
    paid = await shop.done(pay(4))
    await shop.done(fulfil(taken), fulfil(paid))
    assert (await shop.send(redeem())).refused == (409, "reward_unavailable")
    back = await shop.done(cancel_redemption(taken))
    assert back.balance == {"available": 16}
    assert (await shop.done(cancel_redemption(paid))).balance == {"available": 20}
    again = await shop.send(cancel_redemption(taken))
    assert (again.status, again.raw) == (200, back.raw)
    assert (await shop.done(redeem())).balance == {"available": 15}
    assert (await shop.done(stocked(by=0)))["stock"] == 2


async def test_a_lone_redemption_is_five_visits_to_the_database(runtime: Runtime) -> None:
    shop = await open_shop(runtime, rewards=(reward(5, stocked=True),))
    await shop.done(adjust(20), stocked(3), redeem())
    async with visits(runtime) as seen:
        await shop.done(redeem())
    assert len(seen) == 5, seen  # heads, book, lots and stock, rows, commit


async def test_a_crowd_takes_exactly_what_is_there(runtime: Runtime) -> None:
    shop = await open_shop(runtime, rewards=(reward(5, stocked=True),), members=MANY)
    await shop.done(stocked(10), *(adjust(5, of=one) for one in MANY))
    replies = await shop.together(*(redeem(of=one) for one in MANY))
    assert sorted(reply.status for reply in replies) == [201] * 10 + [409] * 20
    assert (await shop.done(stocked(by=0)))["stock"] == 0
    report = await verify(runtime.pool.acquire, shop.id)
    assert report.intact, report.findings


async def test_what_is_set_aside_of_a_stock_is_read_as_one_sum(runtime: Runtime) -> None:
    shop = await open_shop(runtime, rewards=(reward(5, stocked=True),), members=MANY)
    await shop.done(stocked(40), *(adjust(5, of=one) for one in MANY))
    await shop.together(*(hold_reward(of=one) for one in MANY))

    def look(work: Work) -> tuple[int, dict[UUID, Any]]:
        return work.reserved("mug"), work.book.reservations.get("mug", {})

    asked = submission(shop.id, stocked(by=0), "key")
    assert await runtime.glances([asked], look, lambda _: Keys(stocks={"mug"})) == (len(MANY), {})


async def test_a_promise_that_changes_counts_as_it_is_now(runtime: Runtime) -> None:
    """In the very batch that has read how many are set aside."""
    shop = await open_shop(runtime, rewards=(reward(5, stocked=True),), members=(ANN, BOB))
    held = await shop.done(adjust(20), adjust(20, BOB), stocked(2), hold_reward())
    _, extended, taken, none = await shop.together(
        stocked(by=0), extend(held["id"], 60), redeem(of=BOB), redeem(of=BOB)
    )
    assert (extended.status, taken.status, none.refused) == (200, 201, (409, "reward_unavailable"))
    _, _, taken, none = await shop.together(
        stocked(by=0), release(held["id"]), redeem(of=BOB), redeem(of=BOB)
    )
    assert (taken.status, none.refused) == (201, (409, "reward_unavailable"))
    report = await verify(runtime.pool.acquire, shop.id)
    assert report.intact, report.findings


async def shown(shop: LiveShop, member: MemberRef | None = None, **place: Any) -> dict[str, Shown]:
    found = await catalogue(
        shop.runtime,
        shop.id,
        lambda _: True,
        member=member,
        place=Place(**place),
        actor=ACTOR,
        request_id="r",
    )
    return {one.reward.id: one for one in found}


async def test_the_catalogue_tells_each_member_what_is_missing(runtime: Runtime) -> None:
    rewards = (
        MUG,
        reward(5, "old", when=Tenure(30)),
        reward(5, "mail", when=HasIdentifier(("email",))),
        reward(50, "dear"),
    )
    shop = await open_shop(runtime, rewards=rewards, members=(ANN, BOB))
    await shop.done(adjust(20), stocked(3), redeem(quantity=2))
    plain = await shown(shop)
    assert list(plain) == ["mug", "old", "mail", "dear"]
    assert [one.reasons for one in plain.values()] == [None] * 4
    assert (plain["mug"].stock, plain["dear"].stock) == (1, None)

    def words(found: dict[str, Shown]) -> dict[str, list[str]]:
        return {id: [reason.reason for reason in one.reasons or ()] for id, one in found.items()}

    assert words(await shown(shop, card(ANN))) == {
        "mug": ["limit_reached"],
        "old": ["tenure"],
        "mail": ["identifier"],
        "dear": ["insufficient_points"],
    }
    missing = (await shown(shop, card(ANN)))["dear"].reasons
    assert missing is not None
    assert missing[0].detail == {"wanted": 50, "available": 10, "missing": 40}
    assert words(await shown(shop, card(BOB)))["mug"] == ["insufficient_points"]
    await shop.done(ChangeMember(card(BOB), MemberStatus.BLOCKED))
    assert words(await shown(shop, card(BOB)))["mug"] == ["member_blocked", "insufficient_points"]
    with pytest.raises(MemberNotFound):
        await shown(shop, card("nobody"))
    with pytest.raises(MemberNotFound):
        await shown(shop, MemberRef(id=uuid4()))
    id = UUID((await shop.done(enrol(BOB)))["id"])
    await shop.done(EraseMember(card(BOB)))
    with pytest.raises(MemberErased):
        await shown(shop, MemberRef(id=id))


async def test_a_thousand_rewards_are_shown_in_few_visits(runtime: Runtime) -> None:
    rewards = tuple(
        reward(5, f"r-{n}", stocked=True, member_limit=MemberLimit(1, list(CapPeriod)[n % 5]))
        for n in range(1_000)
    )
    shop = await open_shop(runtime, rewards=rewards)
    await shop.done(adjust(20))
    await shown(shop, card(ANN))
    async with visits(runtime) as seen:
        assert len(await shown(shop, card(ANN))) == 1_000
    assert len(seen) <= 6, seen
