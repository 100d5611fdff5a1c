"""The frames around a visit to the database: what is committed, what is seen, and what a failure is told as."""

import asyncio
import random
import socket
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from loyalty.base import database as frames
from loyalty.base.database import (
    DatabaseUnavailable,
    OutcomeUnknown,
    ServerBusy,
    make_engine,
    reading,
    refusal_of,
    shared,
    transaction,
)
from tests.conftest import Database
from tests.rooms.conftest import NOW, ids, new_program

ADD = text("INSERT INTO clients (program_id, id, name, created_at) VALUES (:program, :id, 'x', :at)")
COUNT = text("SELECT count(*) FROM clients")
OWN_PID = text("SELECT pg_backend_pid()")


async def count(engine: AsyncEngine, program_id: UUID) -> int:
    async with reading(engine, program_id) as connection:
        return (await connection.execute(COUNT)).scalar_one()


async def test_a_block_commits_at_its_end_and_not_after_an_exception(engine: AsyncEngine) -> None:
    program = await new_program(engine)
    async with transaction(engine, program) as connection:
        await connection.execute(ADD, {"program": program, "id": ids(), "at": NOW})
    assert await count(engine, program) == 1

    async def fail() -> None:
        async with transaction(engine, program) as connection:
            await connection.execute(ADD, {"program": program, "id": ids(), "at": NOW})
            raise FileNotFoundError

    with pytest.raises(FileNotFoundError):  # an OSError that is not the database's
        await fail()
    assert await count(engine, program) == 1


async def test_a_reader_sees_one_snapshot_and_cannot_write(engine: AsyncEngine) -> None:
    program = await new_program(engine)
    async with reading(engine, program) as connection:
        assert (await connection.execute(COUNT)).scalar_one() == 0
        async with transaction(engine, program) as other:
            await other.execute(ADD, {"program": program, "id": ids(), "at": NOW})
        assert (await connection.execute(COUNT)).scalar_one() == 0
    assert await count(engine, program) == 1
    with pytest.raises(DBAPIError, match="read-only"):
        async with reading(engine, program) as connection:
            await connection.execute(ADD, {"program": program, "id": ids(), "at": NOW})


async def test_a_writer_after_a_reader_on_the_same_connection_may_write(database: Database) -> None:
    lone = make_engine(database.app_url, 1)
    program = await new_program(lone)
    for _ in range(3):
        assert await count(lone, program) >= 0
        async with transaction(lone, program) as connection:
            level = text(
                "SELECT current_setting('transaction_isolation'), current_setting('statement_timeout')"
            )
            assert (await connection.execute(level)).one() == ("read committed", "5s")
            await connection.execute(ADD, {"program": program, "id": ids(), "at": NOW})
    assert await count(lone, program) == 3
    await lone.dispose()


async def test_a_read_that_takes_too_long_is_busy(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = await new_program(engine)
    async with reading(engine, program) as connection:
        limit = await connection.execute(text("SELECT current_setting('statement_timeout')"))
        assert limit.scalar_one() == f"{frames.READ_TIMEOUT_MS // 1000}s"
    with pytest.raises(ServerBusy):
        async with reading(engine, program) as connection:
            await _slow(connection)


async def _slow(connection: AsyncConnection) -> None:
    await connection.execute(text("SET LOCAL statement_timeout = 20"))
    await connection.execute(text("SELECT pg_sleep(5)"))


async def test_a_lock_not_had_in_time_is_busy(database: Database, engine: AsyncEngine) -> None:
    program = await new_program(engine)
    hasty = make_engine(database.app_url, 1, lock_timeout="20")
    lock = text("SELECT 1 FROM heads WHERE program_id = :program FOR UPDATE")
    async with transaction(engine, program) as holder:
        await holder.execute(lock, {"program": program})
        with pytest.raises(ServerBusy):
            async with transaction(hasty, program) as connection:
                await connection.execute(lock, {"program": program})
    await hasty.dispose()


async def test_no_free_connection_is_busy(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "POOL_TIMEOUT_S", 0.05)
    lone = make_engine(database.app_url, 1)
    async with shared(lone):
        with pytest.raises(ServerBusy):
            async with shared(lone):
                pass
    await lone.dispose()


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = make_engine(f"postgresql://a:b@127.0.0.1:{free.getsockname()[1]}/c", 1)
        with pytest.raises(DatabaseUnavailable):
            async with shared(nobody):
                pass
    await nobody.dispose()


async def test_a_connection_lost_in_a_block_is_unavailable_and_at_its_commit_an_unknown_outcome(
    database: Database, engine: AsyncEngine
) -> None:
    program = await new_program(engine)
    superuser = await asyncpg.connect(database.superuser_url)

    async def lose(connection: AsyncConnection) -> None:
        pid = (await connection.execute(OWN_PID)).scalar_one()
        assert await superuser.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)

    async def lost_before() -> None:
        async with transaction(engine, program) as connection:
            await lose(connection)
            await connection.execute(COUNT)

    async def lost_at_commit() -> None:
        async with transaction(engine, program) as connection:
            await connection.execute(ADD, {"program": program, "id": ids(), "at": NOW})
            await lose(connection)

    with pytest.raises(DatabaseUnavailable):
        await lost_before()
    with pytest.raises(OutcomeUnknown):
        await lost_at_commit()
    await superuser.close()
    assert await count(engine, program) == 0  # the next visit gets a connection that lives


