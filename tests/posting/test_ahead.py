"""While a batch is being written the next one is decided behind it; that counts only if nobody writes in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.base.calendar import CapPeriod
from loyalty.conditions.types import HasIdentifier
from loyalty.ledger.verify import verify
from loyalty.members.types import Identifier, IdentifierKind, MemberStatus, Profile
from loyalty.posting import store
from loyalty.posting.commands import (
    AddIdentifier,
    Adjust,
    Approve,
    ChangeMember,
    Command,
    EraseMember,
    Publish,
    Reject,
    SetPin,
    UseHold,
)
from loyalty.posting.pipe import BatchSeen
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import (
    Adjustments,
    PayPolicy,
    PointsCurrency,
    SpendingLimits,
    SpendingPin,
    Transfers,
)
from loyalty.rewards.types import MemberLimit, Reward
from tests.conftest import Database
from tests.posting.live import (
    LiveShop,
    StandingClock,
    count,
    head_held,
    locked,
    open_shop,
    serving,
    until_blocked,
)
from tests.posting.shop import (
    ANN,
    BOB,
    MAX,
    NOW,
    Reply,
    adjust,
    cancel,
    cancel_redemption,
    capped,
    capture,
    card,
    claim,
    enrol,
    exchange,
    extend,
    freeze,
    fulfil,
    give,
    give_back,
    hold,
    hold_reward,
    ladder,
    line,
    pay,
    program,
    purchase,
    redeem,
    release,
    reward,
    stocked,
    unfreeze,
    with_pin,
)


@contextlib.asynccontextmanager
async def one_behind_the_other(
    database: Database,
    shop: LiveShop,
    first: Command,
    second: Command,
    keys: tuple[str | None, str | None],
    **more: Any,
) -> AsyncIterator[tuple[list[BatchSeen], "asyncio.Future[list[Reply]]"]]:
    """In the block `first` waits to be written and `second` stands behind it in the lane, decided where it can be."""
    seen: list[BatchSeen] = []
    shop.runtime.pipe.observe = seen.append
    async with locked(database, "LOCK TABLE blocks, idempotency_records IN EXCLUSIVE MODE") as writer:
        async with head_held(database, shop.id) as head:
            sent = [asyncio.create_task(shop.send(first, keys[0], **more))]
            await until_blocked(database, head)
            sent.append(asyncio.create_task(shop.send(second, keys[1], **more)))
            await asyncio.sleep(0)
        await until_blocked(database, writer)
        # Else its last read may come late enough to find what `first` has written by then.
        decided = [queue.ahead.decided for queue in shop.runtime.pipe._queues.values() if queue.ahead]
        if decided:
            await asyncio.wait(decided)
        replies = asyncio.gather(*sent)
        yield seen, replies
    await replies
    shop.runtime.pipe.observe = None


async def pair(
    database: Database,
    shop: LiveShop,
    first: Command,
    second: Command,
    keys: tuple[str | None, str | None] = (None, None),
    **more: Any,
) -> tuple[list[bool], list[Reply]]:
    """Of two commands, the second in the batch behind the first: which were decided ahead, and the answers."""
    async with one_behind_the_other(database, shop, first, second, keys, **more) as (seen, replies):
        pass
    answers = await replies
    assert [batch.commands for batch in seen] == [1, 1]
    return [batch.ahead for batch in seen], answers


CAN_BE_AHEAD = [False, True]


async def test_points_of_the_batch_before_are_there_to_be_spent(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    ahead, (bought, spent) = await pair(database, shop, purchase("R-1"), adjust(-10))
    assert (ahead, bought.balance, spent.balance) == (CAN_BE_AHEAD, {"available": 10}, {})
    assert (await shop.send(adjust(-1))).refused == (409, "insufficient_points")


async def test_points_that_the_batch_before_spent_are_gone(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"), purchase("R-2"))
    ahead, (first, second) = await pair(database, shop, adjust(-15), adjust(-15))
    assert (ahead, first.status, second.refused) == (CAN_BE_AHEAD, 201, (409, "insufficient_points"))
    assert (await shop.send(adjust(-5))).balance == {}


async def test_a_member_enrolled_in_the_batch_before_can_buy(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(15))
    ahead, (enrolled, bought) = await pair(database, shop, enrol("new"), purchase("R-1", of="new"))
    assert (ahead, bought["member_id"]) == (CAN_BE_AHEAD, enrolled["id"])
    assert (await shop.send(purchase("R-2", of="new"))).balance == {"available": 15}


async def test_a_cap_counts_the_batch_before(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(15))
    ahead, (first, second) = await pair(database, shop, purchase("R-1"), purchase("R-2"))
    assert (ahead, first.earned, second.earned) == (CAN_BE_AHEAD, 10, 5)


async def test_days_of_the_batch_before_are_counted_once(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, tier_sets=(ladder(),))
    ahead, (_, second) = await pair(database, shop, purchase("R-1", 20_000), purchase("R-2", 10_000))
    third = await shop.done(purchase("R-3", 100))
    stood = [(one["standing"][0]["tier"], one["standing"][0]["counted"]) for one in (second, third)]
    assert (ahead, stood) == (CAN_BE_AHEAD, [("silver", 30_000), ("silver", 30_100)])


async def test_a_receipt_of_the_batch_before_is_known(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    ahead, (first, again) = await pair(database, shop, purchase("R-1"), purchase("R-1"))
    assert (ahead, again.status, again.raw) == (CAN_BE_AHEAD, 200, first.raw)


async def test_a_key_of_the_batch_before_is_known(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    ahead, (first, again) = await pair(database, shop, adjust(7), adjust(7), ("k", "k"))
    assert (ahead, again.status, again.raw) == (CAN_BE_AHEAD, 201, first.raw)


async def test_a_refusal_of_the_batch_before_is_known_by_its_key(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    ahead, (first, again) = await pair(database, shop, adjust(-7), adjust(-7), ("k", "k"))
    assert (ahead, first.refused, again.raw) == (CAN_BE_AHEAD, (409, "insufficient_points"), first.raw)


async def test_a_purchase_of_the_batch_before_can_be_cancelled(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(10))
    ahead, (bought, cancelled) = await pair(database, shop, purchase("R-1"), cancel("R-1"))
    assert (ahead, cancelled["id"], cancelled.balance) == (CAN_BE_AHEAD, bought["id"], {})
    assert (await shop.send(purchase("R-2"))).earned == 10


async def test_a_purchase_cancelled_in_the_batch_before_stays_away(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    ahead, (_, late) = await pair(database, shop, cancel("R-1"), purchase("R-1"))
    assert (ahead, late.refused) == (CAN_BE_AHEAD, (409, "purchase_cancelled"))


async def test_a_purchase_of_the_batch_before_can_be_returned(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(10))
    two = (line(1000, quantity_milli=2000),)
    ahead, (bought, back) = await pair(
        database, shop, purchase("R-1", lines=two), give_back("B-1", {"1": 1000})
    )
    assert (ahead, back["purchase_id"], back.balance) == (CAN_BE_AHEAD, bought["id"], {"available": 5})
    assert (await shop.send(purchase("R-2"))).earned == 5


async def test_what_the_batch_before_took_back_is_no_longer_left(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1", lines=(line(1100, quantity_milli=3000),)), give_back("B-0", {"1": 1000}))
    part, much = give_back("B-1", {"1": 1000}), give_back("B-2", {"1": 1500})
    ahead, (_, second) = await pair(database, shop, part, much)
    assert (ahead, second.refused, second["returned"]) == (CAN_BE_AHEAD, (409, "exceeds_purchase"), "2")
    ahead, (third, fourth) = await pair(database, shop, give_back("B-3"), give_back("B-4"))
    assert (ahead, third["complete"], fourth.refused) == (CAN_BE_AHEAD, True, (409, "already_returned"))
    assert (await shop.send(cancel("R-1"))).balance == {}


async def test_a_claim_of_the_batch_before_takes_what_was_left(runtime: Runtime, database: Database) -> None:
    """What went back before is known behind the claim, though the purchase is not read again."""
    shop = await open_shop(runtime)
    bought = await shop.done(purchase("R-1", of=None, lines=(line(1500, quantity_milli=3000),)))
    await shop.done(give_back("B-1", {"1": 1000}))
    ahead, (claimed, back) = await pair(database, shop, claim(bought["id"]), give_back("B-2", {"1": 1000}))
    assert (ahead, claimed.earned, back.balance) == (CAN_BE_AHEAD, 10, {"available": 5})
    assert (await shop.send(give_back("B-3", {"1": 1001}))).refused == (409, "exceeds_purchase")


async def test_a_purchase_claimed_in_the_batch_before_is_still_found_by_its_id(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    bought = await shop.done(purchase("R-1", of=None))
    back = give_back("B-1", purchase_id=UUID(bought["id"]))
    ahead, (claimed, returned) = await pair(database, shop, claim(bought["id"]), back)
    assert (ahead, claimed.earned, returned.balance) == (CAN_BE_AHEAD, 10, {})


async def test_a_return_of_the_batch_before_is_known_by_its_name(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"))
    ahead, (first, again) = await pair(database, shop, give_back("B-1"), give_back("B-1"))
    assert (ahead, again.status, again.raw) == (CAN_BE_AHEAD, 200, first.raw)


async def test_an_exchange_stands_behind_another(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, capped(10))
    await shop.done(purchase("R-1", lines=(line(1000, quantity_milli=2000),)))
    swap = exchange(give_back("B-1", {"1": 1000}), purchase("R-2", 300))
    other = exchange(give_back("B-2", of="R-2"), purchase("R-3", 800))
    ahead, (first, second) = await pair(database, shop, swap, other)
    assert (ahead, first["purchase"]["earned"][0]["points"]) == (CAN_BE_AHEAD, 3)
    assert second["purchase"]["earned"][0]["points"] == 5
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_a_member_blocked_in_the_batch_before_may_not_buy(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    ahead, (_, bought) = await pair(
        database, shop, ChangeMember(card(ANN), MemberStatus.BLOCKED), purchase("R-1")
    )
    assert (ahead, bought.refused) == (CAN_BE_AHEAD, (409, "member_blocked"))


async def test_a_hold_of_the_batch_before_is_known_and_its_points_are_set_aside(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, currencies=(PointsCurrency("miles", "miles"),))
    await shop.done(adjust(20), Adjust(card(ANN), "miles", 7, "goodwill"))
    ahead, (held, spent) = await pair(database, shop, hold(15), adjust(-6))
    assert (ahead, held.status, spent.refused) == (CAN_BE_AHEAD, 201, (409, "insufficient_points"))
    id = held["id"]
    ahead, (_, taken) = await pair(database, shop, extend(id, 60), capture(id, 10))
    assert (ahead, taken["lapses_at"], taken["held"]) == (CAN_BE_AHEAD, "2026-11-20T16:30:00Z", 5)
    assert [one["available"] for one in taken["balances"]] == [5, 7], "those of other points are read too"
    ahead, (_, again) = await pair(database, shop, release(id), capture(id))
    assert (ahead, again.refused) == (CAN_BE_AHEAD, (409, "hold_released"))
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_a_purchase_cancelled_right_behind_it_gives_back_what_it_captured(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    await shop.done(adjust(20))
    id = (await shop.done(hold(20)))["id"]
    bought = purchase("R-1", holds=(UseHold(UUID(id)),))
    ahead, (paid, undone) = await pair(database, shop, bought, cancel("R-1"))
    assert (ahead, paid.balance, undone.balance) == (CAN_BE_AHEAD, {"available": 10}, {"available": 20})
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_a_hold_that_the_batch_before_extended_does_not_lapse_at_its_first_deadline(
    database: Database,
) -> None:
    clock = StandingClock()
    async with serving(database, clock) as runtime:
        shop = await open_shop(runtime)
        await shop.done(adjust(20))
        id = (await shop.done(hold(20)))["id"]
        await pair(database, shop, purchase("R-1", 0), extend(id, 60))
        assert (await verify(runtime.pool.acquire, shop.id)).intact, "the account knows its new due instant"
        await pair(database, shop, extend(id, 60), purchase("R-2", 0))
        clock.at = NOW + timedelta(minutes=30)
        assert (await shop.send(adjust(-1))).refused == (409, "insufficient_points")
        clock.at = NOW + timedelta(minutes=60)
        assert (await shop.send(adjust(-1))).balance == {"available": 19}
        assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_what_the_batch_before_set_aside_of_a_stock_is_promised(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, rewards=(reward(1, stocked=True),), members=(ANN, BOB))
    await shop.done(adjust(10), adjust(10, BOB), stocked(1))
    ahead, (held, other) = await pair(database, shop, hold_reward(), redeem(of=BOB))
    assert (ahead, held.status, other.refused) == (CAN_BE_AHEAD, 201, (409, "reward_unavailable"))
    ahead, (_, other) = await pair(database, shop, extend(held["id"], 60), redeem(of=BOB))
    assert (ahead, other.refused) == (CAN_BE_AHEAD, (409, "reward_unavailable"))
    ahead, (_, taken) = await pair(database, shop, release(held["id"]), redeem(of=BOB))
    assert (ahead, taken.status) == (CAN_BE_AHEAD, 201)
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_what_was_redeemed_from_a_hold_in_the_batch_before_is_taken_once(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, rewards=(reward(1, stocked=True),), members=(ANN, BOB))
    await shop.done(adjust(10), adjust(10, BOB), stocked(2))
    id = (await shop.done(hold_reward()))["id"]
    ahead, (taken, again) = await pair(database, shop, redeem(hold_id=id), redeem(hold_id=id))
    assert (ahead, taken.status, again.refused) == (CAN_BE_AHEAD, 201, (409, "hold_captured"))
    ahead, (held, taken) = await pair(database, shop, hold_reward(), redeem(of=BOB))
    assert (ahead, held.status, taken.refused) == (CAN_BE_AHEAD, 201, (409, "reward_unavailable"))
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_a_promise_that_the_batch_before_extended_does_not_end_at_its_first_deadline(
    database: Database,
) -> None:
    clock = StandingClock()
    async with serving(database, clock) as runtime:
        shop = await open_shop(runtime, rewards=(reward(1, stocked=True),), members=(ANN, BOB))
        await shop.done(adjust(10), adjust(10, BOB), stocked(1))
        id = (await shop.done(hold_reward()))["id"]
        await pair(database, shop, extend(id, 60), purchase("R-2", 0))
        clock.at = NOW + timedelta(minutes=30)
        assert (await shop.send(redeem(of=BOB))).refused == (409, "reward_unavailable")
        clock.at = NOW + timedelta(minutes=60)
        assert (await shop.send(redeem(of=BOB))).status == 201
        assert (await shop.send(redeem(hold_id=id))).refused == (409, "hold_lapsed")
        assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_wrong_pins_of_the_batch_before_are_counted(runtime: Runtime, database: Database) -> None:
    asks = SpendingPin(above=1, attempts=2)
    pays = PayPolicy(points=1, each_minor=1)
    shop = await open_shop(runtime, pay=pays, policies={"spending_pin": asks})
    ahead, (_, spent) = await pair(database, shop, adjust(100), SetPin(card(ANN), "scrypt$"))
    bad = with_pin(pay(5), right=False)
    ahead, (first, second) = await pair(database, shop, bad, bad)
    assert (ahead, first["attempts_left"], second["attempts_left"]) == (CAN_BE_AHEAD, 1, 0)
    ahead, (_, spent) = await pair(database, shop, SetPin(card(ANN), "scrypt$$"), with_pin(pay(5)))
    assert (ahead, spent.refused) == (CAN_BE_AHEAD, (409, "pin_changed"))
    assert (await shop.send(with_pin(pay(5), version=2))).status == 201


async def test_what_the_batch_before_took_is_out_of_stock(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, rewards=(reward(1, stocked=True),))
    await shop.done(adjust(10), stocked(1))
    ahead, (first, second) = await pair(database, shop, redeem(), redeem())
    assert (ahead, first.status, second.refused) == (CAN_BE_AHEAD, 201, (409, "reward_unavailable"))
    assert (await shop.send(stocked(by=1)))["stock"] == 1


async def test_what_was_promised_earlier_is_kept_behind_a_batch_that_took_of_the_stock(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, rewards=(reward(1, stocked=True),), members=(ANN, BOB))
    held = await shop.done(adjust(10), adjust(10, BOB), stocked(2), hold_reward())
    ahead, (taken, other) = await pair(database, shop, redeem(of=BOB), redeem(of=BOB))
    assert (ahead, taken.status, other.refused) == (CAN_BE_AHEAD, 201, (409, "reward_unavailable"))
    ahead, (set_to, other) = await pair(database, shop, stocked(1), stocked(0))
    assert (ahead, set_to["reserved"], other.refused) == (CAN_BE_AHEAD, 1, (409, "stock_out_of_range"))
    assert (await shop.send(redeem(hold_id=held["id"]))).status == 201
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_what_the_batch_before_gave_back_can_be_taken(runtime: Runtime, database: Database) -> None:
    limited = reward(1, stocked=True, member_limit=MemberLimit(1, CapPeriod.DAY))
    shop = await open_shop(runtime, rewards=(limited,))
    taken = await shop.done(adjust(1), stocked(1), redeem())
    ahead, (_, again) = await pair(database, shop, cancel_redemption(taken), redeem())
    assert (ahead, again.status) == (CAN_BE_AHEAD, 201)


async def test_what_the_batch_before_handed_over_stays(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, rewards=(reward(1),))
    taken = await shop.done(adjust(1), redeem())
    ahead, (_, cancelled) = await pair(database, shop, fulfil(taken), cancel_redemption(taken))
    assert (ahead, cancelled.refused) == (CAN_BE_AHEAD, (409, "not_returnable"))


async def test_an_identifier_of_the_batch_before_counts(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, rewards=(reward(1, when=HasIdentifier(("email",))),))
    await shop.done(adjust(1))
    email = Identifier(IdentifierKind.EMAIL, "ann@example.org")
    ahead, (_, taken) = await pair(database, shop, AddIdentifier(card(ANN), email), redeem())
    assert (ahead, taken.status) == (CAN_BE_AHEAD, 201)


async def test_a_purchase_of_the_batch_before_that_earned_nothing_is_cancelled_beside_what_was_there(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    await shop.done(adjust(7))
    ahead, (_, cancelled) = await pair(database, shop, purchase("R-1", 0), cancel("R-1"))
    assert (ahead, cancelled.balance) == (CAN_BE_AHEAD, {"available": 7})


@pytest.mark.parametrize("first", [Publish(program()), EraseMember(card(ANN))], ids=["publish", "erase"])
async def test_nothing_is_decided_ahead_of_what_changes_everything(
    runtime: Runtime, database: Database, first: Command
) -> None:
    shop = await open_shop(runtime, members=(ANN, "other"))
    ahead, _ = await pair(database, shop, first, purchase("R-1", of="other"))
    assert ahead == [False, False]


@pytest.mark.parametrize(("meanwhile", "status"), [(-10, 409), (10, 201)], ids=["spent", "given"])
async def test_whoever_was_decided_ahead_and_overtaken_is_decided_anew(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch, meanwhile: int, status: int
) -> None:
    """Another process spends the very points, or gives those that were missing, before this one holds the head."""
    shop = await open_shop(runtime, members=(ANN, "other"))
    if meanwhile < 0:
        await shop.done(purchase("R-1"))
    begin_after = store.begin_after
    async with serving(database) as elsewhere:
        there = shop.elsewhere(elsewhere)

        async def overtaken(*about: Any) -> bool:
            await there.done(adjust(meanwhile))
            return await begin_after(*about)

        monkeypatch.setattr(store, "begin_after", overtaken)
        ahead, (first, second) = await pair(database, shop, adjust(1, of="other"), adjust(-10))
    assert (ahead, first.status, second.status) == ([False, False], 201, status)
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_an_order_of_many_batches_is_one_chain(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, members=[f"m-{n}" for n in range(40)])
    seen: list[BatchSeen] = []
    runtime.pipe.observe = seen.append

    async def buys(member: int) -> None:
        for n in range(8):
            await shop.done(purchase(f"R-{member}-{n}", of=f"m-{member}"))

    await asyncio.gather(*(buys(member) for member in range(40)))
    runtime.pipe.observe = None
    assert sum(batch.commands for batch in seen) == 320
    assert sum(batch.ahead for batch in seen) > len(seen) // 2
    report = await verify(runtime.pool.acquire, shop.id)
    assert report.intact, report.findings


async def test_what_was_decided_behind_a_batch_that_was_not_stored_is_decided_anew(
    database: Database,
) -> None:
    """Refusals write no block that could tell: the second is a replay only if the first is in the database."""
    async with serving(database, lock_timeout_ms=1_000) as runtime:
        shop = await open_shop(runtime)
        async with one_behind_the_other(database, shop, adjust(-7), adjust(-7), ("k", "k")) as (_, replies):
            assert [reply.refused for reply in await replies] == [(503, "busy")] * 2
            assert await count(database, "idempotency_records", shop.id, "key = 'k'") == 0
        first, again = await shop.send(adjust(-7), "k"), await shop.send(adjust(-7), "k")
    assert (first.refused, first.replayed) == ((409, "insufficient_points"), False)
    assert (again.raw, again.replayed) == (first.raw, True)


async def test_a_refusal_that_another_process_stored_first_is_the_one_that_all_are_told(
    runtime: Runtime, database: Database
) -> None:
    """The other's record is not committed yet when the first is decided, and the second behind it."""
    shop = await open_shop(runtime)
    stored = await shop.send(adjust(-7), "there", request_id="there")
    same = """INSERT INTO idempotency_records SELECT (jsonb_populate_record(r, '{"key": "k"}')).*
        FROM idempotency_records r WHERE program_id = $1 AND key = 'there'"""
    async with locked(database, same, shop.id) as elsewhere:
        async with head_held(database, shop.id) as head:
            sent = [asyncio.create_task(shop.send(adjust(-7), "k"))]
            await until_blocked(database, head)
            sent.append(asyncio.create_task(shop.send(adjust(-7), "k")))
            await asyncio.sleep(0)
        await until_blocked(database, elsewhere)
    assert [reply.raw for reply in await asyncio.gather(*sent)] == [stored.raw] * 2


