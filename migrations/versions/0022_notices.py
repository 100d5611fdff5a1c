"""What members were told ahead, where nightly work stands, and lines of purchases that go when their time is over.

Only the lines go, and only as the program's policy says by the database's own clock or the sandbox's, whoever asks.
Locks: activities and runs for a moment; the tables are new.
"""

from alembic import op

revision = "0022"
down_revision = "0021"

BY_PROGRAM = ("notices", "job_places")

STATEMENTS = (
    """
    CREATE TABLE notices (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        member_id uuid NOT NULL,
        kind text COLLATE "C" NOT NULL,
        about text COLLATE "C" NOT NULL,
        day date NOT NULL,
        days_before smallint NOT NULL,
        decision_id uuid NOT NULL,
        PRIMARY KEY (program_id, cell, member_id, kind, about, day, days_before),
        CHECK (kind IN ('points', 'tier'))
    )
    """,
    """
    CREATE TYPE notices_row AS (
        program_id uuid, cell smallint, member_id uuid, kind text, about text, day date, days_before smallint,
        decision_id uuid
    )
    """,
    """
    CREATE TABLE job_places (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        work text COLLATE "C" NOT NULL,
        day date,
        after uuid,
        PRIMARY KEY (program_id, cell, work)
    )
    """,
    "CREATE INDEX runs_of_program ON runs (program_id, created_at, id)",
    """
    CREATE FUNCTION refuse_lines() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        instant timestamptz := coalesce(
            (SELECT now_at FROM sandbox_clocks WHERE program_id = OLD.program_id), now());
        days integer := (
            SELECT settings #>> '{policies,lines_days}' FROM configurations
            WHERE program_id = OLD.program_id AND effective_at <= instant
            ORDER BY effective_at DESC, number DESC LIMIT 1);
    BEGIN
        IF NEW.content IS NOT NULL OR days IS NULL OR OLD.recorded_at >= instant - make_interval(days => days) THEN
            RAISE EXCEPTION 'lines are kept for their days' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER refuse_lines BEFORE UPDATE OF content ON activities FOR EACH ROW EXECUTE FUNCTION refuse_lines()",
    "GRANT SELECT ON notices, job_places TO loyalty_app",
    "GRANT INSERT, DELETE ON notices TO loyalty_app",
    "GRANT INSERT, UPDATE (day, after) ON job_places TO loyalty_app",
    "GRANT UPDATE (content) ON activities TO loyalty_app",
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
    op.execute("REVOKE UPDATE (content) ON activities FROM loyalty_app")
    op.execute("DROP TRIGGER refuse_lines ON activities")
    op.execute("DROP FUNCTION refuse_lines()")
    op.execute("DROP INDEX runs_of_program")
    op.execute("DROP TYPE notices_row")
    for table in BY_PROGRAM:
        op.execute(f"DROP TABLE {table}")
