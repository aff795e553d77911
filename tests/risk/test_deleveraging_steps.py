"""Steps of chosen de-leveraging in the sweep: when they are taken, what stops them, what they leave alone. R-FTR-05"""

from datetime import datetime, timedelta

import pytest

from accounts.commands import acting
from accounts.ledger import problems
from accounts.models import Notice
from accounts.money import round_down
from risk import (
    book,
    delays,
    deleveraging,
    faults,
    gate,
    groups,
    overdue_sales,
    parameters,
    screen,
    sweep,
)
from risk.models import (
    CollateralGroup,
    Debt,
    Freeze,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    RiskEvent,
    Sale,
    Settings,
)
from tests import build
from tests.risk.chosen import NOON, SECOND, D, chosen, ltv_of, nothing_moves, owing, passes
from tests.risk.forced_sales import SWEEPER, owes, stepped

pytestmark = pytest.mark.django_db


# --- The steps --------------------------------------------------------------------------------------


def test_one_step_repays_its_share_for_the_lower_fee() -> None:
    """R-FTR-05, R-GEN-74, R-GEN-76: at 83.33 % a tenth: 100,000 and 500 of fee for 2.09375 BTC at 48,000"""
    debt = owing()
    chosen(debt)
    reports = passes(2)

    assert [report.softened for report in reports] == [0, 1]  # seen, and confirmed by the next
    assert [report.liquidated for report in reports] == [0, 0]
    row = Liquidation.objects.get()
    assert (row.cause, row.mode, row.status, row.steps) == ("soft", "stepped", "stopped_healthy", 1)
    assert row.started_at == row.ended_at == NOON + 5 * SECOND
    [sale] = row.sales.all()
    assert (sale.sold, sale.proceeds, sale.fee) == (D("2.09375"), D(100_500), D(500))
    debt.refresh_from_db()
    assert (debt.booked, owes("USDT")) == (D(900_000), (D(900_000), D(500)))
    assert (row.sold_usd, row.fee_usd, row.shortfall_usd) == (100_500, 500, 0)
    # 900,000 against 22.90625 BTC, 1,099,500
    assert row.end_ltv == ltv_of(debt, at=row.started_at) == D("0.818553888130")
    assert (D(row.snapshot["lines"]["fee"]), row.target) == (D("0.005"), D("0.76"))
    assert not faults.found()
    assert not problems()


def test_below_its_start_nothing_is_sold_and_from_it_on_something_is() -> None:
    """R-FTR-05, EX-11: 1,000,000 against 25 BTC at 48,800 is 81.97 %, at 48,780.48 it is 82 %"""
    debt = owing()
    chosen(debt)
    passes(3, btc="48800")
    assert not Liquidation.objects.exists()
    passes(1, btc="48780.48", first=3)
    assert not Liquidation.objects.exists()  # one reading
    passes(1, btc="48780.48", first=4)
    assert Liquidation.objects.get().cause == "soft"


def test_a_dip_that_the_next_reading_does_not_confirm_sells_nothing() -> None:
    """R-FTR-05, R-GEN-23"""
    chosen(owing())
    for number, btc in enumerate(["50000", "48000", "49500", "48000", "49500"]):
        passes(1, btc=btc, first=number)
    assert not Liquidation.objects.exists()
    assert MarginCall.objects.count() == 1


def test_the_same_price_read_twice_is_one_reading() -> None:
    """R-FTR-05, R-GEN-23: the sweep passes again and again, the feed is silent"""
    chosen(owing())
    build.prices(NOON - 30 * SECOND, BTC="50000", USDT="1")
    passes(1)
    for seconds in (5, 10, 15):
        assert sweep.sweep(at=NOON + seconds * SECOND).softened == 0
    passes(1, first=4)
    assert Liquidation.objects.count() == 1


def test_steps_keep_their_distance_and_stop_below_the_start() -> None:
    """R-FTR-05: 60 seconds between two; at 47,000 LTV goes from 85.1 to 83.8, 82.3 and 80.8 %"""
    debt = owing()
    chosen(debt)
    passes(40, btc="47000")
    rows = list(Liquidation.objects.order_by("pk"))
    assert [(row.started_at - NOON).total_seconds() for row in rows] == [5, 65, 125]
    ltvs = [row.ltv for row in rows] + [rows[-1].end_ltv]
    assert ltvs == sorted(ltvs, reverse=True)
    assert rows[-1].end_ltv is not None
    assert rows[-1].end_ltv < D("0.82")
    assert not faults.found()


