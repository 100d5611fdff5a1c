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
from tests.web.good import GOOD

JSON = dict[str, Any]

SHAPES = sorted(
    {endpoint.body for endpoint in endpoints() if endpoint.body is not None and not endpoint.csv},
    key=lambda kind: kind.__name__,
)
SHAPES += [wire.PurchaseItem, wire.ImportItem]

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
    body = decode(wire.PurchaseBody, json.dumps(GOOD[wire.PurchaseBody]).encode())
    assert wire.utc(body.occurred_at) == datetime(2026, 5, 4, 15, 31, 9, tzinfo=UTC)


@given(st.integers(0, 999_999_999_999))
def test_a_quantity_reads_as_it_is_written(thousandths: int) -> None:
    text = decimal(thousandths)
    assert wire.milli(text) == thousandths
    assert faults_of(wire.Quantity, text) == []


def test_a_fault_never_repeats_what_was_sent() -> None:
    secret = "Hunter2-Straße-7"
    with pytest.raises(InvalidBody) as refused:
        decode(
            wire.PurchaseBody,
            json.dumps({**GOOD[wire.PurchaseBody], "money": secret, "till": [secret]}).encode(),
        )
    assert all(secret not in fault.detail for fault in refused.value.faults)
