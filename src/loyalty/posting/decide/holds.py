"""Holds: points set aside for a sale, with a deadline; extended, captured wholly or in part, released.

Order of checks: the hold (and whether the caller's location may see it), what became of it, its member, the figures.
What a hold does to lots stands in ledger/holds.py.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from loyalty.base.calendar import local_date, midnight
from loyalty.base.errors import LoyaltyError
from loyalty.ledger import holds
from loyalty.ledger.types import (
    Account,
    Bucket,
    Deadline,
    EntryKind,
    HoldNotFound,
    HoldState,
    PlacedHold,
)
from loyalty.members.types import Member
from loyalty.posting.answers import Captured, HoldAnswer
from loyalty.posting.book import Work
from loyalty.posting.commands import CaptureHold, ExtendHold, PlaceHold, ReleaseHold, UseHold
from loyalty.posting.decide.outcome import Outcome, active, balances, currency_of, reaches
from loyalty.posting.detail import CapturedHold, Detail
from loyalty.posting.types import HoldOfAnotherMember, HoldTooLong, PointsNotSpendable


def place(work: Work, command: PlaceHold) -> Outcome:
    """Set points aside, those that expire first. Raises: InsufficientPoints, HoldTooLong, PointsNotSpendable."""
    member = active(work.book.resolve(command.member))
    currency = currency_of(work, command.points_currency)
    if not currency.spendable:
        raise PointsNotSpendable(points_currency=currency.code)
    deadline = _deadline(work, currency.code, _wanted(work, command.minutes))
    _refuse_too_long(work, work.now, deadline)
    account = work.open_account(member.id, currency.code)
    made, draft = holds.hold(
        account,
        work.open_lots(account),
        command.points,
        work.now,
        hold_id=work.book.new_id_at(work.book.home(member.id)),
        lapses_at=deadline.lapses_at,
        good_until=deadline.good_until,
    )
    hold = PlacedHold(
        **msgspec.structs.asdict(made),
        owner_id=member.id,
        points_currency=currency.code,
        points=command.points,
        deadlines=(deadline,),
        reference=command.reference,
        till=command.till,
        location=command.location,
    )
    work.put_hold(hold)
    work.post(account, draft, hold.id)
    opened = {
        "points_currency": currency.code,
        "points": command.points,
        "lapses_at": deadline.lapses_at,
        "reference": command.reference,
        "till": command.till,
        "location": command.location,
    }
    note = {**opened, "good_until": deadline.good_until}
    return _outcome(work, "place_hold", hold, note, "loyalty.points.held", opened, status=201)


def extend(work: Work, command: ExtendHold) -> Outcome:
    """Put the deadline off, never forward; a hold that lasts longer anyway stays. Raises: HoldTooLong."""
    _, hold = _open(work, command.hold_id)
    active(work.book.member(hold.owner_id))
    lapses_at = _wanted(work, command.minutes)
    if lapses_at <= hold.lapses_at:
        return _outcome(work, "extend_hold", hold, {})
    deadline = _deadline(work, hold.points_currency, lapses_at)
    _refuse_too_long(work, hold.held_at, deadline)
    hold = msgspec.structs.replace(
        hold,
        lapses_at=deadline.lapses_at,
        good_until=deadline.good_until,
        deadlines=(*hold.deadlines, deadline),
    )
    work.put_hold(hold)
    told = {"lapses_at": deadline.lapses_at}
    note = {**told, "good_until": deadline.good_until}
    return _outcome(work, "extend_hold", hold, note, "loyalty.points.hold_extended", told)


def capture(work: Work, command: CaptureHold) -> Outcome:
    """Take points for good. Raises: InsufficientPoints when fewer are held."""
    account, hold = _open(work, command.hold_id)
    active(work.book.member(hold.owner_id))
    hold = _take(work, account, hold, command.points, release_rest=command.release_rest)
    moved = _moved(work, hold.id)
    told = {"points_currency": hold.points_currency, "points": moved[0], "released": moved[1]}
    return _outcome(work, "capture_hold", hold, told, "loyalty.points.captured", told)


def release(work: Work, command: ReleaseHold) -> Outcome:
    """Give back what is held; a hold that has ended, however it did, is answered as it is."""
    account, hold = _found(work, command.hold_id)
    if hold.state is not HoldState.OPEN:
        return _outcome(work, "release_hold", hold, {})
    hold = give_back(work, account, hold)
    told = {"points_currency": hold.points_currency, "points": _moved(work, hold.id)[1]}
    return _outcome(work, "release_hold", hold, told, "loyalty.points.released", told)


def give_back(work: Work, account: Account, hold: PlacedHold, cause: str | None = None) -> PlacedHold:
    """Release what is left of an open hold; what its return makes due is settled."""
    hold, draft = holds.release(account, work.open_lots(account), hold, work.now, cause)
    work.put_hold(hold)
    work.post(account, draft)
    work.settle(account)
    return hold


def pay(
    work: Work, member: Member | None, uses: Sequence[UseHold]
) -> tuple[tuple[Captured, ...], tuple[CapturedHold, ...]]:
    """Capture what a purchase names of its member's holds and release the rest of each.

    Returns what the answer says and what undoing it needs. A refusal names the place of its hold in the body.
    Raises: HoldNotFound, HoldOfAnotherMember, HoldLapsed, HoldCaptured, HoldReleased, InsufficientPoints.
    """
    said: list[Captured] = []
    kept: list[CapturedHold] = []
    for index, use in enumerate(uses):
        try:
            if not reaches(work, work.book.hold(use.id).location):
                raise HoldNotFound
            if member is None or work.book.hold(use.id).owner_id != member.id:
                raise HoldOfAnotherMember(hold_id=use.id)
            account, hold = _open(work, use.id)
            _take(work, account, hold, use.points, release_rest=True)
        except LoyaltyError as refusal:
            refusal.facts["pointer"] = f"/holds/{index}"
            raise
        taken, released, expired = _moved(work, hold.id)
        said.append(Captured(hold.id, hold.points_currency, taken, released, expired))
        for entry in work.entries:
            if entry.kind is EntryKind.CAPTURE and entry.corrects_entry_id == hold.id:
                parts = tuple((posting.lot_id, posting.points) for posting in entry.postings)
                kept.append(CapturedHold(hold.id, entry.id, hold.points_currency, parts))
    return tuple(said), tuple(kept)


def _found(work: Work, id: UUID) -> tuple[Account, PlacedHold]:
    """A hold and its account, settled. Raises: HoldNotFound, also when it is another location's."""
    if not reaches(work, work.book.hold(id).location):
        raise HoldNotFound
    return work.hold(id)


