"""SIGKILL of the API under load: whatever was acknowledged is there, once; whatever was not can be asked again.

Clients retry under the same key until they are answered, as tills do. A run counts only on a cluster that keeps
commits over a crash, with commands in flight at the kills and outcomes that nobody knew; else it is void.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from loyalty.embedded import Servers
from tests.kills.api import Api
from tests.kills.cluster import demand_durability, durable
from tests.races.client import Client, Reply, Unknown
from tests.races.house import JSON, House, adjustment, environ, open_program, purchase

CLIENTS = 48
MEMBERS = 12


@dataclass
class Call:
    """One command and the only answer it ever gets."""

    path: str
    body: JSON
    key: str
    reply: Reply | None = None


@dataclass
class Crowd:
    """Clients that send one command after the other, each until it is answered."""

    house: House
    members: list[str]
    chance: random.Random
    calls: list[Call] = field(default_factory=list)
    in_flight: int = 0
    unknown: int = 0
    closing: bool = False

    def next_call(self) -> Call:
        member = self.chance.choice(self.members)
        match self.chance.randrange(4):
            case 0:
                body, path = adjustment(member, self.chance.randint(1, 20)), "/v1/adjustments"
            case 1:
                body, path = adjustment(member, -self.chance.randint(1, 15)), "/v1/adjustments"
            case 2 if self.calls:
                # A receipt that is known or under way, under another key: the same purchase, or its cancel.
                told = self.chance.choice(self.calls).body
                if "lines" not in told:
                    return self.next_call()
                body, path = (
                    {"source": told["source"], "external_id": told["external_id"]},
                    "/v1/purchases/cancel",
                )
                if self.chance.random() < 0.7:
                    body, path = told, "/v1/purchases"
            case _:
                body, path = purchase(member, amount_minor=self.chance.randint(100, 5_000)), "/v1/purchases"
        self.calls.append(Call(path, body, uuid4().hex))
        return self.calls[-1]

    async def client(self, port: int) -> None:
        client = Client(port, self.house.key)
        while not self.closing:
            call = self.next_call()
            call.reply = await self.answered(client, call)
        await client.close()

    async def answered(self, client: Client, call: Call) -> Reply:
        """The first answer that is one."""
        while True:
            sent = False
            try:
                await client.get("/health/live")  # the connection stands: what is lost now was sent
                sent = True
                self.in_flight += 1
                try:
                    reply = await client.post(call.path, call.body, idempotency_key=call.key)
                finally:
                    self.in_flight -= 1
                if reply.status != 503:
                    return reply
            except (OSError, Unknown):
                self.unknown += sent
            await asyncio.sleep(self.chance.uniform(0.02, 0.1))


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    with durable() as servers:
        yield servers


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.proof)])
async def test_nothing_acknowledged_is_lost_and_nothing_is_doubled(servers: Servers, kills: int) -> None:
    print(f"\n{await demand_durability(servers.superuser_url)}")
    seed = int(os.environ.get("PROOF_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed {seed}")
    chance = random.Random(seed)
    program, key = await open_program(servers.database_url, servers.redis_url)
    api = Api(environ(servers.database_url, servers.redis_url))
    house = House(servers.database_url, servers.superuser_url, program, key, [api])
    await api.start()
    crowd = Crowd(house, [await house.member(50) for _ in range(MEMBERS)], chance)
    clients = [asyncio.create_task(crowd.client(api.port)) for _ in range(CLIENTS)]
    at_kills: list[int] = []
    try:
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.3, 1.2))
            at_kills.append(crowd.in_flight)
            api.kill()
            await api.start()
        await asyncio.sleep(0.3)
        crowd.closing = True
        await asyncio.wait_for(asyncio.gather(*clients), 60)
        await nothing_lost(crowd)
        await house.hang_up()
    finally:
        for client in clients:
            client.cancel()
        await api.stop()
    report = await house.whole()
    told = Counter(call.reply.status for call in crowd.calls if call.reply is not None)
    print(
        f"{kills} kills, {sorted(at_kills)} in flight at them, {crowd.unknown} unknown outcomes; {len(crowd.calls)}"
        f" commands answered {dict(told)}; {report.figures.entries} entries whole"
    )
    assert sum(n >= 10 for n in at_kills) * 2 > kills, "void: too little was in flight at the kills"
    assert crowd.unknown >= min(20, 10 * kills), "void: too few outcomes were unknown"


async def nothing_lost(crowd: Crowd) -> None:
    """Every answer is given again byte for byte, and the balances are what the answers say."""
    (client,) = crowd.house.crowd(1)
    expected = dict.fromkeys(crowd.members, 50)
    done: set[str] = set()
    for call in crowd.calls:
        reply = call.reply
        assert reply is not None
        again = await client.post(call.path, call.body, idempotency_key=call.key)
        assert (again.status, again.body, again.replayed) == (reply.status, reply.body, True)
        if reply.status >= 300 or reply.json["decision_id"] in done:
            continue
        done.add(reply.json["decision_id"])  # the same receipt again, or the same cancel
        if "points" in call.body:
            expected[call.body["member"]["id"]] += call.body["points"]
        elif reply.json["member_id"] is not None:
            earned = sum(one["points"] for one in reply.json.get("earned", ()))
            revoked = sum(one["points"] for one in reply.json.get("revoked", ()))
            expected[reply.json["member_id"]] += earned - revoked
    for member, points in expected.items():
        (balance,) = (await client.get(f"/v1/members/{member}/balances")).json["balances"]
        assert balance["available"] - balance["debt"] == points
