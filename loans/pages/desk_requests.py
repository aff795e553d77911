"""One request on the manager's desk: what was asked and accepted, what it would do now, and the decision."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import Refused
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.templatetags import figures
from loans.models import Application, Loan
from loans.pages.desk_access import for_manager
from loans.pages.desk_rows import accepted_lines, before_and_after, history_of
from loans.vip import origination
from loans.vip.terms import TermSheet
from risk.levels import band


class ApproveForm(forms.Form):
    key = key_field()


class RejectForm(forms.Form):
    reason = forms.CharField(
        label="Why it is rejected; the client reads this",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Say why the request is rejected; the client will read it."},
    )
    key = key_field()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold for an approval; `messages` say what does not."""

    label: str
    holds: str
    messages: tuple[str, ...] = ()


@require_safe
@for_manager
def detail(request: HttpRequest, request_id: int) -> HttpResponse:
    return _page(request, _application(request, request_id), at=timezone.now())


@require_http_methods(["GET", "HEAD", "POST"])
@for_manager
def approve(request: HttpRequest, request_id: int) -> HttpResponse:
    application, at = _application(request, request_id), timezone.now()
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("loans:desk_request", request_id=application.pk)
    form = ApproveForm(request.POST)
    if form.is_valid():
        try:
            origination.approve(
                application_id=application.pk, actor=actor_of(request), at=at, key=key_of(form)
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"{application} is approved and paid out.")
            return redirect("loans:desk_request", request_id=application.pk)
    return _page(request, _application(request, request_id), at=at, approval=form)


@require_http_methods(["GET", "HEAD", "POST"])
@for_manager
def reject(request: HttpRequest, request_id: int) -> HttpResponse:
    application, at = _application(request, request_id), timezone.now()
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("loans:desk_request", request_id=application.pk)
    form = RejectForm(request.POST)
    if form.is_valid():
        reason, key = form.cleaned_data["reason"], key_of(form)
        try:
            origination.reject(
                application_id=application.pk, actor=actor_of(request), at=at, reason=reason, key=key
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"{application} is rejected; the client has been told why.")
            return redirect("loans:desk_request", request_id=application.pk)
    return _page(request, _application(request, request_id), at=at, rejection=form)


def _application(request: HttpRequest, request_id: int) -> Application:
    related = ("customer__manager", "receiver", "applicant", "decided_by", "manager")
    rows = Application.objects.visible_to(user_of(request)).select_related(*related)
    return get_object_or_404(rows, pk=request_id)


def _page(
    request: HttpRequest,
    application: Application,
    *,
    at: datetime,
    approval: ApproveForm | None = None,
    rejection: RejectForm | None = None,
) -> HttpResponse:
    lines = list(application.lines.select_related("asset").order_by("asset_id"))
    context: dict[str, Any] = {
        "application": application,
        "client": application.customer,
        "lines": lines,
        "amounts": " + ".join(figures.plain(line.amount, line.asset) for line in lines),
        "collateral_accounts": application.collateral_accounts.order_by("pk"),
        "collateral_coins": application.collateral_coins.order_by("pk"),
        "history": history_of(application.customer),
        "accepted": accepted_lines(application),
        "shown_ltv": Decimal(application.terms["ltv_after"]),
        "at": at,
        "approval": approval or ApproveForm(),
        "rejection": rejection or RejectForm(),
    }
    if application.status == Application.Status.SUBMITTED:
        context |= _look(application, at)
    loans = Loan.objects.filter(line__application=application).select_related("asset", "group", "debt")
    context["loans"] = loans.order_by("pk")
    refused = any(form is not None and form.errors for form in (approval, rejection))
    return render(request, "loans/desk_request.html", context, status=REFUSED if refused else 200)


def _look(application: Application, at: datetime) -> dict[str, Any]:
    """What approving would do now: the very check that `approve` makes again under the locks."""
    sheet = origination.review(application, at=at)
    found: dict[str, Any] = {"sheet": sheet, "checks": checks(sheet), "waits": at - application.submitted_at}
    effect = sheet.effect
    if effect is not None:
        found |= {
            "effect": effect,
            "track": before_and_after(effect.now, effect.after, effect.lines),
            "band": band(effect.now, effect.current_lines or effect.lines),
            "band_after": band(effect.after, effect.lines),
            "room": effect.lines.initial * effect.before.collateral - effect.before.debt,
            "room_after": effect.lines.initial * effect.after.collateral - effect.after.debt,
        }
        if effect.now.ltv is not None and effect.after.ltv is not None:
            found["rise"] = effect.after.ltv - effect.now.ltv
    return found


# --- Checks in plain words ----------------------------------------------------------------------------


def _ltv(sheet: TermSheet) -> str:
    return "no collateral or no prices" if sheet.effect is None else figures.ltv(sheet.effect.after.ltv)


def _fresh(sheet: TermSheet) -> str:
    coins = {line.asset: line.price is not None for line in sheet.lines}
    coins |= {coin.asset: coin.is_fresh for coin in (sheet.effect.coins if sheet.effect else ())}
    return f"{sum(coins.values())} of {len(coins)}"


def _pool(sheet: TermSheet) -> str:
    return ", ".join(f"{figures.plain(line.lendable, line.asset)} free" for line in sheet.lines)


CHECKS: list[tuple[str, frozenset[str], Callable[[TermSheet], str]]] = [
    ("LTV afterwards", frozenset({"ltv_too_high", "no_coins", "not_collateral"}), _ltv),
    ("Lines as accepted", frozenset({"lines_changed"}), lambda _: "unchanged"),
    ("Prices fresh", frozenset({"stale_price"}), _fresh),
    (
        "Amounts within limits",
        frozenset({"above_limit", "no_limit", "no_rate", "too_many_coins"}),
        lambda _: "yes",
    ),
    ("Pool", frozenset({"pool_empty"}), _pool),
    ("May borrow", frozenset({"vip_only", "residual_debt", "not_a_member", "master_only"}), lambda _: "yes"),
    ("Agreement", frozenset({"agreement_needed"}), lambda sheet: _agreement(sheet)),
]
"""Which problems belong to which check, and what is said when there are none."""


def _agreement(sheet: TermSheet) -> str:
    if sheet.agreement is not None:  # published after the request, which does not undo it
        return f"version {sheet.agreement.version} not yet accepted"
    return f"version {sheet.agreement_version} accepted" if sheet.agreement_version else "none in force"


def checks(sheet: TermSheet) -> list[Check]:
    """Everything an approval looks at. What no named check covers is about the accounts."""
    known = frozenset().union(*(codes for _, codes, _ in CHECKS))
    found = [
        Check(label, holds(sheet), tuple(p.message for p in sheet.problems if p.code in codes))
        for label, codes, holds in CHECKS
    ]
    rest = tuple(problem.message for problem in sheet.problems if problem.code not in known)
    return [*found, Check("Accounts", "free and allowed", rest)]
