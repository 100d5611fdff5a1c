"""A sandbox program's clock is moved from one due instant to the next, as if somebody had waited for each of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.base.clock import random62
from loyalty.base.database import shared
from loyalty.base.ids import Ids
from loyalty.jobs import moves
from loyalty.jobs.days import close_days
from loyalty.jobs.due import settle_due
from loyalty.jobs.moves import moves_left
from loyalty.jobs.notices import tell_ahead
from loyalty.jobs.runs import TRIES_MAX, TakenOver, execute, waiting_runs
from loyalty.jobs.service import get_run, list_runs
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.jobs.works import WORKS
from loyalty.ledger.verify import verify
from loyalty.operating.desk import Desk
from loyalty.posting.commands import MoveClock, Publish
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import Rolling
from tests.conftest import Database
from tests.posting.live import LiveShop, open_shop, serving, superuser
from tests.posting.shop import ANN, BOB, NOW, adjust, card, hold, ladder, program, purchase

MONTH = Rolling(days=30)
LATER = NOW + timedelta(days=40)
Step = tuple[str, str | None, datetime, datetime]


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


def desk(runtime: Runtime) -> Desk:
    return Desk(runtime, Ids(runtime.clock.now_ms, random62))


async def sandbox(runtime: Runtime, **more: Any) -> LiveShop:
    return await open_shop(runtime, members=(ANN, BOB), clock_at=NOW, expiry=MONTH, pending_days=2, **more)


async def lived(database: Database, shop: LiveShop) -> list[Step]:
    """What happened by itself, when it did, and when it was written; no ids, and nothing of who looked."""
    query = """
        SELECT what, about, at, recorded_at FROM (
            SELECT e.kind AS what, i.value AS about, e.occurred_at AS at, e.recorded_at, e.program_id, e.id::text AS id
            FROM entries e
            JOIN accounts a ON a.program_id = e.program_id AND a.id = e.account_id
            JOIN identifiers i ON i.program_id = e.program_id AND i.member_id = a.owner_id
            UNION ALL
            SELECT m.after, i.value, m.at, b.recorded_at, m.program_id, m.tier_set FROM tier_moves m
            JOIN identifiers i ON i.program_id = m.program_id AND i.member_id = m.member_id
            JOIN decisions d ON d.program_id = m.program_id AND d.id = m.decision_id
            JOIN blocks b ON b.program_id = d.program_id AND b.cell = d.cell AND b.number = d.block_number
            UNION ALL
            SELECT 'closed', closes_on::text, recorded_at, recorded_at, program_id, '' FROM blocks
            WHERE closes_on IS NOT NULL) s
        WHERE program_id = $1 ORDER BY recorded_at, at, about, what
    """
    async with superuser(database) as link:
        return [tuple(row) for row in await link.fetch(query, shop.id)]


async def whole(runtime: Runtime, shop: LiveShop) -> None:
    assert (await verify(runtime.pool.acquire, shop.id, also=(reviews,))).findings == ()


async def shopped(runtime: Runtime) -> LiveShop:
    """Points that activate and expire, a hold that lapses, a tier that falls, another ladder that comes in force."""
    shop = await sandbox(runtime, tier_sets=(ladder(),))
    await shop.done(adjust(100), purchase("R-1", 70_000), purchase("R-2", 1_000, of=BOB))
    second = program(expiry=MONTH, pending_days=2, tier_sets=(ladder(), ladder(id="second")))
    await shop.done(Publish(second, NOW + timedelta(days=10, hours=3)))
    await desk(runtime).advance_clock(shop.id, NOW + timedelta(days=3))
    await shop.done(hold(20, minutes=90))
    return shop


async def test_what_is_due_is_written_at_its_instant_before_the_clock_goes_on(
    runtime: Runtime, database: Database
) -> None:
    shop = await shopped(runtime)
    assert await desk(runtime).advance_clock(shop.id, LATER) == LATER
    steps = await lived(database, shop)
    fallen = [step for step in steps if step[0] in {"mature", "expire", "lapse", "closed"}]
    assert all(at == recorded_at for _, _, at, recorded_at in fallen)
    assert Counter(what for what, *_ in fallen) == {"mature": 2, "lapse": 1, "expire": 2, "closed": 40}
    placed = [at for what, _, at, recorded_at in steps if what == "gold" and at == recorded_at]
    assert NOW + timedelta(days=10, hours=3) in placed  # on the ladder that came in force on the way
    await whole(runtime, shop)


async def test_a_move_that_is_over_says_of_its_progress_what_its_result_says(runtime: Runtime) -> None:
    shop, midnight = await shopped(runtime), datetime(2026, 12, 31, 23, tzinfo=UTC)
    await desk(runtime).advance_clock(shop.id, midnight)
    async with shared(runtime.engine) as connection:
        listed = await list_runs(connection, shop.id, kinds=[RunKind.CLOCK], limit=10)
        last, first = [await get_run(connection, shop.id, one.id) for one in listed]
    assert last.result is not None and first.result is not None
    assert (first.result["days"], last.result["days"], last.result["now"]) == (3, 39, "2026-12-31T23:00:00Z")
    for run in (first, last):
        told = run.progress or {}
        assert {what: told[what] for what in run.result or {}} == run.result


async def test_one_move_and_many_write_the_same(runtime: Runtime, database: Database) -> None:
    there, far = await shopped(runtime), NOW + timedelta(days=200)
    await desk(runtime).advance_clock(there.id, far)
    step_by_step = await shopped(runtime)
    at = NOW + timedelta(days=3)
    while at < far:
        at = min(far, at + timedelta(days=3, hours=5, minutes=17))
        await desk(runtime).advance_clock(step_by_step.id, at)
    told = await lived(database, there)
    assert "base" in {what for what, *_ in told} or None in {what for what, *_ in told}  # a tier fell
    assert told == await lived(database, step_by_step)
    await whole(runtime, step_by_step)


async def test_each_day_of_a_move_tells_what_is_ahead(runtime: Runtime, database: Database) -> None:
    shop = await shopped(runtime)
    await desk(runtime).advance_clock(shop.id, NOW + timedelta(days=200))
    query = """
        SELECT type, coalesce(data ->> 'last_day_on', substr(data ->> 'at', 1, 10)) AS day,
               (data ->> 'days_before')::int AS before, recorded_at
        FROM engagement_events WHERE program_id = $1 AND type IN ('loyalty.points.expiring', 'loyalty.tier.falling')
        ORDER BY position
    """
    async with superuser(database) as link:
        told = Counter(tuple(row) for row in await link.fetch(query, shop.id))
    december, march = datetime(2026, 12, 11, 23, tzinfo=UTC), datetime(2027, 3, 1, 23, tzinfo=UTC)
    assert told == {
        ("loyalty.points.expiring", "2026-12-19", 7, december): 2,  # of Ann and of Bob
        ("loyalty.tier.falling", "2027-03-31", 30, march): 2,  # of both ladders, when no points are left
    }


async def test_nobody_writes_until_the_clock_is_there_and_reads_go_on(runtime: Runtime) -> None:
    shop = await shopped(runtime)
    answer = await shop.send(MoveClock(LATER))
    assert answer.status == 202
    refused = await shop.send(adjust(1), key="adjusted")
    assert (refused.refused, refused.headers) == ((409, "clock_moving"), {"Retry-After": "1"})
    read = await runtime.balances_now(shop.id, card(ANN))
    assert read is not None
    (now,) = read.balances
    assert (now.available, now.held) == (780, 20)
    assert await moves_left(runtime) == 1  # whoever asked for the move went away before the run was asked for
    assert await moves_left(runtime) == 0
    await do_waiting(runtime)
    assert (await shop.send(adjust(1), key="adjusted")).status == 201
    assert await runtime.now(shop.id) == LATER


async def do_waiting(runtime: Runtime) -> None:
    for waiting in await waiting_runs(runtime):
        await execute(runtime, waiting.program_id, waiting.id, WORKS)


async def test_a_move_that_is_killed_or_fails_is_gone_on_with(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, whole_way = await shopped(runtime), await shopped(runtime)
    await whole_way.done(MoveClock(LATER))
    await moves_left(runtime)
    (undisturbed,) = await waiting_runs(runtime)
    await do_waiting(runtime)
    await shop.done(MoveClock(LATER))
    assert await moves_left(runtime) == 1
    (run,) = await waiting_runs(runtime)
    done, may = moves.step, 0

    async def dies(*asked: Any) -> None:
        nonlocal may
        may -= 1
        if may < 0:
            raise OSError("the worker is killed")
        await done(*asked)

    monkeypatch.setattr(moves, "step", dies)
    for _ in range(TRIES_MAX + 2):  # each comes further than the one before
        may = 5
        await execute(runtime, shop.id, run.id, WORKS)
        told = (await seen(runtime, run)).progress or {}
        assert NOW < datetime.fromisoformat(told["now"]) <= await runtime.now(shop.id)
    assert NOW < await runtime.now(shop.id) < LATER
    for _ in range(TRIES_MAX + 1):  # the last gives it up: they die at one place
        await execute(runtime, shop.id, run.id, WORKS)
    assert (await seen(runtime, run)).state is RunState.FAILED
    monkeypatch.setattr(moves, "step", done)
    assert await moves_left(runtime) == 1  # once more, and whoever asked for it sees it: it is the same run
    assert [one.id for one in await waiting_runs(runtime)] == [run.id]
    await do_waiting(runtime)
    assert await lived(database, shop) == await lived(database, whole_way)
    ended = await seen(runtime, run)
    assert (ended.state, ended.result) == (RunState.SUCCEEDED, (await seen(runtime, undisturbed)).result)
    await whole(runtime, shop)


async def seen(runtime: Runtime, run: Run) -> Run:
    async with shared(runtime.engine) as connection:
        return await get_run(connection, run.program_id, run.id)


@pytest.mark.parametrize("meanwhile", ["killed", "swept"])
async def test_nothing_is_told_of_days_that_a_move_has_lived_through(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """On the 30th day before their end all points are held; they lapse back before the move is interrupted."""
    shop = await open_shop(
        runtime, members=(ANN,), clock_at=NOW, expiry=Rolling(days=60), policies={"hold_days_max": 60}
    )
    await shop.done(adjust(100), hold(100, minutes=45 * 1_440))
    await shop.done(MoveClock(NOW + timedelta(days=70)))
    await moves_left(runtime)
    (run,) = await waiting_runs(runtime)
    done, there = moves.step, False

    async def step(runtime: Runtime, program_id: UUID, command: Any) -> None:
        nonlocal there
        await done(runtime, program_id, command)
        if not there and await runtime.now(program_id) >= NOW + timedelta(days=50):
            there = True
            if meanwhile == "killed":
                raise OSError("the worker is killed")
            assert (await tell_ahead(runtime), await close_days(runtime), await settle_due(runtime)) == (
                0,
                0,
                0,
            )

    monkeypatch.setattr(moves, "step", step)
    for _ in range(1 + (meanwhile == "killed")):
        await execute(runtime, shop.id, run.id, WORKS)
    assert await runtime.now(shop.id) == NOW + timedelta(days=70)
    async with superuser(database) as link:
        query = "SELECT kind, days_before FROM notices WHERE program_id = $1"
        assert [tuple(row) for row in await link.fetch(query, shop.id)] == [("points", 7)]
    await whole(runtime, shop)


async def test_two_workers_on_one_move_do_it_once(runtime: Runtime, database: Database) -> None:
    shop, alone = await shopped(runtime), await shopped(runtime)
    await desk(runtime).advance_clock(alone.id, LATER)
    await shop.done(MoveClock(LATER))
    await moves_left(runtime)
    (waiting,) = await waiting_runs(runtime)
    now = runtime.clock.now()
    async with shared(runtime.engine) as connection:
        run = await moves.store.claim(connection, shop.id, waiting.id, now, now)
        assert run is not None
    told = await asyncio.gather(
        *(moves.move(runtime, run, lambda _: None) for _ in range(2)), return_exceptions=True
    )
    assert not any(isinstance(one, TakenOver) for one in told)
    async with shared(runtime.engine) as connection:
        await moves.store.requeue(connection, run, counted=False)
    await do_waiting(runtime)
    assert await runtime.now(shop.id) == LATER
    assert await lived(database, shop) == await lived(database, alone)
    await whole(runtime, shop)


async def test_days_are_closed_over_a_clock_change(runtime: Runtime, database: Database) -> None:
    start = datetime(2026, 3, 27, 12, tzinfo=UTC)
    shop = await open_shop(runtime, members=(), clock_at=start)
    await desk(runtime).advance_clock(shop.id, datetime(2026, 3, 30, 22, tzinfo=UTC))
    assert [(day, at.hour) for _, day, at, _ in await lived(database, shop)] == [
        ("2026-03-27", 23),
        ("2026-03-28", 23),
        ("2026-03-29", 22),
        ("2026-03-30", 22),
    ]
