"""A program that can be called: the real application over the real database, a key for every role."""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec

from loyalty.access.roles import Role
from loyalty.access.service import create_client, create_key, create_staff, issue_staff_token
from loyalty.access.types import operator
from loyalty.base.clock import random62
from loyalty.base.database import transaction
from loyalty.base.ids import Ids
from loyalty.base.settings import Settings
from loyalty.embedded.system import free_port
from loyalty.jobs.runs import execute, waiting_runs
from loyalty.jobs.works import WORKS
from loyalty.posting.commands import Actor, AdvanceClock, Publish, Submission
from loyalty.posting.configuration import Configuration
from loyalty.posting.runtime import Runtime, open_runtime
from loyalty.programs.service import create_program
from loyalty.programs.types import ProgramKind
from loyalty.web.app import make_app
from loyalty.web.guard import Guard
from loyalty.web.serve import listen
from loyalty.web.server import make_server
from tests.conftest import HOME, Database
from tests.races.client import Client, Reply

JSON = dict[str, Any]

CONFIGURATION: JSON = {
    "settings": {
        "name": "Corner shop",
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
            "phone_region": "AT",
            "unknown_external": "guest",
            "unknown_phone": "enrol",
            "adjustments": {"approval_above": 1_000_000},
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
            }
        ],
    },
}


@dataclass
class Shop:
    """One program and the credentials of everybody in it."""

    program_id: UUID
    client_id: UUID
    keys: dict[
        str, str
    ]  # by role, and `till` (bound to store-12 and Café), and of people: `staff` (support), `chief` (manager)
    members: list[UUID] = field(default_factory=list)


@dataclass
class World:
    """A served application with two programs that must not know of each other."""

    port: int
    app: Guard
    runtime: Runtime
    shop: Shop
    other: Shop
    log: list[str]
    end: Callable[[], None]  # as SIGTERM does

    clients: list[Client] = field(default_factory=list)

    def client(self, who: str = "admin", shop: Shop | None = None) -> Client:
        """A connection with the credential of a role of `shop`; `nobody` has none."""
        return self.with_key((shop or self.shop).keys.get(who, ""))

    def with_key(self, key: str) -> Client:
        """A connection with this very credential."""
        self.clients.append(Client(self.port, key))
        return self.clients[-1]

    async def raw(self, data: bytes, *, within_s: float = 5.0) -> bytes:
        """Everything that comes back for these very bytes until the server closes the connection.

        A server that answers and closes while more is being sent resets what is under way: what came before that
        stands, and is read whether or not all could be sent.
        """
        loop, parts = asyncio.get_running_loop(), list[bytes]()

        async def send(to: socket.socket) -> None:
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(to, data)

        with socket.socket() as connection:
            connection.setblocking(False)
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
                await loop.sock_connect(connection, ("127.0.0.1", self.port))
                sending = group.create_task(send(connection))
                with contextlib.suppress(ConnectionResetError):
                    while part := await loop.sock_recv(connection, 65_536):
                        parts.append(part)
                sending.cancel()
        return b"".join(parts)

    async def hang_up(self) -> None:
        """Close every connection that was opened."""
        while self.clients:
            await self.clients.pop().close()


@asynccontextmanager
async def opened(database: Database, **settings: Any) -> AsyncIterator[World]:
    """The application on a port of its own, with the programs made."""
    runtimes: list[Runtime] = []

    @asynccontextmanager
    async def open_and_show(given: Settings) -> AsyncIterator[Runtime]:
        async with open_runtime(given) as runtime:
            runtimes.append(runtime)
            yield runtime

    wanted = Settings(
        environment="test",
        home=Path(os.environ[HOME]),
        port=free_port(),
        database_url=database.app_url,
        secret_key=bytes(range(32)),
        **settings,
    )
    log: list[str] = []
    app = make_app(wanted, runtime=open_and_show, write_log=log.append)
    server = make_server(app, wanted)
    serving = asyncio.create_task(server.serve(sockets=[listen(wanted)]))
    while not server.started:
        assert not serving.done(), serving.result()
        await asyncio.sleep(0.01)

    def end() -> None:
        server.should_exit = True

    try:
        (runtime,) = runtimes
        yield World(wanted.port, app, runtime, await new_shop(runtime), await new_shop(runtime), log, end)
    finally:
        end()
        await serving


