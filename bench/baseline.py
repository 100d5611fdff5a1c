"""The rival of baseline.sql: its members, its script, and pgbench that drives it."""

import asyncio
import os
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from bench.cluster import Cluster
from bench.rows import Texts, check
from bench.sample import Sample, percentile
from bench.world import AMOUNT_MINOR, BASELINE_PROGRAM, card

FUNCTION = Path(__file__).with_name("baseline.sql")
CLIENTS = (1, 2, 4, 8, 16)


class BaselineBroken(Exception):
    """The rival did not write what it says: its figures mean nothing."""


@dataclass
class Baseline:
    """A database that knows the function, and the members it works on."""

    cluster: Cluster
    members: int
    recorded: int = 0  # purchases that pgbench reports as done

    def prepare(self, texts: Texts, at: datetime) -> None:
        """Install the function and preload members, cards and accounts of the rival's own program."""
        asyncio.run(_prepare(self.cluster.servers.superuser_url, self.members))
        values = (
            f"timestamptz {literal(at.isoformat())}, timestamptz {literal((at + timedelta(days=380)).isoformat())}, "
            f"{AMOUNT_MINOR}, '\\x{bytes(range(32)).hex()}'::bytea, {literal(texts.content)}::json, "
            f"{literal(texts.detail)}, {literal(texts.answer)}, {literal(texts.event)}::json"
        )
        call = (
            "\\set n :n + 1\n\\set who {who}\n"
            f"SELECT bench.record_purchase('{card(0)[:8]}' || lpad(:who::text, 8, '0'), "
            "'R-' || :run || '-' || :client_id || '-' || :n, gen_random_uuid()::text, "
            f"{values});\n"
        )
        for name, who in (("spread", f"random(0, {self.members - 1})"), ("hot", "0")):
            self._script(name).write_text(call.replace("{who}", who))

    def run(self, clients: int, seconds: int, *, hot: bool = False, rate: float = 0) -> Sample:
        """One stretch of pgbench; the figures come from what it prints and from the server."""
        script = self._script("hot" if hot else "spread")
        sample = pgbench(self.cluster, BASELINE_PROGRAM, script, clients, seconds, rate)
        self.recorded += sample.done
        return sample

    def search(
        self, seconds: int, *, hot: bool = False, candidates: tuple[int, ...] = CLIENTS
    ) -> dict[int, float]:
        """Rate at each number of clients, so that the rival runs at its own best."""
        return {clients: self.run(clients, seconds, hot=hot).rate for clients in candidates}

    def check(self) -> None:
        """Raises: RowsMissing unless every purchase that pgbench reports left all its rows."""
        check(self.cluster.servers.superuser_url, BASELINE_PROGRAM, self.recorded)

    def _script(self, name: str) -> Path:
        return self.cluster.home / f"baseline-{name}.pgbench"


def pgbench(
    cluster: Cluster, program_id: UUID, script: Path, clients: int, seconds: int, rate: float = 0
) -> Sample:
    """One stretch of a script: what pgbench prints, and what it cost. `:run` and `:n` are there for names.

    At a `rate`, so many a second are due at random instants, from which their latencies count.
    """
    run = asyncio.run(_value(cluster.servers.superuser_url, "SELECT nextval('bench.baseline_runs')"))
    logs = cluster.home / f"pgbench-{run}"
    paced = [f"--rate={rate}", "--log", f"--log-prefix={logs}"] if rate else []
    cpu_before, own_before = cluster.cpu_us(), _children_us()
    done = subprocess.run(
        [cluster.postgres.bin / "pgbench", "--no-vacuum", "--protocol=prepared",
         f"--client={clients}", f"--jobs={min(clients, 2)}", f"--time={seconds}",
         f"--define=run={run}", "--define=n=0", f"--file={script}", *paced],
        env=cluster.pgbench_environ() | {"PGOPTIONS": f"-c loyalty.program={program_id}"},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )  # fmt: skip
    if done.returncode != 0:
        raise BaselineBroken(done.stderr[-2000:])
    count = int(_printed(r"number of transactions actually processed: (\d+)", done.stdout))
    tps = float(_printed(r"tps = ([\d.]+)", done.stdout))
    taken = sorted(
        int(line.split()[2])
        for log in logs.parent.glob(f"{logs.name}.*")
        for line in log.read_text().splitlines()
    )
    return Sample(
        done=count,
        seconds=count / tps,
        p50_us=percentile(taken, 0.50),
        p99_us=percentile(taken, 0.99),
        mean_us=float(_printed(r"latency average = ([\d.]+) ms", done.stdout)) * 1000,
        cpu_us={
            "postgres": (cluster.cpu_us() - cpu_before) / max(1, count),
            "client": (_children_us() - own_before) / max(1, count),
        },
    )


async def _prepare(superuser_url: str, members: int) -> None:
    link = await asyncpg.connect(superuser_url)
    try:
        await link.execute(FUNCTION.read_text())
        await link.execute(
            f"""
            INSERT INTO programs VALUES ('{BASELINE_PROGRAM}', 'live', now());
            CREATE TEMP TABLE people AS SELECT n, uuidv7() AS id FROM generate_series(0, {members - 1}) n;
            INSERT INTO members SELECT '{BASELINE_PROGRAM}', 0, id, 'active', now() FROM people;
            INSERT INTO member_profiles SELECT '{BASELINE_PROGRAM}', 0, id, '{{}}' FROM people;
            INSERT INTO identifiers
                SELECT '{BASELINE_PROGRAM}', 'card', '{card(0)[:8]}' || lpad(n::text, 8, '0'), id, 0 FROM people;
            INSERT INTO accounts
                SELECT '{BASELINE_PROGRAM}', 0, uuidv7(), id, 'points', 0, 0, 0, 0, 0 FROM people;
            DROP TABLE people;
            """
        )
        await link.execute("VACUUM ANALYZE")
    finally:
        await link.close()


async def _value(url: str, query: str) -> int:
    link = await asyncpg.connect(url)
    try:
        return await link.fetchval(query)
    finally:
        await link.close()


def _children_us() -> int:
    """Processor time of this process's children that have ended."""
    times = os.times()
    return int((times.children_user + times.children_system) * 1_000_000)


def literal(text: str) -> str:
    """`text` in SQL and safe from pgbench, which reads a colon before a letter as one of its variables."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return "E'" + re.sub(r":(?=[A-Za-z_])", r"\\072", escaped) + "'"


def _printed(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise BaselineBroken(f"pgbench printed no {pattern!r}:\n{text[-2000:]}")
    return found.group(1)
