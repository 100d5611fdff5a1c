"""Real purchases through the API, and the same points computed from the raw files by other means: to the point.

Households go through the demo's program once, again, shuffled, with duplicates, next week and with clocks of other
countries; others live a year under the program of the definitions, day by day: with SIZE=9 a tenth and a quarter.
"""

import asyncio
import csv
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import pytest

from loyalty.cli.program import load_program
from tests.conftest import Database
from tests.kills.api import Api
from tests.oracles import journey
from tests.races.house import JSON, House, environ, open_program

pytestmark = pytest.mark.realdata

PROGRAMS = Path(__file__).parents[2] / "examples" / "programs"
LAST = date(2017, 12, 31)
WEEKS = (datetime.now(UTC).date() - LAST).days // 7 - 1  # the data then ends last week
LATER = (sys.executable, "-m", "tests.oracles.later", "8")
ELSEWHERE = {"TZ": "Asia/Kathmandu"}


# Slices of the households; all but the few are for the long evidence.
A_TENTH = pytest.param(f"household_id % {journey.thin(10)} = 1", marks=pytest.mark.proof)
A_QUARTER = pytest.param(f"household_id % {journey.thin(4)} = 0", marks=pytest.mark.proof)
FEW_AND_LONG_TENTH = pytest.mark.parametrize("households", ["household_id % 600 = 1", A_TENTH])
LONG_TENTH = pytest.mark.parametrize("households", [A_TENTH])
LONG_QUARTER = pytest.mark.parametrize("households", [A_QUARTER])


class Replayed(NamedTuple):
    """What a replay said, and what is in the books of its program afterwards."""

    recorded: int
    replayed: int
    points: dict[int, int]  # by household, those without points left out
    entries: int


