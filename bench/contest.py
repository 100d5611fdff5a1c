"""Contenders on one cluster, one after the other, and the figures that came out of their turns."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.cluster import Cluster, checkpoint
from bench.sample import Figure, Sample, figure, in_turns


@dataclass
class Figures:
    """What came out: one flat name per figure, and the range it had over the turns."""

    values: dict[str, float] = field(default_factory=dict[str, float])
    ranges: dict[str, Figure] = field(default_factory=dict[str, Figure])

    def note(self, name: str, found: Figure) -> None:
        self.ranges[name] = found
        self.values[name] = found.median

    def ratio(self, name: str, over: str, under: str) -> None:
        """`over` divided by `under`, of their medians."""
        self.values[name] = self.values[over] / self.values[under]


@dataclass
class Contest:
    """A prepared cluster, and what is known of it so far."""

    cluster: Cluster
    say: Callable[[str], None] = field(
        default=lambda text: print(text, file=sys.stderr, flush=True), kw_only=True
    )
    figures: Figures = field(default_factory=Figures, kw_only=True)

    def _in_turns(self, contenders: dict[str, Callable[[], Sample]], turns: int) -> None:
        """Let each have so many turns behind a checkpoint, and note its rates, latencies and processor time."""
        asyncio.run(checkpoint(self.cluster.servers.superuser_url))
        for name, samples in in_turns(contenders, turns).items():
            self.figures.note(f"{name}_per_s", figure([sample.rate for sample in samples]))
            self.figures.note(f"{name}_mean_us", figure([sample.mean_us for sample in samples]))
            if any(sample.p99_us for sample in samples):
                self.figures.note(f"{name}_p50_us", figure([sample.p50_us for sample in samples]))
                self.figures.note(f"{name}_p99_us", figure([sample.p99_us for sample in samples]))
            for who in samples[0].cpu_us:
                self.figures.note(f"cpu_us_{name}_{who}", figure([sample.cpu_us[who] for sample in samples]))
            self._tell(f"{name}_per_s")

    def _ratio(self, name: str, over: str, under: str) -> None:
        self.figures.ratio(name, over, under)
        self._tell(name)

    def _tell(self, name: str) -> None:
        value, spread = self.figures.values[name], self.figures.ranges.get(name)
        around = f"  ({spread.low:,.0f}–{spread.high:,.0f})" if spread else ""
        self.say(f"  {name}  {value:,.0f}{around}" if value >= 100 else f"  {name}  {value:.2f}")
