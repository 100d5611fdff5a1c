"""The one road of everything that changes points: collect → load → decide → write → answer.

Commands wait in their lane; a batch takes the lane's head, is decided in memory one command after the other and
written in one commit. What arrives meanwhile forms the next batch: no timer, a lone command waits for nobody.
What may go wrong, and who then gets which answer, is docs/road.md.
"""

import asyncio
import contextlib
import hashlib
import random
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import structlog

from loyalty.base.aside import LONG, Aside
from loyalty.base.clock import Clock
from loyalty.base.database import DatabaseUnavailable, OutcomeUnknown, ServerBusy
from loyalty.base.errors import Busy, LawBroken, LoyaltyError
from loyalty.base.ids import Ids
from loyalty.base.problems import render, retry_headers
from loyalty.base.together import Together
from loyalty.base.turns import Turns
from loyalty.ledger.types import POINTS_MAX, BalanceLimitExceeded
from loyalty.members.cells import cell_of
from loyalty.members.types import Identifier
from loyalty.posting import store
from loyalty.posting.book import Book, Considered, Keys, Needs
from loyalty.posting.commands import (
    AdvanceClock,
    Answer,
    Approve,
    CancelRedemption,
    CaptureHold,
    CloseDay,
    Enrol,
    EraseMember,
    ExchangePurchase,
    ExtendHold,
    FulfilRedemption,
    ImportMember,
    MemberRef,
    MoveClock,
    Publish,
    Reject,
    ReleaseHold,
    Submission,
    TransferPoints,
)
from loyalty.posting.configuration import History
from loyalty.posting.decide import consider, decide, effort
from loyalty.posting.histories import Histories
from loyalty.posting.needs import deep_keys, edge_keys
from loyalty.posting.types import Incident, ShuttingDown
from loyalty.posting.visitor import Visitor
from loyalty.programs.types import ProgramNotFound

log = structlog.get_logger()

BATCH_MAX = 128
MANY = 8  # waiting commands that are worth two batches
BREATH = 8  # commands decided before others get the processor
DECIDE_S = (
    1.0  # after which what is left of a batch waits for the next one: transactions must not stand still
)
LANES_MAX = 3  # times a command may come back for other lanes
REST = 32  # batches decided under the head alone, once another process was seen to write between two of ours
MET_S = 1.0  # how long another process that was seen to write is taken to go on
TAKEN_MAX = 5  # times a lone command may find a key taken by another lane between reading and writing
RETRY_S = 2.0  # how long a batch is run again after a lost connection, a deadlock or the like
LOOK_S = 0.25  # between two looks for those who waited too long

Cells = tuple[int, ...]
Lane = tuple[UUID, Cells]

# A batch of its own: one of these changes what every other command of the batch would see.
_ALONE = (Publish, MoveClock, AdvanceClock, CloseDay, EraseMember)
_BY_HOLD = (ExtendHold, CaptureHold, ReleaseHold)
_ALL_LANES = (Publish, MoveClock, AdvanceClock, CloseDay)


