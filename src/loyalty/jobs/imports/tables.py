"""Tables of imports. The parts hold personal data and go when their import has ended; nothing else here does."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, SmallInteger, Table

from loyalty.base.schema import ID, INSTANT, METADATA, WORD

imports = Table(
    "imports",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("kind", WORD, nullable=False),
    Column("source", WORD, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("changed_at", INSTANT, nullable=False),
    Column("run_id", ID),
    Column("read_to", BigInteger, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("unchanged", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("ended_at", INSTANT),
)

import_parts = Table(
    "import_parts",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("import_id", ID, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("bytes", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

import_rejections = Table(
    "import_rejections",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("import_id", ID, primary_key=True),
    Column("line", BigInteger, primary_key=True, autoincrement=False),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("column", WORD),
    Column("code", WORD, nullable=False),
    Column("detail", WORD, nullable=False),
)
