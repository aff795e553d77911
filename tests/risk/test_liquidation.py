"""Forced sales: what is taken, in which order, who is paid, what is left. R-GEN-70 to 78"""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from accounts import books
from accounts.commands import acting
from accounts.exchange import exchange
from accounts.ledger import Overdrawn, problems
from accounts.models import Notice
from risk import book, liquidation
from risk.models import CollateralGroup, Debt, Liquidation, MarginCall, Member, RiskEvent, Sale, Settings
from tests import build
from tests.risk.forced_sales import SWEEPER, World, liquidate, owes

D = Decimal
NOON = build.NOON

pytestmark = pytest.mark.django_db


def ex10(*, price: str = "44000", in_pool: str = "") -> Debt:
    """25 BTC for 1,006,904.11 USDT, without interest; the pool is lent out unless `in_pool` says otherwise."""
    debt = build.secured_debt(amount="1006904.11", rate="0")
    if in_pool:
        build.fund_pool("USDT", in_pool)
    build.prices(BTC=price, USDT="1")
    return debt


def test_a_full_liquidation_leaves_the_surplus_where_it_was() -> None:
    """R-GEN-73 (FULL: all that is owed), R-GEN-75, R-GEN-77, EX-10"""
    debt = ex10(in_pool="100")
    [member] = Member.objects.filter(group=debt.group)
    before = build.balance(debt.group.receiver, "USDT")

    row = liquidate(debt.group)

    assert row is not None
    debt.refresh_from_db()
    assert (debt.booked, debt.closed_reason) == (0, Debt.Closed.LIQUIDATED)
    assert (row.status, row.cause, row.ltv) == ("done_surplus", "ltv", D("0.915367372727"))
    assert build.balance(member.account, "BTC") == D("1.65813199")
    [sale] = row.sales.all()
    assert (sale.sold, sale.price, sale.slippage, sale.venue) == (D("23.34186801"), D(44000), 0, "desk")
    assert (sale.mark.asset_id, sale.debt_mark.asset_id) == ("BTC", "USDT")
    assert sale.fee == D("20138.0822")
    # 23.34186801 BTC bring 1,027,042.19244: the crumb above 1,027,042.1922 is the borrower's.
    assert sale.proceeds == D("1027042.19244")
    assert build.balance(member.account, "USDT") == D("0.00024")
    assert owes("USDT") == (0, D("20138.0822"))
    assert build.balance(debt.group.receiver, "USDT") == before  # what was lent stays with the borrower
    assert (books.pool("BTC").balance, books.position("USDT").balance) == (
        D("23.34186801"),
        D("-1027042.19244"),
    )
    assert (row.fee_usd, row.shortfall_usd, row.sold_usd) == (D("20138.0822"), 0, D("1027042.19244"))


def test_the_venue_takes_its_slippage_and_the_fee_base_stays_the_debt() -> None:
    """R-GEN-80, EX-10 with 0.5 % slippage"""
    debt = ex10()
    with acting(SWEEPER):
        Settings.objects.create(effective_at=build.LONG_AGO, slippage=D("0.005"))
    [member] = Member.objects.filter(group=debt.group)

    row = liquidate(debt.group)

    assert row is not None
    [sale] = row.sales.all()
    assert (sale.sold, sale.price, sale.slippage) == (D("23.45916383"), D(43780), D("0.005"))
    assert sale.fee == D("20138.0822")
    assert build.balance(member.account, "BTC") == D("1.54083617")


def test_a_shortfall_takes_no_fee_and_stays_owed_as_residual_debt() -> None:
    """R-GEN-76, R-GEN-78, EX-13"""
    debt = ex10(price="40000")
    [member] = Member.objects.filter(group=debt.group)

    row = liquidate(debt.group)

    assert row is not None
    debt.refresh_from_db()
    assert debt.booked == D("6904.11")
    assert (debt.residual_since, debt.closed_at) == (NOON, None)
    assert (row.status, row.shortfall_usd, row.fee_usd) == ("done_shortfall", D("6904.11"), 0)
    assert owes("USDT") == (D("6904.11"), 0)
    assert build.balance(member.account, "BTC") == 0
    group = CollateralGroup.objects.get(pk=debt.group_id)
    assert group.closed_at == NOON  # the account is free: the next deposit is not sold
    assert not Member.objects.filter(group=group, released_at__isnull=True).exists()


