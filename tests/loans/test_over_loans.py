"""Whether what a notice about a loan told of is over. R-FTR-03"""

from decimal import Decimal

import pytest

from accounts import notices
from accounts.models import Notice
from loans.vip import repayment
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def test_a_due_date_is_over_when_the_loan_is_repaid(desk: Desk) -> None:
    """R-FTR-03, R-VIP-46"""
    loan = desks.drawn(desk)
    sent = [
        notices.send(
            customer=desk.owner, event=kind, kind=kind, title="x", body="x", facts={"loan": loan.pk}, at=TEN
        )
        for kind in ("loan_due", "loan_overdue", "loan_called")
    ]
    assert [notices.is_over(row, at=TEN) for row in sent] == [False] * 3
    build.deposit(desk.master, "USDT", "1000")
    repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=TEN)
    assert [notices.is_over(row, at=TEN) for row in sent] == [True] * 3


def test_an_offer_is_over_when_it_was_answered(desk: Desk) -> None:
    """R-FTR-03, R-VIP-11"""
    application = talks.asked(desk)
    talks.move("counter_offer", application, desk, wanted=talks.wanted("0.082"))
    notice = Notice.objects.get(kind="offer_made")
    assert not notices.is_over(notice, at=TEN)
    talks.move("decline_offer", application, desk)
    assert notices.is_over(notice, at=TEN)
