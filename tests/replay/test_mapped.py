"""A shop's own file: what a mapping makes of it, and how its faults are named."""

from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from loyalty.replay.mapped import mapped
from loyalty.replay.mapping import load_mapping
from loyalty.replay.reading import Purchases
from loyalty.replay.types import Line, Receipt, ReplayError

TILL = """\
Beleg;Zeit;Kunde;Markt;Artikel;Menge;Summe;Gruppe;Untergruppe
1;04.05.2026 17:31;6035550001;12;COF-500;2;13,98;Kaffee;Bio
1;04.05.2026 17:31;6035550001;12;BAG;1;0,25;;
2;04.05.2026 09:00;;12;TV;0,5;1.234,50;Technik;Technik
"""
MAPPING = """
money = "EUR"
zone = "Europe/Berlin"
[receipt]
source = "markt"
external_id = { column = "Beleg" }
occurred_at = { column = "Zeit", format = "%d.%m.%Y %H:%M" }
member = { column = "Kunde", kind = "card" }
location = { column = "Markt" }
[line]
sku = { column = "Artikel" }
quantity = { column = "Menge", decimal = "," }
amount = { column = "Summe", decimal = ",", thousands = "." }
categories = { columns = ["Gruppe", "Untergruppe"] }
"""


def read(place: Path, text: str = TILL, mapping: str = MAPPING, *, where: str | None = None) -> list[Receipt]:
    path = place / "till.csv"
    path.write_text(text)
    with mapped(path, load_mapping(mapping, "till.toml"), where) as purchases:
        return list(purchases.receipts())


def faults(place: Path, text: str = TILL, mapping: str = MAPPING) -> str:
    with pytest.raises(ReplayError) as stopped:
        read(place, text, mapping)
    return str(stopped.value)


def test_rows_of_one_receipt_become_its_lines(tmp_path: Path) -> None:
    assert read(tmp_path)[1] == Receipt(
        source="markt",
        external_id="1",
        occurred_at=datetime(2026, 5, 4, 15, 31, tzinfo=UTC),  # Berlin is two hours ahead in May
        money="EUR",
        member={"card": "6035550001"},
        location="12",
        lines=(
            Line("1", "COF-500", "2", 1398, categories=("Kaffee", "Bio")),
            Line("2", "BAG", "1", 25),
        ),
    )


def test_receipts_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    assert [receipt.external_id for receipt in read(tmp_path)] == ["2", "1"]


def test_rows_of_one_receipt_need_not_stand_together(tmp_path: Path) -> None:
    apart = TILL + "1;04.05.2026 17:31;6035550001;12;TEA;1;2,00;;\n"
    assert [line.sku for line in read(tmp_path, apart)[1].lines] == ["COF-500", "BAG", "TEA"]


def test_a_row_without_member_is_a_guest_purchase(tmp_path: Path) -> None:
    assert read(tmp_path)[0].member is None


def test_weighed_goods_and_thousands_are_read_exactly(tmp_path: Path) -> None:
    assert read(tmp_path)[0].lines == (Line("1", "TV", "0.5", 123_450, categories=("Technik",)),)


@pytest.mark.parametrize("columns", ["sku,amount,quantity,source,occurred,member,row", "b,c,d,e,f,g,h"])
def test_columns_may_bear_the_names_of_our_own(tmp_path: Path, columns: str) -> None:
    sku, amount, quantity, source, occurred, member, row = columns.split(",")
    mapping = f"""
        money = "USD"
        [receipt]
        source = {{ column = "{source}" }}
        external_id = {{ column = "{row}" }}
        occurred_at = {{ column = "{occurred}" }}
        member = {{ column = "{member}", kind = "external" }}
        [line]
        sku = {{ column = "{sku}" }}
        quantity = {{ column = "{quantity}" }}
        amount = {{ column = "{amount}" }}
    """
    text = f"{columns}\nA,1.5,3,shop,2026-05-04T10:00:00+02:00,m,9\n"
    assert read(tmp_path, text, mapping) == [
        Receipt(
            source="shop",
            external_id="9",
            occurred_at=datetime(2026, 5, 4, 8, tzinfo=UTC),
            money="USD",
            member={"external": "m"},
            lines=(Line("1", "A", "3", 150),),
        )
    ]


