"""The ledger's words: buckets, entry kinds, lots, accounts, holds, entries, blocks, and its refusals.

What each kind may move is the posting table in postings.py and docs/ledger.md; figures are whole points.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

import msgspec

from loyalty.base.errors import Conflict, NotFound

POINTS_MAX = 2**53 - 1
LOTS_MAX = 10_000  # open lots of one owner, when it is given more
PARTS_MAX = 30_000  # lots that one command may take from; an entry counts up to 2^15 - 1 postings
WAIVED = "waived"  # cause of the credit that repays at once what an owner need not pay


class Bucket(StrEnum):
    """Where the points of a lot stand. `issued` and `deficit` may be negative, the member's three never."""

    ISSUED = "issued"
    PENDING = "pending"
    AVAILABLE = "available"
    HELD = "held"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    TRANSFERRED = "transferred"
    DEFICIT = "deficit"


class EntryKind(StrEnum):
    EARN = "earn"
    ADJUST_CREDIT = "adjust_credit"
    IMPORT = "import"
    MATURE = "mature"
    AUTO_CANCEL = "auto_cancel"
    EXPIRE = "expire"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    LAPSE = "lapse"
    REDEEM = "redeem"
    ADJUST_DEBIT = "adjust_debit"
    RESTORE = "restore"
    REVOKE = "revoke"
    REPAY = "repay"
    REINSTATE = "reinstate"
    REDATE = "redate"
    TRANSFER_OUT = "transfer_out"
    TRANSFER_IN = "transfer_in"


class Posting(msgspec.Struct, frozen=True, gc=False):
    """Moves `points` > 0 of one lot from one bucket to another."""

    lot_id: UUID
    points: int
    source: Bucket
    target: Bucket


class Lot(msgspec.Struct):
    """The points of one credit; belongs to one account for ever.

    A working copy: only `postings.apply` changes its figures. For each lot the nine buckets sum to 0:
    an issued lot begins at `issued` = -points, a child lot at `transferred` = -points.
    """

    id: UUID
    account_id: UUID
    parent_lot_id: UUID | None
    issuing_entry_id: UUID  # put in by `postings.apply`
    decision_id: UUID
    points: int
    vintage_at: datetime  # when the points were first earned; a child keeps its parent's
    policy_number: int  # configuration whose policies gave the dates
    issued_activates_at: datetime | None  # dates as hashed with the issuing entry
    issued_expires_at: datetime | None
    activates_at: datetime | None  # dates now, after redates; None: at once / never
    expires_at: (
        datetime | None
    )  # the first instant at which they are no longer good, or later: `Account.end_of`
    arrived_at: datetime  # latest `occurred_at` of a posting into pending or available, or of a redate
    slides: str | None  # policy of inactivity (JSON) it was issued by; None: nothing puts its end off
    issued: int = 0
    pending: int = 0
    available: int = 0
    held: int = 0
    redeemed: int = 0
    expired: int = 0
    revoked: int = 0
    transferred: int = 0
    deficit: int = 0
    was_expired: bool = False  # points of it left `expired`: a return took them, or they were given back

    @property
    def open(self) -> bool:
        """Whether points are still with the member; a closed lot is loaded only to be undone."""
        return bool(self.pending or self.available or self.held)

    @property
    def sliding(self) -> bool:
        """Whether activity puts its end off: not once points of it expired or it was given another date."""
        return (
            self.slides is not None
            and self.expires_at == self.issued_expires_at
            and not (self.expired or self.was_expired)
        )


class Account(msgspec.Struct):
    """One owner and one points currency. A working copy: only `postings.apply` changes its figures."""

    id: UUID
    owner_id: UUID  # member or household
    points_currency: str
    seq: int = 0  # of its last entry; entries are numbered from 1 without gap
    pending: int = 0
    available: int = 0
    held: int = 0
    debt: int = 0  # minus the sum of its lots' deficit
    active_at: datetime | None = None  # when its owner last earned
    next_due_at: datetime | None = None  # earliest instant at which settle finds something
    first_entry_id: UUID | None = None
    last_entry_id: UUID | None = None
    slides: str | None = None  # policy of inactivity (JSON) by which activity counts; None: nothing slides
    idles_at: datetime | None = None  # to which instant activity has put off the end of what slides
    settled_at: datetime | None = None  # instant to which this working copy was settled; not stored

    def end_of(self, lot: Lot) -> datetime | None:
        """The first instant at which the points of one of its lots are no longer good, as things stand."""
        end, idles_at = lot.expires_at, self.idles_at
        return end if end is None or idles_at is None or not lot.sliding else max(end, idles_at)


