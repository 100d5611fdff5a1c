"""Our own contender without HTTP: one process, so many submitters, each waiting for its answer before the next."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import uvloop

from bench.cluster import Cluster
from bench.sample import Sample, Stretch, sampled
from bench.world import BEFORE, CLIENT, LINES, MEMBERS, PROGRAM, SOURCE, card, file, only_member
from loyalty.base.collector import settle_collector
from loyalty.base.settings import Settings
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.posting.commands import (
    Actor,
    Answer,
    Enrol,
    Idempotency,
    MemberRef,
    Publish,
    PurchaseLine,
    RecordPurchase,
    Submission,
)
from loyalty.posting.configuration import Configuration
from loyalty.posting.runtime import Runtime, open_runtime
from loyalty.programs.service import create_program
from loyalty.programs.types import ProgramKind

SUBMITTERS = 128
TILL = Actor("client", CLIENT, "pos")
OPERATOR = Actor("operator", CLIENT, "admin")
PURCHASE_LINES = tuple(
    PurchaseLine(
        line_id=line["line_id"],
        sku=line["sku"],
        quantity_milli=round(float(line["quantity"]) * 1000),
        amount_minor=line["amount_minor"],
        categories=tuple(line["categories"]),
        tags=tuple(line.get("tags", ())),
    )
    for line in LINES
)
T = TypeVar("T")
Submit = Callable[[Submission], Coroutine[Any, Any, Answer]]


class PipeBroken(Exception):
    """A purchase of the bench was not recorded, or left other rows than it should."""


@dataclass
class Pipe:
    """Our road on a cluster: prepared once, then opened anew for each stretch."""

    cluster: Cluster
    at: datetime
    members: int = MEMBERS
    recorded: int = 0
    program_id: UUID = PROGRAM
    before: int = BEFORE  # purchases of each member before anything is measured
    hot: int = 0  # purchases so far that were all on one account

    def prepare(self) -> None:
        """Make the program, publish the fixed rules, enrol the members and let each buy a few times."""
        on_loop(self._prepare())

    def run(self, submitters: int, stretch: Stretch, *, hot: bool = False) -> Sample:
        """One stretch: `submitters` at a time, over all members or all on one."""
        make = Purchases(self.at, self.members, self.program_id, hot=self.hot if hot else None)
        sample, made = on_loop(self._stretch(submitters, stretch, make))
        self.recorded += made
        self.hot += made if hot else 0
        return sample

    async def _prepare(self) -> None:
        async with self.opened() as runtime:
            await create_program(runtime.engine, self.program_id, ProgramKind.LIVE, 1, self.at)
            configuration = msgspec.convert(
                {"settings": file()["settings"], "ruleset": file()["ruleset"]}, Configuration, strict=False
            )
            submit = runtime.pipe.submit
            await done(submit, Publish(configuration), OPERATOR, self.program_id)
            make = Purchases(self.at, self.members, self.program_id)
            for first in range(0, self.members, SUBMITTERS):
                part = range(first, min(first + SUBMITTERS, self.members))
                people = [Enrol((Identifier(IdentifierKind.CARD, card(number)),)) for number in part]
                await asyncio.gather(*(done(submit, one, OPERATOR, self.program_id) for one in people))
                for _ in range(self.before):
                    await asyncio.gather(*(recorded(submit, make.of(number)) for number in part))
            self.recorded += self.before * self.members

    async def _stretch(self, submitters: int, stretch: Stretch, make: "Purchases") -> tuple[Sample, int]:
        async with self.opened() as runtime:
            warm = await _drive(runtime.pipe.submit, make, submitters, stretch.warm_s)
            postgres, own = self.cluster.cpu_us(), time.process_time()
            started = time.perf_counter()
            latencies = await _drive(runtime.pipe.submit, make, submitters, stretch.seconds)
            elapsed = time.perf_counter() - started
            cpu = {
                "python": (time.process_time() - own) * 1e6 / len(latencies),
                "postgres": (self.cluster.cpu_us() - postgres) / len(latencies),
            }
        return sampled(latencies, elapsed, cpu), len(warm) + len(latencies)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Runtime]:
        """The road with its few connections, as a server process has it."""
        settings = Settings(
            environment="test",
            home=self.cluster.home,
            database_url=self.cluster.servers.database_url,
            redis_url=self.cluster.servers.redis_url,
            secret_key=bytes(range(32)),
        )
        settle_collector()
        async with open_runtime(settings) as runtime:
            yield runtime


class Purchases:
    """Submissions of the bench's basket, each a receipt of its own; `hot` many went before, all on one account."""

    def __init__(
        self, at: datetime, members: int, program_id: UUID = PROGRAM, *, hot: int | None = None
    ) -> None:
        self._hot = hot
        self._at = at
        self._program_id = program_id
        self._members = members
        self._random = random.Random(members)
        self._run = secrets.token_hex(4)
        self._number = 0

    def next(self) -> Submission:
        if self._hot is None:
            return self.of(self._random.randrange(self._members))
        return self.of(only_member(self._hot + self._number, self._members))

    def of(self, member: int) -> Submission:
        """The next purchase of member `member`."""
        self._number += 1
        command = RecordPurchase(
            source=SOURCE,
            external_id=f"R-{self._run}-{self._number:010d}",
            occurred_at=self._at,
            money="EUR",
            lines=PURCHASE_LINES,
            member=MemberRef(identifier=Identifier(IdentifierKind.CARD, card(member))),
            till="17",
            location="store-12",
            channel="pos",
            content_digests=(secrets.token_bytes(32),),
        )
        key = secrets.token_hex(16)
        return Submission(
            program_id=self._program_id,
            command=command,
            actor=TILL,
            request_id=key,
            idempotency=Idempotency(key, TILL.id, command.content_digests),
            size=1_000,
        )


async def _drive(submit: Submit, make: Purchases, submitters: int, seconds: float) -> list[float]:
    """Latencies in microseconds of all purchases that `submitters` did one after the other for `seconds`."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def one() -> None:
        while (started := time.perf_counter()) < end:
            await recorded(submit, make.next())
            latencies.append((time.perf_counter() - started) * 1e6)

    await asyncio.gather(*(one() for _ in range(submitters)))
    return latencies


async def recorded(submit: Submit, submission: Submission) -> None:
    answer = await submit(submission)
    if answer.status != 201:
        raise PipeBroken(f"a purchase was answered {answer.status}: {answer.body[:500]!r}")


async def done(submit: Submit, command: Publish | Enrol, actor: Actor, program_id: UUID = PROGRAM) -> None:
    answer = await submit(Submission(program_id, command, actor, "bench"))
    if answer.status not in (200, 201):
        raise PipeBroken(f"{type(command).__name__} was answered {answer.status}: {answer.body[:500]!r}")


def on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the kind of loop that servers use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
