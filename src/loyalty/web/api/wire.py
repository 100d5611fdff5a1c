"""What callers send: one frozen Struct per body, bounded in every direction; answers of reads stand beside reads.

Field names, limits and texts are the API's reference: the OpenAPI document is made from them.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from loyalty.base.calendar import INSTANT_MAX, INSTANT_MIN
from loyalty.base.errors import Fault
from loyalty.base.forms import CODES
from loyalty.base.text import composed
from loyalty.jobs.imports.types import ImportKind
from loyalty.members.types import IdentifierKind
from loyalty.programs.types import ProgramSettings
from loyalty.rewards.types import QUANTITY_MAX, STOCK_MAX, Catalogue
from loyalty.rules.types import Ruleset
from loyalty.tiers.types import TierSets
from loyalty.web.types import BATCH_MAX, Batch

POINTS_MAX = 2**53 - 1
AMOUNT_MAX = 10**12  # a thousand lines of this still count exactly
HOLDS_MAX = 20


def _money(text: str) -> tuple[str, str] | None:
    if re.fullmatch("[A-Z]{3}", text) is None:
        return "unknown_currency", "Money is named by the three capital letters of ISO 4217, such as EUR."
    return None


def _quantity(text: str) -> tuple[str, str] | None:
    if re.fullmatch(r"[+-]?(nan|snan|inf|infinity)", text.strip(), re.IGNORECASE):
        return "not_a_number", CODES["not_a_number"]
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text) is None:
        return "wrong_type", 'Expected a decimal number such as "2" or "0.512", in the digits 0 to 9.'
    if text.startswith("-") or re.search("[eE]", text):
        return "out_of_range", "A quantity is 0 or more and written without an exponent."
    whole, _, decimals = text.partition(".")
    if len(decimals) > 3:
        return "too_many_decimals", "A quantity has at most three decimals."
    if len(whole.lstrip("0")) > 9:
        return "out_of_range", "A quantity is below 1,000,000,000."
    return ("wrong_type", "A number is written without leading zeros.") if whole != str(int(whole)) else None


def _receipt_id(text: str) -> tuple[str, str] | None:
    if re.fullmatch("[!-~]([ -~]*[!-~])?", text) is None:
        return "invalid_characters", "Printable ASCII only, no blank at either end."
    return None


Text = Annotated[str, Meta(min_length=1, max_length=128)]
Location = Annotated[
    str, Meta(min_length=1, max_length=128, pattern=r"\S", description="Blanks around it do not count.")
]
ReceiptId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern="^[!-~]([ -~]*[!-~])?$",
        description="Printable ASCII, no blank at either end.",
        extra={"form": _receipt_id},
    ),
]
Money = Annotated[
    str,
    Meta(pattern="^[A-Z]{3}$", description="ISO 4217 code.", examples=["EUR"], extra={"form": _money}),
]
Quantity = Annotated[
    str,
    Meta(
        max_length=400,
        pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,3})?$",
        description="Decimal number of 0 or more with at most three decimals: weighed goods have them.",
        examples=["2", "0.512"],
        extra={"form": _quantity},
    ),
]
Instant = Annotated[
    datetime,
    Meta(
        tz=True,
        description="RFC 3339 with an offset, in the years 1970 to 2199; rounded to microseconds.",
        examples=["2026-05-04T17:31:09+02:00"],
    ),
]
Amount = Annotated[int, Meta(ge=0, le=AMOUNT_MAX, description="Minor units of the money.")]
Points = Annotated[int, Meta(ge=1, le=POINTS_MAX)]
PinText = Annotated[
    str,
    Meta(
        pattern="^[0-9]{4,12}$",
        description="The member's PIN, 4 to 12 digits; whether it is needed the program says.",
        examples=["4711"],
    ),
]
RewardId = Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,63}$", examples=["coffee-mug"])]
RewardQuantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX, description="Of a reward; 1 when left out.")]
PointsCurrencyCode = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$", examples=["points"])]
ReasonCode = Annotated[
    str,
    Meta(
        pattern="^[a-z][a-z0-9_]{0,63}$",
        description="A stable word, never a sentence about a person.",
        examples=["goodwill"],
    ),
]
CaseNumber = Annotated[
    str,
    Meta(
        pattern="^[A-Z]{1,10}-?[0-9]{1,12}$",
        description="Number of a ticket or case: capital letters, a dash or none, digits; never words about a person.",
        examples=["CASE-10293"],
    ),
]
IdentifierText = Annotated[str, Meta(min_length=1, max_length=512)]
Limit = Annotated[int, Meta(ge=1, le=200, description="How many at most.")]
CursorText = Annotated[
    str, Meta(min_length=1, max_length=1_024, description="`next_cursor` of the page before.")
]


class PageQuery(Struct, frozen=True):
    """Which part of a list."""

    limit: Limit = 50
    cursor: CursorText | None = None


ItemKey = Annotated[str, Meta(min_length=1, max_length=255, pattern="^[ -~]+$")]


def in_range(at: str, field: str, instant: datetime | None) -> list[Fault]:
    """A fault unless the instant can be counted with everywhere."""
    if instant is None or INSTANT_MIN <= instant < INSTANT_MAX:
        return []
    return [Fault(f"{at}/{field}", "out_of_range", "The instant must lie in the years 1970 to 2199.")]


def utc(instant: datetime) -> datetime:
    """The same instant in UTC, as everything behind the edge has it."""
    return instant if instant.tzinfo is UTC else instant.astimezone(UTC)


def location_of(name: str | None) -> str | None:
    """A location's name in the form in which names are compared, whatever form the caller writes it in."""
    return None if name is None else composed(name)


