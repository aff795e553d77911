"""Whose clients the signed-in user may see: a VIP manager their own, the staff everybody's, a borrower nobody's.

To a borrower the desk does not exist (404). Staff who may not do a manager's work are told so (403). Somebody
else's client does not exist either, whoever asks.
"""

from collections.abc import Callable, Container
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase

from accounts.models import Customer, User
from accounts.pages.access import user_of
from accounts.words import tell

View = Callable[..., HttpResponseBase]
Page = Callable[..., HttpResponseBase]


def is_manager(user: User) -> bool:
    return user.role == User.Role.VIP_MANAGER


def is_of_the_house(user: User) -> bool:
    """Sees clients at all: a VIP manager, or staff."""
    return is_manager(user) or user.is_staff


def clients_of(user: User) -> QuerySet[Customer]:
    """The clients this user may look at."""
    if is_manager(user):
        return Customer.objects.filter(manager=user)
    return Customer.objects.all() if user.is_staff else Customer.objects.none()


def for_those(may: Callable[[User], bool], closed: str) -> Callable[[View], Page]:
    """Let in whom `may` admits; the rest of the house is told that it is `closed`, to a borrower nothing is there."""

    def guarded(view: View) -> Page:
        @login_required
        @wraps(view)
        def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            user = user_of(request)
            if may(user):
                return view(request, *args, **kwargs)
            if is_of_the_house(user):
                raise PermissionDenied(closed)
            raise Http404

        return page

    return guarded


def for_roles(roles: Container[str], closed: str) -> Callable[[View], Page]:
    """Let in staff of these roles."""
    return for_those(lambda user: user.is_staff and user.role in roles, closed)


for_manager = for_those(
    is_manager, tell("The queue is the VIP managers' work; the console shows it to staff.")
)


def for_the_house(view: View) -> Page:
    """Let in VIP managers and staff; `clients_of` says what each of them sees."""

    @login_required
    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not is_of_the_house(user_of(request)):
            raise Http404
        return view(request, *args, **kwargs)

    return page
