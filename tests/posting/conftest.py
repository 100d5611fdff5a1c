"""The road over a database of the module's own; when its tests are through, the books must hold."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from loyalty.posting.runtime import Runtime
from tests.conftest import Database
from tests.laws.checks import broken
from tests.posting.live import serving, superuser


@pytest.fixture(scope="module")
def settings_more() -> dict[str, Any]:
    """What a module sets otherwise than the defaults."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtime(database: Database, settings_more: dict[str, Any]) -> AsyncIterator[Runtime]:
    async with serving(database, **settings_more) as runtime:
        yield runtime
    async with superuser(database) as link:
        assert await broken(link) == {}
