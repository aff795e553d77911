"""Customers moving coins: what the tests of the gate start from, and how they ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from accounts.commands import Actor, acting
from accounts.models import Account, JournalEntry, LedgerAccount
from risk import gate, groups
from risk.models import Debt, Movement
from tests import build
from tests.build import NOON

D = Decimal
BORROWER = Actor("test:borrower")
BY = {"actor": BORROWER, "at": NOON}
UNIT = D("0.00000001")


def secured() -> Debt:
    """720 000 USDT against 20 BTC at 60 000 = 1 200 000: LTV 60 %; it is 72 % at exactly 1 000 000."""
    row = build.secured_debt(btc="20", amount="720000", rate="0")
    build.prices(BTC="60000", USDT="1", ETH="3000")
    return row


def with_eth(debt: Debt) -> None:
    """ETH at 3 000 becomes a chosen coin that counts half; the desk has 1 000 of it."""
    build.asset("ETH")
    build.ratios("ETH", ("0", "0.5"))
    build.fund_pool("ETH", "1000")
    choose(debt, "ETH")


def choose(debt: Debt, coin: str) -> None:
    with acting(BORROWER):
        build.GroupCoin.objects.create(group=debt.group, asset_id=coin, since=NOON)


def member_of(debt: Debt) -> Account:
    return debt.group.members.earliest("pk").account


def sibling(debt: Debt) -> Account:
    """A second collateral account of the group, empty."""
    account = build.account(debt.customer)
    groups.add_account(group_id=debt.group_id, uid=account.uid, max_accounts=50, **BY)
    return account


@contextmanager
def nothing_moves(
    refusal: type[Exception], match: str | None = None
) -> Iterator[pytest.ExceptionInfo[Exception]]:
    def picture() -> list[object]:
        wallets = LedgerAccount.objects.order_by("pk").values_list("code", "debits", "credits")
        used = [row for row in wallets if row[1] or row[2]]
        return [used, JournalEntry.objects.count(), Movement.objects.count()]

    before = picture()
    with pytest.raises(refusal, match=match) as refused:
        yield refused
    assert picture() == before


def withdraw(account: Account, asset: str, amount: str, **options: object) -> Movement:
    return gate.withdraw(
        account_uid=account.uid, asset=asset, amount=D(amount), **({"address": "bc1q"} | BY | options)
    )


def deposit(account: Account, asset: str, amount: str, **options: object) -> Movement:
    return gate.deposit(account_uid=account.uid, asset=asset, amount=D(amount), **BY, **options)


def transfer(
    source: Account, target: Account, asset: str, amount: str, *, wallets: str = "spot spot"
) -> Movement:
    source_wallet, target_wallet = wallets.split()
    return gate.transfer(
        source_uid=source.uid,
        source_wallet=source_wallet,
        target_uid=target.uid,
        target_wallet=target_wallet,
        asset=asset,
        amount=D(amount),
        **BY,
    )


def trade(account: Account, sell: str, amount: str, buy: str) -> Movement:
    return gate.trade(account_uid=account.uid, sell=sell, amount=D(amount), buy=buy, **BY)


def price_falls_to(usd: str) -> None:
    build.price("BTC", usd)
