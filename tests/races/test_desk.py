"""What is done by hand, by many at once over two processes: one proposal is decided once, points that go round stay."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.conftest import Database
from tests.races.house import JSON, SIZE, House, adjustment, opened, told

ROUNDS = pytest.mark.parametrize("rounds", [2, pytest.param(20 * SIZE, marks=pytest.mark.proof)])
MANY_ROUNDS = pytest.mark.parametrize("rounds", [2, pytest.param(75 * SIZE, marks=pytest.mark.proof)])


@pytest.fixture(scope="module")
async def house(database: Database, redis_url: str) -> AsyncIterator[House]:
    async with opened(database.app_url, database.superuser_url, redis_url) as house:
        yield house


def gift(giver: str, taker: str, points: int) -> JSON:
    return {"from": {"id": giver}, "to": {"id": taker}, "points_currency": "points", "points": points}


async def total(house: House, members: list[str]) -> int:
    (client,) = house.crowd(1)
    read = [(await client.get(f"/v1/members/{member}/balances")).json["balances"][0] for member in members]
    return sum(balance["available"] for balance in read)


@ROUNDS
async def test_a_proposal_that_sixty_people_approve_and_reject_at_once_is_decided_by_one(
    house: House, rounds: int
) -> None:
    crowd = house.crowd(60, await house.people(30))
    async for _ in house.rounds(rounds):
        member = await house.member()
        proposal = await house.ask("/v1/adjustments", adjustment(member, 6_000))
        assert proposal.status == 202
        at = f"/v1/adjustments/{proposal.json['id']}"
        paths = [f"{at}/reject" if n % 3 == 2 else f"{at}/approve" for n in range(60)]
        replies = await house.together(crowd, paths, [{}] * 60, [uuid4().hex for _ in crowd])
        assert told(replies) == {(200, "done"): 1, (409, "proposal_decided"): 59}
        (done,) = [reply.json["state"] for reply in replies if reply.status == 200]
        assert {reply.json["state"] for reply in replies if reply.status == 409} == {done}
        assert await total(house, [member]) == (6_000 if done == "approved" else 0)
    await house.whole()


@ROUNDS
async def test_whoever_proposed_it_is_refused_among_those_who_decide(house: House, rounds: int) -> None:
    mine, other = await house.people(2)
    async for _ in house.rounds(rounds):
        (maker,) = house.crowd(1, [mine])
        member = await house.member()
        proposal = await maker.post("/v1/adjustments", adjustment(member, 6_000), idempotency_key=uuid4().hex)
        crowd = house.crowd(40, [mine, mine, mine, mine, other])
        paths = [f"/v1/adjustments/{proposal.json['id']}/approve"] * 40
        replies = await house.together(crowd, paths, [{}] * 40, [uuid4().hex for _ in crowd])
        assert told(replies) == {
            (403, "own_proposal"): 32,
            (200, "done"): 1,
            (409, "proposal_decided"): 7,
        }
    await house.whole()


@MANY_ROUNDS
async def test_two_who_give_to_each_other_lose_nothing_and_wait_for_nobody_for_ever(
    house: House, rounds: int
) -> None:
    crowd = house.crowd(64)
    async for _ in house.rounds(rounds):
        ann, bob = await house.member(300), await house.member(300)
        bodies = [gift(*((ann, bob) if n % 4 < 2 else (bob, ann)), 5 + n % 7) for n in range(64)]
        replies = await house.together(crowd, "/v1/transfers", bodies, [uuid4().hex for _ in crowd])
        outcomes = told(replies)
        assert set(outcomes) <= {(201, "done"), (409, "insufficient_points")}
        assert outcomes[201, "done"] > 10
        assert await total(house, [ann, bob]) == 600
    await house.whole()


@MANY_ROUNDS
async def test_in_rings_of_five_the_sum_stays(house: House, rounds: int) -> None:
    crowd = house.crowd(75)
    async for _ in house.rounds(rounds):
        ring = [await house.member(50) for _ in range(5)]
        bodies = [gift(ring[n % 5], ring[(n + 1 + n // 5 % 2) % 5], 20) for n in range(75)]
        replies = await house.together(crowd, "/v1/transfers", bodies, [uuid4().hex for _ in crowd])
        outcomes = told(replies)
        assert set(outcomes) <= {(201, "done"), (409, "insufficient_points")}
        assert outcomes[201, "done"] > 10
        assert await total(house, ring) == 250
    await house.whole()


@ROUNDS
async def test_a_freeze_and_a_hundred_debits_never_pass_each_other(house: House, rounds: int) -> None:
    """What was taken was taken before the freeze: afterwards the account gives nothing more."""
    crowd = house.crowd(101)
    async for _ in house.rounds(rounds):
        member = await house.member(500)
        freeze = f"/v1/members/{member}/accounts/points/freeze"
        paths = ["/v1/adjustments"] * 50 + [freeze] + ["/v1/adjustments"] * 50
        bodies = [adjustment(member, -1)] * 50 + [{"reason": "stolen_card"}] + [adjustment(member, -1)] * 50
        replies = await house.together(crowd, paths, bodies, [uuid4().hex for _ in crowd])
        assert replies[50].status == 200
        taken = sum(reply.status == 201 for reply in replies)
        assert {code for status, code in told(replies) if status == 409} <= {"account_frozen"}
        assert await total(house, [member]) == 500 - taken
    await house.whole()
