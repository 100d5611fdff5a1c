"""The form of keys, and who may do what."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.access.keys import hash_key, kind_of, make_key
from loyalty.access.roles import PERMISSIONS, Permission, Role, allows
from loyalty.access.types import ActorKind, NotAllowed, Principal, operator
from loyalty.base.ids import NIL

# The reviewed matrix, written a second time: m = may. A permission without a row fails.
MATRIX = {
    #                   pos member support manager analyst auditor admin
    "member.lookup":   "m     -      m       m       m       m      m",
    "member.read":     "m     -      m       m       m       m      m",
    "member.profile":  "-     -      m       m       -       -      m",
    "member.enrol":    "m     -      m       m       -       -      m",
    "member.write":    "-     -      m       m       -       -      m",
    "member.erase":    "-     -      m       -       -       -      m",
    "pin.set":         "-     -      m       m       -       -      m",
    "quote":           "m     -      m       m       -       -      m",
    "purchase.read":   "m     -      m       m       m       m      m",
    "purchase.write":  "m     -      -       -       -       -      m",
    "purchase.cancel": "m     -      m       m       -       -      m",
    "purchase.return": "m     -      m       m       -       -      m",
    "hold.read":       "m     -      m       m       m       m      m",
    "hold.write":      "m     -      m       m       -       -      m",
    "purchase.claim":  "m     -      m       m       -       -      m",
    "ledger.read":     "-     -      m       m       m       m      m",
    "adjust":          "-     -      m       m       -       -      m",
    "adjust.decide":   "-     -      -       m       -       -      m",
    "transfer":        "-     -      m       m       -       -      m",
    "freeze":          "-     -      m       m       -       -      m",
    "unfreeze":        "-     -      -       m       -       -      m",
    "tier.give":       "-     -      -       m       -       -      m",
    "redate":          "-     -      -       m       -       -      m",
    "import":          "-     -      -       m       -       -      m",
    "reward.read":     "m     -      m       m       m       m      m",
    "redemption.read": "m     -      m       m       m       m      m",
    "redeem":          "m     -      m       m       -       -      m",
    "redemption.change": "m   -      m       m       -       -      m",
    "stock.write":     "-     -      -       m       -       -      m",
    "config.read":     "-     -      m       m       m       m      m",
    "config.publish":  "-     -      -       m       -       -      m",
    "clock.advance":   "-     -      -       m       -       -      m",
    "feed.read":       "-     -      -       m       m       m      m",
    "audit.read":      "-     -      -       -       -       m      m",
    "verify.run":      "-     -      -       -       -       m      m",
    "forecast":        "-     -      -       m       m       m      m",
    "run.read":        "-     -      -       m       m       m      m",
    "clients.manage":  "-     -      -       -       -       -      m",
    "staff.manage":    "-     -      -       -       -       -      m",
    "self.read":       "-     m      -       -       -       -      -",
}  # fmt: skip


def test_the_documentation_names_each_permission_and_who_has_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    table = page.partition("| permission | lets | roles |\n|---|---|---|\n")[2].partition("\n\n")[0]
    told = {
        name: set(re.findall(r"`(\w+)`", roles))
        for name, roles in re.findall(r"^\| `([\w.]+)` \|[^|]+\|([^|]+)\|$", table, re.MULTILINE)
    }
    assert told == {one: {role for role in Role if allows(role, one)} for one in Permission}


def test_every_role_may_do_what_the_reviewed_matrix_says() -> None:
    assert set(MATRIX) == set(Permission)
    assert set(PERMISSIONS) == set(Role)
    for permission, row in MATRIX.items():
        for role, mark in zip(Role, row.split(), strict=True):
            assert allows(role, Permission(permission)) == (mark == "m"), f"{role} {permission}"


def test_a_principal_is_refused_what_its_role_may_not() -> None:
    till = Principal(ActorKind.CLIENT, NIL, Role.POS, NIL, NIL)
    till.require(Permission.QUOTE)
    with pytest.raises(NotAllowed) as caught:
        till.require(Permission.ADJUST)
    assert caught.value.facts == {"permission": "adjust"}
    operator(NIL).require(Permission.STAFF_MANAGE)


@given(st.binary(min_size=32, max_size=32), st.sampled_from(("lk", "ls")))
def test_a_key_is_46_characters_and_shows_its_first_eleven(random: bytes, kind: str) -> None:
    text, prefix = make_key("lk" if kind == "lk" else "ls", random)
    assert len(text) == 46
    assert text.startswith(prefix)
    assert len(prefix) == 11
    assert kind_of(text) == kind
    assert len(hash_key(text)) == 32


@given(st.text(st.characters(), max_size=60))
def test_no_other_text_is_taken_for_a_key(text: str) -> None:
    assert kind_of(text) is None
