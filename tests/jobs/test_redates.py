"""A changed policy of expiry reaches the lots there are: planned, confirmed and done by runs.

In eight lanes in the module beside this one.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from loyalty.base.clock import random62
from loyalty.base.database import reading, transaction
from loyalty.base.ids import Ids
from loyalty.jobs import redates, runs
from loyalty.jobs.moves import moves_left
from loyalty.jobs.redates import confirmed, plan_of
from loyalty.jobs.runs import TRIES_MAX, execute, waiting_runs
from loyalty.jobs.service import get_run, queue_run
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.jobs.works import WORKS
from loyalty.ledger import service as ledger
from loyalty.ledger.verify import verify
from loyalty.members.cells import cell_of
from loyalty.posting.commands import AdvanceClock, Command, MoveClock, Publish
from loyalty.posting.runtime import Runtime
from loyalty.posting.types import PointsCurrencyUnknown, RedatePlanStale
from loyalty.programs.types import NeverExpires, PointsCurrency, Rolling
from tests.conftest import Database
from tests.posting.live import LiveShop, StandingClock, count, open_shop, serving, superuser
from tests.posting.shop import NOW, ago, cancel, hold, imported, program, purchase

MONTH, QUARTER = Rolling(days=30), Rolling(days=90)
CARDS = tuple(f"60355511{n:02}" for n in range(9))


@pytest_asyncio.fixture
async def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def cells() -> int:
    return 1


@pytest_asyncio.fixture
async def runtime(database: Database, clock: StandingClock, cells: int) -> AsyncIterator[Runtime]:
    async with serving(database, clock, cells=cells) as runtime:
        yield runtime


async def queued(shop: LiveShop, kind: RunKind, given: dict[str, Any]) -> Run:
    runtime = shop.runtime
    ids = Ids(runtime.clock.now_ms, random62)
    async with transaction(runtime.engine, shop.id) as connection:
        return await queue_run(connection, shop.id, kind, at=runtime.clock.now(), ids=ids, given=given)


async def again(shop: LiveShop, run: Run) -> Run:
    async with reading(shop.runtime.engine, shop.id) as connection:
        return await get_run(connection, shop.id, run.id)


async def finished(shop: LiveShop, run: Run) -> Run:
    await execute(shop.runtime, shop.id, run.id, WORKS)
    return await again(shop, run)


async def asked(shop: LiveShop) -> Run:
    history, now = await shop.runtime.history(shop.id), await shop.runtime.now(shop.id)
    return await queued(shop, RunKind.REDATE_PLAN, plan_of("points", history, now))


async def planned(shop: LiveShop) -> Run:
    plan = await finished(shop, await asked(shop))
    assert plan.state is RunState.SUCCEEDED, plan.result
    return plan


async def confirm(shop: LiveShop, plan: Run, digest: str | None = None) -> Run:
    assert plan.result is not None
    history, now = await shop.runtime.history(shop.id), await shop.runtime.now(shop.id)
    given = confirmed(plan, digest or plan.result["digest"], history, now)
    runtime = shop.runtime
    ids = Ids(runtime.clock.now_ms, random62)
    async with transaction(runtime.engine, shop.id) as connection:
        run, _ = await redates.confirm(connection, plan, given, at=runtime.clock.now(), ids=ids)
    return run


async def ends(database: Database, shop: LiveShop) -> dict[str, int]:
    """How many open lots have which end."""
    query = """SELECT coalesce(to_char(expires_at AT TIME ZONE 'Europe/Berlin', 'MM-DD'), 'never'), count(*)
               FROM lots WHERE program_id = $1 AND is_open GROUP BY 1"""
    async with superuser(database) as link:
        return {row[0]: row[1] for row in await link.fetch(query, shop.id)}


async def stocked(runtime: Runtime, **points: Any) -> LiveShop:
    """Nine members with a lot of 10 points each, good for 30 days; one more has points with an end of their own."""
    shop = await open_shop(runtime, members=(*CARDS, "own"), expiry=MONTH, **points)
    await shop.together(*(purchase(f"R-{n}", of=card) for n, card in enumerate(CARDS)))
    await shop.done(imported(5, of="own", expires_at=NOW + timedelta(days=5)))
    return shop


async def whole(runtime: Runtime, shop: LiveShop) -> None:
    report = await verify(runtime.pool.acquire, shop.id)
    assert report.intact, report.findings


async def test_a_plan_tells_what_would_change_and_changes_nothing(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redates, "CHUNK", 2)
    shop = await stocked(runtime)
    await shop.done(purchase("R-old", at=ago(days=25), of=CARDS[0]), hold(3, of=CARDS[0]))
    nothing = await planned(shop)
    assert nothing.result is not None
    assert (nothing.result["members"], nothing.result["months"]) == (0, {})
    await shop.done(Publish(program(expiry=Rolling(days=20))))
    plan = await planned(shop)
    assert plan.result is not None
    digest = plan.result.pop("digest")
    assert plan.result == {
        "points_currency": "points",
        "configuration": 2,
        "day": "2026-11-20",
        "members": 9,
        "lots": 10,
        "points": 100,
        "expiring": 7,  # three are held
        "expiring_members": 1,
        "months": {
            "2026-12": {"2026-12": {"lots": 9, "points": 90}},
            "2026-11": {"2026-11": {"lots": 1, "points": 10}},
        },
    }
    assert len(digest) == 64
    assert await count(database, "entries", shop.id, "kind = 'redate'") == 0
    with pytest.raises(PointsCurrencyUnknown):
        plan_of("stars", await runtime.history(shop.id), NOW)


async def test_what_is_confirmed_is_done_once(
    runtime: Runtime, database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redates, "CHUNK", 2)
    shop = await stocked(runtime)
    clock.at = NOW + timedelta(days=1)
    await shop.done(Publish(program(expiry=QUARTER)))
    plan = await planned(shop)
    done, again = [await finished(shop, await confirm(shop, plan)) for _ in range(2)]
    assert done.result is not None
    assert (done.state, done.result["members"], again) == (RunState.SUCCEEDED, 9, done)
    assert ((await planned(shop)).result or {})["members"] == 0
    assert await ends(database, shop) == {"02-18": 9, "11-25": 1}
    assert await count(database, "entries", shop.id, "kind = 'redate'") == 9
    assert await count(database, "engagement_events", shop.id, "type = 'loyalty.points.redated'") == 9
    await whole(runtime, shop)
    # Undoing and expiring go by the new dates, and the books of before say what they said.
    owner = (await shop.done(cancel("R-0")))["member_id"]
    assert owner is not None
    who = ledger.Owner(shop.id, cell_of(UUID(owner), runtime.settings.cells), UUID(owner))
    zone, currency = ZoneInfo("Europe/Berlin"), PointsCurrency("points", "points")
    async with reading(runtime.engine, shop.id) as connection:
        for as_of, last_day in ((NOW, "2026-12-19"), (clock.at, None)):
            then = await ledger.balances(
                connection, runtime.aside, who, [currency], zone, clock.at, as_of=as_of
            )
            (balance,) = then.balances
            told = None if balance.expiring is None else str(balance.expiring.last_day_on)
            assert (told, balance.available) == (last_day, 10 if last_day else 0)
    clock.at = NOW + timedelta(days=60)
    assert (await shop.done(purchase("R-new", of=CARDS[1], at=clock.at))).balance == {"available": 20}
    clock.at = NOW + timedelta(days=91)
    assert (await shop.done(purchase("R-late", of=CARDS[2], at=clock.at))).balance == {"available": 10}
    await whole(runtime, shop)


async def test_a_redate_waits_for_a_clock_on_its_way(runtime: Runtime, database: Database) -> None:
    shop = await stocked(runtime, clock_at=NOW)
    await shop.done(Publish(program(expiry=QUARTER)))
    run = await confirm(shop, await planned(shop))
    await shop.done(MoveClock(NOW + timedelta(days=1)))
    for _ in range(TRIES_MAX + 1):
        assert (await finished(shop, run)).state is RunState.QUEUED
    assert await moves_left(runtime) == 1
    for waiting in await waiting_runs(runtime):
        await execute(runtime, waiting.program_id, waiting.id, WORKS)
    done = await finished(shop, run)
    assert done.result is not None
    assert (done.state, done.tries, done.result["members"]) == (RunState.SUCCEEDED, 1, 9)
    await whole(runtime, shop)


async def test_a_run_that_dies_half_way_is_taken_over_where_it_was(
    runtime: Runtime, database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redates, "CHUNK", 2)
    shop = await stocked(runtime)
    await shop.done(Publish(program(expiry=QUARTER)))
    run = await confirm(shop, await planned(shop))
    really, sent, stuck = redates.send, 0, asyncio.Event()

    async def dies(at: Runtime, program_id: UUID, commands: Mapping[str, Command], fine: Any) -> Any:
        nonlocal sent
        sent += len(commands)
        done = await really(at, program_id, commands, fine)
        if sent >= 3:  # it is done, and nobody has noted it
            stuck.set()
            await asyncio.Event().wait()
        return done

    monkeypatch.setattr(redates, "send", dies)
    dead = asyncio.create_task(execute(runtime, shop.id, run.id, WORKS))
    async with asyncio.timeout(10):
        await stuck.wait()
    before = await count(database, "entries", shop.id, "kind = 'redate'")
    assert 3 <= before < 9
    monkeypatch.setattr(redates, "send", really)

    async def silent(*_: Any) -> bool:
        return True

    # The dead give no signs: one more would carry the time of two minutes later.
    monkeypatch.setattr(runs.store, "sign", silent)
    clock.at = NOW + timedelta(minutes=2)
    done = await finished(shop, run)
    assert (done.state, done.tries) == (RunState.SUCCEEDED, 1), "it came further"
    assert done.result is not None
    assert (done.result["members"], done.result["lots"]) == (9, 9)
    dead.cancel()
    await asyncio.wait({dead})
    assert await count(database, "entries", shop.id, "kind = 'redate'") == 9
    await whole(runtime, shop)


async def test_a_plan_is_stale_once_the_policy_is_another_or_other_figures_are_named(
    runtime: Runtime, database: Database
) -> None:
    shop = await stocked(runtime)
    await shop.done(Publish(program(expiry=QUARTER)))
    plan = await planned(shop)
    with pytest.raises(RedatePlanStale):
        await confirm(shop, plan, "0" * 64)
    run = await confirm(shop, plan)
    await shop.done(Publish(program(expiry=NeverExpires())))
    with pytest.raises(RedatePlanStale):
        await confirm(shop, plan)
    done = await finished(shop, run)  # it was confirmed before, and meets the new policy on its way
    assert (done.state, done.result) == (
        RunState.FAILED,
        {"code": "redate_plan_stale", "detail": RedatePlanStale.title},
    )
    assert await ends(database, shop) == {"12-20": 9, "11-25": 1}


async def test_a_plan_is_good_for_its_day(runtime: Runtime) -> None:
    """By tomorrow more of the points would be over at once than somebody looked at."""
    shop = await stocked(runtime, clock_at=NOW)
    await shop.done(Publish(program(expiry=Rolling(days=20))))
    plan = await planned(shop)
    assert plan.result is not None
    assert plan.result["day"] == f"{NOW.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%d}"
    midnight = (NOW + timedelta(days=1)).astimezone(ZoneInfo("Europe/Berlin")).replace(hour=0, minute=0)
    await shop.done(AdvanceClock(midnight - timedelta(seconds=1)))
    assert (await confirm(shop, plan)).kind is RunKind.REDATE
    await shop.done(AdvanceClock(midnight))
    with pytest.raises(RedatePlanStale):
        await confirm(shop, plan)
