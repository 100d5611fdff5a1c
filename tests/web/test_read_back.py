"""One call is enough for a till: what it reads back has what else it wants, what it did has the lines it prints.

And every refusal, whatever the call, says whether the same request may be sent again.
"""

from typing import Any
from uuid import uuid4

import msgspec
import pytest

from loyalty.access.roles import Permission, Role, allows
from loyalty.posting.answers import ExchangeAnswer
from loyalty.web.app import endpoints
from tests.races.client import Client, Reply
from tests.web.test_holds import a_hold, given
from tests.web.test_refusals import is_problem
from tests.web.world import World, enrol, receipt

PARTS = ("explanation", "entries", "balances")


def by_receipt(body: dict[str, Any], include: str | None = None) -> str:
    asked = f"/v1/purchases?source={body['source']}&external_id={body['external_id']}"
    return asked if include is None else f"{asked}&include={include}"


async def write(client: Client, path: str, body: Any) -> Reply:
    reply = await client.post(path, body, idempotency_key=uuid4().hex)
    assert reply.status in (200, 201), reply.body
    return reply


# --- include -------------------------------------------------------------------------------------------------


async def test_a_till_reads_a_purchase_and_the_balances_of_its_member_with_one_call(world: World) -> None:
    till = world.client("till")
    member = await enrol(till)
    body = receipt(member={"id": member})
    made = (await write(till, "/v1/purchases", body)).json
    read = await till.get(by_receipt(body, "balances"))
    assert read.status == 200
    assert read.json["first_answer"] == made
    alone = (await till.get(f"/v1/members/{member}/balances")).json
    assert read.json["balances"]["balances"] == alone["balances"]
    assert (read.json["explanation"], read.json["entries"]) == (None, None)
    by_id = await till.get(f"/v1/purchases/{made['id']}?include=balances")
    assert by_id.json["balances"]["balances"] == alone["balances"]


async def test_what_is_included_is_what_its_own_call_answers(world: World) -> None:
    desk = world.client("admin")
    member = await enrol(desk)
    await given(world, world.shop, member, 100)
    hold = (await a_hold(desk, member)).json["id"]
    body = receipt(member={"id": member}, holds=[{"id": hold}])
    id = (await write(desk, "/v1/purchases", body)).json["id"]
    for asked in (
        by_receipt(body, ",".join(PARTS)),
        f"/v1/purchases/{id}?include=balances,entries,explanation",
    ):
        read = (await desk.get(asked)).json
        assert read["explanation"] == (await desk.get(f"/v1/purchases/{id}/explanation")).json["explanation"]
        assert [entry["kind"] for entry in read["entries"]] == ["capture", "earn"]
        for entry in read["entries"]:
            assert entry == (await desk.get(f"/v1/entries/{entry['id']}")).json
        assert [one["available"] for one in read["balances"]["balances"]] == [40 + 14]
    plain = (await desk.get(by_receipt(body))).json
    assert {part: plain[part] for part in PARTS} == dict.fromkeys(PARTS)


async def test_a_guests_purchase_has_no_balances_until_somebody_claims_it(world: World) -> None:
    desk = world.client("admin")
    body = receipt()
    id = (await write(desk, "/v1/purchases", body)).json["id"]
    guest = (await desk.get(by_receipt(body, ",".join(PARTS)))).json
    assert (guest["balances"], guest["entries"]) == (None, [])
    member = await enrol(desk)
    await write(desk, f"/v1/purchases/{id}/claim", {"member": {"id": member}})
    claimed = (await desk.get(by_receipt(body, ",".join(PARTS)))).json
    assert [(entry["kind"], entry["owner_id"]) for entry in claimed["entries"]] == [("earn", member)]
    assert [one["available"] for one in claimed["balances"]["balances"]] == [14]


async def test_a_cancel_that_came_first_is_read_with_nothing_beside_it(world: World) -> None:
    desk = world.client("admin")
    body = receipt()
    name = {"source": body["source"], "external_id": body["external_id"]}
    await write(desk, "/v1/purchases/cancel", name)
    read = (await desk.get(by_receipt(body, ",".join(PARTS)))).json
    assert (read["state"], read["entries"], read["balances"]) == ("cancelled", [], None)


async def test_an_erased_members_purchase_is_still_read(world: World) -> None:
    desk = world.client("admin")
    member = await enrol(desk)
    body = receipt(member={"id": member})
    await write(desk, "/v1/purchases", body)
    await write(desk, f"/v1/members/{member}/erase", {})
    read = await desk.get(by_receipt(body, ",".join(PARTS)))
    assert read.status == 200
    assert [one["available"] for one in read.json["balances"]["balances"]] == [0]


