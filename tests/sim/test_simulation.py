"""Seeded shops do what the model says: by themselves in batches, and in a crowd where things go wrong."""

import time

import pytest

from loyalty.embedded import Servers
from tests.sim.crowd import Crowd, Street
from tests.sim.figures import lacking, line
from tests.sim.operations import NOT_IN_A_CROWD, operations
from tests.sim.seeds import Job, Place, simulate
from tests.words import proof_seed, proof_size

SEED = proof_seed(7)
SIZE = proof_size()


def play(jobs: list[Job], workers: int) -> None:
    began = time.monotonic()
    results = list(simulate(jobs, workers))
    print(f"\n{line(results, jobs[0].seed, time.monotonic() - began)}")
    for result in results:
        assert result.failure is None, result.failure.story()
    assert not lacking(results)


def test_a_few_shops_do_what_the_model_says(servers: Servers) -> None:
    play([Job("alone", seed, 80) for seed in range(1, 4)] + [Job("crowd", 7, 30)], workers=1)


def test_the_same_seed_goes_wrong_in_the_same_way(servers: Servers) -> None:
    place, hashes = Place(), set[str]()
    for _ in range(2):
        crowd = Crowd(place.world("crowd", 1, Street), 3, operations(3, 20, NOT_IN_A_CROWD))
        crowd.run()
        assert crowd.world.seen["visit"] > 100
        hashes.add(crowd.log_hash)
    place.close()
    assert len(hashes) == 1


@pytest.mark.proof
def test_many_shops_do_what_the_model_says(servers: Servers) -> None:
    alone = [Job("alone", SEED + n, 200) for n in range(60 * SIZE)]
    play(alone + [Job("crowd", SEED + n, 60) for n in range(40 * SIZE)], workers=2)
