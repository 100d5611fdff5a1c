"""Law 12: whatever a command is decided on was read after the head was held.

Another process has done all its work under the head and not yet committed. Our command waits for the head; when it
gets it, it must see the other's lots, counters, keys, people, rules and clock, at the first try. The planted bug
takes the head and reads the book in one statement: it waited, and still sees what was there before.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import pytest

from loyalty.members.types import Identifier, IdentifierKind, MemberStatus
from loyalty.posting import store
from loyalty.posting.commands import (
    Adjust,
    AdvanceClock,
    Answer,
    CancelPurchase,
    ChangeMember,
    Command,
    Enrol,
    MemberRef,
    Publish,
    PurchaseLine,
    RecordPurchase,
)
from loyalty.posting.configuration import Configuration
from loyalty.posting.pipe import BatchSeen
from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.laws.shop import JSON, Shop, open_shop, serving
from tests.races.proxy import Proxy, relayed

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ANN, NEW = (MemberRef(identifier=Identifier(IdentifierKind.CARD, card)) for card in ("ANN1", "NEW1"))


def configuration(points: int) -> JSON:
    """Whoever buys gets `points`, 100 a day at most, good for 30 days."""
    return {
        "settings": {
            "name": "Shop",
            "zone": "Europe/Vienna",
            "money": "EUR",
            "points_currencies": [
                {"code": "points", "name": "points", "expiry": {"kind": "rolling", "days": 30}}
            ],
        },
        "ruleset": {
            "rules": [
                {
                    "id": "base",
                    "name": "for buying",
                    "points_currency": "points",
                    "gives": {"kind": "fixed", "points": points},
                    "member_cap": {"points": 100, "period": "day"},
                }
            ]
        },
    }


def buy(receipt: str, by: MemberRef = ANN) -> RecordPurchase:
    lines = (PurchaseLine("1", "A", 1_000, 500),)
    return RecordPurchase("till", receipt, NOW, "EUR", lines, by, content_digests=(receipt.encode(),))


def body(answer: Answer) -> Any:
    return json.loads(answer.body)


def refused(code: str) -> Callable[[Answer], bool]:
    return lambda answer: body(answer).get("code") == code


def earned(points: int) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 201 and sum(e["points"] for e in body(answer)["earned"]) == points


class Race(NamedTuple):
    """What the other does under the head, what we ask for meanwhile, and the answer that is right."""

    other: Command
    ours: Command
    right: Callable[[Answer], bool]
    same_key: bool = False


RACES = {
    "lots": Race(Adjust(ANN, "points", -50, "x"), Adjust(ANN, "points", -50, "x"), refused("insufficient_points")),
    "a counter": Race(buy("R-2"), buy("R-3"), earned(0)),
    "a receipt": Race(buy("R-2"), buy("R-2"), lambda answer: (answer.status, answer.replayed) == (200, True)),
    "an idempotency key": Race(buy("R-2"), buy("R-2"), lambda a: (a.status, a.replayed) == (201, True), True),
    "a remembered cancel": Race(CancelPurchase("till", "R-2"), buy("R-2"), refused("purchase_cancelled")),
    "an identifier": Race(Enrol((Identifier(IdentifierKind.CARD, "NEW1"),)), buy("R-2", NEW), earned(50)),
    "a blocked member": Race(ChangeMember(ANN, MemberStatus.BLOCKED), buy("R-2"), refused("member_blocked")),
    "the configuration": Race(
        Publish(msgspec.convert(configuration(7), Configuration)), buy("R-2"), earned(7)
    ),
    "the clock": Race(
        AdvanceClock(NOW + timedelta(days=31)), Adjust(ANN, "points", -1, "x"), refused("insufficient_points")
    ),
}  # fmt: skip


class Processes(NamedTuple):
    """Two runtimes over one database; the other's commits can be kept back."""

    ours: Runtime
    other: Runtime
    line: Proxy
    link: Any


