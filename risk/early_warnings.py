"""Early warnings: a word on the way up, before any line that has consequences. R-GEN-63, R-GEN-64

Two kinds of line warn: the borrower's own, for a group or while it holds one coin, and the desk's ladder
(`Settings.early_warnings`), which is the same for all. A crossing is told once, with what would help, and again
only after LTV was clearly below the line. Where several lines are crossed at once only the highest is told,
and none of them when the group is called: the margin call says more.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import F, Q

from accounts import notices
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.money import RATE_PLACES, exact, round_down
from accounts.powers import MemberRule, Power
from accounts.words import joined, tell
from risk import book, margin_calls
from risk.book import GroupState
from risk.levels import Band
from risk.models import CollateralGroup, RiskEvent, Settings, WarningLine
from risk.valuation import Worth

MOST_LINES = 10  # of one group; more than anybody reads, and a bound on what the sweep does
TOLD_IN = frozenset({Band.SAFE, Band.WATCH})
LADDER = Q(removed_at=F("set_at"))
"""A ladder line's row only remembers its crossing: it ended as it began, so it is nobody's own line."""


class BadLine(Refused):
    """The line is not between 0 and the margin call line, or its coin is not collateral of the group."""

    code = "bad_warning_line"


class LineExists(Refused):
    code = "warning_line_exists"


class TooManyLines(Refused):
    code = "too_many_warning_lines"


class NoSuchLine(Refused):
    code = "no_such_warning_line"


# --- The borrower's own lines ---------------------------------------------------------------------------------


@command("risk.set_warning_line", returns=WarningLine, member=MemberRule(Power.RULES))
def set_line(
    *,
    group_id: int,
    ltv: Decimal,
    actor: Actor,
    at: datetime,
    asset: str | None = None,
    key: str = "",
    reason: str = "",
) -> WarningLine:
    """Warn at `ltv` (a fraction), always or while the group holds `asset` as collateral. R-GEN-63

    Where LTV is there already nothing is sent: the crossing counts as told, as whoever sets the line sees it.

    Raises:
        BadLine: not above 0, above the margin call line in force, or a coin that is not chosen for the group.
        LineExists: this line is set. TooManyLines: ten are enough. NoSuchLine: the group is closed.
    """
    [group] = CollateralGroup.objects.locked(group_id)
    if group.closed_at is not None:
        raise NoSuchLine(tell("{group} is closed; there is nothing to warn of.", group=group.name))
    state = book.state_of(group, at=at)
    if not 0 < ltv <= state.lines.margin_call:
        raise BadLine(
            tell(
                "Your own line must be above 0 and at most the margin call line of {margin_call}:"
                " from there on you are called in any case.",
                margin_call=_percent(state.lines.margin_call),
            )
        )
    if asset is not None and asset not in state.coins:
        chosen = joined(", ", sorted(state.coins))
        raise BadLine(
            tell(
                "{asset} is not collateral of {group}. Its coins are {chosen}.",
                asset=asset,
                group=group.name,
                chosen=chosen,
            )
        )
    mine = own_lines(group)
    if any(row.ltv == ltv and row.asset_id == asset for row in mine):
        raise LineExists(tell("You are warned at {ltv} already.", ltv=_percent(ltv)))
    if len(mine) >= MOST_LINES:
        raise TooManyLines(
            tell(
                "A group has at most {most_lines} lines of its own. Remove one first.", most_lines=MOST_LINES
            )
        )
    worth = state.worth(permission=False)
    is_over = _counts(state, asset) and worth.is_at_least(ltv)
    return WarningLine.objects.create(
        group=group, asset_id=asset, ltv=ltv, set_at=at, crossed_at=at if is_over else None
    )


@command("risk.remove_warning_line", returns=WarningLine, member=MemberRule(Power.RULES))
def remove_line(
    *, group_id: int, line_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> WarningLine:
    """Warn there no more.

    Raises:
        NoSuchLine: the group has no such line, or not any more.
    """
    CollateralGroup.objects.locked(group_id)
    row = WarningLine.objects.filter(pk=line_id, group=group_id, removed_at__isnull=True).first()
    if row is None:
        raise NoSuchLine(tell("This line was removed already."))
    row.removed_at, row.crossed_at = at, None
    row.save(update_fields=["removed_at", "crossed_at"])
    return row


def own_lines(group: CollateralGroup) -> list[WarningLine]:
    """The borrower's lines of the group, lowest first."""
    rows = WarningLine.objects.filter(group=group, removed_at__isnull=True).select_related("asset")
    return sorted(rows, key=lambda row: (row.ltv, row.asset_id or ""))


# --- The watch --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crossing:
    """One line as a reading finds it. `row` None: a ladder line that this group has never crossed."""

    ltv: Decimal
    asset: str | None
    row: WarningLine | None

    @property
    def is_crossed(self) -> bool:
        return self.row is not None and self.row.crossed_at is not None


def ladder(settings: Settings) -> tuple[Decimal, ...]:
    """The desk's own lines, lowest first, at the places a line is kept with. R-GEN-64"""
    return tuple(sorted({round_down(Decimal(line), RATE_PLACES) for line in settings.early_warnings}))


