"""Taking from the fixed-rate market: how a program writes it down, what it may be, and the one rate it comes to.

Pure. A taking names a supply order, the rate its taker saw there and how much of it they want; several of one coin
and term make one loan, at their rates weighted by amount (R-VIP-26).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from accounts.errors import BadAmount, Refused
from accounts.money import MAX_AMOUNT, RATE_PLACES, ZERO, divide_up, exact, parse_amount, round_down
from accounts.words import tell

MOST_ORDERS: Final = 10  # in one taking
LONGEST_TERM: Final = 365  # days
TOP_RATE: Final = Decimal(10)  # exclusive: 1,000 % a year
DAYS_PER_YEAR: Final = Decimal(365)  # R-GEN-03
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_RATE: Final = re.compile(r"[0-9](\.[0-9]{1,12}0*)?", re.ASCII)
_SCIENTIFIC: Final = re.compile(r"[1-9](\.[0-9]{1,17})?[eE][+-]?[0-9]{1,2}", re.ASCII)


class BadTaking(Refused):
    """No order, too many, one of them twice, or a text that names none; the message says which."""

    code = "bad_taking"
    sapi = -10028


class NotOnOffer(Refused):
    """Closed, ended, taken by others, of another coin or term, or never entered: all the same to a taker."""

    code = "not_on_offer"
    sapi = -10021


class OtherRate(Refused):
    code = "other_rate"
    sapi = -10028


class TooLittle(Refused):
    code = "below_supply_minimum"
    sapi = -10029


class TooMuch(Refused):
    code = "above_supply"
    sapi = -10030


@dataclass(frozen=True, slots=True)
class Taking:
    """How much of one supply order, in its coin, at the yearly rate its taker saw, a fraction."""

    order: int
    rate: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class OnOffer:
    """A supply order as it stands now: `left` of it in its coin, at least `minimum` of it at once."""

    order: int
    name: str
    asset: str
    term_days: int
    rate: Decimal
    minimum: Decimal
    left: Decimal
    places: int  # of the coin

    @property
    def least(self) -> Decimal:
        """What one taking is at least: the minimum, or all that is left."""
        return min(self.minimum, self.left)


def read_takings(text: str) -> tuple[Taking, ...]:
    """`order:rate:amount` joined by `;`, as a program sends it: `7:0.05:100;9:0.07:300`. R-VIP-26

    Rates are yearly fractions. No message repeats what was sent.

    Raises:
        BadTaking: it is not that.
    """
    return tuple(_taking(part) for part in text.split(";"))


def refuse_unfit(
    takings: Sequence[Taking], offers: Mapping[int, OnOffer], *, asset: str, term_days: int
) -> None:
    """Whether these may be taken together, as one loan of this coin and term. R-VIP-26

    `offers` are those that are open now, by order. One that does not fit stops all: a borrower who asked for one
    rate does not get another.

    Raises:
        BadTaking: none, more than ten, or one order twice.
        NotOnOffer, OtherRate, TooLittle, TooMuch: the first that does not fit, and what would.
    """
    if not 1 <= len(takings) <= MOST_ORDERS:
        raise BadTaking(
            tell(
                "Take of 1 to {most_orders} supply orders at once, not of {count}.",
                most_orders=MOST_ORDERS,
                count=len(takings),
            )
        )
    if len({taking.order for taking in takings}) < len(takings):
        raise BadTaking(tell("A supply order is named twice; say once how much of it you take."))
    for taking in takings:
        offer = offers.get(taking.order)
        if offer is None or (offer.asset, offer.term_days) != (asset, term_days) or offer.left <= ZERO:
            raise NotOnOffer(
                tell(
                    "Supply order {order} does not offer {asset} for {term_days} days now; look at"
                    " the market again.",
                    order=taking.order,
                    asset=asset,
                    term_days=term_days,
                )
            )
        _refuse_misfit(taking, offer)


def total(takings: Sequence[Taking]) -> Decimal:
    """All that is taken, in the coin."""
    return sum((taking.amount for taking in takings), ZERO)


@exact
def weighted_rate(takings: Sequence[Taking]) -> Decimal:
    """The yearly rate of the whole: sum(rate x amount) / sum(amount), rounded up at 12 decimals. R-VIP-26

    100 at 5 % and 300 at 7 % are 400 at 6.5 %. Never below the lowest rate taken, nor above the highest.
    """
    interest = sum((taking.rate * taking.amount for taking in takings), ZERO)
    return divide_up(interest, total(takings), RATE_PLACES)


@exact
def estimated_interest(*, amount: Decimal, annual_rate: Decimal, term_days: int, places: int) -> Decimal:
    """What `amount` costs over the term, rounded up once; each day is charged and rounded on its own. R-GEN-03"""
    return divide_up(amount * annual_rate * term_days, DAYS_PER_YEAR, places)


# --- Private ----------------------------------------------------------------------------------------


def _taking(text: str) -> Taking:
    parts = text.split(":")
    if len(parts) != 3 or not _NUMBER.fullmatch(parts[0]):
        raise BadTaking(
            tell("Write each order as requestId:rate:amount, with a semicolon between two of them.")
        )
    rate, amount = _plain(parts[1]), _plain(parts[2])
    if not _RATE.fullmatch(rate):
        raise BadTaking(tell("A rate is a yearly fraction with at most 12 decimals: 0.05 is 5 %."))
    try:
        return Taking(int(parts[0]), Decimal(rate), parse_amount(amount, places=8))
    except BadAmount as refusal:
        raise BadTaking(refusal.message) from None


def _plain(text: str) -> str:
    """`1e-05`, as clients print small numbers, without its exponent."""
    if not _SCIENTIFIC.fullmatch(text):
        return text
    number = Decimal(text)
    return f"{number:f}" if number < MAX_AMOUNT else text


def _refuse_misfit(taking: Taking, offer: OnOffer) -> None:
    if taking.rate != offer.rate:
        raise OtherRate(
            tell(
                "{offer} is at {rate} a year, and you asked for {rate2}; look at the market again.",
                offer=offer.name,
                rate=_said(offer.rate),
                rate2=_said(taking.rate),
            )
        )
    if taking.amount != round_down(taking.amount, offer.places):
        raise BadTaking(
            tell(
                "An amount of {asset} has at most {places} decimals.", asset=offer.asset, places=offer.places
            )
        )
    if taking.amount > offer.left:
        raise TooMuch(
            tell(
                "{left} {asset} is left of {offer}, and you asked for {amount}.",
                left=_said(offer.left),
                asset=offer.asset,
                offer=offer.name,
                amount=_said(taking.amount),
            )
        )
    if taking.amount < offer.least:
        raise TooLittle(
            tell(
                "At least {least} {asset} is taken of {offer} at once, and you asked for {amount}.",
                least=_said(offer.least),
                asset=offer.asset,
                offer=offer.name,
                amount=_said(taking.amount),
            )
        )


@exact
def _said(value: Decimal) -> str:
    return f"{value.normalize():f}"
