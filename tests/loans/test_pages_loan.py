"""The page of one loan: status, countdowns, auto-repay, the renewal card and its reasons, closed repayments."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from loans.models import Loan
from loans.vip import at_expiry, expiry, renewal
from risk import accrual, freezes
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk, everything
from tests.loans.test_pages_borrower import hidden, text_of

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EXPIRY = datetime(2026, 1, 31, 10, tzinfo=UTC)
DAY_26 = datetime(2026, 1, 26, 9, tzinfo=UTC)


@pytest.fixture
def here() -> Iterator[Desk]:
    with visit.at(TEN):
        yield desks.set_up()


def page_of(here: Desk, loan: Loan, at: datetime) -> str:
    with visit.later(here.applicant, at) as borrower:
        return text_of(borrower.get(reverse("loans:loan", args=[loan.pk])))


# --- Auto-repay -----------------------------------------------------------------------------------------


def test_auto_repay_is_switched_on_and_off_on_the_page(here: Desk) -> None:
    """R-VIP-47: off unless chosen; the page says what happens at the expiry and what Spot lacks today."""
    loan = desks.drawn(here)
    page, at = (reverse(name, args=[loan.pk]) for name in ("loans:loan", "loans:auto_repay"))
    borrower = visit.client_of(here.applicant)
    shown = borrower.get(page)
    assert "On 31 Jan 2026, 10:00 UTC nothing happens by itself" in text_of(shown)

    answer = borrower.post(at, {"key": str(uuid4()), "on": "on"})

    assert answer["Location"] == page
    assert at_expiry.auto_repays(loan)
    shown = text_of(borrower.get(page))
    assert "all that is owed is taken from Spot of" in shown
    assert "Spot holds 1,000,000.00 USDT of 1,000,230.13698631 USDT" in shown
    borrower.post(at, {"key": str(uuid4()), "on": "off"})
    assert not at_expiry.auto_repays(loan)


def test_a_switch_that_cannot_be_says_why(here: Desk) -> None:
    """R-VIP-47: 422 with the reason; after the expiry the switch is gone."""
    loan = desks.drawn(here)
    at = reverse("loans:auto_repay", args=[loan.pk])
    refused = visit.client_of(here.applicant).post(at, {"key": str(uuid4()), "on": "off"})
    assert refused.status_code == 422
    assert "is off already" in text_of(refused)
    expiry.expire_due(at=EXPIRY)
    before = everything()

    with visit.later(here.applicant, EXPIRY) as borrower:
        assert "Switch auto-repay" not in text_of(borrower.get(reverse("loans:loan", args=[loan.pk])))
        late = borrower.post(at, {"key": str(uuid4()), "on": "on"})

    assert late.status_code == 422
    assert "expired on 31 January 2026 10:00 UTC; repay it by hand" in text_of(late)
    assert everything() == before


def test_only_its_borrower_switches_it(here: Desk) -> None:
    """R-VIP-47: nobody else's loan, and the desk only reads."""
    loan = desks.drawn(here)
    stranger = build.user()
    build.customer(member=stranger)
    form = {"key": str(uuid4()), "on": "on"}
    for user in (stranger, here.manager):
        assert (
            visit.client_of(user).post(reverse("loans:auto_repay", args=[loan.pk]), form).status_code == 404
        )
    assert not at_expiry.auto_repays(loan)
    seen = text_of(visit.client_of(here.manager).get(reverse("loans:loan", args=[loan.pk])))
    assert "Auto-repay is off." in seen


# --- Countdowns -----------------------------------------------------------------------------------------


def test_an_overdue_loan_counts_down_the_hours(here: Desk) -> None:
    """R-VIP-44, R-VIP-45, R-VIP-46: hours left and until when, on the loan and at home."""
    loan = desks.drawn(here)
    expiry.expire_due(at=EXPIRY)
    at = EXPIRY + 67 * HOUR + timedelta(minutes=30)
    desks.quote(at)
    words = "4 d 4 h left: unless it is repaid by 7 Feb 2026, 10:00 UTC, collateral is sold"

    assert words in page_of(here, loan, at)
    with visit.later(here.applicant, at) as borrower:
        assert words in text_of(borrower.get(reverse("loans:home")))


