"""A worker's sweep as a process of its own (`python -m bench.sweep` with a Plan on stdin).

It prints a line when it is ready, begins when it reads one, and prints what it did when nothing is due any more.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from bench.pipe import on_loop
from bench.profile import Sampler
from bench.sample import percentile
from loyalty.base.collector import settle_collector
from loyalty.base.settings import Settings
from loyalty.jobs.due import settle_due
from loyalty.posting.pipe import BatchSeen
from loyalty.posting.runtime import open_runtime

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Plan(msgspec.Struct, frozen=True):
    home: str
    database_url: str
    redis_url: str
    profile: bool = False


class Report(msgspec.Struct, frozen=True):
    """What one process did; instants of the machine's clock that all processes share."""

    settled: int
    began: float
    ended: float
    cpu_s: float
    batches: int
    batch_p50_ms: float  # from taking the head to the commit
    batch_p99_ms: float
    rss_mb: tuple[float, float, float]  # when a tenth, half and all of it was done
    profile: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class _Watch:
    """Notes every batch: how long it took, and how large the process was."""

    def __init__(self) -> None:
        self.batches: list[float] = []
        self.commands = 0
        self._sizes: list[tuple[int, float]] = []

    def __call__(self, seen: BatchSeen) -> None:
        self.batches.append(seen.seconds)
        self.commands += seen.commands
        self._sizes.append((self.commands, _rss_mb()))

    def size_at(self, share: float) -> float:
        return next((mb for count, mb in self._sizes if count >= share * self.commands), _rss_mb())


async def _sweep(plan: Plan) -> Report:
    settings = Settings(
        environment="test",
        home=Path(plan.home),
        database_url=plan.database_url,
        redis_url=plan.redis_url,
        secret_key=bytes(range(32)),
    )
    async with open_runtime(settings) as runtime:
        watch, sampler = _Watch(), Sampler()
        runtime.pipe.observe = watch
        settle_collector()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        if plan.profile:
            sampler.start()
        began, cpu, settled = time.time(), time.process_time(), 0
        sweep = asyncio.ensure_future(settle_due(runtime))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({sweep, stopped}, return_when=asyncio.FIRST_COMPLETED)
        ended, cpu = time.time(), time.process_time() - cpu
        sampler.stop()
        if sweep.done():
            settled = sweep.result()
        for task in (sweep, stopped):
            task.cancel()
        taken = sorted(watch.batches)
        return Report(
            settled=settled or watch.commands,
            began=began,
            ended=ended,
            cpu_s=cpu,
            batches=len(taken),
            batch_p50_ms=percentile(taken, 0.5) * 1000,
            batch_p99_ms=percentile(taken, 0.99) * 1000,
            rss_mb=(watch.size_at(0.1), watch.size_at(0.5), watch.size_at(1.0)),
            profile=sampler.told(cpu * 1e6 / max(1, watch.commands), watch.commands) if plan.profile else "",
        )


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)
    report = on_loop(_sweep(plan))
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
