"""The road on the real database: what is written, in how many visits, in which batches, and read again after."""

import asyncio
from datetime import date, timedelta

import pytest

from loyalty.members.types import MemberStatus, Profile
from loyalty.posting import pipe
from loyalty.posting.commands import (
    AddIdentifier,
    AdvanceClock,
    ChangeMember,
    CloseDay,
    Command,
    EraseMember,
    Publish,
)
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import PointsCurrency, Rolling
from loyalty.rules.types import Fixed, Rule
from tests.conftest import Database
from tests.posting.live import LiveShop, count, open_shop, serving, superuser, visits
from tests.posting.shop import (
    ANN,
    BASE,
    BOB,
    NOW,
    adjust,
    ago,
    cancel,
    capped,
    card,
    carded,
    claim,
    enrol,
    imported,
    program,
    purchase,
)

# --- every command, and its rows read again -----------------------------------------------------------------


async def test_the_life_of_a_member_goes_down_the_road(runtime: Runtime) -> None:
    """Each command is a batch of its own, so it decides on what was written and read again."""
    shop = await open_shop(runtime, capped(100), members=())
    member = await shop.send(enrol(ANN, profile=Profile(name="Ann")))
    assert member.status == 201
    assert (await shop.send(enrol(ANN, "new"))).status == 200
    assert (await shop.send(AddIdentifier(card(ANN), carded("second")))).status == 201
    assert (await shop.send(purchase("R-1", 6_000))).balance == {"available": 60}
    assert (await shop.send(purchase("R-2", 6_000, of="second"))).balance == {"available": 100}
    assert (await shop.send(imported(30, at=ago(days=40)))).balance == {"available": 130}
    assert (await shop.send(adjust(-120))).balance == {"available": 10}
    assert (await shop.send(cancel("R-1"))).balance == {"debt": 50}
    assert (await shop.send(adjust(20))).balance == {"debt": 30}
    assert (await shop.send(purchase("R-3", 9_000))).balance == {"available": 30}, (
        "60 of the cap are free again"
    )
    guest = await shop.send(purchase("R-4", 9_900, of=None))
    assert (await shop.send(claim(guest["id"]))).balance == {"available": 30}, "the cap is used up"
    assert (await shop.send(ChangeMember(card(ANN), MemberStatus.BLOCKED))).status == 200
    assert (await shop.send(purchase("R-5"))).refused == (409, "member_blocked")
    assert (await shop.send(EraseMember(card(ANN))))["id"] == member["id"]
    assert (await shop.send(adjust(1))).refused == (404, "member_not_found")
    assert (await shop.send(cancel("R-3"))).balance == {}, "nobody owes for her"


async def test_what_is_published_leaves_compiled_what_was(runtime: Runtime) -> None:
    """A long history would be compiled anew for each publication, by every process."""
    shop = await open_shop(runtime)
    compiled = (await runtime.history(shop.id)).numbered(1).compiled
    await shop.done(Publish(program(BASE)), purchase("R-1"))
    history = await runtime.history(shop.id)
    assert (history.now.number, history.numbered(1).compiled is compiled) == (2, True)


async def test_what_falls_due_is_written_by_whoever_comes_next(runtime: Runtime) -> None:
    shop = await open_shop(runtime, clock_at=NOW, pending_days=10, expiry=Rolling(days=30))
    assert (await shop.send(purchase("R-1"))).balance == {"pending": 10}
    await shop.done(AdvanceClock(NOW + timedelta(days=15)))
    assert (await shop.send(adjust(-4))).balance == {"available": 6}
    assert (await shop.send(purchase("R-2", 500, at=NOW + timedelta(days=15)))).balance == {
        "available": 6,
        "pending": 5,
    }
    await shop.done(AdvanceClock(NOW + timedelta(days=31)))
    assert (await shop.send(cancel("R-2"))).balance == {}


