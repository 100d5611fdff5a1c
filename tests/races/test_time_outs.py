"""The till's time-out drill: its line is cut, and each way of asking afterwards tells the truth.

Two processes; what is asked afterwards goes to the other one. Answers are sent after the commit, so a line that is cut
when the answer comes is cut behind the commit, every time. A line that is cut as soon as the request is through is cut
on either side of it, or before the server took the request: a server that reads of a hang-up first does nothing.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from uuid import uuid4

import pytest

from tests.conftest import Database
from tests.races.client import Client, Reply, Unknown
from tests.races.house import JSON, SIZE, House, give_back, opened, payment, purchase

ROUNDS = pytest.mark.parametrize("rounds", [1, pytest.param(20 * SIZE, marks=pytest.mark.proof)])


class Cut(StrEnum):
    """When a line is cut."""

    BEFORE = "before the request is through"
    BEHIND = "as soon as the request is through"
    ANSWER = "when the answer comes"


@pytest.fixture(scope="module")
async def house(database: Database, redis_url: str) -> AsyncIterator[House]:
    async with opened(database.app_url, database.superuser_url, redis_url) as house:
        yield house


@asynccontextmanager
async def line(to: int, cut: Cut) -> AsyncIterator[int]:
    """The port of a line to a server. It takes one request, whole or not at all, and never brings back an answer."""
    done = asyncio.Event()

    async def carry(till: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            request = await _request(till)
            if cut is not Cut.BEFORE:
                answer, server = await asyncio.open_connection("127.0.0.1", to)
                server.write(request)
                await server.drain()
                if cut is Cut.ANSWER:
                    assert await answer.read(1)
                    _reset(server)
                else:
                    server.close()
            _reset(back)
        finally:
            done.set()

    relay = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield relay.sockets[0].getsockname()[1]
        await asyncio.wait_for(done.wait(), 10)
    finally:
        relay.close()


async def _request(till: asyncio.StreamReader) -> bytes:
    """One request, to its last byte."""
    head = await till.readuntil(b"\r\n\r\n")
    return head + await till.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a broken line does: by a reset, with whatever was under way."""
    link = writer.get_extra_info("socket")
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class Sale:
    """Something that a till asks for, and how anybody sees that it happened."""

    path: str
    body: JSON
    status: int
    happened: Callable[[Client], Awaitable[bool]]
    member: str
    available: int  # points once it has happened


async def bought(house: House) -> Sale:
    member = await house.member(500)
    body = purchase(member)

    async def happened(client: Client) -> bool:
        return (await client.get(_receipt(body))).status == 200

    return Sale("/v1/purchases", body, 201, happened, member, 510)


async def brought_back(house: House) -> Sale:
    member = await house.member(500)
    sold = purchase(member)
    assert (await house.ask("/v1/purchases", sold)).status == 201
    body = give_back(sold, {"1": "1"})

    async def happened(client: Client) -> bool:
        return (await client.get(_receipt(body, "returns"))).status == 200

    return Sale("/v1/purchases/returns", body, 201, happened, member, 500)


async def redeemed(house: House) -> Sale:
    member = await house.member(500)
    body = payment(member, 300) | {"reference": uuid4().hex}

    async def happened(client: Client) -> bool:
        return bool((await client.get(f"/v1/members/{member}/redemptions")).json["data"])

    return Sale("/v1/redemptions", body, 201, happened, member, 200)


async def captured(house: House) -> Sale:
    member = await house.member(500)
    hold = (await house.ask("/v1/holds", payment(member, 300))).json["id"]

    async def happened(client: Client) -> bool:
        return (await client.get(f"/v1/holds/{hold}")).json["state"] == "captured"

    return Sale(f"/v1/holds/{hold}/capture", {}, 200, happened, member, 200)


SALES = pytest.mark.parametrize("sold", [bought, brought_back, redeemed, captured], ids=lambda s: s.__name__)


def _receipt(body: JSON, kind: str = "purchases") -> str:
    return f"/v1/{kind}?source={body['source']}&external_id={body['external_id']}"


async def cut_off(house: House, sale: Sale, cut: Cut, key: str) -> None:
    """The till asks the first process and is not told what became of it."""
    async with line(house.apis[0].port, cut) as port:
        with pytest.raises(Unknown):
            await Client(port, house.key).post(sale.path, sale.body, idempotency_key=key)


