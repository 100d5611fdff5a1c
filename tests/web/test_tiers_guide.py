"""The calls of docs/tiers.md, run in their order as they stand there; and what they do not show."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec

from loyalty.posting.files import load
from tests.races.client import Client
from tests.web.test_adjustments_guide import holds
from tests.web.test_forecasts import done
from tests.web.world import CONFIGURATION, JSON, World, enrol, new_shop

GUIDE = (Path(__file__).parents[2] / "docs" / "tiers.md").read_text()
CALL = re.compile(r"(till|manager): (GET|POST) (\S+)\n(?:(\{.*\})\n)?(\d{3}) (\{.*\})")
SETTINGS = """
[program]
kind = "sandbox"
name = "Corner shop"
zone = "Europe/Vienna"
money = "EUR"

[program.policies]
late_days_max = 365

[[points_currencies]]
code = "points"
name = "points"

[[rules]]
id = "base"
name = "for the basket"
points_currency = "points"
gives = { kind = "per_spend", points = 1, each_minor = 100 }
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


async def test_the_guide_to_tiers_is_true(world: World) -> None:
    (tiers,) = blocks("toml")
    assert tomllib.loads(tiers)
    _, configuration = load(SETTINGS + tiers)
    shop = await new_shop(
        world.runtime,
        msgspec.to_builtins(configuration),
        clock_at=datetime(2026, 5, 4, 11, tzinfo=UTC),
    )
    people: dict[str, Client] = {
        name: world.client(who, shop) for name, who in {"till": "pos", "manager": "manager"}.items()
    }
    await enrol(world.client("admin", shop), "6035550001")
    calls = [call for block in blocks("example") for call in CALL.findall(block)]
    assert len(calls) == GUIDE.count("\ntill:") + GUIDE.count("\nmanager:") > 10
    run = ""
    for who, method, path, body, status, shown in calls:
        told = {"Idempotency_Key": uuid4().hex} if method == "POST" else {}
        sent = msgspec.json.decode(body) if body else None
        answer = await people[who].call(method, path.replace("{run}", run), sent, **told)
        assert answer.status == int(status), (who, path, answer.body)
        assert holds(msgspec.json.decode(shown), answer.json), (who, path, answer.body)
        if answer.status == 202:
            run = await done(world.runtime, shop.program_id, answer)


async def test_steps_are_listed_page_by_page_the_last_first(world: World) -> None:
    ladder = {
        "id": "status", "name": "Status", "metric": {"kind": "invitation"}, "period": {"kind": "lifetime"},
        "tiers": [{"id": "silver", "name": "Silver", "threshold": 0}, {"id": "gold", "name": "Gold", "threshold": 0}],
    }  # fmt: skip
    configuration: JSON = CONFIGURATION | {"tier_sets": [ladder]}
    shop = await new_shop(world.runtime, configuration)
    manager, other = world.client("manager", shop), world.client("manager")
    member = await enrol(world.client("admin", shop))
    wanted = ["silver", "gold", "silver", "gold", "silver"]
    for tier in wanted:
        given = await manager.post(
            f"/v1/members/{member}/standing/status",
            {"tier": tier, "reason": "test"},
            idempotency_key=uuid4().hex,
        )
        assert given.status == 200, given.body
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await manager.get(f"/v1/members/{member}/standing/moves?limit=2{cursor}")).json
        seen += [one["after"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == wanted[::-1]
    assert (await other.get(f"/v1/members/{member}/standing")).status == 404
    assert (await other.get(f"/v1/members/{member}/standing/moves")).status == 404
    missing = await manager.post(
        f"/v1/members/{member}/standing/other", {"tier": None, "reason": "test"}, idempotency_key=uuid4().hex
    )
    assert (missing.status, missing.json["code"]) == (404, "tier_set_not_found")


async def test_a_configuration_is_read_with_its_tier_sets_and_refused_with_their_faults(world: World) -> None:
    ladder = {
        "id": "status", "name": "Status", "metric": {"kind": "points", "points_currency": "points"},
        "period": {"kind": "rolling"}, "tiers": [{"id": "gold", "name": "Gold", "threshold": 10}],
    }  # fmt: skip
    admin = world.client("admin")
    judged = await admin.post("/v1/program/configurations/validate", CONFIGURATION | {"tier_sets": [ladder]})
    assert [(one["pointer"], one["code"]) for one in judged.json["faults"]] == [
        ("/tier_sets/0/metric/points_currency", "not_qualifying"),
        ("/tier_sets/0/period", "contradictory_range"),
    ]
