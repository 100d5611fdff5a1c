"""Rewards over HTTP: the catalogue as a member finds it, redeeming, handing over, cancelling, stocks."""

from typing import Any
from uuid import uuid4

import pytest

from tests.races.client import Client, Reply
from tests.web.world import CONFIGURATION, JSON, Shop, World, enrol, new_shop

MUG: JSON = {
    "id": "mug",
    "name": "Coffee mug",
    "kind": "product",
    "points_currency": "points",
    "points": 500,
    "money_minor": 250,
    "stocked": True,
    "member_limit": {"quantity": 2, "period": "day"},
}
TEA: JSON = {
    "id": "tea",
    "name": "Cup of tea",
    "kind": "voucher",
    "points_currency": "points",
    "points": 100,
    "when": {"kind": "location", "any_of": ["store-12"]},
    "returnable": True,
}
SECRET: JSON = TEA | {"id": "secret", "visible": False, "when": None}


def shop_of(*rewards: JSON) -> JSON:
    settings = CONFIGURATION["settings"]
    (points,) = settings["points_currencies"]
    pays = points | {
        "pay": {"points": 100, "each_minor": 100, "points_min": 200, "step": 50, "points_max": 900}
    }
    return CONFIGURATION | {"settings": settings | {"points_currencies": [pays]}, "rewards": list(rewards)}


@pytest.fixture
async def shop(world: World) -> Shop:
    return await new_shop(world.runtime, shop_of(MUG, TEA, SECRET))


async def post(client: Client, path: str, body: JSON, key: str | None = None) -> Reply:
    return await client.post(path, body, idempotency_key=key or uuid4().hex)


async def rich(world: World, shop: Shop, points: int = 1_000) -> str:
    """A new member with points."""
    desk = world.client("admin", shop)
    member = await enrol(desk)
    credit = {"member": {"id": member}, "points_currency": "points", "points": points, "reason": "goodwill"}
    assert (await post(desk, "/v1/adjustments", credit)).status == 201
    return member


async def test_a_till_asks_what_a_member_can_have_and_why_not_the_rest(world: World, shop: Shop) -> None:
    till, member = world.client("pos", shop), await rich(world, shop, 380)
    plain = (await till.get("/v1/rewards")).json
    assert [(one["id"], one["available"], one["reasons"]) for one in plain["data"]] == [
        ("mug", None, None),
        ("tea", None, None),
    ]
    assert (plain["data"][0]["stock"], plain["data"][1]["stock"], plain["next_cursor"]) == (0, None, None)
    mug, tea = (await till.get(f"/v1/rewards?member={member}&location=store-12&channel=pos")).json["data"]
    assert (tea["available"], tea["reasons"]) == (True, [])
    assert mug["available"] is False
    assert mug["reasons"] == [
        {"reason": "sold_out", "detail": {"stock": 0, "reserved": 0, "quantity": 1}},
        {"reason": "insufficient_points", "detail": {"wanted": 500, "available": 380, "missing": 120}},
    ]
    (tea,) = [(await till.get(f"/v1/rewards/tea?member={member}")).json]
    assert tea["reasons"] == [{"reason": "location", "detail": {"location": None}}]


async def test_a_reward_that_is_not_shown_is_read_by_its_id_alone(world: World, shop: Shop) -> None:
    till = world.client("pos", shop)
    assert (await till.get("/v1/rewards/secret")).json["visible"] is False
    for path in ("/v1/rewards/nothing", "/v1/rewards/Mug", "/v1/rewards/1"):
        assert (await till.get(path)).status == 404


async def test_the_catalogue_comes_in_pages(world: World) -> None:
    shop = await new_shop(world.runtime, shop_of(*(TEA | {"id": f"tea-{n}"} for n in range(5))))
    till, seen = world.client("pos", shop), list[str]()
    page: JSON = {"next_cursor": ""}
    while (cursor := page["next_cursor"]) is not None:
        page = (await till.get(f"/v1/rewards?limit=2{cursor and f'&cursor={cursor}'}")).json
        seen += [one["id"] for one in page["data"]]
        if cursor:
            foreign = await till.get(f"/v1/rewards?limit=2&location=x&cursor={cursor}")
            assert (foreign.status, foreign.json["code"]) == (400, "invalid_cursor")
    assert seen == [f"tea-{n}" for n in range(5)]


