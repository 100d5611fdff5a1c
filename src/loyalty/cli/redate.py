"""`loyalty redate`: what a changed policy of expiry would do to the points there are, and doing it."""

from typing import Any
from uuid import UUID

from cyclopts import App

from loyalty.cli.frame import at_desk, emit, say, table
from loyalty.jobs.types import Run
from loyalty.operating.desk import Desk

app = App(
    name="redate", help="Apply a changed policy of expiry to the points there are: plan, look, confirm."
)


@app.command
def plan(*, points_currency: str, program: UUID | None = None, json: bool = False) -> None:
    """Find what would change, and change nothing.

    Parameters
    ----------
    points_currency
        Code of the points currency.
    program
        Id of the program; not needed where there is only one.
    json
        Write JSON instead of text.
    """

    async def work(desk: Desk) -> Run:
        return await desk.plan_redates((await desk.program(program)).id, points_currency)

    run = at_desk(work)
    if _tell(run, json) and run.result and run.result["lots"]:
        say(f"Next: loyalty redate confirm {run.id}")


@app.command
def confirm(run: UUID, *, program: UUID | None = None, json: bool = False) -> None:
    """Do what the plan RUN found, if the policy is still the same.

    Parameters
    ----------
    run
        The id that `loyalty redate plan` printed.
    program
        Id of the program; not needed where there is only one.
    json
        Write JSON instead of text.
    """

    async def work(desk: Desk) -> Run:
        return await desk.confirm_redates((await desk.program(program)).id, run)

    _tell(at_desk(work), json)


def _tell(run: Run, json: bool) -> bool:
    """Write what came of a run; whether it was for a person to read."""
    told: dict[str, Any] = {"run": run.id, **(run.result or {})}
    if json:
        emit(told)
        return False
    months = told.pop("months", {})
    for name, value in told.items():
        print(f"{name}: {value}")
    table(
        [
            {"last month": old, "new last month": new, **count}
            for old, news in sorted(months.items())
            for new, count in sorted(news.items())
        ]
    )
    return True
