"""Expired points are given back to members who are spread over eight lanes."""

from typing import Any

import pytest

from tests.posting.test_reinstating_live import (
    test_a_proposal_is_approved_where_its_member_lives,
    test_of_many_at_once_each_gets_what_may_come_back_and_once,
    test_what_came_late_and_is_over_already_comes_back,
)

__all__ = [
    "test_a_proposal_is_approved_where_its_member_lives",
    "test_of_many_at_once_each_gets_what_may_come_back_and_once",
    "test_what_came_late_and_is_over_already_comes_back",
]


@pytest.fixture(scope="module")
def settings_more() -> dict[str, Any]:
    return {"cells": 8}
