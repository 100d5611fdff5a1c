"""One good body for each form that callers send; what is bad is made from them."""

from typing import Any

from loyalty.web.api import wire
from tests.web.world import CONFIGURATION

JSON = dict[str, Any]

_RULE: JSON = {
    "id": "double",
    "name": "extra for coffee",
    "points_currency": "points",
    "gives": {"kind": "multiplier", "factor_bps": 20_000, "lines": {"categories": ["coffee"]}},
    "when": {
        "kind": "all",
        "of": [
            {"kind": "window", "weekdays": [6, 7], "from_time": "10:00:00", "from_on": "2026-01-01"},
            {"kind": "not", "of": {"kind": "channel", "any_of": ["web"]}},
        ],
    },
    "member_cap": {"points": 500, "period": "month"},
}
_MEMBER = {"id": "01900000-0000-7000-8000-000000000000"}
_PURCHASE: JSON = {
    "source": "till",
    "external_id": "R-1",
    "occurred_at": "2026-05-04T17:31:09+02:00",
    "money": "EUR",
    "lines": [
        {"line_id": "1", "sku": "A", "amount_minor": 5, "quantity": "0.5", "tags": ["x"], "categories": ["y"]}
    ],
    "member": {"card": "6035550001"},
    "tenders": [{"type": "card", "amount_minor": 5}],
    "till": "7",
    "holds": [{"id": "01900000-0000-7000-8000-000000000000", "points": 5}],
}
_LOT: JSON = {
    "member": _MEMBER,
    "points_currency": "points",
    "points": 5,
    "source": "old",
    "external_id": "1",
    "issued_at": "2026-01-01T00:00:00Z",
    "expires_at": "2027-01-01T00:00:00Z",
}
_RETURN: JSON = {
    "source": "till",
    "external_id": "B-1",
    "occurred_at": "2026-05-04T17:31:09+02:00",
    "lines": [{"line_id": "1", "quantity": "1.5"}, {"line_id": "2"}],
    "money": "EUR",
    "till": "17",
    "location": "store-12",
}
_RETURN_BY_RECEIPT = {**_RETURN, "of": {"source": "till", "external_id": "R-1"}}
_REWARD: JSON = {
    "id": "mug",
    "name": "Coffee mug",
    "kind": "product",
    "points_currency": "points",
    "points": 50,
    "to_on": "2027-12-31",
    "stocked": True,
    "member_limit": {"quantity": 2, "period": "year"},
    "when": {"kind": "tenure", "days": 30},
}
_LADDER: JSON = {
    "id": "status",
    "name": "Status",
    "metric": {"kind": "points", "points_currency": "points"},
    "period": {"kind": "rolling", "days": 365},
    "tiers": [{"id": "gold", "name": "Gold", "threshold": 500, "expiry": {"points": {"kind": "never"}}}],
}
_WHOLE = {
    **CONFIGURATION,
    "ruleset": {"version": 2, "rules": [*CONFIGURATION["ruleset"]["rules"], _RULE]},
    "rewards": [_REWARD],
    "tier_sets": [_LADDER],
}
GOOD: dict[type, JSON] = {
    wire.PurchaseBody: _PURCHASE,
    wire.QuoteBody: _PURCHASE,
    wire.PurchaseItem: {**_PURCHASE, "idempotency_key": "k"},
    wire.PurchaseBatch: {"items": [_PURCHASE]},
    wire.CancelBody: {"source": "till", "external_id": "R-1", "reported_at": "2026-01-01T00:00:00Z"},
    wire.ReturnBody: _RETURN,
    wire.ReturnByReceiptBody: _RETURN_BY_RECEIPT,
    wire.ExchangeBody: {"returned": _RETURN_BY_RECEIPT, "purchase": _PURCHASE},
    wire.ClaimBody: {"member": _MEMBER},
    wire.PinBody: {"pin": "4711"},
    wire.EnrolBody: {
        "identifiers": [{"kind": "card", "value": "1"}],
        "profile": {"name": "Ida", "birthday_on": "1990-01-01"},
        "attributes": {"size": 3, "club": True, "colour": "red"},
    },
    wire.ChangeMemberBody: {"status": "blocked", "profile": {}, "attributes": {}},
    wire.LookupBody: {"query": "x"},
    wire.IdentifierBody: {"kind": "phone", "value": "1"},
    wire.Nothing: {},
    wire.AdjustmentBody: {"member": _MEMBER, "points_currency": "points", "points": -5, "reason": "goodwill"},
    wire.HoldBody: {
        "member": _MEMBER,
        "points_currency": "points",
        "points": 5,
        "minutes": 20,
        "reference": "order-1",
        "till": "7",
        "location": "store-12",
    },
    wire.ExtendBody: {"minutes": 20},
    wire.CaptureBody: {"points": 5, "release_rest": True},
    wire.WriteOffBody: {"member": _MEMBER, "points_currency": "points", "reference": "CASE-7"},
    wire.TransferBody: {"from": _MEMBER, "to": _MEMBER, "points_currency": "points", "points": 5},
    wire.FreezeBody: {"reason": "stolen_card"},
    wire.ReinstatementBody: {
        "points_currency": "points",
        "reason": "goodwill",
        "points": 5,
        "reference": "C-7",
    },
    wire.RedatePlanBody: {"points_currency": "points"},
    wire.RedateConfirmBody: {"digest": "0" * 64},
    wire.TierBody: {"tier": "gold", "reason": "goodwill", "until": "2026-12-31T00:00:00Z"},
    wire.ImportLotBody: _LOT,
    wire.ImportItem: {**_LOT, "idempotency_key": "k"},
    wire.ImportBatch: {"items": [_LOT]},
    wire.ImportBody: {"kind": "lots", "source": "crm"},
    wire.RedemptionBody: {
        "member": _MEMBER,
        "reward": "mug",
        "quantity": 2,
        "location": "a",
        "channel": "pos",
        "till": "7",
        "reference": "R-1",
    },
    wire.CancelRedemptionBody: {"reason": "changed_mind"},
    wire.StockBody: {"set": 5, "reason": "delivery"},
    wire.PublishBody: {**_WHOLE, "effective_at": "2026-01-01T00:00:00Z"},
    wire.ConfigurationBody: _WHOLE,
    wire.AdvanceBody: {"to": "2026-01-01T00:00:00Z"},
    wire.ClientBody: {"name": "x"},
    wire.KeyBody: {"role": "pos", "locations": ["a"], "expires_at": "2030-01-01T00:00:00Z"},
    wire.RotateBody: {"overlap_minutes": 5},
}
