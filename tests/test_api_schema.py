"""Every address of /api/v1, found in the URL resolver: described, closed to strangers, in this table (TRUST 6)."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any, Final

import jsonschema
import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from accounts.api import guide
from accounts.api.docs import described
from tests import build
from tests.api_world import UNKNOWN, LivedIn, books, clock
from tests.native import Native, program

PUBLIC: Final = {"schema", "schema.json", "docs", "dialect"}
"""What describes the APIs and says nothing of anybody."""

METHODS: Final = ("get", "post", "put", "patch", "delete")

TERMS: Final = {
    "rates": [{"asset": "USDT", "rate": "0.08"}],
    "initial": "0.72",
    "margin_call": "0.77",
    "liquidation": "0.91",
    "cutoff": "0.95",
    "fee": "0.02",
    "term_days": 30,
    "overdue_hours": 168,
}
CHOICE: Final = {"start": "0.82", "target": "0.74", "step_share": "0.1"}

WRITES: Final[dict[str, Any]] = {
    "POST agreement/accept": {"version": 1},
    "POST applications": {},
    "POST applications/check": {},
    "POST applications/negotiate": {},
    "POST applications/{application_id}/cancel": {},
    "POST applications/{application_id}/offers/{version}/accept": {},
    "POST applications/{application_id}/offers/{version}/counter": TERMS,
    "POST applications/{application_id}/offers/{version}/decline": {},
    "POST confirmations/{row_id}/answer": {"agrees": True},
    "POST enquiries": {"contact": "me@example.com", "wish": "More"},
    "POST enquiries/{enquiry_id}/withdraw": {},
    "POST groups/{group_id}/accounts": {"account": 1},
    "POST groups/{group_id}/accounts/check": {"account": 1, "do": "add"},
    "DELETE groups/{group_id}/accounts/{uid}": {},
    "POST groups/{group_id}/cure-rules": {},
    "POST groups/{group_id}/cure-rules/rehearse": {"fall": "0.1"},
    "DELETE groups/{group_id}/cure-rules/{rule_id}": {},
    "POST groups/{group_id}/deleveraging": CHOICE,
    "DELETE groups/{group_id}/deleveraging": {},
    "POST groups/{group_id}/deleveraging/plan": CHOICE,
    "POST groups/{group_id}/warnings": {"ltv": "0.7"},
    "DELETE groups/{group_id}/warnings/{line_id}": {},
    "POST groups/{group_id}/what-if": {},
    "POST loans/{loan_id}/auto-repay": {"on": True},
    "POST loans/{loan_id}/renew": {"term_days": 30},
    "POST loans/{loan_id}/repay": {"amount": "1"},
    "POST notices/{notice_id}/acknowledge": {},
    "POST notices/{notice_id}/read": {},
    "POST statements/{statement_id}/verify": {},
    "POST transfers": {},
    "POST withdrawals": {},
}
"""Every write, with a body that is one; an address or method that is not here fails the first test."""

READS: Final = {
    "agreement",
    "applications",
    "applications/{application_id}",
    "applications/{application_id}/offers",
    "applications/{application_id}/offers/{version}",
    "confirmations",
    "confirmations/{row_id}",
    "contacts",
    "enquiries",
    "groups",
    "groups/{group_id}",
    "groups/{group_id}/cure-rules",
    "groups/{group_id}/cure-rules/runs",
    "groups/{group_id}/cures",
    "groups/{group_id}/deleveraging",
    "groups/{group_id}/warnings",
    "histories/adjustments",
    "histories/flows",
    "histories/interest",
    "histories/liquidations",
    "histories/orders",
    "histories/repayments",
    "limits",
    "loans",
    "loans/{loan_id}",
    "loans/{loan_id}/charges",
    "loans/{loan_id}/payments",
    "loans/{loan_id}/sheet",
    "loans/{loan_id}/sheet.pdf",
    "me",
    "movements",
    "notices",
    "notices/{notice_id}",
    "preferences",
    "prices",
    "proposals",
    "proposals/{approval_id}",
    "rates",
    "statements",
    "statements/{statement_id}",
    "statements/{statement_id}.csv",
    "statements/{statement_id}.pdf",
}
ROWS: Final = sorted([*WRITES, *(f"GET {path}" for path in READS)])
WITH_IDS: Final = [row for row in ROWS if "{" in row]


def routes() -> Iterator[tuple[str, Any]]:
    """Every address under /api/v1 as the resolver knows it, with its view's class."""

    def walk(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, Any]]:
        for one in resolver.url_patterns:
            where = prefix + str(one.pattern)
            if isinstance(one, URLResolver):
                yield from walk(one, where)
            elif isinstance(one, URLPattern) and where.startswith("api/v1/"):
                path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", where.removeprefix("api/v1/"))
                yield path, getattr(one.callback, "cls", None)

    return walk(get_resolver(), "")


def operations() -> set[str]:
    """`METHOD path` of every address that is somebody's."""
    found = set()
    for path, view in routes():
        if path.strip("/") in PUBLIC or path.startswith("^"):
            continue
        found |= {f"{method.upper()} {path}" for method in METHODS if hasattr(view, method)}
    return found


def test_the_table_names_every_address_and_no_other() -> None:
    """TRUST section 6: a new address without a row here fails; so does a row without an address."""
    assert operations() == set(ROWS)


