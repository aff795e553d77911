"""Where things stand on the LTV track: positions in per cent of its width, and the same thing as a sentence.

Pure geometry. The template only draws: strings go out, so no locale can put a comma into an SVG attribute.
The lines come from the group's own terms; 0 to 50 % takes 12 % of the width, since nothing is decided there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from accounts.templatetags import figures
from accounts.words import joined, tell
from risk.levels import Band, Lines

HALF: Final = Decimal("0.5")  # below this LTV the scale is squeezed, and the bar carries a break mark
SQUEEZED_WIDTH: Final = Decimal(12)
FULL: Final = Decimal(100)
EDGE: Final = Decimal(8)  # half of a figure's width on a phone: nearer to an end it leans inwards
ROOM_FOR_TWO: Final = Decimal(18)  # now and after stand side by side from here on
ROOM_FOR_WORDS: Final = Decimal(20)
ROOM_FOR_ARROW: Final = Decimal(4)
NEAR_LINES: Final = Decimal(5)
NO_COVER: Final = tell("no collateral")

WORDS: Final = {
    Band.SAFE: tell("safe"),
    Band.WATCH: tell("watch"),
    Band.CALL: tell("margin call"),
    Band.LIQ: tell("liquidation"),
}
SPOKEN: Final = {"call": tell("margin call")}  # the picture has less room than the sentence


@dataclass(frozen=True)
class NextPrice:
    """The coin whose own move reaches the next line first, and where it stands today."""

    asset: str
    price: Decimal
    today: Decimal

    @property
    def move(self) -> Decimal:
        """Signed fraction of today's price."""
        return self.price / self.today - 1

    @property
    def fall(self) -> Decimal:
        """The same for a sentence that already says "below"."""
        return -self.move


@dataclass(frozen=True)
class Zone:
    band: str  # lower case, as in the style sheet
    x: str
    width: str


@dataclass(frozen=True)
class Mark:
    x: str
    figure: str
    word: str
    anchor: str
    is_cutoff: bool = False
    is_far: bool = False  # its word goes first when room is short


@dataclass(frozen=True)
class Pin:
    x: str
    figure: str
    anchor: str
    is_beyond: bool  # past the right end: over 100 %, or no collateral at all


@dataclass(frozen=True)
class Move:
    """From now to after. `joined_at` is where one common label stands when two would collide."""

    is_rise: bool
    joined_at: str = ""
    joined_anchor: str = ""


@dataclass(frozen=True)
class Distance:
    """The dimension arrow from now to the next line, in price terms."""

    target: str
    has_arrow: bool  # none when pin and line all but touch
    label_x: str
    anchor: str
    nudge: int  # pixels between label and what it stands beside
    next_price: NextPrice
    verb: str
    its_verb: str  # for who looks at somebody else's group: "calls it"


@dataclass(frozen=True)
class Track:
    band: str
    zones: tuple[Zone, ...]
    marks: tuple[Mark, ...]
    now: Pin
    after: Pin | None
    move: Move | None
    distance: Distance | None
    ticks: tuple[str, ...]
    ticks_x: str
    ticks_width: str
    week_ago: str
    shows_half: bool
    shows_full: bool
    sentence: str
    its_sentence: str  # for who looks at somebody else's group


def track(
    ltv: Decimal | None,
    lines: Lines,
    *,
    after: Decimal | None = None,
    ticks: Sequence[Decimal] = (),
    week_ago: Decimal | None = None,
    next_price: NextPrice | None = None,
    band: Band | None = None,
) -> Track:
    """Lay out one group. Ratios are fractions; `ltv` None is debt without recognised collateral (R-GEN-40).

    Pass `band` where the exact one is known: a rounded ratio may not decide on which side of a line it is
    (R-GEN-41). `ticks` are daily closes, oldest first. No `next_price` when no coin can reach the line.
    """
    band = band or _band(ltv, lines)
    here, there = _x(ltv), None if after is None else _x(after)
    pins, move = _pins(ltv, after, here, there)
    marks = _marks(lines)
    distance = None if next_price is None or there is not None else _distance(here, band, lines, next_price)
    spots = [_x(tick) for tick in ticks]
    first, last = (min(spots), max(spots)) if spots else (Decimal(0), Decimal(0))
    return Track(
        band=band.name.lower(),
        zones=_zones(lines),
        marks=marks,
        now=pins[0],
        after=pins[1],
        move=move,
        distance=distance,
        ticks=tuple(_text(spot) for spot in spots),
        ticks_x=_text(first),
        ticks_width=_text(last - first),
        week_ago="" if week_ago is None else _text(_x(week_ago)),
        shows_half=abs(_x(lines.initial) - SQUEEZED_WIDTH) > NEAR_LINES,
        shows_full=_x(lines.cutoff) < FULL - EDGE,
        sentence=_sentence(ltv, lines, band, after, ticks, distance),
        its_sentence=_sentence(ltv, lines, band, after, ticks, distance, is_mine=False),
    )


def _band(ltv: Decimal | None, lines: Lines) -> Band:
    if ltv is None or ltv >= lines.liquidation:
        return Band.LIQ
    if ltv >= lines.margin_call:
        return Band.CALL
    return Band.WATCH if ltv >= lines.initial else Band.SAFE


# --- Geometry -----------------------------------------------------------------------------------------


def _x(ltv: Decimal | None) -> Decimal:
    """Per cent of the width; what is over 100 % stands at the end."""
    if ltv is None or ltv >= 1:
        return FULL
    if ltv <= HALF:
        return max(ltv, Decimal(0)) / HALF * SQUEEZED_WIDTH
    return SQUEEZED_WIDTH + (ltv - HALF) / (1 - HALF) * (FULL - SQUEEZED_WIDTH)


