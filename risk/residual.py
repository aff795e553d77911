"""What a liquidation left owing: set off, paid by instalments, settled by the fund or written off (R-GEN-78, CX-9).

A residual debt has left its group and the sweep: it bears no interest and no fee, is secured by nothing, and keeps
its borrower from new loans until it is cleared. The borrower may repay it like any loan (loans/vip/repayment.py).

    event        debit              credit                          debt                   closed as
    set-off      wallet, pool       custody, late_fee, interest,    -late_fee, -interest,  repaid
    instalment                      principal                       -principal
    settlement   insurance          late_fee, interest, principal   the same               liquidated
    write-off    bad_debt           late_fee, interest, principal   all of it              written off
"""

from datetime import datetime
from decimal import Decimal

from accounts import books, ledger, notices
from accounts.commands import Actor, Arguments, FourEyes, NotYourRole, acting_user, command
from accounts.errors import Refused
from accounts.models import LedgerAccount, User
from accounts.money import ZERO, round_down
from accounts.words import tell as worded
from risk import book, debts, freezes, groups, insurance
from risk.levels import Action
from risk.models import Debt, DebtEntry, PaymentPlan
from risk.waterfall import Parts, allocate

COLLECTORS = frozenset({User.Role.FINANCE, User.Role.ADMIN, User.Role.VIP_MANAGER})


class NotResidual(Refused):
    code = "not_residual"


class NothingToTake(Refused):
    code = "nothing_to_set_off"
    sapi = -10011


class NoReason(Refused):
    code = "reason_needed"


# --- From the borrower's coins ------------------------------------------------------------------------------


