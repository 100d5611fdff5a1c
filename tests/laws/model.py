"""A second, small loyalty program in plain Python: what every answer and every balance must be.

Written from the laws and the rules in docs/, sharing no code with the program; slow, obvious, in memory. A
configuration is read in its public form (a dict as in a program file), a lot is a dict of figures, time is a
number that the test moves. It knows ids only as what the test calls things.
"""

import pickle
from ast import literal_eval
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

from tests.laws import ladders
from tests.laws.judge import JSON, Given, awarded, holds, may_earn, named_period, shared, still

NEVER = datetime.max.replace(tzinfo=UTC)
POINTS_MAX = 2**53 - 1


class No(Exception):
    """A refusal: its status and code."""

    def __init__(self, status: int, code: str, reasons: list[str] | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.reasons = status, code, reasons


class WrongPin(No):
    """A refusal that counts."""

    def __init__(self, member: int) -> None:
        super().__init__(403, "pin_wrong")
        self.member = member


class Again(Exception):
    """This was asked before: the first answer, whose number is given."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.answer = answer


@dataclass
class Idle:
    """How far what an owner does has put off the end of an account's points that slide."""

    policy: JSON = field(default_factory=dict)  # of the last such points that were given to it
    until: datetime | None = None


@dataclass
class Lot:
    """The points of one credit and where they are now."""

    issue: int  # rises with every lot of the program
    points: int
    activates: datetime | None
    expires: datetime | None
    arrived: datetime  # when its points last came
    known: datetime  # when it was recorded
    earned: datetime
    by: str = ""  # the policy by which it slides, if it does
    slides: Idle | None = None  # of its account
    pending: int = 0
    available: int = 0
    held: int = 0
    redeemed: int = 0
    expired: int = 0
    revoked: int = 0
    given: int = 0  # to other members
    lent: int = 0  # paid for the debt of another lot
    owed: int = 0  # revoked without being there
    dated: datetime | None = None  # its end as it was given first, where it slides
    over: bool = False  # points of it expired once

    @property
    def ends(self) -> datetime:
        if self.slides is None or self.slides.until is None or self.expires is None:
            return self.expires or NEVER
        if self.over or self.expires != self.dated:  # it has ended once, or got another date
            return self.expires
        return max(self.expires, self.slides.until)

    def expire(self, points: int) -> None:
        """So many are over: what its owner does from now on plays no part in when that was."""
        self.expires = None if self.expires is None else self.ends
        self.expired, self.over = self.expired + points, True

    @property
    def turn(self) -> tuple[datetime, datetime, int]:
        """Which is spent first: what ends first, then what was earned first."""
        return self.ends, self.earned, self.issue


@dataclass
class Hold:
    """Points of some lots set aside until a deadline."""

    number: int
    member: int
    code: str
    lots: list[Lot]  # of the account
    points: int
    since: datetime
    lapses: datetime
    grace: datetime | None  # until when points are good that come back after their end
    parts: list[tuple[Lot, int]]
    reward: str | None = None
    quantity: int = 0
    terms: JSON = field(default_factory=dict)  # the reward as it was then
    state: str = "open"
    captured: int = 0
    ended: datetime | None = None

    @property
    def held(self) -> int:
        return sum(points for _, points in self.parts)


@dataclass
class Member:
    number: int
    enrolled: datetime
    status: str = "active"
    lots: dict[str, list[Lot]] = field(default_factory=dict)  # by points currency
    idle: dict[str, Idle] = field(default_factory=dict)  # the same
    counters: dict[tuple[str, str], int] = field(default_factory=dict)  # by rule and period
    frozen: set[str] = field(default_factory=set)  # points currencies
    changed: datetime | None = None  # when its identifiers last changed
    pin: int = 0  # version
    wrong: int = 0  # in a row
    locked: datetime | None = None
    did: ladders.Days = field(default_factory=ladders.Days)
    places: dict[str, ladders.Place] = field(default_factory=dict)  # by tier set, once looked at


@dataclass
class Proposal:
    """What somebody wants done by hand."""

    kind: str
    member: int
    code: str
    points: int
    by: str
    lapses: datetime
    asked: datetime
    state: str = "proposed"


Dates = tuple[
    datetime | None, datetime | None, str
]  # from when and until when points are good, by what they slide
Actor = tuple[str, str, str]  # kind, name, role
Proof = tuple[int, bool] | None  # which version of a PIN, and whether it was right
SYSTEM: Actor = ("client", "system", "admin")


@dataclass
class Purchase:
    """One recorded purchase: what it gave, to whom, by which lots."""

    number: int
    content: Any
    at: datetime
    about: JSON
    answer: int
    member: int | None = None
    claim: int | None = None  # its answer
    cancelled: bool = False
    lots: dict[tuple[str, Dates], Lot] = field(default_factory=dict)
    into: list[tuple[str, Dates]] = field(default_factory=list)  # of each award, which of them
    left: list[int] = field(default_factory=list)  # thousandths per line; a line of quantity 0 counts as one
    judged_on: list[int] = field(default_factory=list)  # what was left when it was judged
    basis: dict[str, list[int]] = field(default_factory=dict)  # what of that could earn
    judged_by: JSON = field(default_factory=dict)  # the configuration when it was recorded
    awards: list[Given] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)  # of each award
    paid: list[tuple[Hold, list[tuple[Lot, int]], int, int]] = field(default_factory=list)
    given: list[int] = field(default_factory=list)  # of each hold that paid, what came back
    tiers: dict[str, list[str]] = field(default_factory=dict)  # that its rules were judged by

    @property
    def bought(self) -> list[int]:
        return [line["quantity_milli"] or 1 for line in self.about["lines"]]


@dataclass
class Redemption:
    """Points that became something, and from which lots they came."""

    member: int
    code: str
    parts: list[tuple[Lot, int]]
    at: datetime
    terms: JSON  # the reward or the points currency's `pay`, as it was then
    reward: str | None
    quantity: int
    place: JSON
    answer: int  # of what brought about the present state
    state: str = "issued"


