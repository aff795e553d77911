"""A firm with programs of its own: keys for its master and its sub-accounts, and what they may not change."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from accounts.models import Account, Customer, JournalEntry, LedgerAccount, User
from risk import freezes
from risk.models import Movement
from tests import build
from tests.build import BUILDER, NOON
from tests.programs import Program, api_key


class Firm:
    """2 BTC in the master's Spot, 5 in that of a sub-account, and a second sub-account that is empty."""

    def __init__(self) -> None:
        self.user: User = build.user()
        self.owner: Customer = build.customer(member=self.user)
        self.master: Account = build.master(self.owner)
        self.sub: Account = build.account(self.owner, label="Trading")
        self.sibling: Account = build.account(self.owner, label="Custody")
        build.deposit(self.master, "BTC", "2")
        build.deposit(self.sub, "BTC", "5")
        self.program = Program(api_key(self.master, self.user))
        self.of_sub = Program(api_key(self.sub, self.user))

    def btc(self) -> tuple[Decimal, ...]:
        """Of master, sub-account and sibling."""
        return tuple(build.balance(account, "BTC") for account in (self.master, self.sub, self.sibling))


def picture() -> list[Any]:
    """What a refusal leaves as it was."""
    wallets = LedgerAccount.objects.order_by("pk").values_list("code", "debits", "credits")
    used = [row for row in wallets if row[1] or row[2]]
    return [used, JournalEntry.objects.count(), Movement.objects.count()]


@contextmanager
def nothing_moves() -> Iterator[None]:
    before = picture()
    yield
    assert picture() == before


def freeze(account: Account, *, at: datetime = NOON) -> None:
    """Nothing leaves the account for an hour."""
    told = {"what": "full", "reason": "A check", "ends_at": at + timedelta(hours=1), "at": at}
    freezes.place(account_uid=account.pk, actor=BUILDER, **told)
