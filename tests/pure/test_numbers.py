"""Rounding happens once and splits lose nothing."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.base.money import amount
from loyalty.base.numbers import Rounding, rounded, split_largest_remainder

weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("numerator", "down", "nearest", "up"),
    [(0, 0, 0, 0), (1, 0, 0, 1), (4, 0, 0, 1), (5, 0, 1, 1), (9, 0, 1, 1), (10, 1, 1, 1), (25, 2, 3, 3)],
)
def test_tenths_are_rounded_as_told(numerator: int, down: int, nearest: int, up: int) -> None:
    assert rounded(numerator, 10, Rounding.FLOOR) == down
    assert rounded(numerator, 10, Rounding.HALF_UP) == nearest
    assert rounded(numerator, 10, Rounding.CEILING) == up


@given(st.integers(0, 2**60), st.integers(1, 2**40))
def test_rounding_is_exact_at_any_size(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert rounded(numerator, denominator, Rounding.FLOOR) == floor(exact)
    assert rounded(numerator, denominator, Rounding.HALF_UP) == floor(exact + Fraction(1, 2))
    assert rounded(numerator, denominator, Rounding.CEILING) == ceil(exact)


@pytest.mark.parametrize(
    ("total", "on", "parts"),
    [
        (10, (1, 1, 1), (4, 3, 3)),  # equal remainders: the earlier position first
        (1, (50, 50), (1, 0)),
        (1, (40, 60), (0, 1)),
        (5, (0, 0, 0, 7), (0, 0, 0, 5)),
        (7, (3, 0, 4), (3, 0, 4)),
        (0, (3, 4), (0, 0)),
        (0, (0, 0), (0, 0)),
        (0, (), ()),
        (2, (1, 1, 1, 1), (1, 1, 0, 0)),
        (8, (1398, 25, 333), (6, 0, 2)),
    ],
)
def test_what_rounding_leaves_goes_to_the_largest_remainders(
    total: int, on: tuple[int, ...], parts: tuple[int, ...]
) -> None:
    assert split_largest_remainder(total, on) == parts


@given(st.integers(0, 2**53), weights)
def test_a_split_loses_nothing_and_gives_the_rest_to_the_largest_remainders(
    total: int, on: list[int]
) -> None:
    if not any(on):
        on = [*on, 1]
    exact = [Fraction(total * weight, sum(on)) for weight in on]
    parts = split_largest_remainder(total, on)
    assert sum(parts) == total
    more = [(share % 1, -i) for i, share in enumerate(exact) if parts[i] == floor(share) + 1]
    less = [(share % 1, -i) for i, share in enumerate(exact) if parts[i] == floor(share)]
    assert len(more) + len(less) == len(parts)
    assert not more or min(more) > max(less)


def test_nothing_can_be_split_on_nothing() -> None:
    for nothing in ((), (0, 0)):
        with pytest.raises(AssertionError):
            split_largest_remainder(1, nothing)


@pytest.mark.parametrize(
    ("minor", "code", "words"),
    [
        (123_456, "EUR", "1,234.56 EUR"),
        (5, "USD", "0.05 USD"),
        (-1_050, "EUR", "-10.50 EUR"),
        (1_500, "JPY", "1,500 JPY"),
        (1_500, "KWD", "1.500 KWD"),
        (0, "EUR", "0.00 EUR"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(minor: int, code: str, words: str) -> None:
    assert amount(minor, code) == words
