"""Take one coin of a group for one debt: netted when it is the debt's own coin, sold to the venue otherwise.

Part of a liquidation's story (risk/liquidation.py), inside its transaction and under its locks. Each taking is
a seizure per account and one settlement:

    what                     debit                 credit
    seizure, coin            wallet                custody          (the exchange port)
                             pool or workout       position         (workout: the market was too thin, R-GEN-79)
    settlement, debt's coin  position              late_fee, interest, principal   (and the debt's entry)
                             position              fee_income
    rounding back            position              pool             (a sale brings whole units of the coin,
                             custody               wallet            so it may bring a crumb too much)
Position nets to zero when the coin is the debt's own; after a sale it is what the desk bought and paid.

House accounts are everybody's: `take` only posts into the till's batch, and `write` books all takings at once.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from accounts import books, ledger
from accounts.exchange import Fill, exchange
from accounts.models import LedgerAccount
from accounts.money import ZERO, exact
from risk import debts as debt_chapter
from risk import pace, workout
from risk.book import WALLET, GroupState, Wallet
from risk.models import Debt, DebtEntry, Liquidation, Sale
from risk.waterfall import (
    CoinFacts,
    Parts,
    Shares,
    allocate,
    amount_to_sell,
    needed_for,
    order_coins,
    pro_rata,
    proceeds_of,
    split_proceeds,
)
from risk.workout import Piece

Kind = LedgerAccount.Kind
LAST_RANK = 10_000  # a chosen coin that counts for nothing any more is sold after all others

Balances = dict[int, Decimal]


@dataclass(slots=True)
class Progress:
    """How far one debt has come. In its coin: `based` is what was repaid and bears the fee, `fee` what was taken."""

    debt: Debt
    fee_rate: Decimal
    based: Decimal = ZERO
    fee: Decimal = ZERO

    @property
    def parts(self) -> Parts:
        return _booked(self.debt)

    def needed(self, *, with_fee: bool, at_most: Decimal | None = None) -> Decimal:
        """What is still to be brought for the debt, or for `at_most` of it, and for the fee on all that bears one.

        R-GEN-75
        """
        owed = self.debt.booked if at_most is None else min(at_most, self.debt.booked)
        if not with_fee:
            return owed
        whole = needed_for(
            owed_total=owed + self.based, fee_rate=self.fee_rate, places=self.debt.asset.places
        )
        return max(whole - self.based - self.fee, owed)


@dataclass(slots=True)
class Till:
    """A running liquidation: the collateral still there by coin and account, and what was taken so far.

    Some that are worked off together have one `batch` and one list of `unsaved` sales.
    """

    row: Liquidation
    state: GroupState
    slippage: Decimal
    at: datetime
    balances: dict[str, Balances]
    fee_rate: Decimal  # of the debt repaid, whatever the fee is a fraction of (R-GEN-75)
    steps: int = 0
    sold_usd: Decimal = ZERO
    fee_usd: Decimal = ZERO
    sales: list[Sale] = field(default_factory=list)
    batch: ledger.Batch = field(default_factory=lambda: ledger.Batch(books.Chart()))
    touched: dict[int, Debt] = field(default_factory=dict)  # every debt that something was taken for
    unsaved: list[Sale] = field(default_factory=list)
    bounded: pace.Bounded = pace.Bounded(frozenset(), frozenset())
    only_market: bool = False  # what the market does not take is left alone, not taken over (R-FTR-05)

    def is_fresh(self, asset: str) -> bool:
        quote = self.state.quotes.get(asset)
        return quote is not None and quote.fresh


@dataclass(frozen=True, slots=True)
class _Taking:
    """What one taking brings, before it is booked."""

    sold: Decimal
    proceeds: Decimal
    fill: Fill


def collateral_of(state: GroupState) -> dict[str, Balances]:
    """The chosen coins there are, by coin and account (R-GEN-34)."""
    balances: dict[str, Balances] = defaultdict(dict)
    for wallet in state.wallets:
        if wallet.asset in state.coins and wallet.balance > 0:
            balances[wallet.asset][wallet.uid] = wallet.balance
    return dict(balances)


def coins_for(till: Till, debt: Debt) -> list[str]:
    """The coins that are left, in the order in which they are taken for this debt. R-GEN-72"""
    left = {coin: sum(held.values(), ZERO) for coin, held in till.balances.items()}
    facts = [_facts(till, coin, amount) for coin, amount in left.items() if amount > 0]
    return [coin.asset for coin in order_coins(facts, debt.asset_id)]


@exact
def _facts(till: Till, coin: str, amount: Decimal) -> CoinFacts:
    terms, quote = till.state.terms.get(coin), till.state.quotes.get(coin)
    return CoinFacts(
        asset=coin,
        stable=till.state.assets[coin].kind == "stable",
        rank=terms.rank if terms else LAST_RANK,
        value=amount * quote.price if quote else ZERO,
    )


def can_bring(state: GroupState, *, coin: str, debt: Debt, amount: Decimal, slippage: Decimal) -> bool:
    """Is `amount` of the coin at its last price worth at least one unit of the debt's coin? Dust is left alone."""
    if coin == debt.asset_id:
        return amount > 0
    if coin not in state.quotes or debt.asset_id not in state.quotes:
        return False
    brings = proceeds_of(
        sold=amount,
        coin_price=state.quotes[coin].price,
        debt_price=state.quotes[debt.asset_id].price,
        slippage=slippage,
        debt_places=debt.asset.places,
    )
    return brings > 0


