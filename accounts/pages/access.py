"""Who is looking at a page, and for whom they act. What is not theirs does not exist for them: 404, never 403."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase

from accounts.commands import Actor
from accounts.models import Customer, User

P = ParamSpec("P")


def user_of(request: HttpRequest) -> User:
    """The signed-in user; for views that only signed-in users reach."""
    assert isinstance(request.user, User)
    return request.user


def actor_of(request: HttpRequest) -> Actor:
    return Actor.user(user_of(request))


def customer_of(request: HttpRequest) -> Customer | None:
    """Whom the signed-in user acts for: the customer they joined first. Asked of the database once a request."""
    if not isinstance(request.user, User):
        return None
    if not hasattr(request, "acts_for"):
        joined = Customer.objects.filter(memberships__user=request.user)
        request.acts_for = joined.order_by("memberships__since", "pk").first()  # type: ignore[attr-defined]
    found: Customer | None = request.acts_for  # type: ignore[attr-defined]
    return found


def for_customer(
    view: Callable[Concatenate[HttpRequest, Customer, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Let in who acts for a customer, and hand that customer to the view; to others the page does not exist."""

    @login_required
    @wraps(view)
    def page(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        customer = customer_of(request)
        if customer is None:
            raise Http404
        return view(request, customer, *args, **kwargs)

    return page
