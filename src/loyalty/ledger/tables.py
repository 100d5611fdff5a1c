"""Tables of the ledger: blocks, accounts, lots, entries, postings, decisions.

The lanes' heads are in programs/tables.py: they are made with their program.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD

blocks = Table(
    "blocks",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("id", ID, nullable=False),
    Column("format", SmallInteger, nullable=False),
    Column("recorded_at", INSTANT, nullable=False),
    Column("config_number", Integer, nullable=False),
    Column("closes_on", Date),
    Column("first_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("last_id", ID, nullable=False),
    Index(
        "blocks_day",
        "program_id",
        "cell",
        "closes_on",
        unique=True,
        postgresql_where=text("closes_on IS NOT NULL"),
    ),
)

accounts = Table(
    "accounts",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, nullable=False),
    Column("owner_id", ID, primary_key=True),
    Column("points_currency", WORD, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("pending", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("debt", BigInteger, nullable=False),
    Column("active_at", INSTANT),
    Column("next_due_at", INSTANT),
    Column("first_entry_id", ID),
    Column("last_entry_id", ID),
    Column("slides", WORD),
    Column("idles_at", INSTANT),
    Index("accounts_id", "program_id", "cell", "id", unique=True),
    Index(
        "accounts_due",
        "program_id",
        "cell",
        "next_due_at",
        "id",
        postgresql_where=text("next_due_at IS NOT NULL"),
    ),
)

lots = Table(
    "lots",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("account_id", ID, nullable=False),
    Column("parent_lot_id", ID),
    Column("issuing_entry_id", ID, nullable=False),
    Column("decision_id", ID, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("vintage_at", INSTANT, nullable=False),
    Column("policy_number", Integer, nullable=False),
    Column("issued_activates_at", INSTANT),
    Column("issued_expires_at", INSTANT),
    Column("activates_at", INSTANT),
    Column("expires_at", INSTANT),
    Column("arrived_at", INSTANT, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("issued", BigInteger, nullable=False),
    Column("pending", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("redeemed", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),
    Column("revoked", BigInteger, nullable=False),
    Column("transferred", BigInteger, nullable=False),
    Column("deficit", BigInteger, nullable=False),
    Column("slides", WORD),
    Column("was_expired", Boolean, nullable=False, server_default=text("false")),
    Index("lots_open", "program_id", "cell", "account_id", "vintage_at", postgresql_where=text("is_open")),
    Index("lots_decision", "program_id", "cell", "decision_id"),
    Index(
        "lots_expired", "program_id", "cell", "account_id", "expires_at", postgresql_where=text("expired > 0")
    ),
)

entries = Table(
    "entries",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("account_id", ID, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("decision_id", ID, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
    Column("recorded_at", INSTANT, nullable=False),
    Column("cause", WORD),
    Column("corrects_entry_id", ID),
    Column("redates", DOCUMENT),
    Column("pending", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("debt", BigInteger, nullable=False),
    Index("entries_account", "program_id", "cell", "account_id", "seq"),
)

postings = Table(
    "postings",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("entry_id", ID, primary_key=True),
    Column("position", SmallInteger, primary_key=True),
    Column("lot_id", ID, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("source", WORD, nullable=False),
    Column("target", WORD, nullable=False),
)

decisions = Table(
    "decisions",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("block_number", BigInteger, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("member_id", ID),
    Column("activity_id", ID),
    Column("actor_kind", WORD, nullable=False),
    Column("actor_id", ID, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
    Column("evaluator", SmallInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("answer_status", SmallInteger, nullable=False),
    Column("answer", Text, nullable=False),
)

holds = Table(
    "holds",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),  # that of the entry that set the points aside
    Column("account_id", ID, nullable=False),
    Column("owner_id", ID, nullable=False),
    Column("points_currency", WORD, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("captured", BigInteger, nullable=False),
    Column("state", WORD, nullable=False),
    Column("held_at", INSTANT, nullable=False),
    Column("lapses_at", INSTANT, nullable=False),
    Column("good_until", INSTANT),
    Column("ended_at", INSTANT),
    Column("parts", DOCUMENT, nullable=False),  # (lot, points still held)
    Column("deadlines", DOCUMENT, nullable=False),  # every one it had: the last is in force
    Column("reference", WORD),
    Column("till", WORD),
    Column("location", WORD),
    Column("reward", WORD),
    Column("quantity", Integer),
    Column("priced_by", Integer),
    Index(
        "holds_open", "program_id", "cell", "account_id", "held_at", postgresql_where=text("state = 'open'")
    ),
)
