"""What one process needs to serve: settings, connections, clock, cache and pipe, opened and closed together."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.base.aside import Aside
from loyalty.base.canonical import Digests
from loyalty.base.clock import Clock, RealClock
from loyalty.base.database import ServerBusy, make_engine
from loyalty.base.paging import Cursors
from loyalty.base.settings import Settings
from loyalty.base.together import Together
from loyalty.base.turns import NoTurn, Turns
from loyalty.posting import store
from loyalty.posting.balances import BalancesNow
from loyalty.posting.configuration import History
from loyalty.posting.glance import Glances
from loyalty.posting.histories import Histories
from loyalty.posting.pipe import Pipe
from loyalty.programs.service import deployment_cells
from loyalty.programs.types import ProgramNotFound

ENTRY_SIZE = 2  # connections by which it is asked who calls
PATIENCE_S = 5.0  # for a server that should have ended a statement by itself


@dataclass(frozen=True)
class Runtime:
    """One process's means; `engine` reads through SQLAlchemy Core, `pool` is the road's.

    `entry` is for who calls and whether we can serve: nobody's reads hold that up.
    """

    settings: Settings
    engine: AsyncEngine
    entry: AsyncEngine
    pool: asyncpg.Pool
    clock: Clock
    histories: Histories
    digests: Digests
    cursors: Cursors
    pipe: Pipe
    glances: Glances
    balances_now: BalancesNow
    aside: Aside
    turns: Turns  # of looks that share no visit with others

    @contextlib.asynccontextmanager
    async def snapshot(self, program_id: UUID) -> AsyncGenerator[store.Connection, None]:
        """A connection of the road for a look of a request's own, for which programs take turns.

        Raises: ServerBusy, DatabaseUnavailable.
        """
        try:
            async with (
                self.turns.turn(program_id, store.ACQUIRE_S),
                store.snapshot(self.pool, program_id) as connection,
            ):
                yield connection
        except NoTurn:
            raise ServerBusy from None

    async def history(self, program_id: UUID) -> History:
        """The program's configurations as of now, for reads. Raises: ProgramNotFound."""
        async with self.snapshot(program_id) as connection:
            history = await self.histories.refresh(connection, program_id)
        if history.empty:
            raise ProgramNotFound
        return history

    async def now(self, program_id: UUID) -> datetime:
        """The program's instant: the real one, or its sandbox clock's."""
        async with self.snapshot(program_id) as connection:
            return await store.program_now(connection, program_id) or self.clock.now()


@contextlib.asynccontextmanager
async def open_runtime(settings: Settings, *, clock: Clock | None = None) -> AsyncGenerator[Runtime, None]:
    """A runtime for the length of a block; on leaving, everyone accepted is answered first.

    Needs: addresses and secret in `settings` (see embedded.provide). Raises: CellsDiffer when the deployment has
    another number of cells.
    """
    assert settings.database_url is not None and settings.secret_key is not None
    clock = clock or RealClock()
    digests = Digests(settings.secret_key, settings.secret_key_previous)
    engine = make_engine(settings.database_url, settings.pool_size)
    entry = make_engine(settings.database_url, ENTRY_SIZE)
    try:
        await deployment_cells(engine, settings.cells)
        async with asyncpg.create_pool(
            settings.database_url,
            min_size=1,
            max_size=settings.pool_size,
            max_inactive_connection_lifetime=0,
            timeout=5,  # to connect
            command_timeout=settings.statement_timeout_ms / 1000 + PATIENCE_S,
            server_settings={
                **store.CONNECTION_SETTINGS,
                "lock_timeout": str(settings.lock_timeout_ms),
                "statement_timeout": str(settings.statement_timeout_ms),
                "idle_in_transaction_session_timeout": str(settings.statement_timeout_ms),
            },
            init=partial(
                store.bound, transaction_ms=settings.lock_timeout_ms + 2 * settings.statement_timeout_ms
            ),
            reset=store.left_clean,
        ) as pool:
            histories = Histories()
            together = Together(waiting_max=settings.queue_max, waiting_ms_max=settings.queue_ms_max)
            aside = Aside(waiting_ms_max=settings.queue_ms_max)
            pipe = Pipe(
                pool,
                clock,
                histories,
                together,
                aside,
                cells=settings.cells,
                slots=max(1, settings.pool_size - 1),  # one is left for quotes and reads
                queue_max=settings.queue_max,
                queue_bytes_max=settings.queue_bytes_max,
                queue_ms_max=settings.queue_ms_max,
            )
            reading = (pool, clock, histories, together, aside, settings.cells)
            try:
                yield Runtime(
                    settings,
                    engine,
                    entry,
                    pool,
                    clock,
                    histories,
                    digests,
                    Cursors(digests),
                    pipe,
                    Glances(*reading),
                    BalancesNow(*reading),
                    aside,
                    Turns(max(1, settings.pool_size // 2)),
                )
            finally:
                await pipe.stop()
                await together.stop()
                aside.close()
    finally:
        await entry.dispose()
        await engine.dispose()
