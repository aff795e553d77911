"""What a manager settles for one client instead of the published terms: spread, hours, limits, coins (R-ADM-02).

A row replaces the one before it of the same scope as a whole, from its start on, and nothing is ever changed
or backdated. LTV lines and liquidation modes of a client are parameters of `risk`.
"""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import IntegrityError, transaction

from accounts import notices
from accounts.commands import Actor, Arguments, command
from accounts.errors import Refused
from accounts.models import Asset, Customer, User
from accounts.money import ONE, RATE_PLACES, round_down
from accounts.people import refuse_others_client
from accounts.words import joined, tell
from loans import authority, ratecards
from loans.models import ClientTerms
from risk.models import ProductCode

LONGEST_OVERDUE: Final = 365 * 24  # hours
LONGEST_REASON: Final = 2000  # the width of the column
EXPOSURE_BOUND: Final = Decimal(10) ** 18  # exclusive, USD
USD_PLACES: Final = 18
COMMAND: Final = "loans.set_client_terms"


class BadClientTerms(Refused):
    """A date, value or coin that no client's terms can have; the message says which."""

    code = "bad_client_terms"


def _needs_a_second(arguments: Arguments) -> bool:
    """R-ADM-03: what costs the desk money or cover: no maximum, a discount, more hours than the product gives."""
    spread, hours = arguments.get("spread"), arguments.get("overdue_hours")
    if arguments.get("is_uncapped") or (spread is not None and spread.is_finite() and spread < 0):
        return True
    return hours is not None and hours > _product_hours(arguments["at"])


def _stakes(arguments: Arguments) -> authority.Stakes:
    """A client's own spread is a discount on every loan to come. R-ADM-10"""
    spread: Decimal | None = arguments.get("spread")
    if spread is None or not spread.is_finite() or spread >= 0:
        return authority.Stakes()
    return authority.Stakes(discount=-spread)


@command(
    COMMAND,
    returns=ClientTerms,
    four_eyes=authority.four_eyes(
        _stakes, makers=frozenset({User.Role.VIP_MANAGER, User.Role.RISK_OFFICER}), needed=_needs_a_second
    ),
)
def set_client_terms(
    *,
    customer_id: int,
    reason: str,
    actor: Actor,
    at: datetime,
    asset: str | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    spread: Decimal | None = None,
    overdue_hours: int | None = None,
    max_exposure_usd: Decimal | None = None,
    is_uncapped: bool = False,
    allowed_coins: tuple[str, ...] | None = None,
    key: str = "",
) -> ClientTerms:
    """Settle a client's own terms, for every coin or for one, from `starts_at` (now) until `ends_at`.

    R-ADM-02, R-VIP-24. What is not given is as published. `spread` is a fraction added to the annual rate; below
    0 is a discount. Running fixed loans and running debts keep what they have.

    Raises:
        BadClientTerms: no reason, in the past, ends before it starts, a value that means nothing, or set before.
        people.NotYourClient: a VIP manager, but not this client's.
        NotYourRole, NeedsApproval: who may do it, and what needs a second person (R-ADM-03).
    """
    customer = Customer.objects.select_related("manager").get(pk=customer_id)
    refuse_others_client(customer=customer, actor=actor)
    starts_at = at if starts_at is None else starts_at
    _check_dates(starts_at, ends_at, at=at)
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise BadClientTerms(
            tell("Say why, in at most {longest_reason} characters.", longest_reason=LONGEST_REASON)
        )
    if asset is not None and (overdue_hours, max_exposure_usd, allowed_coins) != (None, None, None):
        raise BadClientTerms(
            tell("Overdue hours, the exposure and the list of coins are for all coins together.")
        )
    _check_values(spread, overdue_hours, max_exposure_usd)
    coins = None if allowed_coins is None else sorted(set(allowed_coins))
    _check_coins([*(coins or ()), *([asset] if asset else ())])
    row = ClientTerms(
        customer=customer,
        asset_id=asset,
        starts_at=starts_at,
        ends_at=ends_at,
        spread=spread,
        overdue_hours=overdue_hours,
        max_exposure_usd=max_exposure_usd,
        is_uncapped=is_uncapped,
        allowed_coins=coins,
        set_by_id=actor.user_id,
        reason=reason.strip(),
    )
    _keep(row)
    _tell(row, at=at)
    return row


