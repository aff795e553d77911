"""What the frame of every page reads. Lazy: a page that does not show it does not ask the database."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from accounts import inbox
from accounts.models import Notice, User
from accounts.pages.access import customer_of, limited_to
from accounts.pages.notices import to_acknowledge


def people(request: HttpRequest) -> dict[str, Any]:
    """`customer`: whom the signed-in user acts for; `limited_to`: the one account of it, if it is one only;
    `unread`: how many notices they have not opened; `unanswered`: the urgent ones nobody has acknowledged;
    `firm_waiting`: how many proposals of colleagues wait for them (R-ADM-09); `has_mailbox`: letters stay here."""
    return {
        "has_mailbox": bool(settings.EMAIL_FOLDER),
        "customer": SimpleLazyObject(lambda: customer_of(request)),
        "limited_to": SimpleLazyObject(lambda: limited_to(request)),
        "unread": SimpleLazyObject(lambda: _unread(request)),
        "unanswered": SimpleLazyObject(lambda: _unanswered(request)),
        "firm_waiting": SimpleLazyObject(lambda: _firm_waiting(request)),
    }


def _unread(request: HttpRequest) -> int:
    if not isinstance(request.user, User):
        return 0
    return (
        Notice.objects.visible_to(request.user).filter(read_at__isnull=True, dropped_at__isnull=True).count()
    )


def _firm_waiting(request: HttpRequest) -> int:
    user, customer = request.user, customer_of(request)
    if not isinstance(user, User) or customer is None:
        return 0
    return inbox.waiting_for(user, at=timezone.now()).filter(customer=customer).count()


def _unanswered(request: HttpRequest) -> list[Notice]:
    return to_acknowledge(request, at=timezone.now()) if isinstance(request.user, User) else []
