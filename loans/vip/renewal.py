"""Running on for another term: interest first, then a new order for the same principal (R-VIP-40…42).

The new order is linked to the old; the old rate runs to the old expiry and the new one from there, so renewing
early is neither cheaper nor dearer. It stands on a signed sheet of its own (R-VIP-15), keeps the borrower's choice of
auto-repay (R-VIP-47), and its type of rate is the old one's: switching is not renewing (R-VIP-25).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from accounts import people
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Account, LedgerAccount
from accounts.money import ZERO
from accounts.powers import MemberRule, Power
from accounts.words import tell
from loans import limits, ratecards
from loans.models import Loan, LoanEvent, RateType, SignedSheet
from loans.vip import at_expiry, auto_repay, messages, repayment, sheets
from loans.vip.repayment import Held, hold, take
from risk import book, debts, freezes, groups
from risk.levels import Action, Lines
from risk.models import Debt
from risk.waterfall import Parts


class NotRenewable(Refused):
    """The loan, its window or the new term do not allow a renewal; the message says which."""

    code = "not_renewable"


class MasterOnly(Refused):
    code = "master_only"


class CoinOverLimit(Refused):
    code = "coin_over_limit"
    sapi = -10031


class InterestNotCovered(Refused):
    code = "interest_not_covered"
    sapi = -10011


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
    def missing(self) -> Decimal:
        """How much Spot lacks for the accrued interest."""
        return max(self.interest - self.spot, ZERO)

    @property
    def is_covered(self) -> bool:
        """False is the red mark of R-VIP-33: Spot cannot pay the accrued interest."""
        return not self.missing


@command("vip.renew", returns=Loan, member=MemberRule(Power.REPAY))
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

    A fixed loan gets the fixed rate published now, with the client's spread (R-VIP-22, R-VIP-24). `asked_by` is the
    account that asks; None is the master.

    Raises:
        MasterOnly: a sub-account asks (R-VIP-02).
        LoanClosed: nothing is owed on the loan any more.
        NotRenewable: an open or residual loan, outside the window, or no such term.
        freezes.Frozen, RepaymentsClosed: a freeze stops renewing, or taking the interest.
        groups.PriceTooOld, groups.NotPermitted: the group is in a call or worse, or cannot be valued.
        CoinOverLimit, InterestNotCovered: the coin is over a limit; Spot holds less than the interest.
        ratecards.NoRate: no rate is published for the new term.
    """
    held = hold(loan_id)
    loan = held.loan
    _refuse_sub_account(loan, asked_by)
    _refuse_other_term(loan, term_days)
    due_at = _refuse_outside_window(loan, held.debt, at=at)
    lines = _refuse_group(loan, at=at)
    _refuse_over_limit(loan, held.debt.principal, at=at)
    quote = ratecards.quote_for(
        customer=loan.customer,
        product=loan.product,
        asset=loan.asset_id,
        rate_type=loan.rate_type,
        term_days=term_days,
        at=at,
    )
    interest = _pay_interest(held, at=at)
    assert held.debt.interest == held.debt.late_fee == 0, "interest is paid before a renewal"
    is_fixed = loan.rate_type == RateType.FIXED
    debt = debts.renew(
        old=held.debt,
        due_at=next_due(due_at, term_days),
        fixed_rate=quote.annual_rate if is_fixed else None,
        spread=ZERO if is_fixed else quote.spread,
        at=at,
    )
    on = at_expiry.auto_repays(loan)
    sheet = _sign(loan, debt, quote, lines=lines, term_days=term_days, on=on, actor=actor, at=at)
    new = _new_order(loan, debt, sheet, term_days=term_days, annual_rate=quote.annual_rate)
    LoanEvent.objects.create(loan=loan, kind="renewed", at=at, actor=actor.label, facts={"by": new.pk})
    LoanEvent.objects.create(loan=new, kind="drawn", at=at, actor=actor.label, facts={"renews": loan.pk})
    auto_repay.choose(new, on=on, actor=actor, at=at)
    messages.renewed(loan, new, interest=interest, at=at)
    return new


def next_due(due_at: datetime, term_days: int) -> datetime:
    """When the new order expires: counted from the old expiry, so renewing early loses nothing. R-VIP-42"""
    return due_at + timedelta(days=term_days)


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
        window_opens_at=opens_at(loan),
    )


def opens_at(loan: Loan) -> datetime | None:
    """When its renewal window opens; its length is part of the terms in force when the loan was drawn. R-VIP-40"""
    return window_opens_at(loan, days=ratecards.product_at(loan.product, at=loan.drawn_at).renewal_days)


def reasons_against(loan: Loan, *, at: datetime) -> tuple[str, ...]:
    """Why a renewal would be refused now, in the words of the refusals; Spot is told by `due_amounts`. Writes nothing.

    Outside its window only that: what else stands in the way may have changed by then.
    """
    try:
        _refuse_outside_window(loan, loan.debt, at=at)
    except NotRenewable as refusal:
        return (refusal.message,)
    found = []
    try:
        _refuse_group(loan, at=at)
    except Refused as refusal:
        found.append(refusal.message)
        if isinstance(refusal, groups.PriceTooOld):
            return tuple(found)  # without a price no limit can be looked at
    for check in (_refuse_over_limit_of, _refuse_closed_desk):
        try:
            check(loan, at)
        except Refused as refusal:
            found.append(refusal.message)
    return tuple(found)