# --- Private ----------------------------------------------------------------------------------------


def _product_hours(at: datetime) -> int:
    return ratecards.product_at(ProductCode.VIP, at=at).overdue_hours


def _check_dates(starts_at: datetime, ends_at: datetime | None, *, at: datetime) -> None:
    if starts_at < at:
        raise BadClientTerms(
            tell(
                "Terms cannot be backdated to {starts_at:%Y-%m-%d %H:%M} UTC; start now or later.",
                starts_at=starts_at,
            )
        )
    if ends_at is not None and ends_at <= starts_at:
        raise BadClientTerms(tell("Terms end after they start; give a later end, or none."))


def _check_values(spread: Decimal | None, overdue_hours: int | None, max_exposure: Decimal | None) -> None:
    if spread is not None and not (
        spread.is_finite() and abs(spread) < ONE and spread == round_down(spread, RATE_PLACES)
    ):
        raise BadClientTerms(
            tell("A spread is a fraction between -1 and 1 with at most 12 decimals: 0.01 is 1 % a year.")
        )
    if overdue_hours is not None and not 1 <= overdue_hours <= LONGEST_OVERDUE:
        raise BadClientTerms(
            tell(
                "Overdue hours are 1 to {longest_overdue}, not {overdue_hours}.",
                longest_overdue=LONGEST_OVERDUE,
                overdue_hours=overdue_hours,
            )
        )
    if max_exposure is not None and not (
        max_exposure.is_finite()
        and 0 <= max_exposure < EXPOSURE_BOUND
        and max_exposure == round_down(max_exposure, USD_PLACES)
    ):
        raise BadClientTerms(tell("The largest exposure is an amount in USD, 0 or more."))


def _check_coins(symbols: Collection[str]) -> None:
    lent = set(Asset.objects.filter(pk__in=symbols, loanable=True).values_list("pk", flat=True))
    unknown = sorted(set(symbols) - lent)
    if unknown:
        raise BadClientTerms(tell("The desk does not lend {unknown}.", unknown=joined(", ", unknown)))


def _keep(row: ClientTerms) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        twice = ClientTerms.objects.filter(customer=row.customer, asset=row.asset_id, starts_at=row.starts_at)
        if not twice.exists():
            raise
        raise BadClientTerms(
            tell("There are terms of this client from that very instant; start these later.")
        ) from error


def _tell(row: ClientTerms, *, at: datetime) -> None:
    coin = tell(" for {asset}", asset=row.asset_id) if row.asset_id else ""
    until = tell(" until {ends_at:%-d %B %Y, %H:%M} UTC", ends_at=row.ends_at) if row.ends_at else ""
    notices.send(
        customer=row.customer,
        event=f"client-terms:{row.pk}",
        kind="client_terms",
        title=tell("Your terms{coin} change", coin=coin),
        body=(
            tell(
                "From {starts_at:%-d %B %Y, %H:%M} UTC{until} your own terms{coin} are: {row}. They"
                " count for new loans and renewals; loans that run keep what was agreed.",
                starts_at=row.starts_at,
                until=until,
                coin=coin,
                row=in_words(row),
            )
        ),
        facts={"client_terms": row.pk},
        at=at,
    )


def in_words(row: ClientTerms) -> str:
    """One row as a list of what differs from the published terms."""
    said = []
    if row.spread is not None:
        said.append(tell("{spread:+f} % a year on the published rate", spread=(row.spread * 100).normalize()))
    if row.overdue_hours is not None:
        said.append(tell("{overdue_hours} hours from expiry to forced sale", overdue_hours=row.overdue_hours))
    if row.max_exposure_usd is not None:
        said.append(
            tell(
                "at most {max_exposure_usd:,.2f} USD owed over all coins",
                max_exposure_usd=row.max_exposure_usd,
            )
        )
    if row.is_uncapped:
        said.append("no maximum per order and coin")
    if row.allowed_coins is not None:
        said.append(
            tell(
                "loans in {allowed_coins} only",
                allowed_coins=joined(", ", row.allowed_coins) or tell("no coin"),
            )
        )
    return joined(", ", said) or "as published"
