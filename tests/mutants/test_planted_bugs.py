"""Planted bugs: the program with one line made wrong, and the law test that must notice.

A law test is worth what it catches. Each bug is planted in a copy of the sources and looked for by one test with a
fixed seed; a place that is gone must be planted anew. Bug no. 1, head and book in one statement, has its own test
in tests/races/test_stale_reads.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]
MACHINE = "tests/laws/test_state_machine.py::test_program_and_model_agree_for_minutes"
RULES = "tests/laws/test_rules_twice.py"
RETURNS = "tests/laws/test_returns_exactly.py"


class Bug(NamedTuple):
    """`right` in a file of src/loyalty becomes `wrong`; `test` fails."""

    file: str
    right: str
    wrong: str
    test: str = MACHINE


BUGS = {
    "points expire an instant late": Bug("ledger/settle.py", "if due <= now:", "if due < now:"),
    "the oldest lot is spent first": Bug(
        "ledger/lots.py",
        "return (lot.expires_at or _NEVER, lot.vintage_at, lot.id)",
        "return (lot.vintage_at, lot.vintage_at, lot.id)",
    ),
    "what expired is taken back twice": Bug("ledger/undo.py", "(Bucket.EXPIRED, lot.expired),", ""),
    "a purchase of the last possible instant is too old": Bug(
        "posting/decide/purchase.py",
        "policies.late_days_max is not None and command.occurred_at < work.now",
        "policies.late_days_max is not None and command.occurred_at <= work.now",
    ),
    "other content under the same receipt is a repeat": Bug(
        "posting/decide/purchase.py", "if held.content_digest in command.content_digests:", "if True:"
    ),
    "a cancel keeps the cap used up": Bug(
        "posting/decide/undo.py", "work.count(member_id, CounterKey(rule_id, period), points)", "pass"
    ),
    "an erased member keeps identifiers": Bug(
        "posting/decide/people.py", "work.removed_identifiers.add(member.id)", "pass"
    ),
    "the blocked may buy": Bug(
        "posting/decide/outcome.py", "if member.status is MemberStatus.BLOCKED:", "if False:"
    ),
    "an answer is not remembered": Bug(
        "posting/decide/__init__.py", "book.new_records[key] = record", "pass"
    ),
    "a month's end is a day off": Bug(
        "ledger/expiry.py",
        "last_day = period_end(after - _DAY, policy.round_up)",
        "last_day = period_end(after, policy.round_up)",
    ),
    "points move before they came": Bug("ledger/postings.py", "if at > lot.arrived_at:", "if False:"),
    "a till that is ahead makes points come in the future": Bug(
        "posting/decide/purchase.py",
        "occurred_at = min(command.occurred_at, work.now)",
        "occurred_at = command.occurred_at",
    ),
    "a claim may come a day late": Bug(
        "posting/decide/points.py",
        "if activity.occurred_at < work.now - timedelta(days=days_max):",
        "if activity.occurred_at < work.now - timedelta(days=days_max + 1):",
    ),
    "the floor of a debt is forgotten at the second one": Bug(
        "ledger/undo.py", "floor - account.debt", "floor"
    ),
    "a hold never lapses": Bug("ledger/settle.py", "put(hold.lapses_at, _LAPSE, hold)", "pass"),
    "an account does not know that its hold was extended": Bug(
        "posting/book.py", "book.retimed_accounts.add(key)", "pass"
    ),
    "what comes back after its end is told as good": Bug(
        "ledger/holds.py", "if lot.expires_at is None or lot.expires_at > occurred_at:", "if True:"
    ),
    "a cancelled purchase keeps what it captured": Bug(
        "posting/decide/undo.py",
        "restored = tuple(_restore(work, member_id, one) for one in detail.captured)",
        "restored = ()",
    ),
    "somebody else's hold pays": Bug(
        "posting/decide/holds.py",
        "if member is None or work.book.hold(use.id).owner_id != member.id:",
        "if member is None:",
    ),
    "the hours after midnight belong to the new day": Bug(
        "conditions/compile.py", "day -= timedelta(days=1)", "pass", RULES
    ),
    "a cap is not cut to what is left": Bug(
        "rules/evaluate.py", "max(0, rule.cap - used)", "rule.cap", RULES
    ),
    "what is left of a split goes to the smallest remainders": Bug(
        "base/numbers.py",
        "excesses.append(part * whole - share)",
        "excesses.append(share - part * whole)",
        RULES,
    ),
    "a later part takes its share anew": Bug(
        "posting/returned.py", "still[index] -= points", "pass", RETURNS
    ),
    "a share of what goes back is rounded up": Bug(
        "posting/returned.py",
        "return figure * (whole - left) // whole",
        "return -(-figure * (whole - left) // whole)",
        RETURNS,
    ),
    "today's rules judge what is left": Bug(
        "posting/decide/undo.py",
        "work.book.history.numbered(detail.judged_by)",
        "work.policies",
        RETURNS,
    ),
    "the batch behind does not know what went back": Bug(
        "posting/book.py",
        "self.returns[id] = before.returns[id]",
        "pass",
        "tests/posting/test_ahead.py",
    ),
    "a bonus stays though nothing is left of its reason": Bug(
        "posting/decide/undo.py", "award.points if index in unmet else", ""
    ),
    "a guest's goods that went back are claimed with the rest": Bug(
        "posting/decide/points.py", "if parts:", "if False:"
    ),
    "a month is a year": Bug(
        "rules/compile.py", "return on.isoformat()[:7]", "return on.isoformat()[:4]", RULES
    ),
}


@pytest.mark.parametrize("what", BUGS)
def test_a_planted_bug_is_caught(what: str, tmp_path: Path) -> None:
    bug = BUGS[what]
    tree = tmp_path / "tree"
    for part in ("src", "migrations"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    place = tree / "src" / "loyalty" / bug.file
    text = place.read_text("utf-8")
    assert bug.right in text, f"{bug.file} no longer says what is made wrong here"
    place.write_text(text.replace(bug.right, bug.wrong, 1), "utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "proof or not proof",
         bug.test],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tree / "src"), "PROOF_SEED": "7", "PROOF_QUICK": "1", "PROOF_SIZE": "1"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    last = ended.stdout.strip().rpartition("\n")[2]
    assert ended.returncode == 1, f"not caught: {last}"
    assert "failed" in last, ended.stdout
    print(f"\n{what}: {last}")
