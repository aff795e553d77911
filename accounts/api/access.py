"""Who may call our own API: a program with a bearer token, or a signed-in person's browser.

Django REST framework reads these while it is itself being imported, so they know nothing of its views.
"""

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts import keys
from accounts.errors import Refused
from accounts.keys import Caller
from accounts.models import User
from accounts.sapi.transport import address_of


class Bearer(BaseAuthentication):
    """`Authorization: Bearer <token>`: the token of a key of that kind, shown once when it was made."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            caller = keys.find_bearer(token.strip(), address=address_of(request), at=timezone.now())
        except Refused:
            raise AuthenticationFailed("The token is not valid, or not from this address.") from None
        return caller.user, caller

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class Session(SessionAuthentication):
    """The signed-in browser, with its CSRF token on writes."""


class Member(BasePermission):
    """Somebody who acts for a customer; a token has its own permission besides (`Edge.permission`)."""

    def has_permission(self, request: Request, view: object) -> bool:
        if not isinstance(request.user, User) or not request.user.is_active:
            return False
        if not isinstance(request.auth, Caller):
            return True
        needed = "can_read" if request.method in SAFE_METHODS else getattr(view, "permission", "can_borrow")
        return bool(getattr(request.auth.key, needed))
