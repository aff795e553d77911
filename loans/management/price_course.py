"""The recording that a command replays: its options, the same for every one of them, and how they are read."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError

from risk import stress
from risk.feeds.file import LONGEST_BAR, SHORTEST_BAR, BadPriceFile, read_bars
from risk.stress import Course

BAD_INPUT: Final = 2  # exit code, as shells use it


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, help="CSV or CSV.gz with time_utc,asset,open,high,low,close in USD"
    )
    parser.add_argument(
        "--every", type=_length, help="join shorter bars to bars of this length, such as 5m (1m to 60m)"
    )
    parser.add_argument(
        "--from", type=_instant, dest="since", help="bars from here on, such as 2020-03-12T00:00"
    )
    parser.add_argument("--until", type=_instant, help="bars up to here, UTC")


def read(options: dict[str, Any]) -> Course:
    """The course that the options name.

    Raises:
        CommandError: the file is no recording, or nothing is left of it.
    """
    file: Path = options["file"]
    try:
        bars = stress.within(read_bars(file), since=options["since"], until=options["until"])
    except BadPriceFile as error:
        raise CommandError(f"{file.name}: {error}", returncode=BAD_INPUT) from error
    if not bars:
        raise CommandError(f"{file.name} has no bars between --from and --until.", returncode=BAD_INPUT)
    return stress.survey(bars if options["every"] is None else stress.thinned(bars, options["every"]))


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]?)m", text)
    length = timedelta(minutes=int(found[1])) if found else timedelta()
    if not SHORTEST_BAR <= length <= LONGEST_BAR or LONGEST_BAR % length:
        raise ArgumentTypeError(f"{text!r} is not a part of an hour in minutes, such as 5m.")
    return length


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a time, such as 2020-03-12T00:00.") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
