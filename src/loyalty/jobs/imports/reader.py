"""CSV as it comes: bytes in pieces of any size go in, rows come out, each with its line and where it ends.

Pure. What cannot be read is a row with a fault, and the next one is read as if it had been in order. A quoted field
may go over lines; one that nobody closes within ROW_BYTES_MAX costs the line it begins in and no other.
"""

import csv
from collections.abc import Iterator

from msgspec import Struct

ROW_BYTES_MAX = 1024 * 1024

_BOM = b"\xef\xbb\xbf"


class Row(Struct, frozen=True):
    """One row: its fields, or what is wrong with it."""

    line: int  # in which it begins, from 1
    lines: int  # up to its end
    ends: int  # bytes of the file up to its end
    fields: tuple[str, ...] = ()
    fault: str | None = None  # a code


class Reader:
    """Reads a file on from `at` bytes and `lines` lines, which must be the end of a row."""

    def __init__(self, at: int = 0, lines: int = 0) -> None:
        self._at = at
        self._lines = lines
        self._rest = b""  # from the beginning of a row on
        self._too_long = False  # what comes up to the next line belongs to a row that is too long
        # Places in the file, so that no byte is looked at for every row that may go over it.
        self._opened = -1  # the end of a line that, read as the first of a row, leaves a quote open
        self._inside = (-1, -1)  # lines that, read with a quote open before them, leave it open behind them

    def feed(self, data: bytes) -> Iterator[Row]:
        """The rows that end in `data`; such in which nothing stands have neither fields nor a fault."""
        self._rest += data
        yield from self._rows(last=False)

    def end(self) -> Iterator[Row]:
        """What is left when the file is over."""
        yield from self._rows(last=True)

    def _rows(self, *, last: bool) -> Iterator[Row]:
        rest, start = self._rest, 0
        if self._at == 0 and rest.startswith(_BOM):
            start = self._at = len(_BOM)
        while start < len(rest) or (last and self._too_long):
            stop, fault = self._row(rest, start, last=last)
            if stop is None:
                break
            line = self._lines + 1
            self._lines += rest.count(b"\n", start, stop) or 1
            self._at += stop - start
            fields: tuple[str, ...] = ()
            if fault is None:
                fields, fault = _parsed(rest[start:stop])
            start = stop
            yield Row(line, self._lines, self._at, fields, fault)
        self._rest = rest[start:]
        if self._too_long:
            self._at += len(self._rest)
            self._rest = b""

    def _row(self, rest: bytes, start: int, *, last: bool) -> tuple[int | None, str | None]:
        """Where the row that begins at `start` ends (None: not yet), and what is wrong with it."""
        newline = rest.find(b"\n", start)
        whole = newline >= 0 or last
        stop = len(rest) if newline < 0 else newline + 1
        if self._too_long or stop - start > ROW_BYTES_MAX:
            self._too_long = not whole
            return stop if whole else None, "too_long"
        if not whole:
            return None, None
        end = self._at + stop - start
        if end != self._opened:
            if not _open(rest, start, stop, inside=False):
                return stop, None
            self._opened = end
        ends, over = self._closed(rest, start, stop, last=last)
        if over:  # only the line with the quote is lost: the next may be rows of their own
            return stop, "unclosed_quote"
        return ends, None

    def _closed(self, rest: bytes, start: int, stop: int, *, last: bool) -> tuple[int | None, bool]:
        """Where a row ends whose first line leaves a quote open at `stop` (None: not yet), or that it never does."""
        file = self._at - start  # where the rest begins in it
        if not self._inside[0] <= file + stop <= self._inside[1]:
            self._inside = (file + stop, file + stop)
        while True:
            begin = self._inside[1] - file
            newline = rest.find(b"\n", begin, start + ROW_BYTES_MAX)
            upto = newline + 1 or len(rest)
            if upto - start > ROW_BYTES_MAX:
                return None, True
            if newline < 0 and not last:
                return None, False
            if not _open(rest, begin, upto, inside=True):
                return upto, False
            if newline < 0:
                return None, True
            self._inside = (self._inside[0], file + upto)


def _open(line: bytes, at: int, stop: int, *, inside: bool) -> bool:
    """Whether a quoted field goes on behind this line, as `csv` in its strict form reads it."""
    if line.find(b'"', at, stop) < 0:
        return inside
    while at < stop:
        if not inside:
            if line[at : at + 1] != b'"':
                comma = line.find(b",", at, stop)
                if comma < 0:
                    return False
                at = comma + 1
                continue
            at += 1
        quote = line.find(b'"', at, stop)
        if quote < 0:
            return True
        behind = line[quote + 1 : quote + 2]
        inside = behind == b'"'
        if not inside and behind != b",":
            return False  # the end of the line, or nothing that may stand there: the row is wrong then
        at = quote + 2
    return inside


def _parsed(raw: bytes) -> tuple[tuple[str, ...], str | None]:
    """The fields of a row, none where nothing stands in it; and what is wrong."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return (), "invalid_encoding"
    try:
        fields = tuple(next(csv.reader([text.rstrip("\r\n")], strict=True), ()))
    except csv.Error as error:
        if "limit" in str(error):
            return (), "too_long"
        return (), "lone_cr" if "new-line" in str(error) else "not_csv"
    return (fields if any(map(str.strip, fields)) else ()), None
