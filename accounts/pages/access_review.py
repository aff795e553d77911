"""Who could do what at an instant: a page and a file for those who review it (R-ADM-11)."""

from datetime import UTC, datetime

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts import access_review, exports
from accounts.access_review import Access
from accounts.models import User
from accounts.pages.access import user_of
from accounts.words import joined, tell

REVIEWERS = {User.Role.AUDITOR, User.Role.ADMIN, User.Role.RISK_OFFICER}
HEADER = (
    "user_id",
    "name",
    "email",
    "role",
    "active",
    "acts_for",
    "manages",
    "proposes",
    "releases",
)


FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M")


class AsOfForm(forms.Form):
    """Typed as the house writes a time, in UTC; a browser's own field would ask for it by the clock of its country.

    An empty form means now.
    """

    at = forms.DateTimeField(
        label=tell("As of (UTC)"),
        required=False,
        input_formats=FORMATS,
        widget=forms.DateTimeInput(
            attrs={"autocomplete": "off", "placeholder": "YYYY-MM-DD HH:MM:SS"}, format=FORMATS[0]
        ),
        error_messages={"invalid": tell("Write it as 2026-11-23 05:45 or 2026-11-23 05:45:30, in UTC.")},
    )

    def clean_at(self) -> datetime:
        given: datetime | None = self.cleaned_data["at"]
        now = access_review.clock()
        if given is not None and given > now:
            raise forms.ValidationError(tell("That time is still to come."))
        return given or now


@require_safe
@login_required
def review(request: HttpRequest) -> HttpResponse:
    """With `?csv=1` the same as a file."""
    if user_of(request).role not in REVIEWERS:
        raise Http404
    form = AsOfForm(request.GET if "at" in request.GET else {"at": ""})
    instant = form.cleaned_data["at"] if form.is_valid() else None
    rows = access_review.as_of(instant) if instant else []
    if instant and request.GET.get("csv"):
        return _file(rows, instant)
    if instant is not None:  # the field says what is shown, so that the file is of the same instant
        form = AsOfForm(initial={"at": instant})
    context = {
        "form": form,
        "at": instant,
        "is_now": not request.GET.get("at"),
        "staff": _staff(rows),
        "members": _members(rows),
    }
    return render(request, "accounts/access_review.html", context, status=200 if instant else 422)


def _staff(rows: list[Access]) -> list[Access]:
    return [row for row in rows if row.role != User.Role.BORROWER]


def _members(rows: list[Access]) -> list[Access]:
    return [row for row in rows if row.role == User.Role.BORROWER]


def _file(rows: list[Access], instant: datetime) -> HttpResponse:
    lines = [
        (
            row.user_id,
            row.name,
            row.email,
            row.role,
            "yes" if row.is_active else "no",
            joined("; ", (f"{one.customer} as {one.role} {one.account}".strip() for one in row.acts_for)),
            joined("; ", row.clients),
            joined(" ", row.proposes),
            joined(" ", row.releases),
        )
        for row in rows
    ]
    file = exports.as_csv(f"access-{instant.astimezone(UTC):%Y%m%d-%H%M}.csv", HEADER, lines)
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return HttpResponse(file.content, content_type=file.content_type, headers=headers)
