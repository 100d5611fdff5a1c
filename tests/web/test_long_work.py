"""What one program's many lots, lines and rules cost the processor is done beside the loop, and comes out the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from loyalty.base.aside import LONG
from loyalty.ledger.types import Balances
from loyalty.members.types import MemberNotFound
from loyalty.posting import pipe
from loyalty.posting.commands import Actor, MemberRef, Publish, Submission
from loyalty.posting.configuration import Configuration
from tests.web.test_read_back import write
from tests.web.world import CONFIGURATION, Shop, World, enrol, new_shop, receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINES, RULES, LOTS = 100, 300, LONG + 100
MANY_RULES = CONFIGURATION | {
    "ruleset": {
        "version": 1,
        "rules": [
            {
                "id": f"rule-{n}",
                "name": "for the basket",
                "points_currency": "points",
                "gives": {"kind": "per_spend", "points": 1, "each_minor": 100},
            }
            for n in range(RULES)
        ],
    }
}
POINTS = LINES * RULES


def long_receipt(member: str) -> dict[str, Any]:
    """A hundred lines of 1.00 for each of three hundred rules to judge."""
    lines = [{"line_id": str(n), "sku": "A", "amount_minor": 100} for n in range(LINES)]
    return receipt(member={"id": member}, lines=lines)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(world: World) -> Shop:
    return await new_shop(world.runtime, MANY_RULES)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rich(world: World) -> AsyncIterator[str]:
    """A member with more lots than a moment's look."""
    client = world.client()
    member = await enrol(client)
    for first in range(0, LOTS, 400):
        some = [
            receipt(member={"id": member}, lines=[{"line_id": "1", "sku": "A", "amount_minor": 100}])
            for _ in range(first, min(first + 400, LOTS))
        ]
        told = (await write(client, "/v1/purchases/batch", {"items": some})).json
        assert {one["status"] for one in told["results"]} == {201}
    yield member


@pytest.fixture
def aside(world: World) -> Callable[[], int]:
    """How many pieces of work were done beside the loop since it was asked last."""

    def done() -> int:
        return int(world.app.metrics.registry.get_sample_value("loyalty_long_work_seconds_count") or 0)

    seen = done()

    def since() -> int:
        nonlocal seen
        before, seen = seen, done()
        return seen - before

    return since


async def test_reads_of_many_lots(world: World, rich: str, aside: Callable[[], int]) -> None:
    client = world.client()
    of = f"/v1/members/{rich}"
    now = (await client.get(f"{of}/balances")).json
    assert (now["balances"][0]["available"], aside()) == (LOTS, 1)
    then = (await client.get(f"{of}/balances?as_of={now['as_of']}")).json
    assert (then["balances"], aside()) == (now["balances"], 3)  # rows, replay, settlement
    assert (len((await client.get(f"{of}/lots?limit=7")).json["data"]), aside()) == (7, 1)
    assert ((await client.get(f"{of}/entries?limit=1")).json["data"][0]["available"], aside()) == (LOTS, 0)


async def test_whom_many_ask_for_at_once_is_read_once(
    world: World, rich: str, aside: Callable[[], int]
) -> None:
    one = MemberRef(id=UUID(rich))
    asked = (one, one, MemberRef(id=uuid4()), one)
    told = await asyncio.gather(
        *(world.runtime.balances_now(world.shop.program_id, ref) for ref in asked), return_exceptions=True
    )
    assert [type(each) for each in told] == [Balances, Balances, MemberNotFound, Balances]
    assert (told[0], told[1], aside()) == (told[1], told[3], 1)


async def test_a_redemption_from_many_lots(world: World, rich: str, aside: Callable[[], int]) -> None:
    client = world.client()
    paid = {"member": {"id": rich}, "points_currency": "points", "points": LOTS - 100}
    made = (await write(client, "/v1/redemptions", paid)).json
    assert aside() == 1
    left = (await client.get(f"/v1/members/{rich}/balances")).json
    assert (left["balances"][0]["available"], made["balances"][0]["available"]) == (100, 100)
    assert aside() == 0  # a hundred are soon looked at


