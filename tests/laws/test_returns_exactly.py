"""Law 5: all parts of a purchase together are exactly the whole, in every order, whatever came in between.

Random rules (base points, multipliers, bonuses, caps, exclusions, bonuses that hang on their conditions), random
baskets, points partly spent, other rules published between two parts: in memory, and the same through the pipe.
"""

import asyncio
from collections import Counter
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loyalty.base.ids import NIL
from loyalty.posting.commands import Command, Publish, RecordPurchase
from loyalty.posting.configuration import Configuration
from loyalty.posting.detail import ReturnedPart
from loyalty.posting.returned import Part, due, gone, left_after
from loyalty.rules.types import Award
from tests.conftest import Database
from tests.laws import shapes
from tests.laws.shapes import JSON
from tests.laws.side_by_side import QUICK, publishable
from tests.posting.live import LiveShop, new_program, serving
from tests.posting.shop import ANN, NOW, Reply, Shop, adjust, card, enrol, give_back
from tests.words import proof_seed

CURRENCIES = ("points", "miles")
TOO_MUCH = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
policies = st.fixed_dictionaries(
    {
        "tax_earns": st.booleans(),
        "excluded_tenders": st.sampled_from(((), ("gift",))),
        "negative": st.sampled_from(("floor", "floor", "waive")),
        "pending_days": st.sampled_from((0, 0, 3)),
    }
)


# Among random rules always some that give something, and bonuses that hang on what is bought.
reasons = st.builds(
    lambda least: {"kind": "minimum_spend", "amount_minor": least}, st.sampled_from((300, 900, 1_500, 3_000))
) | st.builds(lambda sku: {"kind": "has_line", "lines": {"skus": [sku]}}, st.sampled_from(shapes.SKUS))
caps = shapes.chance(
    st.builds(lambda points: {"points": points, "period": "month"}, st.sampled_from((5, 40, 100)))
)
givers = st.tuples(
    shapes.given(
        id=st.just("base"),
        gives=st.sampled_from(
            tuple({"kind": "per_spend", "points": 1, "each_minor": each} for each in (10, 37, 100))
        ),
        member_cap=caps,
    ),
    shapes.given(
        id=st.just("bonus"),
        gives=st.sampled_from(tuple({"kind": "fixed", "points": points} for points in (7, 50, 333))),
        when=reasons,
        member_cap=caps,
        on_return=st.sampled_from((None, "all_if_unmet", "all_if_unmet")),
    ),
    shapes.given(
        id=st.just("double"),
        gives=st.sampled_from(
            (
                {"kind": "multiplier", "factor_bps": 20_000, "lines": {"categories": ["coffee"]}},
                {"kind": "multiplier", "factor_bps": 13_333},
            )
        ),
        when=shapes.chance(reasons),
    ),
)
rulesets = st.builds(
    lambda excluded, certain, others: {
        "version": 1,
        "rules": [{"name": "a rule", "points_currency": "points"} | rule for rule in certain] + others,
        "excluded": excluded,
    },
    shapes.chance(shapes.named),
    givers,
    shapes.rules(CURRENCIES),
)


@st.composite
def baskets(draw: st.DrawFn) -> JSON:
    """As in shapes, but with something to pay."""
    basket = draw(shapes.baskets())
    basket.pop("tenders", None)
    for line in basket["lines"]:
        line["amount_minor"] += draw(st.sampled_from((0, 25, 333, 700, 1_000, 1_400)))
        line["quantity_milli"] = draw(st.sampled_from((0, 512, 1_000, 2_000, 3_000)))
    total = sum(line["amount_minor"] for line in basket["lines"])
    if draw(st.booleans()):
        gift = draw(st.integers(0, total))
        basket["tenders"] = [
            {"type": "gift", "amount_minor": gift},
            {"type": "card", "amount_minor": total - gift},
        ]
    return basket


