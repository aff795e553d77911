"""What every publication has in common: nothing is backdated, and a value makes sense before it is a row.

Nothing can be backdated, or yesterday's decisions would stand on today's numbers (R-GEN-36, R-VIP-18).
"""

from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from django.db import IntegrityError, models, transaction
from psycopg import errors

from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import Asset, Customer, User
from accounts.money import RATE_PLACES, round_down
from accounts.words import tell
from risk.models import ProductCode

USD_PLACES = 18
USD_BOUND = Decimal(10) ** 18  # exclusive; far above the worth of any coin's whole supply
RATE_BOUND = Decimal(10)  # exclusive; 1,000 % a year
LONGEST_WAIT_SECONDS = 366 * 86_400
HIGHEST_VIP_LEVEL = 9

Row = TypeVar("Row", bound=models.Model)


class Backdated(Refused):
    """A parameter would change the past."""

    code = "backdated"


class AlreadyPublished(Refused):
    """There is a row of this scope from this very instant."""

    code = "already_published"


class BadParameter(Refused):
    """A value that no parameter of its kind can have."""

    code = "bad_parameter"


class NotYourClient(Refused):
    code = "not_your_client"


def publish(row: Row) -> Row:
    """Write the row, or say that its scope has one from that instant."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        if not isinstance(error.__cause__, errors.UniqueViolation):
            raise
        raise AlreadyPublished(
            tell("There is already a row from that very instant: {row}.", row=row)
        ) from error
    return row


def starts_at(effective_at: datetime | None, at: datetime) -> datetime:
    """When a publication takes effect; None is as soon as it is made.

    Raises:
        Backdated: before `at`.
    """
    if effective_at is None:
        return at
    if effective_at < at:
        raise Backdated(
            tell(
                "{effective_at:%Y-%m-%d %H:%M:%S} UTC is before {at:%Y-%m-%d %H:%M:%S} UTC;"
                " parameters cannot be backdated.",
                effective_at=effective_at,
                at=at,
            )
        )
    return effective_at


def known_product(code: str) -> str:
    """The product's code, or BadParameter."""
    if code not in ProductCode.values:
        raise BadParameter(tell("There is no product {code!r}.", code=code))
    return code


def known_asset(asset: Asset | str) -> str:
    """The coin's symbol, or BadParameter."""
    symbol: str = asset.pk if isinstance(asset, Asset) else asset
    if not Asset.objects.filter(pk=symbol).exists():
        raise BadParameter(tell("There is no asset {symbol!r}.", symbol=symbol))
    return symbol


def check_whole(name: str, value: int, *, least: int, most: int) -> None:
    """A whole number within its bounds."""
    if not least <= value <= most:
        raise BadParameter(
            tell(
                "{name} must be {least} to {most}, not {value}.",
                name=name,
                least=least,
                most=most,
                value=value,
            )
        )


def check_rate(name: str, value: Decimal, *, bound: Decimal = RATE_BOUND) -> None:
    """A fraction from 0 to below `bound`, at most 12 decimals."""
    _check_number(name, value, bound=bound, places=RATE_PLACES)


def check_usd(name: str, value: Decimal) -> None:
    """An amount in USD from 0 to below 10^18, at most 18 decimals."""
    _check_number(name, value, bound=USD_BOUND, places=USD_PLACES)


def _check_number(name: str, value: Decimal, *, bound: Decimal, places: int) -> None:
    """What the column would round, or take although it is no number, is refused instead."""
    if not value.is_finite() or not 0 <= value < bound or value != round_down(value, places):
        raise BadParameter(
            tell(
                "{name} must be 0 to below {bound} with at most {places} decimals, not {value}.",
                name=name,
                bound=bound,
                places=places,
                value=value,
            )
        )


def refuse_strange_manager(actor: Actor, customer: Customer | None) -> None:
    """A VIP manager sets terms for their own clients, and for nobody else (R-ADM-01, R-ADM-02).

    Raises:
        NotYourClient: the actor is a VIP manager, and not this customer's.
    """
    if actor.user_id is None:
        return
    is_manager = User.objects.filter(pk=actor.user_id, role=User.Role.VIP_MANAGER).exists()
    if is_manager and (customer is None or customer.manager_id != actor.user_id):
        whose = tell("the whole product") if customer is None else str(customer)
        raise NotYourClient(
            tell(
                "{whose} is not your client: a VIP manager sets terms for their own clients only.",
                whose=whose,
            )
        )
