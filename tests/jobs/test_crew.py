"""A worker does many runs beside each other, and one program never takes the places of all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest_asyncio

from loyalty.base.database import ServerBusy, shared
from loyalty.jobs.crew import RUNS_MAX, SHARE, Crew
from loyalty.jobs.runs import Report
from loyalty.jobs.service import get_run, queue_run
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.operating.desk import Desk
from loyalty.posting.runtime import Runtime


class Gate:
    """Work of any kind that lasts until it may end; `begun` is who is at it, or was."""

    def __init__(self) -> None:
        self.begun: list[Run] = []
        self.may_end = asyncio.Event()

    async def work(self, _runtime: Runtime, run: Run, _report: Report) -> dict[str, Any]:
        self.begun.append(run)
        await self.may_end.wait()
        return {}

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.begun) < count:
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def gate() -> Gate:
    return Gate()


@pytest_asyncio.fixture
async def crew(desk: Desk, gate: Gate) -> AsyncIterator[Crew]:
    crew = Crew(desk.runtime, dict.fromkeys(RunKind, gate.work))
    yield crew
    gate.may_end.set()
    async with asyncio.timeout(20):  # nothing of a test is left to the next
        while await left(desk):
            await crew.look()
            await asyncio.sleep(0.01)
    await crew.stop()


async def left(desk: Desk) -> int:
    async with shared(desk.runtime.engine) as connection:
        query = "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')"
        return (await connection.exec_driver_sql(query)).scalar_one()


async def queued(desk: Desk, programs: Sequence[int], kind: RunKind = RunKind.VERIFICATION) -> list[Run]:
    async with shared(desk.runtime.engine) as connection:
        return [
            await queue_run(connection, UUID(int=program), kind, at=desk.now(), ids=desk.ids)
            for program in programs
        ]


async def states(desk: Desk, asked: Sequence[Run]) -> list[RunState]:
    async with shared(desk.runtime.engine) as connection:
        return [(await get_run(connection, run.program_id, run.id)).state for run in asked]


async def test_a_program_with_many_runs_leaves_room_for_the_others(
    desk: Desk, crew: Crew, gate: Gate
) -> None:
    many = await queued(desk, [1] * 20)
    others = await queued(desk, [2, 3, 3])
    await crew.look()
    await gate.until(SHARE + 3)
    await crew.look()
    assert Counter(run.program_id.int for run in gate.begun) == {1: SHARE, 2: 1, 3: 2}
    assert Counter(await states(desk, many)) == {RunState.RUNNING: SHARE, RunState.QUEUED: 20 - SHARE}
    gate.may_end.set()  # one after the other begins when one ends, without another look
    async with asyncio.timeout(60):
        while set(await states(desk, many + others)) != {RunState.SUCCEEDED}:
            await asyncio.sleep(0.01)
    assert len(gate.begun) == 23


async def test_a_clock_on_its_way_does_not_wait_for_what_waits_for_it(
    desk: Desk, crew: Crew, gate: Gate
) -> None:
    await queued(desk, [1] * 5)
    await crew.look()
    await gate.until(SHARE)
    (move,) = await queued(desk, [1], RunKind.CLOCK)
    await crew.look()
    await gate.until(SHARE + 1)
    assert gate.begun[-1].id == move.id


async def test_a_worker_does_so_many_at_once(desk: Desk, crew: Crew, gate: Gate) -> None:
    await queued(desk, [*range(1, RUNS_MAX + 4)])
    await crew.look()
    await gate.until(RUNS_MAX)
    await crew.look()
    assert len(gate.begun) == RUNS_MAX


async def test_what_cannot_just_now_is_not_begun_again_before_the_next_look(desk: Desk) -> None:
    begun = 0

    async def busy(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ServerBusy
        return {}

    crew = Crew(desk.runtime, {RunKind.VERIFICATION: busy})
    (run,) = await queued(desk, [1])
    for look in range(1, 3):
        await crew.look()
        async with asyncio.timeout(10):
            while begun < look or await states(desk, [run]) != [RunState.QUEUED]:
                await asyncio.sleep(0.01)
        for _ in range(10):  # as long as it likes
            await asyncio.sleep(0.01)
        assert begun == look
    await crew.look()
    async with asyncio.timeout(10):
        while await states(desk, [run]) != [RunState.SUCCEEDED]:
            await asyncio.sleep(0.01)
    await crew.stop()


async def test_who_stops_gives_everything_back(desk: Desk, gate: Gate) -> None:
    asked = await queued(desk, [1, 1, 2])
    crew = Crew(desk.runtime, {RunKind.VERIFICATION: gate.work})
    await crew.look()
    await gate.until(3)
    await crew.stop()
    async with shared(desk.runtime.engine) as connection:
        found = [await get_run(connection, run.program_id, run.id) for run in asked]
    assert {(run.state, run.tries) for run in found} == {(RunState.QUEUED, 0)}


async def test_a_sweep_begins_when_the_last_is_over_and_its_time_has_come(crew: Crew) -> None:
    begun: Counter[str] = Counter()
    may_end = asyncio.Event()

    async def often(_: Runtime) -> None:
        begun["often"] += 1
        await may_end.wait()

    async def hourly(_: Runtime) -> None:
        begun["hourly"] += 1

    async def look() -> None:
        crew.sweep(often)
        crew.sweep(hourly, every_s=3_600)
        await asyncio.sleep(0.01)

    await look()
    await look()
    assert begun == {"often": 1, "hourly": 1}
    may_end.set()
    await asyncio.sleep(0.01)
    await look()
    assert begun == {"often": 2, "hourly": 1}
