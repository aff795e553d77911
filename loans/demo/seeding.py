"""Play the tables: everything the demo's people did in 45 days, in the order of time, through the real commands.

One transaction: a seed that is killed leaves nothing behind, and the next one starts afresh. The market of
those days is known beforehand (`past`) and recorded first; nobody sees it before its time, because every
command asks for the prices at its own `at`. Then jobs and people act in turn: at each midnight the accrual,
the cost of funds, the instalments and the reminders, every six hours the sweep with the rules before it and the
expiries, after a month's end its statements and its close, and in between what the stories and the dealings tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Final

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection, transaction
from django.db.models import F

from accounts import catalogue, people
from accounts.catalogue import DemoParameters
from accounts.catalogue.loading import load
from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import Asset, Customer, Delivery, User
from accounts.money import ONE, divide_down, exact, round_down
from loans import auto_cure
from loans.demo import care, cast, company, dealings, house, opening, past
from loans.demo.desk import Desk
from loans.demo.past import Past
from loans.demo.plots import Event, World, events_of
from loans.demo.stories import STORIES
from loans.models import Application, Loan
from loans.vip import expiry, reminders
from risk import accrual, funding, overdue_sales, parameters, plans, prices, sweep
from risk.feeds import Tick, simulated

JOB: Final = company.JOB
BEFORE: Final = timedelta(days=1)  # at least; the desk opens on the midnight before
SWEEP_EVERY: Final = past.KEPT_EVERY * past.STEP
WATCHED_CLOSER: Final = (timedelta(hours=8), timedelta(hours=5))  # TRX fell, and a delay began (R-VIP-60)
POOL_LOANS: Final = 3  # a pool holds this many of the largest loans of its coin
BORROWED: Final = ("USDT", "USDC", "BTC", "ETH", "SOL")  # whose flexible rates moved daily
UNIT_SOURCE: Final = "unit"
RECORDED_AT_ONCE: Final = 40  # moments
AGREEMENT: Final = "2026-1"
AGREEMENT_TEXT: Final = """\
The borrower owes what is lent, with interest for every 00:00 UTC it stands through, in the coin that was lent.

RISK: collateral changes its price. When the loan-to-value ratio of a group reaches its margin call line, the \
borrower is told what to repay or to add. When it reaches the liquidation line, collateral is sold without \
further notice, with a fee of 2 % of the debt repaid, until everything the group owes is repaid. If the \
collateral is not enough, the rest stays owed.

Notices go to the inbox, by e-mail and by SMS. A notice that does not arrive stops nothing.

The English version prevails."""
# The waves of a flexible rate from day to day, around its published level.
WAVES: Final = tuple(Decimal(wave) for wave in ("1", "1.02", "1.035", "1.01", "0.985", "0.97", "0.99"))
LOCK: Final = 0x6465_6D6F  # any number that no other advisory lock uses


class NotADemo(Refused):
    code = "not_a_demo"


class SeedRunning(Refused):
    code = "seed_running"


class StoryBroken(Exception):
    """The tables and the rules disagree: something in a story was refused."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What the demo has now."""

    customers: int
    requests: int
    loans: int
    days: int


def seed(*, at: datetime) -> Seeded | None:
    """Give an empty desk its 45 days; None, and nothing is changed, when it has customers already.

    Raises:
        NotADemo: the setting DEMO is off; these logins are printed for everybody.
        SeedRunning: somebody else is at it.
        StoryBroken: the tables do not work out.
    """
    if not settings.DEMO:
        raise NotADemo("Set DEMO=1 to fill this desk with made-up people whose passwords everybody knows.")
    if Customer.objects.exists():
        return None
    coins = {coin.symbol: coin for coin in catalogue.read_demo_parameters()}
    market = past.until(at, walks=_walks(coins))
    with transaction.atomic():
        _only_one()
        if Customer.objects.exists():  # it was made while we waited
            return None
        return _play(market, coins, at)


