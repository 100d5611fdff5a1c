"""What the demo remembers between two runs, and the file by which other programs find it while it serves.

`demo-state.json` stays with the data: the program, its keys, the shift of the dates. `demo.json` is there as long
as the demo serves. Both hold API keys and are readable by their owner alone.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)

_STATE, _SERVING, _BEGUN = "demo-state.json", "demo.json", "begun"


class State(Struct, frozen=True):
    """One demo program. `replayed` names the slices whose purchases are all recorded."""

    program_id: UUID
    money: str
    api_keys: dict[str, str]  # by role
    staff_tokens: dict[str, str]  # by role
    shift_weeks: int
    replayed: tuple[str, ...] = ()


class Serving(Struct, frozen=True):
    """Where the demo serves, and whom it knows."""

    base_url: str
    program_id: UUID
    money: str
    api_keys: dict[str, str]
    staff_tokens: dict[str, str]
    members: tuple[dict[str, str], ...]  # identifiers by kind


def read_state(home: Path) -> State | None:
    """What an earlier run left; None when there was none, or one of another release."""
    return _read(home / _STATE, State)


def made_here(home: Path) -> bool:
    """Whether a demo was ever begun in this home, by whatever release."""
    return (home / _STATE).exists() or (directory(home) / _BEGUN).exists()


def begin(home: Path) -> None:
    """Mark the home as the demo's, before anything is made in it: the run may be killed at any moment."""
    write_private(directory(home) / _BEGUN, b"")


def write_state(home: Path, state: State) -> None:
    """Remember for the next run."""
    write_private(home / _STATE, _json(state))


def read_serving(home: Path) -> Serving | None:
    """Where the demo of this home serves; None when it does not."""
    return _read(home / _SERVING, Serving)


@contextmanager
def announced(home: Path, serving: Serving) -> Generator[None]:
    """`demo.json` is there for the length of a block."""
    write_private(home / _SERVING, _json(serving))
    try:
        yield
    finally:
        (home / _SERVING).unlink(missing_ok=True)


def forget(home: Path) -> None:
    """Remove all that the demo wrote beside the servers' data."""
    for name in (_STATE, _SERVING):
        (home / name).unlink(missing_ok=True)
    shutil.rmtree(directory(home), ignore_errors=True)


def directory(home: Path) -> Path:
    """Where the demo keeps its logs, its header files and its lock."""
    return home / "demo"


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _json(value: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
