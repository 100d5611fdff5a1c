"""Simulates seeds one after the other until one goes wrong: its number, and exit 1; exit 0 when none does."""

import sys
from collections.abc import Sequence

from tests.sim.seeds import Job, leave, run


def main(kind: str, operations: int, seeds: Sequence[int]) -> int:
    for seed in seeds:
        failure = run(Job(kind, seed, operations), shrink_s=0).failure
        if failure is not None:
            print(failure.error)
            print(f"noticed {seed}")
            return 1
    leave()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), [int(seed) for seed in sys.argv[3:]]))