def window_opens_at(loan: Loan, *, days: int) -> datetime | None:
    """00:00 UTC of the day `days` before the expiry; None for an open loan. R-VIP-40"""
    if loan.due_at is None:
        return None
    first = loan.due_at.astimezone(UTC).date() - timedelta(days=days)
    return datetime.combine(first, time(), UTC)


# --- Private ----------------------------------------------------------------------------------------


def _refuse_sub_account(loan: Loan, asked_by: int | None) -> None:
    masters = loan.customer.accounts.filter(kind=Account.Kind.MASTER)
    if asked_by is not None and not masters.filter(pk=asked_by).exists():
        raise MasterOnly(tell("Only the master account may renew {loan}.", loan=loan))


def _refuse_group(loan: Loan, *, at: datetime) -> Lines:
    """The group is held: it must not be frozen, and be below the margin call at fresh prices; returns its lines."""
    members = loan.group.members.filter(released_at__isnull=True).values_list("account_id", flat=True)
    freezes.refuse_frozen(
        action=Action.RENEW,
        uids=[loan.group.receiver_id, *members],
        group=loan.group,
        assets=[loan.asset_id],
        at=at,
    )
    state = book.state_of(loan.group, at=at)
    groups.permit(action=Action.RENEW, before=state, after=state, at=at)
    return state.lines


def _refuse_other_term(loan: Loan, term_days: int) -> None:
    """R-VIP-20, R-VIP-42"""
    if term_days not in ratecards.FIXED_TERMS:
        raise NotRenewable(
            tell(
                "{loan} can run on for 30 or 60 days, not {term_days}; ask your VIP manager for other terms.",
                loan=loan,
                term_days=term_days,
            )
        )


def _refuse_outside_window(loan: Loan, debt: Debt, *, at: datetime) -> datetime:
    """The old expiry, if `at` lies in the seven days before it. R-VIP-40"""
    if debt.residual_since is not None:
        raise NotRenewable(tell("{loan} was liquidated; what is left of it can only be repaid.", loan=loan))
    from_ = opens_at(loan)
    if debt.due_at is None or from_ is None:
        if debt.called_at is not None:
            raise NotRenewable(
                tell(
                    "{loan} is an open loan that was called: it does not renew. Repay it by {due_at}.",
                    loan=loan,
                    due_at=_told(debt.due_at),
                )
            )
        raise NotRenewable(tell("{loan} is open: it has no expiry, so there is nothing to renew.", loan=loan))
    if at < from_:
        raise NotRenewable(
            tell(
                "Renewal opens on {from_}, and {loan} can be renewed until {due_at}.",
                from_=_told(from_),
                loan=loan,
                due_at=_told(debt.due_at),
            )
        )
    if at >= debt.due_at:
        raise NotRenewable(
            tell(
                "{loan} expired on {due_at}, and with it the renewal window; repay it, or ask for a"
                " new loan.",
                loan=loan,
                due_at=_told(debt.due_at),
            )
        )
    return debt.due_at


def _told(instant: datetime | None) -> str:
    return tell("{instant:%-d %B %H:%M} UTC", instant=instant) if instant is not None else "never"


def _refuse_over_limit_of(loan: Loan, at: datetime) -> None:
    _refuse_over_limit(loan, loan.debt.principal, at=at)


def _refuse_closed_desk(loan: Loan, at: datetime) -> None:
    repayment.refuse_closed(loan.asset_id, at=at)


def _refuse_over_limit(loan: Loan, principal: Decimal, *, at: datetime) -> None:
    """R-VIP-41. The price is fresh: the coin is owed, and `groups.permit` wants fresh prices of what is owed."""
    refusal = limits.renewal_refusal(customer=loan.customer, asset=loan.asset_id, principal=principal, at=at)
    if refusal is not None:
        raise CoinOverLimit(
            tell("{message} Or repay part of {loan} first.", message=refusal.message, loan=loan)
        )


def _sign(
    old: Loan,
    debt: Debt,
    quote: ratecards.Quote,
    *,
    lines: Lines,
    term_days: int,
    on: bool,
    actor: Actor,
    at: datetime,
) -> SignedSheet:
    """The sheet of the new order; asking for the renewal is signing it. R-VIP-15"""
    agreement = people.current_agreement(at=at)
    body = sheets.body_for_renewal(
        old,
        lines=lines,
        amount=debt.principal,
        annual_rate=quote.annual_rate if old.rate_type == RateType.FIXED else None,
        spread=quote.spread,
        term_days=term_days,
        overdue_hours=debt.overdue_hours,
        late_multiplier=debt.late_multiplier,
        auto_repay=on,
        agreement=agreement.version if agreement is not None else "",
        at=at,
    )
    return sheets.sign(customer=old.customer, body=body, signed_by=actor.label, at=at)


def _new_order(old: Loan, debt: Debt, sheet: SignedSheet, *, term_days: int, annual_rate: Decimal) -> Loan:
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
        sheet=sheet,
        sheet_sha256=sheet.sha256,
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
            tell(
                "A renewal pays the interest first: {interest} {asset}. The Spot wallet of {receiver}"
                " holds {available} {asset}; transfer in {interest2} {asset} and renew again.",
                interest=messages.said(interest),
                asset=loan.asset_id,
                receiver=loan.group.receiver,
                available=messages.said(available),
                interest2=messages.said(interest - available),
            )
        )
    take(held, amount=interest, wallets=spot, reference=f"renewal-interest:{held.debt.pk}", at=at)
    return interest
