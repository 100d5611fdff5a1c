"""The commands: what we are asked to do, after the edge has read, normalised and authenticated it.

Each goes down the one road of pipe.py. Instants are aware UTC; money is minor units; quantities are
thousandths; `occurred_at` is when it happened outside.
"""

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from loyalty.members.types import Identifier, MemberStatus, Profile
from loyalty.posting.configuration import Configuration


class Actor(Struct, frozen=True):
    """Whoever acts. `id` is the client, staff, member or job; `scope` of idempotency is this id."""

    kind: str  # client, staff, member, job
    id: UUID
    role: str
    locations: tuple[str, ...] = ()  # a till's key may be bound to some


class MemberRef(Struct, frozen=True, omit_defaults=True):
    """A member named by id or by one normalised identifier."""

    id: UUID | None = None
    identifier: Identifier | None = None


class PinProof(Struct, frozen=True):
    """What became of a PIN that came with a command: whether it was that version of the member's. Never the PIN."""

    version: int
    right: bool


class PurchaseLine(Struct, frozen=True, omit_defaults=True):
    line_id: str
    sku: str
    quantity_milli: int
    amount_minor: int  # what the customer pays for the line, all units, after discounts, tax included
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tax_minor: int = 0
    discount_minor: int = 0


class Tender(Struct, frozen=True):
    type: str
    amount_minor: int


class UseHold(Struct, frozen=True, omit_defaults=True):
    """Points of a hold that pay for a purchase: all that is held, or some; the rest is released."""

    id: UUID
    points: int | None = None


class Enrol(Struct, frozen=True, tag="enrol"):
    identifiers: tuple[Identifier, ...]
    profile: Profile = Profile()


class ImportMember(Struct, frozen=True, tag="import_member"):
    """A member of a former system, who counts from the day of joining there; nobody who is a member already."""

    identifiers: tuple[Identifier, ...]
    profile: Profile
    source: str
    enrolled_at: datetime | None = None  # None: now


class AddIdentifier(Struct, frozen=True, tag="identifier"):
    member: MemberRef
    identifier: Identifier


class ChangeMember(Struct, frozen=True, tag="change_member"):
    """Status and profile; fields that are None stay. A profile is replaced by its new whole."""

    member: MemberRef
    status: MemberStatus | None = None  # active or blocked
    profile: Profile | None = None


class EraseMember(Struct, frozen=True, tag="erase"):
    member: MemberRef


class SetPin(Struct, frozen=True, tag="set_pin"):
    """A member has another PIN from now on; only its slow hash goes down the road."""

    member: MemberRef
    hash: str


class RecordPurchase(Struct, frozen=True, tag="purchase", omit_defaults=True):
    source: str
    external_id: str
    occurred_at: datetime
    money: str
    lines: tuple[PurchaseLine, ...]
    member: MemberRef | None = None  # None: a guest
    till: str | None = None
    location: str | None = None
    channel: str | None = None
    tenders: tuple[Tender, ...] = ()
    holds: tuple[UseHold, ...] = ()
    # keyed digests of the normalised content, current secret first: "the same purchase again"
    content_digests: tuple[bytes, ...] = ()


class ReceiptName(Struct, frozen=True):
    """The name that a source gave to a purchase."""

    source: str
    external_id: str


class CancelPurchase(Struct, frozen=True, tag="cancel"):
    """Cancels a whole purchase by its receipt, also before the purchase itself arrives."""

    source: str
    external_id: str
    reported_at: datetime | None = None  # the till's time


class ReturnLine(Struct, frozen=True, omit_defaults=True):
    """One line that goes back; a line bought with quantity 0 goes back whole, under quantity 0."""

    line_id: str
    quantity_milli: int | None = None  # None: all that is left of it


class ReturnPurchase(Struct, frozen=True, tag="return", omit_defaults=True):
    """Some lines of a purchase go back, or all that is left of it; the purchase is named by id or by its receipt."""

    source: str  # these two name the return itself
    external_id: str
    occurred_at: datetime  # the till's time: points are taken when that is decided
    purchase_id: UUID | None = None
    of: ReceiptName | None = None
    lines: tuple[ReturnLine, ...] | None = None  # None: all that is left
    money: str | None = None
    till: str | None = None
    location: str | None = None
    content_digests: tuple[bytes, ...] = ()


