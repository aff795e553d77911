"""What if: change prices, coins, debts and ratios of a group on paper, and see what the desk would say. R-FTR-01, 02

A form that is only ever read (GET), so a what-if is an address that can be sent to somebody. Nothing is done here.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account, Asset
from accounts.money import ONE, ZERO, exact
from accounts.pages.access import customer_of, limited_to, user_of
from accounts.pages.forms import REFUSED, LongSelect, amount_field, read_amount
from accounts.templatetags import figures
from accounts.words import tell
from risk import book, cures, prices, prospects, whatif
from risk.book import GroupState
from risk.cure import Goal, Kind
from risk.models import CollateralGroup
from risk.pages import groups as group_pages
from risk.pages.advice import Cure, cures_for, goals_of
from risk.pages.promised import may_do
from risk.pages.track import Track, track
from risk.prospects import ALL, Spot
from risk.valuation import Tier, Tiers
from risk.whatif import Answer, Borrowing, Change, Changes, Repayment, TopUp, Trade, WhatIf, Withdrawal

ACROSS: Final = tuple(Decimal(percent) / 100 for percent in (-50, -30, -15, 0, 10))
DOWN: Final = tuple(Decimal(percent) / 100 for percent in (-50, -30, -15, 0, 10))
WORDS_FOR_ALL: Final = tell("all that move")
AMOUNTS: Final = {"add": "add_coin", "out": "out_coin", "sell": "sell_coin", "borrow": "borrow_coin"}


def _percent_field(label: str, *, least: int = -99, most: int = 900) -> forms.DecimalField:
    field = forms.DecimalField(
        label=label, required=False, min_value=least, max_value=most, max_digits=7, decimal_places=2
    )
    field.widget.attrs |= {"inputmode": "decimal", "autocomplete": "off"}
    return field


class WhatIfForm(forms.Form):
    """Everything is optional. `p_BTC` is the change of a coin's price in per cent."""

    p_all = _percent_field(tell("All coins that move"), most=100)
    add = amount_field(tell("Add"), required=False)
    add_coin = forms.ChoiceField(label=tell("of"), required=False)
    add_account = forms.TypedChoiceField(label=tell("into"), coerce=int, required=False)
    repay = amount_field(tell("Repay"), required=False)
    repay_loan = forms.TypedChoiceField(label=tell("of"), coerce=int, required=False)
    out = amount_field(tell("Withdraw"), required=False)
    out_coin = forms.ChoiceField(label=tell("of"), required=False)
    out_account = forms.TypedChoiceField(label=tell("from"), coerce=int, required=False)
    sell = amount_field(tell("Sell"), required=False)
    sell_coin = forms.ChoiceField(label=tell("of"), required=False)
    buy = forms.ChoiceField(label=tell("for"), required=False)
    sell_account = forms.TypedChoiceField(label=tell("in"), coerce=int, required=False)
    borrow = amount_field(tell("Borrow"), required=False)
    borrow_coin = forms.ChoiceField(label=tell("of"), required=False, widget=LongSelect)
    ratio = _percent_field(tell("Ratios change by"), least=-100, most=100)
    ratio_coin = forms.ChoiceField(label=tell("of"), required=False)
    target = _percent_field(tell("A target of your own"), least=1, most=99)
    across = forms.ChoiceField(label=tell("Across"), required=False)
    down = forms.ChoiceField(label=tell("Down"), required=False)

    def __init__(
        self, *args: Any, state: GroupState, accounts: list[Account], lendable: Iterable[str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.state = state
        self.moving = _moving(state)
        for coin in self.moving:
            self.fields[f"p_{coin}"] = _percent_field(coin)
        chosen = sorted(coin for coin in state.coins if coin in state.terms and coin in state.quotes)
        held = sorted(
            {wallet.asset for wallet in state.wallets if wallet.balance and wallet.asset in state.quotes}
        )
        self._offer("add_coin", chosen)
        self._offer("out_coin", held)
        self._offer("sell_coin", held)
        self._offer("buy", sorted({*chosen, *held}))
        self._offer("borrow_coin", sorted({*state.owed_assets, *lendable}))
        self._offer("ratio_coin", chosen)
        for name in ("across", "down"):
            named = [(coin, coin) for coin in self.moving]
            self._choices(name, [("", tell("the largest")), *named, (ALL, WORDS_FOR_ALL)])
        for name in ("add_account", "out_account", "sell_account"):
            self._choices(name, [(account.pk, str(account)) for account in accounts])
        self._choices("repay_loan", [(owed.debt.pk, _loan_words(owed)) for owed in state.debts])

    @property
    def price_fields(self) -> list[forms.BoundField]:
        return [self[f"p_{coin}"] for coin in self.moving]

    def _offer(self, name: str, coins: Iterable[str]) -> None:
        self._choices(name, [(coin, coin) for coin in coins])

    def _choices(self, name: str, choices: list[tuple[Any, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        for name, coin_field in AMOUNTS.items():
            self._read(name, str(self.cleaned_data.get(coin_field) or ""))
        debts = {owed.debt.pk: owed.debt.asset_id for owed in self.state.debts}
        self._read("repay", debts.get(self.cleaned_data.get("repay_loan") or 0, ""))
        return self.cleaned_data

    def _read(self, name: str, coin: str) -> None:
        """An empty amount is no change; a coin must be said with one."""
        if not self.cleaned_data.get(name):
            self.cleaned_data[name] = None
        elif coin not in self.state.assets:
            self.add_error(name, tell("Choose the coin, or leave the amount empty."))
        else:
            self.cleaned_data[name] = read_amount(self, name, places=self.state.assets[coin].places)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer in words."""

    words: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class MapRow:
    """`spots`: how far the coin across moves, and what that comes to."""

    move: Decimal
    spots: tuple[tuple[Decimal, Spot], ...]


@require_safe
@login_required
def what_if(request: HttpRequest, group_id: int) -> HttpResponse:
    """One view for the page and for the part of it that follows the form."""
    if limited_to(request) is not None:  # it tells of the whole customer's coins (R-GEN-95)
        raise Http404
    at = timezone.now()
    rows = group_pages.groups_for(user_of(request)).open().select_related("customer", "receiver")
    group = get_object_or_404(rows, pk=group_id)
    state, lendable = _state(group, at)
    accounts = list(Account.objects.filter(pk__in=state.members).order_by("pk"))
    form = WhatIfForm(request.GET or None, state=state, accounts=accounts, lendable=lendable)
    is_asked = form.is_bound and form.is_valid()
    changes = _changes(form) if is_asked else Changes()
    found = whatif.ask(state, changes, at=at)
    is_mine = customer_of(request) == group.customer
    across, down = _sides(form)
    context = {
        "group": group,
        "form": form,
        "at": at,
        "found": found,
        "is_changed": changes != Changes(),
        "track": _track(found),
        "told": [Told(_words(answer.change, found, accounts), answer) for answer in found.answers],
        "rows": prospects.figures(found.after, at=at),
        "falls": [
            (line, prospects.fall_to(found.after, line))
            for line in (found.after.lines.margin_call, found.after.lines.liquidation)
        ],
        "cures": _cures(
            form,
            found,
            at=at,
            linked=may_do(request) if is_mine else frozenset(),
            is_real=changes == Changes(),
        ),
        "across": ACROSS,
        "map": _map(form, found.after),
        "across_word": WORDS_FOR_ALL if across == ALL else across,
        "down_word": WORDS_FOR_ALL if down == ALL else down,
        "is_house": customer_of(request) is None,
    }
    template = "risk/_what_if.html" if request.headers.get("HX-Request") else "risk/what_if.html"
    return render(request, template, context, status=REFUSED if form.errors else 200)


def _state(group: CollateralGroup, at: datetime) -> tuple[GroupState, list[str]]:
    """The group with the prices of every coin it holds or could borrow."""
    state = book.state_of(group, at=at)
    loanable = Asset.objects.filter(loanable=True).values_list("pk", flat=True)
    quoted = prices.latest(at=at, assets=loanable)
    symbols = {wallet.asset for wallet in state.wallets if wallet.balance} | set(quoted)
    return cures.with_market(state, symbols, at=at), sorted(quoted)


def _moving(state: GroupState) -> list[str]:
    """Coins held or owed whose price moves, by name."""
    used = {wallet.asset for wallet in state.wallets if wallet.balance} | state.owed_assets
    return sorted(
        coin for coin in used if coin in state.quotes and state.assets[coin].kind == Asset.Kind.CRYPTO
    )


@exact
def _changes(form: WhatIfForm) -> Changes:
    given, state = form.cleaned_data, form.state
    moved: dict[str, Decimal] = {}
    for coin in form.moving:
        by = given.get(f"p_{coin}")
        by = given.get("p_all") if by is None else by
        if by:
            moved[coin] = state.quotes[coin].price * (ONE + by / 100)
    ratios: dict[str, Tiers] = {}
    if given.get("ratio") and given.get("ratio_coin"):
        ratios[given["ratio_coin"]] = _shifted(state.terms[given["ratio_coin"]].tiers, given["ratio"] / 100)
    return Changes(prices=moved, ratios=ratios, steps=tuple(_steps(given)))


def _shifted(tiers: Tiers, by: Decimal) -> Tiers:
    """Every ratio up or down by so much, within 0 and 1."""
    return tuple(Tier(tier.floor, min(max(tier.ratio + by, ZERO), ONE)) for tier in tiers)


def _steps(given: dict[str, Any]) -> Iterable[Change]:
    if given["add"] and given["add_account"]:
        yield TopUp(given["add_account"], given["add_coin"], given["add"])
    if given["repay"]:
        yield Repayment(given["repay_loan"], given["repay"])
    if given["sell"] and given["sell_account"] and given["buy"]:
        yield Trade(given["sell_account"], given["sell_coin"], given["sell"], given["buy"])
    if given["out"] and given["out_account"]:
        yield Withdrawal(given["out_account"], given["out_coin"], given["out"])
    if given["borrow"]:
        yield Borrowing(given["borrow_coin"], given["borrow"])


# --- What is shown ------------------------------------------------------------------------------------------


def _track(found: WhatIf) -> Track | None:
    before = found.before.worth(permission=False)
    if not before.debt or any(coin not in found.before.quotes for coin in found.before.owed_assets):
        return None
    is_same = found.after == found.before
    return track(
        before.ltv, found.before.lines, after=None if is_same or found.worth.ltv is None else found.worth.ltv
    )


def _cures(
    form: WhatIfForm, found: WhatIf, *, at: datetime, linked: Collection[Kind], is_real: bool
) -> list[Cure]:
    goals: list[Goal] = list(goals_of(found.after))
    target = form.cleaned_data.get("target") if form.is_bound and not form.errors else None
    if target is not None:
        goals.append(Goal(target / 100))
    return cures_for(found.after, tuple(goals), at=at, linked=linked, is_real=is_real)


def _sides(form: WhatIfForm) -> tuple[str, str]:
    """What the map moves: as chosen, else the coin worth most, and all others with it."""
    state, coins = form.state, form.moving
    offered = {*coins, ALL}
    held = {
        coin: sum((wallet.balance for wallet in state.wallets if wallet.asset == coin), ZERO)
        * state.quotes[coin].price
        for coin in coins
    }
    largest = sorted(coins, key=lambda coin: (-held[coin], coin)) or [ALL]
    given = form.cleaned_data if form.is_bound and not form.errors else {}
    across = given.get("across") or largest[0]
    down = given.get("down") or (largest[1] if len(largest) > 1 else ALL)
    return (across if across in offered else ALL), (down if down in offered else ALL)


def _map(form: WhatIfForm, state: GroupState) -> list[MapRow]:
    if not (state.debts or state.borrowed) or any(coin not in state.quotes for coin in state.owed_assets):
        return []
    across, down = _sides(form)
    moves = (ZERO,) if across == down else DOWN
    seen = prospects.shock_map(state, across=across, down=down, across_moves=ACROSS, down_moves=moves)
    return [
        MapRow(move, tuple(zip(ACROSS, spots, strict=True))) for move, spots in zip(moves, seen, strict=True)
    ]


def _words(change: Change, found: WhatIf, accounts: list[Account]) -> str:
    named = {account.pk: str(account) for account in accounts}
    match change:
        case TopUp(uid, asset, amount):
            return tell("Add {amount} to {uid}", amount=figures.plain(amount, asset), uid=named.get(uid, uid))
        case Repayment(debt_id, amount):
            coin = next(owed.debt.asset_id for owed in found.before.debts if owed.debt.pk == debt_id)
            return tell("Repay {amount}", amount=figures.plain(amount, coin))
        case Trade(uid, sell, amount, buy):
            return tell(
                "Sell {amount} for {buy} in {uid}",
                amount=figures.plain(amount, sell),
                buy=buy,
                uid=named.get(uid, uid),
            )
        case Withdrawal(uid, asset, amount):
            return tell(
                "Withdraw {amount} from {uid}", amount=figures.plain(amount, asset), uid=named.get(uid, uid)
            )
        case Borrowing(asset, amount):
            return tell("Borrow {amount}", amount=figures.plain(amount, asset))


def _loan_words(owed: Any) -> str:
    return tell(
        "{asset} loan {debt}, {total}",
        asset=owed.debt.asset_id,
        debt=owed.debt,
        total=figures.plain(owed.parts.total, owed.debt.asset_id),
    )
