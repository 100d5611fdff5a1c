"""Two API processes over one database, as a small production runs them, and a crowd of clients in front."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from loyalty.access.roles import Role
from loyalty.base.settings import load_settings
from loyalty.ledger.verify import Report, verify
from loyalty.operating.desk import open_desk
from loyalty.posting.configuration import Configuration
from loyalty.programs.types import ProgramKind
from tests.conftest import HOME
from tests.kills.api import SECRET, Api
from tests.laws import checks
from tests.races.client import Client, Reply
from tests.words import proof_size

JSON = dict[str, Any]
SIZE = proof_size()
SERVED_S = 60.0

CONFIGURATION: JSON = {
    "settings": {
        "name": "Crowded shop",
        "zone": "Europe/Vienna",
        "money": "EUR",
        "points_currencies": [
            {
                "code": "points",
                "name": "points",
                "expiry": {"kind": "rolling", "months": 12},
                "pay": {"points": 1, "each_minor": 1},
            }
        ],
        "policies": {
            "adjustments": {"approval_above": 5_000},
            "transfers": {"enabled": True},
            "spending_pin": {"above": 4_700, "roles": ["admin"], "attempts": 3},
        },
    },
    "ruleset": {
        "version": 1,
        "rules": [
            {
                "id": "base",
                "name": "for the basket",
                "points_currency": "points",
                "gives": {"kind": "per_spend", "points": 1, "each_minor": 100},
                "member_cap": {"points": 100_000, "period": "day"},
            }
        ],
    },
    "rewards": [
        {
            "id": "mug",
            "name": "Coffee mug",
            "kind": "product",
            "points_currency": "points",
            "points": 50,
            "stocked": True,
        },
        {"id": "bag", "name": "Bag", "kind": "product", "points_currency": "points", "points": 500},
    ],
}


@dataclass
class House:
    """One program served by several processes."""

    app_url: str
    superuser_url: str
    program: UUID
    key: str
    apis: list[Api]
    environ: dict[str, str] = field(default_factory=dict[str, str])  # of the processes
    contended: int = 0  # crowds in which one process waited for the head that the other held
    _open: list[Client] = field(default_factory=list)

    def crowd(self, size: int, keys: Sequence[str] = ()) -> list[Client]:
        """Clients that spread evenly over the processes, with the house's key or in turn with some credentials."""
        held = keys or (self.key,)
        made = [
            Client(self.apis[n % len(self.apis)].port, held[n // len(self.apis) % len(held)])
            for n in range(size)
        ]
        self._open += made
        return made

    async def ask(self, path: str, body: JSON, key: str | None = None) -> Reply:
        """One call by itself."""
        (client,) = self.crowd(1)
        return await client.post(path, body, idempotency_key=key or uuid4().hex)

    async def rounds(self, contended: int) -> AsyncIterator[int]:
        """Rounds until so many crowds of them really contended."""
        wanted = self.contended + contended
        for n in range(30 * contended):
            if self.contended >= wanted:
                return
            yield n
        raise AssertionError(f"only {self.contended} of {30 * contended} crowds contended: the test is void")

    async def together(
        self, crowd: Sequence[Client], path: str | Sequence[str], bodies: Sequence[JSON], keys: Sequence[str]
    ) -> list[Reply]:
        """The answers of calls that all clients send at one moment, evenly over the processes.

        Who is told to come again, as on a machine that others use too, does so under the same key, as tills do.
        """
        opened = await asyncio.gather(*(client.get("/health/live") for client in crowd))
        assert all(reply.status == 200 for reply in opened)
        paths = [path] * len(crowd) if isinstance(path, str) else path
        calls = zip(crowd, paths, bodies, keys, strict=True)
        watch = asyncio.create_task(self._watch())
        async with asyncio.timeout(SERVED_S):
            replies = await asyncio.gather(*(served(*call) for call in calls))
        watch.cancel()
        self.contended += await asyncio.gather(watch, return_exceptions=True) == [True]
        return replies

    async def _watch(self) -> bool:
        """True once a connection of the road waits for a lock."""
        waiting = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM heads%'
            """
        link = await asyncpg.connect(self.superuser_url)
        try:
            while not await link.fetchval(waiting):
                await asyncio.sleep(0.001)
            return True
        finally:
            await link.close()

    async def people(self, number: int) -> list[str]:
        """Tokens of so many managers."""
        async with open_desk(load_settings(self.environ)) as desk:
            staff = [await desk.add_staff(self.program, f"M{n}", Role.MANAGER) for n in range(number)]
            return [(await desk.issue_token(self.program, one.id, timedelta(days=1)))[1] for one in staff]

    async def member(self, points: int = 0) -> str:
        """The id of a new member with a balance."""
        body = {"identifiers": [{"kind": "external", "value": uuid4().hex}]}
        id: str = (await self.ask("/v1/members", body)).json["id"]
        if points:
            assert (await self.ask("/v1/adjustments", adjustment(id, points))).status == 201
        return id

    async def whole(self) -> Report:
        """All invariants hold and the auditor finds nothing: the auditor's report."""
        link = await asyncpg.connect(self.superuser_url)
        try:
            # The planner knows nothing of tables so new.
            await link.execute("SET enable_nestloop = off; SET enable_mergejoin = off")
            assert await checks.broken(link) == {}
        finally:
            await link.close()
        async with asyncpg.create_pool(self.app_url, min_size=1, max_size=1) as pool:
            report = await verify(pool.acquire, self.program)
        assert report.intact, report.findings
        return report

    async def hang_up(self) -> None:
        while self._open:
            await self._open.pop().close()


def environ(app_url: str, redis_url: str, **more: str) -> dict[str, str]:
    """The environment of a process that serves from this database."""
    return {
        "LOYALTY_ENVIRONMENT": "test",
        "LOYALTY_HOME": os.environ[HOME],
        "LOYALTY_DATABASE_URL": app_url,
        "LOYALTY_REDIS_URL": redis_url,
        "LOYALTY_SECRET_KEY": SECRET,
    } | more


async def open_program(
    app_url: str, redis_url: str, configuration: JSON = CONFIGURATION, **more: str
) -> tuple[UUID, str]:
    """A new live program, made as an operator makes it: its id and the key of an administrator."""
    async with open_desk(load_settings(environ(app_url, redis_url, **more))) as desk:
        published = msgspec.convert(configuration, Configuration)
        program = await desk.create_program(ProgramKind.LIVE, published)
        client = await desk.client(program, "crowd")
        _, key = await desk.create_key(program, client, Role.ADMIN)
    return program, key


@asynccontextmanager
async def opened(
    app_url: str, superuser_url: str, redis_url: str, *, processes: int = 2, **more: str
) -> AsyncIterator[House]:
    """A house whose processes run for the length of a block."""
    program, key = await open_program(app_url, redis_url, CONFIGURATION, **more)
    apis = [Api(environ(app_url, redis_url, **more)) for _ in range(processes)]
    house = House(app_url, superuser_url, program, key, apis, environ(app_url, redis_url, **more))
    try:
        await asyncio.gather(*(api.start() for api in apis))
        yield house
    finally:
        await house.hang_up()
        await asyncio.gather(*(api.stop() for api in apis))


def adjustment(member: str, points: int) -> JSON:
    return {"member": {"id": member}, "points_currency": "points", "points": points, "reason": "goodwill"}


def wish(member: str, reward: str) -> JSON:
    return {"member": {"id": member}, "reward": reward}


def payment(member: str, points: int) -> JSON:
    return {"member": {"id": member}, "points_currency": "points", "points": points}


def purchase(member: str | None, external_id: str | None = None, amount_minor: int = 1_000) -> JSON:
    """A purchase of one line, made a minute ago."""
    return {
        "source": "till-1",
        "external_id": external_id or uuid4().hex,
        "occurred_at": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
        "money": "EUR",
        "lines": [{"line_id": "1", "sku": "A", "amount_minor": amount_minor}],
    } | ({} if member is None else {"member": {"id": member}})


def give_back(of: JSON, lines: dict[str, str]) -> JSON:
    """Lines of a purchase, with their quantities, go back now."""
    return {
        "source": "till-1",
        "external_id": uuid4().hex,
        "occurred_at": datetime.now(UTC).isoformat(),
        "of": {"source": of["source"], "external_id": of["external_id"]},
        "lines": [{"line_id": id, "quantity": quantity} for id, quantity in lines.items()],
    }


def told(replies: Sequence[Reply]) -> Counter[tuple[int, str]]:
    """How often each status and code was answered; a replay counts apart."""
    return Counter(
        (reply.status, "replayed" if reply.replayed else reply.json.get("code", "done")) for reply in replies
    )


async def served(client: Client, path: str, body: JSON, key: str) -> Reply:
    """The first answer that is not to come again."""
    while (reply := await client.post(path, body, idempotency_key=key)).status == 503:
        await asyncio.sleep(0.1)
    return reply
