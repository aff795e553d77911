"""A lending desk ready for its first request: a VIP customer with collateral, a manager, rates, limits and a pool.

Everything from the request on goes through the commands.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts import books
from accounts.commands import Actor, acting
from accounts.exchange import exchange
from accounts.models import Account, Customer, LedgerAccount, Notice, User
from loans import ratecards
from loans.models import Application, Loan, LoanEvent
from loans.vip import applications, origination
from loans.vip.terms import Request, Wish
from risk.models import CollateralGroup, Debt, DebtEntry, LoanLimit, Member
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN


@dataclass(frozen=True)
class Desk:
    owner: Customer
    applicant: User
    manager: User
    master: Account
    sub: Account

    @property
    def borrower(self) -> Actor:
        return Actor.user(self.applicant)

    @property
    def decider(self) -> Actor:
        return Actor.user(self.manager)


def set_up(*, btc: str = "25", vip_level: int = 1) -> Desk:
    """25 BTC in a sub-account; BTC 60,000 and USDT 1 at TEN; VIP lines; USDT 8.4 % fixed, 8 % flexible."""
    for symbol in ("BTC", "USDT"):
        build.asset(symbol)
        build.ratios(symbol)
    build.limits()
    build.fund_pool("USDT")
    loan_limit("USDT")
    card("USDT", "0.084", term_days=30)
    card("USDT", "0.09", term_days=60)
    build.flexible_rate("USDT", "0.08")
    quote(TEN)
    manager, applicant = build.user("vip_manager"), build.user()
    owner = build.customer(vip_level=vip_level, manager=manager, member=applicant)
    sub = build.account(owner)
    build.deposit(sub, "BTC", btc, at=LONG_AGO)
    return Desk(owner, applicant, manager, build.master(owner), sub)


def quote(at: datetime, **usd: str) -> None:
    """Fresh prices at `at`: BTC 60,000 and USDT 1 unless said."""
    build.prices(at=at, **({"BTC": "60000", "USDT": "1"} | usd))


def card(symbol: str, rate: str, *, term_days: int = 30, vip_level: int = 1, at: datetime = LONG_AGO) -> None:
    ratecards.publish_card(
        product="vip",
        asset=symbol,
        term_days=term_days,
        vip_level=vip_level,
        annual_rate=Decimal(rate),
        effective_at=at,
        actor=BUILDER,
        at=at,
    )


def loan_limit(
    symbol: str, minimum: str = "100", maximum: str = "10000000", *, at: datetime = LONG_AGO
) -> LoanLimit:
    with acting(BUILDER):
        return LoanLimit.objects.create(
            product="vip",
            asset=build.asset(symbol),
            effective_at=at,
            minimum=Decimal(minimum),
            maximum=Decimal(maximum),
        )


def request(desk: Desk, amount: str = "1000000", **changes: Any) -> Request:
    """1,000,000 USDT, 30 days, fixed, to the master, secured by the sub's BTC; with what is said changed."""
    base = Request(
        customer_id=desk.owner.pk,
        applicant_id=desk.applicant.pk,
        receiver_uid=desk.master.pk,
        account_uids=(desk.sub.pk,),
        coins=("BTC",),
        wishes=(Wish("USDT", Decimal(amount)),),
        rate_type="fixed",
        term_days=30,
        contact="ops@example.com",
        purpose="Working capital",
    )
    return replace(base, **changes)


def submitted(desk: Desk, amount: str = "1000000", *, at: datetime = TEN, **changes: Any) -> Application:
    return applications.submit(request=request(desk, amount, **changes), actor=desk.borrower, at=at)


def approved(desk: Desk, application: Application, *, at: datetime = TEN) -> Application:
    """Approved on the sheet that is accepted now."""
    sheet = Application.objects.select_related("accepted").get(pk=application.pk).accepted
    return origination.approve(
        application_id=application.pk,
        sheet_sha256=sheet.sha256 if sheet else "",
        actor=desk.decider,
        at=at,
    )


def drawn(desk: Desk, amount: str = "1000000", *, at: datetime = TEN, **changes: Any) -> Loan:
    """The loan of a request that was submitted and approved at once."""
    application = approved(desk, submitted(desk, amount, at=at, **changes), at=at)
    return Loan.objects.get(line__application=application)


def booked(desk: Desk, debt: Debt, *, renews: Loan) -> Loan:
    """A loan written straight onto a debt, for what the commands would never let happen."""
    with acting(BUILDER):
        return Loan.objects.create(
            product="vip",
            customer=desk.owner,
            group=debt.group,
            debt=debt,
            asset=debt.asset,
            amount=debt.principal,
            rate_type="fixed",
            annual_rate=Decimal("0.084"),
            drawn_at=debt.opened_at,
            due_at=debt.due_at,
            renews=renews,
        )


def spend(desk: Desk, amount: str, symbol: str = "USDT") -> None:
    """Coins of the loan leave the receiver: proceeds are free to use."""
    exchange().pay_out(
        wallet=books.wallet(desk.master, symbol),
        amount=Decimal(amount),
        key=f"test-spend:{symbol}:{amount}",
        at=TEN,
    )


def everything() -> dict[str, Any]:
    """Every ledger balance, row count and debt: equal before and after a refusal, or something moved."""
    balances = {row.code: row.balance for row in LedgerAccount.objects.all() if row.balance}
    debts = list(Debt.objects.order_by("pk").values())
    states = list(Application.objects.order_by("pk").values_list("pk", "status"))
    counts = [m.objects.count() for m in (Loan, LoanEvent, DebtEntry, CollateralGroup, Member, Notice)]
    return {"balances": balances, "debts": debts, "states": states, "counts": counts}
