"""`make replays PRICES=DIR`: every recording at 20,000 borrowers, and what other parameters would have done to it.

    python -m bench.replays DIR [--borrowers 20000] [--every 5m] [--worst 48] [--each 100] [--coarse 15m]
                                [--processes 2] [--only replay,sensitivity] [--again] [--write]

The large replays go over the worst 48 hours of each recording (`--worst 0`: over all of it), the comparison over all.

Each run is a process of its own with a throw-away database. Its figures are kept in .local/replays/, so a run that was
stopped goes on where it was; `--again` forgets them. `--write` puts the tables into docs/replays.md, the first also
into docs/performance.md, and draws the chart, all from what is there. The exit code tells whether every book was whole
and no sale wrong or missed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bench import stand
from config import embedded
from risk.feeds.file import Bar, read_bars

BASE: Final = Path(__file__).resolve().parents[1]
PAGE: Final = BASE / "docs" / "replays.md"
PERFORMANCE: Final = BASE / "docs" / "performance.md"
CHART: Final = BASE / "docs" / "replays.svg"
KEPT: Final = BASE / ".local" / "replays"
MILLION: Final = Decimal(1_000_000)
DEFAULT: Final = ("72/77/91", "full", "1")
COLUMNS: Final = (  # of the table of the large replays
    "Recording",
    "Groups, loans",
    "Calls",
    "Groups liquidated",
    "Wrong",
    "Missed",
    "Call to sale, minutes",
    "Bad debt, m USD",
    "In vain",
    "Sold, m USD",
    "Fees, m USD",
    "Ledger problems",
    "Opened, s",
    "Sweeps",
    "Sweeps/s",
)
IN_SHORT: Final = 8  # of these, beside the benchmarks

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One command over one recording; `name` says all of its options, so other options are another run."""

    name: str
    recording: str
    command: tuple[str, ...]

    @property
    def kept(self) -> Path:
        return KEPT / f"{self.name}.json"

    def figures(self) -> Figures | None:
        return json.loads(self.kept.read_text()) if self.kept.exists() else None


def main() -> int:
    options = _options()
    files = sorted([*options.prices.glob("*.csv"), *options.prices.glob("*.csv.gz")])
    if not files:
        raise SystemExit(f"There is no recording (*.csv, *.csv.gz) in {options.prices}.")
    replays, comparisons = list(_replays(files, options)), list(_comparisons(files, options))
    KEPT.mkdir(parents=True, exist_ok=True)
    wanted = [run for run in (*replays, *comparisons) if _kind(run) in options.only.split(",")]
    if options.again:
        for run in wanted:
            run.kept.unlink(missing_ok=True)
    open_runs = [run for run in wanted if run.figures() is None]
    if open_runs:
        os.environ |= stand.QUIET
        with (
            embedded.services(embedded.HOME / "bench", throwaway=True, options=stand.POSTGRES),
            ThreadPoolExecutor(options.processes) as pool,
        ):
            list(pool.map(_carry_out, open_runs))
    missing = [run.name for run in wanted if run.figures() is None]
    if options.write:
        _write(replays, comparisons)
    broken = [*missing, *_broken(wanted)]
    sys.stdout.write("".join(f"  failed: {name}, see {KEPT / name}.log\n" for name in broken))
    sys.stdout.write(f"replays: {len(wanted) - len(missing)} of {len(wanted)} runs, {len(broken)} failed\n")
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("prices", type=Path, help="the folder with the recordings")
    asked.add_argument("--borrowers", type=int, default=20_000)
    asked.add_argument("--every", default="5m", help="bars of the large replays")
    asked.add_argument(
        "--worst", type=int, default=48, help="hours of the large replays; 0 is the whole file"
    )
    asked.add_argument("--each", type=int, default=100, help="borrowers of each variant of the comparison")
    asked.add_argument("--coarse", default="15m", help="bars of the comparison")
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument("--only", default="replay,sensitivity")
    asked.add_argument("--again", action="store_true", help="forget earlier runs")
    asked.add_argument(
        "--write", action="store_true", help="put the tables into docs/replays.md, draw the chart"
    )
    return asked.parse_args()


# --- The runs -----------------------------------------------------------------------------------------------


def _replays(files: Iterable[Path], options: argparse.Namespace) -> Iterator[Run]:
    for file in files:
        stem = file.name.partition(".csv")[0]
        name = f"replay-{stem}-{options.borrowers}-{options.every}-{options.worst}"
        told = ("--borrowers", str(options.borrowers), "--every", options.every, *_worst(file, options.worst))
        yield Run(name, _title(stem), ("replay", str(file), *told, "--report", str(KEPT / f"{name}.part")))


