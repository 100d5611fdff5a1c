"""What becomes of purchases when a program has grown, and how long its books take to be verified.

A million members with five purchases each, against programs of ten thousand who have bought nothing yet, in turns on
the same cluster; then `loyalty verify` on all that is there, against a scan of the same rows that hashes each of them.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec

from bench.cluster import checkpoint, memory_kb
from bench.contest import Contest
from bench.crowd import grow
from bench.http import CONNECTIONS, Http, Server, Site
from bench.pipe import SUBMITTERS, Pipe
from bench.rows import BooksBroken, check, check_books
from bench.sample import Sample, Stretch
from bench.world import GROWN_PROGRAM, LEAST_KEPT, MEMBERS, occurred_at
from loyalty.ledger.verify import Report

FEW = 128  # members of whom the others are copies
BOUGHT = 5  # purchases of each member of the grown program
# What verification hashes, as one statement a table; `record_send` gives every column of a row.
SCANNED = ("decisions", "entries", "postings", "lots")
SCAN = "SELECT count(sha256(record_send(t))) FROM {table} t WHERE program_id = $1"
SIZES = """
SELECT sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint
FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""


@dataclass(frozen=True)
class Size:
    """How many members the grown program has, how many the others, and how long they buy."""

    members: int
    few: int
    others: int
    turns: int
    stretch: Stretch
    before: int  # seconds that the grown program is bought in before the turns
    connections: int = CONNECTIONS
    submitters: int = SUBMITTERS


def sized(members: int) -> Size:
    """Long turns where the figures are kept, short ones for a try, and none to speak of for a test."""
    if members >= LEAST_KEPT:
        return Size(members, FEW, MEMBERS, 5, Stretch(1.0, 12), 120)
    if members >= 1_000:
        return Size(members, FEW, MEMBERS, 3, Stretch(1.0, 4), 8)
    return Size(members, 8, 20, 1, Stretch(0.1, 1), 1, connections=4, submitters=4)


