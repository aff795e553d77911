"""Policies the frameworks ask for by dotted path: who may sign up, and what a page may run."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.mail import EmailMessage
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from accounts import letters
from accounts.commands import Actor, acting
from accounts.sapi import transport
from config import errors

if TYPE_CHECKING:
    from allauth.account.models import EmailAddress

_DIALECT: Final = re.compile("^/*(sapi|api/+v3)(/|$)")
_PROGRAM: Final = re.compile("^/*s?api(/|$)")


class ClosedDesk(DefaultAccountAdapter):
    """Nobody opens an account by themselves: the desk does it for them."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.ACCOUNT_OPEN_SIGN_UP)

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that limits and lists of sign-ins go by: that of the keys, so one word about proxies holds."""
        return transport.address_of(request) or super().get_client_ip(request)

    def render_mail(
        self,
        template_prefix: str,
        email: str | list[str],
        context: dict[str, Any],
        headers: dict[str, str] | None = None,
    ) -> EmailMessage:
        """The words of sign-in letters in the frame of all letters."""
        worded: EmailMessage = super().render_mail(template_prefix, email, context, headers)
        return letters.of_text(str(worded.subject), str(worded.body)).to(worded.to, worded.extra_headers)

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        """The password alone: to write anything else of a person, the database wants to know who does it."""
        user.set_password(password)
        user.save(update_fields=["password"])

    def confirm_email(self, request: HttpRequest, email_address: "EmailAddress") -> bool:
        """Who opens the link in the letter confirms their own address; the first one they have is theirs to sign in."""
        with acting(Actor.user(email_address.user)):
            confirmed: bool = super().confirm_email(request, email_address)
        return confirmed


class Manners:
    """What holds for every answer: no copy stays in a browser or a proxy, and no address has a NUL in it.

    PostgreSQL has no text with a NUL, so such an address names nothing and is refused before anyone asks.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            answer: HttpResponseBase = _refused(request)
        elif settings.SECURE_SSL_REDIRECT and not request.is_secure() and _PROGRAM.match(request.path_info):
            answer = _in_the_clear(request)
        else:
            answer = self.get_response(request)
        if answer.status_code >= 400 and _DIALECT.match(request.path_info) and not _is_json(answer):
            answer = _unserved(answer.status_code)
        answer.headers.setdefault("Cache-Control", "private, no-store")
        return answer


def _refused(request: HttpRequest) -> HttpResponseBase:
    """In the form its asker reads: a page, or the error of the API that was called."""
    words = "Illegal characters found in the address."
    if _DIALECT.match(request.path_info):
        return JsonResponse({"code": -1100, "msg": words}, status=400)
    if request.path_info.startswith("/api/"):
        return JsonResponse({"code": "bad_input", "message": words}, status=400)
    return errors.unreadable(request)


def _in_the_clear(request: HttpRequest) -> HttpResponseBase:
    """A page is sent to https; a program is told, or it would go on sending its key where all can read it."""
    words = "Use https: what you sent could be read on its way."
    if _DIALECT.match(request.path_info):
        return JsonResponse({"code": -1002, "msg": words}, status=403)
    return JsonResponse({"code": "https_only", "message": words}, status=403)


def _is_json(answer: HttpResponseBase) -> bool:
    return answer.headers.get("Content-Type", "").startswith("application/json")


def _unserved(status: int) -> HttpResponseBase:
    """A request of the dialect that never came to its door, such as one with a forged Host: in its form, too."""
    if status < 500:
        return JsonResponse({"code": -1100, "msg": "This request cannot be read."}, status=status)
    return JsonResponse({"code": -1000, "msg": "An unknown error occurred."}, status=status)


class Programs:
    """Takes a request of the dialect straight to its door: there is no session, form or page for the rest to look at.

    Behind what holds for every answer (the headers of security, CSP and Manners); the door knows its own callers.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not _DIALECT.match(request.path_info):
            return self.get_response(request)
        from accounts.sapi.door import door  # models are not loaded yet when settings name this module
        from config import urls  # noqa: F401  every endpoint is in the register, whatever was asked for first

        request.get_host()  # refuses a forged Host
        answer = door(request)
        answer.headers.setdefault("X-Frame-Options", settings.X_FRAME_OPTIONS)
        answer.headers.setdefault("Content-Length", str(len(answer.content)))  # else it goes out in pieces
        return answer
