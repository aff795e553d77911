"""What a loan costs and which terms a product has: published rows with dates, looked up by time.

A fixed rate is a card by coin, term and VIP level; the flexible rate is one for all levels and lives beside the
debts that read it (`risk.parameters`). Nothing here is ever changed: a new row takes over from its date.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import Asset, Customer
from accounts.money import RATE_PLACES, ZERO, round_down
from accounts.words import tell
from loans.models import Product, RateCard, RateType
from loans.policy import PUBLISHED, Policy, policy_of, with_spread
from risk.models import FlexibleRate
from risk.parameters import RATES

FIXED_TERMS = (30, 60)  # days (R-VIP-20, R-VIP-21)
LEAST_CALL_NOTICE = 24  # hours (R-VIP-44)
FEW_COINS = 20  # up to so many are named to the database; of more, all coins are read
TOP_RATE = Decimal(10)  # exclusive; 1000 % a year is a slip of the pen


class NoRate(Refused):
    code = "no_rate"
    sapi = -10019


class BadCard(Refused):
    code = "bad_rate_card"


class BadProductTerms(Refused):
    code = "bad_product_terms"


@dataclass(frozen=True, slots=True)
class Quote:
    """An annual rate (a fraction, 12 decimals), what of it is the client's own spread, and since when it is in force.

    `spread` is as agreed: what a flexible debt carries on. `annual_rate` is never below 0.
    """

    asset: str
    annual_rate: Decimal
    effective_at: datetime
    spread: Decimal = ZERO


@command("loans.publish_card", returns=RateCard, four_eyes=RATES)
def publish_card(
    *,
    product: str,
    asset: str,
    term_days: int,
    vip_level: int,
    annual_rate: Decimal,
    effective_at: datetime,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> RateCard:
    """Publish the fixed rate of a coin for one term and VIP level, from a 00:00 UTC on. R-VIP-18, R-VIP-22

    Raises:
        BadCard: not from a 00:00 UTC, in the past, an impossible rate or term, no loan coin, or published before.
    """
    if effective_at.astimezone(UTC).time() != time():
        raise BadCard(tell("A rate card takes effect at 00:00 UTC, so that a day has one rate."))
    if effective_at < at:
        raise BadCard(
            tell(
                "A rate card cannot be backdated to {effective_at:%Y-%m-%d %H:%M} UTC.",
                effective_at=effective_at,
            )
        )
    if term_days not in FIXED_TERMS:
        raise BadCard(tell("A fixed term is 30 or 60 days, not {term_days}.", term_days=term_days))
    if not 0 <= vip_level <= 9:
        raise BadCard(tell("A VIP level is 0 to 9, not {vip_level}.", vip_level=vip_level))
    if not _is_rate(annual_rate):
        raise BadCard(
            tell("An annual rate is a fraction from 0 to below 10 with at most 12 decimals: 0.084 is 8.4 %.")
        )
    coin = Asset.objects.filter(pk=asset, loanable=True).first()
    if coin is None:
        raise BadCard(tell("{asset} is not a coin the desk lends.", asset=asset))
    try:
        with transaction.atomic():
            return RateCard.objects.create(
                product=product,
                asset=coin,
                term_days=term_days,
                vip_level=vip_level,
                annual_rate=annual_rate,
                effective_at=effective_at,
            )
    except IntegrityError:
        raise BadCard(
            tell(
                "{asset} for {term_days} days at VIP {vip_level} already has a card from"
                " {effective_at:%Y-%m-%d}; publish the new rate from another day.",
                asset=asset,
                term_days=term_days,
                vip_level=vip_level,
                effective_at=effective_at,
            )
        ) from None


@command("loans.publish_product", returns=Product, four_eyes=FourEyes())
def publish_product(
    *,
    code: str,
    effective_at: datetime | None = None,
    actor: Actor,
    at: datetime,
    max_coins: int | None = None,
    max_accounts: int | None = None,
    first_minimum: Decimal | None = None,
    later_minimum: Decimal | None = None,
    renewal_days: int | None = None,
    overdue_hours: int | None = None,
    late_multiplier: int | None = None,
    offer_hours: int | None = None,
    quote_hours: int | None = None,
    call_notice_hours: int | None = None,
    review_hours: int | None = None,
    auto_approve_usd: Decimal | None = None,
    auto_approve_ltv: Decimal | None = None,
    four_eyes_usd: Decimal | None = None,
    key: str = "",
    reason: str = "",
) -> Product:
    """Publish a product's own terms; what is not given stays as in force at `effective_at`. Running loans keep theirs.

    Minimums and lines in USD, hours from an offer, an acceptance, a call or a request.
    R-VIP-04, 05, 07, 11, 12, 18, 40, 43, 44, R-ADM-08

    Raises:
        BadProductTerms: in the past, a count or minimum that means nothing, or published before.
    """
    effective_at = at if effective_at is None else effective_at
    if effective_at < at:
        raise BadProductTerms(
            tell("Terms cannot be backdated to {effective_at:%Y-%m-%d %H:%M} UTC.", effective_at=effective_at)
        )
    if Product.objects.filter(code=code, effective_at=effective_at).exists():
        raise BadProductTerms(
            tell(
                "{code} already has terms from {effective_at:%Y-%m-%d %H:%M} UTC.",
                code=code,
                effective_at=effective_at,
            )
        )
    given = {
        "max_coins": max_coins,
        "max_accounts": max_accounts,
        "first_minimum": first_minimum,
        "later_minimum": later_minimum,
        "renewal_days": renewal_days,
        "overdue_hours": overdue_hours,
        "late_multiplier": late_multiplier,
        "offer_hours": offer_hours,
        "quote_hours": quote_hours,
        "call_notice_hours": call_notice_hours,
        "review_hours": review_hours,
        "auto_approve_usd": auto_approve_usd,
        "auto_approve_ltv": auto_approve_ltv,
        "four_eyes_usd": four_eyes_usd,
    }
    row = product_at(code, at=effective_at)
    row.pk, row.effective_at = None, effective_at
    for name, value in given.items():
        if value is not None:
            setattr(row, name, value)
    _check_product(row)
    row.save(force_insert=True)
    return row


def _check_product(row: Product) -> None:
    counts = (row.max_coins, row.max_accounts, row.renewal_days, row.overdue_hours, row.late_multiplier)
    if min(*counts, row.offer_hours, row.quote_hours, row.review_hours) < 1:
        raise BadProductTerms(tell("Counts, days, hours and the late multiplier start at 1."))
    if row.renewal_days >= min(FIXED_TERMS):  # else a renewal could be renewed before its own rate has begun
        raise BadProductTerms(
            tell("The renewal window must be shorter than {fixed_terms} days.", fixed_terms=min(FIXED_TERMS))
        )
    if not 0 <= row.later_minimum <= row.first_minimum:
        raise BadProductTerms(tell("The minimums are 0 or more, and the first is not below the later one."))
    if row.call_notice_hours < LEAST_CALL_NOTICE:
        raise BadProductTerms(
            tell(
                "An open loan is called with at least {least_call_notice} hours' notice.",
                least_call_notice=LEAST_CALL_NOTICE,
            )
        )
    if min(row.auto_approve_usd, row.four_eyes_usd) < 0 or not 0 <= row.auto_approve_ltv < 1:
        raise BadProductTerms(tell("The lines of review are 0 USD or more, and an LTV from 0 to below 1."))
    if row.auto_approve_usd > row.four_eyes_usd:
        raise BadProductTerms(
            tell("What needs two persons cannot be approved by nobody: the lines are the wrong way round.")
        )


def product_at(code: str, *, at: datetime) -> Product:
    """The terms in force at `at`; the unsaved defaults while nothing is published."""
    row = Product.objects.filter(code=code, effective_at__lte=at).order_by("-effective_at").first()
    return row or _typed(Product(code=code, effective_at=at))


def rate_for(
    *, product: str, asset: str, rate_type: str, term_days: int | None, vip_level: int, at: datetime
) -> Decimal:
    """The published annual rate of a new loan of this kind at `at`, as a fraction. R-VIP-22, R-VIP-23

    Raises:
        NoRate: none is published for this coin.
    """
    quotes = rates_for(
        product=product, assets=[asset], rate_type=rate_type, term_days=term_days, vip_level=vip_level, at=at
    )
    if asset not in quotes:
        raise NoRate(
            tell(
                "No {rate_type} rate is published for {asset}.",
                rate_type=_named(rate_type, term_days),
                asset=asset,
            )
        )
    return quotes[asset].annual_rate


def quote_for(
    *, customer: Customer, product: str, asset: str, rate_type: str, term_days: int | None, at: datetime
) -> Quote:
    """The rate this client gets at `at`, the client's spread in it. R-VIP-22…24

    Raises:
        NoRate: none is published for this coin.
    """
    quotes = rates_for(
        product=product,
        assets=[asset],
        rate_type=rate_type,
        term_days=term_days,
        vip_level=customer.vip_level,
        at=at,
        policy=policy_of(customer, at=at),
    )
    if asset not in quotes:
        raise NoRate(
            tell(
                "No {rate_type} rate is published for {asset}.",
                rate_type=_named(rate_type, term_days),
                asset=asset,
            )
        )
    return quotes[asset]


def rates_for(
    *,
    product: str,
    assets: Iterable[str],
    rate_type: str,
    term_days: int | None,
    vip_level: int,
    at: datetime,
    policy: Policy = PUBLISHED,
) -> dict[str, Quote]:
    """The rates in force at `at` by coin, of one type and term; see `rates_by_term`. One query."""
    term = None if rate_type == RateType.FLEXIBLE else term_days or 0
    return rates_by_term(
        product=product, assets=assets, terms=[term], vip_level=vip_level, at=at, policy=policy
    )[term]


def rates_by_term(
    *,
    product: str,
    assets: Iterable[str],
    terms: Iterable[int | None],
    vip_level: int,
    at: datetime,
    policy: Policy = PUBLISHED,
) -> dict[int | None, dict[str, Quote]]:
    """The rates in force at `at` by term in days, None for the flexible one, and by coin; two queries at most.

    Coins without a rate are absent. A fixed rate is that of the borrower's VIP level, or of the nearest lower level
    that has a card. The client's own spread of `policy` is added, to both types. R-VIP-22…24
    """
    quotes: dict[int | None, dict[str, Quote]] = {term: {} for term in terms}
    wanted = frozenset(assets)
    scope: dict[str, Any] = {"product": product, "effective_at__lte": at}
    if len(wanted) <= FEW_COINS:
        scope["asset__in"] = sorted(wanted)
    rows: list[tuple[int | None, str, Decimal, datetime]] = []
    if None in quotes:
        flexible = FlexibleRate.objects.filter(**scope).order_by("asset", "-effective_at").distinct("asset")
        rows += [(None, *row) for row in flexible.values_list("asset", "annual_rate", "effective_at")]
    if fixed := [term for term in quotes if term is not None]:
        cards = RateCard.objects.filter(term_days__in=fixed, vip_level__lte=vip_level, **scope)
        newest = cards.order_by("term_days", "asset", "-vip_level", "-effective_at").distinct(
            "term_days", "asset"
        )
        rows += newest.values_list("term_days", "asset", "annual_rate", "effective_at")
    for term, asset, rate, since in rows:
        if asset not in wanted:
            continue
        spread = policy.spread(asset)
        quotes[term][asset] = Quote(asset, with_spread(rate, spread), since, spread)
    return quotes


def _is_rate(rate: Decimal) -> bool:
    return rate.is_finite() and 0 <= rate < TOP_RATE and rate == round_down(rate, RATE_PLACES)


def _typed(row: Product) -> Product:
    """An unsaved row as the database would give it back; Django leaves defaults as they are written, as text."""
    for field in row._meta.concrete_fields:
        setattr(row, field.attname, field.to_python(getattr(row, field.attname)))
    return row


def _named(rate_type: str, term_days: int | None) -> str:
    return (
        "flexible" if rate_type == RateType.FLEXIBLE else tell("fixed {term_days}-day", term_days=term_days)
    )