class HoldState(StrEnum):
    OPEN = "open"
    CAPTURED = "captured"  # taken; what was not taken was given back with it
    RELEASED = "released"
    LAPSED = "lapsed"


class Hold(msgspec.Struct):
    """Points set aside for a sale: which lots gave how much, and until when. A working copy.

    Its id is that of the entry that set the points aside; what takes or gives back of it names that entry.
    """

    id: UUID
    account_id: UUID
    held_at: datetime
    lapses_at: datetime
    parts: tuple[tuple[UUID, int], ...]  # (lot, points still held); empty once it ended
    good_until: datetime | None = None  # grace for points whose lot expired while held; None: they expire
    captured: int = 0  # points taken so far
    state: HoldState = HoldState.OPEN
    ended_at: datetime | None = None

    @property
    def held(self) -> int:
        """Points still held."""
        return sum(points for _, points in self.parts)


class Deadline(msgspec.Struct, frozen=True):
    """Until when a hold was to last, as one decision set it: the opening one or an extension."""

    set_at: datetime
    lapses_at: datetime
    good_until: datetime | None
    decision_id: UUID


class PlacedHold(Hold, kw_only=True):
    """A hold as it is stored: whose points, for what, and every deadline it ever had, the last one in force.

    One that was placed for a reward sets so many of it aside too, at the price of its configuration.
    """

    owner_id: UUID
    points_currency: str
    points: int  # set aside at first
    deadlines: tuple[Deadline, ...]
    reference: str | None = None  # the caller's own number for the sale
    till: str | None = None
    location: str | None = None
    reward: str | None = None  # None: plain points
    quantity: int | None = None
    priced_by: int | None = None  # number of the configuration


class Redate(msgspec.Struct, frozen=True):
    """Old and new dates of one lot, kept in the entry and its hash."""

    lot_id: UUID
    old_activates_at: datetime | None
    old_expires_at: datetime | None
    new_activates_at: datetime | None
    new_expires_at: datetime | None


class EntryDraft(msgspec.Struct, frozen=True):
    """What a pure ledger function wants written on one account; numbered and dated by `postings.apply`."""

    account_id: UUID
    kind: EntryKind
    occurred_at: datetime
    postings: tuple[Posting, ...]
    cause: str | None = None  # stable word: member_erased, purchase_cancelled, a reason code …
    corrects_entry_id: UUID | None = None
    redates: tuple[Redate, ...] = ()
    lots: tuple[Lot, ...] = ()  # issued by this entry


class Entry(msgspec.Struct, frozen=True):
    """One append-only record on one account, with the balance it left."""

    id: UUID
    account_id: UUID
    seq: int
    decision_id: UUID
    kind: EntryKind
    occurred_at: datetime
    postings: tuple[Posting, ...]
    cause: str | None
    corrects_entry_id: UUID | None
    redates: tuple[Redate, ...]
    lots: tuple[Lot, ...]
    # balance of the account after this entry
    pending: int
    available: int
    held: int
    debt: int


class Decision(msgspec.Struct, frozen=True):
    """The stored result of one command that was not refused, with or without entries."""

    id: UUID
    kind: str
    member_id: UUID | None
    activity_id: UUID | None
    actor_kind: str  # client, staff, member, job
    actor_id: UUID
    occurred_at: datetime
    evaluator: int  # version of the rule evaluator
    detail: str  # JSON: facts used, awards, rules refused
    answer_status: int
    answer: str  # the stored answer, byte for byte
    entries: tuple[Entry, ...]


class Block(msgspec.Struct, frozen=True):
    """The record of one batch of one lane, chained by hash."""

    program_id: UUID
    cell: int
    number: int  # from 1, without gap
    id: UUID
    recorded_at: datetime
    config_number: int
    closes_on: str | None  # ISO date of the program day that this block closes (a checkpoint)
    first_position: int  # of the engagement events of this batch; last < first when there are none
    last_position: int
    previous_hash: bytes
    hash: bytes
    last_id: UUID  # highest id given out in this lane: the next batch's ids are above it
    format: int = 1


class Expiring(msgspec.Struct, frozen=True):
    """The available points of an account that expire next."""

    points: int
    expires_at: datetime
    last_day_on: date  # program-local: the last day on which they are good