def configured(ruleset: JSON, points: JSON) -> Configuration:
    named = [{"code": code, "name": code, "pending_days": 0} | points for code in CURRENCIES]
    whole = {
        "settings": {"name": "Shop", "zone": "Europe/Berlin", "money": "USD", "points_currencies": named},
        "ruleset": {name: part for name, part in ruleset.items() if part},
    }
    return msgspec.convert(publishable(whole), Configuration)


def bought(basket: JSON, receipt: str) -> RecordPurchase:
    told = {"source": "pos", "external_id": receipt, "occurred_at": NOW, **basket}
    return msgspec.structs.replace(msgspec.convert(told, RecordPurchase), member=card(ANN))


class History(NamedTuple):
    """A purchase beside another one, and its lines in parts, in some order."""

    ruleset: JSON
    points: JSON
    before: JSON
    basket: JSON
    spent: int  # points, where there are so many
    parts: list[dict[str, int]]
    then: JSON  # rules that are published after the first part


@st.composite
def histories(draw: st.DrawFn) -> History:
    basket = draw(baskets())
    pieces: list[tuple[str, int]] = []
    for line in basket["lines"]:
        whole = line["quantity_milli"]
        if not whole:
            pieces.append((line["line_id"], 0))
            continue
        cuts = sorted(draw(st.sets(st.integers(1, whole - 1), max_size=3)))
        pieces += [(line["line_id"], b - a) for a, b in zip([0, *cuts], [*cuts, whole], strict=True)]
    parts: list[dict[str, int]] = []
    for id, units in draw(st.permutations(pieces)):
        if parts and draw(st.booleans()):
            parts[-1][id] = parts[-1].get(id, 0) + units
        else:
            parts.append({id: units})
    return History(
        draw(rulesets),
        draw(policies),
        draw(baskets()),
        basket,
        draw(st.integers(0, 400)),
        parts,
        draw(rulesets),
    )


def commands(history: History, parts: list[dict[str, int]], *, changed: bool) -> list[Command]:
    """What is sent, in its order."""
    sent: list[Command] = [
        Publish(configured(history.ruleset, history.points)),
        enrol(ANN),
        bought(history.before, "R-0"),
        bought(history.basket, "R-1"),
        *([adjust(-history.spent)] if history.spent else []),
    ]
    for number, part in enumerate(parts):
        sent.append(give_back(f"B-{number}", dict(part)))
        if changed and not number:
            sent.append(Publish(configured(history.then, history.points)))
    return sent


def lived(
    history: History, parts: list[dict[str, int]], *, changed: bool = False
) -> tuple[Shop, list[Reply]]:
    shop = Shop()
    return shop, [shop.send(command) for command in commands(history, parts, changed=changed)]


def counters(shop: Shop) -> dict[Any, int]:
    return {key[1]: points for key, points in shop.book.counters.items() if points}


def balances(shop: Shop) -> dict[str, dict[str, int]]:
    return {
        code: {name: getattr(account, name) for name in ("available", "pending", "held", "debt")}
        for (_, code), account in shop.book.accounts.items()
    }


def nets(shop: Shop) -> dict[str, int]:
    """What a member holds less what she owes."""
    return {
        code: figure
        for code, held in balances(shop).items()
        if (figure := held["available"] + held["pending"] - held["debt"])
    }


def all_goes_back(history: History, random: Any) -> None:
    """Points, debts and what caps have counted are as if nothing had been bought; what was spent is owed, or
    forgiven where the policy says so. Neither the order of the parts nor new rules change a thing."""
    size = len(history.parts)
    shop, replies = lived(history, history.parts)
    returned = replies[-size:]
    assert [reply.status for reply in returned] == [201] * size
    assert [reply["complete"] for reply in returned] == [False] * (size - 1) + [True]
    paid = sum(line["amount_minor"] for line in history.basket["lines"])
    assert sum(reply["amount_minor"] for reply in returned) == paid

    never = Shop()
    for command in commands(history, [], changed=False)[:3]:
        never.send(command)
    assert counters(shop) == counters(never)
    expected = nets(never)
    if history.spent and replies[4].status == 201:
        expected["points"] = expected.get("points", 0) - history.spent
    if history.points["negative"] == "waive" and "points" in expected:
        # Pending points pay nothing: what the available ones could not is forgiven.
        expected["points"] = max(expected["points"], balances(never).get("points", {}).get("pending", 0))
    assert nets(shop) == {code: points for code, points in expected.items() if points}

    other = list(history.parts)
    random.shuffle(other)
    reordered, _ = lived(history, other)
    changed, told = lived(history, history.parts, changed=True)
    assert balances(shop) == balances(reordered) == balances(changed)
    assert counters(shop) == counters(reordered) == counters(changed)
    parts = [figures(reply) for reply in told[-size - 1 :] if "revoked" in msgspec.json.decode(reply.raw)]
    assert parts == [figures(reply) for reply in returned]


