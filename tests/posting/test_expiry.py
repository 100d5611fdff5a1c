"""When points end: with their owner's inactivity, with a year of membership, by the terms of a rule or a tier."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from loyalty.conditions.types import Lines
from loyalty.posting.commands import EraseMember, Publish, Settle
from loyalty.posting.detail import Detail
from loyalty.programs.types import (
    Activity,
    FixedDays,
    Inactivity,
    MemberYear,
    NeverExpires,
    PayPolicy,
    Rolling,
    Transfers,
)
from loyalty.rules.types import Fixed, Rule, Terms
from loyalty.tiers.types import Tier
from tests.posting.shop import (
    ANN,
    BASE,
    BOB,
    NOW,
    Reply,
    Shop,
    adjust,
    cancel,
    cancel_redemption,
    capture,
    card,
    carded,
    enrol,
    give,
    give_back,
    give_tier,
    hold,
    imported,
    ladder,
    line,
    pay,
    program,
    purchase,
    reinstate,
    release,
    shop,
)

DAY = timedelta(days=1)
PAID = PayPolicy(points=1, each_minor=1, returnable=True)


def good_to(reply: Reply) -> list[tuple[int, str | None]]:
    """Points of each lot that an answer names, and the last day on which they are good."""
    return [(one["points"], one["last_day_on"]) for one in reply["earned"]]


def after(corner: Shop, days: float) -> None:
    corner.now = NOW + days * DAY


def buy(
    corner: Shop, receipt: str, amount_minor: int = 500, *, at: datetime | None = None, of: str = ANN
) -> Reply:
    """A purchase of 5.00 by Ann, at the shop's own instant."""
    return corner.done(purchase(receipt, amount_minor, of=of, at=at or corner.now))


# --- inactivity ---------------------------------------------------------------------------------------------


def sliding(**more: Any) -> Shop:
    """Points that end after ten days without activity; 100 of them."""
    expiry = more.pop("expiry", Inactivity(days=10))
    corner = shop(expiry=expiry, **more)
    assert good_to(corner.done(purchase("R-1", 10_000))) == [(100, "2026-11-29")]
    return corner


def left(corner: Shop, day: float) -> int:
    """What is available at the first instant of a local day so many days after today."""
    corner.now = datetime(2026, 11, 19, 23, tzinfo=UTC) + day * DAY
    corner.send(Settle(corner.book.identifiers[carded(ANN)]))  # type: ignore[arg-type]
    return corner.balance().get("available", 0)


def test_points_end_when_their_owner_did_nothing_for_so_long() -> None:
    assert [left(sliding(), day) for day in (9, 10)] == [100, 0]


def test_an_activity_keeps_all_points_for_as_long_again() -> None:
    corner = sliding()
    after(corner, 9)
    assert good_to(buy(corner, "R-2")) == [(5, "2026-12-08")]
    assert [left(corner, day) for day in (18, 19)] == [105, 0]


def test_what_earns_nothing_is_no_activity() -> None:
    corner = sliding()
    after(corner, 9)
    buy(corner, "R-2", 50)
    assert left(corner, 10) == 0


def test_spending_is_an_activity_and_what_counts_is_the_programs_to_say() -> None:
    for resets, available in (((Activity.EARN, Activity.REDEEM), 60), ((Activity.EARN,), 0)):
        corner = sliding(expiry=Inactivity(days=10, resets=resets))
        after(corner, 9)
        held = corner.done(hold(40))
        corner.done(capture(held["id"]))
        assert left(corner, 12) == available


def test_setting_aside_is_no_activity_until_it_is_taken() -> None:
    corner = sliding()
    after(corner, 9)
    held = corner.done(hold(40, minutes=5 * 1_440))
    after(corner, 12)
    corner.done(release(held["id"]))
    assert corner.balance() == {}
    assert corner.entries.count("expire") == 1


