"""`python -m bench`: run the rows, print one line of figures, write results.json and RESULTS.md.

`python -m bench profile pipe|http|quote|balance` shows instead where the time of a purchase goes, and
`python -m bench sweeps` runs what happens by itself, to so many members at once (`--lots`); `python -m bench clock`
moves a sandbox three years ahead.
"""

import argparse
import sys

from bench import profile, report
from bench.baseline import BaselineBroken
from bench.clock import Move
from bench.cluster import Cluster, NotDurable, cluster
from bench.http import HttpBroken
from bench.pipe import PipeBroken
from bench.rows import BooksBroken, RowsMissing
from bench.run import ROWS, SIZES, Bench, Void
from bench.sweeps import LEAST_KEPT, SweepBroken, Sweeps, sized


def main() -> int:
    arguments = _arguments()
    try:
        with cluster() as ours:
            print(", ".join(f"{name} = {value}" for name, value in ours.settings.items()), file=sys.stderr)
            if arguments.profile:
                profile.show(ours, arguments.profile[0], SIZES[arguments.size])
                return 0
            if arguments.command == "clock":
                move = Move(ours)
                move.run()
                print(move.headline)
                return 0
            if arguments.command == "sweeps":
                return _sweeps(ours, arguments.lots, profiled=arguments.profiled)
            bench = Bench(ours, SIZES[arguments.size])
            bench.run(arguments.only or ROWS)
            if not arguments.only and arguments.size != "tiny":
                report.write(bench.figures, ours, arguments.size)
            print(report.headline(bench.figures))
    except (
        NotDurable,
        BaselineBroken,
        HttpBroken,
        PipeBroken,
        RowsMissing,
        BooksBroken,
        SweepBroken,
        Void,
    ) as error:
        print(f"bench: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _sweeps(ours: Cluster, lots: int, *, profiled: bool) -> int:
    sweeps = Sweeps(ours, sized(lots), profiled=profiled)
    sweeps.run()
    if lots >= LEAST_KEPT and not profiled:
        report.write_sweeps(sweeps.figures, ours, lots)
    print(report.sweeps_headline(sweeps.figures))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Speed, as ratios on the same machine."
    )
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument(
        "--only", action="append", choices=ROWS, help="this row alone, again for more; writes no files"
    )
    commands = parser.add_subparsers(dest="command")
    where = commands.add_parser("profile", help="where the time of a purchase goes")
    where.add_argument("profile", nargs=1, choices=("pipe", "http", "quote", "balance"))
    commands.add_parser("clock", help="a sandbox of 1,000 members, moved three years ahead")
    sweeps = commands.add_parser("sweeps", help="what falls due of many members, against COPY")
    sweeps.add_argument(
        "--lots", type=int, default=1_000_000, help="with fewer than 100,000 it writes no files"
    )
    sweeps.add_argument("--profile", dest="profiled", action="store_true", help="show where the time goes")
    parser.set_defaults(profile=None)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
