"""CSV as files really are: each row with its line, whatever stands around it, in pieces of any size."""

import random
from collections.abc import Iterable

import pytest

from loyalty.jobs.imports import reader as reader_module
from loyalty.jobs.imports.reader import ROW_BYTES_MAX, Reader, Row

A, B, C = ("a", "b"), ("c", "d"), ("e", "f")

# A file, and its rows: line and fields, or line and what is wrong with it.
FILES: dict[str, tuple[bytes, list[tuple[int, object]]]] = {
    "nothing": (b"", []),
    "an empty line": (b"\n", []),
    "a plain file": (b"a,b\nc,d\n", [(1, A), (2, B)]),
    "no line break at the end": (b"a,b\nc,d", [(1, A), (2, B)]),
    "lines of Windows": (b"a,b\r\nc,d\r\n", [(1, A), (2, B)]),
    "a byte order mark": (b"\xef\xbb\xbfa,b\nc,d\n", [(1, A), (2, B)]),
    "a mark before a quote": (b'\xef\xbb\xbf"a",b\nc,d\n', [(1, A), (2, B)]),
    "a mark and nothing else": (b"\xef\xbb\xbf", []),
    "lines in which nothing stands": (b"a,b\n\n  \r\n,\nc,d\n", [(1, A), (5, B)]),
    "quotes": (b'"a","b"\n"c",d\n', [(1, A), (2, B)]),
    "quotes at the end of a line of Windows": (b'a,"b"\r\nc,d', [(1, A), (2, B)]),
    "a quote in quotes": (b'"say ""a""",b\nc,d', [(1, ('say "a"', "b")), (2, B)]),
    "a comma in quotes": (b'"a,b",c\n', [(1, ("a,b", "c"))]),
    "a line break in quotes": (b'"a\nb",c\nc,d\n', [(1, ("a\nb", "c")), (3, B)]),
    "line breaks of Windows in quotes": (b'"a\r\n\r\nb",c\r\nc,d\r\n', [(1, ("a\r\n\r\nb", "c")), (4, B)]),
    "two quotes over lines": (b'"a\nb","c\nd"\ne,f', [(1, ("a\nb", "c\nd")), (4, C)]),
    "nothing in quotes": (b'"",b\n"",""\nc,d', [(1, ("", "b")), (3, B)]),
    "an inch": (b'5" pipe,b\nc,d\n', [(1, ('5" pipe', "b")), (2, B)]),
    "text behind a quote": (b'"a"x,b\nc,d\n', [(1, "not_csv"), (2, B)]),
    "text behind a quote that goes over lines": (b'a,"b\n"x,b\nc,d\n', [(1, "not_csv"), (3, B)]),
    "a quote that nobody closes": (b'a,"b\nc,d\ne,f\n', [(1, "unclosed_quote"), (2, B), (3, C)]),
    "the same in the last line": (b'a,b\nc,"d', [(1, A), (2, "unclosed_quote")]),
    "a quote alone": (b'"', [(1, "unclosed_quote")]),
    "bytes that are no UTF-8": (b"a,b\nM\xfcller,d\nc,d\n", [(1, A), (2, "invalid_encoding"), (3, B)]),
    "bytes of half a letter": (b"a,b\nM\xc3,d\nc,d\n", [(1, A), (2, "invalid_encoding"), (3, B)]),
    "letters of several bytes": ("ä,€\n\U0001f600,d".encode(), [(1, ("ä", "€")), (2, ("\U0001f600", "d"))]),
    "a line break of an old Macintosh": (b"a,b\rc,d\ne,f\n", [(1, "lone_cr"), (2, C)]),
    "a zero byte": (b"a\0,b\nc,d\n", [(1, ("a\0", "b")), (2, B)]),
    "UTF-16": ("a,b\n".encode("utf-16"), [(1, "invalid_encoding"), (2, ("\0",))]),
    "more fields and fewer": (b"a\na,b\nc,d,e\n", [(1, ("a",)), (2, A), (3, ("c", "d", "e"))]),
}  # fmt: skip


def rows(pieces: Iterable[bytes], at: int = 0, lines: int = 0) -> list[Row]:
    reader = Reader(at, lines)
    found = [*(row for piece in pieces for row in reader.feed(piece)), *reader.end()]
    return [row for row in found if row.fields or row.fault]


def seen(found: Iterable[Row]) -> list[tuple[int, object]]:
    return [(row.line, row.fault or row.fields) for row in found]


@pytest.mark.parametrize("what", FILES)
def test_a_file_is_read_row_by_row(what: str) -> None:
    file, wanted = FILES[what]
    assert seen(rows([file])) == wanted


