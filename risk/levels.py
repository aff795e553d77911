"""Which band a group is in, and what each band permits.

The permission matrix R-VIP-52 stands below as a table, cell for cell, so that it can be read beside the rule.
Equality matters: a call and a liquidation start when LTV reaches the line, the immediate cut-off only above.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import Final

from accounts.money import ONE, divide_down, divide_up, exact
from accounts.words import tell
from risk.handling import CallTrades
from risk.valuation import Worth

LTV_FLOORS: Final = tuple(
    Decimal(step) / 100 for step in (0, 30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95, 100)
)
"""Where pages cut a book's LTVs: lower ends; the last has no upper end and holds debts without collateral, too."""


class Band(StrEnum):
    """SAFE < initial <= WATCH < margin call <= CALL < liquidation <= LIQ. R-GEN-44"""

    SAFE = "SAFE"
    WATCH = "WATCH"
    CALL = "CALL"
    LIQ = "LIQ"


BAND_WORDS: Final = {
    Band.SAFE: tell("SAFE"),
    Band.WATCH: tell("WATCH"),
    Band.CALL: tell("CALL"),
    Band.LIQ: tell("LIQ"),
}
"""Bands for people."""


class Action(StrEnum):
    """What a customer may ask of a group: the rows of R-VIP-52."""

    TRADE = "TRADE"
    MOVE_INSIDE = "MOVE_INSIDE"
    MOVE_OUT = "MOVE_OUT"
    DEPOSIT = "DEPOSIT"
    REPAY = "REPAY"
    BORROW = "BORROW"
    ADD_ACCOUNT = "ADD_ACCOUNT"
    REMOVE_ACCOUNT = "REMOVE_ACCOUNT"
    RENEW = "RENEW"