def test_every_fault_is_named_by_row_and_column_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    text = (
        TILL.replace("13,98", "13.98").replace("BAG;1", ";-1").replace("04.05.2026 09:00", "31.02.2026 09:00")
    )
    assert faults(tmp_path, text).splitlines()[1:] == [
        "  row 2, column \"Summe\": is '13.98', expected an amount in EUR, zero or more, at most 2 decimals",
        '  row 3, column "Artikel": is empty, expected a text',
        "  row 3, column \"Menge\": is '-1', expected a quantity, zero or more, at most three decimals",
        "  row 4, column \"Zeit\": is '31.02.2026 09:00', expected a time like %d.%m.%Y %H:%M",
    ]


def test_rows_of_one_receipt_may_not_contradict_each_other(tmp_path: Path) -> None:
    text = TILL.replace("6035550001;12;BAG", "6035550001;13;BAG")
    assert "row 3, column \"Markt\": differs from row 2 of the same receipt '1'" in faults(tmp_path, text)


def test_a_flood_of_faults_is_cut_and_counted(tmp_path: Path) -> None:
    text = TILL + "".join(f"{n};04.05.2026 10:00;;12;X;1;free;;\n" for n in range(3, 103))
    told = faults(tmp_path, text).splitlines()
    assert len(told) == 22
    assert told[-1] == "  … and 80 more"


def test_a_row_of_another_length_is_found(tmp_path: Path) -> None:
    assert "Line: 5" in faults(tmp_path, TILL + "4;5\n")


def test_a_column_that_is_not_there_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    assert 'no column "Menga" (did you mean "Menge"?)' in faults(
        tmp_path, mapping=MAPPING.replace('"Menge"', '"Menga"')
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (MAPPING.replace('"EUR"', '"euro"'), "$.money"),
        (MAPPING.replace("Europe/Berlin", "Europe/Bärlin"), "zone is no time zone"),
        (MAPPING.replace('column = "Beleg"', 'colum = "Beleg"'), "$.receipt.external_id"),
        (MAPPING.replace("[line]", "[lines]"), "lines"),
        ("money = ", "Invalid value"),
    ],
)
def test_a_faulty_mapping_is_told_with_its_place(wrong: str, told: str) -> None:
    with pytest.raises(ReplayError, match=r"till\.toml") as stopped:
        load_mapping(wrong, "till.toml")
    assert told in str(stopped.value)


@pytest.mark.parametrize(
    ("money", "text", "minor"),
    [("USD", "12.50", 1250), ("JPY", "1250", 1250), ("KWD", "1.250", 1250), ("USD", "1e1", 1000)],
)
def test_an_amount_becomes_minor_units_of_its_currency(
    tmp_path: Path, money: str, text: str, minor: int
) -> None:
    mapping = MAPPING.replace("EUR", money).replace(', decimal = ",", thousands = "."', "")
    assert (
        read(tmp_path, TILL.split("1;04", 1)[0] + f"1;04.05.2026 17:31;;1;X;1;{text};;\n", mapping)[0]
        .lines[0]
        .amount_minor
        == minor
    )


def test_dust_behind_the_cents_is_a_fault_unless_the_mapping_rounds(tmp_path: Path) -> None:
    text = TILL.replace("13,98", "13,980000000000002")
    assert "at most 2 decimals" in faults(tmp_path, text)
    rounded = MAPPING.replace('thousands = "."', 'thousands = ".", round = true')
    assert read(tmp_path, text, rounded)[1].lines[0].amount_minor == 1398


