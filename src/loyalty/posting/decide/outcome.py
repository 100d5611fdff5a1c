"""What every decider returns, and the pieces that several of them share."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from loyalty.ledger import expiry, lots
from loyalty.ledger.types import Account, Decision, Entry, EntryKind
from loyalty.members.types import Member, MemberBlocked, MemberStatus
from loyalty.posting.answers import Balance, Captured, Earned, Receipt
from loyalty.posting.book import Activity, ActivityKey, Event, Freeze, Made, Share, Work
from loyalty.posting.configuration import Loaded
from loyalty.posting.detail import COUNTERPART, AwardedLot, Detail, Received, Stood
from loyalty.posting.differences import differences
from loyalty.posting.types import AccountFrozen, PointsCurrencyUnknown
from loyalty.programs.types import PointsCurrency
from loyalty.rules.explain import balance_lines, receipt_lines
from loyalty.rules.types import EVALUATOR, Award


class Told(Struct, frozen=True):
    """What another member is told of a command that changed its points too."""

    member_id: UUID
    event: str
    data: dict[str, object]
    received: tuple[Received, ...]


class Outcome(Struct, frozen=True):
    """An accepted command before it is written: what its decision, event and answer say."""

    kind: str
    cell: int
    member_id: UUID | None
    activity_id: UUID | None
    occurred_at: datetime
    detail: Detail
    status: int
    answer: Struct
    event: str | None  # type of the engagement event; None: nothing to tell
    event_data: dict[str, object]
    others: tuple[Told, ...] = ()


class Replay(Exception):
    """The natural key is taken by the same content: the first answer again."""

    def __init__(self, cell: int, decision_id: UUID) -> None:
        super().__init__()
        self.cell = cell
        self.decision_id = decision_id


_ENCODER = msgspec.json.Encoder()


def encode(value: object) -> str:
    return _ENCODER.encode(value).decode()


def decided(work: Work, outcome: Outcome) -> Made:
    """The decision of an outcome with the entries made for it, what other lanes have of it, and all its events."""
    others = {told.member_id for told in outcome.others}
    events = [(outcome.cell, event) for event in work.events]
    deltas = work.deltas(lambda owner: owner not in others)
    if outcome.event is not None or deltas:
        data = {**outcome.event_data, "entries": deltas} if deltas else outcome.event_data
        kind = outcome.event or "loyalty.points.settled"
        events.append((outcome.cell, Event(kind, outcome.member_id, outcome.occurred_at, encode(data))))
    received: dict[int, list[Received]] = {}
    for told in outcome.others:
        home = work.book.home(told.member_id)
        data = {**told.data, "entries": work.deltas(told.member_id.__eq__)}
        events.append((home, Event(told.event, told.member_id, outcome.occurred_at, encode(data))))
        received.setdefault(home, []).extend(told.received)
    (_, mine), *shares = work.shares(outcome.cell).items()
    actor = work.submission.actor
    decision = Decision(
        id=work.decision_id,
        kind=outcome.kind,
        member_id=outcome.member_id,
        activity_id=outcome.activity_id,
        actor_kind=actor.kind,
        actor_id=actor.id,
        occurred_at=outcome.occurred_at,
        evaluator=EVALUATOR,
        detail=encode(
            _with(outcome.detail, mine, received.get(outcome.cell), work.stood_of(outcome.member_id))
        ),
        answer_status=outcome.status,
        answer=encode(outcome.answer),
        entries=tuple(mine.entries),
    )
    counterparts = [
        (
            cell,
            msgspec.structs.replace(
                decision,
                kind=COUNTERPART,
                member_id=None,
                activity_id=None,
                detail=encode(_with(Detail(counterpart_of=outcome.cell), share, received.get(cell))),
                answer="{}",
                entries=tuple(share.entries),
            ),
        )
        for cell, share in shares
    ]
    return Made(decision, outcome.cell, tuple(counterparts), tuple(events))


def _with(
    detail: Detail, share: Share, received: list[Received] | None, stood: tuple[Stood, ...] = ()
) -> Detail:
    """The detail with what its lane has of limits raised, of points that came to others and of tiers."""
    if not share.used and not received and not stood:
        return detail
    used = tuple((owner, key.rule_id, key.period, points) for owner, key, points in share.used)
    return msgspec.structs.replace(detail, used=used, received=tuple(received or ()), stood=stood)


def detail_of(work: Work, held: ActivityKey) -> Detail:
    """What its decision keeps of an activity."""
    return msgspec.json.decode(work.book.decision(held.cell, held.decision_id).detail, type=Detail)


def compared(work: Work, held: ActivityKey, stored: Activity, sent: str) -> tuple[bool, tuple[str, ...]]:
    """Whether `sent` is the content that was told of an activity; if not, where it differs, as far as that is kept."""
    if stored.content is None:
        return sha256(sent.encode()).hexdigest() == detail_of(work, held).content_sha256, ()
    pointers = differences(msgspec.json.decode(stored.content), msgspec.json.decode(sent))
    return not pointers, pointers


def active(member: Member) -> Member:
    """A member whose points may move. Raises: MemberBlocked."""
    if member.status is MemberStatus.BLOCKED:
        raise MemberBlocked(member_id=member.id)
    return member


def currency_of(work: Work, code: str) -> PointsCurrency:
    """A points currency of the program. Raises: PointsCurrencyUnknown."""
    found = work.policies.currencies.get(code)
    if found is None:
        raise PointsCurrencyUnknown(points_currency=code)
    return found


def spendable(work: Work, account: Account) -> int:
    """How many points may be taken from an account now: all that are available, unless it is frozen.

    Whatever takes points for good, gives them away or sets them aside asks here first; undoing and expiring do not.
    Order of a spender's checks: this one, InsufficientPoints, then `limits.within_limits`.
    Raises: AccountFrozen.
    """
    freeze = frozen(work, account.owner_id, account.points_currency)
    if freeze is not None:
        raise AccountFrozen(points_currency=account.points_currency, since=freeze.since)
    return account.available


def frozen(work: Work, member_id: UUID, points_currency: str) -> Freeze | None:
    """The freeze that an account is under now, if it is."""
    said = work.freeze(member_id, points_currency)
    return said if said is not None and said.frozen else None


def reaches(work: Work, location: str | None) -> bool:
    """Whether the actor may touch what happened at `location`: a till's key may be bound to some."""
    bound_to = work.submission.actor.locations
    return not bound_to or location is None or location in bound_to


