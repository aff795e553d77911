"""Payment plans for residual debts: agreed with the borrower, then taken from Spot when due (R-GEN-78).

An instalment counts as paid once no more is owed than the later ones bring, whoever paid and however; so a
repayment, a set-off or a settlement in between shortens the plan instead of being asked for twice. The journal
entries are those of risk/residual.py.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from accounts import books
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.money import ZERO, divide_down, exact
from accounts.words import joined, tell
from risk import book, groups, insurance, residual
from risk.models import Debt, DebtEntry, Instalment, PaymentPlan
from risk.residual import said

logger = logging.getLogger(__name__)

MOST_INSTALMENTS = 60


class BadPlan(Refused):
    code = "bad_payment_plan"


class PlanRuns(Refused):
    code = "payment_plan_runs"


class NoPlan(Refused):
    code = "no_payment_plan"


@dataclass(frozen=True, slots=True)
class Due:
    """One payment of a plan to be agreed, in the debt's coin."""

    due_at: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What one pass over the plans did, by debt id. `missed`: Spot did not reach for what was due."""

    taken: tuple[int, ...]
    missed: tuple[int, ...]
    failed: tuple[int, ...]


@exact
def equal_parts(total: Decimal, *, count: int, places: int) -> tuple[Decimal, ...]:
    """`total` in `count` payments, rounded down at `places`; the last brings what is missing to the exact sum."""
    part = divide_down(total, Decimal(count), places)
    return (*[part] * (count - 1), total - part * (count - 1))


@command("residual.agree_plan", returns=PaymentPlan)
def agree_plan(
    *,
    debt_id: int,
    instalments: tuple[Due, ...],
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> PaymentPlan:
    """Agree by when the debt is paid; each payment is taken from Spot when it is due. R-GEN-78

    Together exactly what is owed; the dates rise and lie ahead.

    Raises:
        NotResidual, NotYourRole: as `set_off`. PlanRuns: another plan does; end it first.
        BadPlan: no such plan; the message says why.
    """
    debt, _ = residual.hold(debt_id)
    residual.refuse_stranger(actor, debt)
    if residual.running_plan(debt) is not None:
        raise PlanRuns(
            tell("A payment plan for {debt} runs already; end it before another is agreed.", debt=debt)
        )
    _check_plan(debt, instalments, at)
    plan = PaymentPlan.objects.create(debt=debt, agreed_at=at)
    for one in instalments:
        Instalment.objects.create(plan=plan, due_at=one.due_at, amount=one.amount)
    lines = [
        tell("  {due_at:%-d %B %Y, %H:%M} UTC: {amount}", due_at=one.due_at, amount=said(one.amount, debt))
        for one in instalments
    ]
    residual.tell(
        debt,
        "plan_agreed",
        event=f"plan:{plan.pk}",
        title=tell("Payment plan for {booked}", booked=said(debt.booked, debt)),
        body=joined(
            "\n",
            [
                tell(
                    "What {debt} still owes is taken from Spot of {receiver}:",
                    debt=debt,
                    receiver=debt.group.receiver,
                ),
                *lines,
            ],
        ),
        took=ZERO,
        at=at,
    )
    return plan


@command("residual.end_plan", returns=PaymentPlan)
def end_plan(*, debt_id: int, actor: Actor, at: datetime, reason: str, key: str = "") -> PaymentPlan:
    """Stop taking instalments; what is owed stays owed. R-GEN-78

    Raises:
        NotResidual, NotYourRole: as `set_off`. NoPlan: none runs. NoReason: it says why.
    """
    debt, _ = residual.hold(debt_id)
    residual.refuse_stranger(actor, debt)
    plan = residual.running_plan(debt)
    if plan is None:
        raise NoPlan(tell("No payment plan for {debt} runs.", debt=debt))
    residual.refuse_unreasoned(reason, "ended")
    plan.ended_at = at
    plan.save(update_fields=["ended_at"])
    return plan


def collect_due(*, at: datetime) -> CollectReport:
    """Take every instalment due at `at`, each debt by itself. Safe to run late, twice, or two at once. R-GEN-78"""
    taken, missed, failed = [], [], []
    job = Actor.job("instalments")
    for debt_id in _with_something_due(at):
        try:
            entry = collect(debt_id=debt_id, actor=job, at=at)
        except Refused as refusal:  # repaid or written off since we looked
            logger.info("no instalment taken for debt %s: %s (%s)", debt_id, refusal, refusal.code)
            continue
        except Exception:  # one bad debt must not shield the others
            logger.exception("the instalments of debt %s could not be taken", debt_id)
            failed.append(debt_id)
            continue
        if entry is not None:
            taken.append(debt_id)
        if Instalment.objects.filter(_is_due(at), plan__debt=debt_id).exists():
            missed.append(debt_id)
    return CollectReport(taken=tuple(taken), missed=tuple(missed), failed=tuple(failed))


@command("residual.collect", returns=DebtEntry)
def collect(*, debt_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> DebtEntry | None:
    """Take what the plan has due at `at` from Spot as far as it reaches; a payment by other means counts. R-GEN-78

    What is missing stays due and is told once per instalment. None when nothing was taken.

    Raises:
        NoPlan: none runs.
    """
    debt, locks = residual.hold(debt_id, is_open=False)
    plan = residual.running_plan(debt)
    if plan is None:
        raise NoPlan(tell("No payment plan for {debt} runs.", debt=debt))
    wallet = books.wallet(debt.group.receiver_id, debt.asset_id, book.WALLET)
    amount = min(_due_now(debt, plan, at), wallet.balance)
    entry, kept = None, _kept_back(debt, locks, amount, at=at)
    if amount and not kept:
        entry = residual.take(debt, wallet, amount, at=at)
        residual.tell(
            debt,
            "instalment_taken",
            event=f"instalment-taken:{entry.pk}",
            title=tell("{amount} was taken by your payment plan", amount=said(amount, debt)),
            body=tell(
                "{amount} of Spot of {receiver} was paid on {debt}.",
                amount=said(amount, debt),
                receiver=debt.group.receiver,
                debt=debt,
            ),
            took=amount,
            at=at,
        )
    else:
        residual.mark_paid(debt, at)  # what the borrower paid by themselves
    for instalment in Instalment.objects.filter(_is_due(at), plan=plan).order_by("due_at"):
        _tell_missed(debt, instalment, kept, at)
    return entry


# --- Private -----------------------------------------------------------------------------------------------


def _check_plan(debt: Debt, instalments: Sequence[Due], at: datetime) -> None:
    if not 1 <= len(instalments) <= MOST_INSTALMENTS:
        raise BadPlan(tell("A plan has 1 to {most_instalments} payments.", most_instalments=MOST_INSTALMENTS))
    for one in instalments:
        insurance.check_amount(debt.asset_id, one.amount)
    dates = [at, *(one.due_at for one in instalments)]
    if any(later <= earlier for earlier, later in zip(dates, dates[1:], strict=False)):
        raise BadPlan(tell("The dates of a plan lie ahead and rise."))
    total = sum((one.amount for one in instalments), ZERO)
    if total != debt.booked:
        raise BadPlan(
            tell(
                "The payments add up to {total}, but {booked} is owed.",
                total=said(total, debt),
                booked=said(debt.booked, debt),
            )
        )


def _is_due(at: datetime) -> Q:
    return Q(due_at__lte=at, paid_at__isnull=True, plan__ended_at__isnull=True)


def _with_something_due(at: datetime) -> list[int]:
    """Debts with an unpaid instalment, or closed by other means while their plan still runs."""
    plans = PaymentPlan.objects.filter(ended_at__isnull=True)
    due = Q(instalments__due_at__lte=at, instalments__paid_at__isnull=True)
    rows = plans.filter(due | Q(debt__closed_at__isnull=False))
    return list(rows.order_by("debt_id").values_list("debt_id", flat=True).distinct())


def _due_now(debt: Debt, plan: PaymentPlan, at: datetime) -> Decimal:
    """What is owed beyond the instalments still ahead."""
    ahead = plan.instalments.filter(due_at__gt=at).values_list("amount", flat=True)
    return max(debt.booked - sum(ahead, ZERO), ZERO)


def _kept_back(debt: Debt, locks: groups.Held, amount: Decimal, *, at: datetime) -> str:
    """Why these coins may not be taken now, in words; empty when they may, or when there are none."""
    try:
        if amount:
            residual.permit_leaving(debt, locks, amount, at=at)
    except Refused as refusal:
        logger.info("no instalment taken for %s: %s (%s)", debt, refusal, refusal.code)
        return refusal.message
    return ""


def _tell_missed(debt: Debt, instalment: Instalment, kept: str, at: datetime) -> None:
    why = tell(
        "and Spot of {receiver} did not reach. It is taken as soon as the coins are there.",
        receiver=debt.group.receiver,
    )
    if kept:
        why = tell("and could not be taken. {kept} It is taken as soon as that is over.", kept=kept)
    residual.tell(
        debt,
        "instalment_missed",
        event=f"instalment:{instalment.pk}:missed",
        title=tell("A payment of {amount} is missing", amount=said(instalment.amount, debt)),
        body=tell(
            "{amount} was due on {due_at:%-d %B %Y, %H:%M} UTC by your payment plan, {why}",
            amount=said(instalment.amount, debt),
            due_at=instalment.due_at,
            why=why,
        ),
        took=ZERO,
        at=at,
    )
