"""A program's words: its kind, its points currencies and its policies.

Settings and ruleset are published together as one numbered configuration (posting/configuration.py).
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta, Struct

from loyalty.base.calendar import RoundUp
from loyalty.base.errors import Conflict, NotFound, Refused
from loyalty.base.money import counted


class ProgramKind(StrEnum):
    LIVE = "live"  # lives by the real clock
    SANDBOX = "sandbox"  # lives by its own clock, set forward


class NeverExpires(Struct, frozen=True, tag="never", tag_field="kind", forbid_unknown_fields=True):
    """Points stay good for ever."""


class Rolling(Struct, frozen=True, tag="rolling", tag_field="kind", forbid_unknown_fields=True):
    """Points are good for a time from the local date of earning.

    `days` = 90: good on 90 local dates, the earning date the first of them. `months` = 12: good to the day
    before the same day 12 months on; with `round_up` to the end of the calendar period that holds that day.
    """

    days: Annotated[int, Meta(ge=1, le=36_600)] | None = None
    months: Annotated[int, Meta(ge=1, le=1_200)] | None = None
    round_up: RoundUp = RoundUp.DAY


class FixedDays(Struct, frozen=True, tag="fixed_days", tag_field="kind", forbid_unknown_fields=True):
    """Points are good to the end of the next of these days of the year.

    `on` has month and day; 29 February is the 28th where there is none. Points are good on at least `days_min`
    local dates, the earning date the first of them: with 1, what is earned on such a day ends that night.
    """

    on: Annotated[
        tuple[Annotated[str, Meta(pattern="^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")], ...],
        Meta(min_length=1, max_length=20),
    ]
    days_min: Annotated[int, Meta(ge=1, le=3_660)] = 1


class MemberYear(Struct, frozen=True, tag="anniversary", tag_field="kind", forbid_unknown_fields=True):
    """Points are good to the day before the member's next anniversary of joining, one every `months` months.

    Points are good on at least `days_min` local dates, the earning date the first of them.
    """

    months: Annotated[int, Meta(ge=1, le=120)] = 12
    days_min: Annotated[int, Meta(ge=1, le=3_660)] = 1


class Activity(StrEnum):
    """What an account's owner does that may keep its points."""

    EARN = "earn"  # by a purchase or claim; opening lots, at the instant they were issued
    REDEEM = "redeem"  # spent on rewards, payments and purchases, and on a transfer's fee
    CREDIT = "credit"  # given by hand
    GIVE = "give"  # to another member
    RECEIVE = "receive"  # from another member


class Inactivity(
    Struct, frozen=True, tag="inactivity", tag_field="kind", forbid_unknown_fields=True, omit_defaults=True
):
    """Points are good for a time, and all that are there for as long again from each activity of their owner.

    `days` and `months` count as those of `rolling` do, without `round_up`.
    """

    days: Annotated[int, Meta(ge=1, le=36_600)] | None = None
    months: Annotated[int, Meta(ge=1, le=1_200)] | None = None
    resets: Annotated[tuple[Activity, ...], Meta(min_length=1, max_length=5)] = (
        Activity.EARN,
        Activity.REDEEM,
    )


# The policies that date a lot once and for all; a rule or a tier may have one of its own.
DatingPolicy = NeverExpires | Rolling | FixedDays | MemberYear
ExpiryPolicy = DatingPolicy | Inactivity


class PayPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """Points as a means of payment: `points` are worth `each_minor` of the program's money."""

    points: Annotated[int, Meta(ge=1, le=10**9)]
    each_minor: Annotated[int, Meta(ge=1, le=10**6)]
    points_min: Annotated[int, Meta(ge=1, le=10**9)] = 1  # of one payment
    step: Annotated[int, Meta(ge=1, le=10**9)] = 1  # payments are multiples of it
    points_max: Annotated[int, Meta(ge=1, le=10**9)] = 10**9
    day_max: Annotated[int, Meta(ge=1, le=10**12)] | None = None  # of one member on one local day
    returnable: bool = False  # may still be cancelled once the sale is done


