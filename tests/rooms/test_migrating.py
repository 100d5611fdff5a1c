"""Migrations on a database that is in use: what each locks, who waits for it and how long, and what a kill leaves."""

import asyncio
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event

from loyalty.base import migrations
from loyalty.base.database import make_engine
from loyalty.cli.frame import Exit
from loyalty.cli.main import run
from loyalty.embedded import Postgres, Servers
from loyalty.ledger.verify import verify
from tests.conftest import HOME, Database, fresh_database
from tests.kills.api import SECRET
from tests.laws.shop import serving
from tests.posting.live import superuser
from tests.rooms.traffic import a_month
from tests.words import proof_seed, proof_size

GUARDED = "0006"  # from here on there are tables in use
BEFORE_LAST = "0022"  # what comes next takes accounts first and lots then
ROWS = 20_000 * proof_size()
CLIENTS = 8

TABLES = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
AND NOT relispartition AND relname <> 'alembic_version' ORDER BY relname
"""
# Tables that somebody waits for: all modes that a reader or a writer of rows stands in the way of.
LOCKED = """
SELECT DISTINCT coalesce(i.inhparent, c.oid)::regclass::text FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
WHERE l.pid = pg_backend_pid() AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
WAITING = """
SELECT count(*) FROM pg_stat_activity a WHERE datname = current_database() AND EXISTS (
    SELECT FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted AND
    CASE WHEN $1 = '' THEN l.locktype = 'advisory' ELSE l.relation = to_regclass($1) END)
"""


def revisions() -> dict[str, str]:
    """Every revision with what its header says of locks, in order."""
    script = ScriptDirectory.from_config(migrations.configuration())
    found: dict[str, str] = {}
    for revision in reversed(list(script.walk_revisions())):
        _, told, locks = (revision.module.__doc__ or "").partition("Locks: ")
        assert told, f"{revision.revision} does not say what it locks"
        found[revision.revision] = locks.partition("\n\n")[0]
    return found


def named(locks: str, there: set[str]) -> set[str]:
    """The tables that a header says are locked, among those that were there before."""
    return there & set(re.findall(r"\w+", locks))


# --- what is locked -----------------------------------------------------------------------------------------------


async def test_every_header_names_the_tables_that_somebody_may_wait_for(servers: Servers) -> None:
    """`loyalty migrate --plan` prints the headers: an operator decides by them when to migrate."""

    def climb(connection: Connection) -> dict[str, tuple[set[str], set[str]]]:
        seen: dict[str, tuple[set[str], set[str]]] = {}
        locked: set[str] = set()

        def before_commit(ending: Connection) -> None:
            locked.update(ending.exec_driver_sql(LOCKED).scalars())

        event.listen(connection, "commit", before_commit)
        for revision, locks in revisions().items():
            there = set(connection.exec_driver_sql(TABLES).scalars())
            connection.rollback()
            locked.clear()
            command.upgrade(migrations.configuration(connection), revision)
            taken = locked & there
            seen[revision] = (taken if locks.startswith("each table") else named(locks, there), taken)
        return seen

    with fresh_database() as database:
        migrations.downgrade(database.owner_url, "base")
        engine = make_engine(database.owner_url, 1)
        try:
            async with engine.connect() as connection:
                seen = await connection.run_sync(climb)
        finally:
            await engine.dispose()
    assert {revision: told for revision, (told, _) in seen.items()} == {
        revision: taken for revision, (_, taken) in seen.items()
    }
    assert len([revision for revision, (_, taken) in seen.items() if taken]) > 5


