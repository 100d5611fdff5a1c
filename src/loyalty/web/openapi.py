"""The OpenAPI 3.1 document, made from the endpoints and their types; openapi/openapi.json is its checked-in copy.

msgspec describes the types; what it cannot know is added here: roles, refusals, keys, links between calls.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec

from loyalty import __version__
from loyalty.access.roles import PERMISSIONS, Permission
from loyalty.access.types import InvalidCredential, NotAllowed
from loyalty.base.database import DatabaseUnavailable, OutcomeUnknown, ServerBusy
from loyalty.base.errors import LoyaltyError
from loyalty.base.problems import MEDIA_TYPE, status_of
from loyalty.posting.commands import MemberRef
from loyalty.posting.types import IdempotencyKeyReused, Incident, ShuttingDown
from loyalty.web.edge import Endpoint
from loyalty.web.types import (
    BodyTooLarge,
    DuplicateKey,
    DuplicateParameter,
    HostNotServed,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IncompleteBody,
    InternalError,
    InvalidBody,
    InvalidEncoding,
    InvalidParameter,
    MalformedBody,
    MalformedRequest,
    Problem,
    ThingNotFound,
    TooDeep,
    TooManyRequests,
    UnknownParameter,
    UnsupportedMediaType,
)

JSON = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_ALWAYS = (MalformedRequest, HostNotServed, UnknownParameter, InternalError)
_WITH_CREDENTIAL = (
    InvalidCredential,
    NotAllowed,
    TooManyRequests,
    ServerBusy,
    DatabaseUnavailable,
    ShuttingDown,
)
_WITH_BODY = (
    MalformedBody,
    InvalidEncoding,
    TooDeep,
    DuplicateKey,
    IncompleteBody,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidBody,
)
_WITH_KEY = (
    IdempotencyKeyMissing,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    OutcomeUnknown,
    Incident,
)
_WITH_QUERY = (DuplicateParameter, InvalidParameter)

_STATUS_WORDS = {
    200: "Done.",
    201: "Made.",
    202: "Accepted: the work goes on; ask the run.",
    308: "It is elsewhere: go to `Location`.",
    400: "The request cannot be read.",
    401: "No valid credential.",
    403: "The credential may not do this.",
    404: "There is no such thing in this program.",
    409: "The state of things forbids it.",
    412: "What is to be changed has changed.",
    413: "The body is too large.",
    415: "The body is in a form that is not read.",
    422: "The body can be read but is wrong; `errors` names every fault.",
    429: "More requests than the program may send; send it again after `Retry-After` seconds.",
    500: "Our fault; the incident is recorded under the request id.",
    503: "Not now; send the same request again after `Retry-After` seconds.",
}

# Where an answer leads: operation → status → links, each an operation and what it takes from the answer.
_BY_ID = {
    "read_purchase": {"purchase": "$response.body#/id"},
    "explain_purchase": {"purchase": "$response.body#/id"},
}
_BY_DECISION = {"read_decision": {"decision": "$response.body#/decision_id"}}
_LINKS: dict[str, dict[int, dict[str, dict[str, str]]]] = {
    "record_purchase": {201: _BY_ID | _BY_DECISION},
    "return_purchase": {201: {"read_purchase": {"purchase": "$response.body#/purchase_id"}} | _BY_DECISION},
    "return_by_receipt": {201: {"read_purchase": {"purchase": "$response.body#/purchase_id"}} | _BY_DECISION},
    "exchange_purchase": {
        201: {"read_purchase": {"purchase": "$response.body#/purchase/id"}} | _BY_DECISION,
    },
    "claim_purchase": {201: _BY_DECISION},
    "cancel_purchase": {201: {"read_purchase": {"purchase": "$response.body#/id"}} | _BY_DECISION},
    "place_hold": {
        201: {
            name: {"hold": "$response.body#/id"}
            for name in ("read_hold", "extend_hold", "capture_hold", "release_hold")
        }
        | _BY_DECISION,
    },
    "adjust_points": {
        201: {"read_statement": {"member": "$response.body#/member_id"}} | _BY_DECISION,
    },
    "begin_import": {
        201: {
            name: {"import_id": "$response.body#/id"}
            for name in ("put_import_part", "start_import", "read_import", "list_import_rejections")
        }
    },
    "import_lot": {201: {"read_lots": {"member": "$response.body#/member_id"}} | _BY_DECISION},
    "redeem": {
        201: {
            name: {"redemption": "$response.body#/id"}
            for name in ("read_redemption", "fulfil_redemption", "cancel_redemption")
        }
        | _BY_DECISION
    },
    "enrol_member": {
        status: {
            name: {"member": "$response.body#/id"}
            for name in ("read_member", "read_balances", "read_lots", "read_statement")
        }
        for status in (200, 201)
    },
    "create_client": {201: {"list_keys": {"client": "$response.body#/id"}}},
    "publish_configuration": {201: {"read_configuration": {"number": "$response.body#/number"}}},
    "verify_books": {
        202: {"read_verification": {"run": "$response.body#/id"}, "read_run": {"run": "$response.body#/id"}}
    },
}

# Two rooms have a word for what an account holds; these are their names outside.
_NAMES = {
    "loyalty.posting.answers.Balance": "BalanceAfter",
    "loyalty.ledger.types.Balance": "Balance",
}
# What a Struct's own check demands, as far as a schema can say it.
_CLOSER: dict[str, JSON] = {
    "MemberName": {"minProperties": 1, "maxProperties": 1},
    "ChangeMemberBody": {
        "minProperties": 1,
        "dependentRequired": {"profile": ["attributes"], "attributes": ["profile"]},
    },
}

_INTRODUCTION = """\
Points for purchases, kept in books that prove themselves.

