"""Taking from the fixed-rate market: the loan that comes of it, and every no that moves nothing (R-VIP-26)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts import books
from accounts.commands import acting
from accounts.models import Notice
from loans import supply
from loans.matching import BadTaking, NotOnOffer, OtherRate, TooLittle, TooMuch
from loans.models import Application, ClientTerms, Loan, SupplyOrder, SupplyTake
from loans.vip import at_expiry, market, sheets
from loans.vip.market import PapersMissing
from loans.vip.moves import TermsChanged, TermsRefused
from risk import accrual
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import supplies
from tests.loans.desk import Desk, everything
from tests.loans.supplies import asked, entered, example, of, taken

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
EXPIRY = datetime(2026, 1, 31, 10, tzinfo=UTC)
RATE = Decimal("0.065")
PER_DAY = Decimal("178.08219179")  # 1,000,000 x 6.5 % / 365, rounded up


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def untouched() -> dict[str, Any]:
    return everything() | {"takes": SupplyTake.objects.count(), "orders": list(SupplyOrder.objects.values())}


# --- Taking -------------------------------------------------------------------------------------------------


def test_two_orders_make_one_loan_at_the_weighted_rate(desk: Desk) -> None:
    """R-VIP-26: 250,000 at 5 % and 750,000 at 7 % are 1,000,000 at 6.5 %, paid out at once, for 30 days."""
    pool = books.pool("USDT").balance
    loan = example(desk)

    assert (loan.amount, loan.annual_rate, loan.rate_type, loan.term_days) == (1000000, RATE, "fixed", 30)
    assert (loan.drawn_at, loan.due_at) == (TEN, EXPIRY)
    assert build.balance(desk.master, "USDT") == 1000000
    assert books.pool("USDT").balance == pool - 1000000
    takes = SupplyTake.objects.filter(loan=loan).order_by("order").values_list("order__annual_rate", "amount")
    assert list(takes) == [(Decimal("0.05"), 250000), (Decimal("0.07"), 750000)]
    assert [supplies.left(order) for order in SupplyOrder.objects.order_by("pk")] == [0, 250000]
    accrual.accrue(at=TEN + DAY)
    loan.debt.refresh_from_db()
    assert loan.debt.interest == PER_DAY


def test_it_leaves_a_request_accepted_terms_and_a_signed_sheet(desk: Desk) -> None:
    """R-VIP-26, R-VIP-15: nobody decided it, and the sheet says of which orders it is."""
    loan = example(desk)

    application = Application.objects.get()
    assert (application.status, application.decided_by, application.applicant) == (
        "disbursed",
        None,
        desk.applicant,
    )
    assert loan.sheet is not None
    assert loan.sheet == application.accepted.signed_sheet
    assert loan.sheet.body["loans"] == [
        {"asset": "USDT", "amount": "1000000", "rate": "0.065", "spread": "0"}
    ]
    assert [each["amount"] for each in loan.sheet.body["supply"]] == ["250000", "750000"]
    assert bytes(loan.sheet.pdf).startswith(b"%PDF")
    assert sheets.tampered() == []
    assert Notice.objects.get(kind="loan_paid_out").title == "1,000,000 USDT paid out"
    assert at_expiry.auto_repays(loan)


def test_any_term_that_is_offered_may_be_taken(desk: Desk) -> None:
    """R-VIP-26, R-VIP-20: 45 days, which no card has."""
    order = entered(days=45)

    loan = taken(desk, of(order, "600000"), term_days=45)

    assert (loan.term_days, loan.due_at) == (45, TEN + 45 * DAY)


def test_a_clients_own_spread_is_not_in_it(desk: Desk) -> None:
    """R-VIP-26, R-VIP-24: the rate is the one that was offered."""
    with acting(BUILDER):
        ClientTerms.objects.create(
            customer=desk.owner,
            starts_at=LONG_AGO,
            spread=Decimal("0.01"),
            set_by=desk.manager,
            reason="agreed",
        )
    order = entered("0.05")
    sheet = market.check(asked(desk, of(order, "600000")), (of(order, "600000"),), at=TEN)

    assert [line.annual_rate for line in sheet.lines] == [Decimal("0.05")]
    assert sheet.problems == ()


# --- Refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "rate", "why"),
    [
        ("999.99999999", "0.05", TooLittle),
        ("1000000.00000001", "0.05", TooMuch),
        ("600000", "0.049999999999", OtherRate),
    ],
)
def test_what_does_not_fit_the_offer_moves_nothing(
    desk: Desk, amount: str, rate: str, why: type[Exception]
) -> None:
    """R-VIP-26"""
    order = entered()
    before = untouched()

    with pytest.raises(why):
        taken(desk, of(order, amount, rate=rate))

    assert untouched() == before


def test_what_is_not_on_offer_cannot_be_taken(desk: Desk) -> None:
    """R-VIP-26: closed, ended, of another term, or never there, in the same words."""
    closed, ended, other = entered(), entered(ends_at=TEN), entered(days=60)
    supply.close(order_id=closed.pk, actor=BUILDER, at=TEN)
    before = untouched()

    for order in (closed, ended, other):
        with pytest.raises(NotOnOffer, match=f"Supply order {order.pk} does not offer USDT for 30 days now"):
            taken(desk, of(order, "600000"))
    with pytest.raises(NotOnOffer):
        taken(desk, supplies.Taking(10**9, Decimal("0.05"), Decimal(600000)))

    assert untouched() == before


def test_a_request_for_something_else_than_is_taken_is_refused(desk: Desk) -> None:
    """R-VIP-26: the loan is what is taken, no more and no less."""
    order = entered()
    request = asked(desk, of(order, "700000"))
    before = untouched()

    with pytest.raises(BadTaking, match="just as much of it as is borrowed"):
        market.take(request=request, takings=(of(order, "600000"),), actor=desk.borrower, at=TEN)
    with pytest.raises(BadTaking):
        market.take(request=request, takings=(), actor=desk.borrower, at=TEN)

    assert untouched() == before


@pytest.mark.parametrize(
    ("amount", "changes", "code"),
    [
        ("499999", {}, "below_order_minimum"),  # R-VIP-07
        ("1080001", {}, "ltv_too_high"),  # R-VIP-13: 25 BTC are 1,500,000 USD, 72 % of it 1,080,000
        ("600000", {"account_uids": ()}, "too_many_accounts"),
        ("600000", {"coins": ("USDT",)}, "ltv_too_high"),
        ("600000", {"receiver_uid": 1}, "not_your_account"),
    ],
)
def test_every_check_of_a_request_stands(desk: Desk, amount: str, changes: dict[str, Any], code: str) -> None:
    """R-VIP-26, R-VIP-03, R-VIP-04, R-VIP-07, R-VIP-13"""
    order = entered(amount="2000000")
    before = untouched()

    with pytest.raises(TermsRefused) as refused:
        taken(desk, of(order, amount), **changes)

    assert code in [problem.code for problem in refused.value.problems], refused.value.problems
    assert untouched() == before


def test_only_a_vip_takes_and_only_for_the_master(desk: Desk) -> None:
    """R-VIP-01, R-VIP-02"""
    order = entered()
    with acting(BUILDER):
        desk.owner.vip_level = 0
        desk.owner.save(update_fields=["vip_level"])
    before = untouched()

    with pytest.raises(TermsRefused) as refused:
        taken(desk, of(order, "600000"), asked_by=desk.sub.pk)

    assert {"vip_only", "master_only"} <= {problem.code for problem in refused.value.problems}
    assert untouched() == before


def test_without_papers_nothing_is_paid_out_and_nobody_is_told_why(desk: Desk) -> None:
    """R-VIP-26, R-ADM-10"""
    order, applicant = entered(), build.user()
    owner = build.customer(member=applicant, is_screened=False)
    sub = build.account(owner)
    build.deposit(sub, "BTC", "25", at=LONG_AGO)
    other = Desk(owner, applicant, desk.manager, build.master(owner), sub)
    before = untouched()

    with pytest.raises(PapersMissing, match="still have to check the papers") as refused:
        taken(other, of(order, "600000"))

    assert "sanction" not in refused.value.message
    assert untouched() == before


def test_terms_other_than_those_shown_are_not_taken(desk: Desk) -> None:
    """R-VIP-26: repaying at the expiry or going on is a term like any other."""
    order = entered()
    takings = (of(order, "600000"),)
    shown = market.check(asked(desk, *takings), takings, at=TEN).fingerprint
    before = untouched()

    def take(**changes: Any) -> Loan:
        request = asked(desk, *takings, **changes)
        return market.take(request=request, takings=takings, actor=desk.borrower, at=TEN, accepted=shown)

    with pytest.raises(TermsChanged):
        take(auto_repay=False)
    assert untouched() == before
    assert take().amount == 600000


def test_one_key_takes_once(desk: Desk) -> None:
    """R-VIP-26, R-GEN-06"""
    order = entered()
    takings = (of(order, "600000"),)
    request = asked(desk, *takings)

    first, again = (
        market.take(request=request, takings=takings, actor=desk.borrower, at=TEN, key="one") for _ in "ab"
    )

    assert first == again
    assert supplies.left(order) == 400000
