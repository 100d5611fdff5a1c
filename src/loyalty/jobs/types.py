"""Jobs' words: a run is long work that somebody asked for, kept in the database until it is done."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from msgspec import Struct

from loyalty.base.errors import NotFound


class RunKind(StrEnum):
    VERIFICATION = "verification"


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Run(Struct, frozen=True):
    """One run. `progress` bears `at`, the instant of the last sign of life, and what the work says of itself."""

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


class RunNotFound(NotFound):
    code: ClassVar[str] = "run_not_found"
    title: ClassVar[str] = "There is no such run."
    remedy: ClassVar[str] = "Take the id that `POST /v1/verification-runs` answered."
