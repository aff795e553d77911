"""What other lines, ratios and ways of liquidating would have cost: the same borrowers several times in one market.

Every variant has a book of its own in the same replay: the same loans, drawn from the same seed, each as far below its
own initial line as the others are below theirs. Groups do not touch each other, so the variants do not either, and all
goes through the commands, the sweep and the ledger of production. Defaults stay what is published (R-VIP-50).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from accounts import ledger
from accounts.money import ZERO, exact
from loans import population, whole_book
from loans.demo import opening
from loans.models import Loan
from loans.population import Desk
from loans.replay import JOB, House, Told, feed, set_up
from risk import aftermath, faults, parameters, stress
from risk.aftermath import InVain
from risk.handling import Mode
from risk.levels import Lines
from risk.models import CollateralGroup, ProductCode
from risk.stress import Course, Outcome

RATIO_SHARES: Final = (Decimal(1), Decimal("0.9"), Decimal("0.8"))


def _lines(initial: str, margin_call: str, liquidation: str, cutoff: str) -> Lines:
    levels = {"initial": initial, "margin_call": margin_call, "liquidation": liquidation, "cutoff": cutoff}
    return replace(opening.LINES, **{name: Decimal(level) for name, level in levels.items()})


LINES: Final = {
    "65/72/85": _lines("0.65", "0.72", "0.85", "0.90"),
    "72/77/91": opening.LINES,
    "78/83/94": _lines("0.78", "0.83", "0.94", "0.97"),
}
HOUSES: Final = {
    "full": House(),
    "stepped": House(mode=Mode.STEPPED),
    "delayed": House(delayed=True),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """Lines that every group signed, and how the desk handles it at the liquidation line."""

    lines: str
    handling: str


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one variant's book. `lent_usd` at the prices of the opening."""

    variant: Variant
    lent_usd: Decimal
    outcome: Outcome
    in_vain: InVain
    faults: list[str]
    missed: list[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    rows: list[Row]
    ledger_problems: list[str]


def variants() -> list[Variant]:
    return [Variant(lines, handling) for lines in LINES for handling in HOUSES]


def compare(
    course: Course,
    *,
    borrowers: int,
    seed: int,
    ratio_share: Decimal,
    told: Told,
    analyse: Callable[[], None],
) -> Comparison:
    """Feed the recording to a book of `borrowers` for each variant; collateral counts for `ratio_share` of its ratios.

    `analyse`: as in `replay.feed`. Delayed liquidation is of whole sales, as `full` is.
    """
    desk = set_up(course, ratio_share=ratio_share)
    books: dict[Variant, list[CollateralGroup]] = {}
    for number, variant in enumerate(variants()):
        own = replace(desk, lines=LINES[variant.lines])
        plans = population.plans(desk=own, count=borrowers, seed=seed)
        first = number * borrowers + 1
        opened = whole_book.open_borrowers(plans, desk=own, at=course.opens_at, first=first)
        books[variant] = list(opened)
        _handle(books[variant], HOUSES[variant.handling], desk=own, course=course)
        told("opening borrowers", number + 1, len(variants()))
    feed(course, told=told, analyse=analyse)
    return Comparison(list(_rows(books, desk)), ledger.problems())


def _handle(groups: Sequence[CollateralGroup], house: House, *, desk: Desk, course: Course) -> None:
    """The customers' own way of being liquidated, where it is not the product's."""
    at = course.opens_at
    for group in groups:
        if house.mode is not Mode.FULL:
            parameters.publish_handling(
                product=ProductCode.VIP,
                mode=house.mode,
                customer=group.customer,
                effective_at=at,
                actor=JOB,
                at=at,
            )
        if house.delayed:
            population.enrol(customer=group.customer, desk=desk, at=at)


def _rows(books: dict[Variant, list[CollateralGroup]], desk: Desk) -> Iterator[Row]:
    for variant, groups in books.items():
        ids = [group.pk for group in groups]
        yield Row(
            variant=variant,
            lent_usd=_lent(ids, desk),
            outcome=stress.outcome(ids),
            in_vain=aftermath.in_vain(ids),
            faults=[*faults.found(ids), *aftermath.unjust(ids)],
            missed=aftermath.missed(ids),
        )


@exact
def _lent(ids: Sequence[int], desk: Desk) -> Decimal:
    loans = Loan.objects.filter(group__in=ids).values_list("asset", "amount")
    return sum((amount * desk.prices[asset] for asset, amount in loans), ZERO)
