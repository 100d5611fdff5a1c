"""One person is found however the identifier is typed; nothing else becomes an identifier, and nothing crashes."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.members.identifiers import detect, normalise, parse_member_path
from loyalty.members.types import Identifier, IdentifierInvalid, IdentifierKind, MemberNotFound

CARD, PHONE, EMAIL, EXTERNAL = (
    IdentifierKind.CARD,
    IdentifierKind.PHONE,
    IdentifierKind.EMAIL,
    IdentifierKind.EXTERNAL,
)

SAME = [
    (CARD, "DE", "6035550001", ["6035 5500 01", "6035-5500-01", "٦٠٣٥٥٥٠٠٠١", "6035–550001\n"]),
    (CARD, "DE", "VIP12A", ["vip-12a", "ＶＩＰ １２Ａ"]),
    (PHONE, "DE", "+4930123456", ["030 123456", "+49 (0)30 123456", "0049 30/123456", "+49030123456"]),
    (PHONE, "DE", "+4930123456", ["０３０ １２３４５６", "٠٣٠ ١٢٣٤٥٦", "030\u00a0123456"]),
    (PHONE, "US", "+12025550123", ["(202) 555-0123", "202.555.0123", "1 202 555 0123", "+1 202‑555‑0123"]),
    (EMAIL, "DE", "zoé@example.com", ["ZOÉ@EXAMPLE.COM", "zoe\u0301@example.com", " Zoé@Example.com "]),
    (EMAIL, "DE", "zoe@example.com", ["ＺＯＥ＠example.com", "Zoe@ＥＸＡＭＰＬＥ.com"]),
    (EMAIL, "DE", "a@exämple.com", ["A@EXÄMPLE.com", "a@xn--exmple-cua.com", "a@exa\u0308mple.com"]),
    (EXTERNAL, "DE", "Café 7", ["Cafe\u0301 7", "\tCafé 7 "]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "region", "value", "spellings"), SAME)
def test_every_spelling_finds_the_same_member(
    kind: IdentifierKind, region: str, value: str, spellings: list[str]
) -> None:
    for spelling in (value, *spellings):
        assert normalise(kind, spelling, region) == Identifier(kind, value)


def test_external_ids_that_differ_in_case_are_two() -> None:
    assert normalise(EXTERNAL, "abc", "DE") != normalise(EXTERNAL, "ABC", "DE")


def test_two_domains_that_only_look_alike_when_folded_stay_two() -> None:
    assert normalise(EMAIL, "a@straße.de", "DE") != normalise(EMAIL, "a@strasse.de", "DE")


REFUSED = [
    (CARD, "", "too_short"),
    (CARD, " - ", "too_short"),
    (CARD, "123", "too_short"),
    (CARD, "1" * 33, "too_long"),
    (CARD, "1" * 1_000_000, "too_long"),
    (CARD, "1234\x005678", "invalid_characters"),
    (CARD, "12\u200b3456", "invalid_characters"),
    (CARD, "\ud800" * 5, "invalid_characters"),
    (CARD, "АВС123", "invalid_characters"),  # Cyrillic
    (PHONE, "   ", "too_short"),
    (PHONE, "12", "not_a_phone_number"),
    (PHONE, "1-800-FLOWERS", "invalid_characters"),
    (PHONE, "030 123456;ext=5", "invalid_characters"),
    (PHONE, "+49 30 1+2", "invalid_characters"),
    (PHONE, "00000", "not_a_phone_number"),
    (PHONE, "030 123456\u202e", "invalid_characters"),
    (EMAIL, "a@b", "not_an_email"),
    (EMAIL, "a.example.com", "not_an_email"),
    (EMAIL, "a@example.com.", "not_an_email"),
    (EMAIL, '"a b"@example.com', "not_an_email"),
    (EMAIL, "a@[127.0.0.1]", "not_an_email"),
    (EMAIL, "a@localhost", "not_an_email"),
    (EMAIL, "a\u202eb@example.com", "invalid_characters"),
    (EMAIL, "a\u200db@example.com", "invalid_characters"),
    (EMAIL, "a\r\nBcc: b@example.com", "invalid_characters"),
    (EMAIL, "a" + "\u0301" * 100 + "@example.com", "invalid_characters"),
    (EMAIL, "\ud800@example.com", "invalid_characters"),
    (EMAIL, "a" * 300 + "@example.com", "too_long"),
    (EXTERNAL, "\u00a0", "too_short"),
    (EXTERNAL, "a\nb", "invalid_characters"),
    (EXTERNAL, "a\u00a0b", "invalid_characters"),
    (EXTERNAL, "a\u0000", "invalid_characters"),
    (EXTERNAL, "x" * 129, "too_long"),
]


@pytest.mark.parametrize(("kind", "raw", "code"), REFUSED)
def test_what_cannot_be_an_identifier_is_refused_without_being_repeated(
    kind: IdentifierKind, raw: str, code: str
) -> None:
    with pytest.raises(IdentifierInvalid) as caught:
        normalise(kind, raw, "DE", "/identifiers/0/value")
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/identifiers/0/value", code)
    if len(raw.strip()) > 4:
        assert raw.strip() not in fault.detail + str(caught.value.facts)


@given(
    st.sampled_from(IdentifierKind),
    st.text(st.characters(), max_size=60),
    st.sampled_from(["DE", "US", "ZZ", ""]),
)
def test_any_text_gives_a_stable_identifier_or_a_refusal(kind: IdentifierKind, raw: str, region: str) -> None:
    try:
        once = normalise(kind, raw, region)
    except IdentifierInvalid:
        return
    assert normalise(kind, once.value, region) == once
    once.value.encode()
    assert "\0" not in once.value


@given(st.text("abcXYZäßÉİſΣς\u0345\u0301ﬃ１.+-_", min_size=1, max_size=12))
def test_folding_an_email_twice_changes_nothing(local: str) -> None:
    try:
        once = normalise(EMAIL, f"{local}@example.com", "DE")
    except IdentifierInvalid:
        return
    assert normalise(EMAIL, once.value, "DE") == once


def test_the_look_up_field_takes_whatever_is_at_hand() -> None:
    phone, card, email = (
        Identifier(PHONE, "+4930123456"),
        Identifier(CARD, "6035550001"),
        Identifier(EMAIL, "zoe@example.com"),
    )
    assert phone in detect("030 123456", "DE")
    assert card in detect("6035 5500 01\r\n", "DE")
    assert detect("Zoe@Example.com", "DE")[0] == email
    assert Identifier(EXTERNAL, "crm-77") in detect("crm-77", "DE")
    assert detect("identifier:card:6035550001", "DE") == detect("card:6035550001", "DE") == (card,)
    assert detect("tel:+49-30-123456", "US") == (phone,)
    assert detect("mailto:zoe@example.com", "DE") == (email,)


@given(st.text(st.characters(), max_size=600))
def test_the_look_up_field_never_breaks(raw: str) -> None:
    kinds = [found.kind for found in detect(raw, "DE")]
    assert len(kinds) == len(set(kinds)) <= 3


def test_a_path_names_a_member_by_id_or_by_identifier() -> None:
    id = UUID("01962d3c-0000-7000-8000-000000000001")
    assert parse_member_path(str(id), "DE") == id
    assert parse_member_path("identifier:card:6035-550001", "DE") == Identifier(CARD, "6035550001")
    assert parse_member_path("identifier:phone:030 123456", "DE") == Identifier(PHONE, "+4930123456")


@pytest.mark.parametrize(
    "text",
    [
        "", "1_000", "١", "01962D3C-0000-7000-8000-000000000001", "{01962d3c-0000-7000-8000-000000000001}",
        "01962d3c000070008000000000000001", "card:6035550001", "identifier:card", "identifier:card:",
        "identifier:bank:1234", "identifier:card:1234\x00", "../admin", "9" * 30,
    ],
)  # fmt: skip
def test_a_path_that_can_name_nobody_is_told_like_a_missing_member_and_how_members_are_named(
    text: str,
) -> None:
    with pytest.raises(MemberNotFound) as told:
        parse_member_path(text, "DE")
    assert "identifier:KIND:VALUE" in told.value.detail
