"""Typed conditions and the facts they are judged on; used by rules, and by whatever else asks "who, when, what".

The same tagged unions are the stored JSON, the API body and the `match`. Money is minor units.
"""

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Annotated, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Names = Annotated[tuple[Name, ...], Meta(max_length=1_000)]
ClockTime = Annotated[time, Meta(tz=False)]


class Lines(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which lines of a basket: any of the named when some are named, and none of the excluded."""

    skus: Names = ()
    categories: Names = ()
    tags: Names = ()
    not_skus: Names = ()
    not_categories: Names = ()
    not_tags: Names = ()


class AllOf(Struct, frozen=True, tag="all", tag_field="kind", forbid_unknown_fields=True):
    of: "tuple[Condition, ...]"


class AnyOf(Struct, frozen=True, tag="any", tag_field="kind", forbid_unknown_fields=True):
    of: "tuple[Condition, ...]"


class Not(Struct, frozen=True, tag="not", tag_field="kind", forbid_unknown_fields=True):
    of: "Condition"


class MinimumSpend(Struct, frozen=True, tag="minimum_spend", tag_field="kind", forbid_unknown_fields=True):
    """What may earn (the basis) on the chosen lines is at least `amount_minor`."""

    amount_minor: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    lines: Lines = Lines()


class HasLine(Struct, frozen=True, tag="has_line", tag_field="kind", forbid_unknown_fields=True):
    """At least one line of the basket is one of `lines`."""

    lines: Lines


class Window(Struct, frozen=True, tag="window", tag_field="kind", forbid_unknown_fields=True):
    """Program-local time of the purchase: dates (both inclusive), weekdays (1 Monday … 7), clock times.

    `from_time` inclusive, `to_time` exclusive; a window over midnight has `to_time` before `from_time`.
    """

    from_on: date | None = None
    to_on: date | None = None
    weekdays: tuple[Annotated[int, Meta(ge=1, le=7)], ...] = ()
    from_time: ClockTime | None = None
    to_time: ClockTime | None = None


class InChannel(Struct, frozen=True, tag="channel", tag_field="kind", forbid_unknown_fields=True):
    any_of: Names


class AtLocation(Struct, frozen=True, tag="location", tag_field="kind", forbid_unknown_fields=True):
    any_of: Names


class Tenure(Struct, frozen=True, tag="tenure", tag_field="kind", forbid_unknown_fields=True):
    """The member was enrolled at least `days` local dates ago: on the day of enrolling it is 0."""

    days: Annotated[int, Meta(ge=1, le=36_600)]


class HasIdentifier(Struct, frozen=True, tag="identifier", tag_field="kind", forbid_unknown_fields=True):
    """The member has an identifier of one of these kinds."""

    any_of: Annotated[tuple[Literal["card", "phone", "email", "external"], ...], Meta(max_length=4)]


class HasTier(Struct, frozen=True, tag="tier", tag_field="kind", forbid_unknown_fields=True):
    """The member has the tier `at_least` of a tier set, or one above it."""

    tier_set: Name
    at_least: Name


OfBasket = MinimumSpend | HasLine
OfMember = Tenure | HasIdentifier
Condition = AllOf | AnyOf | Not | OfBasket | Window | InChannel | AtLocation | HasTier | OfMember


class LineFacts(Struct, frozen=True, gc=False):
    """One line as conditions see it."""

    sku: str
    categories: tuple[str, ...]
    tags: tuple[str, ...]
    quantity_milli: int  # thousandths
    amount_minor: int


class MemberFacts(Struct, frozen=True):
    """A member as conditions see one, no personal data; empty when it is nobody, or was not asked for."""

    enrolled_at: datetime | None = None
    identifier_kinds: frozenset[str] = frozenset()
    tiers: Mapping[str, tuple[str, ...]] = {}  # by tier set, up to the one that is held, from the lowest


class Facts(Struct, frozen=True):
    """All that a purchase, or whoever wants a reward, is judged on."""

    occurred_at: datetime
    lines: tuple[LineFacts, ...]
    basis: dict[
        str, tuple[int, ...]
    ]  # by points currency: minor units per line that may earn; never negative
    channel: str | None = None
    location: str | None = None
    member: MemberFacts = MemberFacts()
