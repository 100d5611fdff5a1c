"""SIGKILL of the API under load: whatever was acknowledged is there, once; whatever was not can be asked again.

Clients retry under the same key until they are answered, as tills do. A run counts only on a cluster that keeps
commits over a crash, with commands in flight at the kills and outcomes that nobody knew; else it is void.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from loyalty.embedded import Servers
from tests.kills.api import Api
from tests.kills.cluster import demand_durability, durable
from tests.kills.crowd import CLIENTS, MEMBERS, OPENING, Crowd, nothing_lost
from tests.races.house import House, environ, open_program
from tests.words import proof_seed


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    with durable() as servers:
        yield servers


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.proof)])
async def test_nothing_acknowledged_is_lost_and_nothing_is_doubled(servers: Servers, kills: int) -> None:
    print(f"\n{await demand_durability(servers.superuser_url)}")
    seed = proof_seed()
    print(f"seed {seed}")
    chance = random.Random(seed)
    program, key = await open_program(servers.database_url, servers.redis_url)
    api = Api(environ(servers.database_url, servers.redis_url))
    house = House(servers.database_url, servers.superuser_url, program, key, [api])
    clients: list[asyncio.Task[None]] = []
    at_kills: list[int] = []
    try:
        await api.start()
        crowd = Crowd(house, [await house.member(OPENING) for _ in range(MEMBERS)], chance)
        clients += [asyncio.create_task(crowd.client(api.port)) for _ in range(CLIENTS)]
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.3, 1.2))
            at_kills.append(await crowd.busy())
            api.kill()
            await api.start()
        await asyncio.sleep(0.3)
        crowd.closing = True
        await asyncio.wait_for(asyncio.gather(*clients), 60)
        await nothing_lost(crowd)
    finally:
        for client in clients:
            client.cancel()
        await house.hang_up()
        await api.stop()
    report = await house.whole()
    told = Counter(call.reply.status for call in crowd.calls if call.reply is not None)
    print(
        f"{kills} kills, {sorted(at_kills)} in flight at them, {crowd.unknown} unknown outcomes; {len(crowd.calls)}"
        f" commands answered {dict(told)}; {report.figures.entries} entries whole"
    )
    assert crowd.unknown >= min(20, 10 * kills), "void: too few outcomes were unknown"
