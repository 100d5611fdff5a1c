"""A deployment of eight lanes: every command finds the lanes it needs, and one cause still has one effect."""

import asyncio
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from loyalty.jobs.due import settle_due
from loyalty.ledger.verify import verify
from loyalty.members.cells import cell_of
from loyalty.members.types import MemberStatus, Profile
from loyalty.posting.commands import (
    AddIdentifier,
    AdvanceClock,
    ChangeMember,
    CloseDay,
    EraseMember,
    MemberRef,
    Publish,
)
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import Rolling
from loyalty.rules.types import Fixed, Rule
from tests.conftest import Database
from tests.posting.live import LiveShop, count, open_shop, serving, superuser
from tests.posting.shop import (
    ANN,
    NOW,
    adjust,
    ago,
    cancel,
    capped,
    card,
    carded,
    claim,
    enrol,
    exchange,
    extend,
    give_back,
    hold_reward,
    imported,
    line,
    program,
    purchase,
    redeem,
    release,
    reward,
    stocked,
)

CELLS = 8


@pytest.fixture(scope="module")
def settings_more() -> dict[str, Any]:
    return {"cells": CELLS}


async def crowd(shop: LiveShop, size: int = 24) -> dict[str, UUID]:
    """Members enough to live in every lane, by card."""
    cards = [f"c-{n}" for n in range(size)]
    replies = await shop.together(*(enrol(number) for number in cards))
    return {number: UUID(reply["id"]) for number, reply in zip(cards, replies, strict=True)}


async def away(shop: LiveShop) -> tuple[str, UUID]:
    """A member who does not live in the program's own lane."""
    people = await crowd(shop)
    return next((number, id) for number, id in people.items() if cell_of(id, CELLS))


async def blocks(database: Database, shop: LiveShop) -> dict[int, int]:
    """How many blocks each lane has."""
    async with superuser(database) as link:
        rows = await link.fetch(
            "SELECT cell, count(*) FROM blocks WHERE program_id = $1 GROUP BY cell", shop.id
        )
        return {row[0]: row[1] for row in rows}


async def test_members_are_spread_over_the_lanes_and_served_in_them(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime)
    people = await crowd(shop, 40)
    assert len({cell_of(id, CELLS) for id in people.values()}) >= 6
    replies = await shop.together(*(purchase(f"R-{number}", of=number) for number in people))
    assert [reply.balance for reply in replies] == [{"available": 10}] * 40
    async with superuser(database) as link:
        astray = await link.fetchval(
            "SELECT count(*) FROM accounts a JOIN members m ON (m.program_id, m.id) = (a.program_id, a.owner_id) "
            "WHERE a.program_id = $1 AND a.cell <> m.cell",
            shop.id,
        )
    assert astray == 0


async def test_the_life_of_a_member_goes_down_the_road_wherever_she_lives(runtime: Runtime) -> None:
    shop = await open_shop(runtime, capped(100))
    her, id = await away(shop)
    assert (await shop.send(AddIdentifier(card(her), carded("second")))).status == 201
    assert (await shop.send(purchase("R-1", 6_000, of=her))).balance == {"available": 60}
    assert (await shop.send(purchase("R-2", 6_000, member=MemberRef(id=id)))).balance == {"available": 100}
    assert (await shop.send(imported(30, of="second", at=ago(days=40)))).balance == {"available": 130}
    assert (await shop.send(adjust(-120, of=her))).balance == {"available": 10}
    assert (await shop.send(cancel("R-1"))).balance == {"debt": 50}
    assert (await shop.send(adjust(60, of=her))).balance == {"available": 10}
    assert (await shop.send(ChangeMember(card(her), MemberStatus.BLOCKED, Profile(name="Ann")))).status == 200
    assert (await shop.send(EraseMember(card(her)))).status == 200
    assert (await shop.send(adjust(1, of="second"))).refused == (404, "member_not_found")
    assert (await shop.send(adjust(1, of=ANN))).balance == {"available": 1}


