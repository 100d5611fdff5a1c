"""All SQL of the road: take the heads, read the book, write the batch.

On asyncpg itself: arrays in, records out. The heads are locked by a statement of their own; everything a batch
decides on is read by statements that begin after it (docs/ledger.md, law 12). Plans are made once, perhaps over
empty tables, and must stay right over full ones: keys are looked up one by one (LATERAL … OFFSET 0 keeps the
planner from turning the join round), changes are upserts, which always go by the key's own index, and the
connections of the road switch sequential scans, hash and merge joins off.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import astuple

from loyalty.base.database import DatabaseUnavailable, ServerBusy
from loyalty.ledger.chain import block_hash
from loyalty.ledger.types import LOTS_MAX, Account, Deadline, Decision, Entry, HoldState, Lot, PlacedHold
from loyalty.members.cells import cell_of
from loyalty.members.types import Identifier, IdentifierKind, Member, MemberStatus
from loyalty.posting.book import (
    Activity,
    ActivityKey,
    AuditLine,
    Book,
    Freeze,
    Keys,
    Lane,
    Notice,
    Pin,
    Proposal,
    Stands,
    StoredDecision,
    StoredRecord,
)
from loyalty.posting.commands import Submission
from loyalty.posting.configuration import Configuration, Published
from loyalty.posting.detail import ReturnedPart
from loyalty.posting.returned import Part
from loyalty.programs.types import ProgramNotFound, SandboxClock
from loyalty.rewards.types import Redemption, RedemptionState
from loyalty.rules.types import CounterKey
from loyalty.tiers.types import Day, Manual, Standing, Step

GENESIS = bytes(32)
ACQUIRE_S = 2.0  # how long a free connection is waited for
ABANDON_S = 2.0  # how long a rollback may take

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

CONNECTION_SETTINGS = {
    "application_name": "loyalty-road",
    "timezone": "UTC",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_sort": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}


# What the moment is to blame for: running again may go well.
OF_THE_MOMENT = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the driver, of a connection that was lost while it was used
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,  # disk or memory full, too many connections
    asyncpg.ReadOnlySQLTransactionError,  # a server that is about to change its role
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    OSError,
    TimeoutError,
)
TOO_SLOW = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)


def may_be_run_again(error: Exception) -> bool:
    """Whether the moment was at fault, not what we wrote: asyncpg says ValueError of a value it cannot send."""
    return isinstance(error, OF_THE_MOMENT) and not isinstance(error, ValueError)


@contextlib.asynccontextmanager
async def connected(pool: asyncpg.Pool) -> AsyncGenerator[Connection, None]:
    """A connection of the pool. Raises: ServerBusy when none is free in time."""
    try:
        connection = await pool.acquire(timeout=ACQUIRE_S)
    except TimeoutError:
        raise ServerBusy from None
    try:
        yield connection
    finally:
        await pool.release(connection)


async def begin(connection: Connection, program_id: UUID, cells: Sequence[int]) -> None:
    """Open the batch's transaction and hold its heads, one by one, ascending. Raises: ProgramNotFound."""
    status = await connection.execute(_begin(program_id, cells))
    if status != "SELECT 1":  # of the last; a program has all its heads or none
        raise ProgramNotFound


async def begin_after(connection: Connection, program_id: UUID, lane: Lane) -> bool:
    """Open the batch's transaction and hold its one head; whether the lane is still as `lane` says."""
    newest = (
        f"SELECT FROM (SELECT hash FROM blocks WHERE program_id = '{program_id}' AND cell = {lane.cell:d} "
        f"ORDER BY number DESC LIMIT 1) b WHERE hash = '\\x{lane.hash.hex()}'"
    )
    return await connection.execute(f"{_begin(program_id, (lane.cell,))}; {newest}") == "SELECT 1"


def _begin(program_id: UUID, cells: Sequence[int]) -> str:
    heads = (
        f"SELECT FROM heads WHERE program_id = '{program_id}' AND cell = {cell:d} FOR UPDATE"
        for cell in sorted(cells)
    )
    return "; ".join(("BEGIN", f"SET LOCAL loyalty.program = '{program_id}'", *heads))


async def abandon(connection: Connection) -> None:
    """Give the heads back without a trace; a lost connection has done so itself.

    A server that stands still does not hear it: the connection is cut, and whoever waits for an answer is not kept.
    """
    with contextlib.suppress(
        asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError
    ):
        try:
            async with asyncio.timeout(ABANDON_S):
                await connection.execute("ROLLBACK")
        except TimeoutError:
            connection.terminate()


async def bound(connection: Connection, transaction_ms: int) -> None:
    """Let the server end a transaction that lasts longer, whatever it is doing; PostgreSQL 17 and newer can.

    A process that stands still between preparing a statement and running it is not idle to the server: no other limit
    would ever take the heads out of its hands.
    """
    if connection.get_server_version().major >= 17:
        await connection.execute(f"SET transaction_timeout = {transaction_ms:d}")


async def left_clean(connection: Connection) -> None:
    """Refuse a connection back into the pool that still is in a transaction: the pool then closes it."""
    if connection.is_in_transaction():
        raise asyncpg.InterfaceError("returned inside a transaction")


ACCOUNT = """a.id, a.owner_id, a.points_currency, a.seq, a.pending, a.available, a.held, a.debt, a.active_at,
    a.next_due_at, a.first_entry_id, a.last_entry_id, a.slides, a.idles_at"""
LOT = """ROW(l.id, l.account_id, l.parent_lot_id, l.issuing_entry_id, l.decision_id, l.points, l.vintage_at,
    l.policy_number, l.issued_activates_at, l.issued_expires_at, l.activates_at, l.expires_at, l.arrived_at,
    l.slides, l.issued, l.pending, l.available, l.held, l.redeemed, l.expired, l.revoked, l.transferred, l.deficit,
    l.was_expired)"""
HOLD = """ROW(h.id, h.account_id, h.held_at, h.lapses_at, h.parts::text, h.good_until, h.captured, h.state,
    h.ended_at, h.owner_id, h.points_currency, h.points, h.deadlines::text, h.reference, h.till, h.location, h.reward,
    h.quantity, h.priced_by)"""

STANDING = """s.judged_by, s.tier_set, s.joined_on, s.earned, s.since, s.lifetime, s.manual::text, s.falls_at,
    s.next_review_at"""
DAY = "d.day, d.spend_minor, d.visits, d.points::text"

# Rows are asked for in the order of the index that is meant, a single one as a range: where sorting is dear, no other
# index will do. In a young shop the planner believes what was counted when there was next to nothing, and of two
# indexes that begin alike it takes one that goes through the whole lane for each row.
IDENTIFIED = (
    "SELECT * FROM identifiers WHERE program_id = $1 AND kind = u.kind AND value BETWEEN u.value AND u.value"
    " ORDER BY value OFFSET 0"
)


