"""A run is done once it is asked for: claimed by one worker, taken over from a dead one, given up in the end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from loyalty.base.database import ServerBusy, shared
from loyalty.jobs import runs, store, works
from loyalty.jobs.runs import TRIES_MAX, Report, Work, execute, keep, waiting_runs
from loyalty.jobs.service import get_run, list_runs, queue_run
from loyalty.jobs.types import Run, RunKind, RunNotFound, RunState
from loyalty.jobs.works import WORKS
from loyalty.ledger.verify import Report as Verified
from loyalty.ledger.verify import verify
from loyalty.ledger.verify.frame import Connect
from loyalty.operating.desk import Desk
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import ProgramKind, ProgramNotFound
from tests.jobs.conftest import SHOP, HandClock

PROGRAM = UUID(int=7)


async def queued(desk: Desk, program_id: UUID = PROGRAM) -> Run:
    async with shared(desk.runtime.engine) as connection:
        return await queue_run(connection, program_id, RunKind.VERIFICATION, at=desk.now(), ids=desk.ids)


async def again(desk: Desk, run: Run) -> Run:
    async with shared(desk.runtime.engine) as connection:
        return await get_run(connection, run.program_id, run.id)


async def do(desk: Desk, run: Run, work: Work | None = None) -> None:
    works: Mapping[RunKind, Work] = {RunKind.VERIFICATION: work} if work else WORKS
    await execute(desk.runtime, run.program_id, run.id, works)


async def test_a_verification_run_ends_with_the_report_of_its_program(desk: Desk) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    run = await queued(desk, program)
    await do(desk, run)
    done = await again(desk, run)
    assert (done.state, done.tries) == (RunState.SUCCEEDED, 1)
    assert done.result is not None
    assert (done.result["intact"], done.result["broken"]) == (True, 0)
    assert done.ended_at is not None


async def test_lists_tell_what_a_run_is_about_and_why_it_failed_and_nothing_long(desk: Desk) -> None:
    program, at, long = uuid4(), desk.now(), {"figures": [0] * 1_000}
    told = [
        (RunKind.IMPORT, RunState.SUCCEEDED, {"import_id": "i"}, long),
        (RunKind.REDATE, RunState.FAILED, {"plan": "p"}, {"code": "gave_up"}),
        (RunKind.TIER_PLAN, RunState.QUEUED, {"configuration": long}, None),
    ]
    async with shared(desk.runtime.engine) as connection:
        for kind, state, given, result in told:
            run = Run(program, desk.ids(), kind, state, 1, at, at, at, given, None, result)
            await store.add(connection, run)
        listed = await list_runs(connection, program, kinds=list(RunKind), limit=9)
    assert {run.kind: (run.input, run.result) for run in listed} == {
        RunKind.IMPORT: ({"import_id": "i"}, None),
        RunKind.REDATE: ({"plan": "p"}, {"code": "gave_up"}),
        RunKind.TIER_PLAN: ({}, None),
    }


async def test_two_workers_at_once_do_a_run_once(desk: Desk) -> None:
    run = await queued(desk)
    times = 0

    async def count(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
        nonlocal times
        times += 1
        await asyncio.sleep(0.05)
        return {}

    await asyncio.gather(*(do(desk, run, count) for _ in range(5)))
    assert times == 1


async def test_progress_is_seen_while_the_work_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SIGN_S", 0.01)
    run = await queued(desk)
    seen = asyncio.Event()

    async def slow(_runtime: Runtime, _run: Run, report: Report) -> dict[str, Any]:
        report({"done": 7})
        await seen.wait()
        return {"words": "fine"}

    task = asyncio.create_task(do(desk, run, slow))
    async with asyncio.timeout(5):
        while (await again(desk, run)).progress is None or "done" not in (
            (await again(desk, run)).progress or {}
        ):
            await asyncio.sleep(0.01)
    seen.set()
    await task
    assert (await again(desk, run)).result == {"words": "fine"}


async def test_a_run_without_a_sign_of_life_is_taken_over(desk: Desk, clock: HandClock) -> None:
    run = await queued(desk)
    dead = asyncio.create_task(do(desk, run, _for_ever))
    async with asyncio.timeout(5):
        while (await again(desk, run)).state is not RunState.RUNNING:
            await asyncio.sleep(0.01)
    assert run.id not in {one.id for one in await waiting_runs(desk.runtime)}
    clock.ahead = timedelta(seconds=10)
    assert run.id not in {one.id for one in await waiting_runs(desk.runtime)}
    clock.ahead = timedelta(seconds=20)
    assert run.id in {one.id for one in await waiting_runs(desk.runtime)}
    await do(desk, run, _fine)
    done = await again(desk, run)
    assert (done.state, done.tries) == (RunState.SUCCEEDED, 2)
    dead.cancel()  # the first worker was only slow: what it says now counts no more
    await asyncio.wait({dead})
    assert (await again(desk, run)).state is RunState.SUCCEEDED


async def test_workers_that_are_told_to_stop_give_a_run_back_at_once_however_often(desk: Desk) -> None:
    run = await queued(desk)
    for _ in range(TRIES_MAX + 1):
        task = asyncio.create_task(do(desk, run, _for_ever))
        async with asyncio.timeout(5):
            while (await again(desk, run)).state is not RunState.RUNNING:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        assert (await again(desk, run)).state is RunState.QUEUED
    await do(desk, run, _fine)
    done = await again(desk, run)
    assert (done.state, done.tries) == (RunState.SUCCEEDED, 1)


async def test_a_run_that_comes_further_has_all_its_tries_again(desk: Desk) -> None:
    """Killed, as far as the run can see: nothing is noted of the end of a try."""
    run = await queued(desk)
    end = 2 * TRIES_MAX

    async def dies(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
        place = (run.progress or {}).get("place", 0)
        await keep(runtime, run, report, {"place": min(place + 1, end)})
        raise RuntimeError("killed")

    for _ in range(end):
        await do(desk, run, dies)
        assert (await again(desk, run)).state is RunState.QUEUED
    for _ in range(TRIES_MAX):  # the last place once more, and again
        assert (await again(desk, run)).state is RunState.QUEUED
        await do(desk, run, dies)
    failed = await again(desk, run)
    assert (failed.state, failed.result) == (RunState.FAILED, {"code": "gave_up", "tries": TRIES_MAX})


async def test_who_is_taken_over_says_nothing_more_though_the_tries_began_anew(
    desk: Desk, clock: HandClock
) -> None:
    run = await queued(desk)
    slow = asyncio.Event()

    async def first(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
        await slow.wait()
        await keep(runtime, run, report, {"place": 1})
        return {}

    async def second(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
        await keep(runtime, run, report, {"place": 2})
        slow.set()
        await asyncio.wait({late})
        return {"by": "second"}

    late = asyncio.create_task(do(desk, run, first))
    async with asyncio.timeout(5):
        while (await again(desk, run)).state is not RunState.RUNNING:
            await asyncio.sleep(0.01)
    clock.ahead = timedelta(seconds=20)
    await do(desk, run, second)
    done = await again(desk, run)
    assert (done.state, done.result) == (RunState.SUCCEEDED, {"by": "second"})
    assert done.progress is not None
    assert done.progress["place"] == 2


async def test_a_busy_moment_is_no_try_however_often_it_comes(desk: Desk) -> None:
    run = await queued(desk)

    async def busy(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
        raise ServerBusy

    for _ in range(TRIES_MAX + 1):
        await do(desk, run, busy)
        assert (await again(desk, run)).state is RunState.QUEUED
    await do(desk, run, _fine)
    done = await again(desk, run)
    assert (done.state, done.tries) == (RunState.SUCCEEDED, 1)


async def test_a_lost_connection_of_work_with_a_thread_of_its_own_is_no_try(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await queued(desk, await desk.create_program(ProgramKind.LIVE, SHOP))

    async def lost(connect: Connect, _program: UUID, **_more: Any) -> None:
        async with connect() as link:
            await link.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patched:
        patched.setattr(works, "verify", lost)
        for _ in range(TRIES_MAX + 1):
            await do(desk, run)
            assert (await again(desk, run)).state is RunState.QUEUED
    await do(desk, run)
    done = await again(desk, run)
    assert (done.state, done.tries) == (RunState.SUCCEEDED, 1)


async def test_work_with_a_thread_of_its_own_keeps_its_connections_from_one_snapshot_to_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await queued(desk, await desk.create_program(ProgramKind.LIVE, SHOP))
    seen: list[int] = []

    async def noted(connect: Connect, program: UUID, **more: Any) -> Verified:
        @contextlib.asynccontextmanager
        async def noting() -> AsyncIterator[Any]:
            async with connect() as link:
                seen.append(link.get_server_pid())
                yield link

        return await verify(noting, program, **more)

    monkeypatch.setattr(works, "verify", noted)
    await do(desk, run)
    assert (await again(desk, run)).state is RunState.SUCCEEDED
    assert len(set(seen)) <= 2 < len(seen)


async def test_work_that_breaks_is_tried_three_times_and_has_then_failed(desk: Desk) -> None:
    run = await queued(desk)

    async def broken(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
        raise RuntimeError("a bug")

    for tries in range(TRIES_MAX):
        await do(desk, run, broken)
        assert (await again(desk, run)).tries == tries + 1
    await do(desk, run, broken)
    failed = await again(desk, run)
    assert (failed.state, failed.result) == (RunState.FAILED, {"code": "gave_up", "tries": TRIES_MAX})


async def test_work_that_is_refused_has_failed_and_says_why(desk: Desk) -> None:
    async def refuse(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
        raise ProgramNotFound

    run = await queued(desk)
    await do(desk, run, refuse)
    failed = await again(desk, run)
    assert (failed.state, failed.result) == (
        RunState.FAILED,
        {"code": ProgramNotFound.code, "detail": ProgramNotFound.title},
    )


async def test_a_database_that_cannot_just_now_ends_no_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
        raise ServerBusy

    run = await queued(desk)
    await do(desk, run, busy)
    assert (await again(desk, run)).state is RunState.QUEUED
    monkeypatch.setattr(runs, "SIGN_S", 0.01)
    signed = 0
    sign = store.sign

    async def sometimes(connection: AsyncConnection, run: Run, progress: dict[str, Any]) -> bool:
        nonlocal signed
        signed += 1
        if signed < 3:
            raise ServerBusy
        return await sign(connection, run, progress)

    async def slow(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
        while signed < 5:
            await asyncio.sleep(0.01)
        return {}

    monkeypatch.setattr(store, "sign", sometimes)
    await do(desk, run, slow)
    assert (await again(desk, run)).state is RunState.SUCCEEDED


async def test_another_programs_run_is_not_found(desk: Desk) -> None:
    run = await queued(desk)
    async with shared(desk.runtime.engine) as connection:
        with pytest.raises(RunNotFound):
            await get_run(connection, UUID(int=8), run.id)


async def _for_ever(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def _fine(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
    return {}
