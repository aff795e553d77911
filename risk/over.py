"""Whether what a notice of the engine told of is over, so that nobody is woken for it any more (R-FTR-03).

Asked when an escalation is due, of the rows as they are then. A notice whose rows are not found is not over.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from accounts.models import Notice
from risk.models import CollateralGroup, LiquidationDelay, MarginCall, WarningLine

CALLED: Final = ("CALL", "LIQ")


def _call_ended(notice: Notice, at: datetime) -> bool:
    return MarginCall.objects.filter(pk=notice.facts.get("margin_call"), ended_at__lte=at).exists()


def _delay_ended(notice: Notice, at: datetime) -> bool:
    """Neither a delay nor a grace of its group runs any more."""
    groups = CollateralGroup.objects.filter(pk=notice.facts.get("group"))
    running = LiquidationDelay.objects.filter(group__in=groups, ended_at__isnull=True)
    return groups.exists() and not (running.exists() or groups.filter(grace_until__gt=at).exists())


def _is_out_of_trouble(notice: Notice, at: datetime) -> bool:
    """The sweep last saw its group below the margin call line, or it is closed."""
    groups = CollateralGroup.objects.filter(pk=notice.facts.get("group"))
    return groups.exists() and not groups.filter(band__in=CALLED, closed_at__isnull=True).exists()


def _is_below_warning(notice: Notice, at: datetime) -> bool:
    line = WarningLine.objects.filter(pk=notice.facts.get("warning_line"))
    return line.exists() and not line.filter(crossed_at__isnull=False).exists()


judges: Final[Mapping[str, Callable[[Notice, datetime], bool]]] = {
    "margin_call": _call_ended,
    "call_message": _call_ended,
    "delay": _delay_ended,
    "delay_left": _delay_ended,
    "grace": _is_out_of_trouble,
    "liquidation_paused": _is_out_of_trouble,
    "liquidation_paced": _is_out_of_trouble,
    "early_warning": _is_below_warning,
}
"""By kind of notice; `accounts.notices.over` takes them in."""