Every write is safe to repeat: send the same `Idempotency-Key` again and the first answer comes back byte for byte,
marked `Idempotent-Replayed: true`. A purchase is also protected by its own receipt (`source`, `external_id`), for
ever. Errors are problem documents (RFC 9457) with a stable `code`, all faults of a body at once, and whether a
retry can help. Times are RFC 3339 with an offset and answered in UTC; money is minor units; points are whole.
"""


def document(endpoints: Sequence[Endpoint], tags: Sequence[tuple[str, str]]) -> JSON:
    """The whole document; `tags` are the groups of calls with their descriptions, in their order."""
    shapes = _Shapes(endpoints)
    paths: dict[str, JSON] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, shapes)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Loyalty",
            "version": __version__,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": words} for name, words in tags],
        "paths": paths,
        "components": {
            "schemas": shapes.components,
            "securitySchemes": {
                "credential": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`lk_…`) or a staff token (`ls_…`); each call says for which roles.",
                }
            },
        },
    }
    return msgspec.json.decode(
        msgspec.json.encode(whole)
    )  # tuples and Structs among defaults become plain JSON


def encoded(whole: JSON) -> bytes:
    """The document as it is checked in."""
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


class _Shapes:
    """The schemas of all bodies, answers and parameters, named once."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        kinds: dict[Any, None] = {Problem: None}
        for endpoint in endpoints:
            if endpoint.body is not None and not endpoint.csv:
                kinds[endpoint.body] = None
            for kind in endpoint.answers.values():
                if kind is not None and not isinstance(kind, str):
                    kinds[kind] = None
            for field in msgspec.structs.fields(endpoint.query):
                kinds[field.type] = None
        for kind in list(kinds):
            for late in _late(kind):
                kinds[late] = None
        schemas, components = msgspec.json.schema_components(list(kinds), ref_template=_SCHEMAS + "{name}")
        self._schemas = dict(zip(kinds, schemas, strict=True))
        self.components = {
            _NAMES.get(name, name): _tidied(schema) | _CLOSER.get(name, {})
            for name, schema in sorted(components.items(), key=lambda one: _NAMES.get(one[0], one[0]))
        }

    def of(self, kind: Any) -> JSON:
        return _tidied(self._schemas[kind])


def _late(kind: Any) -> list[type]:
    """Types of batch items, which stand behind a reference because items are looked at one by one."""
    described = msgspec.inspect.type_info(kind)
    if not isinstance(described, msgspec.inspect.StructType):
        return []
    found: list[type] = []
    for field in described.fields:
        item = getattr(field.type, "item_type", None)
        extra = cast("JSON", getattr(item, "extra", None) or {})
        if "shape" in extra:
            found.append(extra["shape"])
    return found


def _tidied(schema: Any) -> Any:
    """`schema` without what OpenAPI readers stumble over: one-of for tagged unions, no empty titles."""
    if isinstance(schema, list | tuple):
        return [_tidied(one) for one in cast("Sequence[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    given = cast("JSON", schema)
    tidy = {key: _tidied(value) for key, value in given.items() if key != "title" or isinstance(value, dict)}
    if isinstance(tidy.get("$ref"), str):
        name = str(tidy["$ref"]).removeprefix(_SCHEMAS)
        tidy["$ref"] = _SCHEMAS + _NAMES.get(name, name)
    if "discriminator" in tidy and "anyOf" in tidy:
        tidy["oneOf"] = tidy.pop("anyOf")
    return tidy


def _operation(endpoint: Endpoint, shapes: _Shapes) -> JSON:
    summary = endpoint.text.partition("\n\n")[0]
    operation: JSON = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": " ".join(summary.split()).rstrip("."),
        "description": _paragraphs(endpoint),
    }
    parameters = list(_parameters(endpoint, shapes))
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.body_optional,
            "content": {"text/csv": {"schema": {"type": "string"}}}
            if endpoint.csv
            else {"application/json": {"schema": shapes.of(endpoint.body)}},
        }
    operation["responses"] = _responses(endpoint, shapes)
    if isinstance(endpoint.permission, Permission):
        operation["security"] = [{"credential": []}]
        operation["x-permission"] = endpoint.permission.value
        operation["x-roles"] = _roles(endpoint.permission)
    else:
        operation["security"] = []
    return operation


