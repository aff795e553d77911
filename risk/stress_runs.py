"""A stress of the live book: a scenario, asked on a page or a terminal, answered by reading and by nothing else.

The book is read in one snapshot of a transaction that may not write. A run asked for on a page is a row that a job
answers (`StressRun`); making one only reads, so one that a dead worker left is simply made again. R-FTR-27
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import QuerySet

from accounts.commands import Actor, acting_user, command
from accounts.errors import Refused
from accounts.models import Asset, User
from accounts.money import ONE, exact, round_down
from accounts.words import joined, kept, recalled, tell
from risk import book as groups_book
from risk import crash, exposure, parameters, regimes, shocks, stress_progress, stress_tables
from risk.book import GroupState
from risk.crash import Exactly
from risk.exposure import Exposure, Floats
from risk.models import CollateralGroup, MarketDepth, ProductCode, Redemption, StressRun
from risk.regimes import Change
from risk.shocks import Factors, Path
from risk.stress_progress import Told
from risk.valuation import Worth

logger = logging.getLogger(__name__)

WATCHERS = frozenset({User.Role.RISK_OFFICER, User.Role.ADMIN, User.Role.AUDITOR, User.Role.FINANCE})
PRICE_PLACES = 18  # of a recorded price
LONGEST_THOUGHT = 1800  # seconds
MOST_WAITING = 3  # of one person
GIVEN_UP_AFTER = timedelta(hours=1)
FAILED = tell(
    "It could not be answered: something happened that it was not made for. Ask again; if that fails too, tell an"
    " admin, who finds the reason in the log under this stress's number."
)
GIVEN_UP = tell("It could not be answered within an hour; ask for fewer steps.")


class TooManyRuns(Refused):
    code = "too_many_stress_runs"


def scenario_of(path: Path, *, late: bool = False, change: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What is asked, as it is stored. `late`: sold one step after the breach, as a second reading confirms it.

    `change` is told as risk/regimes.py::change_of reads it.
    """
    told = {"path": path.told(), "late": late, "change": dict(change) if change else None}
    memory = kept(path.title)
    return told | ({"memory": memory} if memory else {})


def refuse_unknown(coins: Iterable[str]) -> None:
    """A slip of the pen must not read as a fall that harms nobody.

    Raises:
        shocks.BadShock: the desk knows none of that name.
    """
    unknown = sorted(set(coins) - set(Asset.objects.values_list("symbol", flat=True)))
    if unknown:
        raise shocks.BadShock(
            tell(
                "The desk has no coin {unknown}; leave it out or correct it.",
                unknown=joined(", ", unknown[:5]),
            )
        )


