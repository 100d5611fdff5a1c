"""Returns over HTTP: by id and by receipt, in parts, read back, exchanged, refused; every call as documented."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from tests.races.client import Client, Reply
from tests.web.test_refusals import is_problem
from tests.web.world import CONFIGURATION, World, enrol, new_shop, receipt

JSON = dict[str, Any]


def back(**more: Any) -> JSON:
    """A return of all that is left, made now."""
    return {
        "source": "store-12-pos",
        "external_id": uuid4().hex,
        "occurred_at": datetime.now(UTC).isoformat(),
    } | more


async def post(client: Client, path: str, body: JSON) -> Reply:
    return await client.post(f"/v1/purchases{path}", body, idempotency_key=uuid4().hex)


async def sold(client: Client, **more: Any) -> tuple[JSON, JSON]:
    """A purchase of two coffees and a bag by a new member: its receipt's name, and the answer."""
    body = receipt(member={"id": await enrol(client)}, **more)
    answer = await post(client, "", body)
    assert answer.status == 201, answer.body
    return {"source": body["source"], "external_id": body["external_id"]}, answer.json


async def test_lines_go_back_in_parts_and_are_read_with_their_purchase(world: World) -> None:
    till = world.client("pos")
    name, sale = await sold(till)
    body = back(lines=[{"line_id": "1", "quantity": "1"}], money="EUR", till="9", location="store-13")
    first = await post(till, f"/{sale['id']}/returns", body)
    assert first.status == 201
    assert (first.json["status"], first.json["amount_minor"], first.json["complete"]) == (
        "returned",
        699,
        False,
    )
    assert first.json["revoked"] == [{"points_currency": "points", "points": 7, "forgiven": 0, "debt": 0}]
    assert first.json["receipt"]["lines"] == ["7 points taken back", "Balance 7"]
    rest = await post(till, "/returns", back(of=name))
    assert (rest.json["complete"], rest.json["balances"][0]["available"]) == (True, 0)

    read = (await till.get(f"/v1/purchases/{sale['id']}")).json
    assert [(line["returned"], line["state"]) for line in read["content"]["lines"]] == [
        ("2", "returned"),
        ("1", "returned"),
    ]
    assert [one["lines"] for one in read["returns"]] == [
        [{"line_id": "1", "quantity": "1"}],
        [{"line_id": "1", "quantity": "1"}, {"line_id": "2", "quantity": "1"}],
    ]
    assert [one["first_answer"] for one in read["returns"]] == [first.json, rest.json]
    assert read["first_answer"] == sale
    alone = await till.get(f"/v1/returns?source={body['source']}&external_id={body['external_id']}")
    assert alone.json == read["returns"][0]
    assert (alone.json["purchase_id"], alone.json["till"], alone.json["location"]) == (
        sale["id"],
        "9",
        "store-13",
    )


async def test_a_return_is_repeated_like_a_purchase(world: World) -> None:
    till = world.client("pos")
    name, sale = await sold(till)
    body = back(of=name, lines=[{"line_id": "2"}])
    first = await till.post("/v1/purchases/returns", body, idempotency_key="back")
    same_key = await till.post("/v1/purchases/returns", body, idempotency_key="back")
    assert (same_key.status, same_key.body, same_key.replayed) == (201, first.body, True)
    other_key = await post(till, "/returns", body)
    assert (other_key.status, other_key.body, other_key.replayed) == (200, first.body, True)
    del body["of"]
    by_id = await post(till, f"/{sale['id']}/returns", body)
    assert (by_id.status, by_id.body) == (200, first.body)
    differs = await post(till, f"/{sale['id']}/returns", {**body, "till": "9"})
    assert is_problem(differs, 409, "activity_differs")["differs"] == ["/till"]


async def test_every_line_of_a_cancelled_purchase_is_returned_one_without_quantity_too(world: World) -> None:
    till = world.client("pos")
    lines = [{"line_id": str(n), "sku": "S", "quantity": str(n), "amount_minor": 500} for n in range(2)]
    sale = receipt(lines=lines)
    assert (await post(till, "", sale)).status == 201
    name = {part: sale[part] for part in ("source", "external_id")}
    assert (await post(till, "/cancel", name)).status == 201
    read = await till.get(f"/v1/purchases?source={name['source']}&external_id={name['external_id']}")
    assert [line["state"] for line in read.json["content"]["lines"]] == ["returned", "returned"]


