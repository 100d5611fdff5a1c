"""`loyalty jobs`: what is due and since when, long work and what became of it, and when the nightly work was done."""

import textwrap
from datetime import datetime, timedelta
from uuid import UUID

from cyclopts import App

from loyalty.cli.frame import at_desk, emit, table
from loyalty.jobs.overview import Due, Overview, overviews
from loyalty.jobs.types import Run
from loyalty.operating.desk import Desk

app = App(name="jobs", help="What is due and since when, long work, and the last nightly work.")


@app.default
def show(*, program: UUID | None = None, json: bool = False) -> None:
    """What the worker has to do, program by program, each by its own clock.

    Parameters
    ----------
    program
        Id of the program; default: every program of the installation.
    json
        Write JSON instead of text.
    """

    async def work(desk: Desk) -> list[Overview]:
        chosen = await desk.programs() if program is None else [await desk.program(program)]
        return await overviews(desk.runtime, chosen)

    found = at_desk(work)
    if json:
        emit(found)
        return
    for one in found:
        _tell(one)


def _tell(one: Overview) -> None:
    print(f"Program {one.program_id} ({one.kind}), {one.now:%Y-%m-%d %H:%M} UTC by its clock")
    works = {"accounts": one.accounts, "standings": one.standings, "days to close": one.days}
    works["days of notices"] = one.notices
    table([_due(what, due, one.now) for what, due in works.items()])
    closed = "never" if one.closed_at is None else f"{one.closed_on} at {one.closed_at:%Y-%m-%d %H:%M} UTC"
    verified = "never" if one.verified_at is None else f"{one.verified_at:%Y-%m-%d %H:%M} UTC"
    found = "" if one.broken is None else f", {one.broken:,} broken"
    print(f"last: day closed {closed}; notices up to {one.told_on or 'never'}; verified {verified}{found}")
    table([_run(run) for run in one.runs])
    print()


def _due(what: str, due: Due, now: datetime) -> dict[str, object]:
    if due.since is None:
        return {"due": what, "count": 0, "since": "-", "for": "-"}
    for_so_long = str(now - due.since - timedelta(microseconds=(now - due.since).microseconds))
    return {
        "due": what,
        "count": f"{due.count:,}",
        "since": f"{due.since:%Y-%m-%d %H:%M} UTC",
        "for": for_so_long,
    }


def _run(run: Run) -> dict[str, object]:
    result = run.result or {}
    return {
        "run": run.id,
        "kind": run.kind,
        "state": run.state,
        "tries": run.tries,
        "created": f"{run.created_at:%Y-%m-%d %H:%M} UTC",
        "error": textwrap.shorten(result.get("detail") or result.get("code") or "-", 80, placeholder=" …"),
    }
