"""The calls of docs/import.md, run in their order as they stand there; and what they do not show."""

import re
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from loyalty.access.roles import Role
from loyalty.jobs.imports.service import OPEN_MAX
from loyalty.jobs.imports.types import PART_BYTES_MAX
from loyalty.jobs.runs import execute, waiting_runs
from loyalty.jobs.works import WORKS
from tests.conftest import Database
from tests.races.client import Client, Reply
from tests.web.test_adjustments_guide import holds
from tests.web.test_refusals import is_problem
from tests.web.world import CONFIGURATION, JSON, World, new_shop, opened

GUIDE = (Path(__file__).parents[2] / "docs" / "import.md").read_text()
CALL = re.compile(r"manager: (GET|POST) (\S+)\n(?:(\{.*\})\n)?(\d{3}) (\{.*\})")
FILE = re.compile(r"manager: (PUT) (\S+)\n(.*?\n)(\d{3}) (\{.*\})", re.DOTALL)
LADDER: JSON = {
    "id": "status", "name": "Status", "metric": {"kind": "spend"}, "period": {"kind": "lifetime"},
    "tiers": [{"id": "gold", "name": "Gold", "threshold": 60_000}],
}  # fmt: skip


async def put(client: Client, import_id: str, number: int, part: bytes, digest: str | None = None) -> Reply:
    path = f"/v1/imports/{import_id}/parts/{number}?sha256={digest or sha256(part).hexdigest()}"
    return await client.call("PUT", path, part, Content_Type="text/csv")


async def announced(client: Client, kind: str = "members") -> str:
    made = await client.post("/v1/imports", {"kind": kind, "source": "crm"}, idempotency_key=uuid4().hex)
    assert made.status == 201, made.body
    return made.json["id"]


async def work(world: World) -> None:
    """What a worker does with the runs that wait."""
    for run in await waiting_runs(world.runtime):
        await execute(world.runtime, run.program_id, run.id, WORKS)


async def test_the_guide_to_imports_is_true(world: World) -> None:
    shop = await new_shop(world.runtime, CONFIGURATION | {"tier_sets": [LADDER]})
    manager = world.client("manager", shop)
    import_id, calls = "", 0
    for language, block in re.findall(r"```(example|file)\n(.*?)```", GUIDE, re.DOTALL):
        for method, path, body, status, shown in (CALL if language == "example" else FILE).findall(block):
            calls += 1
            if method == "PUT":
                answer = await put(manager, import_id, 1, body.encode())
            else:
                told = {"Idempotency_Key": uuid4().hex} if method == "POST" else {}
                sent = msgspec.json.decode(body) if body else None
                answer = await manager.call(method, path.format(id=import_id), sent, **told)
            assert answer.status == int(status), (path, answer.body)
            assert holds(msgspec.json.decode(shown), answer.json), (path, answer.body)
            import_id = answer.json["id"] if answer.status == 201 else import_id
            await work(world)
    assert calls == GUIDE.count("\nmanager:") == 11


