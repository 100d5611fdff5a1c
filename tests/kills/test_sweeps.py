"""SIGKILL of the worker in the middle of a sweep: every lot that was due expires exactly once.

The run counts only when the worker was killed while it was at work: each kill waits for a place of its own, drawn
among all that is due. Valkey is emptied once on the way.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from loyalty.base.settings import load_settings
from loyalty.embedded import Servers
from loyalty.embedded.postgres import APP
from loyalty.operating.desk import open_desk
from loyalty.programs.types import ProgramKind
from tests.kills.cluster import demand_durability, durable
from tests.kills.worker import NOON, Worker, lots_due
from tests.posting.shop import program
from tests.races.house import House, environ
from tests.words import proof_seed, proof_size

LOTS = 5  # of each member
PATIENCE_S = 120  # two intervals of the sweep


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    with durable() as servers:
        yield servers


@pytest.mark.parametrize(
    ("lots", "kills"),
    [
        (3_000, 2),
        pytest.param(20_000 * proof_size(), 20, marks=pytest.mark.proof),  # SIZE=5 is the record
    ],
)
async def test_every_lot_that_is_due_expires_once_however_often_the_worker_is_killed(
    servers: Servers, tmp_path: Path, lots: int, kills: int
) -> None:
    print(f"\n{await demand_durability(servers.superuser_url)}")
    seed = proof_seed()
    print(f"seed {seed}")
    chance = random.Random(seed)
    env = environ(servers.database_url, servers.redis_url)
    async with open_desk(load_settings(env)) as desk:
        program_id = await desk.create_program(ProgramKind.SANDBOX, program(), NOON)
        await lots_due(desk.runtime, program_id, lots // LOTS, LOTS)
    link = await asyncpg.connect(servers.superuser_url)
    await link.execute("ANALYZE")

    async def left() -> int:
        return await link.fetchval("SELECT count(*) FROM accounts WHERE next_due_at IS NOT NULL")

    async def hung_up() -> None:
        """Until PostgreSQL knows that the worker is gone: what it had sent is committed or not, and nothing follows."""
        while await link.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", APP):
            await asyncio.sleep(0.002)

    members = standing = await left()
    assert members == lots // LOTS
    # With more members left than one batch takes: between two looks the worker does not come to the end.
    places = sorted((chance.randrange(members // 4, members) for _ in range(kills)), reverse=True)
    flushed_before = places[len(places) // 2]
    worker = Worker(env, tmp_path / "worker.log")
    killed_at: list[int] = []
    try:
        for place in places:
            # This worker itself was at work: less is left than when it began.
            below = min(place, standing - 1)
            worker.start()
            async with asyncio.timeout(PATIENCE_S):
                while await left() > below:
                    await asyncio.sleep(0.002)
            if place == flushed_before:
                async with Redis.from_url(servers.redis_url) as valkey:
                    await valkey.flushall()
            worker.kill()
            await hung_up()
            standing = await left()
            killed_at.append(standing)
        worker.start()
        began = time.monotonic()
        while await left():
            assert time.monotonic() - began < PATIENCE_S, "what is due is not done within two intervals"
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
    finally:
        if worker.running:
            worker.kill()
    gone = await link.fetchrow(
        "SELECT count(*), count(DISTINCT lot_id), sum(points) FROM postings WHERE target = 'expired'"
    )
    await link.close()
    assert gone is not None
    assert tuple(gone) == (lots, lots, 7 * lots)
    report = await House(servers.database_url, servers.superuser_url, program_id, "", []).whole()
    in_the_middle = sum(0 < at < members for at in killed_at)
    print(
        f"{kills} kills, {in_the_middle} amid {members} members with {lots} lots; done {took:.1f} s after the last;"
        f" {report.figures.entries} entries whole"
    )
    assert in_the_middle * 10 >= kills * 8, "void: the worker was not at work at the kills"
