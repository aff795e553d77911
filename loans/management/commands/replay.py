"""Replay a recorded market over a fresh book of borrowers, in a database of its own."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.errors import Refused
from accounts.money import round_down
from loans.management import price_course
from loans.management.own_database import own_database
from loans.management.price_course import BAD_INPUT
from loans.precautions import Precautions
from loans.replay import House, Report, replay
from risk.handling import Mode
from risk.stress import Course

MOST_BORROWERS = 50_000
INTERRUPTED = 130  # exit code, as shells use it


class Command(BaseCommand):
    help = (
        "Open borrowers in a throw-away database, feed them a recorded market bar by bar, and report calls, "
        "liquidations and the proof of the books. Starts its own services when no database is given."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        price_course.add_arguments(parser)
        parser.add_argument("--borrowers", type=int, default=200, help="how many (default 200)")
        parser.add_argument("--seed", type=int, default=1, help="same seed, same report (default 1)")
        parser.add_argument(
            "--mode",
            choices=[mode.value for mode in Mode],
            default=Mode.FULL.value,
            help="sell everything at once, or in steps to the initial line (default full)",
        )
        parser.add_argument(
            "--delayed", action="store_true", help="enrol every borrower for delayed liquidation"
        )
        parser.add_argument(
            "--auto-cure",
            action="store_true",
            help="every borrower has a reserve and rules that top up, repay and swap from 75 %% on, to 72 %%",
        )
        parser.add_argument(
            "--soft", action="store_true", help="every borrower chose de-leveraging from 82 %% on, to 76 %%"
        )
        parser.add_argument("--report", type=Path, help="write the report as JSON here")

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        course = price_course.read(options)
        report_path, borrowers, seed = options["report"], options["borrowers"], options["seed"]
        if not 1 <= borrowers <= MOST_BORROWERS:
            raise CommandError(
                f"--borrowers must be 1 to {MOST_BORROWERS}, not {borrowers}.", returncode=BAD_INPUT
            )
        if report_path and not report_path.resolve().parent.is_dir():
            raise CommandError(f"There is no folder for {report_path}.", returncode=BAD_INPUT)
        house = House(mode=Mode(options["mode"]), delayed=options["delayed"])
        prepared = Precautions(auto_cure=options["auto_cure"], soft=options["soft"])
        bar = Progress()
        try:
            with only_errors_logged(), own_database() as analyse:
                report = replay(
                    course,
                    borrowers=borrowers,
                    seed=seed,
                    told=bar.show,
                    analyse=analyse,
                    house=house,
                    prepared=prepared,
                )
        except Refused as refusal:
            raise CommandError(str(refusal), returncode=BAD_INPUT) from refusal
        except KeyboardInterrupt:
            raise CommandError("Stopped; its database is dropped.", returncode=INTERRUPTED) from None
        finally:
            bar.end()
        figures = _figures(report, house, prepared, seed=seed, seconds=time.monotonic() - started)
        if report_path:
            report_path.write_text(json.dumps(figures, indent=2) + "\n")
        self._tell(options["file"], course, figures, report)

    def _tell(self, file: Path, course: Course, figures: dict[str, Any], report: Report) -> None:
        for line in _table(file, course, figures, report):
            self.stdout.write(line)
        self.stdout.write(
            f"replay: {figures['groups']} groups, {figures['loans']} loans, {figures['calls']} calls, "
            f"{figures['liquidations']} liquidations ({figures['wrong']} wrong, {figures['missed']} missed), "
            f"{figures['ledger_problems']} ledger problems, {figures['seconds']} s"
        )
        broken = [*report.ledger_problems, *report.faults, *report.missed]
        if broken:
            raise CommandError("\n".join(["The replay does not hold:", *broken[:20]]))


def _figures(
    report: Report, house: House, prepared: Precautions, *, seed: int, seconds: float
) -> dict[str, Any]:
    """The report as JSON: amounts are text with two decimals, rounded down."""
    found = report.outcome
    return {
        "seed": seed,
        "mode": house.mode.value,
        "delayed": house.delayed,
        "auto_cure": prepared.auto_cure,
        "soft": prepared.soft,
        "groups": found.groups,
        "loans": report.loans,
        "calls": found.calls,
        "liquidations": found.liquidations,
        "groups_liquidated": found.groups_liquidated,
        "steps": found.steps,
        "delays": found.delays,
        "delays_cured": found.delays_cured,
        "lead_minutes": found.lead_minutes,
        "sold_usd": f"{round_down(found.sold_usd, 2):f}",
        "taken_over_usd": f"{round_down(found.taken_over_usd, 2):f}",
        "fees_usd": f"{round_down(found.fees_usd, 2):f}",
        "shortfall_usd": f"{round_down(found.shortfall_usd, 2):f}",
        "interest_usd": f"{round_down(found.interest_usd, 2):f}",
        "soft_steps": found.soft.times,
        "soft_sold_usd": f"{round_down(found.soft.moved_usd, 2):f}",
        "soft_fees_usd": f"{round_down(found.soft.fees_usd, 2):f}",
        "cures": {
            kind: {"times": cure.times, "moved_usd": f"{round_down(cure.moved_usd, 2):f}"}
            for kind, cure in sorted(found.cures.items())
        },
        "wrong": len(report.faults),
        "missed": len(report.missed),
        "in_vain": report.in_vain.sales,
        "in_vain_usd": f"{round_down(report.in_vain.sold_usd, 2):f}",
        "ledger_problems": len(report.ledger_problems),
        "opening_seconds": round(report.pace.opening, 1),
        "sweeps": report.pace.sweeps,
        "sweeps_per_second": round(report.pace.sweeps_per_second, 1),
        "seconds": round(seconds, 1),
    }


def _table(file: Path, course: Course, figures: dict[str, Any], report: Report) -> Iterator[str]:
    lead, found = figures["lead_minutes"], report.outcome
    yield f"{file.name}: {course.steps[0].at:%Y-%m-%d %H:%M} to {course.steps[-1].at:%Y-%m-%d %H:%M} UTC"
    told = [figures["mode"], *(name for name in ("delayed", "auto_cure", "soft") if figures[name])]
    yield f"  handling          {', '.join(told).replace('_', '-')}"
    yield f"  groups, loans     {figures['groups']}, {figures['loans']}"
    pace = report.pace
    yield (
        f"  sweeps            {pace.sweeps} in {pace.feeding:.0f} s, {figures['sweeps_per_second']} per second;"
        f" the book was opened in {pace.opening:.0f} s"
    )
    yield f"  margin calls      {figures['calls']}"
    yield (
        f"  liquidations      {figures['liquidations']} of {figures['groups_liquidated']} groups in"
        f" {figures['steps']} steps, of which {len(found.leads)} after a call"
    )
    if found.delays:
        yield f"  delays            {found.delays}, of which {found.delays_cured} cured"
    if found.leads:
        yield f"  call to sale      {lead['min']} / {lead['median']} / {lead['max']} min (min / median / max)"
    if found.liquidations:
        yield f"  sold in vain      {report.in_vain.sales} of {report.in_vain.of}: they would have come back in 7 days"
    for label, key in (("sold", "sold_usd"), ("fees", "fees_usd")):
        yield f"  {label:<16}{_usd(figures[key])}"
    for label, key in (("shortfall", "shortfall_usd"), ("interest", "interest_usd")):
        yield f"  {label:<16}{_usd(figures[key])}"
    if found.soft.times:
        yield f"  soft steps        {found.soft.times}"
        for label, key in (("soft sold", "soft_sold_usd"), ("soft fees", "soft_fees_usd")):
            yield f"  {label:<16}{_usd(figures[key])}"
    for kind, cure in figures["cures"].items():
        yield f"  rules: {kind.replace('_', '-'):<9}{_usd(cure['moved_usd'])} in {cure['times']} uses"


def _usd(text: str) -> str:
    whole, _, cents = text.partition(".")
    return f"{int(whole):>20,}.{cents} USD"


@contextmanager
def only_errors_logged() -> Iterator[None]:
    """A crash is thousands of expected warnings (jumps in quarantine, outages); they would bury the progress."""
    logger = logging.getLogger("risk")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class Progress:
    """One moving line on a terminal; elsewhere a line at every tenth of the way."""

    WIDTH = 30

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self.shown = ""

    def show(self, doing: str, done: int, total: int) -> None:
        percent = 100 * done // total
        if self.is_terminal:
            filled = self.WIDTH * done // total
            sys.stderr.write(f"\r[{'#' * filled:<{self.WIDTH}}] {percent:3d} %  {doing}\x1b[K")
        elif (mark := f"{done == total} {percent // 10}") != self.shown:
            self.shown = mark
            sys.stderr.write(f"{percent:3d} %  {doing}\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self.is_terminal:
            sys.stderr.write("\r\x1b[K")