async def lost(house: House, sale: Sale) -> str:
    """The key under which it was asked for; it has happened, as the second process sees, and the till was not told."""
    key, (_, other) = uuid4().hex, house.crowd(2)
    await cut_off(house, sale, Cut.ANSWER, key)
    assert await sale.happened(other)
    return key


async def available(house: House, member: str) -> int:
    (balance,) = (await house.crowd(1)[0].get(f"/v1/members/{member}/balances")).json["balances"]
    return balance["available"]


async def told_by_both(house: House, sale: Sale, key: str) -> list[Reply]:
    """What both processes answer to the same under the same key, the second first."""
    return [await till.post(sale.path, sale.body, idempotency_key=key) for till in reversed(house.crowd(2))]


@SALES
@ROUNDS
async def test_the_same_key_again_is_told_the_answer_that_was_lost(
    house: House, sold: Callable[[House], Awaitable[Sale]], rounds: int
) -> None:
    for _ in range(rounds):
        sale = await sold(house)
        key = await lost(house, sale)
        replies = await told_by_both(house, sale, key)
        assert [(reply.status, reply.replayed) for reply in replies] == [(sale.status, True)] * 2
        assert len({reply.body for reply in replies}) == 1
        assert await available(house, sale.member) == sale.available
    await house.whole()


@SALES
@ROUNDS
async def test_what_never_arrived_is_done_by_the_same_key_again_and_once(
    house: House, sold: Callable[[House], Awaitable[Sale]], rounds: int
) -> None:
    for _ in range(rounds):
        sale, key = await sold(house), uuid4().hex
        await cut_off(house, sale, Cut.BEFORE, key)
        assert not await sale.happened(house.crowd(1)[0])
        replies = await told_by_both(house, sale, key)
        assert [(reply.status, reply.replayed) for reply in replies] == [
            (sale.status, False),
            (sale.status, True),
        ]
        assert await available(house, sale.member) == sale.available
    await house.whole()


@SALES
@ROUNDS
async def test_what_may_have_happened_has_happened_once_when_the_same_key_was_asked_again(
    house: House, sold: Callable[[House], Awaitable[Sale]], rounds: int
) -> None:
    for _ in range(rounds):
        sale, key = await sold(house), uuid4().hex
        await cut_off(house, sale, Cut.BEHIND, key)
        replies = await told_by_both(house, sale, key)
        assert [reply.status for reply in replies] == [sale.status] * 2
        assert replies[1].replayed
        assert len({reply.body for reply in replies}) == 1
        assert await available(house, sale.member) == sale.available
    await house.whole()


@ROUNDS
async def test_the_receipts_number_tells_what_became_of_a_purchase(house: House, rounds: int) -> None:
    """And so does that of a return; neither needs the key, which may be gone with the till's memory."""
    _, other = house.crowd(2)
    for _ in range(rounds):
        for sold, kind, state in ((bought, "purchases", "recorded"), (brought_back, "returns", "returned")):
            sale = await sold(house)
            missing = await other.get(_receipt(sale.body, kind))
            key = await lost(house, sale)
            read = (await other.get(_receipt(sale.body, kind))).json
            again = await other.post(sale.path, sale.body, idempotency_key=key)
            assert (missing.status, missing.json["code"]) == (404, f"{kind[:-1]}_not_found")
            assert read["first_answer"]["status"] == state
            assert read["first_answer"] == again.json
    await house.whole()


@ROUNDS
async def test_a_redemption_is_found_by_its_reference_and_a_hold_by_its_id(house: House, rounds: int) -> None:
    _, other = house.crowd(2)
    for _ in range(rounds):
        sale = await redeemed(house)
        key = await lost(house, sale)
        (found,) = (await other.get(f"/v1/members/{sale.member}/redemptions")).json["data"]
        assert (found["reference"], found["status"]) == (sale.body["reference"], "issued")
        undone = await other.post(
            f"/v1/redemptions/{found['id']}/cancel", {"reason": "sale_aborted"}, idempotency_key=uuid4().hex
        )
        assert (undone.status, await available(house, sale.member)) == (200, 500)
        (again, _) = await told_by_both(house, sale, key)  # what was answered then; it is not done once more
        assert (again.json["id"], again.replayed) == (found["id"], True)
        assert await available(house, sale.member) == 500

        sale = await captured(house)
        await lost(house, sale)
        read = (await other.get(sale.path.removesuffix("/capture"))).json
        assert (read["state"], read["captured"], read["held"]) == ("captured", 300, 0)
    await house.whole()


