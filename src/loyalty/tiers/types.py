"""The tiers' words: ladders, what lifts a member on them, and where a member stands.

Tier sets are a part of the published configuration; docs/tiers.md tells them to whoever writes one.
"""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from loyalty.programs.types import DatingPolicy

_Id = Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,63}$")]
_Name = Annotated[str, Meta(min_length=1, max_length=120)]
FIGURE_MAX = 2**53 - 1
_Figure = Annotated[int, Meta(ge=0, le=FIGURE_MAX)]


# --- what is counted ----------------------------------------------------------------------------------------


class QualifyingPoints(Struct, frozen=True, tag="points", tag_field="kind", forbid_unknown_fields=True):
    """Points of one currency that were credited, less those revoked, by the day of the activity."""

    points_currency: str


class Spend(Struct, frozen=True, tag="spend", tag_field="kind", forbid_unknown_fields=True):
    """What was paid and not given back, in minor units."""


class Visits(Struct, frozen=True, tag="visits", tag_field="kind", forbid_unknown_fields=True):
    """Purchases of which something is left."""


class DistinctDays(Struct, frozen=True, tag="days", tag_field="kind", forbid_unknown_fields=True):
    """Local days with at least one such purchase."""


class TenureMonths(Struct, frozen=True, tag="tenure", tag_field="kind", forbid_unknown_fields=True):
    """Whole months since the member joined. It only grows: the period plays no part."""


class Invitation(Struct, frozen=True, tag="invitation", tag_field="kind", forbid_unknown_fields=True):
    """Nothing is counted: a tier is given by hand or by import."""


Metric = QualifyingPoints | Spend | Visits | DistinctDays | TenureMonths | Invitation


# --- when it is counted ---------------------------------------------------------------------------------------


class CalendarUnit(StrEnum):
    MONTH = "month"
    QUARTER = "quarter"
    HALF_YEAR = "half_year"
    YEAR = "year"


class Calendar(Struct, frozen=True, tag="calendar", tag_field="kind", forbid_unknown_fields=True):
    """Counted in each calendar period. A tier lasts through `lasts` more periods than the one it was reached in."""

    unit: CalendarUnit
    lasts: Annotated[int, Meta(ge=0, le=24)] = 1


class Anniversary(Struct, frozen=True, tag="anniversary", tag_field="kind", forbid_unknown_fields=True):
    """The same in periods of `months` that begin on the day of joining; a month's end is clamped each time."""

    months: Annotated[int, Meta(ge=1, le=120)] = 12
    lasts: Annotated[int, Meta(ge=0, le=24)] = 1


class RollingWindow(Struct, frozen=True, tag="rolling", tag_field="kind", forbid_unknown_fields=True):
    """Counted over the last `months` or `days`, today the last of them. A tier lasts while the window carries it."""

    months: Annotated[int, Meta(ge=1, le=120)] | None = None
    days: Annotated[int, Meta(ge=1, le=3_660)] | None = None


class Lifetime(Struct, frozen=True, tag="lifetime", tag_field="kind", forbid_unknown_fields=True):
    """Counted from the beginning: what was reached stays, unless it is given back."""


Period = Calendar | Anniversary | RollingWindow | Lifetime


# --- ladders ----------------------------------------------------------------------------------------------------


class Tier(Struct, frozen=True, forbid_unknown_fields=True):
    id: _Id
    name: _Name
    threshold: _Figure  # of the metric, itself enough
    lifetime_after: Annotated[int, Meta(ge=1, le=100)] | None = (
        None  # periods in a row that reach it; then for ever
    )
    benefits: Annotated[tuple[_Name, ...], Meta(max_length=50)] = ()  # read by tills, apps and people
    # By points currency: when points end that its holders earn; a tier that says nothing has the word of the one below.
    expiry: dict[_Id, DatingPolicy] = {}


class TierSet(Struct, frozen=True, forbid_unknown_fields=True):
    """A ladder, from the lowest tier up. Below the first threshold a member has no tier of it."""

    id: _Id
    name: _Name
    metric: Metric
    period: Period
    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1, max_length=20)]
    upgrade: Literal["at_once", "at_review"] = "at_once"
    downgrade: Literal["by_metric", "one_level", "never"] = "by_metric"
    grace_days: Annotated[int, Meta(ge=0, le=3_660)] = (
        0  # so much later a tier falls that is not reached again
    )
    returns: Literal["at_review", "at_once"] = "at_review"  # when a tier falls that lived by what went back


TierSets = Annotated[tuple[TierSet, ...], Meta(max_length=20)]


# --- a member's place -------------------------------------------------------------------------------------------


class Day(Struct, frozen=True):
    """What a member did on one program-local day, less what of it was given back since."""

    on: date
    spend_minor: int = 0
    visits: int = 0
    points: Mapping[str, int] = {}  # by points currency


class Manual(Struct, frozen=True):
    """A tier by hand: at least this one until `until`."""

    tier: str
    given_at: datetime
    until: datetime | None  # None: until it is taken back
    reason: str


class Standing(Struct, frozen=True):
    """Where a member stands on one ladder, as its reviews and upgrades have left it.

    `earned` is what was reached, `lifetime` what stays for ever; None: no tier. `falls_at` is set while a tier that
    was not reached again is in its grace.
    """

    tier_set: str
    joined_on: date
    earned: str | None = None
    since: datetime | None = None  # of the effective tier
    lifetime: str | None = None
    manual: Manual | None = None
    falls_at: datetime | None = None
    next_review_at: datetime | None = None  # None: nothing will change by itself


class Why(StrEnum):
    """Why a member moved on a ladder."""

    REACHED = "reached"  # at once, by what it did
    REVIEWED = "reviewed"  # at the end of a period or window
    RETURNED = "returned"  # what carried it went back
    LIFETIME = "lifetime"
    GIVEN = "given"  # by hand
    ENDED = "ended"  # what was given by hand is over
    CHANGED = "changed"  # the ladder itself


class Move(Struct, frozen=True):
    """One step of a member's history on a ladder: effective tiers before and after."""

    at: datetime
    before: str | None
    after: str | None
    why: Why
    metric: int  # what was counted then, in the window that counts


class Step(Struct, frozen=True):
    """Since when, by the books, a tier counted; None: no tier."""

    at: datetime
    tier: str | None


class KeptMove(Struct, frozen=True):
    """A step as it is kept: which decision made it, and its place among those of the decision."""

    tier_set: str
    decision_id: UUID
    position: int
    at: datetime
    before: str | None
    after: str | None
    why: Why
    metric: Annotated[int, Meta(description="What was counted then, in the window that counts.")] = field(
        name="counted"
    )
