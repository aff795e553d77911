"""A book of many thousand borrowers at once: the plans of loans/population.py, by the thousand instead of one by one.

Through the same triggers and the one door for money, with one journal entry for all deposits and one for all loans of
a thousand borrowers. What the engine and the jobs read is what the commands would have left: accounts, wallets,
groups, signed lines, debts and their rates, requests, loans. What only people read is not made: offers and signed
sheets, notices of payment, the gate's records of deposits, and the audit of each command.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Final

from django.contrib.auth.hashers import make_password

from accounts import books, ledger
from accounts.commands import Actor, acting
from accounts.exchange import exchange
from accounts.models import Acceptance, Account, Agreement, Customer, Membership, Screening, User
from accounts.money import ZERO
from loans import precautions, ratecards
from loans.models import Application, ApplicationLine, Loan, LoanEvent, Product, RateType
from loans.population import AGREEMENT, JOB, Desk, Plan, chosen_coins, means_of, name_of
from loans.precautions import Means, Precautions
from risk.models import (
    CollateralGroup,
    Debt,
    DebtEntry,
    DebtRate,
    GroupCoin,
    Limits,
    Member,
    ProductCode,
    RiskEvent,
)

CHUNK: Final = 1000  # borrowers in one transaction, and in one journal entry
PRODUCT: Final = ProductCode.VIP


@dataclass(slots=True)
class Borrower:
    """One borrower, as far as opened; one application for each order."""

    plan: Plan
    user: User
    customer: Customer
    master: Account
    accounts: list[Account] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Payout:
    """One coin of one order."""

    borrower: Borrower
    group: CollateralGroup
    application: Application
    asset: str
    amount: Decimal

    @property
    def receiver(self) -> int:
        return self.borrower.master.pk

    @property
    def is_fixed(self) -> bool:
        return self.borrower.plan.rate_type == RateType.FIXED

    def due_at(self, at: datetime) -> datetime | None:
        days = self.borrower.plan.term_days
        return None if days is None else at + timedelta(days=days)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a loan costs and how long it runs, as published at the opening."""

    product: Product
    rates: Mapping[tuple[str, int | None, int, str], Decimal]  # rate type, term, VIP level, coin

    def rate(self, payout: Payout) -> Decimal:
        plan = payout.borrower.plan
        return self.rates[plan.rate_type, plan.term_days, plan.vip_level, payout.asset]


def open_borrowers(
    plans: Iterable[Plan],
    *,
    desk: Desk,
    at: datetime,
    first: int = 1,
    prepared: Precautions = Precautions(),  # noqa: B008  frozen
) -> Iterator[CollateralGroup]:
    """Open a borrower with running loans for each plan, numbered from `first`; gives their groups, in order.

    A thousand at a time, one transaction each. Every group signs `desk.lines`. What borrowers prepared for a fall is
    set up by the commands that they would call.
    """
    plans, number = iter(plans), first
    while chunk := list(islice(plans, CHUNK)):
        with acting(JOB):
            opened = _people(chunk, desk=desk, first=number, at=at)
            _deposits(opened, number=number, at=at)
            groups = _groups(opened, desk=desk, prepared=prepared, at=at)
            _requests(opened, desk=desk, prepared=prepared, at=at)
            _loans(_payouts(opened, groups), _terms(chunk, desk, at), number=number, at=at)
        number += len(chunk)
        for borrower, group in zip(opened, groups, strict=True):
            actor = Actor.user(borrower.user)
            precautions.take(group=group, means=_means(borrower, desk), of=prepared, actor=actor, at=at)
            yield group


# --- Private ------------------------------------------------------------------------------------------------


def _people(plans: Sequence[Plan], *, desk: Desk, first: int, at: datetime) -> list[Borrower]:
    names = [name_of(plan, number) for number, plan in enumerate(plans, start=first)]
    users = User.objects.bulk_create(
        User(email=email, name=name, role=User.Role.BORROWER, password=make_password(None))
        for name, email in names
    )
    customers = Customer.objects.bulk_create(
        Customer(
            name=name,
            kind=Customer.Kind.FIRM if plan.is_firm else Customer.Kind.PERSON,
            vip_level=plan.vip_level,
            manager=desk.manager,
            joined_at=at,
        )
        for plan, (name, _) in zip(plans, names, strict=True)
    )
    masters = Account.objects.bulk_create(
        Account(customer=customer, kind=Account.Kind.MASTER, label="Master", email=email, opened_at=at)
        for customer, (_, email) in zip(customers, names, strict=True)
    )
    opened = [Borrower(*each) for each in zip(plans, users, customers, masters, strict=True)]
    subs = [
        Account(
            customer=each.customer,
            kind=Account.Kind.SUB_VIRTUAL,
            label=f"Collateral{place}",
            email=f"collateral{place}_virtual@{each.master.pk}.invalid",
            opened_at=at,
        )
        for each in opened
        for place in range(1, each.plan.accounts + 1)
    ]
    found = iter(Account.objects.bulk_create(subs))
    for each in opened:
        each.accounts = list(islice(found, each.plan.accounts))
    _papers(opened, at=at)
    return opened


