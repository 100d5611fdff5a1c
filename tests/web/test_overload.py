"""More than a program's lane takes: whoever comes is told to come back, as early and as cheaply as can be."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

from loyalty.base.database import alone
from tests.conftest import Database
from tests.posting.live import head_held, until_blocked
from tests.web.test_refusals import is_problem
from tests.web.world import opened, receipt


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
