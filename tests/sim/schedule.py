"""Who goes next at the database, and what goes wrong there: decided by a seed, one visit after the other.

Every statement of a pipe waits at the gate. When nobody can go on without the database, the seed picks one of those
who wait; its statement runs to its end, or until a lock of PostgreSQL holds it, before the next one is picked.
Time moves only when it is told to. So the same seed gives the same run, as far as PostgreSQL answers the same.

Errors are PostgreSQL's own, raised by it in place of a statement or behind it; a lost connection is ended on both
sides. Nothing of the program is replaced: the gate stands where the driver's pool is given to the pipe.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg

LATER_S = 1.5  # timers that are due sooner are ours; the driver's own lie further ahead
# Serialization, deadlock, cancelled, lock not had in time, disk full, read-only, and a bug of the server.
STATES = ("40001", "40P01", "57014", "55P03", "53100", "25006", "XX000")


class StandingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until it is moved, or let go for good."""

    at = 1_000.0
    _gone: float | None = None

    def time(self) -> float:
        return self.at if self._gone is None else self.at + time.monotonic() - self._gone

    def let_go(self) -> None:
        """From now on time passes by itself."""
        self._gone = time.monotonic()

    @property
    def idle(self) -> bool:
        """Whether nobody but the asker can run."""
        return not self._ready  # type: ignore[attr-defined]

    def next_timer(self) -> float | None:
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return min((when for when in due if when <= self.at + LATER_S), default=None)


@dataclass(eq=False)
class Visit:
    """One statement that waits for its turn."""

    house: "House"
    label: str
    call: Callable[[], Awaitable[Any]]
    line: "asyncpg.Connection[Any] | None"
    turn: "asyncio.Future[str | None]"  # the fault it meets
    told: "asyncio.Future[None]"
    pid: int = 0  # of the server's side
    work: "asyncio.Task[Any] | None" = None


class Gate:
    """The visits that wait, the ones under way, and what has happened."""

    def __init__(
        self, loop: StandingLoop, monitor: "asyncpg.Connection[Any]", random: Random, rate: float
    ) -> None:
        self.loop = loop
        self.monitor = monitor
        self._asking = asyncio.Lock()
        self.random = random
        self.rate = rate
        self.faulty = True
        self.waiting: list[Visit] = []
        self.under_way: list[Visit] = []
        self.log: list[str] = []
        self.seen: Counter[str] = Counter()
        self.at_commit: Callable[[], Awaitable[None]] | None = None

    async def visit(
        self,
        house: "House",
        label: str,
        call: Callable[[], Awaitable[Any]],
        line: "asyncpg.Connection[Any] | None",
    ) -> Any:
        """Wait for one's turn, do it, and wait to be told."""
        if house.dead:
            raise asyncpg.ConnectionDoesNotExistError("the process was killed")
        visit = Visit(house, label, call, line, self.loop.create_future(), self.loop.create_future())
        if line is not None and not line.is_closed():
            visit.pid = line.get_server_pid()
        self.waiting.append(visit)
        try:
            fault = await visit.turn
            visit.work = self.loop.create_task(self._work(visit, fault))
            self.under_way.append(visit)
            await visit.told
            return visit.work.result()
        except asyncio.CancelledError:
            work = visit.work
            if label == "connect" and work is not None and work.done() and not work.exception():
                await house.pool.release(work.result())  # nobody is there any more to take it
            raise
        finally:
            for place in (self.waiting, self.under_way):
                if visit in place:
                    place.remove(visit)
            if visit.work is not None:
                visit.work.cancel()
                visit.work.add_done_callback(_heard)

    async def _work(self, visit: Visit, fault: str | None) -> Any:
        kind, _, when = (fault or "").partition(" ")
        if when == "before":
            await self._strike(visit, kind)
        result = await visit.call()
        if when == "after":
            await self._strike(visit, kind)
        return result

    async def _strike(self, visit: Visit, kind: str) -> None:
        """Raises: what the driver would."""
        if visit.line is None:
            raise ConnectionRefusedError if kind == "refused" else TimeoutError
        if kind == "lost":
            await self.cut(visit.line)
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        await visit.line.execute(f"DO $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '{kind}'; END $$")

    async def cut(self, line: "asyncpg.Connection[Any]") -> None:
        """End a connection on both sides; what it had not committed is gone when this returns."""
        if not line.is_closed():
            pid = line.get_server_pid()
            line.terminate()
            await self.ask("SELECT pg_terminate_backend($1, 5000)", pid)

    async def ask(self, query: str, *arguments: Any) -> Any:
        """What a superuser beside everything sees."""
        async with self._asking:
            return await self.monitor.fetchval(query, *arguments)

    # --- turns --------------------------------------------------------------------------------------------------

    async def quiet(self) -> None:
        """Let everybody run who can without the database."""
        while True:
            await asyncio.sleep(0)
            if self.loop.idle:
                return

    async def turn(self) -> bool:
        """One step of the whole: a result is told, a visit is made, or time moves. False: there is nothing to do."""
        await self.quiet()
        for visit in self.under_way:
            if visit.work is not None and visit.work.done() and not visit.told.done():
                visit.told.set_result(None)
                return True
        timer = self.loop.next_timer()
        if self.waiting and (timer is None or self.random.random() < 0.9):
            await self._grant(self.random.choice(self.waiting))
        elif timer is not None:
            self.loop.at = max(self.loop.at, timer)
        elif self.under_way:
            await self._pause({visit.work for visit in self.under_way if visit.work is not None})
        else:
            return False
        return True

    async def _grant(self, visit: Visit) -> None:
        fault = self._fault(visit)
        self.waiting.remove(visit)
        self.log.append(f"{visit.house.name} {visit.label} {fault or ''}")
        self.seen["visit"] += 1
        if fault is not None:
            self.seen[f"fault {fault}"] += 1
            self.seen[f"crash {visit.label}, {fault}"] += 1
        visit.turn.set_result(fault)
        await self.quiet()
        await self._until_done_or_held(visit)
        if visit.label in ("commit", "rollback") or fault is not None:
            await self.locks_moved()  # an error gives them back too
        if visit.label == "commit" and self.at_commit is not None:
            await self.at_commit()

    async def locks_moved(self) -> None:
        """Somebody's locks are gone: let those run on whom they held up."""
        for visit in tuple(self.under_way):
            await self._until_done_or_held(visit)

    def _fault(self, visit: Visit) -> str | None:
        if not self.faulty or self.random.random() >= self.rate:
            return None
        if visit.line is None:
            return self.random.choice(("refused before", "none free before"))
        when = self.random.choice(("before", "after"))
        if visit.label in ("commit", "rollback") or self.random.random() < 0.4:
            return f"lost {when}"
        return f"{self.random.choice(STATES)} {when}"

    async def _until_done_or_held(self, visit: Visit) -> None:
        """Until the statement has ended, or PostgreSQL says that another session holds it up."""
        while visit.work is not None and not visit.work.done():
            await self._pause({visit.work})
            if (
                visit.work.done()
                or visit.line is None
                or visit.label not in ("begin", "begin after", "write")
            ):
                continue
            if await self.ask("SELECT pg_blocking_pids($1)", visit.pid):
                self.seen["held up by a lock"] += 1
                return

    async def _pause(self, works: "set[asyncio.Task[Any]]") -> None:
        """Until one of them is done, or some real milliseconds are over."""
        real = self.loop.run_in_executor(None, time.sleep, 0.004)
        await asyncio.wait({*works, real}, return_when=asyncio.FIRST_COMPLETED)


