"""One byte form for equal contents, and keyed digests of it.

Digests answer "is this the same again" without keeping what was said: HMAC-SHA-256 under the installation's
secret, so that nobody with the database alone can guess a phone number from its digest.
"""

import hashlib
import hmac
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical(value: Any) -> bytes:
    """JSON without blanks, keys and fields in the order of their names: equal values give equal bytes.

    A Struct that will be compared for ever says `omit_defaults=True`, so that a field it gains later does not
    change what was digested before.
    """
    return _ENCODER.encode(value)


def name_digest(*words: str) -> str:
    """Hex of 128 bits that no other list of words has, for whoever must know a name again later."""
    return hashlib.blake2b(canonical(words), digest_size=16).hexdigest()


class Digests:
    """Digests under the current secret and, while one is being rotated out, under the previous one."""

    __slots__ = ("_secrets",)

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        self._secrets = (secret,) if previous is None else (secret, previous)

    def of(self, *parts: bytes) -> tuple[bytes, ...]:
        """Digests of `parts`, 32 bytes each: the current secret's first (store this one), then the previous one's.

        The first part names the purpose; parts are framed, so that no two lists of parts look alike.
        """
        message = b"".join(len(part).to_bytes(8) + part for part in parts)
        return tuple(hmac.digest(secret, message, "sha256") for secret in self._secrets)
