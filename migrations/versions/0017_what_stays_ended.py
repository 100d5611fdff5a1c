"""What the application's role need not be able to do either: give a key or a token its life back, or a member's points
to another member.

Locks: api_keys and staff_tokens for a moment.
"""

from alembic import op

revision = "0017"
down_revision = "0016"

ENDING = ("api_keys", "staff_tokens")


def upgrade() -> None:
    op.execute("REVOKE UPDATE (merged_into) ON members FROM loyalty_app")
    op.execute(
        """
        CREATE FUNCTION refuse_revival() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.program_id IS DISTINCT FROM nullif(current_setting('loyalty.program', true), '')::uuid THEN
                RAISE EXCEPTION 'a credential of another program' USING ERRCODE = 'insufficient_privilege';
            ELSIF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
                RAISE EXCEPTION 'what was revoked stays revoked' USING ERRCODE = 'insufficient_privilege';
            ELSIF OLD.expires_at < coalesce(NEW.expires_at, 'infinity') THEN
                RAISE EXCEPTION 'an end never comes later' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    for table in ENDING:
        op.execute(
            f"CREATE TRIGGER refuse_revival BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_revival()"
        )


def downgrade() -> None:
    for table in ENDING:
        op.execute(f"DROP TRIGGER refuse_revival ON {table}")
    op.execute("DROP FUNCTION refuse_revival()")
    op.execute("GRANT UPDATE (merged_into) ON members TO loyalty_app")
