"""The public grocery purchases as we read them, against figures counted from the raw files by other means."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loyalty.replay.completejourney import BASKETS, completejourney, directory
from loyalty.replay.mapped import mapped
from loyalty.replay.mapping import load_mapping
from loyalty.replay.types import ReplayError
from tests.oracles import journey

MAPPING = Path(__file__).resolve().parents[2] / "examples" / "mappings" / "completejourney.toml"

pytestmark = pytest.mark.realdata


def test_every_basket_line_and_cent_of_the_data_set_is_read() -> None:
    seen: Counter[str] = Counter()
    members: set[str] = set()
    last = (datetime.min.replace(tzinfo=UTC), 0)
    with completejourney() as purchases:
        for receipt in purchases.receipts():
            place = (receipt.occurred_at, int(receipt.external_id))
            assert last < place, "receipts stand in the order of instant and basket id"
            last = place
            assert receipt.member is not None
            members.add(receipt.member["external"])
            seen["baskets"] += 1
            total = 0
            for line in receipt.lines:
                seen["lines"] += 1
                seen["no quantity"] += line.quantity == "0"
                seen["fuel"] += "fuel" in line.categories
                seen["no product"] += not line.categories
                total += line.amount_minor
            seen["cents"] += total
            seen["free baskets"] += total == 0
    assert members == {receipt for receipt in members if receipt.isdigit()}
    assert len(members) == 2_469
    assert seen == {
        "baskets": BASKETS,
        "lines": 1_469_307,
        "cents": 459_603_958,
        "no quantity": 8_869,
        "fuel": 12_997,
        "no product": 4_836,
        "free baskets": 478,
    }


def test_the_demo_slice_is_read_as_the_raw_file_has_it() -> None:
    where = "household_id % 10 = 1"
    raw = sorted(journey.baskets(where), key=lambda basket: (basket.at, basket.id))
    with completejourney(where) as purchases:
        assert purchases.count() == 14_489
        assert purchases.totals()[1] == 248
        read = list(purchases.receipts())
    assert [
        (r.member, r.external_id, r.occurred_at, sum(line.amount_minor for line in r.lines)) for r in read
    ] == [({"external": str(b.household)}, str(b.id), b.at, b.cents) for b in raw]


def test_the_shipped_mapping_reads_the_same_baskets_as_a_plain_file() -> None:
    mapping = load_mapping(MAPPING.read_text("utf-8"), MAPPING.name)
    with (
        completejourney("household_id % 100 = 1") as ours,
        mapped(directory() / "transactions.parquet", mapping, "household_id::INT % 100 = 1") as plain,
    ):
        assert plain.count() == ours.count() > 1_000
        assert plain.totals() == ours.totals()


def test_a_wrong_filter_is_told_with_the_columns_there_are() -> None:
    with pytest.raises(ReplayError, match="household_id, store_id"), completejourney("houshold = 1"):
        pass
