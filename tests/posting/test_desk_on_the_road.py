"""Four eyes, transfers, freezes and limits on the real road; in eight lanes in the module beside this one."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from loyalty.base.database import reading
from loyalty.ledger.verify import verify
from loyalty.members.cells import cell_of
from loyalty.posting import service
from loyalty.posting.commands import (
    AddIdentifier,
    Approve,
    EraseMember,
    MemberRef,
    Reject,
    TransferPoints,
    WriteOff,
)
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import Adjustments, SpendingLimits, Transfers
from loyalty.rewards.types import Reward
from tests.conftest import Database
from tests.posting.live import LiveShop, count, open_shop, serving
from tests.posting.shop import (
    MAX,
    NOW,
    SUE,
    Reply,
    adjust,
    cancel,
    cancel_redemption,
    card,
    carded,
    freeze,
    give,
    purchase,
    redeem,
    reward,
    stocked,
    unfreeze,
)

PEOPLE = [f"c-{n}" for n in range(16)]  # enough to live in every lane
STAFF: dict[str, Any] = {"kind": "staff"}


async def made(runtime: Runtime, rewards: tuple[Reward, ...] = (), **policies: Any) -> LiveShop:
    """A shop with sixteen members, four eyes above 100 points, and free transfers."""
    policies = {
        "adjustments": Adjustments(approval_above=100),
        "transfers": Transfers(enabled=True),
    } | policies
    return await open_shop(runtime, members=PEOPLE, policies=policies, rewards=rewards)


async def proposed(shop: LiveShop, of: str = PEOPLE[0], points: int = 500) -> UUID:
    reply = await shop.send(adjust(points, of=of), by=SUE, **STAFF)
    assert reply.status == 202
    return UUID(reply["id"])


async def decide(shop: LiveShop, command: Approve | Reject, by: UUID = MAX) -> Reply:
    return await shop.send(command, by=by, **STAFF)


async def whole(shop: LiveShop) -> None:
    report = await verify(shop.runtime.pool.acquire, shop.id)
    assert report.intact, report.findings


async def test_proposals_of_all_members_are_decided_where_they_live(
    runtime: Runtime, database: Database
) -> None:
    shop = await made(runtime)
    proposals = await asyncio.gather(*(proposed(shop, of) for of in PEOPLE))
    cells = runtime.settings.cells
    async with reading(runtime.engine, shop.id) as connection:
        waiting = await service.open_proposals(connection, shop.id, cells, NOW, after=None, limit=50)
        assert [one.id for one in waiting] == sorted(proposals)
        later = await service.open_proposals(
            connection, shop.id, cells, NOW + timedelta(days=7), after=None, limit=50
        )
        assert later == []
    assert {cell_of(one.member_id, cells) for one in waiting} == {cell_of(id, cells) for id in proposals}
    for proposal in proposals[:8]:
        assert (await decide(shop, Approve(proposal))).balance == {"available": 500}
    for proposal in proposals[8:]:
        assert (await decide(shop, Reject(proposal))).status == 200
    assert (await decide(shop, Approve(proposals[0]))).refused == (409, "proposal_decided")
    assert await count(database, "proposals", shop.id, "state = 'approved'") == 8
    await whole(shop)


async def test_of_many_who_decide_one_proposal_at_once_one_does(runtime: Runtime, database: Database) -> None:
    shop = await made(runtime)
    async with serving(database, cells=runtime.settings.cells) as elsewhere:
        there = shop.elsewhere(elsewhere)
        for _ in range(4):
            proposal = await proposed(shop)
            asked = [
                decide(one, command(proposal), by=uuid4())
                for one in (shop, there)
                for command in (Approve, Reject, Approve)
                for _ in range(4)
            ]
            replies = await asyncio.gather(*asked)
            assert sorted(reply.status for reply in replies) == [200] + [409] * 23
            (done,) = [reply for reply in replies if reply.status == 200]
            assert {reply["state"] for reply in replies if reply.status == 409} == {done["state"]}
    await whole(shop)


async def test_two_debits_that_were_approved_at_once_share_what_is_there(runtime: Runtime) -> None:
    shop = await made(runtime)
    await shop.done(*(adjust(100, of=PEOPLE[0]) for _ in range(2)))
    proposals = [await proposed(shop, points=-150) for _ in range(3)]
    replies = await asyncio.gather(*(decide(shop, Approve(one)) for one in proposals))
    assert sorted(reply.status for reply in replies) == [200, 409, 409]
    await whole(shop)


async def test_what_one_person_may_give_in_a_day_is_exact_over_all_members_and_processes(
    runtime: Runtime, database: Database
) -> None:
    shop = await made(runtime, adjustments=Adjustments(daily_max=100))
    async with serving(database, cells=runtime.settings.cells) as elsewhere:
        shops = (shop, shop.elsewhere(elsewhere))
        asked = [shops[n % 2].send(adjust(15, of=PEOPLE[n % 16]), by=SUE, **STAFF) for n in range(32)]
        replies = await asyncio.gather(*asked)
    assert sorted(reply.status for reply in replies) == [201] * 6 + [409] * 26
    assert {reply["code"] for reply in replies if reply.status == 409} == {"adjustment_limit"}
    await whole(shop)


async def test_points_go_round_a_ring_and_none_is_lost(runtime: Runtime, database: Database) -> None:
    shop = await made(runtime)
    ring = PEOPLE[:5]
    await shop.together(*(adjust(100, of=one) for one in ring))
    async with serving(database, cells=runtime.settings.cells) as elsewhere:
        shops = (shop, shop.elsewhere(elsewhere))
        asked = [
            shops[n % 2].send(give(7, to=ring[(n + 1 + n // 5 % 4) % 5], of=ring[n % 5])) for n in range(60)
        ]
        replies = await asyncio.gather(*asked)
    assert {reply.status for reply in replies} <= {201, 409, 422}
    assert sum(reply.status == 201 for reply in replies) > 30
    held = [(await shop.done(adjust(1, of=one))).balance["available"] for one in ring]
    assert sum(held) == 505
    await whole(shop)


async def test_a_transfer_to_another_lane_is_one_decision_with_its_counterpart(
    runtime: Runtime, database: Database
) -> None:
    shop = await made(runtime)
    first = (await shop.done(adjust(100, of=PEOPLE[0])))["member_id"]
    cells = runtime.settings.cells
    lanes = 1
    for taker in PEOPLE[1:]:
        reply = await shop.send(give(3, to=taker, of=PEOPLE[0]))
        assert reply.status == 201
        across = cell_of(UUID(first), cells) != cell_of(UUID(reply["taker_id"]), cells)
        where = f"id = '{reply['decision_id']}'"
        assert await count(database, "decisions", shop.id, where) == 1 + across
        assert (
            await count(database, "engagement_events", shop.id, f"decision_id = '{reply['decision_id']}'")
            == 2
        )
        lanes += across
    assert (lanes > 1) == (cells > 1)
    assert (await shop.send(adjust(-56, of=PEOPLE[0]))).refused == (409, "insufficient_points")
    await whole(shop)


async def test_a_transfer_is_repeated_byte_for_byte(runtime: Runtime) -> None:
    shop = await made(runtime)
    await shop.done(adjust(100, of=PEOPLE[0]))
    for taker in PEOPLE[1:4]:
        command = give(3, to=taker, of=PEOPLE[0])
        first, again = await shop.send(command, taker), await shop.send(command, taker)
        assert (again.status, again.raw, again.replayed) == (201, first.raw, True)


async def test_a_freeze_holds_until_it_is_lifted(runtime: Runtime) -> None:
    shop = await made(runtime)
    who = PEOPLE[0]
    await shop.done(adjust(100, of=who))
    await shop.done(freeze(of=who))
    assert (await shop.send(adjust(-1, of=who))).refused == (409, "account_frozen")
    assert (await shop.send(give(1, to=PEOPLE[1], of=who))).refused == (409, "account_frozen")
    assert (await shop.done(unfreeze(of=who), adjust(-1, of=who))).status == 201
    await whole(shop)


async def test_limits_are_counted_in_the_database_and_attempts_are_in_the_audit_log(
    runtime: Runtime, database: Database
) -> None:
    limits = SpendingLimits(
        member_day_max=50, member_week_max=60, till_day_max=70, changed_hours=1, changed_day_max=5
    )
    shop = await made(runtime, spending_limits=limits)
    ann, bob = PEOPLE[:2]
    await shop.done(adjust(100, of=ann), adjust(100, of=bob), adjust(-40, of=ann))
    assert (await shop.send(adjust(-11, of=ann)))["limit"] == "member_day"
    assert (await shop.send(adjust(-31, of=bob)))["limit"] == "till_day"
    await shop.done(AddIdentifier(card(bob), carded(f"new-{shop.id}"[:20])))
    assert (await shop.send(adjust(-6, of=bob)))["limit"] == "after_change"
    await shop.done(adjust(-5, of=bob), adjust(-10, of=ann))
    assert await count(database, "audit_log", shop.id, "action = 'spending.limit'") == 3
    assert await count(database, "decisions", shop.id, "kind = 'attempt'") == 3
    assert await count(database, "engagement_events", shop.id, "type = 'loyalty.spending.limited'") == 3
    await whole(shop)


async def test_what_is_redeemed_at_a_till_in_a_day_is_exact_over_all_members_and_processes(
    runtime: Runtime, database: Database
) -> None:
    """The limit of the till and the stock live in the program's own lane, the points in their members'."""
    mug = reward(30, stocked=True, returnable=True)
    shop = await made(runtime, (mug,), spending_limits=SpendingLimits(till_day_max=200))
    await shop.together(*(adjust(100, of=one) for one in PEOPLE), stocked(40))
    async with serving(database, cells=runtime.settings.cells) as elsewhere:
        shops = (shop, shop.elsewhere(elsewhere))
        replies = await asyncio.gather(*(shops[n % 2].send(redeem(of=PEOPLE[n % 16])) for n in range(32)))
    done = [reply for reply in replies if reply.status == 201]
    assert (len(done), {reply["code"] for reply in replies if reply.status == 409}) == (6, {"spending_limit"})
    assert await count(database, "decisions", shop.id, "kind = 'attempt'") == 26
    await shop.done(cancel_redemption(done[0]))
    assert (await shop.send(redeem(of=PEOPLE[0]))).refused == (409, "spending_limit")
    assert await count(database, "stocks", shop.id, "stock = 35") == 1
    await shop.done(freeze(of=PEOPLE[1]))
    assert (await shop.send(redeem(of=PEOPLE[1]))).refused == (409, "account_frozen")
    await whole(shop)


async def test_a_debt_is_written_off_and_a_later_return_is_the_givers(runtime: Runtime) -> None:
    shop = await made(runtime)
    ann, bob = PEOPLE[0], PEOPLE[1]
    await shop.done(purchase("R-1", of=ann), give(10, to=bob, of=ann), cancel("R-1"))
    reply = await shop.send(WriteOff(card(ann), "points"), by=SUE, **STAFF)
    assert (reply.status, reply["points"]) == (202, 10)
    assert (await decide(shop, Approve(UUID(reply["id"])))).balance == {}
    await shop.done(EraseMember(card(bob)))
    await whole(shop)


async def test_a_giver_who_names_members_by_card_and_id_needs_no_second_try(runtime: Runtime) -> None:
    shop = await made(runtime)
    id = UUID((await shop.done(adjust(9, of=PEOPLE[0])))["member_id"])
    from_id = TransferPoints(MemberRef(id=id), card(PEOPLE[1]), "points", 4)
    assert (await shop.send(from_id)).balance == {"available": 5}
    assert (await shop.send(give(1, to="nobody", of=PEOPLE[0]))).refused == (404, "member_not_found")
