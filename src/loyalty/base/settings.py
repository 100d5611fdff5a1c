"""The settings of one process: read once from LOYALTY_… variables, checked together, frozen.

Every value may also come from a file named by LOYALTY_…_FILE. A start with faulty settings names all faults at
once. What may change while the program runs is not here but in a program's policies.
"""

import base64
import binascii
import difflib
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

PREFIX = "LOYALTY_"
SECRET_BYTES_MIN = 32
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")  # what PostgreSQL must not run without
_HEXADECIMAL = re.compile(r"([0-9a-f]{2})*").fullmatch

Environment = Literal["development", "demo", "test", "production"]
LogFormat = Literal["json", "text"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a process may know about where it runs; addresses that are None are served by embedded servers."""

    environment: Environment = "development"
    home: Path  # data of the embedded servers and generated secrets
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int | None = None  # None: /metrics is served on `port`
    allowed_hosts: tuple[str, ...] = ()  # empty: any Host header
    processes: int = 1
    database_url: str | None = None  # role without ownership, used by the running program
    owner_database_url: str | None = None  # role that owns the schema, used by migrations alone
    superuser_database_url: str | None = None  # only to create roles and database at the first set-up
    database_wait_s: int = 60  # how long a server or worker waits at its start until PostgreSQL is there
    redis_url: str | None = None
    secret_key: bytes | None = None  # HMAC key of fingerprints, cursors and tokens
    secret_key_previous: bytes | None = None  # still accepted when reading, never used to write
    cells: int = 1  # constant of the deployment once data is there
    pool_size: int = 4  # connections per process
    program_requests_per_s: int | None = None  # of one program, at each process; None: no quota
    queue_max: int = 2_000  # commands waiting in one lane
    queue_bytes_max: int = 16 * 1024 * 1024
    queue_ms_max: int = 2_000
    lock_timeout_ms: int = 2_000
    statement_timeout_ms: int = 5_000
    body_bytes_max: int = 1024 * 1024
    import_bytes_max: int = 1024 * 1024 * 1024  # of one file, told in parts
    log_format: LogFormat = "json"

    @property
    def uses_home(self) -> bool:
        """Whether servers or a key come from the home; production takes nothing from there."""
        complete = None not in (self.database_url, self.redis_url, self.secret_key)
        return not complete and self.environment != "production"


class SettingsError(Exception):
    """All that is wrong with the settings, one sentence per fault, secrets left out."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class _Wrong(Exception):
    """The text of a variable does not have the expected form."""


def _text(text: str) -> str:
    if not text:
        raise _Wrong
    return text


def _path(text: str) -> Path:
    return Path(_text(text)).expanduser().absolute()


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        digits = text.replace("_", "")
        if not (digits.isascii() and digits.isdigit()) or not low <= int(digits) <= high:
            raise _Wrong
        return int(digits)

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise _Wrong
        return text

    return parse


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(host.strip().lower() for host in text.split(","))
    if not all(host and " " not in host and "/" not in host for host in hosts):
        raise _Wrong
    return hosts


def _url(*schemes: str, path_required: bool) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            parts = urlsplit(text)
            _ = parts.port  # reading it checks it
        except ValueError:
            raise _Wrong from None
        if parts.scheme not in schemes or (path_required and len(parts.path) < 2):
            raise _Wrong
        return text

    return parse


def _secret(text: str) -> bytes:
    text = text.strip()
    try:
        # Generated keys stand in hexadecimal digits in their home: whoever moves one here means the same bytes.
        key = bytes.fromhex(text) if _HEXADECIMAL(text) else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Wrong from None
    if len(key) < SECRET_BYTES_MIN:
        raise _Wrong
    return key


@dataclass(frozen=True)
class Variable:
    """How one setting is read and what it means; docs/operations.md lists the same ones."""

    parse: Callable[[str], object]
    form: str
    secret: bool = False


_DATABASE = _url("postgresql", path_required=True)
_DATABASE_FORM = "postgresql://user:password@host:5432/database"
_SECRET_FORM = f"at least {SECRET_BYTES_MIN} random bytes in base64 or hexadecimal digits"


def _whole(low: int, high: int) -> Variable:
    return Variable(_number(low, high), f"a whole number from {low:,} to {high:,}")


VARIABLES: Mapping[str, Variable] = {
    "environment": Variable(
        _one_of("development", "demo", "test", "production"), "development, demo, test or production"
    ),
    "home": Variable(_path, "a directory"),
    "host": Variable(_text, "an address to listen on, such as 127.0.0.1"),
    "port": _whole(1, 65_535),
    "metrics_port": _whole(1, 65_535),
    "allowed_hosts": Variable(_hosts, "host names separated by commas"),
    "processes": _whole(1, 256),
    "database_url": Variable(_DATABASE, _DATABASE_FORM, secret=True),
    "owner_database_url": Variable(_DATABASE, _DATABASE_FORM, secret=True),
    "superuser_database_url": Variable(_DATABASE, _DATABASE_FORM, secret=True),
    "database_wait_s": _whole(0, 86_400),
    "redis_url": Variable(
        _url("redis", "rediss", "unix", path_required=False), "redis://:password@host:6379/0", secret=True
    ),
    "secret_key": Variable(_secret, _SECRET_FORM, secret=True),
    "secret_key_previous": Variable(_secret, _SECRET_FORM, secret=True),
    "cells": _whole(1, 64),
    "pool_size": _whole(1, 64),
    "program_requests_per_s": _whole(1, 1_000_000),
    "queue_max": _whole(1, 1_000_000),
    "queue_bytes_max": _whole(64 * 1024, 1024**3),
    "queue_ms_max": _whole(1, 60_000),
    "lock_timeout_ms": _whole(1, 60_000),
    "statement_timeout_ms": _whole(1, 600_000),
    "body_bytes_max": _whole(1_024, 64 * 1024 * 1024),
    "import_bytes_max": _whole(1_024, 1024**4),
    "log_format": Variable(_one_of("json", "text"), "json or text"),
}


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that `environ` and the defaults give.

    Raises: SettingsError with every fault: unknown variables, wrong values, unreadable files.
    """
    return _read(environ)[0]


def explain_settings(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Name, shown value (secrets masked) and origin of every setting, in the order of the documentation.

    Raises: SettingsError as load_settings does.
    """
    settings, origins = _read(environ)
    return [
        (PREFIX + name.upper(), shown(name, getattr(settings, name)), origins[name]) for name in VARIABLES
    ]


def shown(name: str, value: object) -> str:
    """The value of setting `name` as it may be printed: no password, no key; a key shows its fingerprint."""
    if value is None:
        return "-"
    if isinstance(value, bytes):
        return f"*** (sha256 begins {hashlib.sha256(value).hexdigest()[:8]})"
    if isinstance(value, tuple):
        return ",".join(value) or "-"  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return mask_url(str(value)) if VARIABLES[name].secret else str(value)


def mask_url(url: str) -> str:
    """`url` without its password and without its query, which may carry one too."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "***"
    user = parts.username or ""
    login = f"{user}:***@" if parts.password else f"{user}@" if user else ""
    return urlunsplit((parts.scheme, f"{login}{parts.hostname or ''}{port}", parts.path, "", ""))


def production_faults(settings: Settings, durability: Mapping[str, str]) -> list[str]:
    """Why this process must not serve a production program; empty when it may.

    `durability` holds what the database answers to SHOW for each of DURABILITY; nothing where there is no database
    to ask.
    """
    return unsafe_settings(settings) + (unsafe_durability(durability) if settings.database_url else [])


def unsafe_settings(settings: Settings) -> list[str]:
    """What of `production_faults` can be seen without a database."""
    faults: list[str] = []
    for name in ("database_url", "redis_url", "secret_key"):
        if getattr(settings, name) is None:
            faults.append(
                f"{PREFIX}{name.upper()} is not set: production uses no embedded server or generated key"
            )
    for name in ("secret_key", "secret_key_previous"):
        key: bytes | None = getattr(settings, name)
        if key is not None and (len(key) < SECRET_BYTES_MIN or len(set(key)) < SECRET_BYTES_MIN // 4):
            faults.append(f"{PREFIX}{name.upper()} is too weak: expected {_SECRET_FORM}")
    if settings.secret_key is not None and settings.secret_key == settings.secret_key_previous:
        faults.append(f"{PREFIX}SECRET_KEY_PREVIOUS equals {PREFIX}SECRET_KEY: nothing was rotated")
    return faults


def unsafe_durability(durability: Mapping[str, str]) -> list[str]:
    """What of `production_faults` the database answers."""
    return [
        f"PostgreSQL runs with {name} = {durability.get(name, 'unknown')}: a crash loses commits"
        for name in DURABILITY
        if durability.get(name) in (None, "off")
    ]


def default_home(environ: Mapping[str, str]) -> Path:
    """Where embedded servers keep their data: in the checkout when run from one, else in the user's state."""
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file() and (checkout / "src" / "loyalty").is_dir():
        return checkout / "var" / "loyalty"
    if state := environ.get("XDG_STATE_HOME"):
        return Path(state) / "loyalty"
    if home := environ.get("HOME"):
        return Path(home) / ".local" / "state" / "loyalty"
    return Path.cwd() / "var" / "loyalty"


def _read(environ: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    faults = _unknown(environ)
    values: dict[str, Any] = {}
    origins = dict.fromkeys(VARIABLES, "default")
    for name, variable in VARIABLES.items():
        key = PREFIX + name.upper()
        found = _find(environ, key, faults)
        if found is None:
            continue
        text, origins[name] = found
        try:
            values[name] = variable.parse(text)
        except _Wrong:
            given = "*** (hidden)" if variable.secret else repr(text[:80])
            faults.append(f"{key} = {given}: expected {variable.form}")
    values.setdefault("home", default_home(environ))
    if faults:
        raise SettingsError(faults)
    return Settings(**values), origins


def _find(environ: Mapping[str, str], key: str, faults: list[str]) -> tuple[str, str] | None:
    """Text and origin of one variable, or None when it is not given in either way."""
    file = environ.get(f"{key}_FILE")
    if key in environ:
        if file is not None:
            faults.append(f"{key} and {key}_FILE are both set: keep one")
        return environ[key], "environment"
    if file is None:
        return None
    try:
        return Path(file).read_text("utf-8").strip(), f"file {file}"
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        faults.append(f"{key}_FILE = {file!r}: cannot be read ({reason})")
        return None


def _unknown(environ: Mapping[str, str]) -> list[str]:
    # Without what all begin with, or everything would be near everything.
    known = {name.upper() + suffix for name in VARIABLES for suffix in ("", "_FILE")}
    faults: list[str] = []
    for name in sorted({key.removeprefix(PREFIX) for key in environ if key.startswith(PREFIX)} - known):
        close = difflib.get_close_matches(name, known, n=1)
        meant = f": did you mean {PREFIX}{close[0]}?" if close else ""
        faults.append(f"{PREFIX}{name} is not a setting{meant}")
    return faults


def from_process() -> Settings:
    """The settings of this very process; for the edge only.

    Raises: SettingsError as load_settings does.
    """
    return load_settings(os.environ)
