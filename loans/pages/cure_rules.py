"""The rules by which a group cures itself: see, add, remove, what they did, and what they would do. R-FTR-04

The borrower sets them; the manager and the house only look.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import Refused
from accounts.models import Account, LedgerAccount
from accounts.money import ONE, exact
from accounts.pages.access import actor_of, customer_of, for_customer, lacks, limited_to, user_of
from accounts.pages.forms import REFUSED, amount_field, key_field, key_of, read_amount, refuse
from accounts.powers import Power
from accounts.words import tell
from loans import cure_plans, cure_rules
from loans.cure_plans import Rehearsed
from loans.cure_rules import LEAST_COOLING, MOST_COOLING, MOST_RULES
from risk import book, cures, whatif
from risk.book import GroupState
from risk.models import CollateralGroup, CureRule, CureRun
from risk.pages.groups import groups_for
from risk.pages.standing import standing_of

PERCENT_PLACES: Final = 8  # of what is typed; kept as a fraction with two more
RUNS_SHOWN: Final = 25
FALLS: Final = (Decimal(0), Decimal("-0.1"), Decimal("-0.2"), Decimal("-0.3"))
Kind = CureRule.Kind
KINDS: Final = [
    (Kind.TOP_UP.value, tell("Add")),
    (Kind.REPAY.value, tell("Repay")),
    (Kind.SWAP.value, tell("Swap")),
]


class RuleForm(forms.Form):
    """One form for the three kinds; what a kind does not need is left as it is."""

    kind = forms.ChoiceField(
        label=tell("What it does"), choices=KINDS, widget=forms.RadioSelect, initial=Kind.REPAY
    )
    asset = forms.ChoiceField(label=tell("Coin"))
    source = forms.ChoiceField(label=tell("Add: taken from"), required=False)
    account = forms.TypedChoiceField(label=tell("Add, swap: in the account"), coerce=int, required=False)
    buy = forms.ChoiceField(label=tell("Swap: buys"), required=False)
    trigger = amount_field(tell("Starts at LTV"))
    target = amount_field(tell("Until LTV is"))
    most_each = amount_field(tell("At most each time"), required=False)
    most_daily = amount_field(tell("At most in 24 hours"), required=False)
    cooling = forms.IntegerField(
        label=tell("Rests for"), min_value=LEAST_COOLING, max_value=MOST_COOLING, initial=60
    )
    place = forms.TypedChoiceField(label=tell("Place"), coerce=int)
    dry_run = forms.BooleanField(label=tell("Only write down what it would do"), required=False)
    key = key_field()

    def __init__(self, *args: Any, state: GroupState, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state, group = state, state.group
        assert group is not None
        accounts = list(Account.objects.filter(customer=group.customer_id).order_by("pk"))
        wallets = [
            (
                tell("{account} {wallet}", account=account.pk, wallet=wallet),
                tell("{account}, {wallet}", account=account, wallet=LedgerAccount.Kind(wallet).label),
            )
            for account in accounts
            for wallet in LedgerAccount.WALLETS
            if not (wallet == book.WALLET and account.pk in state.members)
        ]
        held = {wallet.asset for wallet in state.wallets if wallet.balance > 0}
        taken = {rule.position for rule in cure_rules.live_rules(group)}
        self._choices("source", wallets)
        self._choices("account", [(a.pk, str(a)) for a in accounts if a.pk in state.members])
        self._choices("asset", [(coin, coin) for coin in sorted({*state.coins, *state.owed_assets, *held})])
        self._choices("buy", [(coin, coin) for coin in sorted(state.coins)])
        self._choices("place", [(n, str(n)) for n in range(1, MOST_RULES + 1) if n not in taken])

    def _choices(self, name: str, choices: list[tuple[Any, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    @exact
    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        for name in ("trigger", "target"):
            typed = read_amount(self, name, places=PERCENT_PLACES) if name in given else None
            given[name] = None if typed is None else typed * ONE / 100
        asset = self.state.assets.get(given.get("asset", ""))
        for name in ("most_each", "most_daily"):
            if not given.get(name):
                given[name] = None
            elif asset is not None:
                given[name] = read_amount(self, name, places=asset.places)
        return given

    def arguments(self) -> dict[str, Any]:
        """For `cure_rules.set_rule`; only what the kind needs."""
        given = self.cleaned_data
        told: dict[str, Any] = {name: given[name] for name in ("kind", "asset", "trigger", "target")}
        told |= {name: given[name] for name in ("most_each", "most_daily")}
        told |= {
            "cooling_minutes": given["cooling"],
            "position": given["place"],
            "is_dry_run": given["dry_run"],
        }
        if given["kind"] == Kind.TOP_UP and given["source"]:
            uid, wallet = given["source"].split()
            told |= {"source_uid": int(uid), "source_wallet": wallet}
        if given["kind"] != Kind.REPAY:
            told["account_uid"] = given["account"] or None
        if given["kind"] == Kind.SWAP:
            told["buy"] = given["buy"] or None
        return told


class RemoveForm(forms.Form):
    rule = forms.IntegerField(widget=forms.HiddenInput())
    key = key_field()


@dataclass(frozen=True, slots=True)
class Row:
    """A rule in words, and what removes it."""

    rule: CureRule
    words: str
    remove: RemoveForm


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the rules would do after a common move of all coins that move; LTV before and after them."""

    move: Decimal
    ltv: Decimal | None
    rules: list[tuple[str, Rehearsed]]


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rules(request: HttpRequest, group_id: int) -> HttpResponse:
    at, customer = timezone.now(), customer_of(request)
    group = _group(request, group_id)
    is_mine = customer is not None and customer.pk == group.customer_id
    if request.method == "POST" and not is_mine:
        raise Http404
    state = book.state_of(group, at=at)
    held = {wallet.asset for wallet in state.wallets if wallet.balance > 0}
    state = cures.with_market(state, held, at=at)
    form = RuleForm(request.POST or None, state=state)
    if request.method == "POST" and form.is_valid():
        try:
            cure_rules.set_rule(
                group_id=group.pk, actor=actor_of(request), at=at, key=key_of(form), **form.arguments()
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, tell("Rule set. It is looked at before every valuation."))
            return redirect("loans:cure_rules", group.pk)
    live = cure_rules.live_rules(group)
    context = {
        "at": at,
        "group": group,
        "standing": standing_of(group, state),
        "form": form,
        "rows": [Row(one, cure_rules.words(one), RemoveForm(initial={"rule": one.pk})) for one in live],
        "most": MOST_RULES,
        "rehearsals": _rehearsals(live, state, at) if live else [],
        "runs": _runs(group),
        "is_mine": is_mine,
        "lacks": lacks(request, Power.RULES) if is_mine else "",
        "is_house": customer is None,
    }
    return render(request, "loans/cure_rules.html", context, status=REFUSED if form.errors else 200)


