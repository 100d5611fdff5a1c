"""A program's configuration, settings, rules, rewards and tier sets under one number, and the history of them all.

A configuration is immutable once published; a purchase is judged by the one in force at its `occurred_at`.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from loyalty.programs.types import PointsCurrency, ProgramSettings
from loyalty.rewards.availability import Offer
from loyalty.rewards.types import Catalogue
from loyalty.rules.compile import Compiled, compile_ruleset
from loyalty.rules.types import Ruleset, Terms
from loyalty.tiers.types import TierSet, TierSets


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    settings: ProgramSettings
    ruleset: Ruleset = Ruleset()
    rewards: Catalogue = ()
    tier_sets: TierSets = ()

    def stored(self) -> tuple[str, str, str | None, str | None]:
        """Settings, ruleset, rewards and tier sets as written, JSON; None in place of no rewards or tiers."""
        parts = (self.settings, self.ruleset, self.rewards, self.tier_sets)
        settings, ruleset, rewards, tier_sets = (msgspec.json.encode(part).decode() for part in parts)
        return settings, ruleset, rewards if self.rewards else None, tier_sets if self.tier_sets else None

    @staticmethod
    def read(settings: str, ruleset: str, rewards: str | None, tier_sets: str | None) -> "Configuration":
        """The configuration that was stored so."""
        return Configuration(
            msgspec.json.decode(settings, type=ProgramSettings),
            msgspec.json.decode(ruleset, type=Ruleset),
            msgspec.json.decode(rewards or "[]", type=Catalogue),
            msgspec.json.decode(tier_sets or "[]", type=TierSets),
        )


class Published(Struct, frozen=True):
    """One configuration with its place in the program's history."""

    number: int  # from 1, without gap
    effective_at: datetime  # the first one counts for everything before it too
    configuration: Configuration
    published_at: datetime | None = None  # None: as it came in force


class Loaded:
    """A published configuration; its rules are compiled when something is first judged by it."""

    def __init__(self, published: Published) -> None:
        self.number = published.number
        self.effective_at = published.effective_at
        self.published_at = published.published_at or published.effective_at
        self.settings = published.configuration.settings
        self.ruleset = published.configuration.ruleset
        self.rewards = published.configuration.rewards
        self.ladders: dict[str, TierSet] = {one.id: one for one in published.configuration.tier_sets}
        self.zone = ZoneInfo(self.settings.zone)
        self.currencies: dict[str, PointsCurrency] = {c.code: c for c in self.settings.points_currencies}

    @cached_property
    def compiled(self) -> Compiled:
        return compile_ruleset(self.ruleset, self.zone)

    @cached_property
    def terms(self) -> dict[str, Terms]:
        """The rules whose points have terms of their own, by id."""
        return {rule.id: rule.terms for rule in self.ruleset.rules if rule.terms is not None}

    @cached_property
    def tiers_date(self) -> bool:
        """Whether a tier says when points end."""
        return any(tier.expiry for ladder in self.ladders.values() for tier in ladder.tiers)

    @cached_property
    def offers(self) -> dict[str, Offer]:
        """The rewards by id, in the order of the catalogue."""
        return {reward.id: Offer(reward) for reward in self.rewards}


class History:
    """All configurations of one program by number; empty only until the first is published.

    What is published stays in force until the next one's instant, whatever their numbers; of one instant the higher
    number holds. A plan is so withdrawn or replaced by publishing for its very instant.
    """

    def __init__(self, published: Iterable[Published], before: Iterable[Loaded] = ()) -> None:
        self._loaded = [*before, *map(Loaded, published)]
        self._by_instant = sorted(self._loaded, key=lambda one: (one.effective_at, one.number))
        self._effective = [one.effective_at for one in self._by_instant]
        # Plans in whose place another came before their instant did.
        self._withdrawn = {
            one.number
            for one, then in pairwise(self._by_instant)
            if one.effective_at == then.effective_at and then.published_at < then.effective_at
        }

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

    def planning(self, configuration: Configuration, effective_at: datetime) -> "History":
        """This history as it would be with one more configuration."""
        return self.with_more([Published(self.now.number + 1, effective_at, configuration)])

    def with_more(self, published: Iterable[Published]) -> "History":
        """This history with what was published since; what was compiled of it stays so."""
        return History(published, self._loaded)

    def until(self, instant: datetime) -> list[Loaded]:
        """All that came in force by `instant`, in that order; also what was replaced at its very instant."""
        return self._by_instant[: bisect_right(self._effective, instant)]

    def succession(self, number: int, until: datetime) -> list[Loaded]:
        """What came in force after the configuration `number` was, up to `until`, in that order."""
        behind = self._by_instant[self._by_instant.index(self._loaded[number - 1]) + 1 :]
        return [one for one in behind if one.effective_at <= until and one.number not in self._withdrawn]

    def same_ladder(self, tier_set: str, number: int, instant: datetime) -> bool:
        """Whether the ladder of a tier set was what it is in the configuration `number` from then until `instant`."""
        ladder = self.numbered(number).ladders.get(tier_set)
        return all(one.ladders.get(tier_set) == ladder for one in self.succession(number, instant))

    def before(self, instant: datetime) -> Loaded:
        """The configuration that was in force until `instant`, what came in force at it left out."""
        return self.at(instant - timedelta(microseconds=1))

    @cached_property
    def rules_max(self) -> int:
        """How many rules the one of them has that has the most."""
        return max((len(one.ruleset.rules) for one in self._loaded), default=0)

    @cached_property
    def laddered(self) -> bool:
        """Whether there are tiers in any of them."""
        return any(one.ladders for one in self._loaded)

    def numbered(self, number: int) -> Loaded:
        """The configuration with this number: lots keep the one whose policies dated them."""
        return self._loaded[number - 1]
