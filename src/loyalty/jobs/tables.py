"""Tables of the jobs: runs with their state and the places of nightly work, so that a lost process loses nothing."""

from sqlalchemy import Column, Date, Index, SmallInteger, Table, text

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
    Index("runs_of_program", "program_id", "created_at", "id"),
)

job_places = Table(
    "job_places",
    METADATA,
    Column("program_id", ID, primary_key=True),
    Column("cell", SmallInteger, primary_key=True),
    Column("work", WORD, primary_key=True),
    Column("day", Date),  # that is being worked through, or was
    Column("after", ID),  # the last row that is done; null: all are
)
