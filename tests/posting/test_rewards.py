"""Points become something: rewards, payments, what keeps a member from them, and the way back."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from loyalty.base.calendar import CapPeriod
from loyalty.conditions.types import AnyOf, AtLocation, HasIdentifier, InChannel, Not, Tenure, Window
from loyalty.members.types import Identifier, IdentifierKind, MemberStatus
from loyalty.posting.commands import AddIdentifier, Adjust, ChangeMember, Command, EraseMember, Publish
from loyalty.posting.detail import Detail
from loyalty.programs.types import PayPolicy, PointsCurrency
from loyalty.rewards.types import MemberLimit, Reward
from tests.posting.shop import (
    ANN,
    BOB,
    NOW,
    Reply,
    Shop,
    adjust,
    cancel,
    cancel_redemption,
    card,
    enrol,
    fulfil,
    imported,
    pay,
    program,
    purchase,
    redeem,
    reward,
    shop,
    stocked,
)

NOBODYS = UUID("01900000-0000-7000-8000-000000000000")


def corner(*rewards: Reward, points: int = 1000, **more: Any) -> Shop:
    """A shop with these rewards, where Ann has a thousand points."""
    made = shop(rewards=rewards or (reward(),), **more)
    if points:
        made.done(adjust(points))
    return made


def why_not(reply: Reply) -> dict[str, Any]:
    """The reasons of a refusal with their figures."""
    assert reply.refused == (409, "reward_unavailable"), reply.raw
    return {reason["reason"]: reason["detail"] for reason in reply["reasons"]}


# --- taking a reward ------------------------------------------------------------------------------------------


def test_a_reward_takes_its_points_at_once() -> None:
    reply = corner(reward(money_minor=250)).send(redeem(quantity=2, location="north", reference="A-7"))
    assert (reply.status, reply["status"]) == (201, "issued")
    assert reply.balance == {}
    told = ("reward", "quantity", "points_currency", "points", "money_minor", "money", "configuration")
    assert [reply[name] for name in told] == ["mug", 2, "points", 1000, 500, "EUR", 1]
    assert reply["receipt"]["lines"] == ["2 x Coffee mug: 1,000 points and 5.00 EUR", "Balance 0"]


def test_points_that_expire_first_are_spent_first_and_the_decision_keeps_what_each_lot_gave() -> None:
    made = corner(points=0)
    made.done(imported(400, "late", expires_at=NOW + timedelta(days=90)))
    made.done(imported(300, "soon", expires_at=NOW + timedelta(days=9)))
    late, soon = (lot for lots in made.book.lots.values() for lot in lots)
    reply = made.done(redeem())
    decision = made.decisions[-1]
    redeemed = msgspec.json.decode(decision.detail, type=Detail).redemption
    assert redeemed is not None
    assert redeemed.parts == ((soon, 300), (late, 200))
    assert (str(redeemed.id), redeemed.priced_by) == (reply["id"], 1)
    (entry,) = decision.entries
    assert (entry.kind, entry.cause, entry.id) == ("redeem", "reward", redeemed.entry_id)
    assert decision.activity_id == redeemed.id


def test_what_is_told_of_a_redemption_names_no_person() -> None:
    made = corner()
    reply = made.done(redeem())
    kind, data = made.events[-1]
    assert kind == "loyalty.redemption.issued"
    assert (data["redemption_id"], data["points"], data["reward"]) == (reply["id"], 500, "mug")
    assert [entry["available"] for entry in data["entries"]] == [-500]
    assert ANN not in str(data)


def test_only_missing_points_are_told_as_missing_points() -> None:
    reply = corner(points=380).send(redeem())
    assert reply.refused == (409, "insufficient_points")
    assert (reply["wanted"], reply["available"]) == (500, 380)


def test_every_reason_against_a_reward_is_told_at_once() -> None:
    tea = reward(
        from_on=date(2026, 12, 1),
        to_on=date(2026, 12, 24),
        stocked=True,
        member_limit=MemberLimit(1, CapPeriod.MONTH),
        when=AtLocation(("south",)),
    )
    made = corner(tea, points=120)
    reply = made.send(redeem(quantity=2, location="north"))
    assert why_not(reply) == {
        "not_before": {"from_on": "2026-12-01", "from_at": "2026-11-30T23:00:00Z"},
        "sold_out": {"stock": 0, "reserved": 0, "quantity": 2},
        "limit_reached": {"limit": 1, "used": 0, "period": "month", "until": "2026-11-30T23:00:00Z"},
        "location": {"location": "north"},
        "insufficient_points": {"wanted": 1000, "available": 120, "missing": 880},
    }
    assert made.entries == ["adjust_credit"]


def test_a_reward_can_be_had_from_the_first_moment_of_its_first_day_to_the_last_of_its_last() -> None:
    made = corner(reward(1, from_on=date(2026, 12, 1), to_on=date(2026, 12, 2)))
    begins = NOW.replace(day=30, hour=23, minute=0)  # midnight in Berlin
    for at, reason in [
        (begins - timedelta(microseconds=1), "not_before"),
        (begins, None),
        (begins + timedelta(days=2, microseconds=-1), None),
        (begins + timedelta(days=2), "over"),
    ]:
        made.now = at
        reply = made.send(redeem())
        assert reply.status == 201 if reason is None else list(why_not(reply)) == [reason]


def test_a_limit_counts_per_member_and_period() -> None:
    made = corner(reward(1, member_limit=MemberLimit(3, CapPeriod.WEEK)))  # NOW is a Friday
    made.done(enrol(BOB), adjust(10, BOB), redeem(quantity=2))
    reply = made.send(redeem(quantity=2))
    assert why_not(reply)["limit_reached"]["until"] == "2026-11-22T23:00:00Z"
    made.done(redeem(), redeem(quantity=3, of=BOB))
    assert list(why_not(made.send(redeem()))) == ["limit_reached"]
    made.now = NOW + timedelta(days=3)
    made.done(redeem(quantity=3))


def test_a_limit_for_ever_has_no_end() -> None:
    made = corner(reward(1, member_limit=MemberLimit(1, CapPeriod.EVER)))
    made.done(redeem())
    assert why_not(made.send(redeem()))["limit_reached"]["until"] is None


@pytest.mark.parametrize(
    ("when", "place", "reason"),
    [
        (InChannel(("app",)), {"channel": "pos"}, "channel"),
        (InChannel(("app",)), {}, "channel"),
        (AtLocation(("north",)), {"location": "south"}, "location"),
        (Window(weekdays=(6, 7)), {}, "window"),
        (Tenure(30), {}, "tenure"),
        (HasIdentifier(("email",)), {}, "identifier"),
        (Not(HasIdentifier(("card",))), {}, "not"),
        (AnyOf((Tenure(30), InChannel(("app",)))), {}, "any"),
    ],
)
def test_a_condition_that_does_not_hold_is_the_reason(when: Any, place: dict[str, Any], reason: str) -> None:
    assert list(why_not(corner(reward(when=when)).send(redeem(**place)))) == [reason]


def test_membership_is_counted_in_local_days() -> None:
    made = corner(reward(1, when=Tenure(2)))
    made.now = NOW + timedelta(days=1, hours=6)  # half past ten at night
    assert why_not(made.send(redeem())) == {"tenure": {"days": 2, "member_days": 1}}
    made.now = NOW + timedelta(days=1, hours=8)
    made.done(redeem())


def test_an_identifier_that_came_just_now_counts() -> None:
    made = corner(reward(1, when=HasIdentifier(("email", "phone"))))
    assert why_not(made.send(redeem())) == {"identifier": {"any_of": ["email", "phone"]}}
    made.done(AddIdentifier(card(ANN), Identifier(IdentifierKind.EMAIL, "ann@example.org")), redeem())


def test_a_reward_that_is_not_shown_can_be_had_by_whoever_knows_it() -> None:
    assert corner(reward(visible=False)).send(redeem()).status == 201


def test_more_than_one_redemption_may_take_is_refused_before_anything_is_looked_at() -> None:
    reply = corner(reward(quantity_max=2), points=0).send(redeem(quantity=3))
    assert reply.refused == (422, "quantity_too_large")
    assert (reply["quantity"], reply["quantity_max"]) == (3, 2)


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        (redeem("cup"), (404, "reward_not_found")),
        (redeem(of=BOB), (404, "member_not_found")),
        (pay(100, code="stars"), (422, "points_currency_unknown")),
        (pay(100), (422, "payment_not_offered")),
    ],
)
def test_what_is_not_there_cannot_be_redeemed(command: Command, refused: tuple[int, str]) -> None:
    assert corner().send(command).refused == refused


def test_the_blocked_and_the_erased_redeem_nothing() -> None:
    made = corner()
    made.done(ChangeMember(card(ANN), MemberStatus.BLOCKED))
    assert made.send(redeem()).refused == (409, "member_blocked")
    id = made.book.identifiers[card(ANN).identifier]  # type: ignore[index]
    made.done(EraseMember(card(ANN)))
    gone = msgspec.structs.replace(
        redeem(), member=msgspec.structs.replace(card(ANN), id=id, identifier=None)
    )
    assert made.send(gone).refused == (409, "member_erased")


def test_a_redemption_keeps_the_price_at_which_it_was_made() -> None:
    made = corner()
    first = made.done(redeem())
    made.done(Publish(program(rewards=(reward(700),))))
    second = made.send(redeem())
    assert second.refused == (409, "insufficient_points")
    assert (first["points"], first["configuration"]) == (500, 1)
    made.done(adjust(200))
    assert made.done(redeem())["configuration"] == 2


def test_the_same_key_takes_the_reward_once() -> None:
    made = corner()
    first, again = made.send(redeem(), "k"), made.send(redeem(), "k")
    assert (again.status, again.raw, again.replayed) == (201, first.raw, True)
    assert made.balance() == {"available": 500}


# --- stock ----------------------------------------------------------------------------------------------------


def test_a_stock_is_set_and_changed_for_a_reason_and_never_falls_below_zero() -> None:
    made = corner(reward(1, stocked=True))
    reply = made.done(stocked(5))
    assert (reply["stock"], reply["change"], reply["reason"]) == (5, 5, "delivery")
    assert made.done(stocked(by=-2))["stock"] == 3
    assert made.send(stocked(by=-4)).refused == (409, "stock_out_of_range")
    assert made.send(stocked(by=10**9)).refused == (409, "stock_out_of_range")
    assert made.done(stocked(3))["change"] == 0
    assert [kind for kind, _ in made.events[-3:]] == ["loyalty.stock.changed"] * 3


def test_a_stock_that_a_cancel_brought_above_the_maximum_may_come_down() -> None:
    made = corner(reward(1, stocked=True))
    made.done(stocked(2))
    taken = made.done(redeem())
    made.done(stocked(10**9))
    made.done(cancel_redemption(taken))
    assert made.send(stocked(by=1)).refused == (409, "stock_out_of_range")
    assert made.done(stocked(by=-1))["stock"] == 10**9


def test_what_is_redeemed_leaves_the_stock_until_nothing_is_left() -> None:
    made = corner(reward(1, stocked=True))
    made.done(stocked(3), redeem(quantity=2))
    assert why_not(made.send(redeem(quantity=2))) == {"sold_out": {"stock": 1, "reserved": 0, "quantity": 2}}
    made.done(redeem())
    assert made.book.stocks == {"mug": 0}
    noted = [msgspec.json.decode(one.detail, type=Detail).stocked for one in made.decisions[-3:]]
    assert noted == [(("mug", 3),), (("mug", -2),), (("mug", -1),)]


def test_no_stock_is_kept_of_what_there_is_always() -> None:
    made = corner()
    assert made.send(stocked(5)).refused == (409, "stock_not_kept")
    assert made.send(stocked(5, reward="cup")).refused == (404, "reward_not_found")


# --- paying with points ---------------------------------------------------------------------------------------

CENT = PayPolicy(points=10, each_minor=7, points_min=200, step=50, points_max=5_000, day_max=600)


def test_points_pay_what_the_program_says_they_are_worth_rounded_down_once() -> None:
    reply = corner(pay=CENT).send(pay(250, reference="R-9"))
    assert (reply.status, reply["reward"], reply["points"], reply["money_minor"]) == (201, None, 250, 175)
    assert reply["receipt"]["lines"] == ["1.75 EUR paid with 250 points", "Balance 750"]
    odd = corner(pay=PayPolicy(points=3, each_minor=2, points_min=2)).send(pay(100))
    assert odd["money_minor"] == 66


@pytest.mark.parametrize(
    ("points", "refused", "figures"),
    [
        (199, (422, "points_below_minimum"), {"points": 199, "points_min": 200}),
        (225, (422, "points_not_in_step"), {"points": 225, "step": 50, "lower": 200}),
        (5_050, (422, "points_above_maximum"), {"points": 5_050, "points_max": 5_000}),
        (650, (409, "day_limit_reached"), {"points": 650, "day_max": 600, "used": 0}),
    ],
)
def test_a_payment_outside_the_programs_bounds_is_refused_with_its_figures(
    points: int, refused: tuple[int, str], figures: dict[str, int]
) -> None:
    reply = corner(pay=CENT).send(pay(points))
    assert reply.refused == refused
    assert {name: reply[name] for name in figures} == figures


def test_a_members_payments_of_a_day_add_up() -> None:
    made = corner(pay=CENT)
    made.done(pay(400))
    reply = made.send(pay(250))
    assert reply.refused == (409, "day_limit_reached")
    assert (reply["used"], reply["until"]) == (400, "2026-11-20T23:00:00Z")
    first = made.done(pay(200))
    assert made.send(cancel_redemption(first)).status == 200
    made.done(pay(200))
    made.now = NOW + timedelta(days=1)
    made.done(pay(250))


def test_only_points_of_that_currency_pay() -> None:
    made = corner(currencies=(PointsCurrency("miles", "miles", pay=PayPolicy(1, 1)),))
    reply = made.send(pay(10, code="miles"))
    assert reply.refused == (409, "insufficient_points")
    assert (reply["wanted"], reply["available"]) == (10, 0)


# --- handing over and cancelling ------------------------------------------------------------------------------


def test_a_redemption_is_handed_over_once() -> None:
    made = corner()
    taken = made.done(redeem())
    first = made.done(fulfil(taken))
    assert (first["status"], first["id"]) == ("fulfilled", taken["id"])
    again = made.send(fulfil(taken))
    assert (again.status, again.raw, again.replayed) == (200, first.raw, True)


def test_a_cancel_gives_points_back_to_their_own_lots_with_their_own_dates() -> None:
    made = corner(points=0)
    ends = NOW + timedelta(days=9), NOW + timedelta(days=90)
    made.done(imported(300, "soon", expires_at=ends[0]), imported(400, "late", expires_at=ends[1]))
    taken = made.done(redeem())
    made.now = NOW + timedelta(days=3)
    reply = made.send(cancel_redemption(taken))
    assert (reply.status, reply["status"], reply["points"]) == (200, "cancelled", 500)
    assert (reply["expired"], reply["reinstated"], reply.balance) == (0, 0, {"available": 700})
    assert reply["receipt"]["lines"] == ["500 points given back", "Balance 700"]
    (lots,) = made.book.lots.values()
    assert sorted((lot.available, lot.expires_at) for lot in lots.values()) == [
        (300, ends[0]),
        (400, ends[1]),
    ]
    decision = made.decisions[-1]
    (entry,) = decision.entries
    undone = made.decisions[-2]
    assert (entry.kind, entry.cause) == ("restore", "redemption_cancelled")
    assert entry.corrects_entry_id == undone.entries[0].id
    assert msgspec.json.decode(decision.detail, type=Detail).undoes == undone.id


def test_cancelled_twice_is_cancelled_once() -> None:
    made = corner(reward(stocked=True, member_limit=MemberLimit(1, CapPeriod.EVER)))
    made.done(stocked(1))
    taken = made.done(redeem())
    first, again = made.send(cancel_redemption(taken)), made.send(cancel_redemption(taken, "again"))
    assert (again.status, again.raw, again.replayed) == (200, first.raw, True)
    assert (made.balance(), made.book.stocks) == ({"available": 1000}, {"mug": 1})
    assert made.send(fulfil(taken)).refused == (409, "redemption_cancelled")
    made.done(redeem())  # stock and limit are free again
    assert list(why_not(made.send(redeem()))) == ["sold_out", "limit_reached"]


def test_a_limit_is_given_back_in_the_period_in_which_it_was_used() -> None:
    made = corner(reward(1, member_limit=MemberLimit(1, CapPeriod.MONTH)))
    taken = made.done(redeem())
    made.now = NOW + timedelta(days=20)
    made.done(redeem(), cancel_redemption(taken))
    assert list(why_not(made.send(redeem()))) == ["limit_reached"]
    counted = {key: points for (_, key), points in made.book.counters.items()}
    assert {(key.rule_id, key.period): points for key, points in counted.items()} == {
        ("reward:mug", "2026-11"): 0,
        ("reward:mug", "2026-12"): 1,
    }


def test_what_was_handed_over_comes_back_only_where_the_reward_says_so() -> None:
    for returnable, outcome in ((False, 409), (True, 200)):
        made = corner(reward(returnable=returnable))
        taken = made.done(redeem())
        made.done(fulfil(taken))
        assert made.send(cancel_redemption(taken)).status == outcome
    made = corner(reward(returnable=True))
    taken = made.done(redeem())
    made.done(fulfil(taken), Publish(program(rewards=())))
    made.done(cancel_redemption(taken))  # as it was when it was taken


def test_a_payment_of_a_sale_that_is_done_stays() -> None:
    made = corner(pay=PayPolicy(1, 1))
    paid = made.done(pay(100))
    made.done(fulfil(paid))
    assert made.send(cancel_redemption(paid)).refused == (409, "not_returnable")
    made = corner(pay=PayPolicy(1, 1, returnable=True))
    paid = made.done(pay(100))
    made.done(fulfil(paid), cancel_redemption(paid))
    assert made.balance() == {"available": 1000}


def test_points_whose_time_is_over_are_lost_when_they_come_back_and_the_answer_says_so() -> None:
    made = corner(points=0)
    made.done(imported(300, "soon", expires_at=NOW + timedelta(days=9)), imported(300, "ever"))
    taken = made.done(redeem())
    made.now = NOW + timedelta(days=10)
    reply = made.send(cancel_redemption(taken))
    assert (reply["points"], reply["expired"], reply["reinstated"]) == (500, 300, 0)
    assert reply.balance == {"available": 300}
    assert reply["receipt"]["lines"] == ["500 points given back", "300 points had expired", "Balance 300"]
    assert [entry.kind for entry in made.decisions[-1].entries] == ["restore", "expire"]


def test_receipts_name_every_balance_where_there_are_several() -> None:
    made = corner(currencies=(PointsCurrency("stars", "stars", "star"),), pay=PayPolicy(1, 1))
    made.done(Adjust(card(ANN), "stars", 1, "goodwill"))
    taken = made.done(redeem())
    assert taken["receipt"]["lines"] == ["Coffee mug: 500 points", "Balance 500 points", "Balance 1 star"]
    back = made.done(cancel_redemption(taken))
    assert back["receipt"]["lines"] == ["500 points given back", "Balance 1,000 points", "Balance 1 star"]
    paid = made.done(pay(1))
    assert paid["receipt"]["lines"] == ["0.01 EUR paid with 1 point", "Balance 999 points", "Balance 1 star"]


def test_a_program_may_let_points_that_come_back_late_be_good_for_some_days() -> None:
    made = corner(points=0, policies={"returned_days": 7})
    made.done(imported(500, "soon", expires_at=NOW + timedelta(days=9)))
    taken = made.done(redeem())
    made.now = NOW + timedelta(days=10)
    reply = made.send(cancel_redemption(taken))
    assert (reply["expired"], reply["reinstated"], reply.balance) == (0, 500, {"available": 500})
    (lot,) = next(iter(made.book.lots.values())).values()
    assert lot.expires_at == NOW.replace(day=6, month=12, hour=23, minute=0)  # 30 November and six days more
    assert lot.expires_at is not None
    made.now = lot.expires_at
    assert made.send(redeem()).refused == (409, "insufficient_points")


def test_points_that_come_back_pay_what_is_owed_first() -> None:
    made = corner(points=0)
    made.done(purchase("R-1", 60_000))
    taken = made.done(redeem())
    assert made.done(cancel("R-1")).balance == {"debt": 500}
    assert made.done(cancel_redemption(taken)).balance == {}
    assert [entry.kind for entry in made.decisions[-1].entries] == ["restore", "repay"]


def test_points_of_the_erased_do_not_come_back() -> None:
    made = corner(reward(stocked=True))
    made.done(stocked(1))
    taken = made.done(redeem())
    made.done(EraseMember(card(ANN)))
    reply = made.send(cancel_redemption(taken))
    assert (reply["expired"], reply.balance, made.book.stocks) == (500, {}, {"mug": 1})
    assert [entry.cause for entry in made.decisions[-1].entries] == ["redemption_cancelled", "member_erased"]


def test_a_blocked_members_redemption_can_be_cancelled() -> None:
    made = corner()
    taken = made.done(redeem())
    made.done(ChangeMember(card(ANN), MemberStatus.BLOCKED), cancel_redemption(taken))
    assert made.balance() == {"available": 1000}


def test_a_till_reaches_the_redemptions_of_its_own_places() -> None:
    made = corner()
    there = made.done(redeem(location="north"))
    for command in (fulfil(there), cancel_redemption(there)):
        assert made.send(command, bound_to=("south",)).refused == (404, "redemption_not_found")
    assert made.send(fulfil(there), bound_to=("north",)).status == 200


def test_a_redemption_that_never_was_is_not_found() -> None:
    made = corner()
    for command in (fulfil, cancel_redemption):
        made_up = Reply(201, b'{"id": "%s"}' % str(NOBODYS).encode(), False, {})
        assert made.send(command(made_up)).refused == (404, "redemption_not_found")


def test_nothing_old_comes_back_into_a_full_account() -> None:
    made = corner()
    taken = made.done(redeem())
    made.done(adjust(2**53 - 1 - 500))
    assert made.send(cancel_redemption(taken)).refused == (409, "balance_limit_exceeded")
