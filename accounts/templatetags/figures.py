"""Every figure on a page is written here, so that one number never appears in two costumes.

Decimals go in, text or a small span comes out; there is no float on the way. Ledger amounts are never
rounded: places past the second are muted, not cut. Where a figure has to be shortened, the direction is in
the filter's name or docstring. A missing value is shown as nothing, a float is a bug and raises.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Final

from django import template
from django.utils import dateformat
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import Asset
from accounts.money import exact
from accounts.tongue import NARROW_SPACE, SWEDISH, month, reads
from accounts.words import figure, joined, tell

register = template.Library()

NBSP: Final = "\u00a0"
MINUS: Final = "\u2212"
NO_COVER: Final = "\u221e"  # debt with nothing behind it: the LTV has no number
LEDGER_PLACES: Final = 8
RATE_PLACES_SHOWN: Final = 10  # a rate keeps 12 decimals as a fraction, so 10 as a percentage
TIME_FORMS: Final = {
    "": r"j M Y, H:i \U\T\C",
    "seconds": r"j M Y, H:i:s \U\T\C",
    "day": tell("j M Y"),
    "clock": r"H:i:s \U\T\C",
    "time": "H:i:s",
}
ENGLISH_SIGNS: Final = (",", ".")
COUNTDOWN_UNDER: Final = timedelta(hours=48)

BLANK: Final = (str, type(None))  # Django hands a filter "" for a variable that is not there.


# --- Amounts ----------------------------------------------------------------------------------------


@register.filter
def amount(value: Decimal | int | str | None, asset: Asset | str = "") -> str:
    """Exactly what the books say: at least two decimals, zeros past the second dropped, the rest muted."""
    if isinstance(value, BLANK):
        return ""
    return _markup(_digits(_decimal(value), at_least=_headline_places(asset)), asset)


@register.filter
def posting(value: Decimal | int | str | None, asset: Asset | str = "") -> str:
    """An amount in interest rows, term sheets and postings: always the asset's full ledger places."""
    if isinstance(value, BLANK):
        return ""
    return _markup(_digits(_decimal(value), at_least=_ledger_places(asset)), asset)


@register.filter
def owed(value: Decimal | int | str | None, asset: Asset | str = "") -> str:
    """A headline the customer has to pay: fiat and stable coins at two places, rounded up; others exact."""
    if isinstance(value, BLANK):
        return ""
    return _markup(_digits(_headline(_decimal(value), asset, ROUND_CEILING)), asset)


@register.filter
def held(value: Decimal | int | str | None, asset: Asset | str = "") -> str:
    """A headline the customer may use: fiat and stable coins at two places, rounded down; others exact."""
    if isinstance(value, BLANK):
        return ""
    return _markup(_digits(_headline(_decimal(value), asset, ROUND_FLOOR)), asset)


@register.filter
def plain(value: Decimal | int | str | None, asset: Asset | str = "") -> str:
    """`amount` without markup, for buttons, titles and labels: "355,616.44 USDT". Words, like every sentence."""
    if isinstance(value, BLANK):
        return ""
    digits = _digits(_decimal(value), at_least=_headline_places(asset), signs=ENGLISH_SIGNS)
    return figure(f"{digits}{NBSP}{asset}" if asset else digits)


@register.filter
def change(value: Decimal | int | str | None, asset: Asset | str = "") -> str:
    """A difference of amounts, exact, always with its sign: "+400,000.00 USDT"."""
    if isinstance(value, BLANK):
        return ""
    number = _decimal(value)
    digits = _digits(number, at_least=_headline_places(asset))
    return _markup(f"+{digits}" if number > 0 else digits, asset)


@register.filter
def usd(value: Decimal | int | str | None) -> str:
    """A worth in US dollars, to the nearest cent. Worths are estimates; what is owed goes through `owed`."""
    if isinstance(value, BLANK):
        return ""
    return _markup(_digits(_rounded(_decimal(value), 2, ROUND_HALF_EVEN)), "USD")


@register.filter
def price(value: Decimal | int | str | None) -> str:
    """A price as quoted. A computed one (more than 8 decimals) keeps 2 places, or 6 digits when below 1."""
    if isinstance(value, BLANK):
        return ""
    number = _decimal(value)
    if _scale(number) > LEDGER_PLACES:
        places = 2 if number >= 1 else 5 - number.adjusted()
        number = _rounded(number, places, ROUND_HALF_EVEN)
    return _digits(number)


