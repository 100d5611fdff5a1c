"""The book of one batch: what was read under the heads, and the commands' changes laid over it.

Pure. `Book` is what load put in and what accepted commands added; `Work` is one command's own overlay, so that
a refusal leaves no trace. What is missing is asked for by raising `Needs`; store.py reads and writes it.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from copy import copy
from datetime import date, datetime
from functools import cached_property
from typing import Any, Literal, cast
from uuid import UUID

from msgspec import Struct, field

from loyalty.base.aside import JUDGED, LINE_TEXT
from loyalty.base.calendar import local_date
from loyalty.base.errors import LawBroken
from loyalty.conditions.types import Facts
from loyalty.ledger import postings
from loyalty.ledger.expiry import stir
from loyalty.ledger.settle import next_due, settle
from loyalty.ledger.types import (
    LOTS_MAX,
    POINTS_MAX,
    WAIVED,
    Account,
    Decision,
    Entry,
    EntryDraft,
    EntryKind,
    HoldNotFound,
    Lot,
    LotsLimitExceeded,
    PlacedHold,
)
from loyalty.members.cells import cell_of
from loyalty.members.types import Identifier, Member, MemberErased, MemberNotFound, MemberStatus, Profile
from loyalty.posting.commands import MemberRef, Submission
from loyalty.posting.configuration import Configuration, History, Loaded
from loyalty.posting.detail import Stood
from loyalty.posting.returned import Part
from loyalty.programs.types import SandboxClock
from loyalty.rewards.types import Redemption, RedemptionNotFound
from loyalty.rules.types import CounterKey, Evaluation
from loyalty.tiers.types import Day, Move, Standing, Step

ActivityName = tuple[str, str, str]  # kind, source, external_id


StepKey = tuple[UUID, str, int]
"""The decision that made a step, its ladder, its place among those of both: in the order of recording."""
MoveMade = tuple[UUID, StepKey, Move]
"""Whose, in which place, and the move."""


class Keys(Struct):
    """What a batch wants read. The first group is known from the commands, the second only after reading it."""

    idempotency: set[tuple[UUID, str]] = field(default_factory=set[tuple[UUID, str]])
    activity_names: set[ActivityName] = field(default_factory=set[ActivityName])
    identifiers: set[Identifier] = field(default_factory=set[Identifier])
    members: set[UUID] = field(default_factory=set[UUID])
    actors: set[UUID] = field(default_factory=set[UUID])  # clients and staff: their counters
    periods: set[str] = field(default_factory=set[str])
    holds: set[UUID] = field(default_factory=set[UUID])
    open_lots: set[UUID] = field(default_factory=set[UUID])  # accounts
    owners: set[UUID] = field(default_factory=set[UUID])  # members from whom points are taken
    decisions: set[tuple[int, UUID]] = field(default_factory=set[tuple[int, UUID]])
    activities: set[tuple[int, UUID]] = field(default_factory=set[tuple[int, UUID]])
    lots: set[tuple[int, UUID]] = field(default_factory=set[tuple[int, UUID]])  # open or not
    # Lots of accounts of which points expired, with an end after this.
    expired: dict[UUID, datetime] = field(default_factory=dict[UUID, datetime])
    redemptions: set[tuple[int, UUID]] = field(default_factory=set[tuple[int, UUID]])
    stocks: set[str] = field(default_factory=set[str])
    identified: set[UUID] = field(default_factory=set[UUID])  # members whose kinds of identifiers count
    proposals: set[UUID] = field(default_factory=set[UUID])
    standings: bool = False  # of all members that are read
    days: dict[UUID, date] = field(default_factory=dict[UUID, date])  # of members, since when
    steps: set[UUID] = field(default_factory=set[UUID])  # members whose steps on ladders count
    noticed: set[tuple[UUID, date]] = field(default_factory=set[tuple[UUID, date]])  # who, of which night

    @staticmethod
    def none() -> "Keys":
        return Keys()

    def add(self, more: "Keys") -> None:
        """What `more` wants too."""
        for name in Keys.__struct_fields__:
            mine, wanted = getattr(self, name), getattr(more, name)
            if isinstance(wanted, set):
                mine.update(wanted)
            elif isinstance(wanted, dict):  # since when: the earlier serves both
                since = cast(dict[UUID, Any], wanted)
                mine.update({id: min(at, mine.get(id, at)) for id, at in since.items()})
            else:
                setattr(self, name, mine or wanted)

    @property
    def shallow(self) -> bool:
        return bool(
            self.idempotency
            or self.activity_names
            or self.identifiers
            or self.members
            or self.periods
            or self.holds
        )

    @property
    def deep(self) -> bool:
        return bool(
            self.open_lots
            or self.owners
            or self.decisions
            or self.activities
            or self.lots
            or self.expired
            or self.redemptions
            or self.stocks
            or self.identified
            or self.proposals
            or self.days
            or self.steps
            or self.noticed
        )


class Needs(Exception):
    """`decide` asks for more: keys to read, or lanes whose heads must be held from the beginning."""

    def __init__(self, keys: Keys | None = None, cells: Iterable[int] = ()) -> None:
        super().__init__()
        self.keys = keys or Keys.none()
        self.cells = frozenset(cells)


class Overtaken(Exception):
    """Somebody else wrote to the lane meanwhile."""


class StoredRecord(Struct, frozen=True):
    """An idempotency record: the answer is in a decision, or it is a refusal kept whole."""

    fingerprint: bytes
    status: int
    decision: tuple[int, UUID] | None  # cell, id
    refusal: str | None


class ActivityKey(Struct, frozen=True):
    """Who holds a natural key."""

    state: str  # recorded, cancelled
    activity_id: UUID
    cell: int
    decision_id: UUID
    content_digest: bytes


class Activity(Struct, frozen=True):
    """One stored activity; `content` is gone once retention removed it."""

    id: UUID
    decision_id: UUID
    awarded_by: UUID  # the decision whose awards stand for it
    member_id: UUID | None
    occurred_at: datetime
    recorded_at: datetime
    location: str | None
    channel: str | None
    till: str | None
    amount_minor: int
    content: str | None


class StoredDecision(Struct, frozen=True):
    """What is read of a decision to replay or undo it."""

    id: UUID
    kind: str
    detail: str
    answer_status: int
    answer: str


ProposalKind = Literal["adjustment", "write_off", "reinstatement"]


class Proposal(Struct, frozen=True):
    """What one person wants done by hand and another one decides. Its id tells its member's lane.

    It lapses by itself when its time has come: that is read off `lapses_at`, not written.
    """

    id: UUID
    kind: ProposalKind
    member_id: UUID
    points_currency: str
    points: int  # credit above zero, debit below; of a write-off: at most so many
    reason: str
    reference: str | None
    proposed_by_kind: str
    proposed_by: UUID
    proposed_at: datetime
    lapses_at: datetime
    proposed_in: UUID  # decision
    state: Literal["proposed", "approved", "rejected"] = "proposed"
    decided_by: UUID | None = None  # always a person
    decided_at: datetime | None = None
    decided_in: UUID | None = None


class Freeze(Struct, frozen=True):
    """Whether anything may be taken from an account, and since when that is so."""

    frozen: bool
    reason: str
    since: datetime
    decision_id: UUID


class Pin(Struct, frozen=True):
    """A member's PIN as it is kept: its slow hash, wrong attempts in a row, and until when it is locked."""

    version: int
    hash: str
    failed: int = 0
    locked_until: datetime | None = None