def _comparisons(files: Iterable[Path], options: argparse.Namespace) -> Iterator[Run]:
    for file in files:
        stem = file.name.partition(".csv")[0]
        for ratios in ("1", "0.9", "0.8"):
            name = f"sensitivity-{stem}-{options.each}-{options.coarse}-x{ratios}"
            told = ("--borrowers", str(options.each), "--every", options.coarse, "--ratios", ratios)
            report = ("--report", str(KEPT / f"{name}.part"))
            yield Run(name, _title(stem), ("sensitivity", str(file), *told, *report))


def _worst(file: Path, hours: int) -> tuple[str, ...]:
    """The window of so many hours, from a midnight or a noon, in which the coins fell deepest, taken together."""
    if not hours:
        return ()
    bars = read_bars(file)
    span, half_day = timedelta(hours=hours), timedelta(hours=12)
    first = bars[0].opened_at.replace(hour=0, minute=0)
    starts = [first]
    while starts[-1] + span < bars[-1].closes_at:
        starts.append(starts[-1] + half_day)
    worst = max(starts, key=lambda start: _fallen(bars, start, start + span))
    return ("--from", f"{worst:%Y-%m-%dT%H:%M}", "--until", f"{worst + span:%Y-%m-%dT%H:%M}")


def _fallen(bars: Sequence[Bar], since: datetime, until: datetime) -> Decimal:
    """How far each coin closed below its highest close before, at the worst, added up over the coins."""
    peaks: dict[str, Decimal] = {}
    falls: dict[str, Decimal] = {}
    for bar in bars:
        if since <= bar.opened_at and bar.closes_at <= until:
            peaks[bar.asset] = max(peaks.get(bar.asset, bar.close), bar.close)
            fall = 1 - bar.close / peaks[bar.asset]
            falls[bar.asset] = max(falls.get(bar.asset, fall), fall)
    return sum(falls.values(), Decimal(0))


def _carry_out(run: Run) -> None:
    """A report appears under its own name when the whole run is over, so that a run that was stopped left none."""
    began = time.monotonic()
    with (KEPT / f"{run.name}.log").open("w") as log:
        done = subprocess.run(
            [sys.executable, "manage.py", *run.command], cwd=BASE, stdout=log, stderr=log, check=False
        )
    part = KEPT / f"{run.name}.part"
    if part.exists():
        part.rename(run.kept)
    how = "ended" if done.returncode == 0 else f"failed ({done.returncode})"
    sys.stdout.write(f"  {run.name} {how} after {time.monotonic() - began:.0f} s\n")
    sys.stdout.flush()


def _broken(runs: Iterable[Run]) -> Iterator[str]:
    for run in runs:
        figures = run.figures() or {}
        for row in figures.get("rows", [figures]):
            if any(row.get(name, 0) for name in ("ledger_problems", "wrong", "missed")):
                yield run.name
                break


def _kind(run: Run) -> str:
    return run.command[0]


def _title(stem: str) -> str:
    """2020-03-12_black_thursday is told as Black thursday (2020-03-12)."""
    day, _, words = stem.partition("_")
    return f"{words.replace('_', ' ').capitalize()} ({day})" if words else stem


# --- The page -----------------------------------------------------------------------------------------------


def _write(replays: Sequence[Run], comparisons: Sequence[Run]) -> None:
    done = [(run, figures) for run in replays if (figures := run.figures()) is not None]
    rows = [
        {"recording": run.recording, **row}
        for run in comparisons
        if (figures := run.figures()) is not None
        for row in figures["rows"]
    ]
    text = PAGE.read_text()
    text = _between(text, "replay", "\n".join(_replay_table(done)))
    chart = f"![Bad debt and sales in vain by lines, ratios and ways of selling]({CHART.name})"
    text = _between(text, "sensitivity", "\n".join([chart, "", *_summary(rows)]))
    text = _between(text, "recordings", "\n".join(_by_recording(rows)))
    PAGE.write_text(text)
    PERFORMANCE.write_text(
        _between(PERFORMANCE.read_text(), "replays", "\n".join(_replay_table(done, IN_SHORT)))
    )
    CHART.write_text(_chart(rows))
    written = ", ".join(str(file.relative_to(BASE)) for file in (PAGE, PERFORMANCE, CHART))
    sys.stdout.write(f"written: {written}\n")


def _between(text: str, name: str, table: str) -> str:
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, _, rest = text.partition(start)
    _, _, tail = rest.partition(end)
    return f"{head}{start}\n{table}\n{end}{tail}"