def test_points_given_by_hand_are_good_for_their_own_time_and_keep_no_others() -> None:
    corner = sliding()
    after(corner, 9)
    assert good_to(corner.done(adjust(7))) == [(7, "2026-12-08")]
    assert [left(corner, day) for day in (10, 18, 19)] == [7, 7, 0]


def test_points_given_by_hand_count_where_the_program_says_so() -> None:
    corner = sliding(expiry=Inactivity(days=10, resets=(Activity.CREDIT,)))
    after(corner, 9)
    corner.done(adjust(7))
    assert left(corner, 18) == 107


def test_a_purchase_recorded_late_keeps_points_only_as_long_as_it_would_have_in_time() -> None:
    corner = sliding()
    after(corner, 9)
    buy(corner, "R-2", at=NOW + 4 * DAY)
    assert [left(corner, day) for day in (13, 14)] == [105, 0]


def test_what_has_ended_stays_so_though_a_purchase_from_before_the_end_comes_in() -> None:
    corner = sliding()
    after(corner, 12)
    reply = buy(corner, "R-2", at=NOW + 9 * DAY)
    assert (good_to(reply), reply.balance) == ([(5, "2026-12-08")], {"available": 5})


@pytest.mark.parametrize(("day", "there"), [(23, 105), (24, 0)])
def test_what_ended_is_given_back_by_the_day_on_which_it_ended_whatever_was_done_since(
    day: int, there: int
) -> None:
    corner = sliding(reinstate_days=5)
    after(corner, 9)
    buy(corner, "R-2")  # all of it is good to day 18 now
    after(corner, 20)
    buy(corner, "R-3")
    after(corner, day)
    reply = corner.send(reinstate())
    assert (reply["points"] if reply.status == 201 else reply["reinstatable"]) == there


def test_what_was_given_back_is_good_to_the_day_that_was_told_and_slides_no_more() -> None:
    corner = sliding(reinstate_days=5, reinstated_days=4)
    after(corner, 12)
    buy(corner, "R-2")
    assert corner.done(reinstate())["last_day_on"] == "2026-12-05"
    after(corner, 13)
    buy(corner, "R-3")
    assert [left(corner, day) for day in (15, 16)] == [110, 10]


def test_what_was_set_aside_and_ended_meanwhile_is_given_back_by_the_day_of_its_end() -> None:
    corner = sliding(reinstate_days=5)
    held = corner.done(hold(100, minutes=20 * 1_440))
    after(corner, 9)
    buy(corner, "R-2")
    after(corner, 19.5)
    corner.done(release(held["id"]))
    after(corner, 20)
    buy(corner, "R-3")
    after(corner, 23)
    assert corner.done(reinstate())["points"] == 105


def test_an_older_activity_never_takes_an_end_back() -> None:
    corner = sliding()
    after(corner, 9)
    buy(corner, "R-2")
    buy(corner, "R-3", at=NOW + DAY)
    assert [left(corner, day) for day in (18, 19)] == [110, 0]


def test_another_policy_counts_from_the_next_points_on_and_shortens_nothing() -> None:
    corner = sliding()
    corner.done(Publish(program(expiry=Inactivity(days=3))))
    after(corner, 1)
    assert good_to(buy(corner, "R-2")) == [(5, "2026-11-29")]
    after(corner, 8)
    buy(corner, "R-3")
    assert [left(corner, day) for day in (10, 11)] == [110, 0]


def test_where_points_no_longer_slide_those_that_did_still_do() -> None:
    corner = sliding()
    corner.done(Publish(program(expiry=Rolling(days=1))))
    after(corner, 9)
    buy(corner, "R-2")
    assert [left(corner, day) for day in (10, 18, 19)] == [100, 100, 0]


