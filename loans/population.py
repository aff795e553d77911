"""A believable book of borrowers, opened through the commands that people use.

For the replay: who borrows what against what is drawn from a seeded generator, and every step (opening
accounts, depositing, applying, approving, paying out) is the same command a page or the desk would call, so
all its rules apply. The same seed and prices give the same book.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from random import Random

from accounts import approvals, catalogue, people, screenings
from accounts.catalogue import Coin, Kind
from accounts.catalogue.loading import load
from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.models import Account, Customer, User
from accounts.money import ONE, RATE_PLACES, ZERO, divide_down, divide_up, exact, round_down, round_up
from loans import precautions
from loans.demo import opening
from loans.models import Application, RateType
from loans.precautions import Means, Precautions
from loans.vip import applications, origination
from loans.vip.terms import Request, Wish
from risk import delays, gate, parameters, prices
from risk.levels import Lines
from risk.models import CollateralGroup
from risk.valuation import Tier, Tiers, market_value_needed, recognised

JOB = Actor.job("population")
AGREEMENT = "1.0"
POOL_USD = Decimal(1_000_000_000_000)  # more than any book asks for: the replay is not about an empty pool
LENT = ("USDT", "USDC", "BTC", "ETH")  # where priced
LENT_WEIGHTS = {"USDT": 14, "USDC": 3, "BTC": 2, "ETH": 1}
DEEPEST = {"BTC": 5, "ETH": 4}  # how much likelier than another coin to be pledged
FIRST_LOAN_USD, LARGEST_LOAN_USD = 500_000, 20_000_000  # R-VIP-07
LATER_LOAN_USD = 50_000

# A coin that nobody prepared figures for: it counts for little, and less the more there is of it.
UNKNOWN_TIERS = tuple(
    (Decimal(floor), Decimal(ratio))
    for floor, ratio in ((0, "0.8"), (1_000_000, "0.65"), (10_000_000, "0.4"), (40_000_000, "0"))
)
UNBOUNDED_USD = Decimal(1_000_000_000)  # taken as the room of a coin whose last tier still counts


class NothingToPledge(Refused):
    """Dollars against dollars are never called: without a coin that moves there is no book to watch."""

    code = "nothing_to_pledge"


@dataclass(frozen=True, slots=True)
class Desk:
    """What the borrowers find: who decides, and the coins that are priced, lent and taken as collateral."""

    manager: User
    places: Mapping[str, int]
    prices: Mapping[str, Decimal]
    tiers: Mapping[str, Tiers]
    stable: frozenset[str]
    lines: Lines = opening.LINES  # what a borrower can get, and so how far they go

    @property
    def lent(self) -> list[str]:
        return [coin for coin in LENT if coin in self.prices]

    @property
    def moving(self) -> list[str]:
        return [coin for coin in self.tiers if coin not in self.stable]


@dataclass(frozen=True, slots=True)
class Plan:
    """One borrower, before anything is done. Amounts are in the coin, pledges by coin and place of the account."""

    is_firm: bool
    vip_level: int
    accounts: int
    orders: tuple[tuple[Wish, ...], ...]  # one request each
    pledges: tuple[tuple[int, str, Decimal], ...]
    rate_type: str
    term_days: int | None


# --- The desk ---------------------------------------------------------------------------------------


def publish(*, coins: Collection[str], at: datetime, ratio_share: Decimal = ONE) -> None:
    """Load the coins and publish everything a VIP loan needs, in force from `at`, which is a 00:00 UTC.

    `ratio_share`: collateral counts for this part of what it would, in every tier.
    """
    known = {coin.symbol: coin for coin in catalogue.read_coins()}
    load(coins=[known.get(symbol) or _unknown(symbol) for symbol in sorted(coins)], actor=JOB, at=at)
    people.publish_agreement(version=AGREEMENT, text="The borrower owes what is lent.", actor=JOB, at=at)
    known_figures = [row for row in catalogue.read_demo_parameters() if row.symbol in coins]
    figures = [replace(row, tiers=_scaled(row.tiers, ratio_share)) for row in known_figures]
    opening.publish(coins=figures, lent=LENT, actor=JOB, at=at)
    # One manager decides everything here: who releases what is not what a replay is about.
    approvals.publish_policy(governed="vip.approve", required=False, effective_at=at, actor=JOB, at=at)
    for symbol in sorted(set(coins) - {row.symbol for row in figures}):
        tiers = _scaled(UNKNOWN_TIERS, ratio_share)
        parameters.publish_ratios(asset=symbol, tiers=tiers, effective_at=at, actor=JOB, at=at)


def open_desk(*, coins: Collection[str], at: datetime) -> Desk:
    """Hire a VIP manager and fill the pools, at the prices known at `at`.

    Raises:
        NothingToPledge: no coin but dollars is priced and taken as collateral.
    """
    quotes = prices.latest(at=at, assets=coins)
    known = {coin.symbol: coin for coin in catalogue.read_coins()}
    used = {symbol: known.get(symbol) or _unknown(symbol) for symbol in sorted(coins)}
    desk = Desk(
        manager=_user("manager@replay.invalid", "Manager", User.Role.VIP_MANAGER),
        places={symbol: coin.places for symbol, coin in used.items()},
        prices={symbol: quotes[symbol].price for symbol in used},
        tiers={symbol: terms.tiers for symbol, terms in parameters.terms_at(at, assets=coins).items()},
        stable=frozenset(symbol for symbol, coin in used.items() if coin.kind == Kind.STABLE),
    )
    if not desk.moving:
        raise NothingToPledge("There is no coin that moves and counts as collateral, so nobody could borrow.")
    pools = {coin: divide_down(POOL_USD, desk.prices[coin], desk.places[coin]) for coin in desk.lent}
    opening.fund_pools(amounts=pools, actor=JOB, at=at)
    return desk


def _scaled(tiers: Iterable[tuple[Decimal, Decimal]], share: Decimal) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple((floor, round_down(ratio * share, RATE_PLACES)) for floor, ratio in tiers)


def _unknown(symbol: str) -> Coin:
    return Coin(symbol=symbol, name=symbol, places=8, kind=Kind.CRYPTO, loanable=False, collateral=True)


def _user(email: str, name: str, role: str) -> User:
    with acting(JOB):
        return User.objects.create_user(email=email, name=name, role=role)


# --- Borrowers --------------------------------------------------------------------------------------


def open_borrowers(
    *,
    desk: Desk,
    count: int,
    seed: int,
    at: datetime,
    prepared: Precautions = Precautions(),  # noqa: B008  frozen
) -> Iterator[Customer]:
    """Open `count` borrowers with running loans, one by one, each `prepared` for a fall as said.

    Collateral is 1 to 4 coins over 1 to 3 accounts; LTV is 35 % up to the initial line itself; first loans are
    500,000 to 20 m USD, some borrowers take a second one of 50,000 or more.
    """
    for number, plan in enumerate(plans(desk=desk, count=count, seed=seed), start=1):
        yield _open(plan, desk=desk, number=number, at=at, prepared=prepared)


def plans(*, desk: Desk, count: int, seed: int) -> Iterator[Plan]:
    """What each borrower will do, before anything is done; loans/whole_book.py opens them all at once."""
    random = Random(seed)  # noqa: S311  a seeded generator is what a repeatable book wants
    for _ in range(count):
        yield _plan(desk, random)


def name_of(plan: Plan, number: int) -> tuple[str, str]:
    """The customer's name, and the address of its only user."""
    return f"{'Firm' if plan.is_firm else 'Person'} {number:04d}", f"b{number:04d}@replay.invalid"


