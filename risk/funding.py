"""Where the pools' coins come from: tranches of our own capital or of a lender's, what they cost, giving them back.

R-ADM-12. A tranche's principal and unpaid cost are the sums of its entries. Cost is charged at each 00:00 UTC on the
principal at it, by the function that charges debts; every command first books what is due, so a late job writes the
rows of a punctual one. What a pool was given before there were tranches is capital too, in no tranche.

    event       debit          credit
    fund        pool           lenders (or capital)
    charge      cost_of_funds  cost_owed
    pay         cost_owed      pool
    give back   lenders (or capital)   pool
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Max, QuerySet, Sum

from accounts import books, ledger
from accounts.commands import Actor, Arguments, FourEyes, acting, command
from accounts.errors import BadAmount, Refused
from accounts.models import Asset, JournalEntry, LedgerAccount
from accounts.money import MAX_AMOUNT, RATE_PLACES, ZERO, round_down
from accounts.words import joined, tell
from risk.insurance import FINANCE, CapitalTooSmall, check_amount, in_usd
from risk.interest import daily_charge, midnights
from risk.models import Tranche, TrancheEntry

logger = logging.getLogger(__name__)

JOB: Final = Actor.job("cost-of-funds")
LONGEST_NAME: Final = 120  # characters; the width of the column
TOP_RATE: Final = Decimal(10)  # exclusive: 1,000 % a year
Kind = TrancheEntry.Kind


class BadFunding(Refused):
    """A lender, rate, date or amount that no funding can have; the message says which."""

    code = "bad_funding"


class TrancheClosed(Refused):
    code = "tranche_closed"


class PoolTooSmall(Refused):
    """The coins are lent out; the pool may not be overdrawn."""

    code = "pool_too_small"


class CostsIncomplete(Exception):
    """Some tranches could not be charged; all others were. Not a refusal: somebody must look."""


@dataclass(frozen=True, slots=True)
class Owed:
    """What is left of a tranche, in its coin: principal, and cost that is charged and not paid."""

    principal: Decimal
    cost: Decimal


def _worth_of_fund(arguments: Arguments) -> Decimal | None:
    return in_usd(arguments["asset"], arguments["amount"], at=arguments["at"])


def _worth_of_drawing(arguments: Arguments) -> Decimal | None:
    """The USD that leave the pool: the principal given back, and the cost that is paid before it."""
    return _worth_leaving(arguments, lambda amount, owed: (amount or owed.principal) + owed.cost)


def _worth_of_paying(arguments: Arguments) -> Decimal | None:
    return _worth_leaving(arguments, lambda amount, owed: amount or owed.cost)


def _worth_leaving(
    arguments: Arguments, leaving: Callable[[Decimal | None, Owed], Decimal]
) -> Decimal | None:
    tranche = Tranche.objects.select_related("asset").filter(pk=arguments["tranche_id"]).first()
    if tranche is None:
        return None
    owed, at = owed_on(tranche), arguments["at"]
    cost = sum((cost for _, cost in pending(tranche, at=at)), owed.cost)  # what is due is booked first
    amount = leaving(arguments.get("amount"), Owed(principal=owed.principal, cost=cost))
    return in_usd(tranche.asset_id, amount, at=at)


def _finance(worth: Callable[[Arguments], Decimal | None]) -> FourEyes:
    return FourEyes(makers=FINANCE, checkers=FINANCE, worth=worth)


# --- Commands ---------------------------------------------------------------------------------------


@command("funding.fund", returns=Tranche, four_eyes=_finance(_worth_of_fund))
def fund(
    *,
    asset: str,
    amount: Decimal,
    actor: Actor,
    at: datetime,
    lender: str = "",
    annual_rate: Decimal = ZERO,
    matures_at: datetime | None = None,
    key: str = "",
    reason: str = "",
) -> Tranche:
    """Put `amount` of a coin into its pool: our own capital, or what `lender` lends us at `annual_rate`. R-ADM-12

    The rate is a yearly fraction; `matures_at` None: until it is given back.

    Raises:
        BadAmount: not more than 0, or finer than the coin's places.
        BadFunding: a coin we do not lend, own capital with a rate, no such rate or name, or it matures in the past.
    """
    check_amount(asset, amount)
    if amount >= MAX_AMOUNT:
        raise BadAmount(tell("An amount is below 10^18."))
    if not Asset.objects.filter(pk=asset, loanable=True).exists():
        raise BadFunding(tell("The desk does not lend {asset}, so it has no pool to fund.", asset=asset))
    lender = lender.strip()
    _refuse_bad(lender=lender, annual_rate=annual_rate, matures_at=matures_at, at=at)
    tranche = Tranche.objects.create(
        asset_id=asset, lender=lender, annual_rate=annual_rate, opened_at=at, matures_at=matures_at
    )
    line = ledger.Line(debit=books.pool(asset), credit=source(tranche), amount=amount)
    entry = ledger.post(kind="funding", reference=_reference(tranche, Kind.FUND), lines=[line], at=at)
    TrancheEntry.objects.create(tranche=tranche, entry=entry, kind=Kind.FUND, at=at, principal=amount)
    return tranche


@command("funding.draw", returns=Tranche, four_eyes=_finance(_worth_of_drawing))
def draw(
    *,
    tranche_id: int,
    actor: Actor,
    at: datetime,
    amount: Decimal | None = None,
    key: str = "",
    reason: str = "",
) -> Tranche:
    """Give back `amount` of a tranche's principal, or all that is left; the cost owed by then is paid first. R-ADM-12

    Raises:
        TrancheClosed: nothing is left of it.
        BadAmount, BadFunding: no amount, more than is left, or dated before its last entry.
        PoolTooSmall: the coins are lent out. CapitalTooSmall: they are set aside in the insurance fund.
    """
    tranche = _locked(tranche_id, at=at)
    book_due(tranche, at=at)
    owed = owed_on(tranche)
    amount = owed.principal if amount is None else amount
    check_amount(tranche.asset_id, amount)
    if amount > owed.principal:
        raise BadFunding(
            tell(
                "{tranche} has {principal:f} {asset} left; {amount:f} cannot be given back.",
                tranche=tranche,
                principal=owed.principal,
                asset=tranche.asset_id,
                amount=amount,
            )
        )
    _refuse_short(tranche, amount + owed.cost, capital=ZERO if tranche.lender else amount)
    lines = [_paid(tranche, owed.cost), ledger.Line(source(tranche), books.pool(tranche.asset_id), amount)]
    entry = ledger.post(kind="funding", reference=_reference(tranche, Kind.DRAW), lines=lines, at=at)
    _keep_paid(tranche, entry, owed.cost, at=at)
    TrancheEntry.objects.create(tranche=tranche, entry=entry, kind=Kind.DRAW, at=at, principal=-amount)
    if amount == owed.principal:
        tranche.closed_at = at
        tranche.save(update_fields=["closed_at"])
    return tranche


@command("funding.pay_cost", returns=Tranche, four_eyes=_finance(_worth_of_paying))
def pay_cost(
    *,
    tranche_id: int,
    actor: Actor,
    at: datetime,
    amount: Decimal | None = None,
    key: str = "",
    reason: str = "",
) -> Tranche:
    """Pay `amount` of the cost a lender is owed, or all of it, out of the pool. R-ADM-12

    Raises:
        TrancheClosed, BadAmount, BadFunding, PoolTooSmall: as `draw`; also when no cost is owed.
    """
    tranche = _locked(tranche_id, at=at)
    book_due(tranche, at=at)
    cost = owed_on(tranche).cost
    if cost == 0:
        raise BadFunding(
            tell("No cost is owed on {tranche} now; it is charged at 00:00 UTC.", tranche=tranche)
        )
    amount = cost if amount is None else amount
    check_amount(tranche.asset_id, amount)
    if amount > cost:
        raise BadFunding(
            tell(
                "{cost:f} {asset} of cost is owed on {tranche}; {amount:f} is more.",
                cost=cost,
                asset=tranche.asset_id,
                tranche=tranche,
                amount=amount,
            )
        )
    _refuse_short(tranche, amount)
    lines = [_paid(tranche, amount)]
    entry = ledger.post(kind="funding", reference=_reference(tranche, Kind.PAY), lines=lines, at=at)
    _keep_paid(tranche, entry, amount, at=at)
    return tranche


# --- Cost -------------------------------------------------------------------------------------------


def accrue_costs(*, at: datetime) -> int:
    """Charge every 00:00 UTC that is due at `at`, once; returns how many charges were booked. R-ADM-12

    A tranche that a command holds is left to it, since it books what is due first, or to the next run.

    Raises:
        CostsIncomplete: names the tranches that failed, after all others were charged.
    """
    booked, failed = 0, []
    for pk in list(_charged().order_by("pk").values_list("pk", flat=True)):
        try:
            with acting(JOB):
                rows = _charged().select_related("asset").filter(pk=pk)
                tranche = rows.select_for_update(of=("self",), no_key=True, skip_locked=True).first()
                booked += 0 if tranche is None else book_due(tranche, at=at)
        except Exception:  # one bad tranche must not shield the others
            logger.exception("the cost of tranche %s could not be charged", pk)
            failed.append(pk)
    if failed:
        raise CostsIncomplete(failed)
    return booked


def still_to_charge(through: datetime) -> list[str]:
    """What keeps the books until `through`, a 00:00 UTC, from being closed: cost that is not booked yet (R-ADM-11)."""
    rows = _charged().select_related("asset").filter(opened_at__lt=through).order_by("pk")
    behind = [str(tranche) for tranche in rows if pending(tranche, at=through)]
    if not behind:
        return []
    return [
        tell(
            "the cost of {count} tranche(s) of funding, such as {behind}, until then",
            count=len(behind),
            behind=joined(", ", behind[:3]),
        )
    ]


def book_due(tranche: Tranche, *, at: datetime) -> int:
    """Book every charge due at or before `at`: one journal entry per 00:00 UTC. The tranche must be locked."""
    due = pending(tranche, at=at)
    asset = tranche.asset_id
    for instant, cost in due:
        line = ledger.Line(debit=books.cost_of_funds(asset), credit=books.cost_owed(asset), amount=cost)
        reference = f"funding:{tranche.pk}:cost:{instant:%Y-%m-%d}"
        entry = ledger.post(kind="cost_of_funds", reference=reference, lines=[line], at=instant)
        TrancheEntry.objects.create(
            tranche=tranche, entry=entry, kind=Kind.CHARGE, at=instant, cost=cost, day_end=instant
        )
    return len(due)


def pending(tranche: Tranche, *, at: datetime) -> list[tuple[datetime, Decimal]]:
    """The charges due at `at` and not booked yet: each 00:00 UTC with its cost, which rounds up. R-GEN-02, R-GEN-03

    Between two bookings the principal stands still, because whatever moves it books first.
    """
    if tranche.annual_rate == 0 or tranche.closed_at is not None:
        return []
    charged = tranche.entries.filter(kind=Kind.CHARGE).aggregate(last=Max("day_end"))["last"]
    cost = daily_charge(
        principal=owed_on(tranche).principal,
        annual_rate=tranche.annual_rate,
        places=tranche.asset.places,
    ).interest
    return [(instant, cost) for instant in midnights(after=charged or tranche.opened_at, until=at)]


def owed_on(tranche: Tranche) -> Owed:
    """What is booked as left of a tranche."""
    sums = tranche.entries.aggregate(principal=Sum("principal"), cost=Sum("cost"))
    return Owed(principal=sums["principal"] or ZERO, cost=sums["cost"] or ZERO)


def source(tranche: Tranche) -> LedgerAccount:
    """Whose money it is: the lenders' account, or our capital."""
    return books.lenders(tranche.asset_id) if tranche.lender else books.capital(tranche.asset_id)


