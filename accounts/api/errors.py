"""The one error shape of our own API: `{code, message}`, and `fields` or `problems` where single fields are wrong.

A rule's no is 409, bad input 400, not yours and not there 404 alike, a bug 500.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from accounts.commands import BadKey
from accounts.errors import BadAmount, Refused
from accounts.membership import NotYours

logger = logging.getLogger(__name__)

MOST_FAULTS: Final = 20  # of one request: more help nobody, and a large body must not make a larger answer
LONGEST_FAULT: Final = 120  # characters; some quote what was sent

CODES = {
    exceptions.NotAuthenticated: ("not_authenticated", "Sign in, or send a bearer token."),
    exceptions.AuthenticationFailed: ("not_authenticated", ""),
    exceptions.PermissionDenied: ("not_permitted", "Your token or session may not do this."),
    exceptions.MethodNotAllowed: ("method_not_allowed", ""),
    exceptions.UnsupportedMediaType: ("unsupported_media_type", "Send application/json."),
    exceptions.NotAcceptable: ("not_acceptable", "The answer is application/json."),
    exceptions.Throttled: ("too_many_requests", ""),
    exceptions.ParseError: ("bad_input", ""),
}


def answer(error: Exception, context: dict[str, Any]) -> Response:
    """What a raised error becomes."""
    set_rollback()
    if isinstance(error, (Http404, NotYours)):
        return told(404, "not_found", "There is nothing like that here.")
    if isinstance(error, PermissionDenied):
        return told(403, "not_permitted", "Your token or session may not do this.")
    if isinstance(error, (BadAmount, BadKey)):
        return told(400, error.code, error.message)
    if isinstance(error, Refused):
        return told(409, error.code, error.message, **_problems(error))
    if isinstance(error, exceptions.ValidationError):
        detail = error.detail if isinstance(error.detail, dict) else {"body": error.detail}
        return told(400, "bad_input", "Some fields are not as they should be.", fields=_first(detail))
    if isinstance(error, exceptions.APIException):
        code, words = CODES.get(type(error), ("refused", ""))
        response = told(error.status_code, code, words or str(error.detail))
        for name in ("auth_header", "wait"):
            if getattr(error, name, None):
                response["WWW-Authenticate" if name == "auth_header" else "Retry-After"] = getattr(
                    error, name
                )
        return response
    if isinstance(error, OperationalError):
        logger.exception("the database could not serve %s", context["request"].path)
        response = told(503, "try_again", "The desk is busy; nothing was changed. Try again in a second.")
        response["Retry-After"] = "1"
        return response
    logger.error("%s failed", context["request"].path, exc_info=error)
    return told(500, "internal_error", "Something went wrong here; nothing was changed.")


def told(status: int, code: str, message: str, **more: Any) -> Response:
    return Response({"code": code, "message": message, **more}, status=status)


def _first(detail: Mapping[str, Any]) -> dict[str, Any]:
    """The first faults, where they stand: as deep as the body is, a list of texts under each name."""
    found: dict[str, Any] = {}
    for path, text in islice(_faults(detail), MOST_FAULTS):
        *outer, name = path
        inner = found
        for step in outer:
            inner = inner.setdefault(step, {})
        inner.setdefault(name, []).append(text[:LONGEST_FAULT])
    return found


def _faults(detail: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _faults(inner, (*path, str(name)))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for place, inner in enumerate(detail):
            # A list of texts belongs to its field; one of faults per element has a name for each.
            yield from _faults(inner, path if isinstance(inner, str) else (*path, str(place)))
    else:
        yield path, str(detail)


def _problems(refusal: Refused) -> dict[str, Any]:
    """Field by field, where a refusal says so much (`TermsRefused` of the terms check)."""
    found = getattr(refusal, "problems", ())[:MOST_FAULTS]
    names = ("field", "code", "message")
    return {"problems": [{name: getattr(one, name) for name in names} for one in found]} if found else {}