def _full(most: str) -> str:
    """The owners of `accs` who have so many open lots, or more.

    A lot is open while it has a point: who has fewer points is not counted, and nobody beyond that number.
    """
    return f"""ARRAY(SELECT o.owner_id
        FROM (SELECT owner_id, cell, array_agg(id) AS accounts FROM accs GROUP BY owner_id, cell
              HAVING sum(pending + available + held) >= {most}::integer) o
        WHERE {most}::integer <= (SELECT count(*) FROM (
            SELECT FROM unnest(o.accounts) a(id), LATERAL (
                SELECT FROM lots WHERE program_id = $1 AND cell = o.cell
                AND account_id = a.id AND is_open ORDER BY vintage_at OFFSET 0) l
            LIMIT {most}::integer) v))"""


LOAD = f"""
WITH who AS MATERIALIZED (
    SELECT i.kind, i.value, i.member_id, i.cell
    FROM unnest($7::text[], $8::text[]) u(kind, value), LATERAL ({IDENTIFIED}) i
), held AS MATERIALIZED (
    SELECT h.* FROM unnest($13::uuid[], $14::smallint[]) u(id, cell), LATERAL (
        SELECT * FROM holds WHERE program_id = $1 AND cell = u.cell AND id = u.id OFFSET 0) h
), ids AS MATERIALIZED (
    SELECT member_id, cell FROM who
    UNION SELECT id, cell FROM unnest($9::uuid[], $10::smallint[]) u(id, cell)
    UNION SELECT owner_id, cell FROM held
), accs AS MATERIALIZED (
    SELECT a.* FROM ids, LATERAL (
        SELECT * FROM accounts WHERE program_id = $1 AND cell = ids.cell AND owner_id = ids.member_id
        ORDER BY points_currency OFFSET 0) a
)
SELECT
  ARRAY(SELECT ROW(b.cell, b.number, b.hash, b.last_id, b.recorded_at, b.last_position)
        FROM unnest($2::smallint[]) c(cell), LATERAL (
            SELECT * FROM blocks WHERE program_id = $1 AND blocks.cell = c.cell ORDER BY number DESC LIMIT 1) b),
  (SELECT number FROM configurations WHERE program_id = $1 ORDER BY number DESC LIMIT 1),
  (SELECT ROW(now_at, moving_to, moved_by) FROM sandbox_clocks WHERE program_id = $1),
  ARRAY(SELECT ROW(r.scope, r.key, r.fingerprint, r.status, r.decision_cell, r.decision_id, r.refusal)
        FROM unnest($3::uuid[], $4::text[]) u(scope, key), LATERAL (
            SELECT * FROM idempotency_records WHERE program_id = $1 AND scope = u.scope AND key = u.key OFFSET 0) r),
  ARRAY(SELECT ROW(k.kind, k.source, k.external_id, k.state, k.activity_id, k.cell, k.decision_id, k.content_digest)
        FROM unnest($5::text[], $6::text[], $12::text[]) u(kind, source, external_id), LATERAL (
            SELECT * FROM activity_keys WHERE program_id = $1 AND kind = u.kind AND source = u.source
               AND external_id BETWEEN u.external_id AND u.external_id
            ORDER BY external_id OFFSET 0) k),
  ARRAY(SELECT ROW(kind, value, member_id, cell) FROM who),
  ARRAY(SELECT ROW(m.id, m.status, m.enrolled_at, m.merged_into)
        FROM ids, LATERAL (
            SELECT * FROM members WHERE program_id = $1 AND cell = ids.cell AND id = ids.member_id OFFSET 0) m),
  ARRAY(SELECT ROW({ACCOUNT}) FROM accs a),
  ARRAY(SELECT ROW(n.owner_id, n.rule_id, n.period, n.points)
        FROM ids, LATERAL (
            SELECT * FROM counters WHERE program_id = $1 AND cell = ids.cell AND owner_id = ids.member_id
               AND period = ANY($11::text[]) OFFSET 0) n),
  ARRAY(SELECT {HOLD} FROM held h),
  ARRAY(SELECT ROW(s.member_id, {STANDING})
        FROM ids, LATERAL (
            SELECT * FROM standings WHERE program_id = $1 AND cell = ids.cell AND standings.member_id = ids.member_id
            OFFSET 0) s
        WHERE $15),
  {_full("$16")}
"""


class Loaded(msgspec.Struct):
    """What the first read under the heads found, before a book is made of it."""

    lanes: dict[int, Lane]
    config_number: int | None
    clock: SandboxClock | None
    rest: tuple[Any, ...]


async def load(
    connection: Connection, program_id: UUID, cells: Sequence[int], keys: Keys, total: int
) -> Loaded:
    """Read what the commands name, in one statement that begins after the heads are held."""
    records, names, identifiers, members, holds = (
        list(keys.idempotency),
        list(keys.activity_names),
        list(keys.identifiers),
        list(keys.members),
        list(keys.holds),
    )
    row = await connection.fetchrow(
        LOAD,
        program_id,
        list(cells),
        [scope for scope, _ in records],
        [key for _, key in records],
        [name[0] for name in names],
        [name[1] for name in names],
        [identifier.kind.value for identifier in identifiers],
        [identifier.value for identifier in identifiers],
        [*members, *keys.actors],
        [*(cell_of(member, total) for member in members), *(0 for _ in keys.actors)],
        list(keys.periods),
        [name[2] for name in names],
        holds,
        [cell_of(hold, total) for hold in holds],
        keys.standings,
        LOTS_MAX,
    )
    assert row is not None
    lanes = {cell: Lane(cell, 0, GENESIS, None, None, 0) for cell in cells}
    for cell, number, hash, last_id, recorded_at, position in row[0]:
        lanes[cell] = Lane(cell, number, hash, last_id, recorded_at, position)
    return Loaded(lanes, row[1], None if row[2] is None else SandboxClock(*row[2]), tuple(row)[3:])


