"""The terms check: what a loan would cost and what it would do to the group, before anybody decides anything.

One read for three uses: the borrower's "check terms", the manager's look at a request, and the check at
approval under the lock. So what was shown is what is decided on.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from accounts.models import Agreement, Customer, LedgerAccount
from accounts.money import ZERO, divide_down, exact
from accounts.people import current_agreement, needs_agreement
from loans import ratecards
from loans.models import Loan, Product
from loans.vip.effect import CoinView, Effect, effect_of
from loans.vip.eligibility import Parties, Problem, Request, Wish, borrowable, parties_of, problems
from risk import parameters, prices, valuation
from risk.interest import daily_charge
from risk.levels import Lines
from risk.models import LoanLimit, ProductCode

__all__ = ["Agreed", "CoinView", "Effect", "Line", "Problem", "Request", "TermSheet", "Wish", "check"]

LEVELS = ("initial", "margin_call", "liquidation", "cutoff", "fee")


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides settled on instead of the published terms (R-VIP-24); what is absent is as published.

    `rates`: fixed annual rate by coin. `spreads`: what is added to the flexible rate, by coin. `lines`: of the
    whole group. `overdue_hours`: from expiry to forced sale.
    """

    rates: Mapping[str, Decimal]
    spreads: Mapping[str, Decimal] = field(default_factory=dict)
    lines: Lines | None = None
    overdue_hours: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One coin of the request. `declined` says why this coin cannot be lent online while the others can.

    Values are USD at the index price; None where nothing is published.
    """

    asset: str
    amount: Decimal
    places: int
    annual_rate: Decimal | None
    price: Decimal | None
    value: Decimal | None
    minimum: Decimal | None
    maximum: Decimal | None
    lendable: Decimal  # in the coin: what the desk has of it
    daily_interest: Decimal | None  # in the coin
    max_borrow: Decimal | None = None  # in the coin, alone and as things stand
    declined: str = ""


@dataclass(frozen=True, slots=True)
class TermSheet:
    """The answer. Acceptable when `problems` is empty; `effect` is None when too much is missing to value it."""

    request: Request
    at: datetime
    product: Product
    lines: tuple[Line, ...]
    effect: Effect | None
    due_at: datetime | None
    agreement: Agreement | None  # to be accepted first (R-VIP-16)
    agreement_version: str  # in force
    problems: tuple[Problem, ...]

    @property
    def accepted_lines(self) -> tuple[Line, ...]:
        """The coins that go ahead (R-VIP-06)."""
        return tuple(line for line in self.lines if not line.declined)

    @property
    def value(self) -> Decimal:
        """USD of the coins that go ahead."""
        return sum((line.value for line in self.accepted_lines if line.value is not None), ZERO)

    @property
    def fingerprint(self) -> str:
        """Names the terms the applicant saw: rates, amounts, lines, fee. Prices and LTV move and are left out."""
        return hashlib.sha256(json.dumps(self._bound(), sort_keys=True).encode()).hexdigest()

    def of(self, field: str) -> list[str]:
        """The messages on one field."""
        return [problem.message for problem in self.problems if problem.field == field]

    def without(self, codes: Iterable[str]) -> "TermSheet":
        """The same sheet when some problems no longer matter."""
        codes = set(codes)
        return replace(self, problems=tuple(p for p in self.problems if p.code not in codes))

    def as_json(self) -> dict[str, Any]:
        """What is kept with the request (R-VIP-15): the terms, and the figures they were accepted on."""
        assert self.effect is not None, "only a sheet without problems is kept"
        effect = self.effect
        return self._bound() | {
            "at": self.at.isoformat(),
            "fingerprint": self.fingerprint,
            "agreement": self.agreement_version,
            "overdue_hours": self.product.overdue_hours,
            "late_multiplier": self.product.late_multiplier,
            "value_usd": _plain(self.value),
            "prices": {line.asset: _plain(line.price) for line in self.lines},
            "collateral_prices": {coin.asset: _plain(coin.price) for coin in effect.coins},
            "liquidation_prices": {coin.asset: _plain(coin.liquidation_price) for coin in effect.coins},
            "debt_usd": _plain(effect.after.debt),
            "collateral_usd": _plain(effect.after.collateral),
            "ltv_before": _plain(effect.now.ltv),
            "ltv_after": _plain(effect.after.ltv),
            "declined": {line.asset: line.declined for line in self.lines if line.declined},
        }

    def _bound(self) -> dict[str, Any]:
        lines = self.effect.lines if self.effect else None
        return {
            "receiver": self.request.receiver_uid,
            "accounts": sorted(self.request.account_uids),
            "coins": sorted(self.request.coins),
            "rate_type": self.request.rate_type,
            "term_days": self.request.term_days,
            "lines": [
                {
                    "asset": line.asset,
                    "amount": _plain(line.amount),
                    "annual_rate": _plain(line.annual_rate),
                    "daily_interest": _plain(line.daily_interest),
                }
                for line in sorted(self.accepted_lines, key=lambda line: line.asset)
            ],
            "levels": {name: _plain(getattr(lines, name)) for name in LEVELS} if lines else None,
        }


def check(request: Request, *, at: datetime, agreed: Agreed | None = None) -> TermSheet:
    """Price a request and collect everything that stands in its way. Writes nothing.

    `agreed` are the rates of a request that was accepted earlier; they bind (R-VIP-18). R-VIP-01…07, R-GEN-22,
    R-GEN-33, R-GEN-37, R-GEN-38, R-GEN-42, R-GEN-45, R-VIP-13
    """
    customer = Customer.objects.get(pk=request.customer_id)
    product = ratecards.product_at(ProductCode.VIP, at=at)
    parties = parties_of(request, customer=customer, product=product, at=at)
    lines, on_lines = _priced(parties, agreed)
    borrowed = {line.asset: line.amount for line in lines if not line.declined}
    effect = effect_of(parties, borrowed=borrowed) if parties.receiver and borrowed else None
    if effect is not None:
        lines = [_with_room(line, effect) for line in lines]
    sheet = TermSheet(
        request=request,
        at=at,
        product=product,
        lines=tuple(lines),
        effect=effect,
        due_at=None if request.term_days is None else at + timedelta(days=request.term_days),
        agreement=needs_agreement(customer=customer, at=at),
        agreement_version=str(current_agreement(at=at) or ""),
        problems=(*problems(parties), *on_lines, *(effect.problems if effect else ())),
    )
    return replace(sheet, problems=(*sheet.problems, *_large_enough(sheet)))


def _priced(parties: Parties, agreed: Agreed | None) -> tuple[list[Line], list[Problem]]:
    wishes = borrowable(parties)
    symbols = [wish.asset for wish in wishes]
    quotes = prices.latest(at=parties.at, assets=symbols)
    rates = agreed.rates if agreed is not None else _published_rates(parties, symbols)
    pools = LedgerAccount.objects.filter(kind=LedgerAccount.Kind.POOL, asset__in=symbols)
    lendable = {pool.asset_id: pool.balance for pool in pools}
    lines: list[Line] = []
    found: list[Problem] = []
    for wish in wishes:
        symbol = wish.asset
        limit = parameters.loan_limit(
            product=ProductCode.VIP, asset=symbol, vip_level=parties.customer.vip_level, at=parties.at
        )
        places = parties.assets[symbol].places
        line = _line(
            wish,
            places=places,
            rate=rates.get(symbol),
            quote=quotes.get(symbol),
            limit=limit,
            lendable=lendable.get(symbol, ZERO),
        )
        lines.append(line)
        if not line.declined:
            found += _on_line(line, quotes.get(symbol))
    if lines and all(line.declined for line in lines):
        found += [Problem(f"wishes.{line.asset}", "above_limit", line.declined) for line in lines]
    return lines, found


def _published_rates(parties: Parties, symbols: list[str]) -> dict[str, Decimal]:
    quotes = ratecards.rates_for(
        product=ProductCode.VIP,
        assets=symbols,
        rate_type=parties.request.rate_type,
        term_days=parties.request.term_days,
        vip_level=parties.customer.vip_level,
        at=parties.at,
    )
    return {symbol: quote.annual_rate for symbol, quote in quotes.items()}


@exact
def _line(
    wish: Wish,
    *,
    places: int,
    rate: Decimal | None,
    quote: prices.Quote | None,
    limit: LoanLimit | None,
    lendable: Decimal,
) -> Line:
    line = Line(
        asset=wish.asset,
        amount=wish.amount,
        places=places,
        annual_rate=rate,
        price=quote.price if quote is not None else None,
        value=wish.amount * quote.price if quote is not None else None,
        minimum=limit.minimum if limit is not None else None,
        maximum=limit.maximum if limit is not None else None,
        lendable=lendable,
        daily_interest=None
        if rate is None
        else daily_charge(principal=wish.amount, annual_rate=rate, places=places).interest,
    )
    if line.maximum is not None and line.value is not None and line.value > line.maximum:
        declined = (
            f"{wish.amount:f} {wish.asset} is worth {line.value:,.2f} USD, above your limit of"
            f" {line.maximum:,.2f} USD for one request; ask your VIP manager for more."
        )
        return replace(line, declined=declined)
    return line


def _on_line(line: Line, quote: prices.Quote | None) -> Iterator[Problem]:
    """R-GEN-22, R-GEN-38, R-VIP-06, R-VIP-22, R-VIP-23"""
    field = f"wishes.{line.asset}"
    if line.annual_rate is None:
        yield Problem(field, "no_rate", f"No rate is published for {line.asset} with this term.")
    if line.maximum is None:
        yield Problem(field, "no_limit", f"{line.asset} cannot be borrowed online; ask your VIP manager.")
    if line.amount > line.lendable:
        yield Problem(field, "pool_empty", f"The desk has too little {line.asset} to lend now.")
    if quote is None or not quote.fresh:
        yield Problem(
            field, "stale_price", f"There is no fresh price for {line.asset} now; try again shortly."
        )
    elif line.value is not None and line.minimum is not None and line.value < line.minimum:
        yield Problem(
            field,
            "below_minimum",
            f"{line.amount:f} {line.asset} is worth {line.value:,.2f} USD; the least is {line.minimum:,.2f} USD.",
        )


def _with_room(line: Line, effect: Effect) -> Line:
    """How much of the coin could be borrowed alone: by collateral, limit and pool. R-GEN-37, R-GEN-38, R-GEN-45"""
    if line.price is None or line.maximum is None:
        return line
    by_collateral = valuation.max_borrow(
        worth=effect.before, initial=effect.lines.initial, price=line.price, places=line.places
    )
    by_limit = divide_down(line.maximum, line.price, line.places)
    return replace(line, max_borrow=min(by_collateral, by_limit, line.lendable))


def _large_enough(sheet: TermSheet) -> Iterator[Problem]:
    """The request as a whole: 500,000 USD for a first loan, 50,000 USD later. R-VIP-07"""
    if not sheet.accepted_lines or any(line.value is None for line in sheet.accepted_lines):
        return
    is_first = not Loan.objects.filter(customer=sheet.request.customer_id).exists()
    least = sheet.product.first_minimum if is_first else sheet.product.later_minimum
    if sheet.value < least:
        which = "A first loan" if is_first else "A further loan"
        yield Problem(
            "wishes",
            "below_order_minimum",
            f"{which} is worth at least {least:,.0f} USD; this one is worth {sheet.value:,.2f} USD.",
        )


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
