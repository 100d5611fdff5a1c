"""`loyalty jobs`: what is due and since when, long work and what became of it, and when the nightly work was done."""

import textwrap
from datetime import datetime, timedelta
from uuid import UUID

from cyclopts import App

from loyalty.cli.frame import at_desk, emit, table
from loyalty.jobs.overview import Due, Overview, overviews
from loyalty.jobs.runs import SILENCE
from loyalty.jobs.types import Run, RunState
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

    async def work(desk: Desk) -> tuple[list[Overview], datetime]:
        chosen = await desk.programs() if program is None else [await desk.program(program)]
        return await overviews(desk.runtime, chosen), desk.now() - SILENCE

    found, silent_since = at_desk(work)
    if json:
        emit(found)
        return
    for one in found:
        _tell(one, silent_since)


def _tell(one: Overview, silent_since: datetime) -> None:
    print(f"Program {one.program_id} ({one.kind}), {one.now:%Y-%m-%d %H:%M} UTC by its clock")
    works = {"accounts": one.accounts, "standings": one.standings, "days to close": one.days}
    works["days of notices"] = one.notices
    table([_due(what, due, one.now) for what, due in works.items()])
    closed = "never" if one.closed_at is None else f"{one.closed_on} at {one.closed_at:%Y-%m-%d %H:%M} UTC"
    verified = "never" if one.verified_at is None else f"{one.verified_at:%Y-%m-%d %H:%M} UTC"
    found = "" if one.broken is None else f", {one.broken:,} broken"
    print(f"last: day closed {closed}; notices up to {one.told_on or 'never'}; verified {verified}{found}")
    table([_run(run, silent_since) for run in one.runs])
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


def _run(run: Run, silent_since: datetime) -> dict[str, object]:
    result = run.result or {}
    seen = run.seen_at
    silent = run.state is RunState.RUNNING and seen is not None and seen < silent_since
    return {
        "run": run.id,
        "kind": run.kind,
        "state": run.state,
        "tries": run.tries,
        "created": f"{run.created_at:%Y-%m-%d %H:%M} UTC",
        # Of a run that another worker may take over: the one that had it has died.
        "last seen": f"{seen:%Y-%m-%d %H:%M:%S} UTC" if silent else "-",
        "error": textwrap.shorten(result.get("detail") or result.get("code") or "-", 80, placeholder=" …"),
    }
