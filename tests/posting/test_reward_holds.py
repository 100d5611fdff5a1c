"""A reward is set aside with its points: promised once, at the price of then, and free again when the hold is over."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from loyalty.base.calendar import CapPeriod
from loyalty.conditions.types import AtLocation
from loyalty.posting.commands import EraseMember, Publish, UseHold
from loyalty.posting.detail import Detail
from loyalty.programs.types import PayPolicy, PointsCurrency, SpendingLimits
from loyalty.rewards.types import MemberLimit, Reward
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    Reply,
    Shop,
    adjust,
    cancel_redemption,
    capture,
    card,
    enrol,
    extend,
    freeze,
    hold,
    hold_reward,
    imported,
    pay,
    program,
    purchase,
    redeem,
    release,
    reward,
    shop,
    stocked,
)

MINUTES_15 = timedelta(minutes=15)


def corner(*rewards: Reward, stock: int | None = None, points: int = 1000, **more: Any) -> Shop:
    """A shop with these rewards, so many of the mug, where Ann and Bob have a thousand points each."""
    made = shop(rewards=rewards or (reward(),), members=(ANN, BOB), **more)
    made.done(adjust(points), adjust(points, BOB))
    if stock is not None:
        made.done(stocked(stock))
    return made


def left(made: Shop, of: str = "mug") -> tuple[int, int]:
    """How many there are, and how many of these are set aside."""
    counted = made.done(stocked(by=0, reward=of))
    return counted["stock"], counted["reserved"]


def reasons(reply: Reply) -> dict[str, Any]:
    assert reply.refused == (409, "reward_unavailable"), reply.raw
    return {reason["reason"]: reason["detail"] for reason in reply["reasons"]}


MUG = reward(200, stocked=True)


def test_a_reward_is_set_aside_with_what_it_costs() -> None:
    made = corner(MUG, stock=5)
    reply = made.send(hold_reward(quantity=2, location="north", till="7", reference="A-1"))
    assert (reply.status, reply["state"], reply["reward"], reply["quantity"]) == (201, "open", "mug", 2)
    assert (reply["points"], reply["held"], reply.balance) == (400, 400, {"available": 600, "held": 400})
    assert left(made) == (5, 2)
    kind, data = made.events[-2]
    assert kind == "loyalty.points.held"
    assert (data["reward"], data["quantity"], data["points"]) == ("mug", 2, 400)


def test_what_is_set_aside_nobody_else_can_have() -> None:
    made = corner(MUG, stock=2)
    made.done(hold_reward(quantity=2))
    sold_out = {"sold_out": {"stock": 2, "reserved": 2, "quantity": 1}}
    assert reasons(made.send(redeem(of=BOB))) == sold_out
    assert reasons(made.send(hold_reward(of=BOB))) == sold_out
    assert reasons(made.send(redeem())) == sold_out, "nor its own member a second time"


def test_it_is_redeemed_out_of_its_hold_once_and_never_paid_twice() -> None:
    made = corner(MUG, stock=2)
    held = made.done(hold_reward(quantity=2))
    taken = made.done(redeem(hold_id=held["id"], location="south", reference="R-9"))
    assert (taken["status"], taken["quantity"], taken["points"]) == ("issued", 2, 400)
    assert taken["captured"] == {
        "hold_id": held["id"],
        "points_currency": "points",
        "points": 400,
        "released": 0,
        "expired": 0,
    }
    assert taken.balance == {"available": 600}
    assert left(made) == (0, 0)
    assert made.entries[-2:] == ["hold", "capture"]
    again = made.send(redeem(hold_id=held["id"]))
    assert again.refused == (409, "hold_captured")
    detail = msgspec.json.decode(made.decisions[-2].detail, type=Detail)
    assert detail.redemption is not None
    assert detail.note == {"hold_id": held["id"]}
    assert detail.stocked == (("mug", -2),)


def test_a_part_of_what_was_set_aside_is_taken_and_the_rest_is_free_again() -> None:
    made = corner(MUG, stock=3)
    held = made.done(hold_reward(quantity=3))
    taken = made.done(redeem(quantity=1, hold_id=held["id"]))
    assert (taken["points"], taken["captured"]["points"], taken["captured"]["released"]) == (200, 200, 400)
    assert left(made) == (2, 0)
    made.done(redeem(quantity=2, of=BOB))


def test_more_than_was_set_aside_does_not_come_out_of_the_hold() -> None:
    made = corner(MUG, stock=5)
    held = made.done(hold_reward(quantity=2))
    reply = made.send(redeem(quantity=3, hold_id=held["id"]))
    assert reply.refused == (409, "insufficient_points")
    assert (reply["wanted"], reply["available"]) == (600, 400)
    assert left(made) == (5, 2)


def test_released_it_is_free_again_at_once() -> None:
    made = corner(MUG, stock=1)
    held = made.done(hold_reward())
    made.done(release(held["id"]))
    assert left(made) == (1, 0)
    made.done(redeem(of=BOB))
    assert made.send(redeem(hold_id=held["id"])).refused == (409, "hold_released")


def test_when_its_time_is_over_it_is_free_though_nobody_wrote_anything() -> None:
    made = corner(MUG, stock=1)
    held = made.done(hold_reward())
    made.now = NOW + MINUTES_15 - timedelta(microseconds=1)
    assert list(reasons(made.send(redeem(of=BOB)))) == ["sold_out"]
    made.now = NOW + MINUTES_15
    made.done(redeem(of=BOB))
    late = made.send(redeem(hold_id=held["id"]))
    assert late.refused == (409, "hold_lapsed")
    assert left(made) == (0, 0)


def test_extended_it_stays_set_aside() -> None:
    made = corner(MUG, stock=1)
    held = made.done(hold_reward())
    made.done(extend(held["id"], 60))
    made.now = NOW + timedelta(minutes=59)
    assert list(reasons(made.send(redeem(of=BOB)))) == ["sold_out"]
    made.done(redeem(hold_id=held["id"]))


def test_a_cancel_puts_back_into_the_stock_what_came_out_of_a_hold() -> None:
    made = corner(MUG, stock=2)
    held = made.done(hold_reward(quantity=2))
    taken = made.done(redeem(hold_id=held["id"]))
    back = made.done(cancel_redemption(taken))
    assert (back["points"], back.balance) == (400, {"available": 1000})
    assert left(made) == (2, 0)
    assert made.entries[-1] == "restore"


def test_the_members_limit_counts_what_is_set_aside_until_it_is_over() -> None:
    made = corner(reward(100, member_limit=MemberLimit(2, CapPeriod.DAY)))
    held = made.done(hold_reward())
    refused = made.send(redeem(quantity=2))
    assert reasons(refused)["limit_reached"]["used"] == 1
    made.done(redeem())
    assert reasons(made.send(hold_reward()))["limit_reached"]["used"] == 2
    made.done(redeem(hold_id=held["id"]))
    assert reasons(made.send(redeem()))["limit_reached"]["used"] == 2
    made.done(hold_reward(of=BOB, quantity=2))


@pytest.mark.parametrize("end", ["release", "lapse", "cancel"])
def test_a_limit_is_given_back_with_what_was_set_aside(end: str) -> None:
    made = corner(reward(100, member_limit=MemberLimit(1, CapPeriod.EVER)))
    held = made.done(hold_reward())
    match end:
        case "release":
            made.done(release(held["id"]))
        case "lapse":
            made.now = NOW + MINUTES_15
        case _:
            made.done(cancel_redemption(made.done(redeem(hold_id=held["id"]))))
    made.done(redeem())
    assert list(reasons(made.send(redeem()))) == ["limit_reached"]


def test_it_counts_in_the_period_in_which_it_is_redeemed() -> None:
    """Set aside on a Friday and taken on the Saturday, it is one of Saturday's."""
    made = corner(reward(10, member_limit=MemberLimit(1, CapPeriod.DAY)), policies={"hold_minutes": 1_440})
    held = made.done(hold_reward())
    made.now = NOW + timedelta(hours=20)
    assert list(reasons(made.send(redeem()))) == ["limit_reached"]
    taken = made.done(redeem(hold_id=held["id"]))
    assert list(reasons(made.send(redeem()))) == ["limit_reached"]
    made.done(cancel_redemption(taken), redeem())


