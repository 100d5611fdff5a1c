"""What a verification found: figures of what was read, and the first broken rows of every account and lane."""

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

PER_SUBJECT = 3  # findings told of one account, or of one table of a lane; the rest is counted
TOLD_MAX = 500


class Finding(Struct, frozen=True):
    """One broken row: where it is, and what is wrong with it in words."""

    table: str
    key: dict[str, str]
    what: str


class LaneFigures(Struct, frozen=True):
    """A lane as far as its chain was read."""

    cell: int
    number: int  # of the newest block
    recorded_at: datetime
    hash: str


class Figures(Struct):
    """What was read."""

    blocks: int = 0
    decisions: int = 0
    entries: int = 0
    postings: int = 0
    lots: int = 0
    accounts: int = 0
    counters: int = 0
    redemptions: int = 0
    events: int = 0
    returns: int = 0
    keys: int = 0  # idempotency records and natural keys
    checkpoints: int = 0


class Report(Struct, frozen=True):
    """The result of verifying one program."""

    program_id: UUID
    intact: bool
    lanes: tuple[LaneFigures, ...]
    figures: Figures
    broken: int  # all findings, also those not told
    findings: tuple[Finding, ...]


class Findings:
    """Collects findings; of one subject only the first few are told."""

    def __init__(self) -> None:
        self.broken = 0
        self.told: list[Finding] = []
        self._of: dict[object, int] = {}

    def add(self, subject: object, table: str, key: dict[str, object], what: str) -> None:
        """`subject` is the account, lane or table whose first broken rows are told."""
        self.broken += 1
        seen = self._of.get(subject, 0)
        if seen < PER_SUBJECT and len(self.told) < TOLD_MAX:
            self._of[subject] = seen + 1
            self.told.append(Finding(table, {name: _text(value) for name, value in key.items()}, what))


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