@command("residual.set_off", returns=DebtEntry)
def set_off(*, debt_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> DebtEntry:
    """Take the debt's own coin from the receiver's Spot, as far as it reaches. By finance or the client's manager.

    Late fee, then interest, then principal. R-GEN-78, R-GEN-51

    Raises:
        NotResidual: the debt is closed, or was not left by a liquidation.
        NotYourRole: the actor does not collect this client's debts.
        NothingToTake: there is nothing of the coin in Spot.
        groups.PriceTooOld, groups.NotPermitted: the coins secure another group, which needs them.
        freezes.Frozen: the desk takes no repayments now.
    """
    debt, locks = hold(debt_id)
    refuse_stranger(actor, debt)
    wallet = books.wallet(debt.group.receiver_id, debt.asset_id, book.WALLET)
    amount = min(wallet.balance, debt.booked)
    if amount == 0:
        raise NothingToTake(
            worded(
                "Spot of {receiver} holds no {asset}; nothing was taken.",
                receiver=debt.group.receiver,
                asset=debt.asset_id,
            )
        )
    permit_leaving(debt, locks, amount, at=at)
    entry = take(debt, wallet, amount, at=at)
    tell(
        debt,
        "set_off",
        event=f"set-off:{entry.pk}",
        title=worded("{amount} was set off against what you owe", amount=said(amount, debt)),
        body=worded(
            "{amount} of Spot of {receiver} was set off against {debt}, which a liquidation left owing.",
            amount=said(amount, debt),
            receiver=debt.group.receiver,
            debt=debt,
        ),
        took=amount,
        at=at,
    )
    return entry


# --- From the desk's means ------------------------------------------------------------------------------------


def _settled_worth(arguments: Arguments) -> Decimal | None:
    asset = Debt.objects.values_list("asset_id", flat=True).get(pk=arguments["debt_id"])
    return insurance.in_usd(asset, arguments["amount"], at=arguments["at"])


def _written_off_worth(arguments: Arguments) -> Decimal | None:
    debt = Debt.objects.get(pk=arguments["debt_id"])
    return insurance.in_usd(debt.asset_id, debt.booked, at=arguments["at"])


@command(
    "residual.settle_from_fund",
    returns=DebtEntry,
    four_eyes=FourEyes(makers=insurance.FINANCE, checkers=insurance.FINANCE, worth=_settled_worth),
)
def settle_from_fund(
    *, debt_id: int, amount: Decimal, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> DebtEntry:
    """Let the insurance fund bear `amount` of the debt, in its coin; no coin of the borrower moves. R-GEN-78

    Raises:
        NotResidual: as `set_off`. BadAmount: no amount of the coin.
        NothingToTake: more than is owed. insurance.FundTooSmall: the fund holds less.
    """
    debt, _ = hold(debt_id)
    insurance.check_amount(debt.asset_id, amount)
    if amount > debt.booked:
        raise NothingToTake(
            worded(
                "{debt} owes {booked}; {amount} is more.",
                debt=debt,
                booked=said(debt.booked, debt),
                amount=said(amount, debt),
            )
        )
    insurance.refuse_more_than_fund(debt.asset_id, amount)
    entry = _bear(debt, amount, kind=DebtEntry.Kind.INSURANCE, by=books.insurance(debt.asset_id), at=at)
    _cleared(debt, reason=Debt.Closed.LIQUIDATED, at=at)
    tell(
        debt,
        "residual_settled",
        event=f"residual-settled:{entry.pk}",
        title=worded("{amount} of what you owe was settled", amount=said(amount, debt)),
        body=worded(
            "The desk's insurance fund settled {amount} of {debt}, which a liquidation left owing.",
            amount=said(amount, debt),
            debt=debt,
        ),
        took=ZERO,
        at=at,
    )
    return entry


@command(
    "residual.write_off",
    returns=Debt,
    four_eyes=FourEyes(makers=insurance.FINANCE, checkers=insurance.FINANCE, worth=_written_off_worth),
)
def write_off(*, debt_id: int, actor: Actor, at: datetime, reason: str = "", key: str = "") -> Debt:
    """Give up all that is owed: an expense of the desk. The debt ends written off. R-GEN-78

    Raises:
        NotResidual: as `set_off`. NoReason: it says why.
    """
    debt, _ = hold(debt_id)
    refuse_unreasoned(reason, "written off")
    amount = debt.booked
    _bear(debt, amount, kind=DebtEntry.Kind.WRITE_OFF, by=books.bad_debt(debt.asset_id), at=at)
    _cleared(debt, reason=Debt.Closed.WRITTEN_OFF, at=at)
    tell(
        debt,
        "written_off",
        event=f"written-off:{debt.pk}",
        title=worded("{amount} was written off", amount=said(amount, debt)),
        body=worded(
            "The desk wrote off {amount} of {debt}, which a liquidation left owing.",
            amount=said(amount, debt),
            debt=debt,
        ),
        took=ZERO,
        at=at,
    )
    return debt


# --- Inside the commands, here and in risk/plans.py ----------------------------------------------------------


def hold(debt_id: int, *, is_open: bool = True) -> tuple[Debt, groups.Held]:
    """Lock the receiver, its groups and the debt."""
    found = Debt.objects.values_list("group_id", "group__receiver_id").get(pk=debt_id)
    locks = groups.hold(uids=[found[1]], group_ids=[found[0]])
    [debt] = Debt.objects.locked(debt_id)
    if debt.residual_since is None:
        raise NotResidual(worded("{debt} is secured by its group; it is no residual debt.", debt=debt))
    if is_open and debt.closed_at is not None:
        raise NotResidual(
            worded(
                "{debt} is {closed_reason}; nothing is owed on it.",
                debt=debt,
                closed_reason=debt.get_closed_reason_display().lower(),
            )
        )
    return debt, locks


def refuse_stranger(actor: Actor, debt: Debt) -> None:
    if actor.user_id is None:
        return
    user = acting_user(actor, roles=COLLECTORS, doing="collect a residual debt")
    if user.role == User.Role.VIP_MANAGER and debt.customer.manager_id != user.pk:
        raise NotYourRole(worded("{customer} is another manager's client.", customer=debt.customer.name))


def refuse_unreasoned(reason: str, what: str) -> None:
    if not reason.strip():
        raise NoReason(worded("Say why it is {what}; the reason is kept.", what=what))


def in_spot(debt: Debt) -> Decimal:
    """What the receiver's Spot holds of the debt's coin; a read, nothing is locked."""
    key = (debt.group.receiver_id, book.WALLET, debt.asset_id)
    return ledger.balances(account_ids=[debt.group.receiver_id], kinds=[book.WALLET]).get(key, ZERO)


def running_plan(debt: Debt) -> PaymentPlan | None:
    return debt.payment_plans.filter(ended_at__isnull=True).first()


def take(debt: Debt, wallet: LedgerAccount, amount: Decimal, *, at: datetime) -> DebtEntry:
    """Pay `amount` out of `wallet`; what it covers of a plan is paid. The debt is locked, so its count cannot move."""
    reference = f"collected:{debt.pk}:{debt.entries.count() + 1}"
    entry = debts.take_payment(debt=debt, amount=amount, wallets=[wallet], reference=reference, at=at)
    mark_paid(debt, at)
    return entry


def _bear(debt: Debt, amount: Decimal, *, kind: str, by: LedgerAccount, at: datetime) -> DebtEntry:
    parts = allocate(amount=amount, owed=Parts(debt.late_fee, debt.interest, debt.principal))
    return debts.settle(
        debt=debt,
        parts=parts,
        kind=kind,
        lines=debts.control_lines(debt, parts, paid_into=by),
        reference=f"{kind}:{debt.pk}:{debt.entries.count() + 1}",
        at=at,
    )


def _cleared(debt: Debt, *, reason: str, at: datetime) -> None:
    if debt.booked == 0:
        debts.close(debt, reason=reason, at=at)
    mark_paid(debt, at)


def mark_paid(debt: Debt, at: datetime) -> None:
    """An instalment is paid once no more is owed than the later ones bring, whoever paid. Ends a plan that is done."""
    plan = running_plan(debt)
    if plan is None:
        return
    later = ZERO
    for instalment in plan.instalments.order_by("-due_at"):
        if instalment.paid_at is None and debt.booked <= later:
            instalment.paid_at = at
            instalment.save(update_fields=["paid_at"])
        later += instalment.amount
    if debt.booked == 0:
        plan.ended_at = at
        plan.save(update_fields=["ended_at"])


def permit_leaving(debt: Debt, locks: groups.Held, amount: Decimal, *, at: datetime) -> None:
    """Not while repayments are frozen (R-ADM-04), nor when it leaves another group short (R-VIP-53)."""
    receiver = debt.group.receiver_id
    freezes.refuse_frozen(action=Action.REPAY, assets=[debt.asset_id], at=at)
    other = locks.pledged.get(receiver)
    if other is None:
        return
    before = book.state_of(other, at=at)
    after = before.changed(balances={(receiver, debt.asset_id): -amount})
    groups.permit(action=Action.MOVE_OUT, before=before, after=after, at=at)


def tell(debt: Debt, kind: str, *, event: str, title: str, body: str, took: Decimal, at: datetime) -> None:
    rest = (
        worded("{booked} is still owed.", booked=said(debt.booked, debt))
        if debt.booked
        else worded("Nothing is owed on it any more.")
    )
    facts = {"debt": debt.pk, "coin": debt.asset_id, "paid": f"{took:f}", "left": f"{debt.booked:f}"}
    notices.send(
        customer=debt.customer,
        event=event,
        kind=kind,
        title=title,
        body=f"{body}\n{rest}",
        facts=facts,
        at=at,
    )


def said(amount: Decimal, debt: Debt) -> str:
    """1234567.50000000 USDT as "1,234,567.5 USDT": every digit, no padding."""
    text = worded("{amount:,f}", amount=round_down(amount, debt.asset.places))
    return worded(
        "{text} {asset}", text=text.rstrip("0").rstrip(".") if "." in text else text, asset=debt.asset_id
    )
