"""`make mutants`: planted bugs, each to be caught; one plain line of figures at the end.

make mutants                                                                  all of them
make mutants ONLY="a hold that ran out,the oldest lot"                        whose names hold one of these pieces
make mutants ARGS="hold lapse"                                                whose names hold one of these words
"""

import sys
import time
from collections.abc import Sequence

from bench.ending import ends_when_told
from tests.conftest import claim_home, leave_home, start_servers
from tests.mutants.bugs import BUGS
from tests.mutants.hunt import Hunted, false_alarms, hunt, line, remember, report
from tests.words import Told, counted, keep


def main(words: Sequence[str]) -> int:
    told = Told("mutants")
    wanted = chosen(told, [*words, *told.pieces("ONLY")])
    ends_when_told()
    began = time.monotonic()
    claim_home()
    try:
        start_servers()
        hunted: list[Hunted] = []
        for one in hunt(wanted):
            hunted.append(one)
            by = one.said if one.seed is None else f"{BUGS[one.what].by}, {counted(one.seed, 'seed')}"
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
    seconds = time.monotonic() - began
    good = all(one.caught for one in hunted) and not alarms
    keep("mutants", report(hunted, alarms, seconds), whole=good and len(hunted) == len(BUGS))
    print(line(hunted, seconds))
    return 0 if good else 1


def chosen(told: Told, pieces: Sequence[str]) -> list[str]:
    """The bugs whose names hold one of these pieces, all without any. A piece that no name holds is a mistake."""
    for piece in pieces:
        if not any(piece in what for what in BUGS):
            told.unknown(piece, list(BUGS))
    return [what for what in BUGS if not pieces or any(piece in what for piece in pieces)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
