"""The checked-in contract is what the code says, complete and without outside help."""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar

from loyalty.access.roles import PERMISSIONS, Permission
from loyalty.base.forms import CODES
from loyalty.base.problems import catalogue
from loyalty.base.settings import Settings
from loyalty.web.app import describe, endpoints, make_app
from loyalty.web.edge import Access
from loyalty.web.reference import error_page, reference
from loyalty.web.written import ROOT, files

JSON = dict[str, Any]
DOCUMENT: JSON = describe()
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


@pytest.mark.parametrize(("path", "content"), list(files()), ids=lambda part: getattr(part, "name", ""))
def test_files_made_from_the_code_are_fresh(path: Path, content: bytes) -> None:
    assert path.read_bytes() == content, "run `make api` and look at the difference"


def test_the_document_tells_every_route_that_is_served_and_no_other(tmp_path: Path) -> None:
    app = make_app(Settings(home=tmp_path)).application
    assert isinstance(app, Litestar)
    served = {
        (re.sub(r":str\}", "}", route.path), method)
        for route in app.routes
        for method in route.methods
        if method not in ("HEAD", "OPTIONS")
    }
    assert served == {(path, method.upper()) for path, method, _ in OPERATIONS}


def test_every_call_says_who_may_make_it() -> None:
    by_name = {endpoint.name: endpoint for endpoint in endpoints()}
    for _, _, operation in OPERATIONS:
        permission = by_name[operation["operationId"]].permission
        if permission is Access.PUBLIC:
            assert operation["security"] == []
            continue
        assert isinstance(permission, Permission)
        assert operation["security"] == [{"credential": []}]
        assert operation["x-roles"] == [role for role in PERMISSIONS if permission in PERMISSIONS[role]]
        assert {"401", "403", "500", "503"} <= set(operation["responses"])


def test_every_write_that_is_no_batch_takes_an_idempotency_key() -> None:
    keyless = {
        operation["operationId"]
        for _, method, operation in OPERATIONS
        if method == "post"
        and not any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", ()))
    }
    assert keyless == {
        "quote_purchase",
        "look_up_member",
        "validate_configuration",
        "record_purchases",
        "import_lots",
    }


def test_refusals_are_problems_and_every_code_is_told_somewhere() -> None:
    told = ""
    for _, _, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert set(response["content"]) == {"application/problem+json"}
                told += response["description"]
    codes = {row.code for row in catalogue()} - {
        "route_not_found",  # of no call
        "method_not_allowed",
        "day_closed",  # of commands that only jobs send
        "day_not_over",
        "nothing_due",
        "import_file_wrong",  # of a run, and of its rows
        "nothing_to_import",
        "standing_differs",
        "staff_not_found",  # of the command line
        "token_not_found",
    }
    assert {code for code in codes if f"`{code}`" not in told} == set()


def test_calls_and_fields_that_a_remedy_names_are_there() -> None:
    calls = {f"{method.upper()} {path}" for path, method, _ in OPERATIONS}
    sources = "\n".join(path.read_text() for path in (ROOT / "src" / "loyalty").rglob("*.py"))
    sources = re.sub(r"remedy: ClassVar\[str\] = (\((\s+\".*\")+\s+\)|.*)", "", sources)
    named = {name for row in catalogue() for name in re.findall(r"`([^`]+)`", row.remedy)}
    assert {name for name in named if re.match("[A-Z]+ /", name)} <= calls
    words = {name for name in named if re.fullmatch("[a-z_]+", name)}
    assert {word for word in words if not re.search(rf"\b{word}\b", sources)} == set()


def test_every_code_of_a_fault_stands_in_the_catalogue() -> None:
    used: set[str] = set()
    for path in (ROOT / "src" / "loyalty").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"Fault": 1, "TextFault": 0}.get(node.func.id, 99)
                if place < len(node.args) and isinstance(code := node.args[place], ast.Constant):
                    used.add(str(code.value))
    assert used <= set(CODES)


def test_schemas_are_closed_named_plainly_and_say_limits_as_whole_numbers() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    bodies = {
        content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for _, _, operation in OPERATIONS
        if "application/json" in (content := operation.get("requestBody", {}).get("content", {}))
    }
    assert {name for name in bodies if schemas[name].get("additionalProperties") is not False} == set()
    assert {name for name in schemas if not name.isalnum()} == set()
    assert not re.search(r'"(minimum|maximum|maxLength|minLength|maxItems)": [0-9]+\.', json.dumps(DOCUMENT))
    condition = next(one for one in schemas["Rule"]["properties"]["gives"].get("oneOf", ()))
    assert "$ref" in condition
    assert schemas["Rule"]["properties"]["gives"]["discriminator"]["propertyName"] == "kind"


def test_links_lead_to_calls_and_their_own_parameters() -> None:
    parameters = {
        operation["operationId"]: {one["name"] for one in operation.get("parameters", ())}
        for _, _, operation in OPERATIONS
    }
    links = [
        link
        for _, _, operation in OPERATIONS
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert len(links) > 10
    for link in links:
        assert set(link["parameters"]) <= parameters[link["operationId"]]


class _Page(HTMLParser):
    """Ids, places linked to, and whatever would be loaded from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given.get("href")))
        elif tag in ("script", "link", "img", "iframe", "form") or "src" in given:
            self.loaded.append(tag)


@pytest.mark.parametrize(
    "html", [reference(DOCUMENT).decode(), error_page().decode()], ids=["docs", "errors"]
)
def test_the_pages_are_whole_without_script_and_without_the_world_outside(html: str) -> None:
    page = _Page(html)
    assert page.loaded == []
    assert "http" not in html.replace("https://", "http").split("<style>")[1].split("</style>")[0]
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link in ("/openapi.json", "/docs", "/docs/errors") or link.removeprefix("#") in page.ids
    assert len(html) < 700_000


def test_every_problems_type_leads_to_its_code() -> None:
    page = _Page(error_page().decode())
    assert {row.code for row in catalogue()} <= set(page.ids)


def test_the_page_of_codes_says_what_to_do() -> None:
    html = error_page().decode()
    assert "<td>Take a number from <code>GET /v1/program/configurations</code>." in html
    assert "<td>Send again later. Call another process meanwhile: <code>check</code> says" in html
    assert "`" not in html
