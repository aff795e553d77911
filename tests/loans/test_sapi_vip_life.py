"""A VIP loan's life as a program sees it: every answer of the dialect along it, exact to the last digit and type.

Prices stand still: BTC 60,000, USDT 1. The clock is moved by hand; the midnights are booked by the job.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from loans.models import Application, Loan
from risk import accrual
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.dialect import DAY, VIP, Clock, asked, ms, read
from tests.programs import Program, api_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("uncounted")]
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def program(desk: Desk) -> Program:
    return Program(api_key(desk.master, desk.applicant))


def test_a_loan_from_the_request_to_its_last_repayment(desk: Desk, program: Program, now: Clock) -> None:
    """R-VIP-10, R-VIP-30, R-VIP-31, R-VIP-34, R-VIP-42, R-GEN-91, EX-01: one life, each answer whole."""
    now(TEN)
    answer = program.post(f"{VIP}/borrow", **asked(desk)).json()
    request_id = answer["requestId"]
    assert answer == {
        "loanAccountId": str(desk.master.pk),
        "requestId": request_id,
        "loanCoin": "USDT",
        "isFlexibleRate": "No",
        "loanAmount": "1000000",
        "collateralAccountId": str(desk.sub.pk),
        "collateralCoin": "BTC",
        "loanTerm": "30",
    }
    request = {
        "loanAccountId": str(desk.master.pk),
        "orderId": "",
        "requestId": request_id,
        "loanCoin": "USDT",
        "loanAmount": "1000000",
        "collateralAccountId": str(desk.sub.pk),
        "collateralCoin": "BTC",
        "loanTerm": "30",
        "status": "Pending",
        "loanDate": str(ms(TEN)),
    }
    assert read(program, "request/data") == {"rows": [request], "total": 1}
    assert read(program, "ongoing/orders") == {"rows": [], "total": 0}

    drawn_at = TEN + timedelta(hours=1)
    now(drawn_at)
    desks.approved(desk, Application.objects.get(pk=request_id), at=drawn_at)
    loan = Loan.objects.get()
    begun = request | {
        "orderId": str(loan.pk),
        "status": "Accruing_Interest",
        "loanDate": str(ms(drawn_at)),
    }
    assert read(program, "request/data")["rows"] == [begun]
    order = {
        "orderId": loan.pk,
        "loanCoin": "USDT",
        "totalDebt": "1000230.13698631",  # the one day it costs at least is in it
        "loanRate": "0.084",
        "residualInterest": "230.13698631",
        "collateralAccountId": str(desk.sub.pk),
        "collateralCoin": "BTC",
        "totalCollateralValueAfterHaircut": "1500000",
        "lockedCollateralValue": "1388888.88888889",
        "currentLTV": "0.666666666666",
        "expirationTime": ms(drawn_at + 30 * DAY),
        "loanDate": str(ms(drawn_at)),
        "loanTerm": "30days",
    }
    assert read(program, "ongoing/orders") == {"rows": [order], "total": 1}

    accrual.accrue(at=MIDNIGHT)
    now(MIDNIGHT + timedelta(hours=12))
    charge = {
        "loanCoin": "USDT",
        "principalAmount": "1000000",
        "interestAmount": "230.13698631",
        "annualInterestRate": "0.084",
        "accrualTime": ms(MIDNIGHT),
        "orderId": loan.pk,
    }
    assert read(program, "accruedInterest") == {"rows": [charge], "total": 1}
    assert read(program, "ongoing/orders")["rows"][0]["totalDebt"] == "1000230.13698631"

    paid = program.post(f"{VIP}/repay", orderId=loan.pk, amount="100230.13698631").json()
    assert paid == {
        "loanCoin": "USDT",
        "repayAmount": "100230.13698631",
        "remainingPrincipal": "900000",
        "remainingInterest": "0",
        "collateralCoin": "BTC",
        "currentLTV": "0.6",
        "repayStatus": "Repaying",
    }

    accrual.accrue(at=MIDNIGHT + 24 * DAY)  # 26 January
    now(MIDNIGHT + 24 * DAY + timedelta(hours=9))
    renewed = program.post(f"{VIP}/renew", orderId=loan.pk, loanTerm=60).json()
    assert renewed == {
        "loanAccountId": str(desk.master.pk),
        "loanCoin": "USDT",
        "loanAmount": "900000",
        "collateralAccountId": str(desk.sub.pk),
        "collateralCoin": "BTC",
        "loanTerm": "60",
    }
    new = Loan.objects.get(renews=loan)
    [order] = read(program, "ongoing/orders")["rows"]
    assert (order["orderId"], order["totalDebt"], order["loanTerm"]) == (new.pk, "900000", "60days")
    assert order["expirationTime"] == ms(drawn_at + 90 * DAY)
    assert read(program, "request/data")["rows"] == [begun | {"status": "Repaid"}]

    build.deposit(desk.master, "USDT", "10000", at=MIDNIGHT + 24 * DAY)
    accrual.accrue(at=MIDNIGHT + 25 * DAY)
    now(MIDNIGHT + 25 * DAY + timedelta(hours=9))
    [order] = read(program, "ongoing/orders")["rows"]
    assert order["totalDebt"] == "900207.12328768"  # a day at the old rate, which runs to the old expiry
    closed = program.post(f"{VIP}/repay", orderId=new.pk, amount=order["totalDebt"]).json()
    assert closed == {
        "loanCoin": "USDT",
        "repayAmount": "900207.12328768",
        "remainingPrincipal": "0",
        "remainingInterest": "0",
        "collateralCoin": "BTC",
        "currentLTV": "0",
        "repayStatus": "Repaid",
    }
    assert read(program, "ongoing/orders") == {"rows": [], "total": 0}
    assert read(program, "collateral/account") == {"rows": [], "total": 0}

    history = read(program, "repay/history")
    assert history["total"] == 3
    assert history["rows"][0] == {
        "loanCoin": "USDT",
        "repayAmount": "900207.12328768",
        "repayPrincipal": "900000",
        "repayInterest": "207.12328768",
        "collateralCoin": "BTC",
        "repayStatus": "Repaid",
        "loanDate": str(ms(MIDNIGHT + 24 * DAY + timedelta(hours=9))),
        "repayTime": str(ms(MIDNIGHT + 25 * DAY + timedelta(hours=9))),
        "orderId": str(new.pk),
    }
    assert [row["repayAmount"] for row in history["rows"]][1:] == [
        "4970.95890432",  # the interest of 24 days, paid by the renewal
        "100230.13698631",
    ]
    charges = read(program, "accruedInterest", limit=100)
    assert charges["total"] == 26
    assert {row["orderId"] for row in charges["rows"]} == {new.pk}
    assert read(program, "accruedInterest", limit=100, orderId=new.pk) == charges
    assert Decimal(build.balance(desk.master, "USDT")) == Decimal("10000") - Decimal(
        "230.13698631"
    ) - Decimal("4970.95890432") - Decimal("207.12328768")