def _text(x: Decimal) -> str:
    rounded = format(x.quantize(Decimal("0.001")), "f")
    return f"{rounded.rstrip('0').rstrip('.')}%"


def _zones(lines: Lines) -> tuple[Zone, ...]:
    edges = [Decimal(0), _x(lines.initial), _x(lines.margin_call), _x(lines.liquidation), FULL]
    return tuple(
        Zone(band.name.lower(), _text(edges[place]), _text(edges[place + 1] - edges[place]))
        for place, band in enumerate((Band.SAFE, Band.WATCH, Band.CALL, Band.LIQ))
    )


def _marks(lines: Lines) -> tuple[Mark, ...]:
    named = (
        (lines.initial, tell("initial")),
        (lines.margin_call, tell("call", context="line")),
        (lines.liquidation, tell("liquidation")),
        (lines.cutoff, tell("cut-off")),
    )
    spots = [_x(line) for line, _ in named]
    return tuple(
        Mark(
            x=_text(spots[place]),
            figure=figures.line(line).removesuffix(f"{figures.NBSP}%"),
            word=word,
            anchor=_lean(spots, place),
            is_cutoff=word == "cut-off",
            is_far=word in {"liquidation", "cut-off"},
        )
        for place, (line, word) in enumerate(named)
    )


def _lean(spots: list[Decimal], place: int) -> str:
    """Lines that nearly touch turn their labels away from each other."""
    if place + 1 < len(spots) and spots[place + 1] - spots[place] < NEAR_LINES:
        return "end"
    return "start" if place and spots[place] - spots[place - 1] < NEAR_LINES else "middle"


def _inwards(x: Decimal) -> str:
    if x < EDGE:
        return "start"
    return "end" if x > FULL - EDGE else "middle"


def _pin(ltv: Decimal | None, x: Decimal, anchor: str) -> Pin:
    figure = NO_COVER if ltv is None else figures.ltv(ltv)
    return Pin(_text(x), figure, anchor, is_beyond=ltv is None or ltv > 1)


def _pins(
    ltv: Decimal | None, after: Decimal | None, here: Decimal, there: Decimal | None
) -> tuple[tuple[Pin, Pin | None], Move | None]:
    if there is None:
        return (_pin(ltv, here, _inwards(here)), None), None
    is_rise = there > here
    left, right = min(here, there), max(here, there)
    joined_at = joined_anchor = ""
    if right - left >= ROOM_FOR_TWO:
        anchors = (_inwards(here), _inwards(there))
    else:
        anchors = ("end", "start") if is_rise else ("start", "end")
        if left < 2 * EDGE:
            joined_at, joined_anchor = "0%", "start"
        elif right > FULL - 2 * EDGE:
            joined_at, joined_anchor = "100%", "end"
    pins = (_pin(ltv, here, anchors[0]), _pin(after, there, anchors[1]))
    return pins, Move(is_rise, joined_at, joined_anchor)


def _distance(here: Decimal, band: Band, lines: Lines, next_price: NextPrice) -> Distance | None:
    if band is Band.LIQ:
        return None
    is_call = band is Band.CALL
    target = _x(lines.liquidation if is_call else lines.margin_call)
    if target - here >= ROOM_FOR_WORDS:
        spot, anchor, nudge = (here + target) / 2, "middle", 0
    elif target <= FULL - ROOM_FOR_WORDS:
        spot, anchor, nudge = target, "start", 8
    else:
        spot, anchor, nudge = here, "end", -10
    verb, its_verb = tell("calls you"), tell("calls it")
    if is_call:
        verb, its_verb = tell("liquidates you"), tell("liquidates it")
    has_arrow = target - here >= ROOM_FOR_ARROW
    return Distance(_text(target), has_arrow, _text(spot), anchor, nudge, next_price, verb, its_verb)


# --- The same thing in words --------------------------------------------------------------------------


def _percent(ltv: Decimal | None) -> str:
    if ltv is None:
        return tell("without any recognised collateral")
    return tell("{ltv} percent", ltv=_figure(ltv))


def _figure(ltv: Decimal) -> str:
    return figures.ltv(ltv).removesuffix(f"{figures.NBSP}%")


def _sentence(
    ltv: Decimal | None,
    lines: Lines,
    band: Band,
    after: Decimal | None,
    ticks: Sequence[Decimal],
    distance: Distance | None,
    *,
    is_mine: bool = True,
) -> str:
    parts = [tell("Loan to value {ltv}, {words}.", ltv=_percent(ltv), words=WORDS[band])]
    if after is not None:
        parts.append(
            tell("Afterwards {after}, {words}.", after=_percent(after), words=WORDS[_band(after, lines)])
        )
    named = joined(
        ", ",
        (
            tell("{word} {figure}", word=SPOKEN.get(mark.word, mark.word), figure=mark.figure)
            for mark in _marks(lines)
        ),
    )
    parts.append(tell("Lines: {named}.", named=named))
    if distance is not None:
        coin = distance.next_price
        move = figures.pct(max(coin.move, coin.fall)).removesuffix(f"{figures.NBSP}%")
        way = tell("below") if coin.move < 0 else tell("above")
        parts.append(
            tell(
                "{asset} at {price} {verb}, {move} {way} today.",
                asset=coin.asset,
                price=figures.price(coin.price),
                verb=distance.verb if is_mine else distance.its_verb,
                move=tell("{ltv} percent", ltv=move),
                way=way,
            )
        )
    if ticks:
        parts.append(
            tell(
                "Over {count} days between {ticks} and {ticks2}.",
                count=len(ticks),
                ticks=_figure(min(ticks)),
                ticks2=_figure(max(ticks)),
            )
        )
    return joined(" ", parts)
