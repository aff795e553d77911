"""Books for the midnight job: debts of every kind on coins of every precision, and what they were charged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from accounts.commands import acting
from accounts.models import LedgerAccount
from risk import debts, rates
from risk.models import CollateralGroup, Debt, DebtEntry, FlexibleRate, Freeze
from tests import build
from tests.build import BUILDER

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
COINS = tuple(f"C{places}" for places in range(9))  # each with as many decimals as its name says
SPAN = 24 * 6  # hours that anything may happen in


@dataclass(frozen=True)
class Segment:
    """A rate from some hours after the opening; `fixed` None: the coin's flexible rate plus `spread`."""

    hours: int
    fixed: Decimal | None
    spread: Decimal


@dataclass(frozen=True)
class Spec:
    """A debt as it will be made; hours count from START, `due_in` from the opening."""

    coin: str
    units: int  # of the coin's smallest amount
    opened: int
    due_in: int | None
    is_overdue: bool
    is_residual: bool
    multiplier: int
    segments: tuple[Segment, ...]

    @property
    def amount(self) -> Decimal:
        return Decimal(self.units).scaleb(-int(self.coin[1:]))


@dataclass(frozen=True)
class Pause:
    """A time in which the desk could not take repayments; `coin` None: of any coin."""

    coin: str | None
    starts: int
    hours: int
    lifted: int | None


@dataclass(frozen=True)
class Book:
    debts: tuple[Spec, ...]
    published: tuple[tuple[str, int, Decimal], ...]  # coin, hours, annual rate
    pauses: tuple[Pause, ...]
    until: int


_fractions = st.one_of(
    st.just(0),
    st.integers(1, 100),
    st.integers(0, 10**10),
    st.integers(0, 10**11 - 1),
    st.sampled_from([840000001, 365 * 10**7, 1]),
)
_rates = _fractions.map(lambda tenths: Decimal(tenths).scaleb(-10))  # 10 decimals, 0 to below 10
_spreads = st.integers(-(10**9), 10**9).map(lambda tenths: Decimal(tenths).scaleb(-10))
_hours = st.one_of(st.integers(0, SPAN), st.integers(0, 6).map(lambda days: 24 * days))
_units = st.one_of(
    st.integers(1, 400), st.integers(1, 10**12), st.integers(1, 10**16), st.just(2899160000001)
)


@st.composite
def _specs(draw: Any) -> Spec:
    opened = draw(_hours)
    due_in = draw(st.one_of(st.none(), st.integers(1, 96), st.integers(1, 4).map(lambda days: 24 * days)))
    first = Segment(0, draw(st.one_of(st.none(), _rates)), draw(_spreads))
    later = draw(st.lists(st.tuples(st.integers(1, 96), st.one_of(st.none(), _rates), _spreads), max_size=2))
    return Spec(
        coin=draw(st.sampled_from(COINS)),
        units=draw(_units),
        opened=opened,
        due_in=due_in,
        is_overdue=due_in is not None and draw(st.booleans()),
        is_residual=draw(st.integers(0, 9)) == 0,
        multiplier=draw(st.integers(1, 5)),
        segments=(first, *{hours: Segment(hours, fixed, spread) for hours, fixed, spread in later}.values()),
    )


def books(*, most: int = 6) -> st.SearchStrategy[Book]:
    """Up to `most` debts, the flexible rates of their coins (some have none), and pauses."""
    published = st.lists(st.tuples(st.sampled_from(COINS), _hours, _rates), max_size=6)
    from_the_start = st.lists(st.tuples(st.sampled_from(COINS), st.just(-24), _rates), min_size=0, max_size=9)
    pauses = st.builds(
        Pause,
        coin=st.one_of(st.none(), st.sampled_from(COINS)),
        starts=_hours,
        hours=st.integers(1, 72),
        lifted=st.one_of(st.none(), _hours),
    )
    return st.builds(
        Book,
        debts=st.lists(_specs(), min_size=1, max_size=most).map(tuple),
        published=st.tuples(from_the_start, published).map(
            lambda both: tuple({row[:2]: row for row in [*both[0], *both[1]]}.values())
        ),
        pauses=st.lists(pauses, max_size=3).map(tuple),
        until=st.one_of(st.integers(0, SPAN + 48), st.integers(0, 8).map(lambda days: 24 * days)),
    )


def group_and_coins() -> CollateralGroup:
    """A group to borrow in, the coins, and more in the pools than is ever lent. Once in a test."""
    for coin in COINS:
        build.asset(coin, places=int(coin[1:]))
        build.fund_pool(coin, "100000000000000000")
    owner = build.customer()
    return build.group(build.master(owner), [build.account(owner)], coins=())


def opened(book: Book, group: CollateralGroup) -> list[Debt]:
    with acting(BUILDER):
        for coin, hours, rate in book.published:
            FlexibleRate.objects.create(
                product="vip", asset_id=coin, effective_at=START + hours * HOUR, annual_rate=rate
            )
        for pause in book.pauses:
            Freeze.objects.create(
                what=Freeze.What.REPAY,
                asset_id=pause.coin,
                reason="The wallets are closed.",
                starts_at=START + pause.starts * HOUR,
                ends_at=START + (pause.starts + pause.hours) * HOUR,
                lifted_at=None if pause.lifted is None else START + pause.lifted * HOUR,
                placed_by="test",
            )
        return [_opened(spec, group) for spec in book.debts]


def _opened(spec: Spec, group: CollateralGroup) -> Debt:
    at = START + spec.opened * HOUR
    first, *later = spec.segments
    debt = debts.open_debt(
        group=group,
        asset=build.asset(spec.coin),
        amount=spec.amount,
        receiver=group.receiver,
        due_at=None if spec.due_in is None else at + spec.due_in * HOUR,
        fixed_rate=first.fixed,
        spread=first.spread,
        late_multiplier=spec.multiplier,
        overdue_hours=168,
        at=at,
    )
    for segment in later:
        rates.open_segment(
            debt=debt, starts_at=at + segment.hours * HOUR, fixed_rate=segment.fixed, spread=segment.spread
        )
    if spec.is_overdue:
        debts.mark_overdue(debt, at=at)
    if spec.is_residual:
        debts.make_residual(debt, at=at)
    return debt


CHARGE = (
    "debt_id",
    "kind",
    "at",
    "principal",
    "interest",
    "late_fee",
    "period_start",
    "period_end",
    "basis",
    "annual_rate",
)
TOTALS = ("pk", "principal", "interest", "late_fee", "accrued_through")


def charged(pks: Sequence[int]) -> dict[str, list[tuple[object, ...]]]:
    """Every row that charging these debts leaves, and every balance of the house."""
    rows = DebtEntry.objects.filter(debt__in=pks, kind=DebtEntry.Kind.CHARGE)
    return {
        "charges": list(rows.order_by("debt", "period_start").values_list(*CHARGE)),
        "debts": list(Debt.objects.filter(pk__in=pks).order_by("pk").values_list(*TOTALS)),
        "balances": list(
            LedgerAccount.objects.exclude(debits=0, credits=0)
            .order_by("code")
            .values_list("code", "debits", "credits")
        ),
    }
