"""The rows of the bench: who runs against whom, and which figures come out.

Every row runs ours and its rival in turns on the same cluster; the order of rows is from the inside out.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from bench import evaluate
from bench.baseline import CLIENTS, Baseline
from bench.cluster import wal_bytes, wal_position
from bench.contest import Contest
from bench.http import CONNECTIONS, Http, Site
from bench.pipe import SUBMITTERS, Pipe
from bench.rows import check, check_books, texts_of_one
from bench.sample import Sample, Stretch
from bench.spending import WORK, Spending
from bench.world import BEFORE, MEMBERS, PROGRAM, SPENDING_PROGRAM, occurred_at


class Void(Exception):
    """The rival is not what it should be: the ratios mean nothing."""


@dataclass(frozen=True)
class Size:
    """How long a bench takes and how sure its medians are."""

    members: int
    turns: int
    seconds: int  # of one turn
    search_seconds: int  # per number of clients, when the rival's best is looked for
    calls: int  # of the evaluator in one turn
    warm_s: float = 1.0  # not measured, before each turn of ours
    connections: int = CONNECTIONS
    submitters: int = SUBMITTERS
    clients: tuple[int, ...] = CLIENTS

    @property
    def stretch(self) -> Stretch:
        return Stretch(self.warm_s, self.seconds)


SIZES = {
    "tiny": Size(
        members=20,
        turns=1,
        seconds=1,
        search_seconds=1,
        calls=100,
        warm_s=0.1,
        connections=4,
        submitters=4,
        clients=(2,),
    ),
    "small": Size(members=MEMBERS, turns=3, seconds=4, search_seconds=2, calls=5_000),
    "full": Size(members=MEMBERS, turns=5, seconds=12, search_seconds=5, calls=50_000),
}
# Reads come first: members have but the lots they begin with.
ROWS = ("evaluate", "reads", "spend", "pipe", "lone", "http", "open")
SALE_PER_S = 2_500  # purchases of a busy day


@dataclass
class Bench(Contest):
    """One prepared cluster with both programs on it."""

    size: Size
    best_spread: int = 0  # number of clients at which the rival is fastest over all members; 0: not known yet
    best_hot: int = 0

    def prepare(self) -> None:
        at = occurred_at(datetime.now(UTC))
        self.say(f"{self.size.members:,} members, each with {BEFORE} purchases …")
        self.pipe = Pipe(self.cluster, at, self.size.members)
        self.pipe.prepare()
        self.baseline = Baseline(self.cluster, self.size.members)
        self.baseline.prepare(texts_of_one(self.cluster.servers.superuser_url, PROGRAM), at)
        self.http = Http(self.cluster, at, self.size.members)

    def run(self, rows: Sequence[str]) -> None:
        """Prepare, run these rows and check what they left."""
        if tuple(rows) != ("evaluate",):
            self.prepare()
        for row in ROWS:
            if row in rows:
                self.say(row)
                getattr(self, f"row_{row}")()
        if tuple(rows) != ("evaluate",):
            self.check()

    def check(self) -> None:
        """Count what every purchase left, and verify the books. Raises: RowsMissing, BooksBroken."""
        self.baseline.check()
        check(self.cluster.servers.superuser_url, PROGRAM, self.pipe.recorded + self.http.recorded)
        started = time.perf_counter()
        decisions = check_books(self.cluster.servers.database_url, PROGRAM)
        self.figures.values["verify_decisions_per_s"] = decisions / (time.perf_counter() - started)
        self._tell("verify_decisions_per_s")

    # --- rows --------------------------------------------------------------------------------------------

    def row_evaluate(self) -> None:
        for rules in (100, 1_000):
            for kind, plain in (("", False), ("_base_only", True)):
                name = f"evaluate_{rules}{kind}_us"
                self.figures.values[name] = evaluate.measure(rules, 9, self.size.calls, plain=plain)
                self._tell(name)

    def row_pipe(self) -> None:
        """The road without HTTP, over all members and on one."""
        self._best_clients()
        size = self.size
        self._turns(
            {
                "pipe": partial(self.pipe.run, size.submitters, size.stretch),
                "baseline": partial(self.baseline.run, self.best_spread, size.seconds),
                "pipe_hot": partial(self.pipe.run, size.submitters, size.stretch, hot=True),
                "baseline_hot": partial(self.baseline.run, self.best_hot, size.seconds, hot=True),
            }
        )
        self._ratio("pipe_over_baseline", "pipe_per_s", "baseline_per_s")
        self._ratio("pipe_hot_over_baseline", "pipe_hot_per_s", "baseline_hot_per_s")
        self._ratio("baseline_hot_over_spread", "baseline_hot_per_s", "baseline_per_s")
        short = Stretch(0.0, size.search_seconds)
        self._measure_wal("pipe", self.pipe, partial(self.pipe.run, size.submitters, short))
        self._measure_wal(
            "baseline", self.baseline, partial(self.baseline.run, self.best_spread, short.seconds)
        )
        self._ratio("baseline_wal_over_pipe", "baseline_wal_bytes", "pipe_wal_bytes")
        self._refuse_void()

    def _refuse_void(self) -> None:
        """Raises: Void. Short runs are forgiven: their figures are not kept."""
        if self.size.turns < 3:
            return
        if self.figures.values["baseline_hot_over_spread"] >= 1:
            raise Void("the baseline is no faster over all accounts than on one")
        if not 0.85 <= self.figures.values["baseline_wal_over_pipe"] <= 1.15:
            raise Void("the baseline's WAL per purchase is not within 15 % of ours")

    def row_lone(self) -> None:
        """One purchase at a time: what a caller waits on an idle server."""
        self._turns(
            {
                "lone_command": partial(self.pipe.run, 1, self.size.stretch),
                "baseline_1": partial(self.baseline.run, 1, self.size.seconds),
            }
        )
        self._ratio("lone_command_over_baseline_latency", "lone_command_mean_us", "baseline_1_mean_us")

    def row_http(self) -> None:
        """Purchases over HTTP, by one and by two server processes."""
        self._best_clients()
        size = self.size
        with ExitStack() as stack:
            site = Site.opened(self.cluster)
            one, two = (stack.enter_context(site.served(processes)) for processes in (1, 2))
            self._turns(
                {
                    "purchase_http_1p": partial(self.http.purchases, one, size.connections, size.stretch),
                    "baseline_beside_http": partial(self.baseline.run, self.best_spread, size.seconds),
                    "purchase_http_2p": partial(self.http.purchases, two, size.connections, size.stretch),
                    "purchase_http_hot_1p": partial(
                        self.http.purchases, one, size.connections, size.stretch, hot=True
                    ),
                    "baseline_hot_beside_http": partial(
                        self.baseline.run, self.best_hot, size.seconds, hot=True
                    ),
                    "purchase_http_hot_2p": partial(
                        self.http.purchases, two, size.connections, size.stretch, hot=True
                    ),
                    "http8": partial(self.http.purchases, one, 8, size.stretch),
                    "baseline_8": partial(self.baseline.run, 8, size.seconds),
                }
            )
        for name in ("purchase_http", "purchase_http_hot"):
            best = max("1p", "2p", key=lambda processes: self.figures.values[f"{name}_{processes}_per_s"])
            self.figures.note(f"{name}_per_s", self.figures.ranges[f"{name}_{best}_per_s"])
            self.figures.values[f"{name}_processes"] = int(best[0])
        self._ratio("purchase_http_over_baseline", "purchase_http_per_s", "baseline_beside_http_per_s")
        self._ratio(
            "purchase_http_hot_over_baseline", "purchase_http_hot_per_s", "baseline_hot_beside_http_per_s"
        )
        self._ratio("http8_over_baseline", "http8_per_s", "baseline_8_per_s")

    def row_open(self) -> None:
        """Purchases that come whether those before are answered or not: at half of what each can, and as on a sale."""
        if "purchase_http_per_s" not in self.figures.values:
            self.row_http()
        size, known = self.size, self.figures.values
        half, half_of_baseline = (
            known[f"{name}_per_s"] / 2 for name in ("purchase_http", "baseline_beside_http")
        )
        with Site.opened(self.cluster).served(int(known["purchase_http_processes"])) as server:
            ours = partial(self.http.purchases, server, size.connections, size.stretch)
            contenders: dict[str, Callable[[], Sample]] = {
                "open_http": partial(ours, rate=half),
                "open_baseline": partial(
                    self.baseline.run, self.best_spread, size.seconds, rate=half_of_baseline
                ),
            }
            # More than can be done tells nothing but that it is too much.
            if known["purchase_http_per_s"] > SALE_PER_S:
                contenders["open_sale"] = partial(ours, rate=SALE_PER_S)
            self._turns(contenders)
        self._ratio("open_http_over_baseline_p99", "open_http_p99_us", "open_baseline_p99_us")

    def row_reads(self) -> None:
        """Quote and balance against routes that only decode and answer."""
        size = self.size
        with ExitStack() as stack:
            site = Site.opened(self.cluster)
            ours = stack.enter_context(site.served(1))
            noop = stack.enter_context(site.noop(ours))
            self._turns(
                {
                    f"{what}{kind}": partial(
                        self.http.reads, server, site.plan(what, size.members, size.connections, size.stretch)
                    )
                    for what in ("quote", "balance")
                    for kind, server in (("", ours), ("_noop", noop))
                }
            )
        self._ratio("quote_over_noop", "quote_per_s", "quote_noop_per_s")
        self._ratio("balance_over_noop", "balance_per_s", "balance_noop_per_s")

    def row_spend(self) -> None:
        """Redemptions, and holds placed and taken, against functions that do just that; both at their best."""
        size = self.size
        spending = Spending(self.cluster, occurred_at(datetime.now(UTC)), size.members)
        spending.prepare()
        best = {work: self._best_of(work, spending) for work in WORK}
        with ExitStack() as stack:
            served = stack.enter_context(Site.opened(self.cluster, SPENDING_PROGRAM).served(2))
            contenders: dict[str, Callable[[], Sample]] = {}
            for work in WORK:
                contenders[f"{work}_http"] = partial(
                    spending.run, work, served, size.connections, size.stretch
                )
                contenders[f"baseline_{work}"] = partial(spending.rival, work, best[work], size.seconds)
            self._turns(contenders)
        for work in WORK:
            self._ratio(f"{work}_http_over_baseline", f"{work}_http_per_s", f"baseline_{work}_per_s")
        spending.check()

    # --- what rows share -----------------------------------------------------------------------------------

    def _best_clients(self) -> None:
        """Find the rival's best number of clients once, over all members and on one."""
        if not self.best_spread:
            self.best_spread = self._best("spread", hot=False)
            self.best_hot = self._best("hot", hot=True)

    def _best(self, name: str, *, hot: bool) -> int:
        return self._fastest(
            name, self.baseline.search(self.size.search_seconds, hot=hot, candidates=self.size.clients)
        )

    def _best_of(self, work: str, spending: Spending) -> int:
        return self._fastest(work, spending.search(work, self.size.search_seconds, self.size.clients))

    def _fastest(self, name: str, rates: dict[int, float]) -> int:
        """The number of clients at which a rival is fastest."""
        shown = ", ".join(f"{clients}: {rate:,.0f}/s" for clients, rate in rates.items())
        self.say(f"  baseline {name} by clients  {shown}")
        best = max(rates, key=rates.__getitem__)
        self.figures.values[f"baseline_{name}_clients"] = best
        return best

    def _measure_wal(self, name: str, of: Pipe | Baseline, run: Callable[[], Sample]) -> None:
        superuser, before = self.cluster.servers.superuser_url, of.recorded
        position = asyncio.run(wal_position(superuser))
        run()
        written = asyncio.run(wal_bytes(superuser, position))
        self.figures.values[f"{name}_wal_bytes"] = written / (of.recorded - before)
        self._tell(f"{name}_wal_bytes")

    def _turns(self, contenders: dict[str, Callable[[], Sample]]) -> None:
        self._in_turns(contenders, self.size.turns)
