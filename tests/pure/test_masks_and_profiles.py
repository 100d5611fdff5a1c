"""What of a person may be shown at the till, and what a profile may hold."""

import unicodedata
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.base.text import TextFault, clean
from loyalty.members.cells import cell_of
from loyalty.members.identifiers import normalise
from loyalty.members.mask import mask_identifier, mask_name
from loyalty.members.profile import normalise_profile
from loyalty.members.types import Identifier, IdentifierInvalid, IdentifierKind, Profile, ProfileInvalid

TODAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Zoe Miller", "Z••• M•••"),
        ("Zoe", "Z•••"),
        ("Maria del Carmen de la Cruz", "M••• d••• C•••"),
        ("E\u0301mile", "E\u0301•••"),
        ("李 小龙", "李••• 小•••"),
    ],
)
def test_a_name_is_shown_by_its_initials(name: str, shown: str) -> None:
    assert mask_name(name) == shown


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("card", "6035550001234567", "•••4567"),
        ("card", "1234", "•••4"),
        ("phone", "+4930123456", "•••456"),
        ("email", "zoe@mail.example.com", "z•••@m•••.com"),
        ("email", "é@exämple.com", "é•••@e•••.com"),
        ("external", "crm-77", "•••77"),
    ],
)
def test_an_identifier_is_shown_by_its_end_or_its_initials(kind: str, value: str, shown: str) -> None:
    assert mask_identifier(Identifier(IdentifierKind(kind), value)) == shown


@given(st.sampled_from(IdentifierKind), st.text(st.characters(), max_size=60))
def test_no_identifier_shows_more_than_a_third(kind: IdentifierKind, raw: str) -> None:
    try:
        identifier = normalise(kind, raw, "DE")
    except IdentifierInvalid:
        return
    shown = mask_identifier(identifier).replace("•••", "")
    if kind is not IdentifierKind.EMAIL:
        assert len(shown) * 3 <= max(len(identifier.value), 9)
        assert len(shown) < len(identifier.value)


def faults_of(profile: Profile) -> list[tuple[str, str]]:
    with pytest.raises(ProfileInvalid) as caught:
        normalise_profile(profile, TODAY, "/profile")
    return [(fault.pointer, fault.code) for fault in caught.value.faults]


def test_a_profile_is_brought_to_one_form() -> None:
    given_ = Profile(
        "  Zoe\u0301 ", "de-AT", date(1990, 2, 28), {"shoe_size": 38, "vip": True, "note": " x "}
    )
    kept = Profile("Zoé", "de-AT", date(1990, 2, 28), {"shoe_size": 38, "vip": True, "note": "x"})
    assert normalise_profile(given_, TODAY) == kept
    assert normalise_profile(kept, TODAY) == kept
    assert normalise_profile(Profile(), TODAY) == Profile()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "too_short"), ("  ", "too_short"), ("x" * 121, "too_long"), ("x" * 1_000_000, "too_long"),
        ("A\x00nn", "invalid_characters"), ("Ann\r\nBcc: x", "invalid_characters"), ("A\u202enn", "invalid_characters"),
        ("A\u200bnn", "invalid_characters"), ("\ud800", "invalid_characters"),
        ("e" + "\u0301" * 60, "invalid_characters"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_shown_is_refused(name: str, code: str) -> None:
    assert faults_of(Profile(name)) == [("/profile/name", code)]


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "{{7*7}}",
        "${jndi:x}",
        "'; drop",
        "=HYPERLINK()",
        "می\u200cخواهم",
        "👩\u200d🚀",
        "O'Neill-Šmíd",
    ],
)
def test_a_strange_name_is_text_like_any_other(name: str) -> None:
    assert normalise_profile(Profile(name), TODAY).name == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("locale", ["xx-INVALID", "DE", "de_AT", "", "d", "x" * 200, "de-AT-x", "de\n"])
def test_a_locale_that_is_none_is_refused(locale: str) -> None:
    assert faults_of(Profile(locale=locale)) == [("/profile/locale", "invalid_locale")]


def test_a_birthday_lies_in_the_past_of_people_alive() -> None:
    for born in (date(2026, 11, 21), date(1899, 12, 31), date.max, date.min):
        assert faults_of(Profile(birthday_on=born)) == [("/profile/birthday_on", "out_of_range")]
    assert normalise_profile(Profile(birthday_on=TODAY), TODAY)


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ({"__proto__": 1}, ("/profile/attributes/__proto__", "invalid_name")),
        ({"$where": 1}, ("/profile/attributes/$where", "invalid_name")),
        ({"": 1}, ("/profile/attributes/", "invalid_name")),
        ({"a/b~c": 1}, ("/profile/attributes/a~1b~0c", "invalid_name")),
        ({"a\r\n\0": 1}, ("/profile/attributes/a", "invalid_name")),
        ({"x": 1.5}, ("/profile/attributes/x", "invalid_type")),
        ({"x": None}, ("/profile/attributes/x", "invalid_type")),
        ({"x": [1]}, ("/profile/attributes/x", "invalid_type")),
        ({"x": {"y": 1}}, ("/profile/attributes/x", "invalid_type")),
        ({"x": 2**53}, ("/profile/attributes/x", "out_of_range")),
        ({"x": "y" * 501}, ("/profile/attributes/x", "too_long")),
        ({f"a{n}": n for n in range(51)}, ("/profile/attributes", "too_many")),
    ],
)
def test_an_attribute_that_cannot_be_kept_is_refused(
    attributes: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert faults_of(Profile(attributes=attributes)) == [fault]


def test_all_faults_of_a_profile_are_told_at_once() -> None:
    assert faults_of(Profile("", "?", date.max, {"x": None, "Y": 1})) == [
        ("/profile/name", "too_short"), ("/profile/locale", "invalid_locale"), ("/profile/birthday_on", "out_of_range"),
        ("/profile/attributes/x", "invalid_type"), ("/profile/attributes/Y", "invalid_name"),
    ]  # fmt: skip


@given(st.text(st.characters(), max_size=50))
def test_cleaning_a_text_twice_changes_nothing(raw: str) -> None:
    try:
        once = clean(raw, 30)
    except TextFault:
        return
    assert clean(once, 30) == once
    assert 1 <= len(once) <= 30
    once.encode()


def test_cells_are_a_stable_function_of_the_id_and_are_used_evenly() -> None:
    ids = [UUID(int=0x019A_0000_0000_7000_8000_0000_0000_0000 + n * 7919) for n in range(8_000)]
    assert {cell_of(id, 1) for id in ids} == {0}
    assert [cell_of(id, 8) for id in ids[:6]] == [cell_of(UUID(str(id)), 8) for id in ids[:6]]
    spread = [sum(cell_of(id, 8) == cell for id in ids) for cell in range(8)]
    assert min(spread) > 800
    # Rows are never moved: if this changes, no member of a larger deployment is found any more.
    assert cell_of(UUID("019a0000-0000-7000-8000-000000000001"), 64) == 60
