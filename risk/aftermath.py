"""Whether what was sold in a recorded market had to be, whether all that had to be sold was, and what was sold in vain.

Judged on the stored rows alone, apart from the code that decided: what each group held and owed at every instant is
added up from transfers and debt entries, and valued on the recorded prices by the exact rule (risk/hindsight.py).
It is for the book of a replay, which one source prices and where parameters stand from the first day on.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import connection

from accounts.models import Asset
from accounts.money import ZERO
from accounts.words import tell
from risk import parameters
from risk.hindsight import Market, Position, Tape
from risk.levels import Lines
from risk.models import (
    CollateralGroup,
    DelayEnrolment,
    Liquidation,
    Price,
    RiskEvent,
    Sale,
    Settings,
)
from risk.readings import DOUBT

PATIENCE: Final = timedelta(days=7)  # how long a sale in vain is given to come back by itself
NEVER: Final = 2**62  # a step beyond every recording


@dataclass(frozen=True, slots=True)
class InVain:
    """Sales of groups that would have come back by themselves: how many, of how many, and for how much in USD."""

    sales: int
    of: int
    sold_usd: Decimal


def missed(groups: Collection[int] | None = None) -> list[str]:
    """Groups at or over their liquidation line for longer than every wait, from which nothing was sold. R-GEN-23, 24

    The waits: the confirmation, a newer price of a coin that moves, and a grace. Time in which a price is doubted does
    not count, as collateral of a doubted price is taken at the most it may be worth (R-GEN-22). Customers with delayed
    liquidation are left out: theirs has a clock of its own (R-VIP-60).
    """
    past = _Past(groups)
    enrolled = set(DelayEnrolment.objects.values_list("customer", flat=True))
    found = []
    for group in past.groups:
        sales = past.sales.get(group.pk, [])
        for start, stop in () if group.customer_id in enrolled else past.spells(group.pk):
            late = past.overlooked(group.pk, sales, start, stop)
            if late is not None:
                found.append(
                    tell(
                        "{group} was at or over its line from {at:%Y-%m-%d %H:%M} UTC, and nothing"
                        " had been sold at {at2:%H:%M} UTC",
                        group=group,
                        at=past.at[start],
                        at2=past.at[late],
                    )
                )
    return found


def unjust(groups: Collection[int] | None = None) -> list[str]:
    """Sales for LTV that the recorded prices do not bear out: not over the line, or not confirmed. R-GEN-23, R-GEN-41

    What a delay ended is not judged here: it had been over the line when the delay began (R-VIP-62).
    """
    past, found = _Past(groups), []
    enrolled = set(DelayEnrolment.objects.values_list("customer", flat=True))
    for row in _forced(groups):
        if row.group.customer_id in enrolled:
            continue
        spells = past.spells(row.group_id)
        step = past.step_of[row.started_at]
        start = next((first for first, stop in spells if first <= step < stop), None)
        if start is None:
            found.append(tell("{row} of {group} began when it was below its line", row=row, group=row.group))
        elif past.due(row.group_id, start, graces=False) > step and not past.is_cut_off(row.group_id, step):
            found.append(
                tell("{row} of {group} began before its breach was confirmed", row=row, group=row.group)
            )
    return found


def in_vain(groups: Collection[int] | None = None) -> InVain:
    """Sales for LTV of groups that, left alone, would have been back below their margin call line within 7 days.

    Left alone: with what they held and owed at the sale, nothing added, nothing charged, on the prices as recorded; or
    by the end of the recording, where it is shorter. Each sale is judged by itself, at its beginning.
    """
    past = _Past(groups)
    rows, needless = list(_forced(groups)), []
    for row in rows:
        step = past.step_of[row.started_at]
        then = next(each for each in past.positions[row.group_id] if each.start <= step < each.stop)
        until = bisect_right(past.at, row.started_at + PATIENCE)
        alone = replace(then, start=step + 1, stop=until)
        line = past.lines[row.group_id].margin_call
        if alone.start < until and past.true.first_below(alone, line=line) is not None:
            needless.append(row)
    sold = sum((row.sold_usd for row in needless), ZERO)
    return InVain(sales=len(needless), of=len(rows), sold_usd=sold)


# --- Private ------------------------------------------------------------------------------------------------


def _forced(groups: Collection[int] | None) -> Iterable[Liquidation]:
    rows = Liquidation.objects.filter(cause=Liquidation.Cause.LTV).select_related("group").order_by("pk")
    return rows if groups is None else rows.filter(group__in=groups)


class _Past:
    """Everything that a judgement looks at, read once. A step is a place in `at`, the instants with a price."""

    def __init__(self, groups: Collection[int] | None) -> None:
        wanted = CollateralGroup.objects.order_by("pk")
        self.groups = list(wanted if groups is None else wanted.filter(pk__in=groups))
        ids = [group.pk for group in self.groups]
        self.at: list[datetime] = list(
            Price.objects.order_by("observed_at").values_list("observed_at", flat=True).distinct()
        )
        self.step_of = {instant: step for step, instant in enumerate(self.at)}
        self.settings = parameters.settings_at(self.at[-1]) if self.at else Settings()
        told = _Told(self.at)
        tiers = {coin: terms.tiers for coin, terms in parameters.terms_at(self.at[-1]).items()}
        self.true = Market(told.plain, told.plain, tiers, len(self.at))
        self.known = Market(told.most, told.plain, tiers, len(self.at))
        self.told = told
        self.positions = _positions(ids, self.at)
        owed = {pk: {coin for each in own for coin in each.owed} for pk, own in self.positions.items()}
        self.lines: Mapping[int, Lines] = parameters.lines_by_group(self.groups, at=self.at[-1], owed=owed)
        self.sales = self._sales(ids)
        self.graces = _graces(ids)
        self._spells: dict[int, list[tuple[int, int]]] = {}

    def spells(self, group_id: int) -> list[tuple[int, int]]:
        """The longest runs of steps [start, stop) at which the group is surely at or over its liquidation line."""
        if group_id not in self._spells:
            line, found = self.lines[group_id].liquidation, []
            for position in self.positions.get(group_id, []):
                for part in self.told.sure_parts(position):
                    over = (each for each in self.known.stretches(part, line=line) if each.is_over)
                    found += [(each.start, each.stop) for each in over]
            self._spells[group_id] = _joined(found)
        return self._spells[group_id]

    def overlooked(self, group_id: int, sales: Sequence[int], start: int, stop: int) -> int | None:
        """The step by which something had to be sold in a spell, and was not; None: all is well.

        After a sale the rest has its waits again: it may be a step of several.
        """
        while start < stop:
            due = self.due(group_id, start, graces=True)
            if due >= stop:
                return None
            sold = next((step for step in sales if start <= step <= due), None)
            if sold is None:
                return due
            start = sold + 1
        return None

    def due(self, group_id: int, start: int, *, graces: bool) -> int:
        """The step at which a breach first seen at `start` is confirmed and, with `graces`, no grace runs.

        Of the coins that are there when it is confirmed: what one tells that was sold before, or came later, is not of
        this group.
        """
        confirmed = bisect_left(self.at, self.at[start] + timedelta(seconds=self.settings.confirm_seconds))
        found = (
            (max(confirmed, then.start, self.told.newer({*then.held, *then.owed}, start)), then.stop)
            for then in self.positions[group_id]
        )
        step = next((step for step, stop in found if step < stop), NEVER)
        for began, until in self.graces.get(group_id, ()) if graces else ():
            if step < len(self.at) and began <= self.at[step] < until:
                step = bisect_left(self.at, until)
        return step

    def is_cut_off(self, group_id: int, step: int) -> bool:
        """At or above the cut-off at a step: nothing is waited for. R-GEN-23"""
        then = next(each for each in self.positions[group_id] if each.start <= step < each.stop)
        only = replace(then, start=step, stop=step + 1)
        return any(each.is_over for each in self.known.stretches(only, line=self.lines[group_id].cutoff))

    def _sales(self, ids: Sequence[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        rows = Sale.objects.filter(liquidation__group__in=ids).order_by("at")
        for group_id, at in rows.values_list("liquidation__group", "at").distinct():
            found[group_id].append(self.step_of[at])
        return found


class _Told:
    """What every coin's price was at every step: as recorded, at the most while it was doubted, and when that was."""

    def __init__(self, at: Sequence[datetime]) -> None:
        rows: dict[str, list[Price]] = defaultdict(list)
        for row in Price.objects.order_by("observed_at", "pk"):
            rows[row.asset_id].append(row)
        rule_of = parameters.feed_rules_at(at[-1])
        moving = Asset.objects.filter(kind=Asset.Kind.CRYPTO)
        self.crypto = set(moving.values_list("pk", flat=True))
        self.plain: dict[str, Tape] = {}
        self.most: dict[str, Tape] = {}
        self.doubted: dict[str, list[int]] = {}
        self.news: dict[str, list[int]] = {}  # steps with a price that was believed
        for coin, own in rows.items():
            age = timedelta(seconds=rule_of(coin).max_age_seconds)
            marks = list(_marks(own, at, age))
            self.plain[coin] = Tape([mark.plain for mark in marks])
            self.most[coin] = Tape([mark.most for mark in marks])
            self.doubted[coin] = [step for step, mark in enumerate(marks) if not mark.is_sure]
            self.news[coin] = [step for step, mark in enumerate(marks) if mark.is_new]

    def sure_parts(self, position: Position) -> Iterator[Position]:
        """The position without the steps at which the price of a coin it owes was doubted: then nothing is decided."""
        cuts: set[int] = set()
        for coin in position.owed:
            doubted = self.doubted[coin]
            cuts |= set(doubted[bisect_left(doubted, position.start) : bisect_left(doubted, position.stop)])
        start = position.start
        for cut in [*sorted(cuts), position.stop]:
            if cut > start:
                yield replace(position, start=start, stop=cut)
            start = cut + 1

    def newer(self, coins: Collection[str], step: int) -> int:
        """The first step after `step` with a price of one of these coins that moves, or of any where none does."""
        telling = [coin for coin in coins if coin in self.crypto] or list(coins)
        after = [(self.news[coin], bisect_right(self.news[coin], step)) for coin in telling]
        return min((news[place] for news, place in after if place < len(news)), default=NEVER)


