"""The cheapest way back to a line for one group, from what its borrower has elsewhere. R-FTR-02

The arithmetic is in risk/cure.py; here it is asked about a real group: what lies outside it, what each debt needs to
be closed, and whether the gate would let the step pass now. Reads only, without locks: it is advice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts import ledger
from accounts.models import Account, Asset, LedgerAccount
from accounts.money import ZERO, exact
from accounts.words import tell
from risk import book, cure, debts, freezes, gate, groups, parameters, prices, rates, valuation
from risk.book import GroupState
from risk.cure import Goal, Kind, Loan, Position, Step
from risk.handling import CallTrades
from risk.interest import midnights, minimum_charge
from risk.levels import Action, Band, band
from risk.models import Debt, DebtEntry

REPAYS: Final = (
    LedgerAccount.Kind.SPOT,
    LedgerAccount.Kind.FIAT,
)  # of the receiver, in this order (R-VIP-34)
MOST_ASKED: Final = 5  # of the gate, cheapest first; every question is a handful of queries


@dataclass(frozen=True, slots=True)
class Pile:
    """Coins outside the group: in which wallet, and whether that wallet repays its loans."""

    asset: str
    amount: Decimal
    uid: int
    wallet: str
    repays: bool


@dataclass(frozen=True, slots=True)
class Option:
    """One step, where its coins would come from and go to. `why_not` is empty when it can be done now."""

    step: Step
    why_not: str = ""
    source: Pile | None = None
    account: int | None = None  # the collateral account that gets a coin, or in which two are swapped

    @property
    def is_possible(self) -> bool:
        return not self.why_not


@dataclass(frozen=True, slots=True)
class Advice:
    """The ways to a goal. `cheapest`: the least value among what can be done now; if nothing can, among all.

    `together`: where no single step that can be done is enough, several, found greedily; `is_enough` says whether
    they are.
    """

    goal: Goal
    options: tuple[Option, ...]
    cheapest: Option | None
    together: tuple[Option, ...] = ()
    is_enough: bool = True


@dataclass(frozen=True, slots=True)
class Means:
    """What the advice rests on, read once for several goals."""

    position: Position
    piles: tuple[Pile, ...]
    offered: frozenset[str]
    sellable: Mapping[str, Decimal]
    seller_of: Mapping[str, int]
    repay_closed: frozenset[str] = field(default_factory=frozenset)


@exact
def advise(state: GroupState, means: Means, *, goal: Goal, at: datetime, is_real: bool = True) -> Advice:
    """How to bring the group to the goal; nothing to say where it is there already. R-FTR-02

    `is_real` False: a hypothetical state, about which the gate cannot be asked.
    """
    if goal.is_reached(means.position.worth()):
        return Advice(goal, options=(), cheapest=None)
    steps = cure.every_step(
        position=means.position, goal=goal, offered=means.offered, sellable=means.sellable
    )
    options = [_option(state, means, step) for step in steps]
    possible = [option for option in options if option.is_possible]
    best = _first_permitted(options, at=at) if is_real else next(iter(possible), None)
    if best is not None:
        return Advice(goal, tuple(options), cheapest=best)
    pairs = _Greedy(means, goal).run()
    together = tuple(
        Option(step, source=pile, account=_account_of(state, means, step)) for step, pile in pairs
    )
    return Advice(
        goal,
        tuple(options),
        cheapest=options[0] if options else None,
        together=together,
        is_enough=bool(together) and together[-1].step.reaches,
    )


def means_of(state: GroupState, *, at: datetime) -> Means:
    """What the group's borrower can draw on, and how much of each coin one trade can sell."""
    state = with_market(state, {wallet.asset for wallet in state.wallets}, at=at)
    offered = _offered(state)
    largest: dict[str, tuple[Decimal, int]] = {}
    for wallet in state.wallets if _may_trade(state) else ():
        quote = state.quotes.get(wallet.asset)
        if wallet.balance > 0 and quote is not None and quote.fresh:
            largest[wallet.asset] = max(largest.get(wallet.asset, (ZERO, 0)), (wallet.balance, -wallet.uid))
    owed = {row.debt.asset_id for row in state.debts}
    return Means(
        position=position_of(state, at=at),
        piles=_piles(state, offered | owed, at=at),
        offered=offered,
        sellable={coin: amount for coin, (amount, _) in largest.items()},
        seller_of={coin: -uid for coin, (_, uid) in largest.items()},
        repay_closed=frozenset(coin for coin in owed if freezes.repay_closed(coin, at) is not None),
    )


