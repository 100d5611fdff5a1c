"""Figures of one stretch of work, and how many stretches become one figure.

Contenders run in turns (ours, baseline, ours, …), so that what else the machine does meets both alike; a figure
is the median of its turns, shown with the lowest and the highest.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Stretch(NamedTuple):
    """How long one turn takes: first unmeasured, then measured."""

    warm_s: float
    seconds: int


@dataclass(frozen=True)
class Sample:
    """One stretch of one contender."""

    done: int
    seconds: float
    mean_us: float  # latency as the caller sees it
    p50_us: float = 0.0
    p99_us: float = 0.0
    cpu_us: dict[str, float] = field(
        default_factory=dict[str, float]
    )  # per purchase: python, postgres, client

    @property
    def rate(self) -> float:
        return self.done / self.seconds


@dataclass(frozen=True)
class Figure:
    """Median of some turns, and their range."""

    median: float
    low: float
    high: float


def figure(values: Sequence[float]) -> Figure:
    return Figure(statistics.median(values), min(values), max(values))


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; 0 for none."""
    return (
        sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))] if sorted_values else 0.0
    )


def sampled(latencies_us: list[float], seconds: float, cpu_us: dict[str, float]) -> Sample:
    """A sample of these latencies, one per finished piece of work."""
    latencies_us.sort()
    return Sample(
        done=len(latencies_us),
        seconds=seconds,
        mean_us=statistics.fmean(latencies_us) if latencies_us else 0.0,
        p50_us=percentile(latencies_us, 0.50),
        p99_us=percentile(latencies_us, 0.99),
        cpu_us=cpu_us,
    )


def in_turns(contenders: dict[str, Callable[[], Sample]], turns: int) -> dict[str, list[Sample]]:
    """Run the contenders one after the other, `turns` times, every second time in the opposite order."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for turn in range(turns):
        order = list(contenders) if turn % 2 == 0 else list(reversed(contenders))
        for name in order:
            samples[name].append(contenders[name]())
    return samples
