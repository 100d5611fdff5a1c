"""The rules a second time: what a ruleset in its public form gives for one basket.

Written from docs/rules.md with fractions and sets, sharing no code with the program. A basket is a dict: `at`,
`lines` as in the API, `tenders`, `channel`, `location`.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

JSON = dict[str, Any]
Counters = dict[tuple[str, str], int]  # by rule and period


@dataclass
class Given:
    """What one rule gave: to which lines how much, and against which period of its cap."""

    rule: JSON
    shares: list[int]
    period: str | None

    @property
    def points(self) -> int:
        return sum(self.shares)


def judge(
    configuration: JSON, basket: JSON, counters: Counters
) -> tuple[dict[str, int], list[tuple[str, str, int]]]:
    """Points by points currency, and what each cap counted (rule, period, points)."""
    points: dict[str, int] = {}
    counted: list[tuple[str, str, int]] = []
    for given in awarded(configuration, basket, counters):
        code = given.rule["points_currency"]
        points[code] = points.get(code, 0) + given.points
        counted += [(given.rule["id"], given.period, given.points)] if given.period else []
    return points, counted


def awarded(configuration: JSON, basket: JSON, counters: Counters) -> list[Given]:
    """What every rule gave that gave something, in the order in which they are judged."""
    ruleset = configuration.get("ruleset", {})
    local = basket["at"].astimezone(ZoneInfo(configuration["settings"]["zone"]))
    excluded = ruleset.get("excluded")
    earning = [excluded is None or not chosen(excluded, line) for line in basket["lines"]]
    given: list[Given] = []
    base: dict[str, list[int]] = {}
    for rule in sorted(ruleset.get("rules", []), key=order):
        code, gives = rule["points_currency"], rule["gives"]
        basis = [b if e else 0 for b, e in zip(may_earn(configuration, code, basket), earning, strict=True)]
        mine = [
            e and chosen(gives.get("lines", {}), line)
            for e, line in zip(earning, basket["lines"], strict=True)
        ]
        if not any(mine) or not holds(rule.get("when"), basket, basis, local):
            continue
        rounding = gives.get("rounding", "floor")
        weights = [b if m else 0 for b, m in zip(basis, mine, strict=True)]
        if gives["kind"] == "per_spend":
            wanted = rounded(Fraction(sum(weights), gives["each_minor"]), rounding) * gives["points"]
        elif gives["kind"] == "multiplier":
            points = sum(p for p, m in zip(base.get(code, [0] * len(mine)), mine, strict=True) if m)
            wanted = rounded(Fraction(points * (gives["factor_bps"] - 10_000), 10_000), rounding)
        else:
            wanted = gives["points"]
        period = None
        if cap := rule.get("member_cap"):
            period = named_period(local.date(), cap["period"])
            wanted = min(wanted, max(0, cap["points"] - counters.get((rule["id"], period), 0)))
        if not wanted:
            continue
        if gives["kind"] == "multiplier":
            before = base.get(code, [0] * len(mine))
            weights = [p if m else 0 for p, m in zip(before, mine, strict=True)]
        elif not sum(weights):
            weights = [1 if m else 0 for m in mine]
        shares = shared(wanted, weights)
        if gives["kind"] == "per_spend":
            base[code] = [a + b for a, b in zip(base.get(code, [0] * len(shares)), shares, strict=True)]
        given.append(Given(rule, shares, period))
    return given


def still(configuration: JSON, rule: JSON, basket: JSON) -> bool:
    """Whether a rule's conditions hold for a basket."""
    excluded = configuration.get("ruleset", {}).get("excluded")
    local = basket["at"].astimezone(ZoneInfo(configuration["settings"]["zone"]))
    figures = may_earn(configuration, rule["points_currency"], basket)
    basis = [
        0 if excluded is not None and chosen(excluded, line) else figure
        for figure, line in zip(figures, basket["lines"], strict=True)
    ]
    return holds(rule.get("when"), basket, basis, local)


def order(rule: JSON) -> tuple[int, int, str]:
    """Base points, then multipliers, then bonuses; in each the highest priority first, then by name."""
    kind = {"per_spend": 0, "multiplier": 1, "fixed": 2}[rule["gives"]["kind"]]
    return kind, -rule.get("priority", 0), rule["id"]


