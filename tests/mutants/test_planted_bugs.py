"""Planted bugs are noticed, and are where they were planted."""

import time

import pytest

from loyalty.embedded import Servers
from tests.mutants.bugs import BUGS, QUICK
from tests.mutants.hunt import ROOT, false_alarms, hunt, line


@pytest.mark.proof
def test_planted_bugs_of_every_room_are_noticed(servers: Servers) -> None:
    """A few of each; all of them are `make mutants`."""
    began = time.monotonic()
    hunted = list(hunt(QUICK, quick=True))
    print(f"\n{line(hunted, time.monotonic() - began)}")
    assert not [one for one in hunted if not one.caught]
    assert false_alarms(hunted) == []


def test_the_places_of_the_planted_bugs_are_there() -> None:
    """Whoever changes one of these lines plants the bug anew."""
    gone = [
        what
        for what, bug in BUGS.items()
        if bug.right not in (ROOT / "src" / "loyalty" / bug.file).read_text("utf-8")
    ]
    assert gone == []
