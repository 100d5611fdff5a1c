"""What of a purchase was returned: one row for each return, append-only, beside the activities.

Locks: nothing, the table and its row type are new.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    """
    CREATE TABLE returns (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        purchase_id uuid NOT NULL,
        id uuid NOT NULL,
        amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
        complete boolean NOT NULL,
        lines json NOT NULL,
        taken json NOT NULL,
        given json NOT NULL,
        PRIMARY KEY (program_id, cell, purchase_id, id)
    )
    """,
    """
    CREATE TYPE returns_row AS (
        program_id uuid, cell smallint, purchase_id uuid, id uuid, amount_minor bigint, complete boolean, lines json,
        taken json, given json
    )
    """,
    "GRANT SELECT, INSERT ON returns TO loyalty_app",
    "ALTER TABLE returns ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_program ON returns TO loyalty_app "
    "USING (program_id = nullif(current_setting('loyalty.program', true), '')::uuid)",
    "CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON returns FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON returns FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE returns")
    op.execute("DROP TYPE returns_row")
