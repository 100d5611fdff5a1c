"""Spending by hold over HTTP: the worked example of the documentation, and what it leaves out."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.races.client import Client, Reply
from tests.web.test_refusals import is_problem
from tests.web.world import CONFIGURATION, Shop, World, clock_at, enrol, new_shop, receipt

JSON = dict[str, Any]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def example() -> Iterator[tuple[str, JSON, int, JSON]]:
    """The calls of the worked example: address, body, status and answer as documented."""
    section = DOCUMENT.read_text("utf-8").split("## Spending by hold")[1].split("\n## ")[0]
    for asked, answered in re.findall(r"```http\n(.*?)```\n\n```json\n(.*?)```", section, re.DOTALL):
        head, _, body = asked.partition("\n\n")
        status, _, answer = answered.partition("\n")
        yield head.split()[1], json.loads(body or "{}"), int(status.removeprefix("// ")), json.loads(answer)


def shows(shown: Any, answer: Any) -> bool:
    """Whether an answer has what the documentation shows of it; ids are different every time."""
    if isinstance(shown, dict):
        return all(name in answer and (shows(v, answer[name]) or "id" in name) for name, v in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(answer) and all(map(shows, shown, answer))
    return shown == answer


async def at_noon(world: World) -> tuple[Client, Shop]:
    """A till of a program whose clock stands at the noon of the example."""
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    shop = await new_shop(world.runtime, CONFIGURATION, clock_at=noon)
    return world.client("pos", shop), shop


async def given(world: World, shop: Shop, member: str, points: int) -> None:
    body = {"member": {"id": member}, "points_currency": "points", "points": points, "reason": "goodwill"}
    reply = await world.client("admin", shop).post("/v1/adjustments", body, idempotency_key=uuid4().hex)
    assert reply.status == 201, reply.body


async def test_the_worked_example_is_answered_as_the_documentation_shows(world: World) -> None:
    till, shop = await at_noon(world)
    await given(world, shop, await enrol(till, "6035550001"), 500)
    calls = list(example())
    assert len(calls) >= 5
    hold = ""
    for path, body, status, answer in calls:
        sent = json.loads(json.dumps(body).replace("HOLD", hold))
        reply = await till.post(path.replace("HOLD", hold), sent, idempotency_key=uuid4().hex)
        assert reply.status == status, (path, reply.body)
        assert shows(answer, reply.json), (path, reply.json)
        hold = reply.json["id"] if path == "/v1/holds" else hold


async def a_hold(client: Client, member: str, points: int = 60, **more: Any) -> Reply:
    body = {"member": {"id": member}, "points_currency": "points", "points": points, **more}
    return await client.post("/v1/holds", body, idempotency_key=uuid4().hex)


async def test_a_hold_is_read_back_by_its_id_and_with_its_member(world: World) -> None:
    till = world.client("pos")
    member = await enrol(till)
    await given(world, world.shop, member, 100)
    first = (await a_hold(till, member, minutes=20, reference="order-1", till="7", location="store-12")).json
    second = (await a_hold(till, member, 10)).json
    read = (await till.get(f"/v1/holds/{first['id']}")).json
    shown = (
        "id",
        "state",
        "member_id",
        "points",
        "held",
        "captured",
        "held_at",
        "lapses_at",
        "ended_at",
        "decision_id",
    )
    assert {name: read[name] for name in shown} == {name: first[name] for name in shown}
    assert (read["reference"], read["till"], read["location"]) == ("order-1", "7", "store-12")
    path = f"/v1/members/{member}/holds"
    assert [one["id"] for one in (await till.get(path)).json["data"]] == [second["id"], first["id"]]
    page = (await till.get(f"{path}?limit=1")).json
    rest = (await till.get(f"{path}?limit=1&cursor={page['next_cursor']}")).json
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == ([first["id"]], None)
    await till.post(f"/v1/holds/{second['id']}/release", {}, idempotency_key=uuid4().hex)
    assert [one["id"] for one in (await till.get(path)).json["data"]] == [first["id"]]
    assert (await till.get(f"/v1/holds/{second['id']}")).json["state"] == "released"
    entry = (await world.client("admin").get(f"/v1/entries/{first['id']}")).json
    assert (entry["kind"], entry["held"]) == ("hold", 60)


async def test_what_ran_out_is_read_as_lapsed_before_anybody_wrote_it(world: World) -> None:
    till, shop = await at_noon(world)
    member = await enrol(till)
    await given(world, shop, member, 100)
    held = (await a_hold(till, member)).json
    later = datetime(2026, 11, 20, 12, tzinfo=UTC) + timedelta(minutes=15)
    admin = world.client("admin", shop)
    await clock_at(world.runtime, shop, later)
    read = (await till.get(f"/v1/holds/{held['id']}")).json
    assert (read["state"], read["held"], read["ended_at"]) == ("lapsed", 0, held["lapses_at"])
    assert (await till.get(f"/v1/members/{member}/holds")).json["data"] == []
    (balance,) = (await till.get(f"/v1/members/{member}/balances")).json["balances"]
    assert (balance["available"], balance["held"]) == (100, 0)
    lines = (await admin.get(f"/v1/members/{member}/entries")).json["data"]
    assert (lines[0]["kind"], lines[0]["id"], lines[0]["words"]) == (
        "lapse",
        None,
        "60 points set aside came back",
    )
    (lot,) = (await till.get(f"/v1/members/{member}/lots")).json["data"]
    assert (lot["available"], lot["held"]) == (100, 0)
    is_problem(
        await till.post(f"/v1/holds/{held['id']}/capture", {}, idempotency_key="y"), 409, "hold_lapsed"
    )


async def test_what_was_held_at_a_past_instant_is_known_for_ever(world: World) -> None:
    """A hold of noon, extended at ten past to one o'clock, captured in part at half past."""
    till, shop = await at_noon(world)
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    member = await enrol(till)
    await given(world, shop, member, 100)
    id = (await a_hold(till, member)).json["id"]

    async def at(minutes: int) -> None:
        await clock_at(world.runtime, shop, noon + timedelta(minutes=minutes))

    async def then(as_of: int, recorded_by: int | None = None) -> tuple[int, int]:
        query = {"as_of": as_of} if recorded_by is None else {"as_of": as_of, "recorded_by": recorded_by}
        text = "&".join(f"{k}={(noon + timedelta(minutes=v)):%Y-%m-%dT%H:%M:%SZ}" for k, v in query.items())
        (balance,) = (await till.get(f"/v1/members/{member}/balances?{text}")).json["balances"]
        return balance["available"], balance["held"]

    await at(10)
    assert (await till.post(f"/v1/holds/{id}/extend", {"minutes": 50}, idempotency_key="e")).status == 200
    await at(30)
    assert (await till.post(f"/v1/holds/{id}/capture", {"points": 25}, idempotency_key="c")).status == 200
    await at(90)
    assert await then(5) == (40, 60)
    assert await then(20) == (40, 60), "the extension is known now"
    assert await then(20, 5) == (100, 0), "by what was known at five past it had lapsed"
    assert await then(40) == (40, 35)
    assert await then(60) == (75, 0), "lapsed, though nobody has written it"
    await given(world, shop, member, 1)
    assert await then(59) == (40, 35)
    assert await then(60) == (75, 0)
    assert await then(20, 5) == (100, 0)