def enrol(*, customer: Customer, desk: Desk, at: datetime) -> None:
    """From `at` on, their liquidations are delayed. R-VIP-60"""
    delays.enrol(
        customer_id=customer.pk, starts_at=at, ends_at=None, granted_by_id=desk.manager.pk, actor=JOB, at=at
    )


def _open(plan: Plan, *, desk: Desk, number: int, at: datetime, prepared: Precautions) -> Customer:
    name, email = name_of(plan, number)
    user = _user(email, name, User.Role.BORROWER)
    borrower, manager = Actor.user(user), Actor.user(desk.manager)
    kind = Customer.Kind.FIRM if plan.is_firm else Customer.Kind.PERSON
    customer = people.open_customer(name=name, kind=kind, email=email, user_id=user.pk, actor=JOB, at=at)
    people.assign_manager(customer_id=customer.pk, manager_id=desk.manager.pk, actor=manager, at=at)
    people.set_vip_level(customer_id=customer.pk, vip_level=plan.vip_level, actor=manager, at=at)
    people.accept_agreement(
        customer_id=customer.pk, user_id=user.pk, version=AGREEMENT, actor=borrower, at=at
    )
    for check in ("identity", "sanctions"):
        screenings.record(customer_id=customer.pk, kind=check, status="clear", actor=JOB, at=at)
    accounts = [
        people.open_sub_account(
            customer_id=customer.pk,
            kind=Account.Kind.SUB_VIRTUAL,
            label=f"Collateral{place + 1}",
            actor=borrower,
            at=at,
        )
        for place in range(plan.accounts)
    ]
    for place, coin, amount in plan.pledges:
        gate.deposit(account_uid=accounts[place].pk, asset=coin, amount=amount, actor=borrower, at=at)
    master = customer.accounts.get(kind=Account.Kind.MASTER)
    means = means_of(plan, desk, master, accounts)
    coins = chosen_coins(means, prepared)
    for wishes in plan.orders:
        request = Request(
            customer_id=customer.pk,
            applicant_id=user.pk,
            receiver_uid=master.pk,
            account_uids=tuple(account.pk for account in accounts),
            coins=tuple(sorted(coins)),
            wishes=wishes,
            rate_type=plan.rate_type,
            term_days=plan.term_days,
            contact=email,
            purpose="Working capital.",
            manager_id=desk.manager.pk,
        )
        application: Application = applications.submit(request=request, actor=borrower, at=at)
        sheet = application.offers.get(version=1).sha256
        origination.approve(application_id=application.pk, sheet_sha256=sheet, actor=manager, at=at)
    group = CollateralGroup.objects.open().get(receiver=master)
    precautions.take(group=group, means=means, of=prepared, actor=borrower, at=at)
    return customer