def test_no_step_goes_past_its_target() -> None:
    """R-FTR-05, R-GEN-74: half the debt would be 50 %; x = (1,000,000 - 0.76 x 1,200,000) / (1 - 0.76 x 1.005)"""
    debt = owing()
    chosen(debt, step_share=D("0.5"))
    passes(2)
    row = Liquidation.objects.get()
    assert row.end_ltv is not None
    assert D("0.75999") < row.end_ltv <= D("0.76")
    debt.refresh_from_db()
    assert round_down(1_000_000 - debt.booked, 2) == D("372565.62")


def test_the_fee_is_never_more_than_a_liquidations() -> None:
    """R-FTR-05: a client whose liquidation fee is 0.2 % pays 0.2 %, on whatever base theirs is"""
    debt = owing()
    build.limits(fee="0.002", customer=debt.customer)
    stepped(customer=debt.customer, fee_base="start_assets")
    chosen(debt)
    passes(2)
    row = Liquidation.objects.get()
    assert (row.fee_usd, row.fee_base) == (200, "debt_repaid")


def test_nothing_chosen_nothing_sold_and_an_ended_choice_is_none() -> None:
    """R-FTR-05"""
    debt = owing()
    passes(2)
    chosen(debt, at=NOON + 6 * SECOND)
    deleveraging.end(group_id=debt.group_id, actor=SWEEPER, at=NOON + 7 * SECOND)
    with nothing_moves():
        passes(3, first=2)


def test_only_groups_at_their_start_are_looked_at_in_every_pass() -> None:
    """R-FTR-05, ARCHITECTURE 5: below it the screen passes them by; without a choice it always does"""
    debt, other = owing(), build.secured_debt(rate="0")
    chosen(debt)
    passes(3, btc="50000")
    assert CollateralGroup.objects.filter(band="CALL").count() == 2

    def near(at: datetime) -> list[int]:
        return screen.look(product="vip", at=at, settings=parameters.settings_at(at)).near

    later = NOON + 20 * SECOND
    build.prices(later, BTC="48781", USDT="1")
    assert near(later) == []
    build.prices(later + SECOND, BTC="48780.4878", USDT="1")
    assert near(later + SECOND) == [debt.group_id]
    assert other.group_id not in near(later + SECOND)


def test_a_price_that_came_while_the_pass_waited_is_heard() -> None:
    """R-FTR-05, R-GEN-23: at 50,000 LTV is 80 %, so the pass of t+5 takes no step; at 47,900 it sells at that"""
    debt = owing()
    chosen(debt)
    passes(1)
    for seconds, later, sold in ((5, "50000", 0), (10, "47900", 0), (15, "47800", 1)):
        at = NOON + seconds * SECOND
        build.prices(at, BTC="48000", USDT="1")
        build.prices(at + SECOND, BTC=later, USDT="1")
        sweep.sweep(at=at)
        assert Liquidation.objects.count() == sold
    [sale] = Sale.objects.all()
    assert (sale.mark.price, sale.at) == (D(47800), NOON + 16 * SECOND)
    assert not faults.found()


# --- What stops it -----------------------------------------------------------------------------------


def test_a_real_liquidation_takes_over_from_its_line_on() -> None:
    """R-FTR-05, R-GEN-41, R-VIP-63: the step counts neither as its first reading nor against it"""
    debt = owing()
    chosen(debt)
    passes(2)  # a step
    passes(1, btc="40000", first=2)  # 900,000 against 916,250: 98.2 %, above the cut-off
    real = Liquidation.objects.get(cause="ltv")
    assert (real.mode, real.snapshot["lines"]["fee"]) == ("full", "0.020000000000")
    assert MarginCall.objects.get().ended == "liquidated"
    assert not faults.found()
    assert not problems()


def test_the_first_reading_at_the_liquidation_line_is_confirmed_anew() -> None:
    """R-GEN-23: that LTV was over the start before confirms a step, not a liquidation"""
    debt = owing()
    with acting(SWEEPER):
        Settings.objects.create(effective_at=NOON - 2 * SECOND, confirm_seconds=5, soft_step_seconds=3600)
    chosen(debt)
    passes(2)
    passes(1, btc="42500", first=2)  # 900,000 against 973,515: 92.4 %
    assert not Liquidation.objects.filter(cause="ltv").exists()
    passes(1, btc="42500", first=3)
    assert Liquidation.objects.filter(cause="ltv").count() == 1


