"""The bench's own PostgreSQL: production durability, shown and demanded, and gone when the bench ends.

What the bench measures on the server's side is read here: the log by pg_walinspect, processor time from /proc.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from loyalty.base import migrations
from loyalty.embedded import Postgres, Servers, ensure, stop
from loyalty.embedded.system import open_home

DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")
SHOWN = (
    *DURABILITY,
    "server_version",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "wal_compression",
)
MACHINE_MB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


class NotDurable(Exception):
    """The server would lose commits in a crash: its figures mean nothing."""


@dataclass(frozen=True)
class Cluster:
    """A running server with the newest schema, empty but for it."""

    home: Path
    servers: Servers
    postgres: Postgres
    settings: dict[str, str]

    def pgbench_environ(self) -> dict[str, str]:
        """How pgbench reaches the database as the application's role."""
        address = urlsplit(self.servers.database_url)
        return {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C",
            "PGHOST": address.hostname or "",
            "PGPORT": str(address.port),
            "PGUSER": address.username or "",
            "PGPASSWORD": address.password or "",
            "PGDATABASE": address.path.lstrip("/"),
        }

    def cpu_us(self) -> int:
        """Processor time of all server processes since the start, dead ones included."""
        postmaster = self.postgres.pid
        assert postmaster is not None
        children = [pid for pid in _pids() if _parent(pid) == postmaster]
        return cpu_us(postmaster, reaped=True) + sum(cpu_us(child) for child in children)


@contextlib.contextmanager
def cluster(memory_mb: int | None = None) -> Iterator[Cluster]:
    """A fresh durable server for the length of a block, with the program's own `shared_buffers` or so many megabytes.

    Raises: NotDurable when fsync, full_page_writes or synchronous_commit is off.
    """
    home = Path(tempfile.mkdtemp(prefix="loyalty-bench-"))
    data = open_home(home)
    try:
        if memory_mb is not None:
            Postgres(home, settings={"shared_buffers": f"{memory_mb}MB"}).start()
        servers = ensure(home)  # of what does not run yet
        settings = asyncio.run(_settings(servers.superuser_url))
        if off := [name for name in DURABILITY if settings[name] != "on"]:
            raise NotDurable(f"{', '.join(off)} is off: the bench counts durable commits only")
        migrations.upgrade(servers.owner_database_url)
        yield Cluster(home, servers, Postgres(home), settings)
    finally:
        stop(home)
        for place in {home, data}:
            shutil.rmtree(place, ignore_errors=True)


async def wal_position(superuser_url: str) -> str:
    """Where the log ends now."""
    link = await asyncpg.connect(superuser_url)
    try:
        return await link.fetchval("SELECT pg_current_wal_insert_lsn()::text")
    finally:
        await link.close()


async def wal_bytes(superuser_url: str, since: str) -> int:
    """Bytes of log since a position, without images of whole pages: those tell how long ago a checkpoint was."""
    link = await asyncpg.connect(superuser_url)
    try:
        await link.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        # Forced out first: the log is read from its files.
        await link.execute("SELECT pg_switch_wal()")
        return await link.fetchval(
            "SELECT sum(record_size)::bigint FROM pg_get_wal_stats($1::text::pg_lsn, pg_current_wal_flush_lsn())",
            since,
        )
    finally:
        await link.close()


async def checkpoint(superuser_url: str) -> None:
    """Write all dirty pages, so that a row does not pay for the one before it."""
    link = await asyncpg.connect(superuser_url)
    try:
        await link.execute("CHECKPOINT")
    finally:
        await link.close()


def cpu_us(pid: int, *, reaped: bool = False) -> int:
    """Processor time of one process; 0 when it is gone. `reaped`: with its children that have ended."""
    fields = _stat(pid)
    return sum(int(fields[i]) for i in ((11, 12, 13, 14) if reaped else (11, 12))) * TICK_US if fields else 0


def family_cpu_us(pid: int) -> int:
    """Processor time of a process and all that descend from it, ended ones included."""
    children = [child for child in _pids() if _parent(child) == pid]
    return cpu_us(pid, reaped=True) + sum(family_cpu_us(child) for child in children)


def memory_kb(pid: int) -> int:
    """The most memory that one process had so far; 0 when it is gone.

    Not what `wait4` tells of it: that begins with the memory of the process that started it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


async def _settings(superuser_url: str) -> dict[str, str]:
    link = await asyncpg.connect(superuser_url)
    try:
        rows = await link.fetch(
            "SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY($1)", SHOWN
        )
        return {row["name"]: row["value"] for row in rows}
    finally:
        await link.close()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat after the name: state first, then the parent's id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