def test_a_promise_is_kept_at_the_price_of_then_though_the_reward_is_dearer_elsewhere_or_gone() -> None:
    made = corner(reward(200, money_minor=150, stocked=True, when=AtLocation(("north",))), stock=1)
    held = made.done(hold_reward(location="north"))
    made.done(Publish(program(rewards=(reward(1, "tea"),))))
    assert made.send(redeem()).refused == (404, "reward_not_found")
    taken = made.done(redeem(hold_id=held["id"], location="south"))
    assert (taken["points"], taken["money_minor"], taken["configuration"]) == (200, 150, 1)
    made.done(cancel_redemption(taken))
    made.done(Publish(program(rewards=(MUG,))))
    assert left(made) == (1, 0)


def test_what_stands_against_a_reward_stands_against_setting_it_aside() -> None:
    tea = reward(
        from_on=date(2026, 12, 1),
        stocked=True,
        member_limit=MemberLimit(1, CapPeriod.MONTH),
        when=AtLocation(("south",)),
    )
    made = corner(tea, points=120)
    refused = reasons(made.send(hold_reward(quantity=2, location="north")))
    assert list(refused) == ["not_before", "sold_out", "limit_reached", "location", "insufficient_points"]
    assert made.send(hold_reward("cup")).refused == (404, "reward_not_found")
    assert made.send(hold_reward(quantity=11)).refused == (422, "quantity_too_large")
    assert made.send(hold_reward(minutes=43_201)).refused == (422, "hold_too_long")
    plain = corner(reward(), points=120)
    assert plain.send(hold_reward()).refused == (409, "insufficient_points")
    plain.done(adjust(1000), freeze())
    assert plain.send(hold_reward()).refused == (409, "account_frozen")
    limited = corner(policies={"spending_limits": SpendingLimits(member_day_max=400)})
    assert limited.send(hold_reward()).refused == (409, "spending_limit")


