"""What each member of a customer may do there, as one table (R-ADM-09).

Pure: roles are the values of `Membership.Role`. The commands ask it through accounts/membership.py, and the pages
ask the same table, so a button that is shown is one that works.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from accounts.words import joined, tell


class Power(StrEnum):
    """What a command takes; `WORDS` says it to people."""

    LOOK = "look"
    TRADE = "trade"
    MOVE = "move"
    WITHDRAW = "withdraw"
    APPLY = "apply"
    ACCEPT = "accept"
    REPAY = "repay"
    PLEDGE = "pledge"
    OPEN = "open"
    RULES = "rules"
    GOVERN = "govern"


WORDS: Final[Mapping[Power, str]] = {
    Power.LOOK: tell("look at accounts, loans and notices"),
    Power.TRADE: tell("trade one coin for another"),
    Power.MOVE: tell("deposit, and transfer coins between accounts"),
    Power.WITHDRAW: tell("withdraw coins"),
    Power.APPLY: tell("send, negotiate and take back requests"),
    Power.ACCEPT: tell("accept or decline offers, and accept the agreement"),
    Power.REPAY: tell("repay and renew loans"),
    Power.PLEDGE: tell("add and remove collateral accounts"),
    Power.OPEN: tell("open sub-accounts"),
    Power.RULES: tell("set warnings, automatic rules and who is told"),
    Power.GOVERN: tell("say who may do what, and what needs two people"),
}

_TRADER: Final = frozenset({Power.LOOK, Power.TRADE, Power.MOVE})
POWERS: Final[Mapping[str, frozenset[Power]]] = {
    "signatory": frozenset(Power),
    "treasurer": frozenset(Power) - {Power.GOVERN},
    "trader": _TRADER,
    "viewer": frozenset({Power.LOOK}),
}
OF_ONE_ACCOUNT: Final = _TRADER | {Power.WITHDRAW}
"""All that somebody who acts for one account only may ever do, whatever their role (R-GEN-95)."""


@dataclass(frozen=True, slots=True)
class MemberRule:
    """What a member needs to call a command, and when the firm's own second person must release it (R-ADM-09).

    `two` names the field of the firm's policy that asks for two people; `second` looks at the arguments where no
    policy does.
    """

    power: Power
    two: str = ""
    second: Callable[[Mapping[str, Any]], bool] | None = None

    @property
    def is_released(self) -> bool:
        """Whether it can be put up for a second person at all."""
        return bool(self.two) or self.second is not None


def powers_of(role: str, *, one_account: bool = False) -> frozenset[Power]:
    """What a member with this role may do; an unknown role may nothing. R-ADM-09, R-GEN-95"""
    powers = POWERS.get(role, frozenset())
    return powers & OF_ONE_ACCOUNT if one_account else powers


def who_may(power: Power) -> str:
    """The roles with this power, in words: "a signatory or treasurer"."""
    names = [role for role, powers in POWERS.items() if power in powers]
    listed = (
        names[0]
        if len(names) == 1
        else tell("{names} or {names2}", names=joined(", ", names[:-1]), names2=names[-1])
    )
    return tell("a {listed}", listed=listed)