def test_the_fee_takes_what_is_left_and_never_makes_a_shortfall() -> None:
    """R-GEN-76, EX-12: at LTV 99 % the fee gets the last percent, not two"""
    build.secured_debt(amount="990000", rate="0")
    build.prices(BTC="40000", USDT="1")
    debt = Debt.objects.get()

    row = liquidate(debt.group)

    assert row is not None
    debt.refresh_from_db()
    assert (debt.booked, debt.residual_since) == (0, None)
    assert (row.status, row.fee_usd) == ("done_surplus", D(10000))
    assert owes("USDT") == (0, D(10000))


def test_the_debts_own_coin_is_netted_first_then_stable_coins_then_by_rank() -> None:
    """R-GEN-72"""
    for symbol, rank in {"BTC": 2, "ETH": 1, "USDC": 9, "USDT": 9}.items():
        build.ratios(symbol, rank=rank)
    world = World(
        ["BTC", "ETH", "USDC", "USDT"],
        BTC=("10", "0"),
        ETH=("10", "0"),
        USDC=("300", "0"),
        USDT=("200", "0"),
    )
    debt = world.owe("USDT", "1000")
    build.prices(BTC="1000", ETH="40", USDC="1", USDT="1")

    liquidate(world.group)

    # 1,020 with the fee: 200 netted, 300 USDC, 400 of ETH, and 120 out of BTC.
    one = world.first.pk
    assert world.sales() == [
        (one, "USDT", "USDT", D(200)),
        (one, "USDC", "USDT", D(300)),
        (one, "ETH", "USDT", D(10)),
        (one, "BTC", "USDT", D("0.12")),
    ]
    assert Sale.objects.get(coin="USDT").venue == "netting"
    debt.refresh_from_db()
    assert debt.booked == 0
    assert owes("USDT") == (0, D(20))
    assert build.balance(world.first, "BTC") == D("9.88")


def test_each_account_gives_in_proportion_and_the_remainder_comes_from_the_lowest_uid() -> None:
    """R-GEN-72"""
    build.ratios("BTC")
    world = World(["BTC"], BTC=("1", "2"))
    world.owe("USDT", "1000")
    build.fund_pool("USDT", "1")
    build.prices(BTC="700", USDT="1")

    row = liquidate(world.group)

    assert row is not None
    # 1,020 / 700 = 1.45714286 BTC; a third of it is 0.48571428666…
    assert world.sales() == [
        (world.first.pk, "BTC", "USDT", D("0.48571429")),
        (world.second.pk, "BTC", "USDT", D("0.97142857")),
    ]
    assert sum(sale.proceeds for sale in row.sales.all()) == D("1020.000002")
    assert sum(sale.fee for sale in row.sales.all()) == D(20)


def test_debts_are_paid_overdue_first_then_by_expiry_rate_and_id() -> None:
    """R-GEN-71"""
    build.ratios("BTC")
    world = World(["BTC"], BTC=("100", "0"))
    later, sooner = NOON + timedelta(days=30), NOON + timedelta(days=5)
    open_cheap = world.owe("AAA", "10", at=NOON)
    open_dear = world.owe("BBB", "10", at=NOON, rate="0.1")
    due_later = world.owe("CCC", "10", at=NOON, due_at=later)
    due_sooner = world.owe("DDD", "10", at=NOON, due_at=sooner)
    overdue = world.owe("EEE", "10", at=NOON, due_at=later)
    with acting(SWEEPER):
        Debt.objects.filter(pk=overdue.pk).update(overdue_since=later)
    build.prices(BTC="1", AAA="1", BBB="1", CCC="1", DDD="1", EEE="1")

    row = liquidate(world.group)

    assert row is not None
    paid = [sale.debt_id for sale in row.sales.order_by("step") if sale.proceeds > 1]
    assert paid == [overdue.pk, due_sooner.pk, due_later.pk, open_dear.pk, open_cheap.pk]