def test_points_of_a_plain_hold_take_a_reward_and_the_rest_comes_back() -> None:
    made = corner(MUG, stock=1)
    held = made.done(hold(700))
    taken = made.done(redeem(hold_id=held["id"]))
    assert taken["captured"]["released"] == 500
    assert taken.balance == {"available": 800}
    assert left(made) == (0, 0)
    small = made.done(hold(100))
    assert list(reasons(made.send(redeem(hold_id=small["id"])))) == ["sold_out"]
    made.done(stocked(1))
    refused = made.send(redeem(hold_id=small["id"]))
    assert refused.refused == (409, "insufficient_points")
    assert (refused["wanted"], refused["available"]) == (200, 100)


def test_a_sale_is_paid_out_of_a_hold() -> None:
    made = corner(pay=PayPolicy(points=100, each_minor=100, day_max=500))
    held = made.done(hold(400))
    paid = made.done(pay(300, hold_id=held["id"]))
    assert (paid["points"], paid["money_minor"], paid["captured"]["released"]) == (300, 300, 100)
    assert paid.balance == {"available": 700}
    assert made.entries[-2:] == ["capture", "release"]
    more = made.done(hold(300))
    assert made.send(pay(300, hold_id=more["id"])).refused == (409, "day_limit_reached")
    made.done(cancel_redemption(paid), pay(300, hold_id=more["id"]))


