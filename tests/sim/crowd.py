"""One seed of the simulation with a crowd: several clients, two processes on one database, and faults.

A round of operations is sent by clients at once; a seed decides at every visit to the database who goes next, and
what goes wrong (schedule.py). When all is quiet, whatever has no answer yet is asked again until it has one. Then the
chain says in which order the accepted commands were decided: the model follows it, and every refusal and every
repeat must be right at some moment between its first sending and its last answer.
"""

import asyncio
import hashlib
import json
import random as global_random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from loyalty.base.together import Together
from loyalty.posting.commands import Answer
from loyalty.posting.histories import Histories
from loyalty.posting.pipe import Pipe
from tests.conftest import Database
from tests.laws.model import Again, No
from tests.laws.shop import serving
from tests.laws.side_by_side import Commands, SteadyClock, World, configurations, written_already
from tests.sim.alone import BEGINNINGS
from tests.sim.machine import Asked, Machine
from tests.sim.operations import Operation, draw, source
from tests.sim.schedule import Gate, House, StandingLoop

TURNS_MAX = 20_000  # of one round, before it counts as stuck
MOMENT = (503,)  # not now: nothing was stored, or nobody knows


class SkewedClock:
    """The clock of the other process: ahead or behind."""

    def __init__(self, clock: SteadyClock) -> None:
        self.clock = clock
        self.ms = 0

    def now(self) -> datetime:
        return self.clock.now() + timedelta(milliseconds=self.ms)

    def now_ms(self) -> int:
        return self.clock.now_ms() + self.ms


class Street(World):
    """Two runtimes on one database, on a loop whose time stands still."""

    def __init__(self, database: Database, cells: int) -> None:
        super().__init__(database, cells, StandingLoop)
        self.skewed = SkewedClock(self.clock)
        self._second = serving(database, cells=cells, clock=self.skewed)
        self.second = self.run(self._second.__aenter__())

    def close(self) -> None:
        loop = self.runner.get_loop()
        assert isinstance(loop, StandingLoop)
        loop.let_go()
        self.run(self._second.__aexit__(None, None, None))
        super().close()


@dataclass(eq=False)
class Delivery:
    """One time that a request reached a process."""

    house: str
    answer: Answer | None = None  # None: nobody was told
    crossed: bool = False  # another one of the same request was under way
    until: int = 0  # newest block when it ended


@dataclass(eq=False)
class Errand:
    """One request, however often it is delivered."""

    number: int
    asked: Asked
    first: int = -1  # newest block when it was first sent
    last: int = -1  # newest block when it was last answered
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def answers(self) -> list[Answer]:
        """What was said for good."""
        told = (delivery.answer for delivery in self.deliveries)
        return [answer for answer in told if answer is not None and answer.status < 500]

    @property
    def key(self) -> str:
        assert self.asked.submission.idempotency is not None
        return self.asked.submission.idempotency.key


