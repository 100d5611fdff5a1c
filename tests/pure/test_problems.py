"""How a refusal is told."""

import gc
import importlib
import json
import pkgutil
import re
from collections import Counter

import pytest

import loyalty
from loyalty.base.errors import Fault, LoyaltyError
from loyalty.base.problems import STATUS, CatalogueRow, catalogue, problem, render, status_of
from loyalty.members.types import IdentifierInvalid, MemberNotFound


def test_a_refusal_is_told_with_its_code_its_facts_and_where_to_read_on() -> None:
    status, body = render(MemberNotFound(member_id="0195"), "req-1")
    assert status == 404
    assert json.loads(body) == {
        "type": "/docs/errors#member_not_found", "title": "There is no such member.", "status": 404,
        "detail": "There is no such member.", "code": "member_not_found", "request_id": "req-1", "retryable": False,
        "member_id": "0195",
    }  # fmt: skip


def test_every_fault_of_a_body_is_told_with_its_place() -> None:
    faults = (Fault("/a", "too_long", "Too long."), Fault("/b/0", "blank", "Blank."))
    assert problem(IdentifierInvalid(faults=faults), "r")["errors"] == [
        {"pointer": "/a", "code": "too_long", "detail": "Too long."},
        {"pointer": "/b/0", "code": "blank", "detail": "Blank."},
    ]


def test_a_fact_cannot_hide_a_standard_member() -> None:
    with pytest.raises(AssertionError):
        problem(MemberNotFound(status="blocked"), "r")


def _rows() -> list[CatalogueRow]:
    """The catalogue of all rooms."""
    for module in pkgutil.walk_packages(loyalty.__path__, "loyalty."):
        if module.name.endswith((".types", ".database", ".paging")):
            importlib.import_module(module.name)
    return catalogue()


def test_every_refusal_of_every_room_has_a_code_of_its_own_a_title_and_a_status() -> None:
    rows = _rows()
    assert len({row.code for row in rows}) == len(rows) > 20
    for row in rows:
        assert row.code.replace("_", "").isalnum()
        assert row.code == row.code.lower()
        assert row.title.endswith(".")
        assert row.retryable == (row.status in (429, 503) or row.code == "clock_moving")


def test_every_refusal_says_what_to_do_in_one_sentence_of_its_own() -> None:
    rows = _rows()
    for row in rows:
        assert row.remedy.endswith("."), row.code
        assert not re.search(r"[.!?] |\n|\|", row.remedy), f"{row.code}: one sentence, and no end of a cell"
        assert len(row.remedy) <= 120, row.code
        assert row.remedy.count("`") % 2 == 0, row.code
        assert row.remedy != row.title, row.code
    told = Counter(row.remedy for row in rows)
    assert [row.code for row in rows if told[row.remedy] > 1] == []


def test_what_may_be_sent_again_says_so_first_and_once() -> None:
    for row in _rows():
        assert (
            row.to_do.count("Send again later") == row.retryable == row.to_do.startswith("Send again later")
        )
        assert row.to_do.endswith(row.remedy)


def test_a_refusal_that_does_not_say_what_to_do_spoils_the_catalogue() -> None:
    _without_a_remedy()
    gc.collect()
    catalogue()


def _without_a_remedy() -> None:
    class Helpless(MemberNotFound):  # pyright: ignore[reportUnusedClass]
        code = "helpless"
        title = "Nobody knows."

    with pytest.raises(AssertionError, match="Helpless does not say what to do"):
        catalogue()


def test_two_refusals_may_not_share_a_code_with_different_meanings() -> None:
    _with_an_impostor()
    gc.collect()  # else the class lives on in the interpreter, and in later catalogues
    catalogue()


def _with_an_impostor() -> None:
    class Impostor(MemberNotFound):  # pyright: ignore[reportUnusedClass]
        code = "member_not_found"
        title = "Something else."
        remedy = "Do something else."

    with pytest.raises(AssertionError, match="two meanings"):
        catalogue()


def test_each_family_has_one_status() -> None:
    families = {kind for kind in LoyaltyError.__subclasses__() if "code" not in kind.__dict__}
    assert families == set(STATUS)
    assert len(set(STATUS.values())) == len(STATUS)
    assert status_of(MemberNotFound) == status_of(MemberNotFound()) == 404
