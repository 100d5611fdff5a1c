"""The lots of which points had expired before, by the postings that are there.

All postings are read once, about a second for each million. Locks: nothing but the rows that are marked.
"""

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.execute(
        """
        UPDATE lots l SET was_expired = true
        FROM (SELECT DISTINCT program_id, cell, lot_id FROM postings WHERE source = 'expired') p
        WHERE l.program_id = p.program_id AND l.cell = p.cell AND l.id = p.lot_id
        """
    )


def downgrade() -> None:
    pass  # the column goes with 0026
