"""A desk over a database of the module's own, with a clock that the test sets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest_asyncio

from loyalty.base.clock import random62
from loyalty.base.ids import Ids
from loyalty.base.settings import Settings
from loyalty.operating.desk import Desk
from loyalty.posting.configuration import Configuration
from loyalty.posting.runtime import open_runtime
from loyalty.programs.types import PointsCurrency, ProgramSettings
from tests.conftest import Database

SHOP = Configuration(ProgramSettings("Shop", "Europe/Vienna", "EUR", (PointsCurrency("points", "points"),)))


class HandClock:
    """Real time until it is set forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def now_ms(self) -> int:
        return int(self.now().timestamp() * 1_000)


@pytest_asyncio.fixture
async def clock() -> HandClock:
    return HandClock()


@pytest_asyncio.fixture
async def desk(database: Database, redis_url: str, clock: HandClock, tmp_path: Path) -> AsyncIterator[Desk]:
    settings = Settings(
        home=tmp_path, database_url=database.app_url, redis_url=redis_url, secret_key=bytes(range(32))
    )
    async with open_runtime(settings, clock=clock) as runtime:
        yield Desk(runtime, Ids(runtime.clock.now_ms, random62))