def test_a_pause_is_shown_and_makes_the_countdown_longer(here: Desk) -> None:
    """R-VIP-45: no late fee at the next midnight, and the end moves."""
    loan = desks.drawn(here)
    expiry.expire_due(at=EXPIRY)
    freezes.place(
        what="repay",
        reason="Custody is down.",
        ends_at=EXPIRY + 20 * HOUR,
        starts_at=EXPIRY + 10 * HOUR,
        actor=BUILDER,
        at=EXPIRY,
    )
    at = EXPIRY + 12 * HOUR
    desks.quote(at)
    with visit.later(here.applicant, EXPIRY + 9 * HOUR) as borrower:  # seen while they were open
        looked = {"key": str(uuid4()), "how": "amount", "amount": "5"}
        seen = hidden(borrower.post(reverse("loans:repay", args=[loan.pk]), looked), "seen")

    page = page_of(here, loan, at)

    assert "Repayments are closed in USDT until 1 Feb 2026, 06:00 UTC (Custody is down.). No late fee" in page
    assert "6 d 22 h left: unless it is repaid by 7 Feb 2026, 20:00 UTC" in page
    assert "230.13698631 USDT" in page[page.index("Next charge") : page.index("Next charge") + 120]
    with visit.later(here.applicant, at) as borrower:
        form = {"key": str(uuid4()), "how": "amount", "amount": "5"}
        to = reverse("loans:repay", args=[loan.pk])
        shown = borrower.post(to, form)
        refused = borrower.post(to, form | {"seen": seen})
    for answer in (shown, refused):
        assert answer.status_code == 422
        assert "cannot take repayments in USDT until 1 February 2026 06:00 UTC" in text_of(answer)


# --- The renewal card -----------------------------------------------------------------------------------


def test_the_card_lists_every_reason_and_has_no_button(here: Desk) -> None:
    """R-VIP-40, R-VIP-41, R-VIP-33: margin call, limit, and the missing Spot in red."""
    loan = desks.drawn(here)
    desks.spend(here, "1000000")
    desks.quote(DAY_26, BTC="52000")
    desks.loan_limit("USDT", maximum="999999.99", at=TEN + DAY)

    page = page_of(here, loan, DAY_26)

    assert "you can renew only below the margin call line of 77 %" in page
    assert "above your limit of 999,999.99 USD" in page
    assert "Spot lacks 5,753.42465775 USDT" in page
    assert "and renew" not in page


def test_the_red_mark_stands_at_the_interest_spot_cannot_pay(here: Desk) -> None:
    """R-VIP-33, EX-20: 5,753.42 is red, a cent more is not; at home per coin too."""
    loan = desks.drawn(here)
    desks.spend(here, str(1000000 - Decimal("5753.42")))
    desks.quote(DAY_26)
    red = '<span class="short">5,753.42<span class="tail">465775'
    address = reverse("loans:loan", args=[loan.pk])
    with visit.later(here.applicant, DAY_26) as borrower:
        assert red in borrower.get(address).content.decode()
        assert "Spot is 0.01 USDT short" in text_of(borrower.get(reverse("loans:home")))
        build.deposit(here.master, "USDT", "0.01", at=DAY_26)
        assert red not in borrower.get(address).content.decode()
        assert "Spot is" not in text_of(borrower.get(reverse("loans:home")))


def test_the_latest_order_shows_the_interest_of_the_whole_chain(here: Desk) -> None:
    """R-VIP-42: the days of the order it continues are there, each with its order."""
    loan = desks.drawn(here)
    desks.quote(DAY_26)
    new = renewal.renew(loan_id=loan.pk, term_days=30, actor=here.borrower, at=DAY_26)
    at = DAY_26 + DAY
    accrual.accrue(at=at)
    desks.quote(at)

    page = page_of(here, new, at)

    assert "26 charges" in page
    assert f"00:00 UTC, as {loan}" in page
    assert f"this loan continues as {new}" in page_of(here, loan, at)


def test_the_page_costs_the_same_however_long_the_loan_runs(here: Desk) -> None:
    """STYLE: no query per row."""
    loan = desks.drawn(here)
    counts = []
    for days in (25, 29):
        at = TEN + days * DAY
        accrual.accrue(at=at)
        desks.quote(at)
        with visit.later(here.applicant, at) as borrower, CaptureQueriesContext(connection) as captured:
            borrower.get(reverse("loans:loan", args=[loan.pk]))
        counts.append(len(captured))
    assert counts[0] == counts[1]
