"""The worked examples of docs/rewards.md, sent in their order and answered as they say."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from loyalty.posting.files import load
from tests.web.world import World, new_shop

PAGE = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()


def examples() -> list[tuple[str, str, str, Any]]:
    """Method, path, body and what the answer says at least."""
    blocks = re.findall(r"```http\n(\w+) (\S+)\n(.*?)```\n\n```json\n(.*?)```", PAGE, re.DOTALL)
    return [(method, path, body, json.loads(answer)) for method, path, body, answer in blocks]


def says(answer: Any, documented: Any) -> None:
    """Everything documented is in the answer; … stands for anything."""
    if isinstance(documented, dict):
        for name, value in documented.items():
            says(answer[name], value)
    elif isinstance(documented, list):
        assert len(answer) == len(documented)
        for one, value in zip(answer, documented, strict=True):
            says(one, value)
    elif documented != "…":
        assert answer == documented


async def test_the_examples_of_the_page_are_true(world: World) -> None:
    _, configuration = load(PAGE.split("```toml\n")[1].split("```")[0])
    shop = await new_shop(world.runtime, msgspec.to_builtins(configuration))
    desk, till = world.client("admin", shop), world.client("pos", shop)
    stock = {"set": 3, "reason": "delivery"}
    assert (await desk.post("/v1/rewards/mug/stock", stock, idempotency_key=uuid4().hex)).status == 200
    card = {"identifiers": [{"kind": "card", "value": "6035550001"}]}
    await till.post("/v1/members", card, idempotency_key=uuid4().hex)
    last, sent = "", examples()
    assert len(sent) == 11
    for method, path, text, documented in sent:
        told = text.replace("{now}", datetime.now(UTC).isoformat()).replace("{id}", last)
        body = json.loads(told) if told else None
        reply = await till.call(method, path.replace("{id}", last), body, Idempotency_Key=uuid4().hex)
        says(reply.json, documented)
        if reply.status == 201:
            last = reply.json["id"]
