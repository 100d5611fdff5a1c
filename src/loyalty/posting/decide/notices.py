"""What is ahead of a member, told in time: points that expire, tiers that fall.

Each is told once, so many days before its day as the program's policy says; late when the night was missed, and not
at all when the day has passed. Source: docs/jobs.md, "Notices".
"""

from collections.abc import Iterator
from datetime import date, timedelta

from loyalty.base.calendar import local_date, midnight
from loyalty.ledger.expiry import expiring, last_day_on
from loyalty.members.types import Member
from loyalty.posting.answers import NotifiedAnswer
from loyalty.posting.book import Event, Notice, Work
from loyalty.posting.commands import MemberRef, Notify
from loyalty.posting.decide.outcome import Outcome, encode
from loyalty.posting.decide.standing import stands
from loyalty.posting.detail import Detail
from loyalty.posting.types import NothingDue
from loyalty.tiers.measure import place
from loyalty.tiers.progress import projection
from loyalty.tiers.review import looks_back

_DAY = timedelta(days=1)
Told = tuple[Notice, str, dict[str, object]]  # with the type of its event and what that says


def notify(work: Work, command: Notify) -> Outcome:
    """Tell a member all that is due to be told on a day. Raises: NothingDue."""
    member = work.book.resolve(MemberRef(id=command.member_id))
    today = local_date(work.now, work.policies.zone)
    told: list[Notice] = []
    if command.on <= today:
        for notice, event, facts in (*_points(work, member, command.on), *_tiers(work, member, command.on)):
            # What has passed is not among them: the points are gone, the tier has fallen.
            if notice in work.book.told(member.id, command.on):
                continue
            days = {"days_before": notice.days_before, "days_left": (notice.day - today).days}
            work.events.append(Event(event, member.id, work.now, encode(facts | days)))
            work.notices.append((member.id, work.decision_id, notice))
            told.append(notice)
    if not told:
        raise NothingDue
    return Outcome(
        kind="notify",
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note={"on": command.on, "notices": told}),
        status=200,
        answer=NotifiedAnswer(member.id, len(told), work.now, work.decision_id),
        event=None,
        event_data={},
    )


def _points(work: Work, member: Member, on: date) -> Iterator[Told]:
    wanted = {on + timedelta(days=n): n for n in work.policies.settings.policies.notices.points_days}
    for code in work.policies.currencies if wanted else ():
        account = work.account(member.id, code)
        if account is None or not account.available:
            continue
        ends: dict[date, int] = {}
        for at, points in expiring(account, work.open_lots(account).values()).items():
            day = last_day_on(at, work.policies.zone)
            ends[day] = ends.get(day, 0) + points
        for day in sorted(wanted.keys() & ends.keys()):
            facts: dict[str, object] = {"points_currency": code, "points": ends[day], "last_day_on": day}
            yield Notice("points", code, day, wanted[day]), "loyalty.points.expiring", facts


def _tiers(work: Work, member: Member, on: date) -> Iterator[Told]:
    """By what is known: as if nothing more were done."""
    wanted = {on + timedelta(days=n): n for n in work.policies.settings.policies.notices.tier_days}
    zone, now = work.policies.zone, work.now
    for tier_set, ladder in work.policies.ladders.items() if wanted else ():
        standing = stands(work, member, tier_set).standing
        days = work.days(member.id, looks_back(ladder, local_date(now, zone)))
        until = midnight(max(wanted) + _DAY, zone) - timedelta(microseconds=1)
        falls: dict[date, dict[str, object]] = {}
        for move in projection(ladder, standing, days, now, zone, until):
            day = local_date(move.at, zone)
            if day in wanted and day not in falls and place(ladder, move.after) < place(ladder, move.before):
                falls[day] = {"tier_set": tier_set, "before": move.before, "after": move.after, "at": move.at}
        for day, facts in falls.items():
            yield Notice("tier", tier_set, day, wanted[day]), "loyalty.tier.falling", facts
