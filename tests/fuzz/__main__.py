"""`make fuzz`: generated, spoilt and forged requests against a server of its own; one plain line at the end.

make fuzz REQUESTS=100000 SEED=7
"""

import asyncio
import json
import os
import secrets
import sys
from pathlib import Path

from tests.conftest import claim_home, fresh_database, leave_home, start_servers
from tests.fuzz.figures import faults, line, report
from tests.fuzz.run import run

PROOF = Path(__file__).parents[2] / "proof"


def main() -> int:
    seed = int(os.environ.get("SEED") or secrets.randbelow(2**31))
    requests = int(os.environ.get("REQUESTS") or 100_000)
    claim_home()
    try:
        redis_url = start_servers().redis_url
        with fresh_database() as database:
            outcome = asyncio.run(run(database, redis_url, seed, requests, rulesets=requests // 5))
    finally:
        leave_home()
    PROOF.mkdir(exist_ok=True)
    (PROOF / "fuzz.json").write_text(json.dumps(report(outcome), indent=2) + "\n", "utf-8")
    wrong = faults(outcome)
    for fault in wrong:
        print(f"fuzz: {fault}\n")
    print(line(outcome))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
