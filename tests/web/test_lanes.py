"""With several lanes the same calls give the same answers; the feed keeps its order in each."""

from collections import defaultdict
from uuid import uuid4

from tests.conftest import Database
from tests.web.world import CONFIGURATION, enrol, new_shop, opened, receipt


async def test_a_shop_of_eight_lanes_is_served_like_one_of_one(database: Database) -> None:
    async with opened(database, cells=8) as world:
        till, desk = world.client("pos"), world.client("admin")
        members = [await enrol(till) for _ in range(12)]
        sales = [
            await till.post("/v1/purchases", receipt(member={"id": member}), idempotency_key=uuid4().hex)
            for member in members
        ]
        assert {sale.status for sale in sales} == {201}
        lanes: set[int] = set()
        for member, sale in zip(members, sales, strict=True):
            balances = await till.get(f"/v1/members/{member}/balances")
            assert balances.json["balances"][0]["available"] == 14
            lots = await till.get(f"/v1/members/{member}/lots")
            assert [lot["available"] for lot in lots.json["data"]] == [14]
            statement = await desk.get(f"/v1/members/{member}/entries")
            entry = await desk.get(f"/v1/entries/{statement.json['data'][0]['id']}")
            assert entry.json["owner_id"] == member
            decision = await desk.get(f"/v1/decisions/{sale.json['decision_id']}")
            lanes.add(decision.json["block"]["lane"])
            assert (await till.get(f"/v1/purchases/{sale.json['id']}")).json["first_answer"] == sale.json
        assert len(lanes) > 1
        guest = await till.post("/v1/purchases", receipt(), idempotency_key=uuid4().hex)
        claim = {"member": {"id": members[0]}}
        path = f"/v1/purchases/{guest.json['id']}"
        claimed = await till.post(f"{path}/claim", claim, idempotency_key=uuid4().hex)
        assert (claimed.status, claimed.json["balances"][0]["available"]) == (201, 28)
        why = await desk.get(f"{path}/explanation")
        assert why.json["explanation"]["rules"][0]["points"] == 14

        positions: dict[int, list[int]] = defaultdict(list)
        seen: set[str] = set()
        after = ""
        for _ in range(40):
            page = await desk.get(f"/v1/engagement-events?limit=5{after}")
            if not page.json["data"]:
                break
            for event in page.json["data"]:
                positions[event["lane"]].append(event["position"])
                seen.add(event["id"])
            after = f"&after={page.json['next_cursor']}"
        assert len(seen) == sum(map(len, positions.values())) == 1 + 12 + 12 + 2
        for found in positions.values():
            assert found == list(range(1, len(found) + 1))
        await world.hang_up()


async def test_rewards_of_eight_lanes_come_from_one_stock(database: Database) -> None:
    async with opened(database, cells=8) as world:
        mug = {
            "id": "mug",
            "name": "Mug",
            "kind": "product",
            "points_currency": "points",
            "points": 5,
            "stocked": True,
        }
        shop = await new_shop(world.runtime, CONFIGURATION | {"rewards": [mug]})
        desk = world.client("admin", shop)
        key = {"idempotency_key": "delivery"}
        await desk.post("/v1/rewards/mug/stock", {"set": 4, "reason": "delivery"}, **key)
        member = ""
        for n in range(6):
            member = await enrol(desk)
            sale = receipt(member={"id": member})
            assert (await desk.post("/v1/purchases", sale, idempotency_key=uuid4().hex)).status == 201
            wish = {"member": {"id": member}, "reward": "mug"}
            taken = await desk.post("/v1/redemptions", wish, idempotency_key=uuid4().hex)
            assert taken.status == (201 if n < 4 else 409)
            if n < 4:
                assert (await desk.get(f"/v1/redemptions/{taken.json['id']}")).json["member_id"] == member
                listed = (await desk.get(f"/v1/members/{member}/redemptions")).json["data"]
                assert [one["id"] for one in listed] == [taken.json["id"]]
        shown = (await desk.get(f"/v1/rewards/mug?member={member}")).json
        assert (shown["stock"], [one["reason"] for one in shown["reasons"]]) == (0, ["sold_out"])
        await world.hang_up()
