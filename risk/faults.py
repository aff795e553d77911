"""Sales that should not have been, each judged by its own rows: below its line, or on a price that was not fresh.

Apart from the code that decided them, and read together: a crash leaves ten thousand sales at a few hundred instants.
What the recorded prices say besides is risk/aftermath.py.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from accounts.money import exact, unit
from risk import parameters, prices
from risk.handling import Mode
from risk.levels import Lines
from risk.models import Debt, Deleveraging, Liquidation, LiquidationDelay, Sale

USD_PLACES = 18  # of a liquidation's value columns, which are rounded down

Judged = dict[int, list[str]]  # by liquidation


def found(groups: Collection[int] | None = None) -> list[str]:
    """Each sale for LTV that should not have been: below its line, or on a price that was not fresh.

    A chosen step has its own line, and must not be where a liquidation would be. In order of the liquidations; with
    `groups` of these only. R-GEN-22, R-GEN-41, R-FTR-05
    """
    rows = Liquidation.objects.filter(cause__in=[Liquidation.Cause.LTV, Liquidation.Cause.SOFT])
    rows = rows.select_related("group").order_by("pk")
    judged = list(rows if groups is None else rows.filter(group__in=groups))
    lines, stale = _lines_of(judged), _not_fresh(judged)
    choices, ended = _choices(judged), _ended_delays(judged)
    told: list[str] = []
    for row in judged:
        if row.cause == Liquidation.Cause.SOFT:
            told += _not_as_chosen(row, choices.get(row.group_id, ()), lines[row.pk])
        else:
            told += _below_its_line(row, lines[row.pk], ends_a_delay=(row.group_id, row.started_at) in ended)
        told += stale.get(row.pk, [])
    return told


# --- Private ------------------------------------------------------------------------------------------------


@exact
def _below_its_line(row: Liquidation, lines: Lines, *, ends_a_delay: bool) -> Iterator[str]:
    """A delay that ran out between the margin call and the liquidation line ends in steps to initial. R-VIP-62"""
    line = lines.margin_call if ends_a_delay and row.mode == Mode.STEPPED else lines.liquidation
    # Both values were rounded down when stored; exactly on the line the debt may look one unit too small.
    if row.debt_value + unit(USD_PLACES) < line * row.collateral_value:
        yield f"{row} of {row.group} began at {row.ltv}, below its line of {line}"


@exact
def _not_as_chosen(row: Liquidation, choices: Sequence[Deleveraging], lines: Lines) -> Iterator[str]:
    """R-FTR-05: at or over the start that the borrower had chosen, below the liquidation line."""
    chosen = [
        each
        for each in choices
        if each.set_at <= row.started_at and (each.removed_at is None or each.removed_at >= row.started_at)
    ]
    if not chosen:
        yield f"{row} of {row.group} sold early, and nobody had chosen it"
    elif row.debt_value + unit(USD_PLACES) < chosen[-1].start * row.collateral_value:
        yield f"{row} of {row.group} began at {row.ltv}, below its chosen start of {chosen[-1].start}"
    if row.debt_value >= lines.liquidation * (row.collateral_value + unit(USD_PLACES)):
        yield f"{row} of {row.group} began at {row.ltv}, where a liquidation takes its place"


def _lines_of(rows: Sequence[Liquidation]) -> Mapping[int, Lines]:
    """The lines in force at the beginning of each, by liquidation."""
    owed: dict[int, set[str]] = defaultdict(set)
    groups = {row.group_id for row in rows}
    for group_id, asset in Debt.objects.filter(group__in=groups).values_list("group", "asset"):
        owed[group_id].add(asset)
    lines: dict[int, Lines] = {}
    for at, together in _by_instant(rows).items():
        own = parameters.lines_by_group([row.group for row in together], at=at, owed=owed)
        lines |= {row.pk: own[row.group_id] for row in together}
    return lines


def _by_instant(rows: Sequence[Liquidation]) -> dict[datetime, list[Liquidation]]:
    found: dict[datetime, list[Liquidation]] = defaultdict(list)
    for row in rows:
        found[row.started_at].append(row)
    return found


def _choices(rows: Sequence[Liquidation]) -> dict[int, list[Deleveraging]]:
    """What the borrowers of the chosen steps had chosen, oldest first, by group."""
    found: dict[int, list[Deleveraging]] = defaultdict(list)
    groups = {row.group_id for row in rows if row.cause == Liquidation.Cause.SOFT}
    for each in Deleveraging.objects.filter(group__in=groups).order_by("set_at", "pk"):
        found[each.group_id].append(each)
    return found


def _ended_delays(rows: Sequence[Liquidation]) -> set[tuple[int, datetime]]:
    ended = LiquidationDelay.objects.filter(ended=LiquidationDelay.Ended.STEPPED, ended_at__isnull=False)
    pairs = ended.filter(group__in={row.group_id for row in rows}).values_list("group", "ended_at")
    return {(group, at) for group, at in pairs if at is not None}


def _not_fresh(rows: Sequence[Liquidation]) -> Judged:
    """Every price that a sale cites and that was not the fresh one of its instant, by liquidation. R-GEN-22"""
    names = {row.pk: f"{row} of {row.group}" for row in rows}
    marks: dict[datetime, set[tuple[int, str, int]]] = defaultdict(set)
    sales = Sale.objects.filter(liquidation__in=names)
    for at, row, coin, mark, asset, debt_mark in sales.values_list(
        "at", "liquidation", "coin", "mark", "debt__asset", "debt_mark"
    ):
        marks[at] |= {(row, coin, mark), (row, asset, debt_mark)}
    told: Judged = defaultdict(list)
    for at in sorted(marks):
        quotes = prices.latest(at=at, assets={asset for _, asset, _ in marks[at]})
        for row, asset, price_id in sorted(marks[at]):
            quote = quotes.get(asset)
            if quote is None or not quote.fresh or quote.price_id != price_id:
                told[row].append(f"{names[row]} used price {price_id} of {asset}, which was not fresh")
    return told
