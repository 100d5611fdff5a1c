"""Who may talk to us: clients, API keys, staff, tokens; and the audit log.

Locks: nothing, all tables are new.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

ROLES = "('pos', 'member', 'support', 'manager', 'analyst', 'auditor', 'admin')"

STATEMENTS = (
    """
    CREATE TABLE clients (
        program_id uuid NOT NULL,
        id uuid NOT NULL,
        name text NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (program_id, id)
    )
    """,
    f"""
    CREATE TABLE api_keys (
        id uuid PRIMARY KEY,
        program_id uuid NOT NULL,
        client_id uuid NOT NULL,
        hash bytea NOT NULL UNIQUE,
        prefix text COLLATE "C" NOT NULL,
        role text COLLATE "C" NOT NULL CHECK (role IN {ROLES}),
        locations text[] COLLATE "C" NOT NULL DEFAULT '{{}}',
        created_at timestamptz NOT NULL,
        expires_at timestamptz,
        revoked_at timestamptz,
        FOREIGN KEY (program_id, client_id) REFERENCES clients (program_id, id)
    )
    """,
    "CREATE INDEX api_keys_client ON api_keys (program_id, client_id)",
    f"""
    CREATE TABLE staff (
        program_id uuid NOT NULL,
        id uuid NOT NULL,
        name text NOT NULL,
        role text COLLATE "C" NOT NULL CHECK (role IN {ROLES}),
        created_at timestamptz NOT NULL,
        PRIMARY KEY (program_id, id)
    )
    """,
    """
    CREATE TABLE staff_tokens (
        id uuid PRIMARY KEY,
        program_id uuid NOT NULL,
        staff_id uuid NOT NULL,
        hash bytea NOT NULL UNIQUE,
        prefix text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL,
        revoked_at timestamptz,
        FOREIGN KEY (program_id, staff_id) REFERENCES staff (program_id, id)
    )
    """,
    """
    CREATE TABLE audit_log (
        program_id uuid NOT NULL,
        id uuid NOT NULL,
        at timestamptz NOT NULL,
        actor_kind text COLLATE "C" NOT NULL CHECK (actor_kind IN ('client', 'staff', 'member', 'job', 'operator')),
        actor_id uuid NOT NULL,
        action text COLLATE "C" NOT NULL,
        target text COLLATE "C",
        outcome text COLLATE "C" NOT NULL,
        detail json NOT NULL,
        PRIMARY KEY (program_id, id)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("audit_log", "staff_tokens", "staff", "api_keys", "clients"):
        op.execute(f"DROP TABLE {table}")