def test_no_fee_is_taken_before_every_debt_of_the_group_is_repaid() -> None:
    """R-GEN-76: the first debt's fee must not make the second one short"""
    build.ratios("BTC")
    world = World(["BTC"], BTC=("1", "0"))
    first = world.owe("USDC", "500", due_at=NOON + timedelta(days=1))
    second = world.owe("USDT", "500")
    build.prices(BTC="1005", USDC="1", USDT="1")

    row = liquidate(world.group)

    assert row is not None
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.booked, second.booked, row.shortfall_usd) == (0, 0, 0)
    # 0.50248756 BTC are left for the second debt: what they bring above 500 goes to its fee of 10, and no further.
    assert (owes("USDC")[1], owes("USDT")[1]) == (D(0), D("4.9999978"))


def test_with_room_every_debt_pays_its_fee() -> None:
    """R-GEN-75"""
    build.ratios("BTC")
    world = World(["BTC"], BTC=("2", "0"))
    world.owe("USDC", "500", due_at=NOON + timedelta(days=1))
    world.owe("USDT", "300")
    build.prices(BTC="440", USDC="1", USDT="1")

    liquidate(world.group)

    assert (owes("USDC"), owes("USDT")) == ((0, D(10)), (0, D(6)))


def test_only_chosen_coins_are_taken() -> None:
    """R-GEN-34, R-VIP-51"""
    build.ratios("BTC")
    build.ratios("ETH")
    world = World(["BTC"], BTC=("1", "0"), ETH=("10", "0"), USDT=("50", "0"))
    debt = world.owe("USDT", "1000")
    build.prices(BTC="900", ETH="1000", USDT="1")

    liquidate(world.group)

    debt.refresh_from_db()
    assert (debt.booked, debt.residual_since) == (D(100), NOON)
    assert (build.balance(world.first, "ETH"), build.balance(world.first, "USDT")) == (D(10), D(50))


def test_dust_that_cannot_bring_one_unit_is_left_alone() -> None:
    """R-GEN-77"""
    build.asset("JPY", places=0, kind="fiat")
    for symbol in ("BTC", "ETH"):
        build.ratios(symbol)
    world = World(["BTC", "ETH"], BTC=("0.0001", "0"), ETH=("1", "0"))
    debt = world.owe("JPY", "100")
    build.prices(BTC="10", ETH="0.5", JPY="0.01")

    liquidate(world.group)

    debt.refresh_from_db()
    assert (debt.booked, debt.residual_since) == (D(50), NOON)
    assert world.sales() == [(world.first.pk, "ETH", "JPY", D(1))]
    assert build.balance(world.first, "BTC") == D("0.0001")


def test_a_pool_lent_out_to_the_last_coin_does_not_stop_a_liquidation() -> None:
    """R-GEN-77: the crumb above whole units waits for nobody"""
    debt = ex10()
    assert books.pool("USDT").balance == 0
    [member] = Member.objects.filter(group=debt.group)
    build.price("BTC", "44000.13", at=NOON + timedelta(seconds=1))

    row = liquidate(debt.group, at=NOON + timedelta(seconds=1))

    assert row is not None
    debt.refresh_from_db()
    assert debt.booked == 0
    assert build.balance(member.account, "USDT") == 0
    assert not problems()


def test_charges_that_are_due_are_booked_and_repaid_too() -> None:
    """R-GEN-40, R-VIP-31: the group owes what has accrued, whether or not the midnight job came"""
    debt = build.secured_debt()  # 1,000,000 at 8.4 % from 1 January, 10:00
    at = datetime(2026, 1, 4, 12, tzinfo=NOON.tzinfo)
    build.prices(at, BTC="43000", USDT="1")

    row = liquidate(debt.group, at=at)

    assert row is not None
    debt.refresh_from_db()
    assert (debt.booked, debt.accrued_through) == (0, datetime(2026, 1, 4, tzinfo=NOON.tzinfo))
    assert books.interest_income("USDT").balance == 3 * D("230.13698631")
    assert row.debt_value == D(1000000) + 3 * D("230.13698631")


