"""What every command shares: exit codes, where words and data go, the settings with their servers.

Data goes to stdout, talk to stderr, so that every reading command can stand in a pipe.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from loyalty.base.settings import Settings, from_process, mask_url
from loyalty.embedded import EmbeddedError, provide

if TYPE_CHECKING:
    from collections.abc import Generator

    from loyalty.ledger.verify.frame import Progress
    from loyalty.operating.desk import Desk, DeskError

T = TypeVar("T")


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
    """Write rows of equal keys as aligned columns, on stdout; a dash where there is nothing."""
    if not rows:
        return
    lines = [[str(name) for name in rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, cast("tuple[object, ...]", value))) or "-"
    return "-" if value is None else str(value)


@contextmanager
def bars(title: str, phases: Mapping[str, str]) -> "Generator[Progress | None]":
    """How far long work is, a bar for each of its phases on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    console.print(title)
    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as shown:
        tasks: dict[str, Any] = {}

        def told(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = shown.add_task(phases[phase], total=total)
            shown.update(tasks[phase], completed=done, total=total)

        yield told


def unreachable(what: str, url: str, error: BaseException) -> str:
    """Why a server does not answer, with what to try."""
    from loyalty.web.patience import reason  # much to import for a command that needs no database

    why = reason(error)
    return (
        f"{what} at {mask_url(url)} does not answer ({why}): is it running, are address and password right?"
    )


async def until_reachable(url: str, within_s: float) -> bool:
    """Wait until PostgreSQL takes connections; false when SIGTERM came before that.

    Raises: CommandError when the time is up; at once for what does not pass by itself, such as a wrong password.
    """
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(_reachable(url, within_s))
    loop.add_signal_handler(signal.SIGTERM, waiting.cancel)
    try:
        await waiting
    except asyncio.CancelledError:
        return False
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    return True


async def _reachable(url: str, within_s: float) -> None:
    import asyncpg  # much to import for a command that needs no database

    from loyalty.web.patience import once_reachable

    async def reach() -> None:
        await (await asyncpg.connect(url, timeout=5)).close()

    try:
        await once_reachable(reach, url, within_s)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CommandError(unreachable("PostgreSQL", url, error)) from error


async def need_schema(url: str) -> None:
    """Raises: CommandError where the database does not answer or has not this release's schema."""
    import asyncpg  # much to import for a command that needs no database

    from loyalty.base import migrations

    try:
        link = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise CommandError(unreachable("PostgreSQL", url, error)) from error
    try:
        made = await link.fetchval("SELECT to_regclass('alembic_version')") is not None
        there = await link.fetchval("SELECT version_num FROM alembic_version") if made else None
    finally:
        await link.close()
    if there is None:
        raise CommandError(f"The database {mask_url(url)} has no schema yet: run `loyalty migrate`")
    wanted = migrations.head()
    if there != wanted:  # revisions are numbers of equal length
        way = "run `loyalty migrate`" if there < wanted else "use the release whose `loyalty migrate` made it"
        raise CommandError(
            f"The database {mask_url(url)} has the schema {there}, and this release {wanted}: {way}"
        )


def unreadable(file: Path, error: OSError | UnicodeDecodeError) -> CommandError:
    """The end of a command that was given a file and cannot read it."""
    why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
    return CommandError(f"{file} cannot be read: {why}", Exit.USAGE)


def second(at: datetime | None) -> str | None:
    """An instant for people and scripts, to the second."""
    return None if at is None else at.isoformat(timespec="seconds")


def lifetime(days: int) -> timedelta:
    """So many days for a credential. Raises: CommandError."""
    if abs(days) > 36_500:
        raise CommandError("--days goes up to 36500", Exit.USAGE)
    return timedelta(days=days)


def follow_parent() -> None:
    """End this process, as SIGTERM would, when standard input is closed: whoever started it has gone."""

    def follow() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


def refusal(error: "DeskError") -> CommandError:
    """The end of a command whose work the desk refused, or could not do just now."""
    if error.busy:
        return CommandError(f"{error} ({error.code})")
    return CommandError(f"Refused ({error.code}): {error}", Exit.REFUSED)


def at_desk(work: "Callable[[Desk], Awaitable[T]]") -> T:
    """What `work` returns, done at the operator's desk of this installation.

    Raises: CommandError with what to do.
    """
    import uvloop

    from loyalty.operating.desk import DeskError, open_desk  # much to import for a command that needs no desk
    from loyalty.programs.service import CellsDiffer

    async def sit(settings: Settings, url: str) -> T:
        await need_schema(url)
        async with open_desk(settings) as desk:
            return await work(desk)

    try:
        with provide(from_process()) as settings:
            if settings.database_url is None or settings.secret_key is None:
                raise CommandError("LOYALTY_DATABASE_URL or LOYALTY_SECRET_KEY is not set", Exit.USAGE)
            return uvloop.run(sit(settings, settings.database_url))
    except DeskError as error:
        raise refusal(error) from error
    except CellsDiffer as error:
        raise CommandError(str(error), Exit.USAGE) from error
    except EmbeddedError as error:
        raise CommandError(str(error)) from error