def _papers(opened: Sequence[Borrower], *, at: datetime) -> None:
    """Who acts for them, what they accepted, and that nothing forbids to pay out."""
    agreement = Agreement.objects.get(version=AGREEMENT)
    Membership.objects.bulk_create(
        Membership(customer=each.customer, user=each.user, since=at) for each in opened
    )
    Acceptance.objects.bulk_create(
        Acceptance(agreement=agreement, customer=each.customer, user=each.user, at=at) for each in opened
    )
    Screening.objects.bulk_create(
        Screening(customer=each.customer, kind=kind, status=Screening.Status.CLEAR, checked_at=at)
        for each in opened
        for kind in (Screening.Kind.IDENTITY, Screening.Kind.SANCTIONS)
    )


def _deposits(opened: Sequence[Borrower], *, number: int, at: datetime) -> None:
    pledges = [
        (each.accounts[place].pk, coin, amount)
        for each in opened
        for place, coin, amount in each.plan.pledges
    ]
    wallets = books.open_wallets((uid, coin) for uid, coin, _ in pledges)
    arrivals = [(wallets[uid, coin], amount) for uid, coin, amount in pledges]
    exchange().deposit_together(arrivals=arrivals, key=f"deposit:book:{number}", at=at)


def _groups(
    opened: Sequence[Borrower], *, desk: Desk, prepared: Precautions, at: datetime
) -> list[CollateralGroup]:
    groups = CollateralGroup.objects.bulk_create(
        CollateralGroup(
            product=PRODUCT,
            customer=each.customer,
            receiver=each.master,
            name=each.master.label,
            opened_at=at,
        )
        for each in opened
    )
    pairs = list(zip(opened, groups, strict=True))
    coins = {group.pk: sorted(chosen_coins(_means(each, desk), prepared)) for each, group in pairs}
    Member.objects.bulk_create(
        Member(group=group, account=account, since=at) for each, group in pairs for account in each.accounts
    )
    GroupCoin.objects.bulk_create(
        GroupCoin(group=group, asset_id=coin, since=at) for group in groups for coin in coins[group.pk]
    )
    RiskEvent.objects.bulk_create(
        RiskEvent(
            group=group,
            kind=RiskEvent.Kind.OPENED,
            at=at,
            facts={"accounts": [account.pk for account in each.accounts], "coins": coins[group.pk]},
        )
        for each, group in pairs
    )
    Limits.objects.bulk_create(
        Limits(product=PRODUCT, group=group, effective_at=at, **asdict(desk.lines)) for group in groups
    )
    return groups


def _requests(opened: Sequence[Borrower], *, desk: Desk, prepared: Precautions, at: datetime) -> None:
    """Every request goes the way of all: submitted, approved, paid out."""
    product = ratecards.product_at(PRODUCT, at=at)
    pairs = [(each, order) for each in opened for order in each.plan.orders]
    made = Application.objects.bulk_create(
        Application(
            product=PRODUCT,
            customer=each.customer,
            applicant=each.user,
            receiver=each.master,
            rate_type=each.plan.rate_type,
            term_days=each.plan.term_days,
            manager=desk.manager,
            contact=each.user.email,
            purpose="Working capital.",
            terms={},
            submitted_at=at,
            expires_at=at + timedelta(hours=product.quote_hours),
        )
        for each, _ in pairs
    )
    for (each, _), application in zip(pairs, made, strict=True):
        each.applications.append(application)
    accounts, coins = Application.collateral_accounts.through, Application.collateral_coins.through
    accounts.objects.bulk_create(
        accounts(application_id=request.pk, account_id=account.pk)
        for each in opened
        for request in each.applications
        for account in each.accounts
    )
    coins.objects.bulk_create(
        coins(application_id=request.pk, asset_id=coin)
        for each in opened
        for request in each.applications
        for coin in sorted(chosen_coins(_means(each, desk), prepared))
    )
    _move(opened, desk=desk, at=at)


def _move(opened: Sequence[Borrower], *, desk: Desk, at: datetime) -> None:
    status, manager = Application.Status, Actor.user(desk.manager).label
    rows = Application.objects.filter(pk__in=[row.pk for each in opened for row in each.applications])
    for step in (status.SUBMITTED, status.APPROVED, status.DISBURSED):
        decided = {} if step is status.SUBMITTED else {"decided_at": at, "decided_by": desk.manager}
        rows.update(status=step, **decided)
        LoanEvent.objects.bulk_create(
            LoanEvent(
                application=request,
                kind=step,
                at=at,
                actor=Actor.user(each.user).label if step is status.SUBMITTED else manager,
            )
            for each in opened
            for request in each.applications
        )


