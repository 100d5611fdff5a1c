"""Where members stand: examples a program manager can read, and a second opinion that goes day by day."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loyalty.base.calendar import local_date, midnight
from loyalty.tiers.progress import progress, projection
from loyalty.tiers.review import (
    adopt,
    as_of,
    begin,
    effective,
    falls_at,
    give,
    looks_back,
    qualify,
    remembered_since,
    review,
)
from loyalty.tiers.types import (
    Anniversary,
    Calendar,
    CalendarUnit,
    Day,
    DistinctDays,
    Invitation,
    Lifetime,
    Manual,
    Period,
    QualifyingPoints,
    RollingWindow,
    Spend,
    Standing,
    TenureMonths,
    Tier,
    TierSet,
    Visits,
    Why,
)
from loyalty.tiers.validate import faults

BERLIN = ZoneInfo("Europe/Berlin")
QUARTER, YEAR = Calendar(CalendarUnit.QUARTER), Calendar(CalendarUnit.YEAR)
JOINED = date(2025, 1, 31)


def ladder(**more: Any) -> TierSet:
    """Silver from 250, gold from 600, platinum from 1,200, by spend in a quarter."""
    fields: dict[str, Any] = {"metric": Spend(), "period": QUARTER} | more
    silver = Tier("silver", "Silver", 250)
    gold = Tier("gold", "Gold", 600, lifetime_after=fields.pop("gold_for_ever_after", None))
    tiers = fields.pop("tiers", (silver, gold, Tier("platinum", "Platinum", 1_200)))
    return TierSet("status", "Status", tiers=tiers, **fields)


class Member:
    """One member on a ladder, who does things on dates."""

    def __init__(self, on: TierSet, joined: date = JOINED, *, forgets: bool = False) -> None:
        self.ladder = on
        self.forgets = forgets  # whether only the days are given that may count
        self.days: dict[date, Day] = {}
        self.now = midnight(joined, BERLIN)
        self.standing, _ = begin(on, self.now, BERLIN)
        self.moves: list[tuple[str, str | None, Why]] = []
        self.counted: list[int] = []  # at each

    def goes_to(self, on: date, hour: int = 12) -> "Member":
        """Time passes, and everything due is reviewed."""
        self.now = max(self.now, midnight(on, BERLIN) + timedelta(hours=hour))
        self._took(review(self.ladder, self.standing, self._days(), self.now, BERLIN))
        return self

    def spends(self, amount: int, on: date, *, late: date | None = None) -> "Member":
        """A purchase on a date, told then or late; below zero: some of it goes back."""
        self.goes_to(late or on)
        before = self.days.get(on, Day(on))
        self.days[on] = Day(on, before.spend_minor + amount, before.visits + (amount > 0))
        took = qualify(
            self.ladder, self.standing, self._days(), self.now, BERLIN, occurred_on=on, returned=amount < 0
        )
        self._took(took)
        return self

    def is_given(self, tier: str | None, until: datetime | None = None) -> "Member":
        manual = None if tier is None else Manual(tier, self.now, until, "goodwill")
        self._took(give(self.ladder, self.standing, manual, self._days(), self.now, BERLIN))
        return self

    @property
    def tier(self) -> str | None:
        return effective(self.ladder, self.standing)

    def _days(self) -> tuple[Day, ...]:
        if not self.forgets:
            return tuple(self.days.values())
        first = looks_back(
            self.ladder, local_date(min(self.now, self.standing.next_review_at or self.now), BERLIN)
        )
        return tuple(day for day in self.days.values() if day.on >= first)

    def finds_itself_on(self, on: TierSet, day: date) -> "Member":
        """Another ladder is in force from a date on."""
        self.goes_to(day, 0)
        before, self.ladder = self.ladder, on
        self._took(adopt(on, self.standing, before, self._days(), self.now, BERLIN))
        return self

    def _took(self, took: tuple[Standing, Iterable[Any]]) -> None:
        self.standing, moves = took
        for move in moves:
            self.moves.append((str(move.at.astimezone(BERLIN).date()), move.after, move.why))
            self.counted.append(move.metric)


# --- a ladder by quarters ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "tier"),
    [
        (0, None),
        (249, None),
        (250, "silver"),
        (599, "silver"),
        (600, "gold"),
        (1_200, "platinum"),
        (9_999, "platinum"),
    ],
)
def test_a_threshold_is_itself_enough(spent: int, tier: str | None) -> None:
    member = Member(ladder()).spends(spent, date(2026, 5, 4))
    assert member.tier == tier


def test_a_tier_lasts_to_the_end_of_the_period_after_its_own() -> None:
    member = Member(ladder()).spends(700, date(2026, 5, 4))
    assert member.goes_to(date(2026, 9, 30), 23).tier == "gold"
    assert member.goes_to(date(2026, 10, 1), 0).tier is None
    assert member.moves == [("2026-05-04", "gold", Why.REACHED), ("2026-10-01", None, Why.REVIEWED)]


def test_what_was_reached_meanwhile_catches_the_fall() -> None:
    member = Member(ladder()).spends(700, date(2026, 5, 4)).spends(300, date(2026, 9, 30))
    assert member.goes_to(date(2026, 10, 1), 0).tier == "silver"
    assert member.goes_to(date(2027, 1, 1), 0).tier is None


def test_level_by_level_a_tier_falls_softly() -> None:
    member = Member(ladder(downgrade="one_level")).spends(1_300, date(2026, 5, 4))
    assert [
        member.goes_to(day, 0).tier for day in (date(2026, 10, 1), date(2027, 1, 1), date(2027, 4, 1))
    ] == [
        "gold",
        "silver",
        None,
    ]


def test_a_tier_that_never_falls_is_never_reviewed() -> None:
    member = Member(ladder(downgrade="never")).spends(700, date(2026, 5, 4))
    assert member.standing.next_review_at is None
    assert member.goes_to(date(2036, 1, 1)).tier == "gold"


def test_grace_gives_the_days_to_reach_it_again() -> None:
    member = Member(ladder(grace_days=14)).spends(700, date(2026, 5, 4))
    assert member.goes_to(date(2026, 10, 14), 23).tier == "gold"
    other = Member(ladder(grace_days=14)).spends(700, date(2026, 5, 4)).spends(650, date(2026, 10, 14))
    assert member.goes_to(date(2026, 10, 15), 0).tier is None
    assert other.goes_to(date(2027, 3, 31), 23).tier == "gold"


FALLS = midnight(date(2026, 10, 15), BERLIN)
A_DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("given", "until", "falls"),
    [
        (None, None, FALLS),
        ("silver", None, FALLS),
        ("gold", None, None),
        ("platinum", FALLS + A_DAY, None),
        ("gold", FALLS, FALLS),
        ("gold", FALLS - A_DAY, FALLS),
    ],
)
def test_a_member_is_told_of_the_end_of_a_grace_only_where_no_other_tier_outlasts_it(
    given: str | None, until: datetime | None, falls: datetime | None
) -> None:
    member = Member(ladder(grace_days=14)).spends(700, date(2026, 5, 4)).goes_to(date(2026, 10, 1))
    assert falls_at(member.ladder, member.is_given(given, until).standing) == falls
    standing = replace(member.standing, lifetime="gold")
    assert falls_at(member.ladder, standing) is None
    assert falls_at(member.ladder, replace(standing, lifetime="silver")) == falls


def test_a_grace_that_outlasts_the_period_ends_where_the_tier_is_reached_again() -> None:
    month = Calendar(CalendarUnit.MONTH)
    member = Member(ladder(period=month, upgrade="at_review", grace_days=70)).spends(300, date(2026, 5, 4))
    member.spends(
        300, date(2026, 7, 10)
    )  # in the grace of July: reached again on 1 August, carried through it
    assert member.goes_to(date(2026, 11, 9), 23).tier == "silver"
    assert member.goes_to(date(2026, 11, 10), 0).tier is None


def test_at_review_a_tier_is_reached_when_its_period_is_over() -> None:
    member = Member(ladder(upgrade="at_review")).spends(700, date(2026, 5, 4))
    assert member.tier is None
    assert member.goes_to(date(2026, 7, 1), 0).tier == "gold"
    assert member.goes_to(date(2026, 9, 30), 23).tier == "gold"
    assert member.goes_to(date(2026, 10, 1), 0).tier is None


def test_what_goes_back_counts_at_the_next_review_or_at_once() -> None:
    patient = (
        Member(ladder()).spends(700, date(2026, 5, 4)).spends(-200, date(2026, 5, 4), late=date(2026, 5, 9))
    )
    assert patient.tier == "gold"
    assert patient.goes_to(date(2026, 7, 1), 0).tier == "silver"
    strict = Member(ladder(returns="at_once")).spends(700, date(2026, 5, 4))
    assert strict.spends(-200, date(2026, 5, 4), late=date(2026, 5, 9)).tier == "silver"
    assert strict.moves[-1] == ("2026-05-09", "silver", Why.RETURNED)


@pytest.mark.parametrize("period", [RollingWindow(days=30), RollingWindow(months=2), Lifetime()])
def test_where_every_day_is_reviewed_what_went_back_counts_from_the_next_day(period: Any) -> None:
    bought, back = date(2026, 5, 4), date(2026, 5, 8)
    member = Member(ladder(period=period)).spends(700, bought).spends(-700, bought, late=back)
    assert (member.tier, member.goes_to(back + timedelta(days=1), 0).tier) == ("gold", None)
    assert member.moves[-1] == ("2026-05-09", None, Why.REVIEWED)
    kept = (
        Member(ladder(period=period, downgrade="never")).spends(700, bought).spends(-700, bought, late=back)
    )
    assert kept.goes_to(date(2027, 5, 4)).tier == "gold"


def test_what_comes_late_repeats_the_review_and_may_only_raise() -> None:
    """Told after a year of two thresholds: platinum then would be gold by now, level by level."""
    member = Member(ladder(downgrade="one_level")).goes_to(date(2026, 11, 2))
    assert member.tier is None
    assert member.spends(1_300, date(2026, 5, 4), late=date(2026, 11, 2)).tier == "gold"
    assert member.goes_to(date(2027, 1, 1), 0).tier == "silver"


def test_so_many_periods_in_a_row_are_for_ever() -> None:
    member = Member(ladder(gold_for_ever_after=3))
    for month in (2, 5, 8):
        member.spends(600, date(2026, month, 4))
    assert member.goes_to(date(2026, 10, 1), 0).standing.lifetime == "gold"
    assert member.goes_to(date(2030, 1, 1)).tier == "gold"
    broken = Member(ladder(gold_for_ever_after=3))
    for month, amount in ((2, 600), (5, 599), (8, 600), (11, 600)):
        broken.spends(amount, date(2026, month, 4))
    assert broken.goes_to(date(2030, 1, 1)).tier is None


# --- by hand ----------------------------------------------------------------------------------------------------


def test_a_tier_by_hand_holds_to_its_end_and_what_is_earned_counts_behind_it() -> None:
    until = midnight(date(2026, 8, 1), BERLIN)
    member = (
        Member(ladder()).goes_to(date(2026, 5, 1)).is_given("platinum", until).spends(700, date(2026, 5, 4))
    )
    assert member.tier == "platinum"
    assert member.goes_to(date(2026, 8, 1), 0).tier == "gold"
    assert member.moves == [("2026-05-01", "platinum", Why.GIVEN), ("2026-08-01", "gold", Why.ENDED)]
    assert member.is_given("platinum").is_given(None).tier == "gold"


@pytest.mark.parametrize("grace_days", [0, 5])
@pytest.mark.parametrize(
    ("period", "hours"),
    [
        (Calendar(CalendarUnit.QUARTER, lasts=0), 24),
        (Calendar(CalendarUnit.QUARTER, lasts=0), 15),
        (Anniversary(months=3, lasts=1), 24),
        (RollingWindow(days=30), 15),  # its next review is that of the next midnight
    ],
)
def test_what_ends_by_hand_takes_nothing_along_that_stays_until_the_next_review(
    period: Period, hours: int, grace_days: int
) -> None:
    """What went back is seen at the review, not because somebody was once given a tier for some days."""
    on, bought, back = ladder(period=period, grace_days=grace_days), date(2026, 5, 4), date(2026, 5, 8)
    given = Member(on).spends(700, bought).is_given("silver", midnight(back, BERLIN) + timedelta(hours=hours))
    other = Member(on).spends(700, bought)
    for member in (given, other):
        member.goes_to(back, 0).spends(-700, bought, late=back).goes_to(back, hours)
    assert given.standing == other.standing
    assert given.tier == "gold"
    assert given.goes_to(date(2027, 5, 4)).moves == other.goes_to(date(2027, 5, 4)).moves


def test_by_invitation_nothing_is_earned() -> None:
    member = Member(ladder(metric=Invitation())).spends(10**9, date(2026, 5, 4))
    assert (member.tier, member.is_given("gold").tier) == (None, "gold")


# --- other metrics and periods ----------------------------------------------------------------------------------


def test_visits_days_and_points_are_counted_each_in_their_way() -> None:
    days = (
        Day(date(2026, 5, 4), 100, 3, {"stars": 7}),
        Day(date(2026, 5, 5), 100, 1, {"stars": -2, "points": 9}),
    )
    tiers = (Tier("one", "One", 2), Tier("two", "Two", 4), Tier("three", "Three", 7))
    for metric, tier in ((Visits(), "two"), (DistinctDays(), "one"), (QualifyingPoints("stars"), "three")):
        of = ladder(metric=metric, tiers=tiers)
        now = datetime(2026, 5, 6, tzinfo=UTC)
        standing, _ = qualify(of, begin(of, now, BERLIN)[0], days, now, BERLIN, occurred_on=date(2026, 5, 5))
        assert effective(of, standing) == tier, metric


@pytest.mark.parametrize("upgrade", ["at_once", "at_review"])
@pytest.mark.parametrize("period", [Lifetime(), RollingWindow(days=90), YEAR], ids=repr)
def test_tenure_lifts_by_itself_on_the_day(period: Period, upgrade: str) -> None:
    tiers = (Tier("one", "One", 1), Tier("twelve", "Twelve", 12))
    member = Member(ladder(metric=TenureMonths(), period=period, tiers=tiers, upgrade=upgrade))
    assert member.goes_to(date(2025, 2, 27), 23).tier is None
    assert member.goes_to(date(2025, 2, 28), 0).tier == "one"  # the 31st of January, clamped
    assert member.goes_to(date(2026, 1, 31), 0).tier == "twelve"


def test_a_rolling_window_carries_a_tier_to_the_day_on_which_it_leaves() -> None:
    member = (
        Member(ladder(period=RollingWindow(days=90)))
        .spends(300, date(2026, 5, 4))
        .spends(300, date(2026, 6, 4))
    )
    assert member.tier == "gold"
    assert member.goes_to(date(2026, 8, 1), 23).tier == "gold"
    assert member.goes_to(date(2026, 8, 2), 0).tier == "silver"
    assert member.goes_to(date(2026, 9, 2), 0).tier is None


def test_anniversaries_begin_on_the_day_of_joining() -> None:
    member = Member(ladder(period=Anniversary(months=12)), date(2024, 2, 29)).spends(700, date(2025, 2, 27))
    assert member.goes_to(date(2026, 2, 27), 23).tier == "gold"
    assert member.goes_to(date(2026, 2, 28), 0).tier is None


def test_a_look_back_reaches_the_first_day_of_an_anniversary() -> None:
    member = Member(ladder(period=Anniversary(months=3, lasts=0)), forgets=True)
    member.spends(200, date(2025, 4, 30)).spends(50, date(2025, 7, 30))
    assert member.tier == "silver"


def test_the_days_that_a_past_day_asks_for_reach_back_through_every_window_that_counts() -> None:
    of, on = ladder(period=Anniversary(months=12)), date(2026, 12, 1)
    member = Member(of).spends(700, date(2025, 2, 10))  # gold to the end of the second year, 30 January 2027
    known = [day for day in member.days.values() if day.on >= remembered_since(of, on)]
    assert as_of(of, member.standing, known, (), midnight(on, BERLIN), BERLIN) == "gold"


def test_days_that_leave_a_window_together_are_one_step() -> None:
    """Of 29 and 31 January nothing is left on 1 March, on which the grace of what fell before ends as well."""
    of = ladder(period=RollingWindow(months=1), grace_days=16)
    member = Member(of, date(2024, 12, 1)).spends(1_200, date(2025, 1, 13))
    member.spends(400, date(2025, 1, 29)).spends(260, date(2025, 1, 31))
    for on, tier in ((date(2025, 2, 28), "platinum"), (date(2025, 3, 1), None)):
        told = as_of(of, member.standing, tuple(member.days.values()), (), midnight(on, BERLIN), BERLIN)
        assert told == member.goes_to(on, 0).tier == tier


def test_a_lifetime_ladder_only_rises() -> None:
    member = Member(ladder(period=Lifetime())).spends(700, date(2026, 5, 4))
    assert member.standing.next_review_at is None
    assert member.goes_to(date(2046, 1, 1)).tier == "gold"


# --- what is told -----------------------------------------------------------------------------------------------


def test_another_ladder_places_everybody_anew_by_what_it_counts() -> None:
    easy = ladder(tiers=(Tier("silver", "Silver", 100), Tier("gold", "Gold", 150)))
    member = Member(ladder()).spends(200, date(2026, 5, 4)).finds_itself_on(easy, date(2026, 5, 10))
    assert member.tier == "gold"
    assert member.moves == [("2026-05-10", "gold", Why.CHANGED)]
    assert member.goes_to(date(2026, 10, 1), 0).tier is None
    hard = ladder(tiers=(Tier("silver", "Silver", 900), Tier("gold", "Gold", 1_000)))
    member = Member(ladder()).spends(700, date(2026, 5, 4)).finds_itself_on(hard, date(2026, 5, 10))
    assert (member.tier, member.moves[-1]) == (None, ("2026-05-10", None, Why.CHANGED))


def test_another_ladder_keeps_its_own_word_about_falling() -> None:
    hard = (Tier("silver", "Silver", 900), Tier("gold", "Gold", 1_000))
    kept = ladder(tiers=hard, downgrade="never")
    assert (
        Member(ladder()).spends(700, date(2026, 5, 4)).finds_itself_on(kept, date(2026, 5, 10)).tier == "gold"
    )
    patient = ladder(tiers=hard, grace_days=30)
    member = Member(ladder()).spends(700, date(2026, 5, 4)).finds_itself_on(patient, date(2026, 5, 10))
    assert (member.goes_to(date(2026, 6, 8), 23).tier, member.goes_to(date(2026, 6, 9), 0).tier) == (
        "gold",
        None,
    )


def test_a_tier_that_is_no_longer_there_is_none() -> None:
    other = ladder(tiers=(Tier("blue", "Blue", 500),), downgrade="never")
    member = Member(ladder()).spends(300, date(2026, 5, 4)).finds_itself_on(other, date(2026, 5, 10))
    assert (member.tier, member.moves[-1]) == (None, ("2026-05-10", None, Why.CHANGED))


def test_the_same_ladder_again_changes_nothing() -> None:
    member = Member(ladder()).spends(300, date(2026, 5, 4))
    before = member.standing
    assert member.finds_itself_on(ladder(), date(2026, 5, 10)).standing == before


def test_progress_says_what_is_missing_until_when_and_what_keeps_the_tier() -> None:
    member = Member(ladder()).spends(700, date(2026, 5, 4)).spends(100, date(2026, 8, 4))
    told = progress(member.ladder, member.standing, member.days.values(), member.now, BERLIN)  # type: ignore[arg-type]
    assert (told.metric, told.until, told.next_tier, told.missing, told.to_keep) == (
        100,
        date(2026, 9, 30),
        "platinum",
        1_100,
        500,
    )


def test_what_keeps_a_tier_is_told_of_the_tier_that_counts() -> None:
    def keeps(member: Member, manual: Manual | None) -> int:
        standing = replace(member.standing, manual=manual)
        return progress(member.ladder, standing, tuple(member.days.values()), member.now, BERLIN).to_keep

    member = Member(ladder()).spends(300, date(2026, 5, 4))
    gold = member.ladder.tiers[1]
    assert gold.id == "gold"
    ends = Manual("gold", member.now, member.now + timedelta(days=9), "goodwill")
    assert keeps(member, None) == 0
    assert keeps(member, ends) == gold.threshold - 300
    assert keeps(member, replace(ends, until=None)) == 0
    assert keeps(Member(ladder(metric=Invitation())), ends) == 0


def test_a_step_tells_what_is_counted_in_the_window_that_makes_it() -> None:
    member = Member(ladder()).spends(100, date(2026, 8, 4))
    member.spends(700, date(2026, 5, 4), late=date(2026, 8, 5))
    assert (member.moves[-1][1], member.counted[-1]) == ("gold", 700)


def test_the_projection_tells_every_step_down() -> None:
    member = Member(ladder(downgrade="one_level")).spends(700, date(2026, 5, 4))
    year = member.now + timedelta(days=365)
    moves = list(
        projection(member.ladder, member.standing, tuple(member.days.values()), member.now, BERLIN, year)
    )
    assert [(move.at.astimezone(BERLIN).date(), move.after) for move in moves] == [
        (date(2026, 10, 1), "silver"),
        (date(2027, 1, 1), None),
    ]


def test_a_member_who_does_nothing_is_never_reviewed() -> None:
    entry = (Tier("base", "Base", 0), Tier("gold", "Gold", 600))
    for of in (
        ladder(),
        ladder(tiers=entry),
        ladder(period=YEAR, gold_for_ever_after=2),
        ladder(upgrade="at_review"),
    ):
        assert Member(of).standing.next_review_at is None


# --- a second opinion -------------------------------------------------------------------------------------------

START = date(2025, 1, 31)
periods = st.sampled_from(
    (
        QUARTER,
        Calendar(CalendarUnit.MONTH, lasts=0),
        Calendar(CalendarUnit.MONTH, lasts=2),
        Calendar(CalendarUnit.HALF_YEAR),
        Anniversary(months=1),
        Anniversary(months=3, lasts=2),
        RollingWindow(days=30),
        RollingWindow(months=2),
        Lifetime(),
    )
)
purchases = st.lists(
    st.tuples(st.integers(0, 500), st.sampled_from((50, 250, 350, 600, 1_200))), min_size=1, max_size=12
)


def first_of(period: Any, on: date) -> date:
    """The first day of the window that holds a date, found by walking back."""
    match period:
        case Calendar(unit=unit):
            starts = {"month": range(1, 13), "quarter": (1, 4, 7, 10), "half_year": (1, 7), "year": (1,)}[
                unit
            ]
            while not (on.day == 1 and on.month in starts):
                on -= timedelta(days=1)
        case Anniversary(months=months):
            while on not in {clamped(START, months * n) for n in range(-30, 60)}:
                on -= timedelta(days=1)
        case _:
            raise AssertionError
    return on


def clamped(on: date, months: int) -> date:
    month = on.year * 12 + on.month - 1 + months
    day = on.day
    while True:
        try:
            return date(month // 12, month % 12 + 1, day)
        except ValueError:
            day -= 1


def carried(period: Any, spent: dict[date, int], on: date) -> int:
    """Tiers reached by the best window that counts at the end of a date."""

    def tiers(total: int) -> int:
        return sum(total >= threshold for threshold in (250, 600, 1_200))

    match period:
        case Lifetime():
            return tiers(sum(amount for day, amount in spent.items() if day <= on))
        case RollingWindow(days=None, months=months):
            first = clamped(on, -(months or 0)) + timedelta(days=1)
            return tiers(sum(amount for day, amount in spent.items() if first <= day <= on))
        case RollingWindow(days=days):
            first = on - timedelta(days=(days or 0) - 1)
            return tiers(sum(amount for day, amount in spent.items() if first <= day <= on))
        case _:
            best, last = 0, on
            for _ in range(period.lasts + 1):
                first = first_of(period, last)
                best = max(best, tiers(sum(amount for day, amount in spent.items() if first <= day <= last)))
                last = first - timedelta(days=1)
            return best


@given(period=periods, bought=purchases, looks=st.lists(st.integers(0, 700), max_size=8))
def test_a_tier_is_what_the_best_window_carries_whoever_looks_when(
    period: Any, bought: list[tuple[int, int]], looks: list[int]
) -> None:
    of = ladder(period=period)
    member = Member(of, START)
    spent: dict[date, int] = {}
    for day, amount in sorted([*bought, *((look, 0) for look in looks)]):
        on = START + timedelta(days=day)
        if amount:
            spent[on] = spent.get(on, 0) + amount
            member.spends(amount, on)
        else:
            member.goes_to(on)
        place = carried(period, spent, on)
        assert member.tier == (None, "silver", "gold", "platinum")[place]


@given(
    period=periods,
    bought=purchases,
    mode=st.sampled_from(("by_metric", "one_level", "never")),
    grace=st.sampled_from((0, 0, 5, 40)),
    upgrade=st.sampled_from(("at_once", "at_review")),
)
def test_one_look_after_long_is_like_one_every_day(
    period: Any, bought: list[tuple[int, int]], mode: str, grace: int, upgrade: str
) -> None:
    of = ladder(period=period, downgrade=mode, grace_days=grace, upgrade=upgrade)
    patient, busy = Member(of, START), Member(of, START)
    for day, amount in sorted(bought):
        on = START + timedelta(days=day)
        patient.spends(amount, on)
        for passed in range(500):
            if busy.now >= midnight(on, BERLIN) or passed > 499:
                break
            busy.goes_to(busy.now.astimezone(BERLIN).date() + timedelta(days=1), 0)
        busy.spends(amount, on)
        assert (busy.standing, busy.moves) == (patient.standing, patient.moves)


@given(
    period=periods,
    bought=purchases,
    mode=st.sampled_from(("by_metric", "one_level", "never")),
    grace=st.sampled_from((0, 5)),
    upgrade=st.sampled_from(("at_once", "at_review")),
    for_ever_after=st.sampled_from((None, 2)),
)
def test_what_was_done_before_a_look_back_counts_nothing(
    period: Any,
    bought: list[tuple[int, int]],
    mode: str,
    grace: int,
    upgrade: str,
    for_ever_after: int | None,
) -> None:
    if not isinstance(period, Calendar | Anniversary):
        for_ever_after = None
    of = ladder(
        period=period, downgrade=mode, grace_days=grace, upgrade=upgrade, gold_for_ever_after=for_ever_after
    )
    whole, short = Member(of, START), Member(of, START, forgets=True)
    for day, amount in sorted(bought):
        on = START + timedelta(days=2 * day)
        assert short.spends(amount, on).standing == whole.spends(amount, on).standing
        assert short.moves == whole.moves


@given(bought=purchases, order=st.randoms(), mode=st.sampled_from(("by_metric", "never")))
def test_all_told_late_in_any_order_is_as_if_it_had_been_told_in_time(
    bought: list[tuple[int, int]], order: Any, mode: str
) -> None:
    of = ladder(downgrade=mode)
    in_time, late = Member(of, START), Member(of, START)
    for day, amount in sorted(bought):
        in_time.spends(amount, START + timedelta(days=day))
    end = START + timedelta(days=600)
    order.shuffle(bought)
    for day, amount in bought:
        late.spends(amount, START + timedelta(days=day), late=end)
    in_time.goes_to(end)
    assert late.tier == in_time.tier
    assert late.standing.earned == in_time.standing.earned
    assert late.standing.next_review_at == in_time.standing.next_review_at


@given(
    period=periods,
    bought=purchases,
    looks=st.lists(st.integers(0, 1_400), max_size=8),
    mode=st.sampled_from(("by_metric", "one_level", "never")),
    grace=st.sampled_from((0, 5, 40, 100)),
    upgrade=st.sampled_from(("at_once", "at_review")),
    for_ever_after=st.sampled_from((None, 2)),
)
def test_what_is_said_of_a_day_long_after_is_what_was_held_at_its_end(
    period: Any,
    bought: list[tuple[int, int]],
    looks: list[int],
    mode: str,
    grace: int,
    upgrade: str,
    for_ever_after: int | None,
) -> None:
    if not isinstance(period, Calendar | Anniversary):
        mode, for_ever_after = "never" if mode == "never" else "by_metric", None
    elif period.lasts == 0:
        upgrade = "at_once"
    of = ladder(
        period=period, downgrade=mode, grace_days=grace, upgrade=upgrade, gold_for_ever_after=for_ever_after
    )
    member, held = Member(of, START), dict[date, str | None]()
    for day, amount in sorted(
        [*((2 * day, amount) for day, amount in bought), *((look, 0) for look in looks)]
    ):
        on = START + timedelta(days=day)
        held[on] = (member.spends(amount, on) if amount else member.goes_to(on)).tier
    days = tuple(member.days.values())[::-1]
    for on, tier in held.items():
        known = [day for day in days if day.on >= remembered_since(of, on)]
        assert as_of(of, Standing(of.id, START), known, (), midnight(on, BERLIN), BERLIN) == tier


# --- what cannot be published -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, []),
        ({"metric": QualifyingPoints("stars")}, [("/0/metric/points_currency", "unknown_points_currency")]),
        ({"metric": QualifyingPoints("cents")}, [("/0/metric/points_currency", "not_qualifying")]),
        ({"metric": TenureMonths(), "grace_days": 3}, [("/0/downgrade", "contradictory_range")]),
        ({"period": RollingWindow()}, [("/0/period", "contradictory_range")]),
        ({"period": RollingWindow(1, 1)}, [("/0/period", "contradictory_range")]),
        ({"period": RollingWindow(days=9), "downgrade": "one_level"}, [("/0/downgrade", "contradictory_range")]),
        ({"period": Calendar(CalendarUnit.YEAR, 0), "upgrade": "at_review"},
         [("/0/period/lasts", "contradictory_range")]),
        ({"tiers": (Tier("a", "A", 5), Tier("a", "B", 5))},
         [("/0/tiers/1/id", "duplicate"), ("/0/tiers/1/threshold", "contradictory_range")]),
        ({"period": Lifetime(), "tiers": (Tier("a", "A", 5, lifetime_after=2),)},
         [("/0/tiers/0/lifetime_after", "contradictory_range")]),
    ],
)  # fmt: skip
def test_contradictions_are_named_by_their_place(more: dict[str, Any], told: list[tuple[str, str]]) -> None:
    assert [
        (fault.pointer, fault.code) for fault in faults((ladder(**more),), {"points": True, "cents": False})
    ] == told


def test_two_ladders_have_two_names() -> None:
    assert [fault.pointer for fault in faults((ladder(), ladder()), {})] == ["/1/id"]


def test_what_is_counted_is_told_as_far_as_it_can_be_told_exactly() -> None:
    on = date(2026, 5, 1)
    days = [Day(on, 2**53 - 1, 1, {}), Day(on + timedelta(days=1), 2**53 - 1, 1, {})]
    now = datetime(2026, 5, 3, tzinfo=UTC)
    standing, _ = begin(ladder(), now, BERLIN)
    assert progress(ladder(), standing, days, now, BERLIN).metric == 2**53 - 1
