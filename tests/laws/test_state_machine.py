"""Any sequence of commands: the program does what its model says, and all invariants hold after every step."""

import pytest

from tests.conftest import Database
from tests.laws.side_by_side import play


def test_program_and_model_agree_on_any_sequence_of_commands(database: Database) -> None:
    play(database, examples=8, steps=25)


@pytest.mark.proof
def test_program_and_model_agree_for_minutes(database: Database) -> None:
    play(database, examples=30, steps=40)
