"""The imports' words: a file that is told in parts, how far it is, and the rows that were rejected."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from msgspec import Struct

from loyalty.base.errors import Conflict, NotFound, Refused, TooLarge

PART_BYTES_MAX = 4 * 1024 * 1024
PARTS_KEPT = timedelta(days=7)  # of an import that nothing is done with


class ImportKind(StrEnum):
    MEMBERS = "members"
    LOTS = "lots"
    STANDINGS = "standings"


class Progress(Struct, frozen=True):
    """How far a file is: all rows up to `read_to` are done."""

    read_to: int = 0  # bytes of the file
    line: int = 0  # lines of the file
    rows: int = 0
    done: int = 0
    unchanged: int = 0  # it was there already
    rejected: int = 0


class Import(Struct, frozen=True):
    """One file. `run_id` is the last run that was started for it; its parts are there until it has ended."""

    id: UUID
    kind: ImportKind
    source: str  # names the former system
    created_at: datetime
    changed_at: datetime
    run_id: UUID | None
    ended_at: datetime | None
    progress: Progress


class Rejection(Struct, frozen=True):
    """Why a row was not taken. Never what it says: that may be about a person."""

    line: int  # of the file, where the row begins; the header is line 1
    position: int  # of several about one row, from 1
    column: str | None  # None: the row as a whole
    code: str
    detail: str


class ImportNotFound(NotFound):
    code: ClassVar[str] = "import_not_found"
    title: ClassVar[str] = "There is no such import."
    remedy: ClassVar[str] = "Take an id from `GET /v1/imports`."


class ImportStarted(Conflict):
    code: ClassVar[str] = "import_started"
    title: ClassVar[str] = "The import has been started: its file stays as it is."
    remedy: ClassVar[str] = "Make another import for another file; what came before is known again."


class ImportIncomplete(Conflict):
    code: ClassVar[str] = "import_incomplete"
    title: ClassVar[str] = "Parts of the file are missing, or were removed after their time."
    remedy: ClassVar[str] = (
        "Put the parts from 1 on without a gap (`missing` is the first), then start again."
    )


class TooManyImports(Conflict):
    code: ClassVar[str] = "too_many_imports"
    title: ClassVar[str] = "So many imports are open already that no further one is."
    remedy: ClassVar[str] = (
        "Start those that are `open` in `GET /v1/imports`; one that is left alone for a week does not count any more."
    )


class PartInvalid(Refused):
    code: ClassVar[str] = "part_invalid"
    title: ClassVar[str] = "The part is not what its number or its digest says."
    remedy: ClassVar[str] = (
        "Number parts from 1 on, and send the SHA-256 of the very bytes of the body in hex."
    )


class ImportTooLarge(TooLarge):
    code: ClassVar[str] = "import_too_large"
    title: ClassVar[str] = "The file is larger than is taken in one import."
    remedy: ClassVar[str] = (
        "Divide the file, each with the header; `bytes_max` is the setting `LOYALTY_IMPORT_BYTES_MAX`."
    )


class FileWrong(Refused):
    """The run has failed with it: nothing of the file can be taken."""

    code: ClassVar[str] = "import_file_wrong"
    title: ClassVar[str] = "The file does not begin with a header that can be understood."
    remedy: ClassVar[str] = "Mend the header as `detail` says, and put the parts of the file once more."
