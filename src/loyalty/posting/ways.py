"""From where a standing was left to an instant: through every ladder that came in force on the way.

Pure. Commands, forecasts and plans go the same way; what a ladder does is said in `tiers/`.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise

from loyalty.base.calendar import local_date
from loyalty.posting.book import Stands
from loyalty.posting.configuration import History, Loaded
from loyalty.tiers import review as tiers
from loyalty.tiers.types import Day, Move, Standing

_INSTANT = timedelta(microseconds=1)


def last_in_force(history: History, now: datetime, until: datetime) -> dict[str, datetime]:
    """The tier sets that are in force at any time from `now` on, each with the last instant at which it is."""
    coming = [history.at(now), *(one for one in history.scheduled(now) if one.effective_at <= until)]
    found: dict[str, datetime] = {}
    for one, following in pairwise([*coming, None]):
        assert one is not None
        end = until if following is None else following.effective_at - _INSTANT
        found |= dict.fromkeys(one.ladders, end)
    return found


class Way:
    """One member's way on the ladder of one tier set, up to `until`; `stored` None: from joining on.

    `since` is the date from which on the member's days must be known, None where none are.
    Needs: the tier set in force at `until`.
    """

    def __init__(
        self, history: History, tier_set: str, stored: Stands | None, joined_at: datetime, until: datetime
    ) -> None:
        begun = history.before(joined_at) if stored is None else history.numbered(stored.judged_by)
        self._tier_set, self._joined_at, self._until = tier_set, joined_at, until
        self._zone = history.now.zone
        self._standing = None if stored is None else stored.standing
        self._ladder = last = begun.ladders.get(tier_set)
        self._judged_by = begun.number
        self._changes: list[Loaded] = []
        for one in history.succession(begun.number, until):
            if one.ladders.get(tier_set) != last:
                self._changes.append(one)
                last = one.ladders.get(tier_set)
        assert last is not None, "a ladder in force"
        self.since = self._since()

    def _since(self) -> date | None:
        due = [one.effective_at for one in self._changes]
        upcoming = None if self._standing is None else self._standing.next_review_at
        if upcoming is not None and upcoming <= self._until:
            due.append(upcoming)
        if not due:
            return None
        on = local_date(min(due), self._zone)
        ladders = [self._ladder, *(one.ladders.get(self._tier_set) for one in self._changes)]
        return min(tiers.looks_back(one, on) for one in ladders if one is not None)

    def walk(self, days: Sequence[Day]) -> tuple[Stands, tuple[Move, ...]]:
        """Where the member stands at the end, and the steps on the way, each at its own instant."""
        zone, joined_on = self._zone, local_date(self._joined_at, self._zone)
        ladder, standing, judged_by = self._ladder, self._standing, self._judged_by
        moves: tuple[Move, ...] = ()
        left: str | None = None
        if standing is None and ladder is not None:
            standing, moves = tiers.begin(ladder, self._joined_at, zone)
        for one in self._changes:
            after = one.ladders.get(self._tier_set)
            if ladder is not None and standing is not None:
                standing, made = tiers.review(ladder, standing, days, one.effective_at, zone)
                moves += made
                left = tiers.effective(ladder, standing)
            if after is not None:
                standing = standing or Standing(self._tier_set, joined_on)
                standing, made = tiers.adopt(after, standing, ladder, days, one.effective_at, zone, left=left)
                moves += made
                judged_by = one.number
            ladder = after
        assert ladder is not None and standing is not None
        standing, made = tiers.review(ladder, standing, days, self._until, zone)
        return Stands(standing, judged_by), moves + made
