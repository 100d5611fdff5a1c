"""What belongs to another program is told like what was never there: its ids, receipts, cards, keys and cursors.

Every route of the running application is called with the other program's things in its path, its query and its
body. No answer shows anything of it, and not a row of it changes.
"""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from loyalty.web.app import endpoints
from loyalty.web.edge import Endpoint
from tests.conftest import Database
from tests.isolation import dump
from tests.kills.api import Api
from tests.races.client import Client, Reply
from tests.races.house import CONFIGURATION, JSON, House, adjustment, environ, open_program, payment, purchase

ROUTES = [endpoint for endpoint in endpoints() if endpoint.path.startswith("/v1/")]
CARD = "603555998877"
PART = b"card\n"
THEIR_RECEIPT = {"source": "till-1", "external_id": "their-receipt-4711"}
THEIR_REWARD = {
    "id": "their-mug",
    "name": "Fremdling mug",
    "kind": "product",
    "points_currency": "points",
    "points": 5,
    "stocked": True,
}
THEIR_LADDER = {
    "id": "their-status",
    "name": "Their status",
    "metric": {"kind": "spend"},
    "period": {"kind": "lifetime"},
    "tiers": [{"id": "their-gold", "name": "Their gold", "threshold": 1}],
}
THEIR_CONFIGURATION = CONFIGURATION | {
    "rewards": [*CONFIGURATION["rewards"], THEIR_REWARD],
    "tier_sets": [THEIR_LADDER],
}


class Theirs(NamedTuple):
    """The other program's things."""

    ids: dict[str, str]  # by the name they have in paths
    receipt: JSON
    cursors: list[str]
    shown: set[str]  # texts that must never be in our answers


@pytest.fixture(scope="module")
async def houses(database: Database, redis_url: str) -> AsyncIterator[tuple[House, House]]:
    api = Api(environ(database.app_url, redis_url))
    both: list[House] = []
    try:
        await api.start()
        for configuration in (CONFIGURATION, THEIR_CONFIGURATION):
            program, key = await open_program(database.app_url, redis_url, configuration)
            both.append(House(database.app_url, database.superuser_url, program, key, [api]))
        yield both[0], both[1]
    finally:
        for house in both:
            await house.hang_up()
        await api.stop()


async def busy(house: House) -> Theirs:
    """A program in which something of every kind happened."""
    (client,) = house.crowd(1)

    async def made(path: str, body: JSON) -> Any:
        reply = await client.post(path, body, idempotency_key=uuid4().hex)
        assert reply.status in (200, 201, 202), reply.body
        return reply.json

    enrol = {"identifiers": [{"kind": "card", "value": CARD}], "profile": {"name": "Gundula Fremdling"}}
    member = (await made("/v1/members", enrol))["id"]
    receipt = purchase(member, "their-receipt-4711")
    sale = await made("/v1/purchases", receipt)
    back = {"source": "till-1", "external_id": "their-receipt-back", "occurred_at": receipt["occurred_at"]}
    part = back | {"lines": [{"line_id": "1", "quantity": "0.5"}]}
    await made(f"/v1/purchases/{sale['id']}/returns", part)
    await made("/v1/adjustments", adjustment(member, 77))
    held = {
        "member": {"id": member},
        "points_currency": "points",
        "points": 5,
        "reference": "their-receipt-9",
    }
    holds = [(await made("/v1/holds", held))["id"] for _ in range(2)]
    at_the_desk = await made("/v1/clients", {"name": "Fremdling GmbH"})
    key = await made(f"/v1/clients/{at_the_desk['id']}/keys", {"role": "pos"})
    run = await made("/v1/verification-runs", {})
    await made("/v1/rewards/their-mug/stock", {"set": 7, "reason": "delivery"})
    redemption = await made("/v1/redemptions", {"member": {"id": member}, "reward": "their-mug"})
    for _ in range(2):
        await made("/v1/redemptions", payment(member, 5))
    brought_in = await made("/v1/imports", {"kind": "members", "source": "their-receipt"})
    ids = {
        "import_id": brought_in["id"],
        "part": "1",
        "member": member,
        "purchase": sale["id"],
        "hold": holds[0],
        "entry": sale["earned"][0]["entry_id"],
        "decision": sale["decision_id"],
        "client": at_the_desk["id"],
        "key": key["key"]["id"],
        "run": run["id"],
        "reward": "their-mug",
        "tier_set": "their-status",
        "redemption": redemption["id"],
        "number": "2",
        "points_currency": "points",
        "adjustment": (await made("/v1/adjustments", adjustment(member, 7_000)))["id"],
    }
    for n in range(2):
        await made("/v1/purchases", purchase(member, f"their-receipt-{n}"))
    cursors: list[str] = []
    for endpoint in ROUTES:
        if endpoint.method == "GET":
            path = endpoint.path.format(**{name: ids.get(name, "") for name in endpoint.parts})
            for limit in ("?limit=1", "?limit=1&q=Gundula"):
                reply = await client.get(path + limit)
                if reply.status == 200 and (cursor := reply.json.get("next_cursor")):
                    cursors.append(cursor)
    shown = {value for name, value in ids.items() if name not in ("number", "part", "points_currency")}
    shown |= {CARD, "Gundula", "Fremdling", "their-receipt", key["key"]["prefix"]}
    return Theirs(ids, receipt, cursors, shown)


