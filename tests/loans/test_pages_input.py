"""What a browser, or somebody without one, may send to the borrower's pages, and that the server never breaks."""

from collections.abc import Iterator
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.test_pages_borrower import hidden, text_of
from tests.loans.visit import HTMX

pytestmark = pytest.mark.django_db


@pytest.fixture
def here() -> Iterator[desk.Desk]:
    with visit.at(TEN):
        yield desk.set_up()


@pytest.fixture
def borrower(here: desk.Desk) -> Client:
    return visit.client_of(here.applicant)


@pytest.mark.parametrize("odd", ["asset_0", "asset_11", "asset_" + "9" * 5000, "asset_\uff12", "asset_-1"])
@pytest.mark.parametrize("step", ["check", "accept", "more", "edit"])
def test_rows_nobody_offered_are_not_there(step: str, odd: str, here: desk.Desk, borrower: Client) -> None:
    """B-01, B-10: 5,000 digits in the name of a field were an error of the server."""
    before = desk.everything()
    sent = urlencode({"step": step, odd: "USDT", "key": str(uuid4())})
    answer = borrower.post(reverse("loans:apply"), sent, content_type="application/x-www-form-urlencoded")
    assert answer.status_code in {200, 422}
    assert desk.everything() == before


def test_only_coins_with_a_limit_are_offered(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-06: the catalogue has hundreds of coins; what cannot be granted is not offered."""
    build.asset("DOGE")
    page = borrower.get(reverse("loans:apply")).content.decode()
    assert '<option value="USDT">' in page
    assert '<option value="DOGE">' not in page


@pytest.mark.parametrize("name", ["loans:apply", "accounts:agreement"])
def test_forms_answer_to_looking_and_sending_only(name: str, here: desk.Desk, borrower: Client) -> None:
    assert borrower.put(reverse(name)).status_code == 405
    assert borrower.delete(reverse(name)).status_code == 405


@pytest.mark.parametrize("name", ["loans:repay", "loans:renew"])
def test_the_address_of_a_sent_form_leads_back_to_its_loan(
    name: str, here: desk.Desk, borrower: Client
) -> None:
    loan = desk.drawn(here)
    answer = borrower.get(reverse(name, args=[loan.pk]))
    assert (answer.status_code, answer["Location"]) == (302, reverse("loans:loan", args=[loan.pk]))


@pytest.mark.parametrize("with_script", [True, False])
@pytest.mark.parametrize("name", ["loans:repay", "loans:renew"])
def test_a_closed_loan_says_so(name: str, with_script: bool, here: desk.Desk, borrower: Client) -> None:
    """B-19: from a page that was open since before. With scripts the panel is gone, so the page is loaded anew."""
    loan = desk.drawn(here)
    build.deposit(here.master, "USDT", "10000")
    form = {"key": str(uuid4()), "how": "100", "amount": ""}
    shown = borrower.post(reverse("loans:repay", args=[loan.pk]), form)
    borrower.post(reverse("loans:repay", args=[loan.pk]), form | {"seen": hidden(shown, "seen")})
    borrower.get("/")  # reads the message
    before = desk.everything()
    sent = {"key": str(uuid4()), "how": "amount", "amount": "5", "term": "30"}
    headers = HTMX if with_script else {}
    answer = borrower.post(reverse(name, args=[loan.pk]), sent, headers=headers)
    if with_script:
        assert answer["HX-Redirect"] == reverse("loans:loan", args=[loan.pk])
        answer = borrower.get(reverse("loans:loan", args=[loan.pk]))
    else:
        assert answer.status_code == 422
    assert "Not done." in text_of(answer)
    assert f"{loan} is " in text_of(answer)
    assert desk.everything() == before


def test_a_form_without_its_key_says_that_it_is_damaged(here: desk.Desk, borrower: Client) -> None:
    loan = desk.drawn(here)
    answer = borrower.post(reverse("loans:repay", args=[loan.pk]), {"how": "amount", "amount": "1"})
    assert answer.status_code == 422
    assert "missing or damaged" in text_of(answer)


def test_pages_are_not_kept_and_a_nul_names_nothing(here: desk.Desk, borrower: Client) -> None:
    """TRUST section 7 (14.3.2) and B-17"""
    assert borrower.get("/")["Cache-Control"] == "private, no-store"
    assert borrower.get("/apply/?asset=%00").status_code == 400
    assert borrower.get("/%00").status_code == 400
    assert Client().get("/favicon.ico")["Location"] == "/static/icon.svg"
