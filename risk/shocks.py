"""A market that might come, as factors on today's prices: a recorded one, a joint shock, a day that people remember.

A scenario is a row of steps. A coin that it names follows its own factors; a stable coin or a currency that it does not
name stays; every other coin does what `rest` says, or, where that is not said, the median of the named coins that are
neither. Factors have 12 decimals and round down, the same on every machine. R-FTR-27
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from statistics import median
from typing import Any

from accounts.errors import Refused
from accounts.money import ONE, ZERO, divide_down, exact, round_down
from accounts.words import joined, tell

PLACES = 12  # of a factor
MOST_STEPS = 20_000  # two weeks of minutes
MOST_FACTORS = 500_000  # of a recorded market: 25 coins for so long
MOST_TIMES = Decimal(100)  # a coin's price is at most so many times today's
CRYPTO = "crypto"  # the kind of a coin that has neither a peg nor a country
_SHOCK = re.compile(r"([A-Z0-9]{1,20})=(.{1,20})", re.ASCII)
_PERCENT = re.compile(r"([+-]?)([0-9]{1,4}(?:\.[0-9]{1,6})?) ?%", re.ASCII)

Factors = tuple[Decimal, ...]


class BadShock(Refused):
    code = "bad_shock"


@dataclass(frozen=True, slots=True)
class Path:
    """Factors by coin, one for each step. `rest` None: coins that are not named follow the median of the named ones.

    `follow`: a coin that is not named does what another one does.
    """

    title: str
    columns: Mapping[str, Factors]
    rest: Factors | None = None
    follow: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(one) for one in [*self.columns.values(), *([self.rest] if self.rest else [])]}
        if not lengths or lengths == {0}:
            raise BadShock(tell("A scenario says what happens to at least one coin: BTC=-40%, or all coins."))
        if len(lengths) > 1 or max(lengths) > MOST_STEPS:
            raise BadShock(
                tell(
                    "A scenario has the same steps for all its coins, at most {most_steps}.",
                    most_steps=MOST_STEPS,
                )
            )
        if not all(ZERO < each <= MOST_TIMES for one in self.columns.values() for each in one):
            raise BadShock(tell("A price falls by less than 100 % and rises to at most 100 times."))

    @property
    def steps(self) -> int:
        return len(next(iter([*self.columns.values(), *([self.rest] if self.rest else [])])))

    def told(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "title": self.title,
            "columns": {coin: [f"{one:f}" for one in own] for coin, own in sorted(self.columns.items())},
            "rest": None if self.rest is None else [f"{one:f}" for one in self.rest],
            "follow": dict(sorted(self.follow.items())),
        }


def path_of(told: Mapping[str, Any]) -> Path:
    """What `Path.told` stored."""
    rest = told["rest"]
    return Path(
        title=told["title"],
        columns={coin: tuple(map(Decimal, own)) for coin, own in told["columns"].items()},
        rest=None if rest is None else tuple(map(Decimal, rest)),
        follow=told["follow"],
    )


@exact
def joint(
    moves: Mapping[str, Decimal], *, others: Decimal | None = None, steps: int = 1, title: str = ""
) -> Path:
    """Coins that move together by fractions (-0.4 is down 40 %), at once or in `steps` equal parts.

    `others` is the move of every coin that is not named; None: these stay.

    Raises:
        BadShock: nothing moves, a coin falls by 100 % or more, or more steps than 20,000.
    """
    if not moves and others is None:
        raise BadShock(tell("A scenario says what happens to at least one coin: BTC=-40%, or all coins."))
    if not 1 <= steps <= MOST_STEPS:
        raise BadShock(tell("A shock comes in 1 to {most_steps} steps.", most_steps=MOST_STEPS))
    return Path(
        title=title or words_of(moves, others=others, steps=steps),
        columns={coin: _ramp(move, steps) for coin, move in sorted(moves.items())},
        rest=_ramp(others or ZERO, steps),
    )


def recorded(closes: Iterable[tuple[datetime, str, Decimal]], *, title: str) -> Path:
    """The course of closing prices in order of time, each coin relative to its own first one.

    A coin stands at its last known price; before its first one it has not moved.

    Raises:
        BadShock: no price, more than 20,000 steps or 500,000 factors, or a coin that rose to more than 100 times.
    """
    first: dict[str, Decimal] = {}
    courses: dict[str, list[Decimal]] = {}
    for count, (_, together) in enumerate(groupby(closes, key=itemgetter(0))):
        now = {coin: close for _, coin, close in together}
        # A coin of one row has a factor for every step: few bytes of a file must not become gigabytes here.
        if count >= MOST_STEPS or len(courses.keys() | now.keys()) * (count + 1) > MOST_FACTORS:
            raise BadShock(
                tell(
                    "A scenario has at most {most_steps} steps, and {most_factors} for all coins together.",
                    most_steps=MOST_STEPS,
                    most_factors=MOST_FACTORS,
                )
            )
        for coin, close in now.items():
            first.setdefault(coin, close)
            own = courses.setdefault(coin, [ONE] * count)
            own.append(divide_down(close, first[coin], PLACES))
        for coin, own in courses.items():
            if coin not in now:
                own.append(own[-1])
    return Path(title=title, columns={coin: tuple(own) for coin, own in sorted(courses.items())})


def following(path: Path, leaders: Mapping[str, str]) -> Path:
    """The same scenario with coins that do what others do: `{"SOL": "ETH"}`."""
    return replace(path, follow={**path.follow, **leaders})


def spread(path: Path, *, kinds: Mapping[str, str], follow: Mapping[str, str]) -> dict[str, Factors]:
    """What each coin of `kinds` (by symbol: crypto, stable or fiat) does in the scenario.

    `follow`: what a coin is worth by its nature, such as the coin it is redeemed for; the scenario's own word and its
    own `follow` go before.
    """
    rest = path.rest if path.rest is not None else _median(path, kinds)
    still = (ONE,) * path.steps

    def of(coin: str, seen: frozenset[str] = frozenset()) -> Factors:
        if coin in path.columns:
            return path.columns[coin]
        leader = path.follow.get(coin) or follow.get(coin)
        if leader is not None and leader not in seen:
            return of(leader, seen | {coin})
        return rest if kinds.get(coin, CRYPTO) == CRYPTO else still

    return {coin: of(coin) for coin in kinds}


def read_moves(texts: Iterable[str]) -> dict[str, Decimal]:
    """Lines such as `BTC=-40%` as moves by coin; empty lines count for nothing.

    Raises:
        BadShock: one is not written so, or a coin moves twice.
    """
    moves: dict[str, Decimal] = {}
    for coin, move in (read_move(text) for text in texts if text.strip()):
        if coin in moves:
            raise BadShock(tell("{coin} has two moves; a scenario has one for each coin.", coin=coin))
        moves[coin] = move
    return moves


def read_move(text: str) -> tuple[str, Decimal]:
    """`BTC=-40%` as the coin and its move.

    Raises:
        BadShock: it is not written so, or the coin would be worth nothing.
    """
    found = _SHOCK.fullmatch(text.strip())
    if found is None:
        raise BadShock(tell("Write a shock as BTC=-40%, not {text!r}.", text=text[:40]))
    return found[1], read_percent(found[2])


@exact
def read_percent(text: str) -> Decimal:
    """`-40%` as -0.4.

    Raises:
        BadShock: no percentage, or one by which a price would be 0 or less, or more than 100 times.
    """
    found = _PERCENT.fullmatch(text.strip().replace("\u2212", "-"))
    if found is None:
        raise BadShock(tell("Write a move as -40% or +12.5%, not {text!r}.", text=text[:40]))
    move = Decimal(found[1] + found[2]) / 100
    if not ZERO < ONE + move <= MOST_TIMES:
        raise BadShock(tell("A price falls by less than 100 % and rises to at most 100 times."))
    return move


@exact
def words_of(moves: Mapping[str, Decimal], *, others: Decimal | None, steps: int) -> str:
    said = [
        tell("{coin} {value:+f} %", coin=coin, value=(100 * move).normalize())
        for coin, move in sorted(moves.items())
    ]
    if others is not None:
        said.append(
            tell(
                "{which} {value:+f} %",
                which=tell("every other coin") if moves else tell("every coin"),
                value=(100 * others).normalize(),
            )
        )
    return tell(
        "{said}, {steps}",
        said=joined(", ", said),
        steps=tell("at once") if steps == 1 else tell("in {steps} steps", steps=steps),
    )


# --- Days that people remember -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KnownDay:
    """A joint fall of public record: from the high before it to the low, by the closes of exchanges, in per cent."""

    key: str
    title: str
    falls: Mapping[str, str]
    others: str


KNOWN_DAYS = (
    KnownDay(
        key="2020-03-13",
        title=tell("10 to 13 March 2020, Black Thursday"),
        falls={
            "BTC": "-52.5",
            "ETH": "-57.1",
            "BNB": "-56",
            "LINK": "-65.8",
            "XRP": "-49.8",
            "DOGE": "-37.2",
        },
        others="-56",
    ),
    KnownDay(
        key="2021-05-19",
        title=tell("17 to 19 May 2021"),
        falls={
            "BTC": "-35.4",
            "ETH": "-46.3",
            "BNB": "-49.8",
            "LINK": "-42.8",
            "SOL": "-32.9",
            "XRP": "-39",
            "DOGE": "-52.1",
        },
        others="-42",
    ),
    KnownDay(
        key="2022-05-12",
        title=tell("7 to 12 May 2022, the end of Luna"),
        falls={
            "BTC": "-26.2",
            "ETH": "-34",
            "BNB": "-36.2",
            "LINK": "-46.6",
            "SOL": "-51.4",
            "XRP": "-39.5",
            "DOGE": "-43.5",
            "LUNA": "-99.8",
        },
        others="-40",
    ),
    KnownDay(
        key="2022-11-09",
        title=tell("6 to 9 November 2022, the fall of FTX"),
        falls={
            "BTC": "-26",
            "ETH": "-32",
            "BNB": "-25",
            "SOL": "-63",
            "XRP": "-30",
            "DOGE": "-39",
            "FTT": "-91",
        },
        others="-32",
    ),
    KnownDay(
        key="2023-03-11",
        title=tell("11 March 2023, USDC loses its peg"),
        falls={"USDC": "-12", "DAI": "-11", "BTC": "-10", "ETH": "-11", "BNB": "-9"},
        others="-11",
    ),
    KnownDay(
        key="2024-08-05",
        title=tell("2 to 5 August 2024, the yen carry trade"),
        falls={
            "BTC": "-24.8",
            "ETH": "-32.4",
            "BNB": "-28.6",
            "LINK": "-36.5",
            "SOL": "-34.1",
            "XRP": "-26.3",
            "DOGE": "-30.8",
        },
        others="-31",
    ),
)


@exact
def known(key: str) -> Path:
    """One of the days that people remember, its whole fall at once.

    Raises:
        BadShock: there is none of that name.
    """
    for day in KNOWN_DAYS:
        if day.key == key:
            moves = {coin: Decimal(fall) / 100 for coin, fall in day.falls.items()}
            return joint(moves, others=Decimal(day.others) / 100, title=day.title)
    raise BadShock(
        tell(
            "There is no day {key!r}; choose one of {known_days}.",
            key=key[:40],
            known_days=joined(", ", (one.key for one in KNOWN_DAYS)),
        )
    )


# --- Private ----------------------------------------------------------------------------------------


def _ramp(move: Decimal, steps: int) -> Factors:
    if not ZERO < ONE + move <= MOST_TIMES:
        raise BadShock(tell("A price falls by less than 100 % and rises to at most 100 times."))
    return tuple(round_down(ONE + move * step / steps, PLACES) for step in range(1, steps + 1))


@exact
def _median(path: Path, kinds: Mapping[str, str]) -> Factors:
    """Of the coins that the scenario names, pegged ones and currencies left out; a market without any stands still."""
    moving = [own for coin, own in path.columns.items() if kinds.get(coin, CRYPTO) == CRYPTO]
    if not moving:
        return (ONE,) * path.steps
    return tuple(round_down(median(together), PLACES) for together in zip(*moving, strict=True))
