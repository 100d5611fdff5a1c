"""A short piece of `make fuzz`: what is spoilt, forged or from elsewhere is answered as the contract says."""

import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from loyalty.embedded import Servers
from tests.conftest import Database
from tests.fuzz import mutations
from tests.fuzz import run as running
from tests.fuzz.figures import faults, line
from tests.fuzz.run import EVERYBODY, FULL_TURN, WITHOUT_GENERATED, Outcome, generated, incidents, run
from tests.fuzz.town import Town
from tests.fuzz.traffic import Tally
from tests.races.client import Reply
from tests.words import proof_seed, proof_size

SEED = proof_seed(7)
SIZE = proof_size()


@pytest.mark.proof
async def test_nothing_spoilt_or_forged_is_answered_but_as_the_contract_says(
    servers: Servers, database: Database
) -> None:
    outcome = await run(database, servers.redis_url, SEED, 8_000 * SIZE, WITHOUT_GENERATED)
    print(f"\n{line(outcome)}")
    assert faults(outcome) == []


@pytest.mark.parametrize(
    ("requests", "sent", "turns"),
    [
        (0, 0, 0),
        (601, 750, 5),  # as many short turns as it takes
        (FULL_TURN, 3 * 4_700, 3),
        (EVERYBODY, 8 * 4_700, 8),  # all seven roles, and one again
    ],
)
async def test_no_more_is_generated_than_was_asked_for_and_a_turn(
    requests: int, sent: int, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: Counter[tuple[str, str, int]] = Counter()

    async def let_loose(port: int, key: str, place: Path, *arguments: str) -> tuple[int, str]:
        answered["GET", "/v1/members", 200] += 4_700 if any("coverage" in one for one in arguments) else 150
        return 0, ""

    async def served(town: Town) -> Counter[tuple[str, str, int]]:
        return answered.copy()

    monkeypatch.setattr(running, "let_loose", let_loose)
    monkeypatch.setattr(running, "served", served)
    outcome = Outcome(SEED, Tally())
    await generated(cast("Town", AnyTown()), SEED, requests, outcome)
    assert (outcome.tally.sent["generated"], outcome.rounds) == (sent, turns)


class AnyTown:
    """A town of which nothing is asked but to be there."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __getitem__(self, role: str) -> str:
        return role


def test_the_same_seed_spoils_the_same_bytes() -> None:
    good = b'{"external_id": "R-1", "lines": [{"line_id": "1", "amount_minor": 5}]}'

    def some() -> list[bytes]:
        chance = random.Random(SEED)
        return [mutations.spoilt(chance, good, [good]) for _ in range(200)]

    assert some() == some()
    assert len(set(some())) > 100


@pytest.mark.parametrize(("status", "wrong"), [(201, False), (422, False), (503, False), (500, True)])
def test_a_fault_of_ours_in_one_item_of_a_batch_is_a_complaint(status: int, wrong: bool) -> None:
    body = b'{"results":[{"index":0,"status":200,"body":{}},{"index":1,"status":%d,"body":{}}]}' % status
    assert bool(Tally().judge(Reply(200, {}, body), {200})) == wrong


def test_a_bug_of_a_decision_is_an_incident_like_one_of_the_web() -> None:
    log = '{"event":"incident","level":"error"}\n{"incident_id":"1","event":"command_failed"}\n{"event":"started"}'
    assert incidents(log) == 2
