"""The rule language at length: whatever rules are written, two readings of them give the same points for any basket."""

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.laws.shapes import baskets, rulesets
from tests.laws.test_rules_twice import INSTANTS, test_two_readings_of_the_rules_agree

AT_ONCE = 2_000  # beyond that Hypothesis looks long for what it has not tried yet


def judged_twice(first: int, many: int) -> str | None:
    """So many rulesets, each on a basket; what is wrong with one, made as small as it goes, or None."""
    agree = test_two_readings_of_the_rules_agree.hypothesis.inner_test  # type: ignore[attr-defined]
    for begun in range(0, many, AT_ONCE):
        given_all = given(rulesets(("points", "miles")), baskets(), INSTANTS, st.integers(0, 200))
        some = settings(
            max_examples=min(AT_ONCE, many - begun),
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much),
        )
        try:
            seed(first + begun)(some(given_all(agree)))()
        except Exception as wrong:
            return f"{wrong!r}\n{''.join(getattr(wrong, '__notes__', []))}"
    return None
