"""PINs of members: only a slow salted hash of each, which wrong attempts in a row and until when it is locked.

They are personal, as profiles are: they go with the member. Locks: nothing, the table is new.
"""

from alembic import op

revision = "0014"
down_revision = "0013"

STATEMENTS = (
    """
    CREATE TABLE member_pins (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        member_id uuid NOT NULL,
        version integer NOT NULL CHECK (version > 0),
        hash text COLLATE "C" NOT NULL,
        failed integer NOT NULL CHECK (failed >= 0),
        locked_until timestamptz,
        PRIMARY KEY (program_id, cell, member_id)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE TYPE member_pins_row AS (
        program_id uuid, cell smallint, member_id uuid, version integer, hash text, failed integer,
        locked_until timestamptz
    )
    """,
    "GRANT SELECT, INSERT, UPDATE (version, hash, failed, locked_until), DELETE ON member_pins TO loyalty_app",
    "ALTER TABLE member_pins ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_program ON member_pins TO loyalty_app "
    "USING (program_id = nullif(current_setting('loyalty.program', true), '')::uuid)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TYPE member_pins_row")
    op.execute("DROP TABLE member_pins")
