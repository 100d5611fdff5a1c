"""The calls of docs/adjustments.md, run in their order as they stand there."""

import re
import tomllib
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from loyalty.programs.types import OWN_CAUSES
from tests.races.client import Client
from tests.web.world import CONFIGURATION, JSON, World, enrol, new_shop

GUIDE = (Path(__file__).parents[2] / "docs" / "adjustments.md").read_text()
CALL = re.compile(r"(Sue|Max|system): (GET|POST) (\S+)\n(?:(\{.*\})\n)?(\d{3}) (\{.*\})")
CARDS = ("6035550001", "6035550002")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def holds(said: Any, answered: Any) -> bool:
    """Whether the answer has all that the guide shows of it."""
    if isinstance(said, dict):
        return all(name in answered and holds(value, answered[name]) for name, value in said.items())  # pyright: ignore
    if isinstance(said, list):
        return len(said) == len(answered) and all(map(holds, said, answered))  # pyright: ignore
    return said == answered


async def test_the_guide_to_adjustments_is_true(world: World) -> None:
    (policies,) = blocks("toml")
    configuration: JSON = msgspec.json.decode(msgspec.json.encode(CONFIGURATION))
    configuration["settings"]["policies"] |= tomllib.loads(policies)["program"]["policies"]
    shop = await new_shop(world.runtime, configuration)
    people: dict[str, Client] = {
        name: world.client(who, shop)
        for name, who in {"Sue": "staff", "Max": "chief", "system": "admin"}.items()
    }
    for card in CARDS:
        await enrol(people["system"], card)
    calls = [call for block in blocks("example") for call in CALL.findall(block)]
    assert len(calls) == GUIDE.count("\nSue:") + GUIDE.count("\nMax:") + GUIDE.count("\nsystem:") > 20
    it = ""
    for who, method, path, body, status, shown in calls:
        told = {"Idempotency_Key": uuid4().hex} if method == "POST" else {}
        sent = msgspec.json.decode(body) if body else None
        answer = await people[who].call(method, path.replace("{it}", it), sent, **told)
        assert answer.status == int(status), (who, path, answer.body)
        assert holds(msgspec.json.decode(shown), answer.json), (who, path, answer.body)
        it = answer.json.get("id", it)


def test_the_guide_names_every_cause_that_is_the_books_own() -> None:
    assert [cause for cause in sorted(OWN_CAUSES) if f"`{cause}`" not in GUIDE] == []


async def test_a_proposal_is_read_until_it_lapses_and_lists_go_on(world: World) -> None:
    support, member = world.client("support"), await enrol(world.client("admin"))
    configuration: JSON = msgspec.json.decode(msgspec.json.encode(CONFIGURATION))
    configuration["settings"]["policies"]["adjustments"] = {"approval_above": 0}
    shop = await new_shop(world.runtime, configuration)
    support = world.client("support", shop)
    member = await enrol(world.client("admin", shop))
    body = {"member": {"id": member}, "points_currency": "points", "points": 5, "reason": "goodwill"}
    made = [
        (await support.post("/v1/adjustments", body, idempotency_key=uuid4().hex)).json["id"]
        for _ in range(5)
    ]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await support.get(f"/v1/adjustments?limit=2{cursor}")).json
        seen += [one["id"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made
    one = (await support.get(f"/v1/adjustments/{made[0]}")).json
    assert (one["state"], one["kind"], one["reference"]) == ("proposed", "adjustment", None)
    missing = await support.get(f"/v1/adjustments/{uuid4()}")
    assert (missing.status, missing.json["code"]) == (404, "proposal_not_found")


async def test_a_reference_is_a_number_of_a_case_and_never_words(world: World) -> None:
    desk, member = world.client("support"), await enrol(world.client("admin"))
    body = {"member": {"id": member}, "points_currency": "points", "points": 5, "reason": "goodwill"}
    for words in ("Mrs Smith called", "jane@example.com", "+43 664 1234567", "case-1", "", "X" * 80):
        reply = await desk.post("/v1/adjustments", body | {"reference": words}, idempotency_key=uuid4().hex)
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/reference")
    told = await desk.post("/v1/adjustments", body | {"reference": "ZD-77"}, idempotency_key=uuid4().hex)
    assert (told.status, told.json["reference"]) == (201, "ZD-77")
