"""What a customer may ask to have moved, checked for sense, and how each kind is booked.

Whether it *may* move is not decided here: `risk/gate.py` does that, and is the only caller.

    movement    debit                credit
    deposit     custody              wallet                by the exchange port
    withdrawal  wallet               custody               by the exchange port
    transfer    the one wallet       the other wallet
    trade       wallet (sold)        custody (sold)        the desk is the other side:
                pool (sold)          position (sold)
                position (bought)    pool (bought)
                custody (bought)     wallet (bought)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import uuid4

from accounts import books, ledger
from accounts.errors import BadAmount, Refused
from accounts.exchange import exchange
from accounts.ledger import Line, Overdrawn
from accounts.models import Account, Asset, JournalEntry, LedgerAccount
from accounts.money import MAX_AMOUNT, ZERO, divide_down, exact, round_down
from accounts.words import joined, tell
from risk import prices
from risk.groups import PriceTooOld
from risk.models import Movement

Kind = Movement.Kind


class NoSuchCoin(BadAmount):
    sapi = -5003


class TooFine(BadAmount):
    """More decimals than the coin has, or no amount at all."""

    sapi = -1111


class BadWallet(Refused):
    code = "bad_wallet"
    sapi = -5010


class BadAddress(Refused):
    code = "bad_address"
    sapi = -4033


class NotYourAccount(Refused):
    code = "not_your_account"
    sapi = -5021


class BadTrade(Refused):
    code = "bad_trade"


class DeskShort(Refused):
    """The desk has too little of the coin it would sell."""

    code = "desk_short"
    sapi = -3045


@dataclass(frozen=True, slots=True)
class Move:
    """A request that makes sense. `source` and `target` are uids; a trade has its account as source."""

    kind: Kind
    customer_id: int
    asset: Asset
    amount: Decimal
    source: int | None = None
    source_wallet: str = ""
    target: int | None = None
    target_wallet: str = ""
    address: str = ""
    got_asset: Asset | None = None
    got_amount: Decimal | None = None
    quotes: Mapping[str, prices.Quote] = field(default_factory=dict)

    @property
    def uids(self) -> list[int]:
        return [uid for uid in (self.source, self.target) if uid is not None]


def deposit(*, uid: int, symbol: str, amount: Decimal, wallet: str) -> Move:
    account, asset = Account.objects.get(pk=uid), _asset(symbol)
    _check_wallet(wallet, asset)
    return Move(
        kind=Kind.DEPOSIT,
        customer_id=account.customer_id,
        asset=asset,
        amount=_checked(amount, asset),
        target=uid,
        target_wallet=wallet,
    )


def withdrawal(*, uid: int, symbol: str, amount: Decimal, wallet: str, address: str) -> Move:
    if not (0 < len(address) <= 120 and address.isascii() and address.isprintable() and " " not in address):
        raise BadAddress(tell("The address to withdraw to has 1 to 120 characters without spaces."))
    account, asset = Account.objects.get(pk=uid), _asset(symbol)
    _check_wallet(wallet, asset)
    return Move(
        kind=Kind.WITHDRAWAL,
        customer_id=account.customer_id,
        asset=asset,
        amount=_checked(amount, asset),
        source=uid,
        source_wallet=wallet,
        address=address,
    )


def transfer(
    *, source_uid: int, source_wallet: str, target_uid: int, target_wallet: str, symbol: str, amount: Decimal
) -> Move:
    source, target = Account.objects.get(pk=source_uid), Account.objects.get(pk=target_uid)
    asset = _asset(symbol)
    _check_wallet(source_wallet, asset)
    _check_wallet(target_wallet, asset)
    if source.customer_id != target.customer_id:
        raise NotYourAccount(
            tell("Coins move only between accounts of one customer; withdraw to send them away.")
        )
    if (source_uid, source_wallet) == (target_uid, target_wallet):
        raise BadWallet(tell("The two wallets are the same one; choose another to move to."))
    return Move(
        kind=Kind.TRANSFER,
        customer_id=source.customer_id,
        asset=asset,
        amount=_checked(amount, asset),
        source=source_uid,
        source_wallet=source_wallet,
        target=target_uid,
        target_wallet=target_wallet,
    )


def trade(*, uid: int, sell: str, amount: Decimal, buy: str, at: datetime) -> Move:
    """At the index, both prices fresh; what is bought rounds down. R-VIP-54"""
    account, sold, wanted = Account.objects.get(pk=uid), _asset(sell), _asset(buy)
    if sell == buy:
        raise BadTrade(
            tell("Selling {sell} for {buy} changes nothing; choose two coins.", sell=sell, buy=buy)
        )
    quotes = prices.latest(at=at, assets=[sell, buy])
    stale = [symbol for symbol in (sell, buy) if symbol not in quotes or not quotes[symbol].fresh]
    if stale:
        raise PriceTooOld(
            tell(
                "There is no fresh price of {stale} to trade at; try again soon.",
                stale=joined(tell(" and "), stale),
            )
        )
    amount = _checked(amount, sold)
    got = bought(amount=amount, sell=quotes[sell].price, buy=quotes[buy].price, places=wanted.places)
    if not ZERO < got < MAX_AMOUNT:
        raise BadTrade(
            tell(
                "{amount:f} {sell} cannot be traded: it would buy {got:f} {buy}.",
                amount=amount,
                sell=sell,
                got=got,
                buy=buy,
            )
        )
    return Move(
        kind=Kind.TRADE,
        customer_id=account.customer_id,
        asset=sold,
        amount=amount,
        source=uid,
        source_wallet=LedgerAccount.Kind.SPOT,
        got_asset=wanted,
        got_amount=got,
        quotes=quotes,
    )


@exact
def bought(*, amount: Decimal, sell: Decimal, buy: Decimal, places: int) -> Decimal:
    """What `amount` at `sell` USD buys at `buy` USD, rounded down at `places`: the desk owes it. R-GEN-02"""
    return divide_down(amount * sell, buy, places)


def post(move: Move, *, at: datetime) -> JournalEntry:
    """Book the move as one journal entry, by the table above. Inside a command."""
    reference = f"{move.kind}:{uuid4().hex}"
    source, target = (
        books.wallet(uid, move.asset, kind) if uid is not None else None
        for uid, kind in ((move.source, move.source_wallet), (move.target, move.target_wallet))
    )
    if move.kind == Kind.DEPOSIT and target:
        return exchange().deposit(wallet=target, amount=move.amount, key=reference, at=at)
    if move.kind == Kind.WITHDRAWAL and source:
        return exchange().pay_out(wallet=source, amount=move.amount, key=reference, at=at)
    if move.kind == Kind.TRANSFER and source and target:
        lines = [Line(debit=source, credit=target, amount=move.amount)]
        return ledger.post(kind="transfer", reference=reference, lines=lines, at=at)
    return _post_trade(move, reference, at=at)


# --- Private ----------------------------------------------------------------------------------------


def _post_trade(move: Move, reference: str, *, at: datetime) -> JournalEntry:
    sold, bought, got = move.asset, move.got_asset, move.got_amount
    assert move.source is not None
    assert bought is not None
    assert got is not None
    spot = LedgerAccount.Kind.SPOT
    lines = [
        Line(debit=books.wallet(move.source, sold, spot), credit=books.custody(sold), amount=move.amount),
        Line(debit=books.pool(sold), credit=books.position(sold), amount=move.amount),
        Line(debit=books.position(bought), credit=books.pool(bought), amount=got),
        Line(debit=books.custody(bought), credit=books.wallet(move.source, bought, spot), amount=got),
    ]
    try:
        return ledger.post(kind="trade", reference=reference, lines=lines, at=at)
    except Overdrawn:
        if books.pool(bought).balance >= got:
            raise
        raise DeskShort(
            tell("The desk has too little {bought} to sell {got:f} just now.", bought=bought.pk, got=got)
        ) from None


def _asset(symbol: str) -> Asset:
    asset = Asset.objects.filter(pk=symbol).first()
    if asset is None:
        raise NoSuchCoin(tell("There is no such coin here."))
    return asset


def _checked(amount: Decimal, asset: Asset) -> Decimal:
    """Edges parse text; this stops an amount the ledger could not hold, whoever calls."""
    if not amount.is_finite() or not ZERO < amount < MAX_AMOUNT or round_down(amount, asset.places) != amount:
        raise TooFine(
            tell(
                "An amount of {asset} is more than zero and has at most {places} decimals.",
                asset=asset.pk,
                places=asset.places,
            )
        )
    return amount


def _check_wallet(wallet: str, asset: Asset) -> None:
    if wallet not in LedgerAccount.WALLETS:
        raise BadWallet(tell("A wallet is Spot, Fiat or Funding."))
    if wallet == LedgerAccount.Kind.FIAT and asset.kind != Asset.Kind.FIAT:
        raise BadWallet(tell("The Fiat wallet is for currencies; {asset} is none.", asset=asset.pk))
