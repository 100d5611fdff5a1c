"""Programs served by a process of their own, with a credential for everybody, in which each call has succeeded.

The tour makes every call of the API once as it is meant, so that what is mutated afterwards names real things. A call
that is new and has no stop on the tour is called with the good body of its form on things that are not there: the
figures then say that it was never reached.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec

from loyalty.access.roles import Role
from loyalty.base.settings import load_settings
from loyalty.jobs.runs import execute, waiting_runs
from loyalty.jobs.works import WORKS
from loyalty.operating.desk import Desk, open_desk
from loyalty.posting.configuration import Configuration
from loyalty.programs.types import ProgramKind
from loyalty.web.app import endpoints
from loyalty.web.edge import Endpoint
from tests.conftest import Database
from tests.kills.api import Api
from tests.races.client import Client
from tests.races.house import CONFIGURATION, environ, give_back, payment, purchase, wish
from tests.web.bad_inputs import PART, Target, path_of

JSON = dict[str, Any]

SHOP: JSON = json.loads(json.dumps(CONFIGURATION))
SHOP["settings"]["points_currencies"][0]["reinstate_days"] = 3_650
SHOP["settings"]["policies"] |= {"unknown_external": "guest"}
SHOP["tier_sets"] = [
    {
        "id": "status",
        "name": "Status",
        "metric": {"kind": "spend"},
        "period": {"kind": "lifetime"},
        "tiers": [{"id": "gold", "name": "Gold", "threshold": 1_000_000}],
    }
]


class Good(NamedTuple):
    """One call that succeeded."""

    endpoint: Endpoint
    path: str  # with its query
    content: bytes
    key: str

    @property
    def media(self) -> str:
        return "text/csv" if self.endpoint.csv else "application/json"

    def request(self, content: bytes | None = None, path: str | None = None, key: str | None = None) -> bytes:
        """The call as bytes, under an idempotency key of its own; content, address or credential may be others."""
        content = self.content if content is None else content
        lines = [
            f"{self.endpoint.method} {path or self.path} HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {self.key if key is None else key}",
        ]
        if self.endpoint.body is not None:
            lines += [f"Content-Type: {self.media}", f"Content-Length: {len(content)}"]
        if self.endpoint.keyed:
            lines.append(f"Idempotency-Key: {uuid4().hex}")
        return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class Shop:
    """One program and who calls for it."""

    program_id: UUID
    keys: dict[str, str]  # by role; of people: `staff` (support), `chief` and `boss` (managers)
    ended: list[str]  # keys and a token that were good once


@dataclass
class Town:
    """Four programs: the main one, another one, a sandbox, and one left to what is generated."""

    database: Database
    api: Api
    desk: Desk
    main: Shop
    other: Shop
    sandbox: Shop
    wild: Shop
    good: dict[str, Good] = field(default_factory=dict[str, Good])  # by operation

    @property
    def shops(self) -> tuple[Shop, ...]:
        return self.main, self.other, self.sandbox, self.wild

    async def renew(self) -> None:
        """Other people and things in the place of those that were used up: open holds, proposals, keys and so on."""
        tour = _Tour(self)
        await tour.renew()
        await tour.client.close()

    async def work(self) -> None:
        """What a worker would do: every run that waits."""
        for run in await waiting_runs(self.desk.runtime):
            await execute(self.desk.runtime, run.program_id, run.id, WORKS)


@asynccontextmanager
async def opened(database: Database, redis_url: str) -> AsyncIterator[Town]:
    """A town whose server runs for the length of a block."""
    api = Api(environ(database.app_url, redis_url))
    async with open_desk(load_settings(environ(database.app_url, redis_url))) as desk:
        live = [await _shop(desk, ProgramKind.LIVE) for _ in range(3)]
        sandbox = await _shop(desk, ProgramKind.SANDBOX)
        town = Town(database, api, desk, live[0], live[1], sandbox, live[2])
        await api.start()
        try:
            await _Tour(town).walk()
            yield town
        finally:
            await api.stop()
            api.log.unlink()


async def _shop(desk: Desk, kind: ProgramKind) -> Shop:
    clock_at = datetime(2026, 5, 4, tzinfo=UTC) if kind is ProgramKind.SANDBOX else None
    program_id = await desk.create_program(kind, msgspec.convert(SHOP, Configuration), clock_at)
    client = await desk.client(program_id, "fuzz")
    keys = {role.value: (await desk.create_key(program_id, client, role))[1] for role in Role}
    for name, role in (("staff", Role.SUPPORT), ("chief", Role.MANAGER), ("boss", Role.MANAGER)):
        person = await desk.add_staff(program_id, name, role)
        keys[name] = (await desk.issue_token(program_id, person.id, timedelta(days=1)))[1]
    ended: list[str] = []
    for lives in (None, timedelta(microseconds=1)):
        key, text = await desk.create_key(program_id, client, Role.ADMIN, lives=lives)
        ended.append(text)
        if lives is None:
            await desk.revoke_key(program_id, key.id)
    somebody = await desk.add_staff(program_id, "gone", Role.ADMIN)
    token, text = await desk.issue_token(program_id, somebody.id, timedelta(days=1))
    await desk.revoke_token(program_id, token.id)
    return Shop(program_id, keys, [*ended, text])


class _Tour:
    """Each call once, as it is meant."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.calls = {endpoint.name: endpoint for endpoint in endpoints()}
        self.client = Client(town.api.port, "")

    async def do(self, name: str, body: Any = None, *, by: str = "", **parts: Any) -> Any:
        """The answer of one call that succeeds. `parts` of the address; what else is named goes into the query."""
        endpoint = self.calls[name]
        key = by or self.town.main.keys["admin"]
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        path = endpoint.path.format(**{part: parts.pop(part) for part in endpoint.parts})
        if parts:
            path += "?" + "&".join(f"{part}={value}" for part, value in parts.items())
        good = self.town.good[name] = Good(endpoint, path, content, key)
        reply = await self.client.send(good.request())
        assert reply.status < 400, (name, path, reply.status, reply.body)
        return json.loads(reply.body) if reply.body[:1] == b"{" else None

    async def member(self, points: int = 0) -> str:
        """A new member with so many points."""
        identifiers = [{"kind": "card", "value": str(uuid4().int)[:12]}]
        profile = {"name": "Ida Fuchs", "locale": "de-AT", "birthday_on": "1990-01-01"}
        enrolled = {"identifiers": identifiers, "profile": profile, "attributes": {"size": 3, "club": True}}
        id: str = (await self.do("enrol_member", enrolled))["id"]
        if points:
            await self.do("import_lot", lot(id, points))
        return id

    def left(self, name: str, **parts: Any) -> None:
        """A call that was made before can now be made with this."""
        good = self.town.good[name]
        self.town.good[name] = good._replace(path=good.endpoint.path.format(**parts))

    async def renew(self) -> None:
        ida, max_, gone, changed, owing = [await self.member(n) for n in (10**9, 10**6, 0, 0, 0)]
        await self.do("import_lots", {"items": [lot(ida, 5)]})
        await self.people(ida, gone, changed)
        await self.sales(ida, owing)
        await self.spending(ida, max_)
        await self.by_hand(ida, max_, owing)
        await self.keys()
        await self.reads(ida)
        self.left("erase_member", member=await self.member())

    async def walk(self) -> None:
        await self.renew()
        await self.imports()
        await self.set_up()
        for name, endpoint in self.calls.items():
            if name not in self.town.good and endpoint.method == "GET" and not endpoint.parts:
                await self.do(name)
        for name, endpoint in self.calls.items():
            if name not in self.town.good:
                target = Target(endpoint, self.town.main.keys["admin"])
                path = path_of(endpoint) + (f"?{target.query}" if target.query else "")
                self.town.good[name] = Good(endpoint, path, target.content, target.key)
        await self.client.close()

    async def people(self, ida: str, gone: str, changed: str) -> None:
        card = {"kind": "card", "value": str(uuid4().int)[:12]}
        await self.do("add_identifier", card, member=changed)
        await self.do("set_pin", {"pin": "4711"}, member=changed)
        await self.do(
            "change_member", {"profile": {"name": "Ida"}, "attributes": {"size": 4}}, member=changed
        )
        await self.do("look_up_member", {"query": card["value"]})
        await self.do("search_members", q="Ida")
        await self.do("erase_member", {}, member=gone)
        await self.do("read_member", member=f"identifier:card:{card['value']}")
        await self.do("read_member", member=ida)

    async def sales(self, ida: str, owing: str) -> None:
        sold = purchase(ida, amount_minor=2_000)
        sold["lines"][0] |= {"quantity": "1000", "categories": ["coffee"], "tags": ["x"]}
        sold |= {"till": "7", "location": "store-12", "channel": "pos"}
        await self.do("quote_purchase", sold)
        sale = await self.do("record_purchase", sold)
        await self.do("record_purchases", {"items": [purchase(ida), purchase(ida)]})
        guest = await self.do("record_purchase", purchase(None))
        await self.do("claim_purchase", {"member": {"id": ida}}, purchase=guest["id"])
        await self.do("read_purchase", purchase=sale["id"], include="balances")
        named = {"source": sold["source"], "external_id": sold["external_id"]}
        await self.do("read_receipt", **named)
        await self.do("explain_purchase", purchase=sale["id"])
        back = give_back(sold, {"1": "1"})
        await self.do("return_purchase", {k: v for k, v in back.items() if k != "of"}, purchase=sale["id"])
        await self.do("read_return", source=back["source"], external_id=back["external_id"])
        await self.do("return_by_receipt", give_back(sold, {"1": "1"}))
        await self.do(
            "exchange_purchase", {"returned": give_back(sold, {"1": "1"}), "purchase": purchase(ida)}
        )
        spent = purchase(owing, amount_minor=100_000)
        await self.do("record_purchase", spent)
        await self.do("redeem", payment(owing, 1_000))
        await self.do("cancel_purchase", {"source": spent["source"], "external_id": spent["external_id"]})
        await self.do("read_decision", decision=sale["decision_id"])
        await self.do("read_entry", entry=sale["earned"][0]["entry_id"])
        another = await self.do("record_purchase", purchase(None))
        self.left("claim_purchase", purchase=another["id"])
        await self.do("record_purchase", sold)

    async def spending(self, ida: str, max_: str) -> None:
        held = payment(ida, 20) | {"reference": "basket-88", "minutes": 20}
        first, second, third = [await self.do("place_hold", held) for _ in range(3)]
        await self.do("read_hold", hold=first["id"])
        await self.do("extend_hold", {"minutes": 30}, hold=first["id"])
        await self.do("read_open_holds", member=ida)
        await self.do("capture_hold", {"points": 5, "release_rest": False}, hold=first["id"])
        await self.do("release_hold", {}, hold=second["id"])
        for name in ("extend_hold", "capture_hold", "release_hold"):
            self.left(name, hold=third["id"])
        await self.do("change_stock", {"set": 10**6, "reason": "delivery"}, reward="mug")
        one, two, three, four = [
            await self.do("redeem", wish(ida, "mug") | {"quantity": 1}) for _ in range(4)
        ]
        await self.do("read_redemption", redemption=one["id"])
        await self.do("fulfil_redemption", {}, redemption=one["id"])
        await self.do("cancel_redemption", {"reason": "changed_mind"}, redemption=two["id"])
        self.left("fulfil_redemption", redemption=three["id"])
        self.left("cancel_redemption", redemption=four["id"])
        await self.do("list_redemptions", member=ida)
        await self.do("list_rewards", member=ida)
        await self.do("read_reward", reward="mug", member=ida)
        give = {"from": {"id": ida}, "to": {"id": max_}, "points_currency": "points", "points": 5}
        await self.do("transfer_points", give)

    async def by_hand(self, ida: str, max_: str, owing: str) -> None:
        main = self.town.main.keys
        some = {"member": {"id": ida}, "points_currency": "points", "points": 6_000, "reason": "goodwill"}
        asked = [await self.do("adjust_points", some, by=main["staff"]) for _ in range(4)]
        first, second, third, fourth = (one["id"] for one in asked)
        await self.do("read_proposal", adjustment=first)
        await self.do("list_proposals")
        await self.do("approve_adjustment", {}, by=main["chief"], adjustment=first)
        await self.do("reject_adjustment", {}, by=main["chief"], adjustment=second)
        self.left("approve_adjustment", adjustment=third)
        self.left("reject_adjustment", adjustment=fourth)
        await self.do("adjust_points", some | {"points": 5, "reference": "CASE-7"})
        await self.do("propose_write_off", {"member": {"id": owing}, "points_currency": "points"})
        account = {"member": max_, "points_currency": "points"}
        await self.do("freeze_account", {"reason": "stolen_card"}, **account)
        await self.do("unfreeze_account", {"reason": "card_found"}, **account)
        await self.do("list_freezes", member=max_)
        await self.do("give_tier", {"tier": "gold", "reason": "goodwill"}, member=max_, tier_set="status")
        await self.do("read_standing", member=max_)
        await self.do("list_moves", member=max_)
        over = lot(max_, 50_000) | {"expires_at": (datetime.now(UTC) - timedelta(days=9)).isoformat()}
        await self.do("import_lot", over)
        back = {"points_currency": "points", "reason": "goodwill", "points": 5, "reference": "C-7"}
        await self.do("reinstate_points", back, member=max_)
        await self.do("import_lot", lot(ida, 7))

    async def imports(self) -> None:
        whole = b"card\n6035550001\nx\n"
        for part in (whole, b"card\n6035550002\n", PART):
            id = (await self.do("begin_import", {"kind": "members", "source": "crm"}))["id"]
            put = {"part": 1, "sha256": sha256(part).hexdigest()}
            await self.do("put_import_part", part, import_id=id, **put)
            if part is whole:
                await self.do("start_import", {}, import_id=id)
                await self.town.work()
                await self.do("read_import", import_id=id)
                await self.do("list_import_rejections", import_id=id)
            elif part is not PART:
                self.left("start_import", import_id=id)

    async def set_up(self) -> None:
        main, other, sandbox = (shop.keys for shop in (self.town.main, self.town.other, self.town.sandbox))
        await self.do("validate_configuration", SHOP)
        await self.do("plan_configuration", SHOP)
        await self.do("publish_configuration", SHOP, by=other["admin"])
        await self.do("read_configuration", number=1)
        await self.do("advance_clock", {"to": datetime.now(UTC).isoformat()}, by=sandbox["admin"])
        plan = await self.do("plan_redates", {"points_currency": "points"}, by=main["chief"])
        run = await self.do("verify_books", {})
        await self.do("forecast_year", {})
        await self.town.work()
        figures = await self.do("read_redates", run=plan["id"])
        digest = {"digest": figures["result"]["digest"]}
        await self.do("confirm_redates", digest, by=main["boss"], run=plan["id"])
        await self.do("read_run", run=run["id"])
        await self.do("read_verification", run=run["id"])

    async def keys(self) -> None:
        client = (await self.do("create_client", {"name": "till"}))["id"]
        keys = [(await self.do("create_key", {"role": "pos"}, client=client))["key"]["id"] for _ in range(4)]
        await self.do("rotate_key", {"overlap_minutes": 5}, client=client, key=keys[0])
        await self.do("revoke_key", {}, client=client, key=keys[1])
        await self.do("list_keys", client=client)
        self.left("rotate_key", client=client, key=keys[2])
        self.left("revoke_key", client=client, key=keys[3])

    async def reads(self, ida: str) -> None:
        for name in ("read_balances", "read_statement", "read_lots"):
            await self.do(name, member=ida)


def lot(member: str, points: int) -> JSON:
    """A credit of a former system."""
    return {
        "member": {"id": member},
        "points_currency": "points",
        "points": points,
        "source": "old",
        "external_id": uuid4().hex,
        "issued_at": "2026-01-01T00:00:00Z",
    }
