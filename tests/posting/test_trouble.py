"""What may go wrong on the road, and who then gets which answer: docs/road.md."""

import asyncio
import contextlib
import os
import signal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog
from structlog.typing import EventDict

from loyalty.base.database import DatabaseUnavailable, ServerBusy
from loyalty.posting import pipe, store
from loyalty.posting.commands import CloseDay, Submission
from loyalty.posting.quote import quote
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import (
    LiveShop,
    count,
    head_held,
    locked,
    new_program,
    open_shop,
    serving,
    superuser,
    until_blocked,
)
from tests.posting.shop import ACTOR, ANN, BOB, NOW, Reply, adjust, enrol, purchase, submission
from tests.races.proxy import relayed

BROKEN = adjust(0)  # the edge refuses it; past the edge it breaks a law of the ledger
UNWRITABLE = purchase("R-bad", till="nul \x00 inside")  # PostgreSQL keeps no such text
UNSENDABLE = purchase("R-bad", 2**63, of=None)  # and the driver sends no such number


@pytest.fixture(scope="module")
def settings_more() -> dict[str, Any]:
    return {"queue_max": 5, "queue_bytes_max": 1_000}


async def waiting_for(holder: int, shop: LiveShop, database: Database) -> asyncio.Task[Reply]:
    """A command that is under way and waits for the head, which `holder` has."""
    task = asyncio.create_task(shop.send(adjust(1)))
    await until_blocked(database, holder)
    return task


# --- one poisoned command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "poison", [BROKEN, UNWRITABLE, UNSENDABLE], ids=["breaks a law", "unwritable", "unsendable"]
)
async def test_a_poisoned_command_fails_alone(runtime: Runtime, poison: object) -> None:
    shop = await open_shop(runtime)
    first, broken, last = await shop.together(purchase("R-1"), poison, purchase("R-2"))  # type: ignore[arg-type]
    assert (first.status, last.balance) == (201, {"available": 20})
    assert broken.refused == (500, "internal_error")
    assert UUID(broken["incident_id"])


