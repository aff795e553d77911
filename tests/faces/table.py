"""docs/faces.md, made of what the last `make browser` measured of every page.

python -m tests.faces.table
"""

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.faces.look import SLOWEST

BASE = Path(__file__).resolve().parents[2]
PAGE = BASE / "docs" / "faces.md"
REPORTS = BASE / ".local" / "faces"

HEAD = """# Faces

Every page of the desk in Debian's Chromium, over the demo that `make run` shows; written by `make browser`, which fails
where axe-core finds anything, a page asks anybody else for something, weighs too much, is slow or must be pushed
sideways on a phone. The console (`admin:`) and the description of the API are held to the same bars.

- **Weight**: everything the first visit fetches, each file compressed with gzip, in kB of 1,000 bytes; at most 150.
- **axe**: violations of axe-core's default rules in light, in dark and at 390 px.
- **Server**: the time that 19 of 20 requests in a row stayed within, in ms, to the last byte, on the machine that ran
  it; at most 150. Other work on that machine counts in it, so a page that was slower is asked for 20 more, twice.
"""


def main() -> int:
    reports = [json.loads(file.read_text()) for file in sorted(REPORTS.glob("*.json"))]
    if not reports:
        sys.stderr.write("no page was looked at: make browser\n")
        return 1
    PAGE.write_text(f"{HEAD}\n{summary(reports)}\n\n{table(reports)}\n")
    sys.stdout.write(f"faces: {len(reports)} visits; docs/faces.md is written\n")
    return 0


def summary(reports: list[dict[str, Any]]) -> str:
    found = sum(broken(report) for report in reports)
    slow = sum(report["milliseconds"] > SLOWEST for report in reports)
    day = datetime.now(UTC)
    return (
        f"{len(reports)} visits on {day:%-d %B %Y}, axe-core of axe-playwright-python"
        f" {version('axe-playwright-python')}: {found} violations;"
        f" {slow} slower than {SLOWEST} ms."
    )


def table(reports: list[dict[str, Any]]) -> str:
    lines = ["| Page | Seen by | Weight | axe: light, dark, phone | Server |", "|---|---|---:|---|---:|"]
    for report in sorted(reports, key=lambda each: (each["name"], each["who"])):
        counts = ", ".join(str(len(rules)) for rules in report["violations"].values())
        lines.append(
            f"| `{report['name']}` | {report['who']} | {report['bytes'] / 1000:.1f}"
            f" | {counts} | {report['milliseconds']:.0f} |"
        )
    return "\n".join(lines)


def broken(report: dict[str, Any]) -> int:
    return sum(len(rules) for rules in report["violations"].values())


if __name__ == "__main__":
    sys.exit(main())
