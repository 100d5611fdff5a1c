"""The database and its two roles, made by a superuser at the first set-up; the schema comes by migrations.

The owner runs migrations. The application's role owns nothing, creates nothing and cannot leave row-level
security; what it may do with each table is granted by the migration that makes the table.
"""

from urllib.parse import unquote, urlsplit

import asyncpg


async def provision(superuser_url: str, owner_url: str, app_url: str) -> None:
    """Make the roles and the database that the two addresses name, passwords included; safe to repeat.

    `superuser_url` leads to a maintenance database of the same server.
    """
    owner, app = urlsplit(owner_url), urlsplit(app_url)
    database = owner.path.lstrip("/")
    link = await asyncpg.connect(superuser_url)
    try:
        for role in (owner, app):
            await _role(link, unquote(role.username or ""), unquote(role.password or ""))
        if not await link.fetchval("SELECT true FROM pg_database WHERE datname = $1", database):
            locale = (
                "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
                if link.get_server_version() >= (17,)
                else ""
            )
            await link.execute(
                f"CREATE DATABASE {_name(database)} OWNER {_name(owner.username)} TEMPLATE template0"
                f" ENCODING 'UTF8' {locale}"
            )
    finally:
        await link.close()
    await admit(superuser_url, database, owner.username or "", app.username or "")


async def admit(superuser_url: str, database: str, owner: str, app: str) -> None:
    """Let only `owner` and `app` into `database`, the latter without the right to create anything."""
    link = await asyncpg.connect(superuser_url)
    try:
        await link.execute(
            f"ALTER DATABASE {_name(database)} OWNER TO {_name(owner)};"
            f"REVOKE ALL ON DATABASE {_name(database)} FROM PUBLIC;"
            f"GRANT CONNECT ON DATABASE {_name(database)} TO {_name(app)}"
        )
    finally:
        await link.close()


async def _role(link: "asyncpg.Connection[asyncpg.Record]", name: str, password: str) -> None:
    known = await link.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name)
    literal = await link.fetchval(
        "SELECT quote_literal($1::text)", password
    )  # no parameters in utility statements
    await link.execute(
        f"{'ALTER' if known else 'CREATE'} ROLE {_name(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE"
        f" NOREPLICATION NOBYPASSRLS PASSWORD {literal}"
    )


def _name(identifier: str | None) -> str:
    return '"' + (identifier or "").replace('"', '""') + '"'
