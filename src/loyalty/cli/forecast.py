"""`loyalty forecast`: what happens by itself in the coming year. Writes nothing."""

from uuid import UUID

import asyncpg
from cyclopts import App

from loyalty.base.money import amount, counted
from loyalty.cli.frame import at_desk, bars, emit, say, table
from loyalty.insight.ahead.forecast import forecast
from loyalty.insight.ahead.types import Forecast
from loyalty.operating.desk import Desk

app = App(name="forecast", help="Say what happens by itself in the coming year.")


@app.default
def forecast_year(*, program: UUID | None = None, json: bool = False) -> None:
    """Points that activate and expire, and tiers that move, week by week, if nothing else happens.

    Parameters
    ----------
    program
        Id of the program; not needed where there is only one.
    json
        Write JSON instead of columns.
    """

    async def work(desk: Desk) -> Forecast:
        chosen = await desk.program(program)
        now = await desk.runtime.now(chosen.id)
        # Plans and time-outs of its own: the road's connections are tuned for small statements.
        async with asyncpg.create_pool(desk.runtime.settings.database_url, min_size=1, max_size=1) as pool:
            with bars(f"Program {chosen.id}", {"members": "members"}) as told:
                return await forecast(pool.acquire, chosen.id, now, told)

    found = at_desk(work)
    if json:
        emit(found)
        return
    members = counted(found.members, "members", "member")
    say(f"What happens by itself from {found.now.isoformat()} on, of {members}:")
    table(
        [
            {
                "week": week.begins_on,
                "points": one.points_currency,
                "activate": f"{one.activates:,}",
                "of members": f"{one.activates_members:,}",
                "expire": f"{one.expires:,}",
                "of members ": f"{one.expires_members:,}",
                "worth": "-" if one.expires_minor is None else amount(one.expires_minor, found.money),
            }
            for week in found.weeks
            for one in week.points
        ]
    )
    moves = [(week.begins_on, one) for week in found.weeks for one in week.moves]
    if not moves and not any(week.points for week in found.weeks):
        print("nothing within a year")
    if moves:
        print()
    table(
        [
            {
                "week": on,
                "tier set": one.tier_set,
                "before": one.before or "-",
                "after": one.after or "-",
                "members": f"{one.members:,}",
            }
            for on, one in moves
        ]
    )