def position_of(state: GroupState, *, at: datetime) -> Position:
    """The group as the sweep values it, with a place for every coin that could be added. Debts without a price lack."""
    held: dict[str, Decimal] = {}
    for wallet in state.wallets:
        held[wallet.asset] = held.get(wallet.asset, ZERO) + wallet.balance
    holdings = {
        coin: valuation.Holding(
            asset=coin,
            amount=held.get(coin, ZERO),
            price=state.quotes[coin].price,
            tiers=state.terms[coin].tiers if coin in state.coins and coin in state.terms else (),
            places=state.assets[coin].places,
        )
        for coin in sorted({*held, *state.coins})
        if coin in state.quotes and coin in state.assets
    }
    days = first_days([row.debt for row in state.debts], at=at)
    loans = [_loan(state, row, days[row.debt.pk]) for row in state.debts if row.debt.asset_id in state.quotes]
    for number, (coin, amount) in enumerate(
        state.borrowed, start=1
    ):  # hypothetical: there is no debt to name yet
        price, places = state.quotes[coin].price, state.assets[coin].places
        loans.append(Loan(-number, coin, amount, amount, amount, price, places))
    return Position(holdings, tuple(loans))


def first_day(debt: Debt, *, at: datetime) -> Decimal:
    """What closing the debt now costs above what it owes: the one day a loan pays at least. R-VIP-31"""
    return first_days([debt], at=at)[debt.pk]


def first_days(rows: Sequence[Debt], *, at: datetime) -> dict[int, Decimal]:
    """`first_day` of many, by key; what `debts.payoff_at` adds to what is owed. Three queries at most."""
    found = {debt.pk: ZERO for debt in rows}
    young = [debt for debt in rows if _may_owe_a_day(debt, at)]
    entries = DebtEntry.objects.filter(debt__in=young)
    lent = dict(entries.filter(kind=DebtEntry.Kind.BORROW).values_list("debt_id", "principal"))
    paid = set(entries.filter(kind=DebtEntry.Kind.MINIMUM).values_list("debt_id", flat=True))
    steps = rates.steps_of(young)
    for debt in young:
        if debt.pk in lent and debt.pk not in paid:  # a renewal lends nothing: it has paid its days
            rate, places = rates.rate_at(steps[debt.pk], debt.opened_at), debt.asset.places
            day = minimum_charge(principal=lent[debt.pk], annual_rate=rate, places=places, days_charged=0)
            found[debt.pk] = day.interest
    return found


def with_market(state: GroupState, symbols: set[str], *, at: datetime) -> GroupState:
    """The state with prices, ratios and rows of more coins; which coins count does not change."""
    missing = sorted(symbols - set(state.assets))
    if not missing:
        return state
    return replace(
        state,
        quotes={**state.quotes, **prices.latest(at=at, assets=missing)},
        terms={**state.terms, **parameters.terms_at(at, assets=missing)},
        assets={**state.assets, **Asset.objects.in_bulk(missing)},
    )


# --- Private ----------------------------------------------------------------------------------------------


def _may_owe_a_day(debt: Debt, at: datetime) -> bool:
    """Never charged, and no midnight has passed that it would be charged for."""
    is_young = debt.accrued_through == debt.opened_at and debt.residual_since is None
    return is_young and not any(midnights(after=debt.opened_at, until=at))


