"""Tables of the tiers: what members did day by day, where they stand on each ladder, and the steps they made."""

from sqlalchemy import BigInteger, Column, Date, Index, Integer, SmallInteger, Table, text
from sqlalchemy.dialects.postgresql import JSONB

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD

member_days = Table(
    "member_days",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("member_id", ID, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("spend_minor", BigInteger, nullable=False),
    Column("visits", Integer, nullable=False),
    Column("points", JSONB, nullable=False),  # by points currency
)

standings = Table(
    "standings",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("member_id", ID, primary_key=True),
    Column("tier_set", WORD, primary_key=True),
    Column("joined_on", Date, nullable=False),
    Column("earned", WORD),
    Column("since", INSTANT),
    Column("lifetime", WORD),
    Column("manual", DOCUMENT),
    Column("falls_at", INSTANT),
    Column("next_review_at", INSTANT),
    Column("judged_by", Integer, nullable=False),  # number of the configuration whose ladder it stands on
    Index(
        "standings_due",
        "program_id",
        "cell",
        "next_review_at",
        "member_id",
        postgresql_where=text("next_review_at IS NOT NULL"),
    ),
)

tier_moves = Table(
    "tier_moves",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("member_id", ID, primary_key=True),
    Column("tier_set", WORD, primary_key=True),
    Column("decision_id", ID, primary_key=True),
    Column("position", SmallInteger, primary_key=True),  # of the moves of one decision
    Column("at", INSTANT, nullable=False),
    Column("before", WORD),
    Column("after", WORD),
    Column("why", WORD, nullable=False),
    Column("metric", BigInteger, nullable=False),
)