class PointsCurrency(Struct, frozen=True, forbid_unknown_fields=True):
    code: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]
    name: Annotated[str, Meta(min_length=1, max_length=60)]
    name_one: Annotated[str, Meta(min_length=1, max_length=60)] | None = None  # what one of them is called
    spendable: bool = True
    qualifying: bool = False
    expiry: ExpiryPolicy = NeverExpires()
    pending_days: Annotated[int, Meta(ge=0, le=3_650)] = (
        0  # points become available n local days after earning
    )
    tax_earns: bool = True
    excluded_tenders: tuple[str, ...] = ()  # tender types whose part of the sale does not earn
    # What undoing spent points may leave: no debt (the undo is refused), a debt down to `floor` (deeper is
    # refused), or nothing owed (the shortfall is forgiven).
    negative: Literal["prevent", "floor", "waive"] = "floor"
    floor: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 2**53 - 1
    # Points whose end came while they were held and that are given back are good for so many local days after
    # the day of the hold's deadline; 0: they expire as they come back.
    hold_grace_days: Annotated[int, Meta(ge=0, le=3_650)] = 0
    # For how many local days after its last good one what expired of a lot may be given back by hand; 0: never.
    reinstate_days: Annotated[int, Meta(ge=0, le=3_650)] = 0
    # For how many local days they are good then, that of giving them back the first.
    reinstated_days: Annotated[int, Meta(ge=1, le=3_650)] = 30
    pay: PayPolicy | None = None  # None: nothing is paid with these points

    def counted(self, points: int) -> str:
        """So many of these points as people read it."""
        return counted(points, self.name, self.name_one)


class UnknownIdentifier(StrEnum):
    """What a purchase with an identifier nobody has does."""

    REFUSE = "refuse"
    ENROL = "enrol"
    GUEST = "guest"


class BlindReturns(StrEnum):
    """What the program does with a return of a purchase that it never saw."""

    REFUSE = "refuse"
    RECORD = "record"  # known from then on, and moves no points


_Some = Annotated[int, Meta(ge=1, le=2**53 - 1)]
_Any = Annotated[int, Meta(ge=0, le=2**53 - 1)]


# Causes that entries bear by themselves: no reason of an adjustment.
OWN_CAUSES = frozenset(
    {
        "member_erased",
        "payment",
        "policy_changed",
        "purchase_cancelled",
        "purchase_returned",
        "redemption_cancelled",
        "reward",
        "transfer_fee",
        "waived",
    }
)


class AdjustmentReason(Struct, frozen=True, forbid_unknown_fields=True):
    """Why points are given or taken by hand: the code stands in the books, the name on the desk's screen."""

    code: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")]
    name: Annotated[str, Meta(min_length=1, max_length=60)]


class Adjustments(Struct, frozen=True, forbid_unknown_fields=True):
    """What may be given or taken by hand. Figures count in each points currency by itself."""

    reasons: Annotated[tuple[AdjustmentReason, ...], Meta(max_length=100)] = ()  # none: any stable word
    approval_above: _Any | None = None  # more points than this wait for a second person; None: none do
    daily_max: _Any | None = None  # by one person or client on one program day without a second person
    proposal_days: Annotated[int, Meta(ge=1, le=365)] = 7  # how long a proposal waits


