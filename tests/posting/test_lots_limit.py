"""Who holds as many lots as one may gets no more, and is hindered in nothing else."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.ledger import lots, postings
from loyalty.ledger.types import EntryKind
from loyalty.ledger.verify import verify
from loyalty.posting import book, store
from loyalty.posting.commands import Adjust, AdvanceClock, Approve, Command, EraseMember, Settle, WriteOff
from loyalty.posting.pipe import BatchSeen
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import Adjustments, PayPolicy, PointsCurrency, Rolling, Transfers
from tests.conftest import Database
from tests.posting.live import LiveShop, count, head_held, open_shop, superuser, until_blocked
from tests.posting.shop import (
    ANN,
    BOB,
    MAX,
    NOW,
    SUE,
    Reply,
    Shop,
    adjust,
    ago,
    cancel,
    cancel_redemption,
    capture,
    card,
    claim,
    enrol,
    exchange,
    extend,
    give,
    give_back,
    hold,
    imported,
    pay,
    purchase,
    reinstate,
    release,
)
from tests.posting.shop import shop as in_memory
from tests.posting.test_quotes import quoted

FEW = 4
FULL = (409, "lots_limit_exceeded")
STAFF: dict[str, Any] = {"kind": "staff"}
TABLES = ("lots", "entries", "decisions", "activities", "activity_keys", "engagement_events", "blocks")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (book, store):
        monkeypatch.setattr(module, "LOTS_MAX", FEW)


async def full(runtime: Runtime, *, pending_days: int = 0, **more: Any) -> LiveShop:
    """Ann has as many lots as one may, of 10 points each; Bob has 90 points in one."""
    policies = {"transfers": Transfers(enabled=True)} | more.pop("policies", {})
    shop = await open_shop(runtime, members=(ANN, BOB), policies=policies, pending_days=pending_days, **more)
    await shop.done(*(purchase(f"R-{n}") for n in range(FEW)), imported(90, "Bob's", of=BOB))
    return shop


async def written(shop: LiveShop, database: Database) -> list[int]:
    return [await count(database, table, shop.id) for table in TABLES]


NEW = {
    "purchase": purchase("R-9"),
    "credit by hand": adjust(1),
    "import": imported(1),
    "import of points that have expired": imported(1, at=ago(days=40), expires_at=ago(days=1)),
    "transfer": give(1, to=ANN, of=BOB),
    "exchange": exchange(give_back(of="R-1"), purchase("R-9")),
}


@pytest.mark.parametrize("command", NEW.values(), ids=NEW)
async def test_who_is_full_gets_no_new_lot(runtime: Runtime, database: Database, command: Command) -> None:
    shop = await full(runtime)
    before = await written(shop, database)
    reply = await shop.send(command)
    assert (reply.refused, reply["lots_max"]) == (FULL, FEW)
    assert await written(shop, database) == before
    # Room of one lot is enough.
    await shop.done(adjust(-10), command)


async def test_a_guests_purchase_is_claimed_once_there_is_room(runtime: Runtime) -> None:
    shop = await full(runtime)
    guest = await shop.done(purchase("G-1", of=None))
    assert (await shop.send(claim(guest["id"]))).refused == FULL
    assert (await shop.done(adjust(-10), claim(guest["id"]))).balance == {"available": 40}


async def test_a_quote_says_what_the_purchase_will(runtime: Runtime) -> None:
    shop = await full(runtime)
    assert (await quoted(shop, purchase("R-9"))).refused == FULL
    assert (await quoted(shop, purchase("R-9", 99))).status == 200
    await shop.done(adjust(-10))
    assert (await quoted(shop, purchase("R-9"))).balance == {"available": 40}


async def test_a_purchase_that_earns_nothing_is_recorded(runtime: Runtime) -> None:
    shop = await full(runtime)
    assert (await shop.done(purchase("R-9", 99))).balance == {"available": 40}


async def test_lots_of_all_accounts_count_and_points_do_not(runtime: Runtime) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB), currencies=(PointsCurrency("stars", "stars"),))
    stars = [Adjust(card(ANN), "stars", points, "goodwill") for points in (1_000, 1)]
    await shop.done(*stars, adjust(1), adjust(1_000))
    assert (await shop.send(adjust(1))).refused == (await shop.send(stars[1])).refused == FULL
    await shop.done(*(adjust(1_000, of=BOB) for _ in range(FEW - 1)), adjust(1, of=BOB))
    assert (await shop.send(adjust(1, of=BOB))).refused == FULL


async def test_lots_of_which_nothing_is_to_be_spent_count(runtime: Runtime) -> None:
    """Half of them are pending, half are set aside."""
    shop = await open_shop(runtime, pending_days=1)
    await shop.done(*(purchase(f"R-{n}", at=ago(days=9)) for n in range(FEW // 2)), hold(20, minutes=60))
    await shop.done(*(purchase(f"P-{n}") for n in range(FEW // 2)))
    assert (await shop.send(purchase("P-9"))).refused == FULL


async def test_others_of_the_same_batch_are_not_touched(runtime: Runtime, database: Database) -> None:
    shop, seen = await full(runtime), list[BatchSeen]()
    commands = [purchase("A-1"), purchase("B-1", of=BOB), adjust(-10), purchase("B-2", of=BOB)]
    runtime.pipe.observe = seen.append
    async with head_held(database, shop.id) as head:
        first = asyncio.create_task(shop.send(enrol("another")))
        await until_blocked(database, head)
        together = asyncio.create_task(shop.together(*commands))
        await asyncio.sleep(0)
    assert [reply.status for reply in (await first, *await together)] == [201, 409, 201, 201, 201]
    runtime.pipe.observe = None
    assert [batch.commands for batch in seen] == [1, len(commands)]


async def test_who_is_full_may_do_all_else(runtime: Runtime) -> None:
    shop = await full(runtime, pay=PayPolicy(1, 1, returnable=True))
    held = [(await shop.done(hold(2, minutes=60)))["id"] for _ in range(2)]
    await shop.done(extend(held[0], 90), capture(held[0], 1, release_rest=True), release(held[1]))
    await shop.done(cancel_redemption(await shop.done(pay(3))))
    assert (await shop.done(give(5))).balance == {"available": 34}
    assert (await shop.send(purchase("R-9"))).refused == FULL, "it was full all the while"
    await shop.done(give_back(of="R-1"), cancel("R-2"))
    assert (await shop.done(purchase("R-9"))).balance == {"available": 24}


async def test_what_comes_back_to_closed_lots_is_never_refused(runtime: Runtime) -> None:
    shop = await full(runtime, pay=PayPolicy(1, 1, returnable=True))
    paid = await shop.done(pay(40))
    await shop.done(*(purchase(f"S-{n}") for n in range(FEW)))
    assert (await shop.done(cancel_redemption(paid))).balance == {"available": 80}
    assert (await shop.send(purchase("R-9"))).refused == FULL
    assert (await shop.done(adjust(-50), purchase("R-9"))).balance == {"available": 40}


@pytest.fixture
async def crowded(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> LiveShop:
    """Ann has 12 lots, of which an entry counts 3: points came back to closed ones, again and again."""
    monkeypatch.setattr(postings, "POSTINGS_MAX", 5)
    monkeypatch.setattr(postings, "LOTS_OF_MANY", 3)
    monkeypatch.setattr(lots, "PARTS_MAX", FEW)
    shop = await open_shop(
        runtime, clock_at=NOW, pay=PayPolicy(1, 1, returnable=True), expiry=Rolling(days=30)
    )
    paid: list[Reply] = []
    for n in range(3):
        await shop.done(*(purchase(f"{n}-{m}") for m in range(FEW)))
        paid.append(await shop.done(pay(40)))
    for one in paid:
        await shop.done(cancel_redemption(one))
    return shop


async def entries(shop: LiveShop, database: Database, kind: EntryKind) -> list[int]:
    """How many postings each entry of a kind has; the books are whole."""
    async with superuser(database) as link:
        rows = await link.fetch(
            "SELECT (SELECT count(*) FROM postings p WHERE p.entry_id = e.id) AS n FROM entries e"
            " WHERE program_id = $1 AND kind = $2 ORDER BY id",
            shop.id,
            kind,
        )
    report = await verify(shop.runtime.pool.acquire, shop.id)
    assert report.intact, report.findings
    return [row["n"] for row in rows]


async def test_from_too_many_lots_nothing_is_spent_at_once(crowded: LiveShop) -> None:
    for command in (pay(41), adjust(-41), hold(41)):
        refused = await crowded.send(command)
        assert (refused.refused, refused["lots_max"]) == (FULL, FEW)
    assert (await crowded.done(pay(40), pay(40), hold(40))).balance == {"held": 40}


async def test_many_lots_expire_in_several_entries(crowded: LiveShop, database: Database) -> None:
    member = UUID((await crowded.done(adjust(-1)))["member_id"])
    await crowded.done(AdvanceClock(NOW + timedelta(days=40)), Settle(member))
    assert await entries(crowded, database, EntryKind.EXPIRE) == [3, 3, 3, 3]
    assert await count(database, "lots", crowded.id, "is_open") == 0


async def test_who_has_many_lots_is_erased(crowded: LiveShop, database: Database) -> None:
    await crowded.done(EraseMember(card(ANN)))
    assert await entries(crowded, database, EntryKind.EXPIRE) == [3, 3, 3, 3]
    assert await count(database, "lots", crowded.id, "is_open") == 0


async def test_who_is_full_is_settled(runtime: Runtime) -> None:
    shop = await open_shop(runtime, clock_at=NOW, expiry=Rolling(days=30), pending_days=1)
    bought = [await shop.done(purchase(f"R-{n}")) for n in range(FEW)]
    await shop.done(AdvanceClock(NOW + timedelta(days=2)), Settle(UUID(bought[0]["member_id"])))
    assert (await shop.send(purchase("R-9"))).refused == FULL
    later = NOW + timedelta(days=40)
    await shop.done(AdvanceClock(later), Settle(UUID(bought[0]["member_id"])))
    assert (await shop.done(purchase("R-9", at=later))).balance == {"pending": 10}


async def owing(runtime: Runtime) -> LiveShop:
    """Ann owes 10 points, and all that she may hold is to come."""
    shop = await open_shop(runtime, pending_days=5)
    await shop.done(purchase("R-0", at=ago(days=9)), adjust(-10))
    assert (await shop.done(*(purchase(f"R-{n + 1}") for n in range(FEW)), cancel("R-0"))).balance == {
        "pending": 40,
        "debt": 10,
    }
    return shop


async def test_the_debt_of_who_is_full_is_let_go(runtime: Runtime) -> None:
    shop = await owing(runtime)
    proposed = await shop.send(WriteOff(card(ANN), "points"), by=SUE, **STAFF)
    assert (await shop.send(Approve(UUID(proposed["id"])), by=MAX, **STAFF)).balance == {"pending": 40}


async def test_who_is_full_and_owes_is_erased(runtime: Runtime, database: Database) -> None:
    shop = await owing(runtime)
    await shop.done(EraseMember(card(ANN)))
    assert await count(database, "lots", shop.id, "is_open") == 0
    assert await count(database, "accounts", shop.id, "debt <> 0") == 0


async def test_a_credit_that_waits_is_refused_and_goes_on_waiting(runtime: Runtime) -> None:
    """The approval is found out only by what is read second."""
    shop = await full(runtime, policies={"adjustments": Adjustments(approval_above=5)})
    approval = Approve(UUID((await shop.send(adjust(6), by=SUE, **STAFF))["id"]))
    assert (await shop.send(approval, by=MAX, **STAFF)).refused == FULL
    await shop.done(give(10))
    assert (await shop.send(approval, by=MAX, **STAFF)).balance == {"available": 36}


async def test_expired_points_are_not_given_back_to_who_is_full(runtime: Runtime) -> None:
    shop = await open_shop(runtime, expiry=Rolling(days=30), reinstate_days=9)
    await shop.done(*(imported(5, f"{n}", at=ago(days=31)) for n in range(FEW + 1)))
    assert (await shop.send(reinstate())).refused == FULL, "they are too many at once"
    await shop.done(*(purchase(f"R-{n}") for n in range(FEW)))
    assert (await shop.send(reinstate(5))).refused == FULL
    assert (await shop.done(adjust(-10), reinstate(5))).balance == {"available": 35}


def test_one_batch_gives_nobody_more_than_one_may_hold() -> None:
    """What was read says nothing of it: nobody was full then."""
    shop: Shop = in_memory(members=(ANN, BOB), policies={"transfers": Transfers(enabled=True)})
    shop.done(*(purchase(f"A-{n}") for n in range(FEW)), *(purchase(f"B-{n}", of=BOB) for n in range(FEW)))
    before = len(shop.decisions)
    assert shop.send(purchase("A-9")).refused == shop.send(give(40)).refused == FULL
    assert (len(shop.decisions), shop.balance()) == (before, {"available": 40})