def _open(work: Work, id: UUID) -> tuple[Account, PlacedHold]:
    """The same, still open. Raises: HoldNotFound, HoldLapsed, HoldCaptured, HoldReleased."""
    account, hold = _found(work, id)
    holds.refuse_ended(hold)
    return account, hold


def _take(
    work: Work, account: Account, hold: PlacedHold, points: int | None, *, release_rest: bool
) -> PlacedHold:
    hold, draft = holds.capture(hold, hold.held if points is None else points, work.now)
    work.put_hold(hold)
    work.post(account, draft)
    if release_rest and hold.parts:
        hold = give_back(work, account, hold)
        hold.state = HoldState.CAPTURED
    return hold


def _moved(work: Work, hold_id: UUID) -> tuple[int, int, int]:
    """Points of a hold that this command took, gave back, and let expire as they came back."""
    moved: dict[tuple[Bucket, Bucket], int] = {}
    for entry in work.entries:
        if entry.corrects_entry_id == hold_id:
            for posting in entry.postings:
                move = (posting.source, posting.target)
                moved[move] = moved.get(move, 0) + posting.points
    expired = moved.get((Bucket.AVAILABLE, Bucket.EXPIRED), 0)
    returned = moved.get((Bucket.HELD, Bucket.AVAILABLE), 0)
    return moved.get((Bucket.HELD, Bucket.REDEEMED), 0), returned - expired, expired


def _wanted(work: Work, minutes: int | None) -> datetime:
    return work.now + timedelta(minutes=minutes or work.policies.settings.policies.hold_minutes)


def _deadline(work: Work, code: str, lapses_at: datetime) -> Deadline:
    """A deadline as policy now has it, with the grace for points whose lot ends before."""
    days, zone = work.policies.currencies[code].hold_grace_days, work.policies.zone
    good_until = midnight(local_date(lapses_at, zone) + timedelta(days=1 + days), zone) if days else None
    return Deadline(work.now, lapses_at, good_until, work.decision_id)


def _refuse_too_long(work: Work, held_at: datetime, deadline: Deadline) -> None:
    latest = held_at + timedelta(days=work.policies.settings.policies.hold_days_max)
    if deadline.lapses_at > latest:
        raise HoldTooLong(lapses_at=deadline.lapses_at, lapses_at_max=latest)


def _outcome(
    work: Work,
    kind: str,
    hold: PlacedHold,
    note: Mapping[str, object],
    event: str | None = None,
    told: Mapping[str, object] | None = None,
    *,
    status: int = 200,
) -> Outcome:
    taken, released, expired = _moved(work, hold.id)
    return Outcome(
        kind=kind,
        cell=work.book.home(hold.owner_id),
        member_id=hold.owner_id,
        activity_id=None,
        occurred_at=work.now,
        detail=Detail(note={"hold_id": hold.id, **note}),
        status=status,
        answer=HoldAnswer(
            id=hold.id,
            state=hold.state.value,
            member_id=hold.owner_id,
            points_currency=hold.points_currency,
            points=hold.points,
            held=hold.held,
            captured=hold.captured,
            held_at=hold.held_at,
            lapses_at=hold.lapses_at,
            ended_at=hold.ended_at,
            taken=taken,
            released=released,
            expired=expired,
            balances=balances(work, hold.owner_id),
            recorded_at=work.now,
            decision_id=work.decision_id,
        ),
        event=event,
        event_data={"hold_id": hold.id, **(told or {})},
    )
