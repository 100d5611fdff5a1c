"""One seed of the simulation after the other, in one process with databases of its own; what fails is made short."""

import contextlib
import logging
import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from typing import Any, NamedTuple, Protocol

import structlog

from loyalty.base.collector import settle_collector
from tests.conftest import fresh_database
from tests.laws.side_by_side import World
from tests.sim.alone import Alone
from tests.sim.crowd import Crowd, Street
from tests.sim.operations import NOT_IN_A_CROWD, Operation, operations, source
from tests.sim.shrink import shrunk

RENEWED = 50  # seeds in one database: tables that grow make whole-table checks slow
SHRINK_S = 90.0


class Job(NamedTuple):
    """One seed to run, whole or only some of its operations."""

    kind: str
    seed: int
    operations: int
    only: tuple[int, ...] = ()


class Run(Protocol):
    """One simulated program."""

    world: Any
    told: list[str]
    done: list[int]  # numbers of the operations so far

    @property
    def commands(self) -> int: ...

    def run(self) -> None: ...


@dataclass
class Failure:
    """What went wrong, and the least that makes it go wrong."""

    job: Job
    error: str
    numbers: list[int]  # of the operations that are needed
    told: list[str]

    def story(self) -> str:
        """What happened, and the command that makes it happen again."""
        kind, seed, many, _ = self.job
        needed = ",".join(map(str, self.numbers))
        head = f"sim: seed {seed} ({kind}) FAILED after {len(self.numbers)} operations"
        again = f"again: make sim SEED={seed} OPS={many} KIND={kind} ONLY={needed}"
        return "\n".join((head, *(f"  {told}" for told in self.told), self.error, again))


@dataclass
class Result:
    """One seed: what was reached, and how long it took."""

    job: Job
    seen: Counter[str]
    operations: int
    commands: int
    seconds: float
    failure: Failure | None = None


@dataclass
class Place:
    """Databases and runtimes of one process, by number of lanes; renewed after a failure and now and then."""

    _open: dict[tuple[str, int], tuple[Any, contextlib.ExitStack, int]] = field(default_factory=dict)

    def world(self, kind: str, cells: int, make: Callable[..., Any]) -> Any:
        world, stack, used = self._open.pop((kind, cells), (None, None, RENEWED))
        if used >= RENEWED:
            if stack is not None:
                stack.close()
            stack, used = contextlib.ExitStack(), 0
            world = make(stack.enter_context(fresh_database()), cells)
            stack.callback(world.close)
        assert stack is not None
        self._open[kind, cells] = world, stack, used + 1
        return world

    def close(self) -> None:
        """Leave everything; a runtime that a failure left in a strange state may not even close."""
        while self._open:
            _, (_, stack, _) = self._open.popitem()
            with contextlib.suppress(Exception):
                stack.close()


def alone(place: Place, seed: int, plan: Sequence[Operation]) -> Run:
    """Model and program in one order; one seed in eight in eight lanes."""
    cells = 8 if source(seed, "lanes").random() < 0.125 else 1
    return Alone(place.world("alone", cells, World), seed, plan)


def crowd(place: Place, seed: int, plan: Sequence[Operation]) -> Run:
    """Two processes, several clients, faults."""
    return Crowd(place.world("crowd", 1, Street), seed, plan)


KINDS: dict[str, Callable[[Place, int, Sequence[Operation]], Run]] = {"alone": alone, "crowd": crowd}


def simulate(jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """The results of all jobs in their order. Needs: servers that run."""
    if workers == 1 or len(jobs) == 1:
        _prepare()
        yield from map(run, jobs)
        leave()
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare) as pool:
        yield from pool.map(run, jobs)


_place = Place()


def leave() -> None:
    """Close what this process has open."""
    _place.close()


def _prepare() -> None:
    settle_collector()  # as a server does
    # What goes wrong on purpose fills no log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    Finalize(None, leave, exitpriority=1)


def run(job: Job, shrink_s: float = SHRINK_S) -> Result:
    """One seed from its first operation to the last check."""
    place, (kind, seed, many, only) = _place, job
    began = time.monotonic()
    without = NOT_IN_A_CROWD if kind == "crowd" else frozenset[str]()
    plan = [one for one in operations(seed, many, without) if not only or one.number in only]
    seen: Counter[str] = Counter()
    made, error = _tried(place, kind, seed, plan, seen)
    result = Result(job, seen, len(made.done), made.commands, time.monotonic() - began)
    if error is not None:
        numbers, first = made.done, _said(error)
        if not only and shrink_s:
            where = _place_of(error)

            def fails(fewer: Sequence[int]) -> bool:
                _, other = _tried(place, kind, seed, [one for one in plan if one.number in fewer], Counter())
                return other is not None and _place_of(other) == where

            numbers = shrunk(numbers, fails, shrink_s)
            made, error = _tried(place, kind, seed, [one for one in plan if one.number in numbers], Counter())
        text = _said(error) if error else f"gone when run again, the first time it was:\n{first}"
        result.failure = Failure(job, text, numbers, made.told)
    return result


def _tried(
    place: Place, kind: str, seed: int, plan: Sequence[Operation], seen: Counter[str]
) -> tuple[Run, Exception | None]:
    made = KINDS[kind](place, seed, plan)
    made.world.seen = seen
    try:
        made.run()
    except Exception as error:
        place.close()
        return made, error
    return made, None


def _said(error: Exception) -> str:
    return "".join(traceback.format_exception(error)[-6:])


def _place_of(error: Exception) -> object:
    """Where it went wrong: the same failure has the same place."""
    frames = traceback.extract_tb(error.__traceback__)
    return type(error), [(frame.filename, frame.lineno) for frame in frames[-2:]]
