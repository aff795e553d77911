"""What the frame of every page reads. Lazy: a page that does not show it does not ask the database."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Notice, User
from accounts.pages.access import customer_of, limited_to


def people(request: HttpRequest) -> dict[str, Any]:
    """`customer`: whom the signed-in user acts for; `limited_to`: the one account of it, if it is one only;
    `unread`: how many notices they have not opened."""
    return {
        "customer": SimpleLazyObject(lambda: customer_of(request)),
        "limited_to": SimpleLazyObject(lambda: limited_to(request)),
        "unread": SimpleLazyObject(lambda: _unread(request)),
    }


def _unread(request: HttpRequest) -> int:
    if not isinstance(request.user, User):
        return 0
    return (
        Notice.objects.visible_to(request.user).filter(read_at__isnull=True, dropped_at__isnull=True).count()
    )
