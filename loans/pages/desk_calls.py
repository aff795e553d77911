"""The margin-call workbench: who is called, knows of it, promised what, and what to do next (R-FTR-18).

Managers work on their own clients' calls; the staff read everybody's. What runs against a group besides its call,
such as a delay or a pause of the desk, stands on the same page.
"""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.errors import Refused
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans.pages.call_rows import FILTERS, CallRow, is_open, row_of, story_of, workbench
from loans.pages.desk_access import clients_of, for_the_house, is_manager
from loans.pages.desk_delays import time_field
from loans.pages.desk_rows import GroupRow, group_rows, in_delay, in_grace, pauses, to_review
from risk import book, call_messages, call_records, delays
from risk.call_messages import Template
from risk.models import CallRecord, MarginCall
from risk.pages.standing import ways_below

PER_PAGE = 25
CONTACTED, PROMISED, NOTE = CallRecord.Kind.CONTACTED, CallRecord.Kind.PROMISED, CallRecord.Kind.NOTE
TEMPLATES = {
    Template.REMINDER: tell("Reminder"),
    Template.HELP: tell("Offer of help"),
    Template.LAST_WARNING: tell("Last warning before the line"),
}
FIELDS = {"bad_promise": "promised_by", "bad_call_record": "note"}
"""At which field a refusal is shown."""