# --- Private ----------------------------------------------------------------------------------------


def _charged() -> QuerySet[Tranche]:
    return Tranche.objects.filter(closed_at__isnull=True, annual_rate__gt=0)


def _locked(tranche_id: int, *, at: datetime) -> Tranche:
    """The tranche, so that of two who draw at once the second sees what the first has left."""
    rows = Tranche.objects.select_related("asset").filter(pk=tranche_id)
    tranche = rows.select_for_update(of=("self",), no_key=True).first()
    if tranche is None:
        raise BadFunding(tell("There is no tranche {tranche}.", tranche=tranche_id))
    if tranche.closed_at is not None:
        raise TrancheClosed(
            tell(
                "{tranche} was given back on {closed_at:%-d %B %Y, %H:%M} UTC.",
                tranche=tranche,
                closed_at=tranche.closed_at,
            )
        )
    last = tranche.entries.aggregate(last=Max("at"))["last"]
    if last is not None and at < last:
        raise BadFunding(
            tell(
                "{tranche} has an entry of {last:%Y-%m-%d %H:%M} UTC; nothing is booked before it.",
                tranche=tranche,
                last=last,
            )
        )
    return tranche


def _refuse_bad(*, lender: str, annual_rate: Decimal, matures_at: datetime | None, at: datetime) -> None:
    if len(lender) > LONGEST_NAME or (lender and not lender.isprintable()):
        raise BadFunding(
            tell(
                "A lender's name is one line of at most {longest_name} characters.", longest_name=LONGEST_NAME
            )
        )
    if not (
        annual_rate.is_finite()
        and 0 <= annual_rate < TOP_RATE
        and annual_rate == round_down(annual_rate, RATE_PLACES)
    ):
        raise BadFunding(
            tell("A rate is a fraction from 0 to below 10 with at most 12 decimals: 0.05 is 5 %.")
        )
    if not lender and annual_rate != 0:
        raise BadFunding(tell("Our own capital costs nothing; name the lender who asks for a rate."))
    if matures_at is not None and matures_at <= at:
        raise BadFunding(tell("A tranche matures in the future; leave the date empty when it has none."))


