"""What the database itself refuses, whatever the code above it says: foreign programs, and any change of the books."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.base.database import make_engine, reading, shared, transaction
from loyalty.base.ids import NIL
from loyalty.base.migrations import DIRECTORY
from loyalty.base.schema import METADATA
from tests.conftest import Database
from tests.rooms.rows import PROGRAM_A, PROGRAM_B, fill, rows_of


def _migration(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(DIRECTORY) / "versions" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GUARDS = _migration("0006_guards")
# Later migrations bring their guards with them.
LATER = (
    "holds",
    "returns",
    *_migration("0011_rewards").BY_PROGRAM,
    *_migration("0012_proposals_and_freezes").TABLES,
    "reservations",
    "member_pins",
    *_migration("0018_tiers").BY_PROGRAM,
    *_migration("0021_imports").BY_PROGRAM,
    *_migration("0022_notices").BY_PROGRAM,
)
BY_PROGRAM: list[str] = sorted((*GUARDS.BY_PROGRAM, *LATER))
APPEND_ONLY: list[str] = sorted((*GUARDS.APPEND_ONLY, "returns", "tier_moves"))
REFUSED = asyncpg.InsufficientPrivilegeError


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(database: Database) -> AsyncIterator[AsyncEngine]:
    """The application's engine over a database in which two programs have a row in every table."""
    superuser = make_engine(database.superuser_url, 1)
    async with shared(superuser) as connection:
        await fill(connection, PROGRAM_A, PROGRAM_B)
    await superuser.dispose()
    engine = make_engine(database.app_url, 2)
    yield engine
    await engine.dispose()


async def test_every_table_is_either_guarded_by_program_or_on_the_reviewed_list(database: Database) -> None:
    link = await asyncpg.connect(database.owner_url)
    rows = await link.fetch(
        "SELECT relname, relrowsecurity FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'alembic_version'"
    )
    await link.close()
    assert {row["relname"] for row in rows if row["relrowsecurity"]} == set(BY_PROGRAM)
    assert {row["relname"] for row in rows if not row["relrowsecurity"]} == set(GUARDS.SHARED)
    assert {row["relname"] for row in rows} == set(METADATA.tables)


@pytest.mark.parametrize("table", BY_PROGRAM)
async def test_with_the_filter_left_out_another_programs_rows_are_still_not_shown(
    app: AsyncEngine, table: str
) -> None:
    without_filter = select(METADATA.tables[table].c.program_id)
    for program_id in (PROGRAM_A, PROGRAM_B):
        for frame in (transaction, reading):
            async with frame(app, program_id) as connection:
                assert (await connection.execute(without_filter)).scalars().all() == [program_id]
    async with transaction(app, NIL) as connection:
        assert (await connection.execute(without_filter)).all() == []


@pytest.mark.parametrize("table", BY_PROGRAM)
async def test_without_a_program_nothing_is_shown(app: AsyncEngine, table: str) -> None:
    count = select(func.count()).select_from(METADATA.tables[table])
    async with shared(app) as connection:
        assert (await connection.execute(count)).scalar_one() == 0
    # A setting that was local to an earlier transaction of the same connection reads as empty text.
    async with transaction(app, PROGRAM_A) as connection:
        assert (await connection.execute(count)).scalar_one() == 1
        await connection.commit()
        assert (await connection.execute(count)).scalar_one() == 0


