"""Tables of members, their profiles and identifiers; personal data sits here and nowhere else."""

from sqlalchemy import Column, Index, Integer, SmallInteger, Table

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD

members = Table(
    "members",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("status", WORD, nullable=False),
    Column("enrolled_at", INSTANT, nullable=False),
    Column("merged_into", ID),
)

member_profiles = Table(
    "member_profiles",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("member_id", ID, primary_key=True),
    Column("profile", DOCUMENT, nullable=False),
)

member_pins = Table(
    "member_pins",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("member_id", ID, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("hash", WORD, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("locked_until", INSTANT),
)

identifiers = Table(
    "identifiers",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("kind", WORD, primary_key=True),
    Column("value", WORD, primary_key=True),
    Column("member_id", ID, nullable=False),
    Column("cell", SmallInteger, nullable=False),
    Index("identifiers_member", "program_id", "cell", "member_id"),
)
