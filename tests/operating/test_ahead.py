"""What an operator is told of the coming year, and of a configuration that is not published yet."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from loyalty.base.settings import from_process
from loyalty.cli.frame import Exit
from loyalty.operating.desk import open_desk
from tests.operating.test_commands import EXAMPLES, Shell
from tests.posting.shop import ANN, adjust, enrol

LADDER = """
[[tier_sets]]
id = "club"
name = "Club"
metric = { kind = "spend" }
period = { kind = "calendar", unit = "year" }

[[tier_sets.tiers]]
id = "basic"
name = "Basic"
threshold = 0
"""


@pytest.fixture
def shell(installation: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def shop(shell: Shell) -> list[str]:
    """The option that names a program in which a member got 400 points on 1 January 2017."""
    file = str(EXAMPLES / "journey-a.toml")
    program = shell("program", "create", file, "--clock-at", "2017-01-01T00:00:00-05:00")

    async def give() -> None:
        async with open_desk(from_process()) as desk:
            for command in (enrol(ANN), adjust(400)):
                await desk.submit(UUID(program), command)

    asyncio.run(give())
    return ["--program", program]


def test_a_forecast_is_printed_as_a_table_and_as_json(shell: Shell, shop: list[str]) -> None:
    head, row = shell("forecast", *shop).splitlines()
    assert head.split() == "week points activate of members expire of members worth".split()
    assert row.split() == ["2017-03-27", "points", "0", "0", "400", "1", "4.00", "USD"]
    assert "of 1 member:" in shell.said
    found = shell.json("forecast", *shop)
    assert found["weeks"][0]["points"][0]["expires_minor"] == 400


def test_a_plan_tells_who_would_move_and_publishes_nothing(
    shell: Shell, shop: list[str], tmp_path: Path
) -> None:
    (tmp_path / "next.toml").write_text((EXAMPLES / "journey-a.toml").read_text() + LADDER)
    file = str(tmp_path / "next.toml")
    _, *rows = shell("program", "plan", file, *shop).splitlines()
    assert [row.split() for row in rows] == [["club", "-", "basic", "1"]]
    assert "tier set club: added, 1 of 1 would move" in shell.said
    status, planned = shell.json("program", "plan", file, *shop)["tier_sets"]
    assert (status["tier_set"], status["moves"]) == ("status", [])
    assert len(planned["moves"][0]["first"]) == 1
    assert shell.json("program", "show", *shop)["number"] == 1
    (tmp_path / "other.toml").write_text((EXAMPLES / "journey-a.toml").read_text().replace("USD", "EUR"))
    told = shell("program", "plan", str(tmp_path / "other.toml"), *shop, ends=Exit.REFUSED)
    assert "configuration_fixed" in told


def test_a_planned_ladder_is_forecast(shell: Shell, shop: list[str], tmp_path: Path) -> None:
    (tmp_path / "next.toml").write_text((EXAMPLES / "journey-a.toml").read_text() + LADDER)
    at = "2017-02-01T00:00:00-05:00"
    shell("program", "publish", str(tmp_path / "next.toml"), "--effective-at", at, *shop)
    told = shell("forecast", *shop).splitlines()
    assert told[-1].split() == ["2017-01-30", "club", "-", "basic", "1"]
