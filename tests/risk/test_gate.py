"""Deposits, withdrawals and transfers by customers: R-VIP-52, R-VIP-53, R-GEN-22, R-GEN-45."""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts import books
from accounts.commands import acting
from accounts.models import Account
from risk import gate, groups, moves
from risk.models import Debt, Liquidation
from tests import build
from tests.build import NOON
from tests.risk.movements import (
    BORROWER,
    UNIT,
    D,
    choose,
    deposit,
    member_of,
    nothing_moves,
    price_falls_to,
    secured,
    sibling,
    transfer,
    withdraw,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def debt() -> Debt:
    return secured()


# --- Deposits ---------------------------------------------------------------------------------------


def test_a_deposit_arrives_in_the_wallet_and_in_custody(debt: Debt) -> None:
    """R-GEN-05: debit custody, credit wallet."""
    row = deposit(member_of(debt), "BTC", "4")

    assert build.balance(member_of(debt), "BTC") == 24
    assert books.custody("BTC").balance == 24
    assert (row.kind, row.target, row.target_wallet) == ("deposit", member_of(debt), "spot")
    assert (row.ltv_before, row.ltv_after) == (D("0.6"), D("0.5"))
    assert row.customer == debt.customer
    assert row.entry.at == NOON


def test_a_deposit_is_accepted_in_every_state(debt: Debt) -> None:
    """R-VIP-52, R-GEN-22, R-GEN-70: at liquidation, without a price, while collateral is sold."""
    price_falls_to("30000")
    deposit(member_of(debt), "BTC", "1")
    with acting(BORROWER):
        Liquidation.objects.create(
            group=debt.group,
            cause="ltv",
            started_at=NOON,
            debt_value=1,
            collateral_value=1,
            market_value=1,
            snapshot={},
        )
    deposit(member_of(debt), "BTC", "1")
    row = gate.deposit(
        account_uid=member_of(debt).uid, asset="BTC", amount=D(1), actor=BORROWER, at=NOON + timedelta(days=1)
    )
    assert (row.ltv_before, row.ltv_after) == (None, None)
    assert row.facts["groups"][0]["stale"] == ["USDT", "BTC"]
    assert build.balance(member_of(debt), "BTC") == 23


def test_a_crumb_of_collateral_under_a_large_debt_still_arrives() -> None:
    """R-VIP-52: LTV would be 1e14, more than a column holds; that must not stop a deposit."""
    debt = build.secured_debt(btc="0.00000001", amount="1000000", rate="0")
    build.prices(BTC="1", USDT="1")
    row = deposit(member_of(debt), "BTC", "0.00000001")
    assert (row.ltv_before, row.ltv_after) == (None, None)
    assert build.balance(member_of(debt), "BTC") == 2 * UNIT


# --- Withdrawals ------------------------------------------------------------------------------------


def test_a_withdrawal_leaves_the_wallet_and_custody_with_its_address_and_prices(debt: Debt) -> None:
    """R-VIP-53, TRUST I-19"""
    row = withdraw(member_of(debt), "BTC", "2", address="bc1qexample")

    assert build.balance(member_of(debt), "BTC") == 18
    assert books.custody("BTC").balance == 18
    assert (row.kind, row.source, row.source_wallet, row.address) == (
        "withdrawal",
        member_of(debt),
        "spot",
        "bc1qexample",
    )
    assert (row.ltv_before, row.ltv_after) == (D("0.6"), D("0.666666666666"))
    told = row.facts["groups"][0]
    assert (told["group"], told["action"], told["initial"]) == (debt.group_id, "MOVE_OUT", "0.720000000000")
    btc = build.Price.objects.get(asset="BTC")
    assert row.facts["prices"]["BTC"] == {"id": btc.pk, "usd": "60000"}


def test_ltv_stays_strictly_below_initial_after_a_withdrawal(debt: Debt) -> None:
    """R-VIP-52, R-VIP-53: 3.33333333 BTC would leave 72.0 % less a hair; at a round price, 72 % itself is refused."""
    price_falls_to("100000")
    with nothing_moves(groups.NotPermitted, "must stay below the initial line of 72 %"):
        withdraw(member_of(debt), "BTC", "10")  # leaves 10 BTC = 1 000 000: exactly 72 %
    assert withdraw(member_of(debt), "BTC", "9.99999999").ltv_after == D("0.719999999280")


def test_from_initial_on_nothing_leaves_chosen_or_not(debt: Debt) -> None:
    """R-VIP-53: an unchosen coin moves the LTV nowhere, and stays all the same."""
    build.asset("ETH")
    build.deposit(member_of(debt), "ETH", "5")
    assert withdraw(member_of(debt), "ETH", "1").ltv_after == D("0.6")
    price_falls_to("50000")  # 1 000 000: exactly at initial
    with nothing_moves(groups.NotPermitted, "only below the initial line of 72 %"):
        withdraw(member_of(debt), "ETH", "1")
    with nothing_moves(groups.NotPermitted, "only below the initial line of 72 %"):
        transfer(member_of(debt), member_of(debt), "ETH", "1", wallets="spot funding")


def test_what_is_no_collateral_is_free(debt: Debt) -> None:
    """R-VIP-52, R-VIP-51: proceeds in the receiving account, and other wallets, whatever the LTV."""
    price_falls_to("30000")
    build.deposit(member_of(debt), "BTC", "1", wallet="funding")

    row = withdraw(debt.group.receiver, "USDT", "720000")
    withdraw(member_of(debt), "BTC", "1", wallet="funding")

    assert build.balance(debt.group.receiver, "USDT") == 0
    assert build.balance(member_of(debt), "BTC", wallet="funding") == 0
    assert (row.ltv_before, row.ltv_after, row.facts) == (None, None, {})


def test_the_most_that_may_leave_is_the_gates_own_answer() -> None:
    """R-GEN-45, EX-03: 882 610.34 of A or 11.76813796 BTC, to the unit."""
    for symbol in ("BTC", "A", "C"):
        build.asset(symbol)
    build.limits()
    build.ratios("BTC", ("0", "1"), ("10000000", "0.8"))
    build.ratios("A", ("0", "1"), ("1000000", "0.8"))
    build.ratios("C", ("0", "0.75"), ("200000", "0.5"), ("500000", "0"))
    build.fund_pool("USDT")
    build.prices(BTC="60000", A="1", C="1", USDT="1")
    owner = build.customer()
    first, second = build.account(owner), build.account(owner)
    for account, symbol, amount in ((first, "BTC", "30"), (first, "A", "4000000"), (second, "A", "1000000")):
        build.deposit(account, symbol, amount)
    build.deposit(second, "C", "600000")
    build.debt(
        build.group(build.master(owner), [first, second], ("BTC", "A", "C")), amount="4027616.44", rate="0"
    )

    def most(account: Account, asset: str) -> Decimal:
        return gate.most_withdrawable(account_uid=account.uid, asset=asset, at=NOON)

    assert (most(first, "A"), most(first, "BTC")) == (D("882610.34722222"), D("11.76813796"))
    assert most(second, "A") == D("882610.34722222")  # pooled over the accounts (R-GEN-32)
    assert most(second, "BTC") == 0
    with nothing_moves(groups.NotPermitted):
        withdraw(first, "BTC", "11.76813797")
    withdraw(first, "BTC", "11.76813796")
    assert (most(first, "BTC"), most(second, "C")) == (0, D("100000.00035555"))


@pytest.mark.parametrize(
    ("usd", "most"), [("60000", "3.33333333"), ("50000", "0"), ("46000", "0"), ("39000", "0")]
)
def test_nothing_may_leave_from_initial_on(usd: str, most: str, debt: Debt) -> None:
    """R-GEN-45"""
    price_falls_to(usd)
    assert gate.most_withdrawable(account_uid=member_of(debt).uid, asset="BTC", at=NOON) == D(most)
    assert gate.most_withdrawable(account_uid=debt.group.receiver_id, asset="USDT", at=NOON) == 720000


# --- Prices too old ---------------------------------------------------------------------------------


def test_nothing_leaves_while_the_debt_cannot_be_valued(debt: Debt) -> None:
    """R-GEN-22"""
    other, later = sibling(debt), NOON + timedelta(minutes=30)
    build.prices(later, BTC="60000", ETH="3000")  # and no USDT
    build.fund_pool("ETH", "1000")
    build.ratios("ETH")
    member, at = member_of(debt), {"actor": BORROWER, "at": later}
    with nothing_moves(groups.PriceTooOld, "USDT"):
        gate.withdraw(account_uid=member.uid, asset="BTC", amount=UNIT, address="bc1q", **at)
    with nothing_moves(groups.PriceTooOld, "USDT"):
        gate.transfer(
            source_uid=member.uid,
            source_wallet="spot",
            target_uid=other.uid,
            target_wallet="spot",
            asset="BTC",
            amount=UNIT,
            **at,
        )
    with nothing_moves(groups.PriceTooOld, "USDT"):
        gate.trade(account_uid=member.uid, sell="BTC", amount=D(1), buy="ETH", **at)
    assert gate.most_withdrawable(account_uid=member.uid, asset="BTC", at=later) == 0


def test_a_coin_without_a_fresh_price_counts_nothing_and_the_refusal_says_so(debt: Debt) -> None:
    """R-GEN-22: 20 BTC count 0, so 240 ETH = 720 000 leave LTV at 100 %."""
    build.asset("ETH")
    build.ratios("ETH")
    build.deposit(member_of(debt), "ETH", "240")
    choose(debt, "ETH")
    later = NOON + timedelta(minutes=30)
    build.prices(later, USDT="1", ETH="3000")
    with nothing_moves(groups.NotPermitted, "Without a fresh price, BTC counts nothing"):
        gate.withdraw(
            account_uid=member_of(debt).uid, asset="ETH", amount=UNIT, address="0x", actor=BORROWER, at=later
        )
    build.price("BTC", "60000", at=later)
    gate.withdraw(
        account_uid=member_of(debt).uid, asset="ETH", amount=UNIT, address="0x", actor=BORROWER, at=later
    )


# --- Transfers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usd", "inside", "out"),
    [
        pytest.param("60000", True, True, id="SAFE 60 %"),
        pytest.param("49999", True, False, id="WATCH 72 %"),
        pytest.param("46754", True, False, id="WATCH just below 77 %"),
        pytest.param("46753", False, False, id="CALL 77 %"),
        pytest.param("39560", False, False, id="LIQ 91 %"),
    ],
)
def test_coins_move_inside_the_group_below_margin_call_and_out_below_initial(
    usd: str, inside: bool, out: bool, debt: Debt
) -> None:
    """R-VIP-52, R-VIP-53"""
    other, stranger, member = sibling(debt), build.account(debt.customer), member_of(debt)
    price_falls_to(usd)
    if inside:
        row = transfer(member, other, "BTC", "1")
        assert row.ltv_before == row.ltv_after
        assert (build.balance(member, "BTC"), build.balance(other, "BTC")) == (19, 1)
    else:
        with nothing_moves(groups.NotPermitted):
            transfer(member, other, "BTC", "1")
    for target, wallets in ((stranger, "spot spot"), (other, "spot funding"), (member, "spot funding")):
        if out:
            row = transfer(member, target, "BTC", "1", wallets=wallets)
            assert row.ltv_after > row.ltv_before
        else:
            with nothing_moves(groups.NotPermitted):
                transfer(member, target, "BTC", "1", wallets=wallets)


