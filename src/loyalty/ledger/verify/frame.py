"""How verification reads: short snapshots as the application's role, and notes kept outside memory.

One snapshot lasts as long as one range of blocks or one chunk of accounts, so traffic never waits for it.
"""

import asyncio
import contextlib
import sqlite3
import ssl
import struct
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

Connect = Callable[[], AbstractAsyncContextManager[Any]]  # gives asyncpg connections: a pool's `acquire`
Progress = Callable[[str, int, int], None]  # phase, done, of how many

T = TypeVar("T")
U = TypeVar("U")

PAGE = 2_000  # rows handled before others get a turn

# What Python, the decoders and the database say of a value that no books have (of a zone "Europe", that it is a
# directory). Anything else is no fault of a row: an outage, a full disk, a statement that takes too long.
UNREADABLE = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, IsADirectoryError,
    struct.error, asyncpg.DataError,
)  # fmt: skip
OF_THE_CONNECTION = (ssl.SSLError, asyncpg.InterfaceError)  # though some of them are ValueErrors too

# Sets of rows are joined by hash. Taken for small, as all of a program's are, they were compared pair by pair
# (docs/decisions/programs-are-not-counted.md). What is to be looked up row by row says so: LATERAL, OFFSET 0.
_BEGIN = """
SELECT set_config('loyalty.program', $1, true), set_config('statement_timeout', '120s', true),
       set_config('idle_in_transaction_session_timeout', '120s', true), set_config('jit', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true), set_config('work_mem', '16MB', true),
       set_config('enable_memoize', 'off', true), set_config('enable_nestloop', 'off', true),
       set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true),
       set_config('enable_mergejoin', 'on', true), set_config('enable_sort', 'on', true),
       set_config('plan_cache_mode', 'auto', true)
"""


@contextlib.asynccontextmanager
async def snapshot(connect: Connect, program_id: UUID) -> AsyncGenerator[asyncpg.Connection, None]:
    """A connection that sees one state of one program's rows, read only."""
    async with connect() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(_BEGIN, str(program_id))
        yield connection


async def stream(
    connection: asyncpg.Connection, query: str, *arguments: object
) -> AsyncGenerator[list[Any], None]:
    """The rows of a query a page at a time, the event loop given a turn between pages.

    Needs: a transaction.
    """
    cursor = await connection.cursor(query, *arguments)
    while rows := await cursor.fetch(PAGE):
        yield rows
        await asyncio.sleep(0)


def read(decode: Callable[[str], T], text: str, otherwise: U) -> T | U:
    """What a column says; `otherwise` where it cannot be read, so that it is like nothing that was decided."""
    try:
        return decode(text)
    except UNREADABLE:
        return otherwise


class _Settings(msgspec.Struct):
    zone: str


_SETTINGS = "SELECT settings::text FROM configurations WHERE program_id = $1 ORDER BY number DESC LIMIT 1"
_settings = msgspec.json.Decoder(_Settings).decode


async def zone_of(connection: asyncpg.Connection, program_id: UUID) -> ZoneInfo | None:
    """The program's zone, None before its first configuration; UTC where that cannot be read, and so is named."""
    settings = await connection.fetchval(_SETTINGS, program_id)
    return None if settings is None else read(_zone, settings, ZoneInfo("UTC"))


def _zone(settings: str) -> ZoneInfo:
    return ZoneInfo(_settings(settings).zone)


Ids = tuple[UUID, UUID]  # a range of ids: above the first, up to the second
RANGE = 10_000  # decisions of a range
LAST = UUID(int=2**128 - 1)

_UNTIL = (
    "SELECT id FROM decisions WHERE program_id = $1 AND cell = $2 AND id > $3 ORDER BY id OFFSET $4 LIMIT 1"
)


async def until(connection: asyncpg.Connection, program_id: UUID, cell: int, after: UUID) -> UUID:
    """Where a range of a lane's ids ends that begins behind `after`; the last one has no end but that of all ids."""
    return await connection.fetchval(_UNTIL, program_id, cell, after, RANGE - 1) or LAST


Counted = dict[tuple[UUID, str, str], int]  # owner, rule, period: points
Stocked = dict[str, int]  # reward: how many
Key = tuple[UUID, str, str]  # of a counter: owner, period, rule


# Decisions about what is done by hand: a row beside the ledger must say what the newest of them says.
BY_HAND = (
    "propose", "approve", "reject", "freeze", "unfreeze", "enrol", "identifier", "change_member", "set_pin", "erase"
)  # fmt: skip

# Decisions about the program as a whole, in its own lane.
OF_PROGRAM = ("publish", "advance_clock", "move_clock")

# A member comes with a purchase, as SQL.
COMES = """strpos(detail, '"enrolled":true') > 0"""
# A member's tier moves, or how it is held, as SQL.
STOOD = """strpos(detail, '"stood"') > 0"""

# What must be read of a decision's detail, as SQL.
TELLING = (
    "CASE WHEN "
    + " OR ".join(f"""strpos(detail, '"{field}"') > 0""" for field in ("counted", "used", "stocked", "stood"))
    + f" OR {COMES} OR kind IN {BY_HAND} THEN detail END"
)


Change = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]  # of a figure: any number of them can be summed