# --- Ratios, all stored as fractions ------------------------------------------------------------------


@register.filter
def ltv(value: Decimal | int | str | None) -> str:
    """A loan-to-value ratio as a percentage with two places, cut and never rounded.

    76.996 % is WATCH, so it must not read 77.00 %: cutting keeps a figure below every line that has at most
    two decimals until it has really got there (R-GEN-41). None is debt without any recognised collateral.
    """
    if value is None:
        return NO_COVER
    if isinstance(value, str):
        return ""
    return _percent(_rounded(_hundredfold(_decimal(value)), 2, ROUND_FLOOR))


@register.filter
def pct(value: Decimal | int | str | None, sign: str = "") -> str:
    """A fraction as a percentage, to the nearest hundredth; `pct:"+"` also signs what is above zero."""
    if isinstance(value, BLANK):
        return ""
    number = _rounded(_hundredfold(_decimal(value)), 2, ROUND_HALF_EVEN)
    return f"+{_percent(number)}" if sign and number > 0 else _percent(number)


@register.filter
def rate(value: Decimal | int | str | None) -> str:
    """An interest rate: two places, and every further one that is really there, since it decides charges."""
    if isinstance(value, BLANK):
        return ""
    return _percent(_rounded(_hundredfold(_decimal(value)), RATE_PLACES_SHOWN, ROUND_CEILING))


@register.filter
def line(value: Decimal | int | str | None) -> str:
    """A line of the terms, exact and without idle zeros: "72 %"."""
    if isinstance(value, BLANK):
        return ""
    return f"{_digits(_hundredfold(_decimal(value)), at_least=0)}{NBSP}%"


@register.filter
def pp(value: Decimal | int | str | None) -> str:
    """A change of a ratio in percentage points, to the nearest hundredth, always signed."""
    if isinstance(value, BLANK):
        return ""
    number = _rounded(_hundredfold(_decimal(value)), 2, ROUND_HALF_EVEN)
    return f"{'+' if number > 0 else ''}{_digits(number)}{NBSP}pp"


# --- Time ---------------------------------------------------------------------------------------------


@register.filter
def when(value: datetime | date | str | None, form: str = "") -> str:
    """An instant in UTC: "26 Jan 2027, 08:12 UTC".

    Forms: "seconds", "day", "clock" (time of day with UTC), "time" (without, where a heading says UTC).
    """
    if isinstance(value, BLANK):
        return ""
    if not isinstance(value, datetime):
        return format_html(
            '<time datetime="{}">{}</time>', value.isoformat(), _dated(value, TIME_FORMS["day"])
        )
    instant = _utc(value)
    return _time(instant, _dated(instant, TIME_FORMS[form]))


@register.filter
def countdown(value: datetime | str | None, now: datetime) -> str:
    """Time left until `value`, cut to the minute; 48 hours or more away it is `when`.

    `data-left` tells the page's script how many seconds that were when it was written, so that it can count on.
    """
    if isinstance(value, BLANK):
        return ""
    instant, left = _utc(value), _utc(value) - _utc(now)
    if abs(left) >= COUNTDOWN_UNDER:
        return when(instant)
    span = _span(abs(left))
    if left < timedelta(0):
        return _time(instant, tell("{span} ago", span=span))
    return _time(instant, span, left=int(left.total_seconds()))


@register.filter
def left(value: datetime | str | None, now: datetime) -> str:
    """How long until `value`, however far it is, cut as `duration` cuts; nothing is left of what is past.

    The page's script counts it on as it does a `countdown`.
    """
    if isinstance(value, BLANK):
        return ""
    instant, rest = _utc(value), max(_utc(value) - _utc(now), timedelta(0))
    return _time(instant, _span(rest), left=int(rest.total_seconds()))


@register.filter
def duration(value: timedelta | str | None) -> str:
    """A length of time, cut to the minute: "3 h 20 min"; from two days on to the hour: "2 d 6 h".

    Its sign is the sentence's.
    """
    return "" if isinstance(value, BLANK) else _span(abs(value))