def test_the_description_is_valid_and_warns_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """As `manage.py spectacular --validate --fail-on-warn`."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(schema)
    said = capsys.readouterr().err
    assert "Warning" not in said
    assert "Error" not in said


def test_every_operation_is_described_with_its_refusals() -> None:
    """One error shape, a name of its own, and every write takes an idempotency key (R-GEN-06)."""
    described_rows, names = set(), set()
    for path, item in described()["paths"].items():
        for method, operation in item.items():
            described_rows.add(f"{method.upper()} {path.removeprefix('/api/v1/')}")
            names.add(operation["operationId"])
            assert operation["description"], path
            refused = {"400", "401", "403", "404"} | (set() if method == "get" else {"409", "415"})
            for code in refused:
                shape = operation["responses"][code]["content"]["application/json"]["schema"]
                assert shape == {"$ref": "#/components/schemas/Problem"}, (path, code)
            headers = {one["name"] for one in operation.get("parameters", []) if one["in"] == "header"}
            assert headers == (set() if method == "get" else {"Idempotency-Key"})
            assert operation["security"] == [{"token": []}, {"session": []}]
    assert described_rows == set(ROWS)
    assert len(names) == len(ROWS)


@pytest.mark.django_db
@pytest.mark.parametrize("row", ROWS)
def test_nobody_is_let_in_without_credentials(row: str) -> None:
    """TRUST section 7: 401 before anything is looked at, whatever the id and body; a wrong token likewise."""
    method, path = row.split(" ")
    where = re.sub(r"\{\w+\}", "1", path)
    for api in (Native(), Native(token="a" * 64 + ".wrong")):
        status, told = api.send(method, where, {"no": "matter"})
        assert (status, told["code"]) == (401, "not_authenticated"), row


@pytest.mark.django_db
def test_nothing_of_another_firm_is_there() -> None:
    """R-GEN-95, TRUST B-07, B-13: every address with somebody else's ids answers byte for byte as with unknown ones."""
    world = LivedIn()
    user = build.user()
    other = build.customer(member=user)
    theirs = program(build.master(other), user)
    with clock():
        before = books()
        for row in WITH_IDS:
            method, path = row.split(" ")
            found = [
                theirs.send(method, path.format(**ids), WRITES.get(row, {}))
                for ids in (world.ids, dict.fromkeys(world.ids, UNKNOWN))
            ]
            assert found[0] == found[1], row
            assert (found[0][0], found[0][1]["code"]) == (404, "not_found"), (row, found)
        assert books() == before
        for path in sorted(READS):
            answer = world.api.client.get(f"/api/v1/{path.format(**world.ids)}", headers=world.api.headers)
            assert answer.status_code == 200, (path, answer.content[:300])


@pytest.mark.django_db
def test_a_read_only_token_does_nothing_that_lasts() -> None:
    """TRUST section 7: every write but the questions is closed to a token that may only read."""
    world = LivedIn()
    weak = program(world.desk.master, world.desk.applicant, "can_read")
    questions = {
        "POST applications/check",
        "POST groups/{group_id}/accounts/check",
        "POST groups/{group_id}/cure-rules/rehearse",
        "POST groups/{group_id}/deleveraging/plan",
        "POST groups/{group_id}/what-if",
        "POST notices/{notice_id}/read",
        "POST statements/{statement_id}/verify",
    }
    with clock():
        for row, body in WRITES.items():
            method, path = row.split(" ")
            status, told = weak.send(method, path.format(**world.ids), body)
            if row in questions:
                assert status != 403, row
            else:
                assert (status, told["code"]) == (403, "not_permitted"), row


def test_the_description_is_served_as_json_and_as_yaml() -> None:
    """For programs and people; it tells of nobody, so nobody has to sign in."""
    client = Client()
    asked = client.get("/api/v1/schema.json")
    assert asked.status_code == 200
    assert asked.json()["openapi"].startswith("3.")
    plain = client.get("/api/v1/schema")
    assert plain.status_code == 200
    assert b"operationId: groups_what_if" in plain.content
    for path in ("schema/", "docs/", "groups/"):
        assert client.get(f"/api/v1/{path}").status_code in (401, 404)


def every_operation() -> list[dict[str, Any]]:
    return [each for methods in described()["paths"].values() for each in methods.values()]


def test_the_page_tells_of_every_operation_and_every_shape() -> None:
    """For people who are not signed in, too: each has an address, its parameters, its answers and an example."""
    page = Client().get("/api/v1/docs")
    assert page.status_code == 200
    text = unescape(page.content.decode())
    for operation in every_operation():
        [part] = re.findall(
            rf'<section class="panel" id="{operation["operationId"]}".*?</section>', text, re.S
        )
        for parameter in operation.get("parameters", []):
            assert f"<code>{parameter['name']}</code>" in part
        for status in operation["responses"]:
            assert f"#refusal-{status}" in part or f"<b>{status}</b>" in part
        assert "curl " in part
    for name in described()["components"]["schemas"]:
        assert f'id="shape-{name}"' in text
    assert len(every_operation()) == text.count('<pre class="code"')


def test_every_link_of_the_page_leads_somewhere() -> None:
    text = Client().get("/api/v1/docs").content.decode()
    places = set(re.findall(r' id="([^"]+)"', text))
    wanted = set(re.findall(r'href="#([^"]+)"', text))
    assert wanted
    assert wanted <= places


def test_the_page_of_the_description_has_nothing_inline() -> None:
    """The strict content policy: nothing of it is a script of others, and what is shown needs none."""
    page = Client().get("/api/v1/docs")
    text = page.content.decode()
    assert not re.search(r"<style|style=|<script>|\son\w+=", text)
    assert "unsafe" not in page["Content-Security-Policy"]
    assert "swagger" not in text


def test_the_examples_are_what_the_description_accepts() -> None:
    """Made of the description, so that nobody copies what is refused at once."""
    document = described()
    bodies = 0
    for operation in every_operation():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if not content or content.get("examples"):
            continue
        schema = content["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(guide.example(document, content["schema"]))
        bodies += 1
    assert bodies
