"""Standings that are due at one instant, by member: who is reviewed next is read from the index, chunk by chunk.

At a new year all tiers of a program may fall due at once. The index by instant alone gave all of them for each chunk,
to be sorted.

Locks: standings against writes while the index is made, some seconds for a million of them, then whole, for a moment.
"""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    _made_anew("program_id, cell, next_review_at, member_id")


def downgrade() -> None:
    _made_anew("program_id, cell, next_review_at")


def _made_anew(columns: str) -> None:
    op.execute("ALTER INDEX standings_due RENAME TO standings_due_before")
    op.execute(f"CREATE INDEX standings_due ON standings ({columns}) WHERE next_review_at IS NOT NULL")
    op.execute("DROP INDEX standings_due_before")
