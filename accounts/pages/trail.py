"""Every look of the house at a client's data stands in the audit trail (R-ADM-07).

One place instead of a line in each view: whose data a page shows is in its address. Somebody who keeps a page open,
which asks again every few seconds, is written down once every five minutes.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.apps import apps
from django.core.cache import cache
from django.core.exceptions import FieldDoesNotExist
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch

from accounts import audit
from accounts.commands import Actor
from accounts.membership import customer_of, owner_in
from accounts.models import ApiKey, Customer, User

logger = logging.getLogger(__name__)

ONCE_IN: Final = 300  # seconds
NAMED_OTHERWISE: Final = {
    "client_id": "customer_id",
    "request_id": "application_id",
    "row_id": "confirmation_id",
    "code": "ledger_code",
}
"""What an address calls by another name than the commands do."""


class Looks:
    """Middleware: after the answer, since what was refused or is not there was not seen."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = self.get_response(request)
        user, match = getattr(request, "user", None), request.resolver_match
        is_house = isinstance(user, User) and user.role != User.Role.BORROWER
        if is_house and match is not None and request.method == "GET" and answer.status_code == 200:
            assert isinstance(user, User)
            _write_down(user, match)
        return answer


def _write_down(user: User, match: ResolverMatch) -> None:
    customer_id = _shown_by_console(match) if match.namespace == "admin" else _shown_by_page(match.kwargs)
    if customer_id is None or not _is_new(f"{user.pk}:{customer_id}:{match.view_name}"):
        return
    audit.viewed(customer=customer_id, actor=Actor.user(user), what=match.view_name)


def _shown_by_page(kwargs: Mapping[str, Any]) -> int | None:
    return customer_of({NAMED_OTHERWISE.get(name, name): value for name, value in kwargs.items()})


def _shown_by_console(match: ResolverMatch) -> int | None:
    """The console names its pages after the table: `accounts_account_change`."""
    label, _, rest = (match.url_name or "").partition("_")
    name, _, kind = rest.rpartition("_")
    key = match.kwargs.get("object_id")
    if kind != "change" or key is None or not str(key).isdecimal():
        return None
    model = apps.get_model(label, name)
    if model is Customer:
        return int(key)
    if model is ApiKey:
        return customer_of({"api_key_id": int(key)})
    try:
        model._meta.get_field("customer")
    except FieldDoesNotExist:
        return None
    return owner_in(model)(key)


def _is_new(look: str) -> bool:
    try:
        return bool(cache.add(f"look:{look}", 1, ONCE_IN))
    except Exception:  # without a cache there are more records than needed, never fewer
        logger.warning("the cache is away; a look is written down again")
        return True
