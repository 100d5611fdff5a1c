"""Tiers of members whom nobody touches: reviewed by the sweep, and placed by a run where ladders came in force."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from loyalty.base.database import ServerBusy, shared
from loyalty.jobs import due, ladders
from loyalty.jobs.due import settle_due
from loyalty.jobs.ladders import changed_by, changed_ladders
from loyalty.jobs.runs import TRIES_MAX, execute, waiting_runs
from loyalty.jobs.service import get_run
from loyalty.jobs.types import RunKind, RunState
from loyalty.jobs.works import WORKS
from loyalty.ledger.verify import verify
from loyalty.ledger.verify.report import Findings
from loyalty.posting.commands import Publish
from loyalty.posting.configuration import Configuration, History, Published
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import LiveShop, StandingClock, open_shop, serving, superuser
from tests.posting.shop import NOW, ladder, program, purchase

CARDS = tuple(f"60355500{n:02}" for n in range(7))


@pytest_asyncio.fixture
async def clock() -> StandingClock:
    return StandingClock()


@pytest_asyncio.fixture
async def runtime(database: Database, clock: StandingClock) -> AsyncIterator[Runtime]:
    async with serving(database, clock) as runtime:
        yield runtime


async def steps(database: Database, shop: LiveShop) -> list[tuple[str | None, str, datetime]]:
    async with superuser(database) as link:
        query = "SELECT after, why, at FROM tier_moves WHERE program_id = $1 ORDER BY decision_id, member_id"
        return [tuple(row) for row in await link.fetch(query, shop.id)]


async def run_all(runtime: Runtime) -> list[dict[str, int]]:
    """Do every waiting run; what came of each."""
    found: list[dict[str, int]] = []
    for waiting in await waiting_runs(runtime):
        await execute(runtime, waiting.program_id, waiting.id, WORKS)
        async with shared(runtime.engine) as connection:
            run = await get_run(connection, waiting.program_id, waiting.id)
        assert (run.kind, run.state) == (RunKind.TIERS, RunState.SUCCEEDED)
        assert run.result is not None
        found.append(run.result)
    return found


async def test_tiers_fall_at_their_own_instants_and_once(
    runtime: Runtime, database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "CHUNK", 3)
    shop = await open_shop(runtime, members=CARDS, tier_sets=(ladder(), ladder(id="second")))
    for n, card in enumerate(CARDS):
        await shop.done(purchase(f"R-{n}", 70_000, of=card))
    assert await settle_due(runtime) == 0
    clock.at = NOW + timedelta(days=200)
    assert await settle_due(runtime) == len(CARDS)
    fallen = [at for after, why, at in await steps(database, shop) if (after, why) == (None, "reviewed")]
    assert fallen == [datetime.fromisoformat("2027-04-01T00:00:00+02:00")] * 2 * len(CARDS)
    assert await settle_due(runtime) == 0
    assert (await verify(runtime.pool.acquire, shop.id, also=(reviews,))).intact


async def test_a_run_places_everybody_on_a_ladder_that_came_in_force(
    runtime: Runtime, database: Database, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladders, "CHUNK", 3)
    shop = await open_shop(runtime, members=CARDS)
    for n, card in enumerate(CARDS):
        await shop.done(purchase(f"R-{n}", 10_000 * n, of=card))
    await changed_ladders(runtime)  # of other programs
    await run_all(runtime)
    assert await changed_ladders(runtime) == 0
    await shop.done(Publish(program(tier_sets=(ladder(),)), NOW + timedelta(days=1)))
    assert await changed_ladders(runtime) == 0
    clock.at = NOW + timedelta(days=2)
    assert (await changed_ladders(runtime), await changed_ladders(runtime)) == (1, 0)
    assert await run_all(runtime) == [{"members": 7, "changed": 7}]
    placed = [(after, why) for after, why, _ in await steps(database, shop)]
    assert placed == [("silver", "changed")] * 3 + [("gold", "changed")]
    assert {at for _, _, at in await steps(database, shop)} == {NOW + timedelta(days=1)}
    await shop.done(Publish(program(tier_sets=(ladder(),), pending_days=3)))
    assert await changed_ladders(runtime) == 0  # other settings, the same ladder
    await shop.done(Publish(program(tier_sets=(ladder(grace_days=5),))))
    assert await changed_ladders(runtime) == 1
    assert await run_all(runtime) == [{"members": 7, "changed": 7}]
    assert (await verify(runtime.pool.acquire, shop.id, also=(reviews,))).intact


async def test_a_run_that_dies_or_fails_is_gone_on_with_and_places_everybody_once(
    runtime: Runtime, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladders, "CHUNK", 1)
    shop = await open_shop(runtime, members=CARDS)
    await shop.together(*(purchase(f"R-{n}", 50_000, of=card) for n, card in enumerate(CARDS)))
    await changed_ladders(runtime)  # of other programs
    await run_all(runtime)
    await shop.done(Publish(program(tier_sets=(ladder(),))))
    assert await changed_ladders(runtime) == 1
    (run,) = await waiting_runs(runtime)
    really, may, sent = ladders.to_each, 0, list[UUID]()

    async def dies(at: Runtime, program_id: UUID, members: Sequence[UUID], command: Any) -> Any:
        nonlocal may
        may -= 1
        if may < 0:
            raise OSError("the worker is killed")
        sent.extend(members)
        return await really(at, program_id, members, command)

    monkeypatch.setattr(ladders, "to_each", dies)
    for _ in range(TRIES_MAX + 1):  # each comes further than the one before
        may = 1
        await execute(runtime, shop.id, run.id, WORKS)
    assert len(sent) == TRIES_MAX + 1
    for _ in range(TRIES_MAX):  # the last gives it up: they die at one place
        await execute(runtime, shop.id, run.id, WORKS)
    async with shared(runtime.engine) as connection:
        failed = await get_run(connection, shop.id, run.id)
    assert (failed.state, failed.result) == (RunState.FAILED, {"code": "gave_up", "tries": TRIES_MAX})
    may = len(CARDS)
    assert (await changed_ladders(runtime), await changed_ladders(runtime)) == (1, 0)
    assert [one.id for one in await waiting_runs(runtime)] == [run.id]
    assert await run_all(runtime) == [{"members": 7, "changed": 7}]
    assert len(sent) == len(set(sent)) == 7


async def test_those_who_were_placed_before_a_chunk_stopped_are_counted(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await open_shop(runtime, members=CARDS)
    await shop.together(*(purchase(f"R-{n}", 50_000, of=card) for n, card in enumerate(CARDS)))
    await changed_ladders(runtime)  # of other programs
    await run_all(runtime)
    await shop.done(Publish(program(tier_sets=(ladder(),))))
    await changed_ladders(runtime)
    (run,) = await waiting_runs(runtime)
    really = ladders.to_each

    async def half(at: Runtime, program_id: UUID, members: Sequence[UUID], command: Any) -> Any:
        done, _ = await really(at, program_id, members[:3], command)
        return done, [ServerBusy.code]

    with monkeypatch.context() as patched:
        patched.setattr(ladders, "to_each", half)
        await execute(runtime, shop.id, run.id, WORKS)
    assert await run_all(runtime) == [{"members": 7, "changed": 7}]


async def test_a_verification_of_tiers_reads_each_configuration_once_however_many_members_there_are(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty.posting.reviews.CHUNK", 3)
    shop = await open_shop(runtime, members=CARDS, tier_sets=(ladder(),))
    await shop.done(Publish(program(tier_sets=(ladder(grace_days=5),))))
    read_after: list[int] = []

    def note(query: Any) -> None:
        if "FROM configurations" in query.query:
            read_after.append(query.args[1])

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        async with runtime.pool.acquire() as link:
            with link.query_logger(note):
                yield link

    await reviews(connect, shop.id, Findings())
    assert read_after == [0, 2, 2]


def test_the_last_configuration_that_changed_a_ladder_is_the_one_to_run_for() -> None:
    made: list[Configuration] = [
        program(),
        program(tier_sets=(ladder(),)),
        program(tier_sets=(ladder(),), pending_days=1),
        program(tier_sets=(ladder(grace_days=1),)),
        program(),
    ]
    history = History([Published(n, NOW + timedelta(days=n), one) for n, one in enumerate(made, start=1)])
    found = [changed_by(history, NOW + timedelta(days=n)) for n in range(1, 6)]
    assert found == [None, 2, 2, 4, None]
    first = History([Published(1, NOW, made[1])])
    assert changed_by(first, NOW) == 1