def test_points_of_another_points_currency_are_not_in_the_hold() -> None:
    made = corner(pay=PayPolicy(points=1, each_minor=1), currencies=(PointsCurrency("miles", "miles"),))
    made.done(imported(50))
    held = made.done(hold(100))
    tea = reward(5, "tea", points_currency="miles")
    made.done(Publish(program(rewards=(tea,), currencies=(PointsCurrency("miles", "miles"),))))
    refused = made.send(redeem("tea", hold_id=held["id"]))
    assert refused.refused == (409, "insufficient_points")
    assert (refused["wanted"], refused["available"]) == (5, 0)


def test_what_was_set_aside_is_not_stopped_by_a_freeze_nor_counted_twice() -> None:
    made = corner(MUG, stock=1, policies={"spending_limits": SpendingLimits(member_day_max=200)})
    held = made.done(hold_reward())
    assert made.send(hold(1)).refused == (409, "spending_limit")
    made.done(freeze(), redeem(hold_id=held["id"]))


def test_a_hold_for_a_reward_pays_for_nothing_else() -> None:
    made = corner(MUG, reward(1, "tea"), stock=1, pay=PayPolicy(points=1, each_minor=1))
    id = made.done(hold_reward())["id"]
    used = purchase(holds=(UseHold(UUID(id)),))
    for command in (capture(id), pay(200, hold_id=id), redeem("tea", hold_id=id), used):
        refused = made.send(command)
        assert refused.refused == (409, "hold_for_reward")
        assert (refused["hold_id"], refused["reward"]) == (id, "mug")
    assert left(made) == (1, 1)


def test_a_hold_is_its_own_members_and_within_the_tills_reach() -> None:
    made = corner(MUG, stock=2)
    id = made.done(hold_reward(location="north"))["id"]
    assert made.send(redeem(of=BOB, hold_id=id)).refused == (409, "hold_of_another_member")
    assert made.send(redeem(hold_id=id), bound_to=("south",)).refused == (404, "hold_not_found")
    unknown = "01900000-0000-7000-8000-000000000000"
    assert made.send(redeem(hold_id=unknown)).refused == (404, "hold_not_found")
    assert made.send(redeem(hold_id=id), bound_to=("north",)).status == 201


def test_a_stock_never_falls_below_what_is_promised_of_it() -> None:
    made = corner(MUG, stock=5)
    held = made.done(hold_reward(quantity=3))
    refused = made.send(stocked(2))
    assert refused.refused == (409, "stock_out_of_range")
    assert (refused["stock"], refused["reserved"]) == (5, 3)
    assert made.send(stocked(by=-3)).refused == (409, "stock_out_of_range")
    made.done(stocked(3), release(held["id"]), stocked(0))


def test_erasing_a_member_frees_what_was_promised_to_it() -> None:
    made = corner(MUG, stock=1)
    made.done(hold_reward(), EraseMember(card(ANN)))
    assert left(made) == (1, 0)
    made.done(redeem(of=BOB))


def test_points_whose_end_comes_while_they_are_held_still_take_the_reward() -> None:
    made = shop(rewards=(MUG,), policies={"hold_minutes": 1_440})
    made.done(imported(200, expires_at=NOW + timedelta(hours=1)), stocked(1))
    held = made.done(hold_reward())
    made.now = NOW + timedelta(hours=2)
    taken = made.done(redeem(hold_id=held["id"]))
    assert taken["points"] == 200
    back = made.done(cancel_redemption(taken))
    assert (back["expired"], left(made)) == (200, (1, 0))


def test_a_member_who_is_not_enrolled_yet_is_not_promised_anything() -> None:
    made = corner(MUG, stock=1)
    assert made.send(hold_reward(of="6035550009")).refused == (404, "member_not_found")
    made.done(enrol("6035550009"))
    assert made.send(hold_reward(of="6035550009")).refused == (409, "insufficient_points")
