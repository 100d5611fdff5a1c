"""What a simulation may do next: the rules of the state machine, drawn from a plain seeded random source.

A command is added once, as a rule of tests/laws/side_by_side.py; the simulation finds it there with its strategies.
Each operation has a source of its own, made from the seed and its number, and refers to members, receipts and
moments only by number: leave others out and it is still the same operation, which is what makes a list shrink.
"""

from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.control import BuildContext
from hypothesis.errors import StopTest
from hypothesis.internal.conjecture.data import ConjectureData
from hypothesis.stateful import RULE_MARKER

from tests.laws.side_by_side import Commands

# How often, against 4 for an operation not named here. What changes everything is rarer than what a shop does all day.
WEIGHTS = {
    "owe_and_have_it_written_off": 26, "extend_hold": 13, "settle_due": 11, "give_tier": 12, "place_and_use_hold": 10,
    "buy": 10, "exchange": 10, "hold_reward": 9, "buy_and_cancel": 8, "adjust": 8, "spend": 8, "reinstate": 8,
    "redeem_and_think_again": 8, "hold_reward_and_decide": 8, "capture_hold": 7, "change_status": 6, "erase": 6,
    "place_hold": 6, "redeem": 6, "pay": 6, "transfer": 6, "buy_as_a_guest_and_claim": 5, "identify": 4,
    "publish": 4, "repeat": 3, "close_day": 3, "wait": 2, "jump": 2, "remember": 2, "reuse_a_key": 2,
    "publish_what_is_fixed": 1, "read_the_statement": 1,
}  # fmt: skip
RULES: dict[str, Any] = {
    name: rule for name in dir(Commands) if (rule := getattr(getattr(Commands, name), RULE_MARKER, None))
}
_ARGUMENTS = {name: st.fixed_dictionaries(dict(rule.arguments_strategies)) for name, rule in RULES.items()}


# While a clock is moved every refusal is of its moment and a repeat may do better: a crowd, of whose answers to one
# request all must be the same, leaves it out.
NOT_IN_A_CROWD = frozenset({"move_the_clock"})


class Operation(NamedTuple):
    """One call of a rule."""

    number: int
    rule: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.number:4} {self.rule}({', '.join(f'{k}={v!r}' for k, v in self.arguments.items())})"


def source(*parts: object) -> Random:
    """Chance that is the same for the same parts in every process."""
    return Random("/".join(map(str, parts)))


def draw(strategy: st.SearchStrategy[Any], random: Random) -> Any:
    """A value of a strategy, without the machinery around it: 2 ms instead of a whole test."""
    while True:
        data = ConjectureData(random=random)
        try:
            with BuildContext(data, wrapped_test=draw):
                return data.draw(strategy)
        except StopTest:
            continue  # its filters refused everything


def operations(seed: int, many: int, without: frozenset[str] = frozenset()) -> list[Operation]:
    """The operations of a seed. Some rules are left out and others favoured, so that seeds differ in kind."""
    random = source(seed, "rules")
    names = [name for name in RULES if name not in without]
    weights = [WEIGHTS.get(name, 4) * random.choice((0, 1, 1, 1, 2)) for name in names]
    made: list[Operation] = []
    for number in range(many):
        random = source(seed, number)
        (name,) = random.choices(names, weights)
        made.append(Operation(number, name, draw(_ARGUMENTS[name], random)))
    return made
