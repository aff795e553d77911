"""The four-eyes inbox: what waits for a second person, what it would do now, and the decision (R-ADM-03)."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import approvals, inbox
from accounts.errors import Refused
from accounts.models import Approval, User
from accounts.pages.access import actor_of, user_of
from accounts.pages.arguments import label_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.pages.tables import Column, Filter, Table
from accounts.words import joined, tell
from loans.pages.desk_access import for_the_house
from loans.pages.desk_changes import Change, changes
from risk.parameters import preview
from risk.regimes import PROPOSALS
from risk.stress_runs import WATCHERS

DECIDED = Table(
    name="decided-proposals",
    columns=(
        Column("proposal", tell("Proposal"), text=lambda row: f"{row} {row.title}", sort=("title",)),
        Column("client", tell("Client"), text=lambda row: row.customer and row.customer.name, on_page=False),
        Column("result", tell("Result"), text=lambda row: row.get_status_display(), sort=("status",)),
        Column(
            "maker", tell("Proposed by"), text=lambda row: row.proposed_by.name, sort=("proposed_by__name",)
        ),
        Column("why", tell("Why"), text=lambda row: row.reason, on_page=False),
        Column(
            "checker",
            tell("Decided by"),
            text=lambda row: row.decided_by and row.decided_by.name,
            sort=("decided_by__name",),
        ),
        Column("note", tell("Note"), text=lambda row: row.decision_reason, on_page=False),
        Column("when", tell("When"), text=lambda row: row.decided_at, sort=("decided_at",), n=True),
    ),
    order=("-decided_at", "-pk"),
    search=("title", "customer__name", "proposed_by__name", "decided_by__name"),
    finds=tell("by title, client or person"),
    filters=(
        Filter(
            "result",
            tell("Result"),
            {
                status.value: (str(status.label).capitalize(), Q(status=status))
                for status in Approval.Status
                if status != Approval.Status.PENDING
            },
        ),
    ),
)
A_MOMENT = timedelta(microseconds=1)  # before it was decided its own change was not in force


class ReleaseForm(forms.Form):
    reason = forms.CharField(
        label=tell("Note (optional)"),
        max_length=2000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    key = key_field()


class RefuseForm(forms.Form):
    reason = forms.CharField(
        label=tell("Why not; the proposer reads this"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": tell("Say why it is refused; the proposer will read it.")},
    )
    key = key_field()


class WithdrawForm(forms.Form):
    key = key_field()


@require_safe
@for_the_house
def index(request: HttpRequest) -> HttpResponseBase:
    """What waits for this user first, then what they asked for themselves, then everything decided."""
    at, user = timezone.now(), user_of(request)
    seen = inbox.visible_to(user).select_related("proposed_by", "decided_by", "customer")
    decided = seen.exclude(status=Approval.Status.PENDING)
    file = DECIDED.file(request, decided)
    if file is not None:
        return file
    waiting = inbox.waiting_for(user, at=at).select_related("proposed_by", "customer").order_by("expires_at")
    pending = seen.filter(status=Approval.Status.PENDING).order_by("expires_at", "pk")
    context = {
        "at": at,
        "waiting": list(waiting),
        "mine": _with_deciders(pending.filter(proposed_by=user)),
        "others": _with_deciders(
            pending.exclude(proposed_by=user).exclude(pk__in=waiting.order_by().values("pk"))
        ),
        "list": DECIDED.shown(request, decided),
    }
    return render(request, "loans/desk_approvals.html", context)


@require_safe
@for_the_house
def detail(request: HttpRequest, approval_id: int) -> HttpResponse:
    return _page(request, _approval(request, approval_id), at=timezone.now())


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def release(request: HttpRequest, approval_id: int) -> HttpResponse:
    """Run it as it was proposed; a refusal of the command is shown, and it goes on waiting."""
    return _decide(
        request,
        approval_id,
        ReleaseForm(request.POST or None),
        name="releasing",
        call=approvals.release,
        done=tell("{} is released and done."),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def reject(request: HttpRequest, approval_id: int) -> HttpResponse:
    return _decide(
        request,
        approval_id,
        RefuseForm(request.POST or None),
        name="refusing",
        call=approvals.refuse,
        done=tell("{} is refused; nothing was done."),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def withdraw(request: HttpRequest, approval_id: int) -> HttpResponse:
    return _decide(
        request,
        approval_id,
        WithdrawForm(request.POST or None),
        name="withdrawing",
        call=approvals.withdraw,
        done=tell("{} is taken back."),
    )


# --- Private ----------------------------------------------------------------------------------------


def _approval(request: HttpRequest, approval_id: int) -> Approval:
    rows = inbox.visible_to(user_of(request)).select_related("proposed_by", "decided_by", "customer")
    return get_object_or_404(rows, pk=approval_id)


def _with_deciders(rows: Iterable[Approval]) -> list[Approval]:
    """Each with the people who may release it, for the list."""
    found = list(rows)
    people = inbox.deciders(found) if found else {}
    for row in found:
        row.deciders = people.get(row.pk, [])  # type: ignore[attr-defined]
    return found


def _decide(
    request: HttpRequest,
    approval_id: int,
    form: forms.Form,
    *,
    name: str,
    call: Callable[..., Approval],
    done: str,
) -> HttpResponse:
    approval, at = _approval(request, approval_id), timezone.now()
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("loans:approval", approval_id=approval.pk)
    if form.is_valid():
        reason = {"reason": form.cleaned_data["reason"]} if "reason" in form.fields else {}
        try:
            call(approval_id=approval.pk, actor=actor_of(request), at=at, key=key_of(form), **reason)
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, done.format(approval))
            return redirect("loans:approval", approval_id=approval.pk)
    return _page(request, _approval(request, approval_id), at=at, **{name: form})


def _page(
    request: HttpRequest,
    approval: Approval,
    *,
    at: datetime,
    releasing: forms.Form | None = None,
    refusing: forms.Form | None = None,
    withdrawing: forms.Form | None = None,
) -> HttpResponse:
    user = user_of(request)
    is_open = approval.status == Approval.Status.PENDING and approval.expires_at > at
    proposed, now, unreadable = _look(approval, at=at, is_open=is_open)
    context = {
        "approval": approval,
        "at": at,
        "changes": proposed,
        "names_client": "customer" in approval.payload,
        "is_compared": any(one.before is not None for one in proposed),
        "deciders": inbox.deciders([approval]).get(approval.pk, []) if is_open else [],
        "roles": joined(", ", (User.Role(role).label for role in inbox.checkers_of(approval.command))),
        "your_role": user.get_role_display(),
        "shown": for_page(approval.preview) if "bands" in approval.preview else {},
        "shown_facts": [] if "bands" in approval.preview else _plain(approval.preview),
        "now": for_page(now),
        "unreadable": unreadable,
        "is_open": is_open,
        "is_mine": approval.proposed_by_id == user.pk,
        "may_stress": is_open and user.role in WATCHERS and approval.command in PROPOSALS,
        "may_decide": inbox.may_decide(approval, user),
        "releasing": releasing or ReleaseForm(),
        "refusing": refusing or RefuseForm(),
        "withdrawing": withdrawing or WithdrawForm(),
    }
    refused = any(form is not None and form.errors for form in (releasing, refusing, withdrawing))
    return render(request, "loans/desk_approval.html", context, status=REFUSED if refused else 200)


def _look(approval: Approval, *, at: datetime, is_open: bool) -> tuple[list[Change], dict[str, Any], str]:
    """What it would change of what stands, or did; its effect now; and why neither can be told any more."""
    try:
        arguments = approvals.stored_arguments(approval)
    except Refused as refusal:
        return [Change(name, str(value)) for name, value in approval.payload.items()], {}, refusal.message
    now = preview.of(approval.command, arguments, at=at) if is_open else {}
    then = at if approval.decided_at is None else approval.decided_at - A_MOMENT
    return changes(approval.command, arguments, at=then), now, ""


def for_page(found: Mapping[str, Any]) -> dict[str, Any]:
    """A stored preview with its figures as numbers again; an LTV without a number is infinite."""
    shifts = [
        {**row, "ltv": _number(row["ltv"]), "ltv_after": _number(row["ltv_after"])}
        for row in found.get("shifts", [])
    ]
    usage = [
        {**row, "used": _number(row["used"]), "cap": _number(row["cap"])} for row in found.get("usage", [])
    ]
    return {**found, "shifts": shifts, "usage": usage} if found else {}


def _plain(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A preview that is a list of figures in words, as the page that proposed it wrote them."""
    return [
        (label_of(name), joined(", ", map(str, value)) if isinstance(value, list) else str(value))
        for name, value in found.items()
        if value is not None and value != ""
    ]


def _number(text: str) -> Decimal | None:
    return Decimal(text) if text else None