class Model:
    """The program: commands are methods that return what was earned or raise No or Again."""

    def __init__(self, configuration: JSON, now: datetime) -> None:
        self.now = now
        self.history: list[tuple[datetime, JSON]] = [(now, configuration)]
        self.published = [now]  # when each was
        self.members: dict[int, Member] = {}
        self.identifiers: dict[tuple[str, str], int] = {}
        self.receipts: dict[tuple[str, str], Purchase | None] = {}  # None: cancelled unseen
        self.cancels: dict[tuple[str, str], int] = {}
        self.rows: dict[tuple[str, str], tuple[Any, int]] = {}
        self.holds: list[Hold] = []
        self.backs: dict[tuple[str, str], tuple[Any, int]] = {}  # returns
        self.exchanges: dict[tuple[Any, Any], int] = {}
        self.redemptions: list[Redemption] = []
        self.stocks: dict[str, int] = {}
        self.issued = 0
        self.proposals: list[Proposal] = []
        self.used: dict[tuple[Any, ...], int] = {}  # what limits have counted
        self.closed: date | None = None
        self.moving_to: datetime | None = None  # while the clock is on its way

    def do(self, command: str, *about: Any) -> Any:
        """Run one command; a refused one leaves everything as it was."""
        if self.moving_to is not None and command not in ("advance", "settle_due", "close_day"):
            raise No(409, "clock_moving")
        before = pickle.dumps(vars(self))
        try:
            return getattr(self, command)(*about)
        except (No, Again) as other:
            vars(self).update(pickle.loads(before))
            if isinstance(other, WrongPin):
                self.count_wrong(self.members[other.member])
            raise

    # --- configuration and time ---------------------------------------------------------------------------

    @property
    def present(self) -> JSON:
        """The configuration whose policies govern what is decided now."""
        return self.then(self.now)

    @property
    def policies(self) -> JSON:
        return self.present["settings"].get("policies", {})

    def then(self, at: datetime) -> JSON:
        """The last to come in force by `at`, of one instant the last published; before all, the first."""
        begun = [(since, number) for number, (since, _) in enumerate(self.history) if since <= at]
        return self.history[max(begun)[1] if begun else 0][1]

    def currency(self, configuration: JSON, code: str) -> JSON:
        for currency in configuration["settings"]["points_currencies"]:
            if currency["code"] == code:
                return currency
        raise No(422, "points_currency_unknown")

    def publish(self, configuration: JSON, effective: datetime | None = None) -> None:
        clocks_differ = timedelta(seconds=10)  # an instant that has just passed means now
        if effective is not None and effective < self.now - clocks_differ:
            raise No(422, "effective_in_past")
        old, new = self.history[-1][1]["settings"], configuration["settings"]
        kept = {c["code"] for c in old["points_currencies"]} <= {c["code"] for c in new["points_currencies"]}
        if (old["money"], old["zone"]) != (new["money"], new["zone"]) or not kept:
            raise No(409, "configuration_fixed")
        self.history.append((max(effective or self.now, self.now), configuration))
        self.published.append(self.now)

    def move_clock(self, to: datetime) -> None:
        if to < self.now:
            raise No(409, "clock_backwards")
        self.moving_to = to

    def advance(self, to: datetime) -> None:
        if to < self.now:
            raise No(409, "clock_backwards")
        self.now = to
        if self.moving_to is not None and self.moving_to <= to:
            self.moving_to = None

    def close_day(self, on: date) -> None:
        if self.now < midnight(on + timedelta(days=1), ZoneInfo(self.present["settings"]["zone"])):
            raise No(409, "day_not_over")
        if self.closed is not None and on <= self.closed:
            raise No(409, "day_closed")
        self.closed = on

    # --- members --------------------------------------------------------------------------------------------

    def member(self, named: int | tuple[str, str]) -> Member:
        number = self.identifiers.get(named) if isinstance(named, tuple) else named
        if number is None or number not in self.members:
            raise No(404, "member_not_found")
        member = self.members[number]
        if member.status == "erased":
            raise No(409, "member_erased")
        return member

    def active(self, named: int | tuple[str, str]) -> Member:
        member = self.member(named)
        if member.status == "blocked":
            raise No(409, "member_blocked")
        return member

    def enrol(self, identifiers: list[tuple[str, str]]) -> tuple[int, bool]:
        """The member's number, and whether it is new."""
        owners = {self.identifiers[i] for i in identifiers if i in self.identifiers}
        if len(owners) > 1:
            raise No(409, "identifiers_conflict")
        if owners:
            return owners.pop(), False
        member = Member(len(self.members), self.now)
        self.members[member.number] = member
        self.look(member)
        for identifier in identifiers:
            self.identifiers[identifier] = member.number
        return member.number, True

    def identify(self, named: int, identifier: tuple[str, str]) -> None:
        member = self.member(named)
        if self.identifiers.get(identifier, member.number) != member.number:
            raise No(409, "identifier_taken")
        if identifier not in self.identifiers:
            member.changed = self.now
        self.identifiers[identifier] = member.number

    def set_status(self, named: int, status: str) -> None:
        self.member(named).status = status

    def set_pin(self, named: int) -> None:
        member = self.member(named)
        member.pin, member.wrong, member.locked = member.pin + 1, 0, None

    def prove(self, member: Member, points: int, by: Actor, proof: Proof) -> None:
        """The PIN is asked for, or came unasked."""
        policy = self.policies.get("spending_pin", {})
        above = policy.get("above")
        asked = above is not None and points > above and by[2] in policy.get("roles", ("pos",))
        if proof is None and not asked:
            return
        if not member.pin:
            if asked:
                raise No(403, "pin_required")
            return
        if member.locked and self.now < member.locked:
            raise No(403, "pin_locked")
        if proof is None:
            raise No(403, "pin_required")
        if proof[0] != member.pin:
            raise No(409, "pin_changed")
        if not proof[1]:
            raise WrongPin(member.number)
        member.wrong, member.locked = 0, None

    def left(self, named: int) -> tuple[int, datetime | None]:
        """What a wrong PIN would leave now: so many attempts, or none until an instant."""
        policy = self.policies.get("spending_pin", {})
        left = max(0, policy.get("attempts", 3) - self.members[named].wrong - 1)
        return left, None if left else self.now + timedelta(minutes=policy.get("locked_minutes", 30))

    def count_wrong(self, member: Member) -> None:
        policy = self.policies.get("spending_pin", {})
        member.wrong, member.locked = member.wrong + 1, None
        if member.wrong >= policy.get("attempts", 3):
            member.wrong = 0
            member.locked = self.now + timedelta(minutes=policy.get("locked_minutes", 30))

    def erase(self, named: int) -> None:
        member = self.member(named)
        member.pin = 0
        for lots in member.lots.values():
            self.settle(lots)
            for hold in self.open_holds(lots):
                self.end(hold, "released")
            for lot in lots:
                lot.revoked += lot.pending
                lot.expire(lot.available)
                lot.pending = lot.available = lot.owed = lot.lent = 0
        member.status = "erased"
        self.identifiers = {i: n for i, n in self.identifiers.items() if n != member.number}

    def settle_due(self, named: int) -> None:
        member = self.member(named)
        before = pickle.loads(pickle.dumps(member.lots))
        for lots in member.lots.values():
            self.settle(lots)
        if not self.look(member) and member.lots == before:
            raise No(409, "nothing_due")

    # --- tiers ------------------------------------------------------------------------------------------------

    def look(self, member: Member) -> bool:
        """Bring a member up to now on every ladder in force; whether that changed anything that is kept."""
        changed = False
        for id in [ladder["id"] for ladder in self.present.get("tier_sets", ())]:
            place = member.places.get(id)
            current: JSON | None = place.ladder if place else None
            judged = place.judged if place else self.judging(member.enrolled, before=True)
            if place is None:
                changed = True
                if (current := self.ladder(judged, id)) is not None:
                    place = ladders.Place(current, -1, member.enrolled, judged)
            for then in self.judging_since(judged):
                after = self.ladder(then, id)
                if after == current:
                    continue
                if current is not None:
                    assert place is not None
                    ladders.pass_days(place, member.did, then[0], self.zone)
                if after is not None:
                    place = place or ladders.Place(after, -1, then[0], then)
                    place.ladder, place.judged, changed = after, then, True
                    place.earned = ladders.carried(after, member.did, then[0].astimezone(self.zone).date())
                    place.looked = max(place.looked, then[0])
                    place.note(then[0], anew=current is None)
                current = after
            assert place is not None
            changed |= ladders.pass_days(place, member.did, self.now, self.zone)
            member.places[id] = place
        return changed

    def judging(self, at: datetime, *, before: bool = False) -> tuple[datetime, int]:
        """The configuration in force at an instant, or until it: since when, and its number."""
        begun = [
            (since, n)
            for n, (since, _) in enumerate(self.history)
            if since < at or (since == at and not before)
        ]
        return max(begun) if begun else (self.history[0][0], 0)

    def judging_since(self, judged: tuple[datetime, int]) -> list[tuple[datetime, int]]:
        """What came in force after a configuration was, up to now; plans that were replaced before are left out."""
        behind = sorted(
            (since, n)
            for n, (since, _) in enumerate(self.history)
            if judged < (since, n) and since <= self.now
        )
        return [
            (since, n)
            for place, (since, n) in enumerate(behind)
            if not any(one == since and self.published[m] < since for one, m in behind[place + 1 : place + 2])
        ]

    def ladder(self, judged: tuple[datetime, int], tier_set: str) -> JSON | None:
        sets = self.history[judged[1]][1].get("tier_sets", ())
        return next((one for one in sets if one["id"] == tier_set), None)

    def count_did(
        self,
        member: Member,
        at: datetime,
        spend: int,
        visits: int,
        points: dict[str, int],
        *,
        back: bool = False,
    ) -> None:
        """Something was done on a day, or went back from it; tiers rise, or fall where they do at once."""
        living = member.status != "erased"
        if living:
            self.look(member)
        member.did.add(at.astimezone(self.zone).date(), spend, visits, points)
        for ladder in self.present.get("tier_sets", ()) if living else ():
            place = member.places[ladder["id"]]
            now = ladders.carried(ladder, member.did, self.today())
            if now > place.earned or (back and ladder["returns"] == "at_once"):
                place.earned = now
                place.note(self.now)

    def tiers_at(self, member: Member, at: datetime) -> dict[str, list[str]]:
        """By ladder in force then, the tiers that a member had, or had by all that is known now."""
        self.look(member)
        on, found = at.astimezone(self.zone).date(), dict[str, list[str]]()
        late = on < self.today()
        for ladder in (self.then(at) if late else self.present).get("tier_sets", ()):
            place, names = member.places.get(ladder["id"]), [tier["id"] for tier in ladder["tiers"]]
            if late:
                now = ladders.carried(ladder, member.did, on)
                had = {self.step_at(ladder["id"], place, at), self.given_at(ladder["id"], place, at)}
                now = max([now, *(names.index(tier) for tier in had if tier in names)])
            else:
                assert place is not None
                now = ladders.held(place)
            found[ladder["id"]] = names[: now + 1]
        return found

    def step_at(self, tier_set: str, place: ladders.Place | None, at: datetime) -> str | None:
        """The tier that counted at an instant, on a ladder that was not left out since it was reached."""
        before = [step for step in (place.steps if place else ()) if step[0] <= at]
        return before[-1][1] if before and self.never_left_out(tier_set, before[-1][0], at) else None

    def never_left_out(self, tier_set: str, first: datetime, last: datetime) -> bool:
        between = self.judging_since(self.judging(first))
        return all(self.ladder(one, tier_set) for one in between if one[0] <= last)

    def given_at(self, tier_set: str, place: ladders.Place | None, at: datetime) -> str | None:
        """The tier by hand that counts now, if it did then."""
        if (
            place is None
            or place.given is None
            or not any(one["id"] == tier_set for one in self.present.get("tier_sets", ()))
        ):
            return None
        which, since, until = place.given
        return ladders.name(place.ladder, which) if since <= at and (until is None or at < until) else None

    def standing(self, member: Member) -> list[tuple[Any, ...]]:
        return [
            ladders.told(member.places[ladder["id"]], member.did, self.today())
            for ladder in self.present.get("tier_sets", ())
        ]

    def give_tier(
        self, named: int, tier_set: str, tier: str | None, until: datetime | None
    ) -> list[tuple[Any, ...]]:
        member = self.member(named)
        ladder = self.ladder(self.judging(self.now), tier_set)
        if ladder is None:
            raise No(404, "tier_set_not_found")
        names = [one["id"] for one in ladder["tiers"]]
        if (tier is not None and tier not in names) or (until is not None and until <= self.now):
            raise No(422, "tier_invalid")
        self.look(member)
        member.places[tier_set].given = None if tier is None else (names.index(tier), self.now, until)
        member.places[tier_set].note(self.now)
        return self.standing(member)

    # --- lots -----------------------------------------------------------------------------------------------

    def settle(self, lots: list[Lot], holds: list[Hold] | None = None) -> None:
        """Everything due up to now, earliest first: points mature, holds lapse, debts are paid, points expire.

        What comes late is judged by the debt as it is known now: it expires first if its end is past.
        """
        holds = self.open_holds(lots) if holds is None else holds
        while True:
            due: list[tuple[datetime, int, tuple[datetime, datetime, int], Any]] = [
                (max(lot.activates, lot.arrived), 0, lot.turn, lot)
                for lot in lots
                if lot.pending and lot.activates
            ]
            due += [(hold.lapses, 1, (NEVER, NEVER, hold.number), hold) for hold in holds if hold.parts]
            due += [(max(lot.ends, lot.arrived), 2, lot.turn, lot) for lot in lots if lot.available]
            if not due:
                return
            at, what, _, lot = min(due, key=lambda d: d[:3])
            if at > self.now:
                return
            if what == 1:
                self.end(lot, "lapsed", at)
                self.repay(lots)
            elif what == 2:
                lot.expire(lot.available)
                lot.available = 0
            else:
                lot.available, lot.pending, lot.arrived = lot.pending, 0, at
                if at >= lot.known:
                    self.repay(lots)

    @staticmethod
    def spending(lots: list[Lot]) -> list[Lot]:
        return sorted((lot for lot in lots if lot.available), key=lambda lot: lot.turn)

    def debt(self, lots: list[Lot]) -> int:
        return sum(lot.owed - lot.lent for lot in lots)

    def repay(self, lots: list[Lot], payers: list[Lot] | None = None) -> None:
        for lot in self.spending(lots if payers is None else payers):
            paid = min(self.debt(lots), lot.available)
            lot.available, lot.lent = lot.available - paid, lot.lent + paid

    def dates(
        self,
        configuration: JSON,
        member: Member,
        code: str,
        at: datetime,
        terms: JSON | None = None,
        tiers: dict[str, list[str]] | None = None,
    ) -> Dates:
        """When points earned at `at` become available (None: at once), when they end (None: never), and whether they
        slide: by what. `terms` are the rule's own, `tiers` those that the member had."""
        currency, terms = self.currency(configuration, code), terms or {}
        wait = terms.get("pending_days", currency.get("pending_days", 0))
        on = at.astimezone(self.zone).date()
        activates = midnight(on + timedelta(days=wait), self.zone) if wait else None
        by_tier = None
        for ladder in configuration.get("tier_sets", ()):
            for tier in ladder["tiers"]:
                held = tier["id"] in (tiers or {}).get(ladder["id"], ()) and code in tier.get("expiry", {})
                if held and (by_tier is None or by_tier[0] == ladder["id"]):
                    by_tier = ladder["id"], tier["expiry"][code]
        expiry = currency.get("expiry", {"kind": "never"})
        expiry = terms.get("expiry") or (by_tier[1] if by_tier else expiry)
        slides = repr(expiry) if expiry["kind"] == "inactivity" else ""
        return activates, self.end_by(expiry, at, member), slides

    def end_by(self, expiry: JSON, at: datetime, member: Member) -> datetime | None:
        """The first instant at which points given, or kept, at `at` are no longer good."""
        zone = self.zone
        on = at.astimezone(zone).date()
        if expiry["kind"] == "never":
            return None
        if expiry["kind"] == "anniversary":
            joined, good = member.enrolled.astimezone(zone).date(), expiry.get("days_min", 1)
            nth = 1
            while (day := months_on(joined, nth * expiry.get("months", 12))) < on + timedelta(days=good):
                nth += 1
            return midnight(day, zone)
        if expiry["kind"] == "fixed_days":
            last = on + timedelta(days=expiry.get("days_min", 1) - 1)
            while last.strftime("%m-%d") not in expiry["on"]:
                # A 29 February that is not there is the day before 1 March.
                if "02-29" in expiry["on"] and last + timedelta(days=1) == date(last.year, 3, 1):
                    break
                last += timedelta(days=1)
            return midnight(last + timedelta(days=1), zone)
        if expiry.get("days") is not None:
            return midnight(on + timedelta(days=expiry["days"]), zone)
        after = months_on(on, expiry["months"])
        size = {"day": 0, "month": 1, "quarter": 3, "half_year": 6, "year": 12}[expiry.get("round_up", "day")]
        if size:
            held = after - timedelta(days=1)
            month = (held.year * 12 + held.month - 1) // size * size + size
            after = date(month // 12, month % 12 + 1, 1)
        return midnight(after, zone)

    def stir(self, member: Member, code: str, what: str, at: datetime) -> None:
        """The owner did something: what slides ends later, if that counts."""
        idle = member.idle.setdefault(code, Idle())
        if idle.policy and what in idle.policy.get("resets", ("earn", "redeem")):
            until = self.end_by(idle.policy, at, member)
            assert until is not None
            idle.until = max(idle.until or until, until)

    def credit(
        self,
        member: Member,
        code: str,
        points: int,
        at: datetime,
        activates: datetime | None,
        expires: datetime | None,
        slides: str,
        what: str,
    ) -> Lot:
        lots = member.lots.setdefault(code, [])
        self.settle(lots)
        self.bounded(lots, points)
        self.issued += 1
        lot = Lot(self.issued, points, activates, expires, at, self.now, at)
        if activates is not None and activates > at:
            lot.pending = points
        else:
            lot.available = points
        lots.append(lot)
        if slides:
            lot.by, lot.dated, lot.slides = slides, expires, member.idle.setdefault(code, Idle())
            lot.slides.policy = literal_eval(slides)
        self.stir(member, code, what, at)
        self.settle(lots)
        self.repay(lots)
        return lot

    @staticmethod
    def bounded(lots: list[Lot], points: int) -> None:
        if sum(lot.pending + lot.available + lot.held for lot in lots) + points > POINTS_MAX:
            raise No(409, "balance_limit_exceeded")

    # --- holds ------------------------------------------------------------------------------------------------

    def open_holds(self, lots: list[Lot]) -> list[Hold]:
        return [hold for hold in self.holds if hold.lots is lots and hold.parts]

    def place_hold(
        self, named: int, code: str, points: int, minutes: int | None, proof: Proof = None
    ) -> Hold:
        member = self.active(named)
        if not self.currency(self.present, code).get("spendable", True):
            raise No(422, "points_not_spendable")
        return self.set_aside(member, code, points, self.deadline(minutes, self.now), SYSTEM, proof)

    def hold_reward(
        self,
        named: int,
        id: str,
        quantity: int,
        place: JSON,
        minutes: int | None,
        by: Actor,
        proof: Proof = None,
    ) -> Hold:
        member = self.active(named)
        reward = self.offered(id)
        lapses = self.deadline(minutes, self.now)
        self.can_be_had(member, reward, quantity, place)
        points = reward["points"] * quantity
        hold = self.set_aside(member, reward["points_currency"], points, lapses, by, proof)
        hold.reward, hold.quantity, hold.terms = id, quantity, reward
        return hold

    def promised(self, reward: str) -> list[Hold]:
        """The holds that set some of a reward aside now."""
        return [h for h in self.holds if h.reward == reward and h.state == "open" and h.lapses > self.now]

    def kept_back(self, reward: str) -> int:
        """How many of a stock are promised."""
        return sum(hold.quantity for hold in self.promised(reward) if hold.terms.get("stocked"))

    def set_aside(
        self, member: Member, code: str, points: int, lapses: datetime, by: Actor, proof: Proof
    ) -> Hold:
        lots = self.takeable(member, code, points)
        self.spent(member, code, points, by)
        self.prove(member, points, by, proof)
        parts: list[tuple[Lot, int]] = []
        wanted = points
        for lot in self.spending(lots):
            part = min(wanted, lot.available)
            lot.available, lot.held, wanted = lot.available - part, lot.held + part, wanted - part
            parts += [(lot, part)] if part else []
        grace = self.grace(code, lapses)
        hold = Hold(len(self.holds), member.number, code, lots, points, self.now, lapses, grace, parts)
        self.holds.append(hold)
        return hold

    def deadline(self, minutes: int | None, since: datetime) -> datetime:
        lapses = self.now + timedelta(minutes=minutes or self.policies.get("hold_minutes", 15))
        if lapses > since + timedelta(days=self.policies.get("hold_days_max", 30)):
            raise No(422, "hold_too_long")
        return lapses

    def grace(self, code: str, lapses: datetime) -> datetime | None:
        days, zone = (
            self.currency(self.present, code).get("hold_grace_days", 0),
            ZoneInfo(self.present["settings"]["zone"]),
        )
        return midnight(lapses.astimezone(zone).date() + timedelta(days=days + 1), zone) if days else None

    def end(self, hold: Hold, state: str, at: datetime | None = None) -> tuple[int, int]:
        """What is left of a hold comes back; how much really, and how much is over meanwhile."""
        at, back, over = at or self.now, 0, 0
        for lot, points in hold.parts:
            lot.held, lot.arrived = lot.held - points, max(lot.arrived, at)
            if lot.ends <= at and hold.grace is not None and hold.grace > at:
                lot.expires = hold.grace
            if lot.ends <= at:
                lot.expire(points)
                over += points
            else:
                lot.available, back = lot.available + points, back + points
        hold.parts, hold.state, hold.ended = [], state, at
        return back, over

    def open(self, number: int, *, plain: bool = False) -> Hold:
        """A hold that can still be taken of, of nothing but points; what fell due on its account is settled."""
        hold = self.known(number)
        if hold.state == "captured":
            raise No(409, "hold_captured")
        if hold.state == "released":
            raise No(409, "hold_released")
        if hold.state == "lapsed":
            raise No(409, "hold_lapsed")
        if plain and hold.reward is not None:
            raise No(409, "hold_for_reward")
        if self.members[hold.member].status == "blocked":
            raise No(409, "member_blocked")
        return hold

    def known(self, number: int) -> Hold:
        if number >= len(self.holds):
            raise No(404, "hold_not_found")
        self.settle(self.holds[number].lots)
        return self.holds[number]

    def extend_hold(self, number: int, minutes: int | None) -> Hold:
        hold = self.open(number)
        if self.now + timedelta(minutes=minutes or self.policies.get("hold_minutes", 15)) > hold.lapses:
            hold.lapses = self.deadline(minutes, hold.since)
            hold.grace = self.grace(hold.code, hold.lapses)
        return hold

    def capture_hold(
        self, number: int, wanted: int | None, rest: bool, plain: bool = True
    ) -> tuple[Hold, list[tuple[Lot, int]], int, int]:
        """The hold, what was taken of which lots, what came back of the rest, and what of it was over."""
        hold = self.open(number, plain=plain)
        left = hold.held if wanted is None else wanted
        if left > hold.held:
            raise No(409, "insufficient_points")
        taken: list[tuple[Lot, int]] = []
        for lot, points in hold.parts:
            part = min(left, points)
            lot.held, lot.redeemed, left = lot.held - part, lot.redeemed + part, left - part
            taken += [(lot, part)] if part else []
        gone = {id(lot): part for lot, part in taken}
        hold.parts = [(lot, n - gone.get(id(lot), 0)) for lot, n in hold.parts if n > gone.get(id(lot), 0)]
        hold.captured += sum(part for _, part in taken)
        self.stir(self.members[hold.member], hold.code, "redeem", self.now)
        back = over = 0
        if rest or not hold.parts:
            back, over = self.end(hold, "captured")
            self.settle(hold.lots)
            self.repay(hold.lots)
        return hold, taken, back, over

    def release_hold(self, number: int) -> tuple[Hold, int, int] | tuple[Hold, None, None]:
        """The hold, what came back of it by this command, and what of it was over."""
        hold = self.known(number)
        if hold.state != "open":
            return hold, None, None
        back, over = self.end(hold, "released")
        self.settle(hold.lots)
        self.repay(hold.lots)
        return hold, back, over

    # --- by hand ----------------------------------------------------------------------------------------------

    def policy(self, name: str, limit: str, default: Any = None) -> Any:
        return self.policies.get(name, {}).get(limit, default)

    def today(self) -> date:
        return self.now.astimezone(ZoneInfo(self.present["settings"]["zone"])).date()

    def adjust(self, named: int, code: str, points: int, reason: str, by: Actor) -> int | None:
        """The number of the proposal when another person has to decide."""
        member = self.active(named)
        self.currency(self.present, code)
        self.known_reason(reason)
        proposal = self.alone("adjustment", member, code, points, by)
        if proposal is None:
            self.move(member, code, points, by)
        return proposal

    def known_reason(self, reason: str) -> None:
        reasons = [known["code"] for known in self.policy("adjustments", "reasons", ())]
        if reason == "waived" or (reasons and reason not in reasons):
            raise No(422, "reason_unknown")

    def alone(self, kind: str, member: Member, code: str, points: int, by: Actor) -> int | None:
        """Whether one person may do it, within what he may do in a day; else the number of the proposal."""
        above = self.policy("adjustments", "approval_above")
        if above is not None and abs(points) > above:
            return self.propose(kind, member, code, points, by)
        most = self.policy("adjustments", "daily_max")
        if most is not None:
            self.count(("by hand", by[1], code, self.today()), abs(points), most, "adjustment_limit")
        return None

    def reinstate(self, named: int, code: str, points: int | None, reason: str, by: Actor) -> int | None:
        """The number of the proposal when another person has to decide."""
        member = self.active(named)
        self.currency(self.present, code)
        self.known_reason(reason)
        there = sum(lot.expired for lot in self.reinstatable(self.settled(member, code), code, self.now))
        if there < (points or 1):
            raise No(409, "too_few_expired")
        proposal = self.alone("reinstatement", member, code, points or there, by)
        if proposal is None:
            self.come_back(member, code, points or there, self.now)
        return proposal

    def reinstatable(self, lots: list[Lot], code: str, asked: datetime) -> list[Lot]:
        """Lots of which points expired, by what was asked for then: those that ended last first."""
        days = self.currency(self.present, code).get("reinstate_days", 0)
        if not days:
            raise No(409, "reinstatements_off")
        first = asked.astimezone(self.zone).date() - timedelta(days=days)
        some = [
            (lot.expires, lot.earned, lot.issue, lot)
            for lot in lots
            if lot.expired
            and lot.expires is not None
            and (lot.expires - timedelta(microseconds=1)).astimezone(self.zone).date() >= first
        ]
        return [lot for *_, lot in sorted(some, reverse=True)]

    def come_back(self, member: Member, code: str, points: int, asked: datetime) -> None:
        lots = member.lots.setdefault(code, [])
        self.settle(lots)
        some = self.reinstatable(lots, code, asked)
        if sum(lot.expired for lot in some) < points:
            raise No(409, "too_few_expired")
        self.bounded(lots, points)
        days = self.currency(self.present, code).get("reinstated_days", 30)
        end = midnight(self.now.astimezone(self.zone).date() + timedelta(days=days), self.zone)
        for lot in some:
            part = min(points, lot.expired)
            if part:
                lot.expired, lot.available, points = lot.expired - part, lot.available + part, points - part
                assert lot.expires is not None  # of which points have ended, and which slides no more
                lot.arrived, lot.expires = max(lot.arrived, self.now), max(lot.expires, end)
        self.settle(lots)
        self.repay(lots)

    def count(self, what: tuple[Any, ...], points: int, most: int | None, code: str) -> None:
        """Count against a limit, unless that would go beyond it."""
        used = self.used.get(what, 0) + points
        if most is not None and used > most:
            raise No(409, code)
        self.used[what] = used

    def move(self, member: Member, code: str, points: int, by: Actor | None) -> None:
        """Credit, or debit within the limits against theft; whom nobody is named for, a second person let pass."""
        if points > 0:
            self.credit(
                member, code, points, self.now, *self.dates(self.present, member, code, self.now), "credit"
            )
            return
        lots = self.takeable(member, code, -points)
        if by is not None:
            self.spent(member, code, -points, by)
        self.spend(lots, -points)

    def takeable(self, member: Member, code: str, points: int) -> list[Lot]:
        """The member's lots, if so many points may be taken of them."""
        if code in member.frozen:
            raise No(409, "account_frozen")
        lots = member.lots.setdefault(code, [])
        self.settle(lots)
        if sum(lot.available for lot in lots) < points:
            raise No(409, "insufficient_points")
        return lots

    def spend(self, lots: list[Lot], points: int) -> list[tuple[Lot, int]]:
        """Which lots gave how much."""
        parts: list[tuple[Lot, int]] = []
        for lot in self.spending(lots):
            part = min(points, lot.available)
            lot.available, lot.redeemed, points = lot.available - part, lot.redeemed + part, points - part
            if part:
                parts.append((lot, part))
        return parts

    def spent(self, member: Member, code: str, points: int, by: Actor) -> None:
        """Count what is spent against what may be spent in a day, in a week, and at one till."""
        limits, today, refused = self.policies.get("spending_limits", {}), self.today(), "spending_limit"
        hours, day = limits.get("changed_hours", 0), ("day", member.number, code, today)
        lower = member.changed is not None and self.now < member.changed + timedelta(hours=hours)
        if lower and self.used.get(day, 0) + points > limits.get("changed_day_max", 0):
            raise No(409, "spending_limit")
        if hours or limits.get("member_day_max") is not None:
            self.count(day, points, limits.get("member_day_max"), refused)
        if limits.get("member_week_max") is not None:
            week = today - timedelta(days=today.weekday())
            self.count(("week", member.number, code, week), points, limits["member_week_max"], refused)
        if limits.get("till_day_max") is not None and by[2] == "pos":
            self.count(("till", by[1], code, today), points, limits["till_day_max"], refused)

    def propose(self, kind: str, member: Member, code: str, points: int, by: Actor) -> int:
        lapses = self.now + timedelta(days=self.policy("adjustments", "proposal_days", 7))
        self.proposals.append(Proposal(kind, member.number, code, points, by[1], lapses, self.now))
        return len(self.proposals) - 1

    def write_off(self, named: int, code: str, by: Actor) -> int:
        member = self.member(named)
        self.currency(self.present, code)
        owed = self.debt(self.settled(member, code))
        if not owed:
            raise No(409, "nothing_owed")
        return self.propose("write_off", member, code, owed, by)

    def judge_proposal(self, number: int, approve: bool, by: Actor) -> None:
        if number >= len(self.proposals):
            raise No(404, "proposal_not_found")
        proposal = self.proposals[number]
        if by[0] != "staff":
            raise No(403, "people_only")
        if by[1] == proposal.by:
            raise No(403, "own_proposal")
        if proposal.state != "proposed":
            raise No(409, "proposal_decided")
        if self.now >= proposal.lapses:
            raise No(409, "proposal_lapsed")
        proposal.state = "approved" if approve else "rejected"
        if not approve:
            return
        if proposal.kind == "reinstatement":
            self.come_back(self.active(proposal.member), proposal.code, proposal.points, proposal.asked)
            return
        if proposal.kind == "adjustment":
            self.move(self.active(proposal.member), proposal.code, proposal.points, None)
            return
        member = self.member(proposal.member)
        owed = self.debt(self.settled(member, proposal.code))
        if not owed:
            raise No(409, "nothing_owed")
        self.credit(member, proposal.code, min(owed, proposal.points), self.now, None, None, "", "credit")

    def freeze(self, named: int, code: str, frozen: bool) -> None:
        member = self.member(named)
        self.currency(self.present, code)
        (member.frozen.add if frozen else member.frozen.discard)(code)

    def transfer(
        self, giving: int, taking: int, code: str, points: int, by: Actor, proof: Proof = None
    ) -> int:
        """The fee."""
        giver, taker = self.active(giving), self.active(taking)
        self.currency(self.present, code)
        if giver is taker:
            raise No(422, "transfer_to_self")
        policy = self.policies.get("transfers", {})
        if not policy.get("enabled"):
            raise No(409, "transfers_off")
        if not self.currency(self.present, code).get("spendable", True):
            raise No(422, "points_not_spendable")
        if not policy.get("minimum", 1) <= points <= policy.get("maximum", POINTS_MAX):
            raise No(422, "transfer_out_of_range")
        fee = policy.get("fee_points", 0) + points * policy.get("fee_bps", 0) // 10_000
        lots = self.takeable(giver, code, points + fee)
        if policy.get("giver_max") is not None:
            today = self.today()
            begins = {
                "day": today,
                "week": today - timedelta(days=today.weekday()),
                "month": today.replace(day=1),
            }[policy.get("period", "day")]
            what = ("give", giver.number, code, policy.get("period", "day"), begins)
            self.count(what, points, policy["giver_max"], "transfer_limit")
        self.spent(giver, code, points + fee, by)
        self.prove(giver, points + fee, by, proof)
        theirs = taker.lots.setdefault(code, [])
        self.settle(theirs)
        if sum(lot.pending + lot.available + lot.held for lot in theirs) + points > POINTS_MAX:
            raise No(409, "balance_limit_exceeded")
        left = points
        for lot in self.spending(lots):
            part = min(left, lot.available)
            if part:
                lot.available, lot.given, left = lot.available - part, lot.given + part, left - part
                self.issued += 1
                ends = None if lot.expires is None else lot.ends
                child = Lot(
                    self.issued, part, lot.activates, ends, self.now, self.now, lot.earned, available=part
                )
                theirs.append(child)
                if lot.slides is not None and lot.expires == lot.dated and not lot.over:
                    child.by, child.dated = lot.by, ends
                    child.slides = taker.idle.setdefault(code, Idle())
                    child.slides.policy = child.slides.policy or literal_eval(lot.by)
        self.stir(giver, code, "give", self.now)
        self.spend(lots, fee)
        if fee:
            self.stir(giver, code, "redeem", self.now)
        self.stir(taker, code, "receive", self.now)
        self.settle(theirs)
        self.repay(theirs)
        return fee

    def import_lot(
        self,
        named: int,
        code: str,
        points: int,
        name: tuple[str, str],
        content: Any,
        answer: int,
        issued: datetime,
        activates: datetime | None,
        expires: datetime | None,
    ) -> None:
        if name in self.rows:
            first, number = self.rows[name]
            if first == content:
                raise Again(number)
            raise No(409, "activity_differs")
        member = self.active(named)
        self.currency(self.present, code)
        if issued > self.now:
            raise No(422, "in_future")
        if expires is not None and expires <= max(issued, activates or issued):
            raise No(422, "contradictory_range")
        told = activates, expires
        activates, expires, slides = self.dates(self.present, member, code, issued)
        if told != (None, None):
            activates, expires = told
        if expires is None:
            slides = ""
        self.credit(member, code, points, issued, activates, expires, slides, "earn")
        self.rows[name] = (content, answer)

    # --- purchases --------------------------------------------------------------------------------------------

    def purchase(
        self, name: tuple[str, str], content: Any, answer: int, at: datetime, basket: JSON
    ) -> Purchase:
        """`basket`: money, lines, member (number, identifier or None), location, channel, tenders."""
        if name in self.receipts:
            known = self.receipts[name]
            if known is None:
                raise No(409, "purchase_cancelled")
            if known.content == content:
                raise Again(known.answer)
            raise No(409, "activity_differs")
        if at > self.now + timedelta(minutes=self.policies.get("future_minutes_max", 15)):
            raise No(422, "in_future")
        late = self.policies.get("late_days_max", 30)
        if late is not None and at < self.now - timedelta(days=late):
            raise No(422, "too_old")
        if basket["money"] != self.present["settings"]["money"]:
            raise No(422, "currency_not_supported")
        named = basket["member"]
        if isinstance(named, tuple) and named not in self.identifiers:
            policy = self.policies.get(f"unknown_{named[0]}", "refuse")
            if policy == "enrol":
                named = self.enrol([named])[0]
            elif policy == "guest":
                named = None
        member = None if named is None else self.active(named)
        # A till's clock may be ahead: nothing happened later than we heard of it.
        found = Purchase(len(self.receipts), content, min(at, self.now), basket, answer)
        found.left = found.bought
        then = found.judged_by = self.then(found.at)
        codes = [currency["code"] for currency in then["settings"]["points_currencies"]]
        found.basis = {code: may_earn(then, code, basket) for code in codes}
        self.receipts[name] = found
        for number, wanted in basket.get("holds", ()):
            if number >= len(self.holds):
                raise No(404, "hold_not_found")
            if member is None or self.holds[number].member != member.number:
                raise No(409, "hold_of_another_member")
            found.paid.append(self.capture_hold(number, wanted, True))
            found.given.append(0)
        if member is not None:
            self.award(found, member)
        return found

    def award(self, purchase: Purchase, member: Member) -> None:
        """Judge by the rules that were in force, and credit what they give at the instant of the purchase."""
        purchase.member = member.number
        configuration = purchase.judged_by
        asks = any(asks_tiers(rule.get("when")) for rule in configuration["ruleset"].get("rules", ()))
        asks |= any(
            tier.get("expiry") for ladder in configuration.get("tier_sets", ()) for tier in ladder["tiers"]
        )
        purchase.tiers = self.tiers_at(member, purchase.at) if asks else {}
        purchase.judged_on = list(purchase.left)
        purchase.basis = {
            code: stays(basis, purchase.bought, purchase.left) for code, basis in purchase.basis.items()
        }
        given: dict[str, int] = {}
        dated: dict[tuple[str, Dates], int] = {}
        for award in awarded(configuration, self.rest(purchase), member.counters):
            rule, shares = award.rule, iter(award.shares)
            purchase.awards.append(
                Given(rule, [next(shares) if left else 0 for left in purchase.left], award.period)
            )
            code = rule["points_currency"]
            given[code] = given.get(code, 0) + award.points
            dates = self.dates(configuration, member, code, purchase.at, rule.get("terms"), purchase.tiers)
            dated[code, dates] = dated.get((code, dates), 0) + award.points
            purchase.into.append((code, dates))
            if award.period:
                key = (rule["id"], award.period)
                member.counters[key] = member.counters.get(key, 0) + award.points
        purchase.taken = [0] * len(purchase.awards)
        for (code, dates), points in dated.items():
            purchase.lots[code, dates] = self.credit(member, code, points, purchase.at, *dates, "earn")
        paid = [line["amount_minor"] for line in purchase.about["lines"]]
        spend = sum(stays(paid, purchase.bought, purchase.left))
        self.count_did(member, purchase.at, spend, 1, given)

    def claim(self, name: tuple[str, str], named: int, answer: int) -> Purchase:
        purchase = self.receipts.get(name)
        if purchase is None:
            raise No(404, "purchase_not_found")
        member = self.member(named)
        if purchase.claim is not None and purchase.member == member.number:
            raise Again(purchase.claim)
        self.active(named)
        if purchase.member is not None:
            raise No(409, "already_claimed")
        if purchase.cancelled:
            raise No(409, "purchase_cancelled")
        if not any(purchase.left):
            raise No(409, "already_returned")
        if purchase.at < self.now - timedelta(days=self.policies.get("claim_days_max", 30)):
            raise No(409, "claim_too_late")
        self.award(purchase, member)
        purchase.claim = answer
        return purchase

    def cancel(self, name: tuple[str, str], answer: int) -> None:
        """All of a purchase, also before it arrives; once."""
        if name in self.cancels:
            raise Again(self.cancels[name])
        self.cancels[name] = answer
        purchase = self.receipts.setdefault(name, None)
        if purchase is None:
            return
        purchase.cancelled = True
        before, purchase.left = purchase.left, [0] * len(purchase.left)
        self.undo(purchase, before)

    def give_back(
        self,
        name: tuple[str, str],
        content: Any,
        answer: int,
        of: tuple[str, str],
        lines: list[tuple[str, int | None]] | None,
        money: str | None,
        at: datetime,
    ) -> tuple[Purchase | None, int, dict[str, int]]:
        """Lines go back: the purchase, what was paid for them, and the points that go with them."""
        if name in self.backs:
            first, number = self.backs[name]
            if first == content:
                raise Again(number)
            raise No(409, "activity_differs")
        if at > self.now + timedelta(minutes=self.policies.get("future_minutes_max", 15)):
            raise No(422, "in_future")
        if money not in (None, self.present["settings"]["money"]):
            raise No(422, "currency_mismatch")
        self.backs[name] = (content, answer)
        if of not in self.receipts:
            if self.policies.get("blind_returns", "refuse") == "refuse":
                raise No(404, "purchase_not_found")
            return None, 0, {}
        purchase = self.receipts[of]
        if purchase is None or purchase.cancelled:
            raise No(409, "purchase_cancelled")
        if not any(purchase.left):
            raise No(409, "already_returned")
        before = list(purchase.left)
        if lines is None:
            purchase.left = [0] * len(before)
        else:
            self.lines_go(purchase, lines)
        paid = [line["amount_minor"] for line in purchase.about["lines"]]
        stay_before, stay = (stays(paid, purchase.bought, left) for left in (before, purchase.left))
        return purchase, sum(stay_before) - sum(stay), self.undo(purchase, before)

    def lines_go(self, purchase: Purchase, lines: list[tuple[str, int | None]]) -> None:
        """Every line that is asked for is there, and so much of it."""
        sold = {line["line_id"]: n for n, line in enumerate(purchase.about["lines"])}
        quantities = [line["quantity_milli"] for line in purchase.about["lines"]]
        for name, thousandths in lines:
            if name not in sold or (thousandths == 0 and quantities[sold[name]]):
                raise No(422, "return_invalid")
        for name, thousandths in lines:
            n = sold[name]
            if not purchase.left[n] or (thousandths or 0) > (purchase.left[n] if quantities[n] else 0):
                raise No(409, "exceeds_purchase")
            purchase.left[n] -= purchase.left[n] if thousandths is None else thousandths or 1

    def rest(self, purchase: Purchase) -> JSON:
        """The basket as if only what is left had been bought."""
        about, left = purchase.about, purchase.left
        basis = {code: stays(b, purchase.judged_on, left) for code, b in purchase.basis.items()}
        there = [n for n, units in enumerate(left) if units]
        return about | {
            "at": purchase.at,
            "lines": [about["lines"][n] for n in there],
            "basis": {code: [b[n] for n in there] for code, b in basis.items()},
            "tiers": purchase.tiers,
        }

    def undo(self, purchase: Purchase, before: list[int]) -> dict[str, int]:
        """Points of what is no longer left, less those taken before; those of a rule that so wants it, all.

        `before` is what was left until now.
        """
        if purchase.member is None:
            return {}
        member, configuration = self.members[purchase.member], purchase.judged_by
        if member.status != "erased":
            self.restore(purchase)
        rest, due = self.rest(purchase), {code: list[tuple[Lot, int]]() for code, _ in purchase.lots}
        for n, award in enumerate(purchase.awards):
            rule = award.rule
            gone = award.points - sum(stays(award.shares, purchase.judged_on, purchase.left))
            if rule.get("on_return") == "all_if_unmet" and not still(configuration, rule, rest):
                gone = award.points
            now = max(0, gone - purchase.taken[n])
            purchase.taken[n] += now
            due[rule["points_currency"]].append((purchase.lots[purchase.into[n]], now))
            if award.period:
                member.counters[rule["id"], award.period] -= now
        for code, own in due.items():
            self.take_back(member, code, own)
        paid = [line["amount_minor"] for line in purchase.about["lines"]]
        gone_now = sum(stays(paid, purchase.bought, before)) - sum(
            stays(paid, purchase.bought, purchase.left)
        )
        visits = -int(any(before) and not any(purchase.left))
        gone_points = {code: -sum(points for _, points in own) for code, own in due.items()}
        self.count_did(member, purchase.at, -gone_now, visits, gone_points, back=True)
        return {code: -points for code, points in gone_points.items() if points}

    def restore(self, purchase: Purchase) -> None:
        """What was spent comes back by what was paid, to the lots taken last first."""
        paid = [line["amount_minor"] for line in purchase.about["lines"]]
        weights = paid if any(paid) else purchase.bought
        for n, (hold, parts, *_) in enumerate(purchase.paid):
            points = sum(part for _, part in parts)
            kept = sum(stays(shared(points, weights), purchase.bought, purchase.left))
            over, wanted = purchase.given[n], points - kept - purchase.given[n]
            purchase.given[n] = points - kept
            if not wanted:
                continue
            last: list[tuple[Lot, int]] = []
            for lot, taken in reversed(parts):
                skipped = min(over, taken)
                back = min(wanted, taken - skipped)
                over, wanted = over - skipped, wanted - back
                last += [(lot, back)] if back else []
            self.put_back(hold.lots, last)

    def put_back(self, lots: list[Lot], parts: list[tuple[Lot, int]], *, erased: bool = False) -> int:
        """Spent points go back to their lots. What is over by now gets a new end, or is lost: so many."""
        self.settle(lots)
        self.bounded(lots, sum(points for _, points in parts))
        days, lost = self.policies.get("returned_days", 0), 0
        for lot, points in parts:
            lot.redeemed -= points
            if erased or (lot.ends <= self.now and not days):
                lot.expire(points)
                lost += points
            else:
                lot.available += points
                lot.arrived = max(lot.arrived, self.now)
        # What is still good pays a debt before what gets a new end.
        late = [lot for lot, _ in parts if lot.ends <= self.now and lot.available]
        self.repay(lots, [lot for lot in lots if lot not in late])
        on = self.now.astimezone(self.zone).date() + timedelta(days=days)
        for lot in late:
            lot.expires = midnight(on, self.zone)
        self.repay(lots)
        return lost

    def exchange(self, back: tuple[Any, ...], bought: tuple[Any, ...], answer: int) -> Any:
        """Both or neither; known again by both names."""
        (name, content, *_), (receipt, told, *_) = back, bought
        if name in self.backs and self.backs[name][0] != content:
            raise No(409, "activity_differs")
        if receipt in self.receipts:
            sold = self.receipts[receipt]
            if sold is None:
                raise No(409, "purchase_cancelled")
            if sold.content != told:
                raise No(409, "activity_differs")
        if (name, receipt) in self.exchanges:
            raise Again(self.exchanges[name, receipt])
        if name in self.backs or receipt in self.receipts:
            raise No(409, "activity_differs")
        self.exchanges[name, receipt] = answer
        return self.give_back(*back), self.purchase(*bought)

    def take_back(self, member: Member, code: str, own: list[tuple[Lot, int]]) -> None:
        """Of each lot its pending, expired, available points, then others' available ones; the rest by policy."""
        lots = member.lots[code]
        self.settle(lots)

        def take(lot: Lot, bucket: str, points: int) -> int:
            part = min(points, getattr(lot, bucket))
            setattr(lot, bucket, getattr(lot, bucket) - part)
            lot.revoked += part
            return points - part

        short: list[tuple[Lot, int]] = []
        for lot in {lot.issue: lot for lot, _ in own}.values():
            points = sum(points for other, points in own if other is lot)
            for bucket in ("pending", "expired", "available"):
                points = take(lot, bucket, points)
            short.append((lot, points))
        left = sum(points for _, points in short)
        for lot in self.spending(lots):
            left = take(lot, "available", left)
        currency = self.currency(self.present, code)
        policy = "waive" if member.status == "erased" else currency.get("negative", "prevent")
        if policy == "waive":
            return
        if left > (max(0, currency.get("floor", 0) - self.debt(lots)) if policy == "floor" else 0):
            raise No(409, "insufficient_points")
        for lot, points in short:
            part = min(left, points)
            lot.owed, lot.revoked, left = lot.owed + part, lot.revoked + part, left - part

    # --- redemptions ------------------------------------------------------------------------------------------

    def offered(self, id: str) -> JSON:
        reward = next((r for r in self.present.get("rewards", []) if r["id"] == id), None)
        if reward is None:
            raise No(404, "reward_not_found")
        return reward

    def can_be_had(self, member: Member, reward: JSON, quantity: int, place: JSON) -> None:
        if quantity > reward.get("quantity_max", 10):
            raise No(422, "quantity_too_large")
        against = self.why_not(member, reward, quantity, place)
        if set(against) - {"account_frozen", "insufficient_points"}:
            raise No(409, "reward_unavailable", against)

    def own_hold(self, member: Member, number: int | None) -> Hold | None:
        """The hold that a redemption names: open, and the member's own."""
        if number is None:
            return None
        if number >= len(self.holds):
            raise No(404, "hold_not_found")
        if self.holds[number].member != member.number:
            raise No(409, "hold_of_another_member")
        return self.open(number)

    def redeem(
        self,
        named: int,
        id: str,
        quantity: int | None,
        place: JSON,
        answer: int,
        by: Actor,
        held: int | None = None,
        proof: Proof = None,
    ) -> Redemption:
        member = self.active(named)
        hold = self.own_hold(member, held)
        if hold is not None and hold.reward is not None:
            reward, quantity = hold.terms, quantity or hold.quantity
            if hold.reward != id:
                raise No(409, "hold_for_reward")
            if quantity > reward.get("quantity_max", 10):
                raise No(422, "quantity_too_large")
        else:
            reward, quantity = self.offered(id), quantity or 1
            self.can_be_had(member, reward, quantity, place)
        if reward.get("stocked"):
            self.stocks[id] -= quantity
        self.use(member, self.limit_of(reward, self.now), quantity)
        return self.take(
            member,
            reward["points_currency"],
            reward["points"] * quantity,
            reward,
            id,
            quantity,
            place,
            answer,
            by,
            hold,
            proof,
        )

    def why_not(self, member: Member, reward: JSON, quantity: int, place: JSON) -> list[str]:
        """The words of every reason against a reward, in their order."""
        local = self.now.astimezone(self.zone)
        found: list[str] = []
        if reward.get("from_on") and local.date() < date.fromisoformat(reward["from_on"]):
            found.append("not_before")
        if reward.get("to_on") and local.date() > date.fromisoformat(reward["to_on"]):
            found.append("over")
        left = self.stocks.get(reward["id"], 0) - self.kept_back(reward["id"])
        if reward.get("stocked") and left < quantity:
            found.append("sold_out")
        limit = reward.get("member_limit")
        key = self.limit_of(reward, self.now)
        own = sum(hold.quantity for hold in self.promised(reward["id"]) if hold.member == member.number)
        if limit and key and member.counters.get(key, 0) + own + quantity > limit["quantity"]:
            found.append("limit_reached")
        when = reward.get("when")
        if asks_tiers(when):
            self.look(member)
        parts = [] if when is None else demanded(when)
        found += [part["kind"] for part in parts if not self.fits(part, member, place, local)]
        if reward["points_currency"] in member.frozen:
            found.append("account_frozen")
        held = sum(lot.available for lot in self.settled(member, reward["points_currency"]))
        if held < reward["points"] * quantity:
            found.append("insufficient_points")
        return found

    def fits(self, when: JSON, member: Member, place: JSON, local: datetime) -> bool:
        match when["kind"]:
            case "not":
                return not self.fits(when["of"], member, place, local)
            case "all":
                return all(self.fits(part, member, place, local) for part in when["of"])
            case "any":
                return any(self.fits(part, member, place, local) for part in when["of"])
            case "tenure":
                return (local.date() - member.enrolled.astimezone(self.zone).date()).days >= when["days"]
            case "identifier":
                kinds = {kind for (kind, _), owner in self.identifiers.items() if owner == member.number}
                return bool(kinds & set(when["any_of"]))
            case "tier":
                return when["at_least"] in self.tiers_at(member, self.now).get(when["tier_set"], ())
            case _:
                return holds(when, place, [], local)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.present["settings"]["zone"])

    def limit_of(self, reward: JSON, at: datetime) -> tuple[str, str] | None:
        limit = reward.get("member_limit")
        on = at.astimezone(self.zone).date()
        return (f"reward {reward['id']}", named_period(on, limit["period"])) if limit else None

    def day_of(self, code: str, pay: JSON, at: datetime) -> tuple[str, str] | None:
        return (f"pay {code}", at.astimezone(self.zone).date().isoformat()) if pay.get("day_max") else None

    @staticmethod
    def use(member: Member, key: tuple[str, str] | None, many: int) -> None:
        if key is not None:
            member.counters[key] = max(0, member.counters.get(key, 0) + many)

    def pay(
        self,
        named: int,
        code: str,
        points: int,
        place: JSON,
        answer: int,
        by: Actor,
        held: int | None = None,
        proof: Proof = None,
    ) -> Redemption:
        member = self.active(named)
        hold = self.own_hold(member, held)
        if hold is not None and hold.reward is not None:
            raise No(409, "hold_for_reward")
        pay = self.currency(self.present, code).get("pay")
        if pay is None:
            raise No(422, "payment_not_offered")
        if points < pay.get("points_min", 1):
            raise No(422, "points_below_minimum")
        if points % pay.get("step", 1):
            raise No(422, "points_not_in_step")
        if points > pay.get("points_max", 10**9):
            raise No(422, "points_above_maximum")
        key = self.day_of(code, pay, self.now)
        if key and member.counters.get(key, 0) + points > pay["day_max"]:
            raise No(409, "day_limit_reached")
        self.use(member, key, points)
        return self.take(member, code, points, pay, None, 1, place, answer, by, hold, proof)

    def take(
        self,
        member: Member,
        code: str,
        points: int,
        terms: JSON,
        reward: str | None,
        quantity: int,
        place: JSON,
        answer: int,
        by: Actor,
        hold: Hold | None,
        proof: Proof,
    ) -> Redemption:
        if hold is None:
            lots = self.takeable(member, code, points)
            self.spent(member, code, points, by)
            self.prove(member, points, by, proof)
            parts = self.spend(lots, points)
            self.stir(member, code, "redeem", self.now)
        elif hold.code != code:
            raise No(409, "insufficient_points")
        else:
            _, parts, _, _ = self.capture_hold(hold.number, points, True, plain=False)
        taken = Redemption(member.number, code, parts, self.now, terms, reward, quantity, place, answer)
        self.redemptions.append(taken)
        return taken

    def fulfil(self, which: int, answer: int) -> Redemption:
        taken = self.redemption(which)
        if taken.state == "fulfilled":
            raise Again(taken.answer)
        if taken.state == "cancelled":
            raise No(409, "redemption_cancelled")
        taken.state, taken.answer = "fulfilled", answer
        return taken

    def redemption(self, which: int) -> Redemption:
        if which >= len(self.redemptions):
            raise No(404, "redemption_not_found")
        return self.redemptions[which]

    def cancel_redemption(self, which: int, answer: int) -> tuple[Redemption, int]:
        """The redemption, and how many of its points are lost."""
        taken = self.redemption(which)
        if taken.state == "cancelled":
            raise Again(taken.answer)
        if taken.state == "fulfilled" and not taken.terms.get("returnable"):
            raise No(409, "not_returnable")
        member = self.members[taken.member]
        lots = member.lots[taken.code]
        points = sum(part for _, part in taken.parts)
        lost = self.put_back(lots, taken.parts, erased=member.status == "erased")
        if taken.reward is not None:
            if taken.terms.get("stocked"):
                self.stocks[taken.reward] += taken.quantity
            self.use(member, self.limit_of(taken.terms, taken.at), -taken.quantity)
        else:
            self.use(member, self.day_of(taken.code, taken.terms, taken.at), -points)
        taken.state, taken.answer = "cancelled", answer
        return taken, lost

    def stock(self, id: str, to: int | None, by: int) -> int:
        if not self.offered(id).get("stocked"):
            raise No(409, "stock_not_kept")
        after = self.stocks.get(id, 0) + by if to is None else to
        if not self.kept_back(id) <= after <= 10**9:
            raise No(409, "stock_out_of_range")
        self.stocks[id] = after
        return after

    # --- reading ------------------------------------------------------------------------------------------------

    def settled(self, member: Member, code: str) -> list[Lot]:
        """The lots as a read at this instant sees them; nothing changes."""
        lots = member.lots.get(code, [])
        copies, holds = pickle.loads(pickle.dumps((lots, self.open_holds(lots))))
        self.settle(copies, holds)
        return copies

    def balance(self, number: int, code: str) -> tuple[int, int, int, int]:
        """Pending, available, held and debt."""
        lots = self.settled(self.members[number], code)
        pending, available, held = (
            sum(getattr(lot, b) for lot in lots) for b in ("pending", "available", "held")
        )
        return pending, available, held, self.debt(lots)

    def due(self) -> list[datetime]:
        """Every instant at which a lot activates or ends, or a hold lapses."""
        lots = [lot for member in self.members.values() for held in member.lots.values() for lot in held]
        instants = [at for lot in lots for at in (lot.activates, lot.ends) if at not in (None, NEVER)]
        return instants + [hold.lapses for hold in self.holds if hold.parts]

    def upcoming(self) -> list[tuple[datetime, int]]:
        """When points of whom will move by themselves; the next one first."""
        lots = [
            (n, lot) for n, member in self.members.items() for held in member.lots.values() for lot in held
        ]
        instants = [(lot.activates, n) for n, lot in lots if lot.pending and lot.activates]
        instants += [(lot.ends, n) for n, lot in lots if lot.available and lot.expires]
        instants += [(hold.lapses, hold.member) for hold in self.holds if hold.parts]
        ends = [
            (place.given[2], n)
            for n, member in self.members.items()
            for place in member.places.values()
            if place.given and place.given[2] and member.status != "erased"
        ]
        instants += ends
        return sorted((at, n) for at, n in instants if at > self.now)


def months_on(on: date, months: int) -> date:
    """The same day so many months later, or the last of that month."""
    month = on.year * 12 + on.month - 1 + months
    last = (date(month // 12 + (month % 12 == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(month // 12, month % 12 + 1, min(on.day, last))


def asks_tiers(when: JSON | None) -> bool:
    """Whether a condition looks at the member's tier."""
    if when is None:
        return False
    inner = when.get("of", ())
    parts = inner if isinstance(inner, list | tuple) else [inner]
    return when["kind"] == "tier" or any(map(asks_tiers, parts))


def stays(figures: list[int], whole: list[int], left: list[int]) -> list[int]:
    """What stays of each line's figure: what goes is rounded down."""
    return [
        f - floor(Fraction(f * (w - k), w)) if w else f for f, w, k in zip(figures, whole, left, strict=True)
    ]


def demanded(when: JSON) -> list[JSON]:
    """The conditions that must all hold, one by one."""
    return [one for part in when["of"] for one in demanded(part)] if when["kind"] == "all" else [when]


def midnight(on: date, zone: ZoneInfo) -> datetime:
    """The instant at which a day begins, where the clock shows midnight on every day."""
    return datetime.combine(on, time.min, zone).astimezone(UTC)