async def test_two_processes_give_one_answer_to_a_key_that_is_refused(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    bodies: dict[str, set[str]] = {}

    async def insists(at: LiveShop, name: str) -> None:
        for n in range(40):
            reply = await at.send(adjust(-7), f"k-{n}", request_id=name)
            assert reply.refused == (409, "insufficient_points")
            bodies.setdefault(f"k-{n}", set()).add(str(reply.raw))

    async with serving(database) as elsewhere:
        both = (shop, shop.elsewhere(elsewhere))
        await asyncio.gather(*(insists(at, f"{at is shop}-{n}") for n in range(12) for at in both))
    assert [key for key, found in bodies.items() if len(found) > 1] == []


# --- what is done by hand ---------------------------------------------------------------------------------------

STAFF: dict[str, Any] = {"kind": "staff"}


async def desk(runtime: Runtime, rewards: tuple[Reward, ...] = (), **policies: Any) -> LiveShop:
    """Ann and Bob, four eyes above 100 points, free transfers."""
    policies = {
        "adjustments": Adjustments(approval_above=100),
        "transfers": Transfers(enabled=True),
    } | policies
    return await open_shop(runtime, members=(ANN, BOB), policies=policies, rewards=rewards)


async def test_an_account_frozen_in_the_batch_before_gives_nothing(
    runtime: Runtime, database: Database
) -> None:
    shop = await desk(runtime)
    await shop.done(adjust(50))
    ahead, (_, spent) = await pair(database, shop, freeze(), adjust(-1))
    assert (ahead, spent.refused) == (CAN_BE_AHEAD, (409, "account_frozen"))
    ahead, (_, spent) = await pair(database, shop, unfreeze(), adjust(-1))
    assert (ahead, spent.status) == (CAN_BE_AHEAD, 201)


async def test_an_account_frozen_in_the_batch_before_redeems_nothing(
    runtime: Runtime, database: Database
) -> None:
    shop = await desk(runtime, rewards=(reward(40),))
    await shop.done(adjust(50))
    ahead, (_, taken) = await pair(database, shop, freeze(), redeem())
    assert (ahead, taken.refused) == (CAN_BE_AHEAD, (409, "account_frozen"))
    ahead, (_, taken) = await pair(database, shop, unfreeze(), redeem())
    assert (ahead, taken.status) == (CAN_BE_AHEAD, 201)


async def test_points_given_in_the_batch_before_can_be_given_on(runtime: Runtime, database: Database) -> None:
    shop = await desk(runtime)
    await shop.done(adjust(50))
    ahead, (_, back) = await pair(database, shop, give(30), give(20, to=ANN, of=BOB))
    assert (ahead, back.status, back.balance) == (CAN_BE_AHEAD, 201, {"available": 10})
    ahead, (_, spent) = await pair(database, shop, give(30), adjust(-11, of=ANN))
    assert (ahead, spent.refused) == (CAN_BE_AHEAD, (409, "insufficient_points"))


async def test_a_proposal_decided_in_the_batch_before_is_decided(
    runtime: Runtime, database: Database
) -> None:
    shop = await desk(runtime)
    proposal = UUID((await shop.send(adjust(500)))["id"])
    first, second = (Approve(proposal), Reject(proposal))
    ahead, (done, late) = await pair(database, shop, first, second, by=MAX, **STAFF)
    assert (ahead, done.status, late.refused) == (CAN_BE_AHEAD, 200, (409, "proposal_decided"))
    assert (await shop.send(adjust(1))).balance == {"available": 501}


async def test_a_proposal_whose_member_the_batch_before_changed_finds_its_points(
    runtime: Runtime, database: Database
) -> None:
    shop = await desk(runtime)
    await shop.done(adjust(50))
    proposal = UUID((await shop.send(adjust(500)))["id"])
    change = ChangeMember(card(ANN), profile=Profile(name="Ann"))
    ahead, (_, approved) = await pair(database, shop, change, Approve(proposal), by=MAX, **STAFF)
    assert (ahead, approved.balance) == (CAN_BE_AHEAD, {"available": 550})


async def test_limits_count_the_batch_before(runtime: Runtime, database: Database) -> None:
    limits = SpendingLimits(member_day_max=50, changed_hours=1, changed_day_max=40)
    desk_policy = Adjustments(daily_max=150)
    shop = await desk(runtime, (reward(21),), spending_limits=limits, adjustments=desk_policy)
    await shop.done(adjust(60))
    ahead, (_, spent) = await pair(database, shop, adjust(-30), adjust(-21))
    assert (ahead, spent["limit"]) == (CAN_BE_AHEAD, "member_day")
    ahead, (_, spent) = await pair(database, shop, enrol("6035550009"), redeem())
    assert (ahead, spent["limit"]) == (CAN_BE_AHEAD, "member_day")
    ahead, (_, given) = await pair(database, shop, adjust(30), adjust(31))
    assert (ahead, given.refused) == (CAN_BE_AHEAD, (409, "adjustment_limit"))
    change = ChangeMember(card(ANN), profile=Profile(name="Ann"))
    ahead, (_, spent) = await pair(database, shop, change, adjust(-11))
    assert (ahead, spent["limit"]) == (CAN_BE_AHEAD, "after_change")
