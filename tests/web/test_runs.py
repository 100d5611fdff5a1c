"""What a run tells whoever asks for it: how far it is, in the words of docs/jobs.md, and what it works on."""

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from loyalty.web.api.operations import PROGRESS
from tests.races.client import Client, Reply
from tests.web.test_import_guide import announced, put
from tests.web.test_refusals import is_problem
from tests.web.world import CONFIGURATION, World, long_work, new_shop

GUIDE = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
ROW = re.compile(r"^\| (.*`) \| (`.*`): ", re.MULTILINE)
WORD = re.compile(r"`(\w+)`")


def documented() -> dict[str, set[str]]:
    """By kind, what the guide says of `progress`."""
    _, _, table = GUIDE.partition("| kind | in `progress`, beside `at` |")
    return {
        kind: set(WORD.findall(told))
        for kinds, told in ROW.findall(table.partition("\n\n")[0])
        for kind in WORD.findall(kinds)
    }


def test_the_guide_says_of_each_kind_what_its_progress_is() -> None:
    assert documented() == {kind.value: set(told) for kind, told in PROGRESS.items()}


async def test_runs_tell_what_the_guide_says_in_the_form_of_all_answers_and_name_what_they_work_on(
    world: World,
) -> None:
    shop = await new_shop(world.runtime, clock_at=datetime(2026, 5, 4, 11, tzinfo=UTC))
    manager, admin, chief = (world.client(who, shop) for who in ("manager", "admin", "chief"))

    async def ask(path: str, body: object = None) -> Reply:
        by = chief if path.endswith("/confirm") else admin
        reply = await by.post(path, body or {}, idempotency_key=uuid4().hex)
        assert reply.status == 202, reply.body
        await long_work(world.runtime)
        return reply

    import_id = await announced(manager)
    await put(manager, import_id, 1, b"card\n6035550001\n")
    await ask(f"/v1/imports/{import_id}/start")
    plan = (await ask("/v1/redates", {"points_currency": "points"})).json["id"]
    at = f"/v1/redates/{plan}"
    before = (await manager.get(at)).json
    redate = (await ask(f"{at}/confirm", {"digest": before["result"]["digest"]})).json["id"]
    after = (await manager.get(at)).json
    assert (before["redate_id"], after["redate_id"]) == (None, redate)
    assert (await manager.get(f"/v1/redates/{redate}")).json["redate_id"] is None
    for path in ("/v1/verification-runs", "/v1/forecasts"):
        await ask(path)
    await ask("/v1/clock/advance", {"to": "2026-06-04T11:00:00Z"})
    listed = await admin.get("/v1/runs")
    assert "+00:00" not in listed.body.decode()
    told = {run["kind"]: run for run in listed.json["data"]}
    assert len(told) == 6
    for kind, run in told.items():
        assert run["state"] == "succeeded", run
        assert set(run["progress"]) == {"at", *documented()[kind]}
        assert run["import_id"] == (import_id if kind == "import" else None)
        assert run["plan_id"] == (plan if kind == "redate" else None)
        assert "result" not in run
    brought_in = told["import"]["id"]
    assert "read_to" not in (await admin.get(f"/v1/runs/{brought_in}")).json["result"]
    assert (await manager.get(f"/v1/imports/{import_id}")).json["run_id"] == brought_in


async def test_what_was_refused_of_long_work_is_a_new_try_under_the_same_key(world: World) -> None:
    shop = await new_shop(world.runtime)
    chief = world.client("chief", shop)
    import_id = await announced(chief)
    start = f"/v1/imports/{import_id}/start"
    is_problem(await chief.post(start, {}, idempotency_key="start"), 409, "import_incomplete")
    await put(chief, import_id, 1, b"card\n6035550001\n")
    assert (await chief.post(start, {}, idempotency_key="start")).status == 202
    plan = await chief.post("/v1/redates", {"points_currency": "points"}, idempotency_key="plan")
    early = await chief.post(f"/v1/redates/{plan.json['id']}/confirm", UNKNOWN, idempotency_key="confirm")
    is_problem(early, 409, "redate_plan_unfinished")
    await long_work(world.runtime)
    stale = await chief.post(f"/v1/redates/{plan.json['id']}/confirm", UNKNOWN, idempotency_key="confirm")
    is_problem(stale, 409, "redate_plan_stale")
    assert not stale.replayed


UNKNOWN = {"digest": "0" * 64}
KINDS = ["/v1/verification-runs", "/v1/forecasts", "/v1/redates", "/v1/program/configurations/plan"]


@pytest.mark.parametrize("path", [*KINDS, "/v1/imports"])
async def test_of_each_kind_ten_runs_wait_and_then_no_more_are_taken(world: World, path: str) -> None:
    shop = await new_shop(world.runtime)
    admin, other = world.client("admin", shop), world.client("admin")
    body = {"/v1/redates": {"points_currency": "points"}, KINDS[-1]: CONFIGURATION}.get(path, {})

    async def ask(by: Client, n: int) -> Reply:
        if path != "/v1/imports":
            return await by.post(path, body, idempotency_key=f"{path} {n}")
        import_id = await announced(by)
        await put(by, import_id, 1, b"card\n6035550001\n")
        return await by.post(f"{path}/{import_id}/start", body, idempotency_key=f"{path} {n}")

    asked = [await ask(admin, n) for n in range(10)]
    assert {reply.status for reply in asked} == {202}
    refused = await ask(admin, 10)
    problem = is_problem(refused, 429, "too_many_runs")
    assert (problem["waiting_max"], problem["retryable"], refused.headers["retry-after"]) == (10, True, "10")
    if path != "/v1/imports":
        assert (await ask(admin, 0)).body == asked[0].body  # what was asked before is told again
    assert (await ask(other, 0)).status == 202
    await long_work(world.runtime)
    assert (await ask(admin, 10)).status == 202
