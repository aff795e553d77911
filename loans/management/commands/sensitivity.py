"""Replay a recorded market over the same borrowers under other lines, ratios and ways of liquidating."""

import json
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.errors import Refused
from accounts.money import round_down
from loans.management import price_course
from loans.management.commands.replay import INTERRUPTED, Progress, only_errors_logged
from loans.management.own_database import own_database
from loans.management.price_course import BAD_INPUT
from loans.sensitivity import Comparison, Row, compare

MOST_BORROWERS = 2_000  # for each variant


class Command(BaseCommand):
    help = (
        "Open the same borrowers under several LTV lines and liquidation modes in a throw-away database, feed all of "
        "them one recorded market, and report bad debt and sales in vain of each. Starts its own services."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        price_course.add_arguments(parser)
        parser.add_argument("--borrowers", type=int, default=150, help="in each variant (default 150)")
        parser.add_argument("--seed", type=int, default=1, help="same seed, same report (default 1)")
        parser.add_argument("--ratios", default="1", help="collateral counts for this part of it (default 1)")
        parser.add_argument("--report", type=Path, required=True, help="write the report as JSON here")

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        course = price_course.read(options)
        share = _share(options["ratios"])
        if not 1 <= options["borrowers"] <= MOST_BORROWERS:
            raise CommandError(f"--borrowers must be 1 to {MOST_BORROWERS}.", returncode=BAD_INPUT)
        bar = Progress()
        try:
            with only_errors_logged(), own_database() as analyse:
                found = compare(
                    course,
                    borrowers=options["borrowers"],
                    seed=options["seed"],
                    ratio_share=share,
                    told=bar.show,
                    analyse=analyse,
                )
        except Refused as refusal:
            raise CommandError(str(refusal), returncode=BAD_INPUT) from refusal
        except KeyboardInterrupt:
            raise CommandError("Stopped; its database is dropped.", returncode=INTERRUPTED) from None
        finally:
            bar.end()
        rows = [_figures(row, share) for row in found.rows]
        told = {"seed": options["seed"], "borrowers": options["borrowers"], "rows": rows}
        told["seconds"] = round(time.monotonic() - started, 1)
        options["report"].write_text(json.dumps(told, indent=2) + "\n")
        self._tell(found, rows)

    def _tell(self, found: Comparison, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self.stdout.write(
                f"{row['lines']} {row['handling']:<8} ratios x{row['ratios']}: {row['calls']} calls,"
                f" {row['liquidations']} liquidations ({row['in_vain']} in vain), shortfall {row['shortfall_usd']} USD"
            )
        broken = [*found.ledger_problems]
        broken += [problem for row in found.rows for problem in (*row.faults, *row.missed)]
        if broken:
            raise CommandError("\n".join(["The comparison does not hold:", *broken[:20]]))


def _share(text: str) -> Decimal:
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal(0)
    if not (share.is_finite() and 0 < share <= 1):
        raise CommandError("--ratios must be above 0 and at most 1, such as 0.9.", returncode=BAD_INPUT)
    return share


def _figures(row: Row, share: Decimal) -> dict[str, Any]:
    """Amounts are text with two decimals, rounded down."""
    found = row.outcome
    return {
        "lines": row.variant.lines,
        "handling": row.variant.handling,
        "ratios": f"{share:f}",
        "groups": found.groups,
        "lent_usd": f"{round_down(row.lent_usd, 2):f}",
        "calls": found.calls,
        "liquidations": found.liquidations,
        "groups_liquidated": found.groups_liquidated,
        "sold_usd": f"{round_down(found.sold_usd, 2):f}",
        "fees_usd": f"{round_down(found.fees_usd, 2):f}",
        "shortfall_usd": f"{round_down(found.shortfall_usd, 2):f}",
        "in_vain": row.in_vain.sales,
        "in_vain_usd": f"{round_down(row.in_vain.sold_usd, 2):f}",
        "wrong": len(row.faults),
        "missed": len(row.missed),
    }
