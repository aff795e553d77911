"""The coins of a request, one by one: what each would cost, and whether it can be lent at all.

A coin that cannot be lent online is declined with the reason and the way out; the others go on, unless the
borrower wants all or nothing (R-VIP-06, R-VIP-19).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from accounts.models import LedgerAccount
from accounts.money import ZERO, divide_down, exact
from accounts.words import tell
from loans import limits, ratecards
from loans.limits import Ceilings, Declined
from loans.models import RateType
from loans.policy import with_spread
from loans.ratecards import Quote
from loans.vip.effect import Effect
from loans.vip.eligibility import Parties, Problem, Wish, borrowable
from risk import prices, valuation
from risk.interest import daily_charge
from risk.levels import Lines
from risk.models import ProductCode


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides settled on instead of the published terms (R-VIP-24); what is absent is as published.

    `rates`: fixed annual rate by coin. `spreads`: what is added to the flexible rate, by coin. `lines`: of the
    whole group. `overdue_hours`: from expiry to forced sale.
    """

    rates: Mapping[str, Decimal]
    spreads: Mapping[str, Decimal] = field(default_factory=dict)
    lines: Lines | None = None
    overdue_hours: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One coin of the request. `declined` says why this coin cannot be lent online while the others can.

    Values are USD at the index price; None where nothing is published.
    """

    asset: str
    amount: Decimal
    places: int
    annual_rate: Decimal | None  # all that is paid, the spread in it
    price: Decimal | None
    value: Decimal | None
    minimum: Decimal | None
    maximum: Decimal | None  # of one order; None for a client without a maximum
    lendable: Decimal  # in the coin: what the desk has of it
    daily_interest: Decimal | None  # in the coin
    max_borrow: Decimal | None = None  # in the coin, alone and as things stand
    declined: str = ""
    declined_code: str = ""
    spread: Decimal = ZERO  # the client's own or agreed, on the published rate; a flexible debt carries it on
    room: Decimal | None = None  # USD of one more order by limits and caps; None is no limit


def priced(parties: Parties, agreed: Agreed | None) -> tuple[list[Line], list[Problem]]:
    """Every coin that can be priced, and what is wrong with those that go on. R-VIP-06, R-VIP-19, R-VIP-22…24"""
    wishes = borrowable(parties)
    symbols = [wish.asset for wish in wishes]
    market = prices.latest(at=parties.at, assets=symbols)
    rates = _rates(parties, symbols, agreed)
    ceilings = limits.ceilings_of(
        parties.customer, policy=parties.policy, assets=symbols, quotes=market, at=parties.at
    )
    pools = LedgerAccount.objects.house(LedgerAccount.Kind.POOL).filter(asset__in=symbols)
    lendable = {pool.asset_id: pool.balance for pool in pools}
    lines: list[Line] = []
    found: list[Problem] = []
    taken = ZERO  # USD of the coins before this one that go on
    for wish in wishes:
        line = _line(
            wish,
            places=parties.assets[wish.asset].places,
            rate=rates.get(wish.asset),
            quote=market.get(wish.asset),
            ceilings=ceilings,
            lendable=lendable.get(wish.asset, ZERO),
        )
        declined = _declined(line, ceilings, taken=taken)
        if declined is not None:
            line = replace(line, declined=declined.message, declined_code=declined.code)
        else:
            found += _on_line(line, market.get(wish.asset), is_published=wish.asset in ceilings.orders)
            taken += line.value or ZERO
        lines.append(line)
    return lines, [*found, *_declined_for_good(parties, lines)]


def with_room(line: Line, effect: Effect) -> Line:
    """How much of the coin could be borrowed alone: by collateral, limits and pool. R-GEN-37, R-GEN-38, R-GEN-45"""
    if line.price is None or line.minimum is None:
        return line
    by_collateral = valuation.max_borrow(
        worth=effect.before, initial=effect.lines.initial, price=line.price, places=line.places
    )
    by_limits = [] if line.room is None else [divide_down(line.room, line.price, line.places)]
    return replace(line, max_borrow=min([by_collateral, line.lendable, *by_limits]))


# --- Private ----------------------------------------------------------------------------------------


def _rates(parties: Parties, symbols: list[str], agreed: Agreed | None) -> dict[str, Quote]:
    """Agreed before published: a fixed rate binds, a flexible one moves with the coin. R-VIP-18, R-VIP-24"""
    request = parties.request
    quotes = ratecards.rates_for(
        product=ProductCode.VIP,
        assets=symbols,
        rate_type=request.rate_type,
        term_days=request.term_days,
        vip_level=parties.customer.vip_level,
        at=parties.at,
        policy=parties.policy,
    )
    if agreed is None:
        return quotes
    if request.rate_type == RateType.FIXED:
        bound = {s: Quote(s, agreed.rates[s], parties.at) for s in symbols if s in agreed.rates}
        return quotes | bound
    today = ratecards.rates_for(
        product=ProductCode.VIP,
        assets=[symbol for symbol in symbols if symbol in agreed.spreads],
        rate_type=request.rate_type,
        term_days=request.term_days,
        vip_level=parties.customer.vip_level,
        at=parties.at,
    )
    return quotes | {symbol: _respread(quote, agreed.spreads[symbol]) for symbol, quote in today.items()}


def _respread(published: Quote, spread: Decimal) -> Quote:
    return replace(published, annual_rate=with_spread(published.annual_rate, spread), spread=spread)


@exact
def _line(
    wish: Wish,
    *,
    places: int,
    rate: Quote | None,
    quote: prices.Quote | None,
    ceilings: Ceilings,
    lendable: Decimal,
) -> Line:
    limit = ceilings.orders.get(wish.asset)
    daily = None
    if rate is not None:
        daily = daily_charge(principal=wish.amount, annual_rate=rate.annual_rate, places=places).interest
    return Line(
        asset=wish.asset,
        amount=wish.amount,
        places=places,
        annual_rate=rate.annual_rate if rate is not None else None,
        price=quote.price if quote is not None else None,
        value=wish.amount * quote.price if quote is not None else None,
        minimum=limit.minimum if limit is not None else None,
        maximum=ceilings.maximum(wish.asset),
        lendable=lendable,
        daily_interest=daily,
        spread=rate.spread if rate is not None else ZERO,
        room=ceilings.room(wish.asset),
    )


def _declined(line: Line, ceilings: Ceilings, *, taken: Decimal) -> Declined | None:
    """R-VIP-06, R-GEN-37, R-GEN-38"""
    said = tell("{amount:f} {asset}", amount=line.amount, asset=line.asset)
    if line.value is None:
        return None  # without a price it is a problem, not a limit
    declined = ceilings.declines(line.asset, said=said, value=line.value, taken=taken)
    if declined is None and line.amount > line.lendable:
        message = tell(
            "The desk has too little {asset} to lend now: {lendable:f}, and you ask for {said}.",
            asset=line.asset,
            lendable=line.lendable,
            said=said,
        )
        declined = Declined(
            "pool_empty", tell("{message} Ask for less, or send an enquiry.", message=message)
        )
    return declined


def _declined_for_good(parties: Parties, lines: list[Line]) -> Iterator[Problem]:
    """A declined coin stops the request when none is left, or when the borrower wants all or nothing. R-VIP-19"""
    declined = [line for line in lines if line.declined]
    if not declined or (len(declined) < len(lines) and not parties.request.all_or_nothing):
        return
    for line in declined:
        yield Problem(f"wishes.{line.asset}", line.declined_code, line.declined)


def _on_line(line: Line, quote: prices.Quote | None, *, is_published: bool) -> Iterator[Problem]:
    """R-GEN-22, R-VIP-06, R-VIP-22, R-VIP-23"""
    field = f"wishes.{line.asset}"
    if line.annual_rate is None:
        yield Problem(
            field,
            "no_rate",
            tell(
                "No rate is published for {asset} with this term. Send an enquiry for one.", asset=line.asset
            ),
        )
    if not is_published:
        yield Problem(
            field,
            "no_limit",
            tell("{asset} cannot be borrowed online. {otc}", asset=line.asset, otc=limits.OTC),
        )
    if quote is None or not quote.fresh:
        yield Problem(
            field,
            "stale_price",
            tell("There is no fresh price for {asset} now; try again shortly.", asset=line.asset),
        )
    elif line.value is not None and line.minimum is not None and line.value < line.minimum:
        yield Problem(
            field,
            "below_minimum",
            tell(
                "{amount:f} {asset} is worth {line:,.2f} USD; the least is {minimum:,.2f} USD.",
                amount=line.amount,
                asset=line.asset,
                line=line.value,
                minimum=line.minimum,
            ),
        )