async def test_a_late_credit_that_is_over_already_finds_the_other_lots(runtime: Runtime) -> None:
    shop = await open_shop(runtime, expiry=Rolling(days=30))
    await shop.done(purchase("R-1"), purchase("R-2"))
    reply = await shop.send(purchase("R-3", at=ago(days=30)))
    assert (reply["earned"][0]["state"], reply.balance) == ("expired", {"available": 20})
    assert (await shop.send(adjust(-20))).status == 201


async def test_several_points_currencies_settle_and_answer_together(runtime: Runtime) -> None:
    stamps = PointsCurrency("stamps", "stamps", expiry=Rolling(days=5))
    stamp = Rule("stamp", "a stamp", "stamps", Fixed(1))
    shop = await open_shop(runtime, BASE, stamp, currencies=(stamps,), clock_at=NOW)
    await shop.done(purchase("R-1"), AdvanceClock(NOW + timedelta(days=6)))
    reply = await shop.send(adjust(5))
    assert [b["available"] for b in reply["balances"]] == [15, 0], "the stamp expired in passing"


async def test_a_configuration_is_in_force_for_the_next_batch_of_every_process(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    async with serving(database) as other:
        await shop.elsewhere(other).done(purchase("R-1"))
        assert (await shop.done(Publish(program(Rule("hundred", "a hundred", "points", Fixed(100))))))[
            "number"
        ] == 2
        assert (await shop.elsewhere(other).send(purchase("R-2"))).earned == 100


async def test_a_closed_day_is_found_closed(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    yesterday = date(2026, 11, 19)
    assert (await shop.send(CloseDay(yesterday)))["closed_on"] == "2026-11-19"
    assert (await shop.send(CloseDay(yesterday))).refused == (409, "day_closed")
    assert await count(database, "blocks", shop.id, "closes_on = '2026-11-19'") == 1


async def test_what_a_batch_has_no_time_for_comes_first_in_the_next_one(
    runtime: Runtime, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that stands still is ended by the database: nobody of a long batch would be served."""
    shop = await open_shop(runtime)
    before = await count(database, "blocks", shop.id)
    monkeypatch.setattr(pipe, "DECIDE_S", 0.0)
    told = await shop.together(*(purchase(f"R-{n}", 100) for n in range(12)))
    assert [reply.status for reply in told] == [201] * 12
    assert await count(database, "blocks", shop.id) == before + 12
    assert (await shop.send(purchase("R-11", 100))).status == 200


# --- how much work a command is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "most"),
    [
        (purchase("R-2"), 4),
        (enrol("new"), 4),
        (adjust(5), 4),
        (imported(5), 4),
        (purchase("R-3", of=None), 4),
        (adjust(-5), 5),
        (cancel("R-1"), 6),  # its caps' counters are known only from its decision
        (cancel("R-9"), 4),
        (purchase("R-1"), 5),
    ],
    ids="purchase enrol credit import guest debit cancel early-cancel repeat".split(),
)
async def test_a_lone_command_is_a_handful_of_visits_to_the_database(
    runtime: Runtime, command: Command, most: int
) -> None:
    """Heads, book, perhaps what only the book could show, everything written, commit."""
    shop = await open_shop(runtime, capped(1_000))
    await shop.done(purchase("R-0"), purchase("R-1"))
    async with visits(runtime) as seen:
        await shop.done(command)
    assert len(seen) == most, seen
    assert seen[0].startswith("BEGIN") and seen[-1] == "COMMIT"


async def test_a_batch_of_purchases_is_no_more_visits_than_one(runtime: Runtime) -> None:
    members = [f"m-{n}" for n in range(7)]  # more are worth two batches
    shop = await open_shop(runtime, capped(1_000), members=members)
    async with visits(runtime) as seen:
        replies = await shop.together(*(purchase(f"R-{m}", of=m) for m in members))
    assert [reply.status for reply in replies] == [201] * 7
    assert len(seen) == 4


async def test_a_retry_writes_nothing(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    first = await shop.send(purchase(), "k")
    blocks = await count(database, "blocks", shop.id)
    async with visits(runtime) as seen:
        assert (await shop.send(purchase(), "k")).raw == first.raw
    assert seen[-1] == "ROLLBACK"
    assert await count(database, "blocks", shop.id) == blocks


async def test_a_refusal_writes_its_answer_and_no_block(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    blocks = await count(database, "blocks", shop.id)
    first = await shop.send(adjust(-1), "k")
    assert first.refused == (409, "insufficient_points")
    await shop.done(adjust(5))
    again = await shop.send(adjust(-1), "k")
    assert (again.raw, again.replayed) == (first.raw, True)
    assert await count(database, "blocks", shop.id) == blocks + 1
    assert await count(database, "accounts", shop.id) == 1


# --- commands of one batch ----------------------------------------------------------------------------------


async def one_block(database: Database, shop: LiveShop) -> int:
    """How many decisions stand in the newest block."""
    async with superuser(database) as link:
        return await link.fetchval(
            "SELECT count(*) FROM decisions WHERE program_id = $1 "
            "AND block_number = (SELECT max(number) FROM blocks WHERE program_id = $1)",
            shop.id,
        )


async def test_what_arrives_together_is_decided_in_order_and_written_in_one_block(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    replies = await shop.together(purchase("R-1"), purchase("R-2"), adjust(-15), cancel("R-1"))
    assert [reply.balance for reply in replies] == [
        {"available": 10},
        {"available": 20},
        {"available": 5},
        {"debt": 5},
    ]
    assert await one_block(database, shop) == 4


async def test_one_receipt_twice_in_a_batch_is_one_purchase(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    first, again, other = await shop.together(purchase("R-1"), purchase("R-1"), purchase("R-1", 999))
    assert (first.status, again.status, again.raw) == (201, 200, first.raw)
    assert (other.refused, other["differs"]) == ((409, "activity_differs"), ["/lines/0/amount_minor"])


async def test_one_key_twice_in_a_batch_is_one_effect(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    first, again, other = await asyncio.gather(
        shop.send(adjust(5), "k"), shop.send(adjust(5), "k"), shop.send(adjust(6), "k")
    )
    assert (again.status, again.raw, again.replayed) == (201, first.raw, True)
    assert other.refused == (422, "idempotency_key_reused")
    assert (await shop.send(adjust(1))).balance == {"available": 6}


async def test_whoever_enrols_can_buy_and_be_debited_in_the_same_batch(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, members=())
    enrolled, bought, taken, again = await shop.together(enrol(ANN), purchase(), adjust(-3), enrol(ANN))
    assert (bought["member_id"], taken.balance) == (enrolled["id"], {"available": 7})
    assert (again.status, again["id"]) == (200, enrolled["id"])
    assert await one_block(database, shop) == 4
    assert (await shop.send(adjust(-7))).balance == {}


async def test_a_cap_is_exact_within_a_batch(runtime: Runtime) -> None:
    shop = await open_shop(runtime, capped(25))
    replies = await shop.together(*(purchase(f"R-{n}") for n in range(4)))
    assert [reply.earned for reply in replies] == [10, 10, 5, 0]
    assert (await shop.send(purchase("R-9"))).earned == 0


async def test_a_balance_is_exact_within_a_batch(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    await shop.done(adjust(10))
    replies = await shop.together(*(adjust(-3) for _ in range(5)))
    assert [reply.status for reply in replies] == [201, 201, 201, 409, 409]


async def test_a_guests_purchase_can_be_claimed_and_cancelled_in_a_batch_with_others(
    runtime: Runtime,
) -> None:
    shop = await open_shop(runtime, members=(ANN, BOB))
    guest = await shop.send(purchase("R-1", of=None))
    claimed, late, cancelled = await shop.together(
        claim(guest["id"]), claim(guest["id"], by=BOB), cancel("R-1")
    )
    assert (claimed.balance, late.refused[1]) == ({"available": 10}, "already_claimed")
    assert (cancelled["member_id"], cancelled.balance) == (claimed["member_id"], {})
    assert (await shop.send(cancel("R-1"))).raw == cancelled.raw


async def test_a_cancel_and_its_purchase_in_one_batch_meet(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    early, late = await shop.together(cancel("R-1"), purchase("R-1"))
    assert (early.status, late.refused) == (201, (409, "purchase_cancelled"))
    bought, cancelled = await shop.together(purchase("R-2"), cancel("R-2"))
    assert (bought.balance, cancelled.balance) == ({"available": 10}, {})
    assert (await shop.send(purchase("R-2"))).raw == bought.raw


async def test_debts_and_late_credits_of_one_batch_find_the_same_lots(runtime: Runtime) -> None:
    """The first command reads the lots for itself; those behind it go on from where it left them."""
    shop = await open_shop(runtime, expiry=Rolling(days=30))
    await shop.done(purchase("R-1"), purchase("R-2"))
    replies = await shop.together(
        purchase("R-3", at=ago(days=30)), adjust(-15), cancel("R-1"), purchase("R-4", 700), adjust(-2)
    )
    assert [reply.balance for reply in replies] == [
        {"available": 20},
        {"available": 5},
        {"debt": 5},
        {"available": 2},
        {},
    ]


async def test_a_new_configuration_is_a_batch_of_its_own(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    hundred = program(Rule("hundred", "a hundred", "points", Fixed(100)))
    before, published, after = await shop.together(purchase("R-1"), Publish(hundred), purchase("R-2"))
    assert (before.earned, published["number"], after.earned) == (10, 2, 100)


async def test_an_identifier_added_just_before_the_erasure_goes_too(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    added, erased = await shop.together(AddIdentifier(card(ANN), carded("second")), EraseMember(card(ANN)))
    assert (added.status, erased.status) == (201, 200)
    assert (await shop.send(adjust(1, of="second"))).refused == (404, "member_not_found")


async def test_a_day_closed_in_the_company_of_others_is_closed_once(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    day = CloseDay(date(2026, 11, 19))
    replies = await shop.together(purchase("R-1"), day, purchase("R-2"), day)
    assert [reply.status for reply in replies] == [201, 200, 201, 409]


async def test_an_erased_card_is_free_for_whoever_comes_behind(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    before, erased, enrolled, after = await shop.together(
        purchase("R-1"), EraseMember(card(ANN)), enrol(ANN), purchase("R-2")
    )
    assert erased["id"] == before["member_id"] != enrolled["id"] == after["member_id"]
    assert after.balance == {"available": 10}


# --- programs and processes ---------------------------------------------------------------------------------


async def test_no_program_sees_the_receipts_keys_and_cards_of_another(runtime: Runtime) -> None:
    one, two = await open_shop(runtime), await open_shop(runtime, members=())
    first = await one.send(purchase(), "k")
    twin = LiveShop(runtime, two.id, one.client)
    assert (await twin.send(purchase(), "k")).refused == (404, "member_not_found")
    assert (await twin.send(claim(first["id"]))).refused == (404, "purchase_not_found")
    await twin.done(enrol(ANN))
    other = await twin.send(purchase(), "k-2")
    assert (other.status, other["id"] != first["id"]) == (201, True)


async def test_a_stored_answer_outlives_the_process(database: Database, runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    first, refused = await shop.send(purchase(), "k"), await shop.send(adjust(-99), "r")
    async with serving(database) as restarted:
        again = await shop.elsewhere(restarted).send(purchase(), "k")
        assert (again.status, again.raw, again.replayed) == (201, first.raw, True)
        assert (await shop.elsewhere(restarted).send(adjust(-99), "r")).raw == refused.raw
        assert (await shop.elsewhere(restarted).send(purchase(), "other")).status == 200


async def test_two_processes_give_one_receipt_one_effect(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime)
    async with serving(database) as other:
        there = shop.elsewhere(other)
        replies = await asyncio.gather(
            *(at.send(purchase("R-1"), f"k-{n}") for n in range(20) for at in (shop, there)),
            *(at.send(adjust(-1), "debit") for _ in range(20) for at in (shop, there)),
        )
    bought, debited = replies[:40], replies[40:]
    assert [reply.replayed for reply in bought].count(False) == 1
    assert len({reply.raw for reply in bought}) == 1
    assert [reply.replayed for reply in debited].count(False) == 1
    assert (await shop.send(adjust(1))).balance == {"available": 10}
