"""Words: what a receipt says about the points of a purchase, and why each rule gave what it gave.

The figures come from the evaluator; nothing is decided here. A rule's own name ("for the basket", "extra for
coffee") is written by the program's manager and printed as it is.
"""

import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, assert_never

from loyalty.base.money import amount, counted
from loyalty.programs.types import PointsCurrency
from loyalty.rules.compile import Compiled
from loyalty.rules.types import Award, CapPeriod, EvaluatedRule, Fixed, Multiplier, PerSpend, Rule

RECEIPT_COLUMNS = 42

_EACH = {
    CapPeriod.DAY: "a day",
    CapPeriod.WEEK: "a week",
    CapPeriod.MONTH: "a month",
    CapPeriod.YEAR: "a year",
    CapPeriod.EVER: "in all",
}


class Balance(Protocol):
    """What of a balance a receipt prints."""

    @property
    def points_currency(self) -> str: ...

    @property
    def available(self) -> int: ...

    @property
    def pending(self) -> int: ...

    @property
    def debt(self) -> int: ...


class Revoked(Protocol):
    """What of points taken back a receipt prints."""

    @property
    def points_currency(self) -> str: ...

    @property
    def points(self) -> int: ...

    @property
    def debt(self) -> int: ...


class Restored(Protocol):
    """What of points given back a receipt prints."""

    @property
    def points_currency(self) -> str: ...

    @property
    def points(self) -> int: ...


def receipt_lines(
    compiled: Compiled,
    awards: Sequence[Award],
    repaid: Mapping[str, int],
    expired: Mapping[str, int],
    balances: Sequence[Balance],
    currencies: Mapping[str, PointsCurrency],
) -> tuple[str, ...]:
    """What a receipt says: a line for each points currency that earned, what of it is gone again, then the balances.

    Empty for a guest, who has neither awards nor balances. Needs: points that paid a debt, points that are over
    already, and `currencies`, each by code.
    """
    parts: dict[str, list[Award]] = {}
    for award in awards:
        parts.setdefault(award.points_currency, []).append(award)
    lines = [
        f"{_counted(sum([award.points for award in earned]), code, currencies)}: "
        + ", ".join([_part(award, compiled) for award in earned])
        for code, earned in parts.items()
    ]
    if balances and not lines:
        lines.append("No points for this purchase")
    for code, points in repaid.items():
        if points:
            lines.append(f"{_counted(points, code, currencies)} paid what was owed")
    for code, points in expired.items():
        if points:
            lines.append(f"{_counted(points, code, currencies)} had expired")
    for one in balances:
        if one.debt:
            lines.append(f"{_counted(one.debt, one.points_currency, currencies)} still owed")
    return (*lines, *balance_lines(balances, currencies))


def back_lines(
    revoked: Sequence[Revoked],
    restored: Sequence[Restored],
    balances: Sequence[Balance],
    currencies: Mapping[str, PointsCurrency],
    otherwise: str,
) -> tuple[str, ...]:
    """What a receipt says when points were taken or given back, or `otherwise`; then what is owed, and the balances."""

    def told(points: int, code: str, what: str) -> str:
        return f"{_counted(points, code, currencies)} {what}"

    lines = [told(one.points, one.points_currency, "taken back") for one in revoked if one.points]
    lines += [told(one.points, one.points_currency, "given back") for one in restored]
    lines = lines or [otherwise]
    lines += [told(one.debt, one.points_currency, "owed") for one in revoked if one.debt]
    return (*lines, *balance_lines(balances, currencies))


def balance_lines(balances: Sequence[Balance], currencies: Mapping[str, PointsCurrency]) -> list[str]:
    """What a receipt says last: what is there now, and what is still to come."""
    lines: list[str] = []
    for one in balances:
        there = f"{one.available:,}"
        if len(balances) > 1:
            there = _counted(one.available, one.points_currency, currencies)
        lines.append(f"Balance {there}" + (f", {one.pending:,} pending" if one.pending else ""))
    return lines


def _counted(points: int, code: str, currencies: Mapping[str, PointsCurrency]) -> str:
    return currencies[code].counted(points) if code in currencies else counted(points, code)


def _part(award: Award, compiled: Compiled) -> str:
    words = f"{award.points:,} {compiled.name(award.rule_id)}"
    return words if award.cut_by is None else f"{words} (limit reached)"


def narrow(lines: Iterable[str], columns: int = RECEIPT_COLUMNS) -> tuple[str, ...]:
    """The same lines for a receipt printer: plain ASCII, none longer than `columns`, continued lines indented."""
    return tuple(
        piece
        for line in lines
        for piece in textwrap.wrap(plain(line), columns, subsequent_indent="  ", break_long_words=True)
    )


