"""`loyalty checkpoint`: the hashes of the blocks that closed a day, for an auditor to keep outside."""

import sys
from pathlib import Path
from uuid import UUID

import asyncpg
from cyclopts import App

from loyalty.cli.frame import CommandError, Exit, at_desk, say
from loyalty.ledger.verify.checkpoint import Checkpoint, checkpoints, to_lines
from loyalty.operating.desk import Desk

app = App(name="checkpoint", help="Note where the chain stands in a file that an auditor keeps.")


@app.default
def note(*, program: UUID | None = None, out: Path | None = None) -> None:
    """Write the blocks that closed a day, and each lane's newest block, as JSON lines.

    Keep the file where nobody who can write to the database can write to it; `loyalty verify --checkpoint FILE`
    compares.

    Parameters
    ----------
    program
        Id of one program; default: all.
    out
        File to write; one that is there is refused, what was noted before is worth keeping. Default: stdout.
    """
    if out is not None and out.exists():
        raise _taken(out)
    noted = at_desk(lambda desk: _note(desk, program))
    text = to_lines(noted)
    if out is None:
        sys.stdout.buffer.write(text)
        return
    try:
        with out.open("xb") as file:
            file.write(text)
    except FileExistsError as error:
        raise _taken(out) from error
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}", Exit.USAGE) from error
    say(f"Noted {len(noted)} block{'s' * (len(noted) != 1)} in {out}.")


def _taken(out: Path) -> CommandError:
    return CommandError(f"{out} is there already: name another file, no note is overwritten", Exit.USAGE)


async def _note(desk: Desk, program: UUID | None) -> list[Checkpoint]:
    chosen = await desk.programs() if program is None else [await desk.program(program)]
    async with asyncpg.create_pool(desk.runtime.settings.database_url, min_size=1, max_size=1) as pool:
        return [one for each in chosen for one in await checkpoints(pool.acquire, each.id)]