def _only_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        (is_ours,) = cursor.fetchone()
    if not is_ours:
        raise SeedRunning("The demo is being filled by somebody else just now; try again in a minute.")


def _walks(coins: dict[str, DemoParameters]) -> dict[str, simulated.Walk]:
    """How each coin of the demo moves: `prices.walks`, before the assets are in the database."""
    kinds = {coin.symbol: coin.kind for coin in catalogue.read_coins()}
    return {
        symbol: simulated.Walk(
            start=coin.start_price,
            daily_volatility=coin.daily_volatility,
            stable=kinds[symbol] == catalogue.Kind.STABLE,
        )
        for symbol, coin in coins.items()
    }


def _play(market: Past, coins: dict[str, DemoParameters], at: datetime) -> Seeded:
    opened_at = _midnight(at - past.SPAN - BEFORE)
    password_hash = make_password(cast.PASSWORD)  # one for all: hashing is slow on purpose
    staff = _open_desk(list(coins.values()), password_hash=password_hash, opened_at=opened_at)
    _record(market, at)
    world = World(market=market, end=at, coins=coins, checker=Actor.user(staff["risk"]))
    events = [*_jobs(market, coins, opened_at), *_told(world, staff, password_hash, opened_at)]
    for event in sorted(events, key=lambda event: event.at):
        try:
            event.act(event.at)
        except Refused as refusal:
            raise StoryBroken(f"{event.what} at {event.at:%Y-%m-%d %H:%M} UTC: {refusal}") from refusal
    _go_live(at)
    _forget_old_mail(at)
    _know_addresses()
    return Seeded(
        customers=Customer.objects.count(),
        requests=Application.objects.count(),
        loans=Loan.objects.count(),
        days=past.SPAN.days,
    )


# --- The desk ---------------------------------------------------------------------------------------


def _open_desk(coins: list[DemoParameters], *, password_hash: str, opened_at: datetime) -> dict[str, User]:
    load(coins=catalogue.read_coins(), actor=JOB, at=opened_at)
    staff = company.hire(password_hash=password_hash)
    finance, admin = Actor.user(staff["finance"]), Actor.user(staff["admin"])
    opening.publish(coins=coins, actor=JOB, at=opened_at)  # before there was anybody to release it (R-ADM-03)
    # The past was watched every few hours, so its waits are longer than that.
    hours = int(SWEEP_EVERY.total_seconds())
    parameters.publish_settings(
        effective_at=opened_at,
        confirm_seconds=hours // 2,
        outage_seconds=2 * hours,
        slippage=Decimal("0.002"),
        actor=JOB,
        at=opened_at,
    )
    parameters.publish_feed_rule(effective_at=opened_at, max_age_seconds=hours + 600, actor=JOB, at=opened_at)
    opening.fund_pools(amounts=_pools(coins), actor=finance, at=opened_at)
    people.publish_agreement(version=AGREEMENT, text=AGREEMENT_TEXT, actor=admin, at=opened_at)
    return staff


@exact
def _pools(coins: list[DemoParameters]) -> dict[str, Decimal]:
    """Whole coins worth a few of the largest loans each."""
    return {coin.symbol: divide_down(POOL_LOANS * coin.max_loan_usd, coin.start_price, 0) for coin in coins}


def _go_live(at: datetime) -> None:
    """From now on prices come every few seconds, and a visitor need not wait long (R-GEN-23, 24, 61)."""
    parameters.publish_settings(
        effective_at=at,
        confirm_seconds=5,
        outage_seconds=600,
        outage_grace_seconds=20,
        call_hold_seconds=10,
        actor=JOB,
        at=at,
        reason="Short waits, so that a visitor sees a call and a liquidation within a minute",
    )
    parameters.publish_feed_rule(effective_at=at, max_age_seconds=60, actor=JOB, at=at)
    for symbol in (
        Asset.objects.filter(kind=Asset.Kind.STABLE, loanable=True)
        .order_by("pk")
        .values_list("pk", flat=True)
    ):
        # A dollar that prints 1.30 is a fault of its market, not news (R-GEN-21).
        parameters.publish_feed_rule(
            asset=symbol, effective_at=at, max_age_seconds=60, max_jump=Decimal("0.05"), actor=JOB, at=at
        )