def test_what_ends_first_is_spent_first_by_the_end_that_activity_has_come_to() -> None:
    """The ones that slide end on day 19, the fixed ones on day 14."""
    bonus = Rule("bonus", "a bonus", "points", Fixed(30), terms=Terms(Rolling(days=6)))
    corner = sliding(policies={"hold_days_max": 30})
    corner.done(Publish(program(BASE, bonus, expiry=Inactivity(days=10))))
    after(corner, 9)
    assert good_to(buy(corner, "R-2")) == [(5, "2026-12-08"), (30, "2026-12-04")]
    corner.done(capture(corner.done(hold(30))["id"]))
    assert [left(corner, day) for day in (15, 18)] == [105, 105]


def test_points_given_away_keep_the_end_they_had_come_to() -> None:
    corner = sliding(policies={"transfers": Transfers(enabled=True)})
    after(corner, 9)
    buy(corner, "R-2")
    corner.done(enrol(BOB), give(50))
    bob = corner.book.accounts[corner.book.identifiers[carded(BOB)], "points"]  # type: ignore[index]
    assert (bob.idles_at, bob.next_due_at) == (None, datetime(2026, 12, 8, 23, tzinfo=UTC))
    after(corner, 15)
    buy(corner, "R-3", of=BOB)
    assert left(corner, 24) == 0  # Ann's
    assert corner.balance(BOB) == {"available": 55}


def test_what_comes_back_to_points_that_ended_is_lost_whatever_was_done_since() -> None:
    corner = sliding()
    corner.done(Publish(program(expiry=Inactivity(days=10), pay=PAID, policies={"late_days_max": None})))
    paid = corner.done(pay(40))
    after(corner, 12)
    assert buy(corner, "R-2").balance == {"available": 5}
    corner.done(cancel_redemption(paid))
    assert corner.balance() == {"available": 5}
    assert [left(corner, day) for day in (21, 22)] == [5, 0]


def test_what_ended_stays_so_though_a_return_takes_back_what_had_expired() -> None:
    """The return takes the 60 that expired; no longer expired, they still tell that the rest was over too."""
    corner = sliding()
    corner.done(Publish(program(expiry=Inactivity(days=10), pay=PAID, policies={"late_days_max": None})))
    paid = corner.done(pay(40))
    after(corner, 12)
    buy(corner, "R-2")
    corner.done(give_back(lines={"1": 600}, at=corner.now))
    corner.done(cancel_redemption(paid))
    assert corner.balance() == {"available": 5}


def test_what_was_set_aside_comes_back_good_where_activity_has_put_its_end_off() -> None:
    corner = sliding()
    held = corner.done(hold(40, minutes=12 * 1_440))
    after(corner, 9)
    buy(corner, "R-2")
    after(corner, 11)
    corner.done(release(held["id"]))
    assert corner.balance() == {"available": 105}


def test_what_was_all_set_aside_at_its_end_is_kept_by_an_activity_after_that() -> None:
    """Nothing was there to expire, so it had not ended: by its owner's last activity it is good again."""
    corner = sliding()
    held = corner.done(hold(100, minutes=20 * 1_440))
    after(corner, 12)
    buy(corner, "R-2")
    corner.done(release(held["id"]))
    assert [left(corner, day) for day in (12, 21, 22)] == [105, 105, 0]


def test_a_hold_with_grace_gives_what_slid_an_end_that_stays() -> None:
    corner = sliding(hold_grace_days=5)
    held = corner.done(hold(100, minutes=12 * 1_440))
    after(corner, 12)
    corner.done(release(held["id"]))
    assert corner.balance() == {"available": 100}
    after(corner, 13)
    buy(corner, "R-2")
    assert [left(corner, day) for day in (17, 18)] == [105, 5]


def test_opening_points_slide_from_the_end_they_come_with() -> None:
    corner = shop(expiry=Inactivity(days=10))
    corner.done(imported(100, at=NOW - 30 * DAY, expires_at=NOW + 3 * DAY))
    after(corner, 2)
    buy(corner, "R-1")
    assert [left(corner, day) for day in (11, 12)] == [105, 0]


def test_the_erased_have_nothing_that_slides() -> None:
    corner = sliding()
    corner.done(EraseMember(card(ANN)))
    ((_, account),) = corner.book.accounts.items()
    assert (account.available, account.next_due_at) == (0, None)


