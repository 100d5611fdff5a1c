"""Who would move on the ladders of a configuration, were it published now. Nothing is written.

Members go the way that publishing would lead them, through a history that has the configuration already.
Source: docs/tiers.md, "Before ladders change".
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Literal
from uuid import UUID

from loyalty.insight.ahead.store import Walked, chunks
from loyalty.insight.ahead.types import PlannedMove, PlannedTierSet, TierPlan
from loyalty.ledger.verify.frame import Connect, Progress
from loyalty.posting.configuration import Configuration, History
from loyalty.tiers.review import effective, falls_at
from loyalty.tiers.types import TierSet

FIRST = 100  # ids told of each step

Change = Literal["added", "changed", "unchanged", "left_out"]
Step = tuple[str | None, str | None]  # before, after


async def plan(
    connect: Connect,
    program_id: UUID,
    configuration: Configuration,
    now: datetime,
    progress: Progress | None = None,
) -> TierPlan:
    """Who would move at `now`, the program's own instant. Raises: ProgramNotFound."""
    history, members = History([]), 0
    steps: dict[str, _Steps] = {}
    async with aclosing(chunks(connect, program_id, now, progress)) as found:
        async for chunk in found:
            history = chunk.history
            in_force, planned = history.at(now).ladders, history.planning(configuration, now)
            steps = steps or {id: _Steps(one) for id, one in changes(in_force, configuration.tier_sets)}
            ladders = {
                id: (history if one.change == "left_out" else planned, now)
                for id, one in steps.items()
                if one.change != "unchanged"
            }
            stand = {id: (history, now) for id in ladders if id in in_force}
            # What is due by now and not written yet comes before, and is none of the plan.
            before = {
                (one.member_id, one.tier_set): effective(in_force[one.tier_set], one.stands.standing)
                for one in await chunk.walk(stand)
            }
            judging = planned.at(now).ladders
            for walked in await chunk.walk(ladders):
                tier = before.get((walked.member_id, walked.tier_set))
                steps[walked.tier_set].add(walked, tier, judging.get(walked.tier_set))
            members += len(chunk.people)
    told = tuple(PlannedTierSet(id, one.change, one.told(), one.in_grace) for id, one in steps.items())
    return TierPlan(now, history.now.number, members, told)


def changes(in_force: Mapping[str, TierSet], ladders: Sequence[TierSet]) -> Iterator[tuple[str, Change]]:
    """What becomes of every ladder, those that are left out last."""
    for ladder in ladders:
        before = in_force.get(ladder.id)
        yield ladder.id, "added" if before is None else "unchanged" if before == ladder else "changed"
    kept = {ladder.id for ladder in ladders}
    for id in in_force:
        if id not in kept:
            yield id, "left_out"


class _Steps:
    """Who moves on one ladder, so far."""

    def __init__(self, change: Change) -> None:
        self.change: Change = change
        self.in_grace = 0
        self._members = Counter[Step]()
        self._first: dict[Step, list[UUID]] = {}

    def add(self, walked: Walked, before: str | None, ladder: TierSet | None) -> None:
        """One who had the tier `before` and comes to stand so; `ladder` None: it is left out."""
        after = None
        if ladder is not None:
            after = effective(ladder, walked.stands.standing)
            self.in_grace += falls_at(ladder, walked.stands.standing) is not None
        if after != before:
            step = (before, after)
            self._members[step] += 1
            first = self._first.setdefault(step, [])
            if len(first) < FIRST:
                first.append(walked.member_id)

    def told(self) -> tuple[PlannedMove, ...]:
        ordered = sorted(self._members, key=lambda step: (step[0] or "", step[1] or ""))
        return tuple(PlannedMove(*step, self._members[step], tuple(self._first[step])) for step in ordered)