def chosen_coins(means: Means, prepared: Precautions) -> set[str]:
    """The coins of the group: what is pledged, and what a rule would swap into."""
    coins = {coin for _, coin, _ in means.pledges}
    if prepared.auto_cure and means.stable_owed is not None:
        coins.add(means.stable_owed)
    return coins


@exact
def means_of(plan: Plan, desk: Desk, master: Account, accounts: Sequence[Account]) -> Means:
    lent: dict[str, Decimal] = {}
    for wish in (wish for order in plan.orders for wish in order):
        lent[wish.asset] = lent.get(wish.asset, ZERO) + wish.amount
    return Means(
        master=master,
        pledges=[(accounts[place], coin, amount) for place, coin, amount in plan.pledges],
        lent=lent,
        prices=desk.prices,
        places=desk.places,
        stable=desk.stable & set(desk.tiers),
    )


# --- What they want ---------------------------------------------------------------------------------


@exact
def _plan(desk: Desk, random: Random) -> Plan:
    """Everything random about one borrower, in one fixed order of draws."""
    coins = _coins(desk, random)
    at_the_line = random.random() < 0.05  # where an unfortunate price calls at once
    drawn = opening.LINES.initial if at_the_line else Decimal(random.randrange(3500, 7200)).scaleb(-4)
    ltv = drawn * desk.lines.initial / opening.LINES.initial  # as far below other lines as below these
    room = sum((_room(desk.tiers[coin]) for coin in coins), ZERO) * ltv
    orders = _orders(desk, random, most_usd=min(Decimal(LARGEST_LOAN_USD), room))
    debt_usd = sum((wish.amount * desk.prices[wish.asset] for order in orders for wish in order), ZERO)
    accounts = random.randint(1, 3)
    shares = _shares(desk, coins, random, recognised_usd=debt_usd / ltv)
    pledges = [
        pledge for coin, usd in shares for pledge in _split(desk, coin, usd, accounts=accounts, random=random)
    ]
    rate_type, term_days = random.choice(
        [
            (RateType.FIXED, 30),
            (RateType.FIXED, 60),
            (RateType.FLEXIBLE, 30),
            (RateType.FLEXIBLE, 60),
            (RateType.FLEXIBLE, None),
        ]
    )
    return Plan(
        is_firm=random.random() < 0.8,
        vip_level=random.randint(1, 9),
        accounts=accounts,
        orders=orders,
        pledges=tuple(pledges),
        rate_type=rate_type,
        term_days=term_days,
    )


