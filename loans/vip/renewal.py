"""Running on for another term: interest first, then a new order for the same principal (R-VIP-40…42).

The new order is linked to the old; the old rate runs to the old expiry and the new one from there, so renewing
early is neither cheaper nor dearer.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Account, LedgerAccount
from accounts.money import ZERO, exact
from loans import ratecards
from loans.models import Loan, LoanEvent, RateType
from loans.vip import messages
from loans.vip.repayment import Held, hold, take
from risk import book, debts, groups, parameters, prices
from risk.levels import Action
from risk.models import Debt
from risk.waterfall import Parts


class NotRenewable(Refused):
    """The loan, its window or the new term do not allow a renewal; the message says which."""

    code = "not_renewable"


class MasterOnly(Refused):
    code = "master_only"


class CoinOverLimit(Refused):
    code = "coin_over_limit"


class InterestNotCovered(Refused):
    code = "interest_not_covered"
    sapi = -2010


@dataclass(frozen=True, slots=True)
class Due:
    """What a loan owes at an instant, in its coin, and what could be done about it."""

    owed: Parts
    payoff: Decimal  # closes it, the one day a loan pays at least included (R-VIP-31)
    spot: Decimal  # in the receiver's Spot wallet
    window_opens_at: datetime | None  # None: an open loan does not renew

    @property
    def interest(self) -> Decimal:
        """Interest and late fee: what a renewal pays first."""
        return self.owed.interest + self.owed.late_fee

    @property
    def is_covered(self) -> bool:
        """False is the red mark of R-VIP-33: Spot cannot pay the accrued interest."""
        return self.spot >= self.interest


@command("vip.renew", returns=Loan)
def renew(
    *,
    loan_id: int,
    term_days: int,
    actor: Actor,
    at: datetime,
    asked_by: int | None = None,
    key: str = "",
    reason: str = "",
) -> Loan:
    """Pay all interest from Spot and carry the principal into a new order of 30 or 60 days. R-VIP-40…42, EX-20

    A fixed loan gets the fixed rate published now. `asked_by` is the account that asks; None is the master.

    Raises:
        MasterOnly: a sub-account asks (R-VIP-02).
        LoanClosed: nothing is owed on the loan any more.
        NotRenewable: an open or residual loan, outside the window, or no such term.
        groups.PriceTooOld, groups.NotPermitted: the group is in a call or worse, or cannot be valued.
        CoinOverLimit, InterestNotCovered: the principal is above the limit; Spot holds less than the interest.
        ratecards.NoRate: no rate is published for the new term.
    """
    held = hold(loan_id)
    loan = held.loan
    _refuse_sub_account(loan, asked_by)
    due_at = _refuse_outside_window(held, term_days, at=at)
    state = book.state_of(loan.group, at=at)
    groups.permit(action=Action.RENEW, before=state, after=state, at=at)
    _refuse_over_limit(loan, held.debt.principal, at=at)
    annual_rate = ratecards.rate_for(
        product=loan.product,
        asset=loan.asset_id,
        rate_type=loan.rate_type,
        term_days=term_days,
        vip_level=loan.customer.vip_level,
        at=at,
    )
    interest = _pay_interest(held, at=at)
    debt = debts.renew(
        old=held.debt,
        due_at=due_at + timedelta(days=term_days),
        fixed_rate=annual_rate if loan.rate_type == RateType.FIXED else None,
        at=at,
    )
    new = _new_order(loan, debt, term_days=term_days, annual_rate=annual_rate)
    LoanEvent.objects.create(loan=loan, kind="renewed", at=at, actor=actor.label, facts={"by": new.pk})
    LoanEvent.objects.create(loan=new, kind="drawn", at=at, actor=actor.label, facts={"renews": loan.pk})
    messages.renewed(loan, new, interest=interest, at=at)
    return new


def due_amounts(loan: Loan, *, at: datetime) -> Due:
    """What the loan owes at `at`, and whether Spot covers its interest. Writes nothing. R-VIP-33"""
    debt = loan.debt
    spot = LedgerAccount.objects.filter(
        account_id=loan.group.receiver_id, asset_id=loan.asset_id, kind=LedgerAccount.Kind.SPOT
    ).first()
    return Due(
        owed=debts.owed_at([debt], at=at)[debt.pk].parts,
        payoff=ZERO if debt.closed_at else debts.payoff_at(debt, at=at).total,
        spot=spot.balance if spot is not None else ZERO,
        window_opens_at=window_opens_at(loan, days=_days(loan)),
    )


def window_opens_at(loan: Loan, *, days: int) -> datetime | None:
    """00:00 UTC of the day `days` before the expiry; None for an open loan. R-VIP-40"""
    if loan.due_at is None:
        return None
    first = loan.due_at.astimezone(UTC).date() - timedelta(days=days)
    return datetime.combine(first, time(), UTC)


# --- Private ----------------------------------------------------------------------------------------


def _days(loan: Loan) -> int:
    """The window's length is part of the terms in force when the loan was drawn."""
    return ratecards.product_at(loan.product, at=loan.drawn_at).renewal_days


