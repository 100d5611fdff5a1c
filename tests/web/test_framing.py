"""Requests that no HTTP library sends: refused at once, the connection closed, others undisturbed."""

import asyncio
import contextlib
import json
import socket
from uuid import uuid4

import pytest

from tests.conftest import Database
from tests.web.test_refusals import is_problem
from tests.web.world import World, opened, parsed, receipt

GET = "GET /v1/program HTTP/1.1\r\nHost: x\r\n{}\r\n"
POST = "POST /v1/quotes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{}\r\n"


def signed(world: World, request: str, *headers: str) -> bytes:
    lines = (*headers, f"Authorization: Bearer {world.shop.keys['admin']}")
    return request.format("".join(f"{line}\r\n" for line in lines)).encode("latin-1")


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 2"),
        ("Content-Length: 2", "Content-Length: 2"),
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: +2",),
        ("Content-Length: -2",),
        ("Content-Length: 2, 2",),
        ("Content-Length: 0x2",),
        ("Content-Length: 99999999999999999999999",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: gzip",),
        ("X-Folded: a\r\n b",),
        ("X-Nul: a\x00b",),
        ("No-Colon",),
        ("Bad Name: x",),
    ],
)
async def test_ambiguous_or_broken_framing_is_400_and_closes(world: World, headers: tuple[str, ...]) -> None:
    reply = parsed(await world.raw(signed(world, POST, *headers) + b"{}", within_s=2))
    assert reply.status in (400, 413)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["code"] in ("malformed_request", "body_too_large")


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "gzip, chunked", "identity, chunked"])
async def test_a_body_in_chunks_is_read_and_no_other_coding_of_it(world: World, coding: str) -> None:
    body = json.dumps(receipt()).encode()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    head = signed(world, POST, f"Transfer-Encoding: {coding}")
    plain = coding.lower() == "chunked"
    reply = parsed(
        await world.raw(head + chunks + (signed(world, GET, "Connection: close") if plain else b""))
    )
    if plain:
        assert reply.status == 200
    else:
        is_problem(reply, 400, "malformed_request")
        assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_line",
    [
        "GET / HTTP/1.1\nHost: x\n\n",
        "GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /ü HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /health/live HTTP/2.0\r\nHost: x\r\n\r\n",
        "GET /health/live HTTP/0.9\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
        "hello\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_told_so(world: World, request_line: str) -> None:
    reply = parsed(await world.raw(request_line.encode("latin-1"), within_s=2))
    assert reply.status == 400 or request_line.startswith("GET / HTTP/1.1\n")
    assert reply.status < 500
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", [None, "", "a b", "x\r\nHost: y", "<script>", "x:port", "x/y", "é"])
async def test_a_host_that_is_none_is_refused(world: World, host: str | None) -> None:
    line = "" if host is None else f"Host: {host}\r\n"
    request = f"GET /health/live HTTP/1.1\r\n{line}X-Forwarded-Host: x\r\n\r\n"
    assert parsed(await world.raw(request.encode("latin-1"), within_s=2)).status == 400


async def test_large_heads_and_addresses_are_refused(world: World) -> None:
    large = signed(world, GET, f"X-Large: {'x' * 40_000}")
    is_problem(parsed(await world.raw(large)), 400, "malformed_request")
    many = signed(world, GET, *(f"X-{index}: y" for index in range(2_000)))
    is_problem(parsed(await world.raw(many)), 400, "malformed_request")
    long = f"GET /v1/members/{'x' * 10_000} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    is_problem(parsed(await world.raw(long)), 400, "malformed_request")
    parameters = "&".join(f"a{index}=1" for index in range(5_000))
    query = f"GET /v1/program?{parameters} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    is_problem(parsed(await world.raw(query)), 400, "malformed_request")
    endless = b"GET / HTTP/1.1\r\nHost: x\r\nX-Endless: " + b"x" * 200_000
    # Who goes on sending is cut off; then the answer may be lost on the way.
    with contextlib.suppress(ConnectionResetError):
        assert parsed(await world.raw(endless)).status == 400


@pytest.mark.parametrize("path", ["/v1/purchases", "/nowhere", "/health/live"])
async def test_a_body_behind_its_answer_is_no_other_request(world: World, path: str) -> None:
    """Refused before all of it came, its rest is thrown away: whatever follows on the connection is read as itself."""
    body = b"upgrade: x\r\n\r\n" * 14_000
    method = "GET" if path.startswith("/health") else "POST"
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    statuses: list[int] = []
    for sent, rest in ((head, body), (signed(world, GET), b"")):
        writer.write(sent)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        statuses.append(int(answer.split()[1]))
        length = int(answer.lower().split(b"content-length: ")[1].split()[0])
        await reader.readexactly(length)
        for start in range(0, len(rest), 20_000):
            writer.write(rest[start : start + 20_000])
            await writer.drain()
            await asyncio.sleep(0.001)
    assert statuses == [{"/v1/purchases": 401, "/nowhere": 404, "/health/live": 200}[path], 200]
    writer.close()


async def test_upgrades_and_overrides_are_ignored(world: World) -> None:
    for headers in (
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings, close", "HTTP2-Settings: AAMAAABk"),
        ("Upgrade: websocket", "Connection: Upgrade, close"),
        ("X-HTTP-Method-Override: DELETE", "X-Original-URL: /admin", "Connection: close"),
        ("X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: evil", "Connection: close"),
        ("Accept: application/xml", "Accept-Language: ;;;", "Range: bytes=0-1", "Connection: close"),
    ):
        request = signed(world, GET, *headers)
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 200"), headers
        writer.close()
        await writer.wait_closed()


async def test_an_offer_to_change_the_protocol_does_not_cost_the_body(world: World) -> None:
    """Some clients offer HTTP/2 with every plain request; a sale must not be lost by it."""
    body = json.dumps(receipt()).encode()
    offer = (
        "Connection: Upgrade, HTTP2-Settings, close",
        "UPGRADE: h2c",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    )
    head = signed(world, POST, *offer, f"Content-Length: {len(body)}")
    reply = parsed(await world.raw(head + body, within_s=5))
    assert reply.status == 200, reply


SMUGGLED = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
OFFER = ("Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(SMUGGLED)}")


async def in_pieces(world: World, *pieces: bytes) -> list[int]:
    """The statuses of everything that is answered to bytes that arrive in pieces, until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    with contextlib.suppress(ConnectionResetError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
    answers = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return [int(one.split()[0]) for one in answers.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("at", [b"pgrade: h2c", b"Upgrade: h2c"])
async def test_an_offer_in_a_head_that_comes_in_pieces_hides_no_second_request(
    world: World, at: bytes
) -> None:
    head = signed(world, POST, *OFFER)
    split = head.index(at)
    statuses = await in_pieces(world, head[:split], head[split:], SMUGGLED.encode())
    assert statuses == [400]


@pytest.mark.parametrize("whole", [True, False])
async def test_an_offer_behind_another_request_hides_no_third(world: World, whole: bool) -> None:
    two, body = signed(world, GET) + signed(world, POST, *OFFER), SMUGGLED.encode()
    statuses = await in_pieces(world, *([two + body] if whole else [two, body]))
    assert statuses == [200, 400], "the first is answered before"


async def test_nobody_is_asked_to_send_a_body_that_will_not_be_read(world: World) -> None:
    request = (
        "POST /v1/quotes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer no\r\n"
        "Expect: 100-continue\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n"
    )
    reply = parsed(await world.raw(request.encode()))
    is_problem(reply, 401, "invalid_credential")


async def test_a_slow_request_is_cut_off_and_others_are_not_disturbed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty.web.server.HEAD_SECONDS_MAX", 0.2)
    monkeypatch.setattr("loyalty.web.server.BODY_SECONDS_MAX", 0.2)
    idle = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(200)]
    slow = [
        b"",
        b"GET /v1/program HTTP/1.1\r\nHo",
        signed(world, POST, "Content-Length: 100") + b"{",
        signed(world, POST, "Transfer-Encoding: chunked") + b"5\r\n{",
    ]
    cut = [asyncio.create_task(world.raw(data, within_s=5)) for data in slow]
    till = world.client("pos")
    reply = await till.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex)
    assert reply.status == 201
    assert await asyncio.gather(*cut) == [b""] * len(slow)
    for reader, writer in idle:
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await writer.wait_closed()


async def test_who_takes_no_answer_is_cut_off_and_whoever_takes_it_slowly_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for is from less to more than the system between the two has room for, the last one to close."""
    monkeypatch.setattr("loyalty.web.server.ANSWER_SECONDS_MAX", 2.5)
    page = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n%s\r\n"
    loop, others_cut = asyncio.get_running_loop(), asyncio.Event()

    async def ask(line: socket.socket, times: int) -> None:
        await loop.sock_connect(line, ("127.0.0.1", world.port))
        await loop.sock_sendall(line, page % b"" * (times - 1) + page % b"Connection: close\r\n")

    async def take_slowly() -> bytes:
        with asking() as line:
            await ask(line, 8)
            taken = bytearray()
            while part := await loop.sock_recv(line, 65_536):
                taken += part
                if not others_cut.is_set():
                    await asyncio.sleep(0.02)
            return bytes(taken)

    async def take_nothing(times: int) -> None:
        with asking() as line, contextlib.suppress(ConnectionError):
            await ask(line, times)
            while True:
                await loop.sock_sendall(line, b"\r\n")
                await asyncio.sleep(0.1)

    slowly = asyncio.create_task(take_slowly())
    async with asyncio.timeout(15):
        await asyncio.gather(*(take_nothing(times) for times in range(1, 9)))
    others_cut.set()
    async with asyncio.timeout(15):
        assert (await slowly).count(b"HTTP/1.1 200") == 8


def asking() -> socket.socket:
    """One end of a line that has room for little."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    line.setblocking(False)
    return line


async def test_requests_in_one_stretch_are_answered_one_after_the_other(world: World) -> None:
    two = signed(world, GET) + signed(world, GET, "Connection: close")
    answer = await world.raw(two)
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_a_vanished_caller_does_not_undo_what_was_begun(world: World) -> None:
    body = receipt()
    content = json.dumps(body).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", world.port)
    head = "POST /v1/purchases HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: gone\r\n"
    head += f"Content-Length: {len(content)}\r\nAuthorization: Bearer {world.shop.keys['pos']}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()
    await asyncio.sleep(0.5)  # begun by then; had it not been read, there would be nothing to undo
    writer.transport.abort()
    till = world.client("pos")
    path = f"/v1/purchases?source={body['source']}&external_id={body['external_id']}"
    for _ in range(100):
        if (await till.get(path)).status == 200:
            break
        await asyncio.sleep(0.02)
    assert (await till.post("/v1/purchases", body, idempotency_key="gone")).replayed


async def test_only_the_hosts_that_are_named_are_served(database: Database) -> None:
    async with opened(database, allowed_hosts=("shop.example", "127.0.0.1")) as world:
        for host, status in (
            ("shop.example", 200),
            ("SHOP.example:8443", 200),
            ("127.0.0.1:1", 200),
            ("shopXexample", 400),
            ("evil.example", 400),
            ("shop.example.evil", 400),
            ("x.shop.example", 400),
        ):
            headers = f"Host: {host}\r\nX-Forwarded-Host: shop.example\r\nConnection: close\r\n"
            reply = parsed(await world.raw(f"GET /health/live HTTP/1.1\r\n{headers}\r\n".encode()))
            assert reply.status == status, host
            if status == 400:
                is_problem(reply, 400, "host_not_served")
