"""Tables of posting: activities and their keys, returns, proposals, freezes, counters of caps, idempotency records."""

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, LargeBinary, SmallInteger, Table, Text, text

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
    Index("activity_keys_once", "program_id", "activity_id", "kind", unique=True),
)

proposals = Table(
    "proposals",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("kind", WORD, nullable=False),
    Column("member_id", ID, nullable=False),
    Column("points_currency", WORD, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("reason", WORD, nullable=False),
    Column("reference", WORD),
    Column("proposed_by_kind", WORD, nullable=False),
    Column("proposed_by", ID, nullable=False),
    Column("proposed_at", INSTANT, nullable=False),
    Column("lapses_at", INSTANT, nullable=False),
    Column("proposed_in", ID, nullable=False),
    Column("state", WORD, nullable=False),
    Column("decided_by", ID),
    Column("decided_at", INSTANT),
    Column("decided_in", ID),
    Index("proposals_open", "program_id", "cell", "id", postgresql_where=text("state = 'proposed'")),
)

freezes = Table(
    "freezes",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("member_id", ID, primary_key=True),
    Column("points_currency", WORD, primary_key=True),
    Column("frozen", Boolean, nullable=False),
    Column("reason", WORD, nullable=False),
    Column("since", INSTANT, nullable=False),
    Column("decision_id", ID, nullable=False),
)

member_changes = Table(
    "member_changes",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("member_id", ID, primary_key=True),
    Column("changed_at", INSTANT, nullable=False),
)

notices = Table(
    "notices",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("member_id", ID, primary_key=True),
    Column("kind", WORD, primary_key=True),
    Column("about", WORD, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("days_before", SmallInteger, primary_key=True),
    Column("decision_id", ID, nullable=False),
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
