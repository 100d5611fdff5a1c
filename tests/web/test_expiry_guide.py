"""The calls of docs/expiry.md, run in their order as they stand there; and what they do not show."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec

from loyalty.jobs.runs import execute
from loyalty.jobs.works import WORKS
from loyalty.posting.files import load
from tests.races.client import Client
from tests.web.test_adjustments_guide import holds
from tests.web.world import JSON, World, enrol, new_shop

GUIDE = (Path(__file__).parents[2] / "docs" / "expiry.md").read_text()
WHO = {"till": "pos", "Sue": "staff", "Max": "chief", "system": "admin"}
CALL = re.compile(rf"({'|'.join(WHO)}): (GET|POST) (\S+)\n(?:(\{{.*\}})\n)?(\d{{3}}) (\{{.*\}})")
CHANGED = "The program publishes"
SETTINGS = """
[program]
kind = "sandbox"
name = "Corner shop"
zone = "Europe/Vienna"
money = "EUR"

[program.policies.adjustments]
approval_above = 100

[[rules]]
id = "base"
name = "for the basket"
points_currency = "points"
gives = { kind = "per_spend", points = 1, each_minor = 100 }
"""


def blocks(language: str, text: str = GUIDE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def configured(points: str) -> JSON:
    assert tomllib.loads(points)
    return msgspec.to_builtins(load(SETTINGS + points)[1])


async def test_the_guide_to_expiry_is_true(world: World) -> None:
    (points,) = blocks("toml")
    (expiry,) = re.findall(r"with `(expiry = .*?)`\. Then", GUIDE)
    shop = await new_shop(world.runtime, configured(points), clock_at=datetime(2026, 5, 4, 11, tzinfo=UTC))
    people: dict[str, Client] = {name: world.client(who, shop) for name, who in WHO.items()}
    for n in (1, 2, 3):
        await enrol(people["system"], f"603555000{n}")
    before, after = GUIDE.split(CHANGED)
    names = {"it": "", "digest": ""}
    seen = 0
    for part in (before, after):
        if part is after:
            changed = configured(re.sub(r"expiry = .*", expiry, points))
            published = await people["Max"].post(
                "/v1/program/configurations", changed, idempotency_key=uuid4().hex
            )
            assert published.status == 201, published.body
        for block in blocks("example", part):
            for who, method, told_path, body, status, shown in CALL.findall(block):
                seen += 1
                path = told_path.replace("{it}", names["it"])
                if path.startswith("/v1/redates/") and method == "GET":
                    await execute(world.runtime, shop.program_id, UUID(names["it"]), WORKS)
                told = {"Idempotency_Key": uuid4().hex} if method == "POST" else {}
                sent = msgspec.json.decode(body.replace("{digest}", names["digest"])) if body else None
                answer = await people[who].call(method, path, sent, **told)
                assert answer.status == int(status), (who, path, answer.body)
                assert holds(msgspec.json.decode(shown), answer.json), (who, path, answer.body)
                names["it"] = answer.json.get("id", names["it"])
                names["digest"] = (answer.json.get("result") or {}).get("digest", names["digest"])
    assert seen == sum(GUIDE.count(f"\n{name}:") for name in WHO) > 15


async def test_a_plan_is_confirmed_once_it_is_finished_and_twice_under_one_key_is_once(world: World) -> None:
    (points,) = blocks("toml")
    shop = await new_shop(world.runtime, configured(points))
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
    first, again = [await ask(chief, f"{at}/confirm", digest, "once") for _ in range(2)]
    assert (first.status, again.status, again.replayed) == (202, 202, True)
    assert again.json["id"] == first.json["id"]
    assert first.headers["location"] == f"/v1/redates/{first.json['id']}"
    # What does a plan is no plan, and a verification is neither.
    assert (await ask(chief, f"/v1/redates/{first.json['id']}/confirm", digest)).status == 404
    audit = (await world.client("admin", shop).get("/v1/audit-log")).json["data"]
    assert [one["action"] for one in audit].count("redate.confirm") == 1
