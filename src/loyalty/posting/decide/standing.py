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
from loyalty.posting.commands import GiveTier, ImportStanding, MemberRef
from loyalty.posting.decide.outcome import Outcome, encode
from loyalty.posting.detail import Detail, Stood
from loyalty.posting.types import NothingToImport, StandingDiffers, TierInvalid, TierSetNotFound
from loyalty.posting.ways import Way
from loyalty.rules.types import Award
from loyalty.tiers import review as tiers
from loyalty.tiers.measure import place
from loyalty.tiers.progress import progress
from loyalty.tiers.types import Day, Manual, Move, Standing, TierSet

IMPORTED = "import"  # the reason of a tier that was held in a former system


def stands(work: Work, member: Member, tier_set: str) -> Stands:
    """Where a member stands on a ladder in force, once all is reviewed that is due now."""
    mine = work.standings.get((member.id, tier_set))
    if mine is None:
        mine = _reviewed(work, member, tier_set)
    return mine


def held(work: Work, member: Member, at: datetime) -> dict[str, tuple[str, ...]]:
    """By ladder, the tiers up to the one that a member has, or had on an earlier day on the ladders of then.

    Of a day only its end is known: what the member did on the day itself counts.
    """
    zone, in_force = work.policies.zone, work.policies.ladders
    on = local_date(at, zone)
    now = {tier_set: stands(work, member, tier_set).standing for tier_set in in_force}
    if on >= local_date(work.now, zone):
        return {id: up_to(ladder, tiers.effective(ladder, now[id])) for id, ladder in in_force.items()}
    found: dict[str, tuple[str, ...]] = {}
    history = work.book.history
    for tier_set, ladder in history.at(at).ladders.items():
        standing = now.get(tier_set) or Standing(tier_set, local_date(member.enrolled_at, zone))
        days = work.days(member.id, tiers.remembered_since(ladder, on))
        # A ladder that was left out and came back has a step of that instant: what was reached before does not count.
        tier = tiers.as_of(ladder, standing, days, work.steps(member.id, tier_set), at, zone)
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
    # Reviewed by the days before; and a day that changes is known, so that nobody counts the change twice, or not at
    # all: a late purchase behind this one may be judged by a ladder of then.
    if member.status is not MemberStatus.ERASED and work.book.history.laddered:
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
    member, ladder = _named(work, command.member, command.tier_set)
    _refuse_invalid(work, ladder, command)
    given = None
    if command.tier is not None:
        given = Manual(command.tier, work.now, command.until, command.reason)
    return _give(work, member, ladder, given, "give_tier", command.reason)


def import_standing(work: Work, command: ImportStanding) -> Outcome:
    """A tier as the former system gave it. Of two since other instants the later holds, whichever was told first.

    Raises: TierSetNotFound, TierInvalid, NothingToImport, StandingDiffers.
    """
    member, ladder = _named(work, command.member, command.tier_set)
    _refuse_invalid(work, ladder, command)
    given = Manual(command.tier, command.since, command.until, IMPORTED)
    held = stands(work, member, ladder.id).standing.manual
    if held is not None and (held == given or held.given_at > given.given_at):
        raise NothingToImport
    if held is not None and held.given_at == given.given_at:
        raise StandingDiffers
    return _give(work, member, ladder, given, "import_standing", IMPORTED)


def _named(work: Work, ref: MemberRef, tier_set: str) -> tuple[Member, TierSet]:
    member, ladder = work.book.resolve(ref), work.policies.ladders.get(tier_set)
    if ladder is None:
        raise TierSetNotFound
    return member, ladder


def _refuse_invalid(work: Work, ladder: TierSet, command: GiveTier | ImportStanding) -> None:
    found: list[Fault] = []
    if command.tier is not None and place(ladder, command.tier) < 0:
        found.append(Fault("/tier", "unknown_tier", f"{ladder.id} has no tier {command.tier}."))
    if isinstance(command, ImportStanding) and command.since > work.now:
        found.append(Fault("/since", "out_of_range", "The beginning is still to come."))
    if command.until is not None and command.until <= work.now:
        found.append(Fault("/until", "out_of_range", "The end has passed already."))
    if found:
        raise TierInvalid(faults=tuple(found))


def _give(
    work: Work, member: Member, ladder: TierSet, given: Manual | None, kind: str, reason: str
) -> Outcome:
    zone, before = work.policies.zone, stands(work, member, ladder.id)
    days = work.days(member.id, tiers.looks_back(ladder, local_date(work.now, zone)))
    standing, moves = tiers.give(ladder, before.standing, given, days, work.now, zone)
    _stand(work, member, Stands(standing, before.judged_by), moves)
    told: dict[str, object] = {
        "tier_set": ladder.id,
        "tier": None if given is None else given.tier,
        "until": None if given is None else given.until,
        "reason": reason,
    }
    return Outcome(
        kind=kind,
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
                window_ends_on=at.until,
                next_tier=at.next_tier,
                missing=at.missing,
                to_keep=at.to_keep,
            )
        )
    return tuple(found)


def _reviewed(work: Work, member: Member, tier_set: str) -> Stands:
    """Through every ladder that was in force since, each from its instant on, up to now."""
    new = member.id in work.new_members
    stored = None if new else work.book.standing(member.id, tier_set)
    way = Way(work.book.history, tier_set, stored, member.enrolled_at, work.now)
    days = [] if new or way.since is None else work.days(member.id, way.since)
    return _stand(work, member, *way.walk(days), stored)


def _stand(
    work: Work, member: Member, after: Stands, moves: tuple[Move, ...], before: Stands | None = None
) -> Stands:
    """Keep where a member stands now, note it in the decision, and tell its steps."""
    tier_set = after.standing.tier_set
    key = (member.id, tier_set)
    before = work.standings.get(key, before)
    work.standings[key] = after
    noted = work.stood.get(key)
    made = noted.moves if noted else ()
    note = _note(after, (*made, *moves))
    if noted is not None or before is None or moves or note != _note(before, ()):
        work.stood[key] = note
    for n, move in enumerate(moves, start=len(made) + 1):
        work.moves.append((member.id, (work.decision_id, tier_set, n), move))
        data = {
            "tier_set": tier_set,
            "before": move.before,
            "after": move.after,
            "why": move.why,
            "counted": move.metric,
        }
        work.events.append(Event("loyalty.tier.changed", member.id, move.at, encode(data)))
    return after


def _note(of: Stands, moves: tuple[Move, ...]) -> Stood:
    one = of.standing
    return Stood(
        one.tier_set, of.judged_by, one.earned, one.since, one.lifetime, one.manual, one.falls_at, moves
    )
