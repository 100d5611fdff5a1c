"""A shop in front of the real pipe: commands in their public form, sent without HTTP, each under its own key."""

import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec

from loyalty.base.clock import Clock
from loyalty.base.settings import Settings
from loyalty.posting.commands import Actor, Answer, Command, Idempotency, Publish, Submission
from loyalty.posting.configuration import Configuration
from loyalty.posting.runtime import Runtime, open_runtime
from loyalty.programs.service import create_program
from loyalty.programs.types import ProgramKind
from tests.conftest import HOME, Database

JSON = dict[str, Any]


def settings(database: Database, **more: Any) -> Settings:
    """Settings of a process that serves from `database`."""
    return Settings(
        environment="test",
        home=Path(os.environ[HOME]),
        database_url=database.app_url,
        secret_key=bytes(range(32)),
        **more,
    )


@contextlib.asynccontextmanager
async def serving(database: Database, *, clock: Clock | None = None, **more: Any) -> AsyncIterator[Runtime]:
    """The real runtime over `database`."""
    async with open_runtime(settings(database, **more), clock=clock) as runtime:
        yield runtime


def digest(*parts: Any) -> bytes:
    """A digest of contents, as the edge makes them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()


@dataclass
class Shop:
    """One program and the client that sends its commands."""

    runtime: Runtime
    program: UUID
    client: UUID = field(default_factory=uuid4)

    async def send(self, command: Command, key: str | None = None, **more: Any) -> Answer:
        """The answer of one command under `key`, or a key of its own."""
        return await self.runtime.pipe.submit(self.submission(command, key, **more))

    def submission(
        self,
        command: Command,
        key: str | None = None,
        *,
        kind: str = "client",
        scope: UUID | None = None,
        role: str = "admin",
    ) -> Submission:
        """What the edge would hand to the pipe."""
        told = Idempotency(key or uuid4().hex, scope or self.client, (digest(msgspec.to_builtins(command)),))
        actor = Actor(kind, scope or self.client, role)
        return Submission(self.program, command, actor, uuid4().hex, told)


async def open_shop(runtime: Runtime, configuration: JSON, clock_at: datetime | None = None) -> Shop:
    """A new program with its first configuration; a sandbox whose clock stands at `clock_at` when that is given."""
    kind = ProgramKind.LIVE if clock_at is None else ProgramKind.SANDBOX
    now = runtime.clock.now()
    program = await create_program(runtime.engine, uuid4(), kind, runtime.settings.cells, now, clock_at)
    shop = Shop(runtime, program.id)
    answer = await shop.send(Publish(msgspec.convert(configuration, Configuration)))
    assert answer.status == 201, answer
    return shop