async def test_a_reward_is_promised_in_the_members_lane_and_the_programs(runtime: Runtime) -> None:
    shop = await open_shop(runtime, rewards=(reward(1, stocked=True),))
    her, _ = await away(shop)
    await shop.done(adjust(10, of=her), adjust(10), stocked(2))
    held = (await shop.done(hold_reward(of=her)))["id"]
    assert (await shop.send(redeem(quantity=2))).refused == (409, "reward_unavailable")
    await shop.done(extend(held, 60), redeem(of=her, hold_id=held))
    other = (await shop.done(hold_reward(of=her)))["id"]
    assert (await shop.send(redeem())).refused == (409, "reward_unavailable")
    await shop.done(release(other), hold_reward(of=her), EraseMember(card(her)))
    counted = await shop.done(stocked(by=0))
    assert (counted["stock"], counted["reserved"]) == (1, 0)
    await shop.done(redeem())
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_a_claim_takes_the_guest_from_the_programs_lane_to_the_members(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, capped(15))
    her, id = await away(shop)
    guest = await shop.send(purchase("R-1", of=None))
    before = await blocks(database, shop)
    reply = await shop.send(claim(guest["id"], by=her), "k")
    assert (reply.status, reply["member_id"], reply.balance) == (201, str(id), {"available": 10})
    after = await blocks(database, shop)
    grown = {cell for cell, number in after.items() if number > before.get(cell, 0)}
    assert grown == {0, cell_of(id, CELLS)}, "one block in each lane that changed"
    for key in ("k", "another"):
        assert (await shop.send(claim(guest["id"], by=her), key)).raw == reply.raw
    assert (await shop.send(claim(guest["id"], by=ANN))).refused == (409, "already_claimed")
    assert (await shop.send(purchase("R-2", of=her))).earned == 5
    assert (await shop.send(cancel("R-1"))).balance == {"available": 5}
    assert (await shop.send(purchase("R-1", of=None))).raw == guest.raw


async def test_lines_go_back_wherever_their_purchase_lives(runtime: Runtime, database: Database) -> None:
    """By receipt or by id, which do not tell the lane; a claimed one lies in one lane and its points in another."""
    shop = await open_shop(runtime, capped(30))
    her, id = await away(shop)
    three = (line(3_000, quantity_milli=3_000),)
    bought = await shop.done(purchase("R-1", lines=three, of=her))
    one = {"1": 1_000}
    assert (await shop.send(give_back("B-1", dict(one)))).balance == {"available": 20}
    by_id = await shop.send(give_back("B-2", dict(one), purchase_id=UUID(bought["id"])), "k")
    assert (by_id.balance, by_id["member_id"]) == ({"available": 10}, str(id))
    assert (await shop.send(give_back("B-2", dict(one)), "k2")).raw == by_id.raw
    guest = await shop.done(purchase("R-2", lines=three, of=None))
    await shop.done(give_back("B-3", dict(one), of="R-2"), claim(guest["id"], by=her))
    before = await blocks(database, shop)
    back = await shop.send(give_back("B-4", dict(one), purchase_id=UUID(guest["id"])))
    assert (back["revoked"][0]["points"], back.balance) == (10, {"available": 20})
    after = await blocks(database, shop)
    assert {cell for cell in after if after[cell] > before[cell]} == {0, cell_of(id, CELLS)}
    assert (await shop.send(cancel("R-2"))).balance == {"available": 10}
    assert (await shop.send(give_back("B-5", of="R-2"))).refused == (409, "purchase_cancelled")
    for unknown in (UUID(int=7), UUID(back["id"])):
        assert (await shop.send(give_back("B-6", purchase_id=unknown))).refused == (404, "purchase_not_found")
    report = await verify(runtime.pool.acquire, shop.id)
    assert (report.findings, report.figures.returns) == ((), 4)


