"""Renewal: the window, what must hold, interest first, a new order linked to the old (R-VIP-40…42, EX-20)."""

import inspect
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError

from accounts import people
from accounts.commands import acting, registered
from accounts.models import Notice
from loans import queries, ratecards
from loans.lifecycle import LoanStatus
from loans.models import ClientTerms, Loan, LoanEvent
from loans.vip import auto_repay, calling, expiry, renewal, repayment, sheets
from loans.vip.renewal import CoinOverLimit, InterestNotCovered, MasterOnly, NotRenewable
from loans.vip.repayment import LoanClosed
from risk import accrual, freezes, groups
from risk.models import Debt, DebtRate
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk, everything

pytestmark = pytest.mark.django_db
EXPIRY = datetime(2026, 1, 31, 10, tzinfo=UTC)
OPENS = datetime(2026, 1, 24, tzinfo=UTC)
DAY_26 = datetime(2026, 1, 26, 9, tzinfo=UTC)
INTEREST = Decimal("5753.42465775")  # 25 runs of 230.13698631


@pytest.fixture
def desk(db: None) -> Desk:
    desk = desks.set_up()
    desks.quote(DAY_26)
    return desk


def renew(desk: Desk, loan: Loan, term_days: int = 30, *, at: datetime = DAY_26, **more: Any) -> Loan:
    return renewal.renew(loan_id=loan.pk, term_days=term_days, actor=desk.borrower, at=at, **more)


def loan_with_spot(desk: Desk, spot: str, **changes: Any) -> Loan:
    """EX-20's loan of 1 January 10:00, whose receiver spent all but `spot`."""
    loan = desks.drawn(desk, **changes)
    desks.spend(desk, str(1000000 - Decimal(spot)))
    return loan


def test_spot_that_does_not_cover_the_interest_is_refused(desk: Desk) -> None:
    """EX-20: 5,753.42 is red."""
    loan = loan_with_spot(desk, "5753.42")
    before = everything()

    with pytest.raises(InterestNotCovered, match=r"5,753\.42465775 USDT.* holds 5,753\.42 USDT"):
        renew(desk, loan)

    assert everything() == before
    due = renewal.due_amounts(loan, at=DAY_26)
    assert (due.interest, due.spot, due.is_covered) == (INTEREST, Decimal("5753.42"), False)


def test_interest_is_paid_and_a_new_order_carries_the_principal(desk: Desk) -> None:
    """EX-20: 5,753.43 is enough; 30 days more at the fixed rate published now."""
    loan = loan_with_spot(desk, "5753.43")
    desks.card("USDT", "0.1", at=datetime(2026, 1, 26, tzinfo=UTC))
    assert renewal.due_amounts(loan, at=DAY_26).is_covered

    new = renew(desk, loan)

    assert build.balance(desk.master, "USDT") == Decimal("5753.43") - INTEREST
    assert (new.renews, new.line, new.group) == (loan, None, loan.group)
    assert (new.amount, new.annual_rate, new.rate_type, new.term_days) == (
        1000000,
        Decimal("0.1"),
        "fixed",
        30,
    )
    assert (new.drawn_at, new.due_at) == (DAY_26, EXPIRY + timedelta(days=30))
    assert (new.debt.principal, new.debt.interest, new.debt.due_at) == (1000000, 0, new.due_at)
    old = queries.loan_row(loan, at=DAY_26)
    assert (old.status, old.owed.total) == (LoanStatus.RENEWED, 0)
    assert queries.loan_row(new, at=DAY_26).status == LoanStatus.ACCRUING
    assert [e.kind for e in LoanEvent.objects.filter(loan=loan).order_by("pk")] == ["drawn", "renewed"]
    notice = Notice.objects.get(kind="loan_renewed")
    assert "5,753.42465775 USDT of interest" in notice.body
    assert "10 % a year starts on 31 January 2026, 10:00 UTC" in notice.body


