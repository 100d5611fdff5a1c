"""The form of API keys (`lk_…`) and staff tokens (`ls_…`), and the hash that is all we keep of them.

Pure. A key holds 256 random bits, so a plain SHA-256 of it can be kept and looked up: there is nothing to guess.
"""

import base64
import hashlib
import re
from typing import Literal

Kind = Literal["lk", "ls"]

RANDOM_BYTES = 32
_FORM = re.compile(r"l[ks]_[A-Za-z0-9_-]{43}")
_SHOWN = 11  # `lk_` and eight characters


def make_key(kind: Kind, random: bytes) -> tuple[str, str]:
    """A new key from 32 random bytes, and its prefix: the part that may be shown."""
    assert len(random) == RANDOM_BYTES
    text = f"{kind}_{base64.urlsafe_b64encode(random).rstrip(b'=').decode()}"
    return text, text[:_SHOWN]


def kind_of(text: str) -> Kind | None:
    """Which kind of key this text may be; None when it is none at all, told without asking the database."""
    if _FORM.fullmatch(text) is None:
        return None
    return "lk" if text.startswith("lk") else "ls"


def hash_key(text: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(text.encode()).digest()