def _payouts(opened: Sequence[Borrower], groups: Sequence[CollateralGroup]) -> list[Payout]:
    """Every coin, in the order in which the desk decides: by borrower, then by request, then by symbol."""
    return [
        Payout(each, group, application, wish.asset, wish.amount)
        for each, group in zip(opened, groups, strict=True)
        for application, order in zip(each.applications, each.plan.orders, strict=True)
        for wish in sorted(order, key=lambda wish: wish.asset)
    ]


def _loans(payouts: Sequence[Payout], terms: Terms, *, number: int, at: datetime) -> None:
    """The debts out of the pools into the receivers' Spot, and the loans that price them. R-VIP-14"""
    debts = Debt.objects.bulk_create(
        Debt(
            product=PRODUCT,
            group=each.group,
            customer=each.borrower.customer,
            asset_id=each.asset,
            opened_at=at,
            accrued_through=at,
            due_at=each.due_at(at),
            late_multiplier=terms.product.late_multiplier,
            overdue_hours=terms.product.overdue_hours,
        )
        for each in payouts
    )
    DebtRate.objects.bulk_create(
        DebtRate(debt=debt, starts_at=at, fixed_rate=terms.rate(each) if each.is_fixed else None)
        for debt, each in zip(debts, payouts, strict=True)
    )
    _pay_out(list(zip(debts, payouts, strict=True)), number=number, at=at)
    RiskEvent.objects.bulk_create(
        RiskEvent(
            group=each.group,
            debt=debt,
            kind=RiskEvent.Kind.DEBT_OPENED,
            at=at,
            facts={"amount": f"{each.amount:f}"},
        )
        for debt, each in zip(debts, payouts, strict=True)
    )
    _contracts(list(zip(debts, payouts, strict=True)), terms, at=at)


def _pay_out(pairs: Sequence[tuple[Debt, Payout]], *, number: int, at: datetime) -> None:
    """One journal entry: the pools become principal, coin by coin, and every receiver has its own."""
    wallets = books.open_wallets((each.receiver, each.asset) for _, each in pairs)
    lent: dict[str, Decimal] = {}
    for _, each in pairs:
        lent[each.asset] = lent.get(each.asset, ZERO) + each.amount
    custody = {asset: books.custody(asset) for asset in sorted(lent)}
    lines = [
        ledger.Line(debit=books.principal(asset), credit=books.pool(asset), amount=amount)
        for asset, amount in sorted(lent.items())
    ]
    lines += [
        ledger.Line(debit=custody[each.asset], credit=wallets[each.receiver, each.asset], amount=each.amount)
        for _, each in pairs
    ]
    entry = ledger.post(kind="borrow", reference=f"borrow:book:{number}", lines=lines, at=at)
    DebtEntry.objects.bulk_create(
        DebtEntry(debt=debt, entry=entry, kind=DebtEntry.Kind.BORROW, at=at, principal=each.amount)
        for debt, each in pairs
    )


def _contracts(pairs: Sequence[tuple[Debt, Payout]], terms: Terms, *, at: datetime) -> None:
    asked = ApplicationLine.objects.bulk_create(
        ApplicationLine(
            application=each.application,
            asset_id=each.asset,
            amount=each.amount,
            annual_rate=terms.rate(each),
        )
        for _, each in pairs
    )
    loans = Loan.objects.bulk_create(
        Loan(
            product=PRODUCT,
            customer=each.borrower.customer,
            line=line,
            group=each.group,
            debt=debt,
            asset_id=each.asset,
            amount=each.amount,
            rate_type=each.borrower.plan.rate_type,
            annual_rate=terms.rate(each),
            term_days=each.borrower.plan.term_days,
            drawn_at=at,
            due_at=each.due_at(at),
        )
        for (debt, each), line in zip(pairs, asked, strict=True)
    )
    LoanEvent.objects.bulk_create(
        LoanEvent(application=each.application, loan=loan, kind="drawn", at=at, actor=JOB.label)
        for loan, (_, each) in zip(loans, pairs, strict=True)
    )


def _terms(plans: Iterable[Plan], desk: Desk, at: datetime) -> Terms:
    kinds = {(plan.rate_type, plan.term_days, plan.vip_level) for plan in plans}
    rates = {
        (*kind, asset): quote.annual_rate
        for kind in kinds
        for asset, quote in ratecards.rates_for(
            product=PRODUCT, assets=desk.lent, rate_type=kind[0], term_days=kind[1], vip_level=kind[2], at=at
        ).items()
    }
    return Terms(product=ratecards.product_at(PRODUCT, at=at), rates=rates)


def _means(borrower: Borrower, desk: Desk) -> Means:
    return means_of(borrower.plan, desk, borrower.master, borrower.accounts)
