"""Table of engagement events: written by posting in the commit of their cause, read here."""

from sqlalchemy import BigInteger, Column, Index, SmallInteger, Table

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD

engagement_events = Table(
    "engagement_events",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("decision_id", ID, nullable=False),
    Column("type", WORD, nullable=False),
    Column("member_id", ID),
    Column("occurred_at", INSTANT, nullable=False),
    Column("recorded_at", INSTANT, nullable=False),
    Column("data", DOCUMENT, nullable=False),
    Index("engagement_events_position", "program_id", "cell", "position"),
)