@dataclass
class Growth(Contest):
    """The grown program and its small rivals on one cluster."""

    size: Size

    def run(self) -> None:
        self._prepare()
        self.row_purchases()
        self.row_verify()
        self.check()

    def _prepare(self) -> None:
        size, at = self.size, occurred_at(datetime.now(UTC))
        url = self.cluster.servers.superuser_url
        self.say(f"{size.members:,} members, each with {BOUGHT} purchases …")
        self.grown = Pipe(self.cluster, at, size.few, program_id=GROWN_PROGRAM, before=BOUGHT)
        self.grown.prepare()
        began = time.perf_counter()
        members = asyncio.run(grow(url, GROWN_PROGRAM, size.few, size.members))
        self.grown.members = members
        self.grown.recorded = members * BOUGHT
        table_bytes, index_bytes = asyncio.run(_row(url, SIZES))
        self.figures.values |= {
            "growth_members": members,
            "growth_entries": members * BOUGHT,
            "growth_tables_gb": table_bytes / 1e9,
            "growth_indexes_gb": index_bytes / 1e9,
        }
        self.say(
            f"  {members:,} members in {time.perf_counter() - began:,.0f} s: tables of {table_bytes / 1e9:.2f} GB, "
            f"indexes of {index_bytes / 1e9:.2f} GB"
        )
        # One for each turn, so that nobody has bought before in any of them.
        self.small = [
            Pipe(self.cluster, at, size.others, program_id=UUID(int=GROWN_PROGRAM.int + 1 + turn), before=0)
            for turn in range(size.turns)
        ]
        for pipe in self.small:
            pipe.prepare()

    def row_purchases(self) -> None:
        """The road, without HTTP and with it, over all members of the one and of the others.

        What was just written is neither in memory nor in the log since a checkpoint: that state is measured by itself.
        """
        size, run = self.size, (self.size.submitters, self.size.stretch)
        cold = partial(self.grown.run, size.submitters, Stretch(0, size.stretch.seconds))
        self._in_turns({"growth_cold_pipe": cold}, 1)
        self.grown.run(size.submitters, Stretch(0, size.before))
        with ExitStack() as stack:
            server = stack.enter_context(Site.opened(self.cluster, GROWN_PROGRAM).served(2))
            small, small_served = (
                iter(self.small),
                iter([(pipe, self._of(server, pipe)) for pipe in self.small]),
            )
            self._in_turns(
                {
                    "growth_pipe": partial(self.grown.run, *run),
                    "growth_small_pipe": lambda: next(small).run(*run),
                    "growth_http": partial(self._served, self.grown, server),
                    "growth_small_http": lambda: self._served(*next(small_served)),
                },
                size.turns,
            )
        self._ratio("growth_over_small", "growth_pipe_per_s", "growth_small_pipe_per_s")
        self._ratio("growth_http_over_small", "growth_http_per_s", "growth_small_http_per_s")

    def _of(self, server: Server, pipe: Pipe) -> Server:
        """The same server, called by a till of this program."""
        return replace(server, authorization=Site.opened(self.cluster, pipe.program_id).authorization)

    def _served(self, pipe: Pipe, server: Server) -> Sample:
        http = Http(self.cluster, pipe.at, pipe.members)
        sample = http.purchases(server, self.size.connections, self.size.stretch)
        pipe.recorded += http.recorded
        return sample

    def row_verify(self) -> None:
        """`loyalty verify` of the grown program, as a process of its own, between two scans of what it hashes."""
        url, found = self.cluster.servers.superuser_url, self.figures.values
        asyncio.run(checkpoint(url))
        scans = [asyncio.run(_scanned(url, GROWN_PROGRAM))]
        postgres = self.cluster.cpu_us()
        report, python_us, peak_kb = self._verified()
        postgres = self.cluster.cpu_us() - postgres
        scans.append(asyncio.run(_scanned(url, GROWN_PROGRAM)))
        entries = report.figures.entries
        found |= {
            "verify_entries": entries,
            "verify_entries_per_s": entries / report.seconds,
            "verify_s_per_million": report.seconds / entries * 1e6,
            "verify_python_us": python_us / entries,
            "verify_postgres_us": postgres / entries,
            "verify_mb": peak_kb / 1024,
            "scan_entries_per_s": entries / (sum(scans) / len(scans)),
        }
        for name in ("verify_entries_per_s", "verify_s_per_million", "scan_entries_per_s"):
            self._tell(name)
        self._ratio("verify_over_scan", "verify_entries_per_s", "scan_entries_per_s")

    def _verified(self) -> tuple[Report, float, int]:
        """What it says, its processor time in microseconds, and the most kilobytes that it had. Raises: BooksBroken."""
        command = [str(Path(sys.executable).with_name("loyalty")), "verify", "--json", "--program"]
        environ = Site.opened(self.cluster, GROWN_PROGRAM).environ()
        with (
            tempfile.TemporaryFile() as told,
            subprocess.Popen([*command, str(GROWN_PROGRAM)], env=environ, stdout=told) as process,
        ):
            peak_kb, (pid, status, used) = 0, os.wait4(process.pid, os.WNOHANG)
            while not pid:
                peak_kb = max(peak_kb, memory_kb(process.pid))
                time.sleep(0.1)
                pid, status, used = os.wait4(process.pid, os.WNOHANG)
            process.returncode = os.waitstatus_to_exitcode(status)
            told.seek(0)
            said = told.read()
        if process.returncode:
            raise BooksBroken(said.decode()[:2000])
        (report,) = msgspec.json.decode(said, type=tuple[Report])
        return report, (used.ru_utime + used.ru_stime) * 1e6, peak_kb

    def check(self) -> None:
        """Raises: RowsMissing, BooksBroken unless every purchase left its rows, and all books are whole."""
        servers = self.cluster.servers
        for pipe in (self.grown, *self.small):
            check(servers.superuser_url, pipe.program_id, pipe.recorded)
        for pipe in self.small:
            check_books(servers.database_url, pipe.program_id)


async def _row(url: str, query: str) -> tuple[int, ...]:
    link = await asyncpg.connect(url)
    try:
        row = await link.fetchrow(query)
        assert row is not None
        return tuple(row)
    finally:
        await link.close()


async def _scanned(url: str, program_id: UUID) -> float:
    """Seconds of reading and hashing every row that verification hashes."""
    link = await asyncpg.connect(url)
    try:
        began = time.perf_counter()
        for table in SCANNED:
            await link.fetchval(SCAN.format(table=table), program_id)
        return time.perf_counter() - began
    finally:
        await link.close()
