"""The terms check: what a loan would cost and what it would do to the group, before anybody decides anything.

One read for three uses: the borrower's "check terms", the manager's look at a request, and the check at
approval under the lock. So what was shown is what is decided on.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from accounts.models import Agreement, Customer
from accounts.money import ZERO
from accounts.words import tell
from loans import limits, ratecards
from loans.models import Loan, Product
from loans.vip.effect import CoinView, Effect, effect_of
from loans.vip.eligibility import Parties, Problem, Request, Wish, parties_of, problems
from loans.vip.pricing import Agreed, Line, priced, with_room
from risk import parameters
from risk.handling import Handling
from risk.models import ProductCode

__all__ = ["Agreed", "CoinView", "Effect", "Line", "Problem", "Request", "TermSheet", "Wish", "check"]

LEVELS = ("initial", "margin_call", "liquidation", "cutoff", "fee")


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
    overdue_hours: int  # agreed, the client's own, or the product's: from expiry to forced sale (R-VIP-44)
    late_multiplier: int  # of the daily interest while overdue (R-VIP-43)
    handling: Handling  # the client's own or the product's, as in force at `at` (R-VIP-24)

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
            "all_or_nothing": self.request.all_or_nothing,
            "auto_repay": self.request.auto_repay,
            "overdue_hours": self.overdue_hours,
            "late_multiplier": self.late_multiplier,
            "handling": handling_told(self.handling),
            "lines": [
                {
                    "asset": line.asset,
                    "amount": _plain(line.amount),
                    "annual_rate": _plain(line.annual_rate),
                    "spread": _plain(line.spread),
                    "daily_interest": _plain(line.daily_interest),
                }
                for line in sorted(self.accepted_lines, key=lambda line: line.asset)
            ],
            "levels": {name: _plain(getattr(lines, name)) for name in LEVELS} if lines else None,
        }


def check(request: Request, *, at: datetime, agreed: Agreed | None = None) -> TermSheet:
    """Price a request and collect everything that stands in its way. Writes nothing.

    `agreed` are the terms both sides settled on earlier; they bind (R-VIP-18). R-VIP-01…07, R-GEN-22, R-GEN-33,
    R-GEN-37, R-GEN-38, R-GEN-42, R-GEN-45, R-VIP-13, R-VIP-24
    """
    customer = Customer.objects.get(pk=request.customer_id)
    product = ratecards.product_at(ProductCode.VIP, at=at)
    parties = parties_of(request, customer=customer, product=product, at=at)
    lines, on_lines = priced(parties, agreed)
    borrowed = {line.asset: line.amount for line in lines if not line.declined}
    effect = None
    if parties.receiver and borrowed:
        effect = effect_of(parties, borrowed=borrowed, agreed=agreed.lines if agreed else None)
        lines = [with_room(line, effect) for line in lines]
    sheet = TermSheet(
        request=request,
        at=at,
        product=product,
        lines=tuple(lines),
        effect=effect,
        due_at=None if request.term_days is None else at + timedelta(days=request.term_days),
        agreement=parties.must_accept,
        agreement_version=str(parties.agreement or ""),
        problems=(*problems(parties), *on_lines, *(_on_group(parties, effect) if effect else ())),
        overdue_hours=_overdue_hours(parties, agreed),
        late_multiplier=product.late_multiplier,
        handling=parameters.handling_for(product=ProductCode.VIP, customer=customer, at=at),
    )
    return replace(sheet, problems=(*sheet.problems, *_large_enough(sheet)))


def _overdue_hours(parties: Parties, agreed: Agreed | None) -> int:
    """Agreed, else the client's own, else the product's. R-VIP-44"""
    if agreed is not None and agreed.overdue_hours is not None:
        return agreed.overdue_hours
    own = parties.policy.overdue_hours
    return parties.product.overdue_hours if own is None else own


def _on_group(parties: Parties, effect: Effect) -> Iterator[Problem]:
    """What the group says, and the caps on what it would newly use as collateral. R-GEN-37"""
    yield from effect.problems
    for message in limits.collateral_refusals(parties.customer, new_use=effect.new_use, at=parties.at):
        yield Problem("coins", "collateral_cap", message)


def _large_enough(sheet: TermSheet) -> Iterator[Problem]:
    """The request as a whole: 500,000 USD for a first loan, 50,000 USD later. R-VIP-07"""
    if not sheet.accepted_lines or any(line.value is None for line in sheet.accepted_lines):
        return
    is_first = not Loan.objects.filter(customer=sheet.request.customer_id).exists()
    least = sheet.product.first_minimum if is_first else sheet.product.later_minimum
    if sheet.value < least:
        which = tell("A first loan") if is_first else tell("A further loan")
        yield Problem(
            "wishes",
            "below_order_minimum",
            tell(
                "{which} is worth at least {least:,.0f} USD; this one is worth {sheet:,.2f} USD.",
                which=which,
                least=least,
                sheet=sheet.value,
            ),
        )


def handling_told(handling: Handling) -> dict[str, str | None]:
    """What a sheet says of how a group is sold, charged and may trade in a call. R-VIP-24"""
    return {
        "mode": handling.mode.value,
        "target": _plain(handling.target),
        "fee_base": handling.fee_base.value,
        "call_trades": handling.call_trades.value,
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