def test_the_old_rate_runs_to_the_old_expiry_and_the_new_one_from_there(desk: Desk) -> None:
    """R-VIP-42: renewing early is neither cheaper nor dearer."""
    loan = loan_with_spot(desk, "6000")
    desks.card("USDT", "0.1", term_days=60, at=datetime(2026, 1, 26, tzinfo=UTC))

    new = renew(desk, loan, 60)
    accrual.accrue(at=datetime(2026, 2, 2, tzinfo=UTC))

    rates = [(row.at.day, row.annual_rate) for row in queries.charges(new).order_by("at")]
    assert rates[:5] == [(day, Decimal("0.084")) for day in (27, 28, 29, 30, 31)]
    assert rates[5:] == [(1, Decimal("0.1")), (2, Decimal("0.1"))]
    assert new.due_at == EXPIRY + timedelta(days=60)
    assert queries.charges(loan).count() == 25


def test_a_flexible_loan_stays_flexible(desk: Desk) -> None:
    """R-VIP-42, R-VIP-25"""
    loan = loan_with_spot(desk, "6000", rate_type="flexible")

    new = renew(desk, loan)

    assert (new.rate_type, new.annual_rate) == ("flexible", Decimal("0.08"))
    assert {rate.fixed_rate for rate in new.debt.rates.all()} == {None}


def test_a_renewed_loan_can_be_renewed_again_in_its_own_window(desk: Desk) -> None:
    loan = renew(desk, loan_with_spot(desk, "20000"))
    later = datetime(2026, 2, 25, tzinfo=UTC)
    desks.quote(later)

    assert renew(desk, loan, at=later).renews == loan


# --- The window -------------------------------------------------------------------------------------


def test_the_window_opens_at_midnight_seven_days_before_and_closes_at_expiry(desk: Desk) -> None:
    """R-VIP-40, EX-20: from 24 January 00:00 UTC."""
    loan = loan_with_spot(desk, "10000")
    instant = timedelta(microseconds=1)
    assert renewal.due_amounts(loan, at=TEN).window_opens_at == OPENS

    for at, words in (
        (OPENS - instant, "Renewal opens on 24 January 00:00 UTC, and L-.* until 31 January 10:00 UTC"),
        (EXPIRY, "expired on 31 January 10:00 UTC.* repay it"),
    ):
        desks.quote(at)
        before = everything()
        with pytest.raises(NotRenewable, match=words):
            renew(desk, loan, at=at)
        assert everything() == before

    desks.quote(OPENS)
    renew(desk, loan, at=OPENS)


def test_at_the_last_moment_it_still_renews(desk: Desk) -> None:
    """R-VIP-40"""
    loan = loan_with_spot(desk, "10000")
    at = EXPIRY - timedelta(microseconds=1)
    desks.quote(at)

    assert renew(desk, loan, at=at).due_at == EXPIRY + timedelta(days=30)


def test_an_open_loan_has_nothing_to_renew(desk: Desk) -> None:
    """R-VIP-40"""
    loan = loan_with_spot(desk, "10000", rate_type="flexible", term_days=None)

    with pytest.raises(NotRenewable, match="no expiry"):
        renew(desk, loan)
    assert renewal.due_amounts(loan, at=DAY_26).window_opens_at is None


# --- What must hold ---------------------------------------------------------------------------------


def test_thirty_or_sixty_days(desk: Desk) -> None:
    """R-VIP-42"""
    with pytest.raises(NotRenewable, match="30 or 60"):
        renew(desk, loan_with_spot(desk, "10000"), 45)


def test_only_the_master_renews(desk: Desk) -> None:
    """R-VIP-02"""
    loan = loan_with_spot(desk, "10000")
    before = everything()

    with pytest.raises(MasterOnly):
        renew(desk, loan, asked_by=desk.sub.pk)

    assert everything() == before
    assert renew(desk, loan, asked_by=desk.master.pk).renews == loan


