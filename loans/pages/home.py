"""Home: what needs doing, where every group stands, and what money costs today (R-GEN-96, R-VIP-33).

Managers and staff have homes of their own, so they are sent there.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account, Agreement, Asset, Customer, LedgerAccount, User
from accounts.money import ZERO
from accounts.pages.access import customer_of, limited_to, user_of
from accounts.people import needs_agreement
from accounts.words import tell
from loans import limits, queries, ratecards
from loans.models import Application, Loan, Product
from loans.policy import policy_of
from loans.queries import LoanRow
from loans.ratecards import Quote
from loans.vip import papers, renewal
from risk import book, closes, delays, prices
from risk.cure import Kind
from risk.models import CollateralGroup, Liquidation, ProductCode
from risk.pages.advice import Suggestion, cures_for, goals_of
from risk.pages.course import MONTH
from risk.pages.holdings import AccountRow, Prices, account_rows, prices_of
from risk.pages.standing import Standing, assets_of, borrow_room, standing_of

MOST_SOLD: Final = 2  # the latest; all are in the history
MOST_TODOS: Final = 3
FEW_RATES: Final = 8
MOST_GROUP_COLUMNS: Final = 2


@dataclass(frozen=True, slots=True)
class Todo:
    """Something that needs doing; `deadline` None: no hurry.

    `kind`: called (a margin call), residual, overdue, called_back (an open loan), due, offer, agreement or sent (a
    request that waits for the desk: nothing to do, and good to know).
    """

    kind: str
    deadline: datetime | None
    standing: Standing | None = None
    row: LoanRow | None = None
    agreement: Agreement | None = None
    application: Application | None = None
    cure: Suggestion | None = None


@dataclass(frozen=True, slots=True)
class InterestDue:
    """Accrued interest and late fees in one coin, and how much of it the receivers' Spot cannot pay (R-VIP-33)."""

    asset: Asset
    due: Decimal
    short: Decimal


