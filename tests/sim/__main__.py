"""`make sim`: many seeds on several cores, one plain line of figures at the end, the shortest story of what failed.

make sim SEEDS=200 SEED=7 OPS=200 FAULTS=50     seeds 7 … 206 alone, 50 of them with crowds and faults too
make sim SEED=41 ONLY=3,17,40 KIND=alone        what a failure named: only these operations of one seed
"""

import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import claim_home, leave_home, start_servers
from tests.sim.figures import lacking, line, report, table
from tests.sim.seeds import Job, simulate

PROOF = Path(__file__).parents[2] / "proof"


def main() -> int:
    told: Any = os.environ.get
    first = int(told("SEED") or secrets.randbelow(2**31))
    many = int(told("OPS") or 200)
    only = tuple(map(int, told("ONLY").split(","))) if told("ONLY") else ()
    if kind := told("KIND"):
        jobs = [Job(kind, first + n, many, only) for n in range(int(told("SEEDS") or 1))]
    else:
        jobs = [Job("alone", first + n, many, only) for n in range(int(told("SEEDS") or 200))]
        jobs += [Job("crowd", first + n, many * 3 // 10, only) for n in range(int(told("FAULTS") or 50))]
    began = time.monotonic()
    claim_home()
    try:
        start_servers()
        results = []
        for result in simulate(jobs, int(told("WORKERS") or 2)):
            results.append(result)
            if result.failure:
                print(f"\n{result.failure.story()}\n", flush=True)
    finally:
        leave_home()
    seconds = time.monotonic() - began
    missing = lacking(results)
    PROOF.mkdir(exist_ok=True)
    (PROOF / "sim.json").write_text(
        json.dumps(report(results, first, seconds, missing), indent=2) + "\n", "utf-8"
    )
    if len(jobs) > 1:
        print(table(results))
    for what in missing:
        print(f"sim: not reached: {what}")
    print(line(results, first, seconds))
    return 1 if missing or any(result.failure for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
