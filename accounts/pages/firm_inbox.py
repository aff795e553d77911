"""What waits for a firm's second person: the list, what it is, and the decision (R-ADM-09).

Any page whose command the firm's policy keeps for two sends it here with `send`; the figures its maker saw go along.
What it would do now is asked of the app that owns the command, through `effects`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import approvals, firms, inbox
from accounts.errors import Refused
from accounts.models import Approval, Customer
from accounts.pages.access import actor_of, for_member, limited_to, user_of
from accounts.pages.arguments import facts_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell

PER_PAGE = 25
Facts = Mapping[str, str]

effects: dict[str, Callable[[Mapping[str, Any], datetime], Facts]] = {}
"""By command: what these arguments would do at this instant, a figure a line. The apps add their own."""


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
        label=tell("Why not; your colleague reads this"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": tell("Say why it is refused; your colleague will read it.")},
    )
    key = key_field()


class WithdrawForm(forms.Form):
    key = key_field()


def send(
    request: HttpRequest,
    *,
    command: str,
    arguments: Mapping[str, Any],
    title: str,
    facts: Facts,
    at: datetime,
    key: str,
) -> Approval:
    """Put a command that the firm keeps for two before its other people, and say so.

    Raises:
        Refused: as `firms.propose_once`.
    """
    proposal = firms.propose_once(
        command=command,
        arguments=arguments,
        title=title,
        facts=facts,
        actor=actor_of(request),
        at=at,
        key=key,
    )
    messages.success(
        request,
        tell(
            "{proposal} is sent to your colleagues: {title}. It is done when one of them releases it,"
            " until {expires_at:%-d %B %Y, %H:%M} UTC.",
            proposal=proposal,
            title=title,
            expires_at=proposal.expires_at,
        ),
    )
    return proposal


@require_safe
@for_member
def index(request: HttpRequest, customer: Customer) -> HttpResponse:
    """What waits for this member first, then what they sent, then everything decided."""
    at, user = timezone.now(), user_of(request)
    seen = inbox.visible_to(user).filter(customer=customer).select_related("proposed_by", "decided_by")
    pending = seen.filter(status=Approval.Status.PENDING).order_by("expires_at", "pk")
    waiting = inbox.waiting_for(user, at=at).filter(customer=customer).select_related("proposed_by")
    decided = seen.exclude(status=Approval.Status.PENDING).order_by("-decided_at", "-pk")
    context = {
        "at": at,
        "waiting": waiting.order_by("expires_at", "pk"),
        "mine": pending.filter(proposed_by=user),
        "others": pending.exclude(proposed_by=user).exclude(pk__in=waiting.values("pk")),
        "page": Paginator(decided, PER_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "accounts/firm_waiting.html", context)


@require_safe
@for_member
def proposal(request: HttpRequest, customer: Customer, approval_id: int) -> HttpResponse:
    return _page(request, _one(request, customer, approval_id), at=timezone.now())


@require_http_methods(["GET", "HEAD", "POST"])
@for_member
def release(request: HttpRequest, customer: Customer, approval_id: int) -> HttpResponse:
    """Run it as it was proposed; a refusal of the command is shown, and it goes on waiting."""
    form, done = ReleaseForm(request.POST or None), tell("{} is released and done.")
    return _decide(request, customer, approval_id, form, "releasing", approvals.release, done)


@require_http_methods(["GET", "HEAD", "POST"])
@for_member
def reject(request: HttpRequest, customer: Customer, approval_id: int) -> HttpResponse:
    form, done = RefuseForm(request.POST or None), tell("{} is refused; nothing was done.")
    return _decide(request, customer, approval_id, form, "refusing", approvals.refuse, done)


@require_http_methods(["GET", "HEAD", "POST"])
@for_member
def withdraw(request: HttpRequest, customer: Customer, approval_id: int) -> HttpResponse:
    form, done = WithdrawForm(request.POST or None), tell("{} is taken back.")
    return _decide(request, customer, approval_id, form, "withdrawing", approvals.withdraw, done)


# --- Private ----------------------------------------------------------------------------------------


def _one(request: HttpRequest, customer: Customer, approval_id: int) -> Approval:
    rows = inbox.visible_to(user_of(request)).filter(customer=customer)
    return get_object_or_404(rows.select_related("proposed_by", "decided_by"), pk=approval_id)


def _decide(
    request: HttpRequest,
    customer: Customer,
    approval_id: int,
    form: forms.Form,
    name: str,
    call: Callable[..., Approval],
    done: str,
) -> HttpResponse:
    approval, at = _one(request, customer, approval_id), timezone.now()
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("accounts:firm_proposal", approval_id=approval.pk)
    if form.is_valid():
        reason = {"reason": form.cleaned_data["reason"]} if "reason" in form.fields else {}
        try:
            call(approval_id=approval.pk, actor=actor_of(request), at=at, key=key_of(form), **reason)
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, done.format(approval))
            return redirect("accounts:firm_proposal", approval_id=approval.pk)
    return _page(request, _one(request, customer, approval_id), at=at, **{name: form})


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
    # What it would do tells LTV, which who acts for one account only does not see. R-GEN-95
    tells = is_open and limited_to(request) is None
    exact, now, unreadable = _look(approval, at=at, tells=tells)
    context = {
        "approval": approval,
        "at": at,
        "facts": [(tell(name), str(value)) for name, value in approval.preview.items()],
        "exact": exact,
        "now": now,
        "unreadable": unreadable,
        "is_open": is_open,
        "is_mine": approval.proposed_by_id == user.pk,
        "may_decide": inbox.may_decide(approval, user),
        "releasing": releasing or ReleaseForm(),
        "refusing": refusing or RefuseForm(),
        "withdrawing": withdrawing or WithdrawForm(),
    }
    refused = any(form is not None and form.errors for form in (releasing, refusing, withdrawing))
    return render(request, "accounts/firm_proposal.html", context, status=REFUSED if refused else 200)


def _look(
    approval: Approval, *, at: datetime, tells: bool
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], str]:
    """The exact arguments in words, what they would do now, and why neither can be told any more."""
    try:
        arguments = approvals.stored_arguments(approval)
    except Refused as refusal:
        return [(name, str(value)) for name, value in approval.payload.items()], [], refusal.message
    would = effects.get(approval.command)
    now = list(would(arguments, at).items()) if would is not None and tells else []
    return facts_of(arguments), now, ""