async def test_every_refusal_of_a_return_says_what_is_wrong(world: World) -> None:
    till = world.client("pos")
    name, sale = await sold(till)
    path = f"/{sale['id']}/returns"
    wrong = await post(till, path, back(lines=[{"line_id": "7"}, {"line_id": "1", "quantity": "0"}]))
    faults = [
        (fault["pointer"], fault["code"]) for fault in is_problem(wrong, 422, "return_invalid")["errors"]
    ]
    assert faults == [("/lines/0/line_id", "unknown_line"), ("/lines/1/quantity", "out_of_range")]
    much = is_problem(
        await post(till, path, back(lines=[{"line_id": "1", "quantity": "2.5"}])), 409, "exceeds_purchase"
    )
    assert (much["line_id"], much["bought"], much["returned"], much["wanted"]) == ("1", "2", "0", "2.5")
    is_problem(await post(till, path, back(money="USD")), 422, "currency_mismatch")
    is_problem(await post(till, path, back(occurred_at="2199-01-01T00:00:00Z")), 422, "in_future")
    is_problem(await post(till, f"/{uuid4()}/returns", back()), 404, "purchase_not_found")
    is_problem(await post(till, "/returns", back(of=name | {"external_id": "x"})), 404, "purchase_not_found")
    assert (await post(till, path, back())).status == 201
    is_problem(await post(till, path, back()), 409, "already_returned")
    await post(till, "/cancel", name)
    is_problem(await post(till, path, back()), 409, "purchase_cancelled")
    for body, pointer, code in [
        (back(lines=[]), "/lines", "too_few_items"),
        (back(location="  "), "/location", "invalid_format"),
        (back(lines=[{"line_id": "1"}] * 2), "/lines/1/line_id", "duplicate_line_id"),
        (back(lines=[{"line_id": "1", "quantity": "-1"}]), "/lines/0/quantity", "out_of_range"),
        (back(occurred_at="1960-01-01T00:00:00Z"), "/occurred_at", "out_of_range"),
        (back(of=name), "/of", "unknown_field"),
    ]:
        problem = is_problem(await post(till, path, body), 422, "invalid_body")
        assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [(pointer, code)]
    is_problem(await till.get("/v1/returns?source=a&external_id=b"), 404, "return_not_found")


async def test_an_exchange_happens_whole_or_not_at_all(world: World) -> None:
    till = world.client("pos")
    name, sale = await sold(till)
    body = {
        "returned": back(of=name, lines=[{"line_id": "1"}]),
        "purchase": receipt(member={"id": sale["member_id"]}),
    }
    refused = await post(till, "/exchanges", {**body, "purchase": {**body["purchase"], "money": "USD"}})
    is_problem(refused, 422, "currency_not_supported")
    done = await till.post("/v1/purchases/exchanges", body, idempotency_key="swap")
    assert done.status == 201
    assert done.json["returned"]["revoked"][0]["points"] == 14
    assert done.json["purchase"]["balances"][0]["available"] == 14
    for key, status in (("swap", 201), (uuid4().hex, 200)):
        again = await till.post("/v1/purchases/exchanges", body, idempotency_key=key)
        assert (again.status, again.body, again.replayed) == (status, done.body, True)
    alone = await post(till, "", body["purchase"])
    assert (alone.status, alone.json) == (200, done.json["purchase"])
    read = await till.get(f"/v1/purchases/{sale['id']}")
    assert [one["first_answer"] for one in read.json["returns"]] == [done.json["returned"]]
    wrong = {"returned": {**body["returned"], "lines": []}, "purchase": {**body["purchase"], "tenders": [{}]}}
    problem = is_problem(await post(till, "/exchanges", wrong), 422, "invalid_body")
    assert "/returned/lines" in {fault["pointer"] for fault in problem["errors"]}
    for who in ("support", "manager"):
        is_problem(await post(world.client(who), "/exchanges", body), 403, "not_allowed")