@dataclass(frozen=True, slots=True)
class Renewal:
    """The loan of a group whose renewal window comes first, or is open already (R-GEN-96, R-VIP-40)."""

    row: LoanRow
    opens_at: datetime
    is_open: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A group on home: where it stands, when it can next be renewed, its accounts and what they hold (R-GEN-96)."""

    standing: Standing
    renewal: Renewal | None
    accounts: tuple[AccountRow, ...]
    deciding: Prices | None


@dataclass(frozen=True, slots=True)
class RateRow:
    """Annual rates of a coin, None where none is published, and what may be borrowed: one figure per group."""

    asset: Asset
    flexible: Decimal | None
    fixed_30: Decimal | None
    fixed_60: Decimal | None
    rooms: tuple[tuple[CollateralGroup, Decimal], ...]
    most: Decimal | None  # for one request, by limit and pool


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    user, customer = user_of(request), customer_of(request)
    if user.role == User.Role.VIP_MANAGER:
        return redirect("loans:desk")
    if user.is_staff:
        return redirect("admin:index")
    if customer is None:
        return render(request, "loans/nobody.html")
    if limited_to(request) is not None:  # home tells of the whole customer; R-GEN-95
        return redirect("risk:wallets")
    at = timezone.now()
    groups = list(CollateralGroup.objects.open().filter(customer=customer).order_by("opened_at", "pk"))
    states = book.states(groups, at=at)
    running = delays.running_by_group(groups)
    past = closes.of_many(groups, days=MONTH, at=at)
    standings = [
        standing_of(group, states[group.pk], delay=running.get(group.pk), closes=past[group.pk])
        for group in groups
    ]
    owing = Loan.objects.filter(customer=customer, debt__closed_at__isnull=True)
    rows = [row for row in queries.loan_rows(owing, at=at) if row.is_open]
    todos = _todos(customer, standings, rows, at)
    places = _places(standings, rows, at)
    rates = _rates(customer, standings[:MOST_GROUP_COLUMNS], at, is_all=request.GET.get("rates") == "all")
    context = {
        "at": at,
        "is_house": False,
        "greeting": _greeting(at),
        "todos": todos[:MOST_TODOS],
        "more_todos": max(len(todos) - MOST_TODOS, 0),
        "standings": standings,
        "places": places,
        "accounts": [row for place in places for row in place.accounts],
        "columns": standings[:MOST_GROUP_COLUMNS],
        "debt": sum((each.worth.debt for each in standings), ZERO),
        "collateral": sum((each.worth.collateral for each in standings), ZERO),
        "market": sum((each.market for each in standings), ZERO),
        "room": sum((each.can_borrow_usd for each in standings), ZERO),
        "interest": _interest_due(rows),
        "rates": rates,
        "papers": papers.note_for(customer, at=at),
        "sold": _sold(customer, at),
    }
    return render(request, "loans/home.html", context)


def _greeting(at: datetime) -> str:
    if at.hour < 5 or at.hour >= 18:
        return tell("Good evening")
    return tell("Good morning") if at.hour < 12 else tell("Good afternoon")


def _sold(customer: Customer, at: datetime) -> list[Liquidation]:
    """What was sold of theirs within a month, newest first: each has its story. R-GEN-81"""
    rows = Liquidation.objects.filter(
        group__customer=customer, started_at__gt=at - timedelta(days=MONTH), steps__gt=0
    )
    return list(rows.select_related("group").order_by("-started_at", "-pk")[:MOST_SOLD])


# --- The groups -----------------------------------------------------------------------------------------


def _places(standings: list[Standing], rows: list[LoanRow], at: datetime) -> list[Place]:
    """Two queries, however many groups."""
    states = [each.state for each in standings]
    accounts = Account.objects.in_bulk({uid for state in states for uid in state.members})
    assets = assets_of(states)
    terms = list(Product.objects.filter(code=ProductCode.VIP).order_by("effective_at"))
    return [
        Place(
            each,
            _renewal([row for row in rows if row.loan.group_id == each.group.pk], terms, at),
            tuple(account_rows(each.state, each.coins, accounts, assets)),
            prices_of(each.state),
        )
        for each in standings
    ]


def _renewal(rows: list[LoanRow], terms: list[Product], at: datetime) -> Renewal | None:
    """Of loans that still may renew: a fixed or flexible term, not over and not called back. R-VIP-40"""
    found = []
    for row in rows:
        loan, debt = row.loan, row.loan.debt
        if debt.called_at is not None or debt.due_at is None or debt.due_at <= at or debt.residual_since:
            continue
        days = [one.renewal_days for one in terms if one.effective_at <= loan.drawn_at][-1:]
        opens_at = renewal.window_opens_at(loan, days=days[0] if days else Product().renewal_days)
        if opens_at is not None:
            found.append(Renewal(row, opens_at, opens_at <= at))
    return min(found, key=lambda one: (one.opens_at, one.row.loan.pk), default=None)


# --- What needs doing ----------------------------------------------------------------------------------


def _todos(customer: Customer, standings: list[Standing], rows: list[LoanRow], at: datetime) -> list[Todo]:
    """Nearest deadline first; a call has none on the clock, but every minute counts."""
    found = [
        Todo("called", at, standing=each, cure=_cheapest(each, at)) for each in standings if each.is_called
    ]
    soon = at + timedelta(days=ratecards.product_at(ProductCode.VIP, at=at).renewal_days)
    for row in rows:
        debt = row.loan.debt
        if debt.residual_since is not None:
            found.append(Todo("residual", debt.residual_since, row=row))
        elif debt.overdue_since is not None:
            found.append(Todo("overdue", row.liquidated_from, row=row))
        elif debt.called_at is not None:
            found.append(Todo("called_back", debt.due_at, row=row))
        elif debt.due_at is not None and debt.due_at <= soon:
            found.append(Todo("due", debt.due_at, row=row))
    status = Application.Status
    live = Application.objects.filter(
        customer=customer,
        status__in=(status.OFFERED, status.SUBMITTED, status.NEGOTIATING),
        expires_at__gt=at,
    )
    for each in live.order_by("pk"):
        is_offered = each.status == status.OFFERED
        found.append(
            Todo("offer", each.expires_at, application=each)
            if is_offered
            else Todo("sent", None, application=each)
        )
    agreement = needs_agreement(customer=customer, at=at)
    if agreement is not None:
        found.append(Todo("agreement", None, agreement=agreement))
    return sorted(found, key=lambda todo: (todo.kind != "called", todo.deadline is None, todo.deadline or at))


def _cheapest(standing: Standing, at: datetime) -> Suggestion | None:
    """What takes the group out of its call with the least value moved, if it can be done now. R-FTR-02"""
    if standing.is_blind or standing.state.is_liquidating:
        return None
    out_of_call, _ = goals_of(standing.state)
    found = cures_for(standing.state, (out_of_call,), at=at, linked=frozenset(Kind))
    return found[0].best if found else None


def _interest_due(rows: list[LoanRow]) -> list[InterestDue]:
    """By coin; each receiving account pays its own loans, so one's surplus does not cover another's lack."""
    due: dict[tuple[int, str], Decimal] = defaultdict(lambda: ZERO)
    assets = {}
    for row in rows:
        due[row.loan.group.receiver_id, row.loan.asset_id] += row.owed.interest + row.owed.late_fee
        assets[row.loan.asset_id] = row.loan.asset
    spot = _spot({uid for uid, _ in due}, assets)
    total: dict[str, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for (uid, symbol), amount in due.items():
        total[symbol][0] += amount
        total[symbol][1] += max(amount - spot.get((uid, symbol), ZERO), ZERO)
    return [
        InterestDue(assets[symbol], amount, short)
        for symbol, (amount, short) in sorted(total.items())
        if amount
    ]


def _spot(uids: Collection[int], assets: Collection[str]) -> dict[tuple[int, str], Decimal]:
    piles = LedgerAccount.objects.filter(account__in=uids, asset__in=assets, kind=LedgerAccount.Kind.SPOT)
    return {(pile.account_id or 0, pile.asset_id): pile.balance for pile in piles}


# --- What money costs ----------------------------------------------------------------------------------


def _rates(customer: Customer, columns: list[Standing], at: datetime, *, is_all: bool) -> dict[str, object]:
    """Coins the customer owes first, then those the desk has most of; a few unless all are asked for."""
    assets = Asset.objects.filter(loanable=True).in_bulk()
    own = policy_of(customer, at=at)
    published = ratecards.rates_by_term(
        product=ProductCode.VIP,
        assets=assets,
        terms=(None, 30, 60),
        vip_level=customer.vip_level,
        at=at,
        policy=own,
    )
    quotes = prices.latest(at=at, assets=assets)
    owed = {symbol for each in columns for symbol in each.state.owed_assets}
    offered = [symbol for symbol in assets if symbol in set().union(*published.values()) and symbol in quotes]
    pools = LedgerAccount.objects.house(LedgerAccount.Kind.POOL).filter(asset__in=offered)
    lendable = {pool.asset_id: pool.balance for pool in pools}
    worth = {symbol: lendable.get(symbol, ZERO) * quotes[symbol].price for symbol in offered}
    offered.sort(key=lambda symbol: (symbol not in owed, -worth[symbol], symbol))
    shown = offered if is_all else offered[:FEW_RATES]
    ceilings = limits.ceilings_of(customer, policy=own, assets=shown, quotes=quotes, at=at)
    rows = []
    for symbol in shown:
        asset, price = assets[symbol], quotes[symbol].price
        most = ceilings.most(asset, price=price, lendable=lendable.get(symbol, ZERO))
        rooms = tuple(
            (each.group, min(borrow_room(each.state, asset, price), most or ZERO)) for each in columns
        )
        flexible, fixed_30, fixed_60 = (_rate(by_coin, symbol) for by_coin in published.values())
        rows.append(RateRow(asset, flexible, fixed_30, fixed_60, rooms, most))
    return {"rows": rows, "rest": len(offered) - len(shown), "quotes": [quotes[symbol] for symbol in shown]}


def _rate(published: Mapping[str, Quote], symbol: str) -> Decimal | None:
    return published[symbol].annual_rate if symbol in published else None