@dataclass(frozen=True, slots=True)
class Lines:
    """A group's LTV lines and liquidation fee, as fractions. R-GEN-43, R-VIP-50"""

    initial: Decimal
    margin_call: Decimal
    liquidation: Decimal
    cutoff: Decimal
    fee: Decimal

    def __post_init__(self) -> None:
        self._check()

    @exact
    def _check(self) -> None:
        """Above 1 / (1 + fee) a sale makes LTV worse, so the cut-off stays at or below it.

        Raises:
            ValueError: the lines are out of order, or the fee has no room.
        """
        if not 0 < self.initial < self.margin_call < self.liquidation < self.cutoff:
            raise ValueError(
                "The lines must rise: 0 < initial < margin call < liquidation < cut-off, not"
                f" {_line(self.initial)}, {_line(self.margin_call)}, {_line(self.liquidation)},"
                f" {_line(self.cutoff)}."
            )
        if self.fee < 0 or self.cutoff * (ONE + self.fee) > 1:
            raise ValueError(
                f"The cut-off {_line(self.cutoff)} leaves no room for a fee of {_line(self.fee)}."
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an action may happen; `reason` says in plain words why not, and is empty when it may.

    `to_confirm`: it may, once the customer has seen the LTV it leads to and says so (R-VIP-54).
    """

    allowed: bool
    reason: str = ""
    to_confirm: bool = False


class _If(Enum):
    """The conditions that stand in the cells of R-VIP-52."""

    YES = auto()
    NO = auto()
    BELOW_CALL_AFTER = auto()
    BELOW_INITIAL_AFTER = auto()
    AT_MOST_INITIAL_AFTER = auto()
    LOWERS_LTV = auto()
    IN_GRACE = auto()


_CLOSED = (_If.NO, _If.IN_GRACE)
_COLUMNS = (Band.SAFE, Band.WATCH, Band.CALL, Band.LIQ)
_MATRIX = {
    Action.TRADE: (_If.BELOW_CALL_AFTER, _If.BELOW_CALL_AFTER, _If.LOWERS_LTV, _If.NO),
    Action.MOVE_INSIDE: (_If.YES, _If.YES, _If.NO, _If.NO),
    Action.MOVE_OUT: (_If.BELOW_INITIAL_AFTER, _If.NO, _If.NO, _If.NO),
    Action.DEPOSIT: (_If.YES, _If.YES, _If.YES, _If.YES),
    Action.REPAY: (_If.YES, _If.YES, _If.YES, _If.YES),
    Action.BORROW: (_If.AT_MOST_INITIAL_AFTER, _If.NO, _If.NO, _If.NO),
    Action.ADD_ACCOUNT: (_If.YES, _If.YES, _If.YES, _If.IN_GRACE),
    Action.REMOVE_ACCOUNT: (_If.AT_MOST_INITIAL_AFTER, _If.NO, _If.NO, _If.NO),
    Action.RENEW: (_If.YES, _If.YES, _If.NO, _If.NO),
}
_WORDS = {
    Action.TRADE: tell("trade"),
    Action.MOVE_INSIDE: tell("move coins between the collateral accounts"),
    Action.MOVE_OUT: tell("take coins out of the collateral accounts"),
    Action.BORROW: tell("borrow"),
    Action.ADD_ACCOUNT: tell("add a collateral account"),
    Action.REMOVE_ACCOUNT: tell("remove a collateral account"),
    Action.RENEW: tell("renew"),
}


def band(worth: Worth, lines: Lines) -> Band:
    """R-GEN-41, R-GEN-44"""
    if worth.is_at_least(lines.liquidation):
        return Band.LIQ
    if worth.is_at_least(lines.margin_call):
        return Band.CALL
    return Band.WATCH if worth.is_at_least(lines.initial) else Band.SAFE


def must_liquidate_at_once(worth: Worth, lines: Lines) -> bool:
    """Above the cut-off, not at it, no grace and no second reading is waited for. R-GEN-41, R-VIP-61"""
    return worth.is_above(lines.cutoff)


@exact
def has_recovered(worth: Worth, lines: Lines, hysteresis: Decimal) -> bool:
    """A margin call ends when LTV < margin call - `hysteresis` (0.005 is half a point). R-GEN-62"""
    return worth.is_below(lines.margin_call - hysteresis)


def permits(
    *,
    action: Action,
    before: Worth,
    after: Worth,
    lines: Lines,
    liquidating: bool,
    in_grace: bool = False,
    call_trades: CallTrades = CallTrades.LOWERING,
    confirmed: bool = False,
) -> Verdict:
    """The permission matrix R-VIP-52: may `action` take the group from `before` to `after`?

    `liquidating`: a sale is running, which locks the collateral accounts whatever the LTV (R-GEN-70).
    `in_grace`: prices were out and liquidation waits for the borrower, who may still add an account; until the
    grace is over nobody borrows more (R-GEN-24).
    `call_trades`, `confirmed`: which trades this client may make between margin call and liquidation, and whether
    they were shown the LTV and agreed (R-VIP-54).
    """
    if action is Action.BORROW and in_grace and not liquidating:
        return Verdict(
            allowed=False, reason="Prices were out; borrowing stays closed until the grace is over."
        )
    column = Band.LIQ if liquidating else band(before, lines)
    condition = _MATRIX[action][_COLUMNS.index(column)]
    if action is Action.TRADE and column is Band.CALL and call_trades is CallTrades.NONE:
        condition = _If.NO
    holds = {
        _If.YES: True,
        _If.NO: False,
        _If.BELOW_CALL_AFTER: after.is_below(lines.margin_call),
        _If.BELOW_INITIAL_AFTER: after.is_below(lines.initial),
        _If.AT_MOST_INITIAL_AFTER: after.is_at_most(lines.initial),
        _If.LOWERS_LTV: after.is_safer_than(before),
        _If.IN_GRACE: in_grace and not liquidating,
    }[condition]
    if holds:
        return Verdict(allowed=True)
    if liquidating:
        reason = tell(
            "Collateral is being sold: you cannot {words} until the sale ends.", words=_WORDS[action]
        )
    elif condition in _CLOSED:
        reason = _too_high_now(action, before, lines, call_trades)
    elif action is Action.TRADE and call_trades is CallTrades.BELOW_LIQUIDATION:
        return _trade_by_flag(after, lines, confirmed=confirmed)
    else:
        reason = _too_high_after(condition, before, after, lines)
    return Verdict(allowed=False, reason=reason)


def _trade_by_flag(after: Worth, lines: Lines, *, confirmed: bool) -> Verdict:
    """A client trusted above margin call still sees the LTV first, and never reaches liquidation. R-VIP-54"""
    if not after.is_below(lines.liquidation):
        line = _line(lines.liquidation)
        reason = tell(
            "LTV would be {after}; it must stay below the liquidation line of {line}.",
            after=_percent(after),
            line=line,
        )
        return Verdict(allowed=False, reason=reason)
    if confirmed:
        return Verdict(allowed=True)
    reason = tell(
        "LTV would be {after}, not below the margin call line of {margin_call}, and at"
        " {liquidation} the collateral is sold: confirm that you want this trade.",
        after=_percent(after),
        margin_call=_line(lines.margin_call),
        liquidation=_line(lines.liquidation),
    )
    return Verdict(allowed=False, reason=reason, to_confirm=True)


def _too_high_now(action: Action, before: Worth, lines: Lines, call_trades: CallTrades) -> str:
    """The band forbids the action, whatever it would change: name the line from which it does."""
    first_closed = next(index for index, cell in enumerate(_MATRIX[action]) if cell in _CLOSED)
    if action is Action.TRADE and call_trades is CallTrades.NONE:
        first_closed = _COLUMNS.index(Band.CALL)
    name, line = {
        Band.WATCH: (tell("initial"), lines.initial),
        Band.CALL: (tell("margin call"), lines.margin_call),
        Band.LIQ: (tell("liquidation"), lines.liquidation),
    }[_COLUMNS[first_closed]]
    return tell(
        "LTV is {before}: you can {words} only below the {name} line of {line}.",
        before=_percent(before),
        words=_WORDS[action],
        name=name,
        line=_line(line),
    )


def _too_high_after(condition: _If, before: Worth, after: Worth, lines: Lines) -> str:
    if condition is _If.LOWERS_LTV:
        return tell(
            "LTV is {before}, not below the margin call line of {margin_call}: only a trade that"
            " lowers it is possible, and this one would leave it at {after}.",
            before=_percent(before),
            margin_call=_line(lines.margin_call),
            after=_percent(after),
        )
    if condition is _If.AT_MOST_INITIAL_AFTER:
        over = _percent(after, divide=divide_up)
        return tell(
            "LTV would be {over}, above the initial line of {initial}.",
            over=over,
            initial=_line(lines.initial),
        )
    name, line = "margin call", lines.margin_call
    if condition is _If.BELOW_INITIAL_AFTER:
        name, line = "initial", lines.initial
    return tell(
        "LTV would be {after}; it must stay below the {name} line of {line}.",
        after=_percent(after),
        name=name,
        line=_line(line),
    )


@exact
def _percent(worth: Worth, divide: Callable[[Decimal, Decimal, int], Decimal] = divide_down) -> str:
    """Two decimals, rounded towards the refusal: "72.00 % is above 72 %" would be no reason."""
    if worth.debt and not worth.collateral:
        return tell("infinite, as no collateral counts")
    return tell("{value:f} %", value=divide(100 * worth.debt, worth.collateral, 2)) if worth.debt else "0 %"


@exact
def _line(line: Decimal) -> str:
    return tell("{value:f} %", value=(100 * line).normalize())
