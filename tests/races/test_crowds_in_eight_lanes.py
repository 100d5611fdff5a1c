"""The same crowds where members are spread over eight lanes: what is unique is unique over all of them.

Not the wrong PINs: a member and all that is counted of it live in one lane, and they cost a hash each.
"""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Database
from tests.races.house import House, opened
from tests.races.test_crowds import (
    test_a_balance_that_two_hundred_want_is_spent_once,
    test_a_hold_that_many_capture_and_release_ends_once,
    test_a_redemption_that_forty_cancel_is_given_back_once,
    test_a_reward_for_a_whole_balance_is_taken_once_by_two_hundred,
    test_fifty_payments_from_one_balance_take_what_it_allows,
    test_of_a_purchase_and_its_cancel_the_first_to_come_decides,
    test_of_one_line_no_more_goes_back_than_was_bought,
    test_of_returns_of_many_sizes_and_a_cancel_all_take_the_whole_together,
    test_one_card_asked_for_by_a_hundred_has_one_member,
    test_one_receipt_of_fifty_members_belongs_to_the_first,
    test_one_receipt_under_a_hundred_keys_is_one_purchase,
    test_one_request_sent_two_hundred_times_is_done_once,
    test_the_last_ten_of_a_reward_are_promised_to_ten_of_a_hundred_and_had_once,
    test_the_last_ten_of_a_reward_go_to_ten_of_a_hundred,
)

__all__ = [
    "test_a_balance_that_two_hundred_want_is_spent_once",
    "test_a_hold_that_many_capture_and_release_ends_once",
    "test_a_redemption_that_forty_cancel_is_given_back_once",
    "test_a_reward_for_a_whole_balance_is_taken_once_by_two_hundred",
    "test_fifty_payments_from_one_balance_take_what_it_allows",
    "test_of_a_purchase_and_its_cancel_the_first_to_come_decides",
    "test_of_one_line_no_more_goes_back_than_was_bought",
    "test_of_returns_of_many_sizes_and_a_cancel_all_take_the_whole_together",
    "test_one_card_asked_for_by_a_hundred_has_one_member",
    "test_one_receipt_of_fifty_members_belongs_to_the_first",
    "test_one_receipt_under_a_hundred_keys_is_one_purchase",
    "test_one_request_sent_two_hundred_times_is_done_once",
    "test_the_last_ten_of_a_reward_are_promised_to_ten_of_a_hundred_and_had_once",
    "test_the_last_ten_of_a_reward_go_to_ten_of_a_hundred",
]


@pytest.fixture(scope="module")
async def house(database: Database, redis_url: str) -> AsyncIterator[House]:
    async with opened(database.app_url, database.superuser_url, redis_url, LOYALTY_CELLS="8") as house:
        yield house
