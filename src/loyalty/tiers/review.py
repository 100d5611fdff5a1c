"""Where a member stands: what carries a tier, what lifts it at once, and what reviews do when they are due.

Pure, and the same for purchases, reads and nightly jobs: whoever looks first reviews what is due, one due instant
after the other, so a late job changes no tier. Source: docs/tiers.md.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from loyalty.base.calendar import add_months, local_date, midnight
from loyalty.tiers.measure import at, measure, place, reached, upto
from loyalty.tiers.types import (
    Anniversary,
    Calendar,
    Day,
    Invitation,
    Lifetime,
    Manual,
    Move,
    RollingWindow,
    Standing,
    Tenure,
    TierSet,
    Why,
)
from loyalty.tiers.windows import Window, begins, earlier, leaves, window

_DAY = timedelta(days=1)


def begin(ladder: TierSet, joined_at: datetime, zone: ZoneInfo) -> Standing:
    """The standing of a member who has just joined: the lowest tier when that asks for nothing."""
    joined_on = local_date(joined_at, zone)
    first = at(ladder, reached(ladder, 0))
    standing = Standing(ladder.id, joined_on, earned=first, since=None if first is None else joined_at)
    return replace(standing, next_review_at=_next_review(ladder, standing, (), joined_at, zone))


def effective(ladder: TierSet, standing: Standing) -> str | None:
    """The tier that counts: what was earned, what stays for ever or what was given, whichever is highest.

    Needs: reviewed up to now.
    """
    return at(ladder, _effective(ladder, standing))


def review(
    ladder: TierSet, standing: Standing, days: Sequence[Day], now: datetime, zone: ZoneInfo
) -> tuple[Standing, tuple[Move, ...]]:
    """The standing once all is reviewed that is due at `now`, each at its own instant, and the moves this made."""
    moves: list[Move] = []
    while (due := standing.next_review_at) is not None and due <= now:
        standing, move = _review_at(ladder, standing, days, due, zone)
        moves += move
    return standing, tuple(moves)


def qualify(
    ladder: TierSet,
    standing: Standing,
    days: Sequence[Day],
    now: datetime,
    zone: ZoneInfo,
    *,
    occurred_on: date,
    returned: bool = False,
) -> tuple[Standing, tuple[Move, ...]]:
    """The standing after something was done or given back (`returned`) that happened on `occurred_on`.

    What came late repeats the reviews since: they may raise the tier that is held, and never lower it.
    Needs: reviewed up to `now` by the days before; `days` have it already.
    """
    on = local_date(now, zone)
    before, held = _effective(ladder, standing), place(ladder, standing.earned)
    carried = carrying(ladder, standing, days, on)
    changed = standing
    if occurred_on < on and not returned:
        again = _lived(ladder, standing.joined_on, days, now, zone)
        if place(ladder, again.earned) > max(held, carried):
            carried = held = place(ladder, again.earned)
            changed = replace(changed, earned=again.earned, falls_at=again.falls_at)
    if carried > held:
        changed = replace(changed, earned=at(ladder, carried), falls_at=None)
    elif carried == held and changed is standing:
        changed = replace(changed, falls_at=None)
    elif returned and ladder.returns == "at_once" and ladder.downgrade != "never":
        changed = replace(changed, earned=at(ladder, _lowered(ladder, held, carried)), falls_at=None)
    changed = _for_ever(ladder, changed, days, on)
    changed = replace(changed, next_review_at=_next_review(ladder, changed, days, now, zone))
    return _moved(ladder, before, changed, days, now, zone, Why.RETURNED if carried < held else Why.REACHED)


def _lived(ladder: TierSet, joined_on: date, days: Sequence[Day], now: datetime, zone: ZoneInfo) -> Standing:
    """The standing of a member whose days had all been known in time."""
    known: list[Day] = []
    standing = begin(ladder, midnight(joined_on, zone), zone)
    for day in sorted(days, key=lambda day: day.on):
        instant = min(midnight(day.on + _DAY, zone) - timedelta(microseconds=1), now)
        standing, _ = review(ladder, standing, known, instant, zone)
        known.append(day)
        standing, _ = qualify(ladder, standing, known, instant, zone, occurred_on=local_date(instant, zone))
    return review(ladder, standing, known, now, zone)[0]


def give(
    ladder: TierSet,
    standing: Standing,
    manual: Manual | None,
    days: Sequence[Day],
    now: datetime,
    zone: ZoneInfo,
) -> tuple[Standing, tuple[Move, ...]]:
    """The standing with a tier given by hand, or (None) with what was given taken back."""
    before = _effective(ladder, standing)
    changed = replace(standing, manual=manual)
    changed = replace(changed, next_review_at=_next_review(ladder, changed, days, now, zone))
    return _moved(ladder, before, changed, days, now, zone, Why.ENDED if manual is None else Why.GIVEN)


def carrying(ladder: TierSet, standing: Standing, days: Sequence[Day], on: date) -> int:
    """The place of the highest tier that some window carries on a date, as far as it has come; -1: none."""
    figures = (
        measure(ladder.metric, days, upto(one, on), standing.joined_on)
        for one in _counting(ladder, standing.joined_on, on)
    )
    return max((reached(ladder, figure) for figure in figures), default=-1)


def figure(ladder: TierSet, standing: Standing, days: Sequence[Day], on: date) -> int:
    """What is counted now, in the window that holds a date."""
    return measure(
        ladder.metric, days, upto(window(ladder.period, standing.joined_on, on), on), standing.joined_on
    )


def _counting(ladder: TierSet, joined_on: date, on: date) -> Iterator[Window]:
    """The windows whose tiers count on a date: the present one where tiers rise at once, and those that last."""
    period = ladder.period
    at_once = ladder.upgrade == "at_once"
    match period:
        case RollingWindow():
            yield window(period, joined_on, on if at_once else on - _DAY)
        case Lifetime():
            yield window(period, joined_on, on)
        case Calendar(lasts=lasts) | Anniversary(lasts=lasts):
            present = window(period, joined_on, on)
            if at_once or isinstance(ladder.metric, Tenure):
                yield present
            for _ in range(lasts):
                present = earlier(period, joined_on, present)
                yield present


def _review_at(
    ladder: TierSet, standing: Standing, days: Sequence[Day], due: datetime, zone: ZoneInfo
) -> tuple[Standing, tuple[Move, ...]]:
    """One review at its instant, the beginning of a local day or the end of what was given by hand."""
    on = local_date(due, zone)
    before, held = _effective(ladder, standing), place(ladder, standing.earned)
    carried = carrying(ladder, standing, days, on)
    why, changed = Why.REVIEWED, standing
    if standing.manual is not None and standing.manual.until is not None and standing.manual.until <= due:
        why, changed = Why.ENDED, replace(changed, manual=None)
    if carried >= held:
        changed = replace(changed, earned=at(ladder, carried), falls_at=None)
    elif ladder.downgrade != "never":
        if changed.falls_at is None and ladder.grace_days:
            changed = replace(changed, falls_at=midnight(on + timedelta(days=ladder.grace_days), zone))
        elif changed.falls_at is None or changed.falls_at <= due:
            changed = replace(changed, earned=at(ladder, _lowered(ladder, held, carried)), falls_at=None)
    changed = _for_ever(ladder, changed, days, on)
    changed = replace(changed, next_review_at=_next_review(ladder, changed, days, due, zone))
    return _moved(ladder, before, changed, days, due, zone, why)


def _lowered(ladder: TierSet, held: int, carried: int) -> int:
    return max(carried, held - 1) if ladder.downgrade == "one_level" else carried


def _for_ever(ladder: TierSet, standing: Standing, days: Sequence[Day], on: date) -> Standing:
    """With the highest tier that was reached in so many whole windows in a row."""
    period = ladder.period
    if not isinstance(period, Calendar | Anniversary):
        return standing
    kept = place(ladder, standing.lifetime)
    for n, tier in enumerate(ladder.tiers):
        if tier.lifetime_after is None or n <= kept:
            continue
        one = window(period, standing.joined_on, on)
        for _ in range(tier.lifetime_after):
            one = earlier(period, standing.joined_on, one)
            if measure(ladder.metric, days, one, standing.joined_on) < tier.threshold:
                break
        else:
            kept = n
    return (
        standing if kept == place(ladder, standing.lifetime) else replace(standing, lifetime=at(ladder, kept))
    )


def _next_review(
    ladder: TierSet, standing: Standing, days: Sequence[Day], now: datetime, zone: ZoneInfo
) -> datetime | None:
    """The next instant after `now` at which something changes if nothing more is done; None: never."""
    instants: list[datetime] = []
    if standing.manual is not None and standing.manual.until is not None:
        instants.append(standing.manual.until)
    if standing.falls_at is not None:
        instants.append(standing.falls_at)
    day = _next_day(ladder, standing, days, local_date(now, zone))
    if day is not None:
        instants.append(midnight(day, zone))
    return min((one for one in instants if one > now), default=None)


def _next_day(ladder: TierSet, standing: Standing, days: Sequence[Day], on: date) -> date | None:
    """The next day on whose beginning the windows carry another tier, or may let one fall."""
    period, held = ladder.period, place(ladder, standing.earned)
    match ladder.metric, period:
        case Invitation(), _:
            return None
        case Tenure(), _:
            coming = [add_months(standing.joined_on, tier.threshold) for tier in ladder.tiers[held + 1 :]]
            return min((day for day in coming if day > on), default=None)
        case _, Lifetime():
            return None
        case _, RollingWindow():
            return _rolls_out(ladder, period, standing, days, on, held)
        case _, Calendar(lasts=lasts) | Anniversary(lasts=lasts):
            # Behind as many windows as count, nothing that was done until now is in them: what is then, stays.
            longest = max((tier.lifetime_after or 0 for tier in ladder.tiers), default=0)
            for day in islice(begins(period, standing.joined_on, on), max(lasts, longest) + 2):
                carried = carrying(ladder, standing, days, day)
                if carried > held or (carried < held and ladder.downgrade != "never"):
                    return day
                if _for_ever(ladder, standing, days, day) is not standing:
                    return day
            return None


def _rolls_out(
    ladder: TierSet, period: RollingWindow, standing: Standing, days: Sequence[Day], on: date, held: int
) -> date | None:
    """The day on which so much has left the window that it carries another tier than `held`."""
    candidates = {leaves(period, day.on) for day in days}
    if ladder.upgrade == "at_review":
        candidates = {day + timedelta(days=n) for day in candidates for n in (0, 1)} | {on + _DAY}
    for day in sorted(day for day in candidates if day > on):
        carried = carrying(ladder, standing, days, day)
        if carried > held or (carried < held and ladder.downgrade != "never"):
            return day
    return None


def _effective(ladder: TierSet, standing: Standing) -> int:
    given = None if standing.manual is None else standing.manual.tier
    return max(place(ladder, one) for one in (standing.earned, standing.lifetime, given))


def _moved(
    ladder: TierSet,
    before: int,
    standing: Standing,
    days: Sequence[Day],
    instant: datetime,
    zone: ZoneInfo,
    why: Why,
) -> tuple[Standing, tuple[Move, ...]]:
    after = _effective(ladder, standing)
    if after == before:
        return standing, ()
    if after == place(ladder, standing.lifetime) and after > place(ladder, standing.earned):
        why = Why.LIFETIME
    counted = figure(ladder, standing, days, local_date(instant, zone))
    move = Move(instant, at(ladder, before), at(ladder, after), why, counted)
    return replace(standing, since=instant), (move,)
