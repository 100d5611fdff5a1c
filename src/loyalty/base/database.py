"""Connections and the two frames around a database visit: one that writes, one that reads.

Both say which program they are for in their first statement; row-level security shows nothing else. Programs take
turns for the connections. The commit sits here. What the database refuses for reasons of the moment becomes a refusal
that may be tried again.
"""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any, ClassVar
from uuid import UUID
from weakref import WeakKeyDictionary

import asyncpg
import msgspec
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import Pool, QueuePool

from loyalty.base.errors import Busy
from loyalty.base.turns import NoTurn, Turns

LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 2_000
POOL_TIMEOUT_S = 2.0

# Sent as they are: these two are part of every visit, and compiling SQL has a price.
_SET_PROGRAM = "SELECT set_config('loyalty.program', $1, true)"
_SET_READING = f"{_SET_PROGRAM}, set_config('statement_timeout', $2, true)"

_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:work, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:work, 0))")

# The same pool seen as read-only snapshots.
_snapshots: WeakKeyDictionary[AsyncEngine, AsyncEngine] = WeakKeyDictionary()
_turns: WeakKeyDictionary[Pool, Turns] = WeakKeyDictionary()


class ServerBusy(Busy):
    code: ClassVar[str] = "busy"
    title: ClassVar[str] = "Too much is waiting; try again shortly."
    remedy: ClassVar[str] = "Send again later under the same key, after the seconds of `Retry-After`."


class DatabaseUnavailable(Busy):
    code: ClassVar[str] = "database_unavailable"
    title: ClassVar[str] = "The database cannot be reached."
    remedy: ClassVar[str] = "Whoever runs the server looks with `loyalty doctor` when it lasts."


class OutcomeUnknown(Busy):
    code: ClassVar[str] = "outcome_unknown"
    title: ClassVar[str] = "The database cannot be reached; the same request again tells what became of it."
    remedy: ClassVar[str] = (
        "Keep the very same body and key, so that it is done once and the answer is the true one."
    )


# Too slow, lock not had in time, serialization, deadlock, too many connections, idle too long, disk full.
_OF_THE_MOMENT = frozenset({"57014", "55P03", "40001", "40P01", "53300", "25P03", "53100"})
# Connection lost or refused, server shutting down, crashed or starting.
_UNREACHABLE = frozenset({"08000", "08001", "08003", "08004", "08006", "57P01", "57P02", "57P03"})
# Of a visit that writes: a server that takes no writes for now. Of one that only reads it is a fault of ours.
_READ_ONLY = "25006"


def make_engine(url: str, pool_size: int, **settings: str) -> AsyncEngine:
    """An engine with at most `pool_size` connections; `settings` are PostgreSQL's, over our defaults.

    `url` is an ordinary postgresql:// address.
    """
    server_settings = {
        "application_name": "loyalty",
        "timezone": "UTC",
        "jit": "off",  # our statements are short; compiling them costs more than it saves
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "statement_timeout": str(STATEMENT_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(STATEMENT_TIMEOUT_MS),
        **settings,
    }
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_use_lifo=True,
        json_serializer=_to_json,
        json_deserializer=msgspec.json.decode,
        hide_parameters=True,  # values never reach logs or tracebacks
        connect_args={"server_settings": server_settings, "timeout": 5},
    )
    event.listen(engine.sync_engine, "checkout", _refuse_unclean)
    return engine


@contextlib.asynccontextmanager
async def transaction(engine: AsyncEngine, program_id: UUID) -> AsyncGenerator[AsyncConnection, None]:
    """A connection that writes for one program; commits at the end of the block, rolls back on an exception.

    Raises: Busy when the database cannot just now.
    """
    async with _visit(engine, program_id, writes=True) as connection:
        await connection.exec_driver_sql(_SET_PROGRAM, (str(program_id),))
        yield connection


@contextlib.asynccontextmanager
async def reading(
    engine: AsyncEngine, program_id: UUID, *, timeout_ms: int = READ_TIMEOUT_MS
) -> AsyncGenerator[AsyncConnection, None]:
    """A connection that sees one snapshot of one program and cannot write; each statement ends within `timeout_ms`.

    Raises: Busy when the database cannot just now.
    """
    snapshot = _snapshots.get(engine)
    if snapshot is None:
        snapshot = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        _snapshots[engine] = snapshot
    async with _visit(snapshot, program_id, writes=False) as connection:
        await connection.exec_driver_sql(_SET_READING, (str(program_id), str(timeout_ms)))
        yield connection


@contextlib.asynccontextmanager
async def shared(engine: AsyncEngine, *, writes: bool = True) -> AsyncGenerator[AsyncConnection, None]:
    """A connection for the tables that all programs share; rows of a program's own tables are not seen.

    Raises: Busy when the database cannot just now.
    """
    async with _visit(engine, None, writes=writes) as connection:
        yield connection


@contextlib.asynccontextmanager
async def alone(engine: AsyncEngine, work: str) -> AsyncGenerator[bool, None]:
    """Whether nobody else, in any process, is at this work; a process that is lost gives way.

    It saves doing the same twice; what must not happen twice rests on rows. Raises: Busy.
    """
    names = {"work": work}
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with _visit(autocommit, None, writes=False) as connection:
        got = (await connection.execute(_TRY_LOCK, names)).scalar_one()
        try:
            yield got
        finally:
            if got:
                await connection.execute(_UNLOCK, names)


@contextlib.asynccontextmanager
async def _visit(
    engine: AsyncEngine, program_id: UUID | None, *, writes: bool
) -> AsyncGenerator[AsyncConnection, None]:
    connected = committing = False
    try:
        async with _turns_of(engine).turn(program_id, POOL_TIMEOUT_S), engine.connect() as connection:
            connected = True
            yield connection
            committing = writes
            await connection.commit()
    except (NoTurn, PoolTimeout):
        raise ServerBusy from None
    except OSError as error:
        if connected:
            raise  # the caller's own affair, a file perhaps
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        refusal = refusal_of(error, writes=writes)
        if refusal is None:
            raise
        if committing and isinstance(refusal, DatabaseUnavailable):
            raise OutcomeUnknown from error
        raise refusal from error


def _turns_of(engine: AsyncEngine) -> Turns:
    """The turns that programs take for the connections of an engine's pool."""
    pool = engine.sync_engine.pool
    turns = _turns.get(pool)
    if turns is None:
        assert isinstance(pool, QueuePool), "make_engine makes no other"
        turns = _turns[pool] = Turns(pool.size())
    return turns


def refusal_of(error: DBAPIError, *, writes: bool = False) -> Busy | None:
    """What a caller is told about a database error that may pass by itself; None for any other error."""
    if isinstance(getattr(error.orig, "__cause__", None), asyncpg.InternalClientError):
        return DatabaseUnavailable()  # the driver, of a connection that was lost while it was used
    state = getattr(error.orig, "sqlstate", None)
    if state in _OF_THE_MOMENT:
        return ServerBusy()
    if state in _UNREACHABLE or error.connection_invalidated or (writes and state == _READ_ONLY):
        return DatabaseUnavailable()
    return None


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _refuse_unclean(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    """A connection that died, or that came back with a transaction still open, is replaced before it is used.

    A cancelled task once could leave a hidden transaction behind, in which later commits were lost.
    """
    connection = dbapi_connection.driver_connection
    if connection.is_closed() or connection.is_in_transaction():
        raise DisconnectionError
