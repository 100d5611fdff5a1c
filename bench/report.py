"""What the bench leaves behind: results.json for machines, RESULTS.md for people, one line for whoever ran it."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from bench.cluster import Cluster
from bench.contest import Figures

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
TABLE = HERE / "RESULTS.md"
SWEEPS = HERE / "SWEEPS.md"
GROWTH = HERE / "GROWTH.md"
FAIR = HERE / "FAIR.md"
HEADLINE = (
    "purchase_http_over_baseline",
    "purchase_http_hot_over_baseline",
    "pipe_over_baseline",
    "pipe_hot_over_baseline",
    "lone_command_over_baseline_latency",
    "http8_over_baseline",
    "open_http_over_baseline_p99",
    "quote_over_noop",
    "balance_over_noop",
    "evaluate_100_us",
    "redeem_http_over_baseline",
    "hold_http_over_baseline",
)


@dataclass(frozen=True)
class Row:
    """One line of the table: a ratio, what stands behind it, and what it should be."""

    what: str
    name: str
    goal: str
    ours: str
    rival: str
    unit: str = "/s"


ROWS = (
    Row("purchase over HTTP, 128 clients", "purchase_http_over_baseline", "≥ 1.2, then 1.5",
        "purchase_http_per_s", "baseline_beside_http_per_s"),
    Row("the same, all on one account", "purchase_http_hot_over_baseline", "≥ 5",
        "purchase_http_hot_per_s", "baseline_hot_beside_http_per_s"),
    Row("purchase over HTTP, 8 clients", "http8_over_baseline", "≥ 0.6", "http8_per_s", "baseline_8_per_s"),
    Row("road without HTTP, 128 submitters", "pipe_over_baseline", "≥ 1.7", "pipe_per_s", "baseline_per_s"),
    Row("the same, all on one account", "pipe_hot_over_baseline", "–", "pipe_hot_per_s", "baseline_hot_per_s"),
    Row("lone command, latency", "lone_command_over_baseline_latency", "≤ 2",
        "lone_command_mean_us", "baseline_1_mean_us", " µs"),
    Row("purchase at half of the most, p99", "open_http_over_baseline_p99", "≤ 3",
        "open_http_p99_us", "open_baseline_p99_us", " µs"),
    Row("redemption over HTTP, 128 clients", "redeem_http_over_baseline", "–",
        "redeem_http_per_s", "baseline_redeem_per_s"),
    Row("hold and capture over HTTP (two calls), 128 clients", "hold_http_over_baseline", "–",
        "hold_http_per_s", "baseline_hold_per_s"),
    Row("quote", "quote_over_noop", "≥ 0.6", "quote_per_s", "quote_noop_per_s"),
    Row("balance", "balance_over_noop", "≥ 0.7", "balance_per_s", "balance_noop_per_s"),
)  # fmt: skip
SWEPT = (
    ("points expire, one worker", "expire", "≥ 0.25, then 0.5"),
    ("points become available, two workers", "activate", "≥ 0.25, then 0.5"),
    ("tiers are reviewed, everybody's falls", "review_all", "≥ 0.3"),
    ("tiers are reviewed, nobody's moves", "review_none", "≥ 4"),
)
GROWN = (
    Row("road without HTTP, 128 submitters", "growth_over_small", "≥ 0.9",
        "growth_pipe_per_s", "growth_small_pipe_per_s"),
    Row("purchase over HTTP, 128 clients, two processes", "growth_http_over_small", "≥ 0.9",
        "growth_http_per_s", "growth_small_http_per_s"),
    Row("`loyalty verify`, entries", "verify_over_scan", "≥ 0.5", "verify_entries_per_s", "scan_entries_per_s"),
)  # fmt: skip
CONTENDERS = ("pipe", "pipe_hot", "lone_command", "purchase_http_1p", "purchase_http_2p", "http8", "baseline",
              "baseline_beside_http", "open_http", "open_sale", "open_baseline", "redeem_http", "baseline_redeem",
              "hold_http", "baseline_hold", "quote", "balance")  # fmt: skip
GREW = ("growth_cold_pipe", "growth_pipe", "growth_small_pipe", "growth_http", "growth_small_http")


def headline(figures: Figures) -> str:
    """One plain line of figures."""
    shown = [f"{name}={figures.values[name]:.2f}" for name in HEADLINE if name in figures.values]
    return "bench " + " ".join(shown)


def write(figures: Figures, cluster: Cluster, size: str) -> None:
    """Write these figures to results.json, beside those of the other bench, and RESULTS.md anew."""
    _keep(figures.values)
    TABLE.write_text(_page(figures, cluster, size))


def write_sweeps(found: Mapping[str, float], cluster: Cluster, lots: int) -> None:
    """The same of what happens by itself: results.json and SWEEPS.md."""
    _keep(found)
    SWEEPS.write_text(_sweeps_page(found, cluster, lots))


def sweeps_headline(found: Mapping[str, float]) -> str:
    """One plain line of figures."""
    names = (*(f"{name}_over_copy" for _, name, _ in SWEPT), "purchase_p99_while_expiring")
    return "sweeps " + " ".join(f"{name}={found[name]:.2f}" for name in names)


def write_growth(figures: Figures, cluster: Cluster, members: int) -> None:
    """The same of a program that has grown: results.json and GROWTH.md."""
    _keep(figures.values)
    GROWTH.write_text(_growth_page(figures, cluster, members))


def growth_headline(found: Mapping[str, float]) -> str:
    """One plain line of figures."""
    names = (*(row.name for row in GROWN), "verify_s_per_million")
    return "growth " + " ".join(f"{name}={found[name]:.2f}" for name in names)


def write_fair(found: Mapping[str, float], cluster: Cluster) -> None:
    """The same of programs beside each other and of too much work: results.json and FAIR.md."""
    _keep(found)
    FAIR.write_text(_fair_page(found, cluster))


def fair_headline(found: Mapping[str, float]) -> str:
    """One plain line of figures."""
    names = ("victim_p99_flooded", "overload_accepted_over_most", "overload_accepted_p99_ms")
    return "fair " + " ".join(f"{name}={found[name]:.2f}" for name in names)


def _keep(found: Mapping[str, float]) -> None:
    known = msgspec.json.decode(RESULTS.read_bytes(), type=dict[str, float]) if RESULTS.exists() else {}
    known |= {name: float(f"{value:.4g}") for name, value in found.items()}
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(known, order="sorted"), indent=2) + b"\n")


def _fair_page(found: Mapping[str, float], cluster: Cluster) -> str:
    offered, accepted, refused = (found[f"flood_{name}_per_s"] for name in ("offered", "accepted", "refused"))
    most, much, done = (found[f"overload_{name}_per_s"] for name in ("most", "offered", "accepted"))
    return "\n".join(
        [
            "# Programs beside each other, and too much work",
            "",
            f'Made by `make bench ARGS="fair"` on {datetime.now(UTC):%Y-%m-%d}: {_machine()}.',
            _made_with(cluster),
            "",
            "What is measured and how: [docs/speed.md](../docs/speed.md#programs-beside-each-other-and-too-much-work).",
            "",
            "| work | figure | goal | p50 | p99 |",
            "|---|---|---|---|---|",
            f"| purchases, 50 a second | – | – | {found['victim_alone_p50_ms']:.1f} ms "
            f"| {found['victim_alone_p99_ms']:.1f} ms |",
            f"| the same beside another program's flood: {offered:,.0f}/s, of which {accepted:,.0f}/s were served and "
            f"{refused:,.0f}/s refused | **{found['victim_p99_flooded']:.2f}** of the p99 without | ≤ 1.5 "
            f"| {found['victim_flooded_p50_ms']:.1f} ms | {found['victim_flooded_p99_ms']:.1f} ms |",
            f"| twice as much as can be done: {much:,.0f}/s where {most:,.0f}/s can, of which {done:,.0f}/s were done "
            f"| **{found['overload_accepted_over_most']:.2f}** of what can | p99 ≤ 2.5 s "
            f"| {found['overload_accepted_p50_ms']:,.0f} ms | {found['overload_accepted_p99_ms']:,.0f} ms |",
            "",
            f"Refusals took {found['flood_refused_p99_ms']:.1f} ms in the flood and "
            f"{found['overload_refused_p99_ms']:,.0f} ms in the overload (p99).",
            "",
            f"`{fair_headline(found)}`",
            "",
        ]
    )


def _sweeps_page(found: Mapping[str, float], cluster: Cluster, lots: int) -> str:
    lines = [
        "# What happens by itself",
        "",
        f'Made by `make bench ARGS="sweeps --lots {lots}"` on {datetime.now(UTC):%Y-%m-%d}: {_machine()}.',
        _made_with(cluster),
        "",
        "What is measured and how: [docs/speed.md](../docs/speed.md#what-happens-by-itself).",
        "",
        "| work | members | ratio | goal | ours | limit | µs: Python | PostgreSQL | batch: p50, p99 "
        "| MB at 10, 50, 100 % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for what, name, goal in SWEPT:
        of = {each: found[f"{name}_{each}"] for each in (
            "members", "over_copy", "per_s", "limit_per_s", "python_us", "postgres_us", "batch_p50_ms",
            "batch_p99_ms", "rss_mb_10", "rss_mb_50", "rss_mb_100",
        )}  # fmt: skip
        lines.append(
            f"| {what} | {of['members']:,.0f} | **{of['over_copy']:.2f}** | {goal} | {of['per_s']:,.0f}/s "
            f"| {of['limit_per_s']:,.0f}/s | {of['python_us']:.0f} | {of['postgres_us']:.0f} "
            f"| {of['batch_p50_ms']:.0f}, {of['batch_p99_ms']:.0f} ms "
            f"| {of['rss_mb_10']:.0f}, {of['rss_mb_50']:.0f}, {of['rss_mb_100']:.0f} |"
        )
    quiet, beside = (
        [found[f"purchase_{name}_{share}_ms"] for share in ("p50", "p99")]
        for name in ("quiet", "while_expiring")
    )
    lines += [
        "",
        f"Purchases while points expire, medians of turns: p99 {beside[1]:.1f} ms, without {quiet[1]:.1f} ms "
        f"(**{found['purchase_p99_while_expiring']:.2f}**, goal ≤ 2); p50 {beside[0]:.1f} and {quiet[0]:.1f} ms.",
        "",
        f"`{sweeps_headline(found)}`",
        "",
    ]
    return "\n".join(lines)


def _growth_page(figures: Figures, cluster: Cluster, members: int) -> str:
    known = figures.values
    lines = [
        "# A program that has grown",
        "",
        f'Made by `make bench ARGS="growth --members {members}"` on {datetime.now(UTC):%Y-%m-%d}: {_machine()}.',
        _made_with(cluster),
        "",
        "What is measured and how: [docs/speed.md](../docs/speed.md#a-program-that-has-grown). Medians, in brackets",
        "lowest and highest.",
        "",
        f"{known['growth_members']:,.0f} members with {known['growth_entries']:,.0f} entries: tables of "
        f"{known['growth_tables_gb']:.1f} GB, indexes of {known['growth_indexes_gb']:.1f} GB.",
        "",
        "| work | ratio | goal | ours | rival |",
        "|---|---|---|---|---|",
        *_compared(figures, GROWN),
        "",
        f"Before, with next to nothing of it in memory: {known['growth_cold_pipe_per_s']:,.0f} purchases a second.",
        "",
        f"A million entries are verified in {known['verify_s_per_million']:.0f} s (goal 60), of "
        f"{known['verify_entries']:,.0f}: {known['verify_python_us']:.0f} µs of Python and "
        f"{known['verify_postgres_us']:.0f} of PostgreSQL an entry, {known['verify_mb']:.0f} MB of memory at most.",
        "",
        *_contenders(figures, GREW),
        "",
        f"`{growth_headline(known)}`",
        "",
    ]
    return "\n".join(lines)


def _page(figures: Figures, cluster: Cluster, size: str) -> str:
    known = figures.values
    lines = [
        "# Bench results",
        "",
        f'Made by `make bench ARGS="--size {size}"` on {datetime.now(UTC):%Y-%m-%d}: {_machine()}.',
        _made_with(cluster),
        "",
        "Load, server and PostgreSQL share these cores, in every row and for every contender: compare ratios, not",
        "rates. What is measured and how: [docs/speed.md](../docs/speed.md). Medians, in brackets lowest and highest.",
        "",
        "| work | ratio | goal | ours | rival |",
        "|---|---|---|---|---|",
    ]
    lines += _compared(figures, ROWS)
    for rules in (100, 1_000):
        if f"evaluate_{rules}_us" in known:
            four, base = (known[f"evaluate_{rules}{kind}_us"] for kind in ("", "_base_only"))
            lines.append(
                f"| judge five lines by {rules:,} rules | – | ≤ {5 if rules == 100 else 20} µs "
                f"| {four:.1f} µs when four rules are met, {base:.1f} µs when only the base rule is | – |"
            )
    lines += ["", *_contenders(figures, CONTENDERS)]
    if "baseline_wal_over_pipe" in known:
        ours, rival, ratio = (
            known[name] for name in ("pipe_wal_bytes", "baseline_wal_bytes", "baseline_wal_over_pipe")
        )
        lines += [
            "",
            f"WAL per purchase without images of whole pages: ours {ours:,.0f} bytes, baseline {rival:,.0f} "
            f"({ratio:.2f} of ours).",
            f"The baseline ran best with {known['baseline_spread_clients']:.0f} clients over all accounts and "
            f"{known['baseline_hot_clients']:.0f} on one; on one account it had "
            f"{known['baseline_hot_over_spread']:.2f} of its rate over all.",
        ]
    return "\n".join([*lines, "", f"`{headline(figures)}`", ""])


def _compared(figures: Figures, rows: Sequence[Row]) -> Iterator[str]:
    """A line of the table for each row that was run."""
    for row in rows:
        if row.name in figures.values:
            ours, rival = (_shown(figures, name) + row.unit for name in (row.ours, row.rival))
            yield f"| {row.what} | **{figures.values[row.name]:.2f}** | {row.goal} | {ours} | {rival} |"


def _contenders(figures: Figures, names: Sequence[str]) -> Iterator[str]:
    """A table of rates, latencies and processor time of those that ran."""
    yield "| contender | per second | mean µs | p50 µs | p99 µs | CPU µs: Python | PostgreSQL | client |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in names:
        if f"{name}_per_s" in figures.values:
            cells = [_shown(figures, f"{name}_{what}") for what in ("per_s", "mean_us", "p50_us", "p99_us")]
            cells += [_shown(figures, f"cpu_us_{name}_{who}") for who in ("python", "postgres", "client")]
            yield f"| {name} | " + " | ".join(cells) + " |"


def _shown(figures: Figures, name: str) -> str:
    if name not in figures.values:
        return "–"
    value, spread = figures.values[name], figures.ranges.get(name)
    return f"{value:,.0f}" + (
        f" ({spread.low:,.0f}–{spread.high:,.0f})" if spread and name.endswith("_per_s") else ""
    )


def _made_with(cluster: Cluster) -> str:
    """Two lines: versions, and what makes a commit last."""
    names = ("asyncpg", "litestar", "uvicorn", "uvloop", "msgspec")
    on = ", ".join(f"{name} = {value}" for name, value in cluster.settings.items() if value == "on")
    return (
        f"Python {platform.python_version()}, PostgreSQL {cluster.settings['server_version']}, "
        + ", ".join(f"{name} {version(name)}" for name in names)
        + f".\nDurability: {on}; shared_buffers {cluster.settings['shared_buffers']}, "
        + f"max_wal_size {cluster.settings['max_wal_size']}."
    )


def _machine() -> str:
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GB memory, {platform.system()}"
