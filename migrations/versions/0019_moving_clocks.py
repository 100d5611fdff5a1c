"""Where a sandbox program's clock is being moved to while it is on its way, and by which decision.

Locks: sandbox_clocks for a moment.
"""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute("ALTER TABLE sandbox_clocks ADD COLUMN moving_to timestamptz, ADD COLUMN moved_by uuid")
    op.execute(
        "CREATE TYPE sandbox_clocks_row_2 AS "
        "(program_id uuid, now_at timestamptz, moving_to timestamptz, moved_by uuid)"
    )
    op.execute("GRANT UPDATE (moving_to, moved_by) ON sandbox_clocks TO loyalty_app")


def downgrade() -> None:
    op.execute("DROP TYPE sandbox_clocks_row_2")
    op.execute("ALTER TABLE sandbox_clocks DROP COLUMN moving_to, DROP COLUMN moved_by")
