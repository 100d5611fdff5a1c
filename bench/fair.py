"""What programs notice of each other, and what is left of speed when more comes than can be done.

*Fair*: two programs at one `loyalty serve` with a quota. One buys at a fixed rate, in turns alone and beside the other,
which sends four times its quota from a process of its own. *Overload*: twice as many purchases as can be done, none of
them under a quota; whoever is not told to come again has a purchase, and the books know it.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bench.cluster import Cluster
from bench.http import CONNECTIONS, Http, Server, Site
from bench.load import Report
from bench.pipe import Pipe
from bench.rows import check, check_books
from bench.sample import Sample, Stretch, figure
from bench.world import FLOODING_PROGRAM, PROGRAM, occurred_at

QUOTA_PER_S = 200
TIMES = 4  # as much as its quota does the flooding program send
OVER = 2  # times what can be done
BEGINS_S = 1.0  # a flood goes on for so long before purchases beside it begin
LONGER_S = 4.0  # and so much longer than they take does it last


class FairVoid(Exception):
    """The flood was none, or the overload: the figures mean nothing."""


@dataclass(frozen=True)
class Size:
    """How long it takes and how sure its figures are."""

    members: int  # of each program
    quota_per_s: int
    victim_per_s: int
    rounds: int
    stretch: Stretch  # of purchases, alone and beside the flood
    connections: int  # of the flood
    most: Stretch  # of purchases as fast as they can be done
    over: Stretch  # of too many of them
    crowd: int  # connections of these: enough that each is sent when it is due


TINY = Size(20, 20, 10, 1, Stretch(0.1, 1), 16, Stretch(0.1, 1), Stretch(0.1, 1), 200)


def sized(quota_per_s: int) -> Size:
    """The size whose figures are kept, for a quota."""
    return Size(
        members=2_000,
        quota_per_s=quota_per_s,
        victim_per_s=50,
        rounds=5,
        stretch=Stretch(1.0, 30),  # its p99 is made of fifteen of its purchases: of six it is chance
        connections=256,
        most=Stretch(2.0, 6),
        over=Stretch(5.0, 12),
        crowd=6_000,
    )


@dataclass
class Fair:
    """Both on one cluster; figures by flat names."""

    cluster: Cluster
    size: Size
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    figures: dict[str, float] = field(default_factory=dict[str, float])

    def run(self) -> None:
        size, at = self.size, occurred_at(datetime.now(UTC))
        self.say(f"two programs of {size.members:,} members …")
        self.victim, self.flooder = (Http(self.cluster, at, size.members) for _ in range(2))
        sites: list[Site] = []
        for program_id, http in ((PROGRAM, self.victim), (FLOODING_PROGRAM, self.flooder)):
            pipe = Pipe(self.cluster, at, size.members, program_id=program_id)
            pipe.prepare()
            http.recorded = pipe.recorded
            sites.append(Site.opened(self.cluster, program_id))
        with sites[0].served(1, LOYALTY_PROGRAM_REQUESTS_PER_S=str(size.quota_per_s)) as server:
            self._rounds(server, replace(server, authorization=sites[1].authorization))
        with sites[0].served(1) as server:
            self._overload(server)
        self.check()

    def check(self) -> None:
        """Raises: RowsMissing unless what was acknowledged is there and nothing else is; BooksBroken."""
        for program_id, http in ((PROGRAM, self.victim), (FLOODING_PROGRAM, self.flooder)):
            check(self.cluster.servers.superuser_url, program_id, http.recorded)
            check_books(self.cluster.servers.database_url, program_id)

    # --- one program floods ----------------------------------------------------------------------------------

    def _rounds(self, victim: Server, flooder: Server) -> None:
        alone, beside = list[Sample](), list[Sample]()
        floods: list[Report] = []
        for turn in range(self.size.rounds):
            for flooded in (False, True) if turn % 2 == 0 else (True, False):
                if flooded:
                    sample, report = self._flooded(victim, flooder)
                    beside.append(sample)
                    floods.append(report)
                else:
                    alone.append(self._bought(victim))
        found = self.figures
        for name, samples in (("alone", alone), ("flooded", beside)):
            found[f"victim_{name}_p50_ms"] = figure([sample.p50_us / 1e3 for sample in samples]).median
            found[f"victim_{name}_p99_ms"] = figure([sample.p99_us / 1e3 for sample in samples]).median
        ratios = [one.p99_us / other.p99_us for one, other in zip(beside, alone, strict=True)]
        found["victim_p99_flooded"] = figure(ratios).median
        found["flood_offered_per_s"] = TIMES * self.size.quota_per_s
        found["flood_accepted_per_s"] = figure([one.done / one.seconds for one in floods]).median
        found["flood_refused_per_s"] = figure([one.refused / one.seconds for one in floods]).median
        found["flood_refused_p99_ms"] = figure([one.refused_p99_us / 1e3 for one in floods]).median
        self.say(
            f"victim_p99_flooded: {found['victim_p99_flooded']:.2f} of that alone"
            f" ({', '.join(f'{ratio:.2f}' for ratio in ratios)}), {found['victim_flooded_p99_ms']:.1f} ms of"
            f" {found['victim_alone_p99_ms']:.1f} ms (p50 {found['victim_flooded_p50_ms']:.1f} of"
            f" {found['victim_alone_p50_ms']:.1f} ms); of {found['flood_offered_per_s']:,.0f}/s"
            f" {found['flood_accepted_per_s']:,.0f}/s were accepted"
        )
        if found["flood_refused_per_s"] < found["flood_offered_per_s"] / 2:
            raise FairVoid("most of the flood was within its quota")

    def _bought(self, server: Server) -> Sample:
        return self.victim.purchases(server, CONNECTIONS, self.size.stretch, rate=self.size.victim_per_s)

    def _flooded(self, victim: Server, flooder: Server) -> tuple[Sample, Report]:
        size = self.size
        lasting = Stretch(BEGINS_S, round(sum(size.stretch) + LONGER_S))
        with ThreadPoolExecutor(1) as beside:
            rate = TIMES * size.quota_per_s
            flood = beside.submit(self.flooder.flood, flooder, size.connections, lasting, rate)
            time.sleep(2 * BEGINS_S)
            sample = self._bought(victim)
            if size.rounds > 1 and flood.done():
                raise FairVoid("the flood was over before the purchases beside it")
            return sample, flood.result()

    # --- more than can be done ---------------------------------------------------------------------------------

    def _overload(self, server: Server) -> None:
        size, found = self.size, self.figures
        most = self.victim.purchases(server, CONNECTIONS, size.most).rate
        report = self.victim.flood(server, size.crowd, size.over, OVER * most)
        found["overload_most_per_s"] = most
        found["overload_offered_per_s"] = (report.done + report.refused) / report.seconds
        found["overload_accepted_per_s"] = report.done / report.seconds
        found["overload_accepted_over_most"] = found["overload_accepted_per_s"] / most
        found["overload_accepted_p50_ms"] = report.p50_us / 1e3
        found["overload_accepted_p99_ms"] = report.p99_us / 1e3
        found["overload_refused_per_s"] = report.refused / report.seconds
        found["overload_refused_p99_ms"] = report.refused_p99_us / 1e3
        self.say(
            f"overload: of {found['overload_offered_per_s']:,.0f}/s, {OVER} × {most:,.0f}/s,"
            f" {found['overload_accepted_per_s']:,.0f}/s were accepted, p50 {found['overload_accepted_p50_ms']:,.0f}"
            f" ms, p99 {found['overload_accepted_p99_ms']:,.0f} ms; the others were told to come again, p99"
            f" {found['overload_refused_p99_ms']:,.0f} ms: {report.statuses}"
        )
        if size.rounds > 1 and not report.refused:
            raise FairVoid("nobody was told to come again")
