"""Every address of the desk is a page that somebody of the demo gets, or stands in the table of what is no page."""

import pytest

from tests.faces import pages
from tests.faces.conftest import Desk
from tests.faces.pages import NOT_PAGES, patterns, visits

ANSWERS = {pages.POST: {302, 403, 404, 405}, pages.MOVED: {200, 302, 403, 404}, pages.READ_ONLY: {403, 404}}


def test_every_page_of_the_list_is_there(face: Desk) -> None:
    """A page that is new to the resolver is visited here, or fails until its key or its reason is said."""
    wrong = []
    for visit in visits():
        answer = face.client(visit.who).get(visit.address)
        if answer.status_code != 200 or "text/html" not in answer["Content-Type"]:
            wrong.append(f"{visit.name} as {visit.who}: {visit.address} answers {answer.status_code}")
    assert wrong == []


def test_what_is_no_page_is_none(face: Desk) -> None:
    """A reason that does not hold any more is found here."""
    wrong = []
    for name, route, pattern in patterns():
        reason, keys = pages.reason(name), pattern.pattern.regex.groupindex
        if reason not in (*ANSWERS, pages.FILE) or not set(keys) <= {*pages.KEYS}:
            continue
        who = pages.looker(name, route)
        answer = face.client(who).get(pages.Visit(name, who).address)
        is_html = "text/html" in answer.get("Content-Type", "") and answer.status_code == 200
        if is_html if reason == pages.FILE else answer.status_code not in ANSWERS[reason]:
            wrong.append(f"{name} is said to be {reason!r}, and answers {answer.status_code}")
    assert wrong == []


def test_no_reason_is_given_for_what_is_gone() -> None:
    assert set(NOT_PAGES) - {name for name, _, _ in patterns()} == set()


def test_every_visit_has_a_name_of_its_own() -> None:
    slugs = [visit.slug for visit in visits()]
    assert len(slugs) == len(set(slugs))


@pytest.mark.parametrize("who", ["borrower", "manager", "risk", "finance", "auditor", "admin", pages.NOBODY])
def test_everybody_looks_at_something(who: str) -> None:
    assert [visit for visit in visits() if visit.who == who]
