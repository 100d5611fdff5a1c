"""`loyalty rollforward`: what came to members and went from them, period by period. Writes nothing.

Exit 4 when a period does not add up, or the last closing is not what the accounts hold.
"""

from typing import Annotated, Literal
from uuid import UUID

from cyclopts import App, Parameter
from msgspec.structs import asdict

from loyalty.base.calendar import RoundUp
from loyalty.cli.frame import CommandError, Exit, at_desk, emit, say, table
from loyalty.ledger.rollforward import COLUMNS, RollForward
from loyalty.operating.desk import Desk
from loyalty.posting.service import roll_forward

app = App(name="rollforward", help="All members' points period by period, checked against the accounts.")

_ALWAYS = ("earned", "redeemed", "expired")

Flag = Annotated[bool, Parameter(negative="")]


@app.default
def rollforward(
    *,
    program: UUID | None = None,
    by: Literal["month", "day"] = "month",
    points_currency: str | None = None,
    json: Flag = False,
) -> int:
    """Opening, what came, what went, closing: for every local month or day up to the program's instant.

    What is due but not yet written counts as if it were. Columns in which nothing ever moved, and
    periods in which nothing did, are left out.

    Parameters
    ----------
    program
        Id of the program; not needed where there is only one.
    by
        Length of a period.
    points_currency
        Only these points; default: all, one after the other.
    json
        Write JSON, with all columns and periods.
    """

    async def work(desk: Desk) -> tuple[UUID, RollForward]:
        chosen = await desk.program(program)
        rolled = await roll_forward(desk.runtime, chosen.id, RoundUp(by))
        if points_currency is None:
            return chosen.id, rolled
        if points_currency not in (await desk.runtime.history(chosen.id)).now.currencies:
            raise CommandError(f"The program has no points {points_currency!r}", Exit.USAGE)
        return chosen.id, rolled.of(points_currency)

    program_id, rolled = at_desk(work)
    differences = rolled.differences()
    if json:
        emit(
            {
                "program": program_id,
                "by": by,
                "at": rolled.at,
                "periods": [asdict(one) for one in rolled.periods],
                "accounts": rolled.accounts,
                "differences": differences,
            }
        )
    else:
        _tell(rolled)
        for one in differences:
            say(one)
        outcome = f"{len(differences)} differences" if differences else "all adds up"
        say(f"rollforward: {len(rolled.periods):,} periods to {rolled.at.isoformat()}, {outcome}")
    return Exit.DIFFERENCES if differences else Exit.OK


def _tell(rolled: RollForward) -> None:
    several = len({one.points_currency for one in rolled.periods}) > 1
    rows = [asdict(one) for one in rolled.periods]
    moved = [name for name in (*COLUMNS, "owed") if any(row[name] for row in rows)]
    shown = [
        *["points_currency"] * several,
        "period",
        "opening",
        *(name for name in COLUMNS if name in moved or name in _ALWAYS),
        "closing",
        *["owed"] * ("owed" in moved),
    ]
    owed: dict[str, int] = {}  # by points currency, after the period before
    for row in rows:
        before = owed.get(row["points_currency"], 0)
        owed[row["points_currency"]] = row["owed"]
        row["moved"] = row["owed"] != before or any(row[name] for name in COLUMNS)
    table([{name: row[name] for name in shown} for row in rows if row["moved"]])