async def test_a_till_of_one_shop_sees_and_touches_its_own_holds_alone(world: World) -> None:
    anywhere, till = world.client("pos"), world.client("till")
    member = await enrol(anywhere)
    await given(world, world.shop, member, 100)
    theirs = (await a_hold(anywhere, member, 10, location="store-13")).json["id"]
    mine = (await a_hold(till, member, 10, location="store-12")).json["id"]
    online = (await a_hold(anywhere, member, 10)).json["id"]
    for location in ("store-13", None):
        is_problem(await a_hold(till, member, 1, location=location), 403, "location_not_allowed")
    is_problem(await till.get(f"/v1/holds/{theirs}"), 404, "hold_not_found")
    for verb in ("extend", "capture", "release"):
        reply = await till.post(f"/v1/holds/{theirs}/{verb}", {}, idempotency_key=uuid4().hex)
        is_problem(reply, 404, "hold_not_found")
    sale = receipt(member={"id": member}, holds=[{"id": theirs}])
    is_problem(await till.post("/v1/purchases", sale, idempotency_key=uuid4().hex), 404, "hold_not_found")
    seen = (await till.get(f"/v1/members/{member}/holds")).json["data"]
    assert {one["id"] for one in seen} == {mine, online}
    for id in (mine, online):
        reply = await till.post(f"/v1/holds/{id}/capture", {}, idempotency_key=uuid4().hex)
        assert reply.status == 200


async def test_a_quote_shows_what_the_holds_would_pay_and_takes_nothing(world: World) -> None:
    till = world.client("pos")
    member = await enrol(till)
    await given(world, world.shop, member, 100)
    id = (await a_hold(till, member)).json["id"]
    sale = receipt(member={"id": member}, holds=[{"id": id, "points": 40}])
    quoted = await till.post("/v1/quotes", sale)
    assert quoted.json["captured"] == [
        {"hold_id": id, "points_currency": "points", "points": 40, "released": 20, "expired": 0}
    ]
    assert (await till.get(f"/v1/holds/{id}")).json["held"] == 60
    bought = await till.post("/v1/purchases", sale, idempotency_key=uuid4().hex)
    assert (bought.status, bought.json["captured"]) == (201, quoted.json["captured"])
    read = (await till.get(f"/v1/purchases/{bought.json['id']}")).json
    assert read["content"]["holds"] == [{"id": id, "points": 40}]
    is_problem(await till.post("/v1/quotes", sale), 409, "hold_captured")
