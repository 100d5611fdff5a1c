"""How long the evaluator takes for a basket of five lines under 100 and under 1,000 rules."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from bench.sample import figure
from bench.world import LINES, file, occurred_at
from loyalty.conditions.types import Facts, LineFacts
from loyalty.rules.compile import Compiled, compile_ruleset
from loyalty.rules.evaluate import evaluate
from loyalty.rules.types import Ruleset

NAMES = ("skus", "categories", "tags")


def measure(rules: int, turns: int, calls: int, *, plain: bool = False) -> float:
    """Microseconds of one evaluation: the median of `turns` stretches of `calls`.

    `plain`: a basket that meets the base rule alone, instead of the bench's own that meets four rules.
    """
    compiled, facts = compiled_rules(rules), basket_facts(datetime.now(UTC), plain=plain)
    assert len(evaluate(compiled, facts, {}).awards) == (1 if plain else 4), "another basket or other rules"
    return figure([_stretch(compiled, facts, calls) for _ in range(turns)]).median


def _stretch(compiled: Compiled, facts: Facts, calls: int) -> float:
    counters = dict.fromkeys(compiled.counter_keys(facts.occurred_at), 0)
    started = time.perf_counter()
    for _ in range(calls):
        evaluate(compiled, facts, counters)
    return (time.perf_counter() - started) * 1e6 / calls


def compiled_rules(count: int) -> Compiled:
    """The fixed hundred, and as many of their likenesses about other articles and stores as it takes."""
    fixed = file()["ruleset"]
    rules = list(fixed["rules"])
    while len(rules) < count:
        rules += _likenesses(fixed["rules"], len(rules) // 100)
    ruleset = msgspec.convert(fixed | {"rules": rules[:count]}, Ruleset, strict=False)
    return compile_ruleset(ruleset, ZoneInfo(file()["settings"]["zone"]))


def basket_facts(now: datetime, *, plain: bool) -> Facts:
    lines = tuple(
        LineFacts(
            line["sku"],
            ("grocery",) if plain else tuple(line["categories"]),
            tuple(line.get("tags", ())),
            1000,
            line["amount_minor"] // (2 if plain else 1),
        )
        for line in LINES
    )
    return Facts(
        occurred_at=occurred_at(now) - timedelta(days=1 if plain else 0),
        lines=lines,
        basis={"points": tuple(line.amount_minor for line in lines)},
        channel="pos",
        location="store-12",
    )


def _likenesses(rules: list[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    for rule in rules:
        like = _renamed(rule, f"-{number}") | {"id": f"{rule['id']}-{number}", "name": rule["name"]}
        if like == rule | {"id": like["id"]}:  # it names nothing: it would match in every store
            only = {"kind": "location", "any_of": [f"store-12-{number}"]}
            like["when"] = {"kind": "all", "of": [only, rule["when"]]} if "when" in rule else only
        yield like


def _renamed(value: Any, suffix: str) -> Any:
    """`value` with another name in every place that names articles, channels or stores."""
    match value:
        case dict():
            return {
                key: [name + suffix for name in part] if key in (*NAMES, "any_of") else _renamed(part, suffix)
                for key, part in value.items()
            }
        case list():
            return [_renamed(part, suffix) for part in value]
        case _:
            return value