@command("risk.ask_stress", returns=StressRun)
def ask(
    *, scenario: Mapping[str, Any], actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> StressRun:
    """Put a question about the whole book into the queue. R-FTR-27

    Raises:
        NotYourRole: neither risk officer, admin, auditor nor finance.
        shocks.BadShock, regimes.BadChange: a scenario or a change that makes no sense.
        TooManyRuns: three of this person's are being answered.
    """
    user = acting_user(actor, roles=WATCHERS, doing="stress the book")
    shocks.path_of(scenario["path"])
    if scenario["change"]:
        regimes.change_of(scenario["change"], at=at)
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if StressRun.objects.filter(asked_by=user, finished_at=None).count() >= MOST_WAITING:
        raise TooManyRuns(
            tell(
                "{most_waiting} of your stresses are being worked out; wait for one of them.",
                most_waiting=MOST_WAITING,
            )
        )
    return StressRun.objects.create(scenario=dict(scenario), asked_by=user, asked_at=at)


def visible_to(user: User) -> "QuerySet[StressRun]":
    """All of them to those who watch the book, newest first, without the answers; none to anybody else."""
    rows = StressRun.objects.select_related("asked_by").defer("result", "scenario")
    allowed = user.is_active and user.role in WATCHERS
    return (rows if allowed else rows.none()).order_by("-asked_at", "-pk")


def titles(runs: Iterable[int]) -> dict[int, str]:
    """What each of these runs asked, in words; without reading its whole course."""
    rows = StressRun.objects.filter(pk__in=list(runs))
    kept = rows.values_list("pk", "scenario__path__title", "scenario__memory")
    return {pk: recalled(title, memory) for pk, title, memory in kept}


def run_due(*, at: datetime, enough: Callable[[], bool] = lambda: False) -> int:
    """Answer what waits, oldest first, until `enough`; returns how many. One at a time, outside a transaction."""
    waiting = StressRun.objects.filter(finished_at=None).order_by("asked_at", "pk")
    done = 0
    for pk in list(waiting.values_list("pk", flat=True)):
        _answer(StressRun.objects.get(pk=pk), at=at)
        done += 1
        if enough():
            break
    return done


def answer(
    scenario: Mapping[str, Any],
    *,
    at: datetime,
    product: str = ProductCode.VIP,
    told: Told = lambda *_: None,
) -> dict[str, Any]:
    """What the scenario would do to the book as it is: plain values, ready to be stored. Writes nothing.

    `told` hears how many steps of how many are done, those under the change counted as well.

    Raises:
        shocks.BadShock, regimes.BadChange: it makes no sense, or not any more.
        parameters.NotPublished: the product has no lines.
    """
    path = shocks.path_of(scenario["path"])
    with reading():
        book = exposure.read(product=product, at=at)
        change = regimes.change_of(scenario["change"], at=at) if scenario["change"] else None
        factors = shocks.spread(path, kinds=book.kinds, follow=_redeemed(at))
        asked = [None, *([change] if change else [])]
        columns = [
            _column(
                book,
                factors,
                path.steps,
                change=one,
                late=scenario["late"],
                product=product,
                told=stress_progress.counter(told, column=column, columns=len(asked), steps=path.steps),
            )
            for column, one in enumerate(asked)
        ]
        model = _model(path, columns, late=scenario["late"], slippage=parameters.settings_at(at).slippage)
        return {
            "title": path.title,
            "memory": [kept(line) for line in model],
            "change": change.title if change else "",
            "steps": path.steps,
            "prices_at": max((one.observed_at for one in book.quotes.values()), default=at).isoformat(),
            "book": {"groups": len(book.groups), "unjudged": list(book.unjudged)},
            "moves": _moves(book, factors),
            "model": model,
            "depths": _depths(at),
            "names": _names(columns),
            "columns": columns,
        }


@contextmanager
def reading() -> Iterator[None]:
    """A transaction that cannot write, and sees one moment of the database throughout."""
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        with connection.cursor() as cursor:
            snapshot = "ISOLATION LEVEL REPEATABLE READ, " if outermost else ""
            cursor.execute(f"SET TRANSACTION {snapshot}READ ONLY")
            # Between its reads it reckons, and the database takes that for idleness. It holds nobody's lock.
            cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST_THOUGHT}s'")
        yield


# --- Private ----------------------------------------------------------------------------------------


def _answer(run: StressRun, *, at: datetime) -> None:
    result, problem = None, ""
    try:
        if at - run.asked_at > GIVEN_UP_AFTER:
            problem = GIVEN_UP
        else:
            result = answer(run.scenario, at=at, told=stress_progress.teller(run.pk))
    except Refused as refusal:
        problem = refusal.message[:200]
    except Exception:  # one that cannot be answered must not hold up the others
        logger.exception("stress run %s failed", run.pk)
        problem = FAILED
    StressRun.objects.filter(pk=run.pk, finished_at=None).update(
        result=result, problem=problem, finished_at=max(at, run.asked_at)
    )


def _column(
    book: Exposure,
    factors: Mapping[str, Factors],
    steps: int,
    *,
    change: Change | None,
    late: bool,
    product: str,
    told: Callable[[int], None],
) -> dict[str, Any]:
    regime = regimes.in_force(book, late=late, change=change, product=product)
    course = _prices(book, factors, steps)
    still = dict.fromkeys(book.coins, (ONE,))
    found = crash.fall(book, course, regime, _exactly(book, factors, change), told)
    row = _prices(book, still, 1)[0]
    today = crash.bands(book, row, regime, _exactly(book, still, change))
    now = crash.standing(book, row, regime)
    return stress_tables.table(book, found, steps=steps, today=today, now=now)


def _prices(book: Exposure, factors: Mapping[str, Factors], steps: int) -> Floats:
    """By step and coin. A coin without a price is nowhere in the book; it gets 1, so that nothing divides by 0."""
    used = set(np.unique(np.concatenate([book.held_coin, book.owed_coin])).tolist())
    found = np.ones((steps, len(book.coins)))
    for place, (coin, price) in enumerate(zip(book.coins, book.prices, strict=True)):
        if place in used and price is not None:
            found[:, place] = [float(_at(price, factor)) for factor in factors[coin]]
    return found


