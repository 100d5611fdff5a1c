"""The application's engine over an empty database, and what the edge would bring: ids, chance, a program."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from loyalty.access.types import Principal, operator
from loyalty.base.clock import RealClock, random62
from loyalty.base.database import make_engine
from loyalty.base.ids import Ids
from loyalty.programs.service import create_program
from loyalty.programs.types import ProgramKind
from tests.conftest import Database

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
ids = Ids(RealClock().now_ms, random62)


def later(**time: float) -> datetime:
    return NOW + timedelta(**time)


def chance() -> bytes:
    return secrets.token_bytes(32)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database.app_url, 4)
    yield engine
    await engine.dispose()


async def new_program(engine: AsyncEngine, cells: int = 1) -> UUID:
    program_id = ids()
    await create_program(engine, program_id, ProgramKind.LIVE, cells, NOW)
    return program_id


async def new_operator(engine: AsyncEngine) -> Principal:
    """The operator of a program of its own."""
    return operator(await new_program(engine))
