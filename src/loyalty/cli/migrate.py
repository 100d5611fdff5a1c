"""`loyalty migrate`: roles and database where a superuser address is given, then the schema."""

import asyncio

import asyncpg
from alembic.util import CommandError as AlembicError
from cyclopts import App
from sqlalchemy.exc import DBAPIError

from loyalty.base import migrations
from loyalty.base.provision import provision
from loyalty.base.settings import Settings, from_process
from loyalty.cli.frame import CommandError, Exit, say, unreachable
from loyalty.embedded import EmbeddedError, provide

app = App(name="migrate", help="Bring the database to the newest schema.")


@app.default
def migrate(*, to: str = "head", plan: bool = False) -> None:
    """Bring the database to the newest schema and print its revision.

    Parameters
    ----------
    to
        Stop at this revision instead of the newest. The schema only goes up.
    plan
        Only list what would run, with what each migration locks.
    """
    try:
        with provide(from_process()) as settings:
            if plan:
                _list(settings)
            else:
                _run(settings, to)
    except EmbeddedError as error:
        raise CommandError(str(error)) from error


def _run(settings: Settings, to: str) -> None:
    owner_url = settings.owner_database_url
    if owner_url is None:
        raise CommandError(
            "LOYALTY_OWNER_DATABASE_URL is not set: migrations need the role that owns the schema, which is not "
            "the application's role"
        )
    try:
        if settings.superuser_database_url and settings.database_url:
            asyncio.run(provision(settings.superuser_database_url, owner_url, settings.database_url))
        if to in migrations.behind(owner_url):
            raise CommandError(
                f"The schema is at {migrations.current(owner_url)} and only goes up: what was there at {to} comes back "
                "from a backup made before",
                Exit.REFUSED,
            )
        print(migrations.upgrade(owner_url, to))
    except AlembicError as error:
        raise CommandError(f"The migration cannot run: {error}") from error
    except DBAPIError as error:
        raise CommandError(f"The migration failed and was rolled back: {error.orig}") from error
    except (OSError, asyncpg.PostgresError) as error:
        raise CommandError(unreachable("PostgreSQL", owner_url, error)) from error


def _list(settings: Settings) -> None:
    url = settings.owner_database_url or settings.database_url
    if url is None:
        raise CommandError("LOYALTY_OWNER_DATABASE_URL is not set: there is no database to look at")
    try:
        waiting = migrations.pending(url)
    except (OSError, DBAPIError, asyncpg.PostgresError) as error:
        raise CommandError(unreachable("PostgreSQL", url, error)) from error
    for revision, text in waiting:
        print(f"{revision}  {text}")
    say("Make a backup first." if waiting else "Nothing to do: the schema is the newest.")
