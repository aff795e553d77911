"""Open, charge, repay, renew: the only writer of DebtEntry, and so of what anybody owes.

Every function runs inside a command, on debts that command has locked. A debt is brought up to date before it
is touched: all charges due at or before `at` are booked first, so late jobs, early repayments and replays give
the same rows (R-GEN-04, R-VIP-31).

The one day that a loan pays at least is the price of borrowing and giving back (R-VIP-31): a repayment brings it, a
liquidation does not. That takes what is owed at its time and its fee (R-VIP-45, R-GEN-75).

    event       debit                 credit               debt
    borrow      principal, custody    pool, wallet         +principal
    charge      interest, late_fee    interest_income,     +interest, +late_fee
                                      late_fee_income
    repayment   wallet, pool          custody, late_fee,   -late_fee, -interest, -principal
                                      interest, principal
    renewal     (nothing moves)                            each part off the old, on the new
    correction  what the entry credited   what it debited  the entry's changes, negated
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from accounts import books, ledger
from accounts.errors import Refused
from accounts.models import Account, Asset, JournalEntry, LedgerAccount
from accounts.money import ZERO
from accounts.words import tell
from risk import overdue, rates
from risk.interest import DailyTerms, Pause, PeriodCharge, RateStep, due_charges, has_midnight, minimum_charge
from risk.models import CollateralGroup, Debt, DebtEntry, RiskEvent
from risk.waterfall import Parts, allocate

PARTS = ("principal", "interest", "late_fee")  # of a debt; its control accounts are called so too


class PoolEmpty(Refused):
    code = "pool_empty"
    sapi = -10041


class NothingOwed(Refused):
    code = "nothing_owed"
    sapi = -10032


@dataclass(frozen=True, slots=True)
class OwedDebt:
    """What a debt owes at an instant, booked and pending, and the rate it bears then."""

    debt: Debt
    parts: Parts
    annual_rate: Decimal


def open_debt(
    *,
    group: CollateralGroup,
    asset: Asset,
    amount: Decimal,
    receiver: Account,
    due_at: datetime | None,
    fixed_rate: Decimal | None,
    late_multiplier: int,
    overdue_hours: int,
    at: datetime,
    spread: Decimal = ZERO,
) -> Debt:
    """Lend `amount` out of the pool into the receiver's Spot wallet. Inside a command.

    Raises:
        PoolEmpty: the desk has too little of the coin to lend (R-GEN-38).
    """
    debt = Debt.objects.create(
        product=group.product,
        group=group,
        customer_id=group.customer_id,
        asset=asset,
        opened_at=at,
        accrued_through=at,
        due_at=due_at,
        late_multiplier=late_multiplier,
        overdue_hours=overdue_hours,
    )
    rates.open_segment(debt=debt, starts_at=at, fixed_rate=fixed_rate, spread=spread)
    lines = [
        ledger.Line(debit=books.principal(asset), credit=books.pool(asset), amount=amount),
        ledger.Line(debit=books.custody(asset), credit=books.wallet(receiver, asset), amount=amount),
    ]
    try:
        entry = ledger.post(kind="borrow", reference=f"borrow:{debt.pk}", lines=lines, at=at)
    except ledger.Overdrawn:
        raise PoolEmpty(
            tell("The desk has too little {asset} to lend {amount:f}.", asset=asset.pk, amount=amount)
        ) from None
    _book([DebtEntry(debt=debt, entry=entry, kind=DebtEntry.Kind.BORROW, at=at, principal=amount)])
    RiskEvent.objects.create(
        group=group, debt=debt, kind=RiskEvent.Kind.DEBT_OPENED, at=at, facts={"amount": f"{amount:f}"}
    )
    debt.refresh_from_db()
    return debt


def owed_at(debts: Sequence[Debt], *, at: datetime) -> dict[int, OwedDebt]:
    """What each debt owes at `at`: booked plus every charge due and not yet booked (R-GEN-40)."""
    if not debts:
        return {}
    steps, pauses = rates.steps_of(debts), overdue.pauses_of(debts, at=at)
    owed = {}
    for debt in debts:
        due = _due(debt, steps[debt.pk], pauses.get(debt.asset_id, ()), at)
        parts = Parts(
            late_fee=debt.late_fee + sum((charge.late_fee for charge in due), ZERO),
            interest=debt.interest + sum((charge.interest for charge in due), ZERO),
            principal=debt.principal,
        )
        owed[debt.pk] = OwedDebt(debt=debt, parts=parts, annual_rate=rates.rate_at(steps[debt.pk], at))
    return owed


def bring_up_to_date(debts: Iterable[Debt], *, at: datetime) -> int:
    """Book every charge due at or before `at`: one journal entry per instant. Returns how many charges.

    The debts must be locked; their totals are read again afterwards. Safe to repeat: the chain in the database
    refuses a period twice.
    """
    debts = [debt for debt in debts if debt.closed_at is None and has_midnight(debt.accrued_through, at)]
    if not debts:
        return 0
    steps, pauses = rates.steps_of(debts), overdue.pauses_of(debts, at=at)
    due: dict[datetime, list[tuple[Debt, PeriodCharge]]] = defaultdict(list)
    for debt in debts:
        for charge in _due(debt, steps[debt.pk], pauses.get(debt.asset_id, ()), at):
            due[charge.period_end].append((debt, charge))
    for instant in sorted(due):
        _book_charges(instant, due[instant])
    if due:
        _read_again(debts)
    return sum(len(charges) for charges in due.values())


def payoff_at(debt: Debt, *, at: datetime) -> Parts:
    """What closes the debt at `at`: all it owes, with the one day a loan pays at least (R-VIP-31)."""
    parts = owed_at([debt], at=at)[debt.pk].parts
    return Parts(
        late_fee=parts.late_fee, interest=parts.interest + _minimum(debt, at=at), principal=parts.principal
    )


def take_payment(
    *,
    debt: Debt,
    amount: Decimal,
    wallets: Sequence[LedgerAccount],
    reference: str,
    at: datetime,
    charged_to: datetime | None = None,
) -> DebtEntry:
    """Take `amount` from the wallets in order: late fee, then interest, then principal (R-GEN-51).

    Paying all of `payoff_at` closes the debt as REPAID. Inside a command, with the debt locked. `charged_to`: an
    earlier instant whose figures are meant, for what was due then and is only carried out at `at` (R-VIP-47).

    Raises:
        NothingOwed: the debt is closed.
        ledger.Overdrawn: the wallets together hold less than `amount`.
    """
    if debt.closed_at is not None:
        raise NothingOwed(
            tell(
                "This loan is {closed_reason}; nothing is owed on it.",
                closed_reason=debt.get_closed_reason_display(),
            )
        )
    charged_to = charged_to or at
    bring_up_to_date([debt], at=charged_to)
    payoff = payoff_at(debt, at=charged_to)
    assert ZERO < amount <= payoff.total, "the caller asks for no more than is owed"
    # Else the last coin would take the day with it.
    if amount >= debt.booked and payoff.interest > debt.interest:
        _book_minimum(debt, interest=payoff.interest - debt.interest, at=at)
    parts = allocate(amount=amount, owed=Parts(debt.late_fee, debt.interest, debt.principal))
    lines = [*_drawn(wallets, amount), *control_lines(debt, parts, paid_into=books.pool(debt.asset_id))]
    entry = settle(
        debt=debt, parts=parts, kind=DebtEntry.Kind.REPAYMENT, lines=lines, reference=reference, at=at
    )
    if debt.booked == 0:
        close(debt, reason=Debt.Closed.REPAID, at=at)
    return entry


def settle(
    *,
    debt: Debt,
    parts: Parts,
    kind: str,
    lines: Iterable[ledger.Line],
    reference: str,
    at: datetime,
    batch: ledger.Batch | None = None,
) -> DebtEntry:
    """Book one entry that reduces the debt by `parts`; `lines` must credit the controls with just that."""
    entry = (batch or ledger).post(kind=kind, reference=reference, lines=lines, at=at)
    row = DebtEntry(debt=debt, entry=entry, kind=kind, at=at, **{p: -getattr(parts, p) for p in PARTS})
    if batch is None:
        _book([row])
        _read_again([debt])
    else:  # written with the rest of it
        batch.rows.append(row)
        for part in PARTS:
            setattr(debt, part, getattr(debt, part) - getattr(parts, part))
    return row


def control_lines(
    debt: Debt, parts: Parts, *, paid_into: LedgerAccount, chart: books.Chart | None = None
) -> list[ledger.Line]:
    """What was owed becomes what `paid_into` holds. `chart`: where the accounts have been found already."""
    chart = chart or books.Chart()
    return [
        ledger.Line(paid_into, chart.house(LedgerAccount.Kind(part), debt.asset_id), getattr(parts, part))
        for part in reversed(PARTS)
    ]


def renew(
    *, old: Debt, due_at: datetime | None, fixed_rate: Decimal | None, at: datetime, spread: Decimal = ZERO
) -> Debt:
    """Carry all that is owed into a new debt; the old rate runs to the old expiry, the new one from there (R-VIP-42).

    Each part stays what it is: interest that is carried bears none (R-VIP-26). `due_at` None: an open term. The old
    debt must be locked and up to date. Inside a command.
    """
    assert old.due_at is not None, "open debts do not renew"
    new = Debt.objects.create(
        product=old.product,
        group_id=old.group_id,
        customer_id=old.customer_id,
        asset_id=old.asset_id,
        opened_at=at,
        accrued_through=at,
        due_at=due_at,
        late_multiplier=old.late_multiplier,
        overdue_hours=old.overdue_hours,
    )
    if at < old.due_at:
        running = old.rates.filter(starts_at__lte=at).order_by("starts_at").last()
        assert running is not None
        rates.open_segment(debt=new, starts_at=at, fixed_rate=running.fixed_rate, spread=running.spread)
    rates.open_segment(debt=new, starts_at=max(at, old.due_at), fixed_rate=fixed_rate, spread=spread)
    entry = ledger.post(kind="renewal", reference=f"renewal:{old.pk}", lines=[], at=at)
    carried = {part: getattr(old, part) for part in PARTS}
    moved = {old: {part: -amount for part, amount in carried.items()}, new: carried}
    kind = DebtEntry.Kind.RENEWAL
    _book(DebtEntry(debt=debt, entry=entry, kind=kind, at=at, **parts) for debt, parts in moved.items())
    _read_again([old, new])
    close(old, reason=Debt.Closed.RENEWED, at=at)
    return new


def undo(*, entry: JournalEntry, lines: Iterable[ledger.Line], reference: str, at: datetime) -> JournalEntry:
    """Book the other side of `entry`: `lines`, and what it did to debts negated. The debts are locked. R-ADM-11"""
    reversal = ledger.post(kind=ledger.REVERSAL, reference=reference, lines=lines, at=at, reverses=entry)
    _book(
        DebtEntry(
            debt_id=row.debt_id,
            entry=reversal,
            kind=DebtEntry.Kind.CORRECTION,
            at=at,
            **{part: -getattr(row, part) for part in PARTS},
        )
        for row in DebtEntry.objects.filter(entry=entry).order_by("pk")
    )
    return reversal


def mark_overdue(debt: Debt, *, at: datetime) -> None:
    """Not repaid at its expiry (R-VIP-43); the overdue hours count from the expiry. Inside a command."""
    assert debt.due_at is not None
    assert debt.overdue_since is None
    _mark([debt], RiskEvent.Kind.DEBT_OVERDUE, at, overdue_since=debt.due_at)


def call(debt: Debt, *, due_at: datetime, at: datetime) -> None:
    """An open debt is wanted back by `due_at`; after it everything is as after an expiry (R-VIP-44)."""
    assert debt.due_at is None, "only an open debt is called"
    _mark([debt], RiskEvent.Kind.DEBT_CALLED, at, called_at=at, due_at=due_at)


def close(*debts: Debt, reason: str, at: datetime) -> None:
    """The debts owe nothing any more. Inside a command."""
    _mark(debts, RiskEvent.Kind.DEBT_CLOSED, at, closed_at=at, closed_reason=reason)


def make_residual(*debts: Debt, at: datetime) -> None:
    """What a liquidation could not cover stays owed, bears nothing and leaves the group's sweep (R-GEN-78)."""
    _mark(debts, RiskEvent.Kind.DEBT_RESIDUAL, at, residual_since=at)


