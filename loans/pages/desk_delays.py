"""Delayed liquidation from the desk: who is enrolled, reviews, and more time for a group (R-VIP-60, R-ADM-05)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts import approvals
from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import Customer
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans.pages.desk_access import clients_of, for_the_house
from risk import book, delays, extensions
from risk.models import CollateralGroup, DelayEnrolment, LiquidationDelay
from risk.pages.standing import standing_of

END, KEEP = "end", "keep"
COMMANDS: dict[str, tuple[Callable[..., DelayEnrolment], str]] = {
    END: (delays.end_enrolment, tell("The enrolment is ended; a delay that runs keeps its time.")),
    KEEP: (delays.keep_enrolment, tell("Reviewed; the enrolment stays.")),
}


def time_field(label: str, *, required: bool = True, hint: str = "") -> forms.DateTimeField:
    """An instant in UTC, as typed."""
    return forms.DateTimeField(
        label=label,
        required=required,
        help_text=hint,
        input_formats=["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"],
        widget=forms.DateTimeInput(format="%Y-%m-%d %H:%M", attrs={"autocomplete": "off"}),
        error_messages={
            "required": tell("Say until when, such as 2026-02-01 10:00."),
            "invalid": tell("Write the time in UTC as 2026-02-01 10:00."),
        },
    )


def why_field() -> forms.CharField:
    return forms.CharField(
        label=tell("Why"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": tell("Say why; whoever looks at it later will ask.")},
    )


class EnrolForm(forms.Form):
    starts_at = time_field(tell("From, UTC; empty is now"), required=False)
    ends_at = time_field(tell("Until, UTC; empty is until ended"), required=False)
    reason = why_field()
    key = key_field()


class ChangeForm(forms.Form):
    enrolment = forms.IntegerField(widget=forms.HiddenInput())
    what = forms.ChoiceField(choices=[(END, tell("End")), (KEEP, tell("Keep"))], widget=forms.HiddenInput())
    key = key_field()


class MoreTimeForm(forms.Form):
    until = time_field(tell("Until, UTC"))
    reason = why_field()
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def enrolments(request: HttpRequest, client_id: int) -> HttpResponse:
    """A client's enrolments and delays, and the form that enrols."""
    at = timezone.now()
    client = get_object_or_404(clients_of(user_of(request)), pk=client_id)
    form = EnrolForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            delays.enrol(
                customer_id=client.pk,
                starts_at=form.cleaned_data["starts_at"] or at,
                ends_at=form.cleaned_data["ends_at"],
                actor=actor_of(request),
                at=at,
                key=key_of(form),
                reason=form.cleaned_data["reason"],
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, tell("{client} is enrolled for delayed liquidation.", client=client))
            return redirect("loans:desk_delays", client.pk)
    status = REFUSED if form.errors else 200
    return render(request, "loans/desk_delays.html", _enrolments(client, form, at), status=status)


def _enrolments(client: Customer, form: EnrolForm, at: datetime) -> dict[str, Any]:
    rows = (
        DelayEnrolment.objects.filter(customer=client)
        .select_related("granted_by")
        .order_by("-starts_at", "-pk")
    )
    past = LiquidationDelay.objects.filter(group__customer=client).select_related("group")
    return {
        "client": client,
        "at": at,
        "form": form,
        "rows": [(row, row.ends_at is None or row.ends_at > at, _changes(row, at)) for row in rows],
        "delays": past.order_by("-started_at", "-pk"),
    }


def _changes(row: DelayEnrolment, at: datetime) -> list[tuple[str, ChangeForm]]:
    """The buttons of an enrolment in force: end it, and keep it where a review is due."""
    if row.ends_at is not None and row.ends_at <= at:
        return []
    offered = [(KEEP, tell("Keep it"))] if row.review_since else []
    return [
        (words, ChangeForm(initial={"enrolment": row.pk, "what": what}))
        for what, words in [*offered, (END, tell("End it now"))]
    ]


@require_POST
@for_the_house
def change(request: HttpRequest, client_id: int) -> HttpResponse:
    client = get_object_or_404(clients_of(user_of(request)), pk=client_id)
    form = ChangeForm(request.POST)
    if not form.is_valid():
        raise Http404
    row = get_object_or_404(DelayEnrolment, pk=form.cleaned_data["enrolment"], customer=client)
    act, done = COMMANDS[form.cleaned_data["what"]]
    try:
        act(enrolment_id=row.pk, actor=actor_of(request), at=timezone.now(), key=key_of(form))
    except Refused as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, done)
    return redirect("loans:desk_delays", client.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def more_time(request: HttpRequest, group_id: int) -> HttpResponse:
    """Ask for a later end of a delay or a grace; a second person releases it. R-ADM-05"""
    at = timezone.now()
    rows = CollateralGroup.objects.filter(customer__in=clients_of(user_of(request)))
    group = get_object_or_404(rows.select_related("customer", "receiver"), pk=group_id)
    form = MoreTimeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            waiting = _propose(form, group, actor_of(request), at)
        except Refused as refusal:
            refuse(form, refusal)
        else:
            done = (
                tell("Proposed: it counts once a second person releases it.")
                if waiting
                else tell("The time is extended.")
            )
            messages.success(request, done)
            return redirect("loans:desk_calls")
    delay = delays.running(group)
    context = {
        "group": group,
        "at": at,
        "form": form,
        "standing": standing_of(group, book.state_of(group, at=at), delay=delay),
        "ends_at": delay.ends_at if delay else group.grace_until,
        "room": extensions.room(group, at=at),
    }
    return render(request, "loans/desk_more_time.html", context, status=REFUSED if form.errors else 200)


def _propose(form: MoreTimeForm, group: CollateralGroup, actor: Actor, at: datetime) -> bool:
    """Whether it waits for a second person."""
    until: datetime = form.cleaned_data["until"]
    delay = delays.running(group)
    ends_at = delay.ends_at if delay else group.grace_until
    proposal = approvals.run_or_propose(
        command="risk.extend_grace",
        arguments={"group_id": group.pk, "until": until},
        title=tell(
            "More time for {customer}, {group}: until {utc:%Y-%m-%d %H:%M} UTC",
            customer=group.customer,
            group=group,
            utc=until.astimezone(UTC),
        ),
        preview={"ends now": ends_at.isoformat() if ends_at else None, "would end": until.isoformat()},
        reason=form.cleaned_data["reason"],
        actor=actor,
        at=at,
        customer=group.customer,
        key=key_of(form),
    )
    return proposal is not None