async def test_a_reward_is_redeemed_read_handed_over_and_stays(world: World, shop: Shop) -> None:
    till, desk, member = world.client("pos", shop), world.client("manager", shop), await rich(world, shop)
    stock = await post(desk, "/v1/rewards/mug/stock", {"set": 3, "reason": "delivery"})
    assert (stock.status, stock.json["stock"]) == (200, 3)
    wish = {
        "member": {"id": member},
        "reward": "mug",
        "quantity": 2,
        "location": "store-12",
        "channel": "pos",
        "till": "7",
        "reference": "R-17",
    }
    taken = await post(till, "/v1/redemptions", wish, "one")
    assert (taken.status, taken.json["points"], taken.json["money_minor"], taken.json["money"]) == (
        201, 1000, 500, "EUR",
    )  # fmt: skip
    again = await post(till, "/v1/redemptions", wish, "one")
    assert (again.status, again.body, again.replayed) == (201, taken.body, True)
    path = f"/v1/redemptions/{taken.json['id']}"
    read = (await till.get(path)).json
    assert read["status"] == "issued"
    assert [read[name] for name in ("reward", "quantity", "location", "till", "reference")] == [
        "mug", 2, "store-12", "7", "R-17",
    ]  # fmt: skip
    assert sum(part["points"] for part in read["parts"]) == read["points"] == 1000
    done = await post(till, f"{path}/fulfil", {})
    assert (done.status, done.json["status"]) == (200, "fulfilled")
    assert (await till.get(path)).json["changed_by"] == done.json["decision_id"]
    back = await post(till, f"{path}/cancel", {"reason": "changed_mind"})
    assert (back.status, back.json["code"]) == (409, "not_returnable")
    statement = (await desk.get(f"/v1/members/{member}/entries")).json["data"]
    assert statement[0]["words"] == "1,000 points spent: a reward"
    decision = (await desk.get(f"/v1/decisions/{taken.json['decision_id']}")).json
    assert decision["detail"]["redemption"]["parts"]
    assert decision["activity_id"] == taken.json["id"]


async def test_a_reward_is_set_aside_shown_as_such_and_redeemed_out_of_its_hold(
    world: World, shop: Shop
) -> None:
    till, desk, member = world.client("pos", shop), world.client("manager", shop), await rich(world, shop)
    await post(desk, "/v1/rewards/mug/stock", {"set": 2, "reason": "delivery"})
    wish = {"member": {"id": member}, "reward": "mug", "location": "store-12"}
    held = await post(till, "/v1/holds", wish | {"channel": "app", "minutes": 30, "reference": "R-1"}, "one")
    assert (held.status, held.json["reward"], held.json["quantity"], held.json["held"]) == (
        201,
        "mug",
        1,
        500,
    )
    assert (
        await post(till, "/v1/holds", wish | {"channel": "app", "minutes": 30, "reference": "R-1"}, "one")
    ).replayed
    path = f"/v1/holds/{held.json['id']}"
    read = (await till.get(path)).json
    assert [read[name] for name in ("state", "reward", "quantity", "points", "location")] == [
        "open", "mug", 1, 500, "store-12",
    ]  # fmt: skip
    assert [one["reward"] for one in (await till.get(f"/v1/members/{member}/holds")).json["data"]] == ["mug"]
    shown = (await till.get(f"/v1/rewards/mug?member={await rich(world, shop)}")).json
    assert (shown["stock"], shown["reserved"], shown["available"]) == (2, 1, True)
    own = (await till.get(f"/v1/rewards/mug?member={member}")).json
    assert own["reasons"] == [], "a second one"
    captured = await post(till, f"{path}/capture", {})
    assert (captured.status, captured.json["code"], captured.json["reward"]) == (
        409,
        "hold_for_reward",
        "mug",
    )
    taken = await post(till, "/v1/redemptions", wish | {"hold": held.json["id"], "till": "7"})
    assert (taken.status, taken.json["points"], taken.json["money_minor"]) == (201, 500, 250), taken.body
    assert taken.json["captured"]["hold_id"] == held.json["id"]
    statement = (await desk.get(f"/v1/members/{member}/entries")).json["data"]
    assert statement[0]["words"] == "500 points spent of those set aside: a reward"
    assert (await till.get(path)).json["state"] == "captured"
    path = f"/v1/redemptions/{taken.json['id']}"
    assert (await till.get(path)).json["quantity"] == 1
    back = await post(till, f"{path}/cancel", {"reason": "changed_mind"})
    assert (back.status, back.json["balances"][0]["available"]) == (200, 1000)
    counted = await post(desk, "/v1/rewards/mug/stock", {"add": 0, "reason": "count"})
    assert (counted.json["stock"], counted.json["reserved"]) == (2, 0)


async def test_a_sale_is_paid_out_of_a_hold(world: World, shop: Shop) -> None:
    till, member = world.client("pos", shop), await rich(world, shop)
    points = {"member": {"id": member}, "points_currency": "points"}
    held = (await post(till, "/v1/holds", points | {"points": 500})).json["id"]
    paid = await post(till, "/v1/redemptions", points | {"points": 300, "hold": held})
    assert (paid.status, paid.json["money_minor"], paid.json["captured"]["released"]) == (201, 300, 200)
    again = await post(till, "/v1/redemptions", points | {"points": 200, "hold": held})
    assert (again.status, again.json["code"]) == (409, "hold_captured")
    other = await post(till, "/v1/redemptions", points | {"points": 200, "hold": str(uuid4())})
    assert (other.status, other.json["code"]) == (404, "hold_not_found")