# --- Private ----------------------------------------------------------------------------------------


def _due(
    debt: Debt, steps: tuple[RateStep, ...], pauses: tuple[Pause, ...], at: datetime
) -> list[PeriodCharge]:
    if debt.residual_since is not None:
        return []
    terms = DailyTerms(
        principal=debt.principal,
        accrued_through=debt.accrued_through,
        due_at=debt.due_at,
        late_multiplier=debt.late_multiplier,
        places=debt.asset.places,
        steps=steps,
        pauses=pauses,
    )
    return due_charges(terms, at)


def _book_charges(instant: datetime, charges: list[tuple[Debt, PeriodCharge]]) -> None:
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for debt, charge in charges:
        sums[debt.asset_id][0] += charge.interest
        sums[debt.asset_id][1] += charge.late_fee
    lines = []
    for symbol, (interest, late_fee) in sorted(sums.items()):
        lines.append(ledger.Line(books.interest(symbol), books.interest_income(symbol), interest))
        lines.append(ledger.Line(books.late_fee(symbol), books.late_fee_income(symbol), late_fee))
    ids = [debt.pk for debt, _ in charges]
    reference = f"accrual:{instant:%Y-%m-%dT%H:%MZ}:{min(ids)}-{max(ids)}"
    entry = ledger.post(kind="accrual", reference=reference, lines=lines, at=instant)
    _book(
        DebtEntry(
            debt=debt,
            entry=entry,
            kind=DebtEntry.Kind.CHARGE,
            at=instant,
            interest=charge.interest,
            late_fee=charge.late_fee,
            period_start=charge.period_start,
            period_end=charge.period_end,
            basis=charge.basis,
            annual_rate=charge.annual_rate,
        )
        for debt, charge in charges
    )


