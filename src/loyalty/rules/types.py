"""The rules' words: when a rule applies, what it gives, how often, and what an award says.

The same tagged unions are the stored JSON, the API body and the `match`. Rates are basis points,
money is minor units, points are whole.
"""

from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

from loyalty.base.calendar import CapPeriod
from loyalty.base.numbers import Rounding
from loyalty.conditions.types import Condition, Lines
from loyalty.programs.types import DatingPolicy

EVALUATOR = 1  # version of the pure evaluator; a decision names the one that judged it


# --- effects ------------------------------------------------------------------------------------------


class PerSpend(Struct, frozen=True, tag="per_spend", tag_field="kind", forbid_unknown_fields=True):
    """`points` for each `each_minor` of the basis of the chosen lines, rounded once for the basket: base points."""

    points: Annotated[int, Meta(ge=1, le=1_000_000)]
    each_minor: Annotated[int, Meta(ge=1, le=10**12)]
    rounding: Rounding = Rounding.FLOOR
    lines: Lines = Lines()


class Fixed(Struct, frozen=True, tag="fixed", tag_field="kind", forbid_unknown_fields=True):
    """A fixed bonus once per purchase."""

    points: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    lines: Lines = Lines()  # on which the bonus is split


class Multiplier(Struct, frozen=True, tag="multiplier", tag_field="kind", forbid_unknown_fields=True):
    """Makes the base points of the chosen lines `factor_bps` / 10,000 times as many; the award is the extra."""

    factor_bps: Annotated[int, Meta(ge=10_001, le=1_000_000)]
    rounding: Rounding = Rounding.FLOOR
    lines: Lines = Lines()


Effect = PerSpend | Fixed | Multiplier


class OnReturn(StrEnum):
    """What becomes of a rule's points when some of a purchase goes back."""

    SHARE = "share"  # each line's points go with the line, by quantity
    ALL_IF_UNMET = "all_if_unmet"  # and all of them once what is left no longer fulfils the rule's conditions


class MemberCap(Struct, frozen=True, forbid_unknown_fields=True):
    """At most `points` of this rule for one member in one program-local period of `occurred_at`."""

    points: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    period: CapPeriod


class Terms(Struct, frozen=True, forbid_unknown_fields=True):
    """What the points of one rule have of their own; what it does not say, the points currency does."""

    expiry: DatingPolicy | None = None
    pending_days: Annotated[int, Meta(ge=0, le=3_650)] | None = None


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,63}$")]
    name: Annotated[str, Meta(min_length=1, max_length=120)]  # what a receipt says: "for the basket"
    points_currency: str
    gives: Effect
    when: Condition | None = None
    member_cap: MemberCap | None = None
    priority: Annotated[int, Meta(ge=-1_000, le=1_000)] = 0  # higher first, then id
    on_return: OnReturn = OnReturn.SHARE
    terms: Terms | None = None


class Ruleset(Struct, frozen=True, forbid_unknown_fields=True):
    """An immutable published set. `excluded` lines earn nothing under any rule."""

    version: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0  # publishing sets it to the configuration's number
    rules: Annotated[tuple[Rule, ...], Meta(max_length=1_000)] = ()
    excluded: Lines | None = None


# --- awards -----------------------------------------------------------------------------------


class CounterKey(Struct, frozen=True, order=True):
    """What is counted: points of one rule in one period (2026-05-04, 2026-W19, 2026-05, 2026 or ever).

    Other limits than a rule's cap have a word with a colon in the rule's place, which no rule can have.
    """

    rule_id: str
    period: str

    @property
    def of_program(self) -> bool:
        """Whether what it counts is no member's, so that the counter lives in the program's own lane."""
        return self.rule_id.startswith(("actor:", "till:"))


class Award(Struct, frozen=True, omit_defaults=True):
    """Points of one rule in one decision, split on lines by position; `wanted` says what a cap cut."""

    rule_id: str
    points_currency: str
    points: int
    wanted: int
    basis_minor: int
    split: tuple[int, ...]  # points per line position; sums to `points`
    cut_by: str | None = None  # member_cap


class Unmet(Struct, frozen=True):
    """A rule that gave nothing, and why: the first condition that did not hold, with the figures compared."""

    rule_id: str
    reason: str  # stable word: minimum_spend, window, no_matching_line, no_base_points, member_cap …
    detail: dict[str, Any] = {}


class Evaluation(Struct, frozen=True):
    """What the rules give for some facts."""

    awards: tuple[Award, ...]
    unmet: tuple[Unmet, ...]  # only when asked for: explanation re-runs the evaluator
    counted: tuple[tuple[CounterKey, int], ...]  # cap counters to raise


class EvaluatedRule(Struct, frozen=True):
    """One line of an explanation in data: an award or an unmet rule, with the rule's words."""

    rule: Rule
    award: Award | None
    unmet: Unmet | None
