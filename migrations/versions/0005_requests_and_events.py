"""Idempotency records, engagement events, runs.

Locks: nothing, all tables are new.
"""

from datetime import UTC, datetime

from alembic import op

revision = "0005"
down_revision = "0004"

QUARTERS = [(year, quarter) for year in (2026, 2027, 2028) for quarter in (1, 2, 3, 4)][2:]

STATEMENTS = (
    """
    CREATE TABLE idempotency_records (
        program_id uuid NOT NULL,
        scope uuid NOT NULL,
        key text COLLATE "C" NOT NULL,
        fingerprint bytea NOT NULL,
        created_at timestamptz NOT NULL,
        status smallint NOT NULL,
        decision_id uuid,
        decision_cell smallint,
        refusal text,
        PRIMARY KEY (program_id, scope, key),
        CHECK ((decision_id IS NULL) = (refusal IS NOT NULL)),
        CHECK ((decision_id IS NULL) = (decision_cell IS NULL))
    ) PARTITION BY HASH (program_id, scope, key)
    """,
    *(
        f"CREATE TABLE idempotency_records_{part} PARTITION OF idempotency_records "
        f"FOR VALUES WITH (MODULUS 8, REMAINDER {part})"
        for part in range(8)
    ),
    """
    CREATE TABLE engagement_events (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        position bigint NOT NULL CHECK (position > 0),
        decision_id uuid NOT NULL,
        type text COLLATE "C" NOT NULL,
        member_id uuid,
        occurred_at timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        data json NOT NULL,
        PRIMARY KEY (program_id, cell, id)
    ) PARTITION BY RANGE (id)
    """,
    "CREATE INDEX engagement_events_position ON engagement_events (program_id, cell, position)",
    """
    CREATE TABLE runs (
        program_id uuid NOT NULL,
        id uuid NOT NULL,
        kind text COLLATE "C" NOT NULL,
        state text COLLATE "C" NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
        tries smallint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        ended_at timestamptz,
        input json NOT NULL,
        progress json,
        result json,
        PRIMARY KEY (program_id, id)
    )
    """,
    "CREATE INDEX runs_waiting ON runs (created_at) WHERE state IN ('queued', 'running')",
)


def lowest_id(at: datetime) -> str:
    """The lowest UUIDv7 that can be made at `at`."""
    high = f"{int(at.timestamp() * 1000):012x}"
    return f"{high[:8]}-{high[8:]}-0000-0000-000000000000"


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute("CREATE TABLE engagement_events_rest PARTITION OF engagement_events DEFAULT")
    for year, quarter in QUARTERS:
        first = datetime(year, quarter * 3 - 2, 1, tzinfo=UTC)
        after = datetime(year + quarter // 4, quarter % 4 * 3 + 1, 1, tzinfo=UTC)
        op.execute(
            f"CREATE TABLE engagement_events_{year}q{quarter} PARTITION OF engagement_events "
            f"FOR VALUES FROM ('{lowest_id(first)}') TO ('{lowest_id(after)}')"
        )


def downgrade() -> None:
    for table in ("runs", "engagement_events", "idempotency_records"):
        op.execute(f"DROP TABLE {table}")
