"""Each row of a loan's history opens the rows of the books behind it, and only one's own. R-GEN-05, R-GEN-95"""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts.models import JournalEntry
from loans.vip import repayment
from risk import accrual
from risk.models import DebtEntry
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.loans.test_pages_borrower import text_of

pytestmark = pytest.mark.django_db
NIGHT = TEN + timedelta(hours=15)


@pytest.fixture
def here() -> Desk:
    """A loan with a midnight behind it and a repayment of 1,000."""
    made = desks.set_up()
    loan = desks.drawn(made)
    accrual.accrue(at=NIGHT)
    desks.quote(NIGHT)
    repayment.repay(
        loan_id=loan.pk, amount=build.Decimal(1000), actor=made.borrower, at=NIGHT, key=str(uuid4())
    )
    return made


def links_of(here: Desk, user: Any) -> list[str]:
    with visit.later(user, NIGHT) as client:
        page = client.get(reverse("loans:loan", args=[DebtEntry.objects.earliest("pk").debt.loan.pk]))
    return re.findall(r'href="((?:/history|/ledger)/entries/\d+/)"', page.content.decode())


def test_every_row_of_the_loan_opens_its_entry(here: Desk) -> None:
    """The borrower's at their own page, the house's at the ledger's; each answers, with its figures."""
    mine, theirs = links_of(here, here.applicant), links_of(here, here.manager)
    assert len(mine) == len(theirs) == DebtEntry.objects.count() == 3
    with visit.later(here.applicant, NIGHT) as borrower:
        pages = [text_of(borrower.get(link)) for link in mine]
    charge, repaid, paid_out = pages
    assert "1,000,000.00 USDT at 8.40 % a year, for a day" in charge
    assert "+230.13698631 USDT" in charge
    assert "No coins moved" in charge
    assert "−230.13698631 USDT" in repaid
    assert "−769.86301369 USDT" in repaid
    assert re.search(rf"Spot of {here.master.label} ?the desk ?1,000\.00", repaid)
    assert re.search(rf"the desk ?Spot of {here.master.label} ?1,000,000\.00", paid_out)
    with visit.later(here.manager, NIGHT) as manager:
        assert [manager.get(link).status_code for link in theirs] in ([200] * 3, [403] * 3)


def test_an_entry_that_charged_many_shows_ones_own_alone(here: Desk) -> None:
    """R-GEN-95: another's entry is not there; of a shared one only what is one's own."""
    stranger = build.user()
    build.customer(member=stranger)
    with visit.later(stranger, NIGHT) as client:
        for row in JournalEntry.objects.all():
            assert client.get(reverse("loans:entry", args=[row.pk])).status_code == 404
    with visit.later(here.manager, NIGHT) as client:
        assert (
            client.get(reverse("loans:entry", args=[JournalEntry.objects.latest("pk").pk])).status_code == 404
        )
    with visit.later(here.applicant, NIGHT) as client:
        pool = JournalEntry.objects.earliest("pk")  # the desk's own coins
        assert client.get(reverse("loans:entry", args=[pool.pk])).status_code == 404
