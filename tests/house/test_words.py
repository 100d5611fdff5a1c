"""The long words of the Makefile: what they are told, what they refuse, and what they leave behind."""

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from tests import words
from tests.laws.side_by_side import same
from tests.mutants.__main__ import chosen
from tests.mutants.bugs import ALONE, BUGS
from tests.mutants.hunt import Hunted, report
from tests.sim.__main__ import asked
from tests.sim.figures import ALL_CODES, ALL_FAULTS, line, table, whole
from tests.sim.seeds import Job, Result
from tests.words import Told, counted, keep

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def proof() -> ModuleType:
    """`scripts/proof`, which has no ending."""
    loader = SourceFileLoader("proof", str(ROOT / "scripts" / "proof"))
    spec = spec_from_loader("proof", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where figures are written."""
    monkeypatch.setattr(words, "PROOF", tmp_path / "proof")
    return tmp_path / "proof"


def told(**environ: str) -> Told:
    return Told("sim", environ)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: told(SEEDS="abc").number("SEEDS", 3), "SEEDS=abc: a whole number from 0 on is wanted"),
        (lambda: told(SEEDS="1.5").number("SEEDS", 3), "SEEDS=1.5: a whole number from 0 on is wanted"),
        (lambda: told(SEEDS="0").number("SEEDS", 3, least=1), "SEEDS=0: a whole number from 1 on is wanted"),
        (
            lambda: told(REQUESTS="1e5").number("REQUESTS", 3),
            "REQUESTS=1e5: a whole number from 0 on is wanted",
        ),
        (lambda: told(SEED="-3").seed(), "SEED=-3: a whole number from 0 on is wanted"),
        (lambda: told(ONLY="3,zzz").numbers("ONLY"), "ONLY: zzz is no whole number"),
        (lambda: asked(told(KIND="foo")), "nothing is named foo; there is alone, crowd"),
        (lambda: asked(told(SEEDS="0", FAULTS="0")), "SEEDS=0 and no FAULTS: nothing would be run"),
        (lambda: asked(told(SEEDS="1", OPS="0")), "OPS=0: a whole number from 1 on is wanted"),
    ],
)
def test_nonsense_is_refused_in_one_line(
    ask: Callable[[], object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        ask()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"sim: {said}\n"


def test_a_simulation_has_a_quarter_as_many_crowds_unless_told() -> None:
    kinds = Counter(job.kind for job in asked(told(SEEDS="9")))
    assert kinds == {"alone": 9, "crowd": 2}
    assert Counter(job.kind for job in asked(told())) == {"alone": 200, "crowd": 50}
    assert Counter(job.kind for job in asked(told(SEEDS="0", FAULTS="3"))) == {"crowd": 3}
    assert asked(told(KIND="crowd", SEED="4", OPS="60", ONLY="3, 17")) == [Job("crowd", 4, 60, (3, 17))]


def simulated(kind: str, commands: int) -> Result:
    seen = Counter({"redeem accepted": 5, "redeem too_old": 2, "redeem again": 1, "redeem proposed": 1})
    return Result(Job(kind, 1, 10), seen, 10, commands, 1.0)


def test_the_table_of_a_simulation_says_what_its_sign_means() -> None:
    rows = table([simulated("alone", 6)]).splitlines()
    assert "5<" in next(row for row in rows if row.startswith("redeem "))
    assert "< less than a record run shows: 1,000 accepted and 200 refused of each operation" in rows


def test_the_commands_of_a_simulation_are_those_accepted_refused_and_answered_again() -> None:
    said = line([simulated("alone", 6)], 1, 1.0)
    assert "8 commands, 5 accepted, 2 refused with 1 of" in said
    assert ", 1 answered again;" in said


def test_a_simulation_is_whole_from_where_all_of_it_must_be_reached() -> None:
    assert whole([simulated("alone", ALL_CODES), simulated("crowd", ALL_FAULTS)])
    assert not whole([simulated("alone", ALL_CODES), simulated("crowd", ALL_FAULTS - 1)])
    assert not whole([simulated("alone", ALL_CODES - 1), simulated("crowd", ALL_FAULTS)])


def test_a_small_try_leaves_the_figures_of_the_last_whole_run_alone(kept: Path) -> None:
    keep("sim", {"seeds": 200}, whole=True)
    keep("sim", {"seeds": 1}, whole=False)
    assert json.loads((kept / "sim.json").read_text()) == {"seeds": 200}
    assert json.loads((kept / "sim-try.json").read_text()) == {"seeds": 1}


def test_bugs_are_chosen_by_pieces_of_their_names_and_a_piece_of_none_is_a_mistake(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, *_, last = BUGS
    assert chosen(Told("mutants", {}), []) == list(BUGS)
    assert chosen(Told("mutants", {}), [last, first]) == [first, last]
    with pytest.raises(SystemExit) as ended:
        chosen(Told("mutants", {}), [first, "hodls"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("mutants: nothing is named hodls; near it are: ")
    assert " hold" in told


def test_the_figures_of_planted_bugs_count_what_was_caught_and_how() -> None:
    first, second, *_ = (what for what, bug in BUGS.items() if bug.by == ALONE)
    figures = report(
        [Hunted(first, 3, True, 1.23, "noticed 3"), Hunted(second, None, False, 9, "")], [], 10.26
    )
    assert figures["results"][0] == {"bug": first, "by": ALONE, "seed": 3, "caught": True, "seconds": 1.2}
    del figures["results"]
    assert figures == {
        "bugs": 2,
        "caught": 1,
        "caught_by_seeds": 1,
        "missed": [second],
        "noticed_without_a_bug": [],
        "seconds": 10.3,
    }


def test_a_law_that_fails_tells_what_the_program_said_and_what_the_model_said() -> None:
    same({"points": 5}, {"points": 5}, "member 2")
    with pytest.raises(AssertionError) as failed:
        same({"points": 5}, {"points": 6}, "member", 2)
    assert str(failed.value) == (
        "member 2\n  the program said {'points': 5}\n  the model says   {'points': 6}"
    )


def test_one_is_one() -> None:
    assert [counted(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]


def test_a_share_of_which_no_test_was_run_has_failed(
    proof: ModuleType, kept: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEED", "7")
    monkeypatch.setenv("SIZE", "")
    assert proof.main(["mutants", "--", "-k", "nosuchtest"]) == 1
    assert "NO TEST WAS RUN" in capfd.readouterr().out.splitlines()[-1]
    written = json.loads((kept / "proof-try.json").read_text())
    assert (written["seed"], written["size"]) == (7, 1)
    assert written["shares"]["mutants"]["tests"] == 0
    assert not (kept / "proof.json").exists()


def test_what_was_skipped_is_no_proof(proof: ModuleType, tmp_path: Path) -> None:
    counts = tmp_path / "counts.xml"
    counts.write_text('<testsuites><testsuite tests="5" failures="1" errors="0" skipped="3" /></testsuites>')
    assert proof.counted_in(counts) == 2
    assert proof.counted_in(tmp_path / "none.xml") == 0
    shares = [proof.Share("laws", 2, 61.4, 0), proof.Share("sim", 0, 1, 0), proof.Share("web", 1, 3, 1)]
    assert [share.good for share in shares] == [True, False, False]
    assert proof.line(shares, 7) == (
        "proof: seed 7; laws 2 tests 61 s, sim 0 tests 1 s NO TEST WAS RUN, web 1 test 3 s FAILED"
    )


def test_the_guide_names_all_shares(proof: ModuleType) -> None:
    told = (ROOT / "docs" / "proof.md").read_text("utf-8").partition("The shares are ")[2].partition(".")[0]
    assert re.findall("`([a-z]+)`", told) == proof.shares()


def test_help_names_the_shares_and_nonsense_is_refused(
    proof: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proof.main(["--help"]) == 0
    assert "The shares: contract, drills, " in capsys.readouterr().out
    for name, value in (("SIZE", "x"), ("SIZE", "0"), ("SEED", "x")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                proof.main(["races"])
        assert ended.value.code == 2
        assert f"{name}={value}" in capsys.readouterr().err


def test_work_that_is_told_to_end_stops_what_it_started() -> None:
    script = (
        "import time; from bench.ending import ends_when_told; ends_when_told()\n"
        "try:\n print('works', flush=True); time.sleep(60)\n"
        "finally:\n print('stopped', flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as work:
        assert work.stdout is not None
        assert work.stdout.readline() == "works\n"
        work.send_signal(signal.SIGTERM)
        assert work.stdout.read() == "stopped\n"
    assert work.returncode == 128 + signal.SIGTERM