class _Waiting:
    """One caller in a lane."""

    __slots__ = ("answer", "considered", "sent", "since", "submission", "visits")

    def __init__(self, submission: Submission, since: float, answer: "asyncio.Future[Answer]") -> None:
        self.submission = submission
        self.considered: Considered | None = None
        self.since = since
        self.answer = answer
        self.visits = 0  # lanes tried
        self.sent = False  # in a commit whose outcome may be unknown: only running again tells

    def give(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def refuse(self, error: LoyaltyError) -> None:
        """Tell a refusal; never one of a command whose commit may have gone through."""
        error = OutcomeUnknown() if self.sent else error
        self.give(Answer(*render(error, self.submission.request_id), headers=retry_headers(error)))


class _Decided(msgspec.Struct, frozen=True):
    """A batch that waits only to be written: its answers count once its rows are committed."""

    book: Book
    answers: list[tuple[_Waiting, Answer]]
    left: list[_Waiting]  # those at the end that time did not suffice for
    elsewhere: list[tuple[_Waiting, frozenset[int]]]  # commands that need these lanes too
    rows: list[tuple[int, store.Rows]]


class _Ahead(msgspec.Struct):
    """The batch behind the one that is being written, and its decision; None when it must be made under the head."""

    batch: list[_Waiting]
    decided: "asyncio.Future[_Decided | None]"
    reads: asyncio.Event  # set once its first read is about to be sent, or is not needed
    counts: bool = False  # what it was decided behind has been committed, and just so


class _Queue:
    __slots__ = ("ahead", "bytes", "rest", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.bytes = 0
        self.ahead: _Ahead | None = None
        self.rest = 0  # batches that nothing is decided ahead of


class _Poisoned(Exception):
    def __init__(self, waiting: _Waiting) -> None:
        super().__init__()
        self.waiting = waiting


class BatchSeen(msgspec.Struct, frozen=True):
    """One batch as metrics see it."""

    commands: int
    seconds: float
    attempts: int
    ahead: bool  # decided while the batch before it was being written


def _left_to_judge(book: Book, waiting: _Waiting) -> int:
    """What is left of a command's effort when it is decided: all, if it was not judged before or caps may cut."""
    considered, whole = waiting.considered, effort(book.history, waiting.submission)
    judged = considered is not None and not considered.evaluation.counted
    return whole // 10 if judged else whole  # awards are put into words


def _decide_some(book: Book, some: Sequence[_Waiting], until: float) -> tuple[list[Answer], Exception | None]:
    """The answers of commands in their order until something is missing, breaks (then with why), or time is up.

    The first is decided whatever the time.
    """
    told: list[Answer] = []
    for waiting in some:
        if told and monotonic() > until:
            break
        try:
            told.append(decide(book, waiting.submission, waiting.considered))
        except Exception as error:
            return told, error
    return told, None


def _taken(error: Exception) -> bool:
    return isinstance(error, asyncpg.UniqueViolationError)


def _told(error: BaseException | None) -> dict[str, object]:
    """What a log may say of an exception: what and where, not its text, which may hold a person's data.

    Only a broken law names ids alone.
    """
    return {
        "error": type(error).__name__,
        "law": str(error) if isinstance(error, LawBroken) else None,
        "sqlstate": getattr(error, "sqlstate", None),
        "constraint": getattr(error, "constraint_name", None),
        "stack": "".join(traceback.format_tb(error.__traceback__)) if error else "",
    }


class Pipe(Visitor):
    """The lanes of one process. One batch of a lane is written at a time; lanes take turns for connections,
    program by program."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        clock: Clock,
        histories: Histories,
        together: Together,
        aside: Aside,
        *,
        cells: int,
        slots: int,
        queue_max: int,
        queue_bytes_max: int,
        queue_ms_max: int,
        observe: Callable[[BatchSeen], None] | None = None,
    ) -> None:
        super().__init__(pool, clock, histories, together, aside, cells)
        self._slots = Turns(slots)
        self._queue_max = queue_max
        self._queue_bytes_max = queue_bytes_max
        self._queue_s_max = queue_ms_max / 1000
        self._queues: dict[Lane, _Queue] = {}
        self._met: dict[
            UUID, float
        ] = {}  # when another process was last seen to write between two of our batches
        self._tasks: set[asyncio.Task[None]] = set()
        self._look: asyncio.TimerHandle | None = None  # the next one for those who waited too long
        self._closing = False
        self.observe = observe
        # Ids need chance to be unique, not to be secret.
        self._random = random.Random(uuid4().int)  # noqa: S311

    # --- collect -------------------------------------------------------------------------------------------

    async def submit(self, submission: Submission) -> Answer:
        """The answer of one command, refusals included. A cancelled caller never cancels the command."""
        cells = (0,) if self._cells == 1 else await self._hint(submission)
        pieces = effort(self._histories.known(submission.program_id), submission)
        considered: Considered | None = None
        if pieces > LONG:
            try:
                considering = partial(self._considered, submission)
                considered = await self._aside(submission.program_id, pieces, considering)
            except ServerBusy as busy:
                return self._refusal(submission, busy)
        if self._closing:
            return self._refusal(submission, ShuttingDown())
        waiting = _Waiting(submission, self._time(), asyncio.get_running_loop().create_future())
        waiting.considered = considered
        if not self._enqueue((submission.program_id, cells), waiting):
            return self._refusal(submission, ServerBusy())
        if pieces <= LONG:
            # Now, while the batch before it is at the database, rather than later under its heads.
            waiting.considered = self._considered(submission)
        return await waiting.answer  # a cancelled caller cancels this future; `give` then has nobody to tell

    def _considered(self, submission: Submission) -> Considered | None:
        history = self._histories.known(submission.program_id)
        if history is None:
            return None
        try:
            return consider(history, submission)
        except Exception:
            return None  # a bug: `decide` meets it again, and there it is that command's incident

    @property
    def depth(self) -> int:
        """Commands waiting now, in all lanes."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    def full(self, program_id: UUID) -> bool:
        """Whether a command of the program would be refused now, whichever lane it is for."""
        queues = (self._queues.get((program_id, (cell,))) for cell in range(self._cells))
        return all(queue is not None and self._is_full(queue) for queue in queues)

    def met(self, program_id: UUID) -> bool:
        """Whether another process writes to a lane of the program just now, as far as this one has noticed."""
        return self._time() - self._met.get(program_id, -MET_S) < MET_S

    async def stop(self, within_s: float = 10.0) -> None:
        """Take nothing more; answer everyone accepted, or refuse them when the time is up."""
        self._closing = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._look is not None:
            self._look.cancel()

    def _enqueue(self, lane: Lane, waiting: _Waiting) -> bool:
        queue = self._queues.get(lane)
        if queue is None:
            queue = self._queues[lane] = _Queue()
            self._spawn(self._drain(lane, queue))
        elif self._is_full(queue):
            return False
        queue.waiting.append(waiting)
        queue.bytes += waiting.submission.size
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_S, self._dismiss)
        return True

    def _dismiss(self) -> None:
        """Refuse who waited too long, though the batch before them is held up: the database may stand still."""
        self._look, now = None, self._time()
        for queue in self._queues.values():
            while queue.waiting and self._too_late(queue.waiting[0], now):
                self._next(queue).refuse(ServerBusy())
        if self._queues:
            self._look = asyncio.get_running_loop().call_later(LOOK_S, self._dismiss)

    def _is_full(self, queue: _Queue) -> bool:
        """Whether too much waits already, or has waited so long that whoever comes now would wait in vain."""
        waiting = queue.waiting
        return (
            len(waiting) >= self._queue_max
            or queue.bytes >= self._queue_bytes_max
            or (bool(waiting) and self._time() - waiting[0].since > self._queue_s_max / 2)
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, lane: Lane, queue: _Queue) -> None:
        """Batch after batch until the lane is empty; the slot is given back in between, so lanes take turns."""
        batch: list[_Waiting] = []
        try:
            while queue.waiting or queue.ahead:
                async with self._slots.turn(lane[0]):
                    decided: _Decided | None = None
                    if queue.ahead is not None:
                        ahead, queue.ahead = queue.ahead, None
                        batch = ahead.batch
                        decided = await ahead.decided
                        if not ahead.counts:
                            decided = None
                    else:
                        batch = self._form(queue, self._first_share(lane, queue))
                    if batch:
                        await self._run(lane, queue, batch, decided)
                    batch = []
        finally:
            del self._queues[lane]
            # Only at the end of our time, or after an error of our own: nobody is left without an answer.
            if queue.ahead is not None:
                batch = [*batch, *queue.ahead.batch]
            for waiting in (*batch, *queue.waiting):
                waiting.refuse(ShuttingDown())

    def _first_share(self, lane: Lane, queue: _Queue) -> int:
        """How many to take when nothing is being written: of many a half, so that two batches follow each other.

        All at once would be answered at once and come again at once: processor and database would take turns.
        """
        many = len(queue.waiting) >= MANY and self._may_look_ahead(lane, queue)
        return (len(queue.waiting) + 1) // 2 if many else BATCH_MAX

    def _form(self, queue: _Queue, most: int = BATCH_MAX) -> list[_Waiting]:
        """What waits now, oldest first; who waited too long is refused before being decided."""
        batch: list[_Waiting] = []
        now = self._time()
        while queue.waiting and len(batch) < min(most, BATCH_MAX):
            alone = isinstance(queue.waiting[0].submission.command, _ALONE)
            if alone and batch:
                break
            waiting = self._next(queue)
            if self._too_late(waiting, now):
                waiting.refuse(ServerBusy())
            else:
                batch.append(waiting)
                if alone:
                    break
        return batch

    def _next(self, queue: _Queue) -> _Waiting:
        waiting = queue.waiting.popleft()
        queue.bytes -= waiting.submission.size
        return waiting

    def _too_late(self, waiting: _Waiting, now: float) -> bool:
        return now - waiting.since > self._queue_s_max

    async def _hint(self, submission: Submission) -> Cells:
        """The lanes a command most likely needs; `decide` asks for others when it is wrong."""
        command = submission.command
        if isinstance(command, _ALL_LANES):
            return tuple(range(self._cells))
        if isinstance(command, Enrol | ImportMember):
            return (self._lane_of(command.identifiers[0]) if command.identifiers else 0,)
        if isinstance(command, _BY_HOLD):
            return (cell_of(command.hold_id, self._cells),)
        if isinstance(command, FulfilRedemption | CancelRedemption):
            return (cell_of(command.redemption_id, self._cells),)
        if isinstance(command, Approve | Reject):
            return (cell_of(command.proposal_id, self._cells),)
        if isinstance(command, TransferPoints):  # both heads from the beginning
            sides = [await self._home(submission.program_id, ref) for ref in (command.giver, command.taker)]
            return tuple(sorted(set(sides)))
        named = command.purchase if isinstance(command, ExchangePurchase) else command
        ref: MemberRef | None = getattr(named, "member", None)
        return (0 if ref is None else await self._home(submission.program_id, ref),)

    async def _home(self, program_id: UUID, ref: MemberRef) -> int:
        """Where a member lives, as far as that can be known without its lane's head."""
        if ref.id is not None:
            return cell_of(ref.id, self._cells)
        assert ref.identifier is not None
        try:
            found: int | None = await self._together(self._homes, program_id, ref.identifier)
        except Busy:
            found = None
        return self._lane_of(ref.identifier) if found is None else found

    async def _homes(self, program_id: UUID, identifiers: Sequence[Identifier]) -> list[int | None]:
        return await store.cells_of_identifiers(self._pool, program_id, identifiers)

    def _lane_of(self, identifier: Identifier) -> int:
        """Where a stranger is enrolled: whoever else sends the same identifier now meets him in one lane."""
        digest = hashlib.blake2b(f"{identifier.kind}:{identifier.value}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self._cells

    # --- load → decide → write -------------------------------------------------------------------------------

    async def _run(
        self,
        lane: Lane,
        queue: _Queue,
        batch: list[_Waiting],
        decided: _Decided | None = None,
        *,
        refused: bool = False,
    ) -> None:
        """Bring one batch to its answers, whatever happens on the way.

        `decided`: what was decided ahead. `refused`: the database refused this batch, or one it was part of, before.
        """
        started = self._time()
        give_up_at: float | None = None
        attempts = 0
        ahead = False
        while batch:
            attempts += 1
            try:
                ahead = await self._attempt(
                    lane, queue, batch, decided if attempts == 1 else None, lonely=refused
                )
            except _Poisoned as poisoned:
                self._incident(poisoned.waiting, poisoned.__cause__)
                batch = [waiting for waiting in batch if waiting is not poisoned.waiting]
                continue
            except (ProgramNotFound, ServerBusy) as error:
                self._refuse_all(batch, error)
            except Exception as error:
                unknown = any(waiting.sent for waiting in batch)
                if isinstance(error, store.TOO_SLOW) and not unknown:
                    self._refuse_all(batch, ServerBusy())
                elif store.may_be_run_again(error) or isinstance(error, store.TOO_SLOW):
                    now = self._time()
                    give_up_at = give_up_at or now + RETRY_S
                    if now < give_up_at:
                        log.warning("batch_again", error=type(error).__name__, commands=len(batch))
                        await asyncio.sleep(random.uniform(0.01, 0.05) * min(attempts, 10))  # noqa: S311 - jitter
                        continue
                    self._refuse_all(batch, DatabaseUnavailable())
                elif not refused or (_taken(error) and len(batch) == 1 and attempts < TAKEN_MAX):
                    # Once more from a fresh book: another lane may have taken a natural key meanwhile.
                    log.warning("batch_refused", error=type(error).__name__, commands=len(batch))
                    refused = True
                    continue
                elif len(batch) > 1:
                    # Then halves, so that one poisoned command cannot fail its neighbours.
                    middle = len(batch) // 2
                    await self._run(lane, queue, batch[:middle], refused=True)
                    await self._run(lane, queue, batch[middle:], refused=True)
                elif isinstance(error, asyncpg.NumericValueOutOfRangeError):
                    # A sum of many absurd figures that nobody need have read: what a member did on one day.
                    batch[0].refuse(BalanceLimitExceeded(points_max=POINTS_MAX))
                else:
                    self._incident(batch[0], error)
            break
        if self.observe is not None:
            self.observe(BatchSeen(len(batch), self._time() - started, attempts, ahead))

    async def _attempt(
        self, lane: Lane, queue: _Queue, batch: list[_Waiting], decided: _Decided | None, *, lonely: bool
    ) -> bool:
        """One transaction: heads, book, decisions, write, commit; then everyone gets an answer.

        Whether it was written as decided ahead. `lonely`: nothing is decided behind it, since a part of what it
        was is still to come.
        """
        program_id, cells = lane
        ahead = decided is not None
        behind: _Ahead | None = None
        async with store.connected(self._pool) as connection:
            try:
                if decided is None:
                    await store.begin(connection, program_id, cells)
                elif not await store.begin_after(connection, program_id, decided.book.lanes[cells[0]]):
                    decided, ahead = None, False
                    queue.rest = REST
                    self._met[program_id] = self._time()
                if decided is None:
                    decided = await self._decided(connection, lane, batch)
                self._take_back(queue, batch, decided.left)
                if not lonely:
                    behind = self._look_ahead(lane, queue, batch, decided.book)
                if behind is not None:
                    await behind.reads.wait()  # so that the database reads while the rows are put into words
                await store.append(connection, program_id, decided.rows)
            except BaseException:
                await store.abandon(connection)
                raise
            if decided.rows:
                for waiting, _ in decided.answers:
                    waiting.sent = True
            await connection.execute("COMMIT" if decided.rows else "ROLLBACK")
        if behind is not None:
            behind.counts = True
        for waiting, answer in decided.answers:
            waiting.give(answer)
        for waiting, more in decided.elsewhere:
            self._elsewhere(program_id, cells, waiting, more)
        return ahead

    def _take_back(self, queue: _Queue, batch: list[_Waiting], left: list[_Waiting]) -> None:
        """Those at the end of a batch that time did not suffice for come first in the next one."""
        if left:
            del batch[-len(left) :]
            queue.waiting.extendleft(reversed(left))
            queue.bytes += sum(waiting.submission.size for waiting in left)

    def _look_ahead(self, lane: Lane, queue: _Queue, batch: list[_Waiting], book: Book) -> _Ahead | None:
        """Let the next batch be decided while this one, whose outcome `book` shows, is being written.

        It counts only if this one is committed now, as `book` shows it, and if its lane's newest block, read under
        the head, is then the one this batch writes. A block alone does not tell: refusals write none.
        """
        queue.rest = max(0, queue.rest - 1)
        if not queue.waiting or queue.ahead is not None or not self._may_look_ahead(lane, queue):
            return None
        if any(isinstance(one.submission.command, _ALONE) for one in (batch[0], queue.waiting[0])):
            return None
        following = self._form(queue)
        if following:
            loop = asyncio.get_running_loop()
            queue.ahead = _Ahead(following, loop.create_future(), asyncio.Event())
            self._spawn(self._ahead(lane, queue.ahead, book))
        return queue.ahead

    async def _ahead(self, lane: Lane, ahead: _Ahead, before: Book) -> None:
        """Decide it; giving the connection back keeps nobody waiting."""
        try:
            # Whatever goes wrong is met again under the head, and answered there.
            with contextlib.suppress(Exception):
                async with store.snapshot(self._pool, lane[0]) as connection:
                    ahead.reads.set()
                    ahead.decided.set_result(await self._decided(connection, lane, ahead.batch, before))
        finally:
            ahead.reads.set()
            if not ahead.decided.done():
                ahead.decided.set_result(None)

    def _may_look_ahead(self, lane: Lane, queue: _Queue) -> bool:
        """Whether a batch may be decided ahead: others leave the lane alone, and a connection is free for it."""
        pool = self._pool
        free = bool(pool.get_idle_size()) or pool.get_size() < pool.get_max_size()
        return len(lane[1]) == 1 and not queue.rest and free

    async def _decided(
        self,
        connection: store.Connection,
        lane: Lane,
        batch: Sequence[_Waiting],
        before: Book | None = None,
    ) -> _Decided:
        """Read and decide a batch: under the heads, or ahead of them behind the batch `before`."""
        book = await self._load(connection, lane, batch, before)
        answers, elsewhere, left = await self._decide(connection, book, batch)
        writing = partial(store.rows_of, book, self._clock.now())
        rows = await self._aside((book.program_id, "lane"), len(book.changed_lots), writing)
        return _Decided(book, answers, left, elsewhere, rows)

    async def _load(
        self, connection: store.Connection, lane: Lane, batch: Sequence[_Waiting], before: Book | None
    ) -> Book:
        program_id, cells = lane
        history = await self._histories.of(connection, program_id)
        submissions = [waiting.submission for waiting in batch]
        keys = edge_keys(submissions, history)
        loaded = await store.load(connection, program_id, cells, keys, self._cells)
        history = await self._histories.as_far_as(connection, program_id, loaded.config_number)
        if history.empty and not isinstance(submissions[0].command, Publish):
            raise ProgramNotFound  # it is being made
        if isinstance(submissions[0].command, CloseDay):
            for each in loaded.lanes.values():
                await store.last_closed_on(connection, program_id, each)
        if before is not None:
            loaded.lanes = before.lanes_behind(loaded.lanes)
        book = self._book(program_id, history, loaded)
        if before is not None:
            book.follow(before)
        store.fill(book, keys, loaded.rest)
        deep = deep_keys(submissions, book)
        if deep.deep:
            await store.load_deep(connection, book, deep)
        return book

    def _book(self, program_id: UUID, history: History, loaded: store.Loaded) -> Book:
        """An empty book at the batch's one instant: the program's clock, never before a lane's last block."""
        now = loaded.clock.now if loaded.clock else self._clock.now()
        last_id: UUID | None = None
        for lane in loaded.lanes.values():
            if lane.recorded_at is not None:
                now = max(now, lane.recorded_at)
            if lane.last_id is not None:
                last_id = max(last_id, lane.last_id) if last_id else lane.last_id
        made_ms = self._clock.now_ms()  # one instant for all ids of a batch, as for all it decides
        ids = Ids(lambda: made_ms, partial(self._random.getrandbits, 62), last_id)
        return Book(program_id, history, loaded.lanes, now, ids, self._cells, loaded.clock)

    async def _decide(
        self, connection: store.Connection, book: Book, batch: Sequence[_Waiting]
    ) -> tuple[list[tuple[_Waiting, Answer]], list[tuple[_Waiting, frozenset[int]]], list[_Waiting]]:
        """One command after the other; what one of them misses is read and it is decided again.

        Answers, commands that need other lanes, and those that time did not suffice for.
        """
        answers: list[tuple[_Waiting, Answer]] = []
        elsewhere: list[tuple[_Waiting, frozenset[int]]] = []
        judged = [_left_to_judge(book, waiting) for waiting in batch]
        until = monotonic() + DECIDE_S
        known = book.pieces
        asked: list[Keys] = []  # by the command at `place`
        place = 0
        while place < len(batch):
            some = batch[place : place + BREATH]
            pieces = known + max(judged[place : place + BREATH])
            if pieces > LONG:
                # In one go: who waits for a turn again and again holds the heads meanwhile.
                some = batch[place:]
            # A lane has turns of its own: it need not wait behind all that its program looks at.
            decide_some = partial(_decide_some, book, some, until)
            told, error = await self._aside((book.program_id, "lane"), pieces, decide_some)
            answers += zip(some, told, strict=False)
            if told:
                asked = []
            place += len(told)
            if error is None:
                if place < len(batch):
                    if monotonic() > until:
                        break
                    # What the database says of the batch before need not wait for all of this one.
                    await asyncio.sleep(0)
                continue
            waiting = batch[place]
            if not isinstance(error, Needs):
                raise _Poisoned(waiting) from error
            missing = error.cells.difference(book.lanes)
            if missing:
                elsewhere.append((waiting, missing))
                asked = []
                place += 1
                continue
            if error.keys in asked:  # it would never end
                raise _Poisoned(waiting) from RuntimeError("a command asked for the same again")
            asked.append(error.keys)
            await store.load_more(connection, book, error.keys)
            known = book.pieces
        return answers, elsewhere, list(batch[place:])

    # --- answer ----------------------------------------------------------------------------------------------

    def _elsewhere(self, program_id: UUID, cells: Cells, waiting: _Waiting, more: frozenset[int]) -> None:
        """A command that needs other lanes too comes back in a batch that holds all of them from its beginning."""
        waiting.visits += 1
        lane = (program_id, tuple(sorted({*cells, *more})))
        if waiting.visits > LANES_MAX or self._closing or not self._enqueue(lane, waiting):
            waiting.refuse(ServerBusy())

    def _incident(self, waiting: _Waiting, error: BaseException | None) -> None:
        """A bug's exception is that command's outcome alone; its key is not stored."""
        incident = uuid4()
        log.error(
            "command_failed",
            incident_id=str(incident),
            command=type(waiting.submission.command).__name__,
            request_id=waiting.submission.request_id,
            **_told(error),
        )
        waiting.refuse(Incident(incident_id=incident))

    def _refuse_all(self, batch: Sequence[_Waiting], error: LoyaltyError) -> None:
        for waiting in batch:
            waiting.refuse(error)

    def _refusal(self, submission: Submission, error: LoyaltyError) -> Answer:
        return Answer(*render(error, submission.request_id), headers=retry_headers(error))

    def _time(self) -> float:
        return asyncio.get_running_loop().time()
