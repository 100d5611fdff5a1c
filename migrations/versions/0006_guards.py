"""What the application's role may do: grants, row-level security, and triggers behind the append-only grants.

The role `loyalty_app` owns nothing. Grants are the guard; the triggers refuse the owner too.
Locks: each table for a moment.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

APPEND_ONLY = (
    "entries",
    "postings",
    "decisions",
    "blocks",
    "engagement_events",
    "audit_log",
    "configurations",
)

# Tables that every program shares, reviewed: they are found before the program is known.
SHARED = ("deployment", "programs", "api_keys", "staff_tokens", "runs")

BY_PROGRAM = (
    *APPEND_ONLY,
    "sandbox_clocks",
    "clients",
    "staff",
    "members",
    "member_profiles",
    "identifiers",
    "heads",
    "accounts",
    "lots",
    "activities",
    "activity_keys",
    "counters",
    "idempotency_records",
)

GRANTS = (
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO loyalty_app",
    *(f"GRANT INSERT ON {table} TO loyalty_app" for table in APPEND_ONLY),
    "GRANT INSERT ON programs, heads, deployment TO loyalty_app",
    # FOR UPDATE demands it; the row itself never changes, a trigger sees to that.
    "GRANT UPDATE (cell) ON heads TO loyalty_app",
    "GRANT INSERT, UPDATE (now_at) ON sandbox_clocks TO loyalty_app",
    "GRANT INSERT ON clients, api_keys, staff, staff_tokens TO loyalty_app",
    "GRANT UPDATE (revoked_at, expires_at) ON api_keys, staff_tokens TO loyalty_app",
    "GRANT INSERT, UPDATE (status, merged_into) ON members TO loyalty_app",
    "GRANT INSERT, UPDATE (profile), DELETE ON member_profiles TO loyalty_app",
    "GRANT INSERT, UPDATE (member_id, cell), DELETE ON identifiers TO loyalty_app",
    "GRANT INSERT, UPDATE (seq, pending, available, held, debt, active_at, next_due_at, first_entry_id, last_entry_id) "
    "ON accounts TO loyalty_app",
    "GRANT INSERT, UPDATE (activates_at, expires_at, arrived_at, is_open, issued, pending, available, held, redeemed, "
    "expired, revoked, transferred, deficit) ON lots TO loyalty_app",
    "GRANT INSERT, UPDATE (member_id, awarded_by, content) ON activities TO loyalty_app",
    "GRANT INSERT, UPDATE (state) ON activity_keys TO loyalty_app",
    "GRANT INSERT, UPDATE (points) ON counters TO loyalty_app",
    "GRANT INSERT, DELETE ON idempotency_records TO loyalty_app",
    "GRANT INSERT, UPDATE (state, tries, started_at, ended_at, progress, result) ON runs TO loyalty_app",
)


def partitions_of(table: str) -> list[str]:
    connection = op.get_bind()
    rows = connection.exec_driver_sql(
        f"SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{table}'::regclass"
    )
    return [row[0] for row in rows]


def upgrade() -> None:
    for grant in GRANTS:
        op.execute(grant)
    for parent in ("entries", "postings", "decisions", "engagement_events", "idempotency_records"):
        for partition in partitions_of(parent):
            op.execute(f"REVOKE ALL ON {partition} FROM loyalty_app")
    for table in BY_PROGRAM:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_program ON {table} TO loyalty_app "
            f"USING (program_id = nullif(current_setting('loyalty.program', true), '')::uuid)"
        )
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege'; END $$
        """
    )
    for table in (*APPEND_ONLY, "heads"):
        op.execute(
            f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        # A partition inherits the triggers for each row, not those for a statement.
        for part in (table, *partitions_of(table)):
            op.execute(
                f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {part} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )


def downgrade() -> None:
    for table in (*APPEND_ONLY, "heads"):
        op.execute(f"DROP TRIGGER refuse_change ON {table}")
        for part in (table, *partitions_of(table)):
            op.execute(f"DROP TRIGGER refuse_truncate ON {part}")
    op.execute("DROP FUNCTION refuse_change()")
    for table in BY_PROGRAM:
        op.execute(f"DROP POLICY own_program ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM loyalty_app")
