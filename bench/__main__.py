"""`python -m bench`: run the rows, print one line of figures, write results.json and RESULTS.md.

`python -m bench profile pipe|http|quote|balance|verify` shows instead where the time of one goes.
`python -m bench sweeps` runs what happens by itself, to so many members at once (`--lots`); `python -m bench clock`
moves a sandbox three years ahead; `python -m bench growth` tells what becomes of purchases and verification when there
are so many members (`--members`); `python -m bench fair` lets one program flood another, and more come than can be
done.
"""

import argparse
import sys
from collections.abc import Sequence

from bench import growth, profile, report, sweeps
from bench.baseline import BaselineBroken
from bench.clock import Move
from bench.cluster import MACHINE_MB, Cluster, NotDurable, cluster
from bench.crowd import NotCopied
from bench.ending import ends_when_told
from bench.fair import QUOTA_PER_S, Fair, FairVoid
from bench.fair import sized as fairly_sized
from bench.http import HttpBroken
from bench.pipe import PipeBroken
from bench.rows import BooksBroken, RowsMissing
from bench.run import ROWS, SIZES, Bench, Void
from bench.sweeps import SweepBroken
from bench.world import LEAST_KEPT

SIZE = "small"


def main() -> int:
    arguments = asked(sys.argv[1:])
    ends_when_told()
    try:
        # As docs/operations.md wants it for a large program.
        memory_mb = MACHINE_MB // 4 if arguments.command == "growth" else None
        with cluster(memory_mb) as ours:
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
            if arguments.command == "growth":
                return _growth(ours, arguments.members)
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
        NotCopied,
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
    run = sweeps.Sweeps(ours, sweeps.sized(lots), profiled=profiled)
    run.run()
    if lots >= LEAST_KEPT and not profiled:
        report.write_sweeps(run.figures, ours, lots)
    print(report.sweeps_headline(run.figures))
    return 0


def _growth(ours: Cluster, members: int) -> int:
    run = growth.Growth(ours, growth.sized(members))
    run.run()
    if members >= LEAST_KEPT:
        report.write_growth(run.figures, ours, members)
    print(report.growth_headline(run.figures.values))
    return 0


def _fair(ours: Cluster, quota_per_s: int) -> int:
    fair = Fair(ours, fairly_sized(quota_per_s))
    fair.run()
    if quota_per_s == QUOTA_PER_S:
        report.write_fair(fair.figures, ours)
    print(report.fair_headline(fair.figures))
    return 0


def asked(words: Sequence[str]) -> argparse.Namespace:
    """What the command line says. What would be taken no notice of is refused."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Speed, as ratios on the same machine."
    )
    parser.add_argument("--size", choices=SIZES, help=f"of the rows and of profiles; {SIZE} unless told")
    parser.add_argument(
        "--only", action="append", choices=ROWS, help="this row alone, again for more; writes no files"
    )
    commands = parser.add_subparsers(dest="command")
    where = commands.add_parser("profile", help="where the time of a purchase goes")
    where.add_argument("profile", nargs=1, choices=("pipe", "http", "quote", "balance", "verify"))
    commands.add_parser("clock", help="a sandbox of 1,000 members, moved three years ahead")
    swept = commands.add_parser("sweeps", help="what falls due of many members, against COPY")
    swept.add_argument(
        "--lots", type=int, default=1_000_000, help="with fewer than 100,000 it writes no files"
    )
    grown = commands.add_parser("growth", help="purchases and verification of many members, against few")
    grown.add_argument(
        "--members", type=int, default=1_000_000, help="with fewer than 100,000 it writes no files"
    )
    swept.add_argument("--profile", dest="profiled", action="store_true", help="show where the time goes")
    fair = commands.add_parser("fair", help="what a program notices of another one's flood, and overload")
    fair.add_argument(
        "--quota",
        type=int,
        default=QUOTA_PER_S,
        help="requests a second; with another one it writes no files",
    )
    parser.set_defaults(profile=None)
    arguments = parser.parse_args(words)
    command = arguments.command
    if arguments.only and command:
        parser.error(f"--only names rows: {command} has none")
    if arguments.size and command not in (None, "profile"):
        has = next(
            (f"has --{name}" for name in ("lots", "members", "quota") if name in arguments), "has one size"
        )
        parser.error(f"--size is of rows and profiles: {command} {has}")
    arguments.size = arguments.size or SIZE
    return arguments


if __name__ == "__main__":
    sys.exit(main())
