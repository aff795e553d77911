"""The chart of accounts: one function per kind of ledger account.

custody   debit   customers' coins, held           = the sum of the wallets, per asset
wallets   credit  what we owe customers            (spot, fiat, funding)
pool      debit   the desk's own coins, free to lend
principal, interest, late_fee   debit              = the sum of the debts, per asset
capital   credit  what finance put in;  *_income   credit
position  credit  conversions on the desk's own books; the only account that may be short
insurance credit  set aside from capital to settle residual debts;  bad_debt  debit  written off
workout   debit   coins taken over from a thin market, not yet free to lend
lenders   credit  what others lent us for the pools;  cost_of_funds  debit  what that costs;  cost_owed  credit
"""

from collections.abc import Iterable

from accounts.models import Account, Asset, LedgerAccount

Kind = LedgerAccount.Kind
DEBIT_KINDS = {
    Kind.CUSTODY,
    Kind.POOL,
    Kind.PRINCIPAL,
    Kind.INTEREST,
    Kind.LATE_FEE,
    Kind.BAD_DEBT,
    Kind.WORKOUT,
    Kind.COST_OF_FUNDS,
}


def wallet(account: Account | int, asset: Asset | str, kind: str = Kind.SPOT) -> LedgerAccount:
    """The customer's wallet of `kind`; opened empty when first named."""
    if kind not in LedgerAccount.WALLETS:
        raise ValueError(f"{kind} is not a wallet")
    uid = account.pk if isinstance(account, Account) else account
    return _open(kind=kind, asset=asset, uid=uid)


def open_wallets(
    keys: Iterable[tuple[int, str]], kind: str = Kind.SPOT
) -> dict[tuple[int, str], LedgerAccount]:
    """The wallets of many accounts at once, by (uid, asset), which have none of `kind` yet."""
    rows = [_new(kind=kind, symbol=symbol, uid=uid) for uid, symbol in sorted(set(keys))]
    return {(row.account_id or 0, row.asset_id): row for row in LedgerAccount.objects.bulk_create(rows)}


def custody(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.CUSTODY, asset=asset)


def pool(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.POOL, asset=asset)


def principal(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.PRINCIPAL, asset=asset)


def interest(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.INTEREST, asset=asset)


def late_fee(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.LATE_FEE, asset=asset)


def capital(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.CAPITAL, asset=asset)


def position(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.POSITION, asset=asset)


def interest_income(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.INTEREST_INCOME, asset=asset)


def late_fee_income(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.LATE_FEE_INCOME, asset=asset)


def fee_income(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.FEE_INCOME, asset=asset)


def insurance(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.INSURANCE, asset=asset)


def bad_debt(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.BAD_DEBT, asset=asset)


def workout(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.WORKOUT, asset=asset)


def lenders(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.LENDERS, asset=asset)


def cost_of_funds(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.COST_OF_FUNDS, asset=asset)


def cost_owed(asset: Asset | str) -> LedgerAccount:
    return _open(kind=Kind.COST_OWED, asset=asset)


class Chart:
    """The same accounts, found once: for work that names them again and again. Balances are those of then.

    An account that was not asked for, or did not exist, is looked up or opened when it is named, as everywhere.
    """

    def __init__(self, codes: Iterable[str] = ()) -> None:
        codes = list(codes)
        rows = LedgerAccount.objects.filter(code__in=codes) if codes else ()
        self._known = {row.code: row for row in rows}

    def house(self, kind: Kind, asset: Asset | str) -> LedgerAccount:
        symbol = asset.pk if isinstance(asset, Asset) else asset
        return self._found(kind, symbol, None)

    def wallet(self, uid: int, asset: Asset | str, kind: str = Kind.SPOT) -> LedgerAccount:
        symbol = asset.pk if isinstance(asset, Asset) else asset
        return self._found(kind, symbol, uid)

    def _found(self, kind: str, symbol: str, uid: int | None) -> LedgerAccount:
        code = code_of(kind, symbol, uid)
        if code not in self._known:
            self._known[code] = _open(kind=kind, asset=symbol, uid=uid)
        return self._known[code]


def code_of(kind: str, symbol: str, uid: int | None = None) -> str:
    """What a ledger account is called: `pool:BTC`, or `spot:10000001:BTC` for a wallet."""
    return f"{kind}:{symbol}" if uid is None else f"{kind}:{uid}:{symbol}"


def _open(*, kind: str, asset: Asset | str, uid: int | None = None) -> LedgerAccount:
    symbol = asset.pk if isinstance(asset, Asset) else asset
    new = _new(kind=kind, symbol=symbol, uid=uid)
    defaults = {
        name: getattr(new, name) for name in ("kind", "account_id", "asset_id", "normal", "may_overdraw")
    }
    account, _ = LedgerAccount.objects.get_or_create(code=new.code, defaults=defaults)
    return account


def _new(*, kind: str, symbol: str, uid: int | None) -> LedgerAccount:
    return LedgerAccount(
        code=code_of(kind, symbol, uid),
        kind=kind,
        account_id=uid,
        asset_id=symbol,
        normal=LedgerAccount.Normal.DEBIT if kind in DEBIT_KINDS else LedgerAccount.Normal.CREDIT,
        may_overdraw=kind == Kind.POSITION,
    )
