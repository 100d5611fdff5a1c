"""A refusal has one form; what is wrong is told at once, with its place and, where that helps, what would be right.

Every kind of bad input on every endpoint: test_bad_inputs.py.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from loyalty.base.forms import CODES
from tests.races.client import Client, Reply
from tests.web.bad_inputs import SOMEBODY
from tests.web.world import World, parsed, receipt

JSON = dict[str, Any]


def is_problem(reply: Reply, status: int, code: str | None = None) -> JSON:
    """The problem document, after its form was looked at."""
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json
    assert problem["status"] == status
    assert problem["type"] == f"/docs/errors#{problem['code']}"
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert isinstance(problem["retryable"], bool)
    assert problem["title"] and problem["detail"]
    for fault in problem.get("errors", ()):
        assert fault["code"] in CODES or problem["code"] != "invalid_body"
        assert fault["pointer"] == "" or fault["pointer"].startswith("/")
        assert fault["detail"]
    if code is not None:
        assert problem["code"] == code
    return problem


@pytest.fixture
def admin(world: World) -> Client:
    return world.client("admin")


@pytest.mark.parametrize("megabytes", [2, 8])
async def test_whoever_sends_too_much_hears_so_however_long_he_sends(world: World, megabytes: int) -> None:
    """The connection is not reset over the answer while the rest is under way."""
    desk = world.client("admin")
    for _ in range(5):
        told = await desk.call("POST", "/v1/members", b" " * (megabytes << 20), Idempotency_Key="k")
        is_problem(told, 413, "body_too_large")


async def test_the_media_type_may_be_written_anyhow(world: World) -> None:
    body = b'{"x": 1}'
    lines = (
        "POST /v1/quotes HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Authorization: Bearer {world.shop.keys['admin']}",
        f"Content-Length: {len(body)}",
        'Content-Type: Application/JSON; charset="UTF-8"',
        "Content-Encoding: identity",
    )
    is_problem(parsed(await world.raw("\r\n".join([*lines, "", ""]).encode() + body)), 422, "invalid_body")


async def test_all_faults_of_a_body_are_told_at_once(world: World) -> None:
    body = receipt(money="euro", till=7, typo=1, occurred_at="2026-01-01T00:00:00", member={"cart": "1"})
    body["lines"][0] |= {"amount_minor": -5, "quantity": "x"}
    del body["source"]
    reply = await world.client("pos").post("/v1/purchases", body, idempotency_key="many")
    faults = {(fault["pointer"], fault["code"]) for fault in is_problem(reply, 422)["errors"]}
    assert faults == {
        ("/source", "required"),
        ("/occurred_at", "offset_required"),
        ("/money", "unknown_currency"),
        ("/lines/0/quantity", "wrong_type"),
        ("/lines/0/amount_minor", "out_of_range"),
        ("/member/cart", "unknown_field"),
        ("/till", "wrong_type"),
        ("/typo", "unknown_field"),
    }
    body = receipt(tenders=[{"type": "cash", "amount_minor": 5}], member={})
    body["lines"][1] |= {"line_id": "1", "tax_minor": 99}
    reply = await world.client("pos").post("/v1/purchases", body, idempotency_key="many")
    faults = {(fault["pointer"], fault["code"]) for fault in is_problem(reply, 422)["errors"]}
    assert faults == {
        ("/member", "choose_one"),
        ("/lines/1/line_id", "duplicate_line_id"),
        ("/lines/1/tax_minor", "out_of_range"),
        ("/tenders", "total_mismatch"),
    }


async def test_a_body_of_ten_thousand_faults_is_told_the_first_hundred(world: World) -> None:
    body = receipt(lines=[{"line_id": str(index)} for index in range(1_000)])
    reply = await world.client("pos").post("/v1/purchases", body, idempotency_key="k")
    assert len(is_problem(reply, 422)["errors"]) == 100


async def test_time_limits_belong_to_the_program(world: World) -> None:
    till = world.client("pos")
    soon = (datetime.now(UTC) + timedelta(minutes=16)).isoformat()
    is_problem(
        await till.post("/v1/purchases", receipt(occurred_at=soon), idempotency_key="f"), 422, "in_future"
    )
    long_ago = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    is_problem(
        await till.post("/v1/purchases", receipt(occurred_at=long_ago), idempotency_key="p"), 422, "too_old"
    )
    dollars = await till.post("/v1/purchases", receipt(money="USD"), idempotency_key="d")
    is_problem(dollars, 422, "currency_not_supported")


async def test_a_text_of_the_wrong_form_is_told_the_form(admin: Client) -> None:
    body = {"member": {"id": SOMEBODY}, "reward": "Mug"}
    problem = is_problem(await admin.post("/v1/redemptions", body, idempotency_key="form"), 422)
    assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [("/reward", "invalid_format")]
    assert "^[a-z]" in problem["errors"][0]["detail"]


async def test_an_instant_with_a_bare_plus_is_hinted_at(admin: Client) -> None:
    path = f"/v1/members/{SOMEBODY}/balances?as_of="
    problem = is_problem(await admin.get(f"{path}2026-01-01T00:00:00+02:00"), 400, "invalid_parameter")
    assert "%2B" in problem["detail"]
    is_problem(await admin.get(f"{path}2026-01-01T00:00:00%2B02:00"), 404, "member_not_found")


async def test_a_trailing_or_double_slash_is_another_address(admin: Client) -> None:
    for path in (
        "/v1/program/",
        "/v1//program",
        "//v1/program",
        "/V1/program",
        "/v1/program/.",
        "/v1/",
        "//",
    ):
        is_problem(await admin.get(path), 404, "route_not_found")


async def test_the_bare_address_leads_to_the_reference(world: World) -> None:
    anybody = world.client("nobody")
    bare = await anybody.get("/")
    assert (bare.status, bare.headers["location"], bare.body) == (308, "/docs", b"")
    pages = [await anybody.get(path) for path in ("/docs", "/docs/")]
    assert [page.status for page in pages] == [200, 200]
    assert pages[0].body == pages[1].body
    assert pages[1].headers["content-type"].startswith("text/html")


async def test_cursors_are_taken_only_where_they_were_given_out(world: World) -> None:
    admin = world.client("admin")
    for _ in range(2):
        await admin.post("/v1/clients", {"name": "x"}, idempotency_key=uuid4().hex)
    cursor: str = (await admin.get("/v1/clients?limit=1")).json["next_cursor"]
    assert (await admin.get(f"/v1/clients?limit=1&cursor={cursor}")).status == 200
    flipped = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    stolen = await world.client("admin", world.other).get(f"/v1/clients?cursor={cursor}")
    is_problem(stolen, 400, "invalid_cursor")
    is_problem(await admin.get(f"/v1/audit-log?cursor={cursor}"), 400, "invalid_cursor")
    for wrong in (flipped, cursor[:-3], cursor + "AAAA", "x", "%F0%9F%A6%8A", "A" * 1_000):
        is_problem(await admin.get(f"/v1/clients?cursor={wrong}"), 400, "invalid_cursor")
    is_problem(await admin.get(f"/v1/clients?cursor={'A' * 4_000}"), 400, "invalid_parameter")


async def test_head_is_get_without_its_body(world: World) -> None:
    head = (
        f"HEAD /v1/program HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {world.shop.keys['admin']}\r\n\r\n"
    )
    answer = await world.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")
    assert int(parsed(answer).headers["content-length"]) > 0
