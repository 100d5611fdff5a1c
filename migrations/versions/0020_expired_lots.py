"""Lots of which points expired, by account and end, for whoever gives them back; proposals to do so.

Locks: lots for writers, while the index is built, about two seconds for a million of them that expired; then proposals
for a moment.
"""

from alembic import op

revision = "0020"
down_revision = "0019"

KINDS = "ALTER TABLE proposals ADD CONSTRAINT proposals_kind_check CHECK (kind IN ({kinds}))"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX lots_expired ON lots (program_id, cell, account_id, expires_at) WHERE expired > 0"
    )
    op.execute("ALTER TABLE proposals DROP CONSTRAINT proposals_kind_check")
    op.execute(KINDS.format(kinds="'adjustment', 'write_off', 'reinstatement'"))


def downgrade() -> None:
    # What was proposed stays as it is: only new rows are checked.
    op.execute("ALTER TABLE proposals DROP CONSTRAINT proposals_kind_check")
    op.execute(KINDS.format(kinds="'adjustment', 'write_off'") + " NOT VALID")
    op.execute("DROP INDEX lots_expired")
