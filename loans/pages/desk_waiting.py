"""Requests on the desk: what paying each out would do now, its score, and by when to answer (R-FTR-13, R-ADM-08).

Valued by the same states the approval decides on, in a constant number of queries for the whole list.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from accounts import ledger
from accounts.models import Asset
from accounts.money import ZERO, exact
from loans import ratecards, scoring
from loans.models import Application, ApplicationLine
from loans.pages.desk_rows import MOST_ROWS, History, histories_of
from loans.scoring import Clock, Coin, Facts, Score
from loans.vip import answering, sheets
from loans.vip.terms import LEVELS
from risk import book, parameters, prices, valuation
from risk.book import GroupState, Wallet
from risk.levels import Lines
from risk.models import CollateralGroup, MarketDepth, ProductCode
from risk.pages.track import Track, track
from risk.valuation import Worth

NOTHING = Worth(debt=ZERO, collateral=ZERO, market=ZERO)
BY_SCORE = "score"


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A request that waits, with what paying it out would do now. `value` None: a coin has no price.

    `state` is the group with the request's accounts, coins and debts in it.
    """

    application: Application
    lines: tuple[ApplicationLine, ...]
    value: Decimal | None
    now: Worth
    after: Worth
    state: GroupState
    track: Track
    clock: Clock
    score: Score
    history: History
    at: datetime

    @property
    def is_late(self) -> bool:
        return self.clock.is_late(self.at)

    @property
    def late_by(self) -> timedelta:
        return -self.clock.left(self.at)

    @property
    def is_too_high(self) -> bool:
        return self.after.is_above(accepted_lines(self.application).initial)


def waiting_rows(applications: QuerySet[Application], *, at: datetime, sort: str = "") -> list[WaitingRow]:
    """Late ones first, then the one to be answered next; or the best score first. R-FTR-13, R-ADM-08

    A look at the queue; what a decision rests on is `origination.review`, on the request's page.
    """
    waiting = applications.filter(status=Application.Status.SUBMITTED).order_by("submitted_at", "pk")
    rows = looked_at(waiting, at=at)
    return sorted(rows, key=_by_score if sort == BY_SCORE else _by_clock)


