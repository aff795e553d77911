"""What every address of our own API starts from: who asks, for whom, how often, and their key bound to its account."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import membership
from accounts.commands import Actor, request_id
from accounts.keys import Caller
from accounts.models import Account, Customer, Membership, User
from accounts.sapi import weights
from accounts.sapi.transport import address_of


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom a request is made, and when. `only`: the one account it reaches; None is all of the customer's."""

    user: User
    customer: Customer
    only: Account | None
    at: datetime

    @property
    def actor(self) -> Actor:
        return Actor.user(self.user)


class Edge(APIView):
    """An address of our own API: who asks, and their key bound to its account while a command runs.

    `permission` is what a token needs for a write here.
    """

    permission = "can_borrow"

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        bound, named = membership.bound_to.set(None), request_id.set(f"v1:{uuid4().hex}")
        try:
            return super().dispatch(request, *args, **kwargs)
        finally:
            membership.bound_to.reset(bound)
            request_id.reset(named)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if isinstance(request.auth, Caller):
            membership.bound_to.set(request.auth.only)
            who = f"key:{request.auth.key.pk}"
        else:
            who = f"user:{request.user.pk}"
        seconds = weights.wait(f"{who}:{address_of(request)}", at=timezone.now())
        if seconds:
            raise Throttled(wait=seconds, detail="Too many requests this minute; wait for the next one.")

    def asker(self, *, whole: bool = False) -> Asker:
        """Who asks; with `whole`, only somebody who acts for all of the customer. Others: there is nothing here.

        Raises:
            Http404: staff, or somebody without a customer.
        """
        request = self.request
        if isinstance(request.auth, Caller):
            customer, only = request.auth.customer, request.auth.only
        else:
            mine = self._membership()
            customer, only = mine.customer, mine.account
        if whole and only is not None:
            raise Http404
        assert isinstance(request.user, User)
        return Asker(user=request.user, customer=customer, only=only, at=timezone.now())

    def require(self, permission: str) -> None:
        """For a write that takes more than `permission` of the class says.

        Raises:
            PermissionDenied: the token has not this one.
        """
        auth = self.request.auth
        if isinstance(auth, Caller) and not getattr(auth.key, permission):
            raise PermissionDenied

    def _membership(self) -> Membership:
        assert isinstance(self.request.user, User)
        rows = Membership.objects.filter(user=self.request.user).select_related("customer", "account")
        mine = rows.order_by("since", "customer").first()
        if mine is None:
            raise Http404
        return mine
