"""Many clients want one thing at one moment, over two processes: exactly one effect, and a clear answer for all."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.conftest import Database
from tests.races.house import SIZE, House, adjustment, give_back, opened, payment, purchase, told, wish

ROUNDS = pytest.mark.parametrize("rounds", [2, pytest.param(20 * SIZE, marks=pytest.mark.proof)])


@pytest.fixture(scope="module")
async def house(database: Database, redis_url: str) -> AsyncIterator[House]:
    async with opened(database.app_url, database.superuser_url, redis_url) as house:
        yield house


@ROUNDS
async def test_a_balance_that_two_hundred_want_is_spent_once(house: House, rounds: int) -> None:
    crowd = house.crowd(200)
    async for _ in house.rounds(rounds):
        member = await house.member(500)
        bodies, keys = [adjustment(member, -500)] * 200, [uuid4().hex for _ in crowd]
        replies = await house.together(crowd, "/v1/adjustments", bodies, keys)
        assert told(replies) == {(201, "done"): 1, (409, "insufficient_points"): 199}
    await house.whole()


@ROUNDS
async def test_one_request_sent_two_hundred_times_is_done_once(house: House, rounds: int) -> None:
    crowd = house.crowd(200)
    async for _ in house.rounds(rounds):
        member = await house.member()
        replies = await house.together(
            crowd, "/v1/adjustments", [adjustment(member, 7)] * 200, [uuid4().hex] * 200
        )
        assert told(replies) == {(201, "done"): 1, (201, "replayed"): 199}
        assert len({reply.body for reply in replies}) == 1
        balances = (await house.crowd(1)[0].get(f"/v1/members/{member}/balances")).json["balances"]
        assert [balance["available"] for balance in balances] == [7]
    await house.whole()


@ROUNDS
async def test_one_receipt_under_a_hundred_keys_is_one_purchase(house: House, rounds: int) -> None:
    crowd = house.crowd(100)
    async for _ in house.rounds(rounds):
        body = purchase(await house.member())
        replies = await house.together(crowd, "/v1/purchases", [body] * 100, [uuid4().hex for _ in crowd])
        assert told(replies) == {(201, "done"): 1, (200, "replayed"): 99}
        assert len({reply.body for reply in replies}) == 1
    await house.whole()


@ROUNDS
async def test_one_card_asked_for_by_a_hundred_has_one_member(house: House, rounds: int) -> None:
    crowd = house.crowd(100)
    async for _ in house.rounds(rounds):
        body = {"identifiers": [{"kind": "card", "value": str(uuid4().int)[:16]}]}
        replies = await house.together(crowd, "/v1/members", [body] * 100, [uuid4().hex for _ in crowd])
        assert told(replies) == {(201, "done"): 1, (200, "done"): 99}
        assert len({reply.json["id"] for reply in replies}) == 1
    await house.whole()


@ROUNDS
async def test_one_receipt_of_fifty_members_belongs_to_the_first(house: House, rounds: int) -> None:
    crowd = house.crowd(50)
    members = [await house.member() for _ in crowd]
    async for _ in house.rounds(rounds):
        receipt = uuid4().hex
        bodies = [purchase(member, receipt) for member in members]
        replies = await house.together(crowd, "/v1/purchases", bodies, [uuid4().hex for _ in crowd])
        assert told(replies) == {(201, "done"): 1, (409, "activity_differs"): 49}
        (first,) = [reply.json["id"] for reply in replies if reply.status == 201]
        assert {reply.json["first_id"] for reply in replies if reply.status == 409} == {first}
    await house.whole()


@ROUNDS
async def test_of_one_line_no_more_goes_back_than_was_bought(house: House, rounds: int) -> None:
    """A hundred want to return a piece each of a line of forty; over two processes."""
    crowd = house.crowd(100)
    async for _ in house.rounds(rounds):
        member = await house.member()
        body = purchase(member, amount_minor=40 * 150)
        body["lines"][0]["quantity"] = "40"
        assert (await house.ask("/v1/purchases", body)).status == 201
        bodies = [give_back(body, {"1": "1"}) for _ in crowd]
        replies = await house.together(crowd, "/v1/purchases/returns", bodies, [uuid4().hex for _ in crowd])
        assert told(replies) == {(201, "done"): 40, (409, "already_returned"): 60}
        done = [reply.json for reply in replies if reply.status == 201]
        assert sum(one["revoked"][0]["points"] for one in done) == 60
        assert sum(one["amount_minor"] for one in done) == 40 * 150
        assert [one["complete"] for one in done].count(True) == 1
    await house.whole()


@ROUNDS
async def test_of_returns_of_many_sizes_and_a_cancel_all_take_the_whole_together(
    house: House, rounds: int
) -> None:
    crowd = house.crowd(40)
    async for _ in house.rounds(rounds):
        member = await house.member(1_000)
        body = purchase(member, amount_minor=7_777)
        body["lines"][0]["quantity"] = "20"
        assert (await house.ask("/v1/purchases", body)).status == 201
        cancel = {"source": body["source"], "external_id": body["external_id"]}
        bodies = [give_back(body, {"1": f"{1 + n % 3}.5"}) for n in range(39)] + [cancel]
        paths = ["/v1/purchases/returns"] * 39 + ["/v1/purchases/cancel"]
        replies = await house.together(crowd, paths, bodies, [uuid4().hex for _ in crowd])
        assert {reply.json.get("code", "done") for reply in replies} <= {
            "done", "exceeds_purchase", "already_returned", "purchase_cancelled",
        }  # fmt: skip
        assert sum(sum(one["points"] for one in r.json.get("revoked", ())) for r in replies) == 77
        balances = (await house.crowd(1)[0].get(f"/v1/members/{member}/balances")).json["balances"]
        assert [balance["available"] for balance in balances] == [1_000]
    await house.whole()


@ROUNDS
async def test_of_a_purchase_and_its_cancel_the_first_to_come_decides(house: House, rounds: int) -> None:
    """Either the cancel finds the purchase and takes its points back, or the purchase finds the cancel."""
    crowd = house.crowd(40)
    async for _ in house.rounds(rounds):
        member = await house.member()
        body = purchase(member)
        cancel = {"source": body["source"], "external_id": body["external_id"]}
        paths = ["/v1/purchases" if n % 2 else "/v1/purchases/cancel" for n in range(40)]
        bodies = [body if n % 2 else cancel for n in range(40)]
        replies = await house.together(crowd, paths, bodies, [uuid4().hex for _ in crowd])
        bought, cancelled = told(replies[1::2]), told(replies[0::2])
        assert cancelled == {(201, "done"): 1, (200, "replayed"): 19}
        assert bought in (
            {(201, "done"): 1, (200, "replayed"): 19},
            {(409, "purchase_cancelled"): 20},
        )
        answer = (await house.crowd(1)[0].get(f"/v1/members/{member}/balances")).json
        assert [balance["available"] for balance in answer["balances"]] == [0]
    await house.whole()


@ROUNDS
async def test_a_hold_that_many_capture_and_release_ends_once(house: House, rounds: int) -> None:
    """Whoever comes first has all of it; captures that lose are told what became of it, a release is always fine."""
    crowd = house.crowd(60)
    async for _ in house.rounds(rounds):
        member = await house.member(500)
        body = {"member": {"id": member}, "points_currency": "points", "points": 300}
        hold = (await house.ask("/v1/holds", body)).json["id"]
        verbs = ["capture", "release", "capture"] * 20
        paths = [f"/v1/holds/{hold}/{verb}" for verb in verbs]
        replies = await house.together(crowd, paths, [{}] * 60, [uuid4().hex for _ in crowd])
        captures = told([reply for reply, verb in zip(replies, verbs, strict=True) if verb == "capture"])
        releases = [reply.json for reply, verb in zip(replies, verbs, strict=True) if verb == "release"]
        taken = sum(reply.json["taken"] for reply in replies if reply.status == 200)
        given = sum(reply.json["released"] for reply in replies if reply.status == 200)
        assert {reply.status for reply in replies} <= {200, 409}
        if taken:
            assert (taken, given, captures) == (300, 0, {(200, "done"): 1, (409, "hold_captured"): 39})
            assert {one["state"] for one in releases} == {"captured"}
        else:
            assert (given, captures) == (300, {(409, "hold_released"): 40})
            assert {one["state"] for one in releases} == {"released"}
        (balance,) = (await house.crowd(1)[0].get(f"/v1/members/{member}/balances")).json["balances"]
        assert (balance["available"], balance["held"]) == (500 - taken, 0)
    await house.whole()


@ROUNDS
async def test_parts_of_a_hold_that_many_want_are_taken_until_nothing_is_left(
    house: House, rounds: int
) -> None:
    crowd = house.crowd(50)
    async for _ in house.rounds(rounds):
        member = await house.member(100)
        body = {"member": {"id": member}, "points_currency": "points", "points": 100}
        hold = (await house.ask("/v1/holds", body)).json["id"]
        replies = await house.together(
            crowd, f"/v1/holds/{hold}/capture", [{"points": 7}] * 50, [uuid4().hex for _ in crowd]
        )
        assert told(replies) == {(200, "done"): 14, (409, "insufficient_points"): 36}
        assert (await house.crowd(1)[0].get(f"/v1/holds/{hold}")).json["held"] == 2
    await house.whole()


@ROUNDS
async def test_the_last_ten_of_a_reward_go_to_ten_of_a_hundred(house: House, rounds: int) -> None:
    crowd = house.crowd(100)
    members = [await house.member(5_000) for _ in crowd]
    async for _ in house.rounds(rounds):
        stock = await house.ask("/v1/rewards/mug/stock", {"set": 10, "reason": "delivery"})
        assert stock.json["stock"] == 10
        bodies = [wish(member, "mug") for member in members]
        replies = await house.together(crowd, "/v1/redemptions", bodies, [uuid4().hex for _ in crowd])
        assert told(replies) == {(201, "done"): 10, (409, "reward_unavailable"): 90}
        for reply in replies:
            if reply.status == 409:
                assert [one["reason"] for one in reply.json["reasons"]] == ["sold_out"]
        left = await house.ask("/v1/rewards/mug/stock", {"add": 0, "reason": "count"})
        assert left.json["stock"] == 0
    await house.whole()


@ROUNDS
async def test_the_last_ten_of_a_reward_are_promised_to_ten_of_a_hundred_and_had_once(
    house: House, rounds: int
) -> None:
    """Some want to set it aside, some to take it at once; then five ask at the same time for what each was promised."""
    crowd = house.crowd(100)
    members = [await house.member(5_000) for _ in crowd]
    async for _ in house.rounds(rounds):
        stock = await house.ask("/v1/rewards/mug/stock", {"set": 10, "reason": "delivery"})
        assert (stock.json["stock"], stock.json["reserved"]) == (10, 0)
        bodies = [wish(member, "mug") for member in members]
        replies = await house.together(crowd, "/v1/holds", bodies, [uuid4().hex for _ in crowd])
        assert told(replies) == {(201, "done"): 10, (409, "reward_unavailable"): 90}
        counted = await house.ask("/v1/rewards/mug/stock", {"add": 0, "reason": "count"})
        assert (counted.json["stock"], counted.json["reserved"]) == (10, 10)
        promised = [
            wish(member, "mug") | {"hold": reply.json["id"]}
            for member, reply in zip(members, replies, strict=True)
            if reply.status == 201
        ]
        some = house.crowd(50)
        replies = await house.together(some, "/v1/redemptions", promised * 5, [uuid4().hex for _ in some])
        assert told(replies) == {(201, "done"): 10, (409, "hold_captured"): 40}
        counted = await house.ask("/v1/rewards/mug/stock", {"add": 0, "reason": "count"})
        assert (counted.json["stock"], counted.json["reserved"]) == (0, 0)
    await house.whole()


@ROUNDS
async def test_of_sixty_wrong_pins_three_count_and_then_it_is_locked(house: House, rounds: int) -> None:
    """Guessing in parallel over two processes gives nobody a fourth attempt, and the right PIN no way round."""
    crowd = house.crowd(60)
    async for _ in house.rounds(rounds):
        member = await house.member(4_900)
        assert (await house.ask(f"/v1/members/{member}/pin", {"pin": "4711"})).status == 200
        bodies = [payment(member, 4_800) | {"pin": f"{n:04}"} for n in range(60)]
        replies = await house.together(crowd, "/v1/redemptions", bodies, [uuid4().hex for _ in crowd])
        assert told(replies) == {(403, "pin_wrong"): 3, (403, "pin_locked"): 57}
        left = sorted(reply.json["attempts_left"] for reply in replies if "attempts_left" in reply.json)
        assert left == [0, 1, 2]
        late = await house.ask("/v1/redemptions", payment(member, 4_800) | {"pin": "4711"})
        assert (late.status, late.json["code"]) == (403, "pin_locked")
        balances = (await house.crowd(1)[0].get(f"/v1/members/{member}/balances")).json["balances"]
        assert balances[0]["available"] == 4_900
    await house.whole()


@ROUNDS
async def test_fifty_payments_from_one_balance_take_what_it_allows(house: House, rounds: int) -> None:
    crowd = house.crowd(50)
    async for _ in house.rounds(rounds):
        member = await house.member(700)
        replies = await house.together(
            crowd, "/v1/redemptions", [payment(member, 30)] * 50, [uuid4().hex for _ in crowd]
        )
        assert told(replies) == {(201, "done"): 23, (409, "insufficient_points"): 27}
        answer = (await house.crowd(1)[0].get(f"/v1/members/{member}/balances")).json
        assert [balance["available"] for balance in answer["balances"]] == [10]
    await house.whole()


@ROUNDS
async def test_a_reward_for_a_whole_balance_is_taken_once_by_two_hundred(house: House, rounds: int) -> None:
    crowd = house.crowd(200)
    async for _ in house.rounds(rounds):
        member = await house.member(500)
        bodies, keys = [wish(member, "bag")] * 200, [uuid4().hex for _ in crowd]
        replies = await house.together(crowd, "/v1/redemptions", bodies, keys)
        assert told(replies) == {(201, "done"): 1, (409, "insufficient_points"): 199}
    await house.whole()


@ROUNDS
async def test_a_redemption_that_forty_cancel_is_given_back_once(house: House, rounds: int) -> None:
    crowd = house.crowd(40)
    async for _ in house.rounds(rounds):
        member = await house.member(500)
        taken = (await house.ask("/v1/redemptions", wish(member, "bag"))).json["id"]
        path, keys = f"/v1/redemptions/{taken}/cancel", [uuid4().hex for _ in crowd]
        replies = await house.together(crowd, path, [{"reason": "changed_mind"}] * 40, keys)
        assert told(replies) == {(200, "done"): 1, (200, "replayed"): 39}
        assert len({reply.body for reply in replies}) == 1
        answer = (await house.crowd(1)[0].get(f"/v1/members/{member}/balances")).json
        assert [balance["available"] for balance in answer["balances"]] == [500]
    await house.whole()
