"""The coins the desk knows, from two small files that an operator can replace.

`coins.csv` says what an asset is: its places are the exchange's bookkeeping places (8 at most), coarser only
where the coin itself has no finer unit; `stable` means pegged to the US dollar, so a euro coin is plain
crypto. `demo_parameters.csv` gives well-known coins prices, tiers and rates to play with; production sets its
own. Parsing is pure; a bad row is refused with its file and line before anything is changed.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from accounts.errors import Refused

HERE = Path(__file__).parent
COINS_FILE = HERE / "coins.csv"
DEMO_FILE = HERE / "demo_parameters.csv"

COIN_COLUMNS = ("symbol", "name", "places", "kind", "loanable", "collateral")
DEMO_COLUMNS = (
    "symbol",
    "start_price_usd",
    "daily_volatility",
    "tiers",
    "liquidation_rank",
    "flexible_annual_rate",
    "fixed_30_annual_rate",
    "fixed_60_annual_rate",
    "max_loan_usd",
)

MAX_PLACES = 8  # R-GEN-01: the ledger keeps no more
MAX_NAME = 80  # characters; the width of the column
# A row has at most a few hundred characters; the bound keeps a wrong file from being read as one cell.
MAX_CELL = 400

SYMBOL = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)
WHOLE = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
# The amount grammar, except that rates need 12 decimals and a tier may start at 0.
NUMBER = re.compile(r"(0|[1-9][0-9]{0,16})(\.[0-9]{1,12})?", re.ASCII)

Row = dict[str, str]
Parsed = TypeVar("Parsed")


class BadCatalogue(Refused):
    """A catalogue file says something that cannot be; the message names the file and the line."""

    code = "bad_catalogue"


class Kind(StrEnum):
    CRYPTO = "crypto"
    STABLE = "stable"  # pegged to the US dollar
    FIAT = "fiat"


@dataclass(frozen=True, slots=True)
class Coin:
    symbol: str
    name: str
    places: int
    kind: Kind
    loanable: bool
    collateral: bool


@dataclass(frozen=True, slots=True)
class DemoParameters:
    """One coin's demo figures. Rates are fractions a year, at VIP level 1 where they depend on it.

    `tiers` are (floor in USD of market value, ratio from there up), rising from 0 (R-GEN-30, 31).
    """

    symbol: str
    start_price: Decimal
    daily_volatility: Decimal
    tiers: tuple[tuple[Decimal, Decimal], ...]
    liquidation_rank: int
    flexible_rate: Decimal
    fixed_30_rate: Decimal
    fixed_60_rate: Decimal
    max_loan_usd: Decimal


def read_coins(path: Path = COINS_FILE) -> list[Coin]:
    """The coins of a file, in its order.

    Raises:
        BadCatalogue: the file cannot be read, or a row is wrong.
    """
    return parse_coins(_lines(path), source=path.name)


def read_demo_parameters(path: Path = DEMO_FILE) -> list[DemoParameters]:
    """The demo figures of a file, in its order. Raises BadCatalogue as `read_coins` does."""
    return parse_demo_parameters(_lines(path), source=path.name)


def parse_coins(lines: Iterable[str], *, source: str) -> list[Coin]:
    """Coins from CSV text. Raises BadCatalogue naming `source` and the line."""
    return _parse(lines, source=source, columns=COIN_COLUMNS, row_of=_coin)


def parse_demo_parameters(lines: Iterable[str], *, source: str) -> list[DemoParameters]:
    """Demo figures from CSV text. Raises BadCatalogue naming `source` and the line."""
    return _parse(lines, source=source, columns=DEMO_COLUMNS, row_of=_demo_parameters)


def _lines(path: Path) -> Iterable[str]:
    try:
        return io.StringIO(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadCatalogue(f"{path} cannot be read as text: {error}.") from error


def _parse(
    lines: Iterable[str], *, source: str, columns: Sequence[str], row_of: Callable[[Row], Parsed]
) -> list[Parsed]:
    parsed: list[Parsed] = []
    lines_of: dict[str, int] = {}
    for number, row in _rows(lines, source=source, columns=columns):
        try:
            symbol = _symbol(row["symbol"])
            if symbol in lines_of:
                raise ValueError(f"{symbol} is already on line {lines_of[symbol]}")
            lines_of[symbol] = number
            parsed.append(row_of(row))
        except ValueError as error:
            raise BadCatalogue(f"{source}, line {number}: {error}.") from error
    if not parsed:
        raise BadCatalogue(f"{source} has no rows.")
    return parsed


def _rows(lines: Iterable[str], *, source: str, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, [])
        if tuple(header) != tuple(columns):
            raise BadCatalogue(f"{source}, line 1: the columns must be {','.join(columns)}.")
        for cells in reader:
            if len(cells) != len(columns):
                raise BadCatalogue(
                    f"{source}, line {reader.line_num}: {len(cells)} cells instead of {len(columns)}."
                )
            if any(len(cell) > MAX_CELL for cell in cells):
                raise BadCatalogue(
                    f"{source}, line {reader.line_num}: a cell is longer than {MAX_CELL} characters."
                )
            yield reader.line_num, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise BadCatalogue(f"{source}, line {reader.line_num}: {error}.") from error


def _coin(row: Row) -> Coin:
    if row["kind"] not in set(Kind):
        raise ValueError(f"kind {row['kind']!r} is not one of {', '.join(Kind)}")
    return Coin(
        symbol=row["symbol"],
        name=_name(row["name"]),
        places=_whole("places", row["places"], most=MAX_PLACES),
        kind=Kind(row["kind"]),
        loanable=bool(_whole("loanable", row["loanable"], most=1)),
        collateral=bool(_whole("collateral", row["collateral"], most=1)),
    )


def _demo_parameters(row: Row) -> DemoParameters:
    return DemoParameters(
        symbol=row["symbol"],
        start_price=_positive("start_price_usd", row["start_price_usd"]),
        daily_volatility=_fraction("daily_volatility", row["daily_volatility"]),
        tiers=_tiers(row["tiers"]),
        liquidation_rank=_whole("liquidation_rank", row["liquidation_rank"], most=9999),
        flexible_rate=_fraction("flexible_annual_rate", row["flexible_annual_rate"]),
        fixed_30_rate=_fraction("fixed_30_annual_rate", row["fixed_30_annual_rate"]),
        fixed_60_rate=_fraction("fixed_60_annual_rate", row["fixed_60_annual_rate"]),
        max_loan_usd=_positive("max_loan_usd", row["max_loan_usd"]),
    )


def _tiers(text: str) -> tuple[tuple[Decimal, Decimal], ...]:
    """`0:1;10000000:0.8` as ((0, 1), (10000000, 0.8))."""
    tiers = []
    for part in text.split(";"):
        floor, colon, ratio = part.partition(":")
        if not colon:
            raise ValueError(f"tier {part!r} is not written floor:ratio")
        tiers.append((_number("tier floor", floor), _fraction("tier ratio", ratio)))
    floors = [floor for floor, _ in tiers]
    if floors[0] != 0 or any(low >= high for low, high in zip(floors, floors[1:], strict=False)):
        raise ValueError(f"tiers {text!r} do not rise from 0")
    return tuple(tiers)


def _symbol(text: str) -> str:
    if not SYMBOL.fullmatch(text):
        raise ValueError(f"symbol {text!r} is not 1 to 20 upper-case ASCII letters or digits")
    return text


def _name(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable() or len(text) > MAX_NAME:
        raise ValueError(
            f"name {text!r} is not 1 to {MAX_NAME} printable characters without spaces around them"
        )
    return text


def _whole(column: str, text: str, *, most: int) -> int:
    if not WHOLE.fullmatch(text) or int(text) > most:
        raise ValueError(f"{column} {text!r} is not a whole number from 0 to {most}")
    return int(text)


def _number(column: str, text: str) -> Decimal:
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{column} {text!r} is not a plain number")
    return Decimal(text)


def _positive(column: str, text: str) -> Decimal:
    if (number := _number(column, text)) <= 0:
        raise ValueError(f"{column} {text!r} is not above 0")
    return number


def _fraction(column: str, text: str) -> Decimal:
    if (number := _number(column, text)) > 1:
        raise ValueError(f"{column} {text!r} is above 1; write 8 % as 0.08")
    return number
