"""Bring the assets in the database in line with a catalogue. Never deletes: a coin once known may be owed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from accounts.catalogue import Coin
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Asset, LedgerAccount

CHANGEABLE = [field.name for field in fields(Coin) if field.name != "symbol"]


class PlacesInUse(Refused):
    """An asset's places cannot change once money was booked at them: earlier amounts would be misread."""

    code = "places_in_use"


@dataclass(frozen=True, slots=True)
class Loaded:
    created: int
    updated: int
    unchanged: int


@command("assets.load")
def load(*, coins: Sequence[Coin], actor: Actor, at: datetime) -> Loaded:
    """Add the new coins and change what differs, all or nothing.

    Raises:
        PlacesInUse: a coin with ledger accounts would get other places.
    """
    # FOR UPDATE keeps anyone from opening the first ledger account of a coin while its places change.
    known = Asset.objects.select_for_update().order_by("symbol").in_bulk([coin.symbol for coin in coins])
    created = [coin for coin in coins if coin.symbol not in known]
    updated = [coin for coin in coins if coin.symbol in known and _differs(coin, known[coin.symbol])]
    _refuse_changed_places(updated, known)
    Asset.objects.bulk_create([_asset(coin) for coin in created])
    Asset.objects.bulk_update([_asset(coin) for coin in updated], CHANGEABLE)
    return Loaded(
        created=len(created), updated=len(updated), unchanged=len(coins) - len(created) - len(updated)
    )


def _differs(coin: Coin, asset: Asset) -> bool:
    return any(getattr(coin, name) != getattr(asset, name) for name in CHANGEABLE)


def _asset(coin: Coin) -> Asset:
    return Asset(symbol=coin.symbol, **{name: getattr(coin, name) for name in CHANGEABLE})


def _refuse_changed_places(coins: Sequence[Coin], known: dict[str, Asset]) -> None:
    changed = {coin.symbol: coin.places for coin in coins if coin.places != known[coin.symbol].places}
    used = LedgerAccount.objects.filter(asset__in=changed).order_by("asset_id")
    symbol = used.values_list("asset_id", flat=True).first()
    if symbol is not None:
        raise PlacesInUse(
            f"{symbol} is booked at {known[symbol].places} places and has ledger accounts; "
            f"it cannot change to {changed[symbol]} places. Nothing was changed."
        )