class Changes(msgspec.Struct, frozen=True):
    """What a decision's detail says of figures that stand outside the chain."""

    counted: tuple[tuple[str, str, Change], ...] = ()  # against caps of its member: rule, period, points
    used: tuple[tuple[UUID, str, str, Change], ...] = ()  # against other limits: whose, which, period, points
    stocked: tuple[tuple[str, Change], ...] = ()  # reward, by how much its stock changed


read_changes = msgspec.json.Decoder(Changes).decode  # raises MsgspecError when the detail cannot be read


def count_in(sums: Counted, member_id: UUID | None, changes: Changes) -> None:
    """Add what a decision counted, below zero what it gave back: against its member's caps, and against limits of
    whom it names.
    """
    counted = [] if member_id is None else [(member_id, *one) for one in changes.counted]
    for owner_id, rule, period, points in (*counted, *changes.used):
        key = (owner_id, rule, period)
        sums[key] = sums.get(key, 0) + points


def stock_in(sums: Stocked, changes: Changes) -> None:
    """Add what a decision brought into stocks, below zero what it took."""
    for reward, change in changes.stocked:
        sums[reward] = sums.get(reward, 0) + change


class Notes:
    """What must be remembered from the chain until the accounts are read, in a temporary file of SQLite.

    A program with many members does not fit in memory twice; here it need not fit once.
    """

    def __init__(self) -> None:
        self._notes = sqlite3.connect(
            "", isolation_level=None
        )  # "": a file that nobody sees, gone when closed
        self._notes.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;
            CREATE TABLE counters (cell INT, owner BLOB, period TEXT, rule TEXT, points INT,
                                   PRIMARY KEY (cell, owner, period, rule)) WITHOUT ROWID;
            CREATE TABLE said (cell INT, about TEXT, key TEXT, says TEXT, PRIMARY KEY (cell, about, key)) WITHOUT ROWID;
            CREATE TABLE transfers (decision BLOB PRIMARY KEY, net INT) WITHOUT ROWID;
            BEGIN;
            """
        )
        self._stocks: Stocked = {}
        self._of_program: dict[str, dict[UUID, str | bytes]] = {kind: {} for kind in OF_PROGRAM}

    def close(self) -> None:
        self._notes.close()

    def counted(self, cell: int, sums: Counted) -> None:
        """Points that decisions counted against caps. Many at once are noted much quicker than a few."""
        self._notes.executemany(
            "INSERT INTO counters VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (cell, owner, period, rule) DO UPDATE SET points = points + excluded.points",
            sorted(
                (cell, owner.bytes, period, rule, sums[owner, rule, period]) for owner, rule, period in sums
            ),
        )

    def counters(self, cell: int, after: Key, until: Key | None) -> dict[tuple[bytes, str, str], int]:
        """What was noted of the counters behind `after`, up to `until` if there is one: owner, period, rule."""
        query = "SELECT owner, period, rule, points FROM counters WHERE cell = ? AND (owner, period, rule) > (?, ?, ?)"
        bounds: list[object] = [cell, after[0].bytes, *after[1:]]
        if until is not None:
            query += " AND (owner, period, rule) <= (?, ?, ?)"
            bounds += [until[0].bytes, *until[1:]]
        return {(owner, *rest): points for owner, *rest, points in self._notes.execute(query, bounds)}

    def stocked(self, sums: Stocked) -> None:
        """How many of each reward decisions brought and took; a catalogue is small."""
        for reward, change in sums.items():
            self._stocks[reward] = self._stocks.get(reward, 0) + change

    def stocks(self) -> Stocked:
        return dict(self._stocks)

    def decided(self, kind: str, id: UUID, detail: str | bytes) -> None:
        """A decision about the whole program: of publications, which are few, all are kept, of others the newest."""
        known = self._of_program[kind]
        if kind != "publish":
            known.clear()
        known[id] = detail

    def of_program(self, kind: str) -> list[tuple[UUID, str | bytes]]:
        """Ids and details of what was noted so, in the order of ids."""
        return sorted(self._of_program[kind].items())

    def said(self, cell: int, about: str, key: str, says: str) -> None:
        """What the newest decision about a row says of it."""
        self._notes.execute(
            "INSERT INTO said VALUES (?, ?, ?, ?) ON CONFLICT (cell, about, key) DO UPDATE SET says = excluded.says",
            (cell, about, key, says),
        )

    def said_of(self, cell: int, about: str, ids: Ids) -> dict[str, str]:
        """The same by key, of the rows of some members or proposals: their ids begin the keys."""
        # '!' is the first thing behind an id and the space that may follow it.
        query = "SELECT key, says FROM said WHERE cell = ? AND about = ? AND key > ?"
        bounds: list[object] = [cell, about, f"{ids[0]}!"]
        if ids[1] != LAST:
            query += " AND key < ?"
            bounds.append(f"{ids[1]}!")
        return dict(self._notes.execute(query, bounds).fetchall())

    def transferred(self, nets: dict[UUID, int]) -> None:
        """Points that a decision's entries put into `transferred`, less what they took out."""
        self._notes.executemany(
            "INSERT INTO transfers VALUES (?, ?) ON CONFLICT (decision) DO UPDATE SET net = net + excluded.net",
            ((decision.bytes, net) for decision, net in nets.items()),
        )

    def one_sided(self) -> Iterable[tuple[UUID, int]]:
        """Decisions whose transfers do not cancel over all lanes."""
        for decision, net in self._notes.execute("SELECT decision, net FROM transfers WHERE net <> 0"):
            yield UUID(bytes=decision), net
