"""Tables of rewards: how many there are, what of them is set aside, and what was redeemed."""

from sqlalchemy import BigInteger, Column, Index, Integer, SmallInteger, Table

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD

stocks = Table(
    "stocks",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("reward", WORD, primary_key=True),
    Column("stock", BigInteger, nullable=False),
)

reservations = Table(
    "reservations",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("reward", WORD, primary_key=True),
    Column("hold_id", ID, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("ends_at", INSTANT, nullable=False),
    Index("reservations_end", "program_id", "reward", "ends_at"),
)

redemptions = Table(
    "redemptions",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("member_id", ID, nullable=False),
    Column("reward", WORD),
    Column("quantity", Integer, nullable=False),
    Column("points_currency", WORD, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("money_minor", BigInteger, nullable=False),
    Column("priced_by", Integer, nullable=False),
    Column("parts", DOCUMENT, nullable=False),
    Column("location", WORD),
    Column("channel", WORD),
    Column("till", WORD),
    Column("reference", WORD),
    Column("state", WORD, nullable=False),
    Column("redeemed_at", INSTANT, nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    Column("decision_id", ID, nullable=False),
    Column("entry_id", ID, nullable=False),
    Column("changed_by", ID, nullable=False),
    Index("redemptions_member", "program_id", "cell", "member_id", "id"),
)
