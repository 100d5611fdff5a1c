"""The bench runs from end to end and counts what it says: a smallest size, no figure is judged."""

from datetime import timedelta

import pytest

from bench.__main__ import asked
from bench.clock import BEGINS, Move
from bench.cluster import cluster
from bench.fair import TINY, Fair
from bench.growth import BOUGHT, Growth
from bench.growth import sized as grown
from bench.rows import RowsMissing, check
from bench.run import SIZES, Bench
from bench.sweeps import Sweeps, sized
from bench.world import GROWN_PROGRAM, PROGRAM

EXPECTED = (
    "evaluate_100_us",
    "evaluate_1000_us",
    "pipe_over_baseline",
    "pipe_hot_over_baseline",
    "purchase_http_over_baseline",
    "purchase_http_hot_over_baseline",
    "http8_over_baseline",
    "open_http_over_baseline_p99",
    "redeem_http_over_baseline",
    "hold_http_over_baseline",
    "quote_over_noop",
    "balance_over_noop",
    "baseline_hot_over_spread",
    "cpu_us_pipe_python",
    "cpu_us_pipe_postgres",
)

GROWN = (
    "growth_over_small",
    "growth_http_over_small",
    "verify_over_scan",
    "verify_s_per_million",
    "verify_mb",
)
SWEPT = tuple(f"{name}_over_copy" for name in ("activate", "expire", "review_all", "review_none"))
FAIR = (
    "victim_p99_flooded",
    "flood_accepted_per_s",
    "overload_accepted_over_most",
    "overload_accepted_p99_ms",
)


def test_what_would_be_taken_no_notice_of_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked([]).size == "small"
    assert asked(["--size", "tiny", "profile", "pipe"]).size == "tiny"
    for words, said in (
        ("--size tiny growth", "--size is of rows and profiles: growth has --members"),
        ("--size tiny clock", "--size is of rows and profiles: clock has one size"),
        ("--only pipe sweeps", "--only names rows: sweeps has none"),
    ):
        with pytest.raises(SystemExit) as ended:
            asked(words.split())
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


@pytest.mark.proof
def test_the_bench_measures_ours_and_its_rival_and_every_purchase_it_counts_left_its_rows() -> None:
    with cluster() as ours:
        bench = Bench(ours, SIZES["tiny"], say=lambda _: None)

        bench.run(("evaluate", "reads", "spend", "pipe", "http", "open"))

        assert all(bench.figures.values[name] > 0 for name in EXPECTED)
        with pytest.raises(RowsMissing):
            check(ours.servers.superuser_url, PROGRAM, bench.pipe.recorded + bench.http.recorded + 1)


@pytest.mark.proof
def test_whatever_falls_due_of_many_is_measured_and_leaves_its_rows() -> None:
    with cluster() as ours:
        sweeps = Sweeps(ours, sized(60), say=lambda _: None)

        sweeps.run()

        assert all(sweeps.figures[name] > 0 for name in (*SWEPT, "purchase_p99_while_expiring"))
        with pytest.raises(RowsMissing):
            Sweeps(ours, sized(61)).check()

        move = Move(ours, members=20, ends=BEGINS + timedelta(days=20), say=lambda _: None)
        move.run()
        assert move.figures["decisions"] > 20  # days are closed, lots mature


@pytest.mark.proof
def test_a_program_that_has_grown_is_measured_and_its_copied_books_are_whole() -> None:
    with cluster(memory_mb=64) as ours:
        assert ours.settings["shared_buffers"] == "64MB"
        growth = Growth(ours, grown(50), say=lambda _: None)

        growth.run()

        assert all(growth.figures.values[name] > 0 for name in GROWN)
        assert growth.grown.members == 56  # seven times eight
        assert growth.figures.values["verify_entries"] == growth.grown.recorded > 56 * BOUGHT
        with pytest.raises(RowsMissing):
            check(ours.servers.superuser_url, GROWN_PROGRAM, growth.grown.recorded + 1)


@pytest.mark.proof
def test_a_flood_and_an_overload_are_measured_and_whatever_was_acknowledged_is_there() -> None:
    with cluster() as ours:
        fair = Fair(ours, TINY, say=lambda _: None)

        fair.run()

        assert all(fair.figures[name] > 0 for name in FAIR)
        assert fair.figures["flood_refused_per_s"] > 0
        fair.victim.recorded += 1
        with pytest.raises(RowsMissing):
            fair.check()
