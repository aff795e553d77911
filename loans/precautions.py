"""What borrowers of the replay prepared for a fall: rules that cure by themselves, and being sold from early.

Nothing here is drawn: with and without precautions a seed gives the same loans against the same collateral, so
what differs between two replays is what the precautions did. R-FTR-04, R-FTR-05
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from accounts.commands import Actor
from accounts.models import Account, LedgerAccount
from accounts.money import ZERO, divide_down, exact, round_down
from loans import cure_rules
from risk import deleveraging, gate
from risk.models import CollateralGroup, CureRule

JOB = Actor.job("population")
TRIGGER: Final = Decimal("0.75")
CURED: Final = Decimal("0.72")
RESERVE: Final = Decimal("0.08")  # of the collateral's value, in its first coin
KEPT: Final = Decimal("0.1")  # of each loan, to repay from; the rest is spent
SWAPPED_PART: Final = 3  # at most a third of the first coin
SOFT_START, SOFT_TARGET, SOFT_SHARE = Decimal("0.82"), Decimal("0.76"), Decimal("0.1")

Pledge = tuple[Account, str, Decimal]


@dataclass(frozen=True, slots=True)
class Precautions:
    """For every borrower or for none."""

    auto_cure: bool = False
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Means:
    """What a borrower has: pledges by account, loans by coin, and what coins cost and how fine they are."""

    master: Account
    pledges: Sequence[Pledge]
    lent: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]
    places: Mapping[str, int]
    stable: frozenset[str]

    @property
    def first(self) -> str:
        """The first coin pledged, which moves."""
        return self.pledges[0][1]

    @property
    def stable_owed(self) -> str | None:
        return next((coin for coin in self.lent if coin in self.stable), None)


def take(*, group: CollateralGroup, means: Means, of: Precautions, actor: Actor, at: datetime) -> None:
    """Prepare the group through the commands that its borrower would call."""
    if of.auto_cure:
        _prepare_cures(group, means, actor, at)
    if of.soft:
        deleveraging.choose(
            group_id=group.pk,
            start=SOFT_START,
            target=SOFT_TARGET,
            step_share=SOFT_SHARE,
            actor=actor,
            at=at,
        )


@exact
def _prepare_cures(group: CollateralGroup, means: Means, actor: Actor, at: datetime) -> None:
    """A reserve, a tenth of each loan kept to repay from, a third of the first coin for swapping into dollars."""
    master, first = means.master, means.first
    for coin, amount in means.lent.items():
        spent = round_down(amount * (1 - KEPT), means.places[coin])
        gate.withdraw(account_uid=master.pk, asset=coin, amount=spent, address="spent", actor=JOB, at=at)
    value = sum((amount * means.prices[coin] for _, coin, amount in means.pledges), ZERO)
    reserve = divide_down(value * RESERVE, means.prices[first], means.places[first])
    funding = LedgerAccount.Kind.FUNDING
    gate.deposit(account_uid=master.pk, asset=first, amount=reserve, wallet=funding, actor=actor, at=at)
    held = {account: amount for account, coin, amount in means.pledges if coin == first}
    fullest = max(held, key=lambda account: (held[account], -account.pk))
    levels: dict[str, Any] = {
        "group_id": group.pk,
        "trigger": TRIGGER,
        "target": CURED,
        "actor": actor,
        "at": at,
    }
    cure_rules.set_rule(
        kind=CureRule.Kind.TOP_UP,
        asset=first,
        source_uid=master.pk,
        source_wallet=funding,
        account_uid=fullest.pk,
        **levels,
    )
    for coin in means.lent:
        cure_rules.set_rule(kind=CureRule.Kind.REPAY, asset=coin, **levels)
    if means.stable_owed is not None:
        third = round_down(sum(held.values(), ZERO) / SWAPPED_PART, means.places[first])
        cure_rules.set_rule(
            kind=CureRule.Kind.SWAP,
            asset=first,
            buy=means.stable_owed,
            account_uid=fullest.pk,
            most_each=third,
            most_daily=third,
            **levels,
        )
