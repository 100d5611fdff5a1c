"""What the drills came to: a line each, one line for all, and the same for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tests.drills.drill import Result
from tests.words import counted


def progress(result: Result) -> str:
    """One drill with one seed."""
    begin = f"{result.drill:18} seed {result.seed}"
    if result.left_out:
        return f"{begin}: LEFT OUT, NOT PROVED: {result.left_out}"
    return (
        f"{begin}: {result.in_flight} in flight, {result.unknown} outcomes unknown, {result.refused} told to come"
        f" again, {result.answers} answers, served again after {result.served_s:.1f} s"
        + (f"\n  FAILED: {result.failure}" if result.failure else "")
    )


def line(results: Sequence[Result], seconds: float) -> str:
    """The figures of all in one plain line."""
    played = [result for result in results if not result.left_out]
    left_out = sorted({f"{result.drill} ({result.left_out})" for result in results if result.left_out})
    seeds = sorted({result.seed for result in results})
    parts = [
        f"{counted(len({result.drill for result in played}), 'drill')} × {counted(len(seeds), 'seed')} from {seeds[0]}",
        f"{sum(result.answers for result in played):,} acknowledged",
        f"{sum(result.unknown for result in played):,} outcomes unknown",
        f"{sum(result.refused for result in played):,} told to come again",
        f"{sum(result.lost for result in played)} lost",
        f"{sum(result.doubled for result in played)} doubled",
        f"{sum(result.promised for result in played)} runs promised",
        f"served again after {max((result.served_s for result in played), default=0):.1f} s at most",
    ]
    if left_out:
        parts.append(f"LEFT OUT: {', '.join(left_out)}")
    failed = sum(bool(result.failure) for result in results)
    return f"drill: {', '.join(parts)}; {failed} failed, {seconds:.0f} s"


def report(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """The same for machines, drill by drill."""
    return {
        "seeds": sorted({result.seed for result in results}),
        "seconds": round(seconds, 1),
        "durability": sorted({result.durability for result in results if result.durability}),
        "drills": len({result.drill for result in results if not result.left_out}),
        "acknowledged": sum(result.answers for result in results),
        "lost": sum(result.lost for result in results),
        "doubled": sum(result.doubled for result in results),
        "failed": sum(bool(result.failure) for result in results),
        "left_out": sorted({result.drill for result in results if result.left_out}),
        "results": [
            asdict(result) | {"served_s": round(result.served_s, 2), "seconds": round(result.seconds, 1)}
            for result in results
        ],
    }