def take(
    till: Till,
    progress: Progress,
    *,
    coin: str,
    held: Balances,
    with_fee: bool,
    bears_fee: bool,
    at_most: Decimal | None = None,
) -> None:
    """Take as much of `coin` from `held` (by uid, updated) as the debt needs, or all there is. R-GEN-72, 74, 75, 76

    `with_fee`: enough for the fee too. `bears_fee`: what this repays counts into the fee's base. `at_most`: repay
    no more of the debt than this. Nothing happens when nothing is needed, or when all there is would not bring
    one unit of the debt's coin.
    """
    needed = progress.needed(with_fee=with_fee, at_most=at_most)
    total = sum(held.values(), ZERO)
    if needed <= 0 or total <= 0:
        return
    taking = _taking(till, progress.debt, coin=coin, total=total, needed=needed)
    if taking is None:
        return
    debt = progress.debt
    till.touched[debt.pk] = debt
    shares = split_proceeds(
        proceeds=taking.proceeds,
        owed=progress.parts if at_most is None else allocate(amount=at_most, owed=progress.parts),
        fee_rate=progress.fee_rate if with_fee else ZERO,
        places=debt.asset.places,
        fee_base_paid=progress.based if with_fee else ZERO,
        fee_taken=progress.fee if with_fee else ZERO,
    )
    places = till.state.assets[coin].places
    taken = pro_rata(amount=taking.sold, balances=list(held.items()), places=places)
    _book(till, debt, coin=coin, taking=taking, shares=shares, taken=taken)
    for uid, amount in taken:
        held[uid] -= amount
    if bears_fee:
        progress.based += shares.parts.total
    progress.fee += shares.fee


def _taking(till: Till, debt: Debt, *, coin: str, total: Decimal, needed: Decimal) -> _Taking | None:
    quotes = till.state.quotes
    mark = quotes[coin].price
    if coin == debt.asset_id:
        amount = min(total, needed)
        return _Taking(amount, amount, Fill(mark=mark, price=mark, slippage=ZERO, venue="netting"))
    debt_price, places = quotes[debt.asset_id].price, debt.asset.places
    coin_places = till.state.assets[coin].places

    def to_sell(price: Decimal, slippage: Decimal) -> Decimal:
        enough = amount_to_sell(
            needed=needed,
            debt_price=debt_price,
            coin_price=price,
            slippage=slippage,
            coin_places=coin_places,
            debt_places=places,
        )
        return min(total, enough)

    asset = till.state.assets[coin]
    expected = to_sell(mark, till.slippage)
    fill = exchange().quote(coin=asset, amount=expected, mark=mark, slippage=till.slippage)
    if fill.price <= 0:  # nobody bids: as good as dust
        return None
    sold = to_sell(fill.price, ZERO)  # the fill's price has the slippage in it
    if till.only_market:
        room = workout.room_for(coin, price=fill.price, at=till.at, unsaved=till.unsaved)
        sold = sold if room is None else min(sold, room)
    proceeds = proceeds_of(
        sold=sold, coin_price=fill.price, debt_price=debt_price, slippage=ZERO, debt_places=places
    )
    return _Taking(sold, proceeds, fill) if proceeds > 0 else None


def _book(
    till: Till,
    debt: Debt,
    *,
    coin: str,
    taking: _Taking,
    shares: Shares,
    taken: Sequence[tuple[int, Decimal]],
) -> None:
    """Seize from each account, settle once, and write down one sale per account."""
    first = till.steps + 1
    mine = till.unsaved if coin in till.bounded.thin else None
    pieces = workout.split(coin=coin, taken=taken, fill=taking.fill, at=till.at, unsaved=mine)
    till.steps += len(pieces)
    key, batch = f"liquidation:{till.row.pk}", till.batch
    for step, piece in enumerate(pieces, start=first):
        exchange().seize(
            wallet=batch.chart.wallet(piece.uid, coin, WALLET),
            amount=piece.amount,
            key=f"{key}:{step}:seize",
            at=till.at,
            into=batch.chart.house(Kind.WORKOUT, coin) if piece.taken_over else None,
            batch=batch,
        )
    back = _paid_back(till, debt, shares.surplus, uid=taken[0][0])
    lines = [*_settlement(till, debt, shares), *back.lines]
    reference = f"{key}:{till.steps}"
    if shares.parts.total > 0:
        debt_chapter.settle(
            debt=debt,
            parts=shares.parts,
            kind=DebtEntry.Kind.LIQUIDATION,
            lines=lines,
            reference=reference,
            at=till.at,
            batch=batch,
        )
    else:  # only the fee was missing
        batch.post(kind="liquidation", reference=reference, lines=lines, at=till.at)
    proceeds = shares.parts.total + shares.fee + back.amount
    _record(till, debt, coin, taking, first, pieces, proceeds=proceeds, fee=shares.fee)


