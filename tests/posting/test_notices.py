"""What members are told ahead: points that expire and tiers that fall, once, in time or late, never when it is over."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from loyalty.posting.commands import EraseMember, Notify, Publish
from loyalty.programs.types import FixedDays, Notices, PointsCurrency, Rolling
from tests.posting.shop import (
    ANN,
    Reply,
    Shop,
    adjust,
    card,
    enrol,
    give_tier,
    hold,
    imported,
    ladder,
    program,
    purchase,
    release,
)

YEAR_END = FixedDays(("12-31",))
NOON = datetime(2026, 12, 1, 11, tzinfo=UTC)  # thirty days before the last of the year, in Berlin


def opened(*, at: datetime = NOON, notices: Notices | None = None, **more: Any) -> Shop:
    fields: dict[str, Any] = {"expiry": YEAR_END} | more
    policies = {} if notices is None else {"notices": notices}
    shop = Shop(program(policies=policies, **fields), clock=at)
    shop.done(enrol(ANN))
    return shop


def ann(shop: Shop) -> UUID:
    found = shop.book.identifiers[card(ANN).identifier]  # type: ignore[index]
    assert found is not None
    return found


def tell(shop: Shop, on: date | None = None) -> Reply:
    return shop.send(Notify(ann(shop), on or shop.now.date()))


def told(shop: Shop) -> list[dict[str, Any]]:
    kinds = {"loyalty.points.expiring", "loyalty.tier.falling"}
    return [data | {"type": kind} for kind, data in shop.events if kind in kinds]


def test_points_are_told_thirty_and_seven_days_before_their_last_day() -> None:
    shop = opened()
    shop.done(adjust(70), imported(30, expires_at=datetime(2026, 12, 31, 12, tzinfo=UTC)))
    assert tell(shop).status == 200
    assert told(shop) == [
        {
            "type": "loyalty.points.expiring",
            "points_currency": "points",
            "points": 100,
            "last_day_on": "2026-12-31",
            "days_before": 30,
            "days_left": 30,
        }
    ]
    for day in range(2, 24):
        shop.now = NOON + timedelta(days=day - 1)
        assert tell(shop).refused == (409, "nothing_due")
    shop.now = NOON + timedelta(days=23)
    assert tell(shop).status == 200
    assert [(one["days_before"], one["days_left"]) for one in told(shop)] == [(30, 30), (7, 7)]


def test_a_notice_is_told_once_however_often_it_is_looked_for() -> None:
    shop = opened()
    shop.done(adjust(70))
    assert tell(shop).status == 200
    assert tell(shop).refused == (409, "nothing_due")
    shop.done(adjust(5))  # more of the same day
    assert tell(shop).refused == (409, "nothing_due")
    assert len(told(shop)) == 1


def test_late_it_says_how_many_days_are_left_and_after_its_day_nothing() -> None:
    shop = opened(notices=Notices(points_days=(30, 7, 1)))
    shop.done(adjust(70))
    shop.now = NOON + timedelta(days=30, hours=11)  # the last evening
    assert tell(shop, NOON.date()).status == 200
    assert tell(shop, date(2026, 12, 24)).status == 200
    assert [(one["days_before"], one["days_left"]) for one in told(shop)] == [(30, 0), (7, 0)]
    shop.now += timedelta(hours=2)
    assert tell(shop, date(2026, 12, 30)).refused == (409, "nothing_due")


def test_nothing_is_told_before_its_day() -> None:
    shop = opened(at=NOON - timedelta(days=1))
    shop.done(adjust(70))
    assert tell(shop, NOON.date()).refused == (409, "nothing_due")


def test_only_what_is_still_there_is_told() -> None:
    shop = opened()
    shop.done(adjust(70))
    placed = shop.done(hold(70, minutes=60))
    assert tell(shop).refused == (409, "nothing_due")
    shop.done(release(placed["id"]), hold(20))
    assert tell(shop).status == 200
    assert [one["points"] for one in told(shop)] == [50]


def test_currencies_are_told_each_by_itself_and_no_notice_where_the_program_wants_none() -> None:
    stars = PointsCurrency("stars", "stars", expiry=YEAR_END)
    shop = opened(currencies=(stars,))
    shop.done(adjust(70), replace(imported(5), points_currency="stars"))
    assert tell(shop).status == 200
    assert [(one["points_currency"], one["points"]) for one in told(shop)] == [("points", 70), ("stars", 5)]
    silent = opened(notices=Notices((), ()), tier_sets=(ladder(),))
    silent.done(adjust(70))
    assert tell(silent).refused == (409, "nothing_due")


def test_points_that_were_held_past_their_end_are_told_by_the_day_that_their_grace_gives_them() -> None:
    shop = opened(expiry=Rolling(days=2), hold_grace_days=31)
    shop.done(adjust(70), hold(70, minutes=3 * 24 * 60))
    shop.now = NOON + timedelta(days=4)  # the hold lapsed on the 4th: good until the 4th of January
    assert tell(shop).status == 200
    assert [(one["points"], one["last_day_on"]) for one in told(shop)] == [(70, "2027-01-04")]
    assert [kind for kind, _ in shop.events][-2:] == ["loyalty.points.expiring", "loyalty.points.settled"]


# --- tiers -----------------------------------------------------------------------------------------------------

MAY = datetime(2026, 5, 4, 15, tzinfo=UTC)
FALL = datetime(2026, 9, 1, 12, tzinfo=UTC)  # thirty days before the first of October


def test_a_fall_that_nothing_stands_against_is_told_thirty_days_before() -> None:
    shop = opened(at=MAY, tier_sets=(ladder(),))
    shop.done(purchase("R-1", 70_000, at=MAY))
    shop.now = FALL - timedelta(days=1)
    assert tell(shop).refused == (409, "nothing_due")
    shop.now = FALL
    assert tell(shop).status == 200
    assert tell(shop).refused == (409, "nothing_due")
    assert [one for one in told(shop) if one["type"] == "loyalty.tier.falling"] == [
        {
            "type": "loyalty.tier.falling",
            "tier_set": "status",
            "before": "gold",
            "after": None,
            "at": "2026-09-30T22:00:00Z",
            "days_before": 30,
            "days_left": 30,
        }
    ]


def test_whoever_has_reached_the_tier_anew_is_told_nothing() -> None:
    shop = opened(at=MAY, tier_sets=(ladder(),), expiry=Rolling(months=120))
    shop.done(purchase("R-1", 70_000, at=MAY))
    shop.now = FALL
    shop.done(purchase("R-2", 60_000, at=FALL))
    assert tell(shop).refused == (409, "nothing_due")


def test_the_day_of_a_fall_is_that_after_the_grace_and_a_given_tier_ends_too() -> None:
    shop = opened(at=MAY, tier_sets=(ladder(grace_days=10),), notices=Notices((), (30, 3)))
    shop.done(purchase("R-1", 30_000, at=MAY), give_tier("gold", datetime(2026, 9, 20, 12, tzinfo=UTC)))
    shop.now = datetime(2026, 8, 21, 12, tzinfo=UTC)
    assert tell(shop).status == 200
    shop.now = FALL
    assert tell(shop).refused == (409, "nothing_due")
    shop.now = datetime(2026, 10, 8, 12, tzinfo=UTC)  # inside the grace
    assert tell(shop).status == 200
    assert [(one["before"], one["after"], one["days_left"]) for one in told(shop)] == [
        ("gold", "silver", 30),
        ("silver", None, 3),
    ]


def test_a_ladder_that_came_in_force_is_the_one_that_counts() -> None:
    shop = opened(at=MAY, tier_sets=(ladder(),), notices=Notices((), (30,)))
    shop.done(purchase("R-1", 70_000, at=MAY))
    shop.done(Publish(program(tier_sets=(ladder(downgrade="never"),))))
    shop.now = FALL
    assert tell(shop).refused == (409, "nothing_due")


def test_the_erased_are_told_nothing() -> None:
    shop = opened()
    shop.done(adjust(70))
    member = ann(shop)
    shop.done(EraseMember(card(ANN)))
    assert shop.send(Notify(member, NOON.date())).refused == (409, "member_erased")
    assert told(shop) == []