async def test_what_broke_is_not_stored_and_a_retry_is_a_new_try(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    first, again = await shop.send(BROKEN, "k"), await shop.send(BROKEN, "k")
    assert (first.status, again.status) == (500, 500)
    assert first["incident_id"] != again["incident_id"]
    assert await count(database, "idempotency_records", shop.id, "key = 'k'") == 0


async def test_several_poisoned_commands_are_found_one_by_one(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    batch = [BROKEN, purchase("R-1"), UNWRITABLE, purchase("R-2"), BROKEN]
    assert [reply.status for reply in await shop.together(*batch)] == [500, 201, 500, 201, 500]


async def test_a_sum_that_no_column_holds_is_refused_and_fails_nobody_else(
    runtime: Runtime, database: Database
) -> None:
    """A member's day is added to unread, and absurd purchases add up."""
    shop = await open_shop(runtime, members=(ANN, BOB))
    await shop.done(purchase("R-1"))
    async with superuser(database) as link:
        day = "UPDATE member_days SET points = '{\"points\": 9223372036854775808}' WHERE program_id = $1"
        await link.execute(day, shop.id)
    before = await count(database, "decisions", shop.id)
    refused, other = await shop.together(purchase("R-2"), purchase("R-3", of=BOB))
    assert (refused.refused, other.status) == ((409, "balance_limit_exceeded"), 201)
    assert await count(database, "decisions", shop.id) == before + 1


async def test_the_log_of_an_incident_names_it_and_holds_nobodys_data(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver quotes the value that it cannot send; the law that broke is worth reading."""
    lines: list[dict[str, Any]] = []

    def keep(_logger: object, _method: str, line: EventDict) -> str:
        lines.append(dict(line))
        return ""

    monkeypatch.setattr(pipe, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[keep]))
    shop = await open_shop(runtime)
    unsendable = Submission(shop.id, enrol("planted \ud83d"), ACTOR, "request-1")
    replies = [Reply.of(await runtime.pipe.submit(unsendable)), await shop.send(UNWRITABLE)]
    replies.append(await shop.send(BROKEN))
    incidents = [line for line in lines if line["event"] == "command_failed"]
    assert [line["incident_id"] for line in incidents] == [reply["incident_id"] for reply in replies]
    assert [line["error"] for line in incidents] == [
        "DataError",
        "CharacterNotInRepertoireError",
        "LawBroken",
    ]
    assert (incidents[1]["sqlstate"], "moves nothing" in incidents[2]["law"]) == ("22021", True)
    assert "planted" not in str(lines).lower()


async def test_whoever_loses_one_name_after_the_other_to_somebody_else_still_has_an_answer(
    database: Database,
) -> None:
    """As other lanes might: the card is given to Ann while the purchase would enrol it, then the receipt is
    cancelled while the purchase would be hers. However long that takes: on a busy machine, seconds.
    """
    patient: dict[str, Any] = {
        "lock_timeout_ms": 30_000,
        "queue_ms_max": 30_000,
        "statement_timeout_ms": 60_000,
    }
    async with serving(database, **patient) as runtime:
        shop = await open_shop(runtime, policies={"unknown_card": "enrol"})
        ann = UUID((await shop.send(adjust(1)))["member_id"])
        given = "INSERT INTO identifiers VALUES ($1, 'card', 'new', $2, 0)"
        cancelled = (
            "INSERT INTO activity_keys VALUES ($1, 'purchase', 'pos', 'R-1', 'cancelled', $2, 0, $3, '')"
        )
        async with contextlib.AsyncExitStack() as then:
            async with contextlib.AsyncExitStack() as between:
                async with locked(database, given, shop.id, ann) as giver:
                    bought = asyncio.create_task(shop.send(purchase("R-1", of="new")))
                    (pid,) = await until_blocked(database, giver)
                    pausing = asyncio.create_task(between.enter_async_context(head_held(database, shop.id)))
                    elsewhere = locked(database, cancelled, shop.id, uuid4(), uuid4())
                    cancelling = asyncio.create_task(then.enter_async_context(elsewhere))
                    await until_blocked(database, pid, 2)
                canceller = await cancelling
                # The head pauses, unless the purchase was there before that: then it waits for the name already.
                waiting = asyncio.create_task(until_blocked(database, canceller))
                await asyncio.wait((pausing, waiting), return_when=asyncio.FIRST_COMPLETED)
                if not pausing.done():
                    pausing.cancel()
                    await asyncio.wait((pausing,))
            await waiting
        assert (await bought).refused == (409, "purchase_cancelled")


# --- no program ---------------------------------------------------------------------------------------------


async def test_an_unknown_program_is_not_found(runtime: Runtime) -> None:
    nowhere = LiveShop(runtime, uuid4())
    assert (await nowhere.send(purchase())).refused == (404, "program_not_found")


async def test_a_program_that_was_never_published_is_not_found_either(runtime: Runtime) -> None:
    shop = LiveShop(runtime, await new_program(runtime))
    for command in (purchase(), enrol(ANN), adjust(1), CloseDay(NOW.date())):
        assert (await shop.send(command, "k")).refused == (404, "program_not_found")
    later = await open_shop(runtime)
    assert (await later.send(purchase(), "k")).status == 201


# --- too much, too slow -------------------------------------------------------------------------------------


async def test_a_full_lane_refuses_what_comes_and_keeps_what_it_took(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    async with head_held(database, shop.id) as holder:
        under_way = await waiting_for(holder, shop, database)
        waiting = [asyncio.create_task(shop.send(adjust(1))) for _ in range(5)]
        await asyncio.sleep(0)
        refused = await shop.send(adjust(1))
    assert (refused.refused, refused["retryable"]) == ((503, "busy"), True)
    assert refused.headers == {"Retry-After": "1"}
    assert [(await one).status for one in (under_way, *waiting)] == [201] * 6


async def test_a_lane_is_bounded_in_bytes_too(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    async with head_held(database, shop.id) as holder:
        under_way = await waiting_for(holder, shop, database)
        waiting = [asyncio.create_task(shop.send(adjust(1), size=600)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (await shop.send(adjust(1), size=1)).refused == (503, "busy")
    assert [(await one).status for one in (under_way, *waiting)] == [201] * 3


async def test_another_program_does_not_wait_behind_a_lane_that_is_held(
    runtime: Runtime, database: Database
) -> None:
    one, two = await open_shop(runtime), await open_shop(runtime)
    async with head_held(database, one.id) as holder:
        under_way = await waiting_for(holder, one, database)
        assert (await two.send(purchase())).status == 201
        assert not under_way.done()
    assert (await under_way).status == 201


async def test_whoever_waits_too_long_for_the_head_is_told_to_come_again(database: Database) -> None:
    """The lane's time-out is over; nothing was decided, and the same key may try again."""
    async with serving(database, lock_timeout_ms=200) as runtime:
        shop = await open_shop(runtime)
        async with head_held(database, shop.id):
            refused = await shop.send(adjust(1), "k")
        assert (refused.refused, refused.headers) == ((503, "busy"), {"Retry-After": "1"})
        later = await shop.send(adjust(1), "k")
        assert (later.status, later.replayed, later.balance) == (201, False, {"available": 1})


async def test_a_process_that_stands_still_amid_a_statement_does_not_keep_the_head(
    database: Database,
) -> None:
    """To the server it is not idle: a statement was prepared, and it waits to be told to run it."""
    async with (
        serving(database, lock_timeout_ms=100, statement_timeout_ms=400) as frozen,
        serving(database) as runtime,
    ):
        shop = await open_shop(runtime)
        async with store.connected(frozen.pool) as connection:
            await store.begin(connection, shop.id, (0,))
            await connection.prepare("SELECT 1")
            assert (await shop.send(adjust(5))).balance == {"available": 5}
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as ended:
                await connection.fetchval("SELECT 1")
            assert store.may_be_run_again(ended.value)


async def test_whoever_gets_no_connection_in_time_is_told_to_come_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ACQUIRE_S", 0.1)
    async with serving(database, pool_size=2) as runtime:
        shop = await open_shop(runtime)
        async with runtime.pool.acquire(), runtime.pool.acquire(), asyncio.timeout(5):
            assert (await shop.send(adjust(1), "k")).refused == (503, "busy")
        assert (await shop.send(adjust(1), "k")).balance == {"available": 1}


async def test_whoever_waited_too_long_in_the_queue_is_dropped_before_being_decided(
    database: Database,
) -> None:
    """However long the batch before them is held up."""
    async with serving(database, queue_ms_max=300, lock_timeout_ms=60_000) as runtime:
        shop = await open_shop(runtime)
        async with head_held(database, shop.id) as holder:
            under_way = await waiting_for(holder, shop, database)
            async with asyncio.timeout(5):
                assert (await shop.send(adjust(5), "k")).refused == (503, "busy")
        assert (await under_way).status == 201
        assert (await shop.send(adjust(5), "k")).balance == {"available": 6}


async def test_a_database_that_stands_still_keeps_nobody_longer_than_a_statement_may_take(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty.posting.runtime.PATIENCE_S", 0.2)
    for limit in ("ACQUIRE_S", "ABANDON_S"):
        monkeypatch.setattr(store, limit, 0.2)
    async with superuser(database) as link, serving(database, statement_timeout_ms=1_000) as runtime:
        shop = await open_shop(runtime)
        road = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"
        backends = [pid for (pid,) in await link.fetch(road, store.CONNECTION_SETTINGS["application_name"])]
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(10):
                await shop.send(adjust(5), "k")  # on another connection, or it is told to come again
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
        assert (await shop.send(adjust(5), "k")).balance == {"available": 5}


async def test_once_somebody_has_waited_half_of_the_time_whoever_comes_is_told_so_at_once(
    database: Database,
) -> None:
    async with serving(database, queue_ms_max=4_000, lock_timeout_ms=60_000) as runtime:
        shop = await open_shop(runtime)
        async with head_held(database, shop.id) as holder:
            under_way = await waiting_for(holder, shop, database)
            queued = asyncio.create_task(shop.send(adjust(5)))
            async with asyncio.timeout(20):
                while not runtime.pipe.full(shop.id):
                    await asyncio.sleep(0.01)
            assert (await shop.send(adjust(5), "k")).refused == (503, "busy")
            assert not queued.done()
        assert (await under_way).status == 201
        await queued
        assert (await shop.send(adjust(5), "k")).status == 201


async def test_a_caller_who_leaves_does_not_take_the_command_along(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    async with head_held(database, shop.id) as holder:
        under_way = await waiting_for(holder, shop, database)
        queued = asyncio.create_task(shop.send(purchase(), "k"))
        await asyncio.sleep(0)
        for caller in (under_way, queued):
            caller.cancel()
    again = await shop.send(purchase(), "k")
    assert (again.status, again.replayed, again.balance) == (201, True, {"available": 11})


# --- shutting down ------------------------------------------------------------------------------------------


async def test_whoever_was_accepted_before_the_end_is_answered(database: Database) -> None:
    async with serving(database) as runtime:
        shop = await open_shop(runtime)
        accepted = [asyncio.create_task(shop.send(purchase(f"R-{n}"))) for n in range(200)]
        await asyncio.sleep(0)
        await runtime.pipe.stop()
        assert {(await one).status for one in accepted} == {201}
        refused = await shop.send(purchase("R-late"))
    assert (refused.refused, refused.headers) == ((503, "shutting_down"), {"Retry-After": "1"})
    assert await count(database, "activities", shop.id) == 200


async def test_when_the_time_is_up_everyone_is_refused_rather_than_left_waiting(database: Database) -> None:
    async with serving(database) as runtime:
        shop = await open_shop(runtime)
        async with head_held(database, shop.id) as holder:
            under_way = await waiting_for(holder, shop, database)
            queued = asyncio.create_task(shop.send(purchase()))
            await asyncio.sleep(0)
            await runtime.pipe.stop(within_s=0.05)
            async with asyncio.timeout(1):
                assert (await under_way).refused == (503, "shutting_down")
                assert (await queued).refused == (503, "shutting_down")
    assert await count(database, "decisions", shop.id, "kind = 'adjust'") == 0


# --- the database goes away ---------------------------------------------------------------------------------


async def cut(database: Database, processes: list[int]) -> None:
    async with superuser(database) as link:
        for process in processes:
            await link.execute("SELECT pg_terminate_backend($1)", process)


async def test_a_connection_lost_while_waiting_for_the_head_is_replaced(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    async with head_held(database, shop.id) as holder:
        under_way = await waiting_for(holder, shop, database)
        await cut(database, await until_blocked(database, holder))
    assert (await under_way).balance == {"available": 1}


async def test_a_connection_lost_while_reading_the_book_is_replaced(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    async with locked(database, "LOCK TABLE activity_keys IN ACCESS EXCLUSIVE MODE") as holder:
        under_way = [asyncio.create_task(shop.send(purchase(f"R-{n}"))) for n in range(3)]
        await cut(database, await until_blocked(database, holder))
    assert [(await one).status for one in under_way] == [201] * 3
    assert (await shop.send(adjust(1))).balance == {"available": 31}


async def test_a_connection_lost_while_writing_is_replaced(runtime: Runtime, database: Database) -> None:
    """The book is read without a lock on the events; writing them waits."""
    shop = await open_shop(runtime)
    async with locked(database, "LOCK TABLE engagement_events IN SHARE MODE") as holder:
        under_way = asyncio.create_task(shop.send(purchase()))
        await cut(database, await until_blocked(database, holder))
    assert (await under_way).balance == {"available": 10}
    assert await count(database, "activities", shop.id) == 1


async def test_a_connection_lost_after_the_commit_was_sent_has_one_effect_and_a_true_answer(
    database: Database,
) -> None:
    """Nobody can know what became of the commit; the batch is run again and finds what it wrote."""
    async with relayed(database.app_url) as (url, relay), serving(database, database_url=url) as runtime:
        shop = await open_shop(runtime)
        relay.drop_next_commit()
        replies = await asyncio.gather(
            shop.send(purchase("R-1"), "a"), shop.send(adjust(-3), "b"), shop.send(adjust(-99), "c")
        )
        assert relay.cut == 1
        assert [reply.status for reply in replies] == [201, 201, 409]
        assert (await shop.send(adjust(1))).balance == {"available": 8}
        again = await shop.send(purchase("R-1"), "a")
        assert again.raw == replies[0].raw
    assert await count(database, "decisions", shop.id, "kind = 'purchase'") == 1


async def test_a_commit_that_may_have_gone_through_is_never_told_to_be_refused(database: Database) -> None:
    """The commit is lost and then the head is busy for longer than anybody waits for it."""

    async def next_holder() -> None:
        async with head_held(database, shop.id):
            await asyncio.sleep(1.1)

    async with (
        relayed(database.app_url) as (url, relay),
        serving(database, database_url=url, lock_timeout_ms=800) as runtime,
    ):
        shop = await open_shop(runtime)
        relay.drop_next_commit()
        async with head_held(database, shop.id) as holder:
            under_way = asyncio.create_task(shop.send(adjust(1)))
            (pid,) = await until_blocked(database, holder)
            behind = asyncio.create_task(next_holder())
            await until_blocked(database, pid)
        reply = await under_way
        await behind
        assert (relay.cut, reply.status, reply.balance) == (1, 201, {"available": 1})
        assert (await shop.send(adjust(1))).balance == {"available": 2}


async def test_a_connection_lost_in_the_drivers_hands_is_the_moments_fault(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, append = await open_shop(runtime), store.append
    lost = [1, 2]

    async def loses(*about: Any) -> None:
        if lost:
            raise asyncpg.InternalClientError(f"cannot switch to state {lost.pop()}")
        await append(*about)

    monkeypatch.setattr(store, "append", loses)
    assert (await shop.send(adjust(1))).balance == {"available": 1}


async def test_an_incident_behind_a_commit_that_may_have_gone_through_does_not_say_that_nothing_was_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relayed(database.app_url) as (url, relay), serving(database, database_url=url) as runtime:
        shop, begin = await open_shop(runtime), store.begin

        async def breaks(*about: Any) -> None:
            if relay.cut:
                raise RuntimeError
            await begin(*about)

        monkeypatch.setattr(store, "begin", breaks)
        relay.drop_next_commit()
        assert (await shop.send(adjust(1), "k")).refused == (503, "outcome_unknown")
        monkeypatch.undo()
        assert (await shop.send(adjust(1), "k")).replayed


async def test_a_natural_key_alone_is_enough_to_survive_a_lost_commit(database: Database) -> None:
    async with relayed(database.app_url) as (url, relay), serving(database, database_url=url) as runtime:
        shop = await open_shop(runtime)
        relay.drop_next_commit()
        asked = submission(shop.id, purchase(), None)
        reply = Reply.of(await runtime.pipe.submit(asked))
        assert (relay.cut, reply.status, reply.balance) == (1, 200, {"available": 10})


async def test_when_nobody_can_know_the_caller_is_told_so_and_learns_it_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "RETRY_S", 0.2)
    async with relayed(database.app_url) as (url, relay), serving(database, database_url=url) as runtime:
        shop = await open_shop(runtime)
        relay.drop_next_commit()
        relay.refusing = True
        unknown = await shop.send(purchase(), "k")
        assert (unknown.refused, unknown["retryable"]) == ((503, "outcome_unknown"), True)
        before = await shop.send(purchase("R-2"), "other")
        assert before.refused == (503, "database_unavailable")
        relay.refusing = False
        later = await shop.send(purchase(), "k")
        assert (later.status, later.replayed, later.balance) == (201, True, {"available": 10})


async def test_a_server_that_takes_no_writes_for_now_is_unavailable_and_nothing_breaks(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipe, "RETRY_S", 0.1)
    read_only = "ALTER DATABASE {} {} default_transaction_read_only"
    async with serving(database, pool_size=2) as runtime, superuser(database) as link:
        shop = await open_shop(runtime)
        name = await link.fetchval("SELECT quote_ident(current_database())")
        await link.execute(read_only.format(name, "SET") + " = on")
        try:
            await runtime.pool.expire_connections()
            assert (await shop.send(purchase(), "k")).refused == (503, "database_unavailable")
        finally:
            await link.execute(read_only.format(name, "RESET"))
        await runtime.pool.expire_connections()
        assert (await shop.send(purchase(), "k")).status == 201


async def test_a_quote_that_cannot_be_read_in_time_is_told_to_come_again(database: Database) -> None:
    async with serving(database, lock_timeout_ms=200) as runtime:
        shop = await open_shop(runtime)
        async with locked(database, "LOCK TABLE members IN ACCESS EXCLUSIVE MODE"):
            with pytest.raises(ServerBusy):
                await quote(runtime, shop.id, purchase(), ACTOR, "request-1")
        assert (await quote(runtime, shop.id, purchase(), ACTOR, "request-1")).status == 200


async def test_a_quote_whose_connection_is_lost_says_so(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    async with locked(database, "LOCK TABLE members IN ACCESS EXCLUSIVE MODE") as holder:
        asked = asyncio.create_task(quote(runtime, shop.id, purchase(), ACTOR, "request-1"))
        await cut(database, await until_blocked(database, holder))
        with pytest.raises(DatabaseUnavailable):
            await asked
