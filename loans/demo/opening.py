"""Open a desk for given coins: lines, ratios, limits, rates, cards and pools, from one date on.

Production publishes its own figures; the demo and the replay start from those of
`accounts/catalogue/demo_parameters.csv`, or from a crash file's coins given the same figures.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import product
from typing import Final

from accounts import books, ledger
from accounts.catalogue import DemoParameters
from accounts.commands import Actor, command
from accounts.models import Asset, JournalEntry
from accounts.money import ONE, exact, round_down
from loans import ratecards
from loans.ratecards import FIXED_TERMS
from risk import parameters
from risk.levels import Lines
from risk.models import ProductCode

PRODUCT: Final = ProductCode.VIP
# R-VIP-50
LINES: Final = Lines(
    initial=Decimal("0.72"),
    margin_call=Decimal("0.77"),
    liquidation=Decimal("0.91"),
    cutoff=Decimal("0.95"),
    fee=Decimal("0.02"),
)
CARD_LEVELS: Final = (0, 3, 6, 9)  # a level between two pays the lower one's rate; 0: let in by a manager
DISCOUNT_PER_LEVEL: Final = Decimal("0.02")  # of the rate, for each VIP level
RATE_STEP: Final = 4  # decimals of a published rate: 0.01 %
LEAST_LOAN_USD: Final = Decimal(100)  # the sample of R-VIP-06


@exact
def fixed_rate(coin: DemoParameters, *, term_days: int, vip_level: int) -> Decimal:
    """The annual fixed rate of a card, a fraction; every VIP level pays 2 % of it less than the one below. R-VIP-22"""
    base = coin.fixed_30_rate if term_days == min(FIXED_TERMS) else coin.fixed_60_rate
    return round_down(base * (ONE - DISCOUNT_PER_LEVEL * vip_level), RATE_STEP)


def publish(
    *,
    coins: Sequence[DemoParameters],
    actor: Actor,
    at: datetime,
    lent: Collection[str] | None = None,
) -> None:
    """Publish what a desk needs to take these coins as collateral and to lend those of `lent` (None: all).

    Everything is in force from `at` on, which must be a 00:00 UTC, because rates start there. Not published
    here: feed rules and settings, which belong to whoever brings the prices.
    """
    ratecards.publish_product(code=PRODUCT, effective_at=at, actor=actor, at=at)
    parameters.publish_limits(product=PRODUCT, lines=LINES, effective_at=at, actor=actor, at=at)
    for coin in coins:
        parameters.publish_ratios(
            asset=coin.symbol,
            tiers=coin.tiers,
            rank=coin.liquidation_rank,
            effective_at=at,
            actor=actor,
            at=at,
        )
        if lent is None or coin.symbol in lent:
            _publish_loan_terms(coin, actor=actor, at=at)


def publish_flexible_rate(coin: DemoParameters, *, annual_rate: Decimal, actor: Actor, at: datetime) -> None:
    """The coin's flexible rate from the 00:00 UTC `at` on. R-VIP-23"""
    parameters.publish_flexible_rate(
        product=PRODUCT, asset=coin.symbol, annual_rate=annual_rate, effective_at=at, actor=actor, at=at
    )


def _publish_loan_terms(coin: DemoParameters, *, actor: Actor, at: datetime) -> None:
    parameters.publish_loan_limit(
        product=PRODUCT,
        asset=coin.symbol,
        minimum=LEAST_LOAN_USD,
        maximum=coin.max_loan_usd,
        effective_at=at,
        actor=actor,
        at=at,
    )
    publish_flexible_rate(coin, annual_rate=coin.flexible_rate, actor=actor, at=at)
    for vip_level, term_days in product(CARD_LEVELS, FIXED_TERMS):
        ratecards.publish_card(
            product=PRODUCT,
            asset=coin.symbol,
            term_days=term_days,
            vip_level=vip_level,
            annual_rate=fixed_rate(coin, term_days=term_days, vip_level=vip_level),
            effective_at=at,
            actor=actor,
            at=at,
        )


@command("demo.fund_pools", returns=JournalEntry)
def fund_pools(
    *, amounts: Mapping[str, Decimal], actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> JournalEntry:
    """Finance puts the desk's own coins into the pools: amounts by coin, rounded down at the coin's places.

    Raises:
        ledger.AlreadyPosted: the pools were funded at this instant.
    """
    places = dict(Asset.objects.filter(pk__in=amounts).values_list("symbol", "places"))
    lines = [
        ledger.Line(
            debit=books.pool(coin), credit=books.capital(coin), amount=round_down(amount, places[coin])
        )
        for coin, amount in sorted(amounts.items())
    ]
    return ledger.post(kind="funding", reference=f"funding:{at.isoformat()}", lines=lines, at=at)
