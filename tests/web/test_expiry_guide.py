"""The calls of docs/expiry.md, run in their order as they stand there."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from loyalty.jobs.runs import execute
from loyalty.jobs.works import WORKS
from loyalty.posting.files import load
from tests.races.client import Client
from tests.web.test_adjustments_guide import holds
from tests.web.world import JSON, World, enrol, long_work, new_shop

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
    names = {"it": "", "digest": "", "entry": ""}
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
                path = told_path.replace("{it}", names["it"]).replace("{entry}", names["entry"])
                if path.startswith("/v1/redates/") and method == "GET":
                    await execute(world.runtime, shop.program_id, UUID(names["it"]), WORKS)
                told = {"Idempotency_Key": uuid4().hex} if method == "POST" else {}
                sent = msgspec.json.decode(body.replace("{digest}", names["digest"])) if body else None
                answer = await people[who].call(method, path, sent, **told)
                assert answer.status == int(status), (who, path, answer.body)
                if '"id": "{entry}"' in shown:
                    names["entry"] = answer.json["data"][0]["id"]
                expected = msgspec.json.decode(shown.replace("{entry}", names["entry"]))
                assert holds(expected, answer.json), (who, path, answer.body)
                if path == "/v1/clock/advance":
                    await long_work(world.runtime)
                    continue
                names["it"] = answer.json.get("id", names["it"])
                names["digest"] = (answer.json.get("result") or {}).get("digest", names["digest"])
    assert seen == sum(GUIDE.count(f"\n{name}:") for name in WHO) > 15