def _minimum(debt: Debt, *, at: datetime) -> Decimal:
    """Interest still missing to one day, for a loan paid out and never charged; a renewal has paid its days."""
    if debt.residual_since is not None:
        return ZERO
    lent = debt.entries.filter(kind=DebtEntry.Kind.BORROW).first()
    charged = debt.entries.filter(kind__in=[DebtEntry.Kind.CHARGE, DebtEntry.Kind.MINIMUM]).exists()
    steps = rates.steps_of([debt])[debt.pk]
    # A pause changes the fee of a day, not whether it counts.
    if lent is None or charged or _due(debt, steps, (), at):
        return ZERO
    rate = rates.rate_at(steps, debt.opened_at)
    return minimum_charge(
        principal=lent.principal, annual_rate=rate, places=debt.asset.places, days_charged=0
    ).interest


def _book_minimum(debt: Debt, *, interest: Decimal, at: datetime) -> None:
    line = ledger.Line(books.interest(debt.asset_id), books.interest_income(debt.asset_id), interest)
    entry = ledger.post(kind="minimum", reference=f"minimum:{debt.pk}", lines=[line], at=at)
    _book([DebtEntry(debt=debt, entry=entry, kind=DebtEntry.Kind.MINIMUM, at=at, interest=interest)])
    _read_again([debt])


