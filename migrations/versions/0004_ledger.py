"""The ledger: lanes' heads and blocks, accounts, lots, entries, postings, decisions, activities.

Entries, postings and decisions are partitioned by range of their UUIDv7 id, a quarter a partition; a
default partition catches what no quarter was made for. Locks: nothing, all tables are new.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from alembic import op

revision = "0004"
down_revision = "0003"

QUARTERS = [(year, quarter) for year in (2026, 2027, 2028) for quarter in (1, 2, 3, 4)][2:]

# The legal moves: docs/ledger.md, posting table.
MOVES = (
    ("issued", "pending"),
    ("issued", "available"),
    ("pending", "available"),
    ("pending", "revoked"),
    ("available", "expired"),
    ("available", "held"),
    ("available", "redeemed"),
    ("available", "revoked"),
    ("available", "deficit"),
    ("available", "transferred"),
    ("held", "redeemed"),
    ("held", "available"),
    ("redeemed", "available"),
    ("expired", "revoked"),
    ("expired", "available"),
    ("deficit", "revoked"),
    ("transferred", "available"),
)

KINDS = (
    "earn adjust_credit import mature auto_cancel expire hold capture release lapse redeem adjust_debit "
    "restore revoke repay reinstate redate transfer_out transfer_in"
).split()


def listed(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


STATEMENTS = (
    """
    CREATE TABLE heads (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        PRIMARY KEY (program_id, cell)
    )
    """,
    """
    CREATE TABLE blocks (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        number bigint NOT NULL CHECK (number > 0),
        id uuid NOT NULL,
        format smallint NOT NULL,
        recorded_at timestamptz NOT NULL,
        config_number integer NOT NULL,
        closes_on date,
        first_position bigint NOT NULL,
        last_position bigint NOT NULL,
        previous_hash bytea NOT NULL CHECK (length(previous_hash) = 32),
        hash bytea NOT NULL CHECK (length(hash) = 32),
        last_id uuid NOT NULL,
        PRIMARY KEY (program_id, cell, number),
        CHECK (last_position >= first_position - 1)
    )
    """,
    "CREATE UNIQUE INDEX blocks_day ON blocks (program_id, cell, closes_on) WHERE closes_on IS NOT NULL",
    """
    CREATE TABLE accounts (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        owner_id uuid NOT NULL,
        points_currency text COLLATE "C" NOT NULL,
        seq bigint NOT NULL CHECK (seq >= 0),
        pending bigint NOT NULL CHECK (pending >= 0),
        available bigint NOT NULL CHECK (available >= 0),
        held bigint NOT NULL CHECK (held >= 0),
        debt bigint NOT NULL CHECK (debt >= 0),
        active_at timestamptz,
        next_due_at timestamptz,
        first_entry_id uuid,
        last_entry_id uuid,
        PRIMARY KEY (program_id, cell, owner_id, points_currency),
        CHECK (pending + available + held <= 9007199254740991)
    ) WITH (fillfactor = 70)
    """,
    "CREATE UNIQUE INDEX accounts_id ON accounts (program_id, cell, id)",
    """
    CREATE TABLE lots (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        account_id uuid NOT NULL,
        parent_lot_id uuid,
        issuing_entry_id uuid NOT NULL,
        decision_id uuid NOT NULL,
        points bigint NOT NULL CHECK (points BETWEEN 1 AND 9007199254740991),
        vintage_at timestamptz NOT NULL,
        policy_number integer NOT NULL,
        issued_activates_at timestamptz,
        issued_expires_at timestamptz,
        activates_at timestamptz,
        expires_at timestamptz,
        arrived_at timestamptz NOT NULL,
        is_open boolean NOT NULL,
        issued bigint NOT NULL,
        pending bigint NOT NULL CHECK (pending >= 0),
        available bigint NOT NULL CHECK (available >= 0),
        held bigint NOT NULL CHECK (held >= 0),
        redeemed bigint NOT NULL CHECK (redeemed >= 0),
        expired bigint NOT NULL CHECK (expired >= 0),
        revoked bigint NOT NULL CHECK (revoked >= 0),
        transferred bigint NOT NULL,
        deficit bigint NOT NULL,
        PRIMARY KEY (program_id, cell, id),
        CHECK (issued + pending + available + held + redeemed + expired + revoked + transferred + deficit = 0),
        CHECK (pending + available + held <= points),
        CHECK (issued IN (0, -points))
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX lots_open ON lots (program_id, cell, account_id) WHERE is_open",
    "CREATE INDEX lots_decision ON lots (program_id, cell, decision_id)",
    f"""
    CREATE TABLE entries (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        account_id uuid NOT NULL,
        seq bigint NOT NULL CHECK (seq > 0),
        decision_id uuid NOT NULL,
        kind text COLLATE "C" NOT NULL CHECK (kind IN ({listed(KINDS)})),
        occurred_at timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        cause text COLLATE "C",
        corrects_entry_id uuid,
        redates json,
        pending bigint NOT NULL CHECK (pending >= 0),
        available bigint NOT NULL CHECK (available >= 0),
        held bigint NOT NULL CHECK (held >= 0),
        debt bigint NOT NULL CHECK (debt >= 0),
        PRIMARY KEY (program_id, cell, id)
    ) PARTITION BY RANGE (id)
    """,
    "CREATE INDEX entries_account ON entries (program_id, cell, account_id, seq)",
    f"""
    CREATE TABLE postings (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        entry_id uuid NOT NULL,
        position smallint NOT NULL CHECK (position >= 0),
        lot_id uuid NOT NULL,
        points bigint NOT NULL CHECK (points BETWEEN 1 AND 9007199254740991),
        source text COLLATE "C" NOT NULL,
        target text COLLATE "C" NOT NULL,
        PRIMARY KEY (program_id, cell, entry_id, position),
        CHECK (source || '>' || target IN ({listed([f"{source}>{target}" for source, target in MOVES])}))
    ) PARTITION BY RANGE (entry_id)
    """,
    """
    CREATE TABLE decisions (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        block_number bigint NOT NULL,
        kind text COLLATE "C" NOT NULL,
        member_id uuid,
        activity_id uuid,
        actor_kind text COLLATE "C" NOT NULL CHECK (actor_kind IN ('client', 'staff', 'member', 'job', 'operator')),
        actor_id uuid NOT NULL,
        occurred_at timestamptz NOT NULL,
        evaluator smallint NOT NULL,
        detail text NOT NULL,
        answer_status smallint NOT NULL,
        answer text NOT NULL,
        PRIMARY KEY (program_id, cell, id)
    ) PARTITION BY RANGE (id)
    """,
    """
    CREATE TABLE activities (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        id uuid NOT NULL,
        decision_id uuid NOT NULL,
        awarded_by uuid NOT NULL,
        member_id uuid,
        occurred_at timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        location text COLLATE "C",
        channel text COLLATE "C",
        till text COLLATE "C",
        amount_minor bigint NOT NULL,
        content json,
        PRIMARY KEY (program_id, cell, id)
    )
    """,
    "CREATE INDEX activities_member ON activities (program_id, cell, member_id, occurred_at) "
    "WHERE member_id IS NOT NULL",
    """
    CREATE TABLE activity_keys (
        program_id uuid NOT NULL,
        kind text COLLATE "C" NOT NULL CHECK (kind IN ('purchase', 'return', 'cancel', 'event', 'import_row')),
        source text COLLATE "C" NOT NULL,
        external_id text COLLATE "C" NOT NULL,
        state text COLLATE "C" NOT NULL CHECK (state IN ('recorded', 'cancelled')),
        activity_id uuid NOT NULL,
        cell smallint NOT NULL,
        decision_id uuid NOT NULL,
        content_digest bytea NOT NULL,
        PRIMARY KEY (program_id, kind, source, external_id)
    ) WITH (fillfactor = 90)
    """,
    "CREATE INDEX activity_keys_activity ON activity_keys (program_id, activity_id)",
    """
    CREATE TABLE counters (
        program_id uuid NOT NULL,
        cell smallint NOT NULL,
        owner_id uuid NOT NULL,
        rule_id text COLLATE "C" NOT NULL,
        period text COLLATE "C" NOT NULL,
        points bigint NOT NULL CHECK (points >= 0),
        PRIMARY KEY (program_id, cell, owner_id, period, rule_id)
    ) WITH (fillfactor = 70)
    """,
)


def lowest_id(at: datetime) -> str:
    """The lowest UUIDv7 that can be made at `at`."""
    high = f"{int(at.timestamp() * 1000):012x}"
    return f"{high[:8]}-{high[8:]}-0000-0000-000000000000"


def partitions(table: str) -> list[str]:
    statements = [f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT"]
    for year, quarter in QUARTERS:
        first = datetime(year, quarter * 3 - 2, 1, tzinfo=UTC)
        after = datetime(year + quarter // 4, quarter % 4 * 3 + 1, 1, tzinfo=UTC)
        statements.append(
            f"CREATE TABLE {table}_{year}q{quarter} PARTITION OF {table} "
            f"FOR VALUES FROM ('{lowest_id(first)}') TO ('{lowest_id(after)}')"
        )
    return statements


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table in ("entries", "postings", "decisions"):
        for statement in partitions(table):
            op.execute(statement)


def downgrade() -> None:
    for table in (
        "counters activity_keys activities decisions postings entries lots accounts blocks heads"
    ).split():
        op.execute(f"DROP TABLE {table}")