async def test_a_server_that_takes_no_writes_for_now_is_unavailable(engine: AsyncEngine) -> None:
    program = await new_program(engine)

    async def refused() -> None:
        async with transaction(engine, program) as connection:
            await connection.execute(text("SET TRANSACTION READ ONLY"))  # what such a server says of itself
            await connection.execute(ADD, {"program": program, "id": ids(), "at": NOW})

    with pytest.raises(DatabaseUnavailable):
        await refused()
    assert await count(engine, program) == 0


async def test_connections_that_died_in_the_pool_are_replaced_unseen(database: Database) -> None:
    pool = make_engine(database.app_url, 2)
    program = await new_program(pool)
    superuser = await asyncpg.connect(database.superuser_url)
    async with transaction(pool, program) as one, transaction(pool, program) as other:
        pids = [(await connection.execute(OWN_PID)).scalar_one() for connection in (one, other)]
    for pid in pids:
        assert await superuser.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await asyncio.sleep(0.05)  # the news has to arrive
    for _ in range(3):
        assert await count(pool, program) == 0
    await superuser.close()
    await pool.dispose()


async def test_a_fault_of_the_statement_is_not_hidden_and_shows_no_values(engine: AsyncEngine) -> None:
    program, client = await new_program(engine), ids()

    async def twice() -> None:
        async with transaction(engine, program) as connection:
            for _ in range(2):
                await connection.execute(ADD, {"program": program, "id": client, "at": NOW})

    with pytest.raises(IntegrityError) as caught:
        await twice()
    assert "parameters hidden" in str(caught.value)


async def test_what_was_told_as_committed_is_there_however_tasks_are_cancelled(database: Database) -> None:
    """A cancelled task once could leave a hidden transaction on the pooled connection, losing later commits."""
    lone = make_engine(database.app_url, 1)
    program = await new_program(lone)
    dice = random.Random(7)
    told = 0

    async def write() -> None:
        async with transaction(lone, program) as connection:
            await connection.execute(ADD, {"program": program, "id": ids(), "at": NOW})

    for _ in range(60):
        task = asyncio.create_task(write())
        await asyncio.sleep(dice.random() * 0.004)
        finished = task.done()
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        told += outcome is None
        assert not finished or outcome is None
        before = await count(lone, program)
        await write()
        told += 1
        assert await count(lone, program) == before + 1
    assert told <= await count(lone, program) <= 120
    await lone.dispose()


async def test_one_programs_setting_never_reaches_the_next_visit_on_the_same_connection(
    database: Database,
) -> None:
    lone = make_engine(database.app_url, 1)
    program = await new_program(lone)
    async with transaction(lone, program) as connection:
        await connection.execute(ADD, {"program": program, "id": ids(), "at": NOW})
    for _ in range(20):
        task = asyncio.create_task(count(lone, program))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with shared(lone) as connection:
            assert (await connection.execute(COUNT)).scalar_one() == 0
    await lone.dispose()


def test_a_connection_lost_in_the_drivers_hands_is_the_moments_fault() -> None:
    orig = Exception("as SQLAlchemy translates it")
    orig.__cause__ = asyncpg.InternalClientError(
        "cannot switch to state 2; another operation (1) is in progress"
    )
    assert isinstance(refusal_of(DBAPIError("SELECT 1", None, orig)), DatabaseUnavailable)