@require_POST
@for_customer
def remove(request: HttpRequest, customer: Any, group_id: int) -> HttpResponse:
    group, form = _group(request, group_id), RemoveForm(request.POST)
    if not form.is_valid() or group.customer_id != customer.pk:
        raise Http404
    try:
        cure_rules.remove_rule(
            group_id=group.pk,
            rule_id=form.cleaned_data["rule"],
            actor=actor_of(request),
            at=timezone.now(),
            key=key_of(form),
        )
    except Refused as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, tell("Rule removed."))
    return redirect("loans:cure_rules", group.pk)


def _group(request: HttpRequest, group_id: int) -> CollateralGroup:
    """An open group of theirs; who is limited to one account has no say over the whole group (R-GEN-95)."""
    if limited_to(request) is not None:
        raise Http404
    rows = groups_for(user_of(request)).open().select_related("customer", "receiver")
    return get_object_or_404(rows, pk=group_id)


def _rehearsals(live: list[CureRule], state: GroupState, at: datetime) -> list[Rehearsal]:
    """At today's prices and after common falls of all coins that move."""
    found = []
    for move in FALLS:
        new = {
            coin: quote.price * (1 + move)
            for coin, quote in state.quotes.items()
            if state.assets[coin].kind == "crypto" and move
        }
        then = whatif.with_prices(state, new, at=at)
        rehearsed = cure_plans.rehearse(live, then, at=at)
        found.append(
            Rehearsal(
                move=move,
                ltv=then.worth(permission=False).ltv,
                rules=[(cure_rules.words(one.rule), one) for one in rehearsed],
            )
        )
    return found


def _runs(group: CollateralGroup) -> list[CureRun]:
    rows = CureRun.objects.filter(rule__group=group).select_related("rule__asset", "rule__buy")
    return list(rows.order_by("-at", "-pk")[:RUNS_SHOWN])
