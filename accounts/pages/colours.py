"""Light, dark or as the system says: a cookie, chosen by a plain form, so that the right page is sent at once."""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, resolve_url
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

COOKIE: Final = "theme"
LIGHT_OR_DARK: Final = frozenset({"light", "dark"})
KEPT_FOR: Final = timedelta(days=365)


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Back to the page it was chosen on; `theme` empty is the system's choice, and forgets the cookie.

    Scripts may read the cookie: the same choice is made by them without leaving the page.
    """
    chosen = request.POST.get("theme", "")
    if chosen and chosen not in LIGHT_OR_DARK:
        return HttpResponseBadRequest(render_to_string("400.html"))
    answer = redirect(_back(request))
    if chosen:
        answer.set_cookie(
            COOKIE, chosen, max_age=KEPT_FOR, secure=bool(settings.SESSION_COOKIE_SECURE), samesite="Lax"
        )
    else:
        answer.delete_cookie(COOKIE, samesite="Lax")
    return answer


def _back(request: HttpRequest) -> str:
    """Only to a page of ours: whoever made the form may have written any address into it."""
    wanted = request.POST.get("next", "")
    ours = {request.get_host()}
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts=ours, require_https=request.is_secure()):
        return wanted
    return resolve_url(settings.LOGIN_REDIRECT_URL)
