"""Whatever is sent, the answer is a clear refusal in one form: status, code, place of the fault, nothing written."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from loyalty.base.database import transaction
from loyalty.base.forms import CODES
from loyalty.web.app import endpoints
from loyalty.web.edge import Endpoint
from tests.races.client import Client, Reply
from tests.web.world import World, enrol, parsed, receipt

JSON = dict[str, Any]

# Parts of files are no JSON: tests/web/test_import_guide.py sends what they refuse.
WRITES = [endpoint for endpoint in endpoints() if endpoint.body not in (None, bytes)]
SOMEBODY = "01900000-0000-7000-8000-000000000000"


def path_of(endpoint: Endpoint) -> str:
    """A well-formed address of the endpoint."""
    path = endpoint.path
    for name, kind in endpoint.parts.items():
        path = path.replace(f"{{{name}}}", {int: "1", str: "mug"}.get(kind, SOMEBODY))
    return path


async def send(client: Client, endpoint: Endpoint, body: bytes, **headers: str) -> Reply:
    if endpoint.keyed:
        headers.setdefault("Idempotency_Key", uuid4().hex)
    return await client.call(endpoint.method, path_of(endpoint), body, **headers)


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


@pytest.mark.parametrize("endpoint", WRITES, ids=lambda endpoint: endpoint.name)
async def test_every_write_refuses_what_is_no_json_alike(admin: Client, endpoint: Endpoint) -> None:
    deep = b"[" * 100_000
    unreadable = [
        (b"{", "malformed_body"),
        (b'{"a": 1,}', "malformed_body"),
        (b"{'a': 1}", "malformed_body"),
        (b"{} {}", "malformed_body"),
        (b'{"a": NaN}', "malformed_body"),
        (b'{"a": ' + b"7" * 5_000 + b"}", "malformed_body"),
        (b'{"a": "\xff"}', "invalid_encoding"),
        (b"\xef\xbb\xbf{}", "invalid_encoding"),
        ("{}".encode("utf-16"), "invalid_encoding"),
        (b'{"a": "\\ud800"}', "invalid_encoding"),
        (b'{"a": ' + deep, "too_deep"),
        (b'{"a": 1, "a": 2}', "duplicate_key"),
    ]
    for body, code in unreadable:
        is_problem(await send(admin, endpoint, body), 400, code)


@pytest.mark.parametrize("endpoint", WRITES, ids=lambda endpoint: endpoint.name)
async def test_every_write_refuses_what_is_no_object_or_knows_no_field(
    admin: Client, endpoint: Endpoint
) -> None:
    for body in (b"null", b"[]", b'"x"', b"7", b"true", b"1e400"):
        problem = is_problem(await send(admin, endpoint, body), 422, "invalid_body")
        assert problem["errors"][0]["pointer"] == ""
    for name in ("balance", "program_id", "role", "Lines", "\u200bpoints", "__proto__", "", "a/b~c"):
        problem = is_problem(await send(admin, endpoint, json.dumps({name: 1}).encode()), 422, "invalid_body")
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        assert pointer in {fault["pointer"] for fault in problem["errors"]}


@pytest.mark.parametrize("endpoint", WRITES, ids=lambda endpoint: endpoint.name)
async def test_every_write_takes_json_in_utf_8_and_nothing_else(world: World, endpoint: Endpoint) -> None:
    accepted = "accept-patch" if endpoint.method == "PATCH" else "accept-post"
    refused = [
        "text/plain",
        "application/xml",
        "application/jsonp",
        "",
        "*/*",
        "multipart/form-data; boundary=x",
    ]
    refused += [
        "application/json; charset=utf-16",
        "application/json; charset=latin-42",
        "application/json;x=y",
    ]
    for media in refused:
        reply = is_problem(await _with_media(world, endpoint, media), 415, "unsupported_media_type")
        assert reply
    assert (await _with_media(world, endpoint, "text/plain")).headers[accepted] == "application/json"
    for encoding in ("gzip", "br", "zstd", "gzip, gzip", "what"):
        is_problem(await _with_media(world, endpoint, "application/json", encoding), 415)
    fine = await _with_media(world, endpoint, 'Application/JSON; charset="UTF-8"', "identity")
    assert fine.status == 422


async def _with_media(world: World, endpoint: Endpoint, media: str, encoding: str | None = None) -> Reply:
    lines = [
        f"{endpoint.method} {path_of(endpoint)} HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Authorization: Bearer {world.shop.keys['admin']}",
        "Content-Length: 8",
        f"Content-Type: {media}",
        f"Idempotency-Key: {uuid4().hex}",
        *([f"Content-Encoding: {encoding}"] if encoding else []),
    ]
    return parsed(await world.raw("\r\n".join([*lines, "", ""]).encode() + b'{"x": 1}'))


@pytest.mark.parametrize("endpoint", [one for one in WRITES if one.keyed], ids=lambda endpoint: endpoint.name)
async def test_every_keyed_write_wants_one_printable_key(admin: Client, endpoint: Endpoint) -> None:
    path = path_of(endpoint)
    is_problem(await admin.call("POST", path, b"{}"), 400, "idempotency_key_missing")
    for key in ("", "k" * 256, "Schlüssel"):
        is_problem(await admin.call("POST", path, b"{}", Idempotency_Key=key), 400, "idempotency_key_invalid")
    twice = await admin.call("POST", path, b"{}", Idempotency_Key="a", idempotency_key="a")
    is_problem(twice, 400, "malformed_request")


@pytest.mark.parametrize("endpoint", WRITES, ids=lambda endpoint: endpoint.name)
async def test_every_write_has_a_largest_body(world: World, endpoint: Endpoint) -> None:
    head = [
        f"{endpoint.method} {path_of(endpoint)} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {world.shop.keys['admin']}",
        "Content-Type: application/json",
        "Idempotency-Key: k",
    ]
    declared = "\r\n".join([*head, "Content-Length: 1048577", "", ""]).encode()
    is_problem(parsed(await world.raw(declared)), 413, "body_too_large")
    chunk = b"20000\r\n" + b" " * 0x20000 + b"\r\n"
    streamed = "\r\n".join([*head, "Transfer-Encoding: chunked", "", ""]).encode() + chunk * 9
    is_problem(parsed(await world.raw(streamed)), 413, "body_too_large")


@pytest.mark.parametrize("megabytes", [2, 8])
async def test_whoever_sends_too_much_hears_so_however_long_he_sends(world: World, megabytes: int) -> None:
    """The connection is not reset over the answer while the rest is under way."""
    desk = world.client("admin")
    for _ in range(5):
        told = await desk.call("POST", "/v1/members", b" " * (megabytes << 20), Idempotency_Key="k")
        is_problem(told, 413, "body_too_large")


WRONG_PURCHASES: list[tuple[JSON, str, str]] = [
    ({"lines": None}, "/lines", "required"),
    ({"lines": []}, "/lines", "too_few_items"),
    ({"lines": 7}, "/lines", "wrong_type"),
    ({"lines": [None]}, "/lines/0", "wrong_type"),
    ({"lines": [{}] * 1001}, "/lines", "too_many_items"),
    ({"money": "eur"}, "/money", "unknown_currency"),
    ({"money": "US$"}, "/money", "unknown_currency"),
    ({"money": "UЅD"}, "/money", "unknown_currency"),
    ({"money": ""}, "/money", "unknown_currency"),
    ({"money": 978}, "/money", "wrong_type"),
    ({"source": ""}, "/source", "too_short"),
    ({"source": " "}, "/source", "invalid_characters"),
    ({"source": "a\x00"}, "/source", "invalid_characters"),
    ({"source": "é"}, "/source", "invalid_characters"),
    ({"external_id": "x" * 129}, "/external_id", "too_long"),
    ({"external_id": "R-1\r\nX: y"}, "/external_id", "invalid_characters"),
    ({"till": "\u202e17"}, "/till", "invalid_characters"),
    ({"till": ""}, "/till", "too_short"),
    ({"occurred_at": "2026-01-01T00:00:00"}, "/occurred_at", "offset_required"),
    ({"occurred_at": 1767225600}, "/occurred_at", "wrong_type"),
    ({"occurred_at": "tomorrow"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "Thu, 01 Jan 2026 00:00:00 GMT"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "2026-W01-1T00:00:00Z"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "2026-01-01"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "2026-02-30T00:00:00Z"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "2027-02-29T00:00:00Z"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "2026-01-01T24:00:00Z"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "2026-01-01T00:00:60Z"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "2026-01-01T00:00:00+24:00"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "+002026-01-01T00:00:00Z"}, "/occurred_at", "invalid_datetime"),
    ({"occurred_at": "9999-12-31T23:59:59-12:00"}, "/occurred_at", "out_of_range"),
    ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "/occurred_at", "out_of_range"),
    ({"occurred_at": "1969-12-31T23:59:59Z"}, "/occurred_at", "out_of_range"),
    ({"member": {}}, "/member", "choose_one"),
    ({"member": {"card": "6035550001", "email": "a@b.at"}}, "/member", "choose_one"),
    ({"member": {"id": "77"}}, "/member/id", "invalid_id"),
    ({"member": "6035550001"}, "/member", "wrong_type"),
    ({"tenders": [{"type": "card", "amount_minor": 1}]}, "/tenders", "total_mismatch"),
    ({"tenders": [{"type": "Card!", "amount_minor": 1423}]}, "/tenders/0/type", "invalid_format"),
    ({"holds": [SOMEBODY]}, "/holds/0", "wrong_type"),
    ({"holds": [{"id": SOMEBODY, "points": 0}]}, "/holds/0/points", "out_of_range"),
    ({"holds": [{"id": SOMEBODY}, {"id": SOMEBODY}]}, "/holds/1/id", "duplicate"),
    ({"holds": [{"id": SOMEBODY[:-2] + f"{n:02}"} for n in range(21)]}, "/holds", "too_many_items"),
    ({"pionts": 5}, "/pionts", "unknown_field"),
]
WRONG_LINES: list[tuple[JSON, str, str]] = [
    ({"amount_minor": -1}, "amount_minor", "out_of_range"),
    ({"amount_minor": 2**53 + 1}, "amount_minor", "out_of_range"),
    ({"amount_minor": 2**63}, "amount_minor", "out_of_range"),
    ({"amount_minor": 2**64}, "amount_minor", "out_of_range"),
    ({"amount_minor": int("9" * 400)}, "amount_minor", "out_of_range"),
    ({"amount_minor": 1.5}, "amount_minor", "not_integer"),
    ({"amount_minor": 1.0}, "amount_minor", "not_integer"),
    ({"amount_minor": -0.0}, "amount_minor", "not_integer"),
    ({"amount_minor": True}, "amount_minor", "wrong_type"),
    ({"amount_minor": "12"}, "amount_minor", "wrong_type"),
    ({"amount_minor": None}, "amount_minor", "wrong_type"),
    ({"amount_minor": []}, "amount_minor", "wrong_type"),
    ({"quantity": 2}, "quantity", "wrong_type"),
    ({"quantity": "NaN"}, "quantity", "not_a_number"),
    ({"quantity": "sNaN"}, "quantity", "not_a_number"),
    ({"quantity": "-Infinity"}, "quantity", "not_a_number"),
    ({"quantity": "1e999999"}, "quantity", "out_of_range"),
    ({"quantity": "0." + "0" * 390 + "1"}, "quantity", "too_many_decimals"),
    ({"quantity": "0.5125"}, "quantity", "too_many_decimals"),
    ({"quantity": "-1"}, "quantity", "out_of_range"),
    ({"quantity": "1000000000"}, "quantity", "out_of_range"),
    *(
        ({"quantity": text}, "quantity", "wrong_type")
        for text in ("١٢", "１２", "1_000", "1,000", " 12 ", "+12", "0x10", "012", "", "1.", ".5", "1,5")
    ),
    ({"line_id": "1"}, "line_id", "duplicate_line_id"),
    ({"tax_minor": 26}, "tax_minor", "out_of_range"),
    ({"sku": "x\x00"}, "sku", "invalid_characters"),
    ({"sku": "x" * 1_000_000}, "sku", "too_long"),
    ({"categories": ["a", 7]}, "categories/1", "wrong_type"),
    ({"categories": ["a"] * 51}, "categories", "too_many_items"),
]


@pytest.mark.parametrize("address", ["/v1/purchases", "/v1/quotes"])
async def test_a_wrong_purchase_is_told_where_and_why(world: World, address: str) -> None:
    till = world.client("pos")
    for change, pointer, code in WRONG_PURCHASES:
        await _refused(till, address, receipt(**change), pointer, code)
    for change, field, code in WRONG_LINES:
        body = receipt()
        body["lines"][1] |= change
        await _refused(till, address, body, f"/lines/1/{field}", code)
    exponent = json.dumps(receipt()).replace('"amount_minor": 25', '"amount_minor": 25e0').encode()
    await _refused(till, address, exponent, "/lines/1/amount_minor", "not_integer")


async def _refused(till: Client, address: str, body: JSON | bytes, pointer: str, code: str) -> None:
    reply = await till.post(address, body, idempotency_key=uuid4().hex)
    problem = is_problem(reply, 422, "invalid_body")
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [(pointer, code)]


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


async def test_points_are_whole_and_change_something(world: World) -> None:
    desk = world.client("support")
    member = await enrol(desk)
    for points, code in [
        (0, "out_of_range"),
        (2**53, "out_of_range"),
        (-(2**53), "out_of_range"),
        (1.0, "not_integer"),
        ("5", "wrong_type"),
        (None, "wrong_type"),
    ]:
        body = {"member": {"id": member}, "points_currency": "points", "points": points, "reason": "goodwill"}
        reply = await desk.post("/v1/adjustments", body, idempotency_key=uuid4().hex)
        (fault,) = is_problem(reply, 422, "invalid_body")["errors"]
        assert (fault["pointer"], fault["code"]) == ("/points", code)


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


@pytest.mark.parametrize(
    ("query", "code", "name"),
    [
        ("limit=0", "invalid_parameter", "limit"),
        ("limit=-1", "invalid_parameter", "limit"),
        ("limit=201", "invalid_parameter", "limit"),
        ("limit=1000000", "invalid_parameter", "limit"),
        ("limit=" + "9" * 25, "invalid_parameter", "limit"),
        ("limit=abc", "invalid_parameter", "limit"),
        ("limit=1.0", "invalid_parameter", "limit"),
        ("limit=+1", "invalid_parameter", "limit"),
        ("limit=01", "invalid_parameter", "limit"),
        ("limit=%D9%A1", "invalid_parameter", "limit"),
        ("limit=", "invalid_parameter", "limit"),
        ("limit", "invalid_parameter", "limit"),
        ("limit=%FF", "invalid_parameter", "limit"),
        ("limit=1%00", "invalid_parameter", "limit"),
        ("limit=1&limit=2", "duplicate_parameter", "limit"),
        ("limit=1&lim%69t=1", "duplicate_parameter", "limit"),
        ("filtre=x", "unknown_parameter", "filtre"),
        ("sort=id;drop", "unknown_parameter", "sort"),
        ("offset=4611686018427387904", "unknown_parameter", "offset"),
        ("limit=1&", "unknown_parameter", ""),
    ],
)
async def test_a_wrong_query_is_told_by_its_parameter(
    admin: Client, query: str, code: str, name: str
) -> None:
    for path in ("/v1/clients", "/v1/audit-log", "/v1/program/configurations"):
        problem = is_problem(await admin.get(f"{path}?{query}"), 400, code)
        assert problem["parameter"] == name


async def test_a_text_of_the_wrong_form_is_told_the_form(admin: Client) -> None:
    body = {"member": {"id": SOMEBODY}, "reward": "Mug"}
    problem = is_problem(await admin.post("/v1/redemptions", body, idempotency_key="form"), 422)
    assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [("/reward", "invalid_format")]
    assert "^[a-z]" in problem["errors"][0]["detail"]


async def test_calls_without_parameters_take_none(admin: Client) -> None:
    for path in ("/v1/program", f"/v1/members/{SOMEBODY}", f"/v1/entries/{SOMEBODY}"):
        is_problem(await admin.get(f"{path}?fields=name"), 400, "unknown_parameter")
    is_problem(await admin.post("/v1/quotes?dry=1", {}), 400, "unknown_parameter")


async def test_an_instant_with_a_bare_plus_is_hinted_at(admin: Client) -> None:
    path = f"/v1/members/{SOMEBODY}/balances?as_of="
    problem = is_problem(await admin.get(f"{path}2026-01-01T00:00:00+02:00"), 400, "invalid_parameter")
    assert "%2B" in problem["detail"]
    is_problem(await admin.get(f"{path}2026-01-01T00:00:00%2B02:00"), 404, "member_not_found")
    for wrong in ("2026-01-01", "1767225600", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00"):
        is_problem(await admin.get(path + wrong), 400, "invalid_parameter")


@pytest.mark.parametrize(
    "id",
    [
        SOMEBODY.upper(),
        "{" + SOMEBODY + "}",
        SOMEBODY.replace("-", ""),
        "1_000",
        "1",
        "%D9%A1",
        "9" * 30,
        f"{SOMEBODY}.",
        f"{SOMEBODY}%20",
        "..",
        "..%2F..%2Fadmin",
        "%252e",
        "%00",
        "a%00b",
        "%FF",
        f"{SOMEBODY};x=1",
        "a%5Cb",
        "%0d%0a",
    ],
)
async def test_an_odd_id_is_not_found_and_nothing_else(admin: Client, id: str) -> None:
    for path in (
        "/v1/members/{}",
        "/v1/members/{}/balances",
        "/v1/decisions/{}",
        "/v1/purchases/{}",
        "/v1/runs/{}",
    ):
        is_problem(await admin.get(path.format(id)), 404)
    is_problem(await admin.get(f"/v1/program/configurations/{id}"), 404) if id != "1" else None


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


async def test_methods_that_an_address_does_not_take_are_named(admin: Client) -> None:
    for method in ("PUT", "DELETE", "TRACE", "PATCH"):
        reply = await admin.call(method, "/v1/purchases", None)
        is_problem(reply, 405, "method_not_allowed")
        assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    options = await admin.call("OPTIONS", "/v1/quotes", None)
    assert (options.status, options.body) == (204, b"")
    assert set(options.headers["allow"].split(", ")) == {"OPTIONS", "POST"}


async def test_head_is_get_without_its_body(world: World) -> None:
    head = (
        f"HEAD /v1/program HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {world.shop.keys['admin']}\r\n\r\n"
    )
    answer = await world.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")
    assert int(parsed(answer).headers["content-length"]) > 0


async def test_refused_requests_leave_the_database_as_it_was(world: World) -> None:
    till = world.client("pos")
    before = await _counts(world)
    for change, _, _ in WRONG_PURCHASES[:12]:
        await till.post("/v1/purchases", receipt(**change), idempotency_key=uuid4().hex)
    await till.post("/v1/purchases", b"{", idempotency_key=uuid4().hex)
    await till.post("/v1/purchases", receipt())
    await till.post("/v1/adjustments", {}, idempotency_key=uuid4().hex)
    assert await _counts(world) == before


async def _counts(world: World) -> list[int]:
    tables = (
        "entries",
        "decisions",
        "blocks",
        "engagement_events",
        "idempotency_records",
        "activity_keys",
        "members",
    )
    async with transaction(world.runtime.engine, world.shop.program_id) as connection:
        return [
            (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() for table in tables
        ]
