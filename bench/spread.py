"""Two workers, then four, each with a network of its own, share a night of one database and one broker.

python -m bench.spread --debts 400000 --json FILE
"""

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import stand
from bench.scale import FIRST_DAY, LOANS


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--debts", type=int, default=400_000)
    asked.add_argument("--json", type=Path)
    options = asked.parse_args()
    with stand.database() as analyse:
        from bench import accrual, book

        book.fill(groups=options.debts // LOANS, coins=LOANS, loans=LOANS, at=FIRST_DAY)
        analyse()
        first = datetime.combine(FIRST_DAY.date(), datetime.min.time(), UTC)
        nights = [
            accrual.spread(workers=workers, debts=options.debts, at=first + timedelta(days=night))
            for night, workers in enumerate((2, 4), start=1)
        ]
    text = json.dumps({"nights": nights}, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
