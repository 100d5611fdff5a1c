"""Runs that ended long ago may be deleted.

Locks: nothing.
"""

from alembic import op

revision = "0028"
down_revision = "0025"


def upgrade() -> None:
    op.execute("GRANT DELETE ON runs TO loyalty_app")


def downgrade() -> None:
    op.execute("REVOKE DELETE ON runs FROM loyalty_app")