def test_a_group_in_a_call_does_not_renew_and_one_below_it_does(desk: Desk) -> None:
    """R-VIP-41, R-VIP-52, EX-20: at 77 % no, just below it yes."""
    loan = loan_with_spot(desk, "10000")
    owed = 1000000 + INTEREST
    at_the_line = (owed / 25 / Decimal("0.77")).quantize(Decimal("0.000000001"), rounding="ROUND_FLOOR")
    later = DAY_26 + timedelta(seconds=1)
    desks.quote(later, BTC=str(at_the_line))
    before = everything()

    with pytest.raises(groups.NotPermitted, match="renew only below the margin call line of 77 %"):
        renew(desk, loan, at=later)

    assert everything() == before
    desks.quote(later + timedelta(seconds=1), BTC=str(at_the_line + Decimal("0.01")))
    assert renew(desk, loan, at=later + timedelta(seconds=1)).renews == loan


def test_a_stale_price_stops_a_renewal(desk: Desk) -> None:
    """R-GEN-22"""
    loan = loan_with_spot(desk, "10000")
    before = everything()

    with pytest.raises(groups.PriceTooOld):
        renew(desk, loan, at=DAY_26 + timedelta(minutes=5))

    assert everything() == before


def test_a_coin_over_its_limit_does_not_renew(desk: Desk) -> None:
    """R-VIP-41, EX-20"""
    loan = loan_with_spot(desk, "10000")
    desks.loan_limit("USDT", maximum="999999.99", at=TEN + timedelta(days=1))
    before = everything()

    with pytest.raises(CoinOverLimit, match=r"your limit of 999,999\.99 USD .* Or repay part of L-"):
        renew(desk, loan)

    assert everything() == before
    desks.loan_limit("USDT", maximum="1000000", at=TEN + timedelta(days=2))
    assert renew(desk, loan).renews == loan


def test_without_a_published_rate_nothing_is_paid(desk: Desk) -> None:
    """R-VIP-22: the borrower's VIP level has lost its cards; the interest stays where it is."""
    loan = loan_with_spot(desk, "10000")
    people.set_vip_level(customer_id=desk.owner.pk, vip_level=0, actor=BUILDER, at=DAY_26)
    before = everything()

    with pytest.raises(ratecards.NoRate):
        renew(desk, loan)

    assert everything() == before


def test_a_loan_renews_once(desk: Desk) -> None:
    loan = loan_with_spot(desk, "20000")
    renew(desk, loan)
    before = everything()

    with pytest.raises(LoanClosed, match="renewed"):
        renew(desk, loan)

    assert everything() == before
    assert Debt.objects.open().count() == 1


def test_the_interest_is_paid_from_spot_alone(desk: Desk) -> None:
    """R-VIP-41: Fiat pays repayments (R-VIP-34), not renewals."""
    loan = loan_with_spot(desk, "5753.42")
    build.deposit(desk.master, "USDT", "1000", wallet="fiat")

    with pytest.raises(InterestNotCovered):
        renew(desk, loan)


def test_nothing_is_paid_when_no_interest_is_left(desk: Desk) -> None:
    loan = loan_with_spot(desk, "10000")
    repayment.repay(loan_id=loan.pk, amount=INTEREST, actor=desk.borrower, at=DAY_26)
    spot = build.balance(desk.master, "USDT")

    renew(desk, loan)

    assert build.balance(desk.master, "USDT") == spot


# --- Whole refusals, and what goes on -------------------------------------------------------------------


def test_the_window_second_by_second(desk: Desk) -> None:
    """R-VIP-40, EX-20: 23 January 23:59:59 no, 24 January 00:00:00 yes; 31 January 09:59:59 yes, 10:00:00 no."""
    loan = loan_with_spot(desk, "10000")
    second = timedelta(seconds=1)

    open_at = {}
    for at in (OPENS - second, OPENS, OPENS + second, EXPIRY - second, EXPIRY, EXPIRY + second):
        desks.quote(at)
        open_at[at] = renewal.reasons_against(loan, at=at)

    assert [not reasons for reasons in open_at.values()] == [False, True, True, True, False, False]
    assert open_at[OPENS - second] == (
        f"Renewal opens on 24 January 00:00 UTC, and {loan} can be renewed until 31 January 10:00 UTC.",
    )