@ROUNDS
async def test_a_cancel_that_comes_first_refuses_the_late_original(house: House, rounds: int) -> None:
    """The till gives up a sale whose request never arrived; somewhere on the way the request still waits."""
    first, other = house.crowd(2)
    for _ in range(rounds):
        sale, key = await bought(house), uuid4().hex
        await cut_off(house, sale, Cut.BEFORE, key)
        receipt = {name: sale.body[name] for name in ("source", "external_id")}
        cancel = await other.post("/v1/purchases/cancel", receipt, idempotency_key=uuid4().hex)
        assert (cancel.status, cancel.json["revoked"]) == (201, [])
        for late in (key, key, uuid4().hex):
            reply = await first.post(sale.path, sale.body, idempotency_key=late)
            assert (reply.status, reply.json["code"]) == (409, "purchase_cancelled")
        assert (await other.get(_receipt(sale.body))).json["state"] == "cancelled"
        assert await available(house, sale.member) == 500
    await house.whole()


@ROUNDS
async def test_a_cancel_takes_back_what_was_recorded_without_the_tills_knowledge(
    house: House, rounds: int
) -> None:
    """The till need not know which it was: the cancel's answer says what was taken back."""
    first, other = house.crowd(2)
    for _ in range(rounds):
        sale = await bought(house)
        key = await lost(house, sale)
        receipt = {name: sale.body[name] for name in ("source", "external_id")}
        cancel = await other.post("/v1/purchases/cancel", receipt, idempotency_key=uuid4().hex)
        assert [one["points"] for one in cancel.json["revoked"]] == [10]
        late = await first.post(sale.path, sale.body, idempotency_key=key)
        assert (late.status, late.replayed) == (201, True)
        assert (await other.get(_receipt(sale.body))).json["state"] == "cancelled"
        assert await available(house, sale.member) == 500
    await house.whole()


@ROUNDS
async def test_a_cancel_of_what_may_have_happened_leaves_nothing_of_it(house: House, rounds: int) -> None:
    """Whichever came first: the answers of both fit together, and the points are as they were."""
    first, other = house.crowd(2)
    for _ in range(rounds):
        sale, key = await bought(house), uuid4().hex
        await cut_off(house, sale, Cut.BEHIND, key)
        receipt = {name: sale.body[name] for name in ("source", "external_id")}
        cancel = await other.post("/v1/purchases/cancel", receipt, idempotency_key=uuid4().hex)
        late = await first.post(sale.path, sale.body, idempotency_key=key)
        recorded = [one["points"] for one in cancel.json["revoked"]] == [10]
        assert cancel.status == 201
        assert late.status == (201 if recorded else 409)
        assert recorded or late.json["code"] == "purchase_cancelled"
        assert await available(house, sale.member) == 500
    await house.whole()


@ROUNDS
async def test_a_release_that_comes_first_refuses_the_late_capture(house: House, rounds: int) -> None:
    """And one that comes behind the capture says that the points were taken."""
    first, other = house.crowd(2)
    for _ in range(rounds):
        sale, key = await captured(house), uuid4().hex
        await cut_off(house, sale, Cut.BEFORE, key)
        release = sale.path.replace("capture", "release")
        given = await other.post(release, {}, idempotency_key=uuid4().hex)
        assert (given.json["state"], given.json["released"]) == ("released", 300)
        late = await first.post(sale.path, {}, idempotency_key=key)
        assert (late.status, late.json["code"]) == (409, "hold_released")
        assert await available(house, sale.member) == 500

        sale = await captured(house)
        await lost(house, sale)
        given = await other.post(sale.path.replace("capture", "release"), {}, idempotency_key=uuid4().hex)
        assert (given.status, given.json["state"], given.json["released"]) == (200, "captured", 0)
        assert await available(house, sale.member) == 200
    await house.whole()