def _heard(work: "asyncio.Task[Any]") -> None:
    """Nobody else asks what became of it."""
    if not work.cancelled():
        work.exception()


def label_of(query: str) -> str:
    """What a statement of the road is for, in a word or two."""
    for mark, label in (
        ("BEGIN ISOLATION", "look"),
        ("FROM blocks WHERE", "begin after"),
        ("BEGIN", "begin"),
        ("COMMIT", "commit"),
        ("ROLLBACK", "rollback"),
        ("WITH who", "load"),
        ("WITH acts", "load deep"),
        ("WITH t0", "write"),
        ("FROM configurations", "configurations"),
        ("max(closes_on)", "last closed"),
    ):
        if mark in query and (mark != "FROM blocks WHERE" or query.startswith("BEGIN")):
            return label
    return "other"


@dataclass(eq=False)
class House:
    """One process: its pool behind the gate. Once dead, nobody in it gets anything more from the database."""

    name: str
    gate: Gate
    pool: "asyncpg.Pool[Any]"
    dead: bool = False
    lines: "list[asyncpg.Connection[Any]]" = field(default_factory=list)

    async def acquire(self, *, timeout: float) -> "Line":
        """A connection when it is this one's turn; that none is free in time is a fault like others."""
        real = await self.gate.visit(self, "connect", self.pool.acquire, None)
        # The driver's connection itself: the pool's stand-in goes blank when it is given back.
        line = Line(self, real, getattr(real, "_con", real))
        self.lines.append(line.own)
        return line

    async def release(self, line: "Line") -> None:
        self.lines.remove(line.own)
        await self.pool.release(line.lent)

    def get_idle_size(self) -> int:
        return self.pool.get_idle_size()

    def get_size(self) -> int:
        return self.pool.get_size()

    def get_max_size(self) -> int:
        return self.pool.get_max_size()

    async def die(self) -> None:
        """Cut every connection; what is waiting at the gate never gets there."""
        self.dead = True
        for line in tuple(self.lines):
            await self.gate.cut(line)
        await self.gate.locks_moved()


class Line:
    """A connection whose statements wait for their turn."""

    def __init__(self, house: House, lent: Any, own: Any) -> None:
        self.house = house
        self.lent = lent
        self.own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self.lent, name)

    async def _visit(self, name: str, query: str, *arguments: Any) -> Any:
        call = getattr(self.lent, name)
        return await self.house.gate.visit(
            self.house, label_of(query), lambda: call(query, *arguments), self.own
        )

    async def execute(self, query: str, *arguments: Any) -> Any:
        return await self._visit("execute", query, *arguments)

    async def fetch(self, query: str, *arguments: Any) -> Any:
        return await self._visit("fetch", query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        return await self._visit("fetchrow", query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        return await self._visit("fetchval", query, *arguments)
