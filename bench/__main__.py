"""`python -m bench`: run the rows, print one line of figures, write results.json and RESULTS.md.

`python -m bench profile pipe|http|quote|balance` shows instead where the time of a purchase goes, and
`python -m bench sweeps` runs what happens by itself, to so many members at once (`--lots`), and `python -m bench fair`
lets one program flood another, and more come than can be done.
"""

import argparse
import sys

from bench import profile, report
from bench.baseline import BaselineBroken
from bench.cluster import Cluster, NotDurable, cluster
from bench.fair import QUOTA_PER_S, Fair, FairVoid
from bench.fair import sized as fairly_sized
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
            if arguments.command == "sweeps":
                return _sweeps(ours, arguments.lots, profiled=arguments.profiled)
            if arguments.command == "fair":
                return _fair(ours, arguments.quota)
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
        FairVoid,
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


def _fair(ours: Cluster, quota_per_s: int) -> int:
    fair = Fair(ours, fairly_sized(quota_per_s))
    fair.run()
    if quota_per_s == QUOTA_PER_S:
        report.write_fair(fair.figures, ours)
    print(report.fair_headline(fair.figures))
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
    sweeps = commands.add_parser("sweeps", help="what falls due of many members, against COPY")
    sweeps.add_argument(
        "--lots", type=int, default=1_000_000, help="with fewer than 100,000 it writes no files"
    )
    sweeps.add_argument("--profile", dest="profiled", action="store_true", help="show where the time goes")
    fair = commands.add_parser("fair", help="what a program notices of another one's flood, and overload")
    fair.add_argument(
        "--quota",
        type=int,
        default=QUOTA_PER_S,
        help="requests a second; with another one it writes no files",
    )
    parser.set_defaults(profile=None)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