class ExchangePurchase(Struct, frozen=True, tag="exchange"):
    """A return and a purchase in one commit: both or neither."""

    returned: ReturnPurchase
    purchase: RecordPurchase


class ClaimPurchase(Struct, frozen=True, tag="claim"):
    """A guest's purchase becomes a member's, once."""

    purchase_id: UUID
    member: MemberRef


class Adjust(Struct, frozen=True, tag="adjust", omit_defaults=True):
    """A manual credit (`points` > 0) or debit (< 0) with a reason; large ones become a proposal."""

    member: MemberRef
    points_currency: str
    points: int
    reason: str  # reason code: a stable word
    reference: str | None = None  # the ticket or case it belongs to


class WriteOff(Struct, frozen=True, tag="write_off", omit_defaults=True):
    """Proposes that what a member owes is let go."""

    member: MemberRef
    points_currency: str
    reference: str | None = None


class Reinstate(Struct, frozen=True, tag="reinstate", omit_defaults=True):
    """Gives expired points back by hand, those that ended last first; many become a proposal."""

    member: MemberRef
    points_currency: str
    points: int | None  # None: all whose time to be given back is not over
    reason: str
    reference: str | None = None


class Approve(Struct, frozen=True, tag="approve"):
    """A second person lets a proposal happen."""

    proposal_id: UUID


class Reject(Struct, frozen=True, tag="reject"):
    """A second person ends a proposal."""

    proposal_id: UUID


class TransferPoints(Struct, frozen=True, tag="transfer", omit_defaults=True):
    """Points of one member become another's."""

    giver: MemberRef
    taker: MemberRef
    points_currency: str
    points: int
    pin: PinProof | None = None  # the giver's


class Freeze(Struct, frozen=True, tag="freeze"):
    """Nothing is taken from an account until it is unfrozen; earning goes on."""

    member: MemberRef
    points_currency: str
    reason: str


class GiveTier(Struct, frozen=True, tag="give_tier"):
    """A tier by hand, whatever was earned, until an instant or for ever; None takes back what was given."""

    member: MemberRef
    tier_set: str
    tier: str | None
    until: datetime | None
    reason: str


class ImportStanding(Struct, frozen=True, tag="import_standing"):
    """A tier as it was held in a former system since an instant; what was given later than that stays."""

    member: MemberRef
    tier_set: str
    tier: str
    since: datetime
    until: datetime | None = None  # None: until it is taken back


class Unfreeze(Struct, frozen=True, tag="unfreeze"):
    member: MemberRef
    points_currency: str
    reason: str


class ImportLot(Struct, frozen=True, tag="import_lot", omit_defaults=True):
    """An opening balance with its original dates."""

    member: MemberRef
    points_currency: str
    points: int
    source: str
    external_id: str  # natural key: kind import_row
    issued_at: datetime
    activates_at: datetime | None = None
    expires_at: datetime | None = None
    content_digests: tuple[bytes, ...] = ()


class Settle(Struct, frozen=True, tag="settle"):
    """Writes what has fallen due on a member's accounts by itself; every other command does it on its way."""

    member_id: UUID


class RedateLots(Struct, frozen=True, tag="redate"):
    """Gives a member's lots the ends of the policy that came with a configuration, if it is still in force."""

    member_id: UUID
    points_currency: str
    number: int


class Notify(Struct, frozen=True, tag="notify"):
    """Tells what is ahead of a member: what is due to be told on the program day `on`, perhaps later than on it."""

    member_id: UUID
    on: date


class PlaceHold(Struct, frozen=True, tag="place_hold", omit_defaults=True):
    """Sets points aside for a sale."""

    member: MemberRef
    points_currency: str
    points: int
    minutes: int | None = None  # None: as long as the program's policy says
    reference: str | None = None  # the caller's own number for the sale
    till: str | None = None
    location: str | None = None
    pin: PinProof | None = None


class Place(Struct, frozen=True, omit_defaults=True):
    """Where something is redeemed, and the caller's own number of it."""

    location: str | None = None
    channel: str | None = None
    till: str | None = None
    reference: str | None = None


