"""The roles of a database, and the way its schema goes up, down and up again."""

import asyncpg
import pytest

from loyalty.base import migrations
from tests.conftest import Database


async def test_a_fresh_database_is_at_the_newest_revision(database: Database) -> None:
    assert migrations.current(database.app_url) == migrations.head()


async def test_the_application_owns_nothing_and_cannot_leave_row_level_security(database: Database) -> None:
    link = await asyncpg.connect(database.app_url)
    role = await link.fetchrow("SELECT * FROM pg_roles WHERE rolname = current_user")
    owned = await link.fetchval(
        "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = current_user"
    )
    assert role is not None
    assert not (role["rolsuper"] or role["rolbypassrls"] or role["rolcreatedb"] or role["rolcreaterole"])
    assert owned == 0
    for statement in (
        "CREATE TABLE mine (n int)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (n int)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await link.execute(statement)
    await link.close()


async def test_strings_sort_alike_on_every_machine(database: Database) -> None:
    link = await asyncpg.connect(database.app_url)
    assert (
        await link.fetchval("SELECT datlocprovider::text FROM pg_database WHERE datname = current_database()")
        == "b"
    )
    await link.close()


async def test_the_schema_goes_down_to_nothing_and_up_again(database: Database) -> None:
    assert migrations.downgrade(database.owner_url, "base") == "empty"
    link = await asyncpg.connect(database.owner_url)
    left = await link.fetch(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = 'public' AND relkind IN ('r', 'p', 'S', 'v') AND relname <> 'alembic_version'"
    )
    functions = await link.fetchval(
        "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    await link.close()
    assert (left, functions) == ([], 0)
    assert migrations.upgrade(database.owner_url) == migrations.head()
