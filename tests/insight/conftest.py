"""A runtime over a database of the module's own, with a clock that stands."""

from collections.abc import AsyncIterator

import pytest_asyncio

from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.posting.live import StandingClock, serving


@pytest_asyncio.fixture
async def clock() -> StandingClock:
    return StandingClock()


@pytest_asyncio.fixture
async def runtime(database: Database, clock: StandingClock) -> AsyncIterator[Runtime]:
    async with serving(database, clock) as runtime:
        yield runtime
