"""The replay of a recorded market: a fresh book of borrowers, then the recording, then the proof.

The pieces are `loans/population.py` and `loans/whole_book.py` (who borrows) and `risk/stress.py` (the feeding); this
puts them in order and adds what the timetable runs for loans. It must run in a database of its own.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts import ledger
from accounts.commands import Actor
from accounts.money import ONE
from loans import auto_cure, population, whole_book
from loans.models import Loan
from loans.population import Desk
from loans.precautions import Precautions
from loans.vip import expiry
from risk import aftermath, faults, overdue_sales, parameters, stress
from risk.aftermath import InVain
from risk.handling import Mode
from risk.models import CollateralGroup, ProductCode
from risk.stress import Course, Outcome

JOB = Actor.job("replay")
NO_HURRY = 3600.0  # seconds: what a replay does must not depend on how fast the machine is
ANALYSES: Final = 20  # in the course of a replay
BY_COMMANDS: Final = 500  # so many borrowers are opened as people would; more of them at once

Told = Callable[[str, int, int], None]
"""Called with what is going on, how far it is and how far it goes."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the opening and the feeding took, in seconds, and how often the book was swept."""

    opening: float
    feeding: float
    sweeps: int

    @property
    def sweeps_per_second(self) -> float:
        return self.sweeps / self.feeding if self.feeding else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What happened, and whether it may have: breaks in the books, sales that should not have been, sales missed."""

    loans: int
    outcome: Outcome
    in_vain: InVain
    ledger_problems: list[str]
    faults: list[str]
    missed: list[str]
    pace: Pace


@dataclass(frozen=True, slots=True)
class House:
    """How the desk handles a group that is to be liquidated; delayed for everybody or nobody. R-GEN-73, R-VIP-60"""

    mode: Mode = Mode.FULL
    delayed: bool = False


def replay(
    course: Course,
    *,
    borrowers: int,
    seed: int,
    told: Told,
    analyse: Callable[[], None],
    house: House = House(),  # noqa: B008  frozen
    prepared: Precautions = Precautions(),  # noqa: B008  frozen
) -> Report:
    """Open the borrowers, feed the whole recording, and prove the books. `analyse`: as in `feed`.

    `prepared` is what the borrowers set up beforehand; the same seed opens the same loans either way.
    """
    began = time.monotonic()
    desk = set_up(course, mode=house.mode)
    opened = _opened(desk, borrowers=borrowers, seed=seed, at=course.opens_at, prepared=prepared)
    for number, group in enumerate(opened, start=1):
        if house.delayed:
            population.enrol(customer=group.customer, desk=desk, at=course.opens_at)
        told("opening borrowers", number, borrowers)
    fed = time.monotonic()
    feed(course, told=told, analyse=analyse, before_sweep=_cure if prepared.auto_cure else None)
    ended = time.monotonic()
    return Report(
        loans=Loan.objects.count(),
        outcome=stress.outcome(),
        in_vain=aftermath.in_vain(),
        ledger_problems=ledger.problems(),
        faults=[*faults.found(), *aftermath.unjust()],
        missed=aftermath.missed(),
        pace=Pace(opening=fed - began, feeding=ended - fed, sweeps=len(course.after())),
    )


def set_up(course: Course, *, mode: Mode = Mode.FULL, ratio_share: Decimal = ONE) -> Desk:
    """The desk that the borrowers find: parameters in force from the first day, prices up to the opening, pools."""
    coins = {*course.coins, *course.longest}
    population.publish(coins=coins, at=course.first_day, ratio_share=ratio_share)
    stress.publish_watch(course, actor=JOB, at=course.first_day)
    parameters.publish_handling(
        product=ProductCode.VIP, mode=mode, effective_at=course.first_day, actor=JOB, at=course.first_day
    )
    stress.warm_up(course)
    return population.open_desk(coins=course.coins, at=course.opens_at)


def feed(
    course: Course, *, told: Told, analyse: Callable[[], None], before_sweep: stress.Jobs | None = None
) -> None:
    """The rest of the recording, with what the timetable runs for loans.

    `analyse` lets the database's planner look at what was written: at the start, and up to twenty times on the way, as
    autovacuum would.
    """
    analyse()
    called = sold = 0
    steps = len(course.after())
    fed = stress.run(course, jobs=_jobs, before_sweep=before_sweep)
    for number, (step, report) in enumerate(fed, start=1):
        called, sold = called + report.called, sold + report.liquidated
        told(f"{step.at:%Y-%m-%d %H:%M}  {called} called  {sold} liquidated", number, steps)
        if number % -(-steps // ANALYSES) == 0:
            analyse()


class RulesFailed(Exception):
    """Some groups' rules could not be followed: a bug, so the replay's figures would mean nothing."""


def _opened(
    desk: Desk, *, borrowers: int, seed: int, at: datetime, prepared: Precautions
) -> Iterator[CollateralGroup]:
    if borrowers > BY_COMMANDS:
        plans = population.plans(desk=desk, count=borrowers, seed=seed)
        yield from whole_book.open_borrowers(plans, desk=desk, at=at, prepared=prepared)
        return
    for customer in population.open_borrowers(
        desk=desk, count=borrowers, seed=seed, at=at, prepared=prepared
    ):
        yield CollateralGroup.objects.select_related("customer").get(customer=customer)


def _cure(at: datetime) -> None:
    """The borrowers' own rules, as the timetable runs them before each sweep, but with all the time they need."""
    failed = auto_cure.run_due(at=at, most_seconds=NO_HURRY).failed
    if failed:
        raise RulesFailed(f"At {at:%Y-%m-%d %H:%M} UTC: groups {failed}.")


def _jobs(at: datetime) -> None:
    expiry.expire_due(at=at)
    overdue_sales.run_overdue(at=at)
