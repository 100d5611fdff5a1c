"""Table of runs: long work with its state, so that a lost process loses nothing."""

from sqlalchemy import Column, Index, SmallInteger, Table, text

from loyalty.base.schema import DOCUMENT, ID, INSTANT, METADATA, WORD

runs = Table(
    "runs",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("id", ID, primary_key=True),
    Column("kind", WORD, nullable=False),
    Column("state", WORD, nullable=False),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("created_at", INSTANT, nullable=False),
    Column("started_at", INSTANT),
    Column("ended_at", INSTANT),
    Column("input", DOCUMENT, nullable=False),
    Column("progress", DOCUMENT),
    Column("result", DOCUMENT),
    Index("runs_waiting", "created_at", postgresql_where=text("state IN ('queued', 'running')")),
)
