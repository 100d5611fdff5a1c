"""Schemathesis against the served application: generated requests, good and bad, in every role.

`make fuzz` does the same at length (tests/fuzz).
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from loyalty.access.roles import Role
from loyalty.web.written import OPENAPI
from tests.conftest import Database
from tests.web.world import World, opened

SEED = "1"
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: Database) -> AsyncIterator[World]:
    async with opened(database) as world:
        yield world


async def generated(world: World, place: Path, role: Role, *arguments: str) -> None:
    """Let Schemathesis loose with the credential of a role; every check of it holds."""
    code, told = await let_loose(world.port, world.shop.keys[role.value], place, f"--seed={SEED}", *arguments)
    assert code == 0, f"as {role.value}:\n{told[-6_000:]}"
    assert " passed" in told


async def let_loose(port: int, key: str, place: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of Schemathesis and what it told; it keeps notes in `place`."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "--no-color",
        "run",
        OPENAPI,
        f"--url=http://127.0.0.1:{port}",
        f"--header=Authorization: Bearer {key}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")},
    )
    told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, told.decode()


async def test_nothing_generated_breaks_the_contract_for_an_admin(world: World, tmp_path: Path) -> None:
    await generated(world, tmp_path, Role.ADMIN, "--phases=coverage,fuzzing,stateful", "--max-examples=1")


@pytest.mark.proof
async def test_nothing_generated_breaks_the_contract_for_any_other_role(world: World, tmp_path: Path) -> None:
    two_at_once = asyncio.Semaphore(2)

    async def one(role: Role) -> None:
        async with two_at_once:
            await generated(world, tmp_path, role, "--phases=fuzzing", "--max-examples=1")

    async with asyncio.TaskGroup() as group:
        for role in Role:
            if role is not Role.ADMIN:
                group.create_task(one(role))
