"""What one process measures, in Prometheus' form: requests by route and status, commands by kind and outcome; and what
is due in the whole installation.

With several processes each keeps its figures in files of a common directory (PROMETHEUS_MULTIPROC_DIR) and any of
them answers for all. The log line of a request is written here too: it says the same, one request at a time.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from time import perf_counter_ns
from uuid import UUID

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from loyalty.base.errors import LoyaltyError
from loyalty.base.settings import LogFormat
from loyalty.jobs.overview import Totals, totals
from loyalty.jobs.types import RunKind, RunState
from loyalty.posting.runtime import Runtime
from loyalty.web.exchange import Exchange

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARED = "PROMETHEUS_MULTIPROC_DIR"
LOOK_S = 30.0

log = structlog.get_logger()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The figures of one application."""

    def __init__(self, log: "AccessLog") -> None:
        self.registry = CollectorRegistry()
        self._log = log
        self._requests = Counter(
            "loyalty_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "loyalty_http_request_seconds",
            "Time from the first byte of a request's head to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._commands = Counter(
            "loyalty_commands", "Commands answered.", ("kind", "outcome"), registry=self.registry
        )
        self._above_quota = Counter(
            "loyalty_above_quota",
            "Requests refused because their program sent more than its quota.",
            ("program",),
            registry=self.registry,
        )
        self._batches = Histogram(
            "loyalty_batch_commands", "Commands written in one batch.", buckets=_SIZES, registry=self.registry
        )
        self._long_work = Histogram(
            "loyalty_long_work_seconds",
            "Work that took the processor long, done beside the event loop.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "loyalty_waiting_commands",
            "Commands waiting in their lanes.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._due = self._shared(
            "loyalty_due_seconds",
            "Age of the oldest work that is due in a live program: accounts, standings, days, notices.",
            ("work",),
        )
        self._runs = self._shared("loyalty_runs", "Runs of all programs.", ("kind", "state"))
        self._verified = {
            figure: self._shared(f"loyalty_verification_{figure}", words, ("program",))
            for figure, words in (
                ("age_seconds", "Time since the last verification of a live program came to its end."),
                ("seconds", "How long the last verification of a live program took."),
                ("entries", "Entries that the last verification of a live program read."),
                ("broken", "What the last verification of a live program found broken."),
            )
        }
        # Finding a labelled child costs more than counting on it.
        self._by_request: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._by_command: dict[tuple[str, str], Counter] = {}
        self._by_program: dict[UUID, Counter] = {}

    @cached_property
    def _broken(self) -> Gauge:
        """Not there before anything was looked at: its 0 would say that all is well."""
        return self._shared(
            "loyalty_broken_findings", "What the last verifications of the live programs found broken."
        )

    def _shared(self, name: str, words: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A figure of the installation: of several processes the last to look is right."""
        return Gauge(name, words, labels, registry=self.registry, multiprocess_mode="mostrecent")

    async def watch(self, runtime: Runtime) -> None:
        """Look at what is due every LOOK_S, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.note_jobs(await totals(runtime), runtime.clock.now())
            except LoyaltyError:
                continue  # the database cannot just now
            except Exception:
                log.exception("jobs_not_looked_at")

    def note_jobs(self, found: Totals, now: datetime) -> None:
        """Note what is due at `now`, how many runs there are, and what was found broken."""
        for work, since in found.due_since.items():
            self._due.labels(work).set(0 if since is None else max(0, (now - since).total_seconds()))
        for kind, state in itertools.product(RunKind, RunState):
            self._runs.labels(kind, state).set(found.runs.get((kind, state), 0))
        self._broken.set(found.broken)
        for one in found.programs:
            if one.verified_at is None:
                continue
            figures = {
                "age_seconds": max(0, (now - one.verified_at).total_seconds()),
                "seconds": one.verified_seconds or 0,
                "entries": one.verified_entries or 0,
                "broken": one.broken or 0,
            }
            for figure, value in figures.items():
                self._verified[figure].labels(str(one.program_id)).set(value)

    def note_request(self, exchange: Exchange) -> None:
        """Count an answered request and write its log line."""
        elapsed_ns = perf_counter_ns() - exchange.started_ns
        key = (exchange.method, exchange.route, exchange.status)
        children = self._by_request.get(key)
        if children is None:
            children = self._by_request[key] = (
                self._requests.labels(exchange.method, exchange.route, str(exchange.status)),
                self._seconds.labels(exchange.route),
            )
        children[0].inc()
        children[1].observe(elapsed_ns / 1e9)
        self._log.note(exchange, elapsed_ns)

    def note_command(self, kind: str, outcome: str) -> None:
        """Count a command: recorded, replayed, refused, busy or failed."""
        counter = self._by_command.get((kind, outcome))
        if counter is None:
            counter = self._by_command[kind, outcome] = self._commands.labels(kind, outcome)
        counter.inc()

    def note_above_quota(self, program_id: UUID) -> None:
        """Count a request that was refused because its program sent too many."""
        counter = self._by_program.get(program_id)
        if counter is None:
            counter = self._by_program[program_id] = self._above_quota.labels(str(program_id))
        counter.inc()

    def note_batch(self, commands: int, waiting: int) -> None:
        """Count a written batch by its size, and note how many commands wait after it."""
        self._batches.observe(commands)
        self._waiting.set(waiting)

    def note_long_work(self, seconds: float) -> None:
        """Count a piece of work that was done beside the event loop."""
        self._long_work.observe(seconds)

    def text(self) -> bytes:
        """All figures in the text form, of all processes where they share a directory."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)


class _Line(msgspec.Struct, frozen=True):
    method: str
    route: str
    status: int
    duration_us: int
    request_id: str
    program_id: UUID | None
    credential_id: UUID | None
    event: str
    level: str
    logger: str
    timestamp: datetime


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


class AccessLog:
    """One line per request on stderr, gathered for a moment so that writing does not hold requests up.

    The lines look like those of base/logs.py; ids and figures only.
    """

    DELAY_S = 0.05

    def __init__(self, form: LogFormat, write: Callable[[str], object] | None = None) -> None:
        self._form = form
        self._write = write or _to_stderr
        self._lines: list[str] = []

    def note(self, exchange: Exchange, elapsed_ns: int) -> None:
        """Have the request's line written soon."""
        line = _Line(
            exchange.method,
            exchange.route,
            exchange.status,
            elapsed_ns // 1_000,
            exchange.request_id,
            exchange.program_id,
            exchange.credential_id,
            "request",
            "info",
            "loyalty.access",
            datetime.now(UTC),
        )
        if self._form == "json":
            self._lines.append(msgspec.json.encode(line).decode())
        else:
            what = f"{line.method} {line.route} {line.status} {line.duration_us} µs {line.request_id}"
            self._lines.append(f"{line.timestamp:%FT%T}Z {what}")
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(self.DELAY_S, self.flush)

    def flush(self) -> None:
        """Write what is gathered."""
        if self._lines:
            text = "\n".join(self._lines) + "\n"
            self._lines.clear()
            self._write(text)