@pytest.mark.parametrize("examples", [30, pytest.param(1_000, marks=pytest.mark.proof)])
def test_when_all_has_gone_back_it_is_as_if_nothing_had_been_bought(examples: int) -> None:
    test = given(histories(), st.randoms(use_true_random=False))(all_goes_back)
    settings(max_examples=examples, phases=QUICK, suppress_health_check=TOO_MUCH)(test)()


def figures(reply: Reply) -> Any:
    """What an answer says but for ids and instants."""
    told = msgspec.json.decode(reply.raw)
    return (
        reply.status,
        told.get("code"),
        told.get("revoked"),
        told.get("balances"),
        told.get("amount_minor"),
        told.get("complete"),
        [(one["points_currency"], one["points"]) for one in told.get("earned", [])],
    )


def test_the_pipe_takes_back_what_the_deciders_say(database: Database) -> None:
    """The same histories, each part in a batch of its own, read back from the database in between."""

    async def through_the_pipe(history: History, runtime: Any) -> list[Any]:
        shop = LiveShop(runtime, await new_program(runtime))
        told: list[Any] = []
        for command in commands(history, history.parts, changed=True):
            told.append(figures(await shop.send(command)))
        return told

    seen: Counter[str] = Counter()
    with asyncio.Runner() as runner:
        serve = serving(database)
        runtime = runner.run(serve.__aenter__())
        try:

            @settings(max_examples=10, phases=QUICK, suppress_health_check=TOO_MUCH)
            @given(histories())
            def compare(history: History) -> None:
                expected = [figures(reply) for reply in lived(history, history.parts, changed=True)[1]]
                assert runner.run(through_the_pipe(history, runtime)) == expected
                seen["returns"] += len(history.parts)

            compare()
        finally:
            runner.run(serve.__aexit__(None, None, None))
    assert seen["returns"] > 10
    print(f"\n{seen['returns']} returns")


# --- shares alone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequences", [1_000, pytest.param(20_000, marks=pytest.mark.proof)])
def test_shares_of_any_award_are_exact_in_any_order(sequences: int) -> None:
    """Each step takes what must be gone by then; never less than 0, never more than there is, all in the end."""
    chance = Random(proof_seed(5))
    for _ in range(sequences):
        whole = [
            chance.choice((1, 3, 1_000, 2_500, chance.randint(1, 9_999))) for _ in range(chance.randint(1, 5))
        ]
        split = tuple(chance.choice((0, 1, chance.randint(0, 10_000))) for _ in whole)
        award = Award("r", "points", sum(split), sum(split), 0, split)
        left, parts = list(whole), list[Part]()
        while any(left):
            n = chance.choice([n for n, units in enumerate(left) if units])
            units = chance.randint(max(1, left[n] // 5), left[n])
            left[n] -= units
            (points,) = due([gone(award, whole, left)], [part.taken for part in parts])
            assert points >= 0
            parts.append(Part(ReturnedPart(NIL, 0, not any(left), ((n, units),)), (points,)))
            taken = sum(part.taken[0] for part in parts)
            exact = sum(Fraction(s * (w - k), w) for s, w, k in zip(split, whole, left, strict=True))
            assert exact - len(whole) < taken <= exact
            assert left_after(whole, [part.returned for part in parts]) == tuple(left)
        assert sum(part.taken[0] for part in parts) == award.points