def balances(work: Work, member_id: UUID | None) -> tuple[Balance, ...]:
    """The member's balances in every points currency of the program, settled, in the program's order."""
    if member_id is None:
        return ()
    found: list[Balance] = []
    for code in work.policies.currencies:
        account = work.account(member_id, code)
        if account is None:
            found.append(Balance(code, 0, 0, 0, 0))
        else:
            found.append(Balance(code, account.available, account.pending, account.held, account.debt))
    return tuple(found)


def credit(
    work: Work,
    member_id: UUID,
    currency: PointsCurrency,
    points: int,
    *,
    kind: EntryKind,
    occurred_at: datetime,
    dated_by: Loaded,
    cause: str | None = None,
    dates: expiry.Dates | None = None,
) -> tuple[Account, Entry]:
    """Issue one lot and repay what the account owes; the lot's dates by policy unless `dates` are given.

    `occurred_at` dates the lot; it is not after the recorded instant. What is due already falls due at once.
    """
    account = work.open_account(member_id, currency.code)
    dates = dates or expiry.dates(
        currency.expiry, currency.pending_days, occurred_at, dated_by.zone, work.joined_on(member_id)
    )
    draft = lots.issue(
        account,
        lot_id=work.book.ids(),
        decision_id=work.decision_id,
        points=points,
        vintage_at=occurred_at,
        occurred_at=occurred_at,
        activates_at=dates.activates_at,
        expires_at=dates.expires_at,
        slides=dates.slides,
        policy_number=dated_by.number,
        kind=kind,
        cause=cause,
    )
    entry = work.post(account, draft)
    work.settle(account)
    return account, entry


def earned(work: Work, account: Account, entry: Entry, zone_of: Loaded) -> Earned:
    """What a credit gave, as the answer says it."""
    (issued,) = entry.lots
    lot = work.lots[account.id][issued.id]
    state: Literal["pending", "available", "expired"] = "available"
    if lot.pending:
        state = "pending"
    elif lot.expired:
        state = "expired"
    end = account.end_of(lot)
    return Earned(
        points_currency=account.points_currency,
        points=lot.points,
        state=state,
        activates_at=lot.activates_at,
        expires_at=end,
        last_day_on=None if end is None else expiry.last_day_on(end, zone_of.zone),
        entry_id=entry.id,
        lot_id=lot.id,
    )


def awarded_lot(account: Account, entry: Entry) -> AwardedLot:
    (lot,) = entry.lots
    return AwardedLot(account.points_currency, account.id, lot.id, lot.points)


def receipt(
    work: Work,
    judged_by: Loaded,
    awards: tuple[Award, ...],
    given: tuple[AwardedLot, ...],
    after: tuple[Balance, ...],
    captured: tuple[Captured, ...] = (),
) -> Receipt:
    """The receipt's texts of a purchase or claim: what was spent, earned, repaid, over already, and what there is."""
    currencies = work.policies.currencies
    spent = [f"{currencies[one.points_currency].counted(one.points)} spent" for one in captured]
    repaid = {one.points_currency: work.repaid(one.points_currency) for one in after}
    expired = dict.fromkeys(repaid, 0)
    for lot in given:
        expired[lot.points_currency] += work.lots[lot.account_id][lot.lot_id].expired
    return Receipt((*spent, *receipt_lines(judged_by.compiled, awards, repaid, expired, after, currencies)))


def moved_receipt(
    work: Work, points_currency: str, moved: Mapping[str, int], after: tuple[Balance, ...]
) -> Receipt:
    """The receipt's texts of points that were moved, each kind of move in words, and what there is."""
    called = work.policies.currencies[points_currency]
    lines = [f"{called.counted(points)} {what}" for what, points in moved.items() if points]
    return Receipt((*lines, *balance_lines(after, work.policies.currencies)))