@exact
def _at(price: Decimal, factor: Decimal) -> Decimal:
    """The price of a step, as it would be recorded."""
    return round_down(price * factor, PRICE_PLACES)


def _exactly(book: Exposure, factors: Mapping[str, Factors], change: Change | None) -> Exactly:
    """The same worth as every decision's, on rows; groups are read once."""
    known: dict[int, GroupState] = {}

    def worths(places: Sequence[int], step: int) -> list[Worth]:
        wanted = {place: int(book.groups[place]) for place in places}
        missing = [pk for pk in wanted.values() if pk not in known]
        if missing:
            rows = CollateralGroup.objects.filter(pk__in=missing).select_related("customer").order_by("pk")
            known.update(groups_book.states(rows, at=book.at))
        return [_shocked(known[wanted[place]], factors, step, change) for place in places]

    return worths


def _shocked(state: GroupState, factors: Mapping[str, Factors], step: int, change: Change | None) -> Worth:
    quotes = {
        coin: replace(quote, price=_at(quote.price, factors[coin][min(step, len(factors[coin]) - 1)]))
        for coin, quote in state.quotes.items()
    }
    terms = {**state.terms, **(change.terms if change else {})}
    return replace(state, quotes=quotes, terms=terms).worth(permission=False)


def _redeemed(at: datetime) -> dict[str, str]:
    """Coins whose price is that of another one, by what they are redeemed for. R-FTR-21"""
    rows = Redemption.objects.filter(effective_at__lte=at).order_by("asset", "-effective_at")
    return {row.asset_id: row.underlying_id for row in rows.distinct("asset") if row.ratio is not None}


def _moves(book: Exposure, factors: Mapping[str, Factors]) -> list[dict[str, str]]:
    """Each used coin's lowest and last factor, for people to check the scenario by."""
    used = np.unique(np.concatenate([book.held_coin, book.owed_coin])).tolist()
    return [
        {"coin": coin, "lowest": f"{min(factors[coin]):f}", "last": f"{factors[coin][-1]:f}"}
        for coin in (book.coins[place] for place in used)
    ]


def _depths(at: datetime) -> dict[str, list[str]]:
    """24 h volume in USD and the share of it that sales may be, by coin. R-GEN-79"""
    rows = (
        MarketDepth.objects.filter(effective_at__lte=at).order_by("asset", "-effective_at").distinct("asset")
    )
    return {row.asset_id: [f"{row.volume_usd:f}", f"{row.max_share:f}"] for row in rows}


def _names(columns: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    wanted = {row["client"] for column in columns for row in column["clients"]}
    with (
        connection.cursor() as cursor
    ):  # an array, since Django's IN looks at each of a hundred thousand keys
        cursor.execute(
            "SELECT id, name FROM accounts_customer WHERE id = ANY (%s) ORDER BY id", [sorted(wanted)]
        )
        return {str(pk): name for pk, name in cursor.fetchall()}


def _model(path: Path, columns: Sequence[object], *, late: bool, slippage: Decimal) -> list[str]:
    """What the figures assume, in words."""
    others = (
        tell("does what the scenario says of all others")
        if path.rest is not None
        else tell("moves as the median of the scenario's coins that are neither pegged nor a currency")
    )
    when = (
        tell(
            "sold one step after the one that brings them to the liquidation line, if they are still"
            " there; above the cut-off at once"
        )
        if late
        else tell(
            "sold at the prices that bring them to the liquidation line; no second reading is waited for"
        )
    )
    return [
        tell(
            "Prices start at today's last good ones, however old, and move as the scenario says, one"
            " step after the other."
        ),
        tell(
            "A coin that it does not name {others}; a pegged coin or a currency that it does not name"
            " stays where it is, and a coin that is redeemed for another follows that one.",
            others=others,
        ),
        tell(
            "Nobody reacts: no deposit, no repayment, no rule of a borrower, no delay, no grace, no"
            " pause, no interest."
        ),
        tell(
            "Groups are {when}. Sold whole they leave the book; sold in steps they stop at their"
            " target and stay in it.",
            when=when,
        ),
        tell(
            "A sale brings the price of its step less {value:f} %; a coin that is itself owed is set"
            " off without. Debts come first, then the liquidation fee. Lost is what stays owed when"
            " nothing is left.",
            value=(100 * slippage).normalize(),
        ),
        tell("Amounts are whole dollars, rounded group by group. Which groups are called and sold is exact."),
    ]
