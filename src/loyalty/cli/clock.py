"""`loyalty clock`: where a program's clock stands; a sandbox program's is set forward here."""

from datetime import datetime, timedelta
from uuid import UUID

from cyclopts import App

from loyalty.cli.frame import CommandError, Exit, at_desk, emit
from loyalty.operating.desk import Desk

app = App(name="clock", help="Show a program's clock; set a sandbox program's clock forward.")


@app.command
def show(*, program: UUID | None = None, json: bool = False) -> None:
    """The program's instant.

    Parameters
    ----------
    program
        Id of the program; not needed where there is only one.
    json
        Write JSON instead of text.
    """

    async def work(desk: Desk) -> tuple[UUID, str, datetime]:
        chosen = await desk.program(program)
        return chosen.id, chosen.kind.value, await desk.runtime.now(chosen.id)

    program_id, kind, now = at_desk(work)
    emit({"program": program_id, "kind": kind, "now": now}) if json else print(now.isoformat())


@app.command
def advance(to: datetime | None = None, *, days: float | None = None, program: UUID | None = None) -> None:
    """Move the clock of a sandbox program forward to TO, or by a number of days, and print the new instant.

    What falls due on the way is written at its own instant; nobody else writes until the clock is there.

    Parameters
    ----------
    to
        The new instant, with an offset.
    days
        How many days of 24 hours forward instead.
    program
        Id of the program; not needed where there is only one.
    """
    if (to is None) == (days is None):
        raise CommandError("Say either the new instant or --days", Exit.USAGE)
    if days is not None and not 0 <= days <= 100_000:
        raise CommandError("--days goes from 0 to 100000", Exit.USAGE)
    if to is not None and to.tzinfo is None:
        raise CommandError("The instant needs an offset, such as 2026-01-01T00:00:00+01:00", Exit.USAGE)

    async def work(desk: Desk) -> datetime:
        chosen = await desk.program(program)
        target = to if to is not None else await desk.runtime.now(chosen.id) + timedelta(days=days or 0)
        return await desk.advance_clock(chosen.id, target)

    print(at_desk(work).isoformat())
