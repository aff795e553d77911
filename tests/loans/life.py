"""A loan's life in plain Decimals: what the desk should have done, written without any of its code.

One borrower, USDT lent against BTC that counts in full, the VIP lines 72/77/91/95 %, a fee of 2 %, no slippage.
The machine in test_life.py does everything to the desk and to this, and compares.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

UNIT = Decimal("0.00000001")
INITIAL, CALL, LIQUIDATION, CUTOFF = (Decimal(line) for line in ("0.72", "0.77", "0.91", "0.95"))
RECOVERED = CALL - Decimal("0.005")
FEE = Decimal("0.02")
DUST = 10
DAY = timedelta(days=1)
OVERDUE = timedelta(hours=168)
UNDECIDED = ("submitted", "negotiating", "offered")
NEVER = datetime.max.replace(tzinfo=UTC)


def up(amount: Decimal) -> Decimal:
    with localcontext(prec=60):
        return amount.quantize(UNIT, rounding=ROUND_CEILING)


def down(amount: Decimal) -> Decimal:
    with localcontext(prec=60):
        return amount.quantize(UNIT, rounding=ROUND_FLOOR)


def coins_for(dollars: Decimal, price: Decimal) -> Decimal:
    """The least BTC that brings so many dollars."""
    with localcontext(prec=60):
        return (dollars / price).quantize(UNIT, rounding=ROUND_CEILING)


@dataclass
class ModelLoan:
    """One order. `segments` are its rates by start; None is the flexible rate, which has a history of its own."""

    number: int
    lent: Decimal
    principal: Decimal
    opened: datetime
    through: datetime
    due: datetime | None
    segments: list[tuple[datetime, Decimal | None]]
    is_renewal: bool = False
    interest: Decimal = Decimal(0)
    late: Decimal = Decimal(0)
    was_charged: bool = False
    overdue_since: datetime | None = None
    status: str = "accruing"

    @property
    def is_open(self) -> bool:
        return self.status in ("accruing", "overdue")

    @property
    def total(self) -> Decimal:
        return self.principal + self.interest + self.late

    def pay(self, amount: Decimal) -> None:
        """Late fee, interest, principal. R-GEN-51"""
        for part in ("late", "interest", "principal"):
            paid = min(amount, getattr(self, part))
            setattr(self, part, getattr(self, part) - paid)
            amount -= paid
        assert amount == 0


@dataclass
class ModelRequest:
    amount: Decimal
    term: int | None
    rate: Decimal | None  # None: flexible
    binds_until: datetime
    status: str = "submitted"


@dataclass
class Book:
    """Everything there is. `spot` is the receiver's USDT, `crumbs` what sales brought too much."""

    now: datetime
    price: Decimal = Decimal(60_000)
    btc: Decimal = Decimal(25)
    spot: Decimal = Decimal(0)
    crumbs: Decimal = Decimal(0)
    pool: Decimal = Decimal(1_000_000_000)
    is_called: bool = False
    loans: list[ModelLoan] = field(default_factory=list)
    requests: list[ModelRequest] = field(default_factory=list)
    flexible: list[tuple[datetime, Decimal]] = field(default_factory=list)

    # -- What is owed

    @property
    def open_loans(self) -> list[ModelLoan]:
        return [loan for loan in self.loans if loan.is_open]

    @property
    def debt(self) -> Decimal:
        return sum((loan.total for loan in self.open_loans), Decimal(0))

    def reaches(self, line: Decimal, *, more: Decimal = Decimal(0)) -> bool:
        with localcontext(prec=60):
            return self.debt + more > 0 and self.debt + more >= line * self.btc * self.price

    def exceeds(self, line: Decimal, *, more: Decimal = Decimal(0)) -> bool:
        with localcontext(prec=60):
            return self.debt + more > line * self.btc * self.price

    def accrue(self) -> None:
        """One day per midnight; three times after expiry, rounded up once. R-VIP-30…32, R-VIP-43"""
        for loan in self.open_loans:
            midnight = datetime(loan.through.year, loan.through.month, loan.through.day, tzinfo=UTC) + DAY
            while midnight <= self.now:
                if loan.principal:
                    times = 3 if loan.due is not None and loan.due < midnight else 1
                    yearly = loan.principal * self._rate(loan, before=midnight)
                    with localcontext(prec=60):
                        day, total = up(yearly / 365), up(times * yearly / 365)
                    loan.interest += day
                    loan.late += total - day
                    loan.was_charged = True
                    loan.through = midnight
                midnight += DAY

    def _rate(self, loan: ModelLoan, *, before: datetime) -> Decimal:
        rate = [rate for start, rate in loan.segments if start < before][-1]
        return rate if rate is not None else [rate for start, rate in self.flexible if start < before][-1]

    def _rate_now(self, loan: ModelLoan) -> Decimal:
        rate = [rate for start, rate in loan.segments if start <= self.now][-1]
        return rate if rate is not None else self.flexible_now

    @property
    def flexible_now(self) -> Decimal:
        return [rate for start, rate in self.flexible if start <= self.now][-1]

    def minimum(self, loan: ModelLoan) -> Decimal:
        """One day on what was lent, if it was never charged. R-VIP-31"""
        if loan.was_charged or loan.is_renewal or loan.status == "residual":
            return Decimal(0)
        rate = loan.segments[0][1]
        if rate is None:
            rate = [rate for start, rate in self.flexible if start <= loan.opened][-1]
        with localcontext(prec=60):
            return up(loan.lent * rate / 365)

    # -- Borrowing

    def may_borrow(self, amount: Decimal, *, is_new: bool) -> bool:
        """R-VIP-07, R-VIP-13, R-GEN-78"""
        if any(loan.status == "residual" for loan in self.loans):
            return False
        if is_new and amount < (50_000 if self.loans else 500_000):
            return False
        if amount > 10_000_000 or amount > self.pool:
            return False
        return not self.reaches(INITIAL) and not self.exceeds(INITIAL, more=amount)

    def lend(self, request: ModelRequest) -> None:
        due = None if request.term is None else self.now + timedelta(days=request.term)
        self.loans.append(
            ModelLoan(
                number=len(self.loans),
                lent=request.amount,
                principal=request.amount,
                opened=self.now,
                through=self.now,
                due=due,
                segments=[(self.now, request.rate)],
            )
        )
        self.spot += request.amount
        self.pool -= request.amount
        request.status = "disbursed"

    # -- Paying back

    def may_repay(self, loan: ModelLoan, amount: Decimal) -> bool:
        """R-GEN-52, R-VIP-34"""
        payoff = loan.total + self.minimum(loan)
        may_pay = loan.is_open or loan.status == "residual"
        if not may_pay or not 0 < amount <= payoff or amount > self.spot:
            return False
        left = loan.principal - max(amount - loan.late - loan.interest, Decimal(0))
        return amount == payoff or (left > 0 and left >= DUST)

    def repay(self, loan: ModelLoan, amount: Decimal) -> None:
        if amount == loan.total + self.minimum(loan):
            loan.interest += self.minimum(loan)
            loan.status = "repaid"
        loan.pay(amount)
        self.spot -= amount
        self.pool += amount

    def may_renew(self, loan: ModelLoan) -> bool:
        """R-VIP-40, R-VIP-41, EX-20"""
        if not loan.is_open or loan.due is None:
            return False
        opens = datetime(loan.due.year, loan.due.month, loan.due.day, tzinfo=UTC) - 7 * DAY
        in_window = opens <= self.now < loan.due
        return in_window and not self.reaches(CALL) and self.spot >= loan.interest + loan.late

    def renew(self, loan: ModelLoan, term: int, rate: Decimal | None) -> None:
        """R-VIP-42: the old rate runs to the old expiry."""
        assert loan.due is not None
        interest = loan.interest + loan.late
        self.spot -= interest
        self.pool += interest
        self.loans.append(
            ModelLoan(
                number=len(self.loans),
                lent=loan.principal,
                principal=loan.principal,
                opened=self.now,
                through=self.now,
                due=loan.due + term * DAY,
                segments=[(self.now, self._running(loan)), (loan.due, rate)],
                is_renewal=True,
            )
        )
        loan.principal = loan.interest = loan.late = Decimal(0)
        loan.status = "renewed"

    def _running(self, loan: ModelLoan) -> Decimal | None:
        return [rate for start, rate in loan.segments if start <= self.now][-1]

    # -- What the jobs do

    def expire(self) -> None:
        for loan in self.open_loans:
            if loan.status == "accruing" and loan.due is not None and loan.due <= self.now:
                loan.status, loan.overdue_since = "overdue", loan.due
        for request in self.requests:
            if request.status in UNDECIDED and request.binds_until <= self.now:
                request.status = "expired"

    def liquidate_overdue(self) -> int:
        """R-VIP-45: first the receiver's coins without a fee, then only what is needed. How many."""
        late = [loan for loan in self.open_loans if loan.overdue_since is not None]
        due = [loan for loan in late if loan.overdue_since and loan.overdue_since + OVERDUE <= self.now]
        for loan in sorted(due, key=lambda loan: (loan.overdue_since or NEVER, loan.number)):
            netted = min(self.spot, loan.total)
            self.spot -= netted
            self.pool += netted
            loan.pay(netted)
            self._sell(loan, owed=loan.total, fee=up(loan.total * FEE))
            loan.status = "liquidated" if loan.total == 0 else "residual"
        return len(due)

    def sweep(self) -> bool:
        """Whether everything was sold. R-GEN-41, R-GEN-62, R-GEN-71…78"""
        if self.reaches(LIQUIDATION):
            self._liquidate()
            self.is_called = False
            return True
        if self.reaches(CALL):
            self.is_called = True
        elif self.is_called and not self.reaches(RECOVERED):
            self.is_called = False
        return False

    def _liquidate(self) -> None:
        order = sorted(
            self.open_loans,
            key=lambda loan: (
                loan.status != "overdue",
                loan.due or NEVER,
                -self._rate_now(loan),
                loan.number,
            ),
        )
        *earlier, last = order
        based = {loan.number: loan.total for loan in order}
        for loan in earlier:
            self._sell(loan, owed=loan.total, fee=Decimal(0))
        healthy = all(loan.total == 0 for loan in earlier)
        self._sell(last, owed=last.total, fee=up(last.total * FEE) if healthy else Decimal(0))
        if all(loan.total == 0 for loan in order):
            for loan in earlier:
                self._sell(loan, owed=Decimal(0), fee=up(based[loan.number] * FEE))
        for loan in order:
            loan.status = "liquidated" if loan.total == 0 else "residual"

    def _sell(self, loan: ModelLoan, *, owed: Decimal, fee: Decimal) -> None:
        """Sell BTC for the debt and the fee; the debt first, then the fee, the crumb to the account it came from."""
        if owed + fee == 0:
            return
        sold = min(self.btc, coins_for(owed + fee, self.price))
        brought = down(sold * self.price)
        if brought <= 0:
            return
        self.btc -= sold
        paid = min(owed, brought)
        loan.pay(paid)
        due = up(paid * FEE) if owed else fee
        taken = min(brought - paid, due if fee else Decimal(0))
        self.crumbs += brought - paid - taken
        self.pool -= brought - paid - taken
