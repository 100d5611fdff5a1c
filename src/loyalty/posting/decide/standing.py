"""Where the member of a command stands: reviewed before it is used, and lifted by what the command does.

What a ladder counts and when a tier falls is said in `tiers/` and docs/tiers.md; here it meets the book.
"""

from collections.abc import Iterable
from datetime import date, datetime

from msgspec.structs import replace

from loyalty.base.calendar import local_date
from loyalty.base.errors import Fault
from loyalty.members.types import Member, MemberStatus
from loyalty.posting.answers import GivenTier, StandingAnswer, TierAnswer
from loyalty.posting.book import Event, Stands, Work
from loyalty.posting.commands import GiveTier
from loyalty.posting.configuration import Loaded
from loyalty.posting.decide.outcome import Outcome, encode
from loyalty.posting.detail import Detail, Stood
from loyalty.posting.types import TierInvalid, TierSetNotFound
from loyalty.rules.types import Award
from loyalty.tiers import review as tiers
from loyalty.tiers.measure import place
from loyalty.tiers.progress import progress
from loyalty.tiers.types import Day, Manual, Move, Standing, TierSet


def stands(work: Work, member: Member, tier_set: str) -> Stands:
    """Where a member stands on a ladder in force, once all is reviewed that is due now."""
    mine = work.standings.get((member.id, tier_set))
    if mine is None:
        mine = _reviewed(work, member, tier_set)
    return mine


def held(work: Work, member: Member, at: datetime) -> dict[str, tuple[str, ...]]:
    """By ladder, the tiers up to the one that a member has, or had on an earlier day as far as is known now.

    Of a day only its end is known: what the member did on the day itself counts.
    """
    zone, found = work.policies.zone, dict[str, tuple[str, ...]]()
    on = local_date(at, zone)
    for tier_set, ladder in work.policies.ladders.items():
        standing = stands(work, member, tier_set).standing
        if on < local_date(work.now, zone):
            days = work.days(member.id, tiers.remembered_since(ladder, on))
            tier = tiers.as_of(ladder, standing, days, at, zone)
        else:
            tier = tiers.effective(ladder, standing)
        found[tier_set] = up_to(ladder, tier)
    return found


def up_to(ladder: TierSet, tier: str | None) -> tuple[str, ...]:
    """The tiers of a ladder up to one of them, from the lowest; none when that is not there."""
    return tuple(one.id for one in ladder.tiers[: place(ladder, tier) + 1])


def does(
    work: Work, member: Member, occurred_at: datetime, spend_minor: int, awards: Iterable[Award]
) -> None:
    """Count a purchase, and what it was awarded, for the day on which it was made; tiers rise."""
    _count(work, member, occurred_at, spend_minor, 1, ((one.points_currency, one.points) for one in awards))


def gives_back(
    work: Work,
    member: Member,
    occurred_at: datetime,
    spend_minor: int,
    points: Iterable[tuple[str, int]],
    *,
    complete: bool,
) -> None:
    """Take what goes back of a purchase, the last of it with `complete`, from the day on which it was made."""
    left = ((code, -figure) for code, figure in points)
    _count(work, member, occurred_at, -spend_minor, -complete, left, returned=True)


def _count(
    work: Work,
    member: Member,
    occurred_at: datetime,
    spend_minor: int,
    visits: int,
    points: Iterable[tuple[str, int]],
    *,
    returned: bool = False,
) -> None:
    zone, now = work.policies.zone, work.now
    on, today = local_date(occurred_at, zone), local_date(now, zone)
    figures: dict[str, int] = {}
    for code, figure in points:
        figures[code] = figures.get(code, 0) + figure
    ladders = () if member.status is MemberStatus.ERASED else work.policies.ladders.values()
    before = [(ladder, stands(work, member, ladder.id)) for ladder in ladders]
    # Reviewed by the days before; and a day that changes is known, so that nobody counts the change twice.
    if before:
        work.days(member.id, on)
    work.does(member.id, Day(on, spend_minor, visits, figures))
    for ladder, stood in before:
        late = on < today and not returned and tiers.remembers(ladder)
        since = date.min if late else min(on, tiers.looks_back(ladder, today))
        standing, moves = tiers.qualify(
            ladder, stood.standing, work.days(member.id, since), now, zone, occurred_on=on, returned=returned
        )
        _stand(work, member, Stands(standing, stood.judged_by), moves)


def review_all(work: Work, member: Member) -> bool:
    """Review a member on every ladder in force, and say whether that changed anything that is kept."""
    changed = False
    for tier_set in work.policies.ladders:
        changed |= work.book.standings.get((member.id, tier_set)) != stands(work, member, tier_set)
    return changed


def leave(work: Work, member: Member) -> None:
    """The member goes: nothing is reviewed any more."""
    for tier_set in work.policies.ladders:
        last = stands(work, member, tier_set)
        work.standings[member.id, tier_set] = replace(
            last, standing=replace(last.standing, next_review_at=None)
        )


