"""The book's sums, taken every few seconds for everybody who may look, and shown with the time they were taken.

Summing takes longer the more groups there are, and a page must not. A snapshot is never made to look newer than it is:
`Book.at` is when its figures were true. It is kept in Valkey, since it is no fact but a reading of facts; without one,
or with an old one, the page sums up itself.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.cache import cache
from django.db import connection
from django.utils.safestring import SafeString

from accounts.models import Customer, User
from loans import dashboard
from loans.dashboard import Book

logger = logging.getLogger(__name__)

OLDEST: Final = timedelta(minutes=2)  # an older one is not shown, unless the next is not due so soon
SHARE: Final = 10  # a database is busy with this for a tenth of its time at most
KEPT: Final = 3600  # seconds; also how the next one knows what the last one took
PATIENCE: Final = "240s"  # for one statement; below the time limit of tasks
EVERYBODY: Final = "all"


def scope_of(user: User) -> str:
    """Whose book a user of the house sees: their own clients' or everybody's (loans/pages/desk_access.py)."""
    return str(user.pk) if user.role == User.Role.VIP_MANAGER else EVERYBODY


def newest(scope: str, *, at: datetime) -> Book | None:
    """The last snapshot of this scope; None when there is none, or an old one, or nobody to ask."""
    kept = _kept(scope)
    if kept is None:
        return None
    book: Book = kept["book"]
    oldest = max(OLDEST, 2 * _pause(kept))  # a page could not sum up in its time what takes so long
    return book if timedelta() <= at - book.at <= oldest else None


def rendered(scope: str, book: Book, beside: object, render: Callable[[], SafeString]) -> SafeString:
    """What a page makes of the sums of this scope's snapshot, with what else it shows `beside` them.

    Made once for everybody who sees the same, and anew where nobody can keep it.
    """
    name = f"book-page:{hashlib.sha256(repr((scope, book.at, beside)).encode()).hexdigest()}"
    try:
        kept = cache.get(name)
    except Exception:
        logger.warning("nothing can be read that the page of the book has been made of before")
        kept = None
    if isinstance(kept, SafeString):
        return kept
    made = render()
    try:
        cache.set(name, made, OLDEST.total_seconds())
    except Exception:
        logger.warning("nothing can keep what the page of the book is made of")
    return made


def take(*, at: datetime) -> int:
    """Sum up the book of everybody and of each manager; returns how many. Left out while the last one is too fresh.

    Safe to run twice, or two at once: the later one is shown.
    """
    last = _kept(EVERYBODY)
    if last is not None and at - last["book"].at < _pause(last):
        return 0
    began, taken = time.monotonic(), {}
    managers = User.objects.filter(role=User.Role.VIP_MANAGER, is_active=True).order_by("pk")
    scopes = {str(manager.pk): Customer.objects.filter(manager=manager) for manager in managers}
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [PATIENCE])
        try:
            for scope, customers in ({EVERYBODY: Customer.objects.all()} | scopes).items():
                taken[scope] = dashboard.book_of(customers, at=at)
        finally:
            cursor.execute("RESET statement_timeout")
    took = time.monotonic() - began
    cache.set_many({_name(scope): {"book": book, "took": took} for scope, book in taken.items()}, KEPT)
    return len(taken)


def _pause(kept: dict[str, Any]) -> timedelta:
    """From one snapshot to the next."""
    return timedelta(seconds=SHARE * kept["took"])


def _name(scope: str) -> str:
    return f"book:{scope}"


def _kept(scope: str) -> dict[str, Any] | None:
    """None also when the cache is away, or holds what another version of this program wrote."""
    try:
        found: dict[str, Any] | None = cache.get(_name(scope))
        # A copy reads every field: what lacks one now is not found out by a page later.
        return found and {"book": replace(found["book"]), "took": float(found["took"])}
    except Exception:
        logger.warning("no snapshot of the book can be read; the page sums up itself")
        return None