def fill(book: Book, keys: Keys, rest: tuple[Any, ...]) -> None:
    """Put what `load` read into the book; what was asked for and not found is known to be missing."""
    records, names, identifiers, members, accounts, counters, holds, standings, full = rest
    for key in keys.idempotency:
        book.records.setdefault(key, None)
    for scope, key, fingerprint, status, cell, decision_id, refusal in records:
        stored = StoredRecord(
            fingerprint, status, None if decision_id is None else (cell, decision_id), refusal
        )
        if book.records.get((scope, key)) is None:
            book.records[scope, key] = stored
    for name in keys.activity_names:
        book.names.setdefault(name, None)
    for kind, source, external_id, *held in names:
        _hold_name(book, (kind, source, external_id), ActivityKey(*held))
    for identifier in keys.identifiers:
        book.identifiers.setdefault(identifier, None)
    for kind, value, member_id, _ in identifiers:
        identifier = Identifier(IdentifierKind(kind), value)
        if identifier not in book.new_identifiers and member_id not in book.removed_identifiers:
            book.identifiers[identifier] = member_id
    for id in keys.members:
        book.members.setdefault(id, None)
    _fill_members(book, members)
    for row in accounts:
        account = Account(*row)
        book.accounts.setdefault((account.owner_id, account.points_currency), account)
        book.lot_owner.setdefault(account.id, account.owner_id)
    book.full.update(full)
    for id in (*(row[0] for row in members), *keys.actors):
        book.counted.setdefault(id, set()).update(keys.periods)
        book.accounted.add(id)
    for owner_id, rule_id, period, points in counters:
        book.counters.setdefault((owner_id, CounterKey(rule_id, period)), points)
    _fill_holds(book, holds)
    for id in keys.holds:
        book.holds.setdefault(id, None)
    if keys.standings:
        book.ranked.update(row[0] for row in members)
    for member_id, judged_by, *row in standings:
        stands = Stands(standing_of(*row), judged_by)
        book.standings.setdefault((member_id, stands.standing.tier_set), stands)


def _fill_holds(book: Book, rows: Iterable[tuple[Any, ...]]) -> None:
    for row in rows:
        if book.holds.get(row[0]) is None:
            book.put_hold(hold_of(row))


_parts = msgspec.json.Decoder(tuple[tuple[UUID, int], ...]).decode
_deadlines = msgspec.json.Decoder(tuple[Deadline, ...]).decode


def hold_of(row: tuple[Any, ...]) -> PlacedHold:
    """A hold of a row of HOLD."""
    values = dict(zip(PlacedHold.__struct_fields__, row, strict=True))
    values["parts"], values["deadlines"] = _parts(values["parts"]), _deadlines(values["deadlines"])
    values["state"] = HoldState(values["state"])
    return PlacedHold(**values)


def _hold_name(book: Book, name: tuple[str, str, str], held: ActivityKey) -> None:
    if book.names.get(name) is None:
        book.names[name] = held
    if name[0] == "purchase":
        book.names_of[held.activity_id] = name


DEEP = f"""
WITH acts AS MATERIALIZED (
    SELECT a.* FROM unnest($2::uuid[], $3::smallint[]) u(id, cell), LATERAL (
        SELECT * FROM activities WHERE program_id = $1 AND cell = u.cell AND id = u.id OFFSET 0) a
), wanted AS MATERIALIZED (
    SELECT id, cell FROM unnest($4::uuid[], $5::smallint[]) u(id, cell)
    UNION SELECT decision_id, cell FROM acts
    UNION SELECT a.awarded_by, c.cell FROM acts a, unnest($8::smallint[]) c(cell)
), found AS MATERIALIZED (
    SELECT d.* FROM wanted w, LATERAL (
        SELECT * FROM decisions WHERE program_id = $1 AND cell = w.cell AND id = w.id OFFSET 0) d
    WHERE d.kind <> 'counterpart'
), reds AS MATERIALIZED (
    SELECT r.* FROM unnest($11::uuid[], $12::smallint[]) u(id, cell), LATERAL (
        SELECT * FROM redemptions WHERE program_id = $1 AND cell = u.cell AND id = u.id OFFSET 0) r
), props AS MATERIALIZED (
    SELECT p.* FROM unnest($18::uuid[], $19::smallint[]) u(id, cell), LATERAL (
        SELECT * FROM proposals WHERE program_id = $1 AND cell = u.cell AND id = u.id OFFSET 0) p
), owners AS MATERIALIZED (
    SELECT a.member_id AS id, d.cell FROM acts a JOIN found d ON d.id = a.awarded_by
    WHERE a.member_id IS NOT NULL
    UNION SELECT member_id, cell FROM reds
    UNION SELECT member_id, cell FROM props
    UNION SELECT id, cell FROM unnest($16::uuid[], $17::smallint[]) u(id, cell)
), accs AS MATERIALIZED (
    SELECT a.* FROM owners o, LATERAL (
        SELECT * FROM accounts WHERE program_id = $1 AND cell = o.cell AND owner_id = o.id
        ORDER BY points_currency OFFSET 0) a
), whole AS MATERIALIZED (
    SELECT id, cell FROM accs UNION SELECT id, cell FROM unnest($6::uuid[], $7::smallint[]) u(id, cell)
)
SELECT
  ARRAY(SELECT ROW(k.kind, k.source, k.external_id, k.state, k.activity_id, k.cell, k.decision_id, k.content_digest)
        FROM unnest($2::uuid[]) a(id), LATERAL (
            SELECT * FROM activity_keys WHERE program_id = $1 AND activity_id = a.id AND kind = 'purchase' OFFSET 0) k),
  ARRAY(SELECT ROW(id, decision_id, awarded_by, member_id, occurred_at, recorded_at, location, channel, till,
                   amount_minor, content::text) FROM acts),
  ARRAY(SELECT ROW(id, kind, detail, answer_status, answer) FROM found),
  ARRAY(SELECT {LOT} FROM found d, LATERAL (
            SELECT * FROM lots WHERE program_id = $1 AND cell = d.cell AND decision_id = d.id OFFSET 0) l),
  ARRAY(SELECT {LOT}
        FROM whole a, LATERAL (
            SELECT * FROM lots WHERE program_id = $1 AND cell = a.cell AND account_id = a.id AND is_open
            ORDER BY vintage_at OFFSET 0) l),
  ARRAY(SELECT ROW({ACCOUNT}) FROM accs a),
  ARRAY(SELECT ROW(m.id, m.status, m.enrolled_at, m.merged_into) FROM owners o, LATERAL (
            SELECT * FROM members WHERE program_id = $1 AND cell = o.cell AND id = o.id OFFSET 0) m),
  ARRAY(SELECT {HOLD}
        FROM whole a, LATERAL (
            SELECT * FROM holds WHERE program_id = $1 AND cell = a.cell AND account_id = a.id AND state = 'open'
            ORDER BY held_at OFFSET 0) h),
  ARRAY(SELECT {LOT} FROM unnest($9::uuid[], $10::smallint[]) u(id, cell), LATERAL (
            SELECT * FROM lots WHERE program_id = $1 AND cell = u.cell AND id BETWEEN u.id AND u.id
            ORDER BY id OFFSET 0) l),
  ARRAY(SELECT ROW(a.id, r.amount_minor, r.complete, r.lines::text, r.taken::text, r.given::text) FROM acts a, LATERAL (
            SELECT * FROM returns WHERE program_id = $1 AND cell = a.cell AND purchase_id = a.id
            ORDER BY id OFFSET 0) r),
  ARRAY(SELECT ROW(id, member_id, reward, quantity, points_currency, points, money_minor, priced_by, parts::text,
                   location, channel, till, reference, state, redeemed_at, changed_at, decision_id, entry_id,
                   changed_by)
        FROM reds),
  ARRAY(SELECT {LOT} FROM reds r, LATERAL json_array_elements(r.parts) p, LATERAL (
            SELECT * FROM lots WHERE program_id = $1 AND cell = r.cell AND id BETWEEN (p->>0)::uuid AND (p->>0)::uuid
            ORDER BY id OFFSET 0) l),
  ARRAY(SELECT ROW(s.reward, s.stock)
        FROM (SELECT unnest($13::text[]) AS reward UNION SELECT reward FROM reds WHERE reward IS NOT NULL) u, LATERAL (
            SELECT * FROM stocks WHERE program_id = $1 AND reward = u.reward OFFSET 0) s),
  ARRAY(SELECT ROW(u.reward, (
            SELECT sum(quantity) FROM (
                SELECT quantity FROM reservations
                WHERE program_id = $1 AND reward = u.reward AND ends_at > $20 AND hold_id <> ALL($32::uuid[])
                ORDER BY ends_at OFFSET 0) v))
        FROM unnest($13::text[]) u(reward)),
  ARRAY(SELECT ROW(i.member_id, i.kind)
        FROM unnest($14::uuid[], $15::smallint[]) u(id, cell), LATERAL (
            SELECT * FROM identifiers WHERE program_id = $1 AND cell = u.cell AND member_id = u.id OFFSET 0) i),
  ARRAY(SELECT id FROM owners),
  ARRAY(SELECT ROW(f.member_id, f.points_currency, f.frozen, f.reason, f.since, f.decision_id)
        FROM owners o, LATERAL (
            SELECT * FROM freezes WHERE program_id = $1 AND cell = o.cell AND member_id = o.id OFFSET 0) f),
  ARRAY(SELECT ROW(c.member_id, c.changed_at) FROM owners o, LATERAL (
            SELECT * FROM member_changes WHERE program_id = $1 AND cell = o.cell AND member_id = o.id OFFSET 0) c),
  ARRAY(SELECT ROW(id, kind, member_id, points_currency, points, reason, reference, proposed_by_kind, proposed_by,
                   proposed_at, lapses_at, proposed_in, state, decided_by, decided_at, decided_in) FROM props),
  ARRAY(SELECT ROW(n.member_id, n.version, n.hash, n.failed, n.locked_until) FROM owners o, LATERAL (
            SELECT * FROM member_pins WHERE program_id = $1 AND cell = o.cell AND member_id = o.id OFFSET 0) n),
  ARRAY(SELECT ROW(d.member_id, {DAY})
        FROM unnest($21::uuid[], $22::smallint[], $23::date[]) u(id, cell, since), LATERAL (
            SELECT * FROM member_days WHERE program_id = $1 AND cell = u.cell AND member_id = u.id AND day >= u.since
            OFFSET 0) d),
  ARRAY(SELECT {LOT} FROM unnest($24::uuid[], $25::smallint[], $26::timestamptz[]) u(id, cell, since), LATERAL (
            SELECT * FROM lots WHERE program_id = $1 AND cell = u.cell AND account_id = u.id AND expired > 0
               AND expires_at > u.since
            OFFSET 0) l),
  ARRAY(SELECT ROW(n.member_id, n.kind, n.about, n.day, n.days_before)
        FROM unnest($27::uuid[], $28::smallint[], $29::date[]) u(id, cell, night), LATERAL (
            SELECT * FROM notices WHERE program_id = $1 AND cell = u.cell AND member_id = u.id
               AND day - days_before = u.night
            OFFSET 0) n),
  ARRAY(SELECT ROW(t.member_id, t.decision_id, t.tier_set, t.position, t.at, t.after)
        FROM unnest($30::uuid[], $31::smallint[]) u(id, cell), LATERAL (
            SELECT * FROM tier_moves WHERE program_id = $1 AND cell = u.cell AND member_id = u.id OFFSET 0) t),
  {_full("$33")}
"""


