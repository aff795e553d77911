"""The end of the overdue period: that loan's debt, the loan coin first, only what is owed. R-VIP-45, R-GEN-22"""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from accounts import books
from accounts.commands import acting
from accounts.exchange import exchange
from accounts.models import Asset
from risk import debts, groups, overdue_sales
from risk.models import CollateralGroup, Debt, Liquidation, Member
from tests import build
from tests.risk.forced_sales import SWEEPER, owes

D = Decimal
NOON = build.NOON

pytestmark = pytest.mark.django_db

DUE = datetime(2026, 1, 31, 10, tzinfo=NOON.tzinfo)
OVER = DUE + timedelta(hours=168)


def overdue(*, btc: str = "25", keep: str = "0") -> Debt:
    """EX-01's loan, unpaid since 31 January; the receiver keeps `keep` USDT of what it was lent."""
    debt = build.secured_debt(btc=btc, due_at=DUE)
    wallet = books.wallet(debt.group.receiver, "USDT")
    if D(keep) < wallet.balance:
        exchange().pay_out(wallet=wallet, amount=wallet.balance - D(keep), key="spent", at=build.NOON)
    with acting(SWEEPER):
        debts.bring_up_to_date(Debt.objects.locked(debt.pk), at=DUE)
        [locked] = Debt.objects.locked(debt.pk)
        debts.mark_overdue(locked, at=DUE)
    return debt


def run(debt: Debt, *, at: datetime = OVER) -> Liquidation:
    return overdue_sales.liquidate_overdue(debt_id=debt.pk, actor=SWEEPER, at=at)


def test_at_the_end_of_the_overdue_period_only_what_is_owed_is_sold_at_any_ltv() -> None:
    """R-VIP-45, EX-06: healthy at LTV 40 %; seven late days; the fee is 2 % of what the sale repays"""
    debt = overdue()
    build.prices(OVER, BTC="100000", USDT="1")
    [member] = Member.objects.filter(group=debt.group)

    row = run(debt)

    owed = D(1000000) + 30 * D("230.13698631") + 7 * D("690.41095891")
    fee = (owed * D("0.02")).quantize(D("1e-8"), rounding="ROUND_CEILING")
    sold = ((owed + fee) / 100000).quantize(D("1e-8"), rounding="ROUND_CEILING")
    debt.refresh_from_db()
    assert (debt.booked, debt.closed_reason) == (0, "liquidated")
    assert (row.cause, row.debt_id, row.status) == ("overdue", debt.pk, "done_surplus")
    assert owes("USDT") == (0, fee)
    assert build.balance(member.account, "BTC") == 25 - sold
    assert CollateralGroup.objects.get(pk=debt.group_id).closed_at == OVER


def test_one_second_early_nothing_is_taken() -> None:
    """R-VIP-45, R-VIP-44: 168 hours are 168 hours"""
    debt = overdue()
    early = OVER - timedelta(seconds=1)
    build.prices(early, BTC="100000", USDT="1")

    with pytest.raises(overdue_sales.NotOverdue, match="may be repaid until 2026-02-07 10:00 UTC"):
        run(debt, at=early)
    assert overdue_sales.run_overdue(at=early) == overdue_sales.OverdueReport((), (), ())

    debt.refresh_from_db()
    assert (debt.principal, debt.closed_at) == (D(1000000), None)
    assert not Liquidation.objects.exists()


def test_an_outage_grace_holds_for_overdue_loans_too() -> None:
    """R-GEN-24: prices were out; the borrower gets time before anything is sold"""
    debt = overdue()
    build.prices(OVER, BTC="100000", USDT="1")
    until = OVER + timedelta(minutes=30)
    with acting(SWEEPER):
        CollateralGroup.objects.filter(pk=debt.group_id).update(grace_until=until)

    with pytest.raises(overdue_sales.InGrace, match="nothing of"):
        run(debt)
    assert not Liquidation.objects.exists()

    build.prices(until, BTC="100000", USDT="1")
    assert run(debt, at=until).status == "done_surplus"


def test_the_loan_coin_is_taken_first_and_without_a_fee() -> None:
    """R-VIP-45: 400,000 from the receiver's Spot, 100,000 of chosen collateral, the rest by sale with a fee"""
    debt = overdue(keep="400000")
    [member] = Member.objects.filter(group=debt.group)
    with acting(SWEEPER):
        debt.group.coins.create(asset=Asset.objects.get(pk="USDT"), since=build.LONG_AGO)
    build.deposit(member.account, "USDT", "100000")
    build.prices(OVER, BTC="100000", USDT="1")

    row = run(debt)

    owed = D(1000000) + 30 * D("230.13698631") + 7 * D("690.41095891")
    by_sale = owed - 500000
    assert build.balance(debt.group.receiver, "USDT") == 0
    assert owes("USDT") == (0, (by_sale * D("0.02")).quantize(D("1e-8"), rounding="ROUND_CEILING"))
    taken = [(sale.account_id, sale.coin_id, sale.fee > 0) for sale in row.sales.order_by("step")]
    assert taken == [
        (debt.group.receiver_id, "USDT", False),
        (member.account_id, "USDT", False),
        (member.account_id, "BTC", True),
    ]


