"""Holds: points set aside for a sale. Locks: nothing, the table is new.

A hold bears the id of the entry that set its points aside. What is asked for at all times are the open ones of an
account, in the order that no other index can give (0008); what is over is found by its id alone.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    """
    CREATE TABLE holds (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        account_id uuid NOT NULL,
        owner_id uuid NOT NULL,
        points_currency text COLLATE "C" NOT NULL,
        points bigint NOT NULL CHECK (points BETWEEN 1 AND 9007199254740991),
        captured bigint NOT NULL CHECK (captured BETWEEN 0 AND points),
        state text COLLATE "C" NOT NULL CHECK (state IN ('open', 'captured', 'released', 'lapsed')),
        held_at timestamptz NOT NULL,
        lapses_at timestamptz NOT NULL,
        good_until timestamptz,
        ended_at timestamptz,
        parts json NOT NULL,
        deadlines json NOT NULL,
        reference text COLLATE "C",
        till text COLLATE "C",
        location text COLLATE "C",
        PRIMARY KEY (program_id, cell, id),
        CHECK ((state = 'open') = (ended_at IS NULL)),
        CHECK ((state = 'open') = (json_array_length(parts) > 0))
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX holds_open ON holds (program_id, cell, account_id, held_at) WHERE state = 'open'",
    # A type of its own for the rows that a release sends; it is never altered (0007).
    """
    CREATE TYPE holds_row AS (
        program_id uuid, cell smallint, id uuid, account_id uuid, owner_id uuid, points_currency text,
        points bigint, captured bigint, state text, held_at timestamptz, lapses_at timestamptz,
        good_until timestamptz, ended_at timestamptz, parts json, deadlines json, reference text, till text,
        location text
    )
    """,
    "GRANT SELECT, INSERT, UPDATE (captured, state, lapses_at, good_until, ended_at, parts, deadlines) ON holds "
    "TO loyalty_app",
    "ALTER TABLE holds ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_program ON holds TO loyalty_app "
    "USING (program_id = nullif(current_setting('loyalty.program', true), '')::uuid)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TYPE holds_row")
    op.execute("DROP TABLE holds")
