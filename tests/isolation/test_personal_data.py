"""Personal values stay in the members' own tables, and after the erasure they are nowhere.

Planted values go through every call that takes one, accepted and refused; then every row of every table and every
line of every log is searched, also for their disguises (dump.py).
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import Database
from tests.isolation import dump
from tests.kills.api import Api
from tests.races.client import Client
from tests.races.house import CONFIGURATION, JSON, House, environ, open_program, purchase

HOLDERS = {"member_profiles", "identifiers"}
OPEN = json.loads(json.dumps(CONFIGURATION))
OPEN["settings"]["policies"] = {
    "phone_region": "AT",
    "unknown_external": "guest",
    "unknown_card": "enrol",
    "unknown_email": "refuse",
}

PERSON: JSON = {
    "name": "Zdeňka Xerxésová-O'Quill",
    "email": "zdenka.quill@mail.plantedshop.example",
    "phone": "+436649876543",
    "card": "6035559871234",
    "external": "loyal-customer-Zdeňka-77",
    "birthday": "1987-11-23",
    "attribute": "allergic to Brazil nuts",
    "new name": "Zdenka Quillington-Married",
    "new card": "6035550000771",
    "unknown guest": "walk-in-Hieronymus-12",
    "unknown email": "nobody.hieronymus@mail.plantedshop.example",
    "refused phone": "+436641112223",
    "pin": "839175204628",
    "wrong pin": "839175204629",
}


@pytest.fixture(scope="module")
async def house(database: Database, redis_url: str) -> AsyncIterator[House]:
    program, key = await open_program(database.app_url, redis_url, OPEN)
    api = Api(environ(database.app_url, redis_url))
    await api.start()
    house = House(database.app_url, database.superuser_url, program, key, [api])
    yield house
    await house.hang_up()
    await api.stop()


async def tell(client: Client, method: str, path: str, body: JSON | None, *statuses: int) -> JSON:
    """One call that is answered with one of the statuses, or any when none is named."""
    reply = await client.call(method, path, body, Idempotency_Key=uuid4().hex)
    assert not statuses or reply.status in statuses, (path, reply.status, reply.body)
    return reply.json if reply.body else {}


async def live(client: Client) -> str:
    """A person's whole life with the shop: her id."""
    p = PERSON
    identifiers = [{"kind": kind, "value": p[kind]} for kind in ("email", "phone", "card", "external")]
    profile = {"name": p["name"], "locale": "cs-AT", "birthday_on": p["birthday"]}
    enrol = {"identifiers": identifiers, "profile": profile, "attributes": {"diet": p["attribute"]}}
    member: str = (await tell(client, "POST", "/v1/members", enrol, 201))["id"]
    await tell(client, "POST", "/v1/members", {"identifiers": identifiers[:2]}, 200)
    for kind in ("email", "phone", "card", "external"):
        named = {"member": {kind: p[kind]}}
        await tell(client, "POST", "/v1/members/lookup", {"query": p[kind]}, 200)
        await tell(client, "GET", f"/v1/members/identifier:{kind}:{quote(p[kind])}", None, 200)
        await tell(client, "GET", f"/v1/members/identifier:{kind}:{quote(p[kind])}/balances", None, 200)
        await tell(client, "POST", "/v1/purchases", purchase(None) | named, 201)
        await tell(client, "POST", "/v1/quotes", purchase(None) | named, 200)
        await tell(client, "POST", "/v1/purchases/batch", {"items": [purchase(None) | named]}, 200)
        points = {"points_currency": "points", "points": 3, "reason": "goodwill"} | named
        await tell(client, "POST", "/v1/adjustments", points, 201)
        await tell(client, "POST", "/v1/adjustments", points | {"points": -(10**6)}, 409)
        await tell(
            client, "GET", f"/v1/rewards?member=identifier:{kind}:{quote(p[kind], safe='')}", None, 200
        )
        await tell(client, "POST", "/v1/redemptions", {"reward": "bag"} | named, 409)
        paid = {"points_currency": "points", "points": 1} | named
        taken = await tell(client, "POST", "/v1/redemptions", paid, 201)
        await tell(client, "POST", f"/v1/redemptions/{taken['id']}/cancel", {"reason": "changed_mind"}, 200)
        await tell(client, "GET", f"/v1/members/identifier:{kind}:{quote(p[kind])}/redemptions", None, 200)
    await tell(client, "POST", f"/v1/members/{member}/pin", {"pin": p["pin"]}, 200)
    await tell(client, "POST", f"/v1/members/{member}/pin", {"pin": p["pin"] + "0"}, 422)
    paid = {"points_currency": "points", "points": 1, "member": {"id": member}}
    await tell(client, "POST", "/v1/redemptions", paid | {"pin": p["pin"]}, 201)
    await tell(client, "POST", "/v1/redemptions", paid | {"pin": p["wrong pin"]}, 403)
    await tell(client, "GET", f"/v1/members?q={quote(p['name'])}", None, 200)
    await tell(client, "GET", f"/v1/members?q={quote(p['email'])}&limit=nonsense", None, 400)
    changed = {"profile": profile | {"name": p["new name"]}, "attributes": {"diet": p["attribute"]}}
    await tell(client, "PATCH", f"/v1/members/{member}", changed, 200)
    card = {"kind": "card", "value": p["new card"]}
    await tell(client, "POST", f"/v1/members/{member}/identifiers", card, 201)
    # What is refused, or concerns somebody unknown, must be as silent.
    other = {"identifiers": [{"kind": "phone", "value": p["refused phone"]}, card]}
    await tell(
        client, "POST", "/v1/members", {"identifiers": [{"kind": "external", "value": "somebody"}]}, 201
    )
    await tell(
        client,
        "POST",
        "/v1/members",
        {"identifiers": [*other["identifiers"][1:], {"kind": "external", "value": "somebody"}]},
        409,
    )
    guest = purchase(None) | {"member": {"external": p["unknown guest"]}}
    bought = await tell(client, "POST", "/v1/purchases", guest, 201)
    await tell(
        client, "POST", "/v1/purchases", purchase(None) | {"member": {"email": p["unknown email"]}}, 404
    )
    await tell(client, "POST", f"/v1/purchases/{bought['id']}/claim", {"member": {"phone": p["phone"]}}, 201)
    wrong = {"identifiers": [{"kind": "phone", "value": p["refused phone"]}], "nickname": p["name"]}
    await tell(client, "POST", "/v1/members", wrong, 422)
    await tell(client, "POST", "/v1/members", {"identifiers": [{"kind": "email", "value": p["name"]}]}, 422)
    await tell(client, "POST", f"/v1/members/{p['name'].encode().hex()}/erase", {}, 404)
    await tell(client, "POST", "/v1/imports", {"kind": p["name"], "source": p["name"]}, 422)
    twisted = json.dumps(wrong).encode()[:-3]
    assert (await client.post("/v1/members", twisted, idempotency_key=uuid4().hex)).status == 400
    await tell(client, "GET", f"/v1/members/{quote(p['name'])}", None, 404)
    await tell(client, "GET", f"/v1/{quote(p['email'])}", None, 404)
    return member