def _refuse_sub_account(loan: Loan, asked_by: int | None) -> None:
    masters = loan.customer.accounts.filter(kind=Account.Kind.MASTER)
    if asked_by is not None and not masters.filter(pk=asked_by).exists():
        raise MasterOnly(f"Only the master account may renew {loan}.")


def _refuse_outside_window(held: Held, term_days: int, *, at: datetime) -> datetime:
    """The old expiry, if `at` lies in the seven days before it. R-VIP-20, R-VIP-40"""
    loan, debt = held.loan, held.debt
    if term_days not in ratecards.FIXED_TERMS:
        raise NotRenewable(f"{loan} can run on for 30 or 60 days, not {term_days}.")
    if debt.residual_since is not None:
        raise NotRenewable(f"{loan} was liquidated; what is left of it can only be repaid.")
    opens_at = window_opens_at(loan, days=_days(loan))
    if debt.due_at is None or opens_at is None:
        raise NotRenewable(f"{loan} has no expiry, so there is nothing to renew.")
    if at < opens_at:
        raise NotRenewable(f"{loan} can be renewed from {opens_at:%Y-%m-%d %H:%M} UTC.")
    if at >= debt.due_at:
        raise NotRenewable(f"{loan} expired on {debt.due_at:%Y-%m-%d %H:%M} UTC; repay it.")
    return debt.due_at


@exact
def _refuse_over_limit(loan: Loan, principal: Decimal, *, at: datetime) -> None:
    """R-VIP-41. The price is fresh: the coin is owed, and `groups.permit` wants fresh prices of what is owed."""
    limit = parameters.loan_limit(
        product=loan.product, asset=loan.asset_id, vip_level=loan.customer.vip_level, at=at
    )
    price = prices.latest(at=at, assets=[loan.asset_id])[loan.asset_id].price
    value = principal * price
    if limit is None or value > limit.maximum:
        most = f"{limit.maximum:,.2f} USD" if limit is not None else "nothing"
        raise CoinOverLimit(
            f"{messages.said(principal)} {loan.asset_id} is worth {value:,.2f} USD and the limit is {most};"
            f" repay part of {loan} first."
        )


def _new_order(old: Loan, debt: Debt, *, term_days: int, annual_rate: Decimal) -> Loan:
    return Loan.objects.create(
        product=old.product,
        customer=old.customer,
        group=old.group,
        debt=debt,
        asset=old.asset,
        amount=debt.principal,
        rate_type=old.rate_type,
        annual_rate=annual_rate,
        term_days=term_days,
        drawn_at=debt.opened_at,
        due_at=debt.due_at,
        renews=old,
    )


def _pay_interest(held: Held, *, at: datetime) -> Decimal:
    """All accrued interest, from Spot alone; returns how much. R-VIP-41"""
    loan, parts = held.loan, debts.owed_at([held.debt], at=at)[held.debt.pk].parts
    interest = parts.interest + parts.late_fee
    if interest == 0:
        return ZERO
    spot = held.wallets([LedgerAccount.Kind.SPOT])
    available = sum((wallet.balance for wallet in spot), ZERO)
    if available < interest:
        raise InterestNotCovered(
            f"A renewal pays the interest first: {messages.said(interest)} {loan.asset_id}. The Spot wallet of"
            f" {loan.group.receiver} holds {messages.said(available)} {loan.asset_id}."
        )
    take(held, amount=interest, wallets=spot, reference=f"renewal-interest:{held.debt.pk}", at=at)
    return interest
