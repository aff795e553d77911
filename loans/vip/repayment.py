"""Paying back: any time, any part, from the coins where the loan was paid out, without penalty (R-VIP-27, R-VIP-34).

A repayment is always accepted in the group it pays for. Only when the paying account is at the same time
collateral of another group may that group's lines stop it, because its coins leave there.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import LedgerAccount
from accounts.money import ONE, ZERO, exact, round_down, round_up
from accounts.powers import MemberRule, Power
from accounts.words import tell
from loans.models import Loan, LoanEvent
from loans.vip import at_expiry, messages
from risk import book, debts, freezes, groups, prices
from risk.cure import DUST_USD
from risk.interest import midnights
from risk.levels import Action
from risk.models import Debt, DebtEntry
from risk.waterfall import Parts, allocate

WALLETS: Final = (LedgerAccount.Kind.SPOT, LedgerAccount.Kind.FIAT)  # paid from in this order (R-VIP-34)


class LoanClosed(Refused):
    code = "loan_closed"
    sapi = -10032


class BadRepayment(Refused):
    """Not an amount that can be repaid on this loan; the message says what can."""

    code = "bad_repayment"
    sapi = -10018


class TooMuch(BadRepayment):
    code = "more_than_owed"
    sapi = -10017


class LeavesDust(BadRepayment):
    code = "leaves_dust"
    sapi = -3024


class RepaymentsClosed(Refused):
    """The desk cannot take repayments now, and does not fine anybody for it (R-VIP-45, R-ADM-04)."""

    code = "repayments_closed"
    sapi = -10032


class GoingOn(Refused):
    """Its expiry is not settled yet, a midnight has passed since, and it bears no late fee for that (R-VIP-26)."""

    code = "going_on"
    sapi = -10032


class NotEnough(Refused):
    code = "insufficient_balance"
    sapi = -10011


@dataclass(frozen=True, slots=True)
class Held:
    """A loan whose accounts, groups and debt are locked, and what its borrower may pay from."""

    loan: Loan
    debt: Debt
    locks: groups.Held

    @property
    def receiver_uid(self) -> int:
        return self.loan.group.receiver_id

    def wallets(self, kinds: Collection[str] = WALLETS) -> list[LedgerAccount]:
        """The receiver's wallets of the loan's coin, Spot before Fiat; those never opened are absent."""
        rows = LedgerAccount.objects.filter(
            account_id=self.receiver_uid, asset_id=self.loan.asset_id, kind__in=kinds
        )
        return sorted(rows, key=lambda wallet: WALLETS.index(LedgerAccount.Kind(wallet.kind)))


@command("vip.repay", returns=DebtEntry, member=MemberRule(Power.REPAY))
def repay(
    *,
    loan_id: int,
    actor: Actor,
    at: datetime,
    amount: Decimal | None = None,
    share: Decimal | None = None,
    key: str = "",
    reason: str = "",
) -> DebtEntry:
    """Pay `amount` of the loan's coin, or `share` (a fraction; 1 is all) of what closes it, rounded up.

    Late fee, then interest, then principal; a loan repaid in full before its first midnight pays one day.
    R-VIP-31, R-VIP-33, R-VIP-34, R-GEN-51, R-GEN-52

    Raises:
        LoanClosed: nothing is owed on the loan any more.
        BadRepayment, TooMuch: not an amount of this coin, or more than is owed.
        LeavesDust: the principal left would be worth less than 10 USD.
        RepaymentsClosed: a freeze says so.
        GoingOn: it goes on at the flexible rate since its expiry, and that is booked within a minute.
        NotEnough: Spot and Fiat together hold less.
        groups.PriceTooOld, groups.NotPermitted: the coins are collateral of another group, which needs them.
    """
    held = hold(loan_id)
    amount = _judged(held, amount, share, at=at)
    entry = take(held, amount=amount, wallets=held.wallets(), reference=_reference(held.debt), at=at)
    record(held, entry, amount=amount, actor=actor, at=at)
    return entry


def amount_of(loan: Loan, share: Decimal, *, at: datetime) -> Decimal:
    """How much `share` of what closes the loan is at `at`, rounded up at the coin's places. Writes nothing."""
    return _part_of(debts.payoff_at(loan.debt, at=at).total, share, loan.asset.places)


