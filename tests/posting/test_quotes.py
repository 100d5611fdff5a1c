"""A quote is the purchase itself, decided on a snapshot and forgotten."""

from datetime import timedelta

import pytest

from loyalty.members.types import MemberStatus
from loyalty.posting.commands import AdvanceClock, ChangeMember, RecordPurchase
from loyalty.posting.quote import quote
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import Rolling
from loyalty.rules.types import Multiplier, Rule
from tests.conftest import Database
from tests.posting.live import LiveShop, count, head_held, new_program, open_shop, visits
from tests.posting.shop import ACTOR, ANN, NOW, Reply, adjust, ago, cancel, capped, card, purchase

DOUBLE = Rule("double", "double points", "points", Multiplier(20_000))


async def quoted(shop: LiveShop, command: RecordPurchase) -> Reply:
    return Reply.of(await quote(shop.runtime, shop.id, command, ACTOR, "request-1"))


@pytest.mark.parametrize(
    "command",
    [
        purchase("R-9", 4_199),
        purchase("R-9", 99),
        purchase("R-9", at=ago(days=20)),
        purchase("R-9", of=None),
        purchase("R-9", of="stranger"),
    ],
    ids="ordinary small late guest stranger".split(),
)
async def test_a_quote_says_what_the_purchase_will(runtime: Runtime, command: RecordPurchase) -> None:
    policies = {"unknown_card": "enrol"}
    shop = await open_shop(runtime, capped(30), DOUBLE, policies=policies, expiry=Rolling(days=10))
    await shop.done(purchase("R-1", 1_700))
    told, done = await quoted(shop, command), await shop.send(command)
    assert (told.status, done.status) == (200, 201)
    for name in ("balances", "receipt", "standing", "ruleset_version"):
        assert told[name] == done[name], name
    ids = {"entry_id", "lot_id"}
    assert told["earned"] == [{k: v for k, v in one.items() if k not in ids} for one in done["earned"]]


async def test_a_quote_writes_nothing_and_waits_for_nobody(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, pending_days=1, clock_at=NOW)
    await shop.done(purchase("R-1"), AdvanceClock(NOW + timedelta(days=3)))
    before = [await count(database, table, shop.id) for table in ("blocks", "entries", "idempotency_records")]
    async with head_held(database, shop.id), visits(runtime) as seen:
        told = await quoted(shop, purchase("R-2", at=NOW + timedelta(days=3)))
    assert told.balance == {"available": 10, "pending": 10}, "what is due is shown as due"
    assert seen[-1] == "ROLLBACK"
    assert [
        await count(database, table, shop.id) for table in ("blocks", "entries", "idempotency_records")
    ] == before


async def test_a_stranger_who_would_be_enrolled_has_no_id_yet(runtime: Runtime) -> None:
    shop = await open_shop(runtime, policies={"unknown_card": "enrol"})
    told = await quoted(shop, purchase(of="stranger"))
    assert (told["member_id"], told.balance) == (None, {"available": 10})
    assert (await quoted(shop, purchase()))["member_id"] is not None


async def test_a_receipt_that_was_recorded_or_cancelled_is_quoted_like_a_new_one(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"), cancel("R-2"))
    assert (await quoted(shop, purchase("R-1", 500))).balance == {"available": 15}
    assert (await quoted(shop, purchase("R-2", 500))).balance == {"available": 15}


async def test_a_quote_is_refused_for_the_reasons_of_the_purchase(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    assert (await quoted(shop, purchase(of="nobody"))).refused == (404, "member_not_found")
    assert (await quoted(shop, purchase(money="USD"))).refused == (422, "currency_not_supported")
    assert (await quoted(shop, purchase(at=ago(days=99)))).refused == (422, "too_old")
    await shop.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    assert (await quoted(shop, purchase())).refused == (409, "member_blocked")


async def test_a_program_without_configuration_quotes_nothing(runtime: Runtime) -> None:
    shop = LiveShop(runtime, await new_program(runtime))
    assert (await quoted(shop, purchase())).refused == (404, "program_not_found")


async def test_a_debtor_sees_her_debt_paid_before_it_is(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    await shop.done(purchase("R-1"), adjust(-10), cancel("R-1"))
    assert (await quoted(shop, purchase("R-2", 1_500))).balance == {"available": 5}
    assert (await quoted(shop, purchase("R-2", 300))).balance == {"debt": 7}
