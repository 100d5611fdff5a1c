"""A server or worker that starts before its database: it says that it waits, and goes on by itself."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loyalty.base import migrations
from loyalty.cli.frame import Exit
from loyalty.cli.main import run
from loyalty.embedded import Postgres, Servers, ensure, stop
from loyalty.embedded.postgres import APP
from loyalty.embedded.system import account, credentials, free_port
from tests.operating.installation import SECRET_KEY
from tests.races.client import Client, Unknown

WAITING = "Waiting for PostgreSQL at 127.0.0.1:"
COMMANDS = ("serve", "worker")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home of a migrated PostgreSQL of one's own."""
    home = Path(tempfile.mkdtemp(prefix="loyalty-waiting-"))
    home.chmod(0o711)
    try:
        migrations.upgrade(ensure(home).owner_database_url)
        yield home
    finally:
        stop(home)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def away(home: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """That PostgreSQL, stopped; the settings of this process name it."""
    stop(home)
    postgres = Postgres(home)
    for name, value in {
        "ENVIRONMENT": "production",
        "HOME": str(home),
        "DATABASE_URL": postgres.url(APP),
        "REDIS_URL": redis_url,
        "SECRET_KEY": SECRET_KEY,
        "PORT": str(free_port()),
    }.items():
        monkeypatch.setenv(f"LOYALTY_{name}", value)
    return postgres


class Started:
    """A command in a process of its own."""

    def __init__(self, command: str) -> None:
        self.log = Path(tempfile.mkstemp(prefix="loyalty-waiting-", suffix=".log")[1])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "loyalty", command], stderr=log, stdin=subprocess.DEVNULL
            )

    async def said(self, words: str) -> str:
        """Its log, once these words stand in it."""
        for _ in range(1_200):
            text = self.log.read_text()
            if words in text:
                return text
            assert self.process.poll() is None, text
            await asyncio.sleep(0.05)
        raise AssertionError(f"it never said {words!r}: {self.log.read_text()}")

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 30)


@contextmanager
def started(command: str) -> Iterator[Started]:
    process = Started(command)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()
        process.log.unlink()


async def ready() -> None:
    probe = Client(int(os.environ["LOYALTY_PORT"]), "")
    for _ in range(1_200):
        try:
            if (await probe.get("/health/ready")).status == 200:
                return await probe.close()
        except (OSError, Unknown):
            await asyncio.sleep(0.05)
    raise AssertionError("not ready")


@pytest.mark.parametrize("command", COMMANDS)
async def test_whoever_starts_before_the_database_says_so_and_goes_on_when_it_is_there(
    command: str, home: Path, away: Postgres
) -> None:
    with started(command) as process:
        await process.said(WAITING)
        await asyncio.to_thread(away.start)
        log = await process.said("is there")
        if command == "serve":
            await ready()
        assert await process.end() == 0, log
        assert credentials(home)[APP] not in process.log.read_text()
    refused = ("Connect call failed", "Connection refused")  # as one event loop and the other call it
    assert sum(any(word in line for word in refused) for line in log.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_database_that_is_still_starting_is_waited_for(
    command: str, home: Path, away: Postgres
) -> None:
    """A server that replays takes no connections, and says so."""
    (away.data / "standby.signal").touch()
    Postgres(home, settings={"hot_standby": "off"}).start()
    try:
        with started(command) as process:
            await process.said(WAITING)
            control = (away.bin / "pg_ctl", "-D", away.data, "-w", "promote")
            assert (await asyncio.to_thread(account().run, control)).returncode == 0
            await process.said("is there")
            if command == "serve":
                await ready()
            assert await process.end() == 0
    finally:
        (away.data / "standby.signal").unlink(missing_ok=True)


@pytest.mark.parametrize("command", COMMANDS)
async def test_whoever_is_told_to_end_while_it_waits_ends(command: str, away: Postgres) -> None:
    with started(command) as process:
        await process.said(WAITING)
        assert await process.end() == 0
        assert "Traceback" not in process.log.read_text()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wait_s", [0, 1])
def test_when_the_time_is_up_the_command_ends_and_says_why(
    command: str,
    wait_s: int,
    away: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_WAIT_S", str(wait_s))
    assert run([command]) == Exit.FAILED
    *waiting, told = capsys.readouterr().err.splitlines()
    assert "does not answer" in told
    assert len(waiting) == wait_s
    assert all(WAITING in line for line in waiting)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_nobody_knows_yet_is_waited_for(
    command: str, away: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", "postgresql://loyalty_app:x@postgres.invalid/loyalty")
    monkeypatch.setenv("LOYALTY_DATABASE_WAIT_S", "1")
    assert run([command]) == Exit.FAILED
    *waiting, told = capsys.readouterr().err.splitlines()
    assert "Waiting for PostgreSQL at postgres.invalid:5432: " in waiting[0]
    assert "does not answer" in told
    assert "Errno" not in waiting[0] + told


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password_is_told_at_once(
    command: str, servers: Servers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = servers.database_url.split(":")[2].split("@")[0]
    monkeypatch.setenv("LOYALTY_DATABASE_URL", servers.database_url.replace(secret, "not-this"))
    monkeypatch.setenv("LOYALTY_REDIS_URL", servers.redis_url)
    monkeypatch.setenv("LOYALTY_SECRET_KEY", SECRET_KEY)
    assert run([command]) == Exit.FAILED
    (told,) = capsys.readouterr().err.splitlines()
    assert "password authentication failed" in told
    assert "not-this" not in told