class HoldReward(Struct, frozen=True, tag="hold_reward", omit_defaults=True):
    """Sets a reward aside for a member, and the points that it costs."""

    member: MemberRef
    reward: str
    quantity: int = 1
    minutes: int | None = None
    place: Place = Place()
    pin: PinProof | None = None


class ExtendHold(Struct, frozen=True, tag="extend_hold"):
    """A hold shall last for so long from now, if that is longer than it does anyway."""

    hold_id: UUID
    minutes: int | None = None


class CaptureHold(Struct, frozen=True, tag="capture_hold"):
    """Takes points of a hold for good: all that is held, or some; the rest stays held unless it is released."""

    hold_id: UUID
    points: int | None = None
    release_rest: bool = False


class ReleaseHold(Struct, frozen=True, tag="release_hold"):
    """Gives back what is still held."""

    hold_id: UUID


class Redeem(Struct, frozen=True, tag="redeem", omit_defaults=True):
    """A member takes a reward for points: those of an account, or of a hold, which is then over."""

    member: MemberRef
    reward: str
    quantity: int | None = None  # None: all that the hold sets aside of the reward; else one
    place: Place = Place()
    hold_id: UUID | None = None
    pin: PinProof | None = None


class PayWithPoints(Struct, frozen=True, tag="pay", omit_defaults=True):
    """A member pays a part of a sale with points."""

    member: MemberRef
    points_currency: str
    points: int
    place: Place = Place()
    hold_id: UUID | None = None
    pin: PinProof | None = None


class FulfilRedemption(Struct, frozen=True, tag="fulfil"):
    redemption_id: UUID


class CancelRedemption(Struct, frozen=True, tag="cancel_redemption"):
    redemption_id: UUID
    reason: str  # a stable word


class ChangeStock(Struct, frozen=True, tag="stock"):
    """How many of a reward there are: `to` sets it, else `by` are added (or taken, below zero)."""

    reward: str
    reason: str
    to: int | None = None
    by: int = 0


class Publish(Struct, frozen=True, tag="publish"):
    """Puts a configuration in force; takes every lane of the program."""

    configuration: Configuration
    effective_at: datetime | None = None  # not before its own recorded instant; default: that
    after: int | None = None  # number of the configuration that the caller saw in force


class MoveClock(Struct, frozen=True, tag="move_clock"):
    """Has a sandbox program's clock moved forward: until it stands there, nobody else writes. Takes every lane."""

    to: datetime


class AdvanceClock(Struct, frozen=True, tag="advance_clock"):
    """Sets a sandbox program's clock to an instant on the way of a move, or to its end; takes every lane."""

    to: datetime


class CloseDay(Struct, frozen=True, tag="close_day"):
    """Closes one program day after its end; its block is the checkpoint."""

    on: date


Command = (
    Enrol
    | ImportMember
    | AddIdentifier
    | ChangeMember
    | EraseMember
    | SetPin
    | RecordPurchase
    | CancelPurchase
    | ReturnPurchase
    | ExchangePurchase
    | ClaimPurchase
    | Adjust
    | WriteOff
    | Reinstate
    | Approve
    | Reject
    | TransferPoints
    | Freeze
    | GiveTier
    | ImportStanding
    | Unfreeze
    | ImportLot
    | Settle
    | RedateLots
    | Notify
    | PlaceHold
    | HoldReward
    | ExtendHold
    | CaptureHold
    | ReleaseHold
    | Redeem
    | PayWithPoints
    | FulfilRedemption
    | CancelRedemption
    | ChangeStock
    | Publish
    | MoveClock
    | AdvanceClock
    | CloseDay
)


class Idempotency(Struct, frozen=True):
    """Who asked under which key, and what exactly (keyed digests: with the current and the previous secret)."""

    key: str
    scope: UUID
    fingerprints: tuple[bytes, ...]  # newest first; the first is stored


class Submission(Struct, frozen=True):
    """One command on its way through the pipe."""

    program_id: UUID
    command: Command
    actor: Actor
    request_id: str
    idempotency: Idempotency | None = (
        None  # None for jobs and the operator: their natural state protects them
    )
    size: int = 0  # bytes of the request body


class Answer(Struct, frozen=True):
    """What the caller gets: status and body bytes; `replayed` when it is the first answer again."""

    status: int
    body: bytes
    replayed: bool = False
    headers: dict[str, str] = {}
