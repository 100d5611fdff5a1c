"""Tables of programs, their lanes' heads, configurations and clocks, and of the deployment's constants."""

from sqlalchemy import Boolean, Column, Integer, SmallInteger, Table, text

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD

deployment = Table(
    "deployment",
    METADATA,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("cells", SmallInteger, nullable=False),
    Column("generation", Integer, nullable=False, server_default=text("1")),
)

programs = Table(
    "programs",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("kind", WORD, nullable=False),
    Column("created_at", INSTANT, nullable=False),
)

configurations = Table(
    "configurations",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("effective_at", INSTANT, nullable=False),
    Column("published_at", INSTANT, nullable=False),
    Column("settings", DOCUMENT, nullable=False),
    Column("ruleset", DOCUMENT, nullable=False),
    Column("rewards", DOCUMENT),
    Column("tier_sets", DOCUMENT),
)

sandbox_clocks = Table(
    "sandbox_clocks",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("now_at", INSTANT, nullable=False),
    Column("moving_to", INSTANT),  # while it is being moved: where to
    Column("moved_by", ID),  # the decision that last had it moved
)

# One row per lane, locked by whoever writes in it and never changed; made with the program.
heads = Table(
    "heads",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
)