@pytest.fixture
def told_where(database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`loyalty migrate` in this process finds the module's database."""
    for name, value in environ(database, redis_url, tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("told_where")
async def test_the_plan_tells_what_would_run_and_what_it_locks(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    migrations.downgrade(database.owner_url, BEFORE_LAST)
    for line, printed in (
        (["migrate", "--plan"], revisions()[migrations.head()]),
        (["migrate"], f"{migrations.head()}\n"),
        (["migrate", "--plan"], ""),
    ):
        assert await asyncio.to_thread(run, line) == Exit.OK
        told = capsys.readouterr()
        assert " ".join(printed.split()) in told.out and bool(printed) == bool(told.out)


@pytest.mark.usefixtures("told_where")
async def test_an_older_revision_is_refused_because_the_schema_only_goes_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await asyncio.to_thread(run, ["migrate", "--to", BEFORE_LAST]) == Exit.REFUSED
    told = capsys.readouterr()
    assert told.out == ""
    assert f"The schema is at {migrations.head()} and only goes up" in told.err
    assert await asyncio.to_thread(run, ["migrate", "--to", migrations.head()]) == Exit.OK


@pytest.mark.usefixtures("told_where")
@pytest.mark.parametrize("line", ["program create examples/programs/cafe.toml", "verify", "serve", "worker"])
@pytest.mark.parametrize(
    ("there", "way"),
    [(BEFORE_LAST, "run `loyalty migrate`"), ("9999", "use the release whose `loyalty migrate` made it")],
    ids=["older", "newer"],
)
def test_nothing_works_on_the_schema_of_another_release(
    database: Database, capsys: pytest.CaptureFixture[str], line: str, there: str, way: str
) -> None:
    async def at(revision: str) -> int:
        async with superuser(database) as link:
            await link.execute("UPDATE alembic_version SET version_num = $1", revision)
            return await link.fetchval("SELECT count(*) FROM programs")

    programs = asyncio.run(at(there))
    try:
        assert run(line.split()) == Exit.FAILED
    finally:
        assert asyncio.run(at(migrations.head())) == programs
    told = capsys.readouterr().err
    assert told.endswith(f"has the schema {there}, and this release {migrations.head()}: {way}\n"), told


# --- killed, and two at once --------------------------------------------------------------------------------------


def environ(database: Database, redis_url: str, home: Path) -> dict[str, str]:
    """What `loyalty migrate` must be told."""
    return {
        "LOYALTY_HOME": str(home),
        "LOYALTY_DATABASE_URL": database.app_url,
        "LOYALTY_OWNER_DATABASE_URL": database.owner_url,
        "LOYALTY_REDIS_URL": redis_url,
        "LOYALTY_SECRET_KEY": SECRET,
    }


class Migrator:
    """`loyalty migrate` in a process of its own."""

    def __init__(self, database: Database, redis_url: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("loyalty"), "migrate"],
            env=kept | environ(database, redis_url, Path(os.environ[HOME])),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill(self) -> None:
        """SIGKILL, in the middle of what it does."""
        assert self.process.poll() is None, self.process.communicate()
        self.process.kill()
        self.process.communicate()

    async def ended(self) -> str:
        """What it printed, once it has ended well."""
        told, said = await asyncio.to_thread(self.process.communicate, None, 120)
        assert self.process.returncode == 0, said
        return told


@pytest.fixture
async def link(database: Database) -> AsyncIterator[Any]:
    link = await asyncpg.connect(database.superuser_url)
    yield link
    await link.close()


@asynccontextmanager
async def held(database: Database, table: str, mode: str = "ROW EXCLUSIVE") -> AsyncIterator[None]:
    """Somebody has a transaction open that uses a table."""
    somebody = await asyncpg.connect(database.superuser_url)
    try:
        async with somebody.transaction():
            await somebody.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield
    finally:
        await somebody.close()


async def waited_for(link: Any, what: str, migrator: Migrator) -> None:
    """Until somebody waits for a table; '': for another migrator."""
    until = time.monotonic() + 60
    while not await link.fetchval(WAITING, what):
        assert migrator.process.poll() is None, migrator.process.communicate()
        assert time.monotonic() < until, f"nobody waits for {what or 'the other'}"
        await asyncio.sleep(0.01)


async def columns(link: Any, table: str) -> set[str]:
    rows = await link.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = $1", table)
    return {row[0] for row in rows}


async def test_a_migration_that_is_killed_half_way_leaves_nothing_and_is_run_again(
    database: Database, redis_url: str, link: Any
) -> None:
    async with serving(database) as runtime:
        traffic = await a_month(runtime)
    migrations.downgrade(database.owner_url, BEFORE_LAST)
    async with held(database, "lots"):
        migrator = Migrator(database, redis_url)
        await waited_for(link, "lots", migrator)  # accounts has its new columns by now
        migrator.kill()
    assert migrations.current(database.owner_url) == BEFORE_LAST
    assert "slides" not in await columns(link, "accounts")
    assert await Migrator(database, redis_url).ended() == f"{migrations.head()}\n"
    async with serving(database) as runtime:
        assert (await verify(runtime.pool.acquire, traffic.program)).findings == ()


async def test_of_two_migrators_one_waits_for_the_other(
    database: Database, redis_url: str, link: Any
) -> None:
    migrations.downgrade(database.owner_url, BEFORE_LAST)
    async with held(database, "lots"):
        first = Migrator(database, redis_url)
        await waited_for(link, "lots", first)
        second = Migrator(database, redis_url)
        await waited_for(link, "", second)
    assert await first.ended() == await second.ended() == f"{migrations.head()}\n"


async def test_who_comes_behind_a_migration_that_waits_is_soon_let_pass(
    database: Database, link: Any
) -> None:
    """A reader of hours, a dump perhaps, stops the migration but not the tills."""
    migrations.downgrade(database.owner_url, BEFORE_LAST)
    async with held(database, "lots", "ACCESS SHARE"):
        climbing = asyncio.create_task(asyncio.to_thread(migrations.upgrade, database.owner_url))
        for _ in range(3):
            async with asyncio.timeout(60):
                while not await link.fetchval(WAITING, "lots"):
                    await asyncio.sleep(0.01)
            async with link.transaction():
                await link.execute(
                    "SET LOCAL lock_timeout = '1s'; LOCK TABLE accounts, lots IN ROW EXCLUSIVE MODE"
                )
        assert not climbing.done()
    assert await climbing == migrations.head()


# --- the long evidence --------------------------------------------------------------------------------------------


async def enlarge(link: Any) -> None:
    """Rows like those that are there, so many that an index takes its time."""
    await link.execute("SET session_replication_role = replica")
    for table, changes in {
        "accounts": "'id', gen_random_uuid(), 'owner_id', gen_random_uuid()",
        "lots": "'id', gen_random_uuid()",
        "activity_keys": "'external_id', gen_random_uuid(), 'activity_id', gen_random_uuid()",
    }.items():
        await link.execute(
            f"INSERT INTO {table} SELECT r.* FROM (SELECT * FROM {table} LIMIT 1) t, generate_series(1, {ROWS}) n,"
            f" LATERAL jsonb_populate_record(NULL::{table}, to_jsonb(t) || jsonb_build_object('n', n, {changes})) r"
        )
    await link.execute("SET session_replication_role = origin")


@pytest.fixture(scope="module")
async def large(servers: Servers) -> AsyncIterator[Database]:
    """A database with a month's books and many rows, back at the schema from before there were any others."""
    with fresh_database() as database:
        async with serving(database) as runtime:
            await a_month(runtime)
        link = await asyncpg.connect(database.superuser_url)
        await enlarge(link)
        await link.close()
        yield database


class Traffic:
    """Readers and writers of all tables, each with a patience of a second: what they wait for is what tills would."""

    def __init__(self, tables: list[str], chance: random.Random) -> None:
        self.tables = tables
        self.chance = chance
        self.closing = False
        self.longest: tuple[float, str] = (0.0, "-")
        self.refused: list[str] = []
        self.visits = 0

    async def client(self, url: str, mode: str) -> None:
        link = await asyncpg.connect(url)
        try:
            while not self.closing:
                wanted = sorted(self.chance.sample(self.tables, 3))
                began, table = time.monotonic(), ""
                try:
                    async with link.transaction():
                        await link.execute("SET LOCAL lock_timeout = '1s'")
                        for table in wanted:
                            began = time.monotonic()
                            await link.execute(f"LOCK TABLE {table} IN {mode} MODE")
                            self.longest = max(self.longest, (time.monotonic() - began, table))
                except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                    self.refused.append(f"{table}: {type(error).__name__}")
                    self.longest = max(self.longest, (time.monotonic() - began, table))
                self.visits += 1
                await asyncio.sleep(0.002)
        finally:
            await link.close()

    async def long_reader(self, url: str) -> None:
        """Verification, a report or a dump: it reads all tables for a while, and now and then nothing."""
        link = await asyncpg.connect(url)
        try:
            while not self.closing:
                async with link.transaction():
                    await link.execute(f"LOCK TABLE {', '.join(self.tables)} IN ACCESS SHARE MODE")
                    await asyncio.sleep(1.2)
                await asyncio.sleep(0.4)
        finally:
            await link.close()


@pytest.mark.proof
async def test_nobody_waits_longer_than_a_second_for_a_migration_whose_header_does_not_say_so(
    large: Database,
) -> None:
    seed = proof_seed()
    print(f"\nseed {seed}, {ROWS:,} rows more in accounts, lots and activity_keys")
    migrations.downgrade(large.owner_url, GUARDED)
    link = await asyncpg.connect(large.superuser_url)
    refused: dict[str, list[str]] = {}
    for revision, locks in revisions().items():
        if revision <= GUARDED:
            continue
        tables = [row[0] for row in await link.fetch(TABLES)]
        traffic = Traffic(tables, random.Random(f"{seed} {revision}"))
        modes = ("ROW EXCLUSIVE", "ACCESS SHARE")
        clients = [
            asyncio.create_task(traffic.client(large.superuser_url, modes[n % 2])) for n in range(CLIENTS)
        ]
        if named(locks, set(tables)):
            clients.append(asyncio.create_task(traffic.long_reader(large.superuser_url)))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        assert await asyncio.to_thread(migrations.upgrade, large.owner_url, revision) == revision
        took = time.monotonic() - began
        traffic.closing = True
        await asyncio.gather(*clients)
        waited, table = traffic.longest
        print(
            f"{revision}: {took:.1f} s; of {traffic.visits} visits the longest waited {waited * 1000:.0f} ms"
            f" for {table}; {len(traffic.refused)} in vain"
        )
        if traffic.refused and "while" not in locks:
            refused[revision] = traffic.refused
    await link.close()
    assert refused == {}


@pytest.mark.proof
async def test_killed_amid_each_migration_that_locks_the_way_up_ends_at_the_same_schema(
    large: Database, redis_url: str
) -> None:
    chance = random.Random(os.environ.get("PROOF_SEED"))
    migrations.upgrade(large.owner_url)
    counted = (
        "SELECT (SELECT count(*) FROM lots), (SELECT count(*) FROM entries), (SELECT count(*) FROM decisions)"
    )
    link = await asyncpg.connect(large.superuser_url)
    rows = await link.fetchrow(counted)
    migrations.downgrade(large.owner_url, GUARDED)
    before, kills = GUARDED, 0
    for revision, locks in revisions().items():
        if revision <= GUARDED:
            continue
        there = {row[0] for row in await link.fetch(TABLES)}
        if tables := named(locks, there):
            table = chance.choice(sorted(tables))
            async with held(large, table):
                migrator = Migrator(large, redis_url)
                await waited_for(link, table, migrator)
                migrator.kill()
            kills += 1
            assert migrations.current(large.owner_url) == before
        before = migrations.upgrade(large.owner_url, revision)
    assert await link.fetchrow(counted) == rows
    await link.close()
    with fresh_database() as fresh:
        assert schema(large) == schema(fresh)
    print(f"\n{kills} migrators killed amid as many migrations")
    assert kills > 5


def schema(database: Database) -> list[str]:
    """The schema as pg_dump writes it."""
    dump = Postgres(Path(os.environ[HOME]), durable=False).bin / "pg_dump"
    done = subprocess.run(
        [dump, "--schema-only", database.superuser_url], capture_output=True, text=True, check=True
    )
    return [line for line in done.stdout.splitlines() if not line.startswith(("--", "\\"))]
