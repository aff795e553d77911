"""The sub-ledger as a file: what every entry of a period did to every debt (R-ADM-11).

Beside the journal (accounts/journal.py) it proves the control accounts: their transfers are the sums of these rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from accounts.exports import File, Progress, as_csv
from accounts.journal import TOLD_EVERY, counted, period_of, span
from risk.models import DebtEntry

DEBT_ENTRIES: Final = "debt_entries"
HEADER: Final = (
    "entry",
    "reference",
    "debt",
    "customer",
    "asset",
    "kind",
    "at_utc",
    "principal",
    "interest",
    "late_fee",
    "period_start_utc",
    "period_end_utc",
    "basis",
    "annual_rate",
)


def rows(*, after: datetime, through: datetime) -> Iterator[Sequence[object]]:
    """One row per debt and entry dated in (after, through]: signed changes, by date, entry and row."""
    found = DebtEntry.objects.filter(at__gt=after, at__lte=through).order_by("at", "entry_id", "pk")
    columns = (
        "entry_id",
        "entry__reference",
        "debt_id",
        "debt__customer__name",
        "debt__asset",
        "kind",
        "at",
        "principal",
        "interest",
        "late_fee",
        "period_start",
        "period_end",
        "basis",
        "annual_rate",
    )
    yield from found.values_list(*columns).iterator(TOLD_EVERY)


def make(arguments: Mapping[str, Any], at: datetime, progress: Progress) -> File:
    """The file of `rows` for the period that `arguments` names."""
    after, through = period_of(arguments)
    total = DebtEntry.objects.filter(at__gt=after, at__lte=through).count()
    return as_csv(
        f"debt-entries-{span(after, through)}.csv",
        HEADER,
        counted(rows(after=after, through=through), total=total, progress=progress),
    )
