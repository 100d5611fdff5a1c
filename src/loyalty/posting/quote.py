"""What a purchase would earn now: the same decision as the purchase itself, on a snapshot, nothing written."""

from uuid import UUID

import msgspec

from loyalty.base.errors import LoyaltyError
from loyalty.base.ids import Ids
from loyalty.base.problems import render
from loyalty.posting import store
from loyalty.posting.answers import PurchaseAnswer, QuoteAnswer, QuotedPoints
from loyalty.posting.book import Book, Lane, Needs, Work
from loyalty.posting.commands import Actor, Answer, RecordPurchase, Submission
from loyalty.posting.decide.purchase import purchase
from loyalty.posting.needs import deep_keys, edge_keys
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import ProgramNotFound

_VISITS_MAX = 8


async def quote(
    runtime: Runtime, program_id: UUID, command: RecordPurchase, actor: Actor, request_id: str
) -> Answer:
    """The answer of `POST /v1/quotes`: points as they would be earned, balances as they would be after."""
    submission = Submission(program_id, command, actor, request_id)
    total = runtime.settings.cells
    lanes = {cell: Lane(cell, 0, store.GENESIS, None, None, 0) for cell in range(total)}
    async with store.snapshot(runtime.pool, program_id) as connection:
        history = await runtime.histories.of(connection, program_id)
        keys = edge_keys([submission], history)
        loaded = await store.load(connection, program_id, [], keys, total)
        if (loaded.config_number or 0) != (0 if history.empty else history.now.number):
            history = await runtime.histories.refresh(connection, program_id)
        if history.empty:
            return Answer(*render(ProgramNotFound(), request_id))
        now = loaded.sandbox_clock or runtime.clock.now()
        ids = Ids(runtime.clock.now_ms, lambda: 0)
        book = Book(program_id, history, lanes, now, ids, total, loaded.sandbox_clock)
        store.fill(book, keys, loaded.rest)
        # A receipt that was recorded already is quoted like a new one.
        book.names["purchase", command.source, command.external_id] = None
        deep = deep_keys([submission], book)
        if deep.deep:
            await store.load_deep(connection, book, deep)
        for _ in range(_VISITS_MAX):
            work = Work(book, submission)
            try:
                outcome = purchase(work, command)
            except Needs as needs:
                if needs.keys.deep:
                    await store.load_deep(connection, book, needs.keys)
                more = await store.load(connection, program_id, [], needs.keys, total)
                store.fill(book, needs.keys, more.rest)
            except LoyaltyError as refusal:
                return Answer(*render(refusal, request_id))
            else:
                assert isinstance(outcome.answer, PurchaseAnswer)
                return Answer(200, msgspec.json.encode(_quoted(outcome.answer, work)))
        raise RuntimeError("a quote asked for more too often")


def _quoted(answer: PurchaseAnswer, work: Work) -> QuoteAnswer:
    return QuoteAnswer(
        member_id=None if answer.member_id in work.new_members else answer.member_id,
        earned=tuple(
            QuotedPoints(e.points_currency, e.points, e.state, e.activates_at, e.expires_at, e.last_day_on)
            for e in answer.earned
        ),
        balances=answer.balances,
        standing=answer.standing,
        receipt=answer.receipt,
        ruleset_version=answer.ruleset_version,
        captured=answer.captured,
    )
