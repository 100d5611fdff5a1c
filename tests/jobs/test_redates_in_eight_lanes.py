"""A changed policy of expiry reaches lots that are spread over eight lanes."""

import pytest

from tests.jobs.test_redates import (
    clock,
    runtime,
    test_a_plan_tells_what_would_change_and_changes_nothing,
    test_a_run_that_dies_half_way_is_taken_over_where_it_was,
    test_what_is_confirmed_is_done_once,
)

__all__ = [
    "clock",
    "runtime",
    "test_a_plan_tells_what_would_change_and_changes_nothing",
    "test_a_run_that_dies_half_way_is_taken_over_where_it_was",
    "test_what_is_confirmed_is_done_once",
]


@pytest.fixture
def cells() -> int:
    return 8
