"""Rewards: the catalogue as a part of the configuration, stocks, redemptions; the row types that fill them.

Locks: configurations for a moment (a new column without a default).
"""

from alembic import op

revision = "0011"
down_revision = "0010"

BY_PROGRAM = ("stocks", "redemptions")

STATEMENTS = (
    "ALTER TABLE configurations ADD COLUMN rewards json",
    """
    CREATE TYPE configurations_row_2 AS (
        program_id uuid, number integer, effective_at timestamptz, published_at timestamptz, settings json,
        ruleset json, rewards json
    )
    """,
    # What no member owns lives in the program's own lane: no cell.
    """
    CREATE TABLE stocks (
        program_id uuid NOT NULL,
        reward text COLLATE "C" NOT NULL,
        stock bigint NOT NULL CHECK (stock BETWEEN 0 AND 1000000000000),
        PRIMARY KEY (program_id, reward)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE redemptions (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        member_id uuid NOT NULL,
        reward text COLLATE "C",
        quantity integer NOT NULL CHECK (quantity > 0),
        points_currency text COLLATE "C" NOT NULL,
        points bigint NOT NULL CHECK (points > 0),
        money_minor bigint NOT NULL CHECK (money_minor >= 0),
        priced_by integer NOT NULL,
        parts json NOT NULL,
        location text COLLATE "C",
        channel text COLLATE "C",
        till text COLLATE "C",
        reference text COLLATE "C",
        state text COLLATE "C" NOT NULL CHECK (state IN ('issued', 'fulfilled', 'cancelled')),
        redeemed_at timestamptz NOT NULL,
        changed_at timestamptz NOT NULL,
        decision_id uuid NOT NULL,
        entry_id uuid NOT NULL,
        changed_by uuid NOT NULL,
        PRIMARY KEY (program_id, cell, id)
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX redemptions_member ON redemptions (program_id, cell, member_id, id)",
    """
    CREATE TYPE stocks_row AS (program_id uuid, reward text, stock bigint)
    """,
    """
    CREATE TYPE redemptions_row AS (
        program_id uuid, cell smallint, id uuid, member_id uuid, reward text, quantity integer, points_currency text,
        points bigint, money_minor bigint, priced_by integer, parts json, location text, channel text, till text,
        reference text, state text, redeemed_at timestamptz, changed_at timestamptz, decision_id uuid, entry_id uuid,
        changed_by uuid
    )
    """,
    "GRANT SELECT, INSERT, UPDATE (stock) ON stocks TO loyalty_app",
    "GRANT SELECT, INSERT, UPDATE (state, changed_at, changed_by) ON redemptions TO loyalty_app",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table in BY_PROGRAM:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_program ON {table} TO loyalty_app "
            f"USING (program_id = nullif(current_setting('loyalty.program', true), '')::uuid)"
        )


def downgrade() -> None:
    for row_type in ("redemptions_row", "stocks_row", "configurations_row_2"):
        op.execute(f"DROP TYPE {row_type}")
    for table in ("redemptions", "stocks"):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE configurations DROP COLUMN rewards")