async def loyalty(*arguments: str, **more: str) -> JSON:
    """The JSON that one command line writes."""
    command = [str(Path(sys.executable).with_name("loyalty")), *arguments, "--json"]
    ended = await asyncio.to_thread(
        subprocess.run, command, env=os.environ | more, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return msgspec.json.decode(ended.stdout)


async def replay(house: House, households: str, *more: str, **environment: str) -> Replayed:
    """Post the purchases to the house's API with eight clients."""
    told = await loyalty(
        "replay", "completejourney", "--where", households, "--shift", str(WEEKS), "--clients", "8",
        "--base-url", f"http://127.0.0.1:{house.apis[0].port}", "--api-key-env", "REPLAY_KEY", *more,
        REPLAY_KEY=house.key, **environment,
    )  # fmt: skip
    assert told["refused"] == {}, told
    await house.whole()
    link = await asyncpg.connect(house.superuser_url)
    rows = await link.fetch(
        """
        SELECT i.value, sum(p.points) FROM postings p
        JOIN entries e ON e.program_id = p.program_id AND e.id = p.entry_id AND e.kind = 'earn'
        JOIN accounts a ON a.program_id = p.program_id AND a.id = e.account_id
        JOIN identifiers i ON i.program_id = p.program_id AND i.member_id = a.owner_id
        WHERE p.program_id = $1 AND p.source = 'issued' GROUP BY 1
        """,
        house.program,
    )
    entries = await link.fetchval("SELECT count(*) FROM entries WHERE program_id = $1", house.program)
    await link.close()
    points = {int(household): int(total) for household, total in rows}
    return Replayed(told["recorded"], told["replayed"], points, entries)


@asynccontextmanager
async def house(database: Database, redis_url: str, api: Api, **more: str) -> AsyncIterator[House]:
    """The demo's program behind one API process."""
    _, configuration = load_program(PROGRAMS / "demo.toml")
    program, key = await open_program(database.app_url, redis_url, msgspec.to_builtins(configuration), **more)
    await api.start()
    try:
        yield House(database.app_url, database.superuser_url, program, key, [api])
    finally:
        await api.stop()


@asynccontextmanager
async def served_later(there: House, environment: Mapping[str, str]) -> AsyncIterator[House]:
    """The same program served by a process whose clock is eight days ahead."""
    api = Api(environment, command=LATER)
    api.ready = "/health/live"  # a clock so far off the database's is never ready for real traffic
    await api.start()
    try:
        yield House(there.app_url, there.superuser_url, there.program, there.key, [api])
    finally:
        await api.stop()


@FEW_AND_LONG_TENTH
async def test_a_year_of_purchases_earns_what_the_raw_data_says(
    database: Database, redis_url: str, households: str
) -> None:
    bought = journey.baskets(households, timedelta(weeks=WEEKS))
    expected = {h: points for h, points in journey.corner_grocery(bought).items() if points}
    variables = environ(database.app_url, redis_url)
    async with house(database, redis_url, Api(variables)) as there:
        first = await replay(there, households)
        assert first[:3] == (len(bought), 0, expected)
        again = await replay(there, households)
        assert again == (0, len(bought), expected, first.entries)
        async with served_later(there, variables) as ahead:
            assert await replay(ahead, households) == again


@LONG_TENTH
async def test_order_and_duplicates_play_no_part(database: Database, redis_url: str, households: str) -> None:
    bought = journey.baskets(households, timedelta(weeks=WEEKS))
    expected = {h: points for h, points in journey.corner_grocery(bought).items() if points}
    async with house(database, redis_url, Api(environ(database.app_url, redis_url))) as there:
        told = await replay(there, households, "--shuffle", "17", "--duplicates", "10")
        assert told.recorded == len(bought)
        assert len(bought) * 0.05 < told.replayed < len(bought) * 0.15
        assert told.points == expected
        entries = told.entries
    async with house(database, redis_url, Api(environ(database.app_url, redis_url))) as there:
        straight = await replay(there, households)
        assert straight.entries == entries


@LONG_TENTH
async def test_the_clocks_of_other_countries_play_no_part(
    database: Database, redis_url: str, households: str
) -> None:
    bought = journey.baskets(households, timedelta(weeks=WEEKS))
    expected = {h: points for h, points in journey.corner_grocery(bought).items() if points}
    link = await asyncpg.connect(database.superuser_url)
    await link.execute(
        f"ALTER DATABASE {await link.fetchval('SELECT current_database()')} SET timezone = 'Pacific/Apia'"
    )
    await link.close()
    variables = environ(database.app_url, redis_url) | ELSEWHERE
    async with house(database, redis_url, Api(variables)) as there:
        told = await replay(there, households, **ELSEWHERE)
        assert told[:3] == (len(bought), 0, expected)


@LONG_QUARTER
async def test_points_expire_day_by_day_as_the_definitions_say(
    database: Database, redis_url: str, tmp_path: Path, households: str
) -> None:
    bought = journey.baskets(households)
    expected, tiers = journey.ninety_days(bought, LAST), journey.tiers(bought, LAST)
    out, monthly = tmp_path / "totals.csv", tmp_path / "months.csv"
    told = await loyalty(
        "replay", "completejourney", "--program", str(PROGRAMS / "journey-a.toml"), "--where", households,
        "--clock", "data", "--totals", str(out), "--totals-monthly", str(monthly),
        **environ(database.app_url, redis_url),
    )  # fmt: skip
    with out.open() as file:
        found = {int(row["household"]): row for row in csv.DictReader(file)}
    totals = {
        household: journey.Figures(int(row["earned"]), int(row["expired"]))
        for household, row in found.items()
    }
    assert totals == expected
    assert all(int(row["redeemed"]) == 0 for row in found.values())
    assert {household: row["tier"] for household, row in found.items()} == tiers
    with monthly.open() as file:
        rolled = {
            row["period"]: tuple(int(row[name]) for name in ("opening", "earned", "expired", "closing"))
            for row in csv.DictReader(file)
        }
    assert rolled == journey.ninety_days_by_month(bought, LAST)
    assert {h: int(row["outstanding"]) for h, row in found.items()} == {
        h: figures.outstanding for h, figures in expected.items()
    }
    print(f"\n{len(totals)} households, {told['recorded']} purchases, {journey.fingerprint(totals)}")
    await House(database.app_url, database.superuser_url, UUID(told["program_id"]), "", []).whole()


@LONG_QUARTER
async def test_points_are_spent_oldest_first_as_the_definitions_say(
    database: Database, redis_url: str, tmp_path: Path, households: str
) -> None:
    people, months = journey.ninety_days_with_spending(journey.baskets(households), LAST, 200)
    out, monthly = tmp_path / "totals.csv", tmp_path / "months.csv"
    told = await loyalty(
        "replay", "completejourney", "--program", str(PROGRAMS / "journey-a.toml"), "--where", households,
        "--clock", "data", "--redeem", "200", "--totals", str(out), "--totals-monthly", str(monthly),
        **environ(database.app_url, redis_url),
    )  # fmt: skip
    assert told["refused"] == {}
    with out.open() as file:
        found = {int(row.pop("household")): row for row in csv.DictReader(file)}
    figures = ("earned", "redeemed", "expired", "outstanding")
    assert {h: tuple(int(row[name]) for name in figures) for h, row in found.items()} == {
        h: (*spent, spent.outstanding) for h, spent in people.items()
    }
    assert told["payments"] * 200 == told["redeemed"] == sum(spent.redeemed for spent in people.values()) > 0
    with monthly.open() as file:
        rolled = {row["period"]: row for row in csv.DictReader(file)}
    assert {m: tuple(int(row[name]) for name in figures[:3]) for m, row in rolled.items()} == months
    closing = 0
    for month in sorted(months):
        row = {name: int(figure) for name, figure in list(rolled[month].items())[2:]}
        assert row["opening"] == closing
        closing += row["earned"] - row["redeemed"] - row["expired"]
        assert row["closing"] == closing
    assert closing == sum(spent.outstanding for spent in people.values())
    print(
        f"\n{len(people)} households, {told['recorded']} purchases, {told['payments']} payments, {closing} left"
    )
    await House(database.app_url, database.superuser_url, UUID(told["program_id"]), "", []).whole()


def test_the_figures_of_the_definitions_stand() -> None:
    """The other means have not drifted either: one hash over a quarter of the households."""
    found = journey.ninety_days(journey.baskets("household_id % 4 = 0"), LAST)
    assert (len(found), sum(f.earned for f in found.values())) == (617, 1_159_156)
    assert journey.fingerprint(found).startswith("0e893aeeaedc918a")
