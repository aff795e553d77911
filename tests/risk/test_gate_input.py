"""Bad input at the gate: refused with a message, and nothing moved. R-GEN-01, R-GEN-06."""

import pytest

from accounts.commands import KeyReused
from accounts.errors import BadAmount
from accounts.ledger import Overdrawn
from accounts.models import Account
from risk import gate, moves
from risk.models import Debt
from tests import build
from tests.risk.movements import BY, D, deposit, member_of, nothing_moves, secured, trade, transfer, withdraw

pytestmark = pytest.mark.django_db


@pytest.fixture
def debt() -> Debt:
    return secured()


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "1E+18", "0.000000001", "-0"])
def test_an_amount_the_ledger_cannot_hold_is_refused_at_every_door(amount: str, debt: Debt) -> None:
    """R-GEN-01, TRUST B: nothing was moved."""
    account = debt.group.receiver
    with nothing_moves(BadAmount):
        deposit(account, "USDT", amount)
    with nothing_moves(BadAmount):
        withdraw(account, "USDT", amount)
    with nothing_moves(BadAmount):
        transfer(account, account, "USDT", amount, wallets="spot funding")
    with nothing_moves(BadAmount):
        trade(account, "USDT", amount, "BTC")


def test_an_amount_has_the_assets_own_places(debt: Debt) -> None:
    """R-GEN-01"""
    build.asset("EUR", places=2, kind="fiat")
    with nothing_moves(BadAmount, "at most 2 decimals"):
        deposit(debt.group.receiver, "EUR", "1.001")
    deposit(debt.group.receiver, "EUR", "1.01", wallet="fiat")
    assert build.balance(debt.group.receiver, "EUR", wallet="fiat") == D("1.01")


def test_more_than_the_wallet_holds_is_refused_with_both_figures(debt: Debt) -> None:
    account = debt.group.receiver
    with nothing_moves(Overdrawn, r"holds 720000 USDT, less than 720000\.00000001"):
        withdraw(account, "USDT", "720000.00000001")
    with nothing_moves(Overdrawn):
        transfer(account, member_of(debt), "USDT", "720001")
    with nothing_moves(Overdrawn):
        trade(account, "BTC", "1", "USDT")
    with nothing_moves(Overdrawn):
        withdraw(member_of(debt), "BTC", "21")


def test_wallets_and_addresses_that_do_not_exist_are_refused(debt: Debt) -> None:
    account = debt.group.receiver
    for wallets in ("spot spot", "spot margin", "pool spot", "spot fiat"):
        with nothing_moves(moves.BadWallet):
            transfer(account, account, "USDT", "1", wallets=wallets)
    for address in ("", "two words", "x" * 121, "ａｂｃ"):
        with nothing_moves(moves.BadAddress):
            withdraw(account, "USDT", "1", address=address)
    with nothing_moves(BadAmount, "no such coin"):
        withdraw(account, "NOPE", "1")
    with nothing_moves(Account.DoesNotExist):
        gate.withdraw(account_uid=1, asset="USDT", amount=D(1), address="bc1q", **BY)


def test_one_key_is_one_movement(debt: Debt) -> None:
    """R-GEN-06"""
    first = withdraw(member_of(debt), "BTC", "1", key="k-1")
    assert withdraw(member_of(debt), "BTC", "1", key="k-1") == first
    assert build.balance(member_of(debt), "BTC") == 19
    with nothing_moves(KeyReused):
        withdraw(member_of(debt), "BTC", "2", key="k-1")
