"""Liquidations in steps: one step per pass, deposits and repayments in between, the end. R-GEN-70, 73 to 76, 81"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest

from accounts import books
from accounts.commands import acting
from accounts.ledger import problems
from accounts.models import JournalEntry, Notice
from accounts.money import round_down, round_up
from risk import debts, gate, groups, liquidation, overdue_sales
from risk.models import CollateralGroup, Debt, Liquidation, MarginCall, Member, RiskEvent
from tests import build
from tests.risk.forced_sales import SWEEPER, World, carry_on, liquidate, owes, stepped

D = Decimal
NOON = build.NOON
BY = {"actor": SWEEPER, "at": NOON}

pytestmark = pytest.mark.django_db


def ex11(*, price: str = "44000", **rule: str) -> Debt:
    """25 BTC for 1,006,904.11 USDT, without interest; in steps of at most half the debt."""
    debt = build.secured_debt(amount="1006904.11", rate="0")
    build.fund_pool("USDT", "1000")
    build.prices(BTC=price, USDT="1")
    stepped(**rule)
    return debt


def started(debt: Debt) -> Liquidation:
    row = liquidate(debt.group)
    assert row is not None
    return row


def member_of(debt: Debt) -> Member:
    return Member.objects.get(group=debt.group)


def repaid(row: Liquidation) -> list[Decimal]:
    """By step, up to the cent."""
    return [round_up(sale.proceeds - sale.fee, 2) for sale in row.sales.order_by("step")]


def booked(debt: Debt) -> Decimal:
    debt.refresh_from_db()
    return debt.booked


def kinds(debt: Debt) -> list[str]:
    return list(RiskEvent.objects.filter(group=debt.group).order_by("pk").values_list("kind", flat=True))


@contextmanager
def nothing_happens() -> Iterator[None]:
    before = JournalEntry.objects.count(), Liquidation.objects.count()
    yield
    assert (JournalEntry.objects.count(), Liquidation.objects.count()) == before


def test_three_steps_bring_it_to_the_initial_line() -> None:
    """R-GEN-73, R-GEN-74, EX-11: 503,452.06, 251,726.03 and 53,948.84; 85.84, 76.35 and 72.00 %"""
    debt = ex11()
    row = started(debt)
    assert (row.status, row.mode, row.target, row.steps) == ("running", "stepped", D("0.72"), 1)
    row = carry_on(row)
    assert (row.status, row.steps) == ("running", 2)
    row = carry_on(row)

    assert (row.status, row.steps, row.ended_at) == ("stopped_healthy", 3, NOON)
    assert repaid(row) == [D("503452.06"), D("251726.03"), D("53948.84")]
    assert round_up(sum(sale.proceeds for sale in row.sales.all()), 2) == D(
        "825309.47"
    )  # 825,309.4603: crumbs
    assert round_down(booked(debt), 2) == D("197777.18")
    assert (debt.closed_at, debt.residual_since) == (None, None)
    assert build.balance(member_of(debt).account, "BTC") == D("6.24296678")
    assert row.end_ltv is not None
    assert round_up(row.end_ltv, 5) == D("0.72000")
    assert round_down(row.fee_usd, 2) == round_down(owes("USDT")[1], 2) == D("16182.53")
    assert (row.ltv, row.shortfall_usd) == (D("0.915367372727"), 0)
    assert CollateralGroup.objects.get(pk=debt.group_id).closed_at is None


def test_the_record_keeps_the_start_the_steps_and_the_end() -> None:
    """R-GEN-61, R-GEN-70, R-GEN-81: one event per step; told at its beginning and its end"""
    debt = ex11()
    with acting(SWEEPER):
        MarginCall.objects.create(group=debt.group, opened_at=NOON, last_notice_at=NOON)
    row = started(debt)
    assert MarginCall.objects.get().ended == "liquidated"
    [begun] = Notice.objects.all()
    assert begun.title.endswith("is being sold in steps")
    assert "Deposits and repayments are accepted" in begun.body
    row = carry_on(carry_on(row))

    assert kinds(debt) == [
        "debt_opened",
        "liquidation_started",
        "liquidation_step",
        "call_ended",
        "liquidation_step",
        "liquidation_step",
        "liquidation_ended",
    ]
    ltvs = RiskEvent.objects.filter(kind="liquidation_step").order_by("pk").values_list("ltv", flat=True)
    assert [round_down(100 * ltv, 2) for ltv in ltvs] == [D("85.84"), D("76.34"), D("71.99")]
    assert row.snapshot["wallets"][0]["balance"] == "25.00000000"
    ended = Notice.objects.latest("pk")
    assert ended.title.endswith("stopped: LTV is back at its target")
    assert "Still owed, and secured as before:\n  197777.1" in ended.body
    assert Notice.objects.count() == 2


def test_while_it_runs_the_accounts_are_locked_but_take_deposits() -> None:
    """R-GEN-70"""
    debt = ex11()
    account = member_of(debt).account
    row = started(debt)

    with pytest.raises(groups.NotPermitted), nothing_happens():
        gate.withdraw(account_uid=account.uid, asset="BTC", amount=D("0.1"), address="bc1q", **BY)
    with pytest.raises(groups.NotPermitted), nothing_happens():
        gate.trade(account_uid=account.uid, sell="BTC", amount=D("0.1"), buy="USDT", **BY)
    with pytest.raises(groups.NotPermitted), nothing_happens():
        groups.remove_account(group_id=debt.group_id, uid=account.uid, **BY)
    gate.deposit(account_uid=account.uid, asset="BTC", amount=D("0.5"), **BY)
    assert Liquidation.objects.get(pk=row.pk).status == "running"


def test_a_deposit_between_steps_makes_the_next_one_smaller() -> None:
    """R-GEN-70, R-GEN-74: 2 BTC more; x = (503,452.055 - 0.72 x 674,478.90) / 0.2656"""
    debt = ex11()
    row = started(debt)
    gate.deposit(account_uid=member_of(debt).account_id, asset="BTC", amount=D(2), **BY)

    row = carry_on(row)

    assert (row.status, row.steps) == ("stopped_healthy", 2)
    assert repaid(row)[1] == D("67120.65")
    assert row.end_ltv is not None
    assert D("0.71999") < row.end_ltv <= D("0.72")


def test_a_repayment_between_steps_is_taken_and_the_next_step_is_what_is_still_needed() -> None:
    """R-GEN-70, R-GEN-73: what 453,452.055 still need; without the repayment it was 251,726.03"""
    debt = ex11()
    row = started(debt)
    _repay(debt, "50000")

    row = carry_on(row)

    assert (row.status, repaid(row)[1]) == ("stopped_healthy", D("117421.86"))


def _repay(debt: Debt, amount: str) -> None:
    with acting(SWEEPER):
        [locked] = Debt.objects.locked(debt.pk)
        wallet = books.wallet(debt.group.receiver, "USDT")
        debts.take_payment(debt=locked, amount=D(amount), wallets=[wallet], reference="test:repay", at=NOON)


@pytest.mark.parametrize("how", ["price", "repayment", "deposit"])
def test_it_stops_without_a_further_sale_once_ltv_is_at_its_target(how: str) -> None:
    """R-GEN-70: healed by the market, by a repayment or by a deposit"""
    debt = ex11()
    row = started(debt)
    later = NOON + timedelta(seconds=5)
    build.prices(later, USDT="1", BTC="52500" if how == "price" else "44000")
    if how == "repayment":
        _repay(debt, "82000")
    if how == "deposit":
        gate.deposit(
            account_uid=member_of(debt).account_id, asset="BTC", amount=D(3), actor=SWEEPER, at=later
        )

    row = carry_on(row, at=later)

    assert (row.status, row.steps, row.sales.count(), row.ended_at) == ("stopped_healthy", 1, 1, later)
    assert booked(debt) > 0
    assert debt.closed_at is None


def test_a_group_that_repaid_everything_between_steps_ends_it_and_is_released() -> None:
    """R-GEN-34, R-GEN-70"""
    debt = ex11()
    row = started(debt)
    _repay(debt, f"{booked(debt):f}")

    row = carry_on(row)

    assert (row.status, row.end_ltv, row.sales.count()) == ("stopped_healthy", 0, 1)
    assert CollateralGroup.objects.get(pk=debt.group_id).closed_at == NOON


def test_an_old_price_pauses_it_between_steps() -> None:
    """R-GEN-22: neither a debt nor a coin is valued on it"""
    debt = ex11()
    row = started(debt)
    later = NOON + timedelta(hours=1)
    with nothing_happens():
        assert carry_on(row, at=later).status == "running"  # USDT and BTC are old
    build.price("USDT", "1", at=later)
    with nothing_happens():
        assert carry_on(row, at=later).status == "running"  # BTC may be worth twice as much by now
    build.price("BTC", "44000", at=later)
    assert carry_on(row, at=later).steps == 2


def test_a_coin_with_an_old_price_is_passed_over_while_it_cannot_matter() -> None:
    """R-GEN-22: 1 ETH, even at twice 100, leaves LTV above the target; it counts 200 in every step"""
    debt = ex11()
    build.ratios("ETH")
    build.deposit(member_of(debt).account, "ETH", "1", at=build.LONG_AGO)
    with acting(SWEEPER):
        debt.group.coins.create(asset_id="ETH", since=NOON)
    build.price("ETH", "100", at=NOON - timedelta(days=1))

    row = carry_on(carry_on(started(debt)))

    # Sold down to the target with ETH at 200; whether it is there depends on ETH, so it waits for its price.
    assert (row.status, row.steps, {sale.coin_id for sale in row.sales.all()}) == ("running", 3, {"BTC"})
    with nothing_happens():
        assert carry_on(row).status == "running"
    build.price("ETH", "150")
    assert carry_on(row).steps == 4
    assert Liquidation.objects.get().status == "stopped_healthy"


def test_above_the_cut_off_the_rest_is_sold_at_once() -> None:
    """R-GEN-41, R-GEN-73: BTC falls to 38,800 between steps; LTV 97.35 %"""
    debt = ex11()
    row = started(debt)
    later = NOON + timedelta(seconds=5)
    build.prices(later, BTC="38800", USDT="1")

    row = carry_on(row, at=later)

    assert (row.status, row.mode, row.steps, booked(debt)) == ("done_surplus", "stepped", 2, 0)
    assert debt.closed_reason == Debt.Closed.LIQUIDATED
    assert row.end_ltv == 0


def test_above_the_cut_off_from_the_start_there_are_no_steps() -> None:
    """R-GEN-41: 1,006,904.11 against 1,050,000 is 95.9 %"""
    row = started(ex11(price="42000"))
    assert (row.status, row.mode, row.target, row.steps) == ("done_surplus", "full", None, 1)


def test_fees_of_earlier_steps_are_given_back_when_it_ends_short() -> None:
    """R-GEN-76, R-GEN-78: BTC at 35,000 after the first step; its fee of 10,069.04 repays the debt"""
    debt = ex11()
    row = started(debt)
    assert owes("USDT")[1] == D("10069.0411")
    later = NOON + timedelta(seconds=5)
    build.prices(later, BTC="35000", USDT="1")

    row = carry_on(row, at=later)

    # 503,452.055 owed; 13.32906599 BTC bring 466,517.30965; the fee covers 10,069.0411 of the rest.
    assert booked(debt) == D("503452.055") - D("466517.30965") - D("10069.0411")
    assert (row.status, debt.residual_since, row.fee_usd) == ("done_shortfall", later, 0)
    assert owes("USDT") == (booked(debt), 0)
    assert row.shortfall_usd == booked(debt)
    assert JournalEntry.objects.filter(reference__endswith=":fee-back").count() == 1
    assert not problems()


def test_only_as_much_of_the_fees_is_given_back_as_is_short() -> None:
    """R-GEN-76: 503,452.055 owed and 13.32906599 BTC at 37,500 bring 499,839.97; 3,612.08 of the fee are enough"""
    debt = ex11()
    row = started(debt)
    later = NOON + timedelta(seconds=5)
    build.prices(later, BTC="37500", USDT="1")

    row = carry_on(row, at=later)

    assert (row.status, booked(debt), debt.closed_reason) == ("done_surplus", 0, Debt.Closed.LIQUIDATED)
    assert round_up(row.fee_usd, 2) == round_up(owes("USDT")[1], 2) == D("6456.97")
    assert row.shortfall_usd == 0


def test_a_fee_in_another_coin_covers_the_debt_at_what_it_was_worth() -> None:
    """R-GEN-71, R-GEN-76: the USDC debt is repaid first, with its fee; the USDT debt ends short and gets it"""
    build.ratios("BTC")
    world = World(["BTC"], BTC=("1", "0"))
    first = world.owe("USDC", "500", due_at=NOON + timedelta(days=1))
    second = world.owe("USDT", "415")
    build.prices(BTC="1000", USDC="0.999", USDT="1")
    stepped(step_share="0.6", full_below_usd="0")

    row = liquidate(world.group)
    assert row is not None
    assert owes("USDC") == (0, D(10))  # and 49 of the USDT debt
    later = NOON + timedelta(seconds=5)
    build.prices(later, BTC="700", USDC="0.5", USDT="1")
    row = carry_on(row, at=later)

    first.refresh_from_db()
    assert first.closed_reason == Debt.Closed.LIQUIDATED
    # 365.8 USDT owed; 0.440326 BTC bring 308.2282; 0.984 USDT of fee come back, and 10 USDC that were worth 9.99.
    assert (row.status, booked(second)) == ("done_shortfall", D("46.5978"))
    assert (owes("USDC")[1], owes("USDT")[1], row.fee_usd) == (0, 0, 0)
    assert not problems()


def test_when_two_debts_end_short_the_first_gets_the_fees_and_the_second_the_rest_of_them() -> None:
    """R-GEN-71, R-GEN-76, R-GEN-78: nothing is left for the USDC debt, and it is over all the same"""
    build.ratios("BTC")
    world = World(["BTC"], BTC=("25", "0"))
    first = world.owe("USDT", "900000", due_at=NOON + timedelta(days=1))
    second = world.owe("USDC", "106904.11")
    build.prices(BTC="44000", USDC="1", USDT="1")
    stepped()
    row = started(first)
    fee = owes("USDT")[1]
    assert (booked(first), fee) == (D("396547.945"), D("10069.0411"))

    later = NOON + timedelta(seconds=5)
    build.prices(later, BTC="20000", USDC="1", USDT="1")
    row = carry_on(row, at=later)
    assert (row.status, row.steps, row.fee_usd, owes("USDT")[1]) == ("done_shortfall", 2, 0, 0)
    sold = sum(sale.proceeds for sale in row.sales.filter(at=later))
    assert (booked(first), booked(second)) == (D("396547.945") - sold - fee, D("106904.11"))
    assert first.residual_since == second.residual_since == later
    assert not problems()


def test_debt_so_small_that_it_is_not_worth_a_step_is_repaid_whole() -> None:
    """R-GEN-73: 200 USD left or less is nothing to go on with"""
    build.secured_debt(btc="0.01", amount="400", rate="0")
    build.prices(BTC="43500", USDT="1")
    stepped()
    row = liquidate(CollateralGroup.objects.get())
    assert row is not None
    assert (row.status, row.steps, Debt.objects.get().booked) == ("done_surplus", 1, 0)
    assert not Notice.objects.filter(event__endswith="begun").exists()  # it was over before it could be told


def test_dust_that_pays_the_debt_but_not_the_fee_is_not_sold_for_ever() -> None:
    """R-GEN-73, R-GEN-76: 1 yen owed, collateral that brings 1.06: nothing is left for a fee, and it is over"""
    build.asset("JPY", places=0, kind="fiat")
    build.ratios("BTC")
    world = World(["BTC"], BTC=("1", "0"))
    debt = world.owe("JPY", "1")
    build.prices(BTC="0.0106", JPY="0.01")
    stepped()

    row = liquidate(world.group)

    assert row is not None
    assert (row.status, row.steps, row.fee_usd, booked(debt)) == ("done_surplus", 1, 0, 0)


def test_a_target_of_its_own_and_a_share_of_its_own() -> None:
    """R-GEN-73, R-VIP-63: stepped is available per client, to 77 %: 71.7 % of the debt from 91 %, at one stroke"""
    debt = build.secured_debt(btc="25", amount="1001000", rate="0")
    build.prices(BTC="44000", USDT="1")
    stepped(customer=debt.customer, target=D("0.77"), step_share=D(1))
    row = started(debt)
    assert (row.status, row.steps, row.target) == ("stopped_healthy", 1, D("0.77"))
    assert (100 * repaid(row)[0] / D("1001000")).quantize(D("0.1")) == D("71.7")


@pytest.mark.parametrize(
    ("base", "fee"),
    [("debt_repaid", "20138.0822"), ("collateral_sold", "20549.06346"), ("start_assets", "22000")],
)
def test_the_fee_is_of_the_base_that_is_in_force(base: str, fee: str) -> None:
    """R-GEN-75, EX-10: 2 % of 1,006,904.11 repaid, of 1,027,453.17 sold, of the 1,100,000 at the start"""
    debt = ex11(mode="full", fee_base=base)
    row = started(debt)
    assert (row.fee_base, row.status, row.mode) == (base, "done_surplus", "full")
    assert round_down(row.fee_usd, 5) == D(fee)


def test_the_fee_of_the_starts_assets_comes_in_steps_too() -> None:
    """R-GEN-75: half the debt repaid earns half of 2 % of 1,100,000"""
    row = started(ex11(fee_base="start_assets"))
    assert row.status == "running"
    assert round_down(row.fee_usd, 4) == D("11000")


def test_an_overdue_debt_waits_for_the_end_of_a_running_liquidation() -> None:
    """R-GEN-70, R-VIP-45: one liquidation of a group at a time"""
    debt = build.secured_debt(amount="1006904.11", rate="0", due_at=NOON - timedelta(days=8))
    build.prices(BTC="44000", USDT="1")
    stepped()
    with acting(SWEEPER):
        Debt.objects.filter(pk=debt.pk).update(overdue_since=debt.due_at)
    started(debt)
    with pytest.raises(liquidation.AlreadyRunning, match="waits for its end"), nothing_happens():
        overdue_sales.liquidate_overdue(debt_id=debt.pk, actor=SWEEPER, at=NOON)
