"""Jobs' words: a run is long work that somebody asked for, kept in the database until it is done."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from msgspec import Struct

from loyalty.base.errors import Conflict, NotFound, TooMany


class RunKind(StrEnum):
    VERIFICATION = "verification"
    CLOCK = "clock"  # a sandbox program's clock is moved
    IMPORT = "import"  # the rows of a file come in
    TIERS = "tiers"  # everybody is placed on ladders that were changed
    FORECAST = "forecast"  # what happens by itself within a year
    TIER_PLAN = "tier_plan"  # who would move, were a configuration published
    REDATE_PLAN = "redate_plan"  # which lots a changed policy of expiry would date otherwise
    REDATE = "redate"  # what was planned so is done


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Run(Struct, frozen=True):
    """One run. `progress` bears `at`, the instant of the last sign of life, and what the work says of itself.

    In lists `input` says no more than which import or plan it is about, and `result` why it failed.
    """

    program_id: UUID
    id: UUID
    kind: RunKind
    state: RunState
    tries: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    input: dict[str, Any]
    progress: dict[str, Any] | None
    result: dict[str, Any] | None

    @property
    def seen_at(self) -> datetime | None:
        """When a worker last gave a sign of life with it; None: none has had it."""
        at: str | None = (self.progress or {}).get("at")
        signs = [self.started_at, None if at is None else datetime.fromisoformat(at)]
        return max((sign for sign in signs if sign is not None), default=None)


class Verified(Struct, frozen=True):
    """A verification that came to its end."""

    started_at: datetime
    ended_at: datetime
    entries: int | None  # that it read
    broken: int | None  # what it found


class RunNotFound(NotFound):
    code: ClassVar[str] = "run_not_found"
    title: ClassVar[str] = "There is no such run."
    remedy: ClassVar[str] = "Take an id from `GET /v1/runs`."


class TooManyRuns(TooMany):
    retry_after_s: ClassVar[int] = 10
    code: ClassVar[str] = "too_many_runs"
    title: ClassVar[str] = "So much long work of this kind waits already that no more is taken."
    remedy: ClassVar[str] = "A worker has to come to what waits, which `GET /v1/runs` lists."


class RedatePlanUnfinished(Conflict):
    code: ClassVar[str] = "redate_plan_unfinished"
    title: ClassVar[str] = "The plan has no figures yet, or has failed."
    remedy: ClassVar[str] = (
        "Ask `GET /v1/redates/{run}` until its state is `succeeded`; where it failed, plan anew."
    )
