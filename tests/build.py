"""Builders for tests: the rows a test starts from, made through the same doors as in life where money is involved.

Everything is signed by `BUILDER` and dated `NOON` unless said; amounts and rates are given as strings.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from accounts import books, ledger, screenings
from accounts.commands import Actor, acting
from accounts.exchange import exchange
from accounts.models import Account, Asset, Customer, Membership, User
from risk import debts
from risk.models import (
    CollateralGroup,
    CollateralTier,
    Debt,
    FlexibleRate,
    GroupCoin,
    Limits,
    Member,
    Price,
    RatioSchedule,
)

BUILDER = Actor("test:builder")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TEN = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)

_numbers = count(1)


def asset(symbol: str = "USDT", *, places: int = 8, kind: str = "", collateral: bool = True) -> Asset:
    with acting(BUILDER):
        row, _ = Asset.objects.get_or_create(
            symbol=symbol,
            defaults={
                "name": symbol,
                "places": places,
                "kind": kind or ("stable" if symbol.startswith("USD") else "crypto"),
                "loanable": True,
                "collateral": collateral,
            },
        )
    return row


def user(role: str = "borrower", *, name: str = "", password: str = "") -> User:
    number = next(_numbers)
    with acting(BUILDER):
        return User.objects.create_user(
            email=f"{role}{number}@example.com",
            name=name or f"{role} {number}",
            role=role,
            password=password or None,
        )


def customer(
    name: str = "",
    *,
    vip_level: int = 1,
    manager: User | None = None,
    member: User | None = None,
    is_screened: bool = True,
) -> Customer:
    """A firm with its master account, cleared for payouts, and a member who may sign in for it when given."""
    with acting(BUILDER):
        row = Customer.objects.create(
            name=name or f"Firm {next(_numbers)}",
            kind="firm",
            vip_level=vip_level,
            manager=manager,
            joined_at=LONG_AGO,
        )
        account(row, kind="master")
        if member is not None:
            Membership.objects.create(customer=row, user=member, since=LONG_AGO)
    if is_screened:
        screened(row)
    return row


def screened(who: Customer, *, at: datetime = LONG_AGO) -> None:
    """Identity and sanctions are checked and clear: a first loan may be paid out (R-ADM-10)."""
    for kind in ("identity", "sanctions"):
        screenings.record(customer_id=who.pk, kind=kind, status="clear", actor=BUILDER, at=at)


def colleague(of: Customer, role: str = "treasurer", *, only: Account | None = None) -> User:
    """One more member, who acts for all of the customer, or for one account only."""
    row = user(name=f"{role} {next(_numbers)}")
    with acting(BUILDER):
        Membership.objects.create(customer=of, user=row, account=only, role=role, since=LONG_AGO)
    return row


def account(owner: Customer, *, kind: str = "sub", label: str = "") -> Account:
    number = next(_numbers)
    with acting(BUILDER):
        return Account.objects.create(
            customer=owner,
            kind=kind,
            label=label or f"{kind}-{number}",
            email=f"account{number}@example.com",
            opened_at=LONG_AGO,
        )


def master(owner: Customer) -> Account:
    return owner.accounts.get(kind="master")


def deposit(to: Account, symbol: str, amount: str, *, wallet: str = "spot", at: datetime = NOON) -> None:
    exchange().deposit(
        wallet=books.wallet(to, asset(symbol), wallet),
        amount=Decimal(amount),
        key=f"test-deposit:{next(_numbers)}",
        at=at,
    )


def fund_pool(symbol: str = "USDT", amount: str = "1000000000", *, at: datetime = LONG_AGO) -> None:
    line = ledger.Line(books.pool(asset(symbol)), books.capital(symbol), Decimal(amount))
    ledger.post(kind="funding", reference=f"test-funding:{next(_numbers)}", lines=[line], at=at)


def balance(of: Account, symbol: str, *, wallet: str = "spot") -> Decimal:
    return books.wallet(of, symbol, wallet).balance


def price(symbol: str, usd: str, *, at: datetime = NOON) -> Price:
    return Price.objects.create(
        asset=asset(symbol), price=Decimal(usd), observed_at=at, source="test", status=Price.Status.GOOD
    )


def prices(at: datetime = NOON, **usd: str) -> None:
    for symbol, value in usd.items():
        price(symbol, value, at=at)


def ratios(symbol: str, *tiers: tuple[str, str], rank: int = 100, at: datetime = LONG_AGO) -> RatioSchedule:
    """`ratios("A", ("0", "1"), ("1000000", "0.8"))`: all of it up to 1 m USD, then 80 %."""
    with acting(BUILDER):
        row = RatioSchedule.objects.create(asset=asset(symbol), effective_at=at, liquidation_rank=rank)
        for floor, ratio in tiers or (("0", "1"),):
            CollateralTier.objects.create(schedule=row, floor=Decimal(floor), ratio=Decimal(ratio))
    return row


def limits(
    *lines: str, fee: str = "0.02", at: datetime = LONG_AGO, product: str = "vip", **scope: object
) -> Limits:
    """The lines of a scope; the VIP defaults 72/77/91/95 % when none are given (R-VIP-50)."""
    initial, margin_call, liquidation, cutoff = lines or ("0.72", "0.77", "0.91", "0.95")
    with acting(BUILDER):
        return Limits.objects.create(
            product=product,
            initial=Decimal(initial),
            margin_call=Decimal(margin_call),
            liquidation=Decimal(liquidation),
            cutoff=Decimal(cutoff),
            fee=Decimal(fee),
            effective_at=at,
            **scope,
        )


def flexible_rate(symbol: str, annual: str, *, at: datetime = LONG_AGO) -> FlexibleRate:
    with acting(BUILDER):
        return FlexibleRate.objects.create(
            product="vip", asset=asset(symbol), effective_at=at, annual_rate=Decimal(annual)
        )


def group(
    receiver: Account, members: Iterable[Account], coins: Iterable[str] = ("BTC",), *, at: datetime = LONG_AGO
) -> CollateralGroup:
    with acting(BUILDER):
        row = CollateralGroup.objects.create(
            product="vip", customer=receiver.customer, receiver=receiver, name=receiver.label, opened_at=at
        )
        for member in members:
            Member.objects.create(group=row, account=member, since=at)
        for symbol in coins:
            GroupCoin.objects.create(group=row, asset=asset(symbol), since=at)
    return row


def debt(
    of: CollateralGroup,
    symbol: str = "USDT",
    amount: str = "1000000",
    *,
    rate: str | None = "0.084",
    due_at: datetime | None = None,
    at: datetime = TEN,
) -> Debt:
    """A debt paid out of the pool (fund it first) to the group's receiver; `rate` None is flexible."""
    with acting(BUILDER):
        return debts.open_debt(
            group=of,
            asset=asset(symbol),
            amount=Decimal(amount),
            receiver=of.receiver,
            due_at=due_at,
            fixed_rate=None if rate is None else Decimal(rate),
            late_multiplier=3,
            overdue_hours=168,
            at=at,
        )


def secured_debt(
    *, btc: str = "25", amount: str = "1000000", rate: str | None = "0.084", due_at: datetime | None = None
) -> Debt:
    """One customer, one collateral account with BTC, one USDT debt of TEN on 1 January; default lines."""
    for symbol in ("BTC", "USDT"):
        asset(symbol)
    if not Limits.objects.exists():
        limits()
        ratios("BTC")
        ratios("USDT")
    fund_pool("USDT", amount)
    owner = customer()
    sub = account(owner)
    deposit(sub, "BTC", btc, at=LONG_AGO)
    return debt(group(master(owner), [sub]), amount=amount, rate=rate, due_at=due_at)