class Stands(Struct, frozen=True):
    """Where a member stands on a ladder, and the number of the configuration whose ladder that is."""

    standing: Standing
    judged_by: int


class Notice(Struct, frozen=True, order=True):
    """What a member is told once: what of it ends on which day, told how many days before."""

    kind: str  # points, tier
    about: str  # points currency, tier set
    day: date  # the last on which the points are good, the first on which the tier is lower
    days_before: int


class Reservation(Struct, frozen=True):
    """So many of a stocked reward are set aside for a hold until an instant.

    It ends by itself with the hold: the instant is the hold's deadline, or when it was released or redeemed.
    """

    quantity: int
    ends_at: datetime


class AuditLine(Struct, frozen=True):
    """A line of the audit log that is written in the commit of what it tells."""

    id: UUID
    action: str
    target: str
    outcome: str
    detail: str  # JSON


class Event(Struct, frozen=True):
    """One engagement event before its position is known."""

    type: str
    member_id: UUID | None
    occurred_at: datetime
    data: str  # JSON


class Lane:
    """One lane of the batch: its newest block, and what this batch adds."""

    __slots__ = (
        "after",
        "cell",
        "decisions",
        "events",
        "hash",
        "last_closed_on",
        "last_id",
        "number",
        "position",
        "recorded_at",
        "touched",
    )

    def __init__(
        self,
        cell: int,
        number: int,
        hash: bytes,
        last_id: UUID | None,
        recorded_at: datetime | None,
        position: int,
        last_closed_on: Any = None,
    ) -> None:
        self.cell = cell
        self.number = number
        self.hash = hash
        self.last_id = last_id
        self.recorded_at = recorded_at
        self.position = position  # of the last event
        self.last_closed_on = last_closed_on
        self.decisions: list[Decision] = []
        self.events: list[tuple[UUID, UUID, Event]] = []  # id, decision id, event
        self.touched = False  # changed without a decision of its own
        self.after: Lane | None = None  # the lane once this batch is written; the writer puts it in


