"""Programs, their numbered configurations and sandbox clocks; the deployment's constants.

Locks: nothing, all tables are new.
"""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE deployment (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        cells smallint NOT NULL CHECK (cells BETWEEN 1 AND 64),
        generation integer NOT NULL DEFAULT 1
    )
    """,
    """
    CREATE TABLE programs (
        id uuid PRIMARY KEY,
        kind text COLLATE "C" NOT NULL CHECK (kind IN ('live', 'sandbox')),
        created_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE configurations (
        program_id uuid NOT NULL,
        number integer NOT NULL CHECK (number > 0),
        effective_at timestamptz NOT NULL,
        published_at timestamptz NOT NULL,
        settings json NOT NULL,
        ruleset json NOT NULL,
        PRIMARY KEY (program_id, number)
    )
    """,
    """
    CREATE TABLE sandbox_clocks (
        program_id uuid PRIMARY KEY,
        now_at timestamptz NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("sandbox_clocks", "configurations", "programs", "deployment"):
        op.execute(f"DROP TABLE {table}")
