"""Ask what a market would do to the live book. Reads only; the same book and question give the same answer."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts import exports
from accounts.errors import Refused
from risk import shocks, stress_runs, stress_tables
from risk.feeds.file import read_bars
from risk.handling import Mode
from risk.shocks import KNOWN_DAYS

TOP = 10
NEGATIVE = re.compile(r"^-[0-9]+(\.[0-9]+)?%?$")
BAD_INPUT = 2  # exit code, as shells use it
TOTALS = (
    ("called", "called"),
    ("called_today", "in margin call today"),
    ("liquidated", "liquidated"),
    ("without_call", "of them without a call before"),
    ("owed", "their debt, USD"),
    ("sold", "collateral sold, USD"),
    ("fee", "fees, USD"),
    ("lost", "lost, USD"),
    ("with_loss", "groups with a loss"),
)


class Command(BaseCommand):
    help = (
        "Take the live book through a recorded market, a joint shock or a known day, without writing anything: who"
        " would be called and liquidated, what would be sold and lost, per coin and client, before and after a change."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser._negative_number_matcher = (
            NEGATIVE  # else argparse takes the -30% of `--all -30%` for an option
        )
        parser.add_argument("file", type=Path, nargs="?", help="a price file as manage.py replay takes it")
        parser.add_argument("--day", help=f"a known day: {', '.join(day.key for day in KNOWN_DAYS)}")
        parser.add_argument(
            "--shock", action="append", default=[], metavar="BTC=-40%%", help="one coin's move"
        )
        parser.add_argument("--all", metavar="-30%%", help="the move of every other coin but pegged ones")
        parser.add_argument(
            "--steps", type=int, default=1, help="steps the shock comes in (default: at once)"
        )
        parser.add_argument(
            "--at-once", action="store_const", const=1, dest="steps", help="the whole shock in one step"
        )
        parser.add_argument(
            "--follow",
            action="append",
            default=[],
            metavar="SOL=ETH",
            help="a coin that does what another does",
        )
        parser.add_argument(
            "--late",
            action="store_true",
            help="sell one step after the breach, once a second reading confirms it",
        )
        parser.add_argument("--proposal", type=int, help="compare with this waiting proposal")
        parser.add_argument("--limits", metavar="70/75/88", help="compare with these lines, in per cent")
        parser.add_argument(
            "--ratio",
            action="append",
            default=[],
            metavar="BTC=0.9",
            help="compare with this collateral ratio",
        )
        parser.add_argument("--mode", choices=[mode.value for mode in Mode], help="compare with this mode")
        parser.add_argument("--json", type=Path, help="write the whole answer here")
        parser.add_argument(
            "--csv", type=Path, help="write every group called or liquidated here, before a change"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        for name in ("json", "csv"):
            if options[name] and not options[name].resolve().parent.is_dir():
                raise CommandError(f"There is no folder for {options[name]}.", returncode=BAD_INPUT)
        try:
            scenario = stress_runs.scenario_of(
                _path(options), late=options["late"], change=_change(options) or None
            )
            found = stress_runs.answer(scenario, at=timezone.now())
        except Refused as refusal:
            raise CommandError(refusal.message, returncode=BAD_INPUT) from refusal
        if options["json"]:
            options["json"].write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        if options["csv"]:
            names = {int(pk): name for pk, name in found["names"].items()}
            rows = stress_tables.csv_rows(found["columns"][0], names)
            options["csv"].write_bytes(exports.as_csv("", stress_tables.HEADER, rows).content)
        for line in _table(found):
            self.stdout.write(line)
        self.stderr.write(
            f"{found['book']['groups']} groups, {found['steps']} steps, {time.monotonic() - started:.1f} s"
        )


def _path(options: Mapping[str, Any]) -> shocks.Path:
    asked = [options["file"], options["day"], options["shock"] or options["all"]]
    if sum(bool(one) for one in asked) != 1:
        raise shocks.BadShock(
            "Give one scenario: a price file, --day, or shocks (--shock BTC=-40%, --all -30%)."
        )
    follow = dict(_pair(text) for text in options["follow"])
    stress_runs.refuse_unknown([*follow, *follow.values()])
    if options["file"]:
        bars = read_bars(options["file"])
        closes = ((bar.closes_at, bar.asset, bar.close) for bar in bars)
        found = shocks.recorded(closes, title=options["file"].name)
    elif options["day"]:
        found = shocks.known(options["day"])
    else:
        moves = shocks.read_moves(options["shock"])
        stress_runs.refuse_unknown(moves)
        others = None if options["all"] is None else shocks.read_percent(options["all"])
        found = shocks.joint(moves, others=others, steps=options["steps"])
    return shocks.following(found, follow)


def _change(options: Mapping[str, Any]) -> dict[str, Any]:
    if options["proposal"] is not None:
        if options["limits"] or options["ratio"] or options["mode"]:
            raise shocks.BadShock("Compare with a proposal, or with lines, ratios and a mode; not with both.")
        return {"proposal": options["proposal"]}
    found: dict[str, Any] = {}
    if options["limits"]:
        found["limits"] = [f"{_number(part) / 100:f}" for part in options["limits"].split("/")]
    if options["ratio"]:
        found["ratios"] = {coin: f"{_number(text):f}" for coin, text in map(_pair, options["ratio"])}
    if options["mode"]:
        found["mode"] = options["mode"]
    return found


def _pair(text: str) -> tuple[str, str]:
    left, sign, right = text.partition("=")
    if not (left and sign and right):
        raise shocks.BadShock(f"Write two things with = between them, not {text[:40]!r}.")
    return left, right


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text.strip().rstrip("%"))
    except InvalidOperation:
        raise shocks.BadShock(f"{text[:40]!r} is no number.") from None
    if not number.is_finite():
        raise shocks.BadShock(f"{text[:40]!r} is no number.")
    return number


# --- What is printed --------------------------------------------------------------------------------------


def _table(found: Mapping[str, Any]) -> Iterator[str]:
    before, *rest = found["columns"]
    after = rest[0] if rest else None
    yield f"{found['title']}; prices of {found['prices_at']}"
    yield f"{found['book']['groups']} groups that owe something, {found['steps']} steps"
    if found["book"]["unjudged"]:
        yield f"not judged, as a coin they owe has no price: {len(found['book']['unjudged'])} groups"
    if after:
        yield f"change: {found['change']}"
    yield ""
    yield _line("", "in force", ["changed", "difference"] if after else [])
    for name, label in TOTALS:
        yield _figures(label, before["totals"][name], after and after["totals"][name])
    yield ""
    yield _line("by coin", "sold, USD", [*(["changed", "difference"] if after else []), "days to exit"])
    changed = {row["coin"]: row for row in after["coins"]} if after else {}
    seen = {row["coin"]: row for row in before["coins"]}
    for coin in [*seen, *(one for one in changed if one not in seen)]:
        sold = seen.get(coin, {}).get("sold", 0)
        days = stress_tables.days_to_exit(sold, _depth(found, coin))
        yield _figures(
            coin, sold, changed.get(coin, {}).get("sold", 0) if after else None, days or "not known"
        )
    yield ""
    yield f"{'by client':<34}{'liquidated':>12}{'sold, USD':>18}{'lost, USD':>18}"
    for row in before["clients"][:TOP]:
        name = found["names"][str(row["client"])][:32]
        yield f"{name:<34}{row['liquidated']:>12,}{row['sold']:>18,}{row['lost']:>18,}"
    if len(before["clients"]) > TOP:
        yield f"and {len(before['clients']) - TOP:,} more clients (--csv)"
    yield ""
    yield from (f"- {sentence}" for sentence in found["model"])


def _figures(label: str, before: int, after: int | None, *more: str) -> str:
    compared = [] if after is None else [f"{after:,}", f"{after - before:+,}"]
    return _line(label, f"{before:,}", [*compared, *more])


def _line(label: str, first: str, more: list[str]) -> str:
    return f"{label:<34}{first:>18}{''.join(f'{one:>18}' for one in more)}".rstrip()


def _depth(found: Mapping[str, Any], coin: str) -> tuple[Decimal, Decimal] | None:
    told = found["depths"].get(coin)
    return (Decimal(told[0]), Decimal(told[1])) if told else None
