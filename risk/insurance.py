"""The insurance fund: what finance sets aside of its own capital, per coin, to settle residual debts (R-GEN-78, CX-9).

The fund is a claim on the pool, not a pile of coins: setting aside moves capital's claim to the fund's and no coin,
and settling a debt uses it up (risk/residual.py). It can never owe anything: the database keeps it at 0 or more.

    event       debit        credit       debt
    set aside   capital      insurance
    drawn back  insurance    capital
    settlement  insurance    late_fee, interest, principal   -late_fee, -interest, -principal
"""

from datetime import datetime
from decimal import Decimal

from accounts import books, ledger
from accounts.commands import Actor, Arguments, FourEyes, command
from accounts.errors import BadAmount, Refused
from accounts.models import Asset, JournalEntry, LedgerAccount, User
from accounts.money import ZERO, exact, round_down
from accounts.words import tell
from risk import prices

FINANCE = frozenset({User.Role.FINANCE, User.Role.ADMIN})


class FundTooSmall(Refused):
    code = "insurance_fund_too_small"


class CapitalTooSmall(Refused):
    code = "capital_too_small"


def _worth(arguments: Arguments) -> Decimal | None:
    return in_usd(arguments["asset"], arguments["amount"], at=arguments["at"])


@exact
def in_usd(asset: str, amount: Decimal, *, at: datetime) -> Decimal | None:
    """At the last good price; None without one, and then a second person is asked whatever it is worth."""
    quote = prices.latest(at=at, assets=[asset]).get(asset)
    return None if quote is None else amount * quote.price


FOUR_EYES = FourEyes(makers=FINANCE, checkers=FINANCE, worth=_worth)


@command("insurance.fund", returns=JournalEntry, four_eyes=FOUR_EYES)
def fund(
    *, asset: str, amount: Decimal, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> JournalEntry:
    """Set `amount` of a coin aside from capital. R-GEN-78

    Raises:
        BadAmount: not more than 0, or finer than the coin's places.
        CapitalTooSmall: capital has less of the coin.
        ledger.Overdrawn: somebody else took it at the same moment.
    """
    check_amount(asset, amount)
    held = books.capital(asset).balance
    if amount > held:
        raise CapitalTooSmall(
            tell(
                "Capital holds {held:f} {asset}; {amount:f} cannot be set aside.",
                held=held,
                asset=asset,
                amount=amount,
            )
        )
    line = ledger.Line(debit=books.capital(asset), credit=books.insurance(asset), amount=amount)
    return ledger.post(kind="insurance", reference=_reference("set-aside", asset, at), lines=[line], at=at)


@command("insurance.draw_back", returns=JournalEntry, four_eyes=FOUR_EYES)
def draw_back(
    *, asset: str, amount: Decimal, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> JournalEntry:
    """Give `amount` of the fund back to capital. R-GEN-78

    Raises:
        BadAmount: not more than 0, or finer than the coin's places.
        FundTooSmall: the fund has less of the coin.
    """
    check_amount(asset, amount)
    refuse_more_than_fund(asset, amount)
    line = ledger.Line(debit=books.insurance(asset), credit=books.capital(asset), amount=amount)
    return ledger.post(kind="insurance", reference=_reference("drawn-back", asset, at), lines=[line], at=at)


def refuse_more_than_fund(asset: str, amount: Decimal) -> None:
    """In words, before the posting; two at once are refused by the ledger (never below 0)."""
    held = books.insurance(asset).balance
    if amount > held:
        raise FundTooSmall(
            tell(
                "The insurance fund holds {held:f} {asset}; {amount:f} is more.",
                held=held,
                asset=asset,
                amount=amount,
            )
        )


def balances() -> dict[str, Decimal]:
    """What the fund holds, by coin; coins it never held are absent."""
    rows = LedgerAccount.objects.house(LedgerAccount.Kind.INSURANCE).order_by("asset_id")
    return {row.asset_id: row.balance for row in rows}


def check_amount(asset: str, amount: Decimal) -> None:
    """Raises BadAmount for what is no amount of this coin."""
    places = Asset.objects.values_list("places", flat=True).filter(pk=asset).first()
    if places is None:
        raise BadAmount(tell("There is no coin {asset}.", asset=asset))
    if not amount.is_finite() or amount <= ZERO or amount != round_down(amount, places):
        raise BadAmount(
            tell(
                "An amount of {asset} is more than 0, with at most {places} decimals.",
                asset=asset,
                places=places,
            )
        )


def _reference(what: str, asset: str, at: datetime) -> str:
    return f"insurance:{what}:{asset}:{at.isoformat()}"
