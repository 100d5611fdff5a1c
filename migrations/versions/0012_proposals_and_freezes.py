"""Proposals that another person decides, frozen accounts, and when a member's profile or identifiers last changed.

Row types are made as in 0007; the road also writes lines of the audit log from here on. Locks: nothing, all tables
are new.
"""

from alembic import op

revision = "0012"
down_revision = "0011"

TABLES = ("proposals", "freezes", "member_changes")

STATEMENTS = (
    """
    CREATE TABLE proposals (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        kind text COLLATE "C" NOT NULL CHECK (kind IN ('adjustment', 'write_off')),
        member_id uuid NOT NULL,
        points_currency text COLLATE "C" NOT NULL,
        points bigint NOT NULL CHECK (points <> 0),
        reason text COLLATE "C" NOT NULL,
        reference text COLLATE "C",
        proposed_by_kind text COLLATE "C" NOT NULL,
        proposed_by uuid NOT NULL,
        proposed_at timestamptz NOT NULL,
        lapses_at timestamptz NOT NULL,
        proposed_in uuid NOT NULL,
        state text COLLATE "C" NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
        decided_by uuid,
        decided_at timestamptz,
        decided_in uuid,
        PRIMARY KEY (program_id, cell, id),
        CHECK ((state = 'proposed') = (decided_by IS NULL)),
        CHECK ((state = 'proposed') = (decided_at IS NULL)),
        CHECK ((state = 'proposed') = (decided_in IS NULL)),
        CHECK (decided_by <> proposed_by)
    )
    """,
    "CREATE INDEX proposals_open ON proposals (program_id, cell, id) WHERE state = 'proposed'",
    """
    CREATE TABLE freezes (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        member_id uuid NOT NULL,
        points_currency text COLLATE "C" NOT NULL,
        frozen boolean NOT NULL,
        reason text COLLATE "C" NOT NULL,
        since timestamptz NOT NULL,
        decision_id uuid NOT NULL,
        PRIMARY KEY (program_id, cell, member_id, points_currency)
    )
    """,
    """
    CREATE TABLE member_changes (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        member_id uuid NOT NULL,
        changed_at timestamptz NOT NULL,
        PRIMARY KEY (program_id, cell, member_id)
    )
    """,
    "GRANT SELECT ON proposals, freezes, member_changes TO loyalty_app",
    "GRANT INSERT, UPDATE (state, decided_by, decided_at, decided_in) ON proposals TO loyalty_app",
    "GRANT INSERT, UPDATE (frozen, reason, since, decision_id) ON freezes TO loyalty_app",
    "GRANT INSERT, UPDATE (changed_at) ON member_changes TO loyalty_app",
)

COLUMNS = """
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
"""


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_program ON {table} TO loyalty_app "
            f"USING (program_id = nullif(current_setting('loyalty.program', true), '')::uuid)"
        )
    connection = op.get_bind()
    for table in (*TABLES, "audit_log"):
        columns = connection.exec_driver_sql(COLUMNS.format(table=table)).scalar_one()
        op.execute(f"CREATE TYPE {table}_row AS ({columns})")


def downgrade() -> None:
    for table in (*TABLES, "audit_log"):
        op.execute(f"DROP TYPE {table}_row")
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
