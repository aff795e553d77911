"""A customer's month as one body of facts, recomputed from the ledger, the same on any later day (R-GEN-94, R-FTR-08).

A month is (its first 00:00 UTC, the next month's 00:00 UTC]: the charge of a day is booked at the instant that ends
it. Only facts that cannot change any more are in it: ids, dates, amounts, prices; no names, and nothing that was only
expected. Amounts, rates and LTVs are plain decimal text; lists are in a fixed order; so its digest can be compared.

Opening + movements + charges = closing, for each loan and part of its debt, and for each group and coin.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final

from django.db.models import Q, Sum

from accounts import ledger
from accounts.errors import Refused
from accounts.models import Customer, LedgerAccount
from accounts.money import RATE_PLACES, ZERO, divide_down, exact
from loans import histories
from loans.histories import Asked, Flow, Income, Scope
from loans.statements.month import Body, Month, text
from risk import accrual, past, pledged
from risk.book import WALLET
from risk.interest import DAYS_PER_YEAR
from risk.models import CollateralGroup, Debt, DebtEntry, Liquidation

VERSION: Final = 1
PARTS: Final = ("principal", "interest", "late_fee")
METHOD: Final = {
    "interest": f"each 00:00 UTC: principal x annual rate / {DAYS_PER_YEAR}, rounded up at the coin's last decimal",
    "late_fee": "overdue days: the late multiple of it rounded up once, less the interest",
    "ltv": "debt / recognised collateral at each full hour, from the ledger and the last good prices of that hour",
    "period": "from just after `from` up to and at `to`, UTC",
}
COLLATERAL: Final = frozenset(
    {
        Income.ADD_COLLATERAL,
        Income.REMOVE_COLLATERAL,
        Income.COLLATERAL_SPENT,
        Income.COLLATERAL_RETURN,
        Income.RETURN_AFTER_LIQUIDATION,
    }
)
INTO: Final = frozenset({Income.ADD_COLLATERAL, Income.RETURN_AFTER_LIQUIDATION})

Progress = Callable[[int, int], None]


class NotOver(Refused):
    code = "month_not_over"


class NotCharged(Refused):
    code = "month_not_charged"


class NothingOwed(Refused):
    code = "no_loan_that_month"


def of(
    customer: Customer, month: Month, *, at: datetime, progress: Progress = lambda done, total: None
) -> Body:
    """The customer's month. Reads only; the more groups, the longer, and `progress` is told after each.

    Raises:
        NotOver: the month is not over at `at`.
        NothingOwed: the customer owed nothing in it.
        NotCharged: a charge or an expiry of the month is not booked yet; minutes later it is.
    """
    check(customer, month, at=at)
    groups = list(
        CollateralGroup.objects.filter(_running(month, "opened_at"), customer=customer).order_by("pk")
    )
    flows = histories.all_flows(Scope(customer), Asked(month.since, month.until))
    sections = []
    for done, group in enumerate(groups, start=1):
        sections.append(_ltv(group, month))
        progress(done, len(groups))
    return {
        "version": VERSION,
        "customer": customer.pk,
        "month": f"{month.first:%Y-%m}",
        "from": month.since.isoformat(),
        "to": month.until.isoformat(),
        "method": METHOD,
        "loans": [_loan(debt, month) for debt in debts_of(customer, month)],
        "liquidations": _liquidations(groups, month),
        "collateral": _collateral(groups, flows, month),
        "ltv": [section for section in sections if section["days"]],
        "totals": [
            {"type": type_, "asset": asset, "amount": text(amount)}
            for (type_, asset), amount in sorted(histories.totals(flows).items())
        ],
        "wallets": _wallets(customer, month),
    }


def check(customer: Customer, month: Month, *, at: datetime) -> None:
    """Whether there can be a statement of the month at `at`; the refusals of `of`."""
    if at < month.until:
        raise NotOver(
            f"{month} ends on {month.until:%-d %B %Y} 00:00 UTC; its statement can be made from then on."
        )
    if not debts_of(customer, month):
        raise NothingOwed(f"No loan of this client ran in {month}; there is nothing to state.")
    _refuse_uncharged(customer, month)


def debts_of(customer: Customer, month: Month) -> list[Debt]:
    """What the customer owed at some instant of the month, residual debts too."""
    rows = Debt.objects.filter(_running(month, "opened_at"), customer=customer)
    return list(rows.select_related("asset", "loan").order_by("pk"))


# --- Private ----------------------------------------------------------------------------------------


def _running(month: Month, opened: str) -> Q:
    """What was open at some instant of (since, until]."""
    still = Q(closed_at__isnull=True) | Q(closed_at__gt=month.since)
    return still & Q(**{f"{opened}__lte": month.until})


def _refuse_uncharged(customer: Customer, month: Month) -> None:
    """The books of the month are not complete while a running debt is not charged to its end. R-GEN-04"""
    behind = accrual.unsettled(month.until).filter(customer=customer, opened_at__lt=month.until)
    if behind.exists():
        raise NotCharged(f"The last interest of {month} is not booked yet; try again in some minutes.")


# --- Loans


def _loan(debt: Debt, month: Month) -> Body:
    entries = list(debt.entries.filter(at__gt=month.since, at__lte=month.until).order_by("at", "pk"))
    charges = [entry for entry in entries if entry.kind == DebtEntry.Kind.CHARGE]
    loan = getattr(debt, "loan", None)
    closed = debt.closed_at is not None and debt.closed_at <= month.until
    return {
        "loan": None if loan is None else loan.pk,
        "debt": debt.pk,
        "group": debt.group_id,
        "asset": debt.asset_id,
        "opened_at": debt.opened_at.isoformat(),
        "due_at": _due(debt, month),
        "closed": {"at": _iso(debt.closed_at), "as": debt.closed_reason} if closed else None,
        "residual": debt.residual_since is not None and debt.residual_since <= month.until,
        "opening": _owed(debt, month.since),
        "closing": _owed(debt, month.until),
        "movements": [_movement(entry) for entry in entries if entry.kind != DebtEntry.Kind.CHARGE],
        "charges": [_charge(entry) for entry in charges],
        "segments": _segments(charges),
    }


def _due(debt: Debt, month: Month) -> str | None:
    """As it stood at the month's end: an open loan called back later had no due date then."""
    is_later = debt.called_at is not None and debt.called_at > month.until
    return None if is_later else _iso(debt.due_at)


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _owed(debt: Debt, at: datetime) -> Body:
    sums = debt.entries.filter(at__lte=at).aggregate(**{part: Sum(part) for part in PARTS})
    return _parts([sums[part] or ZERO for part in PARTS])


