"""What the panels of a loan's page show: a repayment before it is made, and a renewal before its window and in it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django import forms

from accounts.models import LedgerAccount, User
from accounts.money import ZERO, exact, round_up
from accounts.templatetags import figures
from loans import ratecards
from loans.models import Loan
from loans.vip import renewal, repayment
from loans.vip.renewal import Due
from risk import debts
from risk.levels import Band
from risk.models import Instalment
from risk.pages.standing import Standing, repaid
from risk.pages.track import Track, track
from risk.waterfall import Parts, allocate


@dataclass(frozen=True, slots=True)
class Payment:
    """What a repayment would do. `short`: how much Spot and Fiat lack for it."""

    amount: Decimal
    parts: Parts
    left: Decimal
    short: Decimal
    ltv_after: Decimal | None
    track: Track | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What the renewal panel says. `reasons`: why it would be refused now, apart from Spot."""

    opens_at: datetime
    is_open: bool
    is_called: bool
    reasons: tuple[str, ...]
    rates: tuple[tuple[int, Decimal], ...]


def available(row: Loan) -> Decimal:
    """Spot, then Fiat, of the receiver in the loan's coin. R-VIP-34"""
    piles = LedgerAccount.objects.filter(
        account=row.group.receiver_id, asset=row.asset_id, kind__in=repayment.WALLETS
    )
    return sum((pile.balance for pile in piles), ZERO)


@exact
def payment_of(
    row: Loan,
    *,
    form: forms.Form,
    share: Decimal | None,
    due: Due,
    standing: Standing | None,
    at: datetime,
) -> Payment:
    """Split as the command will split it: late fee, interest, principal (R-GEN-51). More than owed is an error."""
    payoff = debts.payoff_at(row.debt, at=at)
    typed = form.cleaned_data["amount"]
    amount = round_up(payoff.total * share, row.asset.places) if share is not None else typed
    if amount > payoff.total:
        full = figures.plain(payoff.total, row.asset_id)
        form.add_error("amount", f"{full} repays {row} in full; you cannot repay more.")
        amount = payoff.total
    after, drawn = None, None
    if standing is not None and row.asset_id in standing.state.quotes and not standing.is_blind:
        owed = min(amount, due.owed.total)  # the one day that is paid at least is not part of LTV yet
        after = repaid(standing.worth, owed * standing.state.quotes[row.asset_id].price).ltv
        if standing.worth.ltv is not None and after is not None:
            drawn = track(standing.worth.ltv, standing.lines, after=after)
    return Payment(
        amount=amount,
        parts=allocate(amount=amount, owed=payoff),
        left=payoff.total - amount,
        short=max(amount - available(row), ZERO),
        ltv_after=after,
        track=drawn,
    )


def renewal_of(row: Loan, standing: Standing | None, at: datetime) -> Offer | None:
    """The renewal panel; None when there is nothing to renew."""
    opens_at, debt = renewal.opens_at(row), row.debt
    is_over = debt.residual_since is not None or debt.due_at is None or at >= debt.due_at
    if standing is None or opens_at is None or is_over:
        return None
    quotes = {
        days: ratecards.rates_for(
            product=row.product,
            assets=[row.asset_id],
            rate_type=row.rate_type,
            term_days=days,
            vip_level=row.customer.vip_level,
            at=at,
            customer=row.customer,
        ).get(row.asset_id)
        for days in ratecards.FIXED_TERMS
    }
    return Offer(
        opens_at=opens_at,
        is_open=at >= opens_at,
        is_called=standing.band in {Band.CALL, Band.LIQ},
        reasons=renewal.reasons_against(row, at=at),
        rates=tuple((days, quote.annual_rate) for days, quote in quotes.items() if quote is not None),
    )


def can_be_called(row: Loan) -> bool:
    """An open loan that was not called yet. R-VIP-44"""
    debt = row.debt
    return debt.closed_at is None and debt.residual_since is None and debt.due_at is None


def may_call(user: User, row: Loan) -> bool:
    """Its client's VIP manager, or a risk officer. R-VIP-44"""
    is_theirs = user.role == User.Role.VIP_MANAGER and row.customer.manager_id == user.pk
    return is_theirs or user.role == User.Role.RISK_OFFICER


def plan_of(row: Loan) -> list[Instalment]:
    """What is agreed about a residual debt, by due date; empty without a running plan. R-GEN-78"""
    running = Instalment.objects.filter(plan__debt=row.debt_id, plan__ended_at__isnull=True)
    return list(running.order_by("due_at"))