@pytest.mark.parametrize("table", BY_PROGRAM)
async def test_a_row_for_another_program_cannot_be_written(app: AsyncEngine, table: str) -> None:
    row = rows_of(PROGRAM_B)[table]
    with pytest.raises(DBAPIError) as caught:
        async with transaction(app, PROGRAM_A) as connection:
            await connection.execute(insert(METADATA.tables[table]).values(**row))
    assert "row-level security" in str(caught.value.orig)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE member_profiles SET profile = '{}'",
        "UPDATE accounts SET available = 0",
        "UPDATE lots SET is_open = false",
        "UPDATE identifiers SET cell = 3",
        "UPDATE stocks SET stock = 3",
        "UPDATE reservations SET ends_at = now()",
        "UPDATE redemptions SET state = 'cancelled'",
        "UPDATE freezes SET frozen = false",
        "UPDATE member_changes SET changed_at = now()",
        "UPDATE member_pins SET failed = 9",
        "DELETE FROM identifiers",
        "DELETE FROM member_profiles",
        "UPDATE job_places SET after = NULL",
        "DELETE FROM member_pins",
        "DELETE FROM notices",
        "DELETE FROM import_rejections",
        "DELETE FROM idempotency_records",
    ],
)
async def test_a_change_without_a_filter_reaches_the_own_program_only(app: AsyncEngine, change: str) -> None:
    async with transaction(app, PROGRAM_A) as connection:
        assert (await connection.execute(text(change))).rowcount == 1
        await connection.rollback()


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_the_application_is_refused_any_change_of_what_is_append_only(
    database: Database, app: AsyncEngine, table: str
) -> None:
    link = await asyncpg.connect(database.app_url)
    await link.execute("SELECT set_config('loyalty.program', $1, false)", str(PROGRAM_A))
    changes = [
        f"UPDATE {table} SET {column.name} = {column.name}" for column in METADATA.tables[table].columns
    ]
    for statement in (*changes, f"DELETE FROM {table}", f"TRUNCATE {table}", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(REFUSED, match="permission denied"):
            await link.execute(statement)
    await link.close()


@pytest.mark.parametrize("table", [*APPEND_ONLY, "heads"])
async def test_even_the_owner_is_refused_any_change_of_what_is_append_only(
    database: Database, app: AsyncEngine, table: str
) -> None:
    link = await asyncpg.connect(database.owner_url)
    parts = [
        row["name"]
        for row in await link.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass",
            table,
        )
    ]
    assert (not parts) == (table not in ("entries", "postings", "decisions", "engagement_events"))
    column = next(iter(METADATA.tables[table].columns)).name
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
        with pytest.raises(REFUSED, match="append-only"):
            await link.execute(statement)
    for name in (table, *parts):
        with pytest.raises(REFUSED, match="append-only"):
            await link.execute(f"TRUNCATE {name}")
    filled = [part for part in parts if await link.fetchval(f"SELECT count(*) FROM {part}")]
    assert len(filled) == (1 if parts else 0)
    for part in filled:
        with pytest.raises(REFUSED, match="append-only"):
            await link.execute(f"DELETE FROM {part}")
    await link.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE proposals SET points = 1",
        "UPDATE proposals SET member_id = id",
        "UPDATE proposals SET proposed_by = id",
        "UPDATE proposals SET lapses_at = now()",
        "DELETE FROM proposals",
        "DELETE FROM freezes",
        "DELETE FROM member_changes",
    ],
)
async def test_the_application_is_refused_to_rewrite_what_was_proposed_or_to_forget_a_freeze(
    app: AsyncEngine, change: str
) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        async with transaction(app, PROGRAM_A) as connection:
            await connection.execute(text(change))


async def test_the_application_cannot_go_round_the_policies_through_a_partition(database: Database) -> None:
    link = await asyncpg.connect(database.app_url)
    parts = await link.fetch("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
    assert len(parts) > 40
    for part in parts:
        for statement in ("SELECT 1 FROM", "DELETE FROM", "TRUNCATE"):
            with pytest.raises(REFUSED):
                await link.execute(f"{statement} {part['relname']}")
    await link.close()


async def test_the_application_cannot_switch_the_guards_off(database: Database) -> None:
    link = await asyncpg.connect(database.app_url)
    for statement in (
        "ALTER TABLE entries DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE entries DISABLE TRIGGER ALL",
        "DROP POLICY own_program ON entries",
        "CREATE POLICY mine ON entries USING (true)",
        "SET session_replication_role = replica",
        "SET ROLE loyalty_owner",
        "SET row_security = off; SELECT 1 FROM entries",
    ):
        with pytest.raises(REFUSED):
            await link.execute(statement)
    await link.close()


async def test_a_head_can_be_locked_and_never_changes(app: AsyncEngine) -> None:
    version = text("SELECT xmin::text, ctid::text FROM heads")
    async with transaction(app, PROGRAM_A) as connection:
        before = (await connection.execute(version)).one()
    async with transaction(app, PROGRAM_A) as connection:
        await connection.execute(
            text("SELECT 1 FROM heads WHERE program_id = :p AND cell = 0 FOR UPDATE"), {"p": PROGRAM_A}
        )
    async with transaction(app, PROGRAM_A) as connection:
        assert (await connection.execute(version)).one() == before
    for statement in (
        "UPDATE heads SET cell = cell",
        "UPDATE heads SET program_id = program_id",
        "DELETE FROM heads",
    ):
        with pytest.raises(DBAPIError) as caught:
            async with transaction(app, PROGRAM_A) as connection:
                await connection.execute(text(statement))
        assert isinstance(caught.value.orig.__cause__ if caught.value.orig else None, REFUSED)