async def test_many_rules_and_lines(world: World, shop: Shop, aside: Callable[[], int]) -> None:
    client = world.client(shop=shop)
    member = await enrol(client)
    short = receipt(member={"id": member})
    await write(client, "/v1/purchases", short)
    assert aside() == 0
    body = long_receipt(member)
    quoted = (await write(client, "/v1/quotes", body)).json
    assert (quoted["earned"][0]["points"], aside()) == (POINTS, 1)
    made = (await write(client, "/v1/purchases", body)).json
    assert (made["earned"][0]["points"], aside()) == (POINTS, 1)  # judged before it waits in its lane
    decision = (await client.get(f"/v1/decisions/{made['decision_id']}")).json
    assert (len(decision["explanation"]["rules"]), decision["explanation"]["agrees"]) == (RULES, True)
    why = (await client.get(f"/v1/purchases/{made['id']}/explanation")).json
    assert (why["explanation"], aside()) == (decision["explanation"], 2)
    again = await client.post("/v1/purchases", body, idempotency_key=uuid4().hex)
    assert (again.status, again.replayed, again.json) == (200, True, made)


async def test_a_bug_in_long_work_is_that_commands_alone(
    world: World, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client(shop=shop)
    member = await enrol(client)
    whole = pipe.decide

    def breaks(book: Any, submission: Any, considered: Any) -> Any:
        if len(submission.command.lines) == LINES:
            raise ZeroDivisionError
        return whole(book, submission, considered)

    monkeypatch.setattr(pipe, "decide", breaks)
    refused = await client.post("/v1/purchases", long_receipt(member), idempotency_key=uuid4().hex)
    assert (refused.status, refused.json["code"]) == (500, "internal_error")
    monkeypatch.undo()
    await write(client, "/v1/purchases", long_receipt(member))


async def test_who_waits_for_a_long_look_holds_no_connection(world: World, shop: Shop) -> None:
    client, other = world.client(shop=shop), world.client(shop=shop)
    member = await enrol(client)
    runtime = world.runtime
    async with runtime.aside.read("somebody else"):
        waits = asyncio.create_task(client.post("/v1/quotes", long_receipt(member)))
        short = await other.post("/v1/quotes", receipt(member={"id": member}))
        assert (short.status, waits.done()) == (200, False)
        assert runtime.pool.get_idle_size() == runtime.pool.get_size()
    assert (await waits).status == 200


async def test_rules_that_are_in_force_no_more_count(
    world: World, shop: Shop, aside: Callable[[], int]
) -> None:
    """A late purchase, a claim and an explanation are judged by the rules of then, however few there are now."""
    client = world.client(shop=shop)
    body, then = long_receipt(await enrol(client)), long_receipt(await enrol(client))
    made = (await write(client, "/v1/purchases", body)).json
    guest = (await write(client, "/v1/purchases", then | {"external_id": uuid4().hex, "member": None})).json
    publish = Publish(
        msgspec.convert(CONFIGURATION | {"ruleset": CONFIGURATION["ruleset"] | {"version": 2}}, Configuration)
    )
    published = await world.runtime.pipe.submit(
        Submission(shop.program_id, publish, Actor("operator", uuid4(), "admin"), "fewer rules")
    )
    assert published.status == 201, published.body
    await write(client, "/v1/purchases", receipt())  # this process knows of it
    aside()
    late = (await write(client, "/v1/purchases", then)).json
    assert (late["earned"][0]["points"], aside()) == (POINTS, 1)
    claimed = await write(
        client, f"/v1/purchases/{guest['id']}/claim", {"member": {"id": await enrol(client)}}
    )
    assert (claimed.json["earned"][0]["points"], aside() > 0) == (POINTS, True)
    why = (await client.get(f"/v1/purchases/{made['id']}/explanation")).json
    assert (len(why["explanation"]["rules"]), aside()) == (RULES, 1)