_units = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode
_points = msgspec.json.Decoder(tuple[int, ...]).decode
_by_currency = msgspec.json.Decoder(dict[str, int]).decode
_manual = msgspec.json.Decoder(Manual).decode


async def load_deep(connection: Connection, book: Book, keys: Keys) -> None:
    """Read what only the first read could show, under the same heads, into the book."""
    decisions, open_lots = list(keys.decisions), list(keys.open_lots)
    # An id does not tell the cell of its purchase: it is looked for in every lane of the batch.
    activities = [(cell, id) for id in {id for _, id in keys.activities} for cell in book.lanes]
    redemptions, identified = list(keys.redemptions), list(keys.identified)
    owners, proposals = list(keys.owners), list(keys.proposals)
    row = await connection.fetchrow(
        DEEP,
        book.program_id,
        [id for _, id in activities],
        [cell for cell, _ in activities],
        [id for _, id in decisions],
        [cell for cell, _ in decisions],
        open_lots,
        [cell_of(book.lot_owner[id], book.cells) for id in open_lots],
        list(book.lanes),
        [id for _, id in keys.lots],
        [cell for cell, _ in keys.lots],
        [id for _, id in redemptions],
        [cell for cell, _ in redemptions],
        list(keys.stocks),
        identified,
        [cell_of(id, book.cells) for id in identified],
        owners,
        [cell_of(id, book.cells) for id in owners],
        proposals,
        [cell_of(id, book.cells) for id in proposals],
        book.now,
        list(keys.days),
        [cell_of(id, book.cells) for id in keys.days],
        list(keys.days.values()),
        list(keys.expired),
        [cell_of(book.lot_owner[id], book.cells) for id in keys.expired],
        list(keys.expired.values()),
        [id for id, _ in keys.noticed],
        [cell_of(id, book.cells) for id, _ in keys.noticed],
        [night for _, night in keys.noticed],
        list(keys.steps),
        [cell_of(id, book.cells) for id in keys.steps],
        [id for reward in keys.stocks for id in book.reservations.get(reward, ())],
        LOTS_MAX,
    )
    assert row is not None
    for kind, source, external_id, *held in row[0]:
        _hold_name(book, (kind, source, external_id), ActivityKey(*held))
    for _, id in activities:
        book.activities.setdefault(id, None)
    returns: dict[UUID, list[Part]] = {}
    for purchase_id, amount_minor, complete, lines, taken, given in row[9]:
        part = ReturnedPart(purchase_id, amount_minor, complete, _units(lines))
        returns.setdefault(purchase_id, []).append(Part(part, _points(taken), _points(given)))
    for values in row[1]:
        activity = Activity(*values)
        book.returns.setdefault(activity.id, tuple(returns.get(activity.id, ())))
        if book.activities.get(activity.id) is None:
            book.activities[activity.id] = activity
    for values in row[2]:
        book.decisions.setdefault(values[0], StoredDecision(*values))
    for values in (*row[3], *row[4], *row[8], *row[11], *row[21]):
        lot = Lot(*values)
        book.lots.setdefault(lot.account_id, {}).setdefault(lot.id, lot)
    for values in row[5]:
        account = Account(*values)
        book.accounts.setdefault((account.owner_id, account.points_currency), account)
        book.lot_owner.setdefault(account.id, account.owner_id)
        book.lots_complete.add(account.id)
    book.full.update(row[24])
    _fill_members(book, row[6])
    _fill_holds(book, row[7])
    book.accounted.update(id for id, *_ in row[6])
    book.lots_complete.update(open_lots)
    book.expired_since.update(keys.expired)
    for _, id in redemptions:
        book.redemptions.setdefault(id, None)
    for values in row[10]:
        redemption = _redemption(*values)
        if book.redemptions.get(redemption.id) is None:
            book.redemptions[redemption.id] = redemption
    if 0 in book.lanes:
        # Without the head of the program's own lane what was read of a stock is not to be relied on.
        for reward in keys.stocks:
            if reward not in dict(row[12]):
                book.stocks.setdefault(reward, 0)
        for reward, stock in row[12]:
            book.stocks.setdefault(reward, stock)
        for reward, quantity in row[13]:
            book.set_aside.setdefault(reward, quantity or 0)
    kinds: dict[UUID, set[str]] = {id: set() for id in identified}
    for id, kind in row[14]:
        kinds[id].add(kind)
    for id, found in kinds.items():
        book.kinds.setdefault(id, frozenset(found))
    book.owners.update(row[15])
    for member_id, points_currency, *freeze in row[16]:
        book.freezes.setdefault((member_id, points_currency), Freeze(*freeze))
    for member_id, changed_at in row[17]:
        book.changes.setdefault(member_id, changed_at)
    for id in proposals:
        book.proposals.setdefault(id, None)
    for values in row[18]:
        if book.proposals.get(values[0]) is None:
            book.proposals[values[0]] = Proposal(*values)
    for member_id, *pin in row[19]:
        book.pins.setdefault(member_id, Pin(*pin))
    days: dict[UUID, dict[date, Day]] = {id: {} for id in keys.days}
    for member_id, *values in row[20]:
        day = day_of(*values)
        days[member_id][day.on] = day
    for id, found in days.items():
        # What this batch or the one before it did is known already, and all of it lies in what was read then.
        book.days[id] = found | book.days.get(id, {})
        book.days_since[id] = min(keys.days[id], book.days_since.get(id, date.max))
    book.noticed.update(keys.noticed)
    book.stepped.update(keys.steps)
    for member_id, decision_id, tier_set, position, at, after in row[23]:
        book.steps.setdefault(member_id, {})[decision_id, tier_set, position] = Step(at, after)
    for member_id, *notice in row[22]:
        book.notices.setdefault(member_id, set()).add(Notice(*notice))


