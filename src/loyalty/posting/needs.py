"""What a batch must read before it can be decided: from the commands alone, then from what that showed.

Pure. Too much is harmless, too little costs a second visit: `decide` asks for what it misses.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from uuid import UUID

from loyalty.base.calendar import local_date
from loyalty.base.ids import NIL
from loyalty.ledger import expiry
from loyalty.members.cells import cell_of
from loyalty.posting.book import Book, Keys
from loyalty.posting.commands import (
    AddIdentifier,
    Adjust,
    Approve,
    CancelPurchase,
    CancelRedemption,
    CaptureHold,
    ChangeMember,
    ChangeStock,
    ClaimPurchase,
    Enrol,
    EraseMember,
    ExchangePurchase,
    ExtendHold,
    Freeze,
    FulfilRedemption,
    GiveTier,
    HoldReward,
    ImportLot,
    ImportMember,
    ImportStanding,
    MemberRef,
    Notify,
    PayWithPoints,
    PlaceHold,
    RecordPurchase,
    RedateLots,
    Redeem,
    Reinstate,
    Reject,
    ReleaseHold,
    ReturnPurchase,
    SetPin,
    Settle,
    Submission,
    TransferPoints,
    Unfreeze,
    WriteOff,
)
from loyalty.posting.configuration import History
from loyalty.tiers.review import looks_back


def edge_keys(submissions: Iterable[Submission], history: History) -> Keys:
    """Keys that the commands themselves name."""
    keys = Keys.none()
    keys.standings = history.laddered
    for submission in submissions:
        if submission.idempotency is not None:
            keys.idempotency.add((submission.idempotency.scope, submission.idempotency.key))
        match submission.command:
            case RecordPurchase() as command:
                _purchase(keys, command, history)
            case ReturnPurchase() as command:
                _return(keys, command)
            case ExchangePurchase() as command:
                _return(keys, command.returned)
                _purchase(keys, command.purchase, history)
            case CancelPurchase() as command:
                keys.activity_names.add(("purchase", command.source, command.external_id))
                keys.activity_names.add(("cancel", command.source, command.external_id))
            case ImportLot() as command:
                keys.activity_names.add(("import_row", command.source, command.external_id))
                _member(keys, command.member)
            case (
                ClaimPurchase()
                | Adjust()
                | WriteOff()
                | Reinstate()
                | Freeze()
                | Unfreeze()
                | GiveTier()
                | ImportStanding()
                | PlaceHold()
                | HoldReward()
                | ChangeMember()
                | EraseMember()
                | SetPin() as command
            ):
                _member(keys, command.member)
            case Redeem() | PayWithPoints() as command:
                _member(keys, command.member)
                if command.hold_id is not None:
                    keys.holds.add(command.hold_id)
            case Settle() | RedateLots() | Notify() as command:
                keys.members.add(command.member_id)
            case ExtendHold() | CaptureHold() | ReleaseHold() as command:
                keys.holds.add(command.hold_id)
            case TransferPoints() as command:
                _member(keys, command.giver)
                _member(keys, command.taker)
            case AddIdentifier() as command:
                _member(keys, command.member)
                keys.identifiers.add(command.identifier)
            case Enrol() | ImportMember() as command:
                keys.identifiers.update(command.identifiers)
            case _:
                pass
    return keys


def deep_keys(submissions: Iterable[Submission], book: Book) -> Keys:
    """Keys that only what was read first could show: due accounts, debits, replays, undone decisions."""
    keys = Keys.none()
    for submission in submissions:
        if submission.idempotency is not None:
            record = book.records.get((submission.idempotency.scope, submission.idempotency.key))
            if record is not None:
                if record.decision is not None:
                    keys.decisions.add(record.decision)
                continue
        match submission.command:
            case RecordPurchase() as command:
                _recorded(keys, book, command)
            case ReturnPurchase() as command:
                _given_back(keys, book, command)
            case ExchangePurchase() as command:
                _given_back(keys, book, command.returned)
                _recorded(keys, book, command.purchase)
            case CancelPurchase() as command:
                seen = book.names.get(("cancel", command.source, command.external_id))
                purchase = book.names.get(("purchase", command.source, command.external_id))
                if seen is not None:
                    keys.decisions.add((seen.cell, seen.decision_id))
                elif purchase is not None:
                    keys.activities.add((purchase.cell, purchase.activity_id))
            case ClaimPurchase() as command:
                keys.activities.add((0, command.purchase_id))
                _due(keys, book, command.member)
                _days(keys, book, _named(book, command.member))
            case ImportLot() as command:
                held = book.names.get(("import_row", command.source, command.external_id))
                if held is not None:
                    keys.decisions.add((held.cell, held.decision_id))
                else:
                    _due(keys, book, command.member)
            case Adjust() as command:
                if command.points < 0:
                    _owner(keys, book, command.member)
                else:
                    _due(keys, book, command.member)
            case WriteOff() as command:
                _due(keys, book, command.member)
            case GiveTier() | ImportStanding() as command:
                _days(keys, book, _named(book, command.member))
            case Settle() as command:
                _due(keys, book, MemberRef(id=command.member_id))
                if _reviews(book, command.member_id):
                    _days(keys, book, command.member_id)
            case RedateLots() as command:
                _due(keys, book, MemberRef(id=command.member_id), always=True)
            case Notify() as command:
                _due(keys, book, MemberRef(id=command.member_id), always=True)
                _days(keys, book, command.member_id)
                keys.noticed.add((command.member_id, command.on))
            case PlaceHold() | PayWithPoints() | Freeze() | Unfreeze() | SetPin() as command:
                _owner(keys, book, command.member)
            case TransferPoints() as command:
                _owner(keys, book, command.giver)
                _due(keys, book, command.taker)
            case Approve() | Reject() as command:
                if book.proposals.get(command.proposal_id) is None:
                    keys.proposals.add(command.proposal_id)
            case EraseMember() as command:
                _due(keys, book, command.member, always=True)
            case ExtendHold() | CaptureHold() | ReleaseHold() as command:
                hold = book.holds.get(command.hold_id)
                if hold is not None:
                    _due(keys, book, MemberRef(id=hold.owner_id), always=True)
            case Redeem() | HoldReward() as command:
                _owner(keys, book, command.member)
                offer = book.history.at(book.now).offers.get(command.reward)
                if offer is not None and offer.reward.stocked:
                    keys.stocks.add(command.reward)
                member_id = _named(book, command.member)
                if offer is not None and offer.asks_identifiers and member_id is not None:
                    keys.identified.add(member_id)
            case ChangeStock() as command:
                keys.stocks.add(command.reward)
            case FulfilRedemption() | CancelRedemption() as command:
                keys.redemptions.add((cell_of(command.redemption_id, book.cells), command.redemption_id))
            case _:
                pass
    keys.stocks.difference_update(book.set_aside)
    keys.redemptions = {
        key for key in keys.redemptions if key[1] not in book.redemptions and key[0] in book.lanes
    }
    keys.decisions = {key for key in keys.decisions if key[1] not in book.decisions and key[0] in book.lanes}
    keys.activities = {
        key for key in keys.activities if key[1] not in book.activities and key[0] in book.lanes
    }
    keys.proposals = {id for id in keys.proposals if cell_of(id, book.cells) in book.lanes}
    keys.owners = {id for id in keys.owners if cell_of(id, book.cells) in book.lanes}
    keys.steps = {id for id in keys.steps if cell_of(id, book.cells) in book.lanes and id not in book.stepped}
    keys.noticed = {key for key in keys.noticed if cell_of(key[0], book.cells) in book.lanes}
    return keys


def _purchase(keys: Keys, command: RecordPurchase, history: History) -> None:
    keys.activity_names.add(("purchase", command.source, command.external_id))
    keys.holds.update(use.id for use in command.holds)
    if command.member is not None:
        _member(keys, command.member)
        if not history.empty:
            judged_by = history.at(command.occurred_at)
            for counter in judged_by.compiled.counter_keys(command.occurred_at):
                keys.periods.add(counter.period)


def _return(keys: Keys, command: ReturnPurchase) -> None:
    keys.activity_names.add(("return", command.source, command.external_id))
    if command.of is not None:
        keys.activity_names.add(("purchase", command.of.source, command.of.external_id))


def _recorded(keys: Keys, book: Book, command: RecordPurchase) -> None:
    held = book.names.get(("purchase", command.source, command.external_id))
    if held is not None:
        keys.decisions.add((held.cell, held.decision_id))
    elif command.member is not None:
        always = bool(command.holds) or _due_at_once(book, command)
        _due(keys, book, command.member, always=always)
        member_id = _named(book, command.member)
        _days(keys, book, member_id)
        if member_id is not None and book.history.laddered and _of_a_day_before(book, command):
            keys.steps.add(member_id)


def _given_back(keys: Keys, book: Book, command: ReturnPurchase) -> None:
    """The first answer of a return that is known, or the purchase: its awards, lots and owner come with it."""
    held = book.names.get(("return", command.source, command.external_id))
    if held is not None:
        keys.decisions.add((held.cell, held.decision_id))
    elif command.of is not None:
        purchase = book.names.get(("purchase", command.of.source, command.of.external_id))
        if purchase is not None:
            keys.activities.add((purchase.cell, purchase.activity_id))
    elif command.purchase_id is not None:
        keys.activities.add((min(book.lanes), command.purchase_id))


def _member(keys: Keys, ref: MemberRef) -> None:
    if ref.id is not None:
        keys.members.add(ref.id)
    elif ref.identifier is not None:
        keys.identifiers.add(ref.identifier)


def _of_a_day_before(book: Book, command: RecordPurchase) -> bool:
    zone = book.history.now.zone
    return local_date(command.occurred_at, zone) < local_date(book.now, zone)


def _due_at_once(book: Book, command: RecordPurchase) -> bool:
    """Whether points earned so late mature or expire in the command that records them: it settles once more."""
    occurred_at = command.occurred_at
    if book.now - occurred_at < timedelta(days=1):
        return False
    judged_by = book.history.at(occurred_at)
    member = None if command.member is None else book.members.get(_named(book, command.member) or NIL)
    joined_on = local_date(book.now if member is None else member.enrolled_at, judged_by.zone)
    for currency in judged_by.currencies.values():
        dates = expiry.dates(currency.expiry, currency.pending_days, occurred_at, judged_by.zone, joined_on)
        if any(due is not None and due <= book.now for due in (dates.activates_at, dates.expires_at)):
            return True
    return False


def _days(keys: Keys, book: Book, member_id: UUID | None) -> None:
    """The days of a member that its ladders count now, today where only those of other times count."""
    ladders = book.history.at(book.now).ladders.values()
    if member_id is None or not book.history.laddered or (ladders and member_id not in book.ranked):
        return
    stands = [book.standings.get((member_id, ladder.id)) for ladder in ladders]
    due = [one.standing.next_review_at or book.now for one in stands if one is not None]
    on = local_date(min([book.now, *due]), book.history.now.zone)
    since = min((looks_back(ladder, on) for ladder in ladders), default=on)
    if book.days_since.get(member_id, date.max) > since and member_id not in book.unsure:
        keys.days[member_id] = since


def _reviews(book: Book, member_id: UUID) -> bool:
    """Whether a member's tiers are to be reviewed, or placed on another ladder than they stand on."""
    history = book.history
    for code in history.at(book.now).ladders:
        one = book.standings.get((member_id, code))
        if one is None or not history.same_ladder(code, one.judged_by, book.now):
            return True
        if one.standing.next_review_at is not None and one.standing.next_review_at <= book.now:
            return True
    return False


def _named(book: Book, ref: MemberRef) -> UUID | None:
    """The id of a member that is named, where it is known."""
    return ref.id if ref.identifier is None else book.identifiers.get(ref.identifier)


def _owner(keys: Keys, book: Book, ref: MemberRef) -> None:
    """All accounts of a member from whom points are taken, and what may stand against it."""
    member_id = _named(book, ref)
    if member_id is not None and member_id not in book.owners:
        keys.owners.add(member_id)


def _due(keys: Keys, book: Book, ref: MemberRef, *, always: bool = False) -> None:
    """The open lots of a member's accounts that something is due on, or of all of them."""
    member_id = _named(book, ref)
    if member_id is None:
        return
    for code in book.history.now.currencies:
        account = book.accounts.get((member_id, code))
        if account is not None and account.id not in book.lots_complete:
            due = account.next_due_at is not None and account.next_due_at <= book.now
            # An activity puts off the end of what slides: when the account is next due, only all its lots tell.
            if due or always or account.slides is not None:
                keys.open_lots.add(account.id)