def test_a_transfer_into_the_group_is_a_top_up_at_any_ltv(debt: Debt) -> None:
    """R-VIP-52: from the account's own Funding wallet and from the receiver."""
    price_falls_to("39000")
    build.deposit(member_of(debt), "BTC", "2", wallet="funding")
    build.deposit(debt.group.receiver, "BTC", "1")

    row = transfer(member_of(debt), member_of(debt), "BTC", "2", wallets="funding spot")
    transfer(debt.group.receiver, member_of(debt), "BTC", "1")

    assert (row.ltv_before, row.ltv_after) == (D("0.923076923076"), D("0.839160839160"))
    assert build.balance(member_of(debt), "BTC") == 23
    assert books.custody("BTC").balance == 23


def test_a_transfer_between_two_groups_leaves_the_one_and_tops_up_the_other(debt: Debt) -> None:
    """R-VIP-53: the record is of the group that coins left; both were locked."""
    owner = debt.customer
    second = build.account(owner)
    other = build.group(build.account(owner), [second])
    build.fund_pool("USDT", "100000")
    build.debt(other, amount="100000", rate="0")

    row = transfer(member_of(debt), second, "BTC", "2")

    assert (row.ltv_before, row.ltv_after) == (D("0.6"), D("0.666666666666"))
    assert [told["action"] for told in row.facts["groups"]] == ["MOVE_OUT", "DEPOSIT"]
    price_falls_to("50000")
    with nothing_moves(groups.NotPermitted):
        transfer(member_of(debt), second, "BTC", "1")
    assert row.facts["groups"][1]["ltv_before"] is None


def test_coins_do_not_move_between_customers(debt: Debt) -> None:
    """R-GEN-15"""
    stranger = build.account(build.customer())
    with nothing_moves(moves.NotYourAccount):
        transfer(debt.group.receiver, stranger, "USDT", "1")
    with nothing_moves(moves.NotYourAccount):
        transfer(member_of(debt), stranger, "BTC", "1")
