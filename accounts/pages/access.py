"""Who is looking at a page, and for whom they act. What is not theirs does not exist for them: 404, never 403."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponseBase

from accounts.commands import Actor
from accounts.membership import NotYourPart, refuse_without
from accounts.models import Account, Customer, Membership, User
from accounts.powers import Power

P = ParamSpec("P")


def user_of(request: HttpRequest) -> User:
    """The signed-in user; for views that only signed-in users reach."""
    assert isinstance(request.user, User)
    return request.user


def actor_of(request: HttpRequest) -> Actor:
    return Actor.user(user_of(request))


def membership_of(request: HttpRequest) -> Membership | None:
    """By which membership the signed-in user acts: the first they got. Asked of the database once a request."""
    if not isinstance(request.user, User):
        return None
    if not hasattr(request, "acts_by"):
        rows = Membership.objects.filter(user=request.user).select_related("customer", "account")
        request.acts_by = rows.order_by("since", "customer").first()  # type: ignore[attr-defined]
    found: Membership | None = request.acts_by  # type: ignore[attr-defined]
    return found


def customer_of(request: HttpRequest) -> Customer | None:
    """Whom the signed-in user acts for, be it for one account only (`limited_to`)."""
    membership = membership_of(request)
    return None if membership is None else membership.customer


def limited_to(request: HttpRequest) -> Account | None:
    """The one account the signed-in user acts for; None when they act for all of the customer. R-GEN-95"""
    membership = membership_of(request)
    return None if membership is None else membership.account


def lacks(request: HttpRequest, power: Power) -> str:
    """Why the signed-in member may not do what takes this power, and who may; empty when they may. R-ADM-09"""
    mine = membership_of(request)
    if mine is None:
        return ""
    try:
        refuse_without(mine, power)
    except NotYourPart as refusal:
        return refusal.message
    return ""


Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
View = Callable[Concatenate[HttpRequest, Customer, P], HttpResponseBase]


def for_customer(view: View[P]) -> Page[P]:
    """Let in who acts for a whole customer, and hand that customer to the view; to others the page does not exist."""
    return _for_member(view, may_be_limited=False)


def for_member(view: View[P]) -> Page[P]:
    """As `for_customer`, with those who act for one account: the view reads through `visible_to`. R-GEN-95"""
    return _for_member(view, may_be_limited=True)


def _for_member(view: View[P], *, may_be_limited: bool) -> Page[P]:
    @login_required
    @wraps(view)
    def page(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        customer = customer_of(request)
        if customer is None or (limited_to(request) is not None and not may_be_limited):
            raise Http404
        return view(request, customer, *args, **kwargs)

    return page
