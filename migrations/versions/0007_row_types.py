"""Row types in which a running release sends its rows: the tables' columns as they are at this revision.

They are never altered. A column added to a table leaves running processes untouched (their rows go into the columns
they know, in order); a release that fills the new column brings a type of its own. Locks: nothing.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = (
    "members member_profiles identifiers activity_keys activities accounts lots counters decisions entries postings "
    "engagement_events idempotency_records configurations sandbox_clocks blocks"
).split()

COLUMNS = """
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
"""


def upgrade() -> None:
    connection = op.get_bind()
    for table in TABLES:
        columns = connection.exec_driver_sql(COLUMNS.format(table=table)).scalar_one()
        op.execute(f"CREATE TYPE {table}_row AS ({columns})")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TYPE {table}_row")
