"""Points that slide: by which policy a lot does and activity counts on its account, and how far that put its end off.

Locks: accounts and lots for a moment (new columns without a default).
"""

from alembic import op

revision = "0023"
down_revision = "0022"

# New columns, and those that the application's role may change.
ADDED = {
    "accounts": ('slides text COLLATE "C"', "idles_at timestamptz"),
    "lots": ('slides text COLLATE "C"',),
}
CHANGED = {"accounts": "slides, idles_at"}

COLUMNS = """
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
"""


def upgrade() -> None:
    connection = op.get_bind()
    for table, added in ADDED.items():
        op.execute(f"ALTER TABLE {table} {', '.join(f'ADD COLUMN {column}' for column in added)}")
        columns = connection.exec_driver_sql(COLUMNS.format(table=table)).scalar_one()
        op.execute(f"CREATE TYPE {table}_row_2 AS ({columns})")
    for table, columns in CHANGED.items():
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO loyalty_app")


def downgrade() -> None:
    for table, added in ADDED.items():
        op.execute(f"DROP TYPE {table}_row_2")
        names = (column.split()[0] for column in added)
        op.execute(f"ALTER TABLE {table} {', '.join(f'DROP COLUMN {name}' for name in names)}")