class RecordForm(forms.Form):
    kind = forms.ChoiceField(
        label=tell("What"),
        choices=[
            (CONTACTED, tell("Spoke, or tried to")),
            (PROMISED, tell("They promised")),
            (NOTE, tell("Note")),
        ],
        initial=CONTACTED,
        widget=forms.RadioSelect,
    )
    way = forms.ChoiceField(label=tell("How"), choices=CallRecord.Way.choices, initial=CallRecord.Way.PHONE)
    promised_by = time_field(
        tell("Cured by, UTC; for a promise"), required=False, hint=tell("Such as 2026-02-01 10:00.")
    )
    note = forms.CharField(
        label=tell("What was said"),
        required=False,
        max_length=call_records.LONGEST_NOTE,
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    key = key_field()

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("kind") == PROMISED and not data.get("promised_by") and "promised_by" not in self.errors:
            self.add_error("promised_by", tell("Say by when, such as 2026-02-01 10:00."))
        return data


class SendForm(forms.Form):
    key = key_field()


@require_safe
@for_the_house
def calls(request: HttpRequest) -> HttpResponse:
    """Margin calls: the open ones first, what else keeps collateral from being sold, then the ended ones."""
    at, mine = timezone.now(), clients_of(user_of(request))
    chosen = request.GET.get("state", "")
    ended = MarginCall.objects.filter(group__customer__in=mine, ended_at__isnull=False)
    ended = ended.select_related("group__customer", "group__receiver").order_by("-ended_at", "-pk")
    context = {
        "bench": workbench(mine, chosen=chosen, page=request.GET.get("open"), at=at),
        "chosen": chosen if chosen in FILTERS else "",
        "page": Paginator(ended, PER_PAGE).get_page(request.GET.get("page")),
        "at": at,
        "delays": sorted(group_rows(in_delay(mine), at=at), key=_ends_at),
        "graces": group_rows(in_grace(mine, at=at), at=at),
        "pauses": pauses(mine, at=at),
        "reviews": to_review(mine, at=at),
    }
    return render(request, "loans/desk_calls.html", context)


@require_safe
@for_the_house
def detail(request: HttpRequest, call_id: int) -> HttpResponse:
    return _page(request, _call(request, call_id), RecordForm())


@require_POST
@for_the_house
def record(request: HttpRequest, call_id: int) -> HttpResponse:
    """Write down a contact, a promise or a note."""
    call, form = _call(request, call_id), RecordForm(request.POST)
    _refuse_readers(request)
    if form.is_valid():
        try:
            _write(request, call, form)
        except Refused as refusal:
            if refusal.code in FIELDS:
                form.add_error(FIELDS[refusal.code], refusal.message)
            else:
                refuse(form, refusal)
        else:
            messages.success(request, tell("Written down."))
            return redirect("loans:margin_call", call.pk)
    return _page(request, call, form)


def _write(request: HttpRequest, call: MarginCall, form: RecordForm) -> None:
    told = form.cleaned_data
    common: dict[str, Any] = {
        "call_id": call.pk,
        "note": told["note"],
        "actor": actor_of(request),
        "at": timezone.now(),
        "key": key_of(form),
    }
    if told["kind"] == NOTE:
        call_records.noted(**common)
    elif told["kind"] == PROMISED:
        call_records.promised(way=told["way"], promised_by=told["promised_by"], **common)
    else:
        call_records.contacted(way=told["way"], **common)


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def message(request: HttpRequest, call_id: int, template: str) -> HttpResponse:
    """One of the fixed messages as it would go out now, and the button that sends it with the figures of then."""
    at, call = timezone.now(), _call(request, call_id)
    _refuse_readers(request)
    if template not in TEMPLATES:
        raise Http404
    form = SendForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            call_messages.send(
                call_id=call.pk, template=template, actor=actor_of(request), at=at, key=key_of(form)
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(
                request,
                tell(
                    "Sent to {customer}. What each channel answers is shown here.",
                    customer=call.group.customer,
                ),
            )
            return redirect("loans:margin_call", call.pk)
    context = {
        "call": call,
        "name": TEMPLATES[Template(template)],
        "form": form,
        "at": at,
        "again": call_messages.may_go_at(call, Template(template)),
        **_drafted(request, call, Template(template), at),
    }
    return render(request, "loans/desk_call_message.html", context, status=REFUSED if form.errors else 200)


# --- Private ----------------------------------------------------------------------------------------


def _drafted(request: HttpRequest, call: MarginCall, template: Template, at: datetime) -> dict[str, Any]:
    state = book.state_of(call.group, at=at)
    try:
        return {
            "draft": call_messages.draft(call=call, template=template, state=state, manager=user_of(request))
        }
    except Refused as refusal:
        return {"draft": None, "why_not": refusal.message}


def _call(request: HttpRequest, call_id: int) -> MarginCall:
    rows = MarginCall.objects.filter(group__customer__in=clients_of(user_of(request)))
    return get_object_or_404(rows.select_related("group__customer__manager", "group__receiver"), pk=call_id)


def _refuse_readers(request: HttpRequest) -> None:
    if not is_manager(user_of(request)):
        raise PermissionDenied("A margin call is worked on by its client's VIP manager; you may read it.")


def _page(request: HttpRequest, call: MarginCall, form: RecordForm) -> HttpResponse:
    at = timezone.now()
    followed = call_records.followed([call], at=at)[call.pk]
    row: CallRow | None = None
    if is_open(followed.stage):
        running = delays.running_by_group([call.group])
        row = row_of(followed, book.state_of(call.group, at=at), running)
    context = {
        "call": call,
        "followed": followed,
        "row": row,
        "story": story_of(followed, at=at),
        "form": form,
        "templates": [
            (each.value, name, call_messages.may_go_at(call, each)) for each, name in TEMPLATES.items()
        ],
        "decides": is_manager(user_of(request)),
        "at": at,
    }
    if row is not None and not row.standing.is_blind:
        line = call_messages.line_to_end(row.standing.state)
        context |= {"line_to_end": line, "to_end": ways_below(row.standing, line)}
    return render(request, "loans/margin_call.html", context, status=REFUSED if form.errors else 200)


def _ends_at(row: GroupRow) -> tuple[datetime, int]:
    """The delay that ends next comes first."""
    assert row.delay is not None, "asked of groups in a delay only"
    return row.delay.ends_at, row.group.pk
