"""The calls of docs/forecast.md, run in their order as they stand there; who may ask, and what is refused."""

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from loyalty.insight.ahead.types import Forecast, TierPlan
from loyalty.jobs.runs import execute
from loyalty.jobs.works import WORKS
from loyalty.posting.runtime import Runtime
from tests.races.client import Reply
from tests.web.test_adjustments_guide import holds
from tests.web.test_refusals import is_problem
from tests.web.world import CONFIGURATION, JSON, World, enrol, new_shop

GUIDE = (Path(__file__).parents[2] / "docs" / "forecast.md").read_text()
CALL = re.compile(r"(till|analyst): (GET|POST) (\S+)\n(?:(\{.*\})\n)?(\d{3}) (\{.*\})")
LADDER: JSON = {
    "id": "status", "name": "Status", "metric": {"kind": "spend"},
    "period": {"kind": "calendar", "unit": "quarter", "lasts": 1},
    "tiers": [{"id": "silver", "name": "Silver", "threshold": 25_000}],
}  # fmt: skip
POINTS: JSON = {
    "code": "points", "name": "points", "pending_days": 14, "expiry": {"kind": "rolling", "months": 6},
    "pay": {"points": 1, "each_minor": 1},
}  # fmt: skip
SHOP: JSON = {
    "settings": CONFIGURATION["settings"] | {"points_currencies": [POINTS]},
    "ruleset": CONFIGURATION["ruleset"],
    "tier_sets": [LADDER],
}
PLAN = "/v1/program/configurations/plan"


async def done(runtime: Runtime, program_id: UUID, queued: Reply) -> str:
    """The run that was asked for, done; its id."""
    assert queued.status == 202, queued.body
    assert queued.headers["location"] == f"/v1/runs/{queued.json['id']}"
    await execute(runtime, program_id, UUID(queued.json["id"]), WORKS)
    return queued.json["id"]


async def test_the_guide_to_forecasts_is_true(world: World) -> None:
    shop = await new_shop(world.runtime, SHOP, clock_at=datetime(2026, 5, 4, 11, tzinfo=UTC))
    people = {"till": world.client("pos", shop), "analyst": world.client("analyst", shop)}
    await enrol(world.client("admin", shop), "6035550001")
    calls = CALL.findall(GUIDE)
    assert len(calls) == GUIDE.count("\ntill:") + GUIDE.count("\nanalyst:") == 3
    run = ""
    for who, method, path, body, status, shown in calls:
        told = {"Idempotency_Key": uuid4().hex} if method == "POST" else {}
        sent = msgspec.json.decode(body) if body else None
        answer = await people[who].call(method, path.replace("{run}", run), sent, **told)
        assert answer.status == int(status), (who, path, answer.body)
        assert holds(msgspec.json.decode(shown), answer.json), (who, path, answer.body)
        if answer.status == 202:
            run = await done(world.runtime, shop.program_id, answer)
    result = (await people["analyst"].get(f"/v1/runs/{run}")).json["result"]
    assert msgspec.json.decode(msgspec.json.encode(msgspec.convert(result, Forecast))) == result


async def test_a_plan_is_asked_for_once_and_read_by_those_who_may(world: World) -> None:
    shop = await new_shop(world.runtime, SHOP | {"tier_sets": []})
    manager = world.client("manager", shop)
    member = await enrol(world.client("admin", shop))
    wanted = SHOP | {"tier_sets": [LADDER | {"tiers": [LADDER["tiers"][0] | {"threshold": 0}]}]}
    queued = await manager.post(PLAN, wanted, idempotency_key="plan")
    again = await manager.post(PLAN, wanted, idempotency_key="plan")
    assert (again.json, queued.json["kind"]) == (queued.json, "tier_plan")
    run = await done(world.runtime, shop.program_id, queued)
    for who in ("manager", "analyst", "auditor", "admin"):
        read = (await world.client(who, shop).get(f"/v1/runs/{run}")).json
        assert read["state"] == "succeeded"
        assert read["result"]["tier_sets"] == [
            {
                "tier_set": "status",
                "change": "added",
                "moves": [{"before": None, "after": "silver", "members": 1, "first": [str(member)]}],
                "in_grace": 0,
            }
        ]
    assert (
        msgspec.json.decode(msgspec.json.encode(msgspec.convert(read["result"], TierPlan))) == read["result"]
    )
    is_problem(await world.client("support", shop).get(f"/v1/runs/{run}"), 403, "not_allowed")
    is_problem(await world.client("manager", world.other).get(f"/v1/runs/{run}"), 404, "run_not_found")
    assert (await manager.get("/v1/program")).json["configuration"] == 1


async def test_a_configuration_with_faults_is_refused_before_anything_is_planned(world: World) -> None:
    manager = world.client("manager")
    current = (await manager.get("/v1/program/configurations/1")).json
    broken = {"settings": current["settings"], "tier_sets": [LADDER | {"period": {"kind": "rolling"}}]}
    problem = is_problem(
        await manager.post(PLAN, broken, idempotency_key=uuid4().hex), 422, "configuration_invalid"
    )
    assert [fault["pointer"] for fault in problem["errors"]] == ["/tier_sets/0/period"]
    moved = {"settings": current["settings"] | {"money": "CHF"}}
    problem = is_problem(
        await manager.post(PLAN, moved, idempotency_key=uuid4().hex), 409, "configuration_fixed"
    )
    assert [fault["pointer"] for fault in problem["errors"]] == ["/settings/money"]