async def test_a_location_is_the_same_however_its_letters_are_composed(world: World) -> None:
    bound, written = world.client("till"), "Cafe\u0301"
    name, _ = await sold(bound, location=written)
    body = back(of=name, location=written, lines=[{"line_id": "2"}])
    assert (await post(bound, "/returns", body)).status == 201
    again = await post(bound, "/returns", body | {"location": "Café"})
    assert (again.status, again.json["status"]) == (200, "returned")
    path = f"/v1/returns?source={body['source']}&external_id={body['external_id']}"
    assert (await bound.get(path)).json["location"] == "Café"


async def test_a_till_of_one_store_takes_back_what_another_sold(world: World) -> None:
    name, sale = await sold(world.client("pos"), location="store-13")
    bound = world.client("till")  # to store-12
    is_problem(await bound.get(f"/v1/purchases/{sale['id']}"), 404, "purchase_not_found")
    is_problem(await post(bound, "/returns", back(of=name)), 403, "location_not_allowed")
    is_problem(await post(bound, "/returns", back(of=name, location="store-13")), 403, "location_not_allowed")
    here = back(of=name, location="store-12", lines=[{"line_id": "2"}])
    assert (await post(bound, "/returns", here)).status == 201
    path = f"/v1/returns?source={here['source']}&external_id={here['external_id']}"
    assert (await bound.get(path)).status == 200
    there = back(of=name, location="store-13", lines=[{"line_id": "1", "quantity": "1"}])
    assert (await post(world.client("pos"), "/returns", there)).status == 201
    path = f"/v1/returns?source={there['source']}&external_id={there['external_id']}"
    is_problem(await bound.get(path), 404, "return_not_found")


async def test_a_return_of_a_purchase_never_seen_is_kept_where_the_policy_says_so(world: World) -> None:
    settings = CONFIGURATION["settings"]
    policies = settings["policies"] | {"blind_returns": "record"}
    shop = await new_shop(world.runtime, {**CONFIGURATION, "settings": {**settings, "policies": policies}})
    till = world.client("pos", shop)
    body = back(of={"source": "old-till", "external_id": "R-9"}, lines=[{"line_id": "1", "quantity": "2"}])
    kept = await post(till, "/returns", body)
    assert (kept.status, kept.json["purchase_id"], kept.json["revoked"]) == (201, None, [])
    read = await till.get(f"/v1/returns?source={body['source']}&external_id={body['external_id']}")
    assert read.json["lines"] == [{"line_id": "1", "quantity": "2"}]
    assert read.json["first_answer"] == kept.json


async def test_the_statement_and_the_decision_say_why_points_went(world: World) -> None:
    till, desk = world.client("pos"), world.client("support")
    _, sale = await sold(till)
    gone = await post(till, f"/{sale['id']}/returns", back(lines=[{"line_id": "1", "quantity": "1"}]))
    statement = await desk.get(f"/v1/members/{sale['member_id']}/entries")
    line = statement.json["data"][0]
    assert (line["words"], line["activity_id"]) == (
        "7 points taken back: goods were returned",
        gone.json["id"],
    )
    decision = (await desk.get(f"/v1/decisions/{gone.json['decision_id']}")).json
    (rule,) = decision["explanation"]["rules"]
    assert (rule["points"], rule["sentence"]) == (
        -7,
        "for the basket: 7 of 14 points taken back, the share of what went back.",
    )
    earned = (await desk.get(f"/v1/purchases/{sale['id']}/explanation")).json["explanation"]
    assert (earned["agrees"], earned["rules"][0]["points"]) == (True, 14)


async def test_a_claim_after_a_return_is_explained_by_what_was_left(world: World) -> None:
    till, desk = world.client("pos"), world.client("support")
    sale = (await post(till, "", receipt())).json
    await post(till, f"/{sale['id']}/returns", back(lines=[{"line_id": "1", "quantity": "1"}]))
    claimed = await post(till, f"/{sale['id']}/claim", {"member": {"id": await enrol(till)}})
    assert claimed.json["earned"][0]["points"] == 7  # of 7.24
    told = (await desk.get(f"/v1/purchases/{sale['id']}/explanation")).json["explanation"]
    assert (told["agrees"], told["rules"][0]["points"], told["rules"][0]["award"]["split"]) == (
        True,
        7,
        [7, 0],
    )
    rest = await post(till, f"/{sale['id']}/returns", back())
    assert (rest.json["revoked"][0]["points"], rest.json["balances"][0]["available"]) == (7, 0)
