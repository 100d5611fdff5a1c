"""`make mutants`: every planted bug, or those whose names hold a word of ARGS; one plain line of figures at the end."""

import sys
import time

from tests.conftest import claim_home, leave_home, start_servers
from tests.mutants.bugs import BUGS
from tests.mutants.hunt import Hunted, false_alarms, hunt, line, remember


def main(words: list[str]) -> int:
    wanted = [what for what in BUGS if not words or any(word in what for word in words)]
    began = time.monotonic()
    claim_home()
    try:
        start_servers()
        hunted: list[Hunted] = []
        for one in hunt(wanted):
            hunted.append(one)
            by = one.said if one.seed is None else f"{BUGS[one.what].by}, {one.seed} seeds"
            print(
                f"  {one.seconds:5.1f} s  {'caught' if one.caught else 'MISSED'}  {one.what} ({by})",
                flush=True,
            )
        alarms = false_alarms(hunted)
    finally:
        leave_home()
    remember(hunted)
    for run in alarms:
        print(f"mutants: noticed without a bug as well: {run}")
    print(line(hunted, time.monotonic() - began))
    return 0 if all(one.caught for one in hunted) and not alarms else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
