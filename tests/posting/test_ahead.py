"""While a batch is being written the next one is decided behind it; that counts only if nobody writes in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from loyalty.ledger.verify import verify
from loyalty.members.types import MemberStatus
from loyalty.posting.commands import ChangeMember, Command, EraseMember, Publish
from loyalty.posting.pipe import BatchSeen
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import LiveShop, head_held, locked, open_shop, serving, until_blocked
from tests.posting.shop import (
    ANN,
    Reply,
    adjust,
    cancel,
    capped,
    card,
    claim,
    enrol,
    exchange,
    give_back,
    line,
    program,
    purchase,
)


@contextlib.asynccontextmanager
async def one_behind_the_other(
    database: Database, shop: LiveShop, first: Command, second: Command, keys: tuple[str | None, str | None]
) -> AsyncIterator[tuple[list[BatchSeen], "asyncio.Future[list[Reply]]"]]:
    """In the block `first` waits to be written and `second` stands behind it in the lane, decided where it can be."""
    seen: list[BatchSeen] = []
    shop.runtime.pipe.observe = seen.append
    async with locked(database, "LOCK TABLE blocks, idempotency_records IN EXCLUSIVE MODE") as writer:
        async with head_held(database, shop.id) as head:
            sent = [asyncio.create_task(shop.send(first, keys[0]))]
            await until_blocked(database, head)
            sent.append(asyncio.create_task(shop.send(second, keys[1])))
            await asyncio.sleep(0)
        await until_blocked(database, writer)
        replies = asyncio.gather(*sent)
        yield seen, replies
    await replies
    shop.runtime.pipe.observe = None


async def pair(
    database: Database,
    shop: LiveShop,
    first: Command,
    second: Command,
    keys: tuple[str | None, str | None] = (None, None),
) -> tuple[list[bool], list[Reply]]:
    """Of two commands, the second in the batch behind the first: which were decided ahead, and the answers."""
    async with one_behind_the_other(database, shop, first, second, keys) as (seen, replies):
        pass
    answers = await replies
    assert [batch.commands for batch in seen] == [1, 1]
    return [batch.ahead for batch in seen], answers


CAN_BE_AHEAD = [False, True]


async def test_points_of_the_batch_before_are_there_to_be_spent(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    ahead, (bought, spent) = await pair(database, shop, purchase("R-1"), adjust(-10))
    assert (ahead, bought.balance, spent.balance) == (CAN_BE_AHEAD, {"available": 10}, {})
    assert (await shop.send(adjust(-1))).refused == (409, "insufficient_points")


async def test_points_that_the_batch_before_spent_are_gone(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"), purchase("R-2"))
    ahead, (first, second) = await pair(database, shop, adjust(-15), adjust(-15))
    assert (ahead, first.status, second.refused) == (CAN_BE_AHEAD, 201, (409, "insufficient_points"))
    assert (await shop.send(adjust(-5))).balance == {}


async def test_a_member_enrolled_in_the_batch_before_can_buy(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(15))
    ahead, (enrolled, bought) = await pair(database, shop, enrol("new"), purchase("R-1", of="new"))
    assert (ahead, bought["member_id"]) == (CAN_BE_AHEAD, enrolled["id"])
    assert (await shop.send(purchase("R-2", of="new"))).balance == {"available": 15}


async def test_a_cap_counts_the_batch_before(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(15))
    ahead, (first, second) = await pair(database, shop, purchase("R-1"), purchase("R-2"))
    assert (ahead, first.earned, second.earned) == (CAN_BE_AHEAD, 10, 5)


async def test_a_receipt_of_the_batch_before_is_known(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    ahead, (first, again) = await pair(database, shop, purchase("R-1"), purchase("R-1"))
    assert (ahead, again.status, again.raw) == (CAN_BE_AHEAD, 200, first.raw)


async def test_a_key_of_the_batch_before_is_known(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    ahead, (first, again) = await pair(database, shop, adjust(7), adjust(7), ("k", "k"))
    assert (ahead, again.status, again.raw) == (CAN_BE_AHEAD, 201, first.raw)


async def test_a_refusal_of_the_batch_before_is_known_by_its_key(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    ahead, (first, again) = await pair(database, shop, adjust(-7), adjust(-7), ("k", "k"))
    assert (ahead, first.refused, again.raw) == (CAN_BE_AHEAD, (409, "insufficient_points"), first.raw)


async def test_a_purchase_of_the_batch_before_can_be_cancelled(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(10))
    ahead, (bought, cancelled) = await pair(database, shop, purchase("R-1"), cancel("R-1"))
    assert (ahead, cancelled["id"], cancelled.balance) == (CAN_BE_AHEAD, bought["id"], {})
    assert (await shop.send(purchase("R-2"))).earned == 10


async def test_a_purchase_cancelled_in_the_batch_before_stays_away(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    ahead, (_, late) = await pair(database, shop, cancel("R-1"), purchase("R-1"))
    assert (ahead, late.refused) == (CAN_BE_AHEAD, (409, "purchase_cancelled"))


async def test_a_purchase_of_the_batch_before_can_be_returned(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(10))
    two = (line(1000, quantity_milli=2000),)
    ahead, (bought, back) = await pair(
        database, shop, purchase("R-1", lines=two), give_back("B-1", {"1": 1000})
    )
    assert (ahead, back["purchase_id"], back.balance) == (CAN_BE_AHEAD, bought["id"], {"available": 5})
    assert (await shop.send(purchase("R-2"))).earned == 5


async def test_what_the_batch_before_took_back_is_no_longer_left(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1", lines=(line(1100, quantity_milli=3000),)), give_back("B-0", {"1": 1000}))
    part, much = give_back("B-1", {"1": 1000}), give_back("B-2", {"1": 1500})
    ahead, (_, second) = await pair(database, shop, part, much)
    assert (ahead, second.refused, second["returned"]) == (CAN_BE_AHEAD, (409, "exceeds_purchase"), "2")
    ahead, (third, fourth) = await pair(database, shop, give_back("B-3"), give_back("B-4"))
    assert (ahead, third["complete"], fourth.refused) == (CAN_BE_AHEAD, True, (409, "already_returned"))
    assert (await shop.send(cancel("R-1"))).balance == {}


async def test_a_claim_of_the_batch_before_takes_what_was_left(runtime: Runtime, database: Database) -> None:
    """What went back before is known behind the claim, though the purchase is not read again."""
    shop = await open_shop(runtime)
    bought = await shop.done(purchase("R-1", of=None, lines=(line(1500, quantity_milli=3000),)))
    await shop.done(give_back("B-1", {"1": 1000}))
    ahead, (claimed, back) = await pair(database, shop, claim(bought["id"]), give_back("B-2", {"1": 1000}))
    assert (ahead, claimed.earned, back.balance) == (CAN_BE_AHEAD, 10, {"available": 5})
    assert (await shop.send(give_back("B-3", {"1": 1001}))).refused == (409, "exceeds_purchase")


async def test_a_return_of_the_batch_before_is_known_by_its_name(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"))
    ahead, (first, again) = await pair(database, shop, give_back("B-1"), give_back("B-1"))
    assert (ahead, again.status, again.raw) == (CAN_BE_AHEAD, 200, first.raw)


async def test_an_exchange_stands_behind_another(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(10))
    await shop.done(purchase("R-1", lines=(line(1000, quantity_milli=2000),)))
    swap = exchange(give_back("B-1", {"1": 1000}), purchase("R-2", 300))
    other = exchange(give_back("B-2", of="R-2"), purchase("R-3", 800))
    ahead, (first, second) = await pair(database, shop, swap, other)
    assert (ahead, first["purchase"]["earned"][0]["points"]) == (CAN_BE_AHEAD, 3)
    assert second["purchase"]["earned"][0]["points"] == 5
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_a_member_blocked_in_the_batch_before_may_not_buy(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    ahead, (_, bought) = await pair(
        database, shop, ChangeMember(card(ANN), MemberStatus.BLOCKED), purchase("R-1")
    )
    assert (ahead, bought.refused) == (CAN_BE_AHEAD, (409, "member_blocked"))


@pytest.mark.parametrize("first", [Publish(program()), EraseMember(card(ANN))], ids=["publish", "erase"])
async def test_nothing_is_decided_ahead_of_what_changes_everything(
    runtime: Runtime, database: Database, first: Command
) -> None:
    shop = await open_shop(runtime, members=(ANN, "other"))
    ahead, _ = await pair(database, shop, first, purchase("R-1", of="other"))
    assert ahead == [False, False]


async def test_whoever_was_decided_ahead_and_overtaken_is_decided_anew(
    runtime: Runtime, database: Database
) -> None:
    """Two processes want the same points; the one that only waited to be written finds them spent."""
    shop = await open_shop(runtime, members=(ANN, "other"))
    await shop.done(purchase("R-1"))
    async with serving(database) as elsewhere:
        there = shop.elsewhere(elsewhere)
        await there.done(adjust(1, of="other"))  # its connections and configurations are warm
        spend = adjust(-10)
        async with one_behind_the_other(database, shop, adjust(1, of="other"), spend, (None, None)) as (
            seen,
            replies,
        ):
            overtaking = asyncio.create_task(there.send(spend))
            await asyncio.sleep(0.1)  # behind the first, before the second
        first, second = await replies
        assert (await overtaking).status == 201
        assert (first.status, second.refused) == (201, (409, "insufficient_points"))
        assert [batch.ahead for batch in seen] == [False, False]
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_an_order_of_many_batches_is_one_chain(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, members=[f"m-{n}" for n in range(40)])
    seen: list[BatchSeen] = []
    runtime.pipe.observe = seen.append

    async def buys(member: int) -> None:
        for n in range(8):
            await shop.done(purchase(f"R-{member}-{n}", of=f"m-{member}"))

    await asyncio.gather(*(buys(member) for member in range(40)))
    runtime.pipe.observe = None
    assert sum(batch.commands for batch in seen) == 320
    assert sum(batch.ahead for batch in seen) > len(seen) // 2
    report = await verify(runtime.pool.acquire, shop.id)
    assert report.intact, report.findings