def _coins(desk: Desk, random: Random) -> list[str]:
    """1 to 4 collateral coins, the first of which moves: dollars alone against dollars would never be called."""
    chosen = random.choices(desk.moving, weights=[DEEPEST.get(coin, 1) for coin in desk.moving])
    others = [coin for coin in desk.tiers if coin not in chosen]
    return chosen + random.sample(others, min(random.choice([0, 1, 1, 2, 2, 3]), len(others)))


def _orders(desk: Desk, random: Random, *, most_usd: Decimal) -> tuple[tuple[Wish, ...], ...]:
    """One request, some with two coins; one in five borrowers comes back for a second, smaller loan."""
    first_usd = min(
        Decimal(_log_uniform(random, FIRST_LOAN_USD, LARGEST_LOAN_USD)), most_usd * Decimal("0.8")
    )
    weights = [LENT_WEIGHTS[coin] for coin in desk.lent]
    coin = random.choices(desk.lent, weights=weights)[0]
    others = [other for other in desk.lent if other != coin]
    first: tuple[Wish, ...] = (_wish(desk, coin, first_usd),)
    if others and random.random() < 0.15:
        half = first_usd / 2
        first = (_wish(desk, coin, half), _wish(desk, random.choice(others), half))
    if random.random() >= 0.2:
        return (first,)
    later_usd = Decimal(_log_uniform(random, LATER_LOAN_USD, max(LATER_LOAN_USD, int(first_usd) // 5) + 1))
    return first, (_wish(desk, coin, later_usd),)


def _log_uniform(random: Random, least: int, most: int) -> int:
    """As many between 1 and 2 million as between 2 and 4: a doubling first, then evenly within it."""
    doublings = max(1, (most // least).bit_length())
    low = least << random.randrange(doublings)
    low = low if low < most else least
    return random.randrange(low, min(2 * low, most))


def _wish(desk: Desk, coin: str, usd: Decimal) -> Wish:
    """A round amount people would type, rounded up so that it is still worth the least a loan must be."""
    places = min(2 if coin in desk.stable else 4, desk.places[coin])
    return Wish(asset=coin, amount=divide_up(usd, desk.prices[coin], places))


def _shares(
    desk: Desk, coins: Sequence[str], random: Random, *, recognised_usd: Decimal
) -> list[tuple[str, Decimal]]:
    """How much of what must be recognised each coin brings: drawn, but never more than its tiers can count."""
    weights = [random.randint(1, 6) for _ in coins]
    left, shares = recognised_usd, dict.fromkeys(coins, ZERO)
    for coin, weight in zip(coins, weights, strict=True):
        shares[coin] = min(recognised_usd * weight / sum(weights), _room(desk.tiers[coin]))
        left -= shares[coin]
    for coin in coins:
        more = min(left, _room(desk.tiers[coin]) - shares[coin])
        shares[coin] += more
        left -= more
    return list(shares.items())


def _split(
    desk: Desk, coin: str, usd: Decimal, *, accounts: int, random: Random
) -> Iterator[tuple[int, str, Decimal]]:
    """The coins that count for `usd`, rounded up, in one account or in two."""
    market = market_value_needed(recognised_value=usd, tiers=desk.tiers[coin])
    assert market is not None, "a share is within what the tiers can count"
    amount = divide_up(market, desk.prices[coin], desk.places[coin])
    place = random.randrange(accounts)
    part = round_up(amount * random.randint(3, 10) / 10, desk.places[coin])
    if accounts == 1 or part >= amount or random.random() < 0.6:
        yield place, coin, amount
        return
    yield place, coin, part
    yield (place + 1) % accounts, coin, amount - part


def _room(tiers: Tiers) -> Decimal:
    """Nine tenths of the most that a coin of these tiers can count for, in USD."""
    top: Tier = tiers[-1]
    most = recognised(market_value=top.floor, tiers=tiers) if top.ratio == 0 else UNBOUNDED_USD
    return most * Decimal("0.9")
