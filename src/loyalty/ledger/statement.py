"""A statement: entries as their owner reads them, with what each changed, the balance it left, and words.

Pure. Which entries, and in which order, is the caller's.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.base.calendar import local_date
from loyalty.ledger.expiry import last_day_on
from loyalty.ledger.types import Bucket, Entry, EntryKind, StatementLine
from loyalty.programs.types import PointsCurrency

# Where points came from, by the kind of the decision that gave them.
_WITH = {"purchase": " with a purchase", "claim": " with a claimed purchase"}
_BECAUSE = {
    "purchase_cancelled": "the purchase was cancelled",
    "purchase_returned": "goods were returned",
    "member_erased": "the membership ended",
    "waived": "a debt was written off",
    "reward": "a reward",
    "payment": "a payment",
    "redemption_cancelled": "the redemption was cancelled",
    "policy_changed": "how long points are good was changed",
}

Figures = tuple[int, int, int, int]  # pending, available, held, debt


def line(
    entry: Entry,
    before: Figures,
    *,
    currency: PointsCurrency,
    zone: ZoneInfo,
    recorded_at: datetime | None,
    about: tuple[str, UUID | None] | None,
) -> StatementLine:
    """One entry for reading; `before` is the balance the entry before it left.

    Without `recorded_at` the entry is due but not yet written. `about`: its decision's kind and activity.
    """
    pending, available, held, debt = before
    written = recorded_at is not None
    kind, activity_id = about or (None, None)
    return StatementLine(
        id=entry.id if written else None,
        seq=entry.seq if written else None,
        points_currency=currency.code,
        kind=entry.kind,
        occurred_at=entry.occurred_at,
        recorded_at=recorded_at,
        words=words(entry, currency, zone, kind),
        pending_change=entry.pending - pending,
        available_change=entry.available - available,
        held_change=entry.held - held,
        debt_change=entry.debt - debt,
        pending=entry.pending,
        available=entry.available,
        held=entry.held,
        debt=entry.debt,
        cause=entry.cause,
        decision_id=entry.decision_id if written else None,
        activity_id=activity_id,
        corrects_entry_id=entry.corrects_entry_id,
    )


def figures(entry: Entry) -> Figures:
    """The balance an entry left."""
    return entry.pending, entry.available, entry.held, entry.debt


def words(entry: Entry, currency: PointsCurrency, zone: ZoneInfo, decision_kind: str | None = None) -> str:
    """What an entry did, in one plain sentence without full stop."""
    moved = _moved(entry)

    def count(*moves: tuple[Bucket, Bucket]) -> str:
        return currency.counted(sum(moved.get(move, 0) for move in moves))

    match entry.kind:
        case EntryKind.EARN | EntryKind.ADJUST_CREDIT | EntryKind.IMPORT:
            return _credited(entry, currency, zone, decision_kind)
        case EntryKind.MATURE:
            return f"{count(*moved)} became available"
        case EntryKind.AUTO_CANCEL:
            return f"{count(*moved)} cancelled while pending{_why(entry)}"
        case EntryKind.EXPIRE:
            return f"{count(*moved)} expired{_why(entry)}"
        case EntryKind.HOLD:
            return f"{count(*moved)} set aside"
        case EntryKind.CAPTURE:
            return f"{count(*moved)} spent of those set aside{_why(entry)}"
        case EntryKind.RELEASE | EntryKind.LAPSE:
            back = f"{count((Bucket.HELD, Bucket.AVAILABLE))} set aside came back"
            lost = moved.get((Bucket.AVAILABLE, Bucket.EXPIRED), 0)
            return f"{back}; {currency.counted(lost)} had expired" if lost else back
        case EntryKind.REDEEM:
            return f"{count(*moved)} spent{_why(entry)}"
        case EntryKind.ADJUST_DEBIT:
            return f"{count(*moved)} deducted{_why(entry)}"
        case EntryKind.RESTORE:
            return f"{count(*moved)} given back{_why(entry)}"
        case EntryKind.REVOKE:
            owed = moved.get((Bucket.DEFICIT, Bucket.REVOKED), 0)
            taken = f"{count(*moved)} taken back{_why(entry)}"
            return f"{taken}; {currency.counted(owed)} already spent and now owed" if owed else taken
        case EntryKind.REPAY:
            return f"{count(*moved)} paid what was owed"
        case EntryKind.REINSTATE:
            return f"{count(*moved)} given back that had expired{_until(entry, zone)}{_why(entry)}"
        case EntryKind.REDATE:
            return f"New dates{_until(entry, zone)}{_why(entry)}"
        case EntryKind.TRANSFER_OUT:
            return f"{count(*moved)} given away{_why(entry)}"
        case EntryKind.TRANSFER_IN:
            return f"{count(*moved)} received{_why(entry)}"


def day_in_words(on: date) -> str:
    """A date as people write it: 4 May 2026."""
    return f"{on.day} {on:%B %Y}"


def _credited(entry: Entry, currency: PointsCurrency, zone: ZoneInfo, decision_kind: str | None) -> str:
    lot = entry.lots[0]
    points = currency.counted(lot.points)
    match entry.kind:
        case EntryKind.EARN:
            did = f"{points} earned{_WITH.get(decision_kind or '', '')}"
        case EntryKind.IMPORT:
            did = f"{points} carried over"
        case _:
            did = f"{points} credited{_why(entry)}"
    activates_at, expires_at = lot.issued_activates_at, lot.issued_expires_at
    if activates_at is not None and activates_at > entry.occurred_at:
        did += f", available from {day_in_words(local_date(activates_at, zone))}"
    if expires_at is not None:
        did += f", good to {day_in_words(last_day_on(expires_at, zone))}"
        did += "" if lot.slides is None else " and longer with every activity"
    return did


def _until(entry: Entry, zone: ZoneInfo) -> str:
    """What lots were given as their last day: one for all, or from the first to the last of several."""
    ends = {redate.new_expires_at for redate in entry.redates}
    days = [day_in_words(last_day_on(end, zone)) for end in sorted(end for end in ends if end is not None)]
    for_ever = ", some for ever" if None in ends else ""
    if len(days) > 1:
        return f", good to {days[0]} at the earliest and {days[-1]} at the latest{for_ever}"
    if days:
        return f", good to {days[0]}{for_ever}"
    return ", good for ever" if ends else ""


def _why(entry: Entry) -> str:
    """The cause in words; a program's own reason code as it is, without its underscores."""
    if entry.cause is None:
        return ""
    return ": " + _BECAUSE.get(entry.cause, entry.cause.replace("_", " "))


def _moved(entry: Entry) -> Mapping[tuple[Bucket, Bucket], int]:
    sums: dict[tuple[Bucket, Bucket], int] = {}
    for posting in entry.postings:
        move = (posting.source, posting.target)
        sums[move] = sums.get(move, 0) + posting.points
    return sums


def newest_first(lines: Iterable[StatementLine]) -> list[StatementLine]:
    """What is not yet written first, by its instant; then by number of record, which is the order of ids."""
    unwritten: list[StatementLine] = []
    written: list[tuple[UUID, StatementLine]] = []
    for one in lines:
        if one.id is None:
            unwritten.append(one)
        else:
            written.append((one.id, one))
    unwritten.reverse()
    unwritten.sort(key=lambda one: one.occurred_at, reverse=True)
    written.sort(key=lambda pair: pair[0], reverse=True)
    return unwritten + [one for _, one in written]
