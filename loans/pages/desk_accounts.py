"""The desk takes a collateral account out of a client's group: both LTV conditions shown, two persons. R-ADM-03"""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Account
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, is_confirmed, key_field, key_of, refuse, signature
from accounts.templatetags import figures
from accounts.words import tell
from loans.pages.desk_access import clients_of, for_the_house
from risk import pledges
from risk.models import CollateralGroup
from risk.pages.track import track


class ForceForm(forms.Form):
    account = forms.TypedChoiceField(label=tell("Account"), coerce=int)
    reason = forms.CharField(
        label=tell("Reason"), max_length=500, help_text=tell("The second person reads it.")
    )
    key = key_field()

    def __init__(self, *args: Any, accounts: list[Account], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(account.pk, str(account)) for account in accounts]


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def force_remove(request: HttpRequest, group_id: int) -> HttpResponse:
    at, user = timezone.now(), user_of(request)
    rows = CollateralGroup.objects.open().filter(customer__in=clients_of(user))
    group = get_object_or_404(rows.select_related("customer", "receiver"), pk=group_id)
    members = group.members.filter(released_at__isnull=True).select_related("account").order_by("account_id")
    form = ForceForm(request.POST or None, accounts=[member.account for member in members])
    change: pledges.Effect | None = None
    if request.method == "POST" and form.is_valid():
        change = pledges.preview_force(group=group, uid=form.cleaned_data["account"], at=at)
        if not change.allowed:
            form.add_error(None, change.reason)
        elif is_confirmed(request, form):
            try:
                return _propose(request, group, form, change)
            except Refused as refusal:
                refuse(form, refusal)
    context = {
        "group": group,
        "form": form,
        "change": change,
        "track": None
        if change is None or change.ltv_before is None or change.ltv_after is None
        else track(change.ltv_before, change.lines, after=change.ltv_after),
        "seen": signature(form) if change is not None and not form.errors else "",
    }
    return render(request, "loans/desk_accounts.html", context, status=REFUSED if form.errors else 200)


def _propose(
    request: HttpRequest, group: CollateralGroup, form: ForceForm, change: pledges.Effect
) -> HttpResponse:
    uid = form.cleaned_data["account"]
    waiting = approvals.run_or_propose(
        command="groups.force_remove",
        arguments={"group_id": group.pk, "uid": uid},
        title=tell(
            "Take account {uid} out of {group} of {customer}", uid=uid, group=group, customer=group.customer
        ),
        preview={"LTV before": figures.ltv(change.ltv_before), "LTV after": figures.ltv(change.ltv_after)},
        reason=form.cleaned_data["reason"],
        actor=actor_of(request),
        at=timezone.now(),
        customer=group.customer,
        key=key_of(form),
    )
    done = (
        tell("{waiting} waits for a second person.", waiting=waiting)
        if waiting
        else tell("The account is out of the group.")
    )
    messages.success(request, done)
    return redirect("risk:group", group.pk)
