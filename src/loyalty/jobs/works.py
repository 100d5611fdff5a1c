"""The work behind each kind of run. All of it is safe twice: a run may be taken over at any moment."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from loyalty.jobs.runs import Report, Work
from loyalty.jobs.types import Run, RunKind
from loyalty.ledger.verify import Report as Verified
from loyalty.ledger.verify import verify
from loyalty.posting.runtime import Runtime


class _Stopped(Exception):
    pass


async def verification(runtime: Runtime, run: Run, report: Report) -> dict[str, Any]:
    """Verify the books of the run's program.

    It computes for long stretches, so it has a thread and an event loop of its own: the pipe of this process
    waits for nothing.
    """
    stop = threading.Event()

    def progress(phase: str, done: int, total: int) -> None:
        if stop.is_set():
            raise _Stopped
        report({"phase": phase, "done": done, "total": total})

    @asynccontextmanager
    async def connect() -> AsyncGenerator[asyncpg.Connection]:
        link = await asyncpg.connect(runtime.settings.database_url, server_settings={"timezone": "UTC"})
        try:
            yield link
        finally:
            await link.close()

    def work() -> Verified:
        return asyncio.run(verify(connect, run.program_id, progress=progress))

    try:
        return msgspec.to_builtins(await asyncio.to_thread(work), str_keys=True)
    finally:
        stop.set()


WORKS: Mapping[RunKind, Work] = {RunKind.VERIFICATION: verification}
