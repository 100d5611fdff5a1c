"""Stored decisions judge again the same in every release: what was explained once stays explained.

golden.jsonl has one a line: the ruleset, how far each limit was used before, and the decision as it was stored.
A new version of the evaluator adds lines of its own; the old ones stay, told by their version.
"""

from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from loyalty.conditions.types import Facts
from loyalty.posting.detail import Detail
from loyalty.rules.compile import compile_ruleset
from loyalty.rules.evaluate import evaluate
from loyalty.rules.types import EVALUATOR, Ruleset


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    evaluator: int
    zone: str
    ruleset: Ruleset
    used: int
    facts: Facts
    decision: Detail


LINES = (Path(__file__).parent / "golden.jsonl").read_bytes().splitlines()
STORED = [msgspec.json.decode(line, type=Stored) for line in LINES]


@pytest.mark.parametrize("stored", STORED, ids=range(1, len(STORED) + 1))
def test_a_stored_decision_judges_again_the_same(stored: Stored) -> None:
    facts = stored.facts
    compiled = compile_ruleset(stored.ruleset, ZoneInfo(stored.zone))
    counters = dict.fromkeys(compiled.counter_keys(facts.occurred_at), stored.used)
    found = evaluate(compiled, facts, counters)
    if stored.evaluator == EVALUATOR:
        assert found.awards == stored.decision.awards
        assert [(key.rule_id, key.period, points) for key, points in found.counted] == list(
            stored.decision.counted
        )


def test_the_corpus_has_decisions_of_the_present_evaluator() -> None:
    awards = [award for one in STORED if one.evaluator == EVALUATOR for award in one.decision.awards]
    assert len(awards) > 100
    assert any(award.cut_by for award in awards)
