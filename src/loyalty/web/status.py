"""What anybody may know of the installation: whether it is well, and if not, what of it is not.

Nothing here says which programs there are, how many, or how large. It is looked at no more often than a few seconds
allow, however many ask: a public address must not be a way to tire the database.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import text

from loyalty import __version__
from loyalty.base.database import DatabaseUnavailable, shared
from loyalty.base.errors import LoyaltyError
from loyalty.base.ids import NIL
from loyalty.base.together import Together
from loyalty.jobs.overview import Totals, totals
from loyalty.posting.runtime import Runtime

LOOK_S = 5.0  # between two looks at the database
WORK_S = 30.0  # between two looks at what is due, which cost more
WAIT_S = 3.0  # for a look: a database that stands still says nothing at all
DUE_S_MAX = 600
LAWS_S_MAX = 2 * 86_400  # the laws are checked every night: one may be missed

Database = Literal["ready", "busy", "away", "other_schema"]
Fault = Literal["database", "work", "laws", "books"]


class Status(Struct, frozen=True):
    """Whether the installation is well."""

    status: Literal["ok", "degraded"]
    degraded: tuple[Fault, ...]  # what is not well
    at: datetime  # of the look; the same for some seconds
    version: str
    schema: str | None  # revision of the database
    database: Database
    due_seconds: int | None  # age of the oldest work that should have been done by itself
    laws_checked_seconds: (
        int | None
    )  # since the books were verified last that wait longest; null also where none are


class Board:
    """The status as it was a moment ago; whoever asks first after that looks, and the others wait for it."""

    def __init__(self, runtime: Runtime, schema: str) -> None:
        self._runtime = runtime
        self._schema = schema
        self._turn = asyncio.Lock()
        self._looking: asyncio.Task[Status] | None = None
        self._status: tuple[Status, float] | None = None  # with the moment of the look
        self._work: tuple[Totals, float] | None = None
        settings = runtime.settings
        self._together = Together(waiting_max=settings.queue_max, waiting_ms_max=settings.queue_ms_max)

    async def read(self) -> Status:
        """The status, LOOK_S old at most."""
        async with self._turn:
            if self._status is None or monotonic() - self._status[1] >= LOOK_S:
                status = await self._looked()
                self._status = status, monotonic()
            return self._status[0]

    async def database(self) -> tuple[datetime, str]:
        """The database's clock and its revision, as of now; who asks at the same moment shares the visit.

        Raises: Busy.
        """
        return await self._together(self._ask, NIL, None)

    async def _ask(self, _: UUID, asked: Sequence[None]) -> list[tuple[datetime, str]]:
        async with shared(self._runtime.entry, writes=False) as connection:
            query = text("SELECT clock_timestamp(), (SELECT version_num FROM alembic_version)")
            at, schema = (await connection.execute(query)).one()
        return [(at, schema)] * len(asked)

    async def _looked(self) -> Status:
        """A look, or that there is none to be had; one that is late is waited for next time, and no other begun."""
        look = self._looking = self._looking or asyncio.create_task(self._look())
        done, _ = await asyncio.wait([look], timeout=WAIT_S)
        if not done:
            return judged(self._runtime.clock.now(), None, "away", None)
        self._looking = None
        return look.result()

    async def _look(self) -> Status:
        now = self._runtime.clock.now()
        schema: str | None = None
        work: Totals | None = None
        try:
            _, schema = await self.database()
            if schema == self._schema:
                work = await self._totals()
        except LoyaltyError as error:
            away = isinstance(error, DatabaseUnavailable)
            return judged(now, schema, "away" if away else "busy", None)
        return judged(now, schema, "ready" if schema == self._schema else "other_schema", work)

    async def _totals(self) -> Totals:
        if self._work is None or monotonic() - self._work[1] >= WORK_S:
            self._work = await totals(self._runtime), monotonic()
        return self._work[0]


def judged(now: datetime, schema: str | None, database: Database, work: Totals | None) -> Status:
    """The status that these facts make."""
    faults: list[Fault] = [] if database == "ready" else ["database"]
    due = laws = None
    if work is not None:
        since = [at for at in work.due_since.values() if at is not None]
        due = _seconds(now - min(since, default=now))
        laws = None if work.unverified_since is None else _seconds(now - work.unverified_since)
        if due > DUE_S_MAX:
            faults.append("work")
        if laws is not None and laws > LAWS_S_MAX:
            faults.append("laws")
        if work.broken:
            faults.append("books")
    return Status(
        status="degraded" if faults else "ok",
        degraded=tuple(faults),
        at=now,
        version=__version__,
        schema=schema,
        database=database,
        due_seconds=due,
        laws_checked_seconds=laws,
    )


def _seconds(age: timedelta) -> int:
    return max(0, age // timedelta(seconds=1))