async def load_more(connection: Connection, book: Book, keys: Keys) -> None:
    """Read what a decision missed, under the same heads, into the book."""
    if keys.deep:
        await load_deep(connection, book, keys)
    if keys.shallow:
        loaded = await load(connection, book.program_id, list(book.lanes), keys, book.cells)
        fill(book, keys, loaded.rest)


def _redemption(*values: Any) -> Redemption:
    """A row of redemptions in the order of the Struct's fields."""
    row = list(values)
    row[8] = tuple((UUID(lot), points) for lot, points in msgspec.json.decode(row[8]))
    row[13] = RedemptionState(row[13])
    return Redemption(*row)


def day_of(on: date, spend_minor: int, visits: int, points: str) -> Day:
    """A day of a row of DAY."""
    return Day(on, spend_minor, visits, _by_currency(points))


def standing_of(
    tier_set: str,
    joined_on: date,
    earned: str | None,
    since: datetime | None,
    lifetime: str | None,
    manual: str | None,
    falls_at: datetime | None,
    next_review_at: datetime | None,
) -> Standing:
    """A standing of a row of STANDING, behind the number that it is judged by."""
    given = None if manual is None else _manual(manual)
    return Standing(tier_set, joined_on, earned, since, lifetime, given, falls_at, next_review_at)


def _fill_members(book: Book, rows: Iterable[tuple[Any, ...]]) -> None:
    for id, status, enrolled_at, merged_into in rows:
        if book.members.get(id) is None:
            book.members[id] = Member(id, MemberStatus(status), enrolled_at, merged_into)


async def last_closed_on(connection: Connection, program_id: UUID, lane: Lane) -> None:
    """Put the lane's last closed day on it; only the closing of a day asks."""
    lane.last_closed_on = await connection.fetchval(
        "SELECT max(closes_on) FROM blocks WHERE program_id = $1 AND cell = $2 AND closes_on IS NOT NULL",
        program_id,
        lane.cell,
    )


async def published(connection: Connection, program_id: UUID, after: int) -> list[Published]:
    """The configurations numbered above `after`, oldest first."""
    rows = await connection.fetch(
        "SELECT number, effective_at, published_at, settings::text, ruleset::text, rewards::text, tier_sets::text "
        "FROM configurations WHERE program_id = $1 AND number > $2 ORDER BY number",
        program_id,
        after,
    )
    return [
        Published(number, effective_at, Configuration.read(*stored), published_at)
        for number, effective_at, published_at, *stored in rows
    ]


@contextlib.asynccontextmanager
async def snapshot(pool: asyncpg.Pool, program_id: UUID) -> AsyncGenerator[Connection, None]:
    """A connection that sees one snapshot of one program, without heads, bounded to two seconds.

    Raises: ServerBusy, DatabaseUnavailable.
    """
    try:
        async with connected(pool) as connection:
            try:
                await connection.execute(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                    f"SET LOCAL loyalty.program = '{program_id}'; SET LOCAL statement_timeout = 2000"
                )
                yield connection
            finally:
                await abandon(connection)
    except TOO_SLOW as error:
        raise ServerBusy from error
    except Exception as error:
        if may_be_run_again(error):
            raise DatabaseUnavailable from error
        raise


async def cells_of_identifiers(
    pool: asyncpg.Pool, program_id: UUID, identifiers: Sequence[Identifier]
) -> list[int | None]:
    """Where the owners of identifiers live, in their order, without a head: a hint; None for nobody's."""
    async with snapshot(pool, program_id) as connection:
        rows = await connection.fetch(
            "SELECT i.cell FROM unnest($2::text[], $3::text[]) WITH ORDINALITY u(kind, value, place)"
            f" LEFT JOIN LATERAL ({IDENTIFIED}) i ON true ORDER BY u.place",
            program_id,
            [one.kind.value for one in identifiers],
            [one.value for one in identifiers],
        )
    return [row[0] for row in rows]


async def program_now(connection: Connection, program_id: UUID) -> datetime | None:
    """A sandbox program's clock; None for a live one."""
    return await connection.fetchval("SELECT now_at FROM sandbox_clocks WHERE program_id = $1", program_id)


# --- writing --------------------------------------------------------------------------------------------


