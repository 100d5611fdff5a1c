"""A shop on the real road: pipe, pool and PostgreSQL; the clock stands where the test puts it."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from loyalty.base.settings import Settings
from loyalty.posting.commands import Command, Publish
from loyalty.posting.runtime import Runtime, open_runtime
from loyalty.programs.service import create_program
from loyalty.programs.types import ProgramKind
from loyalty.rules.types import Rule
from tests.conftest import HOME, Database
from tests.posting.shop import ANN, NOW, SECRET, Reply, enrol, program, submission


class StandingClock:
    """Program time stands at `at`; ids follow the real clock, as rows of today need them."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


@contextlib.asynccontextmanager
async def serving(
    database: Database, clock: StandingClock | None = None, **more: Any
) -> AsyncIterator[Runtime]:
    """One process's runtime over `database`; `more` are settings."""
    settings = Settings(
        environment="test",
        home=Path(os.environ[HOME]),
        database_url=more.pop("database_url", database.app_url),
        secret_key=SECRET,
        **more,
    )
    async with open_runtime(settings, clock=clock or StandingClock()) as runtime:
        yield runtime


@dataclass
class LiveShop:
    """One program and the client who sends its commands."""

    runtime: Runtime
    id: UUID
    client: UUID = field(default_factory=uuid4)

    async def send(self, command: Command, key: str | None = None, **more: Any) -> Reply:
        """The answer of one command under `key`, or a key of its own."""
        more.setdefault("by", self.client)
        asked = submission(self.id, command, key or uuid4().hex, **more)
        return Reply.of(await self.runtime.pipe.submit(asked))

    async def done(self, *commands: Command) -> Reply:
        """The answer of the last of `commands`, sent one after the other; none is refused."""
        reply = None
        for command in commands:
            reply = await self.send(command)
            assert reply.status in (200, 201, 202), reply.raw
        assert reply is not None
        return reply

    async def together(self, *commands: Command) -> list[Reply]:
        """The answers of commands that reach the pipe at once, in their order."""
        return await asyncio.gather(*(self.send(command) for command in commands))

    def elsewhere(self, runtime: Runtime) -> "LiveShop":
        """The same client at another process."""
        return LiveShop(runtime, self.id, self.client)


async def open_shop(
    runtime: Runtime,
    *rules: Rule,
    members: Iterable[str] = (ANN,),
    clock_at: datetime | None = None,
    **program_of: Any,
) -> LiveShop:
    """A new program in force with some members; a sandbox when `clock_at` is given."""
    shop = LiveShop(runtime, await new_program(runtime, clock_at))
    await shop.done(Publish(program(*rules, **program_of)), *(enrol(member) for member in members))
    return shop


async def new_program(runtime: Runtime, clock_at: datetime | None = None) -> UUID:
    """A program without configuration."""
    kind = ProgramKind.LIVE if clock_at is None else ProgramKind.SANDBOX
    made = await create_program(
        runtime.engine, uuid4(), kind, runtime.settings.cells, runtime.clock.now(), clock_at
    )
    return made.id


@contextlib.asynccontextmanager
async def visits(runtime: Runtime) -> AsyncIterator[list[str]]:
    """The statements that the road sends in the block, in their order: each is a visit to the database.

    What the driver asks about types, once a connection, is left out.
    """
    seen: list[str] = []

    def note(query: Any) -> None:
        if not any(word in query.query for word in ("typeinfo_tree", "'jit'")):
            seen.append(query.query)

    async def each(verb: str) -> None:
        async with contextlib.AsyncExitStack() as every:
            for _ in range(runtime.settings.pool_size):
                getattr(await every.enter_async_context(runtime.pool.acquire()), verb)(note)

    await each("add_query_logger")
    yield seen
    await each("remove_query_logger")


# --- looking and meddling from outside ------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def superuser(database: Database) -> AsyncIterator["asyncpg.Connection[Any]"]:
    link = await asyncpg.connect(database.superuser_url)
    try:
        yield link
    finally:
        await link.close()


@contextlib.asynccontextmanager
async def locked(database: Database, statement: str, *arguments: Any) -> AsyncIterator[int]:
    """What `statement` locks or writes is held by another session, whose process id this is, then committed."""
    async with superuser(database) as link, link.transaction():
        await link.execute(statement, *arguments)
        yield link.get_server_pid()


def head_held(
    database: Database, program_id: UUID, cell: int = 0
) -> contextlib.AbstractAsyncContextManager[int]:
    """The head of a lane is held by another session."""
    head = "SELECT FROM heads WHERE program_id = $1 AND cell = $2 FOR UPDATE"
    return locked(database, head, program_id, cell)


async def until_blocked(database: Database, by: int, sessions: int = 1) -> list[int]:
    """The process ids that wait for the session `by`, once there are so many."""
    async with superuser(database) as link, asyncio.timeout(10):
        while True:
            waiting = await link.fetch(
                "SELECT pid FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))", by
            )
            if len(waiting) >= sessions:
                return [row[0] for row in waiting]
            await asyncio.sleep(0.005)


async def count(database: Database, table: str, program_id: UUID, where: str = "true") -> int:
    async with superuser(database) as link:
        return await link.fetchval(
            f"SELECT count(*) FROM {table} WHERE program_id = $1 AND {where}", program_id
        )
