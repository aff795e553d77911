"""How far each VIP manager may go alone: two of the risk side set it, each manager sees their own (R-ADM-10)."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Approval, User
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans import authority
from loans.pages.client_forms import fraction, instant_field, percent_field
from loans.pages.desk_access import for_the_house, is_manager

PER_PAGE = 25
NONE = tell("as far as the desk’s own lines")


class AuthorityForm(forms.Form):
    """The whole row is set; an empty field is no limit of its own."""

    manager = forms.ModelChoiceField(
        label=tell("Manager"),
        queryset=User.objects.filter(role=User.Role.VIP_MANAGER, is_active=True).order_by("name", "pk"),
        empty_label=tell("Choose a manager"),
    )
    max_amount_usd = forms.DecimalField(
        label=tell("Largest decision, with what was lent in 24 h"),
        required=False,
        min_value=0,
        max_digits=20,
        decimal_places=2,
    )
    max_ltv = percent_field(tell("Highest LTV after paying out"), least=0, most=99, required=False)
    max_discount = percent_field(tell("Largest discount a year"), least=0, most=99, required=False)
    effective_at = instant_field(tell("From (UTC); when it is released, when empty"))
    ends_at = instant_field(tell("Until (UTC); without end when empty"))
    reason = forms.CharField(label=tell("Why"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    key = key_field()

    def arguments(self) -> dict[str, Any]:
        typed = self.cleaned_data
        shares = {
            name: None if typed[name] is None else fraction(typed[name])
            for name in ("max_ltv", "max_discount")
        }
        dates = {name: _utc(typed[name]) for name in ("effective_at", "ends_at")}
        return {
            "manager_id": typed["manager"].pk,
            "max_amount_usd": typed["max_amount_usd"],
            **shares,
            **dates,
        }


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def authorities(request: HttpRequest) -> HttpResponse:
    at, user = timezone.now(), user_of(request)
    sets = user.role in authority.SETTERS
    form = AuthorityForm(request.POST or None)
    if request.method == "POST":
        if not sets:
            raise PermissionDenied("A risk officer or an administrator sets it.")
        if form.is_valid() and _proposed(request, form, at):
            return redirect("loans:desk_authority")
    own = user if is_manager(user) else None
    rows = [
        (manager, row, authority.in_words(row) if row else NONE)
        for manager, row in authority.in_force(at=at)
        if own is None or manager == own
    ]
    page = Paginator(authority.history_of(own), PER_PAGE).get_page(request.GET.get("page"))
    waiting = Approval.objects.filter(command=authority.COMMAND, status=Approval.Status.PENDING)
    context = {
        "at": at,
        "rows": rows,
        "history": [(row, authority.in_words(row)) for row in page],
        "page": page,
        "form": form,
        "sets": sets,
        "is_own": own is not None,
        "proposals": waiting.select_related("proposed_by") if own is None else [],
    }
    return render(request, "loans/desk_authority.html", context, status=REFUSED if form.errors else 200)


def _proposed(request: HttpRequest, form: AuthorityForm, at: datetime) -> bool:
    arguments = form.arguments()
    manager: User = form.cleaned_data["manager"]
    before = authority.authority_of(manager, at=at)
    try:
        proposal = approvals.run_or_propose(
            command=authority.COMMAND,
            arguments=arguments,
            title=tell("Authority of {manager}", manager=manager.name),
            preview={
                tell("Manager"): manager.name,
                tell("Until now"): authority.in_words(before) if before else NONE,
            },
            reason=form.cleaned_data["reason"],
            actor=actor_of(request),
            at=at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    done = tell("The authority of {manager} is set.", manager=manager.name)
    waits = tell("{proposal} is proposed; it holds when another person releases it.", proposal=proposal)
    messages.success(request, done if proposal is None else waits)
    return True


def _utc(typed: datetime | None) -> datetime | None:
    return None if typed is None else typed.astimezone(UTC)