def _replay_table(done: Sequence[tuple[Run, Figures]], columns: int = len(COLUMNS)) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS[:columns])} |"
    yield "|---|" + "---:|" * (columns - 1)
    for run, row in done:
        lead = row["lead_minutes"]
        led = "none" if lead["min"] is None else f"{lead['min']:g}, {lead['median']:g}, {lead['max']:g}"
        cells = (
            f"{run.recording}, {_window(run)}",
            f"{row['groups']:,}, {row['loans']:,}",
            *(f"{row[name]:,}" for name in ("calls", "groups_liquidated", "wrong", "missed")),
            led,
            _millions(row["shortfall_usd"]),
            f"{row['in_vain']:,}",
            *(_millions(row[name]) for name in ("sold_usd", "fees_usd")),
            f"{row['ledger_problems']}",
            f"{row['opening_seconds']:.0f}",
            f"{row['sweeps']:,}",
            f"{row['sweeps_per_second']:g}",
        )
        yield f"| {' | '.join(cells[:columns])} |"


def _window(run: Run) -> str:
    told = dict(zip(run.command, run.command[1:], strict=False))
    if "--from" not in told:
        return "all of it"
    since, until = (f"{datetime.fromisoformat(told[name]):%-d %B %H:%M}" for name in ("--from", "--until"))
    return f"{since} to {until} UTC"


def _summary(rows: Sequence[Figures]) -> Iterator[str]:
    yield (
        "| Ratios | Lines | Sold | Calls | Groups liquidated | Sold, m USD | Fees, m USD | In vain, sales"
        " | In vain, m USD | Bad debt, m USD | Bad debt, of what was lent |"
    )
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for (lines, handling, ratios), own in _by_variant(rows).items():
        name = f"**{lines}**" if (lines, handling, ratios) == DEFAULT else lines
        share = _sum(own, "shortfall_usd") / _sum(own, "lent_usd") * 100
        yield (
            f"| x {ratios} | {name} | {handling} | {_count(own, 'calls'):,} | {_count(own, 'groups_liquidated'):,}"
            f" | {_millions(_sum(own, 'sold_usd'))} | {_millions(_sum(own, 'fees_usd'))} | {_count(own, 'in_vain'):,}"
            f" | {_millions(_sum(own, 'in_vain_usd'))} | {_millions(_sum(own, 'shortfall_usd'))} | {share:.4f} % |"
        )


def _by_recording(rows: Sequence[Figures]) -> Iterator[str]:
    recordings = sorted({row["recording"] for row in rows}, key=lambda name: name.rpartition("(")[2])
    yield "| Lines | Sold | " + " | ".join(recordings) + " |"
    yield "|---|---|" + "---:|" * len(recordings)
    for (lines, handling, ratios), own in _by_variant(rows).items():
        if ratios != DEFAULT[2]:
            continue
        found = {row["recording"]: row for row in own}
        cells = [
            f"{_millions(found[name]['shortfall_usd'])}; {found[name]['in_vain']} of {found[name]['liquidations']}"
            if name in found
            else ""
            for name in recordings
        ]
        yield f"| {lines} | {handling} | " + " | ".join(cells) + " |"


def _chart(rows: Sequence[Figures]) -> str:
    from loans.sensitivity_chart import Block, Row, draw

    blocks: dict[str, list[Row]] = {}
    for (lines, handling, ratios), own in _by_variant(rows).items():
        blocks.setdefault(ratios, []).append(
            Row(
                name=f"{lines}, {handling}",
                lost=_sum(own, "shortfall_usd") / _sum(own, "lent_usd"),
                in_vain=Decimal(_count(own, "in_vain")) / _count(own, "groups"),
                is_default=(lines, handling, ratios) == DEFAULT,
            )
        )
    told = [Block(f"collateral ratios x {ratios}", tuple(own)) for ratios, own in blocks.items()]
    return draw(told, title="Lines, ratios and ways of selling: what was lost, and what was sold in vain")


def _by_variant(rows: Iterable[Figures]) -> dict[tuple[str, str, str], list[Figures]]:
    found: dict[tuple[str, str, str], list[Figures]] = {}
    for row in rows:
        found.setdefault((row["lines"], row["handling"], row["ratios"]), []).append(row)
    return dict(sorted(found.items(), key=lambda each: -Decimal(each[0][2])))


def _sum(rows: Iterable[Figures], name: str) -> Decimal:
    return sum((Decimal(row[name]) for row in rows), Decimal(0))


def _count(rows: Iterable[Figures], name: str) -> int:
    return sum(row[name] for row in rows)


def _millions(usd: Decimal | str) -> str:
    return f"{Decimal(usd) / MILLION:,.2f}"


if __name__ == "__main__":
    sys.exit(main())
