"""The planner takes every program for a two-hundredth of a table, whatever was counted.

A program that came since the last count seemed to have no rows at all, so that any index served that begins with the
program, and of 33,000 entries each was looked for among all others. Now a plan follows from how large the table is
today.

Locks: each table against other changes of its form, for a moment; traffic goes on.
"""

from alembic import op

revision = "0024"
down_revision = "0023"

# What was counted before would be believed for ever. PostgreSQL 18 and newer let the owner drop it, older ones a
# superuser; else the table is counted as before.
UNCOUNTED = """
DO $$
DECLARE
    named record;
BEGIN
    FOR named IN {tables} LOOP
        IF EXISTS (SELECT FROM pg_stats
                   WHERE schemaname = named.schema AND tablename = named.name AND attname = 'program_id') THEN
            IF current_setting('server_version_num')::int >= 180000 THEN
                PERFORM pg_clear_attribute_stats(named.schema, named.name, 'program_id', inherited)
                FROM unnest(ARRAY[true, false]) inherited;
            ELSE
                BEGIN
                    DELETE FROM pg_statistic WHERE starelid = named.oid AND staattnum = named.number;
                EXCEPTION WHEN insufficient_privilege THEN
                    CONTINUE;
                END;
            END IF;
        END IF;
        EXECUTE format('ALTER TABLE ONLY %I.%I ALTER COLUMN program_id SET STATISTICS 0', named.schema, named.name);
    END LOOP;
END $$
"""
COUNTED = """
DO $$
DECLARE
    named record;
BEGIN
    FOR named IN {tables} LOOP
        EXECUTE format('ALTER TABLE ONLY %I.%I ALTER COLUMN program_id SET STATISTICS -1', named.schema, named.name);
    END LOOP;
END $$
"""
TABLES = """
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, a.attnum AS number
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND a.attname = 'program_id' AND NOT a.attisdropped
ORDER BY c.relname
"""


def upgrade() -> None:
    op.execute(UNCOUNTED.format(tables=TABLES))


def downgrade() -> None:
    op.execute(COUNTED.format(tables=TABLES))
