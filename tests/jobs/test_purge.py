"""Idempotency records live thirty days of real time, lines of purchases as long as their program says; the receipts
themselves are known for ever.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from loyalty.base.calendar import local_date
from loyalty.base.database import DatabaseUnavailable, reading, transaction
from loyalty.jobs import purge, store
from loyalty.jobs.imports.service import begin_import, look_at_import
from loyalty.jobs.imports.store import touch
from loyalty.jobs.imports.types import ImportKind
from loyalty.jobs.purge import KEPT, PURGES, purge_everything, purge_idempotency, purge_lines, purge_notices
from loyalty.jobs.types import Run, RunKind, RunState
from loyalty.ledger.verify import verify
from loyalty.operating.desk import Desk
from loyalty.posting.commands import AdvanceClock
from loyalty.posting.reviews import reviews
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import ProgramKind
from tests.conftest import Database
from tests.jobs.conftest import SHOP, HandClock
from tests.posting.live import LiveShop, open_shop, serving
from tests.posting.shop import NOW, cancel, claim, give_back, line, purchase

TWO_LINES = (line(1000), line(500, line_id="2"))


@pytest_asyncio.fixture
async def runtime(database: Database) -> AsyncIterator[Runtime]:
    async with serving(database) as runtime:
        yield runtime


async def write(
    desk: Desk,
    program_id: UUID,
    count: int,
    age: timedelta,
    scopes: Callable[[int], UUID] = lambda _: uuid4(),
) -> None:
    async with transaction(desk.runtime.engine, program_id) as connection:
        statement = text(
            "INSERT INTO idempotency_records (program_id, scope, key, fingerprint, created_at, status, refusal)"
            " VALUES (:program, :scope, :key, '', :at, 409, '{}')"
        )
        rows = [
            {"program": program_id, "scope": scopes(n), "key": f"{age.days:02}{n}", "at": desk.now() - age}
            for n in range(count)
        ]
        await connection.execute(statement, rows)


async def left(desk: Desk, program_id: UUID) -> int:
    async with transaction(desk.runtime.engine, program_id) as connection:
        query = text("SELECT count(*) FROM idempotency_records WHERE program_id = :program")
        return (await connection.execute(query, {"program": program_id})).scalar_one()


async def test_records_go_after_thirty_days_and_not_before(desk: Desk) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    young = await left(desk, program)
    await write(desk, program, 30, KEPT + timedelta(seconds=60))
    await write(desk, program, 20, KEPT - timedelta(seconds=60))
    assert await purge_idempotency(desk.runtime, chunk=7) == 30
    assert await left(desk, program) == young + 20


async def test_every_program_is_looked_through_in_chunks_of_any_size(desk: Desk) -> None:
    programs = [await desk.create_program(ProgramKind.LIVE, SHOP) for _ in range(2)]
    young = [await left(desk, program) for program in programs]
    for program in programs:
        await write(desk, program, 10, timedelta(days=31))
    assert await purge_idempotency(desk.runtime, chunk=5) == 20
    assert [await left(desk, program) for program in programs] == young


@pytest.mark.parametrize("step", [0, 1], ids=["of one scope", "of many scopes"])
async def test_a_look_goes_on_where_the_last_one_ended_and_begins_anew_at_the_end(
    desk: Desk, step: int
) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    young = await left(desk, program)
    await write(desk, program, 20, timedelta(), lambda n: UUID(int=100 + n * step))
    await write(desk, program, 5, timedelta(days=31), lambda n: UUID(int=100 + (20 + n) * step))
    assert await purge_idempotency(desk.runtime, chunk=2, share=10) == 0
    for _ in range(3):
        await purge_idempotency(desk.runtime, chunk=2, share=10)
    assert await left(desk, program) == young + 20
    await write(desk, program, 5, timedelta(days=32), lambda n: UUID(int=n))
    for _ in range(3):
        await purge_idempotency(desk.runtime, chunk=2, share=10)
    assert await left(desk, program) == young + 20


async def test_the_database_keeps_a_record_for_its_days_whoever_asks(desk: Desk, clock: HandClock) -> None:
    """A worker whose clock is a year ahead would make retries new requests."""
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    await write(desk, program, 5, timedelta())
    before = await left(desk, program)
    clock.ahead = timedelta(days=365)
    assert await purge_idempotency(desk.runtime) == 0
    assert await left(desk, program) == before


@pytest.mark.parametrize("trouble", [DatabaseUnavailable(), OverflowError("too many")])
async def test_what_cannot_be_removed_keeps_nothing_else_from_its_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    async def fails(_: Runtime) -> int:
        raise trouble

    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    await write(desk, program, 5, timedelta(days=31))
    monkeypatch.setattr(purge, "PURGES", {"first": fails, **PURGES, "last": fails})
    with capture_logs() as said:
        assert (await purge_everything(desk.runtime))["idempotency_records"] == 5
    assert [(one["event"], one["what"]) for one in said] == [("not_purged", "first"), ("not_purged", "last")]


# --- runs ---------------------------------------------------------------------------------------------------


async def test_runs_go_ninety_days_after_their_end_but_for_those_that_are_still_asked_for(desk: Desk) -> None:
    program, others = [await desk.create_program(ProgramKind.LIVE, SHOP) for _ in range(2)]
    made = dict[str, UUID]()

    async def add(name: str, days: int | None, kind: RunKind, state: RunState = RunState.SUCCEEDED) -> None:
        ended_at = None if days is None else desk.now() - timedelta(days=days)
        began_at = desk.now() - timedelta(days=days or 300, seconds=60)
        run = Run(program, desk.ids(), kind, state, 1, began_at, began_at, ended_at, {}, None, None)
        made[name] = run.id
        await store.add(connection, run)

    async with transaction(desk.runtime.engine, program) as connection:
        for days in range(100, 92, -1):
            await add(f"old {days}", days, RunKind.VERIFICATION)
        await add("young", 89, RunKind.VERIFICATION)
        await add("its last", 88, RunKind.VERIFICATION)
        await add("waits", None, RunKind.VERIFICATION, RunState.QUEUED)
        await add("only one that failed", 200, RunKind.VERIFICATION, RunState.FAILED)
        await add("ladders", 200, RunKind.TIERS)  # or everybody would be placed once more
        for name, days in (("of the import", 100), ("of another", 100), ("imported", 95)):
            await add(name, days, RunKind.IMPORT)
        one = await begin_import(connection, program, ImportKind.LOTS, "crm", at=desk.now(), ids=desk.ids)
        await touch(connection, program, one.id, desk.now(), made["of the import"])
        at = desk.now() - timedelta(days=100)
        other = Run(others, desk.ids(), RunKind.TIERS, RunState.FAILED, 1, at, at, at, {}, None, None)
        await store.add(connection, other)
    gone = (await purge_everything(desk.runtime)).get("runs")
    async with reading(desk.runtime.engine, program) as connection:
        left = {run.id for run in await store.some_runs(connection, program, list(made.values()))}
        assert await store.some_runs(connection, others, [other.id]) == [other]
        assert (await look_at_import(connection, program, one.id)).state == "succeeded"
    assert {name for name, id in made.items() if id not in left} == {
        *(f"old {days}" for days in range(100, 92, -1)),
        "of another",
    }
    assert gone == 9


# --- notices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
async def test_notices_of_days_that_have_passed_go_in_chunks_of_any_size(desk: Desk, chunk: int) -> None:
    program = await desk.create_program(ProgramKind.LIVE, SHOP)
    today = local_date(desk.now(), ZoneInfo(SHOP.settings.zone))
    told = text(
        "INSERT INTO notices (program_id, cell, member_id, kind, about, day, days_before, decision_id)"
        " VALUES (:program, :cell, :member, 'points', 'points', :day, 7, :member)"
    )
    rows = [
        {"program": program, "cell": cell, "member": member, "day": today + timedelta(days=n)}
        for cell in range(3)
        for member in (uuid4(), uuid4())
        for n in (-2, -1, 0, 1)
    ]
    async with transaction(desk.runtime.engine, program) as connection:
        await connection.execute(told, rows)
    with each_delete(desk.runtime) as sizes:
        assert await purge_notices(desk.runtime, chunk) == 12
    assert max(sizes) <= chunk + 4
    async with transaction(desk.runtime.engine, program) as connection:
        query = text("SELECT min(day), count(*) FROM notices WHERE program_id = :program")
        assert tuple((await connection.execute(query, {"program": program})).one()) == (today, 12)


@contextmanager
def each_delete(runtime: Runtime) -> Iterator[list[int]]:
    """How many notices each statement of the block removes."""
    sizes: list[int] = []

    def note(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM notices"):
            sizes.append(cursor.rowcount)

    event.listen(runtime.engine.sync_engine, "after_cursor_execute", note)
    yield sizes
    event.remove(runtime.engine.sync_engine, "after_cursor_execute", note)


# --- lines of purchases -------------------------------------------------------------------------------------


async def kept(shop: LiveShop) -> int:
    async with transaction(shop.runtime.engine, shop.id) as connection:
        query = text("SELECT count(content) FROM activities WHERE program_id = :program")
        return (await connection.execute(query, {"program": shop.id})).scalar_one()


async def test_lines_go_after_the_days_of_the_policy_and_the_books_stay_whole(runtime: Runtime) -> None:
    shop = await open_shop(runtime, clock_at=NOW, policies={"lines_days": 30})
    for n in range(7):
        await shop.done(purchase(f"R-{n}", lines=TWO_LINES))
    await shop.done(give_back("B-0", {"1": 1000}, of="R-0"), AdvanceClock(NOW + timedelta(days=10)))
    await shop.done(purchase("R-7", at=NOW + timedelta(days=10)), AdvanceClock(NOW + timedelta(days=30)))
    assert await purge_lines(runtime, chunk=3) == 0
    await shop.done(AdvanceClock(NOW + timedelta(days=30, seconds=1)))
    assert await purge_lines(runtime, chunk=3) == 8
    assert await kept(shop) == 1
    assert await purge_lines(runtime, chunk=3) == 0
    await shop.done(AdvanceClock(NOW + timedelta(days=41)))
    assert await purge_lines(runtime, chunk=3) == 1
    assert (await verify(runtime.pool.acquire, shop.id, also=(reviews,))).findings == ()


async def test_without_its_lines_a_purchase_goes_back_as_a_whole_or_not_at_all(runtime: Runtime) -> None:
    shop = await open_shop(runtime, clock_at=NOW, policies={"lines_days": 1})
    guest = await shop.done(
        purchase("R-1", lines=TWO_LINES), purchase("R-2", lines=TWO_LINES), purchase("R-3", of=None)
    )
    part = give_back("B-1", {"1": 1000}, of="R-1")
    await shop.done(part, AdvanceClock(NOW + timedelta(days=2)))
    assert await purge_lines(runtime) == 4
    assert (await shop.send(give_back("B-2", {"2": 1000}, of="R-1"))).refused == (409, "lines_removed")
    assert (await shop.send(part)).replayed
    assert (await shop.send(purchase("R-1", lines=TWO_LINES))).replayed
    assert (await shop.send(purchase("R-1", 999))).refused == (409, "activity_differs")
    assert (await shop.send(claim(guest["id"]))).refused == (409, "claim_too_late")
    rest = await shop.done(give_back("B-3", of="R-1"))
    assert (rest["complete"], rest["revoked"][0]["points"]) == (True, 5)
    assert (await shop.done(cancel("R-2")))["revoked"][0]["points"] == 15
    assert (await verify(runtime.pool.acquire, shop.id, also=(reviews,))).findings == ()


async def test_the_database_keeps_lines_for_their_days_whoever_asks(
    runtime: Runtime, database: Database
) -> None:
    for_ever, kept_long = [
        await open_shop(runtime, policies=policies) for policies in ({}, {"lines_days": 100})
    ]
    for shop in (for_ever, kept_long):
        await shop.done(purchase("R-1"))
        for change in ("NULL", "'{}'"):
            with pytest.raises(DBAPIError, match="kept for their days"):
                async with transaction(runtime.engine, shop.id) as connection:
                    await connection.execute(text(f"UPDATE activities SET content = {change}"))
    assert await purge_lines(runtime) == 0
    assert [await kept(shop) for shop in (for_ever, kept_long)] == [1, 1]
