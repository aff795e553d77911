"""The group a request would have: what each account counts for, and why the others do not (R-VIP-03…05, R-GEN-13)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts.models import Account, Asset
from accounts.money import ZERO, divide_down, exact
from accounts.words import joined, tell
from loans.pages.apply_form import Choices
from risk import freezes
from risk.book import GroupState
from risk.pages.holdings import AccountRow, account_rows
from risk.pages.standing import coin_rows

WIDE: Final = 100  # per cent of the bar
EMPTY: Final = tell("Its Spot wallet is empty, so it would add nothing. Move coins there first.")


@dataclass(frozen=True, slots=True)
class Part:
    """A collateral account in the group. `share`: a fraction of what all recognise, rounded down; x and width in %."""

    row: AccountRow
    share: Decimal
    x: str
    width: str


@dataclass(frozen=True, slots=True)
class Left:
    """An account outside the group, and why."""

    account: Account
    why: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The accounts as one group. `could`: not ticked, and nothing speaks against it. `cannot`: something does."""

    parts: tuple[Part, ...]
    recognised: Decimal
    could: tuple[Left, ...]
    cannot: tuple[Left, ...]


def barred_from(choices: Choices, *, receiver: int | None, at: datetime) -> dict[int, str]:
    """The accounts that cannot secure a loan of this receiver, and why: the first reason of each, in words."""
    frozen = freezes.borrow_problems_by_account([account.pk for account in choices.accounts], at=at)
    found = {a.pk: _why_not(choices, a, receiver) or frozen.get(a.pk, "") for a in choices.accounts}
    return {uid: why for uid, why in found.items() if why}


@exact
def drawing_of(choices: Choices, state: GroupState | None, barred: Mapping[int, str]) -> Drawing:
    """What counts in `state`, and every other account of the customer with the reason."""
    accounts = {account.pk: account for account in choices.accounts}
    rows: Sequence[AccountRow] = ()
    if state is not None:
        held = {wallet.asset for wallet in state.wallets if wallet.balance}
        missing = sorted(held - set(state.assets))
        assets = dict(state.assets) | (Asset.objects.in_bulk(missing) if missing else {})
        rows = account_rows(state, coin_rows(state), accounts, assets)
    total = sum((row.recognised for row in rows), ZERO)
    inside = {row.account.pk for row in rows}
    outside = [account for account in choices.accounts if account.pk not in inside]
    empty = {a.pk: EMPTY for a in outside if a.pk not in choices.filled}
    against = empty | dict(barred)
    return Drawing(
        parts=tuple(_parts(rows, total)),
        recognised=total,
        could=tuple(Left(a, _holds(choices, a)) for a in outside if a.pk not in against),
        cannot=tuple(Left(a, against[a.pk]) for a in outside if a.pk in against),
    )


def _parts(rows: Sequence[AccountRow], total: Decimal) -> Iterator[Part]:
    x = ZERO
    for row in sorted(rows, key=lambda row: (-row.recognised, row.account.pk)):
        width = divide_down(row.recognised * WIDE, total, 2) if total else ZERO
        share = divide_down(row.recognised, total, 4) if total else ZERO
        yield Part(row, share, f"{x}%", f"{width}%")
        x += width


def _why_not(choices: Choices, account: Account, receiver: int | None) -> str:
    group = choices.pledged.get(account.pk)
    if account.kind == Account.Kind.SUB_MANAGED:
        return tell("A managed sub-account can neither receive nor secure a loan.")
    if account.pk == receiver:
        return tell(
            "It receives this loan, so it cannot secure it. Choose another receiving account to use it."
        )
    if group is not None and group.receiver_id != receiver:
        return tell(
            "It already secures {group}. An account backs one group at a time; take it out there first.",
            group=group.name,
        )
    return ""


def _holds(choices: Choices, account: Account) -> str:
    return joined(", ", choices.coins_by_account.get(account.pk, ()))
