"""Everything the database holds, as text: for proofs that nothing was written, or that something is nowhere.

Read as superuser, so that no policy hides a row.
"""

import base64
import json
from collections.abc import Collection, Iterator
from typing import Any, TypeAlias

import asyncpg

Link: TypeAlias = "asyncpg.Connection[Any]"


async def tables(link: Link) -> list[str]:
    """Every table of the schema; a partitioned one once."""
    rows = await link.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition AND relname <> 'alembic_version' ORDER BY relname"
    )
    return [row["relname"] for row in rows]


async def rows(link: Link) -> dict[str, list[str]]:
    """Each row of each table in PostgreSQL's own text form."""
    return {
        table: [row["line"] for row in await link.fetch(f"SELECT t::text AS line FROM {table} t ORDER BY 1")]
        for table in await tables(link)
    }


async def state(link: Link, without: Collection[str] = ()) -> dict[str, tuple[int, str]]:
    """Number of rows and a digest of all rows, by table: equal before and after means that nothing was written."""
    named = [table for table in await tables(link) if table not in without]
    found = await link.fetch(
        " UNION ALL ".join(
            f"SELECT '{table}' AS t, count(*) AS n,"
            f" md5(coalesce(string_agg(r::text, E'\\n' ORDER BY r::text), '')) AS h FROM {table} r"
            for table in named
        )
    )
    return {row["t"]: (row["n"], row["h"]) for row in found}


def disguises(value: str) -> Iterator[str]:
    """The forms in which a personal value could lie about: in JSON, in bytes, without blanks, in another case."""
    raw = value.encode()
    yield value
    yield value.casefold()
    yield json.dumps(value)[1:-1]
    yield raw.hex()
    # Three alignments: base64 of a text that stands somewhere inside another.
    for lead in range(3):
        whole = base64.b64encode(b"\0" * lead + raw).decode()
        yield whole[4 if lead else 0 : -4]
    if digits := "".join(c for c in value if c.isdigit()):
        yield digits if len(digits) >= 7 else value


def places(value: str, texts: dict[str, list[str]]) -> list[str]:
    """Where `value` is found in any disguise: names of the places, none when it is nowhere."""
    wanted = {form.casefold() for form in disguises(value) if len(form) >= 6}
    return [
        place
        for place, lines in texts.items()
        if any(form in line.casefold() for line in lines for form in wanted)
    ]
