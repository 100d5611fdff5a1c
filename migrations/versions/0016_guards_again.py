"""What the application's role need not be able to do: move a live program's clock or set any back, give an activity
two natural keys, remove what was told about a purchase, forget a request before its thirty days.

Locks: activity_keys and sandbox_clocks for writers, while the index is built, about a second for a million; then
idempotency_records for a moment.
"""

from alembic import op

revision = "0016"
down_revision = "0015"

STATEMENTS = (
    """
    CREATE FUNCTION refuse_clock() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM programs WHERE id = NEW.program_id AND kind = 'sandbox') THEN
            RAISE EXCEPTION 'only a sandbox program has a clock' USING ERRCODE = 'insufficient_privilege';
        ELSIF TG_OP = 'UPDATE' AND NEW.now_at < OLD.now_at THEN
            RAISE EXCEPTION 'a clock is never set back' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER refuse_clock BEFORE INSERT OR UPDATE ON sandbox_clocks "
    "FOR EACH ROW EXECUTE FUNCTION refuse_clock()",
    "CREATE UNIQUE INDEX activity_keys_once ON activity_keys (program_id, activity_id, kind)",
    "DROP INDEX activity_keys_activity",
    "REVOKE UPDATE (content) ON activities FROM loyalty_app",
    "CREATE POLICY kept ON idempotency_records AS RESTRICTIVE FOR DELETE TO loyalty_app "
    "USING (created_at < now() - interval '30 days')",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP POLICY kept ON idempotency_records")
    op.execute("GRANT UPDATE (content) ON activities TO loyalty_app")
    op.execute("CREATE INDEX activity_keys_activity ON activity_keys (program_id, activity_id)")
    op.execute("DROP INDEX activity_keys_once")
    op.execute("DROP TRIGGER refuse_clock ON sandbox_clocks")
    op.execute("DROP FUNCTION refuse_clock()")