async def clock_at(runtime: Runtime, shop: "Shop", at: datetime) -> None:
    """A sandbox's clock stands at an instant, and nobody has settled what fell due on the way."""
    actor = Actor("operator", uuid4(), "admin")
    answer = await runtime.pipe.submit(Submission(shop.program_id, AdvanceClock(at), actor, "clock"))
    assert answer.status == 200, answer.body


async def long_work(runtime: Runtime) -> None:
    """Do what a worker would: every run that waits."""
    for waiting in await waiting_runs(runtime):
        await execute(runtime, waiting.program_id, waiting.id, WORKS)


async def new_shop(
    runtime: Runtime, configuration: JSON = CONFIGURATION, *, clock_at: datetime | None = None
) -> Shop:
    """A program with its first configuration and a key for every role; a sandbox when `clock_at` is given."""
    program_id, now = uuid4(), runtime.clock.now()
    kind = ProgramKind.LIVE if clock_at is None else ProgramKind.SANDBOX
    await create_program(runtime.engine, program_id, kind, runtime.settings.cells, now, clock_at)
    publish = Publish(msgspec.convert(configuration, Configuration))
    answer = await runtime.pipe.submit(
        Submission(program_id, publish, Actor("operator", uuid4(), "admin"), "setup")
    )
    assert answer.status == 201, answer.body
    by, ids = operator(program_id), Ids(runtime.clock.now_ms, random62)
    made: dict[str, Any] = {"at": now, "ids": ids}
    keys: dict[str, str] = {}
    async with transaction(runtime.engine, program_id) as connection:
        client = await create_client(connection, by, "shop", **made)
        for role in Role:
            _, keys[role.value] = await create_key(
                connection, by, client.id, role, random=secrets.token_bytes(32), **made
            )
        _, keys["till"] = await create_key(
            connection,
            by,
            client.id,
            Role.POS,
            random=secrets.token_bytes(32),
            locations=("store-12", "Café"),
            **made,
        )
        for key, name, role in (("staff", "Ida", Role.SUPPORT), ("chief", "Max", Role.MANAGER)):
            person = await create_staff(connection, by, name, role, **made)
            _, keys[key] = await issue_staff_token(
                connection,
                by,
                person.id,
                expires_at=now + timedelta(days=1),
                random=secrets.token_bytes(32),
                **made,
            )
    return Shop(program_id, client.id, keys)


def receipt(external_id: str | None = None, **more: Any) -> JSON:
    """A purchase of two lines over 14.23 by nobody, made a minute ago."""
    body: JSON = {
        "source": "store-12-pos",
        "external_id": external_id or uuid4().hex,
        "occurred_at": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
        "money": "EUR",
        "location": "store-12",
        "lines": [
            {
                "line_id": "1",
                "sku": "COF-500",
                "categories": ["coffee"],
                "quantity": "2",
                "amount_minor": 1398,
            },
            {"line_id": "2", "sku": "BAG", "amount_minor": 25},
        ],
    }
    return {key: value for key, value in (body | more).items() if value is not None}


async def enrol(client: Client, card: str | None = None) -> str:
    """A new member with a card; its id."""
    card = card or str(uuid4().int)[:12]
    body = {"identifiers": [{"kind": "card", "value": card}]}
    answer = await client.post("/v1/members", body, idempotency_key=uuid4().hex)
    assert answer.status == 201, answer.body
    return answer.json["id"]


def parsed(answer: bytes) -> Reply:
    """The first answer in some raw bytes, its body as far as declared."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])
    }
    return Reply(int(lines[0].split()[1]), headers, rest[: int(headers.get("content-length", "0"))])
