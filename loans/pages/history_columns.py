"""Columns of the history pages: how a row's figure is shown, and what stands in the file, there plain and in full."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.urls import reverse

from accounts.templatetags import figures
from accounts.words import joined, tell

ANYBODY: Final = "anybody"
HOUSE: Final = "house"  # who may follow a link
BORROWER: Final = "borrower"

Value = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Column:
    """`plain` gives the value for the file; `show` the text for the page, the same when None; `link` leads on.

    `linked_for` says who may follow the link; `mine` leads a borrower, who acts for all of their customer, elsewhere.
    `on_page` False: it stands in the file only.
    """

    title: str
    name: str
    plain: Value
    show: Value | None = None
    link: Value | None = None
    is_figure: bool = False
    linked_for: str = ANYBODY
    mine: Value | None = None
    on_page: bool = True

    def href(self, row: Any, *, for_house: bool, is_whole: bool) -> str:
        """Where a row's figure leads whoever looks; empty where it leads them nowhere. R-GEN-95"""
        if self.mine is not None and not for_house and is_whole:
            return str(self.mine(row))
        allowed = {ANYBODY, HOUSE if for_house else BORROWER}
        return str(self.link(row)) if self.link is not None and self.linked_for in allowed else ""


# --- Figures and links ----------------------------------------------------------------------------------


def instant(field: str, title: str = tell("At")) -> Column:
    return Column(
        title,
        f"{_last(field)}_utc",
        of(field),
        show=lambda row: figures.when(of(field)(row)),
    )


def of(field: str) -> Value:
    """`debt.asset_id` of a row, and None where something on the way is missing."""

    def found(row: Any) -> Any:
        for name in field.split("."):
            row = None if row is None else getattr(row, name)
        return row

    return found


def amount(title: str, field: str, asset: str, *, posting: bool = False) -> Column:
    shown = figures.posting if posting else figures.amount
    return Column(
        title, _last(field), of(field), show=lambda row: shown(of(field)(row), of(asset)(row)), is_figure=True
    )


def usd(title: str, field: str) -> Column:
    return Column(
        title,
        f"{field}_usd",
        of(field),
        show=lambda row: figures.usd(of(field)(row)),
        is_figure=True,
    )


def ltv(title: str, field: str, known: Value = bool) -> Column:
    return Column(
        title,
        field,
        of(field),
        show=lambda row: figures.ltv(of(field)(row)) if known(row) else "",
        is_figure=True,
    )


def rate(title: str, field: str) -> Column:
    return Column(
        title,
        field,
        of(field),
        show=lambda row: "" if of(field)(row) is None else figures.rate(of(field)(row)),
        is_figure=True,
    )


def loan(field: str, title: str = tell("Loan")) -> Column:
    return Column(title, tell("loan"), of(field), link=lambda row: to_loan(of(f"{field}.pk")(row)))


def to_loan(pk: int | None) -> str:
    return "" if pk is None else reverse("loans:loan", args=[pk])


def to_liquidation(pk: int | None) -> str:
    return "" if pk is None else reverse("loans:liquidation", args=[pk])


def to_group(pk: int | None) -> str:
    return "" if pk is None else reverse("risk:group", args=[pk])


def entry(field: str = "entry_id") -> Column:
    """The house may follow it to the journal entry, a borrower to what it did to their debts and wallets."""
    return Column(
        tell("Entry"),
        tell("entry"),
        of(field),
        show=lambda row: "" if of(field)(row) is None else f"J-{of(field)(row)}",
        link=lambda row: _to_entry("loans:ledger_entry", of(field)(row)),
        is_figure=True,
        linked_for=HOUSE,
        mine=lambda row: _to_entry("loans:entry", of(field)(row)),
    )


def _to_entry(page: str, pk: int | None) -> str:
    return "" if pk is None else reverse(page, args=[pk])


def words(title: str, field: str) -> Column:
    return Column(title, _last(field), of(field))


def only_in_file(field: str) -> Column:
    """What the page says beside a figure already, such as its coin."""
    return Column("", _last(field), of(field), on_page=False)


def several(title: str, field: str) -> Column:
    return Column(title, field, lambda row: joined(" ", map(str, of(field)(row))))


def _last(field: str) -> str:
    return field.rpartition(".")[2]