def _refuse_short(tranche: Tranche, amount: Decimal, *, capital: Decimal = ZERO) -> None:
    """In words, before the posting; two at once are refused by the ledger, which keeps both at 0 or more."""
    asset = tranche.asset_id
    free, held = books.pool(asset).balance, books.capital(asset).balance
    if amount > free:
        raise PoolTooSmall(
            tell(
                "The pool holds {free:f} {asset} and {amount:f} is needed; the rest is lent out. Take"
                " less, or fund the pool first.",
                free=free,
                asset=asset,
                amount=amount,
            )
        )
    if capital > held:
        raise CapitalTooSmall(
            tell(
                "Capital holds {held:f} {asset}; the rest is set aside in the insurance fund. Draw it"
                " back first.",
                held=held,
                asset=asset,
            )
        )


def _paid(tranche: Tranche, cost: Decimal) -> ledger.Line:
    return ledger.Line(books.cost_owed(tranche.asset_id), books.pool(tranche.asset_id), cost)


def _keep_paid(tranche: Tranche, entry: JournalEntry, cost: Decimal, *, at: datetime) -> None:
    if cost:
        TrancheEntry.objects.create(tranche=tranche, entry=entry, kind=Kind.PAY, at=at, cost=-cost)


def _reference(tranche: Tranche, kind: Kind) -> str:
    """Unique under the tranche's lock: its entries only grow."""
    return f"funding:{tranche.pk}:{kind}:{tranche.entries.count()}"
