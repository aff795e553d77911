"""Replay a recorded market: bars from a CSV file, each known only once it has closed.

Columns: `time_utc` (when the bar opened), `asset`, `open`, `high`, `low`, `close`; rows in order of time. How
long a bar is, is not written: it is the time to the asset's next row, from 1 to 60 minutes. Where that says
nothing (the last row, or a hole in the data) the row before decides, and without one the longest bar does,
since to know a price too late is safe and too early is not.
"""

import csv
import gzip
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, NamedTuple

from accounts.errors import Refused
from risk.feeds import BadPrice, Feed, Tick, parse_price

COLUMNS = ("time_utc", "asset", "open", "high", "low", "close")
SHORTEST_BAR = timedelta(minutes=1)
LONGEST_BAR = timedelta(minutes=60)
# A year of one-minute bars of four coins; beyond it the file is not meant for a replay in memory.
MAX_ROWS = 2_000_000

ASSET = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)


class BadPriceFile(Refused):
    """The file is not a price recording; the message names the line."""

    code = "bad_price_file"


@dataclass(frozen=True, slots=True)
class Bar:
    """What one asset did from `opened_at` to `closes_at`, in USD. Known at `closes_at`, not before."""

    asset: str
    opened_at: datetime
    closes_at: datetime
    close: Decimal
    high: Decimal
    low: Decimal


class Row(NamedTuple):
    line: int
    opened_at: datetime
    asset: str
    close: Decimal
    high: Decimal
    low: Decimal


def read_bars(path: Path) -> list[Bar]:
    """The bars of a CSV or CSV.gz file, sorted by the time they close, then by asset.

    Raises:
        BadPriceFile: it cannot be read, or a line is wrong.
    """
    try:
        with _open(path) as lines:
            return bars_of(_rows(lines))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadPriceFile(f"{path.name} is not a whole gzip file: {error}.") from error
    except UnicodeDecodeError as error:
        raise BadPriceFile(f"{path.name} is not text: {error.reason}.") from error
    except OSError as error:
        raise BadPriceFile(f"{path} cannot be read: {error.strerror or error}.") from error


def steps(bars: Iterable[Bar]) -> Iterator[tuple[datetime, list[Bar]]]:
    """Each instant at which bars close, with all bars that close then. `bars` as `read_bars` sorts them."""
    for closes_at, together in groupby(bars, key=attrgetter("closes_at")):
        yield closes_at, list(together)


def feed(bars: Sequence[Bar], *, source: str = "file") -> Feed:
    """Each asset's last closed bar at an instant. `bars` as `read_bars` sorts them."""
    by_asset: dict[str, list[Bar]] = {}
    for bar in bars:
        by_asset.setdefault(bar.asset, []).append(bar)

    def known(at: datetime) -> list[Tick]:
        ticks = []
        for asset, own in sorted(by_asset.items()):
            if closed := bisect_right(own, at, key=attrgetter("closes_at")):
                bar = own[closed - 1]
                ticks.append(Tick(asset, bar.close, bar.closes_at, source))
        return ticks

    return known


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _rows(lines: Iterable[str]) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise BadPriceFile("The price file is empty.")
        for column in COLUMNS:
            if header.count(column) != 1:
                raise BadPriceFile(
                    f"line 1: column {column} must be there once; found {','.join(header)[:200]!r}."
                )
        where = [header.index(column) for column in COLUMNS]
        for cells in reader:
            if len(cells) != len(header):
                raise BadPriceFile(f"line {reader.line_num}: {len(cells)} cells instead of {len(header)}.")
            yield _row(reader.line_num, [cells[place] for place in where])
    except csv.Error as error:
        raise BadPriceFile(f"line {reader.line_num}: {error}.") from error


def _row(line: int, cells: Sequence[str]) -> Row:
    time, asset, *texts = cells
    if not ASSET.fullmatch(asset):
        raise BadPriceFile(f"line {line}: asset {asset[:40]!r} is not 1 to 20 upper-case letters or digits.")
    prices = []
    for column, text in zip(COLUMNS[2:], texts, strict=True):
        try:
            prices.append(parse_price(text))
        except BadPrice as error:
            raise BadPriceFile(f"line {line}: {column} {error}.") from error
    opened, high, low, close = prices
    if not low <= min(opened, close) <= max(opened, close) <= high:
        raise BadPriceFile(f"line {line}: open and close of {asset} are not between its low and its high.")
    return Row(line, _time(line, time), asset, close, high, low)


def _time(line: int, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise BadPriceFile(f"line {line}: time {text!r} has no time zone; write 2020-03-12T10:00:00Z.")
        return time.astimezone(UTC) + LONGEST_BAR - LONGEST_BAR  # its close must be a time, too
    except (ValueError, OverflowError) as error:
        raise BadPriceFile(f"line {line}: time {text[:40]!r} is not an ISO 8601 time.") from error


def bars_of(rows: Iterable[Row]) -> list[Bar]:
    """Give every row its length, from the rows of the same asset around it.

    Raises:
        BadPriceFile: no rows, too many, not in order of time, or an asset twice at one time.
    """
    by_asset: dict[str, list[Row]] = {}
    last = None
    for count, row in enumerate(rows, start=1):
        if count > MAX_ROWS:
            raise BadPriceFile(f"line {row.line}: a price file may have at most {MAX_ROWS} rows.")
        if last is not None and row.opened_at < last:
            raise BadPriceFile(
                f"line {row.line}: {row.opened_at:%Y-%m-%dT%H:%M:%SZ} comes after a later time."
            )
        last = row.opened_at
        _append(by_asset.setdefault(row.asset, []), row)
    if last is None:
        raise BadPriceFile("The price file has no rows.")
    bars = [bar for own in by_asset.values() for bar in _with_lengths(own)]
    return sorted(bars, key=attrgetter("closes_at", "asset"))


def _append(own: list[Row], row: Row) -> None:
    if own:
        apart = row.opened_at - own[-1].opened_at
        if not apart:
            raise BadPriceFile(f"line {row.line}: {row.asset} has this time already on line {own[-1].line}.")
        if apart < SHORTEST_BAR:
            raise BadPriceFile(
                f"line {row.line}: {row.asset} has a row only {apart} before; a bar is 1 to 60 minutes."
            )
    own.append(row)


def _with_lengths(own: Sequence[Row]) -> Iterator[Bar]:
    length = LONGEST_BAR
    for row, following in zip(own, [*own[1:], None], strict=True):
        if following is not None and following.opened_at - row.opened_at <= LONGEST_BAR:
            length = following.opened_at - row.opened_at
        yield Bar(row.asset, row.opened_at, row.opened_at + length, row.close, row.high, row.low)
