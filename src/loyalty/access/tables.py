"""Tables of clients, keys, staff, tokens and the audit log."""

from sqlalchemy import Column, ForeignKeyConstraint, Index, LargeBinary, Table, Text, UniqueConstraint, text

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD, WORDS

clients = Table(
    "clients",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)

api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("program_id", ID, nullable=False),
    Column("client_id", ID, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("prefix", WORD, nullable=False),
    Column("role", WORD, nullable=False),
    Column("locations", WORDS, nullable=False, server_default=text("'{}'")),
    Column("created_at", INSTANT, nullable=False),
    Column("expires_at", INSTANT),
    Column("revoked_at", INSTANT),
    UniqueConstraint("hash"),
    ForeignKeyConstraint(["program_id", "client_id"], ["clients.program_id", "clients.id"]),
    Index("api_keys_client", "program_id", "client_id"),
)

staff = Table(
    "staff",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", WORD, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)

staff_tokens = Table(
    "staff_tokens",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("program_id", ID, nullable=False),
    Column("staff_id", ID, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("prefix", WORD, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("expires_at", INSTANT, nullable=False),
    Column("revoked_at", INSTANT),
    UniqueConstraint("hash"),
    ForeignKeyConstraint(["program_id", "staff_id"], ["staff.program_id", "staff.id"]),
)

audit_log = Table(
    "audit_log",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("at", INSTANT, nullable=False),
    Column("actor_kind", WORD, nullable=False),
    Column("actor_id", ID, nullable=False),
    Column("action", WORD, nullable=False),
    Column("target", WORD),
    Column("outcome", WORD, nullable=False),
    Column("detail", DOCUMENT, nullable=False),
)
