"""What a verification found: figures of what was read, and the first broken rows of every account and lane.

Which invariants a check proves, and what they are, is docs/ledger.md, "What each check proves".
"""

from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from loyalty.ledger.verify.frame import OF_THE_CONNECTION, UNREADABLE

PER_SUBJECT = 3  # findings told of one account, or of one table of a lane; the rest is counted
TOLD_MAX = 500
_WORDS = 200  # characters told of an error

T = TypeVar("T")

# The checks, in the order in which they are made, and the invariants that each proves.
PROVES: Mapping[str, tuple[str, ...]] = {
    "lanes": ("I15",),
    "values": ("I15",),
    "chain": ("I13", "I15", "I17", "I18", "I20"),
    "accounts": ("I1", "I2", "I3", "I6", "I7", "I8"),
    "limits": ("I22",),
    "desk": ("I15", "I19"),
    "receipts": ("I12",),
    "holds": ("I8",),
    "returns": ("I9",),
    "purchases": ("I12", "I18"),
    "days": ("I19",),
    "redemptions": ("I15",),
    "requests": ("I11",),
    "configurations": ("I18",),
    "stocks": ("I22",),
    "reviews": ("I19",),
    "transfers": ("I6",),
    "checkpoint": ("I15", "I17"),
}


class Finding(Struct, frozen=True):
    """One broken row: which check met it, where it is, and what is wrong with it in words."""

    check: str
    invariants: tuple[str, ...]
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
    began_at: datetime  # by the database's clock
    seconds: float
    intact: bool
    lanes: tuple[LaneFigures, ...]
    figures: Figures
    broken: int  # all findings, also those not told
    findings: tuple[Finding, ...]


_CHECK: ContextVar[str] = ContextVar("check")  # that is being made


class Findings:
    """Collects findings; of one subject only the first few are told."""

    def __init__(self) -> None:
        self.broken = 0
        self.unended = False  # some check broke on what it read
        self._told: list[Finding] = []
        self._of: dict[object, int] = {}

    async def during(self, check: str, work: Awaitable[T]) -> T | None:
        """What `work` gives; what it finds is of this check, whatever others are made meanwhile by other tasks.

        That it broke on what it read is a finding too, so that the other checks are still made.
        """
        _CHECK.set(check)
        try:
            return await work
        except OF_THE_CONNECTION:
            raise
        except UNREADABLE as error:
            self.unended = True
            said = f"{type(error).__name__}: {error}".partition("\n")[0][:_WORDS]
            what = f"could not be ended: {said}"
            self.add(("unended", check), "programs", {"check": check}, what)
            return None

    def add(
        self, subject: object, table: str, key: dict[str, object], what: str, *, check: str | None = None
    ) -> None:
        """Of each `subject` (account, lane, table) the first broken rows are told; `check` if not the present one."""
        self.broken += 1
        seen = self._of.get(subject, 0)
        if seen < PER_SUBJECT and len(self._told) < TOLD_MAX:
            self._of[subject] = seen + 1
            where = {name: _text(value) for name, value in key.items()}
            check = check or _CHECK.get()
            self._told.append(Finding(check, PROVES[check], table, where, what))

    def told(self) -> tuple[Finding, ...]:
        """The findings, in the order of the checks."""
        places = {check: place for place, check in enumerate(PROVES)}
        return tuple(sorted(self._told, key=lambda one: places[one.check]))


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
