"""The borrower's answers in the negotiation room, and signed term sheets to take away (R-VIP-11, R-VIP-15)."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.commands import NeedsApproval
from accounts.errors import Refused
from accounts.models import Customer
from accounts.pages import firm_inbox
from accounts.pages.access import actor_of, for_customer, user_of
from accounts.pages.forms import key_of, refuse
from accounts.words import tell
from loans.models import Application, Loan, SignedSheet
from loans.pages import second_person
from loans.pages.bargain import AnswerForm, WantedForm
from loans.pages.desk_access import clients_of
from loans.pages.requests import page_of, row_of
from loans.vip import offers, sheets


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def accept(request: HttpRequest, customer: Customer, application_id: int) -> HttpResponse:
    return _answer(request, customer, application_id, accepting=True)


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def decline(request: HttpRequest, customer: Customer, application_id: int) -> HttpResponse:
    return _answer(request, customer, application_id, accepting=False)


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def counter(request: HttpRequest, customer: Customer, application_id: int) -> HttpResponse:
    """Answer with other terms."""
    row, at = row_of(customer, application_id), timezone.now()
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("loans:request", row.pk)
    form, want = AnswerForm(request.POST), _want(request, row)
    if want is not None and form.is_valid() and want.is_valid():
        told = {
            "application_id": row.pk,
            "version": form.cleaned_data["version"],
            "wanted": want.wanted(),
            "message": want.message_text,
        }
        try:
            return _counter(request, row, told, at=at, key=key_of(form))
        except Refused as refusal:
            refuse(form, refusal)
    return page_of(request, customer, row_of(customer, application_id), at=at, answer=form, want=want)


def _answer(
    request: HttpRequest, customer: Customer, application_id: int, *, accepting: bool
) -> HttpResponse:
    row, at = row_of(customer, application_id), timezone.now()
    if request.method != "POST":
        return redirect("loans:request", row.pk)
    form = AnswerForm(request.POST)
    if form.is_valid():
        told = {"application_id": row.pk, "version": form.cleaned_data["version"]}
        try:
            if accepting:
                return _accept(request, row, told, at=at, key=key_of(form))
            offers.decline_offer(**told, actor=actor_of(request), at=at, key=key_of(form))
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(
                request,
                tell("Version {told} is declined; you can ask for other terms.", told=told["version"]),
            )
            return redirect("loans:request", row.pk)
    return page_of(request, customer, row_of(customer, application_id), at=at, answer=form)


def _counter(
    request: HttpRequest, row: Application, told: dict[str, Any], *, at: datetime, key: str
) -> HttpResponse:
    """Do it; or put it before the firm's second person, where it asks for two (R-ADM-09)."""
    try:
        offer = offers.counter(**told, actor=actor_of(request), at=at, key=key)
    except NeedsApproval:
        waiting = firm_inbox.send(
            request,
            command="vip.counter",
            arguments=told,
            title=tell(
                "Ask for other terms than version {told} of request {row}", told=told["version"], row=row
            ),
            facts=second_person.of_wanted(told["wanted"], rate_type=row.rate_type),
            at=at,
            key=key,
        )
        return redirect("accounts:firm_proposal", waiting.pk)
    messages.success(request, tell("Version {version} is sent to your VIP manager.", version=offer.version))
    return redirect("loans:request", row.pk)


def _accept(
    request: HttpRequest, row: Application, told: dict[str, Any], *, at: datetime, key: str
) -> HttpResponse:
    """Do it; or put it before the firm's second person, where it asks for two (R-ADM-09)."""
    try:
        offers.accept_offer(**told, actor=actor_of(request), at=at, key=key)
    except NeedsApproval:
        waiting = firm_inbox.send(
            request,
            command="vip.accept_offer",
            arguments=told,
            title=tell("Accept version {told} of request {row}", told=told["version"], row=row),
            facts=second_person.of_offer(told, at),
            at=at,
            key=key,
        )
        return redirect("accounts:firm_proposal", waiting.pk)
    messages.success(request, tell("Version {told} is accepted; it is in review now.", told=told["version"]))
    return redirect("loans:request", row.pk)


def _want(request: HttpRequest, row: Application) -> WantedForm | None:
    last = row.offers.order_by("-version").first()
    if last is None:
        return None
    return WantedForm(request.POST, base=sheets.wanted_of(last.body), rate_type=row.rate_type)


@require_safe
@login_required
def sheet(request: HttpRequest, sheet_id: int) -> HttpResponse:
    """A signed sheet as PDF: for its borrower, their manager and staff; to others it does not exist.

    Who acts for one account only gets those of the loans they see. R-GEN-95
    """
    user = user_of(request)
    found = get_object_or_404(SignedSheet, pk=sheet_id)
    acts_for_all = found.customer.memberships.filter(user=user, account=None).exists()
    is_theirs = acts_for_all or Loan.objects.visible_to(user).filter(sheet=found).exists()
    if not is_theirs and not clients_of(user).filter(pk=found.customer_id).exists():
        raise Http404
    answer = HttpResponse(bytes(found.pdf), content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="term-sheet-{found}.pdf"'
    return answer