def _roles(permission: Permission) -> list[str]:
    return [role.value for role, permissions in PERMISSIONS.items() if permission in permissions]


def _paragraphs(endpoint: Endpoint) -> str:
    _, _, text = endpoint.text.partition("\n\n")
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    if isinstance(endpoint.permission, Permission):
        paragraphs.append(f"Roles: {', '.join(_roles(endpoint.permission))}.")
    return "\n\n".join(paragraphs)


def _parameters(endpoint: Endpoint, shapes: _Shapes) -> Iterable[JSON]:
    for name, kind in endpoint.parts.items():
        yield {"name": name, "in": "path", "required": True, **_PARTS[kind]}
    for field in msgspec.structs.fields(endpoint.query):
        schema = shapes.of(field.type)
        # A parameter that is not given is left out; it is never the text "null".
        choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
        schema = choices[0] if len(choices) == 1 else schema
        if field.default not in (msgspec.NODEFAULT, None, ()):
            schema = {**schema, "default": field.default}
        yield {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "schema": {key: value for key, value in schema.items() if key != "description"},
            **({"style": "form", "explode": False} if schema.get("type") == "array" else {}),
            **({"description": schema["description"]} if "description" in schema else {}),
        }
    if endpoint.keyed:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "Names this request. The same key again gives the first answer again, for 30 days.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": 255,
                "pattern": "^[!-~]([ -~]*[!-~])?$",
            },
        }
    for name, words in endpoint.takes.items():
        yield {
            "name": name,
            "in": "header",
            "required": False,
            "description": words,
            "schema": {"type": "string"},
        }


_PARTS: dict[Any, JSON] = {
    UUID: {"schema": {"type": "string", "format": "uuid"}},
    int: {"schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999}},
    str: {"schema": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$"}},
    MemberRef: {
        "description": "A member's id, or `identifier:KIND:VALUE` such as `identifier:card:6035550001`.",
        "schema": {
            "anyOf": [
                {"type": "string", "format": "uuid"},
                {"type": "string", "pattern": "^identifier:(card|phone|email|external):.{1,512}$"},
            ]
        },
    },
}


def _responses(endpoint: Endpoint, shapes: _Shapes) -> JSON:
    responses: JSON = {}
    for status, kind in sorted(endpoint.answers.items()):
        response: JSON = {"description": _STATUS_WORDS[status], "headers": _headers(endpoint)}
        if kind is not None:
            media = kind.partition(";")[0] if isinstance(kind, str) else "application/json"
            schema = shapes.of(kind) if not isinstance(kind, str) else _OTHER.get(media, {"type": "string"})
            response["content"] = {media: {"schema": schema}}
        links = _LINKS.get(endpoint.name, {}).get(status)
        if links:
            response["links"] = {
                name: {"operationId": name, "parameters": parameters} for name, parameters in links.items()
            }
        responses[str(status)] = response
    for status, codes in sorted(_refused(endpoint).items()):
        listed = "\n".join(f"- `{code}`: {title}" for code, title in sorted(codes.items()))
        responses[str(status)] = {
            "description": f"{_STATUS_WORDS[status]}\n\n{listed}",
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Problem"}}},
        }
    return responses


_OTHER = {"application/json": {"type": "object"}}


def _headers(endpoint: Endpoint) -> JSON:
    headers: JSON = {
        "X-Request-Id": {"description": "Names this request in our logs.", "schema": {"type": "string"}}
    }
    if endpoint.keyed:
        headers["Idempotent-Replayed"] = {
            "description": "`true` when this is the first answer again.",
            "schema": {"type": "string", "const": "true"},
        }
    for name, words in endpoint.headers.items():
        headers[name] = {"description": words, "schema": {"type": "string"}}
    return headers


def _refused(endpoint: Endpoint) -> dict[int, dict[str, str]]:
    """Status → code → title of everything that the call may be refused with."""
    kinds: list[type[LoyaltyError]] = [*_ALWAYS, *endpoint.refusals]
    if isinstance(endpoint.permission, Permission):
        kinds += _WITH_CREDENTIAL
    if endpoint.csv:
        kinds += (IncompleteBody, BodyTooLarge, UnsupportedMediaType)
    elif endpoint.body is not None:
        kinds += _WITH_BODY
    if endpoint.keyed:
        kinds += _WITH_KEY
    if endpoint.takes_query:
        kinds += _WITH_QUERY
    if any(kind is not MemberRef for kind in endpoint.parts.values()):
        kinds.append(ThingNotFound)
    found: dict[int, dict[str, str]] = {}
    for kind in kinds:
        found.setdefault(status_of(kind), {})[kind.code] = kind.title
    return found