def _parts(figures: Iterable[Decimal]) -> Body:
    named = dict(zip(PARTS, figures, strict=True))
    return {part: text(amount) for part, amount in named.items()} | {"total": text(sum(named.values(), ZERO))}


def _movement(entry: DebtEntry) -> Body:
    told = _parts([entry.principal, entry.interest, entry.late_fee])
    return {"at": entry.at.isoformat(), "kind": entry.kind, "entry": entry.entry_id} | told


def _charge(entry: DebtEntry) -> Body:
    assert entry.period_start is not None
    assert entry.basis is not None
    assert entry.annual_rate is not None
    return {
        "at": entry.at.isoformat(),
        "from": entry.period_start.isoformat(),
        "entry": entry.entry_id,
        "basis": text(entry.basis),
        "annual_rate": text(entry.annual_rate),
        "interest": text(entry.interest),
        "late_fee": text(entry.late_fee),
    }


def _segments(charges: Iterable[DebtEntry]) -> list[Body]:
    """Stretches of days charged alike: on the same principal, at the same rate, for the same sums."""
    found = []
    for _, alike in groupby(
        charges, key=lambda row: (row.basis, row.annual_rate, row.interest, row.late_fee)
    ):
        rows = list(alike)
        first, last = rows[0], rows[-1]
        assert first.basis is not None
        assert first.annual_rate is not None
        found.append(
            {
                "from": _iso(first.period_start),
                "to": _iso(last.period_end),
                "days": len(rows),
                "basis": text(first.basis),
                "annual_rate": text(first.annual_rate),
                "daily_interest": text(first.interest),
                "daily_late_fee": text(first.late_fee),
                "interest": text(sum((row.interest for row in rows), ZERO)),
                "late_fee": text(sum((row.late_fee for row in rows), ZERO)),
            }
        )
    return found


# --- Liquidations and collateral


