"""The reference as HTML, made from the OpenAPI document: no script, nothing loaded from elsewhere.

One page holds all calls and all types, so that the browser's own search finds everything; a second one holds the
catalogue of codes, where every problem's `type` leads.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from loyalty.base.forms import CODES
from loyalty.base.problems import catalogue

JSON = dict[str, Any]

_STYLE = """\
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --link: light-dark(#0b57a4, #8ec5ff); }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
a { color: var(--link); }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
nav ul { columns: 18rem; list-style: none; padding: 0; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { background: var(--soft); }
.method { font-weight: 700; }
.skip:not(:focus) { position: absolute; left: -100vw; }
"""


def reference(document: JSON) -> bytes:
    """All calls and all types on one page."""
    paths: JSON = document["paths"]
    operations = [(path, method, one) for path, methods in paths.items() for method, one in methods.items()]
    parts: list[str] = [
        f"<h1>{escape(document['info']['title'])} API</h1>",
        _prose(document["info"]["description"]),
    ]
    parts.append(
        '<p><a href="/openapi.json">OpenAPI document</a> · <a href="/docs/errors">Error codes</a></p>'
    )
    for tag in document["tags"]:
        of_tag = [one for one in operations if tag["name"] in one[2]["tags"]]
        parts.append(f'<nav aria-label="{escape(tag["name"])}"><h2>{escape(tag["name"])}</h2>')
        parts.append(_prose(tag["description"]) + "<ul>")
        parts += [
            f'<li><a href="#{one["operationId"]}">{_call(path, method)}</a> {escape(one["summary"])}</li>'
            for path, method, one in of_tag
        ]
        parts.append("</ul></nav>")
    parts.append('<h2 id="calls">Calls</h2>')
    for path, method, one in operations:
        parts += _operation(path, method, one)
    parts.append('<h2 id="types">Types</h2>')
    for name, schema in document["components"]["schemas"].items():
        parts += _type(name, schema)
    return _page("API reference", parts)


def error_page() -> bytes:
    """Every code with its meaning and what to do about it; faults of bodies below."""
    parts = ["<h1>Error codes</h1>", '<p><a href="/docs">API reference</a></p>']
    parts.append("<p>Every refusal is a problem document whose <code>code</code> is one of these.</p>")
    parts.append(
        "<p>What was decided is kept under its <code>Idempotency-Key</code>: a request that was put right, "
        "or is tried anew because things have changed, takes a new one.</p>"
    )
    parts.append("<table><thead><tr><th>Code<th>Status<th>Meaning<th>What to do</thead><tbody>")
    for row in catalogue():
        parts.append(
            f'<tr id="{escape(row.code)}"><td><code>{escape(row.code)}</code><td>{row.status}'
            f"<td>{escape(row.title)}<td>{_inline(row.to_do)}"
        )
    parts.append("</tbody></table><h2>Faults of a body</h2>")
    parts.append(
        "<p>Each entry of <code>errors</code> has the place of the fault and one of these codes.</p>"
    )
    parts.append("<table><thead><tr><th>Code<th>Meaning</thead><tbody>")
    for code, meaning in sorted(CODES.items()):
        parts.append(f'<tr id="fault-{escape(code)}"><td><code>{escape(code)}</code><td>{escape(meaning)}')
    parts.append("</tbody></table>")
    return _page("Error codes", parts)


def _page(title: str, parts: Iterable[str]) -> bytes:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f'<a class="skip" href="#content">To the content</a><main id="content">{"".join(parts)}</main></body></html>'
    ).encode()


def _call(path: str, method: str) -> str:
    return f'<code><span class="method">{method.upper()}</span> {escape(path)}</code>'


def _operation(path: str, method: str, one: JSON) -> Iterator[str]:
    yield f'<section id="{one["operationId"]}"><h3>{_call(path, method)}</h3><p>{escape(one["summary"])}.</p>'
    yield _prose(one["description"])
    parameters: list[JSON] = one.get("parameters", [])
    if parameters:
        yield "<table><thead><tr><th>Parameter<th>In<th>Form<th>Meaning</thead><tbody>"
        for parameter in parameters:
            needed = "" if parameter["required"] else " (may be left out)"
            yield (
                f"<tr><td><code>{escape(parameter['name'])}</code><td>{parameter['in']}"
                f"<td>{_form(parameter['schema'])}<td>{_inline(parameter.get('description', ''))}{needed}"
            )
        yield "</tbody></table>"
    if "requestBody" in one:
        (content,) = one["requestBody"]["content"].values()
        needed = "" if one["requestBody"]["required"] else " It may be left out."
        yield f"<p>Body: {_form(content['schema'])}.{needed}</p>"
    yield "<table><thead><tr><th>Status<th>Meaning<th>Body</thead><tbody>"
    for status, response in one["responses"].items():
        forms = [_form(content["schema"]) for content in response.get("content", {}).values()]
        yield f"<tr><td>{status}<td>{_prose(response['description'])}<td>{', '.join(forms)}"
    yield "</tbody></table></section>"


def _type(name: str, schema: JSON) -> Iterator[str]:
    yield f'<section id="type-{escape(name)}"><h3><code>{escape(name)}</code></h3>'
    yield _prose(schema.get("description", ""))
    if "properties" not in schema:
        yield f"<p>{_form(schema)}</p></section>"
        return
    required = set(schema.get("required", ()))
    yield "<table><thead><tr><th>Field<th>Form<th>Meaning</thead><tbody>"
    for field, form in schema["properties"].items():
        needed = " (needed)" if field in required else ""
        yield (
            f"<tr><td><code>{escape(field)}</code>{needed}<td>{_form(form)}<td>{_inline(form.get('description', ''))}"
        )
    yield "</tbody></table></section>"


def _form(schema: JSON) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#type-{name}"><code>{name}</code></a>'
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(_form(one) for one in schema[word])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    kind = str(schema.get("type", "any value"))
    if "prefixItems" in schema:
        return f"list of {', '.join(_form(one) for one in schema['prefixItems'])}"
    if kind == "array":
        return f"list of {_form(schema.get('items', {}))}{_bounds(schema, 'minItems', 'maxItems')}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_form(schema['additionalProperties'])}"
    words = _KINDS.get(schema.get("format", kind), kind)
    words += _bounds(schema, "minimum", "maximum") + _bounds(schema, "minLength", "maxLength")
    if "pattern" in schema:
        words += f" matching <code>{escape(schema['pattern'])}</code>"
    return words


_KINDS = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "null": "null",
    "object": "object",
    "uuid": "id (UUID)",
    "date-time": "instant",
    "date": "date",
    "time": "clock time",
}


def _bounds(schema: JSON, low: str, high: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    return f" ({'' if least is None else f'{least:,}'}–{'' if most is None else f'{most:,}'})"


def _prose(text: str) -> str:
    """Paragraphs and lists of plain text with `code` in it."""
    html: list[str] = []
    for block in text.split("\n\n"):
        lines = block.strip().split("\n")
        if lines[0].startswith("- "):
            items = "".join(f"<li>{_inline(line.removeprefix('- '))}</li>" for line in lines)
            html.append(f"<ul>{items}</ul>")
        elif block.strip():
            html.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "".join(html)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
