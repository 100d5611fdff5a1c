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
    TooMany,
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
    remedy: ClassVar[str] = (
        "Correct what `detail` tells, such as a header that stands twice or an `If-Match` that is no ETag."
    )


class HostNotServed(Malformed):
    code: ClassVar[str] = "host_not_served"
    title: ClassVar[str] = "This host name is not served here."
    remedy: ClassVar[str] = "Call a host name of the setting `LOYALTY_ALLOWED_HOSTS`, or add yours to it."


class MalformedBody(Malformed):
    code: ClassVar[str] = "malformed_body"
    title: ClassVar[str] = "The body is not JSON."
    remedy: ClassVar[str] = (
        "Send one JSON document, not empty, without comments and without commas at the end of lists."
    )


class InvalidEncoding(Malformed):
    code: ClassVar[str] = "invalid_encoding"
    title: ClassVar[str] = "The body is not UTF-8 text without a byte order mark."
    remedy: ClassVar[str] = (
        "Encode the body as UTF-8, without a byte order mark and without halves of characters."
    )


class TooDeep(Malformed):
    code: ClassVar[str] = "too_deep"
    title: ClassVar[str] = "The body is nested too deeply."
    remedy: ClassVar[str] = "Nest objects and lists no deeper than the `depth_max` levels of the answer."


class DuplicateKey(Malformed):
    code: ClassVar[str] = "duplicate_key"
    title: ClassVar[str] = "A key stands twice in one object of the body."
    remedy: ClassVar[str] = "Write each key once in its object: `errors` says which one stands twice."


class IncompleteBody(Malformed):
    code: ClassVar[str] = "incomplete_body"
    title: ClassVar[str] = "The body did not arrive whole in time."
    remedy: ClassVar[str] = "Send the whole body without pauses, as many bytes as `Content-Length` says."


class IdempotencyKeyMissing(Malformed):
    code: ClassVar[str] = "idempotency_key_missing"
    title: ClassVar[str] = "This call needs an Idempotency-Key header."
    remedy: ClassVar[str] = "Send `Idempotency-Key`: a new one for each request, the same for its repeats."


class IdempotencyKeyInvalid(Malformed):
    code: ClassVar[str] = "idempotency_key_invalid"
    title: ClassVar[str] = "The Idempotency-Key is not one header of 1 to 255 printable ASCII characters."
    remedy: ClassVar[str] = (
        "Send one plain key in `Idempotency-Key`, such as a UUID or `store-12/R-2026-000123`."
    )


class UnknownParameter(Malformed):
    code: ClassVar[str] = "unknown_parameter"
    title: ClassVar[str] = "The call has no such query parameter."
    remedy: ClassVar[str] = "Leave the parameter out, or spell it as one of those in `allowed`."


class DuplicateParameter(Malformed):
    code: ClassVar[str] = "duplicate_parameter"
    title: ClassVar[str] = "A query parameter is given twice."
    remedy: ClassVar[str] = "Give the query parameter that `parameter` names only once."


class InvalidParameter(Malformed):
    code: ClassVar[str] = "invalid_parameter"
    title: ClassVar[str] = "A query parameter does not have the expected form."
    remedy: ClassVar[str] = "Give the parameter that `parameter` names the form that `detail` tells."


class BodyTooLarge(TooLarge):
    code: ClassVar[str] = "body_too_large"
    title: ClassVar[str] = "The body is larger than is read here."
    remedy: ClassVar[str] = (
        "Send less at once: no more than `bytes_max`, for JSON the setting `LOYALTY_BODY_BYTES_MAX`."
    )


class UnsupportedMediaType(MediaRefused):
    code: ClassVar[str] = "unsupported_media_type"
    title: ClassVar[str] = (
        "The body must be application/json in UTF-8 (a part of a file: text/csv), not compressed."
    )
    remedy: ClassVar[str] = (
        "Send `Content-Type: application/json` (with a part of a file `text/csv`) and no `Content-Encoding`."
    )


class InvalidBody(Refused):
    """Carries every fault of the body, each with its pointer."""

    code: ClassVar[str] = "invalid_body"
    title: ClassVar[str] = "The body can be read but is wrong."
    remedy: ClassVar[str] = "Correct every place that `errors` names; the same key may be used again."


class RouteNotFound(NotFound):
    code: ClassVar[str] = "route_not_found"
    title: ClassVar[str] = "There is nothing at this address."
    remedy: ClassVar[str] = (
        "Compare the address with the reference at `/docs`, letter by letter, without a slash at its end."
    )


class ThingNotFound(NotFound):
    code: ClassVar[str] = "not_found"
    title: ClassVar[str] = "There is no such thing in this program."
    remedy: ClassVar[str] = "Correct the address: a part of it has not the form of an id, a number or a word."


class EntryNotFound(NotFound):
    code: ClassVar[str] = "entry_not_found"
    title: ClassVar[str] = "There is no such ledger entry."
    remedy: ClassVar[str] = "Take the id of a line of the statement (`GET /v1/members/{member}/entries`)."


class DecisionNotFound(NotFound):
    code: ClassVar[str] = "decision_not_found"
    title: ClassVar[str] = "There is no such decision."
    remedy: ClassVar[str] = "Take a `decision_id` from an answer, or from `GET /v1/members/{member}/entries`."


class ConfigurationNotFound(NotFound):
    code: ClassVar[str] = "configuration_not_found"
    title: ClassVar[str] = "There is no configuration with this number."
    remedy: ClassVar[str] = "Take a number from `GET /v1/program/configurations`."


class MethodNotAllowed(MethodRefused):
    code: ClassVar[str] = "method_not_allowed"
    title: ClassVar[str] = "This address does not take this method."
    remedy: ClassVar[str] = "Use one of the methods in `allowed`, which the header `Allow` has too."


class LocationNotAllowed(Forbidden):
    code: ClassVar[str] = "location_not_allowed"
    title: ClassVar[str] = "This credential is bound to other locations."
    remedy: ClassVar[str] = (
        "Send a `location` that the key is bound to, or use a key that is bound to this one."
    )


class TooManyRequests(TooMany):
    code: ClassVar[str] = "too_many_requests"
    title: ClassVar[str] = "The program sends more requests than it may."
    remedy: ClassVar[str] = (
        "Send no more than `per_s` a second: it is the setting `LOYALTY_PROGRAM_REQUESTS_PER_S`."
    )


class InternalError(Internal):
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side; the incident is recorded under the request id."
    remedy: ClassVar[str] = (
        "Tell whoever runs the server the `request_id`: what broke stands under it in the log."
    )


class NotReady(Busy):
    code: ClassVar[str] = "not_ready"
    title: ClassVar[str] = "This process cannot serve just now."
    remedy: ClassVar[str] = "Call another process meanwhile: `check` says what is wrong with this one."