def _liquidations(groups: Iterable[CollateralGroup], month: Month) -> list[Body]:
    """Every sale of the month by its liquidation, whenever that began."""
    rows = Liquidation.objects.filter(
        group__in=groups, sales__at__gt=month.since, sales__at__lte=month.until
    ).distinct()
    return [
        {
            "liquidation": row.pk,
            "group": row.group_id,
            "cause": row.cause,
            "started_at": row.started_at.isoformat(),
            "ltv": None if row.ltv is None else text(row.ltv),
            "sales": [
                {
                    "at": sale.at.isoformat(),
                    "account": sale.account_id,
                    "coin": sale.coin_id,
                    "sold": text(sale.sold),
                    "price": text(sale.price),
                    "debt": sale.debt_id,
                    "asset": sale.debt.asset_id,
                    "proceeds": text(sale.proceeds),
                    "fee": text(sale.fee),
                }
                for sale in row.sales.select_related("debt").order_by("step")
                if month.since < sale.at <= month.until
            ],
        }
        for row in rows.order_by("pk")
    ]


def _collateral(groups: Iterable[CollateralGroup], flows: Iterable[Flow], month: Month) -> list[Body]:
    spans = pledged.spans([group.pk for group in groups], since=month.since, until=month.until)
    opening, closing = (_pledged_at(spans, at) for at in (month.since, month.until))
    moved: dict[tuple[int, str], list[Flow]] = {}
    for flow in flows:
        if flow.type in COLLATERAL:
            moved.setdefault((flow.group, flow.asset), []).append(flow)
    keys = sorted({(span.group, span.asset) for span in spans} | set(moved))
    return [
        {
            "group": group,
            "asset": asset,
            "opening": text(opening.get((group, asset), ZERO)),
            "closing": text(closing.get((group, asset), ZERO)),
            "movements": [_flow(flow) for flow in moved.get((group, asset), ())],
        }
        for group, asset in keys
        if (group, asset) in moved or opening.get((group, asset)) or closing.get((group, asset))
    ]


def _flow(flow: Flow) -> Body:
    return {
        "at": flow.at.isoformat(),
        "type": flow.type.value,
        "account": flow.account,
        "amount": text(flow.amount if flow.type in INTO else -flow.amount),
        "entry": flow.entry_id,
        "liquidation": flow.liquidation,
    }


def _pledged_at(spans: Iterable[pledged.Span], at: datetime) -> dict[tuple[int, str], Decimal]:
    """What each group held of each chosen coin at `at`."""
    held = [
        span for span in spans if span.since <= at and (span.released_at is None or span.released_at > at)
    ]
    balances = ledger.balances_at(account_ids={span.account for span in held}, kinds=[WALLET], at=at)
    found: dict[tuple[int, str], Decimal] = {}
    for span in held:
        key = (span.group, span.asset)
        found[key] = found.get(key, ZERO) + balances.get((span.account, WALLET, span.asset), ZERO)
    return found


def _wallets(customer: Customer, month: Month) -> list[Body]:
    """Every wallet of every account, at the beginning and at the end; empty ones at both are left out."""
    uids = list(customer.accounts.values_list("pk", flat=True))
    kinds = list(LedgerAccount.WALLETS)
    opening, closing = (
        ledger.balances_at(account_ids=uids, kinds=kinds, at=at) for at in (month.since, month.until)
    )
    return [
        {
            "account": uid,
            "wallet": kind,
            "asset": asset,
            "opening": text(opening.get((uid, kind, asset), ZERO)),
            "closing": text(closing.get((uid, kind, asset), ZERO)),
        }
        for uid, kind, asset in sorted({*opening, *closing})
        if opening.get((uid, kind, asset)) or closing.get((uid, kind, asset))
    ]


# --- LTV


def _ltv(group: CollateralGroup, month: Month) -> Body:
    """Least, most and average LTV of each day, sampled at every full hour in which something was owed."""
    hours = [
        hour for hour in month.hours if hour >= group.opened_at
    ]  # before, not even lines need be published
    points = [point for point in past.ltvs(group, instants=hours) if point.owes]
    days = groupby(points, key=lambda point: (point.at - timedelta(microseconds=1)).date())
    return {
        "group": group.pk,
        "days": [{"day": day.isoformat()} | _spread(list(rows)) for day, rows in days],
        "month": _spread(points),
    }


@exact
def _spread(points: list[past.Point]) -> Body:
    """`uncovered`: hours with a debt and nothing that counted; `unknown`: hours without a price of what was owed."""
    known = [point.ltv for point in points if point.ltv is not None]
    return {
        "least": text(min(known)) if known else None,
        "most": text(max(known)) if known else None,
        "average": text(divide_down(sum(known, ZERO), Decimal(len(known)), RATE_PLACES)) if known else None,
        "hours": len(points),
        "uncovered": sum(point.is_known and point.ltv is None for point in points),
        "unknown": sum(not point.is_known for point in points),
    }
