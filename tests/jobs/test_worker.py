"""The worker on its own Valkey: it does what is due, also without Valkey, and goes back to it by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from sqlalchemy import text

from loyalty.base.database import reading, shared, transaction
from loyalty.base.settings import Settings
from loyalty.embedded import Valkey
from loyalty.embedded.system import locked, open_home
from loyalty.jobs import worker
from loyalty.jobs.runs import Report
from loyalty.jobs.service import get_run, queue_run
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.jobs.worker import QUEUE, work
from loyalty.jobs.works import WORKS
from loyalty.operating.desk import Desk
from loyalty.posting.commands import AdvanceClock
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import ProgramKind
from tests.jobs.conftest import SHOP

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PATIENCE_S = 90  # with a busy machine the first look may be refused, and the next one is a minute later
NOBODY = "redis://127.0.0.1:1"  # a port on which nobody listens


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(work(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


async def done(desk: Desk, run: Run, within_s: float = 20) -> Run:
    async with asyncio.timeout(within_s):
        while True:
            async with shared(desk.runtime.engine) as connection:
                found = await get_run(connection, run.program_id, run.id)
            if found.state is RunState.SUCCEEDED:
                return found
            await asyncio.sleep(0.05)


async def ask(desk: Desk) -> Run:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    async with shared(desk.runtime.engine) as connection:
        return await queue_run(connection, program, RunKind.VERIFICATION, at=desk.now(), ids=desk.ids)


async def test_a_run_is_done_with_valkey_without_it_and_when_it_is_back(desk: Desk, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    with locked(tmp_path / "home" / "servers.lock"):
        valkey = Valkey(home)
        valkey.start()
    try:
        async with working(msgspec.structs.replace(desk.runtime.settings, redis_url=valkey.url)):
            assert (await done(desk, await ask(desk))).tries == 1
            assert valkey.pid is not None
            os.kill(valkey.pid, signal.SIGKILL)
            await done(desk, await ask(desk))
            while valkey.pid is not None:
                await asyncio.sleep(0.01)
            valkey.start()
            await done(desk, await ask(desk))
            async with asyncio.timeout(20):
                while not await asyncio.to_thread(is_worked_with, valkey.url):
                    await asyncio.sleep(0.1)
    finally:
        valkey.stop()


def is_worked_with(url: str) -> bool:
    """Whether a worker shows its signs of life there."""
    with redis.Redis.from_url(url) as link:  # pyright: ignore[reportUnknownMemberType]
        return bool(link.exists(f"{QUEUE}:health-check"))


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    home = open_home(tmp_path / "home")
    with locked(tmp_path / "home" / "servers.lock"):
        server = Valkey(home)
        server.start()
    yield server
    server.stop()


async def test_a_valkey_that_is_emptied_again_and_again_loses_nothing(desk: Desk, valkey: Valkey) -> None:
    async with working(msgspec.structs.replace(desk.runtime.settings, redis_url=valkey.url)):
        asked = [await ask(desk) for _ in range(3)]
        for _ in range(20):
            await asyncio.to_thread(emptied, valkey.url)
            await asyncio.sleep(0.1)
        for run in asked:
            await done(desk, run)


async def test_runs_go_on_and_others_begin_when_valkey_is_lost(
    desk: Desk, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(_runtime: Runtime, run: Run, _report: Report) -> dict[str, Any]:
        if run.id == first.id:
            begun.set()
            await may_end.wait()
        return {}

    monkeypatch.setattr(worker, "WORKS", {RunKind.VERIFICATION: slow})
    async with working(msgspec.structs.replace(desk.runtime.settings, redis_url=valkey.url)):
        first = await ask(desk)
        async with asyncio.timeout(20):
            await begun.wait()
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGKILL)
        for _ in range(2):  # of other programs, while the first is still at work
            await done(desk, await ask(desk))
        may_end.set()
        assert (await done(desk, first)).tries == 1


async def test_a_worker_without_valkey_ends_when_it_is_told_to(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def endless(_runtime: Runtime, _run: Run, _report: Report) -> dict[str, Any]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(worker, "WORKS", {RunKind.VERIFICATION: endless})
    run = await ask(desk)
    async with working(msgspec.structs.replace(desk.runtime.settings, redis_url=NOBODY)):
        async with asyncio.timeout(20):
            await begun.wait()
    monkeypatch.setattr(worker, "WORKS", WORKS)
    async with working(msgspec.structs.replace(desk.runtime.settings, redis_url=NOBODY)):
        assert (await done(desk, run)).tries == 1, "an orderly stop is no try"


async def test_without_valkey_old_rows_go_too(desk: Desk) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    old = text(
        "INSERT INTO idempotency_records (program_id, scope, key, fingerprint, created_at, status, refusal)"
        " VALUES (:program, :program, 'old', '', :at, 409, '{}')"
    )
    async with transaction(desk.runtime.engine, program) as connection:
        await connection.execute(old, {"program": program, "at": desk.now() - timedelta(days=31)})
    query = text("SELECT count(*) FROM idempotency_records WHERE program_id = :program AND key = 'old'")
    without = msgspec.structs.replace(desk.runtime.settings, redis_url=NOBODY)
    async with working(without), asyncio.timeout(20):
        left = 1
        while left:
            await asyncio.sleep(0.05)
            async with reading(desk.runtime.engine, program) as connection:
                left = (await connection.execute(query, {"program": program})).scalar_one()


def packed(**more: Any) -> bytes:
    return msgspec.msgpack.encode({"t": None, "f": "begin_runs", "a": [], "k": {}, "et": 1} | more)


RUBBISH: dict[str, list[tuple[Any, ...]]] = {
    "a text in the place of the queue": [("SET", QUEUE, "x")],
    "a name that is no text": [("ZADD", QUEUE, 1, b"\xff\xfe")],
    "an instant before all time": [("ZADD", QUEUE, "-inf", "x1")],
    "an age that is a text": [("SET", "arq:job:x2", packed(et="x")), ("ZADD", QUEUE, 1, "x2")],
    "an age beyond all time": [("SET", "arq:job:x3", packed(et=1 << 62)), ("ZADD", QUEUE, 1, "x3")],
    "a job without words": [("SET", "arq:job:x4", b"x"), ("ZADD", QUEUE, 1, "x4")],
    "a job that nobody knows": [("SET", "arq:job:x5", packed(f="run")), ("ZADD", QUEUE, 1, "x5")],
    "a job that has expired": [("ZADD", QUEUE, 1, "x6")],
    "a text where arq notes what to end": [("SET", "arq:abort", "x"), ("ZADD", QUEUE, 1, "x7")],
}


async def test_rubbish_in_valkey_is_dropped_and_the_worker_goes_on(
    desk: Desk, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(msgspec.structs.replace(desk.runtime.settings, redis_url=valkey.url)):
        for commands in RUBBISH.values():
            await asyncio.to_thread(execute, valkey.url, commands)
            async with asyncio.timeout(20):
                while not await asyncio.to_thread(is_clean, valkey.url):
                    await asyncio.sleep(0.05)
        await done(desk, await ask(desk))
    assert "error serializing" not in caplog.text


def execute(url: str, commands: list[tuple[Any, ...]]) -> None:
    with redis.Redis.from_url(url) as link:  # pyright: ignore[reportUnknownMemberType]
        for command in commands:
            link.execute_command(*command)  # pyright: ignore[reportUnknownMemberType]


def is_clean(url: str) -> bool:
    """Whether a worker works there, and with nothing but what is its own."""
    with redis.Redis.from_url(url) as link:  # pyright: ignore[reportUnknownMemberType]
        if not link.exists(f"{QUEUE}:health-check") or link.type(QUEUE) not in (b"zset", b"none"):
            return False
        left: Any = link.zrange(QUEUE, 0, -1)
        return not any(name.startswith((b"x", b"\xff")) for name in left)


def emptied(url: str) -> None:
    with redis.Redis.from_url(url) as link:  # pyright: ignore[reportUnknownMemberType]
        link.flushall()


async def test_a_worker_closes_what_ended_before_it_started(desk: Desk) -> None:
    program = await desk.create_program(ProgramKind.SANDBOX, SHOP, NOON)
    # A move would close the days on its way.
    await desk.submit(program, AdvanceClock(NOON + timedelta(days=3)))
    query = text("SELECT count(*) FROM blocks WHERE program_id = :program AND closes_on IS NOT NULL")

    async def closed() -> int:
        async with reading(desk.runtime.engine, program) as connection:
            return (await connection.execute(query, {"program": program})).scalar_one()

    assert await closed() == 0
    async with working(desk.runtime.settings), asyncio.timeout(PATIENCE_S):
        while await closed() < 3:
            await asyncio.sleep(0.05)