def refusal_of(loan: Loan, *, amount: Decimal, at: datetime) -> Refused | None:
    """Why `repay` would not take this amount now; None when it would. Read without the lock; writes nothing."""
    receiver = loan.group.receiver_id
    locks = groups.Held(accounts={}, groups={}, pledged=groups.pledged_to([receiver]))
    held = Held(loan=loan, debt=loan.debt, locks=locks)
    try:
        _judged(held, amount, None, at=at)
        _refuse_taking(held, amount, held.wallets(), at=at)
    except Refused as refusal:
        return refusal
    return None


def hold(loan_id: int) -> Held:
    """Lock a loan's paying account, its groups and its debt. Inside a command.

    Raises:
        LoanClosed: nothing is owed on it any more.
    """
    loan = Loan.objects.select_related("asset", "customer", "group").get(pk=loan_id)
    locks = groups.hold(uids=[loan.group.receiver_id], group_ids=[loan.group_id])
    loan.group = locks.groups[loan.group_id]
    (debt,) = Debt.objects.locked(loan.debt_id)
    loan.debt = debt
    if debt.closed_at is not None:
        raise LoanClosed(
            tell(
                "{loan} is {closed_reason}; nothing is owed on it.",
                loan=loan,
                closed_reason=debt.get_closed_reason_display().lower(),
            )
        )
    return Held(loan=loan, debt=debt, locks=locks)


def take(
    held: Held,
    *,
    amount: Decimal,
    wallets: list[LedgerAccount],
    reference: str,
    at: datetime,
    charged_to: datetime | None = None,
) -> DebtEntry:
    """Take a payment on a held loan out of these wallets. Inside a command. `charged_to` as `debts.take_payment`.

    Raises:
        RepaymentsClosed: a freeze says so.
        NotEnough: the wallets hold less.
        groups.PriceTooOld, groups.NotPermitted: their coins secure another group, which needs them.
    """
    _refuse_taking(held, amount, wallets, at=at)
    return debts.take_payment(
        debt=held.debt,
        amount=amount,
        wallets=wallets,
        reference=reference,
        at=at,
        charged_to=charged_to,
    )


def record(held: Held, entry: DebtEntry, *, amount: Decimal, actor: Actor, at: datetime) -> None:
    """What follows a payment: the accounts of an empty group are free, the loan's event, the notice."""
    is_closed = held.debt.closed_at is not None
    if is_closed:
        groups.release_empty(held.loan.group, at=at)
    facts = {"paid": f"{amount:f}", "entry": entry.pk}
    kind = "repaid" if is_closed else "repayment"
    LoanEvent.objects.create(loan=held.loan, kind=kind, at=at, actor=actor.label, facts=facts)
    left = Parts(late_fee=held.debt.late_fee, interest=held.debt.interest, principal=held.debt.principal)
    messages.repaid(held.loan, entry, left=left, is_closed=is_closed, at=at)


def refuse_closed(coin: str, *, at: datetime) -> None:
    """Whether the desk takes repayments in this coin now. R-VIP-45, R-ADM-04

    Raises:
        RepaymentsClosed: with the reason, and until when.
    """
    freeze = freezes.repay_closed(coin, at)
    if freeze is not None:
        raise RepaymentsClosed(
            tell(
                "The desk cannot take repayments in {coin} until {ends_at:%-d %B %Y %H:%M} UTC:"
                " {value}. Until then no late fee is charged and the overdue period stands still; try"
                " again afterwards.",
                coin=coin,
                ends_at=freeze.ends_at,
                value=freeze.reason.rstrip("."),
            )
        )


# --- Private ----------------------------------------------------------------------------------------


def _judged(held: Held, amount: Decimal | None, share: Decimal | None, *, at: datetime) -> Decimal:
    """The amount asked for, once it is one that this loan takes. R-GEN-52, R-VIP-31"""
    _refuse_going_on(held, at=at)
    payoff = debts.payoff_at(held.debt, at=at).total
    amount = _asked(held.loan, payoff, amount, share)
    if amount < payoff:
        owed = debts.owed_at([held.debt], at=at)[held.debt.pk].parts
        _refuse_dust(held.loan, owed, amount, payoff=payoff, at=at)
    return amount


