"""The lists of the history pages: which there are, and their columns, for the page and for CSV alike (R-GEN-90)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.urls import reverse

from accounts.templatetags import figures
from loans import histories
from loans.histories import Asked, Part, Scope, market
from loans.pages.history_columns import (
    BORROWER,
    Column,
    amount,
    entry,
    instant,
    loan,
    ltv,
    of,
    only_in_file,
    rate,
    several,
    to_group,
    to_liquidation,
    to_loan,
    usd,
    words,
)
from risk.pages.standing import ratios_in_words
from risk.valuation import Tiers

Rows = Callable[[Scope, Asked, datetime], Part[Any]]


@dataclass(frozen=True, slots=True)
class Tab:
    """One list. `dated`: it is of the period asked for; else it is as things stand now.

    `every`: all of its rows at once, where a list is put together from many and reading it page by page is dear.
    """

    slug: str
    title: str
    hint: str
    empty: str
    rows: Rows
    columns: tuple[Column, ...]
    dated: bool = True
    most_days: int = histories.MOST_DAYS
    every: Callable[[Scope, Asked], Sequence[Any]] | None = None


# --- What needs shaping -----------------------------------------------------------------------------------


def _rate_of_order(row: histories.OrderRow) -> str:
    shown = figures.rate(row.annual_rate)
    return f"flexible, {shown}" if row.rate is None else shown


def _effects(row: histories.Adjustment, name: str) -> str:
    return ", ".join(
        figures.ltv(value) for value in (getattr(effect, name) for effect in row.effects) if value is not None
    )


def _moved(row: histories.Adjustment) -> str:
    if row.amount is None:
        return ""
    got = f" for {figures.plain(row.got_amount, row.got_asset)}" if row.got_amount is not None else ""
    return f"{figures.plain(row.amount, row.asset)}{got}"


def _held(row: histories.CollateralRow) -> str:
    return ", ".join(figures.plain(amount, asset) for asset, amount, _ in row.coins)


def _limit(value: Decimal | None) -> str:
    return "" if value is None else figures.usd(value)


def tiers_plain(tiers: Tiers) -> str:
    """Ratios by tier for a file."""
    return "; ".join(f"from {tier.floor.normalize():f} USD: {tier.ratio.normalize():f}" for tier in tiers)


_TERM = Column(
    "Term", "term_days", of("term_days"), show=lambda row: f"{row.term_days} d" if row.term_days else "open"
)
_STATUS = Column("Status", "status", of("public_status"), show=lambda row: row.row.status.value)
_ORDER: Final = (
    loan("loan"),
    _STATUS,
    amount("Owed", "total_debt", "loan.asset"),
    only_in_file("loan.asset"),
    Column(
        "Rate",
        "annual_rate",
        lambda row: "flexible" if row.rate is None else row.rate,
        show=_rate_of_order,
        is_figure=True,
    ),
    amount("Interest due", "residual_interest", "loan.asset"),
    ltv("LTV", "ltv", known=lambda row: row.ltv is not None),
    Column(
        "Expires",
        "expires_at_utc",
        of("expires_at"),
        show=lambda row: figures.when(row.expires_at, "day") or "open",
    ),
    Column("Drawn", "loan_date_utc", of("loan_date"), show=lambda row: figures.when(row.loan_date, "day")),
    _TERM,
    usd("Recognised, group", "collateral_value"),
    usd("Has to stay, group", "locked_value"),
    several("Collateral accounts", "collateral_accounts"),
    several("Coins", "collateral_coins"),
)


def _ongoing(scope: Scope, asked: Asked, at: datetime) -> Part[Any]:
    return histories.ongoing(scope, asked, at=at)


def _orders(scope: Scope, asked: Asked, at: datetime) -> Part[Any]:
    return histories.orders(scope, asked, at=at)


def _requests(scope: Scope, asked: Asked, at: datetime) -> Part[Any]:
    return histories.requests(scope, asked, at=at)


def _collateral(scope: Scope, asked: Asked, at: datetime) -> Part[Any]:
    return histories.collateral(scope, asked, at=at)


def _timeless(rows: Callable[[Scope, Asked], Part[Any]]) -> Rows:
    return lambda scope, asked, at: rows(scope, asked)


TABS: Final[tuple[Tab, ...]] = (
    Tab("ongoing", "Ongoing", "what is owed now", "Nothing is owed.", _ongoing, _ORDER, dated=False),
    Tab("orders", "Loans", "by the day they were drawn", "No loan was drawn in this time.", _orders, _ORDER),
    Tab(
        "requests",
        "Requests",
        "one row per coin asked for",
        "Nothing was asked for in this time.",
        _requests,
        (
            Column(
                "Request",
                "request",
                of("application"),
                link=lambda row: reverse("loans:request", args=[row.application.pk]),
                linked_for=BORROWER,
            ),
            Column(
                "Status",
                "status",
                of("public_status"),
                show=lambda row: row.status[:1].upper() + row.status[1:],
            ),
            amount("Asked for", "line.amount", "line.asset"),
            only_in_file("line.asset_id"),
            _TERM,
            words("Paid into", "application.receiver"),
            several("Collateral accounts", "accounts"),
            several("Coins", "coins"),
            loan("loan"),
            instant("application.submitted_at", "Sent"),
        ),
    ),
    Tab(
        "repayments",
        "Repayments",
        "what reduced the debts",
        "Nothing was repaid in this time.",
        _timeless(histories.repayments),
        (
            loan("loan"),
            instant("at"),
            words("Status", "status"),
            amount("Paid", "total", "asset"),
            amount("Principal", "principal", "asset"),
            amount("Interest", "interest", "asset"),
            amount("Late fee", "late_fee", "asset"),
            only_in_file("asset"),
            words("How", "way"),
            words("Why not", "note"),
            entry(),
        ),
    ),
    Tab(
        "renewals",
        "Renewals",
        "orders that continue another",
        "No loan was renewed in this time.",
        _timeless(histories.renewals),
        (
            loan("loan", "New order"),
            Column("Continues", "renews", of("renewed"), link=lambda row: to_loan(row.renewed.pk)),
            instant("at"),
            amount("Principal", "principal", "loan.asset"),
            amount("Interest paid first", "interest_paid", "loan.asset"),
            instant("due_before", "Was due"),
            instant("due_after", "Is due"),
        ),
    ),
    Tab(
        "liquidations",
        "Liquidations",
        "forced sales, and the steps of a chosen de-leveraging",
        "Nothing was sold from collateral in this time.",
        _timeless(histories.liquidations),
        (
            Column("Liquidation", "liquidation", str, link=lambda row: to_liquidation(row.pk)),
            Column("Group", "group", of("group"), link=lambda row: to_group(row.group_id)),
            Column("Cause", "cause", of("cause"), show=lambda row: row.get_cause_display()),
            Column("Result", "status", of("status"), show=lambda row: row.get_status_display()),
            ltv("LTV", "ltv"),
            ltv("LTV at the end", "end_ltv", known=lambda row: row.end_ltv is not None),
            usd("Debt", "debt_value"),
            usd("Sold", "sold_usd"),
            usd("Fee", "fee_usd"),
            usd("Still owed", "shortfall_usd"),
            instant("started_at", "Started"),
            instant("ended_at", "Ended"),
        ),
    ),
    Tab(
        "adjustments",
        "LTV adjustments",
        "collateral in and out, trades, accounts",
        "Collateral did not change in this time.",
        _timeless(histories.adjustments),
        (
            words("What", "what"),
            instant("at"),
            Column("Moved", "amount", of("amount"), show=_moved, is_figure=True),
            only_in_file("asset"),
            several("Accounts", "accounts"),
            Column(
                "Direction",
                "direction",
                lambda row: " ".join(effect.direction for effect in row.effects),
                show=lambda row: ", ".join(effect.direction.lower() for effect in row.effects),
            ),
            Column("LTV before", "ltv_before", lambda row: _effects(row, "ltv_before"), is_figure=True),
            Column("LTV after", "ltv_after", lambda row: _effects(row, "ltv_after"), is_figure=True),
            entry(),
        ),
    ),
    Tab(
        "interest",
        "Interest",
        "one row per charge; a day is charged at the 00:00 UTC that ends it",
        "Nothing was charged in this time.",
        _timeless(histories.interest),
        (
            loan("loan"),
            instant("at", "Charged at"),
            instant("period_start", "From"),
            amount("Principal", "basis", "asset"),
            rate("Rate a year", "annual_rate"),
            amount("Interest", "interest", "asset", posting=True),
            amount("Late fee", "late_fee", "asset", posting=True),
            only_in_file("asset"),
            words("Formula", "formula"),
            Column(
                "Runs as", "latest", lambda row: f"L-{row.latest:04d}", link=lambda row: to_loan(row.latest)
            ),
            entry(),
        ),
        most_days=histories.MOST_INTEREST_DAYS,
    ),
    Tab(
        "flows",
        "All flows",
        "everything by type of income",
        "Nothing came, went or was charged in this time.",
        _timeless(histories.flows),
        (
            words("Type", "type"),
            instant("at"),
            amount("Amount", "amount", "asset"),
            only_in_file("asset"),
            words("Account", "account"),
            Column(
                "Loan",
                "loan",
                lambda row: "" if row.loan is None else f"L-{row.loan:04d}",
                link=lambda row: to_loan(row.loan),
            ),
            Column(
                "Liquidation",
                "liquidation",
                lambda row: "" if row.liquidation is None else f"X-{row.liquidation}",
                link=lambda row: to_liquidation(row.liquidation),
            ),
            words("Note", "note"),
            entry(),
        ),
        every=lambda scope, asked: histories.all_flows(scope, asked)[::-1],
    ),
    Tab(
        "collateral",
        "Collateral accounts",
        "as they stand now",
        "No account secures a loan now.",
        _collateral,
        (
            Column("Account", "account", of("account.pk"), show=of("account")),
            Column(
                "Secures",
                "group",
                of("group"),
                link=lambda row: "" if row.collateral_value is None else to_group(row.group.pk),
            ),
            Column("Holds", "coins", _held),
            usd("Market value", "market_value"),
            usd("Recognised, group", "collateral_value"),
            usd("Has to stay, group", "locked_value"),
            ltv("LTV", "ltv", known=lambda row: row.ltv is not None),
        ),
        dated=False,
    ),
    Tab(
        "rates",
        "Rates",
        "published, a year, at your level",
        "No rate was published in this time. Choose a coin.",
        _timeless(market.rate_changes),
        (
            words("Coin", "asset"),
            words("Kind", "kind"),
            instant("starts_at", "From"),
            rate("Rate a year", "annual_rate"),
        ),
    ),
    Tab(
        "loan-coins",
        "Loan coins",
        "rates and limits of one order today",
        "No coin is lent now.",
        lambda scope, asked, at: market.loanable_part(scope, asked, at=at),
        (
            words("Coin", "asset"),
            rate("Flexible", "flexible"),
            rate("Fixed 30 d", "fixed_30"),
            rate("Fixed 60 d", "fixed_60"),
            Column(
                "Least", "minimum_usd", of("minimum"), show=lambda row: _limit(row.minimum), is_figure=True
            ),
            Column(
                "Most", "maximum_usd", of("maximum"), show=lambda row: _limit(row.maximum), is_figure=True
            ),
            words("VIP level", "vip_level"),
        ),
        dated=False,
    ),
    Tab(
        "collateral-coins",
        "Collateral coins",
        "what counts of each, by market value",
        "No coin counts now.",
        lambda scope, asked, at: market.collateral_part(scope, asked, at=at),
        (
            words("Coin", "asset"),
            Column(
                "Counts",
                "tiers",
                lambda row: tiers_plain(row.tiers),
                show=lambda row: ratios_in_words(row.tiers),
            ),
        ),
        dated=False,
    ),
)
BY_SLUG: Final[Mapping[str, Tab]] = {tab.slug: tab for tab in TABS}


def header(tab: Tab) -> list[str]:
    return [column.name for column in tab.columns]


def plain(tab: Tab, rows: Iterable[Any]) -> Iterable[list[Any]]:
    """The rows for a file."""
    for row in rows:
        yield [_plain(column.plain(row)) for column in tab.columns]


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | Decimal | datetime | type(None)) else str(value)