def bodies(endpoint: Endpoint, theirs: Theirs, ours: str) -> list[JSON | bytes | None]:
    """Bodies that name the other program's things, for one route."""
    if endpoint.method == "GET":
        return [None]
    named = [{"member": {"id": theirs.ids["member"]}}, {"member": {"card": CARD}}]
    sale = purchase(None)
    points = {"points_currency": "points", "points": 5, "reason": "goodwill"}
    lot = {"points_currency": "points", "points": 5, "source": "old", "issued_at": sale["occurred_at"]}
    match endpoint.path:
        case path if endpoint.csv:
            return [PART]
        case "/v1/imports":
            return [{"kind": "members", "source": "till-1"}]
        case "/v1/purchases" | "/v1/quotes":
            held = {"member": {"id": ours}, "holds": [{"id": theirs.ids["hold"]}]}
            return [sale | name for name in (*named, held)]
        case "/v1/holds":
            wishes = [{"points_currency": "points", "points": 5}, {"reward": "their-mug"}, {"reward": "bag"}]
            return [wish | name for wish in wishes for name in named]
        case "/v1/purchases/batch":
            return [{"items": [sale | name for name in named]}]
        case "/v1/purchases/cancel":
            return [THEIR_RECEIPT]
        case path if path.endswith("/returns"):
            back = {"source": "till-1", "external_id": uuid4().hex, "occurred_at": sale["occurred_at"]}
            return [back if endpoint.parts else back | {"of": THEIR_RECEIPT}]
        case "/v1/purchases/exchanges":
            back = {"source": "till-1", "external_id": uuid4().hex, "occurred_at": sale["occurred_at"]}
            return [{"returned": back | {"of": THEIR_RECEIPT}, "purchase": sale}]
        case path if path.endswith("/pin"):
            return [{"pin": "4711"}]
        case "/v1/adjustments":
            return [points | name for name in named]
        case path if path.endswith("/reinstatements"):
            return [points]
        case "/v1/redates":
            return [{"points_currency": "points"}]
        case path if path.endswith("/confirm"):
            return [{"digest": "0" * 64}]
        case "/v1/write-offs":
            return [{"points_currency": "points"} | name for name in named]
        case "/v1/transfers":
            move = {"points_currency": "points", "points": 5}
            mine = {"id": ours}
            sides = [
                ({"from": mine, "to": one}, {"from": one, "to": mine})
                for one in (name["member"] for name in named)
            ]
            return [move | side for pair in sides for side in pair]
        case path if path.endswith("freeze"):
            return [{"reason": "stolen_card"}]
        case path if "lot" in path:
            if path.endswith("batch"):
                return [{"items": [lot | name | {"external_id": uuid4().hex} for name in named]}]
            return [lot | name | {"external_id": uuid4().hex} for name in named]
        case path if path.endswith("/claim"):
            return [{"member": {"id": ours}}, *named]
        case "/v1/redemptions":
            wishes = [{"reward": "bag"}, {"points_currency": "points", "points": 5}]
            theirs_held = {"member": {"id": ours}, "hold": theirs.ids["hold"]}
            return [wish | name for wish in wishes for name in (*named, theirs_held)]
        case path if "/standing/" in path:
            return [{"tier": "their-gold", "reason": "goodwill"}]
        case path if path.endswith("/stock"):
            return [{"set": 5, "reason": "delivery"}]
        case path if path.endswith("/cancel"):
            return [{"reason": "changed_mind"}]
        case "/v1/members":
            return [{"identifiers": [{"kind": "card", "value": CARD}]}]
        case "/v1/members/lookup":
            return [{"query": CARD}, {"query": theirs.ids["member"]}]
        case path if path.endswith("/identifiers"):
            return [{"kind": "card", "value": "1234567"}]
        case path if path.endswith("/keys"):
            return [{"role": "pos"}]
        case _:
            return [{"status": "blocked"}] if endpoint.method == "PATCH" else [{}]


