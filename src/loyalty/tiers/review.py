"""Where a member stands: what carries a tier, what lifts it at once, and what reviews do when they are due.

Pure, and the same for purchases, reads and nightly jobs: whoever looks first reviews what is due, one due instant
after the other, so a late job changes no tier. Source: docs/tiers.md.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from loyalty.base.calendar import add_months, local_date, midnight
from loyalty.tiers.measure import Tally, at, place, reached
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
    Step,
    TenureMonths,
    TierSet,
    Why,
)
from loyalty.tiers.windows import Window, begins, earlier, leaves, months_of, window

_DAY = timedelta(days=1)
Reviewed = tuple[Standing, tuple[Move, ...]]


def begin(ladder: TierSet, joined_at: datetime, zone: ZoneInfo) -> Reviewed:
    """The standing of a member who has just joined: on the lowest tier when that asks for nothing."""
    look = _Look(ladder, (), local_date(joined_at, zone), zone)
    first = at(ladder, reached(ladder, 0))
    standing = look.scheduled(Standing(ladder.id, look.joined_on, earned=first), joined_at)
    return look.moved(-1, standing, joined_at, Why.REACHED)


def effective(ladder: TierSet, standing: Standing) -> str | None:
    """The tier that counts: what was earned, what stays for ever or what was given, whichever is highest.

    Needs: reviewed up to now.
    """
    return at(ladder, _effective(ladder, standing))


def falls_at(ladder: TierSet, standing: Standing) -> datetime | None:
    """When the tier that counts falls as a grace ends; None: no grace runs, or another tier as high outlasts it."""
    ends, given = standing.falls_at, standing.manual
    if ends is None or place(ladder, standing.lifetime) >= place(ladder, standing.earned):
        return None
    if given is None or (given.until is not None and given.until <= ends):
        return ends
    return None if place(ladder, given.tier) >= place(ladder, standing.earned) else ends


def review(
    ladder: TierSet, standing: Standing, days: Sequence[Day], now: datetime, zone: ZoneInfo
) -> Reviewed:
    """The standing once all is reviewed that is due at `now`, each at its own instant, and the moves this made."""
    if standing.next_review_at is None or standing.next_review_at > now:
        return standing, ()
    return _Look(ladder, days, standing.joined_on, zone).review(standing, now)


def qualify(
    ladder: TierSet,
    standing: Standing,
    days: Sequence[Day],
    now: datetime,
    zone: ZoneInfo,
    *,
    occurred_on: date,
    returned: bool = False,
) -> Reviewed:
    """The standing after something was done or given back (`returned`) that happened on `occurred_on`.

    What came late repeats the reviews since: they may raise the tier that is held, and never lower it.
    Needs: reviewed up to `now` by the days before; `days` have it already.
    """
    look = _Look(ladder, days, standing.joined_on, zone)
    today = local_date(now, zone)
    late = occurred_on < today and not returned
    again = look.lived(today) if late and remembers(ladder) else None
    return look.qualify(standing, now, returned=returned, again=again)


def give(
    ladder: TierSet,
    standing: Standing,
    manual: Manual | None,
    days: Sequence[Day],
    now: datetime,
    zone: ZoneInfo,
) -> Reviewed:
    """The standing with a tier given by hand, or (None) with what was given taken back.

    Needs: reviewed up to `now`.
    """
    look = _Look(ladder, days, standing.joined_on, zone)
    changed = look.scheduled(replace(standing, manual=manual), now)
    why = Why.ENDED if manual is None else Why.GIVEN
    given, moves = look.moved(_effective(ladder, standing), changed, now, why)
    if moves and manual is not None and effective(ladder, given) == manual.tier:
        given = replace(given, since=manual.given_at)  # before now where it was held in a former system
    return given, moves


def adopt(
    ladder: TierSet,
    standing: Standing,
    before: TierSet | None,
    days: Sequence[Day],
    instant: datetime,
    zone: ZoneInfo,
    *,
    left: str | None = None,
) -> Reviewed:
    """The standing on a ladder that takes the place of `before` (None: of nothing): reviewed at once by what it counts.

    `left` is the tier that was held when the tier set was left out: who has none now, as it comes back, has lost that.
    Needs: reviewed up to `instant` on the ladder before.
    """
    look = _Look(ladder, days, standing.joined_on, zone)
    held = None if before is None else effective(before, standing)
    changed, _ = look.review_at(replace(standing, falls_at=None), instant, anew=True)
    holds = effective(ladder, changed)
    if holds is None and before is None:
        held = left
    if holds == held:
        return replace(changed, since=standing.since), ()
    counted = look.figure(local_date(instant, zone))
    return replace(changed, since=instant), (Move(instant, held, holds, Why.CHANGED, counted),)


def as_of(
    ladder: TierSet,
    standing: Standing,
    days: Sequence[Day],
    steps: Sequence[Step],
    instant: datetime,
    zone: ZoneInfo,
) -> str | None:
    """The tier at a past instant: the one that counted then, or a higher one that all would have given that is known
    now, had it been known in time.

    `ladder` is the one in force at the instant, `steps` are all on it in their order. Needs: the days since
    `remembered_since`.
    """
    lived = _Look(ladder, days, standing.joined_on, zone).lived(local_date(instant, zone))
    given = standing.manual
    if given is not None and given.given_at <= instant and (given.until is None or instant < given.until):
        lived = replace(lived, manual=given)
    counted = next((step.tier for step in reversed(steps) if step.at <= instant), None)
    return at(ladder, max(_effective(ladder, lived), place(ladder, counted)))


def remembered_since(ladder: TierSet, on: date) -> date:
    """A date before which nothing counts for the tier that is held on `on`, told only then."""
    if remembers(ladder) or any(tier.lifetime_after for tier in ladder.tiers):
        return date.min
    return looks_back(ladder, on)


def remembers(ladder: TierSet) -> bool:
    """Whether the tier depends on what was held before, and not on the windows alone."""
    return ladder.downgrade != "by_metric" or ladder.grace_days > 0


def looks_back(ladder: TierSet, on: date) -> date:
    """A date before which nothing is counted by whoever looks on `on` or later."""
    longest = max((tier.lifetime_after or 0 for tier in ladder.tiers), default=0)
    match ladder.metric, ladder.period:
        case ((TenureMonths() | Invitation()), _):
            return on
        case _, Lifetime():
            return date.min
        case _, RollingWindow() as rolling:
            return window(rolling, on, on - _DAY).first
        case _, (Calendar(lasts=lasts) | Anniversary(lasts=lasts)) as period:
            first = window(period, on, on).first if isinstance(period, Calendar) else on
            return add_months(first, -months_of(period) * (max(lasts, longest) + 1))


def due_next(
    ladder: TierSet, standing: Standing, days: Sequence[Day], now: datetime, zone: ZoneInfo
) -> datetime | None:
    """The next instant after `now` at which something changes by itself. Needs: reviewed up to `now`."""
    return _Look(ladder, days, standing.joined_on, zone).scheduled(standing, now).next_review_at


def figure(ladder: TierSet, standing: Standing, days: Sequence[Day], now: datetime, zone: ZoneInfo) -> int:
    """What is counted so far in the present window."""
    return _Look(ladder, days, standing.joined_on, zone).figure(local_date(now, zone))


class _Look:
    """One look at one member's days on one ladder."""

    def __init__(
        self,
        ladder: TierSet,
        days: Sequence[Day],
        joined_on: date,
        zone: ZoneInfo,
    ) -> None:
        self.ladder = ladder
        self.period = ladder.period
        self.joined_on = joined_on
        self.zone = zone
        self.tally = Tally(ladder.metric, days, joined_on)

    # --- what is counted ------------------------------------------------------------------------------------

    def figure(self, on: date) -> int:
        return self._count(window(self.period, self.joined_on, on), on)

    def carried_by(self, after: int, before: int, on: date) -> int:
        """What is counted in the window that a step is made by: the present one, but if an earlier one lifts."""
        counted = self.figure(on)
        if after > before and reached(self.ladder, counted) < after:
            return max((self._count(one, on) for one in self._counting(on)), default=counted)
        return counted

    def carrying(self, on: date) -> int:
        """The place of the highest tier that some window carries on a date, as far as it has come; -1: none."""
        return max((reached(self.ladder, self._count(one, on)) for one in self._counting(on)), default=-1)

    def _count(self, of: Window, on: date) -> int:
        return self.tally.between(of.first, min(of.last, on))

    def _counting(self, on: date) -> Iterator[Window]:
        """The windows whose tiers count on a date: the present one where tiers rise at once, and those that last.

        Months of membership come by themselves: no review is needed to see them.
        """
        at_once = self.ladder.upgrade == "at_once" or isinstance(self.ladder.metric, TenureMonths)
        match self.period:
            case RollingWindow():
                yield window(self.period, self.joined_on, on if at_once else on - _DAY)
            case Lifetime():
                yield window(self.period, self.joined_on, on)
            case Calendar(lasts=lasts) | Anniversary(lasts=lasts):
                present = window(self.period, self.joined_on, on)
                if at_once:
                    yield present
                for _ in range(lasts):
                    present = earlier(self.period, self.joined_on, present)
                    yield present

    # --- what changes ---------------------------------------------------------------------------------------

    def review(self, standing: Standing, now: datetime) -> Reviewed:
        moves: list[Move] = []
        while (due := standing.next_review_at) is not None and due <= now:
            standing, made = self.review_at(standing, due)
            moves += made
        return standing, tuple(moves)

    def review_at(self, standing: Standing, due: datetime, *, anew: bool = False) -> Reviewed:
        """One review at its instant, the beginning of a local day or the end of what was given by hand.

        `anew`: what is earned is judged at any instant, as on a ladder that takes another one's place.
        """
        ladder, on = self.ladder, local_date(due, self.zone)
        why, changed = Why.REVIEWED, standing
        if standing.manual is not None and standing.manual.until is not None and standing.manual.until <= due:
            why, changed = Why.ENDED, replace(changed, manual=None)
        if anew or standing.falls_at == due or self._judges(due, on):
            falls_on = changed.falls_at and local_date(changed.falls_at, self.zone)
            held, falls_on = self._reviewed(place(ladder, changed.earned), falls_on, self.carrying(on), on)
            falls_at = falls_on and midnight(falls_on, self.zone)
            changed = self._for_ever(replace(changed, earned=at(ladder, held), falls_at=falls_at), on)
        return self.moved(_effective(ladder, standing), self.scheduled(changed, due), due, why)

    def _judges(self, instant: datetime, on: date) -> bool:
        """Whether what is earned is judged at an instant: as a day begins, and where periods count, the first of one.

        What ends amid a period, given by hand, takes nothing along that stays until the next review.
        """
        by_periods = isinstance(self.period, Calendar | Anniversary)
        if by_periods and not isinstance(self.ladder.metric, TenureMonths):
            on = window(self.period, self.joined_on, on).first
        return instant == midnight(on, self.zone)

    def qualify(
        self, standing: Standing, now: datetime, *, returned: bool = False, again: Standing | None = None
    ) -> Reviewed:
        """`again` is the standing of a member whose days had all been known in time."""
        ladder, on = self.ladder, local_date(now, self.zone)
        held, carried = place(ladder, standing.earned), self.carrying(on)
        why, changed = Why.REACHED, standing
        if again is not None and place(ladder, again.earned) > max(held, carried):
            changed = replace(changed, earned=again.earned, falls_at=again.falls_at)
        elif carried > held:
            changed = replace(changed, earned=at(ladder, carried), falls_at=None)
        elif carried == held:
            changed = replace(changed, falls_at=None)
        elif returned and ladder.returns == "at_once" and ladder.downgrade != "never":
            why = Why.RETURNED
            changed = replace(changed, earned=at(ladder, self._lowered(held, carried)), falls_at=None)
        changed = self.scheduled(self._for_ever(changed, on), now)
        return self.moved(_effective(ladder, standing), changed, now, why)

    def lived(self, on: date) -> Standing:
        """Where a member stands at the end of a date whose days had all been known in time; nothing given by hand.

        Only days on which another tier may be carried are looked at: this is asked within a decision, of long lives.
        """
        held = carried = reached(self.ladder, 0)
        falls_on: date | None = None
        kept = Standing(self.ladder.id, self.joined_on)
        for day, carries, begins_so in self._turns(on):
            if falls_on is not None and falls_on < day:
                held, falls_on = self._reviewed(held, falls_on, carried, falls_on)
            carried = carries
            if begins_so:
                held, falls_on = self._reviewed(held, falls_on, carried, day)
                kept = self._for_ever(kept, day)
            elif carried >= held:
                held, falls_on = carried, None
        if falls_on is not None and falls_on <= on:
            held, falls_on = self._reviewed(held, falls_on, carried, falls_on)
        falls_at = falls_on and midnight(falls_on, self.zone)
        return replace(kept, earned=at(self.ladder, held), falls_at=falls_at)

    def _turns(self, until: date) -> Iterator[tuple[date, int, bool]]:
        """Days up to a date on which the place that is carried may change, in order, each with the place from then on,
        and whether the day begins with it: it is reviewed then. Otherwise it is reached by what was done on the day.
        """
        match self.ladder.metric, self.period:
            case ((TenureMonths() | Invitation()), _):
                yield until, self.carrying(until), False
            case _, Lifetime():
                for day, n in self.tally.climbs(self.ladder, date.min, until):
                    yield day, n, False
            case _, RollingWindow() as period:
                yield from self._rolling_turns(period, until)
            case _, (Calendar(lasts=lasts) | Anniversary(lasts=lasts)) as period:
                yield from self._turns_by_windows(period, lasts, until)

    def _turns_by_windows(
        self, period: Calendar | Anniversary, lasts: int, until: date
    ) -> Iterator[tuple[date, int, bool]]:
        at_once, nothing = self.ladder.upgrade == "at_once", reached(self.ladder, 0)
        ended = deque([nothing] * lasts, maxlen=lasts)  # what the windows that last have reached
        one = window(period, self.joined_on, min([self.joined_on, *self.tally.dates[:1]]))
        while one.first <= until:
            carried = max([*ended, nothing] if at_once else ended, default=-1)
            yield one.first, carried, True
            last = nothing
            for day, last in self.tally.climbs(self.ladder, one.first, min(one.last, until)):
                if at_once and last > carried:
                    yield day, last, False
            ended.append(last)
            one = window(period, self.joined_on, one.last + _DAY)

    def _rolling_turns(self, period: RollingWindow, until: date) -> Iterator[tuple[date, int, bool]]:
        at_once = self.ladder.upgrade == "at_once"
        later = timedelta(days=not at_once)  # at review, a day counts from the next one on
        marks = [(leaves(period, day) + later, False, -figure) for day, figure in self.tally.counted]
        marks += [(day + later, at_once, figure) for day, figure in self.tally.counted]
        marks.sort()
        total, place_before = 0, reached(self.ladder, 0)
        for (day, done, figure), (next_day, next_done, _) in pairwise([*marks, (date.max, True, 0)]):
            if day > until:
                return
            total += figure
            if (day, done) != (next_day, next_done) and (
                carried := reached(self.ladder, total)
            ) != place_before:
                yield day, carried, not done
                place_before = carried

    def _reviewed(self, held: int, falls_on: date | None, carried: int, on: date) -> tuple[int, date | None]:
        """The place that is held once a date is reviewed, and the date on which it falls if it is in its grace."""
        ladder = self.ladder
        if carried >= held:
            return carried, None
        if ladder.downgrade == "never":
            return held, falls_on
        if falls_on is None and ladder.grace_days:
            return held, on + timedelta(days=ladder.grace_days)
        if falls_on is None or falls_on <= on:
            return self._lowered(held, carried), None
        return held, falls_on

    def _lowered(self, held: int, carried: int) -> int:
        return max(carried, held - 1) if self.ladder.downgrade == "one_level" else carried

    def _for_ever(self, standing: Standing, on: date) -> Standing:
        """With the highest tier that was reached in so many whole windows in a row."""
        if not isinstance(self.period, Calendar | Anniversary):
            return standing
        before = kept = place(self.ladder, standing.lifetime)
        for n, tier in enumerate(self.ladder.tiers):
            if tier.lifetime_after is None or n <= before:
                continue
            one = window(self.period, self.joined_on, on)
            for _ in range(tier.lifetime_after):
                one = earlier(self.period, self.joined_on, one)
                if self._count(one, on) < tier.threshold:
                    break
            else:
                kept = n
        return standing if kept == before else replace(standing, lifetime=at(self.ladder, kept))

    def moved(self, before: int, standing: Standing, instant: datetime, why: Why) -> Reviewed:
        """The standing with the move that it is to whom it happens, if it is one."""
        after = _effective(self.ladder, standing)
        if after == before:
            return standing, ()
        if after == place(self.ladder, standing.lifetime) and after > place(self.ladder, standing.earned):
            why = Why.LIFETIME
        counted = self.carried_by(after, before, local_date(instant, self.zone))
        move = Move(instant, at(self.ladder, before), at(self.ladder, after), why, counted)
        return replace(standing, since=instant), (move,)

    # --- what is due next -----------------------------------------------------------------------------------

    def scheduled(self, standing: Standing, now: datetime) -> Standing:
        """With the next instant after `now` at which something changes if nothing more is done."""
        instants = [standing.falls_at, standing.manual and standing.manual.until]
        day = self._next_day(standing, local_date(now, self.zone))
        instants.append(day and midnight(day, self.zone))
        upcoming = [one for one in instants if one is not None and one > now]
        return replace(standing, next_review_at=min(upcoming, default=None))

    def _next_day(self, standing: Standing, on: date) -> date | None:
        """The next day on whose beginning the windows carry another tier, or may let one fall."""
        period, held = self.period, place(self.ladder, standing.earned)
        match self.ladder.metric, period:
            case Invitation(), _:
                return None
            case TenureMonths(), _:
                coming = (
                    add_months(self.joined_on, tier.threshold) for tier in self.ladder.tiers[held + 1 :]
                )
                return min((day for day in coming if day > on), default=None)
            case _, Lifetime():
                return on + _DAY if self._changes(on + _DAY, standing) else None
            case _, RollingWindow():
                return self._rolls_out(period, on, standing)
            case _, Calendar(lasts=lasts) | Anniversary(lasts=lasts):
                # Behind as many windows as count, nothing that was done until now is in them: what is then, stays.
                longest = max((tier.lifetime_after or 0 for tier in self.ladder.tiers), default=0)
                for day in islice(begins(period, self.joined_on, on), max(lasts, longest) + 2):
                    if self._changes(day, standing) or self._for_ever(standing, day) is not standing:
                        return day
                return None

    def _rolls_out(self, period: RollingWindow, on: date, standing: Standing) -> date | None:
        """The day on which so much has left the window that it carries another tier than the one held."""
        held = place(self.ladder, standing.earned)
        if self._changes(
            on + _DAY, standing
        ):  # today counts from now on, or what carried the tier has gone back
            return on + _DAY
        if held < 0 or self.ladder.downgrade == "never":
            return None
        last = self.tally.needed(self.ladder.tiers[held].threshold)
        at_review = self.ladder.upgrade == "at_review"  # where today counts from tomorrow on
        return last and leaves(period, last) + timedelta(days=at_review)

    def _changes(self, day: date, standing: Standing) -> bool:
        """Whether a review as a day begins would change what is earned, or catch the fall that is coming."""
        held, carried = place(self.ladder, standing.earned), self.carrying(day)
        if carried == held:
            return standing.falls_at is not None
        return carried > held or self.ladder.downgrade != "never"


def _effective(ladder: TierSet, standing: Standing) -> int:
    given = None if standing.manual is None else standing.manual.tier
    return max(place(ladder, one) for one in (standing.earned, standing.lifetime, given))