def _settlement(till: Till, debt: Debt, shares: Shares) -> list[ledger.Line]:
    chart = till.batch.chart
    position = chart.house(Kind.POSITION, debt.asset_id)
    fee = ledger.Line(debit=position, credit=chart.house(Kind.FEE_INCOME, debt.asset_id), amount=shares.fee)
    return [*debt_chapter.control_lines(debt, shares.parts, paid_into=position, chart=chart), fee]


@dataclass(frozen=True, slots=True)
class _Back:
    amount: Decimal
    lines: list[ledger.Line]


def _paid_back(till: Till, debt: Debt, surplus: Decimal, *, uid: int) -> _Back:
    """The crumb by which whole units of the coin brought too much goes to the account that gave them. R-GEN-77

    Out of the pool, as far as it reaches: a pool that is lent out to the last coin must not stop a liquidation.
    """
    asset, chart = debt.asset_id, till.batch.chart
    pool = chart.house(Kind.POOL, asset)
    amount = min(surplus, till.batch.balance(pool))
    if amount <= 0:
        return _Back(ZERO, [])
    if asset in till.state.coins:
        held = till.balances.setdefault(asset, {})
        held[uid] = held.get(uid, ZERO) + amount
    lines = [
        ledger.Line(debit=chart.house(Kind.POSITION, asset), credit=pool, amount=amount),
        ledger.Line(
            debit=chart.house(Kind.CUSTODY, asset), credit=chart.wallet(uid, asset, WALLET), amount=amount
        ),
    ]
    return _Back(amount, lines)


@exact
def _record(
    till: Till,
    debt: Debt,
    coin: str,
    taking: _Taking,
    first: int,
    pieces: Sequence[Piece],
    *,
    proceeds: Decimal,
    fee: Decimal,
) -> None:
    quotes, places = till.state.quotes, debt.asset.places
    rows = [
        Sale(
            liquidation=till.row,
            step=step,
            account_id=piece.uid,
            debt=debt,
            coin_id=coin,
            sold=piece.amount,
            mark_id=quotes[coin].price_id,
            debt_mark_id=quotes[debt.asset_id].price_id,
            price=taking.fill.price,
            slippage=taking.fill.slippage,
            proceeds=share,
            fee=share_of_fee,
            venue=piece.venue,
            at=till.at,
        )
        for step, piece, share, share_of_fee in zip(
            range(first, first + len(pieces)),
            pieces,
            workout.attributed(proceeds, pieces, places),
            workout.attributed(fee, pieces, places),
            strict=True,
        )
    ]
    till.sales += rows
    till.unsaved += rows
    till.sold_usd += taking.sold * taking.fill.price
    till.fee_usd += fee * quotes[debt.asset_id].price


def write(till: Till) -> None:
    """Book all that was taken and not booked yet, for the till and those that it is worked off with.

    From here on the house accounts are locked: finish soon.

    Raises pace.NoRoom: enough was sold of a coin for now, and this liquidation is one that waits then (R-FTR-22).
    """
    if till.bounded.paced and till.row.cause in pace.KEPT_WAITING:
        pace.hold(till.unsaved, at=till.at)
    till.batch.write()
    Sale.objects.bulk_create(till.unsaved)
    till.unsaved.clear()


def left(till: Till, rows: Sequence[Debt]) -> GroupState:
    """The group after what was taken, as it would be read again; `rows` are debts of it as they are now."""
    state, now = till.state, till.touched | {debt.pk: debt for debt in rows}
    held = {(wallet.uid, wallet.asset): wallet.balance for wallet in state.wallets}
    held |= {(uid, coin): amount for coin, by_uid in till.balances.items() for uid, amount in by_uid.items()}
    return replace(
        state,
        wallets=tuple(
            Wallet(uid, coin, held[uid, coin]) for uid, coin in sorted(held) if uid in state.members
        ),
        debts=tuple(
            replace(owed, debt=now[owed.debt.pk], parts=_booked(now[owed.debt.pk]))
            if owed.debt.pk in now
            else owed
            for owed in state.debts
        ),
        is_liquidating=True,
    )


def _booked(debt: Debt) -> Parts:
    return Parts(late_fee=debt.late_fee, interest=debt.interest, principal=debt.principal)