def test_when_the_receiver_can_pay_all_of_it_nothing_is_sold_and_no_fee_taken() -> None:
    """R-VIP-45"""
    debt = overdue(keep="1000000")
    build.deposit(debt.group.receiver, "USDT", "100000")
    [member] = Member.objects.filter(group=debt.group)
    build.prices(OVER, BTC="100000", USDT="1")

    run(debt)

    owed = D(1000000) + 30 * D("230.13698631") + 7 * D("690.41095891")
    assert build.balance(debt.group.receiver, "USDT") == 1100000 - owed
    assert build.balance(member.account, "BTC") == 25
    assert owes("USDT") == (0, 0)


def test_a_receiver_that_secures_another_group_keeps_its_coins() -> None:
    """R-VIP-45, R-GEN-12: they are that group's collateral"""
    debt = overdue(keep="400000")
    other = build.account(debt.group.customer)
    build.group(other, [debt.group.receiver], ["USDT"])
    build.prices(OVER, BTC="100000", USDT="1")

    run(debt)

    assert build.balance(debt.group.receiver, "USDT") == D(400000)
    debt.refresh_from_db()
    assert debt.booked == 0


def test_collateral_that_is_too_short_leaves_a_residual_debt() -> None:
    """R-VIP-45, R-GEN-76, R-GEN-78"""
    debt = overdue(btc="10")
    build.prices(OVER, BTC="90000", USDT="1")

    row = run(debt)

    owed = D(1000000) + 30 * D("230.13698631") + 7 * D("690.41095891")
    debt.refresh_from_db()
    assert (debt.booked, debt.residual_since) == (owed - 900000, OVER)
    assert (row.status, row.fee_usd) == ("done_shortfall", 0)


@pytest.mark.parametrize("old", ["BTC", "USDT"])
def test_it_waits_for_a_fresh_price_of_what_is_sold_and_of_what_is_owed(old: str) -> None:
    """R-VIP-45, R-GEN-22: and nothing at all is taken meanwhile"""
    debt = overdue(keep="400000")
    fresh = {"BTC": "100000", "USDT": "1"}
    build.prices(OVER - timedelta(days=1), **{old: fresh.pop(old)})
    build.prices(OVER, **fresh)

    with pytest.raises(groups.PriceTooOld, match=old):
        run(debt)
    assert overdue_sales.run_overdue(at=OVER).waiting == (debt.pk,)

    debt.refresh_from_db()
    assert (debt.principal, debt.accrued_through) == (D(1000000), datetime(2026, 1, 31, tzinfo=NOON.tzinfo))
    assert build.balance(debt.group.receiver, "USDT") == D(400000)
    assert not Liquidation.objects.exists()


def test_what_was_repaid_or_never_overdue_is_refused() -> None:
    """R-VIP-45: in words, and nothing moves"""
    healthy = build.secured_debt(due_at=DUE)
    build.prices(OVER, BTC="100000", USDT="1")
    with pytest.raises(overdue_sales.NotOverdue, match="is not overdue"):
        run(healthy)

    debt = overdue(keep="1000000")
    wallet = books.wallet(debt.group.receiver, "USDT")
    build.deposit(debt.group.receiver, "USDT", "50000")
    with acting(SWEEPER):
        [locked] = Debt.objects.locked(debt.pk)
        debts.bring_up_to_date([locked], at=OVER)
        debts.take_payment(debt=locked, amount=locked.booked, wallets=[wallet], reference="paid", at=OVER)
    with pytest.raises(overdue_sales.NotOverdue, match="nothing is owed"):
        run(debt)
    assert not Liquidation.objects.exists()
    assert overdue_sales.run_overdue(at=OVER).liquidated == ()


def test_the_other_debts_of_the_group_stay_and_so_does_their_collateral() -> None:
    """R-VIP-45: that loan's debt, not the group's"""
    debt = overdue()
    build.fund_pool("USDC", "1000")
    other = build.debt(debt.group, "USDC", "1000", rate="0")
    build.prices(OVER, BTC="100000", USDT="1", USDC="1")

    report = overdue_sales.run_overdue(at=OVER)

    assert report.liquidated == (debt.pk,)
    other.refresh_from_db()
    assert (other.booked, other.closed_at) == (D(1000), None)
    group = CollateralGroup.objects.get(pk=debt.group_id)
    assert group.closed_at is None
    assert Member.objects.filter(group=group, released_at__isnull=True).exists()
    assert overdue_sales.run_overdue(at=OVER).liquidated == ()  # a second message finds nothing