async def everywhere(house: House) -> dict[str, list[str]]:
    """All rows of all tables, and all lines of all logs."""
    link = await asyncpg.connect(house.superuser_url)
    texts = await dump.rows(link)
    logs = {"postgres": Path(await link.fetchval("SHOW data_directory")) / "server.log"}
    await link.close()
    logs |= {f"api {n}": api.log for n, api in enumerate(house.apis)}
    return texts | {
        f"log of {name}": log.read_text("utf-8", "replace").splitlines() for name, log in logs.items()
    }


async def test_personal_values_are_in_two_tables_and_after_the_erasure_nowhere(house: House) -> None:
    (client,) = house.crowd(1)
    member = await live(client)
    texts = await everywhere(house)
    assert sum(len(lines) for lines in texts.values()) > 100
    assert any("/v1/purchases" in line for line in texts["log of api 0"]), "the log does not log"
    for what, value in PERSON.items():
        assert set(dump.places(value, texts)) <= HOLDERS, what
    assert dump.places(PERSON["new name"], texts) == ["member_profiles"]
    assert dump.places(PERSON["new card"], texts) == ["identifiers"]

    await tell(client, "POST", f"/v1/members/{member}/erase", {}, 200, 202)
    texts = await everywhere(house)
    for what, value in PERSON.items():
        assert dump.places(value, texts) == [], what
    read = await client.get(f"/v1/members/{member}")
    told = {
        "answers": [read.body.decode(), (await client.get("/v1/engagement-events?limit=200")).body.decode()]
    }
    for what, value in PERSON.items():
        assert dump.places(value, told) == [], what
    await house.whole()


def test_the_search_finds_what_is_disguised() -> None:
    """A search that finds nothing proves nothing before it has found something."""
    for hidden in (
        "ZDEŇKA XERXÉSOVÁ-O'QUILL",
        json.dumps({"n": PERSON["name"]}),
        "row(" + PERSON["name"].encode().hex() + ")",
    ):
        assert dump.places(PERSON["name"], {"a table": ["first", hidden]}) == ["a table"]
    assert dump.places("+43 664 9876543", {"a table": ["436649876543"]}) == ["a table"]
