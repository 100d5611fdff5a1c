"""How long a sandbox program's clock takes for three years that its members live through: `python -m bench clock`."""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from bench.cluster import Cluster
from bench.pipe import OPERATOR, Pipe, Purchases, done, on_loop, recorded
from bench.sweeps import LADDER
from bench.world import card, file
from loyalty.base.clock import random62
from loyalty.base.ids import Ids
from loyalty.members.types import Identifier, IdentifierKind
from loyalty.operating.desk import Desk
from loyalty.posting.commands import Enrol
from loyalty.posting.configuration import Configuration
from loyalty.programs.types import ProgramKind

BEGINS = datetime(2026, 5, 4, 12, tzinfo=UTC)
ENDS = datetime(2029, 5, 4, 12, tzinfo=UTC)
PURCHASES = 20  # of each member, some every 18 days of the year before
EVERY = 18
POINTS: dict[str, Any] = {
    "code": "points",
    "name": "Points",
    "pending_days": 14,
    "expiry": {"kind": "rolling", "days": 365},
}


@dataclass
class Move:
    """A sandbox on a cluster, its clock moved once."""

    cluster: Cluster
    members: int = 1_000
    ends: datetime = ENDS
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    figures: dict[str, float] = field(default_factory=dict[str, float])

    def run(self) -> None:
        on_loop(self._run())

    async def _run(self) -> None:
        async with Pipe(self.cluster, BEGINS).opened() as runtime:
            desk = Desk(runtime, Ids(runtime.clock.now_ms, random62))
            configuration = {
                "settings": file()["settings"] | {"points_currencies": [POINTS]},
                "ruleset": file()["ruleset"],
                "tier_sets": [LADDER],
            }
            program_id = await desk.create_program(
                ProgramKind.SANDBOX, msgspec.convert(configuration, Configuration, strict=False), BEGINS
            )
            submit = runtime.pipe.submit
            people = [Enrol((Identifier(IdentifierKind.CARD, card(n)),)) for n in range(self.members)]
            await asyncio.gather(*(done(submit, one, OPERATOR, program_id) for one in people))
            began = time.perf_counter()
            for n in range(PURCHASES):
                for day in range(EVERY):
                    at = BEGINS - timedelta(days=n * EVERY + day)
                    make = Purchases(at, self.members, program_id)
                    of_day = range(day, self.members, EVERY)
                    await asyncio.gather(*(recorded(submit, make.of(member)) for member in of_day))
            self.figures["purchases_s"] = time.perf_counter() - began
            before = await self._decisions(program_id)
            began = time.perf_counter()
            await desk.advance_clock(program_id, self.ends)
            self.figures["move_s"] = time.perf_counter() - began
            self.figures["decisions"] = await self._decisions(program_id) - before
        self.say(
            f"{self.members:,} members, {self.members * PURCHASES:,} purchases in {self.figures['purchases_s']:.1f} s"
        )

    async def _decisions(self, program_id: UUID) -> int:
        link = await asyncpg.connect(self.cluster.servers.superuser_url)
        try:
            await link.execute("ANALYZE")
            return await link.fetchval("SELECT count(*) FROM decisions WHERE program_id = $1", program_id)
        finally:
            await link.close()

    @property
    def headline(self) -> str:
        """The one line of figures."""
        found = self.figures
        return f"clock members={self.members} years=3 decisions={found['decisions']:.0f} seconds={found['move_s']:.1f}"