class Crowd:
    """One program, its model, and everybody who wants something of it."""

    def __init__(self, world: Street, seed: int, operations: Iterable[Operation]) -> None:
        self.world = world
        self.seed = seed
        self.operations = list(operations)
        random = self.random = source(seed, "crowd")
        machine = type("OfSeed", (Machine,), {"world": world, "begin": random.choice(BEGINNINGS)})
        self.machine: Machine = machine()
        self.told = self.machine.told
        self.configuration = draw(configurations, source(seed, "configuration"))
        self.round = random.choice((4, 8, 16))  # operations
        self.clients = random.randint(2, 6)
        loop = world.runner.get_loop()
        assert isinstance(loop, StandingLoop)
        rate = random.choice((0.0, random.uniform(0, 0.2), random.uniform(0, 0.2)))
        self.gate = Gate(loop, world.link, random, rate)
        self.gate.at_commit = self._read_newest
        world.skewed.ms = random.choice((0, -600_000, 600_000, 7))
        self.newest = 0  # block
        self.judged = 0  # decisions that the model has followed
        self.done: list[int] = []
        self.errands = 0
        self.houses: list[tuple[House, Pipe]] = []
        self.calls: list[asyncio.Task[Answer]] = []

    @property
    def commands(self) -> int:
        return len(self.machine.sent)

    @property
    def log_hash(self) -> str:
        """Of all that happened: the same seed gives the same."""
        return hashlib.sha256("\n".join(self.gate.log).encode()).hexdigest()

    def run(self) -> None:
        """Raises: AssertionError, or whatever went wrong."""
        try:
            self._run()
        except BaseException:
            with suppress(Exception):
                self.world.run(self._give_up())
            raise

    async def _give_up(self) -> None:
        self.gate.loop.let_go()
        for house, _ in self.houses:
            with suppress(Exception):
                await house.die()
        everybody = asyncio.all_tasks() - {asyncio.current_task()}
        for _ in range(5):
            for task in everybody:
                task.cancel()
            if everybody:
                await asyncio.wait(everybody, timeout=0.2)
        for runtime in (self.world.runtime, self.world.second):
            runtime.pool.terminate()

    def _run(self) -> None:
        machine, world = self.machine, self.world
        global_random.seed(self.seed)  # the pipe's jitter
        self._open()
        waiting: list[Asked] = []
        left = list(self.operations)
        while left or waiting:
            for operation in left[: self.round]:
                if machine.may(operation):
                    machine.told.append(str(operation))
                    self.done.append(operation.number)
                    if asked := machine.start(operation.rule, operation.arguments):
                        waiting.append(asked)
            left = left[self.round :]
            if waiting:
                waiting = self._round(waiting)
        Commands.check(machine)
        machine.teardown()
        self.gate.log += [
            row[0] for row in world.run(world.link.fetch("SELECT answer FROM decisions ORDER BY id"))
        ]
        world.seen.update(self.gate.seen)
        world.seen[f"clients {self.clients}"] += 1

    def _open(self) -> None:
        machine, world = self.machine, self.world
        asked = machine.start("open", {"configuration": self.configuration})
        while asked is not None:
            asked = machine.judged(asked, world.run(world.runtime.pipe.submit(asked.submission)))
        self.judged = machine.accepted
        self.houses = [self._house("A"), self._house("B")]
        world.run(self._read_newest())

    def _house(self, name: str) -> tuple[House, Pipe]:
        """A process that has just started."""
        runtime = self.world.runtime if name == "A" else self.world.second
        house = House(name, self.gate, runtime.pool)
        gated: Any = house
        pipe = Pipe(
            gated,
            runtime.clock,
            Histories(),
            Together(waiting_max=0, waiting_ms_max=0),  # asks where members live, if there are lanes
            runtime.aside,
            cells=1,
            slots=3,
            queue_max=64,
            queue_bytes_max=1_000_000,
            queue_ms_max=60_000,
        )
        pipe._random.seed(f"{self.seed}/{name}")
        return house, pipe

    async def _read_newest(self) -> None:
        self.newest = await self.gate.ask("SELECT coalesce(max(number), 0) FROM blocks")

    # --- one round ----------------------------------------------------------------------------------------------

    def _round(self, asked: list[Asked]) -> list[Asked]:
        errands = [Errand(self.errands + n, one) for n, one in enumerate(asked)]
        self.errands += len(errands)
        self.world.run(self._send_all(errands))
        return self._follow(errands)

    async def _send_all(self, errands: list[Errand]) -> None:
        """Everything is sent by clients at once, then again what nobody was told about."""
        gate, random = self.gate, self.random
        gate.faulty = True
        if random.random() < gate.rate:
            random.shuffle(errands)
            gate.seen["fault out of order"] += 1
        late = [errand for errand in errands if random.random() < gate.rate / 4]
        gate.seen["fault late"] += len(late)
        queues: list[list[Errand]] = [[] for _ in range(self.clients)]
        for errand in [one for one in errands if one not in late] + late:
            random.choice(queues).append(errand)
        await self._drive([self._client(queue) for queue in queues])
        gate.faulty = False
        for _ in range(20):
            open_ones = [errand for errand in errands if not errand.answers]
            if not open_ones:
                return
            gate.seen["asked again"] += len(open_ones)
            await self._drive([self._deliver(errand) for errand in open_ones])
        raise AssertionError("no answer although nothing goes wrong any more")

    async def _drive(self, work: list[Any]) -> None:
        """Turn after turn until everybody has what he waits for."""
        gate = self.gate
        self.tasks = [asyncio.create_task(one) for one in work]
        for _ in range(TURNS_MAX):
            if gate.faulty:
                await self._mischief()
            if not await gate.turn() and all(task.done() for task in self.tasks):
                break
        else:
            raise AssertionError("stuck")
        for task in self.tasks:
            task.result()

    async def _mischief(self) -> None:
        """A caller goes away, or a process is killed and started anew."""
        gate, random = self.gate, self.random
        if random.random() < gate.rate / 10:
            await gate.quiet()
            calls = [call for call in self.calls if not call.done()]
            if calls:
                random.choice(calls).cancel()
                gate.seen["fault caller gone"] += 1
        if random.random() < gate.rate / 40:
            await gate.quiet()
            place = random.randrange(2)
            house, pipe = self.houses[place]
            for visit in gate.waiting:
                if visit.house is house:
                    gate.seen[f"crash {visit.label}, killed"] += 1
            gate.seen["fault process killed"] += 1
            gate.log.append(f"{house.name} killed")
            await house.die()
            await pipe.stop(0)
            self.houses[place] = self._house(house.name)

    async def _client(self, errands: list[Errand]) -> None:
        for errand in errands:
            if self.gate.faulty and self.random.random() < self.gate.rate / 2:
                self.gate.seen["fault twice"] += 1
                await asyncio.gather(*(self._deliver(errand, crossed=True) for _ in range(2)))
            else:
                await self._deliver(errand)

    async def _deliver(self, errand: Errand, *, crossed: bool = False) -> None:
        """Send a request to one of the two processes and note what comes back."""
        house, pipe = self.houses[self.random.randrange(2)]
        if errand.first < 0:
            errand.first = self.newest
        delivery = Delivery(house.name, crossed=crossed)
        errand.deliveries.append(delivery)
        call = asyncio.ensure_future(pipe.submit(errand.asked.submission))
        self.calls.append(call)
        await asyncio.wait({call})
        self.calls.remove(call)
        if not call.cancelled() and not house.dead:
            delivery.answer = call.result()
        errand.last = delivery.until = self.newest
        told = delivery.answer
        said = "nobody told" if told is None else f"{told.status} {json.loads(told.body).get('code', '')}"
        self.gate.log.append(f"{errand.number} {house.name} {said}")
        if told is not None and told.status >= 500:
            self.gate.seen[f"told {json.loads(told.body)['code']}"] += 1

    # --- what became of it --------------------------------------------------------------------------------------

    def _follow(self, errands: list[Errand]) -> list[Asked]:
        """Let the model do what the chain says, in its order; what the rules want next."""
        machine, world = self.machine, self.world
        link = world.link
        rows = world.run(
            link.fetch(
                "SELECT id, block_number, answer_status, answer FROM decisions"
                # A refused attempt is counted by its refusal, a part by its whole.
                " WHERE kind NOT IN ('attempt', 'wrong_pin', 'counterpart') AND detail::jsonb->>'part_of' IS NULL"
                " ORDER BY block_number, id OFFSET $1",
                self.judged,
            )
        )
        kept = world.run(
            link.fetch(
                "SELECT key, decision_id FROM idempotency_records WHERE key = ANY($1::text[])",
                [errand.key for errand in errands if errand.asked.name],
            )
        )
        decided: dict[str, UUID | None] = {row["key"]: row["decision_id"] for row in kept}
        status = {row["id"]: row["answer_status"] for row in rows}
        makers: dict[UUID, Errand] = {}
        for errand in errands:
            self._agrees_with_itself(errand)
            id = decided.get(errand.key) if errand.asked.name else None
            if id not in status:
                continue  # refused, or the answer of an earlier round again
            if id not in makers or self._made(errand, status[id]) > self._made(makers[id], status[id]):
                makers[id] = errand
        others = [errand for errand in errands if errand not in makers.values()]
        following: list[Asked | None] = []
        for row in [*rows, None]:
            at = self.newest if row is None else row["block_number"] - 1
            for errand in tuple(others):
                # Between the blocks it may be any moment, inside a batch too.
                said = self._right_now(errand) if errand.first <= at + 1 else None
                if said is not None:
                    others.remove(errand)
                    following.append(machine.judged(errand.asked, said))
                else:
                    assert errand.last >= at, f"never right: {self._story(errand)}"
            if row is not None:
                assert row["id"] in makers, "a decision that nobody asked for, or made twice"
                errand = makers.pop(row["id"])
                self._was_told(errand, row)
                answer = Answer(row["answer_status"], row["answer"].encode())
                following.append(machine.judged(errand.asked, answer))
        assert not others, f"never right: {self._story(others[0])}"
        assert not makers, "an answer whose decision is not in the chain"
        self.judged += len(rows)
        return [asked for asked in following if asked is not None]

    @staticmethod
    def _made(errand: Errand, status: int) -> tuple[bool, bool, int]:
        """Whoever was told of it first made it; else who has its answer as his own, not that of the same receipt."""
        answers = errand.answers
        return any(not answer.replayed for answer in answers), answers[0].status == status, -errand.number

    def _right_now(self, errand: Errand) -> Answer | None:
        """The answer as the model would give it at this moment, if it is that one."""
        answer = errand.answers[0]
        if not errand.asked.name:
            return answer  # the rule itself says what must come back
        expected = self.machine.would(errand.asked)
        match expected:
            case No(status=status, code=code, reasons=reasons):
                body = json.loads(answer.body)
                told = None if reasons is None else [one["reason"] for one in body.get("reasons", ())]
                right = (status, code, reasons) == (answer.status, body.get("code"), told)
                if right and code == "pin_wrong":  # it counts: each is of its own moment
                    right = self.machine.model.left(errand.asked.about[0]) == (
                        body["attempts_left"],
                        None if body["until"] is None else datetime.fromisoformat(body["until"]),
                    )
            case Again(answer=first):
                right = (200, self.machine.answers.get(first)) == (answer.status, answer.body)
            case None:
                right = written_already(errand.asked.name, json.loads(answer.body))
        # Nobody may have been told when it was said for the first time.
        return msgspec.structs.replace(answer, replayed=isinstance(expected, Again)) if right else None

    def _agrees_with_itself(self, errand: Errand) -> None:
        """Every delivery says the same, and at most one says it for the first time."""
        answers = errand.answers
        said = {(answer.status, _constant(answer.body)) for answer in answers}
        assert len(said) == 1, f"other answers to the same request: {self._story(errand)}"
        if errand.asked.name:
            new = sum(not answer.replayed for answer in answers)
            assert new <= 1, f"told as new twice: {self._story(errand)}"

    def _was_told(self, errand: Errand, row: Any) -> None:
        """The stored effect is the one that was told; whoever was told that nothing was written was told the truth."""
        for answer in errand.answers:
            assert (answer.status, answer.body) == (row["answer_status"], row["answer"].encode()), (
                self._story(errand)
            )
        for delivery in errand.deliveries:
            if delivery.answer is None or delivery.crossed or b"outcome_unknown" in delivery.answer.body:
                return  # from here on it may have been written
            if delivery.answer.status >= 500:
                assert row["block_number"] > delivery.until, (
                    f"it was written after all: {self._story(errand)}"
                )

    def _story(self, errand: Errand) -> str:
        told = [
            "nobody told"
            if d.answer is None
            else f"{d.house} {d.answer.status} {d.answer.body.decode()[:300]}"
            for d in errand.deliveries
        ]
        return f"{errand.asked.submission.command} {errand.first}–{errand.last}: {'; '.join(told)}"


def _constant(body: bytes) -> bytes:
    """Without the number of the request, which only a first refusal has."""
    told = json.loads(body)
    return json.dumps({k: v for k, v in told.items() if k not in ("request_id", "instance")}).encode()
