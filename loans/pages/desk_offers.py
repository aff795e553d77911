"""The manager's answers in the negotiation room, and the queue's part about negotiations (R-VIP-11, R-VIP-24)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Approval
from accounts.pages.access import actor_of
from accounts.pages.forms import key_of, refuse
from accounts.words import tell
from loans.models import Application, ApplicationLine, Offer
from loans.pages.bargain import AnswerForm, DeskWantedForm
from loans.pages.desk_access import for_manager
from loans.pages.desk_requests import application_of, page_of
from loans.scoring import Clock
from loans.vip import answering, sheets

MOST_ROWS = 100  # of a list that should be short


class AcceptForm(AnswerForm):
    """The button under the client's wish, with a word for the second person when one is needed."""

    why = forms.CharField(label=tell("For a second person"), required=False, max_length=2000)


@dataclass(frozen=True, slots=True)
class TalkRow:
    """A request in negotiation: whose move it is, until when, and by when the desk should have answered."""

    application: Application
    lines: tuple[ApplicationLine, ...]
    last: Offer | None
    is_desks_move: bool
    clock: Clock
    at: datetime

    @property
    def is_late(self) -> bool:
        return self.is_desks_move and self.clock.is_late(self.at)


def talk_rows(applications: QuerySet[Application], *, at: datetime) -> list[TalkRow]:
    """Your moves first, late ones before the others; then what ends next before what ends later. R-ADM-08"""
    talking = [Application.Status.NEGOTIATING, Application.Status.OFFERED]
    live = applications.filter(status__in=talking, expires_at__gt=at).order_by("expires_at", "pk")
    rows = list(live.select_related("customer").prefetch_related("lines", "offers")[:MOST_ROWS])
    clocks = answering.clocks_of(rows)
    found = [
        TalkRow(
            application=row,
            lines=tuple(sorted(row.lines.all(), key=lambda line: line.asset_id)),
            last=max(row.offers.all(), key=lambda offer: offer.version, default=None),
            is_desks_move=row.status == Application.Status.NEGOTIATING,
            clock=clocks[row.pk],
            at=at,
        )
        for row in rows
    ]
    return sorted(found, key=lambda row: (not row.is_desks_move, not row.is_late))


@require_http_methods(["GET", "HEAD", "POST"])
@for_manager
def counter_offer(request: HttpRequest, request_id: int) -> HttpResponse:
    application, at = application_of(request, request_id), timezone.now()
    last = application.offers.order_by("-version").first()
    if request.method != "POST" or last is None:  # the address of a form that was shown again, opened anew
        return redirect("loans:desk_request", request_id=application.pk)
    form = AnswerForm(request.POST)
    want = DeskWantedForm(request.POST, base=sheets.wanted_of(last.body), rate_type=application.rate_type)
    if form.is_valid() and want.is_valid():
        arguments = {
            "application_id": application.pk,
            "version": form.cleaned_data["version"],
            "wanted": want.wanted(),
            "message": want.message_text,
        }
        try:
            proposal = approvals.run_or_propose(
                command="vip.counter_offer",
                arguments=arguments,
                title=tell("Offer {application} other terms", application=application),
                preview=_preview(last, want),
                reason=want.cleaned_data["why"],
                actor=actor_of(request),
                at=at,
                customer=application.customer,
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            done = tell("The offer is sent to {customer}.", customer=application.customer.name)
            messages.success(request, _said(proposal, done))
            return redirect("loans:desk_request", request_id=application.pk)
    return page_of(request, application_of(request, request_id), at=at, answer=form, want=want)


@require_http_methods(["GET", "HEAD", "POST"])
@for_manager
def accept_counter(request: HttpRequest, request_id: int) -> HttpResponse:
    """Accept what the borrower wants; the review comes after."""
    application, at = application_of(request, request_id), timezone.now()
    if request.method != "POST":
        return redirect("loans:desk_request", request_id=application.pk)
    form = AcceptForm(request.POST)
    if form.is_valid():
        version = form.cleaned_data["version"]
        try:
            proposal = approvals.run_or_propose(
                command="vip.accept_counter",
                arguments={"application_id": application.pk, "version": version},
                title=tell(
                    "Accept version {version} of {application}", version=version, application=application
                ),
                preview={},
                reason=form.cleaned_data["why"],
                actor=actor_of(request),
                at=at,
                customer=application.customer,
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            done = tell("Version {version} is accepted; now decide the request.", version=version)
            messages.success(request, _said(proposal, done))
            return redirect("loans:desk_request", request_id=application.pk)
    return page_of(request, application_of(request, request_id), at=at, answer=form)


def _said(proposal: Approval | None, done: str) -> str:
    return (
        done
        if proposal is None
        else tell("{proposal} is proposed; it is done when another person releases it.", proposal=proposal)
    )


def _preview(last: Offer, want: DeskWantedForm) -> dict[str, Any]:
    """What the second person is shown: each term that differs from the version it answers."""
    typed = {
        name: str(want.cleaned_data[name]) for name in want.changed_data if name not in {"message", "why"}
    }
    return {"answers": str(last), "changed": typed}
