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


ExpiryPolicy = NeverExpires | Rolling


class PointsCurrency(Struct, frozen=True, forbid_unknown_fields=True):
    code: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]
    name: Annotated[str, Meta(min_length=1, max_length=60)]
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


class UnknownIdentifier(StrEnum):
    """What a purchase with an identifier nobody has does."""

    REFUSE = "refuse"
    ENROL = "enrol"
    GUEST = "guest"


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
    phone_region: Annotated[str, Meta(pattern="^[A-Z]{2}$")] = "US"  # country of phone numbers without prefix


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


class ProgramNotFound(NotFound):
    code: ClassVar[str] = "program_not_found"
    title: ClassVar[str] = "There is no such program."


class ConfigurationInvalid(Refused):
    code: ClassVar[str] = "configuration_invalid"
    title: ClassVar[str] = "The configuration contradicts itself."


class ClockBackwards(Conflict):
    code: ClassVar[str] = "clock_backwards"
    title: ClassVar[str] = "A program clock only moves forward."


class ClockIsReal(Conflict):
    code: ClassVar[str] = "clock_is_real"
    title: ClassVar[str] = "Only a sandbox program has a clock that can be moved."
