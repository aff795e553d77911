"""The words in which the demo's stories are told: requests, what became of them, and what a borrower does.

Times are days before now, amounts are as a borrower types them.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from loans.models import RateType

MASTER: Final = "Master"  # the label of every master account
FIXED, FLEXIBLE = RateType.FIXED.value, RateType.FLEXIBLE.value


class Outcome(StrEnum):
    PAID_OUT = "paid out"
    WAITING = "waiting"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    OFFERED = "offered"  # the desk made an offer, which is open


@dataclass(frozen=True, slots=True)
class Wants:
    """Terms that one side wants instead of the published ones: annual rates by coin, as fractions."""

    rates: tuple[tuple[str, str], ...]
    days: int
    message: str
    margin_call: str = "0.77"
    overdue_hours: int = 168


@dataclass(frozen=True, slots=True)
class Draw:
    """One request: coins and amounts, rate, term in days (None: open), and what became of it after some hours.

    With `wants` the borrower was not satisfied with the published terms; `offer` is what the desk answered.
    """

    ago: str
    coins: tuple[tuple[str, str], ...]
    rate: str
    days: int | None
    purpose: str
    outcome: Outcome = Outcome.PAID_OUT
    hours: str = "3"
    reason: str = ""
    wants: Wants | None = None
    offer: Wants | None = None


@dataclass(frozen=True, slots=True)
class Repay:
    """`share` of what the draw's loans then owe; what is missing in the receiver's Spot is brought in first."""

    ago: str
    share: str = "1"
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Renew:
    ago: str
    days: int
    draw: int = 0


@dataclass(frozen=True, slots=True)
class TopUp:
    ago: str
    account: str
    coin: str
    amount: str
    wallet: str = "spot"


@dataclass(frozen=True, slots=True)
class Withdraw:
    ago: str
    account: str
    coin: str
    amount: str


@dataclass(frozen=True, slots=True)
class Move:
    ago: str
    source: str
    target: str
    coin: str
    amount: str
    wallets: tuple[str, str] = ("spot", "spot")


@dataclass(frozen=True, slots=True)
class Trade:
    ago: str
    account: str
    sell: str
    amount: str
    buy: str


Step = Repay | Renew | TopUp | Withdraw | Move | Trade


@dataclass(frozen=True, slots=True)
class Story:
    """`coins` are (coin, share of the recognised collateral); `accounts` hold it in equal parts."""

    borrower: str
    accounts: tuple[str, ...] = ("Reserve",)
    coins: tuple[tuple[str, str], ...] = (("BTC", "1"),)
    ltv: str = "0.5"
    draws: tuple[Draw, ...] = ()
    steps: tuple[Step, ...] = field(default=())
    receiver: str = MASTER
    ltv_ago: str = "0"
