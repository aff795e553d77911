"""What a manager's decision gives away: its worth, the LTV it leads to, the discount in it (R-VIP-12, R-ADM-10).

`accounts/commands.py` asks before a decision runs: whether a second person has to release it, and whether the one who
wants to release it may. The answer is `loans/authority.py`'s; here are the figures, from the engine's own review.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from accounts.commands import Arguments
from accounts.money import ZERO, exact
from loans import limits, ratecards
from loans.authority import Stakes
from loans.models import Application, ApplicationLine, Offer, RateType
from loans.ratecards import FIXED_TERMS
from loans.vip import sheets
from loans.vip.reviewing import review
from risk import prices
from risk.models import ProductCode


@exact
def worth(arguments: Arguments) -> Decimal | None:
    """USD of the coins an approval would pay out and of what the client was lent in the last day. R-VIP-12

    At the latest prices; None without a price for one of them.
    """
    coins = arguments.get("coins")
    lines = ApplicationLine.objects.filter(application=arguments["application_id"])
    wanted = {line.asset_id: line.amount for line in lines if coins is None or line.asset_id in coins}
    quotes = prices.latest(at=arguments["at"], assets=wanted)
    customer = Application.objects.values_list("customer_id", flat=True).get(pk=arguments["application_id"])
    lately = limits.lent_lately(customer, at=arguments["at"])
    if lately is None or any(symbol not in quotes for symbol in wanted):
        return None
    return sum((amount * quotes[symbol].price for symbol, amount in wanted.items()), lately)


def is_large(arguments: Arguments) -> bool:
    """Whether an approval is above the line from which a second person releases it. R-VIP-12"""
    value = worth(arguments)
    product = ratecards.product_at(ProductCode.VIP, at=arguments["at"])
    return value is None or value > product.four_eyes_usd


# --- Stakes by command ------------------------------------------------------------------------------


def of_approval(arguments: Arguments) -> Stakes:
    """Of paying out what was accepted, all of it or `coins`."""
    application, coins = _application(arguments), arguments.get("coins")
    asked = set(application.lines.values_list("asset_id", flat=True))
    left_out = {} if coins is None else dict.fromkeys(sorted(asked - set(coins)), "left out")
    offer = application.accepted
    return _stakes(arguments, application, offer, left_out=left_out)


def of_counter_offer(arguments: Arguments) -> Stakes:
    """Of offering other terms: the rates are those wanted, against what is published now."""
    application, wanted = _application(arguments), arguments["wanted"]
    rates = {one.asset: one.rate for one in wanted.rates}
    discount = discount_of(application, rates, term_days=wanted.term_days, at=arguments["at"])
    return _stakes(arguments, application, None, discount=discount)


def of_counter(arguments: Arguments) -> Stakes:
    """Of accepting what the borrower wants."""
    application = _application(arguments)
    offer = application.offers.filter(version=arguments["version"]).first()
    return _stakes(arguments, application, offer)


@exact
def discount_of(
    application: Application, rates: Mapping[str, Decimal], *, term_days: int | None, at: datetime
) -> Decimal | None:
    """The largest discount below the rate published at `at`, the client's own spread in it; None: nothing to compare.

    `rates` by coin are fixed annual rates, or spreads on the flexible rate. A term without a card is compared with
    the dearest one that has one.
    """
    if application.rate_type == RateType.FLEXIBLE:
        return max([-spread for spread in rates.values()] + [ZERO])
    terms = [term_days] if term_days in FIXED_TERMS else list(FIXED_TERMS)
    level = application.customer.vip_level
    cards = ratecards.rates_by_term(
        product=application.product, assets=rates, terms=terms, vip_level=level, at=at
    )
    largest = ZERO
    for symbol, rate in rates.items():
        published = [quotes[symbol].annual_rate for quotes in cards.values() if symbol in quotes]
        if not published:
            return None
        largest = max(largest, max(published) - rate)
    return largest


# --- Private ----------------------------------------------------------------------------------------


def _application(arguments: Arguments) -> Application:
    rows = Application.objects.select_related("customer", "accepted")
    return rows.get(pk=arguments["application_id"])


def _stakes(
    arguments: Arguments,
    application: Application,
    offer: Offer | None,
    *,
    left_out: Mapping[str, str] | None = None,
    discount: Decimal | None = None,
) -> Stakes:
    at = arguments["at"]
    sheet = review(application, at=at, offer=offer, left_out=left_out)
    if offer is not None:
        rates = {
            symbol: rate
            for symbol, rate in sheets.rates_of(offer.body).items()
            if symbol not in (left_out or {})
        }
        # What was published when the terms were made: a rate that moved since is nobody's gift (R-VIP-18).
        discount = discount_of(application, rates, term_days=offer.body["term_days"], at=offer.made_at)
    return Stakes(
        amount_usd=worth(arguments),
        after=sheet.effect.after if sheet.effect is not None else None,
        discount=discount,
    )