class _Part:
    """One modifying part of the batch's statement: rows of one table, sent as one array of a row type.

    A row is a tuple in the table's own order of columns. Arrays of rows cost the driver and the server about
    half of an array for each column. The row types are our own (migration 0007) and stay as they are when the
    table gets a column, so that a migration does not stop the processes that run.
    """

    def __init__(
        self,
        table: str,
        *,
        row: str = "",
        key: str | None = None,
        changes: str = "",
        only_if: str = "true",
        sets: str = "",
    ) -> None:
        self.counted = key is not None
        self.sql = f"INSERT INTO {table} SELECT u.* FROM unnest({{rows}}::{row or f'{table}_row'}[]) u"
        if key is not None:
            changed = sets or ", ".join(f"{column} = excluded.{column}" for column in changes.split(", "))
            self.sql += f" ON CONFLICT ({key}) DO UPDATE SET {changed} WHERE {only_if} RETURNING 1"


class _Removal(_Part):
    """The rows of some members go."""

    def __init__(self, table: str) -> None:
        self.counted = False
        self.sql = (
            f"DELETE FROM {table} t USING unnest({{rows}}::uuid[]) u(id) "
            "WHERE t.program_id = $1 AND t.cell = $2 AND t.member_id = u.id"
        )


_MEMBERS = _Part("members", key="program_id, cell, id", changes="status")
_PROFILES = _Part("member_profiles", key="program_id, cell, member_id", changes="profile")
_PROFILES_GONE = _Removal("member_profiles")
_PINS = _Part("member_pins", key="program_id, cell, member_id", changes="version, hash, failed, locked_until")
_PINS_GONE = _Removal("member_pins")
_IDENTIFIERS = _Part("identifiers")
_IDENTIFIERS_GONE = _Removal("identifiers")
_NAMES = _Part("activity_keys")
_NAMES_CANCELLED = _Part("activity_keys", key="program_id, kind, source, external_id", changes="state")
_ACTIVITIES = _Part("activities", key="program_id, cell, id", changes="member_id, awarded_by")
# Behind the head, braces to the belt: a row that is not behind what was read is not changed, and rows are counted.
_ACCOUNTS = _Part(
    "accounts",
    row="accounts_row_2",
    key="program_id, cell, owner_id, points_currency",
    changes="seq, pending, available, held, debt, active_at, next_due_at, first_entry_id, last_entry_id, slides, "
    "idles_at",
    only_if="accounts.seq < excluded.seq AND accounts.id = excluded.id",
)
# What falls due on it at another instant, while no points moved.
_ACCOUNTS_RETIMED = _Part(
    "accounts",
    row="accounts_row_2",
    key="program_id, cell, owner_id, points_currency",
    changes="next_due_at",
    only_if="accounts.seq = excluded.seq AND accounts.id = excluded.id",
)
_LOTS = _Part(
    "lots",
    row="lots_row_3",
    key="program_id, cell, id",
    changes="activates_at, expires_at, arrived_at, is_open, issued, pending, available, held, redeemed, expired, "
    "revoked, transferred, deficit, was_expired",
)
_HOLDS = _Part(
    "holds",
    row="holds_row_2",
    key="program_id, cell, id",
    changes="captured, state, lapses_at, good_until, ended_at, parts, deadlines",
    only_if="holds.state = 'open'",
)
_COUNTERS = _Part("counters", key="program_id, cell, owner_id, period, rule_id", changes="points")
_RETURNS = _Part("returns")
_PROPOSALS = _Part(
    "proposals",
    key="program_id, cell, id",
    changes="state, decided_by, decided_at, decided_in",
    only_if="proposals.state = 'proposed'",
)
_FREEZES = _Part(
    "freezes",
    key="program_id, cell, member_id, points_currency",
    changes="frozen, reason, since, decision_id",
)
_CHANGES = _Part("member_changes", key="program_id, cell, member_id", changes="changed_at")
_STANDINGS = _Part(
    "standings",
    key="program_id, cell, member_id, tier_set",
    changes="joined_on, earned, since, lifetime, manual, falls_at, next_review_at, judged_by",
)
# Added to what is there: nobody need have read it.
_DAYS = _Part(
    "member_days",
    key="program_id, cell, member_id, day",
    sets="spend_minor = member_days.spend_minor + excluded.spend_minor, "
    "visits = member_days.visits + excluded.visits, points = points_and(member_days.points, excluded.points)",
)
_MOVES = _Part("tier_moves")
_NOTICES = _Part("notices")
_NOTICES_GONE = _Removal("notices")
_AUDIT = _Part("audit_log")
_DECISIONS = _Part("decisions")
_ENTRIES = _Part("entries")
_POSTINGS = _Part("postings")
_EVENTS = _Part("engagement_events")
_RECORDS = _Part("idempotency_records")
_REDEMPTIONS = _Part("redemptions", key="program_id, cell, id", changes="state, changed_at, changed_by")
_STOCKS = _Part("stocks", key="program_id, reward", changes="stock")
_RESERVATIONS = _Part("reservations", key="program_id, reward, hold_id", changes="ends_at")
_CONFIGURATIONS = _Part("configurations", row="configurations_row_3")
_CLOCK = _Part(
    "sandbox_clocks", row="sandbox_clocks_row_2", key="program_id", changes="now_at, moving_to, moved_by"
)
_BLOCK = _Part("blocks")

Rows = list[tuple[_Part, list[Any]]]


def rows_of(book: Book, written_at: datetime) -> list[tuple[int, Rows]]:
    """Everything the batch changed, by cell, each with its block; `after` of each lane says what it comes to.

    `written_at` is the real clock's instant: idempotency records are kept for so long in real time.
    """
    cells = sorted(book.lanes)
    found: list[tuple[int, Rows]] = []
    for cell in cells:
        rows = _rows(book, book.lanes[cell], first=cell == cells[0], written_at=written_at)
        filled = [(part, values) for part, values in rows if values]
        if filled:
            found.append((cell, filled))
    return found


async def append(connection: Connection, program_id: UUID, rows: list[tuple[int, Rows]]) -> None:
    """Write the rows of a batch, one statement a lane; the caller commits.

    Raises: UniqueViolationError when another lane took a natural key meanwhile; the batch is decided again.
    """
    for cell, filled in rows:
        await _write(connection, program_id, cell, filled)


async def _write(connection: Connection, program_id: UUID, cell: int, filled: Rows) -> None:
    """One statement of modifying parts: every row of a lane, tables in a fixed order."""
    parts: list[str] = []
    counts = ["$1::uuid", "$2::smallint"]
    expected: list[int] = []
    for index, (part, values) in enumerate(filled):
        parts.append(f"t{index} AS ({part.sql.replace('{rows}', f'${index + 3}')})")
        if part.counted:
            counts.append(f"(SELECT count(*) FROM t{index})")
            expected.append(len(values))
    row = await connection.fetchrow(
        f"WITH {', '.join(parts)} SELECT {', '.join(counts)}",
        program_id,
        cell,
        *(values for _, values in filled),
    )
    assert row is not None
    if list(row)[2:] != expected:
        raise StaleBook(f"rows changed {list(row)[2:]}, expected {expected}")