def test_what_the_page_says_is_what_the_command_refuses(desk: Desk) -> None:
    """R-VIP-41, R-GEN-22: in a call and over its limit; with an old price only that."""
    loan = loan_with_spot(desk, "10000")
    later = DAY_26 + timedelta(seconds=1)
    desks.quote(later, BTC="52000")
    desks.loan_limit("USDT", maximum="999999.99", at=TEN + timedelta(days=1))

    called, over = renewal.reasons_against(loan, at=later)

    with pytest.raises(groups.NotPermitted) as refused:
        renew(desk, loan, at=later)
    assert called == refused.value.message
    assert "above your limit of 999,999.99 USD" in over
    [stale] = renewal.reasons_against(loan, at=DAY_26 + timedelta(hours=1))
    assert "too old" in stale


@pytest.mark.parametrize("what", ["borrow", "full"])
def test_a_frozen_group_does_not_renew(desk: Desk, what: str) -> None:
    """R-VIP-41, R-ADM-04: the reason and until when."""
    loan = loan_with_spot(desk, "10000")
    freezes.place(
        what=what,
        reason="Documents are missing",
        ends_at=DAY_26 + timedelta(days=1),
        group_id=loan.group_id,
        actor=BUILDER,
        at=DAY_26 - timedelta(hours=1),
    )
    before = everything()

    with pytest.raises(freezes.Frozen, match="until 27 January 2026 09:00 UTC.* Documents are missing"):
        renew(desk, loan)

    assert everything() == before


def test_while_repayments_are_closed_the_interest_cannot_be_paid(desk: Desk) -> None:
    """R-VIP-41, R-VIP-45"""
    loan = loan_with_spot(desk, "10000")
    freezes.place(
        what="repay",
        reason="Custody",
        ends_at=DAY_26 + timedelta(days=1),
        actor=BUILDER,
        at=DAY_26 - timedelta(hours=1),
    )
    before = everything()

    with pytest.raises(repayment.RepaymentsClosed, match="until 27 January 2026 09:00 UTC: Custody"):
        renew(desk, loan)

    assert everything() == before
    assert "cannot take repayments in USDT" in renewal.reasons_against(loan, at=DAY_26)[0]


def test_all_the_client_owes_of_the_coin_counts_against_its_own_maximum(desk: Desk) -> None:
    """R-VIP-41, R-GEN-37"""
    loan = loan_with_spot(desk, "10000")
    limit = desks.loan_limit("USDT", at=TEN + timedelta(days=1))
    with acting(BUILDER):
        type(limit).objects.create(
            product="vip",
            asset=limit.asset,
            effective_at=TEN + timedelta(days=2),
            minimum=100,
            maximum=10**7,
            user_maximum=10**6,
        )
    before = everything()

    with pytest.raises(
        CoinOverLimit, match=r"You owe USDT worth 1,005,753\.42 USD, above your limit of 1,000,000"
    ):
        renew(desk, loan)

    assert everything() == before
    repayment.repay(loan_id=loan.pk, amount=INTEREST, actor=desk.borrower, at=DAY_26)
    assert renew(desk, loan).renews == loan


def test_the_new_rate_has_the_clients_spread(desk: Desk) -> None:
    """R-VIP-22, R-VIP-24: fixed in the rate, flexible beside it on the debt."""
    fixed = loan_with_spot(desk, "20000")
    flexible = desks.drawn(desk, "50000", rate_type="flexible")
    with acting(BUILDER):
        ClientTerms.objects.create(
            customer=desk.owner, starts_at=TEN, spread=Decimal("-0.004"), reason="Good history"
        )

    assert renew(desk, fixed).annual_rate == Decimal("0.080")
    new = renew(desk, flexible)

    assert new.annual_rate == Decimal("0.076")
    assert [(rate.fixed_rate, rate.spread) for rate in new.debt.rates.order_by("starts_at")] == [
        (None, 0),
        (None, Decimal("-0.004")),
    ]


