"""Which lots get another end by a changed policy, as a table; and what that comes to."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from loyalty.ledger import expiry
from loyalty.ledger.redates import Count, Figures, redated
from loyalty.ledger.types import Lot
from loyalty.programs.types import (
    ExpiryPolicy,
    FixedDays,
    Inactivity,
    MemberYear,
    NeverExpires,
    PointsCurrency,
    Rolling,
)
from tests.pure.books import Books

VIENNA = ZoneInfo("Europe/Vienna")
JOINED = date(2025, 7, 1)
EARNED = datetime(2026, 3, 10, 11, tzinfo=UTC)
NEVER, MONTH, QUARTER = NeverExpires(), Rolling(days=30), Rolling(days=90)
YEAR_ENDS = FixedDays(on=("12-31",))
OWN: Any = "own"


def points(policy: ExpiryPolicy, pending_days: int = 0) -> PointsCurrency:
    return PointsCurrency("points", "points", expiry=policy, pending_days=pending_days)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def lot(policy: ExpiryPolicy, *, pending_days: int = 0, **more: Any) -> Lot:
    activates_at, expires_at, _ = expiry.dates(policy, pending_days, EARNED, VIENNA, JOINED)
    activates_at, expires_at = more.get("activates", activates_at), more.get("expires", expires_at)
    return Books().credit(100, EARNED, activates=activates_at, expires=expires_at)


@pytest.mark.parametrize(
    ("before", "after", "end"),
    [
        ((MONTH,), QUARTER, "2026-06-08T00:00+02:00"),
        ((QUARTER,), MONTH, "2026-04-09T00:00+02:00"),
        ((MONTH,), NEVER, None),
        ((NEVER,), MONTH, "2026-04-09T00:00+02:00"),
        ((MONTH,), YEAR_ENDS, "2027-01-01T00:00+01:00"),
        ((MONTH,), MONTH, OWN),
        # Changed there and back again, or published once more: nothing to do.
        ((MONTH, QUARTER), MONTH, OWN),
    ],
)
def test_a_lot_gets_the_end_that_the_policy_in_force_gives(
    before: tuple[ExpiryPolicy, ...], after: ExpiryPolicy, end: str | None
) -> None:
    mine = lot(before[0])
    found = redated(mine, points(before[0]), [points(one) for one in before], points(after), VIENNA, JOINED)
    assert found == (None if end == OWN else (None, None if end is None else utc(end)))


def test_a_lot_that_was_redated_before_is_redated_again() -> None:
    mine = lot(QUARTER)  # issued under MONTH, redated when it became QUARTER
    assert redated(mine, points(MONTH), [points(QUARTER)], points(NEVER), VIENNA, JOINED) == (None, None)
    assert redated(mine, points(MONTH), [], points(NEVER), VIENNA, JOINED) is None


@pytest.mark.parametrize(
    "own",
    [
        {"expires": utc("2026-04-09T12:00+02:00")},
        {"expires": None},
        {"activates": utc("2026-03-20T00:00+01:00")},
    ],
)
def test_a_lot_with_dates_of_its_own_keeps_them(own: dict[str, Any]) -> None:
    assert redated(lot(MONTH, **own), points(MONTH), [points(MONTH)], points(QUARTER), VIENNA, JOINED) is None


def test_when_points_become_available_is_left_alone() -> None:
    mine = lot(QUARTER, pending_days=14)
    found = redated(mine, points(QUARTER, 14), [points(MONTH, 3)], points(MONTH, 3), VIENNA, JOINED)
    assert found == (mine.activates_at, utc("2026-04-09T00:00+02:00"))


def test_points_follow_the_members_own_year() -> None:
    mine, year = lot(MONTH), points(MemberYear())
    found = redated(mine, points(MONTH), [points(MONTH)], year, VIENNA, JOINED)
    assert found == (None, utc("2026-07-01T00:00+02:00"))
    assert redated(mine, points(MONTH), [points(MONTH)], year, VIENNA, date(2024, 4, 2)) == (
        None,
        utc("2026-04-02T00:00+02:00"),
    )


def test_points_neither_begin_to_slide_nor_cease_to() -> None:
    sliding = Inactivity(months=12)
    assert redated(lot(MONTH), points(MONTH), [points(MONTH)], points(sliding), VIENNA, JOINED) is None
    mine = lot(sliding)
    mine.slides = expiry.dates(sliding, 0, EARNED, VIENNA, JOINED).slides
    assert redated(mine, points(sliding), [points(sliding)], points(MONTH), VIENNA, JOINED) is None


@pytest.mark.parametrize(("days", "kept"), [(13, True), (14, True), (15, False)])
def test_pending_points_are_not_made_to_end_before_they_are_good(days: int, kept: bool) -> None:
    issued = points(QUARTER, 14)
    mine = lot(QUARTER, pending_days=14)
    assert (redated(mine, issued, [], points(Rolling(days=days), 14), VIENNA, JOINED) is None) == kept
    mine.pending, mine.available = 0, 100  # they have become available
    assert redated(mine, issued, [], points(Rolling(days=days), 14), VIENNA, JOINED) is not None


def test_figures_count_members_lots_and_points_by_months_and_what_would_expire_at_once() -> None:
    first, second, third = lot(MONTH), lot(MONTH), lot(NEVER)
    second.available, second.held = 30, 20
    lots = {str(n): one for n, one in enumerate((first, second, third))}
    april, may = utc("2026-04-09T00:00+02:00"), utc("2026-05-01T00:00+02:00")
    figures = Figures()
    new: Any = {"0": (None, april), "1": (None, april), "2": (None, may)}
    mine: Any = lots
    figures.add(mine, new, april, VIENNA)
    figures.add(mine, {"0": (None, None)}, april, VIENNA)  # pyright: ignore
    assert (figures.members, figures.lots, figures.points, figures.expiring) == (2, 4, 350, 130)
    assert figures.months == {
        "2026-04": {"2026-04": Count(2, 150), "never": Count(1, 100)},
        "never": {"2026-04": Count(1, 100)},  # good to the end of 30 April
    }
    figures.months["2025-12"] = {"never": Count(1, 1), "2026-01": Count(1, 1)}
    told = figures.ordered().months
    assert [(old, list(new)) for old, new in told.items()] == [
        ("2025-12", ["2026-01", "never"]),
        ("2026-04", ["2026-04", "never"]),
        ("never", ["2026-04"]),
    ]
