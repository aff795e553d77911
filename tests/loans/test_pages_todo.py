"""What waits for the borrower is on their home page and in their inbox: offers, freezes, payment plans."""

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.test import Client

from accounts.commands import Actor, acting
from accounts.models import Notice
from loans.models import Loan
from risk import freezes
from risk.models import Instalment, PaymentPlan
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.loans.desk import Desk


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def signed_in(desk: Desk) -> Client:
    client = Client()
    client.force_login(desk.applicant)
    return client


def test_an_offer_waits_on_the_home_page_until_it_lapses(desk: Desk) -> None:
    """R-VIP-11: with the time left, and gone when it stands no longer."""
    application = talks.asked(desk)
    talks.move("counter_offer", application, desk, wanted=talks.wanted("0.082"))

    with time_machine.travel(TEN + timedelta(hours=1), tick=False):
        assert f"your request {application}" in signed_in(desk).get("/").content.decode()
    with time_machine.travel(TEN + timedelta(hours=25), tick=False):
        assert f"your request {application}" not in signed_in(desk).get("/").content.decode()


def test_the_list_of_requests_shows_the_agreed_term(desk: Desk) -> None:
    """R-VIP-20: 45 days by negotiation, where 30 were asked for."""
    application = talks.asked(desk)
    talks.move("counter_offer", application, desk, wanted=talks.wanted("0.082", term_days=45))
    talks.move("accept_offer", application, desk)

    with time_machine.travel(TEN + timedelta(hours=1), tick=False):
        assert "45 days" in signed_in(desk).get("/requests/").content.decode()


def test_who_is_frozen_hears_of_it_at_once(desk: Desk) -> None:
    """R-ADM-04: the reason, and when it ends by itself."""
    officer = build.user("risk_officer")
    freezes.place(
        what="withdraw",
        reason="A device was lost",
        ends_at=TEN + timedelta(days=2),
        account_uid=desk.sub.pk,
        actor=Actor.user(officer),
        at=TEN,
    )

    notice = Notice.objects.get(customer=desk.owner, kind="freeze")
    assert "A device was lost" in notice.body
    assert "ends by itself" in notice.body


def test_a_residual_debt_shows_its_payment_plan(desk: Desk) -> None:
    """R-GEN-78: to the borrower too."""
    loan = desks.drawn(desk)
    with acting(BUILDER):
        type(loan.debt).objects.filter(pk=loan.debt_id).update(residual_since=TEN)
        plan = PaymentPlan.objects.create(debt=loan.debt, agreed_at=TEN)
        Instalment.objects.create(plan=plan, due_at=TEN + timedelta(days=9), amount=Decimal("1234.5"))

    with time_machine.travel(TEN + timedelta(hours=1), tick=False):
        page = signed_in(desk).get(f"/loans/{Loan.objects.get().pk}/").content.decode()
    assert "Payment plan" in page
    assert "1,234.5" in page
