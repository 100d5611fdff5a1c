"""Many requests that arrive together: a few begin at a time, and no credential's flood keeps another waiting."""

import asyncio

from loyalty.web.server import AT_ONCE, Entrance
from tests.conftest import Database
from tests.web.world import opened, receipt

MANY = 10 * AT_ONCE


def called(credential: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", credential.encode())]


async def test_of_many_a_few_begin_before_the_loop_looks_around() -> None:
    entrance, begun = Entrance(), list[int]()
    for n in range(MANY):
        entrance.arrive(called("a"), lambda n=n: begun.append(n))
    looks = [len(begun)]
    while len(begun) < MANY:
        await asyncio.sleep(0)
        looks.append(len(begun))
    assert looks == [(n + 1) * AT_ONCE for n in range(10)]
    assert begun == list(range(MANY))


async def test_credentials_take_turns_and_who_has_none_has_a_turn_too() -> None:
    entrance, begun = Entrance(), list[str]()
    for credential, times in (("a", MANY), ("b", 3), ("c", 1)):
        for n in range(times):
            entrance.arrive(called(credential), lambda name=f"{credential}{n}": begun.append(name))
    entrance.arrive([(b"host", b"x")], lambda: begun.append("health"))
    while len(begun) < MANY + 5:
        await asyncio.sleep(0)
    first = begun[AT_ONCE : AT_ONCE + 9]
    assert [name.rstrip("0123456789") for name in first] == ["a", "b", "c", "health", "a", "b", "a", "b", "a"]
    assert sorted(begun) == sorted([*(f"a{n}" for n in range(MANY)), "b0", "b1", "b2", "c0", "health"])


async def test_a_flood_of_requests_is_not_answered_before_somebody_else_who_comes_after_it(
    database: Database,
) -> None:
    """All of them have arrived when the other request does; nothing of what they ask is at the database."""
    async with opened(database) as world:
        flood = [world.client("pos") for _ in range(400)]
        other = world.client("pos", world.other)
        for client in (*flood, other):
            await client.get("/health/live")
        assert (await other.post("/v1/quotes", receipt())).status == 200  # its credential is known
        assert (await flood[0].post("/v1/quotes", b"")).status == 400
        answered = 0

        async def ask(number: int) -> None:
            nonlocal answered
            assert (await flood[number].post("/v1/quotes", b"")).status == 400
            answered += 1

        asking = [asyncio.create_task(ask(number)) for number in range(len(flood))]
        await asyncio.sleep(0)  # all have sent
        assert (await other.post("/v1/quotes", b"")).status == 400
        before = answered
        await asyncio.gather(*asking)
        print(f"\n{before} of {len(flood)} were answered before the one who came last")
        assert before <= len(flood) // 2
        await world.hang_up()