# --- a year of membership ---------------------------------------------------------------------------------------


def test_points_end_with_the_members_year() -> None:
    corner = shop(expiry=MemberYear())  # enrolled today
    assert good_to(buy(corner, "R-1")) == [(5, "2027-11-19")]
    corner.now = datetime(2027, 11, 19, 12, tzinfo=UTC)
    assert good_to(buy(corner, "R-2")) == [(5, "2027-11-19")]
    corner.now = datetime(2027, 11, 19, 23, tzinfo=UTC)
    assert good_to(buy(corner, "R-3")) == [(5, "2028-11-19")]


# --- terms of a rule ------------------------------------------------------------------------------------------------

WELCOME = Rule("welcome", "a welcome", "points", Fixed(50), terms=Terms(Rolling(days=7)))
WAITING = Rule(
    "waiting", "coffee", "points", Fixed(20, Lines(skus=("HAM",))), terms=Terms(pending_days=14), priority=-1
)
TWO_LINES = (line(999, line_id="coffee", quantity_milli=3000), line(700, line_id="ham", sku="HAM"))


def with_terms(**more: Any) -> Shop:
    return shop(BASE, WELCOME, WAITING, expiry=Rolling(days=90), **more)


def test_points_of_one_purchase_with_other_dates_are_other_lots() -> None:
    corner = with_terms()
    reply = corner.done(purchase(lines=TWO_LINES))
    assert good_to(reply) == [(16, "2027-02-17"), (50, "2026-11-26"), (20, "2027-02-17")]
    assert [one["state"] for one in reply["earned"]] == ["available", "available", "pending"]
    assert reply.balance == {"available": 66, "pending": 20}
    detail = msgspec.json.decode(corner.decisions[-1].detail, type=Detail)
    assert [detail.lot_of(index).points for index in range(3)] == [16, 50, 20]


def test_awards_with_the_same_dates_share_a_lot_and_the_decision_need_not_say_so() -> None:
    other = Rule("other", "another", "points", Fixed(3), terms=Terms(Rolling(days=90)), priority=-2)
    corner = shop(BASE, other, expiry=Rolling(days=90))
    assert good_to(corner.done(purchase())) == [(13, "2027-02-17")]
    assert '"into"' not in corner.decisions[-1].detail


def test_a_return_takes_of_each_lot_what_its_own_awards_gave_for_the_line() -> None:
    corner = with_terms()
    corner.done(purchase(lines=TWO_LINES))
    corner.done(give_back("B-1", {"ham": None}))
    base, welcome, waiting = lots(corner)
    # Ham is 7.00 of 16.99, and all of what waits.
    assert (base.revoked, welcome.revoked, waiting.revoked) == (7, 21, 20)
    corner.done(give_back("B-2", {"coffee": 1000}), give_back("B-3", {"coffee": 1000}))
    corner.done(cancel("R-1"))
    assert [lot.revoked for lot in lots(corner)] == [16, 50, 20]
    assert corner.balance() == {}


def test_what_was_spent_of_one_lot_is_owed_before_another_rules_points_are_taken_twice() -> None:
    """Each lot gives its own first; only what is missing then comes from others, and the rest is a debt."""
    corner = with_terms()
    corner.done(purchase(lines=(line(1_600),)))
    corner.done(capture(corner.done(hold(50))["id"]))  # the welcome ends first: all of it is spent
    corner.done(adjust(30))
    corner.done(cancel("R-1"))
    base, welcome, given = lots(corner)
    assert (base.revoked, welcome.revoked, given.revoked) == (16, 20, 30)
    assert corner.balance() == {"debt": 20}


def lots(corner: Shop) -> list[Any]:
    (account,) = corner.book.accounts.values()
    return sorted(corner.book.lots.get(account.id, {}).values(), key=lambda lot: lot.id)