def milli(quantity: str) -> int:
    """A decimal quantity in thousandths. Needs: the form of Quantity."""
    whole, _, decimals = quantity.partition(".")
    return int(whole) * 1_000 + (int(f"{decimals:0<3}") if decimals else 0)


# --- members ------------------------------------------------------------------------------------------


class MemberName(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A member, named by id or by one identifier: exactly one of the fields."""

    id: UUID | None = None
    card: IdentifierText | None = None
    phone: IdentifierText | None = None
    email: IdentifierText | None = None
    external: IdentifierText | None = None

    def named(self) -> list[str]:
        """The fields that are given."""
        return [name for name in self.__struct_fields__ if getattr(self, name) is not None]

    def check(self, at: str) -> Iterator[Fault]:
        if len(self.named()) != 1:
            yield Fault(
                at, "choose_one", "Name the member by exactly one of id, card, phone, email, external."
            )


class IdentifierBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One identifier as it was typed, scanned or read; it is normalised here."""

    kind: IdentifierKind
    value: IdentifierText


Attribute = (
    Annotated[str, Meta(max_length=500)] | Annotated[int, Meta(ge=-POINTS_MAX, le=POINTS_MAX)] | bool | None
)
Attributes = Annotated[
    dict[Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")], Attribute],
    Meta(
        max_length=50, description="The program's own fields of a person: text, whole numbers, true or false."
    ),
]


class ProfileBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Personal data, kept apart from points and erasable."""

    name: Annotated[str, Meta(min_length=1, max_length=120)] | None = None
    locale: (
        Annotated[
            str, Meta(pattern="^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$", examples=["de-AT"])
        ]
        | None
    ) = None
    birthday_on: date | None = None


class EnrolBody(Struct, frozen=True, forbid_unknown_fields=True):
    identifiers: Annotated[tuple[IdentifierBody, ...], Meta(min_length=1, max_length=10)]
    profile: ProfileBody = ProfileBody()
    attributes: Attributes = {}


class ChangeMemberBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays. Profile and attributes are one record: they are replaced together, as a whole."""

    status: Literal["active", "blocked"] | None = None
    profile: ProfileBody | None = None
    attributes: Attributes | None = None

    def check(self, at: str) -> Iterator[Fault]:
        if self.status is None and self.profile is None and self.attributes is None:
            yield Fault(at, "nothing_to_do", CODES["nothing_to_do"])
        elif (self.profile is None) != (self.attributes is None):
            missing = "profile" if self.profile is None else "attributes"
            yield Fault(f"{at}/{missing}", "required", "Profile and attributes are replaced together.")


class LookupBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Whatever was typed or scanned: phone, e-mail, card, external id, or the text of a QR code."""

    query: IdentifierText


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object; the body may also be left out."""


# --- purchases ----------------------------------------------------------------------------------------


class LineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One position of a purchase."""

    line_id: Text
    sku: Text
    amount_minor: Annotated[
        int,
        Meta(
            ge=0,
            le=AMOUNT_MAX,
            description="What the customer pays for the line: all units, after discounts, tax included.",
        ),
    ]
    quantity: Quantity = "1"
    categories: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    tags: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    tax_minor: Annotated[int, Meta(ge=0, le=AMOUNT_MAX, description="Tax contained in amount_minor.")] = 0
    discount_minor: Annotated[
        int, Meta(ge=0, le=AMOUNT_MAX, description="Taken off before amount_minor.")
    ] = 0


class TenderBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One way in which the purchase was paid."""

    type: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$", examples=["card"])]
    amount_minor: Amount


class UseHoldBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A hold of the member that pays for the purchase; what is not taken of it is released."""

    id: UUID
    points: Annotated[int, Meta(ge=1, le=POINTS_MAX)] | None = None  # left out: all that is held


class PurchaseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A receipt. `source` and `external_id` name it for ever: the same content again is the same purchase."""

    source: ReceiptId
    external_id: ReceiptId
    occurred_at: Instant
    money: Money
    lines: Annotated[tuple[LineBody, ...], Meta(min_length=1, max_length=1_000)]
    member: MemberName | None = None
    till: Text | None = None
    location: Location | None = None
    channel: Text | None = None
    tenders: Annotated[
        tuple[TenderBody, ...], Meta(max_length=50, description="When given, they sum to the lines.")
    ] = ()
    holds: Annotated[
        tuple[UseHoldBody, ...],
        Meta(max_length=HOLDS_MAX, description="Points set aside before, captured by this purchase."),
    ] = ()

    def check(self, at: str) -> list[Fault]:
        faults = in_range(at, "occurred_at", self.occurred_at)
        if self.member is not None:
            faults += self.member.check(f"{at}/member")
        lines = self.lines
        if len({line.line_id for line in lines}) < len(lines):
            faults += _doubled_lines(at, lines)
        for index, use in enumerate(self.holds):
            if use.id in [other.id for other in self.holds[:index]]:
                faults.append(Fault(f"{at}/holds/{index}/id", "duplicate", CODES["duplicate"]))
        for index, line in enumerate(lines):
            if line.tax_minor > line.amount_minor:
                faults.append(
                    Fault(f"{at}/lines/{index}/tax_minor", "out_of_range", "The tax is above the amount.")
                )
        if self.tenders:
            total = sum([line.amount_minor for line in lines])
            paid = sum([tender.amount_minor for tender in self.tenders])
            if paid != total:
                detail = f"The tenders sum to {paid:,}, the lines to {total:,}."
                faults.append(Fault(f"{at}/tenders", "total_mismatch", detail))
        return faults


def _doubled_lines(at: str, lines: "Sequence[LineBody | ReturnLineBody]") -> list[Fault]:
    seen: set[str] = set()
    faults: list[Fault] = []
    for index, line in enumerate(lines):
        if line.line_id in seen:
            where = f"{at}/lines/{index}/line_id"
            faults.append(Fault(where, "duplicate_line_id", CODES["duplicate_line_id"]))
        seen.add(line.line_id)
    return faults


class QuoteBody(PurchaseBody, frozen=True, forbid_unknown_fields=True):
    """A purchase that has not been made: the body of the purchase itself."""


class PurchaseItem(PurchaseBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A purchase of a batch; without a key its receipt protects it."""

    idempotency_key: ItemKey | None = None


# An item of a batch is looked at alone: nothing of its form is asked while the whole is read.
LatePurchase = Annotated[
    Any, Meta(extra={"shape": PurchaseItem}, extra_json_schema={"$ref": "#/components/schemas/PurchaseItem"})
]


class PurchaseBatch(Batch, frozen=True, forbid_unknown_fields=True):
    items: Annotated[
        tuple[
            Annotated[
                Any,
                Meta(
                    extra={"shape": PurchaseItem},
                    extra_json_schema={"$ref": "#/components/schemas/PurchaseItem"},
                ),
            ],
            ...,
        ],
        Meta(min_length=1, max_length=BATCH_MAX),
    ]


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The receipt of a whole purchase, which need not have arrived."""

    source: ReceiptId
    external_id: ReceiptId
    reported_at: Instant | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from in_range(at, "reported_at", self.reported_at)


class ReceiptBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The name that a source gave to a purchase."""

    source: ReceiptId
    external_id: ReceiptId


class ReturnLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One line that goes back: all that is left of it, or so much. A line bought with quantity 0 goes whole."""

    line_id: Text
    quantity: Quantity | None = None


class ReturnBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A return. `source` and `external_id` are its own: the same content again is the same return."""

    source: ReceiptId
    external_id: ReceiptId
    occurred_at: Instant
    lines: (
        Annotated[
            tuple[ReturnLineBody, ...],
            Meta(min_length=1, max_length=1_000, description="When left out, all that is left goes back."),
        ]
        | None
    ) = None
    money: Annotated[Money | None, Meta(description="When given, it must be the purchase's.")] = None
    till: Text | None = None
    location: Annotated[
        Location | None, Meta(description="Where it is taken back: any store, whoever sold it.")
    ] = None

    def check(self, at: str) -> list[Fault]:
        return [*in_range(at, "occurred_at", self.occurred_at), *_doubled_lines(at, self.lines or ())]


class ReturnByReceiptBody(ReturnBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A return whose purchase is named by its receipt."""

    of: ReceiptBody


class ExchangeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A return and a purchase that happen together or not at all."""

    returned: ReturnByReceiptBody
    purchase: PurchaseBody

    def check(self, at: str) -> Iterator[Fault]:
        yield from self.returned.check(f"{at}/returned")
        yield from self.purchase.check(f"{at}/purchase")


class ClaimBody(Struct, frozen=True, forbid_unknown_fields=True):
    member: MemberName

    def check(self, at: str) -> Iterator[Fault]:
        yield from self.member.check(f"{at}/member")


# --- holds ----------------------------------------------------------------------------------------------

Minutes = Annotated[
    int,
    Meta(
        ge=1,
        le=5_256_000,
        description="From now; left out: `hold_minutes` of the program's policies, never beyond `hold_days_max`.",
    ),
]


class HoldBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Points to be set aside for a sale (`points_currency`, `points`), or a reward with what it costs (`reward`)."""

    member: MemberName
    points_currency: PointsCurrencyCode | None = None
    points: Points | None = None
    reward: RewardId | None = None
    quantity: RewardQuantity | None = None
    minutes: Minutes | None = None
    reference: Annotated[ReceiptId, Meta(description="Your own number for the sale.")] | None = None
    till: Text | None = None
    location: Location | None = None
    channel: Annotated[Text, Meta(description="With a reward: the way by which it is taken.")] | None = None
    pin: PinText | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from self.member.check(f"{at}/member")
        yield from _reward_or_points(at, self)
        if self.reward is None and self.channel is not None:
            yield Fault(f"{at}/channel", "choose_one", "A channel matters to a reward alone.")


class PinBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The PIN that a member has from now on."""

    pin: Annotated[str, Meta(pattern="^[0-9]{4,12}$", description="4 to 12 digits.")]


class ExtendBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the hold shall last from now on; the body may also be left out."""

    minutes: Minutes | None = None


class CaptureBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to take; the body may also be left out, then all that is held is taken."""

    points: Points | None = None
    release_rest: Annotated[
        bool, Meta(description="Give back at once what is not taken; otherwise it stays held.")
    ] = False


# --- points -------------------------------------------------------------------------------------------


class AdjustmentBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A manual credit (above zero) or debit (below)."""

    member: MemberName
    points_currency: PointsCurrencyCode
    points: Annotated[int, Meta(ge=-POINTS_MAX, le=POINTS_MAX)]
    reason: ReasonCode
    reference: CaseNumber | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from self.member.check(f"{at}/member")
        if self.points == 0:
            yield Fault(f"{at}/points", "out_of_range", "An adjustment of 0 points changes nothing.")


class WriteOffBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a member owes in one points currency, to be let go."""

    member: MemberName
    points_currency: PointsCurrencyCode
    reference: CaseNumber | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from self.member.check(f"{at}/member")


class ReinstatementBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Expired points to be given back; without `points` all whose time for that is not over."""

    points_currency: PointsCurrencyCode
    reason: ReasonCode
    points: Points | None = None
    reference: CaseNumber | None = None


class RedatePlanBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The points currency whose policy of expiry was changed."""

    points_currency: PointsCurrencyCode


class RedateConfirmBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The `digest` of the plan's figures: what was looked at is what is confirmed."""

    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class TransferBody(Struct, frozen=True, forbid_unknown_fields=True, rename={"giver": "from", "taker": "to"}):
    """Points of one member for another."""

    giver: MemberName
    taker: MemberName
    points_currency: PointsCurrencyCode
    points: Points
    pin: PinText | None = None  # the giver's

    def check(self, at: str) -> Iterator[Fault]:
        yield from self.giver.check(f"{at}/from")
        yield from self.taker.check(f"{at}/to")


class FreezeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why an account is frozen, or may be used again."""

    reason: ReasonCode


class TierBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A tier by hand until an instant, null: until it is taken back; or with `tier` null what was given taken back."""

    tier: Annotated[str, Meta(min_length=1, max_length=64)] | None
    reason: ReasonCode
    until: Instant | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from in_range(at, "until", self.until)


class ImportBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A file that will come: what its rows are, and the system that they come from."""

    kind: ImportKind
    source: ReceiptId


class ImportLotBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One credit of an earlier system, with its own dates."""

    member: MemberName
    points_currency: PointsCurrencyCode
    points: Points
    source: ReceiptId
    external_id: ReceiptId
    issued_at: Instant
    activates_at: Instant | None = None
    expires_at: Instant | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from self.member.check(f"{at}/member")
        for field in ("issued_at", "activates_at", "expires_at"):
            yield from in_range(at, field, getattr(self, field))
        last = max(self.issued_at, self.activates_at or self.issued_at)
        if self.expires_at is not None and self.expires_at <= last:
            yield Fault(
                f"{at}/expires_at", "contradictory_range", "The points would expire before they are good."
            )


class ImportItem(ImportLotBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A lot of a batch; without a key its source and external id protect it."""

    idempotency_key: ItemKey | None = None


LateImport = Annotated[
    Any, Meta(extra={"shape": ImportItem}, extra_json_schema={"$ref": "#/components/schemas/ImportItem"})
]


class ImportBatch(Batch, frozen=True, forbid_unknown_fields=True):
    items: Annotated[
        tuple[
            Annotated[
                Any,
                Meta(
                    extra={"shape": ImportItem}, extra_json_schema={"$ref": "#/components/schemas/ImportItem"}
                ),
            ],
            ...,
        ],
        Meta(min_length=1, max_length=BATCH_MAX),
    ]


# --- rewards ------------------------------------------------------------------------------------------

Reference = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern="^[!-~]([ -~]*[!-~])?$",
        description="The caller's own number of it, never a person's name. Printable ASCII, no blank at either end.",
        extra={"form": _receipt_id},
    ),
]


class RedemptionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A reward for points (`reward`), or points that pay a part of a sale (`points_currency`, `points`)."""

    member: MemberName
    reward: RewardId | None = None
    quantity: RewardQuantity | None = None
    points_currency: PointsCurrencyCode | None = None
    points: Points | None = None
    hold: (
        Annotated[
            UUID,
            Meta(
                description="The points come out of this hold of the member; the rest of it is released. One that was "
                "placed for a reward is redeemed for that reward, all of it where no quantity is given."
            ),
        ]
        | None
    ) = None
    location: Location | None = None
    channel: Text | None = None
    till: Text | None = None
    reference: Reference | None = None
    pin: PinText | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from self.member.check(f"{at}/member")
        yield from _reward_or_points(at, self)


def _reward_or_points(at: str, body: HoldBody | RedemptionBody) -> Iterator[Fault]:
    pays = body.points is not None and body.points_currency is not None
    mixed = body.points is not None or body.points_currency is not None
    if (body.reward is None) != pays or (body.reward is not None and mixed):
        yield Fault(at, "choose_one", "Name either a reward, or a points currency and its points.")
    elif body.reward is None and body.quantity is not None:
        yield Fault(f"{at}/quantity", "choose_one", "A quantity is that of a reward.")


class CancelRedemptionBody(Struct, frozen=True, forbid_unknown_fields=True):
    reason: ReasonCode


class StockBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How many there are (`set`), or how many come or go (`add`): exactly one of the two."""

    reason: ReasonCode
    set: Annotated[int, Meta(ge=0, le=STOCK_MAX)] | None = None
    add: Annotated[int, Meta(ge=-STOCK_MAX, le=STOCK_MAX)] | None = None

    def check(self, at: str) -> Iterator[Fault]:
        if (self.set is None) == (self.add is None):
            yield Fault(at, "choose_one", "Give exactly one of set and add.")


# --- set-up -------------------------------------------------------------------------------------------


class PublishBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings, rules and rewards of the program, published together."""

    settings: ProgramSettings
    ruleset: Ruleset = Ruleset()
    rewards: Catalogue = ()
    tier_sets: TierSets = ()
    effective_at: Instant | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from in_range(at, "effective_at", self.effective_at)


class ConfigurationBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A configuration to be judged, not published."""

    settings: ProgramSettings
    ruleset: Ruleset = Ruleset()
    rewards: Catalogue = ()
    tier_sets: TierSets = ()


class AdvanceBody(Struct, frozen=True, forbid_unknown_fields=True):
    to: Instant

    def check(self, at: str) -> Iterator[Fault]:
        yield from in_range(at, "to", self.to)


class ClientBody(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=120, pattern=r"\S")]


class KeyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a new key may do: the role, and for a till (`pos`) alone its locations (none: anywhere)."""

    role: Literal["pos", "support", "manager", "analyst", "auditor", "admin"]
    locations: Annotated[tuple[Location, ...], Meta(max_length=200)] = ()
    expires_at: Instant | None = None

    def check(self, at: str) -> Iterator[Fault]:
        yield from in_range(at, "expires_at", self.expires_at)


class RotateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key still works beside the new one."""

    overlap_minutes: Annotated[int, Meta(ge=0, le=43_200)] = 60
