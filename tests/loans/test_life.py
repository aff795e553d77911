"""A loan's whole life, by chance: the desk against a model of plain Decimals (tests/loans/life.py), step by step.

Apply, approve, accrue, repay, renew, prices, time, jobs, liquidations, and the same request twice: after every step
each balance, each part of each debt, each status and each margin call must be what the model says.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pytest_django.plugin import DjangoDbBlocker

from accounts import books, ledger
from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import LedgerAccount
from loans.lifecycle import LoanStatus
from loans.models import Application, Loan
from loans.queries import loan_rows
from loans.vip import expiry, offers, origination, renewal, repayment
from risk import accrual, debts, gate, overdue_sales, parameters, sweep
from risk.models import CollateralGroup, MarginCall
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk, talks
from tests.loans.life import DAY, Book, ModelLoan, ModelRequest

RUNS, STEPS = int(os.environ.get("LIFE_RUNS", "200")), 40
FIXED = {30: Decimal("0.084"), 60: Decimal("0.09")}
QUOTE, OFFER = timedelta(hours=72), timedelta(hours=24)
STATUS = {
    "accruing": LoanStatus.ACCRUING,
    "overdue": LoanStatus.OVERDUE,
    "repaid": LoanStatus.REPAID,
    "renewed": LoanStatus.RENEWED,
    "liquidated": LoanStatus.LIQUIDATED,
    "residual": LoanStatus.RESIDUAL,
}
Call = Callable[[], Any]


def thousands(*, least: int, most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(least, most).map(lambda number: Decimal(number) * 1000)


def some(*figures: str) -> st.SearchStrategy[Decimal]:
    return st.sampled_from(figures).map(Decimal)


# One rule that draws what happens, instead of a rule each: every kind of step has its chance in every run.
HAPPENINGS = {
    "apply": {
        "amount": thousands(least=30, most=1_100),
        "term": st.sampled_from([None, 30, 60]),
        "fixed": st.booleans(),
    },
    "bargain": {
        "amount": thousands(least=50, most=900),
        "term": st.sampled_from([30, 60]),
        "then": st.sampled_from(["nothing", "agreed", "met", "met and accepted"]),
    },
    "approve": {"which": st.integers(0, 3)},
    "repay": {"which": st.integers(0, 3), "share": some("0.1", "0.5", "0.9999", "1")},
    "renew": {"which": st.integers(0, 2), "term": st.sampled_from([30, 60])},
    "spend": {"share": some("0.3", "1")},
    "top_up": {"btc": st.integers(1, 5).map(Decimal)},
    "market": {"factor": some("0.6", "0.85", "0.93", "0.97", "1.02", "1.1", "1.5")},
    "time_jumps": {"hours": st.sampled_from([1, 9, 24, 24 * 7, 24 * 24])},
    "flexible_rate_moves": {"percent": st.integers(0, 40)},
    "the_same_again": {},
}


class Life(RuleBasedStateMachine):
    """R-GEN-04, 06, 41, 51, 52, 62, 71…78, R-VIP-07, 11…13, 18, 30…34, 40…45, EX-01, EX-06"""

    @initialize(
        amount=st.sampled_from([500, 750, 1_000, 1_079]).map(lambda thousands: Decimal(thousands) * 1000),
        term=st.sampled_from([None, 30, 60]),
    )
    def open_the_desk(self, amount: Decimal, term: int | None) -> None:
        """Every life begins with one loan, so that there is something to live through."""
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.desk = desk.set_up()
        parameters.publish_settings(
            confirm_seconds=0,
            call_hold_seconds=0,
            outage_seconds=366 * 86_400,
            effective_at=LONG_AGO,
            actor=BUILDER,
            at=LONG_AGO,
        )
        self.book = Book(now=TEN, flexible=[(LONG_AGO, Decimal("0.08"))])
        self.keys = 0
        self.last: tuple[Call, Any] | None = None
        self.apply(amount=amount, term=term, fixed=term is not None)
        self.approve(which=0)

    def teardown(self) -> None:
        if not hasattr(self, "atomic"):
            return
        try:
            assert ledger.problems() == []
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    # -- Doing the same to both

    def tick(self, by: timedelta = timedelta(minutes=1)) -> None:
        """Time goes on, and every coin has a price again."""
        self.book.now += by
        desk.quote(self.book.now, BTC=f"{self.book.price:f}")
        self.book.accrue()

    def do(self, call: Callable[[str], Any], *, expected: bool) -> Any:
        """Call a command with a fresh key: it must be refused just when the model says so, and then move nothing."""
        self.keys += 1
        key = f"life-{self.keys}"
        before = desk.everything()
        if not expected:
            with pytest.raises(Refused), transaction.atomic():
                call(key)
            assert desk.everything() == before
            return None
        result = call(key)
        self.last = (lambda: call(key), result)
        return result

    @rule(
        happening=st.one_of(
            *(st.tuples(st.just(what), st.fixed_dictionaries(how)) for what, how in HAPPENINGS.items())
        )
    )
    def live(self, happening: tuple[str, dict[str, Any]]) -> None:
        what, how = happening
        getattr(self, what)(**how)

    # -- The borrower and the manager

    def apply(self, amount: Decimal, term: int | None, *, fixed: bool) -> None:
        self.tick()
        expected = self.book.may_borrow(amount, is_new=True) and (term is not None or not fixed)
        rate_type = "fixed" if fixed else "flexible"
        made = self.do(
            lambda key: desk.applications.submit(
                request=desk.request(self.desk, f"{amount:f}", term_days=term, rate_type=rate_type),
                actor=self.desk.borrower,
                at=self.book.now,
                key=key,
            ),
            expected=expected,
        )
        if made is not None:
            rate = FIXED[term] if fixed and term else None
            self.book.requests.append(ModelRequest(amount, term, rate, self.book.now + QUOTE))

    def _applications(self) -> list[Application]:
        return list(
            Application.objects.filter(customer=self.desk.owner).select_related("accepted").order_by("pk")
        )

    def approve(self, which: int) -> None:
        if not self.book.requests:
            return
        self.tick()
        number = -1 - which % len(self.book.requests)
        request, row = self.book.requests[number], self._applications()[number]
        undecided = request.status == "submitted" and self.book.now < request.binds_until
        expected = undecided and self.book.may_borrow(request.amount, is_new=False)
        made = self.do(lambda key: self._approve(row, key), expected=expected)
        if made is not None:
            self.book.lend(request)

    def _approve(self, row: Application, key: str) -> Application:
        return origination.approve(
            application_id=row.pk,
            sheet_sha256=row.accepted.sha256 if row.accepted else "",
            actor=self.desk.decider,
            at=self.book.now,
            key=key,
        )

    def bargain(self, amount: Decimal, term: int, then: str) -> None:
        """A lower fixed rate is asked for; the manager agrees or meets half way. R-VIP-11, R-VIP-24"""
        self.tick()
        asked, met = FIXED[term] - Decimal("0.01"), FIXED[term] - Decimal("0.005")
        row = self.do(
            lambda key: desk.applications.negotiate(
                request=desk.request(self.desk, f"{amount:f}", term_days=term),
                wanted=talks.wanted(f"{asked:f}", term_days=term),
                actor=self.desk.borrower,
                at=self.book.now,
                key=key,
            ),
            expected=self.book.may_borrow(amount, is_new=True),
        )
        if row is None:
            return
        request = ModelRequest(amount, term, asked, self.book.now + QUOTE, status="negotiating")
        self.book.requests.append(request)
        if then == "agreed":
            self._answer(offers.accept_counter, row, version=2, by=self.desk.decider)
            request.status, request.binds_until = "submitted", self.book.now + QUOTE
        elif then in ("met", "met and accepted"):
            wanted = talks.wanted(f"{met:f}", term_days=term)
            self._answer(offers.counter_offer, row, version=2, by=self.desk.decider, wanted=wanted)
            request.status, request.rate = "offered", met
            request.binds_until = self.book.now + OFFER
            if then == "met and accepted":
                self._answer(offers.accept_offer, row, version=3, by=self.desk.borrower)
                request.status, request.binds_until = "submitted", self.book.now + QUOTE

    def _answer(self, command: Any, row: Application, *, version: int, by: Actor, **more: Any) -> None:
        self.tick()
        self.do(
            lambda key: command(
                application_id=row.pk, version=version, actor=by, at=self.book.now, key=key, **more
            ),
            expected=True,
        )

    def repay(self, which: int, share: Decimal) -> None:
        if not self.book.loans:
            return
        self.tick()
        number = -1 - which % len(self.book.loans)
        loan, row = self.book.loans[number], self._loans()[number]
        amount = (share * (loan.total + self.book.minimum(loan))).quantize(Decimal("0.00000001"))
        expected = self.book.may_repay(loan, amount)
        paid = self.do(
            lambda key: repayment.repay(
                loan_id=row.pk, amount=amount, actor=self.desk.borrower, at=self.book.now, key=key
            ),
            expected=expected,
        )
        if paid is not None:
            self.book.repay(loan, amount)

    def renew(self, which: int, term: int) -> None:
        if not self.book.loans:
            return
        self.tick()
        number = -1 - which % len(self.book.loans)
        loan, row = self.book.loans[number], self._loans()[number]
        made = self.do(
            lambda key: renewal.renew(
                loan_id=row.pk, term_days=term, actor=self.desk.borrower, at=self.book.now, key=key
            ),
            expected=self.book.may_renew(loan),
        )
        if made is not None:
            self.book.renew(loan, term, FIXED[term] if row.rate_type == "fixed" else None)

    def spend(self, share: Decimal) -> None:
        """What was lent is free to leave."""
        if not self.book.spot:
            return
        self.tick()
        amount = (share * self.book.spot).quantize(Decimal("0.00000001"))
        moved = self.do(
            lambda key: gate.withdraw(
                account_uid=self.desk.master.pk,
                asset="USDT",
                amount=amount,
                address="somewhere",
                actor=self.desk.borrower,
                at=self.book.now,
                key=key,
            ),
            expected=True,
        )
        assert moved is not None
        self.book.spot -= amount

    def top_up(self, btc: Decimal) -> None:
        """Always accepted. R-VIP-52"""
        self.tick()
        self.do(
            lambda key: gate.deposit(
                account_uid=self.desk.sub.pk,
                asset="BTC",
                amount=btc,
                actor=BUILDER,
                at=self.book.now,
                key=key,
            ),
            expected=True,
        )
        self.book.btc += btc

    # -- The world

    def market(self, factor: Decimal) -> None:
        self.book.price = max((self.book.price * factor).quantize(Decimal("0.01")), Decimal(1))
        self.tick()
        self._sweep()

    def time_jumps(self, hours: int) -> None:
        """A job that runs late does what punctual ones would have done. R-GEN-04"""
        self.tick(timedelta(hours=hours))
        accrual.accrue(at=self.book.now)
        expiry.expire_due(at=self.book.now)
        offers.expire_due(at=self.book.now)
        self.book.expire()
        done = overdue_sales.run_overdue(at=self.book.now)
        assert (len(done.liquidated), done.failed) == (self.book.liquidate_overdue(), ())
        self._sweep()

    def _sweep(self) -> None:
        sold = self.book.sweep()
        report = sweep.sweep(at=self.book.now)
        assert (report.liquidated, report.failed) == (int(sold), ())

    def flexible_rate_moves(self, percent: int) -> None:
        """Tomorrow's rate, published today. R-VIP-23, R-GEN-53"""
        self.tick()
        rate = Decimal(percent) / 100
        start = datetime.combine(self.book.now.date() + DAY, time(), UTC)
        if self.book.flexible[-1][0] < start:
            parameters.publish_flexible_rate(
                product="vip",
                asset="USDT",
                annual_rate=rate,
                effective_at=start,
                actor=BUILDER,
                at=self.book.now,
            )
            self.book.flexible.append((start, rate))

    def the_same_again(self) -> None:
        """The same key gets the first outcome and moves nothing. R-GEN-06"""
        if self.last is None:
            return
        call, result = self.last
        before = desk.everything()
        self.tick()
        assert call() == result
        assert desk.everything() == before

    # -- Whatever happened

    def _loans(self) -> list[Loan]:
        return list(Loan.objects.with_debt().filter(customer=self.desk.owner).order_by("pk"))

    @invariant()
    def both_agree(self) -> None:
        if not hasattr(self, "book"):
            return
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        book = self.book
        assert self._seen() == [self._expected(loan) for loan in book.loans]
        assert books.wallet(self.desk.master, "USDT").balance == book.spot
        assert books.wallet(self.desk.sub, "BTC").balance == book.btc
        assert books.wallet(self.desk.sub, "USDT").balance == book.crumbs
        assert LedgerAccount.objects.get(code="pool:USDT").balance == book.pool
        assert MarginCall.objects.filter(ended_at__isnull=True).exists() == book.is_called
        assert CollateralGroup.objects.open().exists() == bool(book.open_loans)
        assert [row.status for row in self._applications()] == [request.status for request in book.requests]

    def _seen(self) -> list[tuple[object, ...]]:
        rows = loan_rows(Loan.objects.with_debt().filter(customer=self.desk.owner), at=self.book.now)
        seen = []
        for row in sorted(rows, key=lambda row: row.loan.pk):
            parts = debts.owed_at([row.loan.debt], at=self.book.now)[row.loan.debt_id].parts
            seen.append((row.status, row.loan.debt.due_at, parts.principal, parts.interest, parts.late_fee))
        return seen

    def _expected(self, loan: ModelLoan) -> tuple[object, ...]:
        return (STATUS[loan.status], loan.due, loan.principal, loan.interest, loan.late)


@pytest.fixture
def rolled_back_each_time(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The machine opens and rolls back a transaction of its own for every run."""
    with django_db_blocker.unblock():
        yield
        connection.close()


@pytest.mark.timeout(1800)
def test_the_desk_does_what_plain_decimals_do(rolled_back_each_time: None) -> None:
    """200 runs of 40 steps: R-GEN-04, R-GEN-06, R-GEN-51, R-GEN-62, R-GEN-71…78, R-VIP-30…34, R-VIP-40…45"""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.generate],  # a failing run is told as it was: shrinking 40 steps takes many minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
