"""The one metadata that every room's tables.py adds to, and its column types.

Columns, keys and indexes stand in tables.py and are compared with the migrated database by a test; checks,
partitions, grants, policies and triggers stand in the migrations alone.
"""

from sqlalchemy import ARRAY, DateTime, MetaData, Text
from sqlalchemy.dialects.postgresql import JSON, UUID

METADATA = MetaData()

WORD = Text(collation="C")  # keys, codes and whatever is sorted by machines
WORDS = ARRAY(WORD)
INSTANT = DateTime(timezone=True)
DOCUMENT = JSON(none_as_null=True)
ID = UUID(as_uuid=True)
