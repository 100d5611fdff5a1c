"""The drills: their list and figures; in the long evidence a few quick ones. `make drill` plays all of them."""

import json
from dataclasses import replace

import pytest

from tests.drills.__main__ import chosen
from tests.drills.drill import Result, perform
from tests.drills.figures import line, progress, report
from tests.drills.troubles import DRILLS
from tests.words import Told, proof_seed

SEED = proof_seed()
PLAYED = Result(
    "api_killed", 7, in_flight=48, unknown=31, refused=2, answers=1_200, promised=3, served_s=1.24
)


def only(names: str) -> Told:
    return Told("drill", {"ONLY": names})


def test_every_drill_has_a_name_and_says_what_is_broken() -> None:
    names = [drill.name for drill in DRILLS]
    assert len(set(names)) == len(names) >= 12
    assert all(drill.told.endswith(".") for drill in DRILLS)
    assert [drill.name for drill in chosen(only("read_only, api_killed"))] == ["api_killed", "read_only"]
    assert chosen(only("")) == list(DRILLS)
    with pytest.raises(SystemExit):
        chosen(only("read_only,tea_spilt"))


def test_figures_count_what_was_played_and_say_aloud_what_was_not() -> None:
    left_out = Result("disk_full", 7, left_out="needs root")
    failed = replace(PLAYED, seed=8, lost=1, failure="AssertionError: 1 decisions lost")
    told = line([PLAYED, failed, left_out], 61.2)
    assert told == (
        "drill: 1 drill × 2 seeds from 7, 2,400 acknowledged, 62 outcomes unknown, 4 told to come again, 1 lost,"
        " 0 doubled, 6 runs promised, served again after 1.2 s at most, LEFT OUT: disk_full (needs root);"
        " 1 failed, 61 s"
    )
    assert "LEFT OUT" in progress(left_out)
    assert "FAILED: AssertionError" in progress(failed)
    document = json.loads(json.dumps(report([PLAYED, failed, left_out], 61.2)))
    assert {name: document[name] for name in ("drills", "acknowledged", "lost", "failed", "left_out")} == {
        "drills": 1,
        "acknowledged": 2_400,
        "lost": 1,
        "failed": 1,
        "left_out": ["disk_full"],
    }
    assert [result["served_s"] for result in document["results"]] == [1.24, 1.24, 0.0]


@pytest.mark.proof
@pytest.mark.parametrize("name", ["api_stopped", "postgres_killed", "read_only"])
async def test_a_drill_loses_nothing_and_doubles_nothing(name: str) -> None:
    (drill,) = chosen(only(name))
    result = await perform(drill, SEED)
    print(f"\n{result.durability}\n{progress(result)}")
    assert not result.failure, f"{drill.told} SEED={SEED}: {result.failure}"
