"""`loyalty import`: members, opening lots and standings of a former system, from a CSV file."""

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from cyclopts import App

from loyalty.cli.frame import CommandError, Exit, at_desk, emit, say, second, table, unreadable
from loyalty.jobs.imports.columns import ROW_ID
from loyalty.jobs.imports.types import ImportKind
from loyalty.jobs.types import RunState
from loyalty.operating.desk import Desk
from loyalty.operating.imports import Brought, bring_in, every_import

app = App(
    name="import",
    help="Bring in members, opening lots and standings from CSV files; list what was brought in.",
)


@app.command
def members(file: Path, *, source: str, program: UUID | None = None) -> Exit:
    """Enrol everybody in FILE; who is a member already stays as it is.

    Parameters
    ----------
    source
        Names the former system, such as crm.
    program
        Id of the program; not needed where there is only one.
    """
    return _bring_in(ImportKind.MEMBERS, file, source, program)


@app.command
def lots(file: Path, *, source: str, program: UUID | None = None) -> Exit:
    """Bring in the points in FILE with their original dates, each row once.

    Parameters
    ----------
    source
        Names the former system, such as crm.
    program
        Id of the program; not needed where there is only one.
    """
    return _bring_in(ImportKind.LOTS, file, source, program)


@app.command
def standings(file: Path, *, source: str, program: UUID | None = None) -> Exit:
    """Give the tiers in FILE, as they were held in the former system.

    Parameters
    ----------
    source
        Names the former system, such as crm.
    program
        Id of the program; not needed where there is only one.
    """
    return _bring_in(ImportKind.STANDINGS, file, source, program)


@app.command(name="list")
def list_imports(*, program: UUID | None = None, json: bool = False) -> None:
    """Every import of a program, at the desk or over the API, newest first, and how far it is.

    Parameters
    ----------
    program
        Id of the program; not needed where there is only one.
    json
        Write JSON instead of columns.
    """

    async def work(desk: Desk) -> list[dict[str, Any]]:
        chosen = await desk.program(program)
        return [
            {
                "import": one.id,
                "kind": one.kind.value,
                "source": one.source,
                "state": seen.state,
                "created_at": second(one.created_at),
                "rows": one.progress.rows,
                "done": one.progress.done,
                "unchanged": one.progress.unchanged,
                "rejected": one.progress.rejected,
            }
            for seen in await every_import(desk, chosen.id)
            if (one := seen.one)
        ]

    found = at_desk(work)
    emit(found) if json else table(found)


def _bring_in(kind: ImportKind, file: Path, source: str, program: UUID | None) -> Exit:
    if ROW_ID.fullmatch(source) is None:
        raise CommandError(
            "--source takes 1 to 128 printable characters of ASCII, no blank at either end", Exit.USAGE
        )
    if file.is_file() and not file.stat().st_size:
        raise CommandError(f"{file} is empty", Exit.REFUSED)
    terminal = sys.stderr.isatty()

    def told(rows: int, read_to: int, size: int) -> None:
        if terminal:
            print(f"\r{rows:,} rows, {read_to * 100 // max(1, size)} %", end="", file=sys.stderr, flush=True)

    async def work(desk: Desk) -> Brought:
        chosen = await desk.program(program)
        return await bring_in(desk, chosen.id, kind, file, source, told)

    try:
        brought = at_desk(work)
    except OSError as error:
        raise unreadable(file, error) from error
    finally:
        if terminal:
            say("")
    for one in brought.rejections:
        print(f"line {one.line}{f', {one.column}' * (one.column is not None)}: {one.detail} ({one.code})")
    figures = brought.progress
    if figures.rejected > len({one.line for one in brought.rejections}):
        print(f"… GET /v1/imports/{brought.id}/rejections has the others")
    print(
        f"import {kind}: {figures.rows:,} rows, {figures.done:,} done, {figures.unchanged:,} unchanged,"
        f" {figures.rejected:,} rejected"
    )
    if brought.run.state is RunState.FAILED:
        result = brought.run.result or {}
        if "detail" not in result:  # nobody refused it
            raise CommandError(f"Run {brought.run.id} has failed: it was tried too often")
        raise CommandError(f"Refused ({result['code']}): {result['detail']}", Exit.REFUSED)
    return Exit.REFUSED if figures.rejected else Exit.OK
