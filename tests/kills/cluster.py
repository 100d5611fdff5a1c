"""A PostgreSQL of one's own with production durability, for runs in which something is killed.

A run is only worth something where a commit survives a crash: the three settings are printed and demanded.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from loyalty.base import migrations
from loyalty.embedded import Servers, ensure, stop

DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


@contextmanager
def durable(home: Path | None = None) -> Iterator[Servers]:
    """A fresh pair of servers at the newest schema, gone with its home at the end of the block."""
    home = home or Path(tempfile.mkdtemp(prefix="loyalty-kill-"))
    home.chmod(0o711)
    try:
        servers = ensure(home, durable=True)
        migrations.upgrade(servers.owner_database_url)
        yield servers
    finally:
        stop(home)
        shutil.rmtree(home, ignore_errors=True)


async def demand_durability(superuser_url: str) -> str:
    """The three settings as one line. Raises: AssertionError when one of them is off."""
    link = await asyncpg.connect(superuser_url)
    try:
        found = {name: await link.fetchval(f"SHOW {name}") for name in DURABLE}
    finally:
        await link.close()
    assert "off" not in found.values(), f"this cluster loses commits in a crash: {found}"
    return ", ".join(f"{name}={value}" for name, value in found.items())
