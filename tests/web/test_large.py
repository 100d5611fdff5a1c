"""Large bodies: decoded one at a time, others let by in between, and of their bytes no more than there is room for."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from loyalty.access.roles import Role
from loyalty.access.types import ActorKind, Principal
from loyalty.base.database import ServerBusy
from loyalty.web import edge, large
from loyalty.web.large import LARGE, LargeBodies
from tests.conftest import Database
from tests.web.test_refusals import is_problem
from tests.web.world import World, opened, receipt

TWICE = b'{"items":[%s]}' % b",".join([b'{"a":1,"a":2}'] * 20_000)
MANY = 20


def somebody(program_id: UUID) -> Principal:
    return Principal(ActorKind.CLIENT, uuid4(), Role.POS, program_id, uuid4())


def head(world: World, key: str, size: int, path: str = "/v1/quotes") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n"
        f"Authorization: Bearer {world.shop.keys[key]}\r\n\r\n"
    ).encode()


async def test_programs_take_turns_and_the_credentials_of_each() -> None:
    bodies, order = LargeBodies(1, 10), list[str]()
    one, other = uuid4(), uuid4()
    flood, till, stranger = somebody(one), somebody(one), somebody(other)

    async def decode(name: str, principal: Principal) -> None:
        async with bodies.turn(principal):
            order.append(name)

    names = [
        *(("flood", flood) for _ in range(5)),
        ("till", till),
        ("stranger", stranger),
        ("stranger", stranger),
    ]
    await asyncio.gather(*(decode(name, principal) for name, principal in names))
    assert order == ["flood", "stranger", "flood", "stranger", "till", "flood", "flood", "flood"]


async def test_after_one_the_loop_belongs_to_others_for_as_long() -> None:
    bodies, loop = LargeBodies(1, 10), asyncio.get_running_loop()
    spans: list[tuple[float, float]] = []

    async def decode() -> None:
        async with bodies.turn(somebody(uuid4())):
            began = loop.time()
            while loop.time() < began + 0.05:
                pass
            spans.append((began, loop.time()))

    await asyncio.gather(*(decode() for _ in range(3)))
    for (_, ended), (began, _) in pairwise(spans):
        assert began - ended >= 0.045


async def test_whose_turn_does_not_come_in_time_is_told_to_come_again() -> None:
    bodies = LargeBodies(1, 0.01)
    async with bodies.turn(somebody(uuid4())):
        with pytest.raises(ServerBusy):
            async with bodies.turn(somebody(uuid4())):
                raise AssertionError("two at once")


def test_room_is_given_back_and_a_program_has_its_share_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "BYTES_MAX", 400)
    bodies, one = LargeBodies(100, 1), uuid4()
    for _ in range(3):
        with bodies.room(one) as hold:
            hold(60)
            with bodies.room(one) as more:
                more(40)
                with pytest.raises(ServerBusy):
                    more(41)
            with bodies.room(uuid4()) as beside:
                beside(100)
            hold(100)


def test_a_body_of_the_largest_size_has_room_however_large_that_is() -> None:
    size = 2 * large.BYTES_MAX
    with LargeBodies(size, 1).room(uuid4()) as hold:
        hold(size)


async def test_a_flood_of_large_bodies_keeps_others_waiting_for_one_of_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them have come but for their last bytes, which then come together."""
    decoded = 0
    decode = edge.decode

    def counted(shape: type[Any], raw: bytes) -> Any:
        nonlocal decoded
        decoded += len(raw) > LARGE
        return decode(shape, raw)

    monkeypatch.setattr(edge, "decode", counted)
    async with opened(database, queue_ms_max=30_000) as world:
        anybody, till = world.client("nobody"), world.client("pos", world.other)
        assert (await till.post("/v1/quotes", receipt())).status == 200
        links = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(MANY)]
        for _, writer in links:
            writer.write(head(world, "pos", len(TWICE)) + TWICE[:-1])
            await writer.drain()
        await asyncio.sleep(0.5)
        assert decoded == 0
        for _, writer in links:
            writer.write(TWICE[-1:])
        await asyncio.sleep(0)
        waited: list[int] = []
        asking: list[Callable[[], Any]] = [
            lambda: anybody.get("/health/live"),
            lambda: till.post("/v1/quotes", receipt()),
        ]
        for ask in asking:
            before = decoded
            assert (await ask()).status == 200
            waited.append(decoded - before)
        for reader, writer in links:
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400")
            writer.close()
        assert decoded == MANY
        print(f"\n{waited} of {MANY} were decoded while somebody else waited")
        assert max(waited) <= 2
        await world.hang_up()


async def test_bodies_that_stop_short_fill_no_more_than_a_programs_share(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 100_000
    monkeypatch.setattr(large, "BYTES_MAX", 4 * 5 * size)
    async with opened(database, body_bytes_max=size) as world:
        till, other = world.client("pos"), world.client("pos", world.other)
        links = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(5)]
        for _, writer in links:
            writer.write(head(world, "pos", size) + b"{" * (size - 1))
            await writer.drain()
        whole = b" " * size
        async with asyncio.timeout(5):
            while (reply := await till.post("/v1/quotes", whole)).status != 503:
                await asyncio.sleep(0.01)
        assert is_problem(reply, 503, "busy")["retryable"]
        assert reply.headers["retry-after"] == "1"
        is_problem(await other.post("/v1/quotes", whole), 400, "malformed_body")
        assert (await till.post("/v1/quotes", receipt())).status == 200
        chunked = head(world, "pos", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        reply = await till.send(chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (size, whole))
        is_problem(reply, 503, "busy")
        for _, writer in links:
            writer.close()
        async with asyncio.timeout(5):
            while (reply := await till.post("/v1/quotes", whole)).status == 503:
                await asyncio.sleep(0.01)
        is_problem(reply, 400, "malformed_body")
        await world.hang_up()