def test_a_time_without_offset_needs_a_zone(tmp_path: Path) -> None:
    assert "%z" in faults(tmp_path, mapping=MAPPING.replace('zone = "Europe/Berlin"\n', ""))


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("25.10.2026 02:30", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),  # comes twice: the second is meant
        ("29.03.2026 02:30", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # is skipped: as if it were not
    ],
)
def test_hours_around_a_clock_change_are_read_as_documented(
    tmp_path: Path, local: str, utc: datetime
) -> None:
    text = TILL.splitlines()[0] + f"\n9;{local};;12;X;1;1,00;;\n"
    assert read(tmp_path, text)[0].occurred_at == utc


@pytest.mark.parametrize("name", ["receipts", "kasse"])
def test_the_shipped_mappings_read_the_files_beside_them(name: str) -> None:
    place = Path(__file__).resolve().parents[2] / "examples" / "mappings"
    mapping = load_mapping((place / f"{name}.toml").read_text(), name)
    with mapped(place / f"{name}.csv", mapping) as purchases:
        assert purchases.count() >= 2


def test_a_filter_leaves_rows_out_before_they_are_checked(tmp_path: Path) -> None:
    text = TILL + "3;never;;99;X;1;free;;\n"
    assert [receipt.external_id for receipt in read(tmp_path, text, where="Markt <> '99'")] == ["2", "1"]


def test_a_parquet_file_reads_like_the_csv_it_was_made_from(tmp_path: Path) -> None:
    csv = read(tmp_path)
    path = tmp_path / "till.parquet"
    duckdb.sql(
        f"COPY (SELECT Beleg::INT AS Beleg, strptime(Zeit, '%d.%m.%Y %H:%M') AS Zeit, Kunde, Markt, Artikel,"
        f" replace(Menge, ',', '.')::DOUBLE AS Menge, Gruppe, Untergruppe,"
        f" replace(replace(Summe, '.', ''), ',', '.')::DOUBLE AS Summe"
        f" FROM read_csv('{tmp_path / 'till.csv'}', all_varchar = true)) TO '{path}'"
    )
    mapping = MAPPING.replace(', format = "%d.%m.%Y %H:%M"', "").replace(', decimal = ","', "")
    with mapped(path, load_mapping(mapping.replace(', thousands = "."', ""), "m")) as purchases:
        assert list(purchases.receipts()) == csv
        assert (purchases.count(), purchases.totals()) == (2, (3, 1, 1398 + 25 + 123_450))
        assert purchases.span() == (date(2026, 5, 4), date(2026, 5, 4))


def many(place: Path) -> AbstractContextManager[Purchases]:
    path = place / "many.csv"
    rows = "".join(f"{n};04.05.2026 {n % 24:02}:00;c{n % 7};1;X;1;1,00;;\n" for n in range(500))
    path.write_text(TILL.splitlines()[0] + "\n" + rows)
    return mapped(path, load_mapping(MAPPING, "m"))


def test_shuffling_needs_nothing_but_its_seed(tmp_path: Path) -> None:
    with many(tmp_path) as purchases:
        once, again, other = ([r.external_id for r in purchases.receipts(shuffle=seed)] for seed in (7, 7, 8))
    assert once == again != other
    assert sorted(once) == sorted(other) == sorted(map(str, range(500)))


def test_a_limit_takes_the_first_receipts(tmp_path: Path) -> None:
    with many(tmp_path) as purchases:
        everything = list(purchases.receipts())
        assert list(purchases.receipts(limit=3)) == everything[:3]


def test_a_shift_moves_every_instant_alike(tmp_path: Path) -> None:
    week = timedelta(weeks=1)
    with many(tmp_path) as purchases:
        before, after = list(purchases.receipts()), list(purchases.receipts(shift=week))
    assert [r.occurred_at + week for r in before] == [r.occurred_at for r in after]
