"""Runs that ended long ago may be deleted, and what was rejected of a file that comes once more.

Locks: nothing.
"""

from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.execute("GRANT DELETE ON runs, import_rejections TO loyalty_app")


def downgrade() -> None:
    op.execute("REVOKE DELETE ON runs, import_rejections FROM loyalty_app")
