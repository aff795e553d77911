"""The counter-offer calculator on a request's page: what terms would bring, and what they would risk (R-FTR-15).

A form of its own that only asks (GET): nothing is offered by it, but what was typed is what the counter-offer form
begins with. The group is the one the approval would make, at this moment's prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.http import HttpRequest

from accounts.models import Asset
from accounts.money import ZERO, exact
from accounts.words import tell
from loans import dealing
from loans.dealing import Outcome, Position, Yield
from loans.models import Application, Offer, RateType
from loans.pages.bargain import percent_field
from loans.pages.desk_waiting import WaitingRow, looked_at
from loans.policy import with_spread
from loans.vip import sheets
from loans.vip.sheets import CoinRate, Wanted
from risk import parameters, steps
from risk.book import GroupState
from risk.parameters import NotPublished
from risk.waterfall import Due

OPEN_DAYS: Final = 30  # an open loan has no end, so it is looked at over as many days as a short term has
FALL: Final = Decimal("0.3")
PREFIX: Final = "calc"


class DealForm(forms.Form):
    """Terms to try, filled with those of the version that stands, and how far the collateral is to fall."""

    use_required_attribute = False

    term = forms.IntegerField(label=tell("Term, days"), required=False, min_value=1, max_value=365)
    fee = percent_field(tell("Liquidation fee"))
    fall = percent_field(tell("Collateral falls by"))
    cost = percent_field(tell("Cost of funds a year"))

    def __init__(self, *args: Any, base: Wanted, rate_type: str, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"initial": _initial(base), "prefix": PREFIX}))
        self.base = base
        is_fixed = rate_type == RateType.FIXED
        for rate in base.rates:
            label = (
                tell("{asset}, fixed rate a year", asset=rate.asset)
                if is_fixed
                else tell("{asset}, on top of the flexible rate", asset=rate.asset)
            )
            self.fields[f"rate_{rate.asset}"] = percent_field(label, least=0 if is_fixed else -100)
        self.fields["term"].help_text = (
            "" if is_fixed else tell("Empty is open, looked at over {open_days} days.", open_days=OPEN_DAYS)
        )
        self.fields["cost"].required = False
        self.fields["cost"].help_text = tell("Empty: not counted.")

    @property
    def rate_fields(self) -> list[forms.BoundField]:
        return [self[f"rate_{rate.asset}"] for rate in self.base.rates]

    def wanted(self) -> Wanted:
        told = self.cleaned_data
        rates = tuple(CoinRate(one.asset, _fraction(told[f"rate_{one.asset}"])) for one in self.base.rates)
        return replace(self.base, rates=rates, term_days=told["term"], fee=_fraction(told["fee"]))


@dataclass(frozen=True, slots=True)
class CoinYield:
    """One coin of the deal. `rate`: all that is paid a year; None where no flexible rate is published."""

    asset: Asset
    amount: Decimal
    days: int
    rate: Decimal
    found: Yield


@dataclass(frozen=True, slots=True)
class Case:
    """One set of terms, worked out. `outcome` None: something owed has no price."""

    title: str
    yields: tuple[CoinYield, ...]
    unpublished: tuple[str, ...]
    outcome: Outcome | None
    break_even: Decimal | None
    debt_break_even: Decimal | None


@dataclass(frozen=True, slots=True)
class Calculator:
    """Everything the panel shows; `look` is the request as the queue has it, with its score and its clock."""

    look: WaitingRow
    form: DealForm
    fall: Decimal
    cost: Decimal
    cases: tuple[Case, ...]
    slippage: Decimal
    wanted: Wanted  # what the counter-offer begins with: as typed, else as in the version that stands


def calculator_of(request: HttpRequest, application: Application, last: Offer, *, at: datetime) -> Calculator:
    """What the terms that stand would bring and risk, and those that were typed. R-FTR-15"""
    base = sheets.wanted_of(last.body)
    is_asked = any(name.startswith(f"{PREFIX}-") for name in request.GET)
    form = DealForm(request.GET if is_asked else None, base=base, rate_type=application.rate_type)
    is_told = is_asked and form.is_valid()
    fall = _fraction(form.cleaned_data["fall"]) if is_told else FALL
    cost = _fraction(form.cleaned_data["cost"] or ZERO) if is_told else ZERO
    [row] = looked_at(Application.objects.filter(pk=application.pk), at=at)
    slippage = parameters.settings_at(at).slippage
    deal = _Deal(application, row, fall=fall, cost=cost, slippage=slippage, at=at)
    cases = [deal.case(tell("As in version {version}", version=last.version), base)]
    typed = form.wanted() if is_told else None
    if typed is not None and typed != base:
        cases.append(deal.case(tell("As typed"), typed))
    return Calculator(
        row, form, fall=fall, cost=cost, cases=tuple(cases), slippage=slippage, wanted=typed or base
    )


@dataclass(frozen=True, slots=True)
class _Deal:
    """A request and the group it would make: what every case is worked out on."""

    application: Application
    row: WaitingRow
    fall: Decimal
    cost: Decimal
    slippage: Decimal
    at: datetime

    def case(self, title: str, wanted: Wanted) -> Case:
        rates = self._rates(wanted)
        position = self._position(wanted)
        return Case(
            title=title,
            yields=tuple(
                self._yield(line.asset, line.amount, rates[line.asset_id], wanted)
                for line in self.row.lines
                if line.asset_id in rates
            ),
            unpublished=tuple(one.asset for one in wanted.rates if one.asset not in rates),
            outcome=dealing.sold_out(position, fall=self.fall) if position else None,
            break_even=dealing.break_even(position) if position else None,
            debt_break_even=dealing.break_even(position, with_fee=False) if position else None,
        )

    def _rates(self, wanted: Wanted) -> Mapping[str, Decimal]:
        """What each coin costs a year: the fixed rate, or today's flexible one with the spread. R-VIP-24"""
        if self.application.rate_type == RateType.FIXED:
            return {rate.asset: rate.rate for rate in wanted.rates}
        found = {}
        for rate in wanted.rates:
            try:
                published = parameters.flexible_rate(
                    product=self.application.product, asset=rate.asset, at=self.at
                )
            except NotPublished:
                continue
            found[rate.asset] = with_spread(published, rate.rate)
        return found

    def _yield(self, asset: Asset, amount: Decimal, rate: Decimal, wanted: Wanted) -> CoinYield:
        days = wanted.term_days or OPEN_DAYS
        found = dealing.yield_of(
            amount=amount, annual_rate=rate, days=days, places=asset.places, cost_of_funds=self.cost
        )
        return CoinYield(asset, amount=amount, days=days, rate=rate, found=found)

    def _position(self, wanted: Wanted) -> Position | None:
        handling = parameters.handling_for(
            product=self.application.product, customer=self.application.customer_id, at=self.at
        )
        return position_of(self.row.state, fee=wanted.fee, slippage=self.slippage, fee_base=handling.fee_base)


def position_of(state: GroupState, *, fee: Decimal, slippage: Decimal, fee_base: Any) -> Position | None:
    """The group as a forced sale would find it; None when something owed has no price to value it by."""
    owed = [(one.debt.asset_id, one.parts.total) for one in state.debts]
    dues = [
        Due(number, asset, amount, state.quotes[asset].price, state.assets[asset].places)
        for number, (asset, amount) in enumerate([*owed, *state.borrowed], start=1)
        if asset in state.quotes
    ]
    if len(dues) < len(owed) + len(state.borrowed):
        return None
    stocks = tuple(steps.stocks_of(state))
    return Position(dues=tuple(dues), stocks=stocks, fee=fee, slippage=slippage, fee_base=fee_base)


@exact
def _fraction(percent: Decimal) -> Decimal:
    return percent / 100


@exact
def _percent(fraction: Decimal) -> str:
    return sheets.plain(fraction * 100)


def _initial(base: Wanted) -> dict[str, Any]:
    rates = {f"rate_{rate.asset}": _percent(rate.rate) for rate in base.rates}
    return rates | {"term": base.term_days, "fee": _percent(base.fee), "fall": _percent(FALL)}
