"""The lists of the history pages: which there are, and their columns, for the page and for CSV alike (R-GEN-90)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.urls import reverse

from accounts.templatetags import figures
from accounts.words import capital, joined, tell
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
    return tell("flexible, {shown}", shown=shown) if row.rate is None else shown


def _effects(row: histories.Adjustment, name: str) -> str:
    return joined(
        ", ",
        (
            figures.ltv(value)
            for value in (getattr(effect, name) for effect in row.effects)
            if value is not None
        ),
    )


def _moved(row: histories.Adjustment) -> str:
    if row.amount is None:
        return ""
    got = (
        tell(" for {got_amount}", got_amount=figures.plain(row.got_amount, row.got_asset))
        if row.got_amount is not None
        else ""
    )
    return f"{figures.plain(row.amount, row.asset)}{got}"


def _held(row: histories.CollateralRow) -> str:
    return joined(", ", (figures.plain(amount, asset) for asset, amount, _ in row.coins))


def _limit(value: Decimal | None) -> str:
    return "" if value is None else figures.usd(value)


def tiers_plain(tiers: Tiers) -> str:
    """Ratios by tier for a file."""
    return joined(
        "; ",
        (
            tell("from {floor:f} USD: {ratio:f}", floor=tier.floor.normalize(), ratio=tier.ratio.normalize())
            for tier in tiers
        ),
    )


_TERM = Column(
    tell("Term"),
    "term_days",
    of("term_days"),
    show=lambda row: tell("{term_days} d", term_days=row.term_days) if row.term_days else tell("open"),
)
_STATUS = Column(tell("Status"), tell("status"), of("public_status"), show=lambda row: row.row.status.value)
_ORDER: Final = (
    loan("loan"),
    _STATUS,
    amount(tell("Owed"), "total_debt", "loan.asset"),
    only_in_file("loan.asset"),
    Column(
        tell("Rate"),
        "annual_rate",
        lambda row: "flexible" if row.rate is None else row.rate,
        show=_rate_of_order,
        is_figure=True,
    ),
    amount(tell("Interest due"), "residual_interest", "loan.asset"),
    ltv("LTV", "ltv", known=lambda row: row.ltv is not None),
    Column(
        tell("Expires"),
        "expires_at_utc",
        of("expires_at"),
        show=lambda row: figures.when(row.expires_at, "day") or tell("open"),
    ),
    Column(
        tell("Drawn"), "loan_date_utc", of("loan_date"), show=lambda row: figures.when(row.loan_date, "day")
    ),
    _TERM,
    usd(tell("Recognised, group"), "collateral_value"),
    usd(tell("Has to stay, group"), "locked_value"),
    several(tell("Collateral accounts"), "collateral_accounts"),
    several(tell("Coins"), "collateral_coins"),
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
    Tab(
        "ongoing",
        tell("Ongoing"),
        tell("what is owed now"),
        tell("Nothing is owed."),
        _ongoing,
        _ORDER,
        dated=False,
    ),
    Tab(
        "orders",
        tell("Loans"),
        tell("by the day they were drawn"),
        tell("No loan was drawn in this time."),
        _orders,
        _ORDER,
    ),
    Tab(
        "requests",
        tell("Requests"),
        tell("one row per coin asked for"),
        tell("Nothing was asked for in this time."),
        _requests,
        (
            Column(
                tell("Request"),
                tell("request"),
                of("application"),
                link=lambda row: reverse("loans:request", args=[row.application.pk]),
                linked_for=BORROWER,
            ),
            Column(
                tell("Status"),
                tell("status"),
                of("public_status"),
                show=lambda row: capital(row.status),
            ),
            amount(tell("Asked for"), "line.amount", "line.asset"),
            only_in_file("line.asset_id"),
            _TERM,
            words(tell("Paid into"), "application.receiver"),
            several(tell("Collateral accounts"), "accounts"),
            several(tell("Coins"), "coins"),
            loan("loan"),
            instant("application.submitted_at", tell("Sent")),
        ),
    ),
    Tab(
        "repayments",
        tell("Repayments"),
        tell("what reduced the debts"),
        tell("Nothing was repaid in this time."),
        _timeless(histories.repayments),
        (
            loan("loan"),
            instant("at"),
            words(tell("Status"), "status"),
            amount(tell("Paid"), "total", "asset"),
            amount(tell("Principal"), "principal", "asset"),
            amount(tell("Interest"), "interest", "asset"),
            amount(tell("Late fee"), "late_fee", "asset"),
            only_in_file("asset"),
            words(tell("How"), "way"),
            words(tell("Why not"), "note"),
            entry(),
        ),
    ),
    Tab(
        "renewals",
        tell("Renewals"),
        tell("orders that continue another"),
        tell("No loan was renewed in this time."),
        _timeless(histories.renewals),
        (
            loan("loan", tell("New order")),
            Column(
                tell("Continues"), tell("renews"), of("renewed"), link=lambda row: to_loan(row.renewed.pk)
            ),
            instant("at"),
            amount(tell("Principal"), "principal", "loan.asset"),
            amount(tell("Interest paid first"), "interest_paid", "loan.asset"),
            instant("due_before", tell("Was due")),
            instant("due_after", tell("Is due")),
        ),
    ),
    Tab(
        "liquidations",
        tell("Liquidations"),
        tell("forced sales, and the steps of a chosen de-leveraging"),
        tell("Nothing was sold from collateral in this time."),
        _timeless(histories.liquidations),
        (
            Column(tell("Liquidation"), tell("liquidation"), str, link=lambda row: to_liquidation(row.pk)),
            Column(tell("Group"), tell("group"), of("group"), link=lambda row: to_group(row.group_id)),
            Column(tell("Cause"), tell("cause"), of("cause"), show=lambda row: row.get_cause_display()),
            Column(tell("Result"), tell("status"), of("status"), show=lambda row: row.get_status_display()),
            ltv("LTV", "ltv"),
            ltv(tell("LTV at the end"), "end_ltv", known=lambda row: row.end_ltv is not None),
            usd(tell("Debt"), "debt_value"),
            usd(tell("Sold"), "sold_usd"),
            usd(tell("Fee"), "fee_usd"),
            usd(tell("Still owed"), "shortfall_usd"),
            instant("started_at", tell("Started")),
            instant("ended_at", tell("Ended")),
        ),
    ),
    Tab(
        "adjustments",
        tell("LTV adjustments"),
        tell("collateral in and out, trades, accounts"),
        tell("Collateral did not change in this time."),
        _timeless(histories.adjustments),
        (
            words(tell("What"), "what"),
            instant("at"),
            Column(tell("Moved"), tell("amount"), of("amount"), show=_moved, is_figure=True),
            only_in_file("asset"),
            several(tell("Accounts"), "accounts"),
            Column(
                tell("Direction"),
                tell("direction"),
                lambda row: joined(" ", (effect.direction for effect in row.effects)),
                show=lambda row: joined(", ", (effect.direction.lower() for effect in row.effects)),
            ),
            Column(tell("LTV before"), "ltv_before", lambda row: _effects(row, "ltv_before"), is_figure=True),
            Column(tell("LTV after"), "ltv_after", lambda row: _effects(row, "ltv_after"), is_figure=True),
            entry(),
        ),
    ),
    Tab(
        "interest",
        tell("Interest"),
        tell("one row per charge; a day is charged at the 00:00 UTC that ends it"),
        tell("Nothing was charged in this time."),
        _timeless(histories.interest),
        (
            loan("loan"),
            instant("at", tell("Charged at")),
            instant("period_start", tell("From")),
            amount(tell("Principal"), "basis", "asset"),
            rate(tell("Rate a year"), "annual_rate"),
            amount(tell("Interest"), "interest", "asset", posting=True),
            amount(tell("Late fee"), "late_fee", "asset", posting=True),
            only_in_file("asset"),
            words(tell("Formula"), "formula"),
            Column(
                tell("Runs as"),
                tell("latest"),
                lambda row: f"L-{row.latest:04d}",
                link=lambda row: to_loan(row.latest),
            ),
            entry(),
        ),
        most_days=histories.MOST_INTEREST_DAYS,
    ),
    Tab(
        "flows",
        tell("All flows"),
        tell("everything by type of income"),
        tell("Nothing came, went or was charged in this time."),
        _timeless(histories.flows),
        (
            words(tell("Type"), "type"),
            instant("at"),
            amount(tell("Amount"), "amount", "asset"),
            only_in_file("asset"),
            words(tell("Account"), "account"),
            Column(
                tell("Loan"),
                tell("loan"),
                lambda row: "" if row.loan is None else f"L-{row.loan:04d}",
                link=lambda row: to_loan(row.loan),
            ),
            Column(
                tell("Liquidation"),
                tell("liquidation"),
                lambda row: "" if row.liquidation is None else f"X-{row.liquidation}",
                link=lambda row: to_liquidation(row.liquidation),
            ),
            words(tell("Note"), "note"),
            entry(),
        ),
        every=lambda scope, asked: histories.all_flows(scope, asked)[::-1],
    ),
    Tab(
        "collateral",
        tell("Collateral accounts"),
        tell("as they stand now"),
        tell("No account secures a loan now."),
        _collateral,
        (
            Column(tell("Account"), tell("account"), of("account.pk"), show=of("account")),
            Column(
                tell("Secures"),
                tell("group"),
                of("group"),
                link=lambda row: "" if row.collateral_value is None else to_group(row.group.pk),
            ),
            Column(tell("Holds"), tell("coins"), _held),
            usd(tell("Market value"), "market_value"),
            usd(tell("Recognised, group"), "collateral_value"),
            usd(tell("Has to stay, group"), "locked_value"),
            ltv("LTV", "ltv", known=lambda row: row.ltv is not None),
        ),
        dated=False,
    ),
    Tab(
        "rates",
        tell("Rates"),
        tell("published, a year, at your level"),
        tell("No rate was published in this time. Choose a coin."),
        _timeless(market.rate_changes),
        (
            words(tell("Coin"), "asset"),
            words(tell("Kind"), "kind"),
            instant("starts_at", tell("From")),
            rate(tell("Rate a year"), "annual_rate"),
        ),
    ),
    Tab(
        "loan-coins",
        tell("Loan coins"),
        tell("rates and limits of one order today"),
        tell("No coin is lent now."),
        lambda scope, asked, at: market.loanable_part(scope, asked, at=at),
        (
            words(tell("Coin"), "asset"),
            rate(tell("Flexible"), "flexible"),
            rate(tell("Fixed 30 d"), "fixed_30"),
            rate(tell("Fixed 60 d"), "fixed_60"),
            Column(
                tell("Least"),
                "minimum_usd",
                of("minimum"),
                show=lambda row: _limit(row.minimum),
                is_figure=True,
            ),
            Column(
                tell("Most"),
                "maximum_usd",
                of("maximum"),
                show=lambda row: _limit(row.maximum),
                is_figure=True,
            ),
            words(tell("VIP level"), "vip_level"),
        ),
        dated=False,
    ),
    Tab(
        "collateral-coins",
        tell("Collateral coins"),
        tell("what counts of each, by market value"),
        tell("No coin counts now."),
        lambda scope, asked, at: market.collateral_part(scope, asked, at=at),
        (
            words(tell("Coin"), "asset"),
            Column(
                tell("Counts"),
                tell("tiers"),
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