class Balance(msgspec.Struct, frozen=True):
    """What an owner holds of one points currency."""

    points_currency: str
    available: int
    pending: int
    held: int
    debt: int
    expiring: Expiring | None


class Balances(msgspec.Struct, frozen=True):
    """What an owner held at `as_of`, as was known at `recorded_by`."""

    as_of: datetime
    recorded_by: datetime | None  # None: as is known now; asked for, at most the lane's last recorded instant
    balances: tuple[Balance, ...]  # of every points currency of the program, in its order


class LotView(msgspec.Struct, frozen=True):
    """The points of one credit that are still there, settled."""

    id: UUID
    points_currency: str
    points: int  # as issued
    available: int
    pending: int
    held: int
    earned_at: datetime
    activates_at: datetime | None
    expires_at: datetime | None
    last_day_on: date | None
    slides: bool  # whether activity puts its end off
    decision_id: UUID


class HoldView(msgspec.Struct, frozen=True):
    """Points set aside for a sale, as they stand now."""

    id: UUID
    state: HoldState
    member_id: UUID
    points_currency: str
    points: int  # set aside at first
    held: int  # still held
    captured: int  # taken so far
    held_at: datetime
    lapses_at: datetime
    ended_at: datetime | None
    reference: str | None
    till: str | None
    location: str | None
    decision_id: UUID  # what placed it
    reward: str | None  # null: plain points
    quantity: int | None  # of the reward, set aside with its points


class StatementLine(msgspec.Struct, frozen=True):
    """One entry as its owner reads it: what changed, what it left, and why, in words.

    What is due but not yet written has neither id nor number: it is written with the next movement.
    """

    id: UUID | None
    seq: int | None
    points_currency: str
    kind: EntryKind
    occurred_at: datetime
    recorded_at: datetime | None
    words: str
    pending_change: int
    available_change: int
    held_change: int
    debt_change: int
    pending: int
    available: int
    held: int
    debt: int
    cause: str | None
    decision_id: UUID | None
    activity_id: UUID | None
    corrects_entry_id: UUID | None


class Statement(msgspec.Struct, frozen=True):
    """A page of lines, newest first, and where the next page begins (points currency → `seq`)."""

    lines: tuple[StatementLine, ...]
    before: dict[str, int] | None  # None: this was the last page


class InsufficientPoints(Conflict):
    code: ClassVar[str] = "insufficient_points"
    title: ClassVar[str] = "The account holds fewer points than wanted."
    remedy: ClassVar[str] = (
        "Take no more than `available`; for goods that go back see the points currency's setting `negative`."
    )


class BalanceLimitExceeded(Conflict):
    code: ClassVar[str] = "balance_limit_exceeded"
    title: ClassVar[str] = "The account, or what is counted of it, would be more than can be counted exactly."
    remedy: ClassVar[str] = (
        "Credit or spend fewer points: available, pending and held ones together are `points_max` at most."
    )


class LotsLimitExceeded(Conflict):
    code: ClassVar[str] = "lots_limit_exceeded"
    title: ClassVar[str] = "These are more lots than one member may get, or one command take from."
    remedy: ClassVar[str] = (
        "Spend or take away points first, fewer at once; sales on a card that many people use are recorded without one."
    )


class HoldNotFound(NotFound):
    code: ClassVar[str] = "hold_not_found"
    title: ClassVar[str] = "There is no such hold."
    remedy: ClassVar[str] = (
        "Take the id that `POST /v1/holds` answered, with a key that may see the hold's location."
    )


class HoldLapsed(Conflict):
    code: ClassVar[str] = "hold_lapsed"
    title: ClassVar[str] = "The hold ran out; its points went back."
    remedy: ClassVar[str] = (
        "Place a new hold (`POST /v1/holds`), and put its deadline off in time (`POST "
        "/v1/holds/{hold}/extend`)."
    )


class HoldCaptured(Conflict):
    code: ClassVar[str] = "hold_captured"
    title: ClassVar[str] = "The hold was captured already."
    remedy: ClassVar[str] = (
        "Look at `GET /v1/holds/{hold}`: if this sale did not take the points, place a new hold."
    )


class HoldReleased(Conflict):
    code: ClassVar[str] = "hold_released"
    title: ClassVar[str] = "The hold was released already."
    remedy: ClassVar[str] = "Place another hold if the sale is made after all (`POST /v1/holds`)."
