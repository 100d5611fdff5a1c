"""`make fuzz`: generated, spoilt and forged requests against a server of its own; one plain line at the end.

make fuzz REQUESTS=100000 SEED=7
"""

import asyncio
import sys

from bench.ending import ends_when_told
from tests.conftest import claim_home, fresh_database, leave_home, start_servers
from tests.fuzz.figures import faults, line, report
from tests.fuzz.run import run
from tests.words import Told, keep

REQUESTS = 100_000


def main() -> int:
    told = Told("fuzz")
    seed, requests = told.seed(), told.number("REQUESTS", REQUESTS, least=1)
    ends_when_told()
    claim_home()
    try:
        redis_url = start_servers().redis_url
        with fresh_database() as database:
            outcome = asyncio.run(run(database, redis_url, seed, requests, rulesets=requests // 5))
    finally:
        leave_home()
    wrong = faults(outcome)
    keep("fuzz", report(outcome), whole=not wrong and requests >= REQUESTS)
    for fault in wrong:
        print(f"fuzz: {fault}\n")
    print(line(outcome))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
