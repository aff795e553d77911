"""Balance confirmations: the customer reads and answers, finance and auditors ask and check (R-ADM-11)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import Refused
from accounts.models import Account, Customer, LedgerAccount
from accounts.pages.access import actor_of, for_customer, lacks, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.powers import Power
from accounts.words import tell
from loans import confirmations
from loans.models import BalanceConfirmation
from loans.pages.client_field import ClientField
from loans.pages.desk_books import for_books
from loans.vip import sheets

PER_PAGE = 25


class AnswerForm(forms.Form):
    says = forms.ChoiceField(
        label=tell("Your answer"),
        choices=[("right", tell("It is right")), ("wrong", tell("Something is not right"))],
        widget=forms.RadioSelect,
    )
    words = forms.CharField(
        label=tell("What is not right"),
        required=False,
        max_length=confirmations.LONGEST_ANSWER,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=tell("Which figure, and what it should be"),
    )
    key = key_field()


class AskForm(forms.Form):
    customer = ClientField(label=tell("Client"), queryset=Customer.objects.all())
    as_of = forms.DateTimeField(
        label=tell("As of (UTC)"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
    )
    key = key_field()


# --- The customer -----------------------------------------------------------------------------------------


@require_safe
@for_customer
def index(request: HttpRequest, customer: Customer) -> HttpResponse:
    rows = confirmations.visible_to(user_of(request)).filter(customer=customer)
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "loans/confirmations.html", {"page": page})


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def detail(request: HttpRequest, customer: Customer, row_id: int) -> HttpResponse:
    """What our books say; a signatory or treasurer answers once."""
    rows = confirmations.visible_to(user_of(request)).filter(customer=customer)
    row = get_object_or_404(rows.select_related("customer", "answered_by"), pk=row_id)
    form = AnswerForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            row = confirmations.answer(
                confirmation_id=row.pk,
                agrees=form.cleaned_data["says"] == "right",
                words=form.cleaned_data["words"],
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            is_good = row.status == confirmations.Status.CONFIRMED
            said = (
                tell("Thank you. It is confirmed.") if is_good else tell("Thank you. The desk looks into it.")
            )
            messages.success(request, said)
            return redirect("loans:confirmation", row.pk)
    context = {
        "row": row,
        "shown": _shown(row),
        "form": form,
        "may_not": lacks(request, Power.ACCEPT),
        "waits": row.status == confirmations.Status.WAITING,
    }
    return render(request, "loans/confirmation.html", context, status=REFUSED if form.errors else 200)


@require_safe
@login_required
def paper(request: HttpRequest, row_id: int) -> HttpResponse:
    row = _visible(request, row_id)
    return _download(bytes(row.pdf), "application/pdf", f"balances-{row}.pdf")


@require_safe
@login_required
def data(request: HttpRequest, row_id: int) -> HttpResponse:
    """The canonical body, whose digest is the SHA-256 on the paper."""
    row = _visible(request, row_id)
    return _download(sheets.canonical(row.body), "application/json", f"balances-{row}.json")


# --- The desk ---------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@for_books
def desk_index(request: HttpRequest) -> HttpResponse:
    """Every confirmation, newest first, and the form to ask for one."""
    form = AskForm(request.POST or None, initial={"as_of": _month_end(timezone.now())})
    if request.method == "POST" and form.is_valid():
        try:
            row = confirmations.issue(
                customer_id=form.cleaned_data["customer"].pk,
                as_of=form.cleaned_data["as_of"],
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, tell("{row} is with {customer}.", row=row, customer=row.customer.name))
            return redirect("loans:desk_confirmation", row.pk)
    rows = confirmations.visible_to(user_of(request)).select_related("customer", "requested_by")
    status = request.GET.get("status", "")
    if status in confirmations.Status.values:
        rows = rows.filter(status=status)
    context = {
        "page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        "form": form,
        "status": status,
        "statuses": confirmations.Status.choices,
        "query": f"status={status}&" if status in confirmations.Status.values else "",
    }
    return render(request, "loans/desk_confirmations.html", context, status=REFUSED if form.errors else 200)


@require_safe
@for_books
def desk_detail(request: HttpRequest, row_id: int) -> HttpResponse:
    """What was said, the answer, and whether the ledger still says the same."""
    rows = confirmations.visible_to(user_of(request))
    row = get_object_or_404(rows.select_related("customer", "requested_by", "answered_by"), pk=row_id)
    context = {"row": row, "shown": _shown(row), "found": confirmations.verify(row)}
    return render(request, "loans/desk_confirmation.html", context)


# --- Private ----------------------------------------------------------------------------------------------


def _visible(request: HttpRequest, row_id: int) -> BalanceConfirmation:
    return get_object_or_404(confirmations.visible_to(user_of(request)), pk=row_id)


def _shown(row: BalanceConfirmation) -> dict[str, list[dict[str, Any]]]:
    """The body for people: text that is an amount becomes one, and accounts have the names they have today."""
    body: Mapping[str, Any] = row.body
    labels = dict(Account.objects.filter(customer=row.customer_id).values_list("pk", "label"))
    owed = ("principal", "interest", "late_fee", "total")
    return {
        "wallets": [
            one
            | {
                "balance": Decimal(one["balance"]),
                "label": labels.get(one["account"], ""),
                "wallet_words": LedgerAccount.Kind(one["wallet"]).label,
            }
            for one in body["wallets"]
        ],
        "debts": [one | {part: Decimal(one[part]) for part in owed} for one in body["debts"]],
        "collateral": [
            one | {"pledged": [(coin, Decimal(amount)) for coin, amount in one["pledged"].items()]}
            for one in body["collateral"]
        ],
    }


def _download(content: bytes, content_type: str, name: str) -> HttpResponse:
    headers: dict[str, Any] = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
    }
    return HttpResponse(content, content_type=content_type, headers=headers)


def _month_end(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
