"""Equal contents have equal digests, different ones do not, and a rotated secret still knows the old ones."""

import hashlib
import hmac

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from loyalty.base.canonical import Digests, canonical

DIGESTS = Digests(b"k" * 32)


class Before(msgspec.Struct, omit_defaults=True):
    sku: str
    amount: int = 0


class After(msgspec.Struct, omit_defaults=True):
    note: str | None = None
    amount: int = 0
    sku: str = ""


def test_the_order_of_keys_and_fields_does_not_matter() -> None:
    assert canonical({"b": 1, "a": {"d": 2, "c": 3}}) == canonical({"a": {"c": 3, "d": 2}, "b": 1})
    assert canonical(Before("x", 5)) == canonical({"sku": "x", "amount": 5})


def test_a_field_gained_later_does_not_change_what_was_digested_before() -> None:
    assert canonical(Before("x")) == canonical(After(sku="x")) == b'{"sku":"x"}'


def test_the_order_of_a_list_matters() -> None:
    assert canonical([1, 2]) != canonical([2, 1])


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_different_parts_have_different_digests_however_they_join(
    one: list[bytes], other: list[bytes]
) -> None:
    assert (DIGESTS.of(*one) == DIGESTS.of(*other)) == (one == other)


def test_a_digest_is_hmac_sha_256_over_parts_framed_by_their_length() -> None:
    framed = b"\0\0\0\0\0\0\0\3abc" + b"\0\0\0\0\0\0\0\0"
    assert DIGESTS.of(b"abc", b"") == (hmac.new(b"k" * 32, framed, hashlib.sha256).digest(),)


def test_while_a_secret_is_rotated_the_new_digest_comes_first_and_the_old_one_is_still_known() -> None:
    old, both = Digests(b"o" * 32), Digests(b"n" * 32, b"o" * 32)
    assert both.of(b"x") == (*Digests(b"n" * 32).of(b"x"), *old.of(b"x"))
