"""A quota per program: what is above it is told to come back before anything else is done; others notice nothing."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import Database
from tests.races.client import Client, Reply
from tests.web.test_refusals import is_problem
from tests.web.world import World, new_shop, opened, receipt

PER_S = 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: Database) -> AsyncIterator[World]:
    async with opened(database, program_requests_per_s=PER_S) as world:
        yield world


async def above_quota(client: Client) -> Reply:
    """Ask until the program is above its quota: that refusal."""
    async with asyncio.timeout(10):
        while (reply := await client.get("/v1/program")).status != 429:
            assert reply.status == 200
    return reply


async def test_what_is_above_the_quota_is_told_when_to_come_back(world: World) -> None:
    shop, other = await new_shop(world.runtime), await new_shop(world.runtime)
    till = world.client("pos", shop)
    first = [await till.post("/v1/quotes", receipt()) for _ in range(PER_S)]
    assert {reply.status for reply in first} == {200}
    refused = await above_quota(world.client("admin", shop))
    problem = is_problem(refused, 429, "too_many_requests")
    assert problem["retryable"]
    assert problem["per_s"] == PER_S
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["cache-control"] == "no-store"
    assert (await world.client("pos", other).post("/v1/quotes", receipt())).status == 200


@pytest.mark.parametrize("who", ["pos", "analyst"])
async def test_reads_writes_and_what_the_role_may_not_do_count_alike(world: World, who: str) -> None:
    shop = await new_shop(world.runtime)
    caller = world.client(who, shop)
    async with asyncio.timeout(10):
        while True:
            replies = [
                await caller.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex),
                await caller.post("/v1/quotes", receipt()),
                await caller.get("/v1/members/identifier:card:6035550001/balances"),
                await caller.get("/v1/clients"),
            ]
            if {reply.status for reply in replies} == {429}:
                break


async def test_health_figures_and_status_are_under_no_quota(world: World) -> None:
    shop = await new_shop(world.runtime)
    caller = world.client("admin", shop)
    await above_quota(caller)
    for path in ("/health/live", "/health/ready", "/status", "/metrics", "/openapi.json"):
        for _ in range(3 * PER_S):
            assert (await caller.get(path)).status == 200
    figures = (await caller.get("/metrics")).body.decode()
    assert f'loyalty_above_quota_total{{program="{shop.program_id}"}} 1.0' in figures
    assert f'loyalty_above_quota_total{{program="{world.other.program_id}"}}' not in figures


async def test_what_was_refused_left_nothing_and_is_done_when_it_comes_again(
    world: World, database: Database
) -> None:
    shop = await new_shop(world.runtime)
    till, body = world.client("pos", shop), receipt()
    link = await asyncpg.connect(database.superuser_url)
    try:
        refused = 0
        async with asyncio.timeout(20):
            while True:
                await above_quota(world.client("admin", shop))
                reply = await till.post("/v1/purchases", body, idempotency_key="k")
                if reply.status == 429:
                    refused += 1
                    records = "SELECT count(*) FROM idempotency_records WHERE program_id = $1"
                    assert await link.fetchval(records, shop.program_id) == 0
                    break
            while (reply := await till.post("/v1/purchases", body, idempotency_key="k")).status == 429:
                await asyncio.sleep(0.05)
    finally:
        await link.close()
    assert (reply.status, reply.replayed, refused) == (201, False, 1)


async def test_a_body_that_is_wrong_is_not_even_read(world: World) -> None:
    shop = await new_shop(world.runtime)
    till = world.client("pos", shop)
    async with asyncio.timeout(10):
        while (reply := await till.post("/v1/quotes", b"{")).status != 429:
            assert is_problem(reply, 400, "malformed_body")
    assert (await till.get("/health/live")).status == 200  # the connection is where it should be


async def test_without_a_quota_nobody_is_refused(database: Database) -> None:
    async with opened(database) as free:
        till = free.client("pos")
        assert {(await till.post("/v1/quotes", receipt())).status for _ in range(50)} == {200}
        await free.hang_up()
