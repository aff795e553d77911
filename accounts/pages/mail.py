"""A demo's mailbox: the letters that would have left, each read by whom it is addressed to (`accounts/outbox.py`)."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts import outbox
from accounts.pages.access import user_of


@require_safe
@login_required
def letters(request: HttpRequest) -> HttpResponse:
    _only_with_a_folder()
    found = outbox.addressed_to(user_of(request).email)
    return render(request, "accounts/mail.html", {"letters": found, "address": user_of(request).email})


@require_safe
@login_required
def letter(request: HttpRequest, name: str) -> HttpResponse:
    """One letter as text; with `?eml=1` the message itself, for an e-mail program."""
    _only_with_a_folder()
    found = outbox.read(name, address=user_of(request).email)
    if found is None:
        raise Http404
    if request.GET.get("eml") == "1":
        headers = {"Content-Disposition": f'attachment; filename="{found.name}"'}
        return HttpResponse(found.raw, content_type="message/rfc822", headers=headers)
    return render(request, "accounts/mail_letter.html", {"letter": found})


def _only_with_a_folder() -> None:
    if not settings.EMAIL_FOLDER:
        raise Http404
