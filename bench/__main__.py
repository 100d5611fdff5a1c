"""`python -m bench`: run the rows, print one line of figures, write results.json and RESULTS.md.

`python -m bench profile pipe|http|quote|balance` shows instead where the time of a purchase goes.
"""

import argparse
import sys

from bench import profile, report
from bench.baseline import BaselineBroken
from bench.cluster import NotDurable, cluster
from bench.http import HttpBroken
from bench.pipe import PipeBroken
from bench.rows import BooksBroken, RowsMissing
from bench.run import ROWS, SIZES, Bench, Void


def main() -> int:
    arguments = _arguments()
    try:
        with cluster() as ours:
            print(", ".join(f"{name} = {value}" for name, value in ours.settings.items()), file=sys.stderr)
            if arguments.profile:
                profile.show(ours, arguments.profile[0], SIZES[arguments.size])
                return 0
            bench = Bench(ours, SIZES[arguments.size])
            bench.run(arguments.only or ROWS)
            if not arguments.only and arguments.size != "tiny":
                report.write(bench.figures, ours, arguments.size)
            print(report.headline(bench.figures))
    except (NotDurable, BaselineBroken, HttpBroken, PipeBroken, RowsMissing, BooksBroken, Void) as error:
        print(f"bench: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
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
    parser.set_defaults(profile=None)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
