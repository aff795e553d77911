"""What the tests of residual debts share: a sale that left 6,904.11 USDT owing (EX-13), and the books around it."""

from decimal import Decimal

from accounts import books
from accounts.commands import acting
from accounts.exchange import exchange
from accounts.models import Account, Customer, User
from risk import insurance
from risk.models import Debt
from tests import build
from tests.risk.forced_sales import D, World, liquidate

LEFT = D("6904.11")
FUND = D("50000")


class Leftover:
    """A customer whose collateral was sold for less than was owed; the receiver has spent the loan."""

    def __init__(self, *, spot: str = "", fund: str = "50000") -> None:
        for symbol in ("BTC", "USDT"):
            build.asset(symbol)
            build.ratios(symbol)
        self.manager: User = build.user("vip_manager")
        world = World(["BTC"], BTC=("25", "0"))
        self.owner: Customer = world.owner
        with acting(build.BUILDER):
            self.owner.manager = self.manager
            self.owner.save(update_fields=["manager"])
        debt = world.owe("USDT", "1006904.11")
        self.receiver: Account = build.master(self.owner)
        build.prices(BTC="40000", USDT="1")
        liquidate(world.group)
        spend(self.receiver, "1006904.11")
        self.debt = Debt.objects.get(pk=debt.pk)
        if spot:
            build.deposit(self.receiver, "USDT", spot)
        if fund:
            set_aside(fund)

    @property
    def owed(self) -> Decimal:
        self.debt.refresh_from_db()
        return self.debt.booked

    @property
    def spot(self) -> Decimal:
        return build.balance(self.receiver, "USDT")


def set_aside(amount: str, symbol: str = "USDT") -> None:
    insurance.fund(asset=symbol, amount=Decimal(amount), actor=build.BUILDER, at=build.LONG_AGO)


def spend(account: Account, amount: str, symbol: str = "USDT") -> None:
    exchange().pay_out(
        wallet=books.wallet(account, symbol), amount=Decimal(amount), key=f"spent:{account.pk}", at=build.NOON
    )


def desk() -> dict[str, Decimal]:
    """The desk's accounts in USDT that a residual debt can touch."""
    kinds = (books.pool, books.capital, books.insurance, books.bad_debt, books.principal, books.interest)
    return {kind.__name__: kind("USDT").balance for kind in kinds}
