"""`make drill`: everything that may break, broken under load, with seeds; one plain line of figures at the end.

make drill SEEDS=3 SEED=7                        all drills with seeds 7, 8 and 9
make drill SEEDS=1 SEED=7 ONLY=postgres_stopped  one of them again; several are separated by commas
"""

import asyncio
import logging
import sys
import time

from bench.ending import ends_when_told
from tests.conftest import claim_home, leave_home
from tests.drills.drill import Result, perform
from tests.drills.figures import line, progress, report
from tests.drills.troubles import DRILLS, Drill
from tests.words import Told, keep

SEEDS = 3


def main() -> int:
    told = Told("drill")
    first, many, drills = told.seed(), told.number("SEEDS", SEEDS, least=1), chosen(told)
    ends_when_told()
    logging.getLogger("loyalty.embedded").setLevel(logging.ERROR)  # that a server was killed is our own doing
    began = time.monotonic()
    results: list[Result] = []
    claim_home()
    try:
        for seed in range(first, first + many):
            for drill in drills:
                results.append(asyncio.run(perform(drill, seed)))
                if len(results) == 1:
                    print(results[0].durability)
                print(progress(results[-1]), flush=True)
    finally:
        leave_home()
    seconds = time.monotonic() - began
    good = not any(result.failure for result in results) and not all(result.left_out for result in results)
    keep("drill", report(results, seconds), whole=good and len(drills) == len(DRILLS) and many >= SEEDS)
    print(line(results, seconds))
    return 0 if good else 1


def chosen(told: Told) -> list[Drill]:
    """The drills that ONLY names, all without it."""
    names = told.pieces("ONLY")
    told.known(names, [drill.name for drill in DRILLS])
    return [drill for drill in DRILLS if drill.name in names or not names]


if __name__ == "__main__":
    sys.exit(main())
