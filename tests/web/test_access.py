"""Credentials and locations: who is let in at all, and where. Which role may make which call: test_matrix.py."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from loyalty.access.roles import Role
from loyalty.access.service import create_client, create_key, revoke_key
from loyalty.access.types import operator
from loyalty.base.clock import random62
from loyalty.base.database import transaction
from loyalty.base.ids import Ids
from loyalty.web.app import endpoints
from loyalty.web.edge import Access, Endpoint
from tests.races.client import Client, Reply
from tests.web.bad_inputs import path_of
from tests.web.test_refusals import is_problem
from tests.web.world import World, enrol, receipt

GUARDED = [endpoint for endpoint in endpoints() if endpoint.permission is not Access.PUBLIC]
PUBLIC = [endpoint for endpoint in endpoints() if endpoint.permission is Access.PUBLIC]


async def ask(client: Client, endpoint: Endpoint) -> Reply:
    """Call with a well-formed address and an empty body."""
    body = None if endpoint.method == "GET" else {}
    return await client.call(endpoint.method, path_of(endpoint), body, Idempotency_Key=uuid4().hex)


def test_nothing_but_health_figures_and_the_reference_is_public() -> None:
    assert {endpoint.path for endpoint in PUBLIC} == {
        "/health/live",
        "/health/ready",
        "/health/startup",
        "/metrics",
        "/status",
        "/",
        "/openapi.json",
        "/docs",
        "/docs/errors",
    }


@pytest.mark.parametrize("endpoint", GUARDED, ids=lambda endpoint: endpoint.name)
async def test_without_a_valid_credential_every_call_is_refused_alike(
    world: World, endpoint: Endpoint
) -> None:
    good = world.shop.keys["admin"]
    wrong = [
        "",
        "x",
        "lk_x",
        good[:-1],
        good + "A",
        good.upper(),
        "lk_" + "A" * 43,
        "ls_" + "A" * 43,
        "A" * 20_000,
    ]
    for key in wrong:
        client = world.with_key(key)
        reply = await ask(client, endpoint)
        if key == "A" * 20_000 and reply.status == 400:
            continue
        is_problem(reply, 401, "invalid_credential")
        assert reply.headers["www-authenticate"].startswith("Bearer")


async def test_the_word_bearer_may_be_written_anyhow_and_the_key_stands_nowhere_else(world: World) -> None:
    key = world.shop.keys["admin"]
    nobody = world.client("nobody")
    for scheme in ("bearer", "BEARER"):
        assert (await nobody.get("/v1/program", Authorization=f"{scheme} {key}")).status == 200
    is_problem(await nobody.get("/v1/program", Authorization=f"Basic {key}"), 401)
    is_problem(await nobody.get("/v1/program", Authorization=key), 401)
    is_problem(await nobody.get(f"/v1/program?access_token={key}"), 401)
    is_problem(await nobody.get("/v1/program", Authorization=f"Bearer {key}", authorization="Bearer x"), 400)


async def test_expired_and_revoked_keys_are_refused_like_unknown_ones(world: World) -> None:
    runtime, shop = world.runtime, world.shop
    by, now = operator(shop.program_id), runtime.clock.now()
    made: dict[str, Any] = {"at": now - timedelta(minutes=1), "ids": Ids(runtime.clock.now_ms, random62)}
    async with transaction(runtime.engine, shop.program_id) as connection:
        client = await create_client(connection, by, "old", **made)
        _, expired = await create_key(
            connection,
            by,
            client.id,
            Role.ADMIN,
            random=bytes(32),
            expires_at=now - timedelta(seconds=1),
            **made,
        )
        key, revoked = await create_key(connection, by, client.id, Role.ADMIN, random=bytes([1] * 32), **made)
        await revoke_key(connection, by, key.id, **made)
    for text in (expired, revoked):
        is_problem(await world.with_key(text).get("/v1/program"), 401, "invalid_credential")


async def test_a_key_that_would_be_of_no_use_is_not_made(world: World) -> None:
    admin = world.client("admin")
    keys = f"/v1/clients/{world.shop.client_id}/keys"
    before = (await admin.get(keys)).json
    moment = world.runtime.clock.now().isoformat()
    for body, pointers in (
        ({"role": "pos", "expires_at": moment}, ["/expires_at"]),
        *(
            ({"role": role, "locations": ["store-12"]}, ["/locations"])
            for role in ("support", "manager", "analyst", "auditor", "admin")
        ),
        ({"role": "admin", "locations": ["a"], "expires_at": moment}, ["/locations", "/expires_at"]),
    ):
        problem = is_problem(await admin.post(keys, body, idempotency_key=uuid4().hex), 422, "key_invalid")
        assert [fault["pointer"] for fault in problem["errors"]] == pointers
    assert (await admin.get(keys)).json == before


async def test_a_staff_token_acts_with_the_role_of_the_person(world: World) -> None:
    ida = world.client("staff")
    member = await enrol(ida)
    assert (await ida.get(f"/v1/members/{member}/entries")).status == 200
    is_problem(await ida.get("/v1/clients"), 403, "not_allowed")


async def test_a_tills_key_sells_at_its_own_location_alone(world: World) -> None:
    till, anywhere = world.client("till"), world.client("pos")
    assert (await till.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex)).status == 201
    for location in ("store-13", None):
        for path in ("/v1/purchases", "/v1/quotes"):
            reply = await till.post(path, receipt(location=location), idempotency_key=uuid4().hex)
            is_problem(reply, 403, "location_not_allowed")
    elsewhere = receipt(location="store-13")
    sold = await anywhere.post("/v1/purchases", elsewhere, idempotency_key=uuid4().hex)
    name = {"source": elsewhere["source"], "external_id": elsewhere["external_id"]}
    is_problem(await till.get(f"/v1/purchases/{sold.json['id']}"), 404, "purchase_not_found")
    is_problem(await till.post("/v1/purchases/cancel", name, idempotency_key=uuid4().hex), 404)
    items = await till.post("/v1/purchases/batch", {"items": [elsewhere, receipt()]})
    assert [one["status"] for one in items.json["results"]] == [403, 201]


async def test_another_programs_members_and_receipts_are_not_known_here(world: World) -> None:
    theirs, ours = world.client("admin", world.other), world.client("admin")
    card = "998877665544"
    member = await enrol(theirs, card)
    sold = await theirs.post("/v1/purchases", receipt("theirs", member={"id": member}), idempotency_key="a")
    assert sold.status == 201
    for body in ({"id": member}, {"card": card}):
        reply = await ours.post("/v1/purchases", receipt(member=body), idempotency_key=uuid4().hex)
        is_problem(reply, 404, "member_not_found")
    is_problem(await ours.get(f"/v1/members/identifier:card:{card}"), 404, "member_not_found")
    is_problem(await ours.get("/v1/purchases?source=store-12-pos&external_id=theirs"), 404)
    assert (await ours.post("/v1/members/lookup", {"query": card})).json["candidates"] == []
    # The same receipt number and the same key are free here: both belong to their program alone.
    assert (await ours.post("/v1/purchases", receipt("theirs"), idempotency_key="a")).status == 201
    for path in ("/v1/engagement-events?limit=200", "/v1/audit-log?limit=200", "/v1/clients?limit=200"):
        assert member not in (await ours.get(path)).body.decode()


async def test_an_identifier_like_path_of_no_form_is_not_found(world: World) -> None:
    desk = world.client("support")
    for text in ("identifier:", "identifier:card", "identifier:card:", "identifier:pin:1", "card:6035550001"):
        is_problem(await desk.get(f"/v1/members/{text}"), 404, "member_not_found")


async def test_a_sale_is_of_its_location_however_that_is_written(world: World) -> None:
    till = world.client("till")
    sold = receipt(location=" store-12 ")
    assert (await till.post("/v1/purchases", sold, idempotency_key=uuid4().hex)).status == 201
    again = await till.post("/v1/purchases", sold | {"location": "store-12"}, idempotency_key=uuid4().hex)
    assert (again.status, again.replayed) == (200, True)
    nowhere = await till.post("/v1/purchases", receipt(location=" "), idempotency_key=uuid4().hex)
    assert (nowhere.status, nowhere.json["errors"][0]["pointer"]) == (422, "/location")


async def test_who_may_not_ask_for_a_kind_of_run_finds_none(world: World) -> None:
    auditor = world.client("auditor")
    verification = (await auditor.post("/v1/verification-runs", {}, idempotency_key=uuid4().hex)).json["id"]
    for who in ("manager", "analyst"):
        is_problem(await world.client(who).get(f"/v1/runs/{verification}"), 404, "run_not_found")
    assert (await auditor.get(f"/v1/runs/{verification}")).status == 200
    forecast = (await auditor.post("/v1/forecasts", {}, idempotency_key=uuid4().hex)).json["id"]
    is_problem(await auditor.get(f"/v1/verification-runs/{forecast}"), 404, "run_not_found")
