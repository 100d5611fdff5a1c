"""The worked examples of docs/pin.md, sent in their order and answered as they say; and what is beside them."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from loyalty.posting.files import load
from tests.web.test_documented_redeeming import says
from tests.web.world import Shop, World, new_shop

PAGE = (Path(__file__).parents[2] / "docs" / "pin.md").read_text()
POINTS = {"member": {"card": "6035550001"}, "points_currency": "points"}


def examples() -> list[tuple[str, str, str, Any]]:
    """Method, path, body and what the answer says at least."""
    return re.findall(r"```http\n(\w+) (\S+)\n(.*?)```\n\n```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
async def shop(world: World) -> Shop:
    """The program of the page, where Ann has a thousand points."""
    _, configuration = load(PAGE.split("```toml\n")[1].split("```")[0])
    shop = await new_shop(world.runtime, msgspec.to_builtins(configuration))
    desk = world.client("admin", shop)
    card = {"identifiers": [{"kind": "card", "value": "6035550001"}]}
    await desk.post("/v1/members", card, idempotency_key=uuid4().hex)
    points = POINTS | {"points": 1000, "reason": "goodwill"}
    assert (await desk.post("/v1/adjustments", points, idempotency_key=uuid4().hex)).status == 201
    return shop


async def test_the_examples_of_the_page_are_true(world: World, shop: Shop) -> None:
    desk, till = world.client("support", shop), world.client("pos", shop)
    sent = examples()
    assert len(sent) == 7
    for method, path, body, documented in sent:
        client = desk if path.endswith("/pin") else till
        reply = await client.call(method, path, json.loads(body), Idempotency_Key=uuid4().hex)
        says(reply.json, json.loads(documented))


async def test_the_same_key_is_the_same_attempt_whatever_pin_it_comes_with(world: World, shop: Shop) -> None:
    desk, till = world.client("support", shop), world.client("pos", shop)
    member = "/v1/members/identifier:card:6035550001/pin"
    assert (await desk.post(member, {"pin": "4711"}, idempotency_key="set")).status == 200
    assert (await desk.post(member, {"pin": "4711"}, idempotency_key="set")).replayed
    wish = POINTS | {"points": 300}
    paid = await till.post("/v1/redemptions", wish | {"pin": "4711"}, idempotency_key="one")
    assert paid.status == 201, paid.body
    again = await till.post("/v1/redemptions", wish | {"pin": "0000"}, idempotency_key="one")
    assert (again.status, again.body, again.replayed) == (201, paid.body, True)
    other = await till.post("/v1/redemptions", wish | {"points": 301, "pin": "4711"}, idempotency_key="one")
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    wrong = await till.post("/v1/redemptions", wish | {"pin": "4712"}, idempotency_key="two")
    assert (wrong.status, wrong.json["attempts_left"]) == (403, 2)
    same = await till.post("/v1/redemptions", wish | {"pin": "4711"}, idempotency_key="two")
    assert (same.status, same.body, same.replayed) == (403, wrong.body, True)


async def test_a_locked_pin_is_locked_for_small_sums_too(world: World, shop: Shop) -> None:
    """Whatever PIN is brought: nobody is served on the strength of a wrong one, and nobody learns which is right."""
    desk, till = world.client("support", shop), world.client("pos", shop)
    member = "/v1/members/identifier:card:6035550001/pin"
    await desk.post(member, {"pin": "4711"}, idempotency_key=uuid4().hex)
    small = POINTS | {"points": 10}
    for pin, code in (("0000", "pin_wrong"), ("0000", "pin_wrong"), ("0000", "pin_wrong"), ("0000", "pin_locked"),
                      ("4711", "pin_locked")):  # fmt: skip
        for path in ("/v1/redemptions", "/v1/holds")[: 1 if code == "pin_wrong" else 2]:
            asked = await till.post(path, small | {"pin": pin}, idempotency_key=uuid4().hex)
            assert (asked.status, asked.json["code"]) == (403, code)
    assert (await till.post("/v1/redemptions", small, idempotency_key=uuid4().hex)).status == 201


async def test_the_pin_comes_with_holds_and_transfers_too(world: World, shop: Shop) -> None:
    desk, till = world.client("support", shop), world.client("pos", shop)
    await desk.post(
        "/v1/members/identifier:card:6035550001/pin", {"pin": "4711"}, idempotency_key=uuid4().hex
    )
    for pin, status in (({}, 403), ({"pin": "0000"}, 403), ({"pin": "4711"}, 201)):
        held = await till.post("/v1/holds", POINTS | {"points": 300} | pin, idempotency_key=uuid4().hex)
        assert held.status == status, held.body
    bob = {"identifiers": [{"kind": "card", "value": "6035550002"}]}
    await desk.post("/v1/members", bob, idempotency_key=uuid4().hex)
    sides = {"from": {"card": "6035550001"}, "to": {"card": "6035550002"}}
    move = sides | {"points_currency": "points", "points": 300, "pin": "1111"}
    given = await desk.post("/v1/transfers", move, idempotency_key=uuid4().hex)
    assert (given.status, given.json["code"]) == (403, "pin_wrong")
    given = await desk.post("/v1/transfers", move | {"pin": "4711"}, idempotency_key=uuid4().hex)
    assert given.status == 201, given.body


@pytest.mark.parametrize("pin", ["123", "1234567890123", "12a4", "", " 1234", "\u0661\u0662\u0663\u0664"])
async def test_what_is_no_pin_is_refused_without_being_repeated(world: World, shop: Shop, pin: str) -> None:
    desk, till = world.client("support", shop), world.client("pos", shop)
    for client, path, body in (
        (desk, "/v1/members/identifier:card:6035550001/pin", {}),
        (till, "/v1/redemptions", POINTS | {"points": 300}),
    ):
        reply = await client.post(path, body | {"pin": pin}, idempotency_key=uuid4().hex)
        assert reply.status == 422
        assert [fault["pointer"] for fault in reply.json["errors"]] == ["/pin"]


async def test_a_till_sets_no_pin(world: World, shop: Shop) -> None:
    path = "/v1/members/identifier:card:6035550001/pin"
    for who, status in (("pos", 403), ("analyst", 403), ("manager", 200), ("support", 200)):
        reply = await world.client(who, shop).post(path, {"pin": "4711"}, idempotency_key=uuid4().hex)
        assert reply.status == status, (who, reply.body)
    nobody = await world.client("support", shop).post(
        f"/v1/members/{uuid4()}/pin", {"pin": "4711"}, idempotency_key=uuid4().hex
    )
    assert (nobody.status, nobody.json["code"]) == (404, "member_not_found")


async def test_while_pins_are_compared_others_are_served(world: World, shop: Shop) -> None:
    desk, till = world.client("support", shop), world.client("pos", shop)
    await desk.post(
        "/v1/members/identifier:card:6035550001/pin", {"pin": "4711"}, idempotency_key=uuid4().hex
    )
    slow = [
        asyncio.create_task(
            world.client("pos", shop).post(
                "/v1/redemptions", POINTS | {"points": 1, "pin": "4711"}, idempotency_key=uuid4().hex
            )
        )
        for _ in range(12)
    ]
    await asyncio.sleep(0.01)
    served = 0
    while not all(task.done() for task in slow):
        assert (await till.get("/v1/rewards")).status == 200
        served += 1
    assert served > 3, "the event loop was busy with hashes"
    assert {(await task).status for task in slow} == {201}