def _drawn(wallets: Sequence[LedgerAccount], amount: Decimal) -> list[ledger.Line]:
    """Take `amount` from the wallets in their order; the last one bears a lack, and the ledger refuses it."""
    lines = []
    for number, wallet in enumerate(wallets, start=1):
        take = amount if number == len(wallets) else min(amount, wallet.balance)
        lines.append(ledger.Line(debit=wallet, credit=books.custody(wallet.asset_id), amount=take))
        amount -= take
    return lines


def _book(rows: Iterable[DebtEntry]) -> None:
    DebtEntry.objects.bulk_create(rows)


def _read_again(debts: Iterable[Debt]) -> None:
    """The trigger moved the totals; the instances in hand must say the same."""
    fields = (*PARTS, "accrued_through")
    debts = list(debts)
    now = {row["pk"]: row for row in Debt.objects.filter(pk__in=[d.pk for d in debts]).values("pk", *fields)}
    for debt in debts:
        for field in fields:
            setattr(debt, field, now[debt.pk][field])


def _mark(debts: Sequence[Debt], kind: str, at: datetime, **fields: object) -> None:
    """Set the fields of each, and tell it in history: two statements for all of them."""
    if not debts:
        return
    for debt in debts:
        for field, value in fields.items():
            setattr(debt, field, value)
    Debt.objects.filter(pk__in=[debt.pk for debt in debts]).update(**fields)
    RiskEvent.objects.bulk_create(
        RiskEvent(group_id=debt.group_id, debt=debt, kind=kind, at=at) for debt in debts
    )