def _know_addresses() -> None:
    """Every login's address is confirmed, so that a password can be sent anew and a second step turned on."""
    EmailAddress.objects.bulk_create(
        EmailAddress(user=user, email=user.email, verified=True, primary=True) for user in User.objects.all()
    )


def _forget_old_mail(at: datetime) -> None:
    """Mark the mail of the past as sent: at its first minute the desk must not send a month of it to nobody."""
    Delivery.objects.filter(status=Delivery.Status.PENDING, due_at__lte=at).update(
        status=Delivery.Status.SENT, sent_at=F("due_at")
    )


# --- The days ---------------------------------------------------------------------------------------


def _record(market: Past, at: datetime) -> None:
    """In parts, so that no statement waits long for Python."""
    for number in range(0, len(market.kept), RECORDED_AT_ONCE):
        part = market.kept[number : number + RECORDED_AT_ONCE]
        prices.record([tick for moment in part for tick in moment], at=at)
    prices.record([Tick(prices.UNIT, ONE, at, UNIT_SOURCE)], at=at)


def _told(world: World, staff: dict[str, User], password_hash: str, opened_at: datetime) -> Iterator[Event]:
    """The stories' events and the desk's; each customer joins a day before its first."""
    residents = {}
    for borrower in cast.BORROWERS:
        mine = [story for story in STORIES if story.borrower == borrower.name]
        first = max(Decimal(part.ago) for story in mine for part in (*story.draws, *story.steps))
        joined_at = max(opened_at, world.before(str(first + 1)))
        who = company.open_customer(
            borrower, staff=staff, agreement=AGREEMENT, password_hash=password_hash, at=joined_at
        )
        residents[borrower.name] = who
        for story in mine:
            yield from events_of(story, who=who, world=world)
    desk = Desk(world, residents, staff)
    yield from dealings.events(desk)
    yield from care.events(desk)
    yield from house.events(desk)


def _jobs(market: Past, coins: dict[str, DemoParameters], opened_at: datetime) -> Iterator[Event]:
    """What the timetable would have run, at the times it would have mattered."""
    moments = [moment[0].observed_at for moment in market.ticks]
    midnight = opened_at + timedelta(days=1)
    number = 0
    while midnight <= moments[-1]:
        number += 1
        wave = WAVES[number % len(WAVES)]
        yield Event(midnight, "rates", partial(_publish_rates, coins, wave))
        yield Event(midnight, "accrual", lambda at: accrual.accrue(at=at))
        yield Event(midnight, "cost of funds", lambda at: funding.accrue_costs(at=at))
        yield Event(midnight, "collecting", lambda at: plans.collect_due(at=at))
        yield Event(midnight, "reminders", lambda at: reminders.remind_due(at=at))
        midnight += timedelta(days=1)
    closer = [moments[-1] - ago for ago in WATCHED_CLOSER]
    for moment in {*moments[:: past.KEPT_EVERY], *closer}:
        yield Event(moment, "watch", _watch)


@exact
def _publish_rates(coins: dict[str, DemoParameters], wave: Decimal, at: datetime) -> None:
    for symbol in BORROWED:
        rate = round_down(coins[symbol].flexible_rate * wave, opening.RATE_STEP)
        opening.publish_flexible_rate(coins[symbol], annual_rate=rate, actor=JOB, at=at)


def _watch(at: datetime) -> None:
    expiry.expire_due(at=at)
    overdue_sales.run_overdue(at=at)
    cured = auto_cure.run_due(at=at)
    report = sweep.sweep(at=at)
    if report.failed or cured.failed:
        raise StoryBroken(f"groups {report.failed or cured.failed} could not be decided at {at}")


def _midnight(at: datetime) -> datetime:
    return datetime.combine(at.astimezone(UTC).date(), time(), UTC)
