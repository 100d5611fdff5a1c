"""What a purchase would earn now: the same decision as the purchase itself, on a snapshot, nothing written."""

from uuid import UUID

import msgspec

from loyalty.base.errors import LoyaltyError
from loyalty.base.problems import render
from loyalty.posting.answers import PurchaseAnswer, QuoteAnswer, QuotedPoints
from loyalty.posting.book import Book, Keys, Work
from loyalty.posting.commands import Actor, Answer, RecordPurchase, Submission
from loyalty.posting.decide.purchase import purchase
from loyalty.posting.needs import deep_keys
from loyalty.posting.runtime import Runtime
from loyalty.programs.types import ProgramNotFound


async def quote(
    runtime: Runtime, program_id: UUID, command: RecordPurchase, actor: Actor, request_id: str
) -> Answer:
    """The answer of `POST /v1/quotes`: points as they would be earned, balances as they would be after."""
    submission = Submission(program_id, command, actor, request_id)

    def deep(book: Book) -> Keys:
        # A receipt that was recorded already is quoted like a new one.
        book.names["purchase", command.source, command.external_id] = None
        return deep_keys([submission], book)

    def look(work: Work) -> Answer:
        try:
            outcome = purchase(work, command)
        except LoyaltyError as refusal:
            return Answer(*render(refusal, request_id))
        assert isinstance(outcome.answer, PurchaseAnswer)
        return Answer(200, msgspec.json.encode(_quoted(outcome.answer, work)))

    try:
        return await runtime.glances([submission], look, deep)
    except ProgramNotFound as refusal:
        return Answer(*render(refusal, request_id))


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