def test_an_old_collateral_price_is_passed_over_and_keeps_the_debt_in_the_group() -> None:
    """R-GEN-22: nothing is sold on an old price, and what it may be worth still secures the debt"""
    build.ratios("BTC", rank=2)
    build.ratios("ETH", rank=1)
    world = World(["BTC", "ETH"], BTC=("1", "0"), ETH=("1", "0"))
    debt = world.owe("USDT", "1000")
    build.prices(NOON - timedelta(days=1), ETH="10")
    build.prices(BTC="900", USDT="1")

    row = liquidate(world.group)

    assert row is not None
    debt.refresh_from_db()
    assert (debt.booked, debt.residual_since, debt.closed_at) == (D(100), None, None)
    assert (row.status, row.shortfall_usd) == ("done_shortfall", 0)
    assert world.sales() == [(world.first.pk, "BTC", "USDT", D(1))]
    assert liquidate(world.group) is None  # nothing fresh is left: it waits
    assert Liquidation.objects.count() == 1

    later = NOON + timedelta(minutes=1)
    build.prices(later, ETH="10", USDT="1")
    liquidate(world.group, at=later)
    debt.refresh_from_db()
    assert (debt.booked, debt.residual_since) == (D(90), later)


def test_a_debt_without_any_collateral_becomes_residual() -> None:
    """R-GEN-78"""
    build.ratios("BTC")
    world = World(["BTC"])
    debt = world.owe("USDT", "1000")
    build.prices(BTC="900", USDT="1")

    row = liquidate(world.group)

    assert row is not None
    debt.refresh_from_db()
    assert (debt.booked, debt.residual_since, row.ltv, row.sold_usd) == (D(1000), NOON, None, 0)


def test_the_record_keeps_what_there_was_and_the_customer_is_told_once() -> None:
    """R-GEN-61, R-GEN-81"""
    debt = ex10()
    with acting(SWEEPER):
        MarginCall.objects.create(group=debt.group, opened_at=NOON, last_notice_at=NOON)

    row = liquidate(debt.group)

    assert row is not None
    [wallet] = row.snapshot["wallets"]
    assert wallet["asset"] == "BTC"
    assert D(wallet["balance"]) == 25
    assert row.snapshot["debts"][0]["principal"] == "1006904.11000000"
    assert row.snapshot["lines"]["liquidation"] == "0.910000000000"
    assert {"BTC", "USDT"} == set(row.snapshot["prices"])
    kinds = list(RiskEvent.objects.filter(group=debt.group).order_by("pk").values_list("kind", flat=True))
    assert kinds == [
        "debt_opened",
        "liquidation_started",
        "debt_closed",
        "liquidation_ended",
        "call_ended",
        "closed",
    ]
    [notice] = Notice.objects.all()
    assert notice.kind == "liquidation"
    assert "23.34186801 BTC" in notice.body
    assert MarginCall.objects.get().ended == "liquidated"


def test_a_failure_in_the_middle_leaves_everything_as_it_was() -> None:
    """R-GEN-70: all of it or nothing"""
    build.ratios("BTC")
    world = World(["BTC"], BTC=("1", "2"))
    debt = world.owe("USDT", "1000")
    build.prices(BTC="350", USDT="1")
    with acting(SWEEPER):
        state = book.state_of(CollateralGroup.objects.locked(world.group.pk)[0], at=NOON)
    # Between the reading and the sale coins leave past the gate: the ledger refuses the second seizure.
    exchange().pay_out(wallet=books.wallet(world.second, "BTC"), amount=D("1.9"), key="gone", at=NOON)

    with pytest.raises(Overdrawn), acting(SWEEPER):
        liquidation.liquidate(state=state, at=NOON)

    debt.refresh_from_db()
    assert (debt.booked, debt.closed_at) == (D(1000), None)
    assert (build.balance(world.first, "BTC"), build.balance(world.second, "BTC")) == (D(1), D("0.1"))
    assert not Liquidation.objects.exists()
    assert not Sale.objects.exists()
