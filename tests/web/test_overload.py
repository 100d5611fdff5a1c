"""More than a program's lane takes: whoever comes is told to come back, as early and as cheaply as can be."""

import asyncio
from contextlib import AsyncExitStack
from threading import Semaphore
from uuid import uuid4

import pytest

from loyalty.base.database import alone
from loyalty.web import pins
from tests.conftest import Database
from tests.posting.live import head_held, until_blocked
from tests.races.client import Reply
from tests.web.test_refusals import is_problem
from tests.web.world import Shop, World, enrol, opened, receipt


async def test_when_a_lane_is_full_a_purchase_is_refused_before_its_body_is_read(database: Database) -> None:
    async with opened(database, queue_max=1, queue_ms_max=60_000, lock_timeout_ms=60_000) as world:
        first, second, third, other = (
            world.client("pos", shop) for shop in (world.shop, world.shop, world.shop, world.other)
        )
        async with head_held(database, world.shop.program_id) as holder:
            under_way = asyncio.create_task(
                first.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex)
            )
            await until_blocked(database, holder)
            waiting = asyncio.create_task(
                second.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex)
            )
            while not world.runtime.pipe.full(world.shop.program_id):
                await asyncio.sleep(0.01)
            refused = await third.post("/v1/purchases", b"no JSON", idempotency_key=uuid4().hex)
            assert is_problem(refused, 503, "busy")["retryable"]
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["cache-control"] == "no-store"
            assert (await third.post("/v1/quotes", receipt())).status == 200
            beside = await other.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex)
            assert beside.status == 201
        assert [(await one).status for one in (under_way, waiting)] == [201, 201]
        again = await third.post("/v1/purchases", b"no JSON", idempotency_key=uuid4().hex)
        is_problem(again, 400, "malformed_body")
        await world.hang_up()


async def test_reads_that_take_every_turn_keep_no_till_outside_and_the_process_ready(
    database: Database,
) -> None:
    async with opened(database) as world, AsyncExitStack() as reads:
        for n in range(world.runtime.settings.pool_size):
            assert await reads.enter_async_context(alone(world.runtime.engine, f"read {n}"))
        told = await asyncio.gather(
            world.client("nobody").get("/health/ready"),
            # A key and a token, neither seen before.
            world.client("pos").post("/v1/quotes", receipt()),
            world.client("staff").post("/v1/quotes", receipt()),
        )
        assert [reply.status for reply in told] == [200, 200, 200]
        await world.hang_up()


class Hashing:
    """Hashes of PINs that are made one by one, each when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []  # PINs
        self._let = Semaphore(0)
        hashed = pins.hashed

        def held(pin: str, salt: bytes) -> str:
            self.begun.append(pin)
            assert self._let.acquire(timeout=10)
            return hashed(pin, salt)

        monkeypatch.setattr(pins, "hashed", held)

    def let(self, times: int) -> None:
        self._let.release(times)

    async def until(self, begun: int) -> None:
        async with asyncio.timeout(5):
            while len(self.begun) < begun:
                await asyncio.sleep(0.01)


async def pin_set(world: World, shop: Shop, member: str, pin: str) -> Reply:
    desk = world.client("support", shop)
    return await desk.post(f"/v1/members/{member}/pin", {"pin": pin}, idempotency_key=uuid4().hex)


async def test_a_flood_of_pins_keeps_another_program_waiting_for_one_of_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "WAITING_MAX", 3)
    async with opened(database, queue_ms_max=10_000) as world:
        one, other = [await enrol(world.client("pos", shop)) for shop in (world.shop, world.other)]
        hashing = Hashing(monkeypatch)
        flood = [asyncio.create_task(pin_set(world, world.shop, one, "1000")) for _ in range(6)]
        refused, waiting = await asyncio.wait(flood, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert [is_problem(await reply, 503, "busy")["retryable"] for reply in refused] == [True]
        beside = asyncio.create_task(pin_set(world, world.other, other, "2000"))
        await asyncio.sleep(0.2)
        assert not beside.done()
        hashing.let(2)
        await hashing.until(4)
        assert hashing.begun[2:] == ["1000", "2000"]
        hashing.let(4)
        assert [(await reply).status for reply in (*waiting, beside)] == [200] * 6
        await world.hang_up()


async def test_a_pin_whose_turn_does_not_come_in_time_is_to_be_sent_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(database, queue_ms_max=100) as world:
        member = await enrol(world.client("pos"))
        hashing = Hashing(monkeypatch)
        inside = [asyncio.create_task(pin_set(world, world.shop, member, "1000")) for _ in range(2)]
        await hashing.until(2)
        is_problem(await pin_set(world, world.shop, member, "1000"), 503, "busy")
        hashing.let(2)
        assert [(await reply).status for reply in inside] == [200, 200]
        hashing.let(1)
        assert (await pin_set(world, world.shop, member, "1000")).status == 200
        await world.hang_up()
