"""Verification of a program with several lanes: each lane's chain, and what stands across them."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest_asyncio

from loyalty.ledger.verify import verify
from loyalty.ledger.verify.checkpoint import checkpoints
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.laws.shop import serving
from tests.rooms.traffic import a_month


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database, cells=8) as runtime:
        yield runtime


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(database: Database) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(database.app_url, min_size=1, max_size=2) as pool:
        yield pool


async def test_every_lane_is_read_to_its_end(runtime: Runtime, pool: Any) -> None:
    traffic = await a_month(runtime)
    report = await verify(pool.acquire, traffic.program)
    assert report.findings == ()
    assert [lane.cell for lane in report.lanes] == list(range(8))
    assert report.figures.accounts == 9
    noted = await checkpoints(pool.acquire, traffic.program)
    assert len([one for one in noted if one.closes_on is not None]) == 8, "a day is closed in every lane"
    assert (await verify(pool.acquire, traffic.program, checkpoint=noted)).intact


async def test_a_broken_lane_is_named_and_the_others_are_still_read(
    runtime: Runtime, pool: Any, database: Database
) -> None:
    traffic = await a_month(runtime)
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute("SET session_replication_role = replica")
    cell = await superuser.fetchval("SELECT max(cell) FROM entries WHERE program_id = $1", traffic.program)
    await superuser.execute(
        "UPDATE decisions SET answer = answer || ' ' WHERE program_id = $1 AND cell = $2",
        traffic.program,
        cell,
    )
    await superuser.close()
    report = await verify(pool.acquire, traffic.program)
    assert {finding.key["cell"] for finding in report.findings} == {str(cell)}
    assert len(report.lanes) == 8
