"""The book grows from ten thousand debts to a million; at each size the sweep and the midnight are measured.

python -m bench.scale --sizes 10000,100000,1000000 --json FILE
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bench import stand

LOANS: Final = 5  # of a group, and as many coins: as many positions as debts
FIRST_DAY: Final = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--sizes", default="10000,100000", help="numbers of debts, growing")
    asked.add_argument("--json", type=Path)
    options = asked.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    with stand.database() as analyse:
        found = list(grown(sizes, analyse))
    text = json.dumps(found, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        sys.stdout.write(text + "\n")
    return 0


def grown(sizes: list[int], analyse: Any) -> Any:
    """One measurement of each size. The next part of the book is opened after the midnight that was charged."""
    from bench import accrual, book, sweep

    filled = 0
    for number, size in enumerate(sizes):
        at = FIRST_DAY + timedelta(days=number)
        began = time.perf_counter()
        book.fill(groups=(size - filled) // LOANS, coins=LOANS, loans=LOANS, at=at)
        filled = size
        analyse()
        sys.stderr.write(f"{size} debts are open after {time.perf_counter() - began:.0f} s\n")
        midnight = datetime.combine(at.date(), datetime.min.time(), UTC) + timedelta(days=1)
        yield {
            "debts": size,
            "sweep": sweep.measured(at=at + timedelta(minutes=1)),
            "stress": _stressed(at + timedelta(minutes=2)),
            "accrual": accrual.measured(debts=size, at=midnight),
            "bytes": _sizes(),
        }


def _stressed(at: datetime) -> dict[str, Any]:
    """A known day over the whole book, as the stress page asks for it (R-FTR-27)."""
    from risk import shocks, stress_runs

    day = shocks.KNOWN_DAYS[0]
    scenario = stress_runs.scenario_of(shocks.known(day.key))
    began = time.perf_counter()
    answer = stress_runs.answer(scenario, at=at)
    seconds = time.perf_counter() - began
    liquidated = answer["columns"][0]["totals"]["liquidated"]
    return {
        "title": answer["title"],
        "groups": answer["book"]["groups"],
        "steps": answer["steps"],
        "liquidated": liquidated,
        "seconds": seconds,
    }


def _sizes() -> dict[str, int]:
    """What the tables that grow take on disk, with their indexes."""
    from django.db import connection

    tables = ["risk_debt", "risk_debtentry", "accounts_ledgeraccount", "accounts_transfer", "risk_moved"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, pg_total_relation_size(name) FROM unnest(%s::text[]) AS name", [tables])
        return dict(cursor.fetchall())


if __name__ == "__main__":
    sys.exit(main())