def _refuse_taking(held: Held, amount: Decimal, wallets: list[LedgerAccount], *, at: datetime) -> None:
    coin = held.loan.asset_id
    refuse_closed(coin, at=at)
    available = sum((wallet.balance for wallet in wallets), ZERO)
    if available < amount:
        raise NotEnough(
            tell(
                "{amount} {coin} is needed on {loan}; {receiver} has {available} {coin}.",
                amount=messages.said(amount),
                coin=coin,
                loan=held.loan,
                receiver=held.loan.group.receiver,
                available=messages.said(available),
            )
        )
    spot = sum((wallet.balance for wallet in wallets if wallet.kind == book.WALLET), ZERO)
    _permit_leaving(held, min(amount, spot), at=at)


def _refuse_going_on(held: Held, *, at: datetime) -> None:
    """The job that settles expiries is late: what would be taken now has a late fee in it that nobody owes. R-GEN-04"""
    debt, loan = held.debt, held.loan
    if debt.due_at is None or debt.overdue_since is not None or debt.residual_since is not None:
        return
    if any(midnights(after=debt.due_at, until=at)) and at_expiry.converts(loan):
        raise GoingOn(
            tell(
                "{loan} expired on {due_at:%-d %B %Y %H:%M} UTC and goes on at the flexible rate from"
                " then, without a late fee; that is being booked. Repay the order that continues it"
                " in a minute.",
                loan=loan,
                due_at=debt.due_at,
            )
        )


def _asked(loan: Loan, payoff: Decimal, amount: Decimal | None, share: Decimal | None) -> Decimal:
    if (amount is None) == (share is None):
        raise BadRepayment(tell("Say how much to repay: either an amount or a percentage."))
    if share is not None:
        if not (share.is_finite() and ZERO < share <= ONE):
            raise BadRepayment(tell("Repay more than 0 % and at most 100 %."))
        return _part_of(payoff, share, loan.asset.places)
    assert amount is not None
    if not amount.is_finite() or amount <= 0 or amount != round_down(amount, loan.asset.places):
        raise BadRepayment(
            tell(
                "An amount of {asset} is more than 0, with at most {places} decimals.",
                asset=loan.asset_id,
                places=loan.asset.places,
            )
        )
    if amount > payoff:
        raise TooMuch(
            tell(
                "{payoff} {asset} repays {loan} in full; you cannot repay more.",
                payoff=messages.said(payoff),
                asset=loan.asset_id,
                loan=loan,
            )
        )
    return amount


@exact
def _part_of(total: Decimal, share: Decimal, places: int) -> Decimal:
    return round_up(total * share, places)


@exact
def _refuse_dust(loan: Loan, owed: Parts, amount: Decimal, *, payoff: Decimal, at: datetime) -> None:
    """R-GEN-52, at the last good price: a repayment is possible whatever the prices do (R-GEN-22).

    Nothing left is dust too: all principal is paid, but not the one day that closes the loan (R-VIP-31).
    """
    left = owed.principal - allocate(amount=amount, owed=owed).principal
    quote = prices.latest(at=at, assets=[loan.asset_id]).get(loan.asset_id)
    if left == 0 or (quote is not None and left * quote.price < DUST_USD):
        raise LeavesDust(
            tell(
                "That would leave {left} {asset} of principal, worth less than {dust_usd} USD; repay"
                " {payoff} {asset} to close {loan}.",
                left=messages.said(left),
                asset=loan.asset_id,
                dust_usd=DUST_USD,
                payoff=messages.said(payoff),
                loan=loan,
            )
        )


def _permit_leaving(held: Held, amount: Decimal, *, at: datetime) -> None:
    """Coins that pay one group must not leave another one short. R-VIP-53"""
    other = held.locks.pledged.get(held.receiver_uid)
    if other is None or amount == 0:
        return
    before = book.state_of(other, at=at)
    after = before.changed(balances={(held.receiver_uid, held.loan.asset_id): -amount})
    groups.permit(action=Action.MOVE_OUT, before=before, after=after, at=at)


def _reference(debt: Debt) -> str:
    """The next payment on this debt; its row is locked, so the count cannot move."""
    number = debt.entries.filter(kind=DebtEntry.Kind.REPAYMENT).count() + 1
    return f"repayment:{debt.pk}:{number}"
