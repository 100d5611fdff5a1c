"""Lots say whether points of them had expired before: what once ended does not slide again when a return takes those.

Locks: lots for a moment (a new column whose default is no rewrite).
"""

from alembic import op

revision = "0026"
down_revision = "0025"

COLUMNS = """
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = 'lots'::regclass AND attnum > 0 AND NOT attisdropped
"""


def upgrade() -> None:
    op.execute("ALTER TABLE lots ADD COLUMN was_expired boolean NOT NULL DEFAULT false")
    columns = op.get_bind().exec_driver_sql(COLUMNS).scalar_one()
    op.execute(f"CREATE TYPE lots_row_3 AS ({columns})")
    op.execute("GRANT UPDATE (was_expired) ON lots TO loyalty_app")


def downgrade() -> None:
    op.execute("DROP TYPE lots_row_3")
    op.execute("ALTER TABLE lots DROP COLUMN was_expired")
