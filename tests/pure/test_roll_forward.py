"""The roll-forward by itself: what moved stands in its period, and many periods cost no more than they are."""

from collections.abc import Iterator

from loyalty.ledger.rollforward import Moved, roll
from loyalty.ledger.types import Bucket, EntryKind


class Names(list[str]):
    """Names of periods that count how often somebody goes through them."""

    walks = 0

    def __iter__(self) -> Iterator[str]:
        self.walks += 1
        return super().__iter__()


def earned(place: int, code: str, points: int) -> Moved:
    return Moved(place, code, EntryKind.EARN, False, Bucket.ISSUED, Bucket.AVAILABLE, points)


def test_periods_are_gone_through_once_a_currency_however_much_moved() -> None:
    names = Names(f"day {n}" for n in range(1_000))
    moved = [earned(place, code, 5) for code in ("points", "miles") for place in range(0, 1_000, 2)]
    periods = roll(moved, names)
    assert names.walks == 2
    assert [(one.points_currency, one.period) for one in periods] == [
        (code, name) for code in ("miles", "points") for name in list.__iter__(names)
    ]
    assert [one.earned for one in periods] == [5, 0] * 1_000
    assert [one.opening for one in periods[1_000:1_003]] == [0, 5, 5]
    assert periods[-1].closing == 2_500
