"""The journal and the trial balance as files: every transfer of a period, one a row, as the ledger has it (R-ADM-11).

A period is (after, through], like a closed month. Rows come in one order whoever asks, so that two exports of a
closed period are the same bytes. The makers run as jobs (accounts/exports.py); who may ask is the page's question.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from accounts import ledger
from accounts.exports import File, Progress, as_csv
from accounts.models import JournalEntry

JOURNAL: Final = "journal"
TRIAL_BALANCE: Final = "trial_balance"
TOLD_EVERY = 1000  # rows

HEADER: Final = (
    "entry",
    "reference",
    "kind",
    "at_utc",
    "recorded_at_utc",
    "reverses",
    "debit",
    "credit",
    "asset",
    "amount",
)
BALANCE_HEADER: Final = ("account", "kind", "asset", "debits", "credits")

Row = TypeVar("Row")


def rows(*, after: datetime, through: datetime) -> Iterator[Sequence[object]]:
    """One row per transfer dated in (after, through], as `HEADER` names them; by date, entry and transfer.

    An entry that moved debts only, such as a renewal, is one row without accounts.
    """
    entries = JournalEntry.objects.filter(at__gt=after, at__lte=through)
    columns = (
        "pk",
        "reference",
        "kind",
        "at",
        "recorded_at",
        "reverses",
        "transfers__debit__code",
        "transfers__credit__code",
        "transfers__debit__asset",
        "transfers__amount",
    )
    yield from entries.order_by("at", "pk", "transfers__pk").values_list(*columns).iterator(TOLD_EVERY)


def make_journal(arguments: Mapping[str, Any], at: datetime, progress: Progress) -> File:
    """The file of `rows` for the period that `arguments` names."""
    after, through = period_of(arguments)
    entries = JournalEntry.objects.filter(at__gt=after, at__lte=through)
    total = entries.count()
    return as_csv(
        f"{JOURNAL}-{span(after, through)}.csv",
        HEADER,
        counted(rows(after=after, through=through), total=total, progress=progress),
    )


def make_trial_balance(arguments: Mapping[str, Any], at: datetime, progress: Progress) -> File:
    """Every account with what it was debited and credited with until the instant that `arguments` names."""
    through = datetime.fromisoformat(arguments["through"])
    balance = ledger.trial_balance(at=through)
    told = ((row.code, row.kind, row.asset, row.debits, row.credits) for row in balance)
    return as_csv(
        f"trial-balance-{_day(through)}.csv",
        BALANCE_HEADER,
        counted(told, total=len(balance), progress=progress),
    )


def period_of(arguments: Mapping[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(arguments["after"]), datetime.fromisoformat(arguments["through"])


def span(after: datetime, through: datetime) -> str:
    """A period in a file's name: the two instants it lies between."""
    return f"{_day(after)}-to-{_day(through)}"


def counted(rows: Iterable[Row], *, total: int, progress: Progress) -> Iterator[Row]:
    """The rows, saying how far they are; there may be more of them than `total`, which is never overrun."""
    for number, row in enumerate(rows):
        if number % TOLD_EVERY == 0:
            progress(min(number, total), total)
        yield row


def _day(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H%M}"
