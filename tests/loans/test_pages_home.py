"""What the borrower's home shows at a glance (R-GEN-96), with the figures of the engine."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from loans.vip import renewal
from risk import sweep
from risk.models import Liquidation
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.visit import later

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def home(desk: Desk, moment: datetime) -> str:
    desks.quote(moment)
    with later(desk.applicant, moment) as client:
        response = client.get("/")
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").replace('<span class="tail">', "").split())


def test_home_shows_all_of_r_gen_96(desk: Desk) -> None:
    """R-GEN-96: rates, renewal date, room per coin, interest per coin, collateral, accounts and assets, lines."""
    loan = desks.drawn(desk)
    page = home(desk, TEN + DAY)

    assert "Rates now" in page
    for rate in ("8.00 %", "8.40 %", "9.00 %"):
        assert rate in page
    assert f"renewal of {loan} opens" in page
    assert '<time datetime="2026-01-24T00:00:00Z">24 Jan 2026, 00:00 UTC</time>' in page
    assert "Can borrow, master" in page or f"Can borrow, {desk.master.label}" in page
    assert "79,769.8630" in page  # 0.72 x 1,500,000 - 1,000,230.13698631
    assert "230.14" in page
    assert "1,500,000.00" in page
    assert "Accounts and assets" in page
    assert desk.sub.label in page
    assert "25.00" in page
    for line in ("Initial 72 %", "Margin call 77 %", "Liquidation 91 %"):
        assert line in page


def test_home_says_when_a_loan_can_be_renewed(desk: Desk) -> None:
    """R-GEN-96, R-VIP-40, EX-20: from 24 January 00:00 UTC, and no more once it is renewed into March."""
    loan = desks.drawn(desk)
    opens = datetime(2026, 1, 24, tzinfo=UTC)

    assert f"renewal of {loan} opens" in home(desk, opens - timedelta(seconds=1))
    assert f"{loan} can be renewed now" in home(desk, opens)
    desks.quote(opens + DAY)
    new = renewal.renew(loan_id=loan.pk, term_days=60, actor=desk.borrower, at=opens + DAY)
    page = home(desk, opens + DAY + timedelta(minutes=1))
    assert f"renewal of {new} opens" in page
    assert "25 Mar 2026, 00:00 UTC" in page


def test_an_open_loan_has_no_renewal(desk: Desk) -> None:
    """R-GEN-96, R-VIP-40"""
    desks.drawn(desk, rate_type="flexible", term_days=None)
    page = home(desk, TEN + DAY)
    assert "renewal of" not in page
    assert "can be renewed" not in page


def test_interest_that_spot_cannot_pay_is_red(desk: Desk) -> None:
    """R-GEN-96, R-VIP-33: per coin; the other coin's interest is not."""
    desks.drawn(desk)
    desks.spend(desk, "1000000")
    page = home(desk, TEN + DAY)
    assert '<span class="line short">230.14' in page
    build.deposit(desk.master, "USDT", "231", at=TEN + DAY)
    assert '<span class="line">230.14' in home(desk, TEN + DAY + timedelta(minutes=1))


def test_home_tells_of_a_sale_for_a_month(desk: Desk) -> None:
    """R-GEN-81: whose it was, how much, and the way to its story."""
    loan = desks.drawn(desk)
    desks.quote(TEN + DAY, BTC="43000")
    sweep.sweep(at=TEN + DAY)
    confirmed = TEN + DAY + timedelta(seconds=60)
    desks.quote(confirmed, BTC="43000")
    sweep.sweep(at=confirmed)
    sold = Liquidation.objects.get(group=loan.group)

    page = home(desk, confirmed + DAY)
    assert "Collateral was sold." in page
    assert f"coins of {loan.group.name} worth {sold.sold_usd:,.2f}" in re.sub(r"<[^>]*>", "", page)
    assert f'href="/liquidations/{sold.pk}/"' in page
    assert "Collateral was sold." in home(desk, confirmed + 29 * DAY)
    assert "Collateral was sold." not in home(desk, confirmed + 31 * DAY)
