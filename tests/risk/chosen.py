"""What the tests of chosen de-leveraging share: a debt, the choice for it, and passes of the sweep."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from accounts.commands import acting
from accounts.models import JournalEntry
from risk import (
    book,
    deleveraging,
    sweep,
)
from risk.models import (
    Debt,
    Deleveraging,
    Liquidation,
    Settings,
)
from tests import build
from tests.risk.forced_sales import SWEEPER

D = Decimal
NOON = build.NOON
SECOND = timedelta(seconds=1)


def owing(amount: str = "1000000", *, btc: str = "25") -> Debt:
    """25 BTC for 1,000,000 USDT without interest: 82 % at 48,780.49, 91 % at 43,956.04."""
    row = build.secured_debt(btc=btc, amount=amount, rate="0")
    build.fund_pool("USDT", "100000")
    with acting(SWEEPER):
        Settings.objects.create(effective_at=build.LONG_AGO, confirm_seconds=5)
    return row


def chosen(debt: Debt, *, at: datetime = NOON - SECOND, **more: Any) -> Deleveraging:
    """From 82 to 76 %, a tenth of the debt per step, unless said."""
    figures = {"start": D("0.82"), "target": D("0.76"), "step_share": D("0.1")} | more
    return deleveraging.choose(group_id=debt.group_id, actor=SWEEPER, at=at, **figures)


def passes(count: int, *, btc: str = "48000", first: int = 0, apart: int = 5) -> list[sweep.SweepReport]:
    """A pass every `apart` seconds, each on a new price."""
    reports = []
    for number in range(first, first + count):
        at = NOON + apart * number * SECOND
        build.prices(at, BTC=btc, USDT="1")
        reports.append(sweep.sweep(at=at))
    assert not any(report.failed for report in reports)
    return reports


def ltv_of(debt: Debt, *, at: datetime) -> Decimal:
    ltv = book.state_of(debt.group, at=at).worth(permission=False).ltv
    assert ltv is not None
    return ltv


@contextmanager
def nothing_moves() -> Iterator[None]:
    before = JournalEntry.objects.count(), Liquidation.objects.count()
    yield
    assert (JournalEntry.objects.count(), Liquidation.objects.count()) == before
