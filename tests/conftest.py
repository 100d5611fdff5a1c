"""Real servers for the tests: one PostgreSQL and one Valkey per run, one fresh migrated database per module.

The run owns a home in a temporary directory; xdist workers find it in the environment, the first that needs it
starts the servers, and the run stops them. Crash safety is off here: what needs it starts its own cluster.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest

from loyalty.base import migrations
from loyalty.base.provision import admit
from loyalty.embedded import Postgres, Servers, destroy, ensure
from loyalty.embedded.postgres import APP, OWNER
from loyalty.embedded.system import locked

# A test says what must hold, not how fast: machines differ.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

HOME = "TEST_SERVERS_HOME"  # not LOYALTY_…: it is no setting of the program
PLACE = Path(tempfile.gettempdir()) / f"loyalty-tests-{os.geteuid()}"
_claims: list[Any] = []


@dataclass(frozen=True)
class Database:
    """A database of one's own, at the newest revision and empty."""

    app_url: str
    owner_url: str
    superuser_url: str


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and HOME not in os.environ:
        claim_home()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        leave_home()


def claim_home() -> None:
    """Make a home for the servers of this run, known from now on by the environment; remove what dead runs left."""
    PLACE.mkdir(mode=0o711, exist_ok=True)
    with locked(PLACE / "lock"):
        for left in PLACE.glob("*/"):
            with contextlib.suppress(BlockingIOError, FileNotFoundError), (left / "claim").open("a") as claim:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while the run that made it lives
                _remove(left)
        home = PLACE / uuid.uuid4().hex[:12]
        home.mkdir(mode=0o711)
        claim = (home / "claim").open("a")
        fcntl.flock(claim, fcntl.LOCK_EX)
    _claims.append(claim)
    os.environ[HOME] = str(home)


def leave_home() -> None:
    """Stop the servers of this run and remove its home."""
    if _claims:
        _remove(Path(os.environ[HOME]))
        _claims.pop().close()


def _remove(home: Path) -> None:
    destroy(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def servers() -> Servers:
    return start_servers()


@pytest.fixture(scope="module")
def database(servers: Servers) -> Iterator[Database]:
    with fresh_database() as database:
        yield database


def start_servers() -> Servers:
    """The servers of this run with a migrated database to copy; started by whoever comes first."""
    home = Path(os.environ[HOME])
    servers = ensure(home, durable=False)
    with locked(home / "template.lock"):
        if not (home / "template").exists():
            apart(_create(home, "template", "template1"))
            migrations.upgrade(Postgres(home, durable=False).url(OWNER, "template"))
            (home / "template").touch()
    return servers


@contextlib.contextmanager
def fresh_database() -> Iterator[Database]:
    """A database of one's own on the servers of this run, for the length of a block."""
    home, name = Path(os.environ[HOME]), f"t_{uuid.uuid4().hex[:12]}"
    apart(_create(home, name, "template"))
    postgres = Postgres(home, durable=False)
    try:
        yield Database(*(postgres.url(role, name) for role in (APP, OWNER, "postgres")))
    finally:
        apart(_execute(postgres.url("postgres", "postgres"), f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def redis_url(servers: Servers) -> str:
    return servers.redis_url


async def _create(home: Path, name: str, template: str) -> None:
    superuser = Postgres(home, durable=False).url("postgres", "postgres")
    await _execute(superuser, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    await admit(superuser, name, OWNER, APP)


async def _execute(url: str, statement: str) -> None:
    link = await asyncpg.connect(url)
    try:
        await link.execute(statement)
    finally:
        await link.close()


def apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run `work` beside the test's own event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
