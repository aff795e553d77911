"""Publish what a coin is redeemed for: a wrapped, staked or pegged coin is worth its ratio, not its thin market.

On 10 October 2025 a staked coin traded at -88 % on one book while it could be redeemed at full value, and collateral
was sold at that price. And on 10 March 2026 another desk's ratio and the time it was of went out of step, and sound
positions were sold: so here a ratio and its time are one row, a row moves a ratio by very little, and what it would do
to every group is looked at before a second person releases it (R-FTR-21).
"""

from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Q

from accounts.commands import Actor, FourEyes, command
from accounts.models import Asset
from accounts.money import exact, round_down
from accounts.words import tell
from risk.models import Redemption
from risk.parameters.checks import BadParameter, known_asset, publish, starts_at

RATIO_PLACES = 18
RATIO_BOUND = Decimal(10) ** 9  # exclusive
# A staking reward is some hundredths of a per cent a day. What moves more at once is a slip, or goes in steps.
MOST_MOVE = Decimal("0.01")
# Two at once would each miss the chain that the other makes.
PUBLISHING = 0x7265_6465  # any number that no other advisory lock uses


@command("risk.publish_redemption", returns=Redemption, four_eyes=FourEyes())
def publish_redemption(
    *,
    asset: Asset | str,
    underlying: Asset | str,
    ratio: Decimal | None,
    effective_at: datetime | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Redemption:
    """Publish how much of `underlying` one `asset` is redeemed for; None: from then on its own market counts again.

    A ratio is above 0, has at most 18 decimals, and is within 1 % of the ratios that stand before and after it, if
    any. What a coin is redeemed for cannot be redeemed itself, nor can a coin that another is redeemed for (R-FTR-21).

    Raises:
        Backdated, AlreadyPublished, BadParameter: and then nothing is published.
    """
    starts = starts_at(effective_at, at)
    coin, base = known_asset(asset), known_asset(underlying)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PUBLISHING])
    if coin == base:
        raise BadParameter(tell("{coin} cannot be redeemed for itself.", coin=coin))
    before = _last(Q(asset=coin, effective_at__lte=starts))
    if ratio is None:
        if before is None or before.ratio is None:
            raise BadParameter(
                tell(
                    "{coin} has no redemption ratio at {starts:%Y-%m-%d %H:%M} UTC that could end.",
                    coin=coin,
                    starts=starts,
                )
            )
        if before.underlying_id != base:
            raise BadParameter(
                tell(
                    "{coin} is redeemed for {underlying}, not for {base}.",
                    coin=coin,
                    underlying=before.underlying_id,
                    base=base,
                )
            )
    else:
        _check_ratio(ratio)
        _refuse_chain(coin, base, starts)
        _refuse_leaps(coin, base, ratio, starts)
    return publish(Redemption(asset_id=coin, underlying_id=base, effective_at=starts, ratio=ratio))


def _check_ratio(ratio: Decimal) -> None:
    if not ratio.is_finite() or not 0 < ratio < RATIO_BOUND or ratio != round_down(ratio, RATIO_PLACES):
        raise BadParameter(
            tell(
                "A ratio is above 0 and below {ratio_bound} with at most {ratio_places} decimals, not"
                " {ratio}.",
                ratio_bound=RATIO_BOUND,
                ratio_places=RATIO_PLACES,
                ratio=ratio,
            )
        )


def _refuse_chain(coin: str, base: str, starts: datetime) -> None:
    """A chain would be as old as its oldest link and as wrong as all of them; a cycle would have no price at all."""
    if _is_redeemed(Q(asset=base), starts):
        raise BadParameter(
            tell(
                "{base} is redeemed for another coin itself; redeem {coin} for that one.",
                base=base,
                coin=coin,
            )
        )
    if _is_redeemed(Q(underlying=coin), starts):
        raise BadParameter(
            tell("Another coin is redeemed for {coin}, so {coin} must have a price of its own.", coin=coin)
        )


def _is_redeemed(of: Q, starts: datetime) -> bool:
    """In force at `starts` or published for later."""
    if Redemption.objects.filter(of, ratio__isnull=False, effective_at__gt=starts).exists():
        return True
    past = Redemption.objects.filter(effective_at__lte=starts)
    latest = past.order_by("asset_id", "-effective_at").distinct("asset_id").values("pk")
    return Redemption.objects.filter(of, pk__in=latest, ratio__isnull=False).exists()


def _refuse_leaps(coin: str, base: str, ratio: Decimal, starts: datetime) -> None:
    """Beside what is in force then and what comes next; and beside the last ratio there was, so that ending it is no
    way round the bound.
    """
    own = Q(asset=coin, ratio__isnull=False)
    last = _last(own & Q(effective_at__lte=starts))
    coming = Redemption.objects.filter(own, effective_at__gt=starts).order_by("effective_at").first()
    in_force = _last(Q(asset=coin, effective_at__lte=starts))
    for other in (last, coming):
        if other is None:
            continue
        if other.underlying_id == base:
            _refuse_leap(ratio, other)
        elif other in (coming, in_force):
            raise BadParameter(
                tell(
                    "{coin} is redeemed for {underlying} from {effective_at:%Y-%m-%d %H:%M} UTC; end"
                    " that first.",
                    coin=coin,
                    underlying=other.underlying_id,
                    effective_at=other.effective_at,
                )
            )


def _last(of: Q) -> Redemption | None:
    return Redemption.objects.filter(of).order_by("-effective_at").first()


@exact
def _refuse_leap(ratio: Decimal, other: Redemption) -> None:
    assert other.ratio is not None, "only rows with a ratio are compared"
    if abs(ratio - other.ratio) > MOST_MOVE * other.ratio:
        raise BadParameter(
            tell(
                "{ratio:f} is more than {most_move:.0%} from the ratio {ratio2:f} of"
                " {effective_at:%Y-%m-%d %H:%M} UTC; a larger move takes several publications.",
                ratio=ratio.normalize(),
                most_move=MOST_MOVE,
                ratio2=other.ratio.normalize(),
                effective_at=other.effective_at,
            )
        )
