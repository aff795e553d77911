"""A browser with scripts and one without, and a desk at prices of now."""

from collections.abc import Iterator

import pytest
from django.utils import timezone
from selenium import webdriver

from tests.browser.driving import chromium, may_sign_in
from tests.conftest import CommittedDatabase
from tests.loans import desk


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def browser(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    with chromium(scripts=request.param) as driver:
        yield driver


@pytest.fixture
def here(committed_db: CommittedDatabase) -> desk.Desk:
    """The desk of the other tests, with prices of now, since a real clock runs."""
    found = desk.set_up()
    desk.quote(timezone.now())
    may_sign_in(found.applicant, found.manager)
    return found
