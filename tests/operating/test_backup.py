"""The runbook of docs/operations.md, "Backup and restore", run as it stands: a base backup and the WAL beside traffic,
PostgreSQL killed without mercy, the latest state and a named instant restored from the backup alone.

PROOF_SIZE makes the books larger, by 2,000 entries for each: 500 is a million.
"""

import asyncio
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from loyalty.base.settings import load_settings
from loyalty.cli.frame import Exit
from loyalty.embedded import Servers, destroy, ensure, status
from loyalty.jobs.road import send
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.operating.desk import open_desk
from loyalty.posting.commands import Command, Enrol, MemberRef, PurchaseLine, RecordPurchase
from tests.kills.api import SECRET, Api
from tests.kills.cluster import demand_durability
from tests.kills.test_kills import MEMBERS, Crowd, nothing_lost
from tests.races.house import House, environ, open_program
from tests.words import proof_seed, proof_size

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text("utf-8")
ENTRIES = 2_000 * proof_size()
LARGE = 20_000  # from here on `loyalty verify` alone looks at all of it
CLIENTS = 3

TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
AND NOT relispartition ORDER BY relname
"""


def blocks() -> dict[str, list[str]]:
    """The shell blocks of the runbook, by the heading under which they stand."""
    chapter = GUIDE.partition("\n## Backup and restore\n")[2].partition("\n## ")[0]
    parts = re.split(r"^### (.*)$", chapter, flags=re.MULTILINE)
    found = {
        head: re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        for head, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    assert sum(map(len, found.values())) == chapter.count("```sh")
    return found


RUNBOOK = blocks()
PUT_BACK, TO_INSTANT, START = RUNBOOK["Put it back"]


@pytest.mark.parametrize(
    ("name", "block"),
    [
        (name, b)
        for some in RUNBOOK.values()
        for b in some
        for name in ("BACKUP", "INSTANT", "PGDATA")
        if f"${name}" in b
    ],
)
def test_a_block_that_lacks_what_it_needs_does_nothing(name: str, block: str, tmp_path: Path) -> None:
    """Typed without `set -u`, by somebody who has forgotten to say where or when."""
    given = {
        "BACKUP": str(tmp_path / "b"),
        "INSTANT": "2026-05-04 12:00:00+00",
        "PGDATA": str(tmp_path / "p"),
    }
    del given[name]
    (tmp_path / "loyalty").write_text("#!/bin/sh\n")  # the only command there is: no other is come to
    (tmp_path / "loyalty").chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", "-c", block],
        cwd=tmp_path,
        env=given | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert done.returncode != 0
    assert f"{name}: parameter null or not set" in done.stderr
    assert "command not found" not in done.stderr


@dataclass
class Operator:
    """Somebody at a terminal, with the runbook open."""

    home: Path
    place: Path  # of the backups
    environ: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOYALTY_", "PG"))}
        here = f"{Path(sys.executable).parent}:{kept['PATH']}"
        self.environ |= kept | {
            "PATH": here,
            "LOYALTY_HOME": str(self.home),
            "LOYALTY_SECRET_KEY": SECRET,
            "BACKUP": str(self.place / "first"),
        }

    @property
    def backup(self) -> Path:
        return Path(self.environ["BACKUP"])

    def type(self, script: str, ends: Exit = Exit.OK) -> str:
        """What a shell writes to stdout that stops at the first thing that fails."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], env=self.environ, capture_output=True, text=True
        )
        assert done.returncode == ends, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def follow(self, head: str) -> None:
        for block in RUNBOOK[head]:
            self.type(block)

    def lose(self) -> None:
        """SIGKILL of PostgreSQL."""
        pid = status(self.home)["postgres"]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def hang_up(self) -> None:
        """End the receivers of all backups."""
        for noted in self.place.glob("*/wal.pid"):
            try:
                os.kill(int(noted.read_text()), signal.SIGTERM)
            except ProcessLookupError:
                continue


@pytest.fixture
def operator() -> Iterator[Operator]:
    home, place = (Path(tempfile.mkdtemp(prefix=f"loyalty-{name}-")) for name in ("lost", "backup"))
    home.chmod(0o711)
    operator = Operator(home, place)
    try:
        operator.type("loyalty servers start\nloyalty migrate")
        yield operator
    finally:
        operator.hang_up()
        destroy(home)
        for directory in (home, place):
            shutil.rmtree(directory, ignore_errors=True)


