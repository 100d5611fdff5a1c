"""Where the time of a purchase, quote, balance or verified decision goes: a sampler on the clock of the processor, in
the process itself.

It looks at the running function a thousand times per second of processor time and costs next to nothing, so the
shares are those of an undisturbed run; time inside C code counts for the Python function that called it.
"""

import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from bench.cluster import Cluster
from bench.http import Site
from bench.rows import check_books
from bench.run import Bench, Size
from bench.world import PROGRAM

TICK_S = 0.001
SHOWN = 60
DUMP = "BENCH_PROFILE"  # where a server under the sampler leaves its counts


class Sampler:
    """Counts of functions seen: running themselves, and anywhere on the stack."""

    def __init__(self) -> None:
        self.ticks = 0
        self.own: Counter[str] = Counter()
        self.below: Counter[str] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._look)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, TICK_S, TICK_S)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self.ticks += 1
        self.own[_place(frame)] += 1
        seen: set[str] = set()
        while frame is not None:
            seen.add(_place(frame))
            frame = frame.f_back
        self.below.update(seen)

    def told(self, us_each: float, purchases: int) -> str:
        """A table of microseconds per call; `us_each` is what one costs in all."""
        lines = [f"{us_each:.0f} µs of this process per call, {purchases:,} calls, {self.ticks:,} looks"]
        for title, counts, only in (
            ("with what it calls", self.below, ("loyalty/", "asyncpg/", "uvicorn/", "litestar/")),
            ("by itself", self.own, ("",)),
        ):
            lines += ["", f"   µs  share  {title}"]
            shown = [
                (place, count) for place, count in counts.most_common() if any(part in place for part in only)
            ]
            for place, count in shown[:SHOWN]:
                share = count / max(1, self.ticks)
                lines.append(f"{share * us_each:5.1f}  {share:5.1%}  {place}")
        return "\n".join(lines)


def show(cluster: Cluster, what: str, size: Size) -> None:
    """Run purchases, or the reads that are asked for, and print where their time went."""
    bench = Bench(cluster, size)
    bench.prepare()
    if what == "verify":
        _show_verify(cluster)
        return
    if what == "pipe":
        sampler = Sampler()
        sampler.start()
        sample = bench.pipe.run(size.submitters, size.stretch)
        sampler.stop()
        print(sampler.told(sample.cpu_us["python"], sample.done))
    else:
        dump = cluster.home / "profile.json"
        site = Site.opened(cluster)
        plan = site.plan(what, size.members, size.connections, size.stretch)
        with site.served(1, profile=dump) as server:
            for sampled in (False, True):  # warm before it counts
                if sampled:
                    os.kill(server.pid, signal.SIGUSR1)
                if what == "http":
                    sample = bench.http.purchases(server, size.connections, size.stretch)
                else:
                    sample = bench.http.reads(server, plan)
        counts = json.loads(dump.read_text())
        sampler = Sampler()
        sampler.ticks, sampler.own, sampler.below = (
            counts["ticks"],
            Counter(counts["own"]),
            Counter(counts["below"]),
        )
        print(sampler.told(sample.cpu_us["python"], sample.done))
    print(f"\n{sample.rate:,.0f}/s, p50 {sample.p50_us:,.0f} µs; CPU µs per call: "
          + ", ".join(f"{who} {used:.0f}" for who, used in sample.cpu_us.items()))  # fmt: skip


def _show_verify(cluster: Cluster) -> None:
    sampler, began, cpu, postgres = Sampler(), time.perf_counter(), time.process_time(), cluster.cpu_us()
    sampler.start()
    decisions = check_books(cluster.servers.database_url, PROGRAM)
    sampler.stop()
    python_us = (time.process_time() - cpu) * 1e6 / decisions
    print(sampler.told(python_us, decisions))
    print(f"\n{decisions / (time.perf_counter() - began):,.0f} decisions/s; CPU µs per decision: "
          f"python {python_us:.1f}, postgres {(cluster.cpu_us() - postgres) / decisions:.1f}")  # fmt: skip


def serve() -> int:
    """The program's own `serve` under the sampler from SIGUSR1 on; leaves its counts when the server ends."""
    from loyalty.cli.main import run

    sampler = Sampler()
    signal.signal(signal.SIGUSR1, lambda _signal, _frame: sampler.start())
    try:
        return run(["serve"])
    finally:
        sampler.stop()
        counts = {"ticks": sampler.ticks, "own": sampler.own, "below": sampler.below}
        Path(os.environ[DUMP]).write_text(json.dumps(counts))


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-3:])}:{code.co_qualname}"


if __name__ == "__main__":
    sys.exit(serve())
