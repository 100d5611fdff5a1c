"""The worked example of docs/returns.md: its program, its calls one after the other, its answers to the last figure."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from loyalty.posting.files import load
from tests.web.test_holds import shows
from tests.web.world import World, enrol, new_shop

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "returns.md").read_text("utf-8")
CALLS = re.compile(r"```http\n(GET|POST) (\S+)\n(.*?)```\n\n```json\n// (\d+)\n(.*?)```", re.DOTALL)


async def test_the_worked_example_of_returns_is_answered_as_the_documentation_shows(world: World) -> None:
    """Points spent, a bonus lost, a limit freed, a line piece by piece, an exchange."""
    example = TEXT.split("## Worked example")[1].split("\n## ")[0]
    written = re.search(r"```toml\n(.*?)```", example, re.DOTALL)
    assert written is not None
    _, configuration = load(written[1])
    at = datetime(2026, 11, 20, 13, tzinfo=UTC)
    shop = await new_shop(world.runtime, msgspec.to_builtins(configuration), clock_at=at)
    client = world.client("admin", shop)
    await enrol(client, "6035550001")
    calls: list[Any] = CALLS.findall(example)
    assert len(calls) == 8
    for method, address, body, status, answer in calls:
        asked = json.loads(body) if body.strip() else None
        reply = await client.call(method, address, asked, Idempotency_Key=uuid4().hex)
        assert reply.status == int(status), reply.body
        assert shows(json.loads(answer), reply.json), (address, reply.json)
