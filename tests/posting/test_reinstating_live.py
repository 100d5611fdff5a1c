"""Expired points are given back on the real road, once, and the books can tell; in eight lanes in the module beside."""

from typing import Any
from uuid import UUID, uuid4

from loyalty.ledger.verify import verify
from loyalty.posting.commands import Approve
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import Adjustments, Rolling
from tests.conftest import Database
from tests.posting.live import LiveShop, count, open_shop
from tests.posting.shop import MAX, SUE, adjust, ago, cancel, imported, purchase, reinstate

PEOPLE = [f"r-{n}" for n in range(12)]  # enough to live in every lane
STAFF: dict[str, Any] = {"kind": "staff"}


async def made(runtime: Runtime, **adjustments: Any) -> LiveShop:
    """Everybody has 10 and 20 points that ended one and two days ago, 5 that ended too long ago, and 1 that is good."""
    shop = await open_shop(
        runtime,
        members=PEOPLE,
        policies={"adjustments": Adjustments(**adjustments)},
        expiry=Rolling(days=30),
        reinstate_days=10,
        reinstated_days=7,
    )
    for points, days in ((10, 31), (20, 32), (5, 45), (1, 0)):
        rows = (imported(points, f"{one}-{points}", of=one, at=ago(days=days)) for one in PEOPLE)
        for reply in await shop.together(*rows):
            assert reply.status == 201
    return shop


async def whole(runtime: Runtime, shop: LiveShop) -> None:
    report = await verify(runtime.pool.acquire, shop.id)
    assert report.intact, report.findings


async def test_of_many_at_once_each_gets_what_may_come_back_and_once(
    runtime: Runtime, database: Database
) -> None:
    shop = await made(runtime)
    replies = await shop.together(*(reinstate(of=one) for one in PEOPLE for _ in range(2)))
    given = [reply for reply in replies if reply.status == 201]
    assert {(reply["points"], reply.balance["available"]) for reply in given} == {(30, 31)}
    assert len({reply["member_id"] for reply in given}) == len(given) == len(PEOPLE)
    assert {reply.refused for reply in replies if reply not in given} == {(409, "too_few_expired")}
    assert await count(database, "entries", shop.id, "kind = 'reinstate'") == len(PEOPLE)
    assert await count(database, "engagement_events", shop.id, "type = 'loyalty.points.reinstated'") == 12
    await whole(runtime, shop)


async def test_a_repeat_is_answered_byte_for_byte(runtime: Runtime) -> None:
    shop, key = await made(runtime), uuid4().hex
    first, again = [await shop.send(reinstate(10, of=PEOPLE[0]), key) for _ in range(2)]
    assert (again.raw, again.replayed, again.balance) == (first.raw, True, {"available": 11})
    assert (await shop.send(reinstate(of=PEOPLE[0])))["points"] == 20
    await whole(runtime, shop)


async def test_a_proposal_is_approved_where_its_member_lives(runtime: Runtime) -> None:
    shop = await made(runtime, approval_above=29)
    for one in PEOPLE:
        proposed = await shop.send(reinstate(of=one), by=SUE, **STAFF)
        assert (proposed.status, proposed["kind"], proposed["points"]) == (202, "reinstatement", 30)
        done = await shop.send(Approve(UUID(proposed["id"])), by=MAX, **STAFF)
        assert (done.status, done.balance) == (200, {"available": 31})
    await whole(runtime, shop)


async def test_what_comes_back_repays_and_is_taken_back_with_what_earned_it(runtime: Runtime) -> None:
    shop = await made(runtime)
    one = PEOPLE[0]
    await shop.done(
        purchase("R-old", 4_000, of=one, at=ago(days=30)), purchase("R-new", 2_500, of=one), adjust(-26, one)
    )
    assert (await shop.done(cancel("R-new"))).balance == {"debt": 25}
    assert (await shop.done(reinstate(60, of=one))).balance == {"available": 35}
    # 15 of the 40 paid the debt, which is not the purchase's fault: they are owed again.
    assert (await shop.done(cancel("R-old"))).balance in ({}, {"debt": 5})
    await whole(runtime, shop)


async def test_what_came_late_and_is_over_already_comes_back(runtime: Runtime) -> None:
    shop = await open_shop(runtime, members=PEOPLE, expiry=Rolling(days=30), reinstate_days=10)
    await shop.together(*(purchase(f"L-{one}", 1_000, of=one, at=ago(days=30)) for one in PEOPLE))
    replies = await shop.together(*(reinstate(of=one) for one in PEOPLE))
    assert [reply.balance for reply in replies] == [{"available": 10}] * len(PEOPLE)
    await whole(runtime, shop)
