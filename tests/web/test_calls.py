"""A shop's day over HTTP: enrol, quote, buy, look, cancel, claim, correct; every call answers as documented."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from sqlalchemy import text

from loyalty.base.clock import random62
from loyalty.base.database import OutcomeUnknown, transaction
from loyalty.base.ids import Ids
from loyalty.jobs.service import queue_run
from loyalty.jobs.types import RunKind
from loyalty.members.store import LOOKED_MAX
from tests.web.world import World, enrol, long_work, new_shop, receipt


async def test_a_purchase_is_answered_with_points_balance_and_receipt(world: World) -> None:
    till = world.client("pos")
    member = await enrol(till, "6035550001")
    body = receipt(member={"card": "6035 5500-01"})
    quoted = await till.post("/v1/quotes", body)
    assert quoted.status == 200
    assert quoted.json["earned"][0]["points"] == 14
    first = await till.post("/v1/purchases", body, idempotency_key="one")
    assert first.status == 201
    assert first.json["member_id"] == member
    assert first.json["earned"][0]["points"] == 14
    assert first.json["balances"][0]["available"] == 14
    assert first.json["receipt"]["lines"]
    assert first.headers["content-type"] == "application/json"
    assert first.headers["x-request-id"].startswith("req_")
    again = await till.post("/v1/purchases", body, idempotency_key="one")
    assert (again.status, again.body, again.replayed) == (201, first.body, True)
    other_key = await till.post("/v1/purchases", body, idempotency_key="two")
    assert (other_key.status, other_key.body, other_key.replayed) == (200, first.body, True)
    differs = await till.post("/v1/purchases", {**body, "till": "9"}, idempotency_key="three")
    assert (differs.status, differs.json["code"]) == (409, "activity_differs")
    reused = await till.post("/v1/purchases", receipt(), idempotency_key="one")
    assert (reused.status, reused.json["code"]) == (422, "idempotency_key_reused")


async def test_after_a_time_out_the_till_asks_by_its_own_receipt_number(world: World) -> None:
    till = world.client("pos")
    body = receipt(lines=[{"line_id": "1", "sku": "HAM", "quantity": "0.512", "amount_minor": 999}])
    recorded = await till.post("/v1/purchases", body, idempotency_key=uuid4().hex)
    path = f"/v1/purchases?source={body['source']}&external_id={body['external_id']}"
    by_receipt = await till.get(path)
    by_id = await till.get(f"/v1/purchases/{recorded.json['id']}")
    assert by_receipt.status == by_id.status == 200
    assert by_receipt.json == by_id.json
    assert by_receipt.json["state"] == "recorded"
    assert by_receipt.json["content"]["lines"][0]["quantity"] == "0.512"
    assert by_receipt.json["first_answer"] == recorded.json
    unseen = await till.get("/v1/purchases?source=x&external_id=y")
    assert (unseen.status, unseen.json["code"]) == (404, "purchase_not_found")


async def test_a_cancel_may_come_before_its_purchase(world: World) -> None:
    till = world.client("pos")
    body = receipt()
    name = {"source": body["source"], "external_id": body["external_id"]}
    cancelled = await till.post("/v1/purchases/cancel", name, idempotency_key=uuid4().hex)
    assert (cancelled.status, cancelled.json["status"]) == (201, "cancelled")
    late = await till.post("/v1/purchases", body, idempotency_key=uuid4().hex)
    assert (late.status, late.json["code"]) == (409, "purchase_cancelled")
    read = await till.get(f"/v1/purchases?source={name['source']}&external_id={name['external_id']}")
    assert (read.json["state"], read.json["content"], read.json["first_answer"]) == ("cancelled", None, None)


async def test_a_guest_claims_a_purchase_once(world: World) -> None:
    till = world.client("pos")
    member = await enrol(till)
    guest = await till.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex)
    assert guest.json["earned"] == []
    path = f"/v1/purchases/{guest.json['id']}/claim"
    claimed = await till.post(path, {"member": {"id": member}}, idempotency_key=uuid4().hex)
    assert (claimed.status, claimed.json["earned"][0]["points"]) == (201, 14)
    twice = await till.post(path, {"member": {"id": member}}, idempotency_key=uuid4().hex)
    assert (twice.status, twice.json, twice.headers["idempotent-replayed"]) == (200, claimed.json, "true")
    other = {"member": {"id": await enrol(till)}}
    taken = await till.post(path, other, idempotency_key=uuid4().hex)
    assert (taken.status, taken.json["code"]) == (409, "already_claimed")


async def test_a_batch_answers_every_item_as_it_would_have_been_alone(world: World) -> None:
    till = world.client("pos")
    good, same, bad = receipt(), receipt(), receipt(money="EURO", lines=[])
    items = [good, {**same, "idempotency_key": "k"}, bad, good, 7]
    answer = await till.post("/v1/purchases/batch", {"items": items})
    assert answer.status == 200
    results = answer.json["results"]
    assert [one["index"] for one in results] == [0, 1, 2, 3, 4]
    assert [one["status"] for one in results] == [201, 201, 422, 200, 422]
    assert {fault["pointer"] for fault in results[2]["body"]["errors"]} == {"/money", "/lines"}
    assert results[3]["replayed"]
    assert results[3]["body"] == results[0]["body"]
    alone = await till.post("/v1/purchases", same, idempotency_key="k")
    assert (alone.status, alone.replayed) == (201, True)


@pytest.mark.parametrize(
    ("bad", "status", "code"), [("\x00", 422, "invalid_characters"), ("\ud800", 400, "invalid_encoding")]
)
async def test_a_bad_character_spoils_its_item_alone(world: World, bad: str, status: int, code: str) -> None:
    till = world.client("pos")
    spoilt = receipt()
    spoilt["lines"][1]["sku"] = f"BAG{bad}"
    items = [receipt(), spoilt, f"text{bad}", receipt(channel=f"a{bad}", money="EURO"), receipt()]
    answer = await till.post("/v1/purchases/batch", json.dumps({"items": items}).encode())
    results = answer.json["results"]
    assert [one["status"] for one in results] == [201, status, status, status, 201]
    for index, pointer in ((1, "/lines/1/sku"), (2, ""), (3, "/channel")):
        told = results[index]["body"]["errors"][0]
        assert (told["pointer"], told["code"]) == (pointer, code)
    alone = await till.post("/v1/purchases", json.dumps(spoilt).encode(), idempotency_key=uuid4().hex)
    for same in ("status", "code", "detail", "errors"):
        assert alone.json[same] == results[1]["body"][same]


async def test_the_largest_batch_passes_whole_and_the_till_beside_it_is_served(world: World) -> None:
    office, till = world.client("pos"), world.client("till")
    lines = [{"line_id": str(line), "sku": "A", "amount_minor": 1} for line in range(35)]
    body = json.dumps({"items": [receipt(lines=lines) for _ in range(500)]}, separators=(",", ":")).encode()
    upload = asyncio.create_task(office.post("/v1/purchases/batch", body))
    while not world.runtime.pipe.depth:
        await asyncio.sleep(0.001)
    assert world.runtime.pipe.depth <= 64
    beside = await till.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex)
    assert (beside.status, upload.done()) == (201, False)
    again = office.post("/v1/purchases/batch", body)
    for results, told in (((await upload).json, (201, False)), ((await again).json, (200, True))):
        assert [one["index"] for one in results["results"]] == list(range(500))
        assert {(one["status"], one["replayed"]) for one in results["results"]} == {told}


async def test_a_batch_that_cannot_be_read_is_refused_as_a_whole(world: World) -> None:
    till = world.client("pos")
    good = json.dumps(receipt()).encode()
    for raw, code in (
        (b'{"items": [%s, {"sku": "\xff"}]}' % good, "invalid_encoding"),
        (b'{"items": [%s, {"sku": ]}' % good, "malformed_body"),
        (b'{"items": [%s], "more": "\\ud800"}' % good, "invalid_encoding"),
        (b'{"items": [%s], "items": []}' % good, "duplicate_key"),
    ):
        answer = await till.post("/v1/purchases/batch", raw)
        assert (answer.status, answer.json["code"]) == (400, code)
    cut = await till.post("/v1/quotes", b'{"source": "till-1",\n "external_id": }')
    assert cut.json["detail"] == "The body is not JSON at line 2, column 17."
    for raw in (b'{"items": {"0": "a\\u0000"}}', b'["a\\u0000"]', b'{"items": [7], "more": "a\\u0000"}'):
        assert (await till.post("/v1/purchases/batch", raw)).status == 422


async def test_a_member_is_found_enrolled_read_changed_and_erased(world: World) -> None:
    till, desk = world.client("pos"), world.client("support")
    body = {
        "identifiers": [
            {"kind": "phone", "value": "0664 1234567"},
            {"kind": "email", "value": "Zoë@Example.com"},
        ],
        "profile": {"name": "Zoë Maier", "locale": "de-AT", "birthday_on": "1990-02-28"},
        "attributes": {"shoe_size": 38},
    }
    made = await desk.post("/v1/members", body, idempotency_key=uuid4().hex)
    assert made.status == 201
    known = await desk.post("/v1/members", body, idempotency_key=uuid4().hex)
    assert (known.status, known.json["id"]) == (200, made.json["id"])
    found = await till.post("/v1/members/lookup", {"query": "+43 664 1234567"})
    assert [one["id"] for one in found.json["candidates"]] == [made.json["id"]]
    assert found.json["candidates"][0]["balances"][0]["available"] == 0
    assert "Maier" not in found.body.decode()
    masked = await till.get("/v1/members/identifier:phone:%2B436641234567")
    assert (masked.json["masked"], masked.json["birthday_on"]) == (True, None)
    clear = await desk.get(f"/v1/members/{made.json['id']}")
    assert (clear.json["name"], clear.json["attributes"]) == ("Zoë Maier", {"shoe_size": 38})
    listed = await desk.get("/v1/members?q=maier")
    assert [one["id"] for one in listed.json["data"]] == [made.json["id"]]
    half = await desk.call("PATCH", f"/v1/members/{made.json['id']}", {"profile": {"name": "Z"}})
    assert (half.status, half.json["errors"][0]["pointer"]) == (422, "/attributes")
    change = {"status": "blocked", "profile": {"name": "Zoe"}, "attributes": {}}
    changed = await desk.call("PATCH", f"/v1/members/{made.json['id']}", change)
    assert (changed.status, changed.json["status"]) == (200, "blocked")
    assert (await desk.get(f"/v1/members/{made.json['id']}")).json["name"] == "Zoe"
    gone = await desk.post(f"/v1/members/{made.json['id']}/erase", {}, idempotency_key=uuid4().hex)
    assert (gone.status, gone.json["status"]) == (200, "erased")
    assert (await till.post("/v1/members/lookup", {"query": "+43 664 1234567"})).json["candidates"] == []


async def test_a_search_of_many_members_goes_on_until_there_is_no_cursor(world: World) -> None:
    """However few pages have anybody, so that no program is too large to be searched."""
    shop = await new_shop(world.runtime)
    desk = world.client("support", shop)
    body = {"identifiers": [{"kind": "external", "value": "crm-1"}], "profile": {"name": "Ida Last"}}
    made = await desk.post("/v1/members", body, idempotency_key=uuid4().hex)
    async with transaction(world.runtime.engine, shop.program_id) as connection:
        others = text(
            "INSERT INTO member_profiles SELECT :program, 0, lpad(n::text, 32, '0')::uuid, '{}'"
            " FROM generate_series(1, CAST(:many AS int)) n"
        )
        await connection.execute(others, {"program": shop.program_id, "many": LOOKED_MAX})
    first = await desk.get("/v1/members?q=ida&limit=1")
    assert (first.status, first.json["data"]) == (200, [])
    cursor = first.json["next_cursor"]
    rest = await desk.get(f"/v1/members?q=ida&limit=1&cursor={cursor}")
    assert ([one["id"] for one in rest.json["data"]], rest.json["next_cursor"]) == ([made.json["id"]], None)


async def test_one_more_identifier_is_given_once_and_to_one_member(world: World) -> None:
    desk = world.client("support")
    ida, otto = await enrol(desk), await enrol(desk)
    body = {"kind": "external", "value": "crm-77"}
    given = await desk.post(f"/v1/members/{ida}/identifiers", body, idempotency_key=uuid4().hex)
    again = await desk.post(f"/v1/members/{ida}/identifiers", body, idempotency_key=uuid4().hex)
    taken = await desk.post(f"/v1/members/{otto}/identifiers", body, idempotency_key=uuid4().hex)
    assert (given.status, again.status, taken.status) == (201, 200, 409)
    assert taken.json["code"] == "identifier_taken"


async def test_points_are_given_and_taken_by_hand_and_stand_in_the_statement(world: World) -> None:
    desk = world.client("support")
    member = await enrol(desk)
    credit = {"member": {"id": member}, "points_currency": "points", "points": 100, "reason": "goodwill"}
    assert (await desk.post("/v1/adjustments", credit, idempotency_key=uuid4().hex)).status == 201
    debit = await desk.post("/v1/adjustments", {**credit, "points": -30}, idempotency_key=uuid4().hex)
    assert (debit.status, debit.json["balances"][0]["available"]) == (201, 70)
    much = await desk.post("/v1/adjustments", {**credit, "points": -71}, idempotency_key=uuid4().hex)
    assert (much.status, much.json["code"]) == (409, "insufficient_points")
    balances = await desk.get(f"/v1/members/{member}/balances")
    assert balances.json["balances"][0]["available"] == 70
    lots = await desk.get(f"/v1/members/{member}/lots")
    assert [lot["available"] for lot in lots.json["data"]] == [70]
    first = await desk.get(f"/v1/members/{member}/entries?limit=1")
    assert [line["available_change"] for line in first.json["data"]] == [-30]
    rest = await desk.get(f"/v1/members/{member}/entries?limit=1&cursor={first.json['next_cursor']}")
    assert [line["available_change"] for line in rest.json["data"]] == [100]
    entry = await desk.get(f"/v1/entries/{first.json['data'][0]['id']}")
    assert (entry.json["kind"], entry.json["postings"][0]["points"]) == ("adjust_debit", 30)
    decision = await desk.get(f"/v1/decisions/{debit.json['decision_id']}")
    assert (decision.json["kind"], decision.json["answer"]) == ("adjust", debit.json)


async def test_the_statement_names_what_a_line_is_about(world: World) -> None:
    till, desk = world.client("pos"), world.client("support")
    member = await enrol(desk)
    sale = receipt(member={"id": member})
    await till.post("/v1/purchases", sale, idempotency_key=uuid4().hex)
    back = {"source": "till", "external_id": uuid4().hex, "occurred_at": sale["occurred_at"]}
    back["of"] = {name: sale[name] for name in ("source", "external_id")}
    assert (await till.post("/v1/purchases/returns", back, idempotency_key=uuid4().hex)).status == 201
    credit = {"member": {"id": member}, "points_currency": "points", "points": 100, "reason": "goodwill"}
    await desk.post("/v1/adjustments", credit, idempotency_key=uuid4().hex)
    lines = (await desk.get(f"/v1/members/{member}/entries")).json["data"]
    assert [line["kind"] for line in lines] == ["adjust_credit", "revoke", "earn"]
    told = [None, {name: back[name] for name in ("source", "external_id")}, back["of"]]
    assert [line["known_as"] for line in lines] == told


async def test_balances_as_of_the_past_stay_as_they_were(world: World) -> None:
    desk = world.client("support")
    member = await enrol(desk)
    lot = {
        "member": {"id": member},
        "points_currency": "points",
        "points": 40,
        "source": "old",
        "external_id": uuid4().hex,
        "issued_at": "2026-01-05T10:00:00+01:00",
        "expires_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
    }
    manager = world.client("manager")
    brought = await manager.post("/v1/imports/lots", lot, idempotency_key=uuid4().hex)
    assert (brought.status, brought.json["earned"][0]["points"]) == (201, 40)
    path = f"/v1/members/{member}/balances"
    before = await desk.get(f"{path}?as_of=2026-01-05T08:59:59Z")
    then = await desk.get(f"{path}?as_of=2026-01-05T09:00:00%2B00:00")
    unknown = await desk.get(f"{path}?as_of=2026-01-06T00:00:00Z&recorded_by=2026-01-06T00:00:00Z")
    figures = [one.json["balances"][0]["available"] for one in (before, then, unknown)]
    assert figures == [0, 40, 0]


async def test_balances_as_of_an_instant_to_come_are_refused(world: World) -> None:
    desk = world.client("support")
    path = f"/v1/members/{await enrol(desk)}/balances?as_of="
    soon, late = (quote((datetime.now(UTC) + timedelta(seconds=s)).isoformat()) for s in (5, 60))
    assert (await desk.get(path + soon)).status == 200  # the caller's clock is a little ahead
    refused = await desk.get(path + late)
    assert (refused.status, refused.json["code"]) == (422, "in_future")
    assert refused.json["errors"][0]["pointer"] == "/as_of"


async def test_a_purchase_explains_itself_also_when_it_earned_nothing(world: World) -> None:
    till, desk = world.client("pos"), world.client("support")
    member = await enrol(till)
    small = receipt(member={"id": member}, lines=[{"line_id": "1", "sku": "GUM", "amount_minor": 50}])
    bought = await till.post("/v1/purchases", small, idempotency_key=uuid4().hex)
    assert bought.json["earned"] == []
    why = await desk.get(f"/v1/purchases/{bought.json['id']}/explanation")
    assert why.status == 200
    (rule,) = why.json["explanation"]["rules"]
    assert (rule["rule_id"], rule["points"]) == ("base", 0)
    assert rule["sentence"]


async def test_whoever_only_reads_is_never_told_that_the_outcome_is_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_about: Any) -> None:
        raise OutcomeUnknown

    monkeypatch.setattr("loyalty.web.api.members.transaction", lost)
    desk = world.client("support")
    for searched, code in (
        (await desk.get("/v1/members?q=maier"), "database_unavailable"),
        (await desk.post("/v1/members/lookup", {"query": "+43 664 1234567"}), "outcome_unknown"),
    ):
        assert (searched.status, searched.json["code"]) == (503, code)


async def test_the_feed_tells_everything_once_and_in_order(world: World) -> None:
    shop = await new_shop(world.runtime)
    till, reader = world.client("pos", shop), world.client("analyst", shop)
    member = await enrol(till)
    for _ in range(3):
        await till.post("/v1/purchases", receipt(member={"id": member}), idempotency_key=uuid4().hex)
    events, after = [], ""
    for _ in range(20):
        page = await reader.get(f"/v1/engagement-events?limit=2{after}")
        assert page.status == 200
        if not page.json["data"]:
            break
        events += page.json["data"]
        after = f"&after={page.json['next_cursor']}"
    assert [event["position"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["type"].removeprefix("loyalty.") for event in events] == [
        "configuration.published",
        "member.enrolled",
        *["purchase.recorded"] * 3,
    ]
    assert {event["specversion"] for event in events} == {"1.0"}
    changes = [change["available"] for event in events for change in event["data"].get("entries", ())]
    balances = await till.get(f"/v1/members/{member}/balances")
    assert sum(changes) == balances.json["balances"][0]["available"] == 42


async def test_a_configuration_is_judged_published_and_read_by_number(world: World) -> None:
    manager = world.client("manager")
    program = await manager.get("/v1/program")
    tag, number = program.headers["etag"], program.json["configuration"]
    current = (await manager.get(f"/v1/program/configurations/{number}")).json
    wanted = {"settings": current["settings"], "ruleset": {**current["ruleset"], "version": 2}}
    judged = await manager.post("/v1/program/configurations/validate", wanted)
    assert judged.json == {"valid": True, "faults": []}
    path = "/v1/program/configurations"
    published = await manager.post(path, wanted, idempotency_key=uuid4().hex, If_Match=tag)
    assert (published.status, published.json["number"]) == (201, number + 1)
    stale = await manager.post(path, wanted, idempotency_key=uuid4().hex, If_Match=tag)
    assert (stale.status, stale.json["code"]) == (412, "configuration_stale")
    broken = await manager.post(path, wanted, idempotency_key=uuid4().hex, If_Match="7")
    assert (broken.status, broken.json["code"]) == (400, "malformed_request")
    listed = await manager.get(f"{path}?limit=1")
    assert (len(listed.json["data"]), listed.json["next_cursor"] is not None) == (1, True)
    contradictory = {**wanted, "settings": {**wanted["settings"], "zone": "Mars/Base"}}
    contradictory["ruleset"] = {"rules": [{**wanted["ruleset"]["rules"][0], "points_currency": "stars"}]}
    judged = await manager.post(f"{path}/validate", contradictory)
    assert [(fault["pointer"], fault["code"]) for fault in judged.json["faults"]] == [
        ("/settings/zone", "unknown_time_zone"),
        ("/ruleset/rules/0/points_currency", "unknown_points_currency"),
        ("/settings/zone", "configuration_fixed"),
    ]
    refused = await manager.post(path, contradictory, idempotency_key=uuid4().hex)
    assert (refused.status, refused.json["code"]) == (422, "configuration_invalid")
    assert [fault["pointer"] for fault in refused.json["errors"]] == [
        fault["pointer"] for fault in judged.json["faults"]
    ]
    others = [{**wanted["settings"]["points_currencies"][0], "code": "miles"}]
    moved = {**wanted, "ruleset": {"rules": []}}
    moved["settings"] = {**wanted["settings"], "money": "CHF", "points_currencies": others}
    judged = await manager.post(f"{path}/validate", moved)
    assert [(fault["pointer"], fault["code"]) for fault in judged.json["faults"]] == [
        ("/settings/money", "configuration_fixed"),
        ("/settings/points_currencies", "configuration_fixed"),
    ]
    refused = await manager.post(path, moved, idempotency_key=uuid4().hex)
    assert (refused.status, refused.json["code"]) == (409, "configuration_fixed")
    assert [fault["pointer"] for fault in refused.json["errors"]] == [
        "/settings/money",
        "/settings/points_currencies",
    ]
    log = (await world.client("auditor").get("/v1/audit-log?limit=1")).json["data"][0]
    assert (log["action"], log["target"]) == ("configuration.publish", str(number + 1))
    assert log["detail"]["decision_id"] == published.json["decision_id"]


async def test_a_program_says_what_is_in_force_and_what_is_scheduled(world: World) -> None:
    manager = world.client("manager", await new_shop(world.runtime))
    path, later = "/v1/program/configurations", "2099-01-01T00:00:00Z"
    current = (await manager.get(f"{path}/1")).json
    wanted = {"settings": current["settings"], "ruleset": current["ruleset"]}
    for more in ({"effective_at": later}, {}):
        assert (await manager.post(path, wanted | more, idempotency_key=uuid4().hex)).status == 201
    program = await manager.get("/v1/program")
    assert (program.json["configuration"], program.headers["etag"]) == (3, '"3"')
    assert program.json["scheduled"] == [{"number": 2, "effective_at": later}]
    assert (await manager.get(f"{path}/2")).json["number"] == 2
    assert (await manager.get(f"{path}/4")).json["code"] == "configuration_not_found"
    first = (await manager.get(f"{path}?limit=2")).json
    rest = (await manager.get(f"{path}?limit=2&cursor={first['next_cursor']}")).json
    assert [[one["number"] for one in page["data"]] for page in (first, rest)] == [[1, 2], [3]]
    assert rest["next_cursor"] is None
    past = wanted | {"effective_at": "2020-01-01T00:00:00Z"}
    refused = await manager.post(path, past, idempotency_key=uuid4().hex)
    assert (refused.status, refused.json["code"]) == (422, "effective_in_past")


async def test_a_birthday_has_come_by_the_programs_day(world: World) -> None:
    """Late in the evening by UTC it is tomorrow in Berlin."""
    shop = await new_shop(world.runtime, clock_at=datetime(2026, 6, 1, 22, 30, tzinfo=UTC))
    desk = world.client("support", shop)
    for day, status in (("2026-06-02", 201), ("2026-06-03", 422)):
        body = {"identifiers": [{"kind": "external", "value": day}], "profile": {"birthday_on": day}}
        assert (await desk.post("/v1/members", body, idempotency_key=uuid4().hex)).status == status


async def test_only_a_sandbox_has_a_clock_that_moves(world: World) -> None:
    live = await world.client("admin").post(
        "/v1/clock/advance", {"to": "2027-01-01T00:00:00Z"}, idempotency_key=uuid4().hex
    )
    assert (live.status, live.json["code"]) == (409, "clock_is_real")
    sandbox = await new_shop(world.runtime, clock_at=datetime(2026, 1, 1, tzinfo=UTC))
    admin = world.client("admin", sandbox)
    moved = await admin.post("/v1/clock/advance", {"to": "2026-06-01T00:00:00Z"}, idempotency_key=uuid4().hex)
    assert (moved.status, moved.json["to"]) == (202, "2026-06-01T00:00:00Z")
    run = moved.headers["location"]
    assert (run, (await admin.get(run)).json["state"]) == (f"/v1/runs/{moved.json['id']}", "queued")
    program = (await admin.get("/v1/program")).json
    assert (program["now"], program["moving_to"]) == ("2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z")
    newcomer = {"identifiers": [{"kind": "card", "value": "6035550009"}]}
    meanwhile = await admin.post("/v1/members", newcomer, idempotency_key="meanwhile")
    assert (meanwhile.status, meanwhile.json["code"], meanwhile.headers["retry-after"]) == (
        409,
        "clock_moving",
        "1",
    )
    await long_work(world.runtime)
    done = (await admin.get(run)).json
    assert (done["state"], done["result"]["days"]) == ("succeeded", 151)
    program = (await admin.get("/v1/program")).json
    assert (program["now"], program["moving_to"]) == ("2026-06-01T00:00:00Z", None)
    assert (await admin.post("/v1/members", newcomer, idempotency_key="meanwhile")).status == 201
    back = await admin.post("/v1/clock/advance", {"to": "2026-05-01T00:00:00Z"}, idempotency_key=uuid4().hex)
    assert (back.status, back.json["code"]) == (409, "clock_backwards")


async def test_a_key_is_shown_once_works_is_rotated_and_ends(world: World) -> None:
    admin = world.client("admin")
    client = await admin.post("/v1/clients", {"name": "web shop"}, idempotency_key="client")
    again = await admin.post("/v1/clients", {"name": "web shop"}, idempotency_key="client")
    assert (again.status, again.body, again.replayed) == (201, client.body, True)
    reused = await admin.post("/v1/clients", {"name": "another"}, idempotency_key="client")
    assert (reused.status, reused.json["code"]) == (422, "idempotency_key_reused")
    keys = f"/v1/clients/{client.json['id']}/keys"
    made = await admin.post(keys, {"role": "pos"}, idempotency_key="key")
    replay = await admin.post(keys, {"role": "pos"}, idempotency_key="key")
    assert made.status == 201
    assert (replay.replayed, replay.json) == (True, {"key": made.json["key"], "secret": None})
    holder = world.with_key(made.json["secret"])
    assert (await holder.get("/v1/members/00000000-0000-7000-8000-000000000000")).status == 404
    path = f"{keys}/{made.json['key']['id']}"
    rotated = await admin.post(f"{path}/rotate", {"overlap_minutes": 5}, idempotency_key=uuid4().hex)
    assert rotated.status == 201
    revoked = await admin.post(f"{path}/revoke", None, idempotency_key=uuid4().hex)
    assert (revoked.status, revoked.json["revoked_at"] is not None) == (200, True)
    listed = await admin.get(keys)
    assert len(listed.json["data"]) == 2
    assert made.json["secret"] not in listed.body.decode()
    log = await admin.get("/v1/audit-log?limit=3")
    assert [entry["action"] for entry in log.json["data"]] == ["key.revoke", "key.create", "key.rotate"]
    staff = await admin.get("/v1/staff")
    assert [person["name"] for person in staff.json["data"]] == ["Ida", "Max"]


async def test_a_verification_is_queued_and_can_be_asked_after(world: World) -> None:
    auditor = world.client("auditor")
    queued = await auditor.post("/v1/verification-runs", None, idempotency_key="verify")
    assert (queued.status, queued.json["state"]) == (202, "queued")
    assert (await auditor.post("/v1/verification-runs", None, idempotency_key="verify")).json == queued.json
    read = await auditor.get(queued.headers["location"])
    assert read.json["id"] == queued.json["id"]
    assert (await auditor.get(f"/v1/runs/{queued.json['id']}")).status == 200


async def test_long_work_is_listed_newest_first_page_by_page(world: World) -> None:
    shop = await new_shop(world.runtime)
    auditor, manager, till = (world.client(role, shop) for role in ("auditor", "manager", "pos"))
    asked = [
        (await auditor.post("/v1/verification-runs", None, idempotency_key=f"v-{n}")).json["id"]
        for n in range(5)
    ]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await auditor.get(f"/v1/runs?kind=verification&state=queued&limit=2{cursor}")).json
        seen += [one["id"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == asked[::-1]
    assert (await manager.get("/v1/runs")).json["data"] == []  # which it may not ask for
    assert (await manager.get("/v1/runs?state=failed")).json == {"data": [], "next_cursor": None}
    runtime = world.runtime
    ids = Ids(runtime.clock.now_ms, random62)
    async with transaction(runtime.engine, shop.program_id) as connection:
        by_worker = await queue_run(
            connection, shop.program_id, RunKind.TIERS, at=runtime.clock.now(), ids=ids
        )
    assert [one["id"] for one in (await manager.get("/v1/runs")).json["data"]] == [str(by_worker.id)]
    assert (await auditor.get(f"/v1/runs?state=queued{cursor}")).json["code"] == "invalid_cursor"
    assert (await manager.get("/v1/runs?kind=lunch")).json["code"] == "invalid_parameter"
    assert (await till.get("/v1/runs")).status == 403
    assert (await world.client("manager").get("/v1/runs?limit=200")).status == 200
    assert not set(asked) & {
        one["id"] for one in (await world.client("auditor").get("/v1/runs")).json["data"]
    }


async def test_the_shortcut_past_the_router_answers_as_the_router_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = world.client("pos")
    member = await enrol(till)
    body = receipt(member={"id": member})
    bought = await till.post("/v1/purchases", body, idempotency_key="short")

    async def asked() -> list[tuple[int, bytes]]:
        answers = [
            await till.post("/v1/purchases", body, idempotency_key="short"),
            await till.post("/v1/quotes", body),
            await till.post("/v1/quotes", {"typo": 1}),
            await till.get(f"/v1/members/{member}/balances"),
            await till.get(f"/v1/members/{member}/balances/"),
            await till.get("/v1/members//balances"),
            await till.get(f"/v1/members/{uuid4()}/balances"),
        ]
        return [(one.status, re.sub(rb'"(request_id|as_of)":"[^"]*"', b"", one.body)) for one in answers]

    short = await asked()
    monkeypatch.setattr(world.app, "_shortcuts", None)
    assert await asked() == short
    assert short[0] == (201, bought.body)
    assert [status for status, _ in short] == [201, 200, 422, 200, 404, 404, 404]


async def test_twenty_at_once_with_one_key_make_one_client(world: World) -> None:
    crowd = [world.client("admin") for _ in range(20)]
    before = len((await crowd[0].get("/v1/clients?limit=200")).json["data"])
    answers = await asyncio.gather(
        *(one.post("/v1/clients", {"name": "crowd"}, idempotency_key="crowd") for one in crowd)
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len((await crowd[0].get("/v1/clients?limit=200")).json["data"]) == before + 1


async def test_of_many_rotations_and_a_revocation_of_one_key_at_once_each_has_its_turn(world: World) -> None:
    crowd = [world.client("admin") for _ in range(8)]
    keys = f"/v1/clients/{world.shop.client_id}/keys"
    for _ in range(5):
        made = await crowd[0].post(keys, {"role": "pos"}, idempotency_key=uuid4().hex)
        asked: list[tuple[str, dict[str, int]]] = [("rotate", {"overlap_minutes": 9 - n}) for n in range(7)]
        answers = await asyncio.gather(
            *(
                one.post(f"{keys}/{made.json['key']['id']}/{what}", body, idempotency_key=uuid4().hex)
                for one, (what, body) in zip(crowd, [*asked, ("revoke", {})], strict=True)
            )
        )
        assert {answer.status for answer in answers[:7]} <= {201, 409}, answers
        assert answers[7].status == 200