async def fill(servers: Servers, program: UUID, name: str, entries: int) -> None:
    """Purchases of members of their own, a hundred each."""
    async with open_desk(load_settings(environ(servers.database_url, servers.redis_url))) as desk:
        who = [Identifier(IdentifierKind.EXTERNAL, f"{name}-{n}") for n in range(max(1, entries // 100))]
        at = datetime.now(UTC) - timedelta(minutes=5)
        line = PurchaseLine("1", "A", 1_000, 4_200)
        for first in range(0, entries, 10_000):
            enrolled: dict[str, Command] = {one.value: Enrol((one,)) for one in who} if first == 0 else {}
            bought: dict[str, Command] = {
                f"{name} {n}": RecordPurchase(
                    name,
                    str(n),
                    at,
                    "EUR",
                    (line,),
                    MemberRef(identifier=who[n % len(who)]),
                    content_digests=desk.runtime.digests.of(f"{name} {n}".encode()),
                )
                for n in range(first, min(first + 10_000, entries))
            }
            for commands in (enrolled, bought):
                assert await send(desk.runtime, program, commands, ()) == (len(commands), [])


async def seen(url: str) -> dict[str, tuple[int, object]]:
    """How many rows each table has, and a sum over all that they say."""
    link = await asyncpg.connect(url)
    try:
        found: dict[str, tuple[int, object]] = {}
        for (table,) in await link.fetch(TABLES):
            row = await link.fetchrow(
                f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} t"
            )
            assert row is not None
            found[table] = (row[0], row[1])
        return found
    finally:
        await link.close()


async def ask(url: str, question: str) -> str:
    link = await asyncpg.connect(url)
    try:
        return str(await link.fetchval(question))
    finally:
        await link.close()


@pytest.mark.proof
async def test_the_runbook_gives_everything_back_and_any_instant(operator: Operator) -> None:
    servers = ensure(operator.home)
    print(f"\n{await demand_durability(servers.superuser_url)}")
    seed = proof_seed()
    print(f"seed {seed}")
    program, key = await open_program(servers.database_url, servers.redis_url)
    api = Api(environ(servers.database_url, servers.redis_url))
    house = House(servers.database_url, servers.superuser_url, program, key, [api])
    await fill(servers, program, "old", ENTRIES // 2)
    await api.start()
    gone = await house.member(7)
    crowd = Crowd(house, [await house.member(50) for _ in range(MEMBERS)], random.Random(seed))
    clients: list[asyncio.Task[None]] = []

    def open_shop() -> None:
        crowd.closing = False
        clients.extend(asyncio.create_task(crowd.client(api.port)) for _ in range(CLIENTS))

    async def close_shop() -> None:
        crowd.closing = True
        await asyncio.wait_for(asyncio.gather(*clients), 60)
        clients.clear()

    async def restored(*blocks: str) -> float:
        began = time.monotonic()
        for block in blocks:
            await asyncio.to_thread(operator.type, block)
        return time.monotonic() - began

    try:
        open_shop()
        await asyncio.sleep(0.5)
        for head in ("Keep the WAL", "Make a base backup"):
            await asyncio.to_thread(operator.follow, head)
        await asyncio.sleep(0.5)
        await close_shop()
        await fill(servers, program, "new", ENTRIES - ENTRIES // 2)

        # The instant: what is there now, and what the books say of it.
        operator.environ["INSTANT"] = await ask(servers.superuser_url, "SELECT clock_timestamp()")
        then = await seen(servers.superuser_url)
        operator.type('loyalty checkpoint --out "$BACKUP/then.jsonl"')

        open_shop()
        await asyncio.sleep(1)
        erased = await house.ask(f"/v1/members/{gone}/erase", {})
        assert erased.status == 200, erased
        await asyncio.to_thread(operator.follow, "Back to an instant")
        await asyncio.to_thread(operator.type, 'loyalty checkpoint --out "$BACKUP/later.jsonl"')
        in_flight = crowd.in_flight
        operator.lose()
        answered = sum(call.reply is not None for call in crowd.calls)
        await house.hang_up()
        await api.stop()

        to_latest = await restored(PUT_BACK, START)
        await asyncio.to_thread(operator.follow, "Prove it")
        proved = operator.type('loyalty verify --checkpoint "$BACKUP/later.jsonl"').splitlines()[-1]
        await api.start()
        await close_shop()
        await nothing_lost(crowd)
        if ENTRIES < LARGE:
            await house.whole()
        await house.hang_up()
        await api.stop()
        operator.lose()

        to_instant = await restored(PUT_BACK, TO_INSTANT, START)
        assert await seen(servers.superuser_url) == then
        await asyncio.to_thread(operator.follow, "Prove it")
        operator.type('loyalty checkpoint | cmp - "$BACKUP/then.jsonl"')
        told = operator.type('loyalty verify --checkpoint "$BACKUP/later.jsonl"', Exit.DIFFERENCES)
        *named, _ = told.splitlines()
        assert named and all("is gone; the checkpoint noted it" in line for line in named), told

        await api.start()
        (again,) = (line.split("|") for line in (operator.backup / "erased.txt").read_text().splitlines())
        assert again == [str(program), gone]
        assert (await house.ask(f"/v1/members/{gone}/erase", {})).status == 200, (
            "there again, and erased again"
        )
        operator.environ["BACKUP"] = str(operator.place / "second")
        for head in ("Keep the WAL", "Make a base backup"):
            await asyncio.to_thread(operator.follow, head)
        await house.member(1)
    finally:
        for client in clients:
            client.cancel()
        await house.hang_up()
        if api.running:
            await api.stop()
    print(
        f"{answered} commands answered before the loss, {in_flight} in flight at it; the latest state was back in"
        f" {to_latest:.1f} s, the instant in {to_instant:.1f} s\n{proved}"
    )
    assert in_flight, "void: nothing was under way at the loss"