def test_a_pause_of_liquidations_pauses_it_too() -> None:
    """R-FTR-05, R-ADM-05"""
    debt = owing()
    chosen(debt)
    with acting(SWEEPER):
        Freeze.objects.create(
            what="liquidate",
            group=debt.group,
            reason="a check",
            starts_at=NOON,
            ends_at=NOON + 8 * SECOND,
            placed_by="user:1",
        )
    with nothing_moves():
        passes(2)
    passes(1, first=2)
    assert Liquidation.objects.get().started_at == NOON + 10 * SECOND


def test_an_outages_grace_pauses_it_too() -> None:
    """R-FTR-05, R-GEN-24"""
    debt = owing()
    chosen(debt)
    with acting(SWEEPER):
        CollateralGroup.objects.update(grace_until=NOON + 12 * SECOND)
    with nothing_moves():
        passes(3)
    passes(1, first=3)
    assert Liquidation.objects.count() == 1


@pytest.mark.parametrize("stale", ["BTC", "USDT"])
def test_an_old_price_sells_nothing(stale: str) -> None:
    """R-FTR-05, R-GEN-22"""
    debt = owing()
    chosen(debt)
    build.price(stale, "48000" if stale == "BTC" else "1", at=NOON - timedelta(hours=1))
    other = {"BTC": {"USDT": "1"}, "USDT": {"BTC": "48000"}}[stale]
    with nothing_moves():
        for number in range(3):
            at = NOON + 5 * number * SECOND
            build.prices(at, **other)
            sweep.sweep(at=at)


def test_the_earlier_reading_must_have_been_fresh_too() -> None:
    """R-GEN-22, R-GEN-23: after a silence the first price is one reading"""
    debt = owing()
    chosen(debt)
    build.prices(NOON - timedelta(hours=1), BTC="48000", USDT="1")
    passes(1)
    assert not Liquidation.objects.exists()
    passes(1, first=1)
    assert Liquidation.objects.count() == 1


def test_a_running_delay_is_left_alone_and_none_is_used_up() -> None:
    """R-FTR-05, R-VIP-62: the step starts no delay; while one runs, no step is taken"""
    debt = owing()
    chosen(debt)
    delays.enrol(
        customer_id=debt.customer_id,
        starts_at=NOON,
        ends_at=None,
        granted_by_id=build.user("vip_manager").pk,
        actor=SWEEPER,
        at=NOON,
    )
    passes(2)
    assert Liquidation.objects.filter(cause="soft").count() == 1
    assert not LiquidationDelay.objects.exists()
    passes(2, btc="42500", first=2)
    assert LiquidationDelay.objects.get().ended_at is None
    with nothing_moves():
        passes(15, btc="45000", first=4)  # 87.3 %, but its clock runs
    assert LiquidationDelay.objects.count() == 1


def test_a_step_sells_only_what_the_market_takes() -> None:
    """R-FTR-05, R-GEN-79: 48,000 USD of BTC in 24 hours, not 100,500; nothing is taken over"""
    debt = owing()
    parameters.publish_depth(
        asset="BTC", volume_usd=D(480_000), max_share=D("0.1"), actor=SWEEPER, at=NOON - SECOND
    )
    chosen(debt)
    passes(30)
    [sale] = Sale.objects.all()
    assert (sale.sold, sale.proceeds, sale.venue) == (D(1), D(48_000), Sale.objects.get().venue)
    assert sale.venue != "takeover"
    assert round_down(sale.fee, 2) == D("238.80")  # 47,761.19 repaid


def test_where_a_sale_would_not_lower_ltv_nothing_is_sold() -> None:
    """R-FTR-05: with 17 % of slippage 1,200,000 x 0.83 hardly covers the debt's share"""
    debt = owing()
    with acting(SWEEPER):
        Settings.objects.create(effective_at=NOON - SECOND, slippage=D("0.17"), confirm_seconds=5)
    chosen(debt, at=NOON)
    with nothing_moves():
        passes(3)