def give(work: Work, command: GiveTier) -> Outcome:
    """Give a tier by hand, or take back what was given. Raises: TierSetNotFound, TierInvalid."""
    member = work.book.resolve(command.member)
    ladder = work.policies.ladders.get(command.tier_set)
    if ladder is None:
        raise TierSetNotFound
    found: list[Fault] = []
    if command.tier is not None and place(ladder, command.tier) < 0:
        found.append(Fault("/tier", "unknown_tier", f"{ladder.id} has no tier {command.tier}."))
    if command.until is not None and command.until <= work.now:
        found.append(Fault("/until", "out_of_range", "The end has passed already."))
    if found:
        raise TierInvalid(faults=tuple(found))
    given = None
    if command.tier is not None:
        given = Manual(command.tier, work.now, command.until, command.reason)
    zone, before = work.policies.zone, stands(work, member, ladder.id)
    days = work.days(member.id, tiers.looks_back(ladder, local_date(work.now, zone)))
    standing, moves = tiers.give(ladder, before.standing, given, days, work.now, zone)
    _stand(work, member, Stands(standing, before.judged_by), moves)
    told: dict[str, object] = {
        "tier_set": ladder.id,
        "tier": command.tier,
        "until": command.until,
        "reason": command.reason,
    }
    return Outcome(
        kind="give_tier",
        cell=work.book.home(member.id),
        member_id=member.id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note=told),
        status=200,
        answer=TierAnswer(
            member.id,
            next(one for one in shown(work, member) if one.tier_set == ladder.id),
            None if given is None else GivenTier(given.tier, given.given_at, given.until, given.reason),
            work.now,
            work.decision_id,
        ),
        event="loyalty.tier.given" if given else "loyalty.tier.taken_back",
        event_data=told,
    )


def shown(work: Work, member: Member) -> tuple[StandingAnswer, ...]:
    """What an answer says of a member's tiers, ladder by ladder in the configuration's order."""
    zone, found = work.policies.zone, list[StandingAnswer]()
    for ladder in work.policies.ladders.values():
        standing = stands(work, member, ladder.id).standing
        days = work.days(member.id, tiers.looks_back(ladder, local_date(work.now, zone)))
        at = progress(ladder, standing, days, work.now, zone)
        tier = tiers.effective(ladder, standing)
        found.append(
            StandingAnswer(
                tier_set=ladder.id,
                tier=tier,
                since=standing.since,
                counted=at.metric,
                until=at.until,
                next_tier=at.next_tier,
                missing=at.missing,
                to_keep=at.to_keep,
            )
        )
    return tuple(found)


def _reviewed(work: Work, member: Member, tier_set: str) -> Stands:
    """Through every ladder that was in force since, each from its instant on, up to now."""
    history, now, zone = work.book.history, work.now, work.policies.zone
    stored = None if member.id in work.new_members else work.book.standing(member.id, tier_set)
    begun = history.before(member.enrolled_at) if stored is None else history.numbered(stored.judged_by)
    ladder = begun.ladders.get(tier_set)
    judged_by = begun.number
    changes, last = list[Loaded](), ladder
    for one in history.succession(judged_by, now):
        if one.ladders.get(tier_set) != last:
            changes.append(one)
            last = one.ladders.get(tier_set)
    standing, moves = None if stored is None else stored.standing, tuple[Move, ...]()
    if standing is None and ladder is not None:
        standing, moves = tiers.begin(ladder, member.enrolled_at, zone)
    due = [one.effective_at for one in changes]
    if standing is not None and standing.next_review_at is not None and standing.next_review_at <= now:
        due.append(standing.next_review_at)
    days: list[Day] = []
    if due and member.id not in work.new_members:
        ladders = [ladder, *(one.ladders.get(tier_set) for one in changes)]
        on = local_date(min(due), zone)
        days = work.days(member.id, min(tiers.looks_back(one, on) for one in ladders if one is not None))
    for one in changes:
        after = one.ladders.get(tier_set)
        if ladder is not None and standing is not None:
            standing, made = tiers.review(ladder, standing, days, one.effective_at, zone)
            moves += made
        if after is not None:
            standing = standing or Standing(tier_set, local_date(member.enrolled_at, zone))
            standing, made = tiers.adopt(after, standing, ladder, days, one.effective_at, zone)
            moves += made
            judged_by = one.number
        ladder = after
    assert standing is not None
    assert ladder is not None, "a ladder in force"
    standing, made = tiers.review(ladder, standing, days, now, zone)
    return _stand(work, member, Stands(standing, judged_by), moves + made, stored)


def _stand(
    work: Work, member: Member, after: Stands, moves: tuple[Move, ...], before: Stands | None = None
) -> Stands:
    """Keep where a member stands now, note it in the decision, and tell its steps."""
    tier_set = after.standing.tier_set
    key = (member.id, tier_set)
    before = work.standings.get(key, before)
    work.standings[key] = after
    noted = work.stood.get(key)
    made = (*(noted.moves if noted else ()), *moves)
    note = _note(after, made)
    if noted is not None or before is None or moves or note != _note(before, ()):
        work.stood[key] = note
    for move in moves:
        data = {
            "tier_set": tier_set,
            "before": move.before,
            "after": move.after,
            "why": move.why,
            "counted": move.metric,
        }
        work.events.append(Event("loyalty.tier.changed", member.id, move.at, encode(data)))
    if moves:
        work.moves.append((member.id, tier_set, work.decision_id, moves))
    return after


def _note(of: Stands, moves: tuple[Move, ...]) -> Stood:
    one = of.standing
    return Stood(
        one.tier_set, of.judged_by, one.earned, one.since, one.lifetime, one.manual, one.falls_at, moves
    )
