"""The reference: the OpenAPI document, the same as a page, and the catalogue of error codes."""

from loyalty.posting.commands import Answer
from loyalty.web.edge import Access, Call, get


@get("/", Access.PUBLIC, answers={308: None}, headers={"Location": "The reference."})
async def lead_to_reference(call: Call) -> Answer:
    """Leads whoever opens the bare address to the reference."""
    return Answer(308, b"", headers={"location": "/docs"})


@get("/openapi.json", Access.PUBLIC, answers={200: "application/json"})
async def read_openapi(call: Call) -> Answer:
    """The OpenAPI 3.1 document of this server."""
    return Answer(200, call.door.reference.document)


@get("/docs", Access.PUBLIC, answers={200: "text/html; charset=utf-8"})
async def read_reference(call: Call) -> Answer:
    """The reference as a page: no script, nothing loaded from elsewhere."""
    return Answer(200, call.door.reference.page, headers=HTML)


@get("/docs/errors", Access.PUBLIC, answers={200: "text/html; charset=utf-8"})
async def read_catalogue(call: Call) -> Answer:
    """The catalogue of error codes as a page; every problem's `type` leads to its code here."""
    return Answer(200, call.door.reference.errors, headers=HTML)


HTML = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
}