def plain(text: str) -> str:
    """`text` in plain ASCII: letters without their accents, a question mark for what has no such form."""
    spelled = text.translate(_SPELLED)
    bare = (c for c in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in bare)


# Letters and signs that Unicode does not take apart by itself.
_SPELLED = str.maketrans(
    {
        pair[0]: pair[1:]
        for pair in 'ßss æae ÆAE œoe ŒOE øo ØO łl ŁL đd ĐD ıi €EUR ×x –- —- ‘\' ’\' “" ”" „"'.split()
    }
)


def sentence(evaluated: EvaluatedRule, money: str, points: PointsCurrency) -> str:
    """Why a rule gave what it gave. `money` is the program's currency code."""
    rule, award, unmet = evaluated.rule, evaluated.award, evaluated.unmet
    if award is not None:
        said = f"{rule.name}: {points.counted(award.points)}, {_gave(rule, award, money)}."
        if award.cut_by is not None:
            said += f" {award.wanted:,} were due; {_limit(rule)} left {award.points:,}."
        return said
    assert unmet is not None, "a rule either gave something or did not"
    return f"{rule.name}: no {points.name}, because {because(unmet.reason, unmet.detail, rule, money)}."


def back_sentence(rule: Rule, award: Award, points: int, called: PointsCurrency, *, unmet: bool) -> str:
    """Why so many points of an award were taken back; `unmet` when it went whole with its conditions."""
    said = f"{rule.name}: {points:,} of {called.counted(award.points)} taken back"
    if unmet:
        return f"{said}, because what is left no longer fulfils its conditions."
    return f"{said}, the share of what went back." if points < award.points else f"{said}."


def _gave(rule: Rule, award: Award, money: str) -> str:
    match rule.gives:
        case PerSpend(points, each_minor):
            return f"{points:,} for each {amount(each_minor, money)} of {amount(award.basis_minor, money)}"
        case Multiplier(factor_bps):
            return f"the extra that makes the base points of its lines {_times(factor_bps)} times as many"
        case Fixed():
            return "a fixed bonus"
        case _:
            assert_never(rule.gives)


def _times(factor_bps: int) -> str:
    whole, part = divmod(factor_bps, 10_000)
    return f"{whole}.{part:04}".rstrip("0").rstrip(".")


def _limit(rule: Rule) -> str:
    cap = rule.member_cap
    return "its limit" if cap is None else f"its limit of {cap.points:,} {_EACH[cap.period]}"


def because(reason: str, figures: Mapping[str, Any], rule: Rule, money: str) -> str:
    """The words of one reason (`Unmet.reason`) with its figures."""
    match reason:
        case "minimum_spend":
            has, needs = amount(figures["basis_minor"], money), amount(figures["amount_minor"], money)
            return f"{has} may earn on the lines it looks at and {needs} is needed"
        case "has_line":
            return "the basket lacks a line that it asks for"
        case "window":
            return f"{_WINDOW[figures['part']]} (local time {figures['local'].replace('T', ' ')})"
        case "channel" | "location":
            here = figures[reason]
            return f"it is not for {reason} {here}" if here else f"the purchase names no {reason}"
        case "tier":
            has = f"the tier {figures['tier']}" if figures["tier"] else "none"
            return f"it asks for the tier {figures['at_least']} or one above it, and the member had {has}"
        case "any":
            parts = [because(part["reason"], part, rule, money) for part in figures["of"]]
            return "none of its alternatives holds: " + "; ".join(parts)
        case "not":
            return f"its condition on {_KINDS.get(figures['of'], figures['of'])} must not hold, and does"
        case "no_matching_line":
            return "no line that may earn is one of its lines"
        case "below_step":
            has, step = amount(figures["basis_minor"], money), amount(figures["each_minor"], money)
            return f"{has} may earn on its lines and a step is {step}"
        case "no_base_points":
            return "its lines have no base points to multiply"
        case "below_one_point":
            return f"the extra on {figures['base_points']:,} base points is less than one"
        case "member_cap":
            return f"{_limit(rule)} is used up"
        case "guest":
            return "a guest's purchase gives none until it is claimed"
        case "judged_otherwise":
            return "it gave none when the purchase was judged, though judged again it would"
        case _:
            return f"of {reason}"


_WINDOW = {
    "from_on": "its days had not begun yet",
    "to_on": "its days had ended",
    "weekdays": "it is for other weekdays",
    "from_time": "its hours begin later in the day",
    "to_time": "its hours end earlier in the day",
}
_KINDS = {
    "all": "several things",
    "any": "alternatives",
    "not": "something absent",
    "minimum_spend": "the spend",
    "has_line": "a line",
    "window": "the time",
    "channel": "the channel",
    "location": "the location",
    "tier": "the tier",
}