async def test_another_programs_things_are_not_there(houses: tuple[House, House]) -> None:
    mine, other = houses
    theirs = await busy(other)
    ours = await mine.member(10)
    (client,) = mine.crowd(1)
    link = await asyncpg.connect(mine.superuser_url)

    async def their_rows() -> dict[str, list[str]]:
        found = await dump.rows(link)
        return {
            table: [line for line in lines if str(other.program) in line] for table, lines in found.items()
        }

    before = await their_rows()
    calls = 0
    for endpoint in ROUTES:
        path = endpoint.path.format(**{name: theirs.ids[name] for name in endpoint.parts})
        for body in bodies(endpoint, theirs, ours):
            more = {"Content_Type": "text/csv"} if endpoint.csv else {}
            asked = f"{path}?sha256={sha256(PART).hexdigest()}" if endpoint.csv else path
            reply = await client.call(endpoint.method, asked, body, Idempotency_Key=uuid4().hex, **more)
            calls += 1
            silent(endpoint, reply, theirs)
            if endpoint.parts:
                assert reply.status == 404, (endpoint.method, path, reply.body)
        if endpoint.method == "GET" and not endpoint.parts:
            queries = [f"cursor={cursor}" for cursor in theirs.cursors]
            queries += [f"after={cursor}" for cursor in theirs.cursors]
            queries += ["source=till-1&external_id=their-receipt-back"]
            queries += ["source=till-1&external_id=their-receipt-4711", "q=Gundula", f"q={CARD}", "limit=200"]
            queries += [f"member={theirs.ids['member']}", f"member=identifier:card:{CARD}"]
            for query in queries:
                silent(endpoint, await client.get(f"{path}?{query}"), theirs)
                calls += 1
    assert theirs.cursors, "no list of theirs was long enough for a second page"
    assert before == await their_rows()
    await link.close()
    print(f"\n{calls} calls of {len(ROUTES)} routes, {len(theirs.cursors)} cursors")


def silent(endpoint: Endpoint, reply: Reply, theirs: Theirs) -> None:
    """The answer shows nothing of theirs; what we asked for by name may stand in its refusal's path alone."""
    text = reply.body.decode()
    assert reply.status < 500, text
    for shown in theirs.shown:
        assert shown not in text, (endpoint.method, endpoint.path, text)


async def test_the_same_names_are_free_in_every_program(houses: tuple[House, House]) -> None:
    """Receipts, cards and Idempotency-Keys belong to one program alone."""
    mine, other = houses
    for house in (mine, other):
        member = {"identifiers": [{"kind": "card", "value": "111122223333"}]}
        reply = await house.ask("/v1/members", member, "one key")
        assert (reply.status, reply.replayed) == (201, False)
        sold = await house.ask("/v1/purchases", purchase(reply.json["id"], "R-1"), "another key")
        assert (sold.status, sold.replayed) == (201, False)


async def test_a_key_opens_its_own_program_alone(houses: tuple[House, House]) -> None:
    mine, other = houses
    seen = set()
    for house in (mine, other):
        (client,) = house.crowd(1)
        reply = await client.get("/v1/program")
        assert reply.status == 200
        seen.add(reply.json["id"])
    assert seen == {str(mine.program), str(other.program)}
    stranger = Client(mine.apis[0].port, mine.key[:-4] + other.key[-4:])
    assert (await stranger.get("/v1/program")).status == 401
    await stranger.close()
