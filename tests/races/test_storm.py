"""Callers who hang up at any moment, on servers with one connection each to the database.

Whatever became of each call, the same key tells it; what was told as done is there, as a second connection counts; no
transaction stays open, no connection is lost, and no program's setting reaches the next one's visit.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import uuid4

import asyncpg
import pytest

from loyalty.posting.runtime import ENTRY_SIZE
from tests.conftest import Database
from tests.races.client import Client, Reply, Unknown
from tests.races.house import House, adjustment, open_program, opened, served
from tests.words import proof_seed

TOGETHER = 40  # callers at a time
LONGEST_S = 0.06


@dataclass
class Call:
    """A credit of one point that somebody asks for and does not wait for."""

    house: House
    member: str
    key: str
    process: int
    heard: Reply | None = None


@pytest.fixture(scope="module")
async def house(database: Database, redis_url: str) -> AsyncIterator[House]:
    async with opened(database.app_url, database.superuser_url, redis_url, LOYALTY_POOL_SIZE="1") as house:
        yield house


async def hung_up(call: Call, after_s: float) -> None:
    """Ask, and hang up after so long, answered or not."""
    client = Client(call.house.apis[call.process].port, call.house.key)
    body = adjustment(call.member, 1)
    with suppress(TimeoutError, Unknown):
        async with asyncio.timeout(after_s):
            call.heard = await client.post("/v1/adjustments", body, idempotency_key=call.key)
    await client.close()


async def asked_again(call: Call) -> Reply:
    """What the other process says of it, asked until it is no longer busy."""
    client = Client(call.house.apis[1 - call.process].port, call.house.key)
    async with asyncio.timeout(30):
        reply = await served(client, "/v1/adjustments", adjustment(call.member, 1), call.key)
    await client.close()
    return reply


@pytest.mark.parametrize("calls", [200, pytest.param(2_000, marks=pytest.mark.proof)])
async def test_whoever_hangs_up_at_any_moment_leaves_nothing_behind_but_its_command(
    house: House, redis_url: str, calls: int
) -> None:
    seed = proof_seed()
    print(f"\nseed {seed}")
    dice = random.Random(seed)
    program, key = await open_program(house.app_url, redis_url, LOYALTY_POOL_SIZE="1")
    houses = (house, replace(house, program=program, key=key, _open=[]))
    members = {one.program: [await one.member() for _ in range(5)] for one in houses}
    storm = [
        Call(one, dice.choice(members[one.program]), uuid4().hex, dice.randrange(2))
        for one in (dice.choice(houses) for _ in range(calls))
    ]
    waits = [dice.uniform(0, LONGEST_S) for _ in storm]
    for first in range(0, calls, TOGETHER):
        part = zip(storm[first : first + TOGETHER], waits[first : first + TOGETHER], strict=True)
        await asyncio.gather(*(hung_up(call, wait) for call, wait in part))
    again: list[Reply] = []
    for first in range(0, calls, TOGETHER):
        again += await asyncio.gather(*(asked_again(call) for call in storm[first : first + TOGETHER]))

    assert {reply.status for reply in again} == {201}
    for call, reply in zip(storm, again, strict=True):
        if call.heard is not None and call.heard.status == 201:
            assert (reply.replayed, reply.body) == (True, call.heard.body)
    unheard = Counter(
        "done" if reply.replayed else "lost"
        for call, reply in zip(storm, again, strict=True)
        if call.heard is None
    )
    print(f"{calls} calls, {unheard['done']} done unheard, {unheard['lost']} never begun")
    assert unheard["done"] * 10 > calls, "void: hardly anybody left a command behind"
    asked = Counter(call.member for call in storm)
    link = await asyncpg.connect(house.superuser_url)
    try:
        stored = await link.fetch(
            "SELECT owner_id::text AS member, available FROM accounts WHERE available > 0"
        )
        assert {row["member"]: row["available"] for row in stored} == asked
        ours = "usename = 'loyalty_app' AND datname = current_database()"
        assert (
            await link.fetchval(
                f"SELECT count(*) FROM pg_stat_activity WHERE {ours} AND xact_start IS NOT NULL"
            )
            == 0
        )
        connections = await link.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}")
    finally:
        await link.close()
    of_each = 2 + ENTRY_SIZE  # two pools of one, and who calls
    assert connections <= of_each * len(house.apis), "more connections than a process's pools may have"
    for one in houses:
        assert (await one.ask("/v1/adjustments", adjustment(members[one.program][0], 1))).status == 201
        await one.whole()
        await one.hang_up()
