"""What a run of the fuzz came to: in one line for people, whole for machines; and what it did not reach."""

from collections import Counter
from typing import Any

from loyalty.web.app import endpoints
from tests.fuzz.run import Outcome
from tests.fuzz.traffic import DECLARED

OPERATIONS = {(endpoint.method, endpoint.path) for endpoint in endpoints()}
PARTS = {
    "generated": "generated", "bodies": "spoilt bodies", "raw": "spoilt requests", "cursors": "cursors",
    "credentials": "forged credentials",
}  # fmt: skip


def reached(outcome: Outcome) -> set[tuple[str, str]]:
    """The operations that succeeded."""
    return {(method, route) for method, route, status in outcome.served if status < 400} & OPERATIONS


def reached_by_chance(outcome: Outcome) -> set[tuple[str, str]]:
    """Those that succeeded though nobody meant it: beyond the tour."""
    beyond = outcome.served - outcome.toured
    return {(method, route) for method, route, status in beyond if status < 400} & OPERATIONS


def undeclared(outcome: Outcome) -> Counter[str]:
    """Statuses that were answered at a known route and stand nowhere in the contract, whoever asked."""
    found: Counter[str] = Counter()
    for (method, route, status), times in outcome.served.items():
        declared = DECLARED.get(("GET" if method == "HEAD" else method, route))
        if declared is not None and status not in declared:
            found[f"{method} {route} {status}"] += times
    return found


def faults(outcome: Outcome) -> list[str]:
    """Everything that is wrong, or was not reached."""
    tally = outcome.tally
    found = list(tally.failures)
    if tally.failed > len(tally.failures):
        found.append(f"and {tally.failed - len(tally.failures)} more")
    found += [f"not in the contract: {what}, {times} times" for what, times in undeclared(outcome).items()]
    found += [f"never reached: {' '.join(one)}" for one in sorted(OPERATIONS - reached(outcome))]
    found += [f"books: {what}" for what in outcome.broken_books]
    if internal(outcome):
        found.append(f"{internal(outcome)} answers of 500 and above, but for 503")
    if outcome.incidents:
        found.append(f"{outcome.incidents} incidents in the log")
    return found


def internal(outcome: Outcome) -> int:
    return sum(times for (_, _, status), times in outcome.served.items() if status >= 500 and status != 503)


def line(outcome: Outcome) -> str:
    """The figures in one plain line."""
    tally = outcome.tally
    parts = [f"{tally.sent[part]:,} {words}" for part, words in PARTS.items() if tally.sent[part]]
    done = sum(
        times for (part, status), times in tally.statuses.items() if part == "bodies" and 0 < status < 400
    )
    busy = sum(tally.busy.values())
    return (
        f"fuzz: seed {outcome.seed}, {sum(tally.sent.values()):,} requests: {', '.join(parts)}; "
        f"{done:,} of the bodies were taken, {len(reached(outcome))} of {len(OPERATIONS)} operations succeeded "
        f"({len(reached_by_chance(outcome))} by chance), {outcome.rulesets:,} rulesets judged twice, "
        f"{internal(outcome)} times 5xx, {busy} times busy, {undeclared(outcome).total()} undeclared statuses, "
        f"books of {outcome.books} programs {'broken' if outcome.broken_books else 'whole'}; "
        f"{len(faults(outcome))} faults, {outcome.seconds:.0f} s"
    )


def report(outcome: Outcome) -> dict[str, Any]:
    """The same for machines, with everything that was counted."""
    tally = outcome.tally
    return {
        "seed": outcome.seed,
        "seconds": round(outcome.seconds, 1),
        "part_seconds": {part: round(seconds, 1) for part, seconds in outcome.part_seconds.items()},
        "requests": dict(tally.sent),
        "generated_rounds": outcome.rounds,
        "statuses": {f"{part} {status}": times for (part, status), times in sorted(tally.statuses.items())},
        "served": {" ".join(map(str, key)): times for key, times in sorted(outcome.served.items())},
        "busy": dict(tally.busy),
        "operations": {
            "all": len(OPERATIONS),
            "succeeded": len(reached(outcome)),
            "by_chance": len(reached_by_chance(outcome)),
        },
        "rulesets": outcome.rulesets,
        "undeclared": dict(undeclared(outcome)),
        "books": outcome.books,
        "faults": faults(outcome),
    }