def test_the_new_order_stands_on_a_signed_sheet(desk: Desk) -> None:
    """R-VIP-15, R-VIP-42"""
    loan = loan_with_spot(desk, "10000")

    new = renew(desk, loan, 60)

    assert new.sheet is not None
    assert new.sheet_sha256 == new.sheet.sha256 == sheets.digest(new.sheet.body)
    assert (new.sheet.body["renews"], new.sheet.body["term_days"]) == (loan.pk, 60)
    assert new.sheet.body["loans"] == [{"asset": "USDT", "amount": "1000000", "rate": "0.09", "spread": "0"}]
    assert new.sheet.signed_by == desk.borrower.label
    assert sheets.tampered() == []


def test_interest_records_point_to_the_latest_order(desk: Desk) -> None:
    """R-VIP-42: the whole chain's days are one history, and each order knows who carries it now."""
    loan = loan_with_spot(desk, "20000")
    new = renew(desk, loan)
    accrual.accrue(at=datetime(2026, 1, 28, tzinfo=UTC))

    history = [(row.at.day, row.debt.loan) for row in queries.interest_history(new)]

    assert history == [(28, new), (27, new), *((day, loan) for day in range(26, 1, -1))]
    assert [queries.latest_order(each) for each in (loan, new)] == [new, new]
    assert queries.interest_history(loan).count() == 25


# --- R-VIP-25: no switching in place ----------------------------------------------------------------------


@pytest.mark.parametrize("rate_type", ["fixed", "flexible"])
def test_no_command_changes_a_loans_type_of_rate(desk: Desk, rate_type: str) -> None:
    """R-VIP-25: repay, renew, switch auto-repay, accrue, expire: all its segments stay of one type."""
    loan = loan_with_spot(desk, "30000", rate_type=rate_type)
    repayment.repay(loan_id=loan.pk, amount=Decimal(1000), actor=desk.borrower, at=TEN)
    auto_repay.set_auto_repay(loan_id=loan.pk, on=True, actor=desk.borrower, at=TEN)
    new = renew(desk, loan)
    accrual.accrue(at=EXPIRY)
    expiry.expire_due(at=new.debt.due_at or EXPIRY)

    segments = DebtRate.objects.filter(debt__loan__in=[loan, new])
    assert {rate.fixed_rate is None for rate in segments} == {rate_type == "flexible"}
    assert {each.rate_type for each in Loan.objects.all()} == {rate_type}


def test_no_command_on_a_loan_even_takes_a_type_of_rate() -> None:
    """R-VIP-25: of all commands on a loan or debt; opening one is the only place where a type is chosen."""
    on_a_loan = [
        row
        for row in registered.values()
        if {"loan_id", "debt_id"} & set(inspect.signature(row.function).parameters)
    ]

    assert {"vip.repay", "vip.renew", "vip.call_loan"} <= {row.name for row in on_a_loan}
    assert registered["vip.call_loan"].function.__module__ == calling.__name__
    for row in on_a_loan:
        asked = set(inspect.signature(row.function).parameters)
        assert not asked & {"rate_type", "fixed_rate", "spread", "annual_rate"}, row.name


def test_the_database_refuses_to_change_a_rate_or_a_loans_type(desk: Desk) -> None:
    """R-VIP-25"""
    loan = desks.drawn(desk)

    for rows, change in (
        (loan.debt.rates.all(), {"fixed_rate": None}),
        (Loan.objects.all(), {"rate_type": "flexible"}),
    ):
        with pytest.raises(DatabaseError), acting(BUILDER):
            rows.update(**change)

    assert loan.debt.rates.get().fixed_rate == Decimal("0.084")
