"""The port to custody and market: everything that enters or leaves the desk's books, once per key. R-GEN-97"""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import transaction

from accounts import books, ledger
from accounts.exchange import Exchange, exchange
from accounts.models import LedgerAccount
from tests import build
from tests.build import NOON

APPS = Path(__file__).resolve().parents[2]
Call = Callable[[Exchange, LedgerAccount], object]
CALLS: dict[str, Call] = {
    "deposit": lambda port, wallet: port.deposit(wallet=wallet, amount=Decimal(2), key="k", at=NOON),
    "pay_out": lambda port, wallet: port.pay_out(wallet=wallet, amount=Decimal(2), key="k", at=NOON),
    "seize": lambda port, wallet: port.seize(wallet=wallet, amount=Decimal(2), key="k", at=NOON),
}


@pytest.fixture
def wallet(db: None) -> LedgerAccount:
    account = build.account(build.customer())
    build.deposit(account, "BTC", "5")
    return books.wallet(account, "BTC")


@pytest.mark.parametrize("name", CALLS)
def test_one_key_has_one_effect(name: str, wallet: LedgerAccount) -> None:
    """R-GEN-97: the second call of the same key is told so and moves nothing."""
    CALLS[name](exchange(), wallet)
    once = {row.code: row.balance for row in LedgerAccount.objects.all()}

    with pytest.raises(ledger.AlreadyPosted), transaction.atomic():
        CALLS[name](exchange(), wallet)

    assert {row.code: row.balance for row in LedgerAccount.objects.all()} == once
    wallet.refresh_from_db()
    assert wallet.balance == (7 if name == "deposit" else 3)


@pytest.mark.breaks_the_books  # a seizure without a sale is what the proof of the workout account finds
def test_what_is_seized_is_the_desks_own(wallet: LedgerAccount) -> None:
    """R-GEN-97, R-GEN-79: it leaves custody for the pool, or for the account that is named."""
    exchange().seize(wallet=wallet, amount=Decimal(1), key="a", at=NOON)
    exchange().seize(wallet=wallet, amount=Decimal(2), key="b", at=NOON, into=books.workout("BTC"))

    assert books.custody("BTC").balance == 2
    assert (books.pool("BTC").balance, books.workout("BTC").balance) == (1, 2)


def test_nothing_else_moves_customers_coins_to_or_from_outside() -> None:
    """R-GEN-97: the causes `deposit`, `withdrawal` and `seizure` are posted in the port's module only."""
    posted = re.compile(r'kind="(deposit|withdrawal|seizure)"')
    places = {
        str(path.relative_to(APPS))
        for app in ("accounts", "risk", "loans")
        for path in (APPS / app).rglob("*.py")
        if posted.search(path.read_text(encoding="utf-8"))
    }
    assert places == {"accounts/exchange.py"}