async def test_an_exchange_may_concern_two_members_of_two_lanes(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    people = await crowd(shop)
    her = next(number for number, id in people.items() if cell_of(id, CELLS) == 3)
    him = next(number for number, id in people.items() if cell_of(id, CELLS) == 5)
    await shop.done(purchase("R-1", of=her))
    swap = exchange(give_back("B-1"), purchase("R-2", of=him))
    first = await shop.send(swap, "k")
    assert (first.status, first["returned"]["balances"][0]["available"]) == (201, 0)
    assert first["purchase"]["balances"][0]["available"] == 10
    assert (await shop.send(swap, "k")).raw == first.raw
    assert (await shop.send(swap)).raw == first.raw
    refused = await shop.send(exchange(give_back("B-2", of="R-2"), purchase("R-3", of="nobody")))
    assert refused.refused == (404, "member_not_found")
    assert (await shop.send(give_back("B-2", of="R-2"))).status == 201
    assert (await verify(runtime.pool.acquire, shop.id)).intact


async def test_a_return_and_a_claim_of_one_purchase_may_stand_in_one_batch(runtime: Runtime) -> None:
    """Neither knows beforehand where the purchase lives: both look for it in every lane they hold."""
    shop = await open_shop(runtime)
    her, _ = await away(shop)
    bought = await shop.done(purchase("R-1", of=her))
    asked = [claim(bought["id"], by=her), give_back("B-1", purchase_id=UUID(bought["id"]))]
    replies = await shop.together(*(command for command in asked for _ in range(4)))
    assert [reply.status for reply in replies] == [409] * 4 + [201] + [200] * 3


async def test_a_members_purchase_cannot_be_claimed_from_another_lane(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    her, _ = await away(shop)
    bought = await shop.send(purchase("R-1", of=her))
    assert (await shop.send(claim(bought["id"], by=ANN))).refused == (409, "already_claimed")
    assert (await shop.send(claim(bought["id"], by=her))).refused == (409, "already_claimed")


async def test_a_cancel_that_came_first_is_met_by_the_purchase_of_any_lane(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    her, _ = await away(shop)
    first = await shop.send(cancel("R-1"))
    assert (await shop.send(purchase("R-1", of=her))).refused == (409, "purchase_cancelled")
    assert (await shop.send(cancel("R-1"))).raw == first.raw


async def test_a_receipt_has_one_effect_whosoever_lane_it_reaches(runtime: Runtime) -> None:
    """The same receipt for people of all lanes at once: one is recorded, the others are told the difference."""
    shop = await open_shop(runtime)
    people = await crowd(shop)
    replies = await shop.together(*(purchase("R-1", of=number) for number in people))
    assert sorted(reply.status for reply in replies) == [201] + [409] * (len(people) - 1)
    assert {reply["code"] for reply in replies if reply.status == 409} == {"activity_differs"}


async def test_a_receipt_and_its_cancel_at_once_end_in_one_of_two_stories(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    people = list(await crowd(shop))
    for n, number in enumerate(people[:10]):
        bought, cancelled = await shop.together(purchase(f"R-{n}", of=number), cancel(f"R-{n}"))
        assert (bought.status, cancelled.status) in {(201, 201), (409, 201)}
        assert (await shop.send(adjust(1, of=number))).balance == {"available": 1}


async def test_one_key_has_one_effect_whatever_lanes_it_reaches(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    people = list(await crowd(shop))
    replies = await asyncio.gather(*(shop.send(adjust(5, of=number), "k") for number in people))
    assert [reply.status for reply in replies].count(201) == 1
    assert {reply["code"] for reply in replies if reply.status != 201} == {"idempotency_key_reused"}


async def test_one_identifier_enrolled_everywhere_at_once_is_one_member(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, policies={"unknown_card": "enrol"})
    async with serving(database, cells=CELLS) as other:
        there = shop.elsewhere(other)
        replies = await asyncio.gather(
            *(
                at.send(enrol("new", f"only-{n}-{place}"))
                for n in range(15)
                for place, at in enumerate((shop, there))
            ),
            *(
                at.send(purchase(f"R-{n}-{place}", of="new"))
                for n in range(15)
                for place, at in enumerate((shop, there))
            ),
        )
    assert {reply.status for reply in replies} <= {200, 201}
    assert await count(database, "identifiers", shop.id, "value = 'new'") == 1
    assert (await shop.send(adjust(1, of="new"))).balance == {"available": 301}


async def test_identifiers_of_two_lanes_conflict(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    people = await crowd(shop)
    one, two = list(people)[:2]
    assert (await shop.send(enrol(one, two))).refused == (409, "identifiers_conflict")
    assert (await shop.send(AddIdentifier(card(one), carded(two)))).refused == (409, "identifier_taken")
    assert (await shop.send(enrol(one, "unknown")))["id"] == str(people[one])


async def test_a_stranger_is_enrolled_or_a_guest_in_the_lane_for_it(
    runtime: Runtime, database: Database
) -> None:
    shop = await open_shop(runtime, policies={"unknown_card": "enrol", "unknown_email": "guest"})
    replies = await shop.together(*(purchase(f"R-{n}", of=f"stranger-{n}") for n in range(20)))
    assert [reply.balance for reply in replies] == [{"available": 10}] * 20
    lanes = {cell_of(UUID(reply["member_id"]), CELLS) for reply in replies}
    assert len(lanes) >= 4
    assert (await shop.send(purchase("R-guest", of=None)))["member_id"] is None
    assert await count(database, "activities", shop.id, "member_id IS NULL AND cell = 0") == 1


async def test_publishing_writes_one_block_in_every_lane(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, members=())
    hundred = program(Rule("hundred", "a hundred", "points", Fixed(100)))
    before = await blocks(database, shop)
    assert (await shop.send(Publish(hundred)))["number"] == 2
    after = await blocks(database, shop)
    assert {cell: after[cell] - before[cell] for cell in after} == dict.fromkeys(range(CELLS), 1)
    people = await crowd(shop)
    replies = await shop.together(*(purchase(f"R-{number}", of=number) for number in people))
    assert {reply.earned for reply in replies} == {100}


async def test_clock_and_days_concern_every_lane(runtime: Runtime, database: Database) -> None:
    shop = await open_shop(runtime, clock_at=NOW, expiry=Rolling(days=30))
    her, _ = await away(shop)
    await shop.done(purchase("R-1", of=her), AdvanceClock(NOW + timedelta(days=31)))
    assert (await shop.send(adjust(1, of=her))).balance == {"available": 1}
    assert (await shop.send(CloseDay(date(2026, 11, 20)))).status == 200
    assert await count(database, "blocks", shop.id, "closes_on = '2026-11-20'") == CELLS
    assert (await shop.send(CloseDay(date(2026, 11, 20)))).refused == (409, "day_closed")


async def test_what_is_due_is_found_in_every_lane(runtime: Runtime) -> None:
    shop = await open_shop(runtime, clock_at=NOW, expiry=Rolling(days=30))
    people = await crowd(shop)
    await shop.together(*(imported(1, one, of=one) for one in people))
    await shop.done(AdvanceClock(NOW + timedelta(days=31)))
    assert await settle_due(runtime) == len(people)
    assert await settle_due(runtime) == 0


async def test_a_stored_answer_is_found_from_every_lane(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    her, id = await away(shop)
    first = await shop.send(adjust(5, of=her), "k")
    assert (await shop.send(adjust(5, of=her), "k")).raw == first.raw
    assert (await shop.send(adjust(5, of=ANN), "k")).refused == (422, "idempotency_key_reused")
    bought = await shop.send(purchase("R-1", of=her), "p")
    assert (await shop.send(purchase("R-1", of=her), "q")).raw == bought.raw
    enrolled = await shop.send(enrol("new"), "e")
    assert (await shop.send(enrol("new"), "e")).raw == enrolled.raw
    assert (await shop.send(enrol("new"), "f"))["id"] == enrolled["id"]
    erased = await shop.send(EraseMember(MemberRef(id=id)), "x")
    assert (await shop.send(EraseMember(MemberRef(id=id)), "x")).raw == erased.raw


async def test_a_poisoned_command_of_a_lane_fails_alone(runtime: Runtime) -> None:
    shop = await open_shop(runtime)
    her, _ = await away(shop)
    replies = await shop.together(adjust(1, of=her), adjust(0, of=her), adjust(2, of=her))
    assert [reply.status for reply in replies] == [201, 500, 201]
    assert (await shop.send(adjust(1, of=her))).balance == {"available": 4}