@pytest.mark.parametrize("what", FILES)
def test_it_does_not_matter_where_a_file_is_cut(what: str) -> None:
    file, _ = FILES[what]
    whole = rows([file])
    assert rows([file[n : n + 1] for n in range(len(file))]) == whole
    for cut in range(len(file)):
        assert rows([file[:cut], file[cut:]]) == whole


@pytest.mark.parametrize("what", FILES)
def test_reading_goes_on_behind_any_row(what: str) -> None:
    file, _ = FILES[what]
    whole = rows([file])
    for n, row in enumerate(whole, 1):
        assert rows([file[row.ends :]], row.ends, row.lines) == whole[n:]


def test_a_line_that_is_too_long_is_one_row_and_is_not_kept() -> None:
    long = b"x" * (ROW_BYTES_MAX + 7)
    file = b"a,b\n" + long + b"\nc,d\n" + long
    pieces = [file[n : n + 100_000] for n in range(0, len(file), 100_000)]
    wanted = [(1, A), (2, "too_long"), (3, B), (4, "too_long")]
    found = rows(pieces)
    assert seen(found) == wanted == seen(rows([file]))
    for n, row in enumerate(found, 1):
        assert rows([file[row.ends :]], row.ends, row.lines) == found[n:]
    reader = Reader()
    for _ in range(50):
        assert not list(reader.feed(b"y" * ROW_BYTES_MAX))
    assert len(reader._rest) <= ROW_BYTES_MAX  # pyright: ignore[reportPrivateUsage]


def test_a_quote_that_is_not_closed_costs_one_row_of_a_large_file() -> None:
    lines = [b"a" * 30 + b",b\n"] * 60_000
    lines[1_000] = b'a,"b\n'
    file = b"".join(lines)
    found = rows([file[n : n + 1_000_000] for n in range(0, len(file), 1_000_000)])
    assert len(found) == len(lines)
    assert [(row.line, row.fault) for row in found if row.fault] == [(1_001, "unclosed_quote")]


def test_of_a_million_rows_none_is_kept_that_was_read() -> None:
    """There is no bound of rows: a file may have as many as its bytes allow."""
    reader, piece, seen = Reader(), b"6035550001,Ann\n" * 4_000 + b"6035", 0
    for _ in range(250):
        for row in reader.feed(piece):
            seen += row.fault is None
        assert len(reader._rest) < 20  # pyright: ignore[reportPrivateUsage]
    (last,) = reader.end()
    assert (seen, last.line, last.ends) == (1_000_000, 1_000_001, 250 * len(piece))


# The first makes each of its lines open a quote anew; what is behind it closes none within a row's length.
LARGE = {
    "quotes that open line by line": b"external_id,email\n" + b'a","\n' * 220_000,
    "a long field of many lines": b'x-8,"' + b"seven a\n" * 140_000 + b'"\n',
    "quotes that open before a long line": b'a","\n' * 100_000 + b"b" * ROW_BYTES_MAX + b'",c\n',
}


@pytest.mark.parametrize("what", LARGE)
def test_what_is_read_is_looked_at_twice_at_most(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as the beginning of a row, once as its continuation, however many rows may go over it."""
    looked_at, really = 0, reader_module._open  # pyright: ignore[reportPrivateUsage]

    def counting(line: bytes, at: int, stop: int, *, inside: bool) -> bool:
        nonlocal looked_at
        looked_at += stop - at
        return really(line, at, stop, inside=inside)

    monkeypatch.setattr(reader_module, "_open", counting)
    file = LARGE[what]
    found = rows(file[n : n + 65_536] for n in range(0, len(file), 65_536))
    assert found[-1].ends == len(file)
    assert looked_at <= 2 * len(file)


@pytest.mark.parametrize("row_bytes_max", [ROW_BYTES_MAX, 13])
def test_any_bytes_are_rows_wherever_they_are_cut(
    monkeypatch: pytest.MonkeyPatch, row_bytes_max: int
) -> None:
    monkeypatch.setattr(reader_module, "ROW_BYTES_MAX", row_bytes_max)
    chance = random.Random(7)
    for _ in range(3_000):
        file = bytes(chance.choice(b'ab",,"\n\r\n\xc3') for _ in range(chance.randrange(40)))
        whole = rows([file])
        cuts = sorted(chance.randrange(len(file) + 1) for _ in range(3))
        assert rows([file[a:b] for a, b in zip([0, *cuts], [*cuts, len(file)], strict=True)]) == whole, file
        assert [row.ends for row in whole] == sorted({row.ends for row in whole}), file
        for n, row in enumerate(whole, 1):
            assert rows([file[row.ends :]], row.ends, row.lines) == whole[n:], file
