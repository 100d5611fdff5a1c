"""One drill with one seed: trouble under load, and everything that must be true afterwards."""

import asyncio
import random
import time
import traceback
from dataclasses import dataclass
from typing import Any

from tests.drills.stage import LeftOut, Stage, Void, opened
from tests.drills.troubles import Drill
from tests.kills.crowd import nothing_lost
from tests.races.house import House

TELLING = 10  # sendings that the trouble has met, where callers must notice it
SERVED_S = 30.0
LAST_ANSWER_S = 60.0
PROMISED_S = 90.0  # a dead worker's run is taken over after 15 s; three tries


@dataclass
class Result:
    """What one drill with one seed came to."""

    drill: str
    seed: int
    in_flight: int = 0  # the middle one of all strikes
    unknown: int = 0
    refused: int = 0
    answers: int = 0
    promised: int = 0  # long work that was asked for and done
    served_s: float = 0.0  # until all were served again, from when they could be
    lost: int = 0  # decisions that were told and are not there
    doubled: int = 0  # decisions that are there and were told to nobody
    seconds: float = 0.0
    durability: str = ""
    left_out: str = ""
    failure: str = ""


async def perform(drill: Drill, seed: int) -> Result:
    """Play it. What goes wrong is told in the result."""
    began, result = time.monotonic(), Result(drill.name, seed)
    needs: dict[str, Any] = {"apis": drill.apis, "sweep": drill.sweep, "small_disk": drill.small_disk}
    try:
        async with opened(random.Random(seed), **needs) as stage:
            result.durability = stage.durability
            await _play(drill, stage, result)
            await _true_afterwards(stage, result)
            _refuse_void(drill, stage)
    except LeftOut as left_out:
        result.left_out = str(left_out)
    except Exception as error:
        result.failure = _story(error)
    result.seconds = time.monotonic() - began
    return result


async def _play(drill: Drill, stage: Stage, result: Result) -> None:
    """Load, trouble, and load again until everybody has been answered."""
    crowd = stage.crowd
    await stage.begin()
    await crowd.busy()
    await asyncio.sleep(stage.chance.uniform(0.3, 1.0))
    try:
        await drill.trouble(stage)
        result.served_s = await stage.served_again(SERVED_S)
        await asyncio.sleep(0.3)
        await stage.let_out(LAST_ANSWER_S)
    finally:
        in_flight = sorted(stage.at_strikes) or [0]
        result.in_flight = in_flight[len(in_flight) // 2]
        result.unknown, result.refused = crowd.unknown, crowd.refused
        result.answers = len(crowd.calls) - len(crowd.unanswered)
        result.promised = len(stage.onlookers.promised)


async def _true_afterwards(stage: Stage, result: Result) -> None:
    """Long work and sweeps are done, the answers stand, the books are whole, and nobody holds on to anything."""
    assert not stage.onlookers.wrong, f"told to onlookers: {dict(stage.onlookers.wrong)}"
    await stage.onlookers.kept(stage.house.apis[0].port, PROMISED_S)
    if stage.sandbox is not None:
        await stage.swept()
    assert await asyncio.to_thread(stage.worker.stop) == 0, "the worker does not end well"
    there, told = await stage.decisions() - stage.before, stage.crowd.decided
    result.lost, result.doubled = len(told - there), len(there - told)
    assert there == told, f"{result.lost} decisions lost, {result.doubled} told to nobody"
    await nothing_lost(stage.crowd)
    await stage.house.hang_up()
    await stage.quiet()
    await stage.house.whole()
    if stage.sandbox is not None:
        await House(stage.servers.database_url, stage.servers.superuser_url, stage.sandbox, "", []).whole()
    for api in stage.house.apis:
        assert await api.stop() == 0, "an API does not end well"


def _refuse_void(drill: Drill, stage: Stage) -> None:
    """Raises: Void; AssertionError when callers noticed what concerns none of them."""
    noticed = stage.crowd.unknown + stage.crowd.refused
    if drill.noticed and noticed < TELLING:
        raise Void(f"only {noticed} sendings met the trouble")
    assert drill.noticed is not False or not noticed, f"{noticed} sendings met what concerns no caller"


def _story(error: Exception) -> str:
    """What went wrong in a line, and where."""
    what = f"void: {error}" if isinstance(error, Void) else f"{type(error).__name__}: {error}"
    places = [
        f"{place.filename.rsplit('/', 1)[1]}:{place.lineno}"
        for place in traceback.extract_tb(error.__traceback__)
        if "/tests/" in place.filename
    ]
    return "; ".join([f"{what} ({' → '.join(places[-3:])})", *getattr(error, "__notes__", ())])
