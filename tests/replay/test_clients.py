"""Posting receipts: in order, once, patiently, and counted; against a server that the test scripts."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from loyalty.replay.clients import Clients
from loyalty.replay.connection import Connection
from loyalty.replay.tally import Tally
from loyalty.replay.types import Line, Receipt, ReplayError
from tests.replay.outside import Request, Say, serving

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
RECORDED = Say(201)
REPLAYED = Say(200, headers={"Idempotent-Replayed": "true"})


def receipt(number: int, member: str | None = None) -> Receipt:
    return Receipt(
        source="shop",
        external_id=f"R-{number}",
        occurred_at=NOON + timedelta(seconds=number),
        money="USD",
        lines=(Line("1", "A", "1", 100),),
        member=None if member is None else {"card": member},
    )


def receipts(count: int, members: int) -> Iterator[Receipt]:
    return (receipt(number, f"m{number % members}") for number in range(count))


def problem(status: int, code: str, *, retryable: bool = False) -> Say:
    return Say(status, {"code": code, "detail": "No.", "retryable": retryable})


async def test_the_receipts_of_a_member_arrive_in_their_order_on_one_connection() -> None:
    async with serving(lambda _: RECORDED) as (address, seen):
        with Clients(address, "lk_key", 4) as clients:
            await clients.post(receipts(400, members=20))
    by_member: dict[str, list[Request]] = {}
    for request in seen:
        by_member.setdefault(request.body["member"]["card"], []).append(request)
    assert len(by_member) == 20
    for mine in by_member.values():
        times = [request.body["occurred_at"] for request in mine]
        assert times == sorted(times)
        assert len({request.connection for request in mine}) == 1
    assert len({request.connection for request in seen}) == 4


async def test_every_receipt_has_a_key_of_its_own_and_the_same_one_next_time() -> None:
    async with serving(lambda _: RECORDED) as (address, seen):
        for _ in range(2):
            with Clients(address, "lk_key", 2) as clients:
                await clients.post(receipts(30, members=3))
    keys = Counter(request.key for request in seen)
    assert len(keys) == 30
    assert set(keys.values()) == {2}
    assert seen[0].headers["authorization"] == "Bearer lk_key"


async def test_a_lost_connection_and_a_busy_server_are_tried_again_under_the_same_key() -> None:
    tries: Counter[str] = Counter()

    def stumble(request: Request) -> Say | None:
        tries[request.key] += 1
        return {1: None, 2: problem(503, "busy"), 3: problem(409, "in_flight", retryable=True)}.get(
            tries[request.key], RECORDED
        )

    async with serving(stumble) as (address, _):
        with Clients(address, "lk_key", 2) as clients:
            await clients.post(receipts(4, members=2))
    assert clients.tally.recorded == 4
    assert clients.tally.retried == 12
    assert set(tries.values()) == {4}


async def test_outcomes_are_counted_apart() -> None:
    said = {
        "R-0": RECORDED,
        "R-1": REPLAYED,
        "R-2": problem(422, "too_old"),
        "R-3": problem(404, "member_not_found"),
        "R-4": problem(422, "too_old"),
    }
    async with serving(lambda request: said[request.body["external_id"]]) as (address, _):
        with Clients(address, "lk_key", 1) as clients:
            await clients.post(receipts(5, members=1))
    figures = clients.tally.figures(2.0)
    assert (figures.posted, figures.recorded, figures.replayed) == (5, 1, 1)
    assert figures.refused == {"too_old": 2, "member_not_found": 1}
    assert [(one.source, one.external_id, one.code, one.detail) for one in figures.first_refused] == [
        ("shop", "R-2", "too_old", "No."),
        ("shop", "R-3", "member_not_found", "No."),
        ("shop", "R-4", "too_old", "No."),
    ]
    assert figures.per_second == 2.5
    assert 0 < figures.p50_ms <= figures.p99_ms


async def test_of_many_refused_receipts_the_first_are_told() -> None:
    async with serving(lambda _: problem(422, "too_old")) as (address, _):
        with Clients(address, "lk_key", 1) as clients:
            await clients.post(receipts(9, members=1))
    figures = clients.tally.figures(1.0)
    assert figures.refused == {"too_old": 9}
    assert [one.external_id for one in figures.first_refused] == ["R-0", "R-1", "R-2", "R-3", "R-4"]


async def test_what_was_refused_before_is_tried_again_under_another_key() -> None:
    refused_again = Say(
        404, {"code": "member_not_found", "detail": "No."}, headers={"Idempotent-Replayed": "true"}
    )
    first = {
        "replay:shop:R-0": refused_again,
        "replay:shop:R-1": problem(422, "idempotency_key_reused"),
        "replay:shop:R-2": REPLAYED,
        "replay:shop:R-3": problem(422, "too_old"),
    }
    async with serving(lambda request: first.get(request.key, RECORDED)) as (address, seen):
        with Clients(address, "lk_key", 1) as clients:
            await clients.post(receipts(4, members=1))
    figures = clients.tally.figures(1.0)
    assert (figures.recorded, figures.replayed, figures.refused) == (2, 1, {"too_old": 1})
    assert len(seen) == 6
    assert [request.body["external_id"] for request in seen if request.key not in first] == ["R-0", "R-1"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (problem(401, "invalid_credential"), "401 invalid_credential"),
        (Say(422, {}), "no loyalty server"),
    ],
)
async def test_what_every_request_would_meet_stops_the_replay(answer: Say, told: str) -> None:
    async with serving(lambda _: answer) as (address, seen):
        with Clients(address, "lk_key", 2) as clients, pytest.raises(ReplayError, match=told):
            await clients.post(receipts(10_000, members=100))
    assert len(seen) < 100


async def test_patience_has_an_end_and_says_that_nothing_is_lost() -> None:
    with (
        Clients("http://127.0.0.1:9", "lk_key", 1, patience_s=0.2) as clients,
        pytest.raises(ReplayError, match="Nothing is lost"),
    ):
        await clients.post(receipts(1, members=1))


async def test_duplicates_come_from_another_client_half_of_them_under_another_key() -> None:
    async with serving(lambda _: RECORDED) as (address, seen):
        with Clients(address, "lk_key", 4) as clients:
            await clients.post(receipts(500, members=50), duplicates_seed=7, percent=20)
    copies: dict[str, list[Request]] = {}
    for request in seen:
        copies.setdefault(request.body["external_id"], []).append(request)
    twice = [pair for pair in copies.values() if len(pair) == 2]
    assert len(copies) == 500
    assert 60 <= len(twice) <= 140
    assert all(one.connection != other.connection for one, other in twice)
    assert all(one.body == other.body for one, other in twice)
    other_keys = sum(one.key != other.key for one, other in twice)
    assert 0.3 <= other_keys / len(twice) <= 0.7


async def test_a_connection_is_made_again_when_the_server_closed_it() -> None:
    answers = iter([Say(200, headers={"Connection": "close"}), Say(200), Say(200)])
    async with serving(lambda _: next(answers)) as (address, seen):
        connection = Connection(address, {})
        assert [(await connection.request("POST", "/", b"{}")).status for _ in range(3)] == [200] * 3
        connection.close()
    assert [request.connection for request in seen] == [1, 2, 2]


@pytest.mark.parametrize(
    "address", ["", "localhost:8080", "ftp://shop", "http://", "http://shop:http", "http://[::1"]
)
def test_what_is_no_address_is_said_at_once(address: str) -> None:
    with pytest.raises(ReplayError, match="no address"):
        Connection(address, {})


async def test_an_answer_that_does_not_come_is_a_timeout() -> None:
    waiting: list[asyncio.StreamWriter] = []

    async def silence(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.append(writer)

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            await Connection(f"http://127.0.0.1:{port}", {}, timeout_s=0.1).request("GET", "/")
        waiting[0].close()


def test_percentiles_are_within_two_per_cent() -> None:
    tally = Tally()
    for milliseconds in range(1, 1_001):
        tally.took(milliseconds / 1_000)
    assert tally.percentile_ms(0.5) == pytest.approx(500, rel=0.02)
    assert tally.percentile_ms(0.99) == pytest.approx(990, rel=0.02)
