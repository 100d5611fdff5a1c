"""${message}.

Locks:
"""

from alembic import op

revision = "${up_revision}"
down_revision = "${down_revision}"


def upgrade() -> None:
    op.execute("")


def downgrade() -> None:
    op.execute("")
