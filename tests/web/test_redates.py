"""Plans of redates over HTTP: who may ask, who may confirm, and what is confirmed once."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from loyalty.jobs.runs import execute
from loyalty.jobs.works import WORKS
from tests.races.client import Client
from tests.web.world import World, new_shop


async def test_a_plan_is_confirmed_once_it_is_finished_and_twice_under_one_key_is_once(world: World) -> None:
    shop = await new_shop(world.runtime)
    chief, support, other = world.client("chief", shop), world.client("staff", shop), world.client("chief")

    async def ask(by: Client, path: str, body: Any, key: str = "") -> Any:
        return await by.post(path, body, idempotency_key=key or uuid4().hex)

    unknown = await ask(chief, "/v1/redates", {"points_currency": "stars"})
    assert (unknown.status, unknown.json["code"]) == (422, "points_currency_unknown")
    assert (await ask(support, "/v1/redates", {"points_currency": "points"})).status == 403
    plan = await ask(chief, "/v1/redates", {"points_currency": "points"})
    at, digest = f"/v1/redates/{plan.json['id']}", {"digest": "0" * 64}
    early = await ask(chief, f"{at}/confirm", digest)
    assert (early.status, early.json["code"]) == (409, "redate_plan_unfinished")
    await execute(world.runtime, shop.program_id, UUID(plan.json["id"]), WORKS)
    assert (await other.get(at)).status == 404
    assert (await ask(other, f"{at}/confirm", digest)).status == 404
    digest = {"digest": (await chief.get(at)).json["result"]["digest"]}
    system = await ask(world.client("admin", shop), f"{at}/confirm", digest)
    assert (system.status, system.json["code"]) == (403, "people_only")
    first, again = [await ask(chief, f"{at}/confirm", digest, "once") for _ in range(2)]
    assert (first.status, again.status, again.replayed) == (202, 202, True)
    assert again.json["id"] == first.json["id"]
    others = await asyncio.gather(
        *(ask(world.client("chief", shop), f"{at}/confirm", digest, f"again {n}") for n in range(4))
    )
    assert {(one.status, one.json["id"]) for one in others} == {(202, first.json["id"])}
    assert first.headers["location"] == f"/v1/redates/{first.json['id']}"
    # What does a plan is no plan, and a verification is neither.
    assert (await ask(chief, f"/v1/redates/{first.json['id']}/confirm", digest)).status == 404
    audit = (await world.client("admin", shop).get("/v1/audit-log")).json["data"]
    assert [one["action"] for one in audit].count("redate.confirm") == 1
