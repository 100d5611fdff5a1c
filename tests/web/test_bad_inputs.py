"""Whatever bad is sent to whichever endpoint: one clear refusal that says where, and nothing is written."""

import ast
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from loyalty.web.app import endpoints
from loyalty.web.edge import Endpoint
from tests.conftest import Database
from tests.isolation import dump
from tests.races.client import Reply, Unknown
from tests.web.bad_inputs import Bad, bad_inputs, no_problem, wrong_methods
from tests.web.bad_kinds import ELSEWHERE, KINDS, NOT_YET
from tests.web.test_refusals import is_problem
from tests.web.world import World

ROOT = Path(__file__).parents[2]
CALLS = [endpoint for endpoint in endpoints() if endpoint.path.startswith("/v1/")]
TOLD_MAX = 8_000  # bytes of a refusal of one fault: what was sent is never sent back


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(database: Database) -> AsyncIterator[dump.Link]:
    link = await asyncpg.connect(database.superuser_url)
    yield link
    await link.close()


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.name)
async def test_every_bad_input_has_its_one_refusal_and_writes_nothing(
    world: World, link: dump.Link, endpoint: Endpoint
) -> None:
    client, wrong = world.client("nobody"), list[str]()
    before = await dump.state(link)
    for bad in bad_inputs(endpoint, world.shop.keys["admin"]):
        try:
            complaint = against(bad, await client.send(bad.request))
        except Unknown:
            complaint = "no answer"
        if complaint:
            wrong.append(f"{bad.kinds} {bad.what}: {complaint}")
    assert wrong == []
    assert await dump.state(link) == before


def against(bad: Bad, reply: Reply) -> str | None:
    """What is wrong with an answer; None when it is the refusal that was wanted."""
    status, problem = reply.status, reply.json
    if bad.in_item:
        if status != 200:
            return f"{status} for the whole batch: {problem}"
        status, problem = problem["results"][0]["status"], problem["results"][0]["body"]
    elif reply.headers.get("content-type") != "application/problem+json":
        return f"{status} {reply.headers.get('content-type')}"
    if status != bad.status or problem.get("code") not in bad.codes:
        return f"{status} {str(problem)[:300]}"
    if bad.at is not None and bad.fault is None and problem["parameter"] != bad.at:
        return f"the parameter is {problem['parameter']!r}"
    if bad.fault is not None:
        told = [(fault["pointer"], fault["code"]) for fault in problem["errors"]]
        if told != [(bad.at, bad.fault)]:
            return f"{told} instead of {(bad.at, bad.fault)}"
    if bad.header and reply.headers.get(bad.header) != "application/json":
        return f"no {bad.header}"
    return no_problem(status, problem) or ("much too long" if len(reply.body) > TOLD_MAX else None)


async def test_methods_that_an_address_does_not_take_are_told_which_it_does(world: World) -> None:
    admin = world.client("admin")
    for method, path, served in wrong_methods(endpoints()):
        reply = await admin.call(method, path, None)
        is_problem(reply, 405, "method_not_allowed")
        assert set(reply.headers["allow"].split(", ")) == served, path
    options = await admin.call("OPTIONS", "/v1/quotes", None)
    assert (options.status, options.body) == (204, b"")
    assert set(options.headers["allow"].split(", ")) == {"OPTIONS", "POST"}


def test_every_kind_of_bad_input_is_sent_or_said_not_to_apply() -> None:
    sent, requests = set[int](), 0
    for endpoint in CALLS:
        for bad in bad_inputs(endpoint, "key"):
            sent.update(bad.kinds)
            requests += 1
    print(
        f"\n{len(sent)} kinds × {len(CALLS)} endpoints = {requests} requests, {len(ELSEWHERE)} kinds elsewhere"
    )
    assert sent <= set(KINDS)
    assert not (sent | set(ELSEWHERE)) & set(NOT_YET), "it is sent now"
    assert sent | set(ELSEWHERE) | set(NOT_YET) == set(KINDS) == set(range(1, 129))


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_is_sent_elsewhere_is_sent_there(kind: int) -> None:
    place, sent = ELSEWHERE[kind]
    path, _, name = place.partition("::")
    text = (ROOT / path).read_text("utf-8")
    (test,) = (
        one
        for one in ast.parse(text).body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name
    )
    parts = (test, *test.decorator_list)
    used = {one.id for part in parts for one in ast.walk(part) if isinstance(one, ast.Name)}
    tables = (
        one
        for one in ast.parse(text).body
        if isinstance(one, ast.Assign) and used & {*map(ast.unparse, one.targets)}
    )
    assert any(sent in (ast.get_source_segment(text, one) or "") for one in (*parts, *tables)), KINDS[kind]
