"""Tiers on the road: what a purchase, a return or time does to them, and what they do to purchases and rewards."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from loyalty.conditions.types import HasTier
from loyalty.posting.commands import EraseMember, Publish, Settle
from loyalty.posting.detail import Detail
from loyalty.programs.types import PointsCurrency
from loyalty.rules.types import Multiplier, Rule
from loyalty.tiers.types import QualifyingPoints, Tier, TierSet
from tests.posting.shop import (
    ANN,
    BASE,
    BOB,
    Reply,
    Shop,
    ago,
    cancel,
    card,
    claim,
    enrol,
    exchange,
    give_back,
    give_tier,
    imported,
    ladder,
    line,
    program,
    purchase,
    redeem,
    reward,
)

BERLIN = ZoneInfo("Europe/Berlin")
MAY = datetime(2026, 5, 4, 15, tzinfo=UTC)
DOUBLE = Rule("double", "twice for silver", "points", Multiplier(20_000), when=HasTier("status", "silver"))


def opened(*rules: Rule, ladders: tuple[TierSet, ...] | None = None, at: datetime = MAY, **more: Any) -> Shop:
    shop = Shop(program(*rules, tier_sets=(ladder(),) if ladders is None else ladders, **more), clock=at)
    shop.done(enrol(ANN))
    return shop


def tier(reply: Reply) -> str | None:
    return reply["standing"][0]["tier"]


def member(shop: Shop, of: str = ANN) -> UUID:
    found = shop.book.identifiers[card(of).identifier]  # type: ignore[index]
    assert found is not None
    return found


def moves(shop: Shop) -> list[tuple[str, str | None, str]]:
    """Each step with the day from which it counts."""
    made = [move for _, _, move in shop.book.new_moves]
    told = [data for kind, data in shop.events if kind == "loyalty.tier.changed"]
    assert [(one["before"], one["after"], one["why"]) for one in told] == [
        (move.before, move.after, move.why) for move in made
    ]
    return [(f"{move.at.astimezone(BERLIN):%Y-%m-%d}", move.after, move.why) for move in made]


def passes(shop: Shop, to: datetime) -> Reply:
    """Time passes, and the sweep comes."""
    shop.now = to
    return shop.send(Settle(member(shop)))


# --- up and down -----------------------------------------------------------------------------------------------


def test_a_purchase_that_reaches_a_threshold_lifts_and_says_so() -> None:
    shop = opened()
    first = shop.done(purchase("R-1", 24_999, at=MAY))
    assert first["standing"] == [
        {
            "tier_set": "status", "tier": None, "since": None, "counted": 24_999, "window_ends_on": "2026-06-30",
            "next_tier": "silver", "missing": 1, "to_keep": 0,
        }
    ]  # fmt: skip
    reached = shop.done(purchase("R-2", 1, at=MAY))
    assert (tier(reached), reached["standing"][0]["missing"]) == ("silver", 35_000)
    assert moves(shop) == [("2026-05-04", "silver", "reached")]
    detail = msgspec.json.decode(shop.decisions[-1].detail, type=Detail)
    (stood,) = detail.stood
    assert (stood.tier_set, stood.earned, [move.metric for move in stood.moves]) == (
        "status",
        "silver",
        [25_000],
    )


def test_a_review_is_due_at_its_instant_whoever_comes_when() -> None:
    shop = opened()
    shop.done(purchase("R-1", 70_000, at=MAY))
    assert passes(shop, datetime(2026, 9, 30, 21, tzinfo=UTC)).refused == (409, "nothing_due")
    assert passes(shop, datetime(2026, 12, 24, 9, tzinfo=UTC)).status == 200
    assert moves(shop) == [("2026-05-04", "gold", "reached"), ("2026-10-01", None, "reviewed")]
    assert passes(shop, datetime(2027, 12, 24, 9, tzinfo=UTC)).refused == (409, "nothing_due")


def test_a_purchase_after_a_review_that_nobody_made_finds_it_made() -> None:
    shop = opened()
    shop.done(purchase("R-1", 70_000, at=MAY))
    shop.now = datetime(2026, 11, 20, 15, tzinfo=UTC)
    assert tier(shop.done(purchase("R-2", 30_000, at=shop.now))) == "silver"
    assert [after for _, after, _ in moves(shop)] == ["gold", None, "silver"]


def test_what_goes_back_leaves_its_day_and_the_tier_until_its_review() -> None:
    shop = opened()
    bought = (line(40_000, line_id="1"), line(30_000, line_id="2"))
    shop.done(purchase("R-1", lines=bought, at=MAY))
    shop.now = MAY + timedelta(days=1)
    shop.done(give_back("B-1", {"2": None}, at=shop.now))
    answer = shop.done(purchase("R-2", 100, at=shop.now))
    assert (tier(answer), answer["standing"][0]["counted"]) == ("gold", 40_100)
    passes(shop, datetime(2026, 10, 1, 0, tzinfo=BERLIN))
    assert moves(shop)[-1] == ("2026-10-01", None, "reviewed")


@pytest.mark.parametrize("undo", [cancel("R-1"), give_back("B-1", at=MAY)])
def test_what_goes_back_takes_the_tier_with_it_where_the_set_says_so(undo: Any) -> None:
    shop = opened(ladders=(ladder(returns="at_once"),))
    shop.done(purchase("R-1", 70_000, at=MAY), undo)
    assert moves(shop) == [("2026-05-04", "gold", "reached"), ("2026-05-04", None, "returned")]
    assert (shop.book.days[member(shop)].popitem()[1].visits, shop.send(undo).status) == (0, 200)


def test_returned_and_then_cancelled_is_taken_once() -> None:
    shop = opened()
    shop.done(purchase("R-1", lines=(line(40_000, line_id="1"), line(30_000, line_id="2")), at=MAY))
    shop.done(give_back("B-1", {"2": None}, at=MAY), cancel("R-1"))
    ((day,),) = [shop.book.days[member(shop)].values()]
    assert (day.spend_minor, day.visits, day.points) == (0, 0, {"points": 0})


def test_an_exchange_counts_what_it_comes_to() -> None:
    shop = opened()
    shop.done(purchase("R-1", 20_000, at=MAY))
    answer = shop.done(exchange(give_back("B-1", at=MAY), purchase("R-2", 26_000, at=MAY)))
    assert answer["purchase"]["standing"][0]["counted"] == 26_000
    assert moves(shop) == [("2026-05-04", "silver", "reached")]


def test_a_guests_purchase_counts_from_the_claim_on_for_its_own_day() -> None:
    shop = opened(policies={"claim_days_max": 90})
    guest = shop.done(purchase("R-1", 70_000, of=None, at=MAY))
    assert guest["standing"] == []
    shop.now = datetime(2026, 7, 3, 12, tzinfo=UTC)
    claimed = shop.done(claim(guest["id"]))
    assert (tier(claimed), claimed["standing"][0]["counted"]) == ("gold", 0)
    passes(shop, datetime(2026, 10, 2, 12, tzinfo=UTC))
    assert moves(shop) == [("2026-07-03", "gold", "reached"), ("2026-10-01", None, "reviewed")]


def test_points_count_as_they_were_earned_whatever_is_done_with_them() -> None:
    by_points = ladder(metric=QualifyingPoints("miles"), tiers=(Tier("silver", "Silver", 100),))
    miles = Rule("miles", "for miles", "miles", BASE.gives)
    shop = opened(
        BASE, miles, ladders=(by_points,), currencies=(PointsCurrency("miles", "miles", qualifying=True),)
    )
    assert tier(shop.done(imported(5_000, at=MAY), purchase("R-1", 9_900, at=MAY))) is None
    assert tier(shop.done(purchase("R-2", 100, at=MAY))) == "silver"


# --- what tiers do ---------------------------------------------------------------------------------------------


def test_the_tier_before_the_purchase_multiplies_and_the_decision_says_which() -> None:
    shop = opened(BASE, DOUBLE)
    assert shop.done(purchase("R-1", 30_000, at=MAY)).earned == 300
    assert shop.done(purchase("R-2", 1_000, at=MAY)).earned == 20
    details = [msgspec.json.decode(one.detail, type=Detail) for one in shop.decisions[-2:]]
    assert [detail.tiers for detail in details] == [{}, {"status": ("silver",)}]


def test_a_late_purchase_is_judged_by_the_tier_of_its_day_as_known_now() -> None:
    shop = opened(BASE, DOUBLE, policies={"late_days_max": 365})
    shop.done(purchase("R-1", 30_000, at=MAY))
    shop.now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    before, after, later = (MAY + timedelta(days=days) for days in (-1, 1, 170))
    assert shop.done(purchase("R-2", 1_000, at=before)).earned == 10
    assert shop.done(purchase("R-3", 1_000, at=after)).earned == 20
    assert shop.done(purchase("R-4", 1_000, at=later)).earned == 10  # silver ended with September
    # The day before was told so late that it is the first to reach silver now.
    assert shop.done(purchase("R-5", 30_000, at=before), purchase("R-6", 1_000, at=before)).earned == 20


def test_a_late_purchase_has_the_tier_that_was_given_for_its_day_also_once_that_has_ended() -> None:
    shop = opened(BASE, DOUBLE, policies={"late_days_max": 365})
    shop.done(give_tier("silver", MAY + timedelta(days=30)))
    shop.now = MAY + timedelta(days=40)
    during, after = (MAY + timedelta(days=days) for days in (29, 31))
    assert shop.done(purchase("R-1", 1_000, at=during)).earned == 20
    assert shop.done(purchase("R-2", 1_000, at=after)).earned == 10
    shop.done(give_tier("silver"))
    shop.now += timedelta(days=2)
    shop.done(give_tier(None))
    shop.now += timedelta(days=2)
    assert shop.done(purchase("R-3", 1_000, at=MAY + timedelta(days=41))).earned == 20
    assert shop.done(purchase("R-4", 1_000, at=MAY + timedelta(days=43))).earned == 10


def test_a_late_purchase_is_judged_on_the_ladder_of_its_day() -> None:
    shop = opened(BASE, DOUBLE, ladders=(ladder(grace_days=7),), policies={"late_days_max": 365})
    shop.done(purchase("R-1", 28_000, at=MAY))
    shop.now = datetime(2026, 8, 3, 12, tzinfo=UTC)
    harder = ladder(grace_days=7, tiers=(Tier("silver", "Silver", 90_000), Tier("gold", "Gold", 99_000)))
    shop.done(Publish(program(BASE, DOUBLE, tier_sets=(harder,), policies={"late_days_max": 365})))
    on_time, late = (purchase(name, 1_000, at=shop.now + timedelta(days=5)) for name in ("R-2", "R-3"))
    shop.now += timedelta(days=5)
    assert shop.done(on_time).earned == 20, "in grace until the 10th"
    shop.now += timedelta(days=9)
    assert shop.done(late).earned == 20
    assert shop.done(purchase("R-4", 1_000, at=shop.now)).earned == 10
    assert shop.done(purchase("R-5", 1_000, at=shop.now - timedelta(days=1))).earned == 10
    shop.done(Publish(program(BASE, policies={"late_days_max": 365})))
    shop.now += timedelta(days=1)
    assert shop.done(purchase("R-6", 1_000, at=MAY + timedelta(days=1))).earned == 20, "left out since"


def test_without_tiers_rules_that_ask_for_one_give_nothing_to_guests() -> None:
    shop = opened(BASE, DOUBLE)
    guest = shop.done(purchase("R-1", 1_000, of=None, at=MAY))
    assert guest.earned == 0
    assert shop.done(claim(guest["id"])).earned == 10


def test_a_return_that_leaves_a_condition_unmet_knows_the_tier_of_then() -> None:
    bonus = msgspec.structs.replace(DOUBLE, on_return="all_if_unmet")
    shop = opened(BASE, bonus)
    shop.done(purchase("R-1", 30_000, at=MAY))
    bought = (line(1_000, line_id="1"), line(1_000, line_id="2"))
    assert shop.done(purchase("R-2", lines=bought, at=MAY)).earned == 40
    back = shop.done(give_back("B-1", {"2": None}, of="R-2", at=MAY))
    assert back["revoked"][0]["points"] == 20


def test_a_reward_for_gold_is_for_gold() -> None:
    shop = opened(rewards=(reward(1, when=HasTier("status", "gold")),))
    shop.done(purchase("R-1", 30_000, at=MAY))
    refused = shop.send(redeem())
    assert refused.refused == (409, "reward_unavailable")
    why = {"tier_set": "status", "at_least": "gold", "tier": "silver"}
    assert refused["reasons"] == [{"reason": "tier", "detail": why}]
    shop.done(purchase("R-2", 30_000, at=MAY))
    assert shop.done(redeem()).status == 201


# --- by hand ---------------------------------------------------------------------------------------------------


def test_a_tier_by_hand_holds_to_its_end_and_can_be_taken_back() -> None:
    shop = opened()
    end = MAY + timedelta(days=30)
    given = shop.done(give_tier("gold", end))
    assert (given["standing"]["tier"], given["given"]["reason"]) == ("gold", "goodwill")
    assert tier(shop.done(purchase("R-1", 30_000, at=MAY))) == "gold"
    passes(shop, end)
    assert moves(shop) == [("2026-05-04", "gold", "given"), ("2026-06-03", "silver", "ended")]
    assert shop.done(give_tier("gold"), give_tier(None))["given"] is None
    assert moves(shop)[-1][1:] == ("silver", "ended")


@pytest.mark.parametrize(
    ("asked", "refused", "pointers"),
    [
        (give_tier("gold", on="other"), (404, "tier_set_not_found"), []),
        (give_tier("platinum"), (422, "tier_invalid"), ["/tier"]),
        (give_tier("gold", MAY), (422, "tier_invalid"), ["/until"]),
        (give_tier("platinum", ago(days=900)), (422, "tier_invalid"), ["/tier", "/until"]),
        (give_tier("gold", of=BOB), (404, "member_not_found"), []),
    ],
)
def test_what_cannot_be_given_is_refused(asked: Any, refused: tuple[int, str], pointers: list[str]) -> None:
    shop = opened()
    reply = shop.send(asked)
    assert reply.refused == refused
    told = msgspec.json.decode(reply.raw).get("errors", [])
    assert [one["pointer"] for one in told] == pointers
    assert moves(shop) == []


# --- ladders that change -----------------------------------------------------------------------------------------


def test_a_new_ladder_places_everybody_by_what_was_done_before() -> None:
    shop = opened(ladders=())
    shop.done(purchase("R-1", 30_000, at=MAY))
    shop.now = MAY + timedelta(days=2)
    shop.done(Publish(program(tier_sets=(ladder(),))))
    assert shop.done(Settle(member(shop))).status == 200
    assert moves(shop) == [("2026-05-06", "silver", "changed")]
    assert shop.send(Settle(member(shop))).refused == (409, "nothing_due")


def test_a_planned_ladder_counts_from_its_own_instant() -> None:
    shop = opened()
    shop.done(purchase("R-1", 30_000, at=MAY))
    easy = ladder(tiers=(Tier("silver", "Silver", 100), Tier("gold", "Gold", 200)))
    shop.done(Publish(program(tier_sets=(easy,)), MAY + timedelta(days=3)))
    shop.now = MAY + timedelta(days=9)
    assert tier(shop.done(purchase("R-2", 1, at=shop.now))) == "gold"
    assert moves(shop) == [("2026-05-04", "silver", "reached"), ("2026-05-07", "gold", "changed")]


def test_a_ladder_taken_away_and_brought_back_begins_anew() -> None:
    shop = opened()
    shop.done(purchase("R-1", 30_000, at=MAY), Publish(program()))
    assert shop.done(purchase("R-2", 100, at=MAY))["standing"] == []
    shop.now = MAY + timedelta(days=1)
    shop.done(Publish(program(tier_sets=(ladder(),))))
    assert tier(shop.done(purchase("R-3", 1, at=shop.now))) == "silver"


def test_a_ladder_taken_away_and_brought_back_while_a_clock_stands_places_who_bought_meanwhile() -> None:
    shop = opened()
    shop.done(Publish(program()), purchase("R-1", 30_000, at=MAY), Publish(program(tier_sets=(ladder(),))))
    assert shop.done(Settle(member(shop))).status == 200
    assert moves(shop) == [("2026-05-04", "silver", "changed")]


def test_what_was_earned_before_a_ladder_was_taken_away_does_not_count_for_a_day_after_it_is_back() -> None:
    shop = opened(BASE, DOUBLE, policies={"late_days_max": 365})
    shop.done(purchase("R-1", 30_000, at=MAY))
    shop.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    shop.done(Publish(program(BASE, policies={"late_days_max": 365})))
    shop.now += timedelta(days=2)
    back = program(BASE, DOUBLE, tier_sets=(ladder(),), policies={"late_days_max": 365})
    shop.done(Publish(back))
    shop.now += timedelta(days=2)
    assert shop.done(purchase("R-2", 1_000, at=shop.now - timedelta(days=1))).earned == 10


def test_a_tier_that_a_ladder_brought_back_does_not_give_is_lost_though_the_clock_stood() -> None:
    """Reached, taken away and brought back at one instant: a late purchase of it is none of that tier."""
    rules: dict[str, Any] = {"policies": {"late_days_max": 365}}
    shop = opened(BASE, DOUBLE, **rules)
    shop.done(purchase("R-1", 30_000, at=MAY))
    higher = ladder(tiers=(Tier("silver", "Silver", 40_000), Tier("gold", "Gold", 60_000)))
    shop.done(Publish(program(BASE, **rules)))
    shop.done(Publish(program(BASE, DOUBLE, tier_sets=(higher,), **rules)))
    shop.now += timedelta(days=1)
    assert shop.done(purchase("R-2", 1_000, at=MAY)).earned == 10
    assert moves(shop) == [("2026-05-04", "silver", "reached"), ("2026-05-04", None, "changed")]
    assert shop.done(purchase("R-3", 9_000, at=shop.now))["standing"][0]["since"] is not None


def test_who_joins_stands_on_the_lowest_tier_that_asks_for_nothing() -> None:
    base = ladder(tiers=(Tier("base", "Base", 0), Tier("gold", "Gold", 60_000)))
    shop = opened(ladders=(base, ladder(id="second")))
    assert moves(shop) == [("2026-05-04", "base", "reached")]
    standing = shop.done(purchase("R-1", 30_000, at=MAY))["standing"]
    assert [(one["tier_set"], one["tier"]) for one in standing] == [("status", "base"), ("second", "silver")]


def test_of_the_erased_nothing_is_reviewed() -> None:
    shop = opened()
    shop.done(purchase("R-1", 70_000, at=MAY))
    id = member(shop)
    shop.done(EraseMember(card(ANN)), cancel("R-1"))
    assert shop.book.standings[id, "status"].standing.next_review_at is None
    assert [day.spend_minor for day in shop.book.days[id].values()] == [0]
    assert moves(shop) == [("2026-05-04", "gold", "reached")]
    shop.now = datetime(2026, 12, 1, tzinfo=UTC)
    assert shop.send(Settle(id)).refused == (409, "member_erased")