def lines_of(groups: Iterable[CollateralGroup], *, settings: Settings) -> dict[int, tuple[Crossing, ...]]:
    """Every line that may warn each group, own and the ladder's, by the group's key. One query."""
    groups = list(groups)
    rows = WarningLine.objects.filter(group__in=groups)
    rows = rows.filter(Q(removed_at__isnull=True) | LADDER).order_by("pk")
    found: dict[int, list[Crossing]] = defaultdict(list)
    remembered: dict[tuple[int, Decimal], WarningLine] = {}
    for row in rows:
        if row.removed_at is None:
            found[row.group_id].append(Crossing(row.ltv, row.asset_id, row))
        elif row.asset_id is None:
            remembered[(row.group_id, row.ltv)] = row
    steps = ladder(settings)
    for group in groups:
        found[group.pk] += [Crossing(ltv, None, remembered.get((group.pk, ltv))) for ltv in steps]
    return {pk: tuple(crossings) for pk, crossings in found.items()}


def follow(
    *,
    group: CollateralGroup,
    state: GroupState,
    band: Band,
    lines: Sequence[Crossing],
    settings: Settings,
    at: datetime,
) -> bool:
    """Tell the highest line crossed since the last reading, and arm again those clearly left; whether any was told.

    Inside the transaction that judged the group. A coin's line counts while the group holds that coin.
    R-GEN-63, R-GEN-64
    """
    worth = state.worth(permission=False)
    crossed: list[tuple[Crossing, WarningLine]] = []
    for line in lines:
        counts = _counts(state, line.asset)
        if line.is_crossed and (not counts or _is_left(worth, line.ltv, settings.hysteresis)):
            _mark(line, group, None, at)
        elif not line.is_crossed and counts and worth.is_at_least(line.ltv):
            crossed.append((line, _mark(line, group, at, at)))
    if not crossed or band not in TOLD_IN:
        return False
    line, row = max(crossed, key=lambda pair: (pair[0].ltv, pair[1].pk))
    _tell(line, row, group, state, worth, at)
    return True


@exact
def _is_left(worth: Worth, line: Decimal, hysteresis: Decimal) -> bool:
    """Clearly below, as a margin call ends. R-GEN-62"""
    return worth.is_below(line - hysteresis) if line > hysteresis else worth.debt == 0


def _counts(state: GroupState, asset: str | None) -> bool:
    return asset is None or (
        asset in state.coins and any(w.asset == asset and w.balance > 0 for w in state.wallets)
    )


def _mark(line: Crossing, group: CollateralGroup, crossed_at: datetime | None, at: datetime) -> WarningLine:
    row = line.row
    if row is None:
        return WarningLine.objects.create(
            group=group, ltv=line.ltv, set_at=at, removed_at=at, crossed_at=crossed_at
        )
    row.crossed_at = crossed_at
    row.save(update_fields=["crossed_at"])
    return row


def _tell(
    line: Crossing, row: WarningLine, group: CollateralGroup, state: GroupState, worth: Worth, at: datetime
) -> None:
    below = margin_calls.cure_to(state=state, line=line.ltv, strictly_below=True)
    facts: Mapping[str, object] = margin_calls.snapshot(state) | {
        "warning_line": row.pk,
        "line": f"{line.ltv:f}",
        "coin": line.asset,
        "below_line": margin_calls.cure_facts(below),
    }
    ltv = worth.told_ltv
    RiskEvent.objects.create(group=group, kind=RiskEvent.Kind.WARNED, at=at, ltv=ltv, facts=dict(facts))
    whose = tell("the warning line") if row.removed_at else tell("your own line")
    held = tell(" for groups that hold {asset}", asset=line.asset) if line.asset else ""
    notices.send(
        customer=group.customer,
        event=f"warning:{row.pk}:{at.isoformat()}",
        kind="early_warning",
        title=tell(
            "Early warning: LTV of {group} is {worth}", group=group.name, worth=margin_calls.percent(worth)
        ),
        body=joined(
            "\n",
            [
                tell(
                    "LTV of {group} ({group2}) reached {worth} at {at:%Y-%m-%d %H:%M:%S} UTC: {whose}"
                    " of {ltv}{held} is crossed. Nothing follows from it; the margin call line is"
                    " {margin_call}.",
                    group=group.name,
                    group2=group,
                    worth=margin_calls.percent(worth),
                    at=at,
                    whose=whose,
                    ltv=_percent(line.ltv),
                    held=held,
                    margin_call=_percent(state.lines.margin_call),
                ),
                "",
                tell(
                    "To get below {ltv}: {state}.",
                    ltv=_percent(line.ltv),
                    state=margin_calls.ways(state, below),
                ),
                "",
                tell(
                    "Prices used: {state}. They move; so do these amounts.",
                    state=margin_calls.prices_used(state),
                ),
            ],
        ),
        facts=facts,
        at=at,
    )


@exact
def _percent(fraction: Decimal) -> str:
    return tell("{value:f} %", value=(100 * fraction).normalize())
