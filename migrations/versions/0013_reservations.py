"""Holds for rewards: what a hold sets aside beside its points, and what of a stock is set aside until when.

A reservation ends by itself at its instant, as its hold does: nobody writes then. What is asked for at all times are
those of one reward that are still to end. Row types as in 0007: the holds' own stays, a second one has the new columns.
Locks: holds, while its rows are read once (new columns without a default, and a check of them).
"""

from alembic import op

revision = "0013"
down_revision = "0012"

STATEMENTS = (
    """
    ALTER TABLE holds ADD COLUMN reward text COLLATE "C", ADD COLUMN quantity integer, ADD COLUMN priced_by integer,
        ADD CHECK ((reward IS NULL) = (quantity IS NULL) AND (reward IS NULL) = (priced_by IS NULL) AND quantity > 0)
    """,
    """
    CREATE TYPE holds_row_2 AS (
        program_id uuid, cell smallint, id uuid, account_id uuid, owner_id uuid, points_currency text,
        points bigint, captured bigint, state text, held_at timestamptz, lapses_at timestamptz,
        good_until timestamptz, ended_at timestamptz, parts json, deadlines json, reference text, till text,
        location text, reward text, quantity integer, priced_by integer
    )
    """,
    # As the stocks: they live in the program's own lane, without a cell.
    """
    CREATE TABLE reservations (
        program_id uuid NOT NULL,
        reward text COLLATE "C" NOT NULL,
        hold_id uuid NOT NULL,
        quantity integer NOT NULL CHECK (quantity > 0),
        ends_at timestamptz NOT NULL,
        PRIMARY KEY (program_id, reward, hold_id)
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX reservations_end ON reservations (program_id, reward, ends_at)",
    """
    CREATE TYPE reservations_row AS (
        program_id uuid, reward text, hold_id uuid, quantity integer, ends_at timestamptz
    )
    """,
    "GRANT SELECT, INSERT, UPDATE (ends_at) ON reservations TO loyalty_app",
    "ALTER TABLE reservations ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_program ON reservations TO loyalty_app "
    "USING (program_id = nullif(current_setting('loyalty.program', true), '')::uuid)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TYPE reservations_row")
    op.execute("DROP TABLE reservations")
    op.execute("DROP TYPE holds_row_2")
    op.execute("ALTER TABLE holds DROP COLUMN reward, DROP COLUMN quantity, DROP COLUMN priced_by")