# --- terms of a tier ------------------------------------------------------------------------------------------------

LONGER = ladder(
    tiers=(
        Tier("silver", "Silver", 25_000, expiry={"points": Rolling(days=30)}),
        Tier("gold", "Gold", 60_000),
        Tier("black", "Black", 90_000, expiry={"points": NeverExpires()}),
    )
)


@pytest.mark.parametrize(
    ("tier", "last_day"),
    [(None, "2026-11-29"), ("silver", "2026-12-19"), ("gold", "2026-12-19"), ("black", None)],
)
def test_points_of_a_tiers_holder_end_as_the_tier_or_one_below_it_says(
    tier: str | None, last_day: str | None
) -> None:
    corner = shop(BASE, WELCOME, expiry=Rolling(days=10), tier_sets=(LONGER,))
    if tier is not None:
        corner.done(give_tier(tier))
    assert good_to(buy(corner, "R-1")) == [(5, last_day), (50, "2026-11-26")]


def test_the_tier_before_the_purchase_dates_its_points() -> None:
    corner = shop(expiry=Rolling(days=10), tier_sets=(LONGER,))
    assert good_to(corner.done(purchase("R-1", 30_000))) == [(300, "2026-11-29")]
    assert good_to(buy(corner, "R-2")) == [(5, "2026-12-19")]


# --- what cannot be published ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faulty", "pointer", "code"),
    [
        ({"expiry": Inactivity()}, "/settings/points_currencies/0/expiry", "contradictory_range"),
        (
            {"expiry": Inactivity(days=1, months=1)},
            "/settings/points_currencies/0/expiry",
            "contradictory_range",
        ),
        (
            {"expiry": Inactivity(days=9, resets=(Activity.EARN, Activity.EARN))},
            "/settings/points_currencies/0/expiry/resets/1",
            "duplicate",
        ),
        (
            {"expiry": Inactivity(days=9), "pending_days": 9},
            "/settings/points_currencies/0/pending_days",
            "never_good",
        ),
        ({"terms": Terms()}, "/ruleset/rules/0/terms", "says_nothing"),
        ({"terms": Terms(Rolling())}, "/ruleset/rules/0/terms/expiry", "contradictory_range"),
        ({"terms": Terms(FixedDays(("02-30",)))}, "/ruleset/rules/0/terms/expiry/on/0", "no_such_day"),
        ({"terms": Terms(Rolling(days=5), 5)}, "/ruleset/rules/0/terms/pending_days", "never_good"),
        (
            {"terms": Terms(Rolling(days=5)), "pending_days": 30},
            "/ruleset/rules/0/terms/pending_days",
            "never_good",
        ),
        ({"tier": {"miles": NeverExpires()}}, "/tier_sets/0/tiers/0/expiry/miles", "unknown_points_currency"),
        ({"tier": {"points": Rolling()}}, "/tier_sets/0/tiers/0/expiry/points", "contradictory_range"),
        (
            {"tier": {"points": Rolling(days=5)}, "pending_days": 9},
            "/tier_sets/0/tiers/0/expiry/points/pending_days",
            "never_good",
        ),
    ],
)
def test_terms_that_cannot_be_are_refused_with_their_place(
    faulty: dict[str, Any], pointer: str, code: str
) -> None:
    rule = msgspec.structs.replace(BASE, terms=faulty.pop("terms", None))
    tiers = (Tier("gold", "Gold", 1, expiry=faulty.pop("tier", {})),)
    reply = Shop().send(Publish(program(rule, tier_sets=(ladder(tiers=tiers),), **faulty)))
    assert reply.refused == (422, "configuration_invalid")
    assert [(fault["pointer"], fault["code"]) for fault in reply["errors"]] == [(pointer, code)]


def test_points_that_may_just_be_good_can_be_published() -> None:
    rule = msgspec.structs.replace(BASE, terms=Terms(Rolling(days=6), 5))
    assert Shop().send(Publish(program(rule))).status == 201