class Transfers(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether and how members give points to each other. The fee is the giver's, on top of what is given."""

    enabled: bool = False
    minimum: _Some = 1
    maximum: _Some | None = None  # of one transfer
    giver_max: _Some | None = None  # given by one member within one `period`, in each points currency
    period: Literal["day", "week", "month"] = "day"  # of the program's calendar
    fee_points: _Any = 0
    fee_bps: Annotated[int, Meta(ge=0, le=10_000)] = 0  # of the points given, rounded down

    def fee(self, points: int) -> int:
        """What giving `points` costs the giver beside them."""
        return self.fee_points + points * self.fee_bps // 10_000


class SpendingLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Against theft: how much may leave by spending, in each points currency, before it is refused."""

    member_day_max: _Any | None = None
    member_week_max: _Any | None = None  # from Monday
    till_day_max: _Any | None = None  # over all members at one till
    # So long after profile or identifiers of a member changed, the day's limit is this lower one.
    changed_hours: Annotated[int, Meta(ge=0, le=8_760)] = 0
    changed_day_max: _Any = 0


class SpendingPin(Struct, frozen=True, forbid_unknown_fields=True):
    """Against theft: when a member's PIN must come with what spends, sets aside or gives away points."""

    above: _Any | None = None  # more points than this at once ask for it; None: nothing does
    roles: Annotated[tuple[Literal["pos", "support", "manager", "admin"], ...], Meta(min_length=1)] = ("pos",)
    attempts: Annotated[int, Meta(ge=1, le=20)] = 3  # wrong ones, one after the other, that lock it
    locked_minutes: Annotated[int, Meta(ge=1, le=525_600)] = 30


_NoticeDays = Annotated[tuple[Annotated[int, Meta(ge=1, le=366)], ...], Meta(max_length=10)]


class Notices(Struct, frozen=True, forbid_unknown_fields=True):
    """How many days ahead members are told, once for each figure: none for an empty list."""

    points_days: _NoticeDays = (30, 7)  # before the last day on which points are good
    tier_days: _NoticeDays = (30,)  # before the day on which a tier falls


class Policies(Struct, frozen=True, forbid_unknown_fields=True):
    late_days_max: Annotated[int, Meta(ge=0, le=36_600)] | None = 30  # None: any age (replays)
    future_minutes_max: Annotated[int, Meta(ge=0, le=1_440)] = 15
    claim_days_max: Annotated[int, Meta(ge=0, le=3_650)] = 30
    hold_minutes: Annotated[int, Meta(ge=1, le=5_256_000)] = 15  # how long a hold lasts that names no time
    hold_days_max: Annotated[int, Meta(ge=1, le=3_650)] = 30  # how long one may last, extensions included
    unknown_card: UnknownIdentifier = UnknownIdentifier.REFUSE
    unknown_phone: UnknownIdentifier = UnknownIdentifier.REFUSE
    unknown_email: UnknownIdentifier = UnknownIdentifier.REFUSE
    unknown_external: UnknownIdentifier = UnknownIdentifier.REFUSE
    blind_returns: BlindReturns = BlindReturns.REFUSE
    # For how many local days points that were spent are good again when they come back after their end; 0: lost.
    returned_days: Annotated[int, Meta(ge=0, le=3_650)] = 0
    phone_region: Annotated[str, Meta(pattern="^[A-Z]{2}$")] = "US"  # country of phone numbers without prefix
    adjustments: Adjustments = Adjustments()
    transfers: Transfers = Transfers()
    spending_limits: SpendingLimits = SpendingLimits()
    spending_pin: SpendingPin = SpendingPin()
    notices: Notices = Notices()
    # For how many days the lines of purchases and returns are kept; None: for ever.
    lines_days: Annotated[int, Meta(ge=1, le=36_600)] | None = None


class ProgramSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a program is, apart from its rules."""

    name: Annotated[str, Meta(min_length=1, max_length=120, pattern=r"\S")]
    zone: str  # IANA name
    money: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    points_currencies: Annotated[tuple[PointsCurrency, ...], Meta(min_length=1, max_length=20)]
    policies: Policies = Policies()


class Program(Struct, frozen=True):
    id: UUID
    kind: ProgramKind
    created_at: datetime


class SandboxClock(Struct, frozen=True):
    """A sandbox program's clock: where it stands, and while it is being moved where to; which decision began that."""

    now: datetime
    moving_to: datetime | None = None
    moved_by: UUID | None = None


class ProgramNotFound(NotFound):
    code: ClassVar[str] = "program_not_found"
    title: ClassVar[str] = "There is no such program."
    remedy: ClassVar[str] = (
        "Publish the program's first configuration, or name a program that `loyalty program list` shows."
    )


class ConfigurationInvalid(Refused):
    code: ClassVar[str] = "configuration_invalid"
    title: ClassVar[str] = "The configuration has faults."
    remedy: ClassVar[str] = (
        "Correct the places in `errors`; `POST /v1/program/configurations/validate` checks without "
        "publishing."
    )


class ClockMoving(Conflict):
    code: ClassVar[str] = "clock_moving"
    title: ClassVar[str] = "The program's clock is being moved; nothing is written meanwhile."
    remedy: ClassVar[str] = (
        "Send again under the same key once its run (`GET /v1/runs/{run}`), which needs a worker, is over."
    )
    retryable: ClassVar[bool] = True
    retry_after_s: ClassVar[int] = 1


class ClockBackwards(Conflict):
    code: ClassVar[str] = "clock_backwards"
    title: ClassVar[str] = "A program clock only moves forward."
    remedy: ClassVar[str] = "Name an instant that does not lie before `now`, the program's own."


class ClockIsReal(Conflict):
    code: ClassVar[str] = "clock_is_real"
    title: ClassVar[str] = "Only a sandbox program has a clock that can be moved."
    remedy: ClassVar[str] = (
        "Make a program of kind `sandbox` to try times to come: this one's clock stays the real one."
    )