def may_earn(configuration: JSON, code: str, basket: JSON) -> list[int]:
    """What of each line may earn: less tax where tax does not, less what excluded tenders paid; or as told."""
    if "basis" in basket:
        return basket["basis"][code]
    currency = next(c for c in configuration["settings"]["points_currencies"] if c["code"] == code)
    paid = [max(0, line["amount_minor"]) for line in basket["lines"]]
    net = paid
    if not currency.get("tax_earns", True):
        net = [max(0, line["amount_minor"] - line.get("tax_minor", 0)) for line in basket["lines"]]
    barred = currency.get("excluded_tenders", ())
    away = sum(tender["amount_minor"] for tender in basket.get("tenders", ()) if tender["type"] in barred)
    if not away:
        return net
    parts = shared(min(away, sum(paid)), paid)
    return [n - (part * n // p if p else 0) for n, part, p in zip(net, parts, paid, strict=True)]


def chosen(lines: JSON, line: JSON) -> bool:
    """Whether a line is one of `lines`: any of the named if any are named, none of the excluded."""
    names = {("skus", line["sku"])} | {("categories", c) for c in line.get("categories", ())}
    names |= {("tags", t) for t in line.get("tags", ())}
    wanted = {(kind, name) for kind in ("skus", "categories", "tags") for name in lines.get(kind, ())}
    barred = {
        (kind, name) for kind in ("skus", "categories", "tags") for name in lines.get(f"not_{kind}", ())
    }
    return (not wanted or bool(names & wanted)) and not names & barred


def holds(when: JSON | None, basket: JSON, basis: list[int], local: datetime) -> bool:
    if when is None:
        return True
    match when["kind"]:
        case "all":
            return all(holds(part, basket, basis, local) for part in when["of"])
        case "any":
            return any(holds(part, basket, basis, local) for part in when["of"])
        case "not":
            return not holds(when["of"], basket, basis, local)
        case "minimum_spend":
            lines = when.get("lines", {})
            spent = sum(b for b, line in zip(basis, basket["lines"], strict=True) if chosen(lines, line))
            return spent >= when["amount_minor"]
        case "has_line":
            return any(chosen(when["lines"], line) for line in basket["lines"])
        case "channel":
            return basket.get("channel") in when["any_of"]
        case "location":
            return basket.get("location") in when["any_of"]
        case "window":
            return in_window(when, local)
        case "tier":
            return when["at_least"] in basket.get("tiers", {}).get(when["tier_set"], ())
        case other:
            raise AssertionError(other)


def in_window(when: JSON, local: datetime) -> bool:
    on, at = local.date(), local.time()
    start, end = (time.fromisoformat(when[k]) if when.get(k) else None for k in ("from_time", "to_time"))
    if start and end and end < start and at < end:
        on -= timedelta(days=1)  # the night belongs to the evening that began it
    if when.get("from_on") and on < date.fromisoformat(when["from_on"]):
        return False
    if when.get("to_on") and on > date.fromisoformat(when["to_on"]):
        return False
    if when.get("weekdays") and on.isoweekday() not in when["weekdays"]:
        return False
    if start and end and end < start:
        return at >= start or at < end
    return (start is None or at >= start) and (end is None or at < end)


def rounded(value: Fraction, how: str) -> int:
    return {"floor": floor(value), "ceiling": ceil(value), "half_up": floor(value + Fraction(1, 2))}[how]


def shared(total: int, weights: list[int]) -> list[int]:
    """`total` by weight; what rounding left goes to the largest remainders, the earlier line first."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    exact = [Fraction(total * w, whole) for w in weights]
    parts = [floor(e) for e in exact]
    order = sorted(range(len(weights)), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts


def named_period(on: date, period: str) -> str:
    if period == "week":
        year, week, _ = on.isocalendar()
        return f"{year}-W{week:02}"
    return {"day": on.isoformat(), "month": f"{on:%Y-%m}", "year": f"{on:%Y}", "ever": "ever"}[period]
