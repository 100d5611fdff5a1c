"""The same with every member in one of eight lanes: batches over several lanes, numbers and hashes in each.

Apart from the others, because a database keeps its number of lanes for ever.
"""

import pytest

from tests.conftest import Database
from tests.laws.side_by_side import play


@pytest.mark.proof
def test_program_and_model_agree_in_eight_lanes(database: Database) -> None:
    play(database, examples=15, steps=30, cells=8)
