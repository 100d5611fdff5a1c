"""A short piece of `make fuzz`: what is spoilt, forged or from elsewhere is answered as the contract says."""

import os
import random

import pytest

from loyalty.embedded import Servers
from tests.conftest import Database
from tests.fuzz import mutations
from tests.fuzz.figures import faults, line
from tests.fuzz.run import WITHOUT_GENERATED, run

SEED = int(os.environ.get("PROOF_SEED", "7"))
SIZE = int(os.environ.get("PROOF_SIZE", "1"))


@pytest.mark.proof
async def test_nothing_spoilt_or_forged_is_answered_but_as_the_contract_says(
    servers: Servers, database: Database
) -> None:
    outcome = await run(database, servers.redis_url, SEED, 8_000 * SIZE, WITHOUT_GENERATED)
    print(f"\n{line(outcome)}")
    assert faults(outcome) == []


def test_the_same_seed_spoils_the_same_bytes() -> None:
    good = b'{"external_id": "R-1", "lines": [{"line_id": "1", "amount_minor": 5}]}'

    def some() -> list[bytes]:
        chance = random.Random(SEED)
        return [mutations.spoilt(chance, good, [good]) for _ in range(200)]

    assert some() == some()
    assert len(set(some())) > 100
