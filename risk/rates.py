"""Which annual rate a debt bore when: its dated segments, with the flexible rate's history laid into them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from accounts.money import ZERO, exact
from risk.interest import RateStep
from risk.models import Debt, DebtRate, FlexibleRate


def open_segment(*, debt: Debt, starts_at: datetime, fixed_rate: Decimal | None, spread: Decimal) -> DebtRate:
    """From `starts_at` the debt bears `fixed_rate`, or its coin's flexible rate plus `spread`. Inside a command."""
    return DebtRate.objects.create(debt=debt, starts_at=starts_at, fixed_rate=fixed_rate, spread=spread)


def steps_of(debts: Iterable[Debt]) -> dict[int, tuple[RateStep, ...]]:
    """Every rate change of each debt, oldest first. Two queries, however many debts (R-GEN-53)."""
    debts = list(debts)
    segments: dict[int, list[_Segment]] = defaultdict(list)
    rows = DebtRate.objects.filter(debt__in=[debt.pk for debt in debts]).order_by("starts_at", "pk")
    for debt_id, *segment in rows.values_list("debt_id", "starts_at", "fixed_rate", "spread"):
        segments[debt_id].append(_Segment(*segment))
    is_flexible = any(row.fixed_rate is None for rows in segments.values() for row in rows)
    published = _published(debts) if is_flexible else {}
    return {
        debt.pk: tuple(_laid_out(segments[debt.pk], published.get((debt.product, debt.asset_id), [])))
        for debt in debts
    }


def rate_at(steps: Sequence[RateStep], at: datetime) -> Decimal:
    """The rate in force at `at`, its own instant included; the first step's before any starts."""
    in_force = [step for step in steps if step.starts_at <= at] or list(steps[:1])
    return in_force[-1].annual_rate


class _Segment(NamedTuple):
    """As much of a `DebtRate` as its steps take."""

    starts_at: datetime
    fixed_rate: Decimal | None
    spread: Decimal


class _Published(NamedTuple):
    """As much of a `FlexibleRate`."""

    effective_at: datetime
    annual_rate: Decimal


def _published(debts: list[Debt]) -> dict[tuple[str, str], list[_Published]]:
    found: dict[tuple[str, str], list[_Published]] = defaultdict(list)
    wanted = FlexibleRate.objects.filter(asset__in={debt.asset_id for debt in debts})
    rows = wanted.order_by("effective_at", "pk")
    for product, asset, *rate in rows.values_list("product", "asset_id", "effective_at", "annual_rate"):
        found[product, asset].append(_Published(*rate))
    return found


@exact
def _laid_out(segments: list[_Segment], published: list[_Published]) -> list[RateStep]:
    steps: list[RateStep] = []
    for segment, following in pairwise([*segments, None]):
        assert segment is not None
        if segment.fixed_rate is not None:
            steps.append(RateStep(segment.starts_at, segment.fixed_rate))
            continue
        until = following.starts_at if following else None
        in_force = [row for row in published if row.effective_at <= segment.starts_at][-1:]
        later = [
            row
            for row in published
            if row.effective_at > segment.starts_at and (until is None or row.effective_at < until)
        ]
        # A discount never pays the borrower: the rate stops at 0 (R-VIP-24).
        steps += [
            RateStep(segment.starts_at, max(row.annual_rate + segment.spread, ZERO)) for row in in_force
        ]
        steps += [RateStep(row.effective_at, max(row.annual_rate + segment.spread, ZERO)) for row in later]
    return steps
