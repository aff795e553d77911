"""`make bench`: the hot jobs against their own floors in the same run; `make bench SMALL=1` is its short form.

    python -m bench [--small] [--only scale,liquidation] [--json FILE] [--write]

Each stage is a process of its own with a throw-away database on the same servers. The exit code tells whether every
bar held; `--write` puts the tables into docs/performance.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench import stand, verdict
from bench.bars import HEAD, Bar
from config import embedded

BASE: Final = Path(__file__).resolve().parents[1]
PAGE: Final = BASE / "docs" / "performance.md"
KEPT: Final = BASE / ".local" / "bench"
START, END = "<!-- bench -->", "<!-- /bench -->"
# What each stage runs: in full, and in its short form.
STAGES: Final = {
    "scale": ("--sizes 10000,100000,1000000", "--sizes 10000,100000"),
    "liquidation": ("--groups 10000", "--groups 800"),
    "requests": ("--loans 10000 --accruals 700", "--loans 300 --accruals 700 --quick"),
    "spread": ("--debts 400000", "--debts 20000"),
}
SHORT: Final = "scale,liquidation,requests"  # that no row is done twice elsewhere is the full form's to show


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--small", action="store_true")
    asked.add_argument("--only", help=f"some of {', '.join(STAGES)}")
    asked.add_argument("--json", type=Path)
    asked.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = asked.parse_args()
    began = time.monotonic()
    kept = options.json or KEPT / f"{'small' if options.small else 'full'}.json"
    found = {}
    stages = options.only or (SHORT if options.small else ",".join(STAGES))
    with embedded.services(embedded.HOME / "bench", throwaway=True, options=stand.POSTGRES):
        for stage in stages.split(","):
            stage_began = time.monotonic()
            found[stage] = _run(stage, small=options.small)
            if options.small and not _holds(stage, found[stage]):
                sys.stderr.write(
                    f"bench: {stage} again: in so short a look anything may have been in the way\n"
                )
                found[stage] = _run(stage, small=True)
            sys.stderr.write(f"bench: {stage} took {time.monotonic() - stage_began:.0f} s\n")
            _keep(kept, found)
    tables = {
        title: bars
        for stage in found
        for title, bars in verdict.of(stage, found[stage], small=options.small).items()
    }
    text = "\n\n".join(_table(title, bars) for title, bars in tables.items())
    sys.stdout.write(f"{text}\n\n")
    if options.write:
        _write(text)
    bars = [bar for table in tables.values() for bar in table]
    failed = [bar.what for bar in bars if not bar.holds]
    judged = sum(bar.most is not None or bar.least is not None for bar in bars)
    sys.stdout.write(
        f"bench: {judged - len(failed)} of {judged} bars held, {time.monotonic() - began:.0f} s"
        + "".join(f"\n  not held: {what}" for what in failed)
        + "\n"
    )
    return 1 if failed else 0


def _run(stage: str, *, small: bool) -> Any:
    arguments = STAGES[stage][small].split()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", f"bench.{stage}", *arguments, "--json", str(result)]
        subprocess.run(command, cwd=BASE, check=True)
        return json.loads(result.read_text())


def _holds(stage: str, found: Any) -> bool:
    return all(bar.holds for bars in verdict.of(stage, found, small=True).values() for bar in bars)


def _keep(file: Path, found: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")


def _table(title: str, bars: list[Bar]) -> str:
    return "\n".join([f"**{title}**", "", HEAD, *(bar.line() for bar in bars)])


def _write(tables: str) -> None:
    before, rest = PAGE.read_text().split(START)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n{tables}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
