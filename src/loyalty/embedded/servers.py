"""The pair of servers of one home: started by whoever needs it first, stopped when the last user has gone.

Users of a home share a lock on it for as long as they live, so that a killed user never leaves a claim behind.
`loyalty servers start` keeps the pair running until `loyalty servers stop`.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loyalty.base.settings import Settings
from loyalty.embedded.postgres import APP, DATABASE, OWNER, Postgres
from loyalty.embedded.system import EmbeddedError, credentials, locked, open_home, write_private
from loyalty.embedded.valkey import Valkey


@dataclass(frozen=True)
class Servers:
    """Addresses of a running pair, passwords inside: never print them."""

    database_url: str
    owner_database_url: str
    superuser_url: str
    redis_url: str


@dataclass(frozen=True)
class Tools:
    """What PostgreSQL's own programs need to know to reach the server of a home as its superuser."""

    bin: Path
    environ: dict[str, str]  # without a password: it stands in the file that PGPASSFILE names


def tools(home: Path) -> Tools:
    """The programs that came with the server of `home`, and their environment; the server need not run.

    Raises: EmbeddedError where there never was one.
    """
    if not (home / "credentials.json").exists():
        raise EmbeddedError(f"{home} has no servers yet: loyalty servers start")
    postgres = Postgres(home)
    with locked(home / "servers.lock"):
        return Tools(postgres.bin, postgres.environ(write_private(home / "pgpass", postgres.pgpass())))


def ensure(home: Path, *, durable: bool = True) -> Servers:
    """The running pair of `home`, started where it does not run; it goes on running until `stop`.

    Raises: EmbeddedError with what to do.
    """
    open_home(home)
    with locked(home / "servers.lock"):
        postgres, valkey = Postgres(home, durable=durable), Valkey(home)
        postgres.start()
        valkey.start()
        return Servers(postgres.url(APP), postgres.url(OWNER), postgres.url("postgres", DATABASE), valkey.url)


@contextlib.contextmanager
def running(home: Path, *, durable: bool = True) -> Generator[Servers]:
    """The pair of `home` for the length of a block; the last of its users stops what nobody asked to keep."""
    open_home(home)
    with (home / "users.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield ensure(home, durable=durable)
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _kept(home).exists():
                    stop(home)


def keep(home: Path) -> Servers:
    """The running pair of `home`, kept also when its last user has gone."""
    servers = ensure(home)
    _kept(home).touch()
    return servers


def stop(home: Path) -> None:
    """Stop the pair of `home`, also under its users; fine when nothing runs."""
    if not home.is_dir():
        return
    with locked(home / "servers.lock"):
        _kept(home).unlink(missing_ok=True)
        Valkey(home).stop()
        Postgres(home).stop()


@contextlib.contextmanager
def unused(home: Path) -> Generator[bool]:
    """Whether no program that still lives uses the pair of `home`; if so, none begins to within the block."""
    free = True
    with contextlib.ExitStack() as held:
        try:
            users = held.enter_context((home / "users.lock").open("rb"))
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass  # nobody ever did
        except BlockingIOError:
            free = False
        yield free


def destroy(home: Path) -> None:
    """Stop the pair of `home` and remove its data, passwords and keys; what else lies in the home stays."""
    if not (home / "credentials.json").exists():
        return
    stop(home)
    data = open_home(home)
    for directory in (data / "postgres", data / "postgres.partial", data / "valkey"):
        shutil.rmtree(directory, ignore_errors=True)
    for name in ("credentials.json", "pgpass", "users.lock", "servers.lock"):
        (home / name).unlink(missing_ok=True)
    for directory in {data, home}:
        with contextlib.suppress(OSError):  # not empty
            directory.rmdir()


def status(home: Path) -> dict[str, int | None]:
    """Process id per server of `home`, None for one that does not run."""
    if not home.is_dir():
        return {"postgres": None, "valkey": None}
    return {"postgres": Postgres(home).pid, "valkey": Valkey(home).pid}


@contextlib.contextmanager
def provide(settings: Settings) -> Generator[Settings]:
    """`settings` with every address and key in place, for the length of a block.

    What is not set is served from settings.home; production gets nothing here and is refused by its own check.
    """
    if not settings.uses_home:
        yield settings
        return
    with contextlib.ExitStack() as stack:
        found: dict[str, str | bytes | None] = {}
        if settings.database_url is None or settings.redis_url is None:
            servers = stack.enter_context(running(settings.home))
            if settings.database_url is None:
                found["database_url"] = servers.database_url
                found["owner_database_url"] = servers.owner_database_url
                found["superuser_database_url"] = servers.superuser_url
            if settings.redis_url is None:
                found["redis_url"] = servers.redis_url
        if settings.secret_key is None:
            open_home(settings.home)
            with locked(settings.home / "servers.lock"):
                found["secret_key"] = bytes.fromhex(credentials(settings.home)["secret_key"])
        yield msgspec.structs.replace(settings, **found)


def _kept(home: Path) -> Path:
    return home / "kept"