class StaleBook(Exception):
    """A row was not as it had been read under the head: nothing may be written from this book."""


def _rows(book: Book, lane: Lane, *, first: bool, written_at: datetime) -> Rows:
    """All rows of one lane, in the order of their tables' columns; what belongs to no lane goes with the first."""
    program_id, cell, total = book.program_id, lane.cell, book.cells
    recorded_at = book.now
    owner_of = book.lot_owner
    entries = [entry for decision in lane.decisions for entry in decision.entries]

    def mine(owner_id: UUID) -> bool:
        return total == 1 or cell_of(owner_id, total) == cell

    erased = [id for id, profile in book.profiles.items() if profile is None and mine(id)]
    rows: Rows = [
        (
            _MEMBERS,
            [
                (program_id, cell, m.id, m.status, m.enrolled_at, m.merged_into)
                for m in (*book.new_members.values(), *book.changed_members.values())
                if mine(m.id)
            ],
        ),
        (
            _PROFILES,
            [
                (program_id, cell, id, msgspec.json.encode(profile).decode())
                for id, profile in book.profiles.items()
                if profile is not None and mine(id)
            ],
        ),
        (_PROFILES_GONE, erased),
        (
            _PINS,
            [
                (program_id, cell, id, p.version, p.hash, p.failed, p.locked_until)
                for id in sorted(book.changed_pins)
                if mine(id) and (p := book.pins[id])
            ],
        ),
        (_PINS_GONE, erased),
        (
            _IDENTIFIERS,
            sorted(
                (program_id, identifier.kind.value, identifier.value, id, cell)
                for identifier, id in book.new_identifiers.items()
                if mine(id)
            ),
        ),
        (_IDENTIFIERS_GONE, [id for id in book.removed_identifiers if mine(id)]),
        (
            _NAMES,
            sorted(
                _name_row(program_id, name, held)
                for name, held in book.new_names.items()
                if held.cell == cell
            ),
        ),
        (
            _NAMES_CANCELLED,
            sorted(
                _name_row(program_id, name, held)
                for name in book.cancelled_names
                if (held := book.names[name]) is not None and held.cell == cell
            ),
        ),
        (
            _ACTIVITIES,
            [
                _activity_row(program_id, cell, a)
                for home, a in (*book.new_activities.values(), *book.changed_activities.values())
                if home == cell
            ],
        ),
        (
            _ACCOUNTS,
            [
                _account_row(program_id, cell, book.accounts[key])
                for key in book.changed_accounts
                if mine(key[0])
            ],
        ),
        (
            _LOTS,
            [
                _lot_row(program_id, cell, lot)
                for lot in book.changed_lots.values()
                if mine(owner_of[lot.account_id])
            ],
        ),
        (
            _ACCOUNTS_RETIMED,
            [
                _account_row(program_id, cell, book.accounts[key])
                for key in book.retimed_accounts - book.changed_accounts
                if mine(key[0])
            ],
        ),
        (
            _HOLDS,
            [
                _hold_row(program_id, cell, hold)
                for hold in book.changed_holds.values()
                if mine(hold.owner_id)
            ],
        ),
        (
            _COUNTERS,
            [
                (program_id, cell, owner_id, key.rule_id, key.period, book.counters[owner_id, key])
                for owner_id, key in book.changed_counters
                if (cell == 0 if key.of_program else mine(owner_id))
            ],
        ),
        (
            _RETURNS,
            [_return_row(program_id, cell, id, part) for home, id, part in book.new_returns if home == cell],
        ),
        (
            _REDEMPTIONS,
            [
                _redemption_row(program_id, cell, redemption)
                for home, redemption in book.changed_redemptions.values()
                if home == cell
            ],
        ),
        (
            _STOCKS,
            sorted((program_id, reward, book.stocks[reward]) for reward in book.changed_stocks)
            if cell == 0
            else [],
        ),
        (
            _RESERVATIONS,
            [
                (program_id, *key, one.quantity, one.ends_at)
                for key, one in sorted(book.changed_reservations.items())
            ]
            if cell == 0
            else [],
        ),
        (
            _PROPOSALS,
            [
                (program_id, cell, *msgspec.structs.astuple(p))
                for id in book.changed_proposals
                if (p := book.proposals[id]) is not None and mine(p.member_id)
            ],
        ),
        (
            _FREEZES,
            [
                (program_id, cell, *key, f.frozen, f.reason, f.since, f.decision_id)
                for key in book.changed_freezes
                if mine(key[0]) and (f := book.freezes[key])
            ],
        ),
        (_CHANGES, [(program_id, cell, id, book.changes[id]) for id in book.new_changes if mine(id)]),
        (
            _STANDINGS,
            [
                (program_id, cell, id, *_standing_row(book.standings[id, tier_set]))
                for id, tier_set in book.changed_standings
                if mine(id)
            ],
        ),
        (
            _DAYS,
            [
                (program_id, cell, id, on, day.spend_minor, day.visits, _json(day.points))
                for (id, on), day in book.new_days.items()
                if mine(id)
            ],
        ),
        (_MOVES, [row for row in _move_rows(program_id, cell, book) if mine(row[2])]),
        (
            _NOTICES,
            [
                (program_id, cell, id, *msgspec.structs.astuple(notice), decision_id)
                for id, decision_id, notice in book.new_notices
                if mine(id)
            ],
        ),
        (_NOTICES_GONE, erased),
        (_DECISIONS, [_decision_row(program_id, cell, d, lane.number + 1) for d in lane.decisions]),
        (_ENTRIES, [_entry_row(program_id, cell, entry, recorded_at) for entry in entries]),
        (
            _POSTINGS,
            [
                (program_id, cell, entry.id, position, p.lot_id, p.points, p.source, p.target)
                for entry in entries
                for position, p in enumerate(entry.postings)
            ],
        ),
        (
            _EVENTS,
            [
                (
                    program_id,
                    cell,
                    id,
                    lane.position + 1 + n,
                    decision_id,
                    event.type,
                    event.member_id,
                    event.occurred_at,
                    recorded_at,
                    event.data,
                )
                for n, (id, decision_id, event) in enumerate(lane.events)
            ],
        ),
    ]
    if first:
        rows.append(
            (
                _RECORDS,
                sorted(
                    (_record_row(program_id, key, r, written_at) for key, r in book.new_records.items()),
                    key=_by_scope_and_key,
                ),
            )
        )
        # Like the whole audit log it keeps real time.
        rows.append((_AUDIT, [_audit_row(program_id, *one, written_at) for one in book.audit]))
        if book.published is not None:
            number, effective_at, configuration = book.published
            rows.append(
                (
                    _CONFIGURATIONS,
                    [(program_id, number, effective_at, recorded_at, *configuration.stored())],
                )
            )
        if book.clock_moved:
            assert book.clock is not None
            rows.append((_CLOCK, [(program_id, *astuple(book.clock))]))
    if lane.decisions or lane.touched:
        rows.append((_BLOCK, [_block_row(book, lane)]))
    else:
        lane.after = Lane(cell, lane.number, lane.hash, lane.last_id, lane.recorded_at, lane.position)
    return rows


