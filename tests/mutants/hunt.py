"""Plants a bug in a copy of the sources and runs what must notice it, on the servers of this run.

A place that is gone must be planted anew. `seeds.json` says which seed of the simulation was the first to notice a
bug, counted from 1; `make mutants` looks from 1 on and writes it, a quick share begins there and goes on behind it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, NamedTuple

from tests.mutants.bugs import ALONE, BUGS, CROWD, Bug

ROOT = Path(__file__).parents[2]
SEEDS = Path(__file__).with_name("seeds.json")
OPERATIONS = {ALONE: 100, CROWD: 60}
SEEDS_MAX = 50  # tried for one bug
SEEDS_BEHIND = 12  # the one that noticed it last time, when it does no longer
SECONDS_MAX = 300
DRAWN = 11  # seed of Hypothesis
ENVIRON = {"PROOF_SEED": "7", "PROOF_QUICK": "1", "PROOF_SIZE": "1"}


class Hunted(NamedTuple):
    """What became of one bug."""

    what: str
    seed: int | None  # the one that noticed; None: not noticed, or by a test
    caught: bool
    seconds: float
    said: str


def known() -> dict[str, int]:
    """The seeds that noticed, as the last whole run wrote them."""
    return json.loads(SEEDS.read_text("utf-8")) if SEEDS.exists() else {}


def remember(hunted: Sequence[Hunted]) -> None:
    """Write down the seeds that noticed."""
    seeds = {what: seed for what, seed in known().items() if what in BUGS}
    seeds |= {one.what: one.seed for one in hunted if one.seed is not None}
    SEEDS.write_text(json.dumps(dict(sorted(seeds.items())), indent=2) + "\n", "utf-8")


def hunt(what: Sequence[str], *, quick: bool = False, together: int = 2) -> Iterator[Hunted]:
    """Bugs planted and looked for, some at a time. Needs: servers that run."""
    firsts = known() if quick else {}
    many = SEEDS_BEHIND if quick else SEEDS_MAX
    with ThreadPoolExecutor(together) as hunters:
        yield from hunters.map(lambda one: _hunt(one, firsts.get(one, 1), many), what)


def false_alarms(hunted: Sequence[Hunted]) -> list[str]:
    """The runs that noticed something and do so without a bug as well: they prove nothing. Needs: servers that run."""
    seeds: dict[str, set[int]] = {}
    for one in hunted:
        if one.caught:
            seeds.setdefault(BUGS[one.what].by, set()).update(() if one.seed is None else (one.seed,))
    with ThreadPoolExecutor(2) as hunters:
        ended = hunters.map(lambda by: _run(by, sorted(seeds[by])), seeds)
        return [f"{by} {said[-1]}" for by, (code, said) in zip(seeds, ended, strict=True) if code]


def line(hunted: Sequence[Hunted], seconds: float) -> str:
    """The figures in one plain line."""
    caught = [one for one in hunted if one.caught]
    needed = [one.seed for one in caught if one.seed]
    seeds = f"; {len(needed)} by seeds: median {median(needed):g}, at most {max(needed)}" if needed else ""
    missed = "".join(f"; NOT caught: {one.what}" for one in hunted if not one.caught)
    return f"mutants: {len(caught)}/{len(hunted)} caught{seeds}; {seconds:.0f} s{missed}"


def report(hunted: Sequence[Hunted], alarms: Sequence[str], seconds: float) -> dict[str, Any]:
    """The same for machines, bug by bug."""
    return {
        "bugs": len(hunted),
        "caught": sum(one.caught for one in hunted),
        "caught_by_seeds": sum(one.caught and one.seed is not None for one in hunted),
        "missed": [one.what for one in hunted if not one.caught],
        "noticed_without_a_bug": list(alarms),
        "seconds": round(seconds, 1),
        "results": [
            {"bug": one.what, "by": BUGS[one.what].by, "seed": one.seed, "caught": one.caught}
            | {"seconds": round(one.seconds, 1)}
            for one in hunted
        ],
    }


def _hunt(what: str, first: int, many: int) -> Hunted:
    began, bug = monotonic(), BUGS[what]
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "src"
        # With the compiled files: they are as old as their sources, so only the changed file is compiled anew.
        shutil.copytree(ROOT / "src", source)
        (source.parent / "migrations").symlink_to(ROOT / "migrations")  # found beside the sources
        _plant(source / "loyalty" / bug.file, bug)
        code, said = _run(bug.by, range(first, first + many), {"PYTHONPATH": str(source)})
    seed = int(said[-1].split()[1]) if code == 1 and said[-1].startswith("noticed ") else None
    noticed = seed is not None or (code == 1 and "failed" in said[-1])
    return Hunted(what, seed, noticed, monotonic() - began, said[-1])


def _plant(place: Path, bug: Bug) -> None:
    text = place.read_text("utf-8")
    assert bug.right in text, f"{bug.file} no longer says what is made wrong here: {bug.right}"
    place.write_text(text.replace(bug.right, bug.wrong, 1), "utf-8")


def _run(by: str, seeds: Sequence[int], more: dict[str, str] | None = None) -> tuple[int, list[str]]:
    """Run what notices: how it ended and the lines it said."""
    if by in OPERATIONS:
        command = ["-m", "tests.mutants.notice", by, str(OPERATIONS[by]), *map(str, seeds)]
    else:
        # Of what Hypothesis draws, always the same: a bug is noticed by these examples or it is not.
        drawn = f"--hypothesis-seed={DRAWN}"
        command = ["-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", drawn, by]
    try:
        ended = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=os.environ | ENVIRON | (more or {}),
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
    except subprocess.TimeoutExpired:
        return -1, [f"not noticed within {SECONDS_MAX} s"]
    return ended.returncode, ended.stdout.strip().splitlines() or [ended.stderr[-2_000:] or "nothing"]
