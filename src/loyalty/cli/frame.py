"""What every command shares: exit codes, where words and data go, the settings with their servers.

Data goes to stdout, talk to stderr, so that every reading command can stand in a pipe.
"""

import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import msgspec

from loyalty.base.settings import mask_url


class Exit(IntEnum):
    """How a command ended; docs/operations.md tells scripts the same."""

    OK = 0
    FAILED = 1  # a server is away, a check found something, a bug
    USAGE = 2  # the command line or a setting is wrong
    REFUSED = 3  # the program understood and said no
    DIFFERENCES = 4  # a comparison found differences


class CommandError(Exception):
    """A command that cannot go on; its text says what to do."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """Talk to the person, on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(data: Any) -> None:
    """Write data as one JSON document, on stdout."""
    print(msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=2).decode())


def table(rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of equal keys as aligned columns, on stdout."""
    if not rows:
        return
    lines = [[str(name) for name in rows[0]], *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def unreachable(what: str, url: str, error: BaseException) -> str:
    """Why a server does not answer, with what to try."""
    reason = str(error).split("\n")[0] or type(error).__name__
    return f"{what} at {mask_url(url)} does not answer ({reason}): is it running, are address and password right?"
