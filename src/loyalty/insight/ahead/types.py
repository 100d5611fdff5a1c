"""The answers of forecasts and plans, as kept with their runs. Source: docs/forecast.md."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct


class WeekPoints(Struct, frozen=True):
    """What becomes of points of one currency in a week; members are counted once in each."""

    points_currency: str
    activates: int
    activates_members: int
    expires: int
    expires_members: int
    expires_minor: int | None  # what they would pay; None: nothing is paid with them


class WeekMoves(Struct, frozen=True):
    """How many members make one step on a ladder in a week; None: no tier."""

    tier_set: str
    before: str | None
    after: str | None
    members: int


class Week(Struct, frozen=True):
    """A week of the program's calendar in which something happens; its very beginning belongs to it."""

    begins_on: date  # a Monday
    points: tuple[WeekPoints, ...]
    moves: tuple[WeekMoves, ...]


class Forecast(Struct, frozen=True):
    """What happens by itself behind `now` if nothing else does: the rest of this week, and 52 more."""

    now: datetime
    until: datetime  # the beginning of the week behind the last one
    configuration: int  # the newest number that was known
    money: str
    members: int  # looked at
    weeks: tuple[Week, ...]  # in order


class PlannedMove(Struct, frozen=True):
    before: str | None
    after: str | None
    members: int
    first: tuple[UUID, ...]  # ids of some of them


class PlannedTierSet(Struct, frozen=True):
    """What becomes of one ladder. Of one that is left out each member's tier ends, without a step being written."""

    tier_set: str
    change: Literal["added", "changed", "unchanged", "left_out"]
    moves: tuple[PlannedMove, ...]
    in_grace: int = 0  # of those who stay: how many fall when their grace ends, if they do nothing more


class TierPlan(Struct, frozen=True):
    """Who would move were a configuration published at `now`."""

    now: datetime
    configuration: int  # the newest number that was known
    members: int  # looked at
    tier_sets: tuple[PlannedTierSet, ...]
