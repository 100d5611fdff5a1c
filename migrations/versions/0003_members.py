"""Members, their profiles (personal data) and identifiers.

Locks: nothing, all tables are new.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    """
    CREATE TABLE members (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        status text COLLATE "C" NOT NULL CHECK (status IN ('active', 'blocked', 'merged', 'erased')),
        enrolled_at timestamptz NOT NULL,
        merged_into uuid,
        PRIMARY KEY (program_id, cell, id)
    )
    """,
    """
    CREATE TABLE member_profiles (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        member_id uuid NOT NULL,
        profile json NOT NULL,
        PRIMARY KEY (program_id, cell, member_id)
    )
    """,
    """
    CREATE TABLE identifiers (
        program_id uuid NOT NULL,
        kind text COLLATE "C" NOT NULL CHECK (kind IN ('card', 'phone', 'email', 'external')),
        value text COLLATE "C" NOT NULL,
        member_id uuid NOT NULL,
        cell smallint NOT NULL,
        PRIMARY KEY (program_id, kind, value)
    )
    """,
    "CREATE INDEX identifiers_member ON identifiers (program_id, cell, member_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("identifiers", "member_profiles", "members"):
        op.execute(f"DROP TABLE {table}")
