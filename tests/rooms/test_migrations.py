"""The schema is what the tables in the code say, and goes up, down and up again with data in it."""

from typing import Any

import asyncpg
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from loyalty.base import migrations
from loyalty.base.database import make_engine, shared
from loyalty.base.schema import METADATA
from loyalty.ledger.verify import verify
from tests.conftest import Database
from tests.laws.shop import serving
from tests.rooms.rows import PROGRAM_A, PROGRAM_B, fill
from tests.rooms.traffic import a_month

PARTITIONS = "SELECT relname FROM pg_class WHERE relispartition"
COLUMNS = """
SELECT table_name::text, column_name::text, coalesce(collation_name, e.collation)::text AS collation
FROM information_schema.columns c
LEFT JOIN LATERAL (
    SELECT co.collname AS collation FROM pg_attribute a JOIN pg_collation co ON co.oid = a.attcollation
    WHERE a.attrelid = (quote_ident(table_name))::regclass AND a.attname = column_name AND co.collname <> 'default'
) e ON true
WHERE table_schema = 'public'
"""
COUNTED = """
SELECT c.oid::regclass::text, coalesce(a.attstattarget, -1) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'program_id'
"""
KEYS = """
SELECT conrelid::regclass::text AS table,
    array(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY k(n, i)
          JOIN pg_attribute ON attrelid = conrelid AND attnum = n ORDER BY i) AS columns
FROM pg_constraint WHERE contype = 'p' AND connamespace = 'public'::regnamespace
"""


async def test_the_tables_in_the_code_are_the_migrated_tables(database: Database) -> None:
    engine = make_engine(database.owner_url, 1)
    link = await asyncpg.connect(database.owner_url)
    partitions = {row["relname"] for row in await link.fetch(PARTITIONS)}
    await link.close()

    def ours(name: str | None, kind: str, parents: Any) -> bool:
        table = name if kind == "table" else parents.get("table_name")
        return table != "alembic_version" and table not in partitions

    def differences(connection: Connection) -> list[Any]:
        options = {"include_name": ours, "compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)

    async with shared(engine) as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_how_many_rows_a_program_has_is_guessed_and_never_counted(database: Database) -> None:
    """A program that came since the last count would be taken for an empty one: migration 0024."""
    link = await asyncpg.connect(database.owner_url)
    tables = await link.fetch(COUNTED)
    await link.close()
    assert len(tables) > 50
    assert {table for table, target in tables if target != 0} == set()


async def test_keys_and_collations_are_as_in_the_code(database: Database) -> None:
    link = await asyncpg.connect(database.owner_url)
    keys = {row["table"]: row["columns"] for row in await link.fetch(KEYS)}
    collations = {
        (row["table_name"], row["column_name"]): row["collation"] for row in await link.fetch(COLUMNS)
    }
    await link.close()
    for table in METADATA.tables.values():
        assert keys[table.name] == [column.name for column in table.primary_key], table.name
        for column in table.columns:
            said = getattr(getattr(column.type, "item_type", column.type), "collation", None)
            assert collations[table.name, column.name] == said, column


async def test_the_schema_goes_down_step_by_step_with_data_in_it_and_up_again(database: Database) -> None:
    script = ScriptDirectory.from_config(migrations.configuration())
    revisions = [revision.revision for revision in script.walk_revisions()]
    for _ in range(2):
        engine = make_engine(database.superuser_url, 1)
        async with shared(engine) as connection:
            await fill(connection, PROGRAM_A, PROGRAM_B)
        await engine.dispose()
        for revision in [*revisions[1:], "base"]:
            assert migrations.downgrade(database.owner_url, revision) in (revision, "empty")
        for revision in reversed(revisions):
            assert migrations.upgrade(database.owner_url, revision) == revision


async def test_days_are_counted_from_what_was_bought_before_there_were_any(database: Database) -> None:
    """What was earned, returned and claimed makes the same days as if they had been kept from the beginning."""
    query = "SELECT cell, member_id, day, spend_minor, visits, points::text FROM member_days ORDER BY 1, 2, 3"
    async with serving(database) as runtime:
        await a_month(runtime)
    link = await asyncpg.connect(database.superuser_url)
    try:
        kept = [tuple(row) for row in await link.fetch(query)]
        assert len(kept) > 15
        migrations.downgrade(database.owner_url, "0017")
        migrations.upgrade(database.owner_url)
        counted = [tuple(row) for row in await link.fetch(query)]
    finally:
        await link.close()
    assert [row for row in counted if any(row[3:5])] == [row for row in kept if any(row[3:5])]


async def test_books_from_before_points_could_slide_are_whole_and_go_on(database: Database) -> None:
    async with serving(database) as runtime:
        traffic = await a_month(runtime)
    migrations.downgrade(database.owner_url, "0018")
    migrations.upgrade(database.owner_url)
    async with serving(database) as runtime:
        assert (await verify(runtime.pool.acquire, traffic.program)).findings == ()


async def test_lots_are_told_from_their_postings_which_had_expired_before(database: Database) -> None:
    query = "SELECT id FROM lots WHERE was_expired ORDER BY id"
    async with serving(database) as runtime:
        traffic = await a_month(runtime)
        await traffic.cancel("R-1")  # its points had expired
    link = await asyncpg.connect(database.superuser_url)
    try:
        kept = await link.fetch(query)
        assert len(kept) == 1
        migrations.downgrade(database.owner_url, "0025")
        migrations.upgrade(database.owner_url)
        assert await link.fetch(query) == kept
    finally:
        await link.close()
