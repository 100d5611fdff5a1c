"""The schema's way up and down, from code instead of an ini file: the command line and the tests share it.

The files stand in migrations/ beside src/, in a checkout and in the container image alike. What each one locks,
and for how long, is said in its own header.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

DIRECTORY = Path(__file__).resolve().parents[3] / "migrations"

# A migration that waits for a lock stops everybody behind it, so it gives up soon, lets them pass and tries again.
LOCK_TIMEOUT_MS = 400
TRIES = 30
PAUSE_S = 0.6
_ONE_AT_A_TIME = 7_276_111  # any number, the same in every release
_LOCK_NOT_HAD = "55P03"


def head() -> str:
    """The newest revision of this release."""
    return ScriptDirectory.from_config(configuration()).get_current_head() or ""


def current(url: str) -> str | None:
    """The revision the database is at, None for an empty one."""
    return _on(url, lambda connection: MigrationContext.configure(connection).get_current_revision())


def pending(url: str) -> list[tuple[str, str]]:
    """Revision and header of each migration that the database has not seen, in the order they would run."""
    scripts = ScriptDirectory.from_config(configuration())
    waiting = scripts.iterate_revisions("head", current(url) or "base")
    return [(script.revision, " ".join((script.module.__doc__ or "").split())) for script in waiting][::-1]


def behind(url: str) -> list[str]:
    """The revisions that the database has left behind: older than the one it is at."""
    scripts = ScriptDirectory.from_config(configuration())
    return [script.revision for script in scripts.iterate_revisions(current(url) or "base", "base")][1:]


def upgrade(owner_url: str, revision: str = "head") -> str:
    """Bring the database up to `revision` and return it; two at once run one after the other.

    A lock that is not had in LOCK_TIMEOUT_MS is asked for again after a pause, TRIES times over the whole way.
    Needs: the role that owns the schema.
    """
    return _on(owner_url, lambda connection: _move(connection, command.upgrade, revision)) or "empty"


def downgrade(owner_url: str, revision: str) -> str:
    """Bring the database down to `revision` (`base`: nothing left) and return it."""
    return _on(owner_url, lambda connection: _move(connection, command.downgrade, revision)) or "empty"


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's own configuration, over `connection` when something is to run."""
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _move(connection: Connection, way: Callable[[Config, str], None], revision: str) -> str | None:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ONE_AT_A_TIME})
    connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
    connection.commit()
    for left in reversed(range(TRIES)):
        try:
            way(configuration(connection), revision)  # goes on behind the last one that was committed
            break
        except DBAPIError as error:
            if not left or getattr(error.orig, "sqlstate", None) != _LOCK_NOT_HAD:
                raise
            connection.rollback()
            time.sleep(PAUSE_S)
    return MigrationContext.configure(connection).get_current_revision()


def _on(url: str, work: Callable[[Connection], str | None]) -> str | None:
    """Run `work` on a connection of its own, in a thread of its own: the caller may live inside an event loop."""

    async def run() -> str | None:
        engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool
        )
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()
