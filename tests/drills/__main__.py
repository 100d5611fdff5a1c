"""`make drill`: everything that may break, broken under load, with seeds; one plain line of figures at the end.

make drill SEEDS=3 SEED=7                        all drills with seeds 7, 8 and 9
make drill SEEDS=1 SEED=7 ONLY=postgres_stopped  one of them again; several are separated by commas
"""

import asyncio
import json
import logging
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import claim_home, leave_home
from tests.drills.drill import Result, perform
from tests.drills.figures import line, progress, report
from tests.drills.troubles import DRILLS, Drill

PROOF = Path(__file__).parents[2] / "proof"


def main() -> int:
    told: Any = os.environ.get
    first, many = int(told("SEED") or secrets.randbelow(2**31)), int(told("SEEDS") or 3)
    drills = chosen(told("ONLY") or "")
    if not drills:
        print(f"drill: there are {', '.join(drill.name for drill in DRILLS)}")
        return 2
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
    PROOF.mkdir(exist_ok=True)
    (PROOF / "drill.json").write_text(json.dumps(report(results, seconds), indent=2) + "\n", "utf-8")
    print(line(results, seconds))
    return 1 if any(result.failure for result in results) or all(result.left_out for result in results) else 0


def chosen(names: str) -> list[Drill]:
    """The drills of these names, all without any; none when a name is unknown."""
    wanted = names.split(",") if names else [drill.name for drill in DRILLS]
    found = [drill for drill in DRILLS if drill.name in wanted]
    return found if len(found) == len(wanted) else []


if __name__ == "__main__":
    sys.exit(main())