def _loan(state: GroupState, row: debts.OwedDebt, day: Decimal) -> Loan:
    debt, total = row.debt, row.parts.total
    return Loan(
        key=debt.pk,
        asset=debt.asset_id,
        owed=total,
        principal=row.parts.principal,
        payoff=total + day,
        price=state.quotes[debt.asset_id].price,
        places=state.assets[debt.asset_id].places,
    )


def _offered(state: GroupState) -> frozenset[str]:
    """Coins that count when they are added: chosen, with ratios, at a fresh price."""
    if not state.members:
        return frozenset()
    return frozenset(
        coin
        for coin in state.coins
        if coin in state.terms and coin in state.assets and coin in state.quotes and state.quotes[coin].fresh
    )


def _may_trade(state: GroupState) -> bool:
    """Whether any trade could pass; which one, the gate says. R-VIP-52, R-VIP-54"""
    where = band(state.worth(), state.lines)
    closed = where is Band.CALL and state.handling.call_trades is CallTrades.NONE
    return not (closed or where is Band.LIQ or state.is_liquidating or state.stale_debts)


def _piles(state: GroupState, symbols: frozenset[str] | set[str], *, at: datetime) -> tuple[Pile, ...]:
    """Every wallet of the customer outside the group's counting ones that holds such a coin, largest value first."""
    group = state.group
    if group is None:
        return ()
    uids = list(Account.objects.filter(customer=group.customer_id).values_list("pk", flat=True))
    pledged = groups.pledged_to(uids)
    others = {row.pk: row for uid, row in pledged.items() if uid not in state.members}
    standing = book.states(others.values(), at=at) if others else {}
    found = []
    for (uid, wallet, asset), amount in ledger.balances(
        account_ids=uids, kinds=LedgerAccount.WALLETS
    ).items():
        is_inside = wallet == book.WALLET and uid in state.members
        if asset not in symbols or is_inside or amount <= 0:
            continue
        if (
            wallet == book.WALLET and uid in pledged
        ):  # it secures another group, which must not be called for this
            other = pledged[uid]
            is_frozen = freezes.is_frozen(Action.MOVE_OUT, uids=[uid], group=other, assets=[asset], at=at)
            amount = ZERO if is_frozen else gate.most_out_of(standing[other.pk], asset=asset, held=amount)
        repays = uid == group.receiver_id and wallet in REPAYS
        if amount > 0:
            found.append(Pile(asset, amount, uid, wallet, repays))
    return tuple(
        sorted(found, key=lambda pile: (pile.asset, -pile.amount, pile.uid, pile.wallet != book.WALLET))
    )


def _option(state: GroupState, means: Means, step: Step) -> Option:
    account = _account_of(state, means, step)
    if step.kind is Kind.SWAP:
        return Option(step, account=account)
    mine = [pile for pile in means.piles if pile.asset == step.asset]
    if step.kind is Kind.REPAY:
        mine = [pile for pile in mine if pile.repays]
        has = sum((pile.amount for pile in mine), ZERO)
        closed = step.asset in means.repay_closed
        why_not = tell("The desk takes no repayments in {asset} now.", asset=step.asset) if closed else ""
        if has < step.amount:
            why_not = tell(
                "Spot and Fiat of the receiving account hold {has} {asset}.", has=_said(has), asset=step.asset
            )
        return Option(step, why_not, mine[0] if mine else None, account)
    largest = mine[0] if mine else None
    has = largest.amount if largest else ZERO
    why_not = (
        ""
        if has >= step.amount
        else tell("No wallet outside the group holds so much {asset}.", asset=step.asset)
    )
    return Option(step, why_not, largest, account)


def _account_of(state: GroupState, means: Means, step: Step) -> int | None:
    if step.kind is Kind.SWAP:
        return means.seller_of.get(step.asset)
    return state.members[0] if step.kind is Kind.ADD and state.members else None


def _first_permitted(options: list[Option], *, at: datetime) -> Option | None:
    """The cheapest that the gate would let pass now; `options` learn why the others may not."""
    asked = 0
    for number, option in enumerate(options):
        if not option.is_possible:
            continue
        why_not = _refusal(option, at=at)
        if not why_not:
            return option
        options[number] = replace(option, why_not=why_not)
        asked += 1
        if asked == MOST_ASKED:
            break
    return None


