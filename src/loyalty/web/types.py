"""The front door's words: what a refusal looks like, and what is refused here before any room is asked."""

from typing import ClassVar

from msgspec import Struct

from loyalty.base.errors import (
    Busy,
    Forbidden,
    Internal,
    Malformed,
    MediaRefused,
    MethodRefused,
    NotFound,
    Refused,
    TooLarge,
)


class FaultView(Struct, frozen=True):
    """One fault of a body: where (JSON pointer), which, and a sentence for a person."""

    pointer: str
    code: str
    detail: str


class Problem(Struct, frozen=True, omit_defaults=True):
    """A refusal (RFC 9457). The facts of a code stand beside these members."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retryable: bool
    errors: tuple[FaultView, ...] = ()


BATCH_MAX = 500  # items of one upload


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """A body of `items` that are looked at one by one: what is wrong with one harms no other."""


class MalformedRequest(Malformed):
    code: ClassVar[str] = "malformed_request"
    title: ClassVar[str] = "The request's headers or address cannot be understood."


class HostNotServed(Malformed):
    code: ClassVar[str] = "host_not_served"
    title: ClassVar[str] = "This host name is not served here."


class MalformedBody(Malformed):
    code: ClassVar[str] = "malformed_body"
    title: ClassVar[str] = "The body is not JSON."


class InvalidEncoding(Malformed):
    code: ClassVar[str] = "invalid_encoding"
    title: ClassVar[str] = "The body is not UTF-8 text without a byte order mark."


class TooDeep(Malformed):
    code: ClassVar[str] = "too_deep"
    title: ClassVar[str] = "The body is nested too deeply."


class DuplicateKey(Malformed):
    code: ClassVar[str] = "duplicate_key"
    title: ClassVar[str] = "A key stands twice in one object of the body."


class IncompleteBody(Malformed):
    code: ClassVar[str] = "incomplete_body"
    title: ClassVar[str] = "The body did not arrive whole in time."


class IdempotencyKeyMissing(Malformed):
    code: ClassVar[str] = "idempotency_key_missing"
    title: ClassVar[str] = "This call needs an Idempotency-Key header."


class IdempotencyKeyInvalid(Malformed):
    code: ClassVar[str] = "idempotency_key_invalid"
    title: ClassVar[str] = "The Idempotency-Key is not one header of 1 to 255 printable ASCII characters."


class UnknownParameter(Malformed):
    code: ClassVar[str] = "unknown_parameter"
    title: ClassVar[str] = "The call has no such query parameter."


class DuplicateParameter(Malformed):
    code: ClassVar[str] = "duplicate_parameter"
    title: ClassVar[str] = "A query parameter is given twice."


class InvalidParameter(Malformed):
    code: ClassVar[str] = "invalid_parameter"
    title: ClassVar[str] = "A query parameter does not have the expected form."


class BodyTooLarge(TooLarge):
    code: ClassVar[str] = "body_too_large"
    title: ClassVar[str] = "The body is larger than is read here."


class UnsupportedMediaType(MediaRefused):
    code: ClassVar[str] = "unsupported_media_type"
    title: ClassVar[str] = "The body must be application/json in UTF-8, not compressed."


class InvalidBody(Refused):
    """Carries every fault of the body, each with its pointer."""

    code: ClassVar[str] = "invalid_body"
    title: ClassVar[str] = "The body can be read but is wrong."


class RouteNotFound(NotFound):
    code: ClassVar[str] = "route_not_found"
    title: ClassVar[str] = "There is nothing at this address."


class ThingNotFound(NotFound):
    code: ClassVar[str] = "not_found"
    title: ClassVar[str] = "There is no such thing in this program."


class EntryNotFound(NotFound):
    code: ClassVar[str] = "entry_not_found"
    title: ClassVar[str] = "There is no such ledger entry."


class DecisionNotFound(NotFound):
    code: ClassVar[str] = "decision_not_found"
    title: ClassVar[str] = "There is no such decision."


class ConfigurationNotFound(NotFound):
    code: ClassVar[str] = "configuration_not_found"
    title: ClassVar[str] = "There is no configuration with this number."


class MethodNotAllowed(MethodRefused):
    code: ClassVar[str] = "method_not_allowed"
    title: ClassVar[str] = "This address does not take this method."


class LocationNotAllowed(Forbidden):
    code: ClassVar[str] = "location_not_allowed"
    title: ClassVar[str] = "This credential is bound to other locations."


class InternalError(Internal):
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side; the incident is recorded under the request id."


class NotReady(Busy):
    code: ClassVar[str] = "not_ready"
    title: ClassVar[str] = "This process cannot serve just now."
