"""Opaque signed cursors: where a list goes on, valid only for the list, program and filters that gave it out."""

import base64
import binascii
import hmac
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from loyalty.base.canonical import Digests
from loyalty.base.errors import Malformed

CURSOR_MAX = 1_024
_SIGNATURE = 16  # bytes kept of the digest


class InvalidCursor(Malformed):
    code: ClassVar[str] = "invalid_cursor"
    title: ClassVar[str] = "The cursor was not given out for this list."
    remedy: ClassVar[str] = (
        "Begin the list anew without a cursor, and keep address and filters while you turn its pages."
    )


class Cursors:
    """Seals and opens cursors under the installation's secret; an old secret still opens, never seals."""

    __slots__ = ("_digests",)

    def __init__(self, digests: Digests) -> None:
        self._digests = digests

    def seal(self, kind: str, program_id: UUID, scope: bytes, values: list[Any]) -> str:
        """The cursor that carries `values` (texts, whole numbers, None; ids and instants become text).

        `kind` names the list; `scope` is a digest of whatever else must stay the same: filters, order, person.
        """
        body = msgspec.json.encode(values)
        signature = self._digests.of(b"cursor", kind.encode(), program_id.bytes, scope, body)[0][:_SIGNATURE]
        return base64.urlsafe_b64encode(signature + body).rstrip(b"=").decode()

    def open(self, kind: str, program_id: UUID, scope: bytes, text: str) -> list[Any]:
        """The values that `seal` put in. Raises: InvalidCursor for anything it did not give out for this list."""
        sealed = _decoded(text)
        signature, body = sealed[:_SIGNATURE], sealed[_SIGNATURE:]
        known = False
        for digest in self._digests.of(b"cursor", kind.encode(), program_id.bytes, scope, body):
            known |= hmac.compare_digest(signature, digest[:_SIGNATURE])
        if not known:
            raise InvalidCursor
        return msgspec.json.decode(body)


def _decoded(text: str) -> bytes:
    if len(text) > CURSOR_MAX:
        raise InvalidCursor
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursor from None
    # base64 ignores the last bits of its last character; one cursor shall have one spelling.
    if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
        raise InvalidCursor
    return sealed