async def test_what_is_cancelled_comes_back_and_twice_is_once(world: World, shop: Shop) -> None:
    till, member = world.client("pos", shop), await rich(world, shop)
    wish = {"member": {"id": member}, "reward": "tea", "location": "store-12"}
    taken = (await post(till, "/v1/redemptions", wish)).json
    path = f"/v1/redemptions/{taken['id']}"
    await post(till, f"{path}/fulfil", {})
    back = await post(till, f"{path}/cancel", {"reason": "changed_mind"})
    assert (back.status, back.json["points"], back.json["balances"][0]["available"]) == (200, 100, 1000)
    again = await post(till, f"{path}/cancel", {"reason": "something_else"})
    assert (again.status, again.body, again.replayed) == (200, back.body, True)
    late = await post(till, f"{path}/fulfil", {})
    assert (late.status, late.json["code"]) == (409, "redemption_cancelled")
    assert (await till.get(path)).json["status"] == "cancelled"


async def test_a_members_redemptions_are_listed_newest_first(world: World, shop: Shop) -> None:
    desk, member = world.client("support", shop), await rich(world, shop)
    made = []
    for location in ("store-12", "store-13", None):
        body = {"member": {"id": member}, "points_currency": "points", "points": 200}
        made.append(
            (await post(desk, "/v1/redemptions", body | ({"location": location} if location else {}))).json[
                "id"
            ]
        )
    page = (await desk.get(f"/v1/members/{member}/redemptions?limit=2")).json
    assert [one["id"] for one in page["data"]] == [made[2], made[1]]
    rest = (await desk.get(f"/v1/members/{member}/redemptions?limit=2&cursor={page['next_cursor']}")).json
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == ([made[0]], None)
    # A till sees what was redeemed at its own place, or nowhere in particular.
    till = world.client("till", shop)
    own = (await till.get(f"/v1/members/{member}/redemptions")).json["data"]
    assert [one["id"] for one in own] == [made[2], made[0]]
    for path in (f"/v1/redemptions/{made[1]}", f"/v1/redemptions/{uuid4()}", "/v1/redemptions/x"):
        assert (await till.get(path)).status == 404
    there = await post(till, f"/v1/redemptions/{made[1]}/cancel", {"reason": "changed_mind"})
    assert (there.status, there.json["code"]) == (404, "redemption_not_found")


async def test_a_till_redeems_at_its_own_place(world: World, shop: Shop) -> None:
    till, member = world.client("till", shop), await rich(world, shop)
    for location, status in (("store-13", 403), (None, 403), ("store-12", 201)):
        wish = {"member": {"id": member}, "reward": "tea"} | ({"location": location} if location else {})
        assert (await post(till, "/v1/redemptions", wish)).status == status


REFUSED: list[tuple[JSON, int, str, JSON]] = [
    ({"reward": "mug"}, 409, "reward_unavailable", {"reward": "mug"}),
    ({"reward": "cup"}, 404, "reward_not_found", {}),
    ({"reward": "tea", "quantity": 11}, 422, "quantity_too_large", {"quantity": 11, "quantity_max": 10}),
    ({"reward": "secret", "quantity": 10}, 409, "insufficient_points", {"wanted": 1000, "available": 600}),
    ({"points_currency": "stars", "points": 5}, 422, "points_currency_unknown", {}),
    ({"points_currency": "points", "points": 150}, 422, "points_below_minimum", {"points_min": 200}),
    ({"points_currency": "points", "points": 220}, 422, "points_not_in_step", {"step": 50, "lower": 200}),
    ({"points_currency": "points", "points": 950}, 422, "points_above_maximum", {"points_max": 900}),
    ({"points_currency": "points", "points": 650}, 409, "insufficient_points", {"wanted": 650}),
]


async def test_what_cannot_be_redeemed_is_refused_with_its_figures(world: World, shop: Shop) -> None:
    till, member = world.client("pos", shop), await rich(world, shop, 600)
    for wish, status, code, figures in REFUSED:
        reply = await post(till, "/v1/redemptions", {"member": {"id": member}} | wish)
        assert (reply.status, reply.json["code"]) == (status, code), reply.body
        assert {name: reply.json[name] for name in figures} == figures
    balances = (await till.get(f"/v1/members/{member}/balances")).json["balances"]
    assert balances[0]["available"] == 600


