"""Four eyes, transfers, freezes and limits where members are spread over eight lanes."""

from typing import Any

import pytest

from tests.posting.test_desk_on_the_road import (
    test_a_debt_is_written_off_and_a_later_return_is_the_givers,
    test_a_freeze_holds_until_it_is_lifted,
    test_a_giver_who_names_members_by_card_and_id_needs_no_second_try,
    test_a_transfer_is_repeated_byte_for_byte,
    test_a_transfer_to_another_lane_is_one_decision_with_its_counterpart,
    test_limits_are_counted_in_the_database_and_attempts_are_in_the_audit_log,
    test_of_many_who_decide_one_proposal_at_once_one_does,
    test_points_go_round_a_ring_and_none_is_lost,
    test_proposals_of_all_members_are_decided_where_they_live,
    test_two_debits_that_were_approved_at_once_share_what_is_there,
    test_what_is_redeemed_at_a_till_in_a_day_is_exact_over_all_members_and_processes,
    test_what_one_person_may_give_in_a_day_is_exact_over_all_members_and_processes,
)

__all__ = [
    "test_a_debt_is_written_off_and_a_later_return_is_the_givers",
    "test_a_freeze_holds_until_it_is_lifted",
    "test_a_giver_who_names_members_by_card_and_id_needs_no_second_try",
    "test_a_transfer_is_repeated_byte_for_byte",
    "test_a_transfer_to_another_lane_is_one_decision_with_its_counterpart",
    "test_limits_are_counted_in_the_database_and_attempts_are_in_the_audit_log",
    "test_of_many_who_decide_one_proposal_at_once_one_does",
    "test_points_go_round_a_ring_and_none_is_lost",
    "test_proposals_of_all_members_are_decided_where_they_live",
    "test_two_debits_that_were_approved_at_once_share_what_is_there",
    "test_what_is_redeemed_at_a_till_in_a_day_is_exact_over_all_members_and_processes",
    "test_what_one_person_may_give_in_a_day_is_exact_over_all_members_and_processes",
]


@pytest.fixture(scope="module")
def settings_more() -> dict[str, Any]:
    return {"cells": 8}
