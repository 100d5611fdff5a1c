"""Instants that PostgreSQL can keep and Python cannot say. No books have them, and no other check survives one."""

from uuid import UUID

from loyalty.ledger.verify.frame import Connect, snapshot
from loyalty.ledger.verify.report import PER_SUBJECT, Findings

# The columns of instants of each table that has rows of programs, with the table's key.
_COLUMNS = """
SELECT c.relname AS table, a.attname AS column,
       ARRAY(SELECT k.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY u(number, place), pg_attribute k
             WHERE i.indrelid = c.oid AND i.indisprimary AND k.attrelid = c.oid AND k.attnum = u.number
               AND k.attname <> 'program_id' ORDER BY u.place)::text[] AS key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
  AND a.atttypid = 'timestamptz'::regtype AND has_table_privilege(c.oid, 'SELECT')
  AND EXISTS (SELECT FROM pg_attribute p WHERE p.attrelid = c.oid AND p.attname = 'program_id')
ORDER BY 1, 2
"""
_STRANGE = """
SELECT {column}::text{key} FROM {table}
WHERE program_id = $1 AND {column} NOT BETWEEN '0001-01-01Z' AND '9999-12-31Z'
LIMIT {most}
"""


async def instants(connect: Connect, program_id: UUID, findings: Findings) -> bool:
    """Whether there is one. All rows are looked through: only for when another check has broken on something."""
    found = False
    async with snapshot(connect, program_id) as connection:
        for table, column, key in await connection.fetch(_COLUMNS):
            names = "".join(f', "{name}"::text' for name in key)
            query = _STRANGE.format(table=table, column=f'"{column}"', key=names, most=PER_SUBJECT)
            for said, *values in await connection.fetch(query, program_id):
                found = True
                what = f"{column} is {said}: no calendar has that, and what follows from it was not looked at"
                findings.add((table, column), table, dict(zip(key, values, strict=True)), what)
    return found