def looked_at(applications: QuerySet[Application], *, at: datetime) -> list[WaitingRow]:
    """These requests as they would be now, in their order, at most a hundred."""
    related = ("lines__asset", "collateral_accounts", "collateral_coins")
    found = applications.select_related("customer", "receiver", "accepted").prefetch_related(*related)
    rows = list(found[:MOST_ROWS])
    groups = CollateralGroup.objects.open().filter(
        receiver__in=[row.receiver_id for row in rows], product__in={row.product for row in rows}
    )
    standing = {(group.receiver_id, group.product): group for group in groups}
    states = book.states(standing.values(), at=at)
    market = _market_of(rows, states.values(), at=at)
    known = _Known(
        market=market,
        depths=_depths(market.assets, at=at),
        histories=histories_of(row.customer_id for row in rows),
        clocks=answering.clocks_of(rows),
        large=ratecards.product_at(ProductCode.VIP, at=at).four_eyes_usd,
    )
    return [_waiting_row(row, _state_for(row, standing, states), known) for row in rows]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read once for all rows."""

    market: GroupState
    depths: Mapping[str, Decimal]
    histories: Mapping[int, History]
    clocks: Mapping[int, Clock]
    large: Decimal


def _by_clock(row: WaitingRow) -> tuple[timedelta, int]:
    return row.clock.left(row.at), row.application.pk


def _by_score(row: WaitingRow) -> tuple[int, timedelta, int]:
    return -row.score.total, *_by_clock(row)


def _depths(assets: Iterable[str], *, at: datetime) -> dict[str, Decimal]:
    """USD of each coin that its market takes a day, in force at `at`. One query. R-GEN-79"""
    rows = MarketDepth.objects.filter(asset__in=list(assets), effective_at__lte=at)
    latest = rows.order_by("asset_id", "-effective_at").distinct("asset_id")
    return {row.asset_id: row.volume_usd * row.max_share for row in latest}


@exact
def coins_of(state: GroupState, depths: Mapping[str, Decimal]) -> tuple[Coin, ...]:
    """The collateral by coin, as the score looks at it: at fresh prices, over all accounts. R-GEN-32"""
    amounts: dict[str, Decimal] = {}
    for holding in state.holdings():
        amounts[holding.asset] = amounts.get(holding.asset, ZERO) + holding.amount
    found = []
    for symbol, amount in sorted(amounts.items()):
        market = amount * state.quotes[symbol].price
        counted = valuation.recognised(market_value=market, tiers=state.terms[symbol].tiers)
        found.append(Coin(symbol, market=market, recognised=counted, daily=depths.get(symbol)))
    return tuple(found)


def _state_for(
    row: Application, groups: Mapping[tuple[int, str], CollateralGroup], states: Mapping[int, GroupState]
) -> GroupState | None:
    group = groups.get((row.receiver_id, row.product))
    return states[group.pk] if group else None


def _market_of(rows: Iterable[Application], states: Iterable[GroupState], *, at: datetime) -> GroupState:
    """Prices, ratios and the Spot wallets of every account any of these requests names; a state of no group."""
    symbols, uids = set(), set()
    for row in rows:
        symbols |= {line.asset_id for line in row.lines.all()} | {
            coin.pk for coin in row.collateral_coins.all()
        }
        uids |= {account.pk for account in row.collateral_accounts.all()}
    for state in states:
        symbols |= state.coins | state.owed_assets
        uids |= set(state.members)
    balances = ledger.balances(account_ids=uids, kinds=[book.WALLET])
    return GroupState(
        group=None,
        at=at,
        lines=Lines(
            *(Decimal(part) for part in ("0.1", "0.2", "0.3", "0.4", "0"))
        ),  # replaced by each request's
        members=(),
        coins=frozenset(),
        wallets=tuple(Wallet(uid, asset, balance) for (uid, _, asset), balance in sorted(balances.items())),
        debts=(),
        quotes=prices.latest(at=at, assets=symbols),
        terms=parameters.terms_at(at, assets=symbols),
        assets=Asset.objects.in_bulk(sorted(symbols)),
    )


@exact
def _waiting_row(row: Application, state: GroupState | None, known: _Known) -> WaitingRow:
    market = known.market
    lines = tuple(sorted(row.lines.all(), key=lambda line: line.asset_id))
    members = {account.pk for account in row.collateral_accounts.all()} | set(state.members if state else ())
    coins = {coin.pk for coin in row.collateral_coins.all()} | (state.coins if state else frozenset())
    before = replace(
        market,
        lines=accepted_lines(row),
        members=tuple(sorted(members)),
        coins=frozenset(coins),
        wallets=tuple(wallet for wallet in market.wallets if wallet.uid in members),
        debts=state.debts if state else (),
    )
    changed = before.changed(borrowed={line.asset_id: line.amount for line in lines})
    after = changed.worth()
    now = state.worth() if state else NOTHING
    quotes = [market.quotes.get(line.asset_id) for line in lines]
    value = sum((line.amount * quote.price for line, quote in zip(lines, quotes, strict=True) if quote), ZERO)
    worth = value if all(quotes) else None
    history = known.histories[row.customer_id]
    facts = Facts(
        ltv=after.ltv,
        initial=before.lines.initial,
        coins=coins_of(changed, known.depths),
        record=history.record,
        value=worth,
        large=known.large,
    )
    return WaitingRow(
        application=row,
        lines=lines,
        value=worth,
        now=now,
        after=after,
        state=changed,
        track=before_and_after(now, after, before.lines),
        clock=known.clocks[row.pk],
        score=scoring.score_of(facts),
        history=history,
        at=market.at,
    )


def before_and_after(now: Worth, after: Worth, lines: Lines) -> Track:
    """Where the group stands, and where paying out takes it; without cover it stands past the end."""
    return track(now.ltv, lines, after=Decimal(2) if after.ltv is None else after.ltv)


def accepted_lines(application: Application) -> Lines:
    """Those of the accepted sheet; before there is one, the published lines it began with."""
    if application.accepted is not None:
        return sheets.lines_of(application.accepted.body)
    levels = application.terms["levels"]
    return Lines(**{name: Decimal(levels[name]) for name in LEVELS})
