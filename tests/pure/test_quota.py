"""How many requests of a program are served in a second."""

from uuid import uuid4

import pytest

from loyalty.web.quota import Quota


def served(quota: Quota, instants: list[float]) -> int:
    program = uuid4()
    return sum(quota.take(program, at) for at in instants)


@pytest.mark.parametrize("per_s", [1, 3, 50, 1_000])
def test_whoever_keeps_to_the_quota_is_never_refused(per_s: int) -> None:
    instants = [1e6 + n / per_s for n in range(20 * per_s)]
    assert served(Quota(per_s), instants) == len(instants)


@pytest.mark.parametrize("per_s", [1, 3, 50, 1_000])
def test_of_a_flood_the_quota_is_served_and_the_burst_of_a_second_before_it(per_s: int) -> None:
    seconds = 10
    instants = [1e6 + n / (4 * per_s) for n in range(seconds * 4 * per_s)]
    assert (seconds + 1) * per_s - 1 <= served(Quota(per_s), instants) <= (seconds + 1) * per_s + 1


def test_a_second_after_a_flood_a_program_is_served_as_if_nothing_had_been() -> None:
    quota, program = Quota(10), uuid4()
    assert sum(quota.take(program, 100 + n / 1_000) for n in range(5_000)) < 100
    assert all(quota.take(program, 107.0) for _ in range(9))


def test_each_program_has_a_quota_of_its_own() -> None:
    quota, one, other = Quota(4), uuid4(), uuid4()
    assert sum(quota.take(one, 1.0) for _ in range(50)) == 4
    assert quota.take(other, 1.0)
