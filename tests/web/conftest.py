"""One served application per test module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import Database
from tests.web.world import World, opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: Database) -> AsyncIterator[World]:
    async with opened(database) as world:
        yield world


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def hang_up(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Connections of a test end with it."""
    yield
    if "world" in request.fixturenames:
        await request.getfixturevalue("world").hang_up()
