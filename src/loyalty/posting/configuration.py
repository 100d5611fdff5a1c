"""A program's configuration: settings, ruleset and rewards published together under one number, and its history.

A configuration is immutable once published; a purchase is judged by the one in force at its `occurred_at`.
"""

from bisect import bisect_right
from datetime import datetime
from functools import cached_property
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from loyalty.programs.types import PointsCurrency, ProgramSettings
from loyalty.rewards.availability import Offer
from loyalty.rewards.types import Catalogue
from loyalty.rules.compile import Compiled, compile_ruleset
from loyalty.rules.types import Ruleset


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    settings: ProgramSettings
    ruleset: Ruleset = Ruleset()
    rewards: Catalogue = ()

    def stored(self) -> tuple[str, str, str | None]:
        """Settings, ruleset and rewards as they are written, JSON; None where there are no rewards."""
        parts = (self.settings, self.ruleset, self.rewards)
        settings, ruleset, rewards = (msgspec.json.encode(part).decode() for part in parts)
        return settings, ruleset, rewards if self.rewards else None


class Published(Struct, frozen=True):
    """One configuration with its place in the program's history."""

    number: int  # from 1, without gap
    effective_at: datetime  # the first one counts for everything before it too
    configuration: Configuration


class Loaded:
    """A published configuration; its rules are compiled when something is first judged by it."""

    def __init__(self, published: Published) -> None:
        self.number = published.number
        self.effective_at = published.effective_at
        self.settings = published.configuration.settings
        self.ruleset = published.configuration.ruleset
        self.rewards = published.configuration.rewards
        self.zone = ZoneInfo(self.settings.zone)
        self.currencies: dict[str, PointsCurrency] = {c.code: c for c in self.settings.points_currencies}

    @cached_property
    def compiled(self) -> Compiled:
        return compile_ruleset(self.ruleset, self.zone)

    @cached_property
    def offers(self) -> dict[str, Offer]:
        """The rewards by id, in the order of the catalogue."""
        return {reward.id: Offer(reward) for reward in self.rewards}


class History:
    """All configurations of one program by number; empty only until the first is published.

    What is published stays in force until the next one's instant, whatever their numbers; of one instant the higher
    number holds. A plan is so withdrawn or replaced by publishing for its very instant.
    """

    __slots__ = ("_by_instant", "_effective", "_loaded")

    def __init__(self, published: list[Published]) -> None:
        self._loaded = [Loaded(p) for p in published]
        self._by_instant = sorted(self._loaded, key=lambda one: (one.effective_at, one.number))
        self._effective = [one.effective_at for one in self._by_instant]

    @property
    def empty(self) -> bool:
        return not self._loaded

    @property
    def now(self) -> Loaded:
        """The newest number, perhaps of a plan: it tells whether this history is old, and stands in every block.

        What is in force is `at(instant)`. Money and zone are those of every number, and no other has more currencies.
        """
        return self._loaded[-1]

    def at(self, instant: datetime) -> Loaded:
        """The configuration in force at `instant`."""
        return self._by_instant[max(0, bisect_right(self._effective, instant) - 1)]

    def scheduled(self, instant: datetime) -> list[Loaded]:
        """What comes in force after `instant`, in that order; what is replaced for its very instant is left out."""
        later = {one.effective_at: one for one in self._by_instant[bisect_right(self._effective, instant) :]}
        return list(later.values())

    def numbered(self, number: int) -> Loaded:
        """The configuration with this number: lots keep the one whose policies dated them."""
        return self._loaded[number - 1]
