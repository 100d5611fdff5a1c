"""One seed of the simulation in one process: commands in batches, model and program in the same order.

Groups of commands reach the pipe together, so that they are decided in one batch, or one batch ahead of the other;
the model takes them in the order in which they were sent. Every answer is compared; all invariants, balances and
the auditor at chosen moments and at the end.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from loyalty.posting.commands import Answer
from tests.isolation import dump
from tests.laws.side_by_side import UNTOUCHED_BY_REFUSALS, Commands, World, configurations
from tests.sim.machine import Asked, Machine
from tests.sim.operations import Operation, draw, source

# Days before the clocks change, a year or a leap day ends, or nothing at all.
BEGINNINGS = tuple(
    datetime(*on, 17, tzinfo=UTC)
    for on in ((2026, 3, 6), (2026, 10, 30), (2026, 12, 30), (2028, 2, 27), (2027, 6, 14), (2026, 1, 30))
)
GROUPS = (1, 2, 4, 8, 16, 32)  # commands that reach the pipe together, on average
CHECKED = 0.04  # share of the groups after which everything is looked at
TRACED = 0.04  # share of the groups of refusals of which every table is compared


class Alone:
    """One program and its model from the first configuration to the last check."""

    def __init__(self, world: World, seed: int, operations: Iterable[Operation]) -> None:
        self.world = world
        self.operations = operations
        self.seed = seed
        random = source(seed, "program")
        machine = type("OfSeed", (Machine,), {"world": world, "begin": random.choice(BEGINNINGS)})
        self.machine: Machine = machine()
        self.configuration = draw(configurations, source(seed, "configuration"))
        self.together = random.choice(GROUPS)
        self.done: list[int] = []
        self.told = self.machine.told

    @property
    def commands(self) -> int:
        return len(self.machine.sent)

    def run(self) -> None:
        """Raises: AssertionError, or whatever went wrong, with the machine's `told` up to there."""
        machine = self.machine
        group = [machine.start("open", {"configuration": self.configuration})]
        while group[0] is not None:
            group = self._send(group) or [None]
        waiting: list[Asked] = []
        for operation in self.operations:
            if not machine.may(operation):
                continue
            machine.told.append(str(operation))
            self.done.append(operation.number)
            if asked := machine.start(operation.rule, operation.arguments):
                waiting.append(asked)
            if waiting and self.chance(operation.number, "send") * self.together < 1:
                waiting = self._send(waiting, operation.number)
        while waiting:
            waiting = self._send(waiting)
        self.check()
        machine.teardown()

    def chance(self, *about: object) -> float:
        """From 0 up to 1, the same whatever else is done or left out."""
        return source(self.seed, *about).random()

    def _send(self, group: list[Any], after: int = -1) -> list[Asked]:
        """What the rules want next, once each has its answer."""
        machine, world = self.machine, self.world
        before = None
        if self.chance(after, "trace") < TRACED:
            before = world.run(dump.state(world.link, UNTOUCHED_BY_REFUSALS)), machine.accepted
        answers: list[Answer] = world.run(self._together(group))
        following = [machine.judged(asked, answer) for asked, answer in zip(group, answers, strict=True)]
        if before is not None and before[1] == machine.accepted:
            assert before[0] == world.run(dump.state(world.link, UNTOUCHED_BY_REFUSALS)), (
                "refusals left a trace"
            )
            world.seen["group without trace"] += 1
        if self.chance(after, "check") < CHECKED:
            self.check()
        return [asked for asked in following if asked is not None]

    async def _together(self, group: list[Asked]) -> list[Answer]:
        submit = self.world.runtime.pipe.submit
        if self.world.runtime.settings.cells > 1:
            # Over several lanes nobody can say in which order commands that come together are decided.
            return [await submit(asked.submission) for asked in group]
        return await asyncio.gather(*(submit(asked.submission) for asked in group))

    def check(self) -> None:
        Commands.check(self.machine)
        self.world.seen["checked"] += 1