@pytest.fixture(scope="module")
async def processes(database: Database) -> AsyncIterator[Processes]:
    async with (
        relayed(database.app_url) as (relay, line),
        serving(database) as ours,
        serving(Database(relay, database.owner_url, database.superuser_url)) as other,
    ):
        link = await asyncpg.connect(database.superuser_url)
        yield Processes(ours, other, line, link)
        await link.close()


async def run(
    processes: Processes, race: Race, plant: Callable[[], None] = lambda: None
) -> tuple[Answer, int]:
    """Our answer, and how often our batch was tried. `plant` is called when the other's work is done."""
    shop = await open_shop(processes.ours, configuration(50), NOW)
    await shop.send(Enrol((Identifier(IdentifierKind.CARD, "ANN1"),)))
    await shop.send(buy("R-1"))
    twin = Shop(processes.other, shop.program, shop.client)
    processes.line.hold_next_commit()
    first = asyncio.create_task(twin.send(race.other, "k1"))
    await processes.line.holding.wait()
    plant()
    seen: list[BatchSeen] = []
    processes.ours.pipe.observe = seen.append
    second = asyncio.create_task(shop.send(race.ours, "k1" if race.same_key else "k2"))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while not await processes.link.fetchval(waiting):
        assert not second.done(), "it did not wait for the head"
        await asyncio.sleep(0.005)
    processes.line.release()
    assert (await first).status in (200, 201)
    answer = await second
    processes.ours.pipe.observe = None
    return answer, seen[0].attempts


@pytest.mark.parametrize("what", RACES)
async def test_what_another_process_changed_under_the_head_is_seen(processes: Processes, what: str) -> None:
    answer, attempts = await run(processes, RACES[what])
    assert RACES[what].right(answer), answer.body
    assert attempts == 1


# --- planted bug no. 1: head and book in one statement ----------------------------------------------------------

TAKE_AND_READ = store.LOAD.replace(
    "WITH who AS",
    "WITH head AS MATERIALIZED (SELECT cell FROM heads WHERE program_id = $1 AND cell = ANY($2::smallint[])"
    " ORDER BY cell FOR UPDATE), who AS",
).replace("FROM unnest($2::smallint[]) c(cell), LATERAL (", "FROM head c, LATERAL (")


async def begin_without_head(connection: store.Connection, program_id: UUID, cells: Sequence[int]) -> None:
    await connection.execute(f"BEGIN; SET LOCAL loyalty.program = '{program_id}'")


@pytest.mark.parametrize("what", RACES)
async def test_the_planted_bug_is_noticed(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The block's number is taken already, so the batch fails and is tried again: the belt behind the braces."""

    def plant() -> None:
        monkeypatch.setattr(store, "begin", begin_without_head)
        monkeypatch.setattr(store, "LOAD", TAKE_AND_READ)

    answer, attempts = await run(processes, RACES[what], plant)
    assert not RACES[what].right(answer) or attempts > 1


@pytest.mark.parametrize("what", ["a blocked member", "the configuration", "the clock"])
async def test_without_the_belt_the_planted_bug_decides_on_what_is_gone(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The lane's newest block read afresh, everything else with the head: nothing stops a wrong decision."""
    load = store.load
    read_lanes = store.LOAD

    async def load_twice(connection: store.Connection, *about: Any) -> store.Loaded:
        monkeypatch.setattr(store, "LOAD", TAKE_AND_READ)
        stale = await load(connection, *about)
        monkeypatch.setattr(store, "LOAD", read_lanes)
        fresh = await load(connection, *about)
        return store.Loaded(fresh.lanes, stale.config_number, stale.clock, stale.rest)

    def plant() -> None:
        monkeypatch.setattr(store, "begin", begin_without_head)
        monkeypatch.setattr(store, "load", load_twice)

    answer, _ = await run(processes, RACES[what], plant)
    assert not RACES[what].right(answer), answer.body