# --- What it leaves alone ---------------------------------------------------------------------------


def test_between_steps_nothing_is_locked_and_the_margin_call_goes_on() -> None:
    """R-FTR-05, R-GEN-62, R-GEN-70: a deposit, another account; the call stays open until it is cured"""
    debt = owing()
    chosen(debt)
    passes(2)
    account = debt.group.members.get().account
    assert not book.state_of(debt.group, at=NOON + 6 * SECOND).is_liquidating
    call = MarginCall.objects.get()
    assert call.ended_at is None
    gate.deposit(account_uid=account.pk, asset="BTC", amount=D("0.5"), actor=SWEEPER, at=NOON + 6 * SECOND)
    extra = build.account(debt.customer)
    groups.add_account(
        group_id=debt.group_id, uid=extra.pk, max_accounts=50, actor=SWEEPER, at=NOON + 6 * SECOND
    )
    with pytest.raises(groups.NotPermitted):  # still in margin call
        gate.withdraw(
            account_uid=account.pk,
            asset="BTC",
            amount=D("0.1"),
            address="bc1q",
            actor=SWEEPER,
            at=NOON + 6 * SECOND,
        )
    passes(1, btc="52000", first=2)
    call.refresh_from_db()
    assert call.ended == "cured"


@pytest.mark.parametrize("flag", ["none", "lowering"])
def test_between_steps_trades_are_the_clients_as_in_any_call(flag: str) -> None:
    """R-FTR-05, R-VIP-54: ETH that counts half for BTC that counts whole"""
    debt = owing()
    build.ratios("ETH", ("0", "0.5"))
    account = debt.group.members.get().account
    build.deposit(account, "ETH", "10", at=build.LONG_AGO)
    with acting(SWEEPER):
        debt.group.coins.create(asset_id="ETH", since=build.LONG_AGO)
    stepped(customer=debt.customer, mode="full", call_trades=flag)
    chosen(debt)
    for number in range(2):
        at = NOON + 5 * number * SECOND
        build.prices(at, BTC="47600", ETH="1000", USDT="1")  # 1,190,000 and 5,000 count: 83.7 %
        sweep.sweep(at=at)
    assert Liquidation.objects.get().cause == "soft"
    order = {"account_uid": account.pk, "sell": "ETH", "buy": "BTC", "amount": D(1)}
    if flag == "none":
        with pytest.raises(groups.NotPermitted), nothing_moves():
            gate.trade(**order, actor=SWEEPER, at=at)
    else:
        assert gate.trade(**order, actor=SWEEPER, at=at).got_amount == round_down(D(1000) / D(47600), 8)


def test_an_overdue_debt_is_repaid_first_and_liquidated_as_ever() -> None:
    """R-FTR-05, R-GEN-71, R-VIP-45"""
    debt = owing()
    late = build.debt(debt.group, "USDT", "50000", rate="0", due_at=NOON - timedelta(days=7))
    with acting(SWEEPER):
        Debt.objects.filter(pk=late.pk).update(overdue_since=late.due_at)
    chosen(debt)
    passes(2, btc="50000")  # 84 %; a tenth is 105,000
    late.refresh_from_db()
    debt.refresh_from_db()
    assert (late.booked, late.closed_reason, debt.booked) == (0, Debt.Closed.REPAID, D(945_000))
    other = build.debt(debt.group, "USDT", "1000", rate="0", due_at=NOON - timedelta(days=8))
    with acting(SWEEPER):
        Debt.objects.filter(pk=other.pk).update(overdue_since=other.due_at)
    row = overdue_sales.liquidate_overdue(debt_id=other.pk, actor=SWEEPER, at=NOON + 6 * SECOND)
    assert (row.cause, row.status) == ("overdue", "done_surplus")


def test_a_repaid_debt_leaves_the_others_and_no_liquidation_in_history() -> None:
    """R-FTR-05, R-GEN-70"""
    debt = owing()
    chosen(debt)
    passes(2)
    kinds = list(RiskEvent.objects.filter(group=debt.group).order_by("pk").values_list("kind", flat=True))
    assert kinds == ["debt_opened", "soft_set", "band", "called", "liquidation_step"]
    assert RiskEvent.objects.get(kind="liquidation_step").facts["cause"] == "soft"
    assert not Notice.objects.filter(kind="liquidation").exists()
