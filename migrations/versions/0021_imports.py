"""Imports: files that were told in parts, how far each is done, and the rows that were rejected.

Locks: nothing; the tables are new.
"""

from alembic import op

revision = "0021"
down_revision = "0020"

BY_PROGRAM = ("imports", "import_parts", "import_rejections")

STATEMENTS = (
    # What no member owns: no cell.
    """
    CREATE TABLE imports (
        program_id uuid NOT NULL,
        id uuid NOT NULL,
        kind text COLLATE "C" NOT NULL CHECK (kind IN ('members', 'lots', 'standings')),
        source text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL,
        changed_at timestamptz NOT NULL,
        run_id uuid,
        read_to bigint NOT NULL,
        line bigint NOT NULL,
        rows bigint NOT NULL,
        done bigint NOT NULL,
        unchanged bigint NOT NULL,
        rejected bigint NOT NULL,
        ended_at timestamptz,
        PRIMARY KEY (program_id, id),
        CHECK (rows = done + unchanged + rejected)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE import_parts (
        program_id uuid NOT NULL,
        import_id uuid NOT NULL,
        number integer NOT NULL CHECK (number > 0),
        bytes integer NOT NULL,
        content bytea NOT NULL,
        PRIMARY KEY (program_id, import_id, number)
    )
    """,
    """
    CREATE TABLE import_rejections (
        program_id uuid NOT NULL,
        import_id uuid NOT NULL,
        line bigint NOT NULL,
        position smallint NOT NULL,
        "column" text COLLATE "C",
        code text COLLATE "C" NOT NULL,
        detail text COLLATE "C" NOT NULL,
        PRIMARY KEY (program_id, import_id, line, position)
    )
    """,
    "GRANT SELECT ON imports, import_parts, import_rejections TO loyalty_app",
    "GRANT INSERT, UPDATE (changed_at, run_id, read_to, line, rows, done, unchanged, rejected, ended_at) "
    "ON imports TO loyalty_app",
    "GRANT INSERT, UPDATE (bytes, content), DELETE ON import_parts TO loyalty_app",
    "GRANT INSERT ON import_rejections TO loyalty_app",
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
    for table in BY_PROGRAM:
        op.execute(f"DROP TABLE {table}")
