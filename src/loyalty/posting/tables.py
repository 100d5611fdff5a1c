"""Tables of posting: activities and their keys, what was returned, counters of caps, idempotency records."""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, SmallInteger, Table, Text, text

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD

activities = Table(
    "activities",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("decision_id", ID, nullable=False),
    Column(
        "awarded_by", ID, nullable=False
    ),  # the decision whose award is in force: the claim's after a claim
    Column("member_id", ID),
    Column("occurred_at", INSTANT, nullable=False),
    Column("recorded_at", INSTANT, nullable=False),
    Column("location", WORD),
    Column("channel", WORD),
    Column("till", WORD),
    Column("amount_minor", BigInteger, nullable=False),
    Column("content", DOCUMENT),
    Index(
        "activities_member",
        "program_id",
        "cell",
        "member_id",
        "occurred_at",
        postgresql_where=text("member_id IS NOT NULL"),
    ),
)

returns = Table(
    "returns",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),  # of the purchase
    Column("purchase_id", ID, primary_key=True),
    Column("id", ID, primary_key=True),  # the return's own activity
    Column("amount_minor", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("lines", DOCUMENT, nullable=False),  # position and units
    Column("taken", DOCUMENT, nullable=False),  # points of each award
    Column("given", DOCUMENT, nullable=False),  # points of each captured hold
)

activity_keys = Table(
    "activity_keys",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("kind", WORD, primary_key=True),
    Column("source", WORD, primary_key=True),
    Column("external_id", WORD, primary_key=True),
    Column("state", WORD, nullable=False),
    Column("activity_id", ID, nullable=False),
    Column("cell", SmallInteger, nullable=False),
    Column("decision_id", ID, nullable=False),
    Column("content_digest", LargeBinary, nullable=False),
    Index("activity_keys_activity", "program_id", "activity_id"),
)

counters = Table(
    "counters",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("owner_id", ID, primary_key=True),
    Column("period", WORD, primary_key=True),
    Column("rule_id", WORD, primary_key=True),
    Column("points", BigInteger, nullable=False),
)

idempotency_records = Table(
    "idempotency_records",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("scope", ID, primary_key=True),
    Column("key", WORD, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("decision_id", ID),
    Column("decision_cell", SmallInteger),
    Column("refusal", Text),
)
