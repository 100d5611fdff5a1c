"""`loyalty verify`: recompute the books of one program or all, and name whatever is broken. Changes nothing in them.

Exit 4 when something is broken. It runs beside traffic, as the application's own role, and leaves its report as a run.
"""

import resource
import time
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
from cyclopts import App

from loyalty.base.collector import settle_collector
from loyalty.base.errors import LoyaltyError
from loyalty.cli.frame import CommandError, Exit, at_desk, bars, emit, say, unreadable
from loyalty.ledger.verify import Checkpoint, Figures, Report, verify
from loyalty.ledger.verify.checkpoint import CheckpointFileWrong, from_lines
from loyalty.operating.desk import Desk
from loyalty.posting.reviews import reviews

app = App(name="verify", help="Recompute the books and name whatever is broken.")

_PHASES = {"chain": "blocks of the chain", "accounts": "accounts", "links": "counters and keys"}


@app.default
def verify_books(*, program: UUID | None = None, checkpoint: Path | None = None, json: bool = False) -> int:
    """Recompute every hash, balance, lot and counter from the rows, and name the first broken ones.

    Parameters
    ----------
    program
        Id of the program; default: every program of the installation.
    checkpoint
        A file that `loyalty checkpoint` wrote: is every block that it noted still there, and the same?
    json
        Write the reports as JSON.
    """
    noted = None if checkpoint is None else _read(checkpoint)
    settle_collector()
    started = time.monotonic_ns()
    reports = at_desk(lambda desk: _verify(desk, program, noted))
    milliseconds = max(1, (time.monotonic_ns() - started) // 1_000_000)
    if json:
        emit(reports)
    else:
        for report in reports:
            _tell(report)
        print(_figures(reports, milliseconds))
    return Exit.OK if all(report.intact for report in reports) else Exit.DIFFERENCES


async def _verify(desk: Desk, program: UUID | None, noted: list[Checkpoint] | None) -> list[Report]:
    programs = await desk.programs() if program is None else [await desk.program(program)]
    wanted = [one.id for one in programs]
    strange = {one.program for one in noted or ()} - set(wanted)
    if program is None and strange:
        raise CommandError(
            f"The checkpoint notes program {min(strange)}, which is not there", Exit.DIFFERENCES
        )
    reports: list[Report] = []
    # Plans and time-outs of its own: the road's connections are tuned for small statements.
    async with asyncpg.create_pool(desk.runtime.settings.database_url, min_size=1, max_size=2) as pool:
        for id in wanted:
            began_at = desk.now()
            with bars(f"Program {id}", _PHASES) as told:
                report = await verify(pool.acquire, id, progress=told, checkpoint=noted, also=(reviews,))
            reports.append(report)
            try:
                await desk.note_verified(report, began_at)
            except LoyaltyError as error:  # what was found is told all the same
                say(f"The verification of program {id} is not noted ({error.code}).")
    return reports


def _read(file: Path) -> list[Checkpoint]:
    try:
        return from_lines(file.read_bytes())
    except OSError as error:
        raise unreadable(file, error) from error
    except CheckpointFileWrong as error:
        raise CommandError(f"{file} is not a checkpoint file: {error}", Exit.USAGE) from error


def _tell(report: Report) -> None:
    """The findings of one program, a line each."""
    for finding in report.findings:
        key = " ".join(f"{name}={value}" for name, value in finding.key.items())
        print(f"{finding.table} {key}: {finding.what} ({finding.check})")
    untold = report.broken - len(report.findings)
    if untold:
        print(f"… and {untold:,} more in program {report.program_id}")
    if not report.intact:
        say(f"Program {report.program_id} is broken.")


def _figures(reports: list[Report], milliseconds: int) -> str:
    """The plain last line."""
    total = Figures()
    for report in reports:
        for name, value in msgspec.structs.asdict(report.figures).items():
            setattr(total, name, getattr(total, name) + value)
    seen = ", ".join(
        f"{value:,} {name if value != 1 else name.removesuffix('s') if name != 'entries' else 'entry'}"
        for name, value in msgspec.structs.asdict(total).items()
        if value
    )
    broken = sum(report.broken for report in reports)
    rate = total.decisions * 1000 // milliseconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return (
        f"verify: {len(reports)} program{'s' * (len(reports) != 1)}, {seen or 'nothing'}, {broken:,} broken, "
        f"{milliseconds // 1000}.{milliseconds % 1000:03} s, {rate:,} decisions/s, {peak} MB at most"
    )
