"""What happens by itself, to many at once: points become available, tiers are reviewed, points expire.

A sandbox program with one lot and one standing for each member; its clock is moved on, and the worker's own sweep
writes what has fallen due, in processes of its own. The limit is what PostgreSQL takes to COPY the very rows that were
written (decisions, entries, postings, events, steps, blocks) into the same tables, and to UPDATE as many balances.
"""

import asyncio
import contextlib
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from bench.cluster import Cluster, checkpoint
from bench.pipe import OPERATOR, Pipe, Purchases, done, on_loop, recorded
from bench.rows import RowsMissing
from bench.sample import Sample, sampled
from bench.sweep import Plan, Report
from bench.world import BUYING_PROGRAM, LEAST_KEPT, SWEPT_COPY_PROGRAM, SWEPT_PROGRAM, card, file
from loyalty.posting.commands import Publish
from loyalty.posting.configuration import Configuration
from loyalty.programs.service import create_program
from loyalty.programs.types import ProgramKind

# The program's clock, and what is due when. All lots become available, and expire, at one instant.
BEGINS = datetime(2024, 12, 20, 12, tzinfo=UTC)
BOUGHT = datetime(
    2024, 12, 18, 16, 31, 9, tzinfo=UTC
)  # a Wednesday evening in the program's zone, as bench/world.py
ACTIVATES, LOOKED_AT, YEAR_ENDS, EXPIRES = (
    BEGINS + timedelta(days=1),
    BEGINS + timedelta(days=2),
    datetime(2024, 12, 31, 23, tzinfo=UTC),
    datetime(2025, 1, 2, tzinfo=UTC),
)
POINTS = 100  # of each lot
LADDER: dict[str, Any] = {
    "id": "status",
    "name": "Status",
    "metric": {"kind": "spend"},
    "period": {"kind": "calendar", "unit": "year", "lasts": 1},
    "tiers": [
        {"id": "base", "name": "Base", "threshold": 0},
        {"id": "silver", "name": "Silver", "threshold": 100_000},
    ],
}
BUYERS = 10_000  # members with a card
ROWS_OF = ("decisions", "entries", "postings", "engagement_events", "tier_moves", "blocks")
# The bare UPDATE of balances: of whom, and what of accounts and of lots.
MATURING = (
    "pending > 0",
    f"available = pending, pending = 0, next_due_at = '{EXPIRES.isoformat()}'",
    "available = pending, pending = 0",
)
EXPIRING = (
    "available > 0",
    "available = 0, next_due_at = NULL",
    "expired = available, available = 0, is_open = false",
)
BUYERS_MAX = 500_000  # members beside whose purchases lots expire: more than expire meanwhile
READY_S = 60
FIRST_S = 1.0  # a sweep goes on for so long before purchases beside it count


class SweepBroken(Exception):
    """A sweep did not end well, or left other rows than it should."""


@dataclass(frozen=True)
class Size:
    """How many lots expire; a quarter of them becomes available before, and so many members are reviewed."""

    lots: int
    purchases_per_s: int
    seconds: int  # of purchases, without a sweep and beside one
    turns: int  # of these

    @property
    def fewer(self) -> int:
        return (self.lots + 3) // 4


def sized(lots: int) -> Size:
    """Turns of purchases long enough to have a 99th percentile, and short enough that the sweep outlasts them."""
    return Size(lots, 200, 15, 5) if lots >= LEAST_KEPT else Size(lots, 20, 1, 1)


