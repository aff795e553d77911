"""What the panels of a loan's page show: a repayment before it is made, and a renewal before its window and in it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django import forms
from django.http import HttpRequest

from accounts.models import LedgerAccount, User
from accounts.money import ZERO, exact
from accounts.pages.forms import refuse
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans import ratecards
from loans.models import Loan
from loans.policy import policy_of
from loans.vip import renewal, repayment
from risk import book, debts, whatif
from risk.cure import Kind
from risk.levels import Band
from risk.models import DebtEntry, Instalment
from risk.pages.advice import Suggestion
from risk.pages.effect import Effect, effect_of
from risk.pages.promised import Step, again, promise_of
from risk.pages.standing import Standing
from risk.promises import PromiseBroken, refuse_broken
from risk.waterfall import Parts, allocate


@dataclass(frozen=True, slots=True)
class Payment:
    """What a repayment would do. `short`: how much Spot and Fiat lack for it."""

    amount: Decimal
    parts: Parts
    left: Decimal
    short: Decimal
    effect: Effect | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What the renewal panel says. `reasons`: why it would be refused now, apart from Spot."""

    opens_at: datetime
    is_open: bool
    is_called: bool
    reasons: tuple[str, ...]
    rates: tuple[tuple[int, Decimal, datetime], ...]  # days, a year's rate, the new expiry
    effect: Effect | None  # once its window is open


def available(row: Loan) -> Decimal:
    """Spot, then Fiat, of the receiver in the loan's coin. R-VIP-34"""
    piles = LedgerAccount.objects.filter(
        account=row.group.receiver_id, asset=row.asset_id, kind__in=repayment.WALLETS
    )
    return sum((pile.balance for pile in piles), ZERO)


@exact
def payment_of(row: Loan, *, form: forms.Form, share: Decimal | None, at: datetime) -> Payment:
    """Split as the command will: late fee, interest, principal (R-GEN-51). What it would refuse is an error."""
    payoff = debts.payoff_at(row.debt, at=at)
    typed = form.cleaned_data["amount"]
    amount = repayment.amount_of(row, share, at=at) if share is not None else typed
    if amount > payoff.total:
        full = figures.plain(payoff.total, row.asset_id)
        form.add_error(
            "amount", tell("{full} repays {row} in full; you cannot repay more.", full=full, row=row)
        )
        amount = payoff.total
    refusal = repayment.refusal_of(row, amount=amount, at=at)
    if refusal is not None and refusal.code != repayment.NotEnough.code:
        form.add_error(None, refusal.message)
    return Payment(
        amount=amount,
        parts=allocate(amount=amount, owed=payoff),
        left=payoff.total - amount,
        short=max(amount - available(row), ZERO),
        effect=_effect_of_paying(row, amount, at=at),
    )


def _effect_of_paying(row: Loan, amount: Decimal, *, at: datetime) -> Effect | None:
    """On its group, at the last good prices: a repayment asks for no fresh ones. R-GEN-22"""
    before = book.state_of(row.group, at=at)
    owed = next((each for each in before.debts if each.debt.pk == row.debt_id), None)
    if owed is None:
        return None
    payoff = debts.payoff_at(row.debt, at=at).total
    after = whatif.with_repayment(before, owed, amount, payoff=payoff)
    return effect_of(before, after, permission=False)


def is_promise_broken(request: HttpRequest, form: forms.Form, payment: Payment) -> bool:
    """Whether the cure that this repayment is does not lead where it promised; said on the form. R-FTR-02"""
    promise = promise_of(request, form)
    if promise is None or payment.effect is None:
        return False
    try:
        refuse_broken(promise, payment.effect.then)
    except PromiseBroken as refusal:
        refuse(form, refusal)
        return True
    return False


def cure_again(request: HttpRequest, row: Loan, form: forms.Form, *, at: datetime) -> Suggestion | None:
    """The same cure with the figures of now. R-FTR-02"""
    promise = promise_of(request, form)
    if promise is None:
        return None
    return again(row.group, promise, Step(Kind.REPAY, row.asset_id, loan=row.debt_id), at=at)


def paid_words(row: Loan, entry: DebtEntry) -> str:
    """The confirmation of a repayment: how much, and what of it went where. R-GEN-51"""
    parts = (
        (entry.late_fee, tell("late fee")),
        (entry.interest, tell("interest")),
        (entry.principal, tell("principal")),
    )
    named = [(-amount, word) for amount, word in parts if amount]
    if len(named) == 1:
        return tell(
            "{named} is paid on {row}, all of it {named2}.",
            named=figures.plain(named[0][0], row.asset_id),
            row=row,
            named2=named[0][1],
        )
    paid = figures.plain(sum((amount for amount, _ in named), ZERO), row.asset_id)
    split = joined(
        ", ",
        (
            tell("{amount} of {word}", amount=figures.plain(amount, row.asset_id), word=word)
            for amount, word in named
        ),
    )
    return tell("{paid} is paid on {row}: {split}.", paid=paid, row=row, split=split)


def renewed_words(old: Loan, new: Loan, *, at: datetime) -> str:
    """The confirmation of a renewal: what it paid first, and until when it runs. R-VIP-41, R-VIP-42"""
    assert new.due_at is not None
    told = tell(
        "{old} continues as {new} until {due_at:%-d %b %Y, %H:%M} UTC.", old=old, new=new, due_at=new.due_at
    )
    entry = old.debt.entries.filter(kind=DebtEntry.Kind.REPAYMENT, at=at).order_by("-pk").first()
    return told if entry is None else tell("{old} {told}", old=paid_words(old, entry), told=told)


def renewal_of(row: Loan, standing: Standing | None, at: datetime) -> Offer | None:
    """The renewal panel; None when there is nothing to renew."""
    opens_at, debt = renewal.opens_at(row), row.debt
    is_over = debt.residual_since is not None or debt.due_at is None or at >= debt.due_at
    if standing is None or opens_at is None or debt.due_at is None or is_over:
        return None
    due, is_open = renewal.due_amounts(row, at=at), at >= opens_at
    own = policy_of(row.customer, at=at)
    quotes = {
        days: ratecards.rates_for(
            product=row.product,
            assets=[row.asset_id],
            rate_type=row.rate_type,
            term_days=days,
            vip_level=row.customer.vip_level,
            at=at,
            policy=own,
        ).get(row.asset_id)
        for days in ratecards.FIXED_TERMS
    }
    return Offer(
        opens_at=opens_at,
        is_open=is_open,
        is_called=standing.band in {Band.CALL, Band.LIQ},
        reasons=renewal.reasons_against(row, at=at),
        rates=tuple(
            (days, quote.annual_rate, renewal.next_due(debt.due_at, days))
            for days, quote in quotes.items()
            if quote is not None
        ),
        effect=_effect_of_paying(row, due.interest, at=at) if is_open else None,
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