def _name_row(program_id: UUID, name: tuple[str, str, str], held: ActivityKey) -> tuple[Any, ...]:
    return (program_id, *name, held.state, held.activity_id, held.cell, held.decision_id, held.content_digest)


def _record_row(
    program_id: UUID, key: tuple[UUID, str], r: StoredRecord, written_at: datetime
) -> tuple[Any, ...]:
    cell, decision_id = r.decision or (None, None)
    return (program_id, *key, r.fingerprint, written_at, r.status, decision_id, cell, r.refusal)


def _by_scope_and_key(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[1:3]


def _activity_row(program_id: UUID, cell: int, a: Activity) -> tuple[Any, ...]:
    return (
        program_id,
        cell,
        a.id,
        a.decision_id,
        a.awarded_by,
        a.member_id,
        a.occurred_at,
        a.recorded_at,
        a.location,
        a.channel,
        a.till,
        a.amount_minor,
        a.content,
    )


def _return_row(program_id: UUID, cell: int, id: UUID, part: Part) -> tuple[Any, ...]:
    gone = part.returned
    return (
        program_id,
        cell,
        gone.purchase_id,
        id,
        gone.amount_minor,
        gone.complete,
        msgspec.json.encode(gone.lines).decode(),
        msgspec.json.encode(part.taken).decode(),
        msgspec.json.encode(part.given).decode(),
    )


def _standing_row(stands: Stands) -> tuple[Any, ...]:
    s = stands.standing
    return (
        s.tier_set,
        s.joined_on,
        s.earned,
        s.since,
        s.lifetime,
        None if s.manual is None else _json(s.manual),
        s.falls_at,
        s.next_review_at,
        stands.judged_by,
    )


def _move_rows(program_id: UUID, cell: int, book: Book) -> Iterator[tuple[Any, ...]]:
    for id, (decision_id, tier_set, n), move in book.new_moves:
        yield (program_id, cell, id, tier_set, decision_id, n, *msgspec.structs.astuple(move))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _audit_row(
    program_id: UUID, submission: Submission, a: AuditLine, written_at: datetime
) -> tuple[Any, ...]:
    actor = submission.actor
    return (program_id, a.id, written_at, actor.kind, actor.id, a.action, a.target, a.outcome, a.detail)


def _account_row(program_id: UUID, cell: int, a: Account) -> tuple[Any, ...]:
    return (
        program_id,
        cell,
        a.id,
        a.owner_id,
        a.points_currency,
        a.seq,
        a.pending,
        a.available,
        a.held,
        a.debt,
        a.active_at,
        a.next_due_at,
        a.first_entry_id,
        a.last_entry_id,
        a.slides,
        a.idles_at,
    )


def _lot_row(program_id: UUID, cell: int, lot: Lot) -> tuple[Any, ...]:
    return (
        program_id,
        cell,
        lot.id,
        lot.account_id,
        lot.parent_lot_id,
        lot.issuing_entry_id,
        lot.decision_id,
        lot.points,
        lot.vintage_at,
        lot.policy_number,
        lot.issued_activates_at,
        lot.issued_expires_at,
        lot.activates_at,
        lot.expires_at,
        lot.arrived_at,
        lot.open,
        lot.issued,
        lot.pending,
        lot.available,
        lot.held,
        lot.redeemed,
        lot.expired,
        lot.revoked,
        lot.transferred,
        lot.deficit,
        lot.slides,
        lot.was_expired,
    )


def _hold_row(program_id: UUID, cell: int, hold: PlacedHold) -> tuple[Any, ...]:
    return (
        program_id,
        cell,
        hold.id,
        hold.account_id,
        hold.owner_id,
        hold.points_currency,
        hold.points,
        hold.captured,
        hold.state,
        hold.held_at,
        hold.lapses_at,
        hold.good_until,
        hold.ended_at,
        msgspec.json.encode(hold.parts).decode(),
        msgspec.json.encode(hold.deadlines).decode(),
        hold.reference,
        hold.till,
        hold.location,
        hold.reward,
        hold.quantity,
        hold.priced_by,
    )


def _redemption_row(program_id: UUID, cell: int, r: Redemption) -> tuple[Any, ...]:
    return (
        program_id,
        cell,
        r.id,
        r.member_id,
        r.reward,
        r.quantity,
        r.points_currency,
        r.points,
        r.money_minor,
        r.priced_by,
        msgspec.json.encode(r.parts).decode(),
        r.location,
        r.channel,
        r.till,
        r.reference,
        r.state,
        r.redeemed_at,
        r.changed_at,
        r.decision_id,
        r.entry_id,
        r.changed_by,
    )


def _decision_row(program_id: UUID, cell: int, d: Decision, block_number: int) -> tuple[Any, ...]:
    return (
        program_id,
        cell,
        d.id,
        block_number,
        d.kind,
        d.member_id,
        d.activity_id,
        d.actor_kind,
        d.actor_id,
        d.occurred_at,
        d.evaluator,
        d.detail,
        d.answer_status,
        d.answer,
    )


def _entry_row(program_id: UUID, cell: int, e: Entry, recorded_at: datetime) -> tuple[Any, ...]:
    return (
        program_id,
        cell,
        e.id,
        e.account_id,
        e.seq,
        e.decision_id,
        e.kind,
        e.occurred_at,
        recorded_at,
        e.cause,
        e.corrects_entry_id,
        msgspec.json.encode(e.redates).decode() if e.redates else None,
        e.pending,
        e.available,
        e.held,
        e.debt,
    )


def _block_row(book: Book, lane: Lane) -> tuple[Any, ...]:
    id = book.ids()
    number = lane.number + 1
    # The newest number: a first configuration stands in its own block; a later one in the block after.
    config_number = 1 if book.history.empty else book.history.now.number
    hash = block_hash(
        1,
        book.program_id,
        lane.cell,
        number,
        book.now,
        config_number,
        None if book.closes_on is None else book.closes_on.isoformat(),
        lane.hash,
        lane.decisions,
    )
    last_position = lane.position + len(lane.events)
    lane.after = Lane(lane.cell, number, hash, id, book.now, last_position)
    return (
        book.program_id,
        lane.cell,
        number,
        id,
        1,
        book.now,
        config_number,
        book.closes_on,
        lane.position + 1,
        last_position,
        lane.hash,
        hash,
        id,
    )