async def test_rejections_are_listed_page_by_page(world: World) -> None:
    manager = world.client("manager")
    import_id = await announced(manager)
    await put(manager, import_id, 1, b"card,locale\n" + b"12,x\n" * 5)
    other = await announced(manager)
    await manager.post(f"/v1/imports/{import_id}/start", {}, idempotency_key=uuid4().hex)
    await work(world)
    seen: list[tuple[int, str]] = []
    cursor = ""
    while True:
        page = (await manager.get(f"/v1/imports/{import_id}/rejections?limit=3{cursor}")).json
        seen += [(one["line"], one["column"]) for one in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == [(line, column) for line in range(2, 7) for column in ("card", "locale")]
    turned = await manager.get(f"/v1/imports/{other}/rejections?limit=3{cursor or '&cursor=x'}")
    assert (turned.status, turned.json["code"]) == (400, "invalid_cursor")


async def test_imports_are_listed_newest_first_page_by_page(world: World) -> None:
    shop = await new_shop(world.runtime)
    manager = world.client("manager", shop)
    made = [await announced(manager) for _ in range(5)]
    await put(manager, made[2], 1, b"card\n6035550001\n")
    await manager.post(f"/v1/imports/{made[2]}/start", {}, idempotency_key=uuid4().hex)
    await put(manager, made[3], 2, b"card\n")
    await work(world)
    seen: list[JSON] = []
    cursor = ""
    while True:
        page = (await manager.get(f"/v1/imports?limit=2{cursor}")).json
        seen += page["data"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [one["id"] for one in seen] == made[::-1]
    assert seen == [(await manager.get(f"/v1/imports/{one}")).json for one in made[::-1]]
    told = [(one["state"], one["rows"], one["received"], one["run_id"] is None) for one in seen[1:3]]
    assert told == [("open", 0, [2], True), ("succeeded", 1, [], False)]
    assert (await world.client("manager").get("/v1/imports?limit=200")).json["data"] != seen
    assert (await manager.get("/v1/imports?cursor=x")).json["code"] == "invalid_cursor"


async def test_a_start_is_repeated_under_its_key_and_refused_under_another(world: World) -> None:
    manager = world.client("manager")
    import_id, key = await announced(manager), uuid4().hex
    path = f"/v1/imports/{import_id}/start"
    early = await manager.post(path, {}, idempotency_key=key)
    assert (early.status, early.json["code"], early.json["missing"]) == (409, "import_incomplete", 1)
    await put(manager, import_id, 1, b"card\n6035550000123\n")
    first = await manager.post(path, {}, idempotency_key=key)
    again = await manager.post(path, {}, idempotency_key=key)
    assert (first.status, again.status, again.replayed, again.body) == (202, 202, True, first.body)
    other = await manager.post(path, {}, idempotency_key=uuid4().hex)
    assert (other.status, other.json["code"]) == (409, "import_started")
    assert (await put(manager, import_id, 2, b"x")).json["code"] == "import_started"
    await work(world)


@pytest.mark.parametrize(
    ("number", "part", "digest", "status", "code"),
    [
        (1, b"card\n", "0" * 64, 422, "part_invalid"),
        (1, b"card\n", "0" * 63, 400, "invalid_parameter"),
        (0, b"card\n", None, 422, "part_invalid"),
        (10_001, b"card\n", None, 422, "part_invalid"),
        (1, b"x" * (PART_BYTES_MAX + 1), None, 413, "body_too_large"),
        (1, b"x" * PART_BYTES_MAX, None, 200, None),
        (1, b"", None, 200, None),
    ],
)
async def test_a_part_is_what_its_number_and_digest_say(
    world: World, number: int, part: bytes, digest: str | None, status: int, code: str | None
) -> None:
    manager = world.client("manager")
    answer = await put(manager, await announced(manager), number, part, digest)
    assert (answer.status, answer.json.get("code")) == (status, code)


async def test_a_part_is_csv_and_not_compressed(world: World) -> None:
    manager = world.client("manager")
    path = f"/v1/imports/{await announced(manager)}/parts/1?sha256={sha256(b'card').hexdigest()}"
    for more in (
        {"Content_Type": "application/json"},
        {"Content_Type": "text/csv", "Content_Encoding": "gzip"},
    ):
        answer = await manager.call("PUT", path, b"card", **more)
        assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")
        await manager.close()


async def test_a_file_that_is_too_large_is_refused_with_its_bound(database: Database) -> None:
    async with opened(database, import_bytes_max=2_000) as world:
        manager = world.client("manager")
        import_id = await announced(manager)
        assert (await put(manager, import_id, 1, b"x" * 1_500)).status == 200
        refused = await put(manager, import_id, 2, b"x" * 501)
        assert (refused.status, refused.json["code"], refused.json["bytes_max"]) == (
            413,
            "import_too_large",
            2_000,
        )
        assert (await put(manager, import_id, 1, b"x" * 1_499)).status == 200
        assert (await put(manager, import_id, 2, b"x" * 501)).status == 200
        await world.hang_up()


async def test_of_open_imports_there_are_so_many_at_once_in_a_program_and_no_more(world: World) -> None:
    manager = world.client("manager", await new_shop(world.runtime))
    first, *_ = [await announced(manager) for _ in range(OPEN_MAX)]
    body = {"kind": "members", "source": "crm"}
    refused = await manager.post("/v1/imports", body, idempotency_key="one more")
    problem = is_problem(refused, 409, "too_many_imports")
    assert (problem["open_max"], problem["retryable"]) == (OPEN_MAX, False)
    await announced(world.client("manager"))
    await put(manager, first, 1, b"card\n6035550001\n")
    assert (await manager.post(f"/v1/imports/{first}/start", {}, idempotency_key=uuid4().hex)).status == 202
    assert (await manager.post("/v1/imports", body, idempotency_key="one more")).status == 201
    await work(world)


async def test_managers_and_admins_import_and_nobody_else(world: World) -> None:
    import_id = await announced(world.client("admin"))
    for role in Role:
        client = world.client(role.value)
        answers = [
            (
                await client.post("/v1/imports", {"kind": "lots", "source": "x"}, idempotency_key=uuid4().hex)
            ).status,
            (await put(client, import_id, 1, b"card\n")).status,
            (await client.get(f"/v1/imports/{import_id}")).status,
            (await client.get(f"/v1/imports/{import_id}/rejections")).status,
        ]
        allowed = role in (Role.MANAGER, Role.ADMIN)
        assert answers == ([201, 200, 200, 200] if allowed else [403] * 4), role


async def test_another_program_does_not_see_an_import(world: World) -> None:
    import_id = await announced(world.client("manager"))
    stranger = world.client("manager", world.other)
    assert (await put(stranger, import_id, 1, b"card\n")).status == 404
    start = await stranger.post(f"/v1/imports/{import_id}/start", {}, idempotency_key=uuid4().hex)
    assert (start.status, start.json["code"]) == (404, "import_not_found")
    for path in (f"/v1/imports/{import_id}", f"/v1/imports/{import_id}/rejections"):
        assert (await stranger.get(path)).status == 404
