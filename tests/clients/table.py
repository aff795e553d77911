"""The table of docs/api.md: which endpoint was served to which client in the last run of `make clients`.

python -m tests.clients.table
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import django

BASE = Path(__file__).resolve().parents[2]
PAGE = BASE / "docs" / "api.md"
REPORTS = BASE / ".local" / "clients"
NAMES = ("official", "ccxt", "pybinance", "connector", "typed")
START, END = "<!-- clients -->", "<!-- /clients -->"
YES, BY_HAND, NO = "yes", "by hand", "·"


def main() -> int:
    missing = [name for name in NAMES if not (REPORTS / f"{name}.json").exists()]
    if missing:
        sys.stderr.write(f"no run of {', '.join(missing)} to write a table of: make clients\n")
        return 1
    _set_up()
    reports = {name: json.loads((REPORTS / f"{name}.json").read_text()) for name in NAMES}
    before = PAGE.read_text()
    after = with_table(before, table(registered(), reports))
    if after != before:
        PAGE.write_text(after)
    steps = ", ".join(f"{name} {report['steps']}" for name, report in reports.items())
    sys.stdout.write(f"clients: every step as it should be ({steps}); docs/api.md is written\n")
    return 0


def table(endpoints: list[str], reports: dict[str, dict[str, Any]]) -> str:
    """A row for each endpoint, a column for each client; what no client was served shows as such."""
    heads = [f"{name}: {named(report['versions'])}" for name, report in reports.items()]
    lines = [f"- {head}" for head in heads]
    lines += [
        "",
        f"*{BY_HAND}*: the client has no method of its own for it; its general signed request does it.",
        "",
    ]
    lines.append(f"| Endpoint | {' | '.join(reports)} |")
    lines.append("|---|" + "---|" * len(reports))
    for endpoint in endpoints:
        cells = [cell(endpoint, report) for report in reports.values()]
        lines.append(f"| `{endpoint}` | {' | '.join(cells)} |")
    counts = [str(sum(endpoint in report["served"] for endpoint in endpoints)) for report in reports.values()]
    lines.append(f"| **{len(endpoints)} endpoints** | {' | '.join(counts)} |")
    return "\n".join(lines)


def cell(endpoint: str, report: dict[str, Any]) -> str:
    if endpoint not in report["served"]:
        return NO
    return BY_HAND if endpoint in report["by_hand"] else YES


def named(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def with_table(text: str, made: str) -> str:
    head, _, rest = text.partition(START)
    _, found, tail = rest.partition(END)
    if not found:
        raise SystemExit(f"docs/api.md has no place for the table: write {START} and {END} into it")
    return f"{head}{START}\n\n{made}\n\n{END}{tail}"


def rows_of(text: str) -> dict[str, list[str]]:
    """The cells of the written table, by endpoint."""
    inside = text.partition(START)[2].partition(END)[0]
    rows = [line.strip("| ").split(" | ") for line in inside.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): [cell.strip() for cell in cells[1:]] for cells in rows}


def registered() -> list[str]:
    """Every endpoint of the dialect, loans first."""
    from accounts.sapi.registry import endpoints

    import_module("config.urls")  # which imports what registers them
    return sorted((each.name for each in endpoints.values()), key=_place)


def _set_up() -> None:
    """The settings, with nothing plugged in: nothing answers on port 9."""
    unplugged = {"SECRET_KEY": "unplugged", "ALLOWED_HOSTS": "localhost", "LOMBARD_ENV_FILE": ""}
    unplugged |= {
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
    }
    os.environ |= unplugged | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    django.setup()


def _place(name: str) -> tuple[int, str, str]:
    method, path = name.split()
    families = ("/sapi/v1/loan/vip", "/sapi/v1/loan", "/sapi/v1/margin", "/sapi", "/api")
    return next(n for n, family in enumerate(families) if path.startswith(family)), path, method


if __name__ == "__main__":
    sys.exit(main())
