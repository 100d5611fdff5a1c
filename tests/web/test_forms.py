"""The walk that names every fault and the decoder that accepts or refuses never disagree."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loyalty.base.errors import Fault
from loyalty.base.forms import CODES, faults_of
from loyalty.base.numbers import decimal
from loyalty.web.api import wire
from loyalty.web.app import endpoints
from loyalty.web.edge import decode
from loyalty.web.types import InvalidBody
from tests.web.world import CONFIGURATION

JSON = dict[str, Any]

SHAPES = sorted(
    {endpoint.body for endpoint in endpoints() if endpoint.body is not None and not endpoint.csv},
    key=lambda kind: kind.__name__,
)
SHAPES += [wire.PurchaseItem, wire.ImportItem]

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
_WHOLE = {**CONFIGURATION, "ruleset": {"version": 2, "rules": [*CONFIGURATION["ruleset"]["rules"], _RULE]}}
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

SCRAP = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        ["", "2026-01-01", "2026-01-01T00:00:00", "10:00:00", "10:00:00Z", "EUR", "card", "1.5", "x" * 200]
    ),
    st.lists(st.integers(0, 9), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(0, 9), max_size=3),
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside."""
    found = [at]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*at, index))
    return found


@st.composite
def spoilt(draw: st.DrawFn, body: JSON) -> Any:
    """A good body after one to three careless changes."""
    value: Any = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(places(value)))
        if not way:
            return draw(SCRAP)
        holder = value
        for step in way[:-1]:
            holder = holder[step]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "remove" if isinstance(holder, dict):
                del holder[way[-1]]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=5))] = draw(SCRAP)
            case _:
                holder[way[-1]] = draw(SCRAP)
    return value


def test_every_body_has_a_good_example() -> None:
    assert set(GOOD) == set(SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_good_body_has_no_fault(shape: type) -> None:
    assert faults_of(shape, GOOD[shape]) == []
    assert isinstance(decode(shape, json.dumps(GOOD[shape]).encode()), shape)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@settings(max_examples=60)
@given(data=st.data())
def test_what_is_refused_has_a_named_fault_and_what_is_taken_has_none(
    shape: type, data: st.DataObject
) -> None:
    value = data.draw(spoilt(GOOD[shape]))
    taken, wrong = True, []
    try:
        body = msgspec.convert(value, shape)
    except msgspec.ValidationError:
        taken = False
    else:
        check = getattr(body, "check", None)
        wrong = [] if check is None else list(check(""))
    faults = faults_of(shape, value)
    assert (faults == []) == (taken and not wrong)
    for fault in faults:
        assert fault.code in CODES
        assert _leads_somewhere(fault, value)


def _leads_somewhere(fault: Fault, value: Any) -> bool:
    """Whether a pointer leads to a value, or to a field that is missing in an object."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in fault.pointer.split("/")[1:]]
    for position, step in enumerate(steps):
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            if step not in value:
                return position == len(steps) - 1
            value = value[step]
        else:
            return False
    return True


def test_instants_are_taken_in_utc() -> None:
    body = decode(wire.PurchaseBody, json.dumps(_PURCHASE).encode())
    assert wire.utc(body.occurred_at) == datetime(2026, 5, 4, 15, 31, 9, tzinfo=UTC)


@given(st.integers(0, 999_999_999_999))
def test_a_quantity_reads_as_it_is_written(thousandths: int) -> None:
    text = decimal(thousandths)
    assert wire.milli(text) == thousandths
    assert faults_of(wire.Quantity, text) == []


def test_a_fault_never_repeats_what_was_sent() -> None:
    secret = "Hunter2-Straße-7"
    with pytest.raises(InvalidBody) as refused:
        decode(wire.PurchaseBody, json.dumps({**_PURCHASE, "money": secret, "till": [secret]}).encode())
    assert all(secret not in fault.detail for fault in refused.value.faults)
