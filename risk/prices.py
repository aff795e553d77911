"""What the desk believes a coin is worth, and how sure it is.

Ticks come from a feed. What is no price at all is turned away at the door; what is a price but hard to believe
is kept in quarantine, where nothing uses it, until a second tick agrees (risk/price_gate.py, R-GEN-21). Everyone who
values anything asks `latest`, and what an old or doubted price forbids is R-GEN-22.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Max

from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.money import round_down
from accounts.words import tell
from risk import observations, price_gate
from risk.feeds import Tick
from risk.models import Price
from risk.observations import END_OF_TIME, PLACES, UNIT, PriceState
from risk.price_feed import feed, walks

__all__ = [
    "BY_HAND",
    "PLACES",
    "UNIT",
    "BadManualPrice",
    "PriceState",
    "Quote",
    "feed",
    "latest",
    "newest_after",
    "record",
    "record_by_hand",
    "walks",
]

# Serialises `record`: two at once would each judge a jump against a price that the other has just replaced.
RECORDING = 0x7072_6963  # any number that no other advisory lock uses

BY_HAND = "manual"  # the source of a price that two people set
LONGEST_PRICE_REASON = 120  # the width of the column


class BadManualPrice(Refused):
    code = "bad_manual_price"


@dataclass(frozen=True, slots=True)
class Quote:
    """The last good price of an asset in USD, the row it is, and whether it may be decided on."""

    price_id: int
    asset: str
    price: Decimal
    observed_at: datetime
    state: PriceState

    @property
    def fresh(self) -> bool:
        return self.state == PriceState.FRESH


def latest(*, at: datetime, assets: Iterable[str] | None = None) -> dict[str, Quote]:
    """The last good price known at `at` of each asset that has one: of all assets, or of those named.

    One query, whatever the number of assets and prices (R-GEN-21, R-GEN-22).
    """
    return {
        found.asset: Quote(
            price_id=found.good_id,
            asset=found.asset,
            price=found.good,
            observed_at=found.good_at,
            state=observations.state_of(found, at),
        )
        for found in observations.newest(at, assets)
        if found.good_id is not None and found.good is not None and found.good_at is not None
    }


def newest_after(at: datetime, *, until: datetime, assets: Iterable[str]) -> datetime | None:
    """When the latest price of these, of those after `at` and up to `until`, was observed; None without one.

    A doubted one is news too: what it casts doubt on is not to be sold at the price before it (R-GEN-22).
    """
    later = Price.objects.filter(asset__in=list(assets), observed_at__gt=at, observed_at__lte=until)
    newest: datetime | None = later.aggregate(Max("observed_at"))["observed_at__max"]
    return newest


def record(ticks: Iterable[Tick], *, at: datetime) -> list[Price]:
    """Keep what `ticks` say, as good or in quarantine, and return the rows made (R-GEN-20, 21; TRUST E20…E22).

    Turned away and only logged: no positive finite price below 10^12 USD, observed more than 5 s after `at` or
    before the asset's newest observation, or of no known asset. The newest observation again is no news.
    A tick that says what several sources said becomes their median. In quarantine: sources that disagree or are too
    few, outside or on the floor, above the ceiling, the same for too long, or a jump of more than `max_jump` from the
    last good price that nothing confirms (`consensus.doubt`). A coin with a redemption ratio in force is recorded
    with what it is redeemed for, and never from its own ticks (R-FTR-21). Prices keep 18 decimals, rounded down. A
    constant number of queries.
    """
    ticks = list(ticks)  # The feed may be a network: ask it before, not under, the lock.
    if not ticks:
        return []
    with transaction.atomic():
        _lock()
        return Price.objects.bulk_create(list(price_gate.judged(ticks, at)))


@command("prices.record_by_hand", returns=Price, four_eyes=FourEyes())
def record_by_hand(
    *, asset: str, price: Decimal, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Price:
    """Two people say what a coin is worth in USD, when the feed does not or is not believed (R-ADM-03).

    It counts as one good observation of `at`: floor, ceiling and largest jump do not apply, and it ages like any.
    Coins that are redeemed for it follow it (R-FTR-21).

    Raises:
        BadManualPrice: no such coin, no price, without a reason, or not after the newest observation.
    """
    fault = price_gate.fault(Tick(asset, price, at, BY_HAND), at)
    if fault:
        raise BadManualPrice(tell("This is no price of {asset}: {fault}.", asset=asset, fault=fault))
    if not reason.strip():
        raise BadManualPrice(tell("A price set by hand needs a reason."))
    _lock()
    before = next(iter(observations.newest(END_OF_TIME, [asset])), None)
    if before is None:
        raise BadManualPrice(tell("There is no asset {asset!r}.", asset=asset))
    if before.newest_at is not None and before.newest_at >= at:
        raise BadManualPrice(
            tell(
                "{asset} has a price of {newest_at:%Y-%m-%d %H:%M:%S} UTC already; try again.",
                asset=asset,
                newest_at=before.newest_at,
            )
        )
    row = Price.objects.create(
        asset_id=asset,
        price=round_down(price, PLACES),
        observed_at=at,
        source=BY_HAND,
        status=Price.Status.GOOD,
        reason=reason.strip()[:LONGEST_PRICE_REASON],
    )
    Price.objects.bulk_create(price_gate.following(row, at=at))
    return row


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RECORDING])
