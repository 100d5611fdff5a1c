"""Random rulesets and baskets out of few names and figures, so that they meet."""

from datetime import UTC, date, datetime, time, timedelta

from hypothesis import strategies as st

from loyalty.base.numbers import Rounding
from loyalty.conditions.types import (
    AllOf,
    AnyOf,
    AtLocation,
    Condition,
    Facts,
    HasLine,
    InChannel,
    LineFacts,
    Lines,
    MinimumSpend,
    Not,
    Window,
)
from loyalty.rules.types import CapPeriod, Effect, Fixed, MemberCap, Multiplier, PerSpend, Rule, Ruleset

CURRENCIES = ("points", "stars")
SKUS = ("A", "B", "C", "D")
CATEGORIES = ("coffee", "bakery", "fuel")
TAGS = ("organic", "no-points")
CHANNELS = ("pos", "web")
LOCATIONS = ("north", "south")


def some(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), max_size=2, unique=True).map(tuple)


lines = st.builds(
    Lines,
    skus=some(SKUS),
    categories=some(CATEGORIES),
    tags=some(TAGS),
    not_skus=some(SKUS),
    not_categories=some(CATEGORIES),
    not_tags=some(TAGS),
)
few_lines = st.just(Lines()) | lines
dates = st.dates(date(2026, 3, 1), date(2026, 4, 30))
clock_times = st.sampled_from([time(0), time(2), time(2, 30), time(9), time(17), time(22)])
windows = st.builds(
    Window,
    from_on=st.none() | dates,
    to_on=st.none() | dates,
    weekdays=st.lists(st.integers(1, 7), max_size=4, unique=True).map(tuple),
    from_time=st.none() | clock_times,
    to_time=st.none() | clock_times,
)
simple: st.SearchStrategy[Condition] = st.one_of(
    st.builds(MinimumSpend, st.integers(1, 2_000), few_lines),
    st.builds(HasLine, few_lines),
    windows,
    st.builds(InChannel, some(CHANNELS)),
    st.builds(AtLocation, some(LOCATIONS)),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=3,
)
roundings = st.sampled_from(Rounding)
effects: st.SearchStrategy[Effect] = st.one_of(
    st.builds(PerSpend, st.integers(1, 5), st.sampled_from([1, 7, 100, 250]), roundings, few_lines),
    st.builds(Multiplier, st.integers(10_001, 40_000), roundings, few_lines),
    st.builds(Fixed, st.integers(1, 100), few_lines),
)
caps = st.none() | st.builds(MemberCap, st.integers(1, 60), st.sampled_from(CapPeriod))


@st.composite
def rulesets(draw: st.DrawFn, most: int = 6) -> Ruleset:
    rules = [
        Rule(
            f"r{number}",
            f"for number {number}",
            draw(st.sampled_from(CURRENCIES)),
            draw(effects),
            draw(st.none() | conditions),
            draw(caps),
            draw(st.integers(-2, 2)),
        )
        for number in range(draw(st.integers(0, most)))
    ]
    return Ruleset(draw(st.integers(0, 9)), tuple(rules), draw(st.none() | lines))


@st.composite
def baskets(draw: st.DrawFn) -> Facts:
    bought = draw(
        st.lists(
            st.builds(
                LineFacts,
                st.sampled_from(SKUS),
                some(CATEGORIES),
                some(TAGS),
                st.integers(0, 5_000),
                st.integers(0, 1_500),
            ),
            min_size=1,
            max_size=6,
        )
    )
    amounts = tuple(line.amount_minor for line in bought)
    # Around the night of 29 March in which Berlin's clocks jump.
    at = datetime(2026, 3, 27, tzinfo=UTC) + timedelta(minutes=draw(st.integers(0, 6 * 24 * 60)))
    return Facts(
        at,
        tuple(bought),
        {"points": amounts, "stars": tuple(amount * 4 // 5 for amount in amounts)},
        draw(st.none() | st.sampled_from(CHANNELS)),
        draw(st.none() | st.sampled_from(LOCATIONS)),
    )
