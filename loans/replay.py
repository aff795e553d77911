"""The replay of a recorded market: a fresh book of borrowers, then the recording, then the proof.

The pieces are `loans/population.py` (who borrows) and `risk/stress.py` (the feeding); this puts them in order
and adds what the timetable runs for loans. It must run in a database of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from accounts import ledger
from accounts.commands import Actor
from loans import auto_cure, population
from loans.models import Loan
from loans.precautions import Precautions
from loans.vip import expiry
from risk import liquidation, parameters, stress
from risk.handling import Mode
from risk.models import ProductCode
from risk.stress import Course, Outcome

JOB = Actor.job("replay")
NO_HURRY = 3600.0  # seconds: what a replay does must not depend on how fast the machine is

Told = Callable[[str, int, int], None]
"""Called with what is going on, how far it is and how far it goes."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened, and whether it may have: breaks in the books, and sales that should not have been."""

    loans: int
    outcome: Outcome
    ledger_problems: list[str]
    faults: list[str]


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
    populated: Callable[[], None],
    house: House = House(),  # noqa: B008  frozen
    prepared: Precautions = Precautions(),  # noqa: B008  frozen
) -> Report:
    """Open the borrowers, feed the whole recording, and prove the books. `populated` is called in between.

    `prepared` is what the borrowers set up beforehand; the same seed opens the same loans either way.
    """
    coins = {*course.coins, *course.longest}
    population.publish(coins=coins, at=course.first_day)
    stress.publish_watch(course, actor=JOB, at=course.first_day)
    parameters.publish_handling(
        product=ProductCode.VIP,
        mode=house.mode,
        effective_at=course.first_day,
        actor=JOB,
        at=course.first_day,
    )
    stress.warm_up(course)
    desk = population.open_desk(coins=course.coins, at=course.opens_at)
    opened = population.open_borrowers(
        desk=desk, count=borrowers, seed=seed, at=course.opens_at, prepared=prepared
    )
    for number, customer in enumerate(opened, start=1):
        if house.delayed:
            population.enrol(customer=customer, desk=desk, at=course.opens_at)
        told("opening borrowers", number, borrowers)
    populated()
    called = sold = 0
    steps = len(course.after())
    fed = stress.run(course, jobs=_jobs, before_sweep=_cure if prepared.auto_cure else None)
    for number, (step, report) in enumerate(fed, start=1):
        called, sold = called + report.called, sold + report.liquidated
        told(f"{step.at:%Y-%m-%d %H:%M}  {called} called  {sold} liquidated", number, steps)
    return Report(
        loans=Loan.objects.count(),
        outcome=stress.outcome(),
        ledger_problems=ledger.problems(),
        faults=stress.faults(),
    )


class RulesFailed(Exception):
    """Some groups' rules could not be followed: a bug, so the replay's figures would mean nothing."""


def _cure(at: datetime) -> None:
    """The borrowers' own rules, as the timetable runs them before each sweep, but with all the time they need."""
    failed = auto_cure.run_due(at=at, most_seconds=NO_HURRY).failed
    if failed:
        raise RulesFailed(f"At {at:%Y-%m-%d %H:%M} UTC: groups {failed}.")


def _jobs(at: datetime) -> None:
    expiry.expire_due(at=at)
    liquidation.run_overdue(at=at)
