"""A person's own sign-in on one page: password, address, second step, and where else they are signed in."""

from dataclasses import dataclass
from typing import Final

from allauth.account.models import EmailAddress
from allauth.account.views import email as library_addresses
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.commands import Actor, acting
from accounts.models import User
from accounts.pages.access import user_of
from accounts.words import tell

BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class SignIn:
    """`device` is what the browser says of itself; anybody could write another."""

    row: UserSession
    device: str
    is_this: bool


@login_required
def addresses(request: HttpRequest) -> HttpResponseBase:
    """The library's page, signed: another main address is another sign-in, and the trail says whose doing it was."""
    with acting(Actor.user(user_of(request))):
        answer: HttpResponseBase = library_addresses(request)
    return answer


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def security(request: HttpRequest) -> HttpResponse:
    """A post ends one of the person's other sign-ins, or all of them; this one ends by signing out."""
    user = user_of(request)
    if request.method == "POST":
        ended = _end(user, request.POST.get("session", ""), this=request.session.session_key or "")
        messages.success(
            request,
            tell("1 sign-in has ended.")
            if ended == 1
            else tell("{number} sign-ins have ended.", number=ended),
        )
        return redirect("accounts:security")
    rows = {row.type: row for row in Authenticator.objects.filter(user=user)}
    codes = rows.get(Authenticator.Type.RECOVERY_CODES)
    context = {
        "sign_ins": _sign_ins(request, user),
        "is_confirmed": EmailAddress.objects.filter(user=user, email=user.email, verified=True).exists(),
        "second_step": rows.get(Authenticator.Type.TOTP),
        "codes_left": None if codes is None else len(codes.wrap().get_unused_codes()),
    }
    return render(request, "accounts/security.html", context)


def _sign_ins(request: HttpRequest, user: User) -> list[SignIn]:
    """Where the person is signed in, this browser first; what has ended or was outlived by a new password is none."""
    key = request.session.session_key
    if not UserSession.objects.filter(session_key=key).exists():  # signed in before the list was kept
        UserSession.objects.create_from_request(request)
    living = UserSession.objects.purge_and_list(user)
    found = [SignIn(row, _device(row.user_agent), row.session_key == key) for row in living]
    return sorted(found, key=lambda one: (not one.is_this, -one.row.created_at.timestamp()))


def _end(user: User, asked: str, *, this: str) -> int:
    others = UserSession.objects.filter(user=user).exclude(session_key=this)
    if asked != "others":
        others = (
            others.filter(pk=int(asked))
            if asked.isascii() and asked.isdecimal() and len(asked) < 18
            else others.none()
        )
    rows = list(others)
    for row in rows:
        row.end()
    return len(rows)


def _device(user_agent: str) -> str:
    browser = next((name for sign, name in BROWSERS if sign in user_agent), tell("a browser"))
    system = next((name for sign, name in SYSTEMS if sign in user_agent), "")
    return tell("{browser} on {system}", browser=browser, system=system) if system else browser
