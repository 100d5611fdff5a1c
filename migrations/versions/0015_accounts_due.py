"""Accounts on which something falls due, in the order of the instant: what the sweeps look for.

Locks: accounts for writers, while the index is built, about a second for a million of them.
"""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX accounts_due ON accounts (program_id, cell, next_due_at, id) WHERE next_due_at IS NOT NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX accounts_due")