@register.filter
def minutes(value: int | str | None) -> str:
    """So many whole minutes as people say it: 3,240 are "2 d 6 h"."""
    return "" if isinstance(value, BLANK) else _span(timedelta(minutes=value))


# --- How digits are written -----------------------------------------------------------------------------


def _decimal(value: Decimal | int | str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise TypeError(f"a figure is a Decimal or a whole number, not {type(value).__name__} {value!r}")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{number} is not a figure")
    return number


@exact
def _hundredfold(value: Decimal) -> Decimal:
    return value * 100


@exact
def _rounded(value: Decimal, places: int, rounding: str) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), rounding=rounding)


def _scale(value: Decimal) -> int:
    """Decimals that say something: 1.500 has one."""
    return len(format(value, "f").partition(".")[2].rstrip("0"))


def _headline(value: Decimal, asset: Asset | str, rounding: str) -> Decimal:
    if isinstance(asset, Asset) and asset.kind in {Asset.Kind.STABLE, Asset.Kind.FIAT}:
        return _rounded(value, _headline_places(asset), rounding)
    return value


def _headline_places(asset: Asset | str) -> int:
    return min(2, asset.places) if isinstance(asset, Asset) else 2


def _ledger_places(asset: Asset | str) -> int:
    return asset.places if isinstance(asset, Asset) else LEDGER_PLACES


def _separators() -> tuple[str, str]:
    """Thousands and decimal sign of the page's language."""
    return (NARROW_SPACE, ",") if reads(SWEDISH) else ENGLISH_SIGNS


def _digits(value: Decimal, at_least: int = 2, signs: tuple[str, str] | None = None) -> str:
    """The number exactly, grouped, with a true minus and at least so many decimals."""
    thousands, point = signs or _separators()
    whole, _, decimals = format(value.copy_abs(), ",f").partition(".")
    decimals = decimals.rstrip("0").ljust(at_least, "0")
    minus = MINUS if value < 0 else ""
    whole = whole.replace(",", thousands)
    return f"{minus}{whole}{point}{decimals}" if decimals else f"{minus}{whole}"


def _percent(value: Decimal) -> str:
    return f"{_digits(value)}{NBSP}%"


def _markup(digits: str, asset: Asset | str) -> SafeString:
    """Mute what stands past the second decimal, and the unit."""
    point = _separators()[1]
    whole, _, decimals = digits.partition(point)
    head = f"{whole}{point}{decimals[:2]}" if decimals else whole
    tail = format_html('<span class="tail">{}</span>', decimals[2:]) if decimals[2:] else ""
    unit = format_html('<span class="unit">{}{}</span>', NBSP, asset) if asset else ""
    return format_html("{}{}{}", head, tail, unit)


def short_day(value: date) -> str:
    """Day and month, as on an axis: "16 Nov"."""
    return _dated(value, "j M")


def _dated(value: date, form: str) -> str:
    """Swedish writes "22 nov. 2026 14:05 UTC"."""
    if reads(SWEDISH):
        name = joined("", (f"\\{letter}" for letter in month(value, short=True)))
        form = form.replace("M", name, 1).replace(",", "")
    return dateformat.format(value, form)


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return value.astimezone(UTC)


def _time(instant: datetime, text: str, *, left: int | None = None) -> SafeString:
    machine = instant.isoformat(timespec="seconds").replace("+00:00", "Z")
    if left is not None:
        return format_html(
            '<time datetime="{}" data-left="{}" aria-live="off">{}</time>', machine, left, text
        )
    return format_html('<time datetime="{}">{}</time>', machine, text)


def _span(left: timedelta) -> str:
    minutes = int(left.total_seconds()) // 60
    if minutes < 1:
        return tell("under 1\u00a0min")
    hours, minutes = divmod(minutes, 60)
    if hours >= COUNTDOWN_UNDER // timedelta(hours=1):
        days, hours = divmod(hours, 24)
        return tell("{days}{nbsp}d {hours}{nbsp}h", days=days, nbsp=NBSP, hours=hours)
    return (
        tell("{hours}{nbsp}h {minutes}{nbsp}min", hours=hours, nbsp=NBSP, minutes=minutes)
        if hours
        else f"{minutes}{NBSP}min"
    )
