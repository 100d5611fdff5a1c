"""The tiers a second time: a member on a ladder in its public form, looked at on every day that could change anything.

Written from docs/tiers.md, sharing no code with the program. Only ladders that fall by what is counted, at once and
without grace, are played: what those say is a matter of the days alone, but for what went back and was not seen yet.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

JSON = dict[str, Any]
ONE = timedelta(days=1)
MONTHS = {"month": 1, "quarter": 3, "half_year": 6, "year": 12}


@dataclass
class Days:
    """What a member did, by local date: spend, purchases, points by points currency."""

    spend: dict[date, int] = field(default_factory=dict)
    visits: dict[date, int] = field(default_factory=dict)
    points: dict[tuple[date, str], int] = field(default_factory=dict)

    def add(self, on: date, spend: int, visits: int, points: dict[str, int]) -> None:
        self.spend[on] = self.spend.get(on, 0) + spend
        self.visits[on] = self.visits.get(on, 0) + visits
        for code, more in points.items():
            self.points[on, code] = self.points.get((on, code), 0) + more

    def of(self, metric: JSON) -> dict[date, int]:
        """What a metric counts of each day, days without anything left out."""
        match metric["kind"]:
            case "spend":
                found = self.spend
            case "visits":
                found = self.visits
            case "days":
                found = {on: int(many > 0) for on, many in self.visits.items()}
            case _:
                found = {
                    on: many for (on, code), many in self.points.items() if code == metric["points_currency"]
                }
        return {on: many for on, many in found.items() if many > 0}


@dataclass
class Place:
    """Where a member stands: the place earned (-1: none), by which ladder and configuration, looked at until when."""

    ladder: JSON
    earned: int
    looked: datetime
    judged: tuple[datetime, int]  # of a configuration, since when and its number
    given: tuple[int, datetime, datetime | None] | None = None  # a place by hand, from and until when
    steps: list[tuple[datetime, str | None]] = field(default_factory=list)  # since when which tier counted

    def note(self, at: datetime, *, anew: bool = False) -> None:
        """Write down which tier counts since an instant, if it is another than before."""
        tier = name(self.ladder, held(self))
        if anew or tier != (self.steps[-1][1] if self.steps else None):
            self.steps.append((at, tier))


def begin_of(on: date, unit: str) -> date:
    """The first day of the calendar period that holds a date."""
    months = MONTHS[unit]
    return date(on.year, (on.month - 1) // months * months + 1, 1)


def windows(period: JSON, on: date) -> list[date]:
    """The first days of the windows that count on a date, each to the day before the next one or to the date."""
    match period["kind"]:
        case "calendar":
            first = [begin_of(on, period["unit"])]
            for _ in range(period["lasts"]):
                first.append(begin_of(first[-1] - ONE, period["unit"]))
            return first
        case "rolling":
            return [on - timedelta(days=period["days"] - 1)]
        case _:
            return [date.min + ONE]


def counted(ladder: JSON, days: Days, on: date) -> int:
    """What is counted so far in the window that holds a date."""
    first = windows(ladder["period"], on)[0]
    return sum(many for day, many in days.of(ladder["metric"]).items() if first <= day <= on)


def carried(ladder: JSON, days: Days, on: date) -> int:
    """The place that the best window reaches on a date; -1: none."""
    last, best = on, -1
    for first in windows(ladder["period"], on):
        figure = sum(many for day, many in days.of(ladder["metric"]).items() if first <= day <= last)
        best = max(best, sum(figure >= tier["threshold"] for tier in ladder["tiers"]) - 1)
        last = first - ONE
    return best


def reviewed_on(period: JSON, on: date) -> bool:
    """Whether a ladder looks at everybody as a date begins."""
    return period["kind"] != "calendar" or begin_of(on, period["unit"]) == on


def pass_days(place: Place, days: Days, until: datetime, zone: ZoneInfo) -> bool:
    """Every day that has begun since the last look, up to an instant; whether anything changed by itself."""
    changed = False
    # Only as far as anything that was done can still count: behind that every day is like the one before.
    done = [*days.of(place.ladder["metric"]), place.looked.astimezone(zone).date()]
    period = place.ladder["period"]
    reach = {"rolling": period.get("days", 0), "calendar": 4 * 366, "lifetime": 1}[period["kind"]]
    last = min(until.astimezone(zone).date(), max(done) + timedelta(days=reach) + ONE)
    on = place.looked.astimezone(zone).date() + ONE
    while on <= last and midnight(on, zone) <= until:
        changed |= end_of_given(place, midnight(on, zone))
        if reviewed_on(period, on) and (now := carried(place.ladder, days, on)) != place.earned:
            place.earned, changed = now, True
            place.note(midnight(on, zone))
        on += ONE
    changed |= end_of_given(place, until)
    place.looked = max(place.looked, until)
    return changed


def end_of_given(place: Place, until: datetime) -> bool:
    """What was given by hand ends, if it does by an instant."""
    if place.given is None or (end := place.given[2]) is None or end > until:
        return False
    place.given = None
    place.note(end)
    return True


def held(place: Place) -> int:
    """The place that counts."""
    return max(place.earned, place.given[0] if place.given else -1)


def name(ladder: JSON, place: int) -> str | None:
    return ladder["tiers"][place]["id"] if place >= 0 else None


def told(place: Place, days: Days, on: date) -> tuple[str, str | None, int, str | None, int, int]:
    """What an answer says: tier set, tier, figure, next tier, missing, what would keep the tier."""
    ladder, now, figure = place.ladder, held(place), counted(place.ladder, days, on)
    above = ladder["tiers"][now + 1] if now + 1 < len(ladder["tiers"]) else None
    stays = place.given is not None and place.given[2] is None and place.given[0] == now
    kept = 0 if now < 0 or stays else ladder["tiers"][now]["threshold"]
    return (
        ladder["id"],
        name(ladder, now),
        figure,
        above["id"] if above else None,
        max(0, above["threshold"] - figure) if above else 0,
        max(0, kept - figure),
    )


def midnight(on: date, zone: ZoneInfo) -> datetime:
    """The instant at which a day begins, where the clock shows midnight on every day."""
    return datetime.combine(on, time.min, zone).astimezone(UTC)