@dataclass(frozen=True, slots=True)
class _Mark:
    plain: Decimal
    most: Decimal
    is_sure: bool
    is_new: bool


def _marks(rows: Sequence[Price], at: Sequence[datetime], age: timedelta) -> Iterator[_Mark]:
    """The coin at every step. Before its first price it is worth nothing, for sure: nobody could pledge it."""
    seen, good, newest = 0, None, None
    for instant in at:
        is_new = False
        while seen < len(rows) and rows[seen].observed_at <= instant:
            newest = rows[seen]
            is_good = newest.status == Price.Status.GOOD
            good, is_new = (newest, True) if is_good else (good, is_new)
            seen += 1
        if newest is None:
            yield _Mark(plain=ZERO, most=ZERO, is_sure=True, is_new=False)
            continue
        is_sure = good is newest and good is not None and instant - good.observed_at <= age
        trusted = ZERO if good is None else good.price
        most = trusted if is_sure else trusted * DOUBT
        yield _Mark(plain=newest.price, most=most, is_sure=is_sure, is_new=is_new)


def _joined(spells: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in spells:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def _graces(ids: Sequence[int]) -> dict[int, list[tuple[datetime, datetime]]]:
    found: dict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
    rows = RiskEvent.objects.filter(kind=RiskEvent.Kind.GRACE, group__in=ids).order_by("at", "pk")
    for group_id, at, facts in rows.values_list("group", "at", "facts"):
        found[group_id].append((at, datetime.fromisoformat(facts["until"])))
    return found


# --- What was held and owed ---------------------------------------------------------------------------------

_HELD = """
    SELECT m.group_id, w.asset_id, e.at, false, sum(CASE WHEN t.credit_id = w.id THEN t.amount ELSE -t.amount END)
    FROM risk_member m
    JOIN risk_groupcoin c ON c.group_id = m.group_id
    JOIN accounts_ledgeraccount w ON w.account_id = m.account_id AND w.kind = m.wallet AND w.asset_id = c.asset_id
    CROSS JOIN LATERAL (
        SELECT * FROM accounts_transfer WHERE credit_id = w.id
        UNION ALL SELECT * FROM accounts_transfer WHERE debit_id = w.id) t
    JOIN accounts_journalentry e ON e.id = t.entry_id
    WHERE m.group_id = ANY (%(ids)s) GROUP BY m.group_id, w.asset_id, e.at
"""
# A charge counts at its own instant, as everybody who values a debt then adds what is due; all else after it. What a
# liquidation leaves owing has left the group.
_OWED = """
    SELECT d.group_id, d.asset_id, e.at, e.kind IN ('charge', 'minimum'), sum(e.principal + e.interest + e.late_fee)
    FROM risk_debt d JOIN risk_debtentry e ON e.debt_id = d.id
    WHERE d.group_id = ANY (%(ids)s) AND (d.residual_since IS NULL OR e.at <= d.residual_since)
    GROUP BY d.group_id, d.asset_id, e.at, e.kind IN ('charge', 'minimum')
    UNION ALL
    SELECT d.group_id, d.asset_id, d.residual_since, false, -sum(e.principal + e.interest + e.late_fee)
    FROM risk_debt d JOIN risk_debtentry e ON e.debt_id = d.id
    WHERE d.group_id = ANY (%(ids)s) AND e.at <= d.residual_since GROUP BY d.group_id, d.asset_id, d.residual_since
"""


def _positions(ids: Sequence[int], at: Sequence[datetime]) -> dict[int, list[Position]]:
    """What each group held and owed, step by step: a list without gaps, to the end of the recording."""
    changes: dict[int, dict[int, list[tuple[str, str, Decimal]]]] = defaultdict(lambda: defaultdict(list))
    for side, query in (("held", _HELD), ("owed", _OWED)):
        with connection.cursor() as cursor:
            cursor.execute(query, {"ids": list(ids)})
            for group_id, asset, instant, at_once, amount in cursor.fetchall():
                step = bisect_left(at, instant) if at_once else bisect_right(at, instant)
                changes[group_id][step].append((side, asset, amount))
    return {group_id: list(_laid_out(own, len(at))) for group_id, own in changes.items()}


def _laid_out(changes: Mapping[int, Sequence[tuple[str, str, Decimal]]], steps: int) -> Iterator[Position]:
    sides: dict[str, dict[str, Decimal]] = {"held": {}, "owed": {}}
    order = sorted(changes)
    for step, following in zip(order, [*order[1:], steps], strict=True):
        for side, asset, amount in changes[step]:
            sides[side][asset] = sides[side].get(asset, ZERO) + amount
        if step < following:
            yield Position(step, following, *({a: q for a, q in own.items() if q} for own in sides.values()))
