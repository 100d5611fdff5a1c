"""Holds: points set aside for a sale, with a deadline; extended, captured wholly or in part, released.

Order of checks: the hold (and whether the caller's location may see it), what became of it, its member, the figures.
What a hold does to lots stands in ledger/holds.py; placing one for a reward and redeeming it in redemption.py.
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
    Entry,
    HoldNotFound,
    HoldState,
    InsufficientPoints,
    PlacedHold,
)
from loyalty.members.types import Member
from loyalty.posting.answers import Captured, HoldAnswer
from loyalty.posting.book import Work
from loyalty.posting.commands import (
    CaptureHold,
    ExtendHold,
    PinProof,
    Place,
    PlaceHold,
    ReleaseHold,
    UseHold,
)
from loyalty.posting.decide import pins
from loyalty.posting.decide.limits import within_limits
from loyalty.posting.decide.outcome import (
    Outcome,
    active,
    balances,
    currency_of,
    moved_receipt,
    reaches,
    spendable,
)
from loyalty.posting.detail import CapturedHold, Detail
from loyalty.posting.types import HoldForReward, HoldOfAnotherMember, HoldTooLong, PointsNotSpendable
from loyalty.rewards.types import Reward


def place(work: Work, command: PlaceHold) -> Outcome:
    """Set points aside, those that expire first.

    Raises: HoldTooLong, PointsNotSpendable, AccountFrozen, InsufficientPoints, SpendingLimit.
    """
    member = active(work.book.resolve(command.member))
    currency = currency_of(work, command.points_currency)
    if not currency.spendable:
        raise PointsNotSpendable(points_currency=currency.code)
    until = first_deadline(work, currency.code, command.minutes)
    place = Place(command.location, None, command.till, command.reference)
    return set_aside(work, member, currency.code, command.points, until, place, command.pin)


def first_deadline(work: Work, code: str, minutes: int | None) -> Deadline:
    """Until when a new hold is to last. Raises: HoldTooLong."""
    deadline = _deadline(work, code, _wanted(work, minutes))
    _refuse_too_long(work, work.now, deadline)
    return deadline


def set_aside(
    work: Work,
    member: Member,
    code: str,
    points: int,
    deadline: Deadline,
    place: Place,
    pin: PinProof | None,
    promised: tuple[Reward, int] | None = None,
) -> Outcome:
    """Hold points of a member, and with them so many of a reward.

    Raises: AccountFrozen, InsufficientPoints, SpendingLimit, PinRequired, PinLocked, PinChanged, PinWrong.
    """
    account = work.open_account(member.id, code)
    spendable(work, account)
    made, draft = holds.hold(
        account,
        work.open_lots(account),
        points,
        work.now,
        hold_id=work.book.new_id_at(work.book.home(member.id)),
        lapses_at=deadline.lapses_at,
        good_until=deadline.good_until,
    )
    within_limits(work, member.id, code, points, place.till)
    pins.proven(work, member.id, points, pin)
    hold = PlacedHold(
        **msgspec.structs.asdict(made),
        owner_id=member.id,
        points_currency=code,
        points=points,
        deadlines=(deadline,),
        reference=place.reference,
        till=place.till,
        location=place.location,
    )
    opened: dict[str, object] = {
        "points_currency": code,
        "points": points,
        "lapses_at": deadline.lapses_at,
        "reference": place.reference,
        "till": place.till,
        "location": place.location,
    }
    note: dict[str, object] = {"good_until": deadline.good_until}
    if promised is not None:
        reward, hold.quantity = promised
        hold.reward, hold.priced_by = reward.id, work.policies.number
        opened |= {"reward": hold.reward, "quantity": hold.quantity}
        note |= {"priced_by": hold.priced_by, "reserves": reward.stocked}
    _put(work, hold)
    work.post(account, draft, hold.id)
    return _outcome(work, "place_hold", hold, {**opened, **note}, "loyalty.points.held", opened, status=201)


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
    _put(work, hold)
    told = {"lapses_at": deadline.lapses_at}
    note = {**told, "good_until": deadline.good_until}
    return _outcome(work, "extend_hold", hold, note, "loyalty.points.hold_extended", told)


def capture(work: Work, command: CaptureHold) -> Outcome:
    """Take points for good. Raises: HoldForReward, InsufficientPoints when fewer are held."""
    account, hold = plain(_open(work, command.hold_id))
    active(work.book.member(hold.owner_id))
    hold, _ = _take(work, account, hold, command.points, release_rest=command.release_rest)
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
    _put(work, hold)
    work.post(account, draft)
    work.settle(account)
    return hold


def pay(
    work: Work, member: Member | None, uses: Sequence[UseHold]
) -> tuple[tuple[Captured, ...], tuple[CapturedHold, ...]]:
    """Capture what a purchase names of its member's holds and release the rest of each.

    Returns what the answer says and what undoing it needs. A refusal names the place of its hold in the body.
    Raises: HoldNotFound, HoldOfAnotherMember, HoldLapsed, HoldCaptured, HoldReleased, HoldForReward,
    InsufficientPoints.
    """
    said: list[Captured] = []
    kept: list[CapturedHold] = []
    for index, use in enumerate(uses):
        try:
            account, hold = plain(of_member(work, member, use.id))
            _, entry = _take(work, account, hold, use.points, release_rest=True)
        except LoyaltyError as refusal:
            refusal.facts["pointer"] = f"/holds/{index}"
            raise
        said.append(_captured(work, hold))
        parts = tuple((posting.lot_id, posting.points) for posting in entry.postings)
        kept.append(CapturedHold(hold.id, entry.id, hold.points_currency, parts))
    return tuple(said), tuple(kept)


def spend(
    work: Work, account: Account, hold: PlacedHold, points_currency: str, points: int, cause: str
) -> tuple[Entry, Captured]:
    """Take what a redemption costs out of a hold and give the rest of it back.

    They were set aside before: neither a freeze nor a limit on spending, which counted them then, stands against it.
    Raises: InsufficientPoints.
    """
    if hold.points_currency != points_currency:
        raise InsufficientPoints(wanted=points, available=0)
    _, entry = _take(work, account, hold, points, release_rest=True, cause=cause)
    return entry, _captured(work, hold)


def of_member(work: Work, member: Member | None, id: UUID) -> tuple[Account, PlacedHold]:
    """An open hold of the member who spends, and its account.

    Raises: HoldNotFound, HoldOfAnotherMember, HoldLapsed, HoldCaptured, HoldReleased.
    """
    if not reaches(work, work.book.hold(id).location):
        raise HoldNotFound
    if member is None or work.book.hold(id).owner_id != member.id:
        raise HoldOfAnotherMember(hold_id=id)
    return _open(work, id)


def plain(found: tuple[Account, PlacedHold]) -> tuple[Account, PlacedHold]:
    """A hold of nothing but points. Raises: HoldForReward."""
    if found[1].reward is not None:
        raise HoldForReward(hold_id=found[1].id, reward=found[1].reward)
    return found


def set_aside_of(work: Work, member_id: UUID, reward: str) -> int:
    """How many of a reward a member's open holds set aside."""
    found = 0
    for code in work.policies.currencies:
        account = work.account(member_id, code)
        if account is not None and account.held:
            found += sum(hold.quantity or 0 for hold in work.open_holds(account) if hold.reward == reward)
    return found


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
    work: Work,
    account: Account,
    hold: PlacedHold,
    points: int | None,
    *,
    release_rest: bool,
    cause: str | None = None,
) -> tuple[PlacedHold, Entry]:
    hold, draft = holds.capture(hold, hold.held if points is None else points, work.now, cause)
    _put(work, hold)
    entry = work.post(account, draft)
    if release_rest and hold.parts:
        hold = give_back(work, account, hold)
        hold.state = HoldState.CAPTURED
    return hold, entry


def _put(work: Work, hold: PlacedHold) -> None:
    """Keep a new or changed hold; what it sets aside of a stock ends at its deadline, or now that it is over."""
    work.put_hold(hold)
    if hold.reward is None:
        return
    assert hold.quantity is not None
    assert hold.priced_by is not None
    if work.book.history.numbered(hold.priced_by).offers[hold.reward].reward.stocked:
        work.reserve(hold.reward, hold.id, hold.quantity, hold.ended_at or hold.lapses_at)


def _captured(work: Work, hold: PlacedHold) -> Captured:
    taken, released, expired = _moved(work, hold.id)
    return Captured(hold.id, hold.points_currency, taken, released, expired)


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
    placed = hold.points if kind == "place_hold" else 0
    moved = {"set aside": placed, "spent": taken, "given back": released, "had expired": expired}
    after = balances(work, hold.owner_id)
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
            balances=after,
            receipt=moved_receipt(work, hold.points_currency, moved, after),
            recorded_at=work.now,
            decision_id=work.decision_id,
            reward=hold.reward,
            quantity=hold.quantity,
        ),
        event=event,
        event_data={"hold_id": hold.id, **(told or {})},
    )
