"""The embedded servers: quick to start, shared by their users, back after a kill, apart from their neighbours."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio as valkey

from loyalty.base.settings import Settings, load_settings
from loyalty.embedded import (
    EmbeddedError,
    Postgres,
    Valkey,
    destroy,
    ensure,
    provide,
    running,
    status,
    system,
)
from tests.conftest import apart


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home") / "loyalty"
    yield home
    destroy(home)


def ask(url: str, question: str = "SELECT 1") -> object:
    async def answer() -> object:
        link = await asyncpg.connect(url)
        try:
            return await link.fetchval(question)
        finally:
            await link.close()

    return apart(answer())


def test_the_last_user_stops_the_servers_and_the_first_does_not(home: Path) -> None:
    with running(home) as first:
        with running(home) as second:
            assert first == second
        assert all(status(home).values())
        assert ask(first.database_url) == 1
    assert not any(status(home).values())


def test_data_and_passwords_survive_a_stop(home: Path) -> None:
    with running(home) as servers:
        ask(servers.owner_database_url, "CREATE TABLE kept (n int)")
    with running(home) as again:
        assert ask(again.owner_database_url, "SELECT count(*) FROM kept") == 0
        assert again.owner_database_url == servers.owner_database_url


def test_the_servers_come_back_after_both_were_killed(home: Path) -> None:
    servers = ensure(home)
    ask(servers.owner_database_url, "CREATE TABLE kept (n int)")
    for pid in status(home).values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    again = ensure(home)
    assert ask(again.owner_database_url, "SELECT count(*) FROM kept") == 0
    assert all(status(home).values())


def test_a_start_after_a_kill_says_what_it_waits_for(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(home):
        os.kill(status(home)["postgres"] or 0, signal.SIGKILL)
        ensure(home)
    assert [record.message for record in caplog.records] == [
        "PostgreSQL was not stopped properly: it replays what it wrote since its last checkpoint, see "
        f"{Postgres(home).log}"
    ]
    caplog.clear()
    with running(home):
        assert caplog.records == []


def test_a_recovery_is_waited_for_however_long_it_takes(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = ensure(home)
    ask(servers.owner_database_url, "CREATE TABLE large AS SELECT generate_series(1, 200000) AS n")
    killed = status(home)["postgres"] or 0
    os.kill(killed, signal.SIGKILL)
    monkeypatch.setattr("loyalty.embedded.postgres.QUIET_S", 1)
    # Long enough for the killed one to be gone on a busy machine, and over before the recovery is.
    monkeypatch.setattr("loyalty.embedded.postgres.RETRY_S", 2)
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(hold_recovery, home, killed, 4)
        assert ask(ensure(home).owner_database_url, "SELECT count(*) FROM large") == 200_000
        held.result()
    assert any("Waiting for PostgreSQL" in record.message for record in caplog.records)


def hold_recovery(home: Path, killed: int, seconds: float) -> None:
    """Stop the process that replays for a while, as a slow disk would."""
    recovering: list[int] = []
    until = time.monotonic() + 20
    while not recovering:
        assert time.monotonic() < until, "void: the recovery was not met"
        started = status(home)["postgres"]
        if started is not None and started != killed:
            children = Path(f"/proc/{started}/task/{started}/children").read_text().split()
            with contextlib.suppress(FileNotFoundError):
                recovering = [
                    int(child)
                    for child in children
                    if b"startup" in Path(f"/proc/{child}/cmdline").read_bytes()
                ]
    os.kill(recovering[0], signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(recovering[0], signal.SIGCONT)


def test_a_dead_server_whose_processes_live_on_is_not_forgotten(home: Path) -> None:
    with running(home):
        postgres = Postgres(home)
        file = postgres.data / "postmaster.pid"
        lines = file.read_text().splitlines()
        file.write_text("\n".join(["999999999", *lines[1:]]) + "\n")  # the server's memory is still held
        postgres._drop_dead_pid_file()  # pyright: ignore[reportPrivateUsage]
        assert file.exists()
        file.write_text("\n".join(lines) + "\n")


def test_a_killed_user_leaves_servers_that_the_next_one_takes_over_and_stops(home: Path) -> None:
    program = (
        "import sys, time, pathlib; from loyalty.embedded import running\n"
        "with running(pathlib.Path(sys.argv[1])): print('up', flush=True); time.sleep(60)"
    )
    user = subprocess.Popen([sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    assert user.stdout.readline() == "up\n"
    before = status(home)
    user.kill()
    user.wait()
    user.stdout.close()
    with running(home):
        assert status(home) == before
    assert not any(status(home).values())


def test_two_homes_run_side_by_side_with_their_own_passwords(home: Path) -> None:
    other = home.with_name("other")
    try:
        with running(home) as here, running(other) as there:
            assert ask(here.database_url) == ask(there.database_url) == 1
            assert here.database_url.split("@")[0] != there.database_url.split("@")[0]
            foreign = here.database_url.split("@")[0] + "@" + there.database_url.split("@")[1]
            with pytest.raises(asyncpg.InvalidPasswordError):
                ask(foreign)
    finally:
        destroy(other)


def test_a_remembered_port_that_somebody_took_is_left_to_them(home: Path) -> None:
    with running(home):
        taken = int((Postgres(home).data / "port").read_text())
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", taken))
        squatter.listen()
        with running(home) as servers:
            assert f":{taken}/" not in servers.database_url
            assert ask(servers.database_url) == 1


def test_commits_are_durable_unless_a_test_gives_that_up(home: Path) -> None:
    with running(home) as servers:
        answers = [
            ask(servers.database_url, f"SHOW {n}")
            for n in ("fsync", "full_page_writes", "synchronous_commit")
        ]
    assert answers == ["on", "on", "on"]


async def test_both_servers_ask_for_a_password(home: Path) -> None:
    servers = await asyncio.to_thread(ensure, home)
    stranger = valkey.from_url("redis://" + servers.redis_url.split("@")[1])
    with pytest.raises(valkey.AuthenticationError):
        await stranger.ping()
    await stranger.aclose()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect("postgresql://postgres:guess@" + servers.database_url.split("@")[1])


def test_nobody_else_can_read_passwords_or_data(home: Path) -> None:
    with running(home):
        private = [
            home / "credentials.json",
            Postgres(home).data,
            Valkey(home).data,
            Valkey(home).data / "valkey.conf",
        ]
        assert [path for path in private if path.stat().st_mode & 0o077] == []


def test_postgresqls_own_tools_reach_the_server_and_no_password_is_shown(home: Path) -> None:
    environ = os.environ | {
        "LOYALTY_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def typed(script: str) -> str:
        return subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True).stdout

    with running(home):
        shown = typed("loyalty servers env")
        asked = "SELECT current_user, current_database(), current_setting('data_directory') = '$PGDATA'"
        assert typed(f'eval "$(loyalty servers env)"\npsql -Atc "{asked}"') == "postgres|loyalty|t\n"
    assert not any(password in shown for password in system.credentials(home).values())
    assert (home / "pgpass").stat().st_mode & 0o077 == 0


def test_a_setting_of_ones_own_wins_over_the_embedded_server(home: Path) -> None:
    own = "redis://127.0.0.1:1/0"
    with provide(Settings(home=home, redis_url=own)) as settings:
        assert settings.redis_url == own
        assert settings.database_url is not None
        assert len(settings.secret_key or b"") == 32
    with provide(Settings(home=home, redis_url=own)) as again:
        assert again.secret_key == settings.secret_key


def test_production_is_given_no_embedded_server(tmp_path: Path) -> None:
    settings = load_settings({"LOYALTY_ENVIRONMENT": "production", "LOYALTY_HOME": str(tmp_path / "home")})
    with provide(settings) as same:
        assert same == settings
    assert not (tmp_path / "home").exists()


def test_a_missing_wheel_says_what_to_do() -> None:
    with pytest.raises(EmbeddedError, match="make setup"):
        system.binaries("no_such_wheel")


def test_a_warm_start_is_a_matter_of_a_moment(home: Path) -> None:
    with running(home):
        pass
    begin = time.monotonic()
    with running(home):
        assert time.monotonic() - begin < 5
