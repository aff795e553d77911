"""The one port to custody and market (R-GEN-97): coins come in, go out, are taken, are sold.

Lombard runs in front of an exchange. Everything that enters or leaves its own books passes this small,
idempotent interface: each call carries a key, and the same key twice is one effect. The built-in adapter keeps
the wallets itself, so it settles in the caller's transaction; an adapter to a real exchange would record an
intent here, call out after commit and confirm later.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Final, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from accounts import books, ledger
from accounts.models import Asset, JournalEntry, LedgerAccount
from accounts.money import ONE, exact

SEIZURE: Final = "seizure"  # the cause in the journal, for those who read it


@dataclass(frozen=True, slots=True)
class Fill:
    """A price the venue stands by: `price` of the coin in USD, `slippage` the fraction below the mark."""

    mark: Decimal
    price: Decimal
    slippage: Decimal
    venue: str


class Exchange(Protocol):
    def deposit(self, *, wallet: LedgerAccount, amount: Decimal, key: str, at: datetime) -> JournalEntry:
        """Coins arrived from outside for this wallet."""

    def deposit_together(
        self, *, arrivals: Iterable[tuple[LedgerAccount, Decimal]], key: str, at: datetime
    ) -> JournalEntry:
        """Coins arrived from outside for each of these wallets: one entry, for a whole book that is taken over."""

    def pay_out(self, *, wallet: LedgerAccount, amount: Decimal, key: str, at: datetime) -> JournalEntry:
        """Send coins of this wallet outside."""

    def seize(
        self,
        *,
        wallet: LedgerAccount,
        amount: Decimal,
        key: str,
        at: datetime,
        into: LedgerAccount | None = None,
        batch: ledger.Batch | None = None,
    ) -> JournalEntry:
        """Take collateral from this wallet into the desk's own books: its pool, or the account named.

        What settles in our own books goes into `batch`, where there is one, and is written with the rest of it.
        """

    def quote(self, *, coin: Asset, amount: Decimal, mark: Decimal, slippage: Decimal) -> Fill:
        """What the venue pays for `amount` of `coin` (USD per coin) when the index says `mark`."""


class BuiltIn:
    """Wallets in our own ledger, and the desk itself as the buyer at index less slippage (R-GEN-80)."""

    def deposit(self, *, wallet: LedgerAccount, amount: Decimal, key: str, at: datetime) -> JournalEntry:
        line = ledger.Line(debit=books.custody(wallet.asset_id), credit=wallet, amount=amount)
        return ledger.post(kind="deposit", reference=key, lines=[line], at=at)

    def deposit_together(
        self, *, arrivals: Iterable[tuple[LedgerAccount, Decimal]], key: str, at: datetime
    ) -> JournalEntry:
        custody = books.Chart().house
        lines = [
            ledger.Line(
                debit=custody(LedgerAccount.Kind.CUSTODY, wallet.asset_id), credit=wallet, amount=amount
            )
            for wallet, amount in arrivals
        ]
        return ledger.post(kind="deposit", reference=key, lines=lines, at=at)

    def pay_out(self, *, wallet: LedgerAccount, amount: Decimal, key: str, at: datetime) -> JournalEntry:
        line = ledger.Line(debit=wallet, credit=books.custody(wallet.asset_id), amount=amount)
        return ledger.post(kind="withdrawal", reference=key, lines=[line], at=at)

    def seize(
        self,
        *,
        wallet: LedgerAccount,
        amount: Decimal,
        key: str,
        at: datetime,
        into: LedgerAccount | None = None,
        batch: ledger.Batch | None = None,
    ) -> JournalEntry:
        coin, kind = wallet.asset_id, LedgerAccount.Kind
        house = (books.Chart() if batch is None else batch.chart).house
        lines = [
            ledger.Line(debit=wallet, credit=house(kind.CUSTODY, coin), amount=amount),
            ledger.Line(
                debit=into or house(kind.POOL, coin), credit=house(kind.POSITION, coin), amount=amount
            ),
        ]
        post = ledger.post if batch is None else batch.post
        return post(kind=SEIZURE, reference=key, lines=lines, at=at)

    @exact
    def quote(self, *, coin: Asset, amount: Decimal, mark: Decimal, slippage: Decimal) -> Fill:
        return Fill(mark=mark, price=mark * (ONE - slippage), slippage=slippage, venue="desk")


@cache
def exchange() -> Exchange:
    adapter: Exchange = import_string(settings.EXCHANGE)()
    return adapter
