"""Add or remove a collateral account of a group, with LTV before and after (R-VIP-55, R-GEN-13).

It stands in `loans` because how many accounts a group may have is a term of the product.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.commands import NeedsApproval
from accounts.errors import Refused
from accounts.models import Account, Customer
from accounts.pages import firm_inbox
from accounts.pages.access import actor_of, for_customer, lacks
from accounts.pages.forms import REFUSED, is_confirmed, key_field, key_of, refuse, signature
from accounts.powers import Power
from accounts.templatetags import figures
from accounts.words import tell
from loans import ratecards
from risk import book, groups, pledges
from risk.models import CollateralGroup
from risk.pages.effect import effect_of, standing_words
from risk.pages.promised import is_repeated

ADD, REMOVE = "add", "remove"


class AccountForm(forms.Form):
    account = forms.TypedChoiceField(label=tell("Account"), coerce=int)
    what = forms.CharField(widget=forms.HiddenInput())
    key = key_field()

    def __init__(self, *args: Any, accounts: list[Account], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(account.pk, str(account)) for account in accounts]


@dataclass(frozen=True, slots=True)
class Closed:
    """An account that cannot be added, and why not."""

    account: Account
    reason: str


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def collateral(request: HttpRequest, customer: Customer, group_id: int) -> HttpResponse:
    at = timezone.now()
    rows = CollateralGroup.objects.open().filter(customer=customer).select_related("receiver", "customer")
    group = get_object_or_404(rows, pk=group_id)
    what = REMOVE if request.POST.get("what") == REMOVE else ADD
    forms_by_name = _forms(group)
    change: pledges.Effect | None = None
    form = forms_by_name[what]
    why_not = lacks(request, Power.PLEDGE)
    if request.method == "POST":
        # Sent twice, it names an account that the first time has moved; it is told what came of that.
        offered = customer.accounts.order_by("pk") if is_repeated(request) else _offered(group, what)
        form = forms_by_name[what] = AccountForm(request.POST, accounts=list(offered))
        if why_not:
            form.add_error(None, why_not)
        elif form.is_valid() and is_confirmed(request, form):
            try:
                return _change(request, group, what, form, at)
            except Refused as refusal:
                refuse(form, refusal)
        elif form.is_valid():
            change = _would(group, what, form.cleaned_data["account"], at)
            if change.reason:
                form.add_error(None, change.reason)
    context = {
        "group": group,
        "forms": [
            (ADD, tell("Add an account"), forms_by_name[ADD]),
            (REMOVE, tell("Remove an account"), forms_by_name[REMOVE]),
        ],
        "what": what,
        "change": change,
        "effect": None if change is None else effect_of(change.before, change.after, permission=True),
        "typing": request.POST.get("look") == "typing",
        "closed": _closed(group),
        "why_not": why_not,
        "seen": signature(form) if change and change.allowed else "",
        "members": group.members.filter(released_at__isnull=True).count(),
        "most": ratecards.product_at(group.product, at=at).max_accounts,
    }
    return render(request, "loans/collateral.html", context, status=REFUSED if form.errors else 200)


def _change(
    request: HttpRequest, group: CollateralGroup, what: str, form: AccountForm, at: datetime
) -> HttpResponse:
    uid, actor, key = form.cleaned_data["account"], actor_of(request), key_of(form)
    if what == REMOVE:
        return _remove(request, {"group_id": group.pk, "uid": uid}, at=at, key=key)
    most = ratecards.product_at(group.product, at=at).max_accounts
    groups.add_account(group_id=group.pk, uid=uid, max_accounts=most, actor=actor, at=at, key=key)
    messages.success(request, _confirmed(uid, group.pk, tell("is added"), at))
    return redirect("risk:group", group.pk)


def _remove(request: HttpRequest, asked: dict[str, Any], *, at: datetime, key: str) -> HttpResponse:
    """Do it; or put it before the firm's second person, where it asks for two (R-ADM-09)."""
    try:
        groups.remove_account(**asked, actor=actor_of(request), at=at, key=key)
    except NeedsApproval:
        account = Account.objects.get(pk=asked["uid"])
        waiting = firm_inbox.send(
            request,
            command="groups.remove_account",
            arguments=asked,
            title=tell("Take {account} out of the collateral", account=account),
            facts=_removal_now(asked, at),
            at=at,
            key=key,
        )
        return redirect("accounts:firm_proposal", waiting.pk)
    messages.success(request, _confirmed(asked["uid"], asked["group_id"], tell("is removed"), at))
    return redirect("risk:group", asked["group_id"])


def _confirmed(uid: int, group_id: int, done: str, at: datetime) -> str:
    state = book.state_of(CollateralGroup.objects.get(pk=group_id), at=at)
    return tell(
        "{get} {done}. {state}", get=Account.objects.get(pk=uid), done=done, state=standing_words(state)
    )


def _removal_now(asked: Mapping[str, Any], at: datetime) -> dict[str, str]:
    """For the second person: what it does to LTV, and whether it would pass at this instant."""
    group = CollateralGroup.objects.select_related("receiver", "customer").get(pk=asked["group_id"])
    change = pledges.preview_remove(group=group, uid=asked["uid"], at=at)
    return {
        tell("Loan group"): group.name,
        tell("Possible"): tell("no: {reason}", reason=change.reason) if change.reason else tell("yes"),
        tell("LTV before"): figures.ltv(change.ltv_before),
        tell("LTV after"): figures.ltv(change.ltv_after),
    }


firm_inbox.effects["groups.remove_account"] = _removal_now


def _forms(group: CollateralGroup) -> dict[str, AccountForm]:
    return {
        what: AccountForm(accounts=_offered(group, what), initial={"what": what}) for what in (ADD, REMOVE)
    }


def _offered(group: CollateralGroup, what: str) -> list[Account]:
    """To remove: the members. To add: everything else, so that the answer says why an account cannot be."""
    members = set(group.members.filter(released_at__isnull=True).values_list("account_id", flat=True))
    mine = group.customer.accounts.order_by("pk")
    if what == REMOVE:
        return [account for account in mine if account.pk in members]
    return [account for account in mine if account.pk not in members and account.pk != group.receiver_id]


def _closed(group: CollateralGroup) -> list[Closed]:
    """What the list of accounts to add cannot be used for, in words. R-GEN-13, R-GEN-14, R-VIP-04"""
    mine = list(group.customer.accounts.order_by("pk"))
    used = groups.pledged_to([account.pk for account in mine])
    found = []
    for account in mine:
        other = used.get(account.pk)
        if account.pk == group.receiver_id:
            found.append(Closed(account, tell("receives the loans of this group")))
        elif account.kind == Account.Kind.SUB_MANAGED:
            found.append(Closed(account, tell("is a managed sub-account, which cannot be collateral")))
        elif other is not None and other.pk != group.pk:
            found.append(
                Closed(
                    account,
                    tell("already in use: it secures {other} ({other2})", other=other.name, other2=other),
                )
            )
    return found


def _would(group: CollateralGroup, what: str, uid: int, at: datetime) -> pledges.Effect:
    """The same question the command asks, on a state read without the lock."""
    if what == REMOVE:
        return pledges.preview_remove(group=group, uid=uid, at=at)
    most = ratecards.product_at(group.product, at=at).max_accounts
    return pledges.preview_add(group=group, account=Account.objects.get(pk=uid), max_accounts=most, at=at)