@dataclass
class Sweeps:
    """The rows on one cluster, one after the other; figures by flat names."""

    cluster: Cluster
    size: Size
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    profiled: bool = False
    figures: dict[str, float] = field(default_factory=dict[str, float])

    def run(self) -> None:
        size = self.size
        self.say(f"{size.lots:,} members with a lot and a standing, twice …")
        on_loop(self._prepare())
        copied = self._swept("activate", ACTIVATES, size.fewer, processes=2)
        self._told("activate", copied + self._updated(*MATURING))
        self._swept("review_none", LOOKED_AT, size.fewer)
        copied = self._swept("review_all", YEAR_ENDS, size.fewer)
        # Where nobody moves the limit is what would have been written had everybody moved.
        self._told("review_none", copied)
        self._told("review_all", copied)
        copied = self._swept("expire", EXPIRES, size.lots)
        self._told("expire", copied + self._updated(*EXPIRING))
        self.check()
        self._purchases()

    # --- sweeps ----------------------------------------------------------------------------------------------

    def _swept(self, name: str, at: datetime, wanted: int, processes: int = 1) -> float:
        """Move the clock, sweep, and copy the rows that it wrote; the seconds of the copy."""
        first = self._value(
            "SELECT last_id FROM blocks WHERE program_id = $1 ORDER BY number DESC LIMIT 1", SWEPT_PROGRAM
        )
        self._set_clock(SWEPT_PROGRAM, at)
        postgres = self.cluster.cpu_us()
        with contextlib.ExitStack() as stack:
            sweepers = [stack.enter_context(self._sweeper()) for _ in range(processes)]
            for one in sweepers:
                one.begin()
            reports = [one.report() for one in sweepers]
        postgres = self.cluster.cpu_us() - postgres
        settled = sum(report.settled for report in reports)
        if settled != wanted:
            raise SweepBroken(f"{name}: {settled} members were settled, not {wanted}")
        seconds = max(report.ended for report in reports) - min(report.began for report in reports)
        busiest = max(reports, key=lambda report: report.settled)
        self.figures |= {
            f"{name}_members": settled,
            f"{name}_per_s": settled / seconds,
            f"{name}_python_us": sum(report.cpu_s for report in reports) * 1e6 / settled,
            f"{name}_postgres_us": postgres / settled,
            f"{name}_batch_p50_ms": busiest.batch_p50_ms,
            f"{name}_batch_p99_ms": busiest.batch_p99_ms,
            **{f"{name}_rss_mb_{share}": mb for share, mb in zip((10, 50, 100), busiest.rss_mb, strict=True)},
        }
        if self.profiled:
            self.say(f"{name}\n{busiest.profile}\n")
        return asyncio.run(self._copy(first))

    def _told(self, name: str, limit_s: float) -> None:
        found = self.figures
        found[f"{name}_limit_per_s"] = found[f"{name}_members"] / limit_s
        found[f"{name}_over_copy"] = found[f"{name}_per_s"] / found[f"{name}_limit_per_s"]
        self.say(
            f"{name}: {found[f'{name}_over_copy']:.2f} of the limit, {found[f'{name}_per_s']:,.0f}/s of "
            f"{found[f'{name}_limit_per_s']:,.0f}/s; µs: Python {found[f'{name}_python_us']:.0f}, PostgreSQL "
            f"{found[f'{name}_postgres_us']:.0f}; a batch {found[f'{name}_batch_p50_ms']:.1f} ms, p99 "
            f"{found[f'{name}_batch_p99_ms']:.1f} ms; MB at 10, 50, 100 %: "
            + ", ".join(f"{found[f'{name}_rss_mb_{share}']:.0f}" for share in (10, 50, 100))
        )

    @contextlib.contextmanager
    def _sweeper(self) -> Iterator["_Sweeper"]:
        servers = self.cluster.servers
        plan = Plan(str(self.cluster.home), servers.database_url, servers.redis_url, self.profiled)
        with subprocess.Popen(
            [sys.executable, "-m", "bench.sweep"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            try:
                sweeper = _Sweeper(process)
                sweeper.tell(msgspec.json.encode(plan))
                if sweeper.line() != b"ready":
                    raise SweepBroken("the sweep's process did not begin")
                yield sweeper
            finally:
                process.kill()

    # --- purchases beside a sweep ----------------------------------------------------------------------------

    def _purchases(self) -> None:
        """Purchases at a fixed rate, in turns without a sweep and beside one; each turn has lots due of its own."""
        size, quiet, beside = self.size, list[Sample](), list[Sample]()
        on_loop(self._prepare_buyers())
        for turn in range(size.turns):
            quiet.append(on_loop(self._buy()))
            self._set_clock(BUYING_PROGRAM, BEGINS + timedelta(days=turn + 1))
            with self._sweeper() as sweeper:
                sweeper.begin()
                time.sleep(FIRST_S if size.turns > 1 else 0)
                beside.append(on_loop(self._buy()))
                if size.turns > 1 and sweeper.over():
                    raise SweepBroken("the sweep was over before the purchases beside it")
                sweeper.stop()
        for name, turns in (("purchase_quiet", quiet), ("purchase_while_expiring", beside)):
            self.figures[f"{name}_p50_ms"] = statistics.median(turn.p50_us for turn in turns) / 1000
            self.figures[f"{name}_p99_ms"] = statistics.median(turn.p99_us for turn in turns) / 1000
            self.say(f"{name}: p99 in turns, ms: " + ", ".join(f"{turn.p99_us / 1000:.1f}" for turn in turns))
        found = self.figures
        found["purchase_p99_while_expiring"] = (
            found["purchase_while_expiring_p99_ms"] / found["purchase_quiet_p99_ms"]
        )
        self.say(
            f"purchase_p99_while_expiring: {found['purchase_p99_while_expiring']:.2f} of that without, "
            f"{found['purchase_while_expiring_p99_ms']:.1f} ms of {found['purchase_quiet_p99_ms']:.1f} ms "
            f"(p50 {found['purchase_while_expiring_p50_ms']:.1f} of {found['purchase_quiet_p50_ms']:.1f} ms) "
            f"at {size.purchases_per_s} purchases/s"
        )

    async def _buy(self) -> Sample:
        """One turn; a latency counts from the instant at which its purchase was to begin."""
        size = self.size
        await checkpoint(self.cluster.servers.superuser_url)
        async with Pipe(self.cluster, BOUGHT).opened() as runtime:
            make = Purchases(BOUGHT, min(BUYERS, size.lots), BUYING_PROGRAM)
            await recorded(runtime.pipe.submit, make.next())
            taken: list[float] = []
            begins = time.perf_counter()

            async def one(at: float) -> None:
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                await recorded(runtime.pipe.submit, make.next())
                taken.append((time.perf_counter() - at) * 1e6)

            count = size.purchases_per_s * size.seconds
            await asyncio.gather(*(one(begins + n / size.purchases_per_s) for n in range(count)))
        return sampled(taken, size.seconds, {})

    # --- the world -------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        await self._program(SWEPT_PROGRAM)
        activates_at = f"CASE WHEN n % 4 = 0 THEN '{ACTIVATES.isoformat()}' END"
        lots = (activates_at, f"'{EXPIRES.isoformat()}'")
        await self._execute(
            _people(SWEPT_PROGRAM, self.size.lots),
            _lots(SWEPT_PROGRAM, *lots),
            _standings(SWEPT_PROGRAM, LOOKED_AT),
            _people(SWEPT_COPY_PROGRAM, self.size.lots),
            _lots(SWEPT_COPY_PROGRAM, *lots),
            "VACUUM ANALYZE",
        )

    async def _prepare_buyers(self) -> None:
        await self._program(BUYING_PROGRAM)
        each = f"(1 + n % {self.size.turns}) * interval '1 day'"
        await self._execute(
            _people(BUYING_PROGRAM, min(self.size.lots, BUYERS_MAX)),
            _lots(BUYING_PROGRAM, "NULL", f"timestamptz '{BEGINS.isoformat()}' + {each}"),
            _standings(BUYING_PROGRAM, YEAR_ENDS),
            f"INSERT INTO identifiers SELECT '{BUYING_PROGRAM}', 'card', '{card(0)[:8]}' || lpad(n::text, 8, '0'),"
            f" id, 0 FROM people WHERE n < {BUYERS}",
            "VACUUM ANALYZE",
        )

    async def _execute(self, *statements: str) -> None:
        link = await asyncpg.connect(self.cluster.servers.superuser_url)
        try:
            for statement in statements:
                await link.execute(statement)
        finally:
            await link.close()

    async def _program(self, program_id: UUID) -> None:
        configuration = {
            "settings": file()["settings"],
            "ruleset": file()["ruleset"],
            "tier_sets": [LADDER],
        }
        async with Pipe(self.cluster, BOUGHT).opened() as runtime:
            await create_program(
                runtime.engine, program_id, ProgramKind.SANDBOX, 1, datetime.now(UTC), BEGINS
            )
            await done(
                runtime.pipe.submit,
                Publish(msgspec.convert(configuration, Configuration, strict=False)),
                OPERATOR,
                program_id,
            )

    # --- the limit -------------------------------------------------------------------------------------------

    async def _copy(self, after: UUID) -> float:
        """Seconds that the server takes to COPY all rows since the block `after` into the program of copies."""
        await checkpoint(self.cluster.servers.superuser_url)
        link = await asyncpg.connect(self.cluster.servers.superuser_url)
        seconds = 0.0
        try:
            for table in ROWS_OF:
                names = [
                    row[0]
                    for row in await link.fetch(
                        "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0"
                        " AND NOT attisdropped ORDER BY attnum",
                        table,
                    )
                ]
                path = self.cluster.postgres.data / f"bench-{secrets.token_hex(4)}"
                id = "decision_id" if table == "tier_moves" else "entry_id" if table == "postings" else "id"
                listed = ", ".join(f'"{name}"' for name in names[1:])
                await link.execute(
                    f"COPY (SELECT '{SWEPT_COPY_PROGRAM}'::uuid, {listed} FROM {table} WHERE program_id ="
                    f" '{SWEPT_PROGRAM}' AND cell = 0 AND {id} > '{after}' ORDER BY {id}) TO '{path}' (FORMAT binary)"
                )
                started = time.perf_counter()
                await link.execute(f"COPY {table} FROM '{path}' (FORMAT binary)")
                seconds += time.perf_counter() - started
                path.unlink()
        finally:
            await link.close()
        return seconds

    def _updated(self, which: str, accounts: str, lots: str) -> float:
        """Seconds of a bare UPDATE of the balances in the program of copies."""
        started = time.perf_counter()
        for change in (f"accounts SET seq = seq + 1, last_entry_id = id, {accounts}", f"lots SET {lots}"):
            self._value(f"UPDATE {change} WHERE program_id = '{SWEPT_COPY_PROGRAM}' AND {which}")
        return time.perf_counter() - started

    # --- looking ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises: RowsMissing unless every lot became available and expired once, and every tier fell once."""
        found = asyncio.run(self._counts())
        lots, fewer = self.size.lots, self.size.fewer
        wanted = {"matured": fewer, "expired": lots, "lots": lots, "fallen": fewer, "steps": fewer,
                  "decisions": lots + 3 * fewer, "events": lots + 2 * fewer, "left": 0}  # fmt: skip
        if found != wanted:
            raise RowsMissing(f"the sweeps left {found}, not {wanted}")

    async def _counts(self) -> dict[str, int]:
        link = await asyncpg.connect(self.cluster.servers.superuser_url)
        try:
            return {
                what: await link.fetchval(query, SWEPT_PROGRAM)
                for what, query in {
                    "matured": "SELECT count(*) FROM entries WHERE program_id = $1 AND kind = 'mature'",
                    "expired": "SELECT count(*) FROM entries WHERE program_id = $1 AND kind = 'expire'",
                    "lots": f"SELECT count(*) FROM lots WHERE program_id = $1 AND expired = {POINTS} AND NOT is_open",
                    "fallen": "SELECT count(*) FROM standings WHERE program_id = $1 AND earned = 'base'",
                    "steps": "SELECT count(*) FROM tier_moves WHERE program_id = $1",
                    "decisions": "SELECT count(*) FROM decisions WHERE program_id = $1 AND kind = 'settle'",
                    "events": "SELECT count(*) FROM engagement_events WHERE program_id = $1 AND member_id IS NOT NULL",
                    "left": "SELECT sum(pending + available)::bigint + count(next_due_at) FROM accounts"
                    " WHERE program_id = $1",
                }.items()
            }
        finally:
            await link.close()

    def _value(self, query: str, *given: object) -> Any:
        async def fetch() -> Any:
            link = await asyncpg.connect(self.cluster.servers.superuser_url)
            try:
                return await link.fetchval(query, *given)
            finally:
                await link.close()

        return asyncio.run(fetch())

    def _set_clock(self, program_id: UUID, at: datetime) -> None:
        self._value("UPDATE sandbox_clocks SET now_at = $2 WHERE program_id = $1", program_id, at)


class _Sweeper:
    """A sweep's process, ready to begin."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip()

    def begin(self) -> None:
        self.tell(b"begin")

    def over(self) -> bool:
        """Whether it has nothing left to do."""
        return self._process.poll() is not None

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(READY_S)

    def report(self) -> Report:
        line = self.line()
        if not line:
            raise SweepBroken("a sweep ended without a word")
        return msgspec.json.decode(line, type=Report)


def _people(program_id: UUID, count: int) -> str:
    """Members by number in a table of the session: `people` (n, id, account_id)."""
    joined = "timestamptz '2023-06-01 12:00Z'"
    return f"""
        DROP TABLE IF EXISTS people;
        CREATE TEMP TABLE people AS SELECT n, uuidv7() AS id, uuidv7() AS account_id, uuidv7() AS lot_id
            FROM generate_series(0, {count - 1}) n;
        INSERT INTO members SELECT '{program_id}', 0, id, 'active', {joined} FROM people;
    """


def _lots(program_id: UUID, activates_at: str, expires_at: str) -> str:
    """One lot each, pending while it has still to become available, and the account that it makes."""
    return f"""
        CREATE TEMP TABLE dated AS SELECT *, ({activates_at})::timestamptz AS activates_at,
            ({expires_at})::timestamptz AS expires_at
            FROM people;
        INSERT INTO accounts
            (program_id, cell, id, owner_id, points_currency, seq, pending, available, held, debt, active_at,
             next_due_at, first_entry_id, last_entry_id)
            SELECT '{program_id}', 0, account_id, id, 'points', 1,
                CASE WHEN activates_at IS NULL THEN 0 ELSE {POINTS} END,
                CASE WHEN activates_at IS NULL THEN {POINTS} ELSE 0 END, 0, 0, '{BOUGHT.isoformat()}',
                coalesce(activates_at, expires_at), lot_id, lot_id
            FROM dated;
        INSERT INTO lots
            (program_id, cell, id, account_id, issuing_entry_id, decision_id, points, vintage_at, policy_number,
             issued_activates_at, issued_expires_at, activates_at, expires_at, arrived_at, is_open, issued, pending,
             available, held, redeemed, expired, revoked, transferred, deficit)
            SELECT '{program_id}', 0, lot_id, account_id, lot_id, lot_id, {POINTS}, '{BOUGHT.isoformat()}', 1,
                activates_at, expires_at, activates_at, expires_at, '{BOUGHT.isoformat()}', true, -{POINTS},
                CASE WHEN activates_at IS NULL THEN 0 ELSE {POINTS} END,
                CASE WHEN activates_at IS NULL THEN {POINTS} ELSE 0 END, 0, 0, 0, 0, 0, 0
            FROM dated;
        DROP TABLE dated;
    """


def _standings(program_id: UUID, review_at: datetime) -> str:
    """Everybody is silver by what was bought in the year before; every fourth is to be looked at when that is said."""
    bought_on = date(2023, 7, 5)
    return f"""
        INSERT INTO member_days SELECT '{program_id}', 0, id, '{bought_on}', 150000, 3, '{{}}' FROM people;
        INSERT INTO standings
            (program_id, cell, member_id, tier_set, joined_on, earned, since, next_review_at, judged_by)
            SELECT '{program_id}', 0, id, 'status', '2023-06-01', 'silver', '{bought_on}',
                CASE WHEN n % 4 = 0 THEN timestamptz '{review_at.isoformat()}' END, 1
            FROM people;
    """
