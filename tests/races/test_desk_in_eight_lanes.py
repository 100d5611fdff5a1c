"""The same where members are spread over eight lanes: most transfers then need two heads."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Database
from tests.races.house import House, opened
from tests.races.test_desk import (
    test_a_freeze_and_a_hundred_debits_never_pass_each_other,
    test_a_proposal_that_sixty_people_approve_and_reject_at_once_is_decided_by_one,
    test_in_rings_of_five_the_sum_stays,
    test_two_who_give_to_each_other_lose_nothing_and_wait_for_nobody_for_ever,
)

__all__ = [
    "test_a_freeze_and_a_hundred_debits_never_pass_each_other",
    "test_a_proposal_that_sixty_people_approve_and_reject_at_once_is_decided_by_one",
    "test_in_rings_of_five_the_sum_stays",
    "test_two_who_give_to_each_other_lose_nothing_and_wait_for_nobody_for_ever",
]


@pytest.fixture(scope="module")
async def house(database: Database, redis_url: str) -> AsyncIterator[House]:
    async with opened(database.app_url, database.superuser_url, redis_url, LOYALTY_CELLS="8") as house:
        yield house
