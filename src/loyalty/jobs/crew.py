"""The long work that one worker does beside its looks: runs, each program its share of them.

What finds no room here waits in PostgreSQL, where another worker may take it, and holds nothing meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import structlog

from loyalty.base.errors import LoyaltyError
from loyalty.jobs.runs import Work, execute, waiting_runs
from loyalty.jobs.types import Run, RunKind
from loyalty.posting.runtime import Runtime

log = structlog.get_logger()

RUNS_MAX = 10  # at once
SHARE = 2  # of them, of one program
_HANG_UP_S = 10

Sweep = Callable[[Runtime], Awaitable[None]]


class Crew:
    """Runs that are being done, and the sweeps of a worker without Valkey."""

    def __init__(self, runtime: Runtime, works: Mapping[RunKind, Work]) -> None:
        self._runtime = runtime
        self._works = works
        self._runs: dict[UUID, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeps: dict[Sweep, tuple[float, asyncio.Task[None]]] = {}  # when it began, and its end

    async def look(self) -> None:
        """Begin runs that wait, as far as there is room for them."""
        try:
            waiting = await waiting_runs(self._runtime, of_each=SHARE)
        except LoyaltyError as error:  # the database is away: the next look may find it
            log.warning("look_failed", code=error.code)
            return
        for run in waiting:
            if self._has_room(run):
                self._runs[run.id] = run
                self._begin(self._do(run))

    def sweep(self, sweep: Sweep, every_s: float = 0) -> None:
        """Begin a sweep, unless it is still at it or last began less than `every_s` ago."""
        now = asyncio.get_running_loop().time()
        if sweep in self._sweeps:
            began, task = self._sweeps[sweep]
            if not task.done() or now - began < every_s:
                return
        self._sweeps[sweep] = now, self._begin(sweep(self._runtime))

    async def stop(self) -> None:
        """End at once: runs are given back, what a sweep has not done is found by the next."""
        await cancelled(self._tasks)

    def _has_room(self, run: Run) -> bool:
        if run.id in self._runs or len(self._runs) >= RUNS_MAX:
            return False
        if run.kind is RunKind.CLOCK:  # all other work of its program waits for it
            return True
        others = [one for one in self._runs.values() if one.program_id == run.program_id]
        return sum(one.kind is not RunKind.CLOCK for one in others) < SHARE

    async def _do(self, run: Run) -> None:
        over = False
        try:
            over = await execute(self._runtime, run.program_id, run.id, self._works)
        except (
            LoyaltyError
        ) as error:  # what came of it could not be noted: it shows no sign of life and is found again
            log.warning("run_lost", run_id=str(run.id), code=error.code)
        finally:
            del self._runs[run.id]
        if over:  # what cannot just now waits for the next look
            await self.look()

    def _begin(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End tasks and wait for them, though not for ever."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=_HANG_UP_S)