@pytest.mark.parametrize(
    "include", ["", "returns2", "balances,", "balances,balances", "Balances", "balances;entries"]
)
async def test_a_part_that_nobody_knows_is_refused_by_its_parameter(world: World, include: str) -> None:
    desk = world.client("admin")
    body = receipt()
    id = (await write(desk, "/v1/purchases", body)).json["id"]
    for asked in (by_receipt(body, include), f"/v1/purchases/{id}?include={include}"):
        problem = is_problem(await desk.get(asked), 400, "invalid_parameter")
        assert problem["parameter"] == "include"
        assert all(part in problem["detail"] for part in PARTS)
    twice = await desk.get(by_receipt(body, "balances&include=entries"))
    assert is_problem(twice, 400, "duplicate_parameter")["parameter"] == "include"


async def test_a_part_needs_what_its_own_call_needs(world: World) -> None:
    """A till reads no ledger; and whoever may not see the purchase is not told more by asking for more."""
    body = receipt(location="store-13")
    await write(world.client("admin"), "/v1/purchases", body)
    for part in ("explanation", "entries", "balances,entries"):
        problem = is_problem(await world.client("pos").get(by_receipt(body, part)), 403, "not_allowed")
        assert problem["permission"] == "ledger.read"
    for till in (world.client("till"), world.client("pos", world.other)):
        is_problem(await till.get(by_receipt(body, "balances")), 404, "purchase_not_found")


# --- what a till prints ----------------------------------------------------------------------------------------


def test_whatever_a_till_does_with_points_is_answered_with_the_lines_to_print() -> None:
    found: set[str] = set()
    for endpoint in endpoints():
        permission = endpoint.permission
        if endpoint.method != "POST" or not isinstance(permission, Permission):
            continue
        if not allows(Role.POS, permission):
            continue
        for kind in endpoint.answers.values():
            halves = [f.type for f in msgspec.structs.fields(kind)] if kind is ExchangeAnswer else [kind]
            for half in halves:
                fields = getattr(half, "__struct_fields__", ())
                if "balances" in fields:
                    assert "receipt" in fields, f"{endpoint.name} tells balances and no receipt"
                    found.add(endpoint.name)
    assert found == {
        "quote_purchase", "record_purchase", "claim_purchase", "cancel_purchase", "return_purchase",
        "return_by_receipt", "exchange_purchase", "place_hold", "extend_hold", "capture_hold", "release_hold",
        "redeem", "cancel_redemption",
    }  # fmt: skip


async def test_the_lines_of_a_hold_say_what_became_of_its_points(world: World) -> None:
    till = world.client("pos")
    member = await enrol(till)
    await given(world, world.shop, member, 100)

    async def said(path: str, body: Any) -> list[str]:
        return (await write(till, path, body)).json["receipt"]["lines"]

    placed = (await a_hold(till, member, 60)).json
    assert placed["receipt"]["lines"] == ["60 points set aside", "Balance 40"]
    at = f"/v1/holds/{placed['id']}"
    assert await said(f"{at}/extend", {"minutes": 30}) == ["Balance 40"]
    assert await said(f"{at}/capture", {"points": 1}) == ["1 point spent", "Balance 40"]
    assert await said(f"{at}/capture", {"points": 29, "release_rest": True}) == [
        "29 points spent",
        "30 points given back",
        "Balance 70",
    ]
    assert await said(f"{at}/release", {}) == ["Balance 70"]


async def test_a_refusal_says_whether_to_send_it_again_first_and_replayed(world: World) -> None:
    """Refusals of the business never are; that all of the catalogue say so, and how, stands in tests/pure."""
    till = world.client("pos")
    member = await enrol(till)
    named = {"member": {"id": member}, "points_currency": "points", "points": 5}
    of = {"source": "x", "external_id": uuid4().hex}
    refused = {
        "/v1/redemptions": named,
        "/v1/holds": named,
        f"/v1/holds/{uuid4()}/capture": {},
        f"/v1/redemptions/{uuid4()}/cancel": {"reason": "sale_aborted"},
        "/v1/purchases/returns": {
            "source": "x",
            "external_id": uuid4().hex,
            "occurred_at": receipt()["occurred_at"],
            "of": of,
        },
        "/v1/purchases": receipt(member={"id": str(uuid4())}),
        f"/v1/purchases/{uuid4()}/claim": {"member": {"id": member}},
    }
    for path, body in refused.items():
        key = uuid4().hex
        for replayed in (False, True):
            reply = await till.post(path, body, idempotency_key=key)
            problem = is_problem(reply, reply.status) if not replayed else reply.json
            assert (reply.status in (404, 409), problem["retryable"], reply.replayed) == (
                True,
                False,
                replayed,
            )
            assert "retry-after" not in reply.headers