def _refusal(option: Option, *, at: datetime) -> str:
    step, source = option.step, option.source
    if step.kind is Kind.REPAY or option.account is None:
        return ""
    if step.kind is Kind.SWAP:
        seen = gate.preview_trade(
            account_uid=option.account, sell=step.asset, amount=step.amount, buy=step.buy, at=at
        )
        return "" if seen.allowed or seen.to_confirm else seen.reason
    if source is None:
        return tell("There is nothing to move.")
    seen = gate.preview_transfer(
        source_uid=source.uid,
        source_wallet=source.wallet,
        target_uid=option.account,
        target_wallet=book.WALLET,
        asset=step.asset,
        amount=step.amount,
        at=at,
    )
    return seen.reason


class _Greedy:
    """Steps one after the other, each as far as the coins there go, until the goal is reached or nothing helps.

    All that repays, then what counts for most of its value, then swaps: quick and good, not proven cheapest.
    """

    def __init__(self, means: Means, goal: Goal) -> None:
        self.means, self.goal, self.position = means, goal, means.position
        self.left = {pile: pile.amount for pile in means.piles}
        self.found: list[tuple[Step, Pile | None]] = []

    def run(self) -> Sequence[tuple[Step, Pile | None]]:
        loans = sorted(self.position.loans, key=lambda loan: (-loan.owed * loan.price, loan.key))
        for loan in loans:
            if loan.asset not in self.means.repay_closed:
                self._repay(loan)
        wanted = [pile for pile in self.left if pile.asset in self.means.offered]
        for pile in sorted(wanted, key=self._ratio, reverse=True):
            self._add(pile)
        for coin in sorted(self.means.sellable):
            self._swap(coin)
        return self.found

    def _take(self, step: Step | None, pile: Pile | None) -> None:
        if step is not None:
            self.found.append((step, pile))
            self.position = self.position.after(step)

    def _is_done(self) -> bool:
        return bool(self.found) and self.found[-1][0].reaches

    def _repay(self, loan: Loan) -> None:
        mine = [pile for pile in self.left if pile.repays and pile.asset == loan.asset]
        if self._is_done() or not mine:
            return
        most = sum((self.left[pile] for pile in mine), ZERO)
        step = cure.repay_step(position=self.position, key=loan.key, goal=self.goal, most=most)
        self._take(step, mine[0])
        due = ZERO if step is None else step.amount
        for pile in sorted(
            mine, key=lambda pile: pile.wallet != book.WALLET
        ):  # Spot first, as a repayment does
            taken = min(due, self.left[pile])
            self.left[pile], due = self.left[pile] - taken, due - taken

    def _add(self, pile: Pile) -> None:
        if self._is_done() or self.left[pile] <= 0:
            return
        most = self.left[pile]
        self._take(cure.add_step(position=self.position, asset=pile.asset, goal=self.goal, most=most), pile)

    def _swap(self, coin: str) -> None:
        if self._is_done():
            return
        most = self.means.sellable[coin]
        steps = [
            cure.swap_step(position=self.position, sell=coin, buy=buy, goal=self.goal, most=most)
            for buy in sorted(self.means.offered - {coin})
        ]
        found = [step for step in steps if step is not None]
        best = max(found, key=lambda step: (step.reaches, step.after.collateral, -step.amount), default=None)
        self._take(best, None)

    @exact
    def _ratio(self, pile: Pile) -> Decimal:
        """What the pile would count for, as a share of its value."""
        held = self.means.position.holdings[pile.asset]
        value, more = held.amount * held.price, (held.amount + pile.amount) * held.price
        gained = valuation.recognised(market_value=more, tiers=held.tiers)
        return (gained - valuation.recognised(market_value=value, tiers=held.tiers)) / (more - value)


def _said(amount: Decimal) -> str:
    return f"{amount.normalize():f}" if amount else "0"
