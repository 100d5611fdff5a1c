"""Values that PostgreSQL keeps and we cannot read: no books have them, and few checks survive one."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import msgspec

from loyalty.ledger.verify.frame import UNREADABLE, Connect, snapshot, stream
from loyalty.ledger.verify.report import Findings

# The columns of one type in tables that have rows of programs, with the table's key.
_COLUMNS = """
SELECT c.relname AS table, a.attname AS column,
       ARRAY(SELECT k.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY u(number, place), pg_attribute k
             WHERE i.indrelid = c.oid AND i.indisprimary AND k.attrelid = c.oid AND k.attnum = u.number
               AND k.attname <> 'program_id' ORDER BY u.place)::text[] AS key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
  AND a.atttypid = $1::text::regtype AND has_table_privilege(c.oid, 'SELECT')
  AND EXISTS (SELECT FROM pg_attribute p WHERE p.attrelid = c.oid AND p.attname = 'program_id')
ORDER BY 1, 2
"""
_DOUBTFUL = {
    "timestamptz": "NOT BETWEEN '0001-01-01Z' AND '9999-12-31Z'",
    "date": "NOT BETWEEN '0001-01-01' AND '9999-12-31'",
    "json": "IS NOT NULL",
}


class _Told(msgspec.Struct):
    """What is read of an event within the database, where it is cast."""

    purchase_id: UUID | None = None
    return_id: UUID | None = None
    import_id: UUID | None = None
    amount_minor: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None


_DECODERS = {("engagement_events", "data"): msgspec.json.Decoder(_Told).decode}  # others may say anything


async def values(connect: Connect, program_id: UUID, findings: Findings) -> None:
    """Name instants and days of no calendar, and JSON that no decoder reads.

    All rows are looked through: only for when another check has broken on something.
    """
    async with snapshot(connect, program_id) as connection:
        for type, doubtful in _DOUBTFUL.items():
            for table, column, key in await connection.fetch(_COLUMNS, type):
                decode = _DECODERS.get((table, column), msgspec.json.decode)
                names = "".join(f', "{name}"::text' for name in key)
                query = f'SELECT "{column}"::text{names} FROM {table} WHERE program_id = $1 AND "{column}" {doubtful}'
                async for page in stream(connection, query, program_id):
                    for said, *place in page:
                        if type == "json" and _reads(decode, said):
                            continue
                        what = "cannot be read" if type == "json" else f"is {said}, which no calendar has"
                        where: dict[str, object] = dict(zip(key, place, strict=True))
                        findings.add(
                            (table, column),
                            table,
                            where,
                            f"{column} {what}: what follows from it was not looked at",
                        )


def _reads(decode: Callable[[str], object], text: str) -> bool:
    try:
        decode(text)
    except UNREADABLE:
        return False
    return True