class Book:
    """Everything a batch may decide on. Times: `now` is the one recorded instant of the batch."""

    def __init__(
        self,
        program_id: UUID,
        history: History,
        lanes: dict[int, Lane],
        now: datetime,
        ids: Callable[[], UUID],
        cells: int,
        clock: SandboxClock | None = None,
    ) -> None:
        self.program_id = program_id
        self.history = history
        self.lanes = lanes
        self.now = now
        self.ids = ids
        self.cells = cells
        self.clock = clock
        self.records: dict[tuple[UUID, str], StoredRecord | None] = {}
        self.names: dict[ActivityName, ActivityKey | None] = {}
        self.names_of: dict[UUID, ActivityName] = {}  # purchases by activity
        self.identifiers: dict[Identifier, UUID | None] = {}
        self.members: dict[UUID, Member | None] = {}
        self.accounts: dict[tuple[UUID, str], Account] = {}
        self.lots: dict[UUID, dict[UUID, Lot]] = {}
        self.lots_complete: set[UUID] = set()  # accounts all of whose open lots and holds are here
        self.full: set[UUID] = set()  # owners who were read with as many open lots as one may have
        self.lots_given: dict[UUID, int] = {}  # how many new ones each owner has of this batch
        self.expired_since: dict[UUID, datetime] = {}  # accounts with all that expired and ended after this
        self.holds: dict[UUID, PlacedHold | None] = {}
        self.holds_of: dict[UUID, set[UUID]] = {}  # those that are here, by account
        self.counters: dict[tuple[UUID, CounterKey], int] = {}
        self.counted: dict[UUID, set[str]] = {}  # whose counters were read, for which periods
        self.accounted: set[UUID] = set()  # whose accounts are all here
        self.newcomers: set[UUID] = set()  # of these members nothing was there to be read
        self.decisions: dict[UUID, StoredDecision] = {}
        self.activities: dict[UUID, Activity | None] = {}
        self.returns: dict[UUID, tuple[Part, ...]] = {}  # by purchase; of every activity that is here
        self.redemptions: dict[UUID, Redemption | None] = {}
        self.stocks: dict[str, int] = {}
        # How many of each reward the holds set aside that are not in `reservations`; of every stock that was read.
        self.set_aside: dict[str, int] = {}
        # By reward and hold: what this batch, or the one before it, changed.
        self.reservations: dict[str, dict[UUID, Reservation]] = {}
        self.kinds: dict[UUID, frozenset[str]] = {}  # of identifiers, as stored, by member
        self.proposals: dict[UUID, Proposal | None] = {}
        self.owners: set[UUID] = set()  # of these members all accounts, freezes and the last change were read
        self.freezes: dict[tuple[UUID, str], Freeze] = {}
        self.pins: dict[UUID, Pin] = {}
        self.changes: dict[UUID, datetime] = {}  # when profile or identifiers of a member last changed
        self.ranked: set[UUID] = set()  # members whose standings are all here
        self.standings: dict[tuple[UUID, str], Stands] = {}
        self.days_since: dict[UUID, date] = {}  # from which date on the days of a member are all here
        self.days: dict[UUID, dict[date, Day]] = {}
        self.unsure: set[UUID] = set()  # whose days a read may show with or without the batch before this one
        self.stepped: set[UUID] = set()  # whose steps are all here
        self.steps: dict[UUID, dict[StepKey, Step]] = {}
        self.notices: dict[UUID, set[Notice]] = {}  # of days to come, by member
        self.noticed: set[tuple[UUID, date]] = set()  # whose notices were read, and of which night
        # What this batch changes, for the writer: new rows, and rows that stood before.
        self.new_records: dict[tuple[UUID, str], StoredRecord] = {}
        self.new_names: dict[ActivityName, ActivityKey] = {}
        self.cancelled_names: set[ActivityName] = set()
        self.new_identifiers: dict[Identifier, UUID] = {}
        self.removed_identifiers: set[UUID] = set()  # of these members
        self.new_members: dict[UUID, Member] = {}
        self.changed_members: dict[UUID, Member] = {}
        self.profiles: dict[UUID, Profile | None] = {}
        self.changed_accounts: set[tuple[UUID, str]] = set()
        self.retimed_accounts: set[tuple[UUID, str]] = set()  # something is due at another instant
        self.changed_lots: dict[UUID, Lot] = {}
        self.changed_holds: dict[UUID, PlacedHold] = {}
        self.lot_owner: dict[UUID, UUID] = {}  # account → owner, for the cell of its rows
        self.new_activities: dict[UUID, tuple[int, Activity]] = {}
        self.changed_activities: dict[UUID, tuple[int, Activity]] = {}
        self.new_returns: list[tuple[int, UUID, Part]] = []  # cell of the purchase, id of the return
        self.changed_counters: set[tuple[UUID, CounterKey]] = set()
        self.changed_redemptions: dict[UUID, tuple[int, Redemption]] = {}
        self.changed_stocks: set[str] = set()
        self.changed_reservations: dict[tuple[str, UUID], Reservation] = {}
        self.changed_proposals: set[UUID] = set()
        self.changed_freezes: set[tuple[UUID, str]] = set()
        self.new_changes: set[UUID] = set()
        self.changed_pins: set[UUID] = set()
        self.changed_standings: set[tuple[UUID, str]] = set()
        self.new_days: dict[tuple[UUID, date], Day] = {}  # what comes to each
        self.new_moves: list[MoveMade] = []
        self.new_notices: list[tuple[UUID, UUID, Notice]] = []  # whose, by which decision
        self.audit: list[tuple[Submission, AuditLine]] = []
        self.published: tuple[int, datetime, Configuration] | None = None
        self.clock_moved = False
        self.closes_on: Any = None

    def follow(self, before: "Book") -> None:
        """Begin with what the batch before this one changes: a read may not show it yet.

        Needs: a batch that takes nothing of a person away (an erasure is a batch of its own).
        """
        assert not before.removed_identifiers and None not in before.profiles.values()
        self.records.update(before.new_records)
        for name in (*before.new_names, *before.cancelled_names):
            held = self.names[name] = before.names[name]
            if name[0] == "purchase" and held is not None:
                self.names_of[held.activity_id] = name
        self.identifiers.update(before.new_identifiers)
        self.newcomers.update(before.new_members)
        self.members.update(before.new_members)
        self.members.update(before.changed_members)
        for key in before.changed_accounts | before.retimed_accounts:
            account = self.accounts[key] = before.accounts[key]
            self.lot_owner[account.id] = account.owner_id
        for lot in before.changed_lots.values():
            self.lots.setdefault(lot.account_id, {})[lot.id] = lot
        for hold in before.changed_holds.values():
            self.put_hold(hold)
        for key in before.changed_counters:
            self.counters[key] = before.counters[key]
        for id in before.changed_proposals:
            self.proposals[id] = before.proposals[id]
        for key in before.changed_freezes:
            self.freezes[key] = before.freezes[key]
        for id in before.new_changes:
            self.changes[id] = before.changes[id]
        for id in before.changed_pins:
            self.pins[id] = before.pins[id]
        for key in before.changed_standings:
            self.standings[key] = before.standings[key]
        for id, _ in before.new_days:
            if id in before.newcomers:
                self.days[id] = dict(before.days[id])
            elif id in before.days_since:
                self.days_since[id], self.days[id] = before.days_since[id], dict(before.days[id])
            else:
                self.unsure.add(id)
        self.take_steps(before.new_moves)
        for id, _, notice in before.new_notices:
            self.notices.setdefault(id, set()).add(notice)
        for id, (_, activity) in (*before.new_activities.items(), *before.changed_activities.items()):
            self.activities[id] = activity
            self.returns[id] = before.returns.get(id, ())
            if id in before.names_of:
                self.names_of[id] = before.names_of[id]
        for _, _, part in before.new_returns:
            id = part.returned.purchase_id
            self.returns[id] = before.returns[id]
        for id, (_, redemption) in before.changed_redemptions.items():
            self.redemptions[id] = redemption
        for reward in before.changed_stocks:
            self.stocks[reward] = before.stocks[reward]
        for (reward, hold_id), reservation in before.changed_reservations.items():
            self.reserve(reward, hold_id, reservation)
        for lane in before.lanes.values():
            for decision in lane.decisions:
                self.decisions[decision.id] = before.decisions[decision.id]

    def lanes_behind(self, seen: Mapping[int, Lane]) -> dict[int, Lane]:
        """The lanes as this batch leaves them, when a read saw them just before or after it. Raises: Overtaken."""
        behind: dict[int, Lane] = {}
        for cell, lane in seen.items():
            mine = self.lanes[cell]
            assert mine.after is not None
            if lane.hash not in (mine.hash, mine.after.hash):
                raise Overtaken
            behind[cell] = mine.after
        return behind

    # --- reading -----------------------------------------------------------------------------------------

    @property
    def pieces(self) -> int:
        """How much one command may have to look at, in the pieces of base/aside.py: the most lots of an account that is
        here, the longest detail to be read again, or the lines of a purchase to be judged again by all rules."""
        lots = max(map(len, self.lots.values()), default=0)
        details = max([len(one.detail) for one in self.decisions.values()], default=0)
        contents = max([len(one.content or "") for one in self.activities.values() if one], default=0)
        return max(lots, details // 1_000, contents // LINE_TEXT * self.history.rules_max // JUDGED)

    def home(self, owner_id: UUID) -> int:
        """The cell of an owner, or of what bears an id like an owner's; asks for its lane when it is not held."""
        cell = cell_of(owner_id, self.cells) if self.cells > 1 else 0
        if cell not in self.lanes:
            raise Needs(cells=[cell])
        return cell

    def new_member_id(self) -> UUID:
        """An id whose rows live in a lane that the batch holds."""
        return self.new_id_in(self.lanes)

    def new_id_at(self, cell: int) -> UUID:
        """An id that tells by itself that its row lives in `cell`."""
        return self.new_id_in((cell,))

    def new_id_in(self, cells: Container[int]) -> UUID:
        """An id that tells by itself that its row lives in one of `cells`."""
        while True:
            id = self.ids()
            if self.cells == 1 or cell_of(id, self.cells) in cells:
                return id

    def need_cells(self, cells: Iterable[int]) -> None:
        """The batch must hold these lanes from its beginning."""
        missing = [cell for cell in cells if cell not in self.lanes]
        if missing:
            raise Needs(cells=missing)

    def need_accounts(self, owner_id: UUID) -> None:
        """An account that is not here is known not to exist: its owner's were read."""
        if owner_id not in self.accounted and owner_id not in self.newcomers:
            keys = Keys.none()
            keys.members.add(owner_id)
            raise Needs(keys)

    def purchase_state(self, activity_id: UUID) -> str:
        """Whether a purchase that was read stands: recorded or cancelled."""
        held = self.names[self.names_of[activity_id]]
        assert held is not None
        return held.state

    def lies_elsewhere(self, activity_id: UUID) -> bool:
        """Whether a purchase that was looked for in the program's own lane is in a member's."""
        held = self.names[self.names_of[activity_id]] if activity_id in self.names_of else None
        return held is not None and held.cell != 0

    def name(self, name: ActivityName) -> ActivityKey | None:
        try:
            return self.names[name]
        except KeyError:
            keys = Keys.none()
            keys.activity_names.add(name)
            raise Needs(keys) from None

    def identified(self, identifier: Identifier) -> UUID | None:
        """The member who has this identifier, if anybody."""
        try:
            return self.identifiers[identifier]
        except KeyError:
            keys = Keys.none()
            keys.identifiers.add(identifier)
            raise Needs(keys) from None

    def member(self, id: UUID) -> Member:
        """A member by id, the survivor where it was merged. Raises: MemberNotFound."""
        self.home(id)
        if id not in self.members:
            keys = Keys.none()
            keys.members.add(id)
            raise Needs(keys)
        member = self.members[id]
        if member is None:
            raise MemberNotFound
        return self.member(member.merged_into) if member.merged_into else member

    def resolve(self, ref: MemberRef) -> Member:
        """The member that a command names. Raises: MemberNotFound, MemberErased."""
        id = ref.id
        if id is None:
            assert ref.identifier is not None
            id = self.identified(ref.identifier)
            if id is None:
                raise MemberNotFound
        member = self.member(id)
        if member.status is MemberStatus.ERASED:
            raise MemberErased(member_id=member.id)
        return member

    def purchase_named(self, id: UUID) -> ActivityName | None:
        """The receipt of the purchase with this id, wherever it lives."""
        if id not in self.names_of and id not in self.activities:
            keys = Keys.none()
            keys.activities.add((min(self.lanes), id))
            raise Needs(keys)
        return self.names_of.get(id)

    def decision(self, cell: int, id: UUID) -> StoredDecision:
        if id not in self.decisions:
            self.need_cells([cell])
            keys = Keys.none()
            keys.decisions.add((cell, id))
            raise Needs(keys)
        return self.decisions[id]

    def activity(self, cell: int, id: UUID) -> Activity | None:
        if id not in self.activities:
            self.need_cells([cell])
            keys = Keys.none()
            keys.activities.add((cell, id))
            raise Needs(keys)
        return self.activities[id]

    def hold(self, id: UUID) -> PlacedHold:
        """A hold by id; its owner's accounts were read with it. Raises: HoldNotFound."""
        self.home(id)
        if id not in self.holds:
            keys = Keys.none()
            keys.holds.add(id)
            raise Needs(keys)
        hold = self.holds[id]
        if hold is None:
            raise HoldNotFound
        return hold

    def put_hold(self, hold: PlacedHold) -> None:
        self.holds[hold.id] = hold
        self.holds_of.setdefault(hold.account_id, set()).add(hold.id)

    def redemption(self, id: UUID) -> Redemption:
        """Raises: RedemptionNotFound."""
        cell = self.home(id)
        if id not in self.redemptions:
            keys = Keys.none()
            keys.redemptions.add((cell, id))
            raise Needs(keys)
        found = self.redemptions[id]
        if found is None:
            raise RedemptionNotFound
        return found

    def stock(self, reward: str) -> int:
        """How many of a reward there are; the program's own lane keeps it."""
        self.need_cells([0])
        if reward not in self.stocks:
            raise Needs(Keys(stocks={reward}))
        return self.stocks[reward]

    def reserved(self, reward: str) -> int:
        """How many of a reward's stock are set aside now."""
        self.stock(reward)
        if reward not in self.set_aside:  # the batch before changed the stock, which is why that is here
            raise Needs(Keys(stocks={reward}))
        return self.set_aside[reward] + sum(map(self.alive, self.reservations.get(reward, {}).values()))

    def reservation(self, reward: str, hold_id: UUID) -> Reservation | None:
        """What a hold sets aside so far: its row says the same as that of its reservation."""
        changed = self.reservations.get(reward, {}).get(hold_id)
        hold = self.holds.get(hold_id)
        if changed is not None or hold is None:
            return changed
        assert hold.quantity is not None
        return Reservation(hold.quantity, hold.ended_at or hold.lapses_at)

    def reserve(self, reward: str, hold_id: UUID, reservation: Reservation) -> None:
        """Needs: the hold as it was, or none of a new one, among `holds`."""
        mine = self.reservations.setdefault(reward, {})
        if reward in self.set_aside and hold_id not in mine:
            self.set_aside[reward] -= self.alive(self.reservation(reward, hold_id))
        mine[hold_id] = reservation

    def alive(self, reservation: Reservation | None) -> int:
        """How many a reservation sets aside now: none once its time is over."""
        return 0 if reservation is None or reservation.ends_at <= self.now else reservation.quantity

    def identifier_kinds(self, member_id: UUID) -> frozenset[str]:
        """The kinds of identifiers that a member has."""
        if member_id not in self.kinds and member_id not in self.newcomers:
            keys = Keys.none()
            keys.identified.add(member_id)
            raise Needs(keys)
        # Identifiers that came in this batch, or in the one before it.
        fresh = [
            identifier.kind.value for identifier, owner in self.identifiers.items() if owner == member_id
        ]
        return self.kinds.get(member_id, frozenset()).union(fresh)

    def counter(self, owner_id: UUID, key: CounterKey) -> int:
        """Points counted so far; a period that was not read is asked for."""
        self.know_counters([(owner_id, key)])
        return self.counters.get((owner_id, key), 0)

    def know_counters(self, wanted: Iterable[tuple[UUID, CounterKey]]) -> None:
        """Ask for all of these that were not read, at once."""
        keys: Keys | None = None  # made when needed: this is asked some times for every purchase
        for owner_id, key in wanted:
            if key.of_program:
                self.need_cells([0])
            if key.period not in self.counted.get(owner_id, ()) and owner_id not in self.newcomers:
                keys = keys or Keys.none()
                keys.periods.add(key.period)
                (keys.actors if key.of_program else keys.members).add(owner_id)
        if keys is not None:
            raise Needs(keys)

    def know_owner(self, owner_id: UUID) -> None:
        """Ask for all that stands against taking points from a member, and for its accounts."""
        if owner_id not in self.owners and owner_id not in self.newcomers:
            raise Needs(Keys(owners={owner_id}))

    def freeze(self, owner_id: UUID, points_currency: str) -> Freeze | None:
        """What was last said about freezing an account, if anything was."""
        self.know_owner(owner_id)
        return self.freezes.get((owner_id, points_currency))

    def changed_at(self, member_id: UUID) -> datetime | None:
        """When profile or identifiers of a member last changed; None: not since it was enrolled."""
        self.know_owner(member_id)
        return self.changes.get(member_id)

    def pin(self, member_id: UUID) -> Pin | None:
        """A member's PIN, if it has one."""
        self.know_owner(member_id)
        return self.pins.get(member_id)

    def standing(self, member_id: UUID, tier_set: str) -> Stands | None:
        """Where a member was last found to stand; None: nobody has looked yet."""
        if member_id not in self.ranked and member_id not in self.newcomers:
            raise Needs(Keys(members={member_id}, standings=True))
        return self.standings.get((member_id, tier_set))

    def days_of(self, member_id: UUID, since: date) -> dict[date, Day]:
        """What a member did day by day, from a date on and perhaps before it. Raises: Overtaken."""
        if member_id in self.newcomers:
            return self.days.get(member_id, {})
        if self.days_since.get(member_id, date.max) > since:
            if member_id in self.unsure:
                raise Overtaken
            raise Needs(Keys(days={member_id: since}))
        return self.days[member_id]

    def steps_of(self, member_id: UUID) -> dict[StepKey, Step]:
        """The steps of a member on all ladders."""
        if member_id not in self.stepped and member_id not in self.newcomers:
            raise Needs(Keys(steps={member_id}))
        return self.steps.get(member_id, {})

    def take_steps(self, made: Iterable[MoveMade]) -> None:
        """Steps that were made since they were read, or may have been."""
        for member_id, key, move in made:
            self.steps.setdefault(member_id, {})[key] = Step(move.at, move.after)

    def told(self, member_id: UUID, night: date) -> set[Notice]:
        """What a member was told already, all of what was due to be told on a night."""
        if (member_id, night) not in self.noticed and member_id not in self.newcomers:
            raise Needs(Keys(noticed={(member_id, night)}))
        return self.notices.get(member_id, set())

    def proposal(self, id: UUID) -> Proposal | None:
        self.home(id)
        if id not in self.proposals:
            raise Needs(Keys(proposals={id}))
        return self.proposals[id]


class Considered(Struct, frozen=True):
    """What a purchase comes to by one configuration before anything is read of its member."""

    judged_by: Loaded
    occurred_at: datetime
    facts: Facts
    content: str  # JSON, as it is kept
    content_sha256: str
    amount_minor: int
    evaluation: Evaluation  # while no cap has counted anything


class Share(Struct, frozen=True):
    """What one lane has of a command that changes rows of several."""

    entries: list[Entry]
    used: list[tuple[UUID, CounterKey, int]]


class Made(Struct, frozen=True):
    """A decision, with what other lanes have of it and what members of any lane are told."""

    decision: Decision
    cell: int
    counterparts: tuple[tuple[int, Decision], ...]
    events: tuple[tuple[int, Event], ...]


class Work:
    """One command's changes. `accept` lays them over the book; dropping it leaves the book as it was."""

    def __init__(self, book: Book, submission: Submission, considered: Considered | None = None) -> None:
        self.book = book
        self.submission = submission
        self.considered = considered
        self.now = book.now
        self.decision_id = book.ids()
        self.part_of: UUID | None = None  # the decision of an exchange, while its parts are decided
        self.parts: list[Made] = []  # decisions of this command before its last
        self.entries: list[Entry] = []
        self.events: list[Event] = []
        self.accounts: dict[tuple[UUID, str], Account] = {}
        self.lots: dict[UUID, dict[UUID, Lot]] = {}
        self.holds: dict[UUID, dict[UUID, PlacedHold]] = {}  # by account
        self._complete: set[UUID] = set()
        self.counted: dict[tuple[UUID, CounterKey], int] = {}
        self.used: list[tuple[UUID, CounterKey, int]] = []  # limits that are no rule's cap, and by how much
        self.proposal: Proposal | None = None  # made or decided by this command
        self.freezes: dict[tuple[UUID, str], Freeze] = {}
        self.changes: dict[UUID, datetime] = {}
        self.pins: dict[UUID, Pin] = {}
        self.standings: dict[tuple[UUID, str], Stands] = {}
        self.stood: dict[tuple[UUID, str], Stood] = {}  # what the decision notes of them
        self.did: dict[tuple[UUID, date], Day] = {}  # what comes to each day
        self.moves: list[MoveMade] = []
        self.notices: list[tuple[UUID, UUID, Notice]] = []
        self.audit: list[AuditLine] = []
        self.new_names: dict[ActivityName, ActivityKey] = {}
        self.cancelled: set[ActivityName] = set()
        self.identifiers: dict[Identifier, UUID] = {}
        self.removed_identifiers: set[UUID] = set()
        self.new_members: dict[UUID, Member] = {}
        self.changed_members: dict[UUID, Member] = {}
        self.profiles: dict[UUID, Profile | None] = {}
        self.new_activities: dict[UUID, tuple[int, Activity]] = {}
        self.changed_activities: dict[UUID, tuple[int, Activity]] = {}
        self.new_returns: list[tuple[int, UUID, Part]] = []
        self.redemptions: dict[UUID, tuple[int, Redemption]] = {}
        self.stocks: dict[str, int] = {}
        self.reservations: dict[tuple[str, UUID], Reservation] = {}
        self.published: tuple[int, datetime, Configuration] | None = None
        self.clock: SandboxClock | None = None
        self.closes_on: Any = None
        self.touched: set[int] = set()
        self._deltas: list[tuple[Entry, Account, int, int, int, int]] = []

    @cached_property
    def policies(self) -> Loaded:
        """The configuration that governs what is decided now."""
        return self.book.history.at(self.book.now)

    # --- accounts ------------------------------------------------------------------------------------------

    def account(self, owner_id: UUID, currency: str) -> Account | None:
        """This command's copy of an account, settled at the batch's instant; None when there is none yet."""
        key = (owner_id, currency)
        mine = self.accounts.get(key)
        if mine is not None:
            return mine
        stored = self.book.accounts.get(key)
        if stored is None:
            if owner_id not in self.new_members:
                self.book.need_accounts(owner_id)
            return None
        mine = self.accounts[key] = copy(stored)
        self.settle(mine)
        return mine

    def joined_on(self, member_id: UUID) -> date:
        """The local date on which a member joined."""
        member = self.new_members.get(member_id) or self.book.member(member_id)
        return local_date(member.enrolled_at, self.book.history.now.zone)

    def open_account(self, owner_id: UUID, currency: str) -> Account:
        """The account, new and empty when it is the owner's first of this points currency."""
        found = self.account(owner_id, currency)
        if found is None:
            found = self.accounts[owner_id, currency] = Account(self.book.ids(), owner_id, currency)
            self.lots[found.id] = {}
            self._complete.add(found.id)
        return found

    def open_lots(self, account: Account) -> dict[UUID, Lot]:
        """Copies of all open lots of an account (and of others of it that were read), by id."""
        if account.id not in self._complete:
            if account.id not in self.book.lots_complete:
                keys = Keys.none()
                keys.open_lots.add(account.id)
                raise Needs(keys)
            self._take_lots(account)
            self._complete.add(account.id)
        return self.lots[account.id]

    def lots_of(self, account: Account, lot_ids: Iterable[UUID]) -> dict[UUID, Lot]:
        """The open lots of an account and the named ones, open or not."""
        mine = self.open_lots(account)
        stored = self.book.lots.get(account.id, {})
        keys = Keys.none()
        for id in lot_ids:
            if id not in mine:
                if id in stored:
                    mine[id] = copy(stored[id])
                else:
                    keys.lots.add((self.book.home(account.owner_id), id))
        if keys.lots:
            raise Needs(keys)
        return mine

    def expired_lots(self, account: Account, since: datetime) -> dict[UUID, Lot]:
        """Copies of an account's lots of which points expired, and whose end is after `since`."""
        known = self.book.expired_since.get(account.id)
        if known is None or known > since:
            raise Needs(Keys(open_lots={account.id}, expired={account.id: since}))
        mine = self.open_lots(account).items()
        return {id: lot for id, lot in mine if lot.expired and lot.expires_at and lot.expires_at > since}

    def open_holds(self, account: Account) -> list[PlacedHold]:
        """Copies of all open holds of an account, in the order in which they were placed."""
        self.open_lots(account)
        mine = self.holds.get(account.id, {})
        return [mine[id] for id in sorted(mine) if mine[id].parts]

    def hold(self, id: UUID) -> tuple[Account, PlacedHold]:
        """This command's copy of a hold and its account, both settled. Raises: HoldNotFound."""
        stored = self.book.hold(id)
        account = self.account(stored.owner_id, stored.points_currency)
        assert account is not None, "a hold without its account"
        self.open_lots(account)
        return account, self.holds[account.id][id]

    def put_hold(self, hold: PlacedHold) -> None:
        """Lay a new or changed hold over what there is."""
        self.holds.setdefault(hold.account_id, {})[hold.id] = hold

    def _take_lots(self, account: Account) -> None:
        mine = self.lots.setdefault(account.id, {})
        for id, lot in self.book.lots.get(account.id, {}).items():
            if id not in mine:
                mine[id] = copy(lot)
        if held := self.book.holds_of.get(account.id):
            holds = self.holds.setdefault(account.id, {})
            for id in held:
                hold = self.book.holds[id]
                assert hold is not None
                holds[id] = copy(hold)

    def settle(self, account: Account) -> None:
        """Write what is due: before a command, and after its own entries (a late credit, a debt to repay)."""
        due = account.next_due_at is not None and account.next_due_at <= self.book.now
        lots = self.open_lots(account) if due or (account.debt and account.available) else {}
        for draft in settle(account, lots, self.holds.get(account.id, {}).values(), self.book.now):
            self.post(account, draft)

    def refuse_full(self, owner_id: UUID, lots: int) -> None:
        """Raises LotsLimitExceeded when so many more lots are too many for an owner.

        What was read may lack the batch before this one, and each batch gives an owner LOTS_MAX at most: by them no
        owner gets to three times as many.
        """
        book = self.book
        if owner_id in book.full or book.lots_given.get(owner_id, 0) + lots > LOTS_MAX:
            raise LotsLimitExceeded(lots_max=LOTS_MAX)

    def post(self, account: Account, draft: EntryDraft, id: UUID | None = None) -> Entry:
        """Write a draft on an account: figures, numbering and the balance it leaves; the entry, of several the last.

        Raises: LotsLimitExceeded.
        """
        if draft.lots and draft.cause != WAIVED:  # a debt that is let go leaves no lot open
            self.refuse_full(account.owner_id, len(draft.lots))
        *before, last = postings.divided(draft)
        for share in before:
            self._enter(account, share)
        return self._enter(account, last, id)

    def _enter(self, account: Account, draft: EntryDraft, id: UUID | None = None) -> Entry:
        before = (account.pending, account.available, account.held, account.debt)
        entry = postings.apply(
            account,
            self.lots.setdefault(account.id, {}),
            draft,
            id=id or self.book.ids(),
            decision_id=self.decision_id,
        )
        # Not in `apply`: as of a past instant points may stand side by side that never did in the books.
        if account.pending + account.available + account.held > POINTS_MAX:
            raise LawBroken(f"{entry.kind} leaves account {account.id} with more than can be counted")
        if stir(account, entry, self.book.history.now.zone):
            holds = self.holds.get(account.id, {}).values()
            account.next_due_at = next_due(account, self.open_lots(account), holds)
        self.entries.append(entry)
        self._deltas.append((entry, account, *before))
        return entry

    def deltas(self, of: Callable[[UUID], bool]) -> list[dict[str, Any]]:
        """What each entry on the accounts of some owners changed, for the engagement event that tells them."""
        return [
            {
                "entry_id": entry.id,
                "account_id": entry.account_id,
                "points_currency": account.points_currency,
                "kind": entry.kind,
                "occurred_at": entry.occurred_at,
                "pending": entry.pending - pending,
                "available": entry.available - available,
                "held": entry.held - held,
                "debt": entry.debt - debt,
            }
            for entry, account, pending, available, held, debt in self._deltas
            if of(account.owner_id)
        ]

    def repaid(self, points_currency: str) -> int:
        """Points of this command's entries that paid what was owed."""
        return sum(
            debt - entry.debt
            for entry, account, *_, debt in self._deltas
            if entry.kind is EntryKind.REPAY and account.points_currency == points_currency
        )

    def stock(self, reward: str) -> int:
        """How many of a reward there are."""
        return self.stocks[reward] if reward in self.stocks else self.book.stock(reward)

    def restock(self, reward: str, by: int) -> None:
        """Change how many of a reward there are."""
        self.stocks[reward] = self.stock(reward) + by
        self.touched.add(0)

    def reserved(self, reward: str) -> int:
        """How many of them are set aside."""
        book = self.book
        known = book.reserved(reward)
        for (name, hold_id), mine in self.reservations.items():
            if name == reward:
                known += book.alive(mine) - book.alive(book.reservation(reward, hold_id))
        return known

    def reserve(self, reward: str, hold_id: UUID, quantity: int, ends_at: datetime) -> None:
        """Say until when a hold sets so many of a reward aside; the program's own lane keeps it."""
        self.book.need_cells([0])
        self.reservations[reward, hold_id] = Reservation(quantity, ends_at)
        self.touched.add(0)

    def freeze(self, owner_id: UUID, points_currency: str) -> Freeze | None:
        """What is said about freezing an account, this command's word first."""
        key = (owner_id, points_currency)
        if key in self.freezes or owner_id in self.new_members:
            return self.freezes.get(key)
        return self.book.freeze(*key)

    def pin(self, member_id: UUID) -> Pin | None:
        """A member's PIN, this command's word first."""
        if member_id in self.pins or member_id in self.new_members:
            return self.pins.get(member_id)
        return self.book.pin(member_id)

    def days(self, member_id: UUID, since: date) -> list[Day]:
        """What a member did day by day, this command's part with it, from a date on."""
        stored = {} if member_id in self.new_members else self.book.days_of(member_id, since)
        # A long life may be here, for the sake of another who asked.
        days = {on: day for on, day in stored.items() if on >= since}
        for (id, on), day in self.did.items():
            if id == member_id and on >= since:
                days[on] = _sum(days.get(on), day)
        return list(days.values())

    def steps(self, member_id: UUID, tier_set: str) -> list[Step]:
        """A member's steps on one ladder, this command's with them, in their order."""
        known = {} if member_id in self.new_members else dict(self.book.steps_of(member_id))
        known |= {key: Step(move.at, move.after) for id, key, move in self.moves if id == member_id}
        return [known[key] for key in sorted(known) if key[1] == tier_set]

    def stood_of(self, member_id: UUID | None) -> tuple[Stood, ...]:
        """What the decision notes of tiers: those of the member it is about."""
        assert all(id == member_id for id, _ in self.stood), "a decision moves the tiers of its own member"
        return tuple(self.stood.values())

    def does(self, member_id: UUID, day: Day) -> None:
        """Something comes to a day of a member, or goes from it (below zero)."""
        key = (member_id, day.on)
        self.did[key] = _sum(self.did.get(key), day)

    def counter(self, owner_id: UUID, key: CounterKey) -> int:
        mine = self.counted.get((owner_id, key))
        if mine is not None:
            return mine
        return 0 if owner_id in self.new_members else self.book.counter(owner_id, key)

    def count(self, owner_id: UUID, key: CounterKey, points: int) -> None:
        """Raise (or give back, below zero) what a cap has counted."""
        self.counted[owner_id, key] = max(0, self.counter(owner_id, key) + points)

    def use(self, owner_id: UUID, key: CounterKey, points: int) -> None:
        """Raise (or give back, below zero) a limit that is no rule's cap; the decision says so."""
        self.count(owner_id, key, points)
        self.used.append((owner_id, key, points))

    def shares(self, cell: int) -> "dict[int, Share]":
        """Entries and raised limits by the lane whose rows they change; `cell` is the decision's own, the first."""
        shares = {cell: Share(self.entries, self.used)}
        if self.book.cells == 1:
            return shares
        shares[cell] = Share([], [])
        for entry, account, *_ in self._deltas:
            shares.setdefault(self.book.home(account.owner_id), Share([], [])).entries.append(entry)
        for owner_id, key, points in self.used:
            home = 0 if key.of_program else self.book.home(owner_id)
            shares.setdefault(home, Share([], [])).used.append((owner_id, key, points))
        return shares

    # --- acceptance ----------------------------------------------------------------------------------------

    def set_aside(self, made: Made) -> None:
        """One of several decisions of this command is made; what follows belongs to the next."""
        self.parts.append(made)
        self.entries, self.events, self.used, self._deltas = [], [], [], []
        self.stood = {}
        self.decision_id = self.book.ids()

    def accept(self, last: Made) -> None:
        """Lay this command's changes over the book: the commands behind it see them."""
        book = self.book
        for made in (*self.parts, last):
            decision = made.decision
            book.lanes[made.cell].decisions.append(decision)
            for cell, counterpart in made.counterparts:
                book.lanes[cell].decisions.append(counterpart)
            for cell, event in made.events:
                book.lanes[cell].events.append((book.ids(), decision.id, event))
            book.decisions[decision.id] = StoredDecision(
                decision.id, decision.kind, decision.detail, decision.answer_status, decision.answer
            )
        for touched in self.touched:
            book.lanes[touched].touched = True
        for key, account in self.accounts.items():
            stored = book.accounts.get(key)
            moved = account.seq != (0 if stored is None else stored.seq)
            if account.id in self._complete:
                holds = self.holds.get(account.id, {}).values()
                account.next_due_at = next_due(account, self.lots[account.id], holds)
            if moved:
                book.changed_accounts.add(key)
                book.accounts[key] = account
                self._accept_lots(account)
            elif stored is not None and account.next_due_at != stored.next_due_at:
                book.retimed_accounts.add(key)  # a hold was extended: no points moved
                book.accounts[key] = account
        for key, reservation in self.reservations.items():
            book.reserve(*key, reservation)  # while its hold is as it was
            book.changed_reservations[key] = reservation
        for holds in self.holds.values():
            for id, hold in holds.items():
                if book.holds.get(id) != hold:
                    book.put_hold(hold)
                    book.changed_holds[id] = hold
        for key, points in self.counted.items():
            book.counters[key] = points
            book.changed_counters.add(key)
        if self.proposal is not None:
            book.proposals[self.proposal.id] = self.proposal
            book.changed_proposals.add(self.proposal.id)
        book.freezes.update(self.freezes)
        book.changed_freezes.update(self.freezes)
        book.changes.update(self.changes)
        book.new_changes.update(self.changes)
        book.pins.update(self.pins)
        book.changed_pins.update(self.pins)
        for key, stands in self.standings.items():
            if book.standings.get(key) != stands:
                book.standings[key] = stands
                book.changed_standings.add(key)
        for (id, on), day in self.did.items():
            book.new_days[id, on] = _sum(book.new_days.get((id, on)), day)
            if id in book.days_since or id in book.newcomers or id in self.new_members:
                days = book.days.setdefault(id, {})
                days[on] = _sum(days.get(on), day)
        book.new_moves.extend(self.moves)
        book.take_steps(self.moves)
        book.new_notices.extend(self.notices)
        for id, _, notice in self.notices:
            book.notices.setdefault(id, set()).add(notice)
        book.audit.extend((self.submission, line) for line in self.audit)
        for name, held in self.new_names.items():
            book.names[name] = book.new_names[name] = held
            if name[0] == "purchase":
                book.names_of[held.activity_id] = name
        for id, (home, activity) in self.new_activities.items():
            book.activities[id] = activity
            book.new_activities[id] = (home, activity)
        if self.changes_people:
            self._accept_people()
        for name in self.cancelled:
            held = book.names[name]
            assert held is not None
            after = ActivityKey(
                "cancelled", held.activity_id, held.cell, held.decision_id, held.content_digest
            )
            book.names[name] = after
            if name in book.new_names:
                book.new_names[name] = after
            else:
                book.cancelled_names.add(name)
        for id, (home, activity) in self.changed_activities.items():
            book.activities[id] = activity
            (book.new_activities if id in book.new_activities else book.changed_activities)[id] = (
                home,
                activity,
            )
        for home, id, part in self.new_returns:
            purchase_id = part.returned.purchase_id
            book.returns[purchase_id] = (*book.returns.get(purchase_id, ()), part)
            book.new_returns.append((home, id, part))
        for id, (home, redemption) in self.redemptions.items():
            book.redemptions[id] = redemption
            book.changed_redemptions[id] = (home, redemption)
        for reward, stock in self.stocks.items():
            book.stocks[reward] = stock
            book.changed_stocks.add(reward)
        book.published = self.published or book.published
        if self.clock is not None:
            book.clock, book.clock_moved = self.clock, True
        book.closes_on = self.closes_on or book.closes_on

    def _accept_people(self) -> None:
        book = self.book
        book.identifiers.update(self.identifiers)
        book.new_identifiers.update(self.identifiers)
        for member_id in self.removed_identifiers:
            gone = [identifier for identifier, owner in book.identifiers.items() if owner == member_id]
            for identifier in gone:
                book.identifiers[identifier] = None
                book.new_identifiers.pop(identifier, None)
            book.removed_identifiers.add(member_id)
        book.members.update(self.new_members)
        book.new_members.update(self.new_members)
        book.newcomers.update(self.new_members)
        for id, member in self.changed_members.items():
            book.members[id] = member
            (book.new_members if id in book.new_members else book.changed_members)[id] = member
        book.profiles.update(self.profiles)

    @property
    def changes_people(self) -> bool:
        """Whether members, identifiers or profiles change."""
        return bool(
            self.new_members
            or self.changed_members
            or self.identifiers
            or self.removed_identifiers
            or self.profiles
        )

    def _accept_lots(self, account: Account) -> None:
        book = self.book
        stored = book.lots.setdefault(account.id, {})
        book.lot_owner[account.id] = account.owner_id
        if account.id in self._complete:
            book.lots_complete.add(account.id)
        new = 0
        for id, lot in self.lots[account.id].items():
            if stored.get(id) != lot:
                new += id not in stored
                stored[id] = book.changed_lots[id] = lot
        if new:
            book.lots_given[account.owner_id] = book.lots_given.get(account.owner_id, 0) + new


def _sum(before: Day | None, more: Day) -> Day:
    """A day with what comes to it."""
    if before is None:
        return more
    points = dict(before.points)
    for code, figure in more.points.items():
        points[code] = points.get(code, 0) + figure
    return Day(before.on, before.spend_minor + more.spend_minor, before.visits + more.visits, points)
