"""What a simulation reached, and whether that is enough: agreement about nothing would mean nothing."""

import ast
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from textwrap import wrap
from typing import Any

from tests.laws import model, side_by_side
from tests.sim.schedule import STATES
from tests.sim.seeds import Result
from tests.words import counted

# Of so many commands each operation is accepted one at least and refused one at least; every refusal code that the
# model knows is seen in runs of ALL_CODES commands.
ACCEPTED_OF = 1_500
REFUSED_OF = 6_000
ALL_CODES = 30_000
# Crowds of so many commands meet every kind of fault.
ALL_FAULTS = 2_000
FAULTS = (
    "lost before", "lost after", "refused before", "none free before", "caller gone", "process killed", "twice", "late",
    "out of order",
    *(f"{state} {when}" for state in STATES for when in ("before", "after")),
)  # fmt: skip
SHARE_ACCEPTED = 0.45
# A record run shows each operation so often, and every refusal code.
RECORD_ACCEPTED = 1_000
RECORD_REFUSED = 200


def _calls(module: Any, name: str) -> list[ast.Call]:
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name == getattr(node.func, "attr", getattr(node.func, "id", None))
    ]


def _words(module: Any, name: str, place: int) -> set[str]:
    """The words that stand at this place of all calls of `name`."""
    found = [call.args[place] for call in _calls(module, name) if len(call.args) > place]
    return {word.value for word in found if isinstance(word, ast.Constant) and isinstance(word.value, str)}


OPERATIONS = _words(side_by_side, "step", 1)
CODES = _words(model, "No", 1) | _words(model, "__init__", 1) | _words(model, "count", 3)


def whole(results: Sequence[Result]) -> bool:
    """Is the run so long that everything must be reached?"""
    return _kept(results, "alone") >= ALL_CODES and _kept(results, "crowd") >= ALL_FAULTS


def _kept(results: Sequence[Result], kind: str) -> int:
    """Commands whose answers are kept: all but those that came while the clock was moving."""
    return sum(result.commands for result in results if result.job.kind == kind)


def lacking(results: Sequence[Result]) -> list[str]:
    """What a run of this size should have reached and did not."""
    seen: Counter[str] = sum((result.seen for result in results if result.job.kind == "alone"), Counter())
    commands = _kept(results, "alone")
    accepted, refused, codes = _by_operation(seen)
    missing = [
        f"{name} accepted {accepted[name]} times, of {commands} commands"
        for name in sorted(OPERATIONS)
        if accepted[name] < commands // ACCEPTED_OF
    ]
    missing += [
        f"{name} refused {refused[name]} times, of {commands} commands"
        for name in sorted(OPERATIONS)
        if refused[name] < commands // REFUSED_OF
    ]
    if commands >= ALL_CODES:
        missing += [f"a refusal with {code}" for code in sorted(CODES) if not codes[code]]
    if _kept(results, "crowd") >= ALL_FAULTS:
        met: Counter[str] = sum((result.seen for result in results if result.job.kind == "crowd"), Counter())
        missing += [f"the fault: {fault}" for fault in FAULTS if not met[f"fault {fault}"]]
    if commands >= 1_000 and accepted.total() < SHARE_ACCEPTED * commands:
        missing.append(f"{SHARE_ACCEPTED:.0%} accepted: {accepted.total()} of {commands}")
    return missing


def _again(seen: Counter[str]) -> int:
    return sum(seen[f"{name} again"] for name in OPERATIONS)


def _by_operation(seen: Counter[str]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    accepted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    for what, times in seen.items():
        name, _, outcome = what.partition(" ")
        if name not in OPERATIONS:
            continue
        if outcome == "accepted":
            accepted[name] += times
        elif outcome not in ("again", "proposed"):  # proposals are accepted too
            refused[name] += times
            codes[outcome] += times
    return accepted, refused, codes


def table(results: Sequence[Result]) -> str:
    """Each operation with how often it was accepted and refused, `<` where that is less than in a record run;
    then every refusal code."""
    seen: Counter[str] = sum((result.seen for result in results), Counter())
    accepted, refused, codes = _by_operation(seen)
    rows = [f"{'operation':18} {'accepted':>9}  {'refused':>9}  {'again':>9}"]
    for name in sorted(OPERATIONS):
        little = [
            "<" if times < enough else " "
            for times, enough in ((accepted[name], RECORD_ACCEPTED), (refused[name], RECORD_REFUSED))
        ]
        rows.append(
            f"{name:18} {accepted[name]:9}{little[0]} {refused[name]:9}{little[1]} {seen[f'{name} again']:9}"
        )
    rows.append(
        f"< less than a record run shows: {RECORD_ACCEPTED:,} accepted and {RECORD_REFUSED} refused of each operation"
    )
    rows.append(f"repeats {seen['repeat replayed']}, keys used for something else {seen['reuse refused']}")
    told = (f"{code} {codes[code]}" for code in sorted(CODES | set(codes)))
    return "\n".join((*rows, *wrap(f"codes: {', '.join(told)}", 110)))


def line(results: Sequence[Result], seed: int, seconds: float) -> str:
    """The figures in one plain line."""
    seen: Counter[str] = sum((result.seen for result in results), Counter())
    accepted, refused, codes = _by_operation(seen)
    again = _again(seen)
    failed = sum(result.failure is not None for result in results)
    parts = [f"seed {seed}"]
    for kind in ("alone", "crowd"):
        times = [result.seconds for result in results if result.job.kind == kind]
        if times:
            parts.append(f"{len(times)} {kind} (median {median(times):.2f} s)")
    parts += [
        counted(accepted.total() + refused.total() + again, "command"),
        f"{accepted.total()} accepted",
        f"{refused.total()} refused with {len(codes)} of {len(CODES)} codes",
        f"{again} answered again",
    ]
    faults = sum(times for what, times in seen.items() if what.startswith("fault "))
    points = sum(what.startswith("crash ") for what in seen)
    if faults:
        parts.append(f"{counted(faults, 'fault')} at {counted(points, 'place')}")
    return f"sim: {', '.join(parts)}; {failed} failed, {seconds:.0f} s"


def report(results: Sequence[Result], seed: int, seconds: float, missing: list[str]) -> dict[str, Any]:
    """The same for machines, with everything that was counted."""
    seen: Counter[str] = sum((result.seen for result in results), Counter())
    accepted, refused, codes = _by_operation(seen)
    times = sorted(result.seconds for result in results)
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "seeds": dict(Counter(result.job.kind for result in results)),
        "seconds_per_seed": {"median": round(median(times), 3), "max": round(times[-1], 3)},
        "commands": accepted.total() + refused.total() + _again(seen),
        "operations": sum(result.operations for result in results),
        "accepted": dict(sorted(accepted.items())),
        "refused": dict(sorted(refused.items())),
        "codes": dict(sorted(codes.items())),
        "seen": dict(sorted(seen.items())),
        "lacking": missing,
        "failed": [result.job.seed for result in results if result.failure],
    }
