"""Coins that the market is too thin for: the house takes them over and works them off by itself (R-GEN-79).

Of a coin with a market depth in force, liquidations sell at most a share of its 24-hour volume in 24 hours. What
is above goes to the house at the very same price, so the borrower is treated alike and the house bears the
market; it lies in `workout` until finance releases it to the pool. A coin without a depth has no limit.

    event      debit     credit
    takeover   workout   position     (risk/sales.py; the wallet's side is as in any seizure)
    release    pool      workout
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import DecimalField, ExpressionWrapper, F, Sum

from accounts import books, ledger
from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.exchange import Fill
from accounts.models import Asset, JournalEntry, User
from accounts.money import ZERO, divide_down, exact, round_down
from accounts.words import tell
from risk.models import MarketDepth, Sale

NETTING, TAKEOVER = "netting", "takeover"  # venues that are no market
SPAN = timedelta(hours=24)
RELEASE = "workout_release"  # the kind of its journal entries


class BadRelease(Refused):
    """Not an amount that is there to release."""

    code = "bad_release"


@dataclass(frozen=True, slots=True)
class Piece:
    """What one account gives of a sale, to the market or to the house."""

    uid: int
    amount: Decimal
    venue: str

    @property
    def taken_over(self) -> bool:
        return self.venue == TAKEOVER


def split(
    *,
    coin: str,
    taken: Sequence[tuple[int, Decimal]],
    fill: Fill,
    at: datetime,
    unsaved: Sequence[Sale] | None,
) -> list[Piece]:
    """A sale of `coin`, by account, divided into what the market takes and what the house does. R-GEN-79

    Accounts come to the market in their order. The limit is soft between two liquidations at one instant: each
    counts what is committed. `unsaved`: sales of this liquidation that are not written yet; None for a coin that
    surely has no depth.
    """
    room = None
    if unsaved is not None and fill.venue != NETTING:
        room = room_for(coin, price=fill.price, at=at, unsaved=unsaved)
    pieces = []
    for uid, amount in taken:
        sold = amount if room is None else min(amount, room)
        room = None if room is None else room - sold
        pieces += [
            Piece(uid, part, venue) for part, venue in ((sold, fill.venue), (amount - sold, TAKEOVER)) if part
        ]
    return pieces


def attributed(amount: Decimal, pieces: Sequence[Piece], places: int) -> Iterator[Decimal]:
    """`amount` divided as the coins were, to the last unit: each share is what the running total grows by."""
    total = sum((piece.amount for piece in pieces), ZERO)
    running = given = ZERO
    for piece in pieces:
        running += piece.amount
        upto = divide_down(amount * running, total, places)
        yield upto - given
        given = upto


@exact
def room_for(coin: str, *, price: Decimal, at: datetime, unsaved: Sequence[Sale] = ()) -> Decimal | None:
    """How much of the coin its market still takes, down at its places; None without a limit."""
    depths = MarketDepth.objects.filter(asset=coin, effective_at__lte=at).select_related("asset")
    depth = depths.order_by("-effective_at").first()
    if depth is None:
        return None
    left = depth.max_share * depth.volume_usd - sold_usd(coin, since=at - SPAN, until=at, unsaved=unsaved)
    return divide_down(max(left, ZERO), price, depth.asset.places)


@exact
def sold_usd(
    coin: str, *, since: datetime, until: datetime | None = None, unsaved: Sequence[Sale] = ()
) -> Decimal:
    """What liquidations sold of it to the market after `since`, and not after `until`, at the prices they got."""
    rows = Sale.objects.filter(coin=coin, at__gt=since).exclude(venue__in=[NETTING, TAKEOVER])
    if until is not None:
        rows = rows.filter(at__lte=until)
    worth = ExpressionWrapper(F("sold") * F("price"), output_field=DecimalField())
    total: Decimal = rows.aggregate(total=Sum(worth, default=ZERO))["total"]
    now = [sale for sale in unsaved if sale.coin_id == coin and sale.venue not in (NETTING, TAKEOVER)]
    return total + sum((sale.sold * sale.price for sale in now), ZERO)


# --- Back to the pool ---------------------------------------------------------------------------------------


@command(
    "risk.release_workout",
    returns=JournalEntry,
    four_eyes=FourEyes(makers=frozenset({User.Role.FINANCE}), needed=lambda _: False),
)
def release_workout(
    *, asset: str, amount: Decimal, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> JournalEntry:
    """Give coins that were worked off, or may be lent, to the pool. For finance alone. R-GEN-79

    Raises:
        NotYourRole: a person who is not of finance.
        BadRelease: not more than nothing, finer than the coin, or more than lies there; nothing moved.
        ledger.AlreadyPosted, ledger.Overdrawn: somebody else released of it at the same instant; nothing moved.
    """
    coin = Asset.objects.filter(symbol=asset).first()
    if coin is None:
        raise BadRelease(tell("There is no coin {asset!r}.", asset=asset))
    if amount <= 0 or round_down(amount, coin.places) != amount:
        raise BadRelease(
            tell("Release an amount above 0 with at most {places} decimals.", places=coin.places)
        )
    workout = books.workout(coin)
    if amount > workout.balance:
        raise BadRelease(
            tell(
                "Only {balance:f} {coin} lie in workout; {amount:f} cannot be released.",
                balance=workout.balance,
                coin=coin,
                amount=amount,
            )
        )
    number = JournalEntry.objects.filter(kind=RELEASE).count() + 1
    line = ledger.Line(debit=books.pool(coin), credit=workout, amount=amount)
    return ledger.post(kind=RELEASE, reference=f"workout:{coin}:{number}", lines=[line], at=at)