MISFORMED: list[tuple[str, JSON, str, str]] = [
    ("/v1/redemptions", {}, "", "choose_one"),
    ("/v1/redemptions", {"reward": "mug", "points": 5}, "", "choose_one"),
    ("/v1/redemptions", {"points": 5}, "", "choose_one"),
    ("/v1/redemptions", {"points_currency": "points", "points": 5, "quantity": 1}, "/quantity", "choose_one"),
    ("/v1/redemptions", {"reward": "mug", "quantity": 0}, "/quantity", "out_of_range"),
    ("/v1/redemptions", {"reward": "Mug"}, "/reward", "invalid_format"),
    ("/v1/redemptions", {"reward": "mug", "hold": "x"}, "/hold", "invalid_id"),
    ("/v1/holds", {}, "", "choose_one"),
    ("/v1/holds", {"reward": "mug", "points": 5}, "", "choose_one"),
    ("/v1/holds", {"points_currency": "points", "points": 5, "quantity": 1}, "/quantity", "choose_one"),
    ("/v1/holds", {"points_currency": "points", "points": 5, "channel": "app"}, "/channel", "choose_one"),
    ("/v1/holds", {"reward": "mug", "quantity": 1001}, "/quantity", "out_of_range"),
    ("/v1/redemptions", {"reward": "mug", "reference": " x"}, "/reference", "invalid_characters"),
    ("/v1/redemptions", {"points_currency": "points", "points": 2**53}, "/points", "out_of_range"),
    ("/v1/rewards/mug/stock", {"reason": "x"}, "", "choose_one"),
    ("/v1/rewards/mug/stock", {"reason": "x", "set": 1, "add": 1}, "", "choose_one"),
    ("/v1/rewards/mug/stock", {"reason": "x", "set": -1}, "/set", "out_of_range"),
    ("/v1/rewards/mug/stock", {"reason": "A sentence.", "set": 1}, "/reason", "invalid_format"),
]


@pytest.mark.parametrize(("path", "wish", "pointer", "code"), MISFORMED)
async def test_a_misformed_wish_is_told_where(
    world: World, path: str, wish: JSON, pointer: str, code: str
) -> None:
    named = {} if path.endswith("stock") else {"member": {"id": str(uuid4())}}
    reply = await post(world.client("admin"), path, named | wish)
    assert reply.status == 422, reply.body
    assert (pointer, code) in [(fault["pointer"], fault["code"]) for fault in reply.json["errors"]]


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("pos", {"list", "redeem"}),
        ("support", {"list", "redeem"}),
        ("manager", {"list", "redeem", "stock"}),
        ("analyst", {"list"}),
        ("auditor", {"list"}),
        ("member", set()),
    ],
)
async def test_who_spends_and_who_counts(world: World, shop: Shop, who: str, allowed: set[str]) -> None:
    client, member = world.client(who, shop), await rich(world, shop)
    body: dict[str, Any] = {"member": {"id": member}, "reward": "secret"}
    answers = {
        "list": await client.get("/v1/rewards"),
        "redeem": await post(client, "/v1/redemptions", body),
        "stock": await post(client, "/v1/rewards/mug/stock", {"add": 1, "reason": "delivery"}),
    }
    assert {name for name, reply in answers.items() if reply.status != 403} == allowed


async def test_a_catalogue_that_contradicts_itself_is_not_published(world: World, shop: Shop) -> None:
    desk = world.client("admin", shop)
    basket = {"kind": "all", "of": [{"kind": "minimum_spend", "amount_minor": 5}]}
    tenure = {"kind": "tenure", "days": 3}
    rewards = [MUG, MUG | {"points_currency": "stars"}, TEA | {"when": basket, "to_on": "2026-01-01"}]
    rewards[2]["from_on"] = "2026-01-02"
    body = shop_of(*rewards)
    rule = body["ruleset"]["rules"][0] | {"when": tenure}
    body["ruleset"] = body["ruleset"] | {"rules": [rule]}
    reply = await post(desk, "/v1/program/configurations", body)
    assert (reply.status, reply.json["code"]) == (422, "configuration_invalid")
    assert [(fault["pointer"], fault["code"]) for fault in reply.json["errors"]] == [
        ("/ruleset/rules/0/when", "misplaced_condition"),
        ("/rewards/1/id", "duplicate_reward_id"),
        ("/rewards/1/points_currency", "unknown_points_currency"),
        ("/rewards/2/to_on", "contradictory_range"),
        ("/rewards/2/when/of/0", "misplaced_condition"),
    ]
    judged = await desk.post("/v1/program/configurations/validate", body)
    assert (judged.json["valid"], len(judged.json["faults"])) == (False, 5)
    read = (await desk.get("/v1/program/configurations/1")).json
    assert [reward["id"] for reward in read["rewards"]] == ["mug", "tea", "secret"]
    listed = (await desk.get("/v1/program/configurations")).json["data"]
    assert [one["rewards"] for one in listed] == [3]
