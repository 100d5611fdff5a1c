"""`make sim`: many seeds on several cores, one plain line of figures at the end, the shortest story of what failed.

make sim SEEDS=200 SEED=7 OPS=200 FAULTS=50     seeds 7 … 206 alone, the first 50 of them with crowds and faults too
make sim SEED=41 ONLY=3,17,40 KIND=alone        what a failure named: only these operations of one seed
"""

import sys
import time

from bench.ending import ends_when_told
from tests.conftest import claim_home, leave_home, start_servers
from tests.sim.figures import lacking, line, report, table, whole
from tests.sim.seeds import KINDS, Job, simulate
from tests.words import Told, keep

SEEDS = 200
OPERATIONS = 200


def main() -> int:
    told = Told("sim")
    jobs, workers = asked(told), told.number("WORKERS", 2, least=1)
    ends_when_told()
    began = time.monotonic()
    claim_home()
    try:
        start_servers()
        results = []
        for result in simulate(jobs, workers):
            results.append(result)
            if result.failure:
                print(f"\n{result.failure.story()}\n", flush=True)
    finally:
        leave_home()
    seconds = time.monotonic() - began
    missing = lacking(results)
    good = not missing and not any(result.failure for result in results)
    figures = report(results, jobs[0].seed, seconds, missing)
    keep("sim", figures, whole=good and whole(results))
    if len(jobs) > 1:
        print(table(results))
    for what in missing:
        print(f"sim: not reached: {what}")
    print(line(results, jobs[0].seed, seconds))
    return 0 if good else 1


def asked(told: Told) -> list[Job]:
    """The seeds that are to be run: of one kind, or shops alone and a quarter as many crowds."""
    first, many, only = told.seed(), told.number("OPS", OPERATIONS, least=1), told.numbers("ONLY")
    if kind := told.environ.get("KIND"):
        told.known([kind], list(KINDS))
        return [Job(kind, first + n, many, only) for n in range(told.number("SEEDS", 1, least=1))]
    seeds = told.number("SEEDS", SEEDS)
    faults = told.number("FAULTS", seeds // 4)
    if not seeds and not faults:
        told.refuse("SEEDS=0 and no FAULTS: nothing would be run")
    alone = [Job("alone", first + n, many, only) for n in range(seeds)]
    # Of an operation in a crowd there is much more to be seen.
    return alone + [Job("crowd", first + n, max(1, many * 3 // 10), only) for n in range(faults)]


if __name__ == "__main__":
    sys.exit(main())
