"""What a page answers when it cannot be shown, and the number by which logs and the audit trail know the request."""

from collections.abc import Callable
from typing import Final
from uuid import uuid4

import structlog
from django.core.signals import request_finished
from django.db import OperationalError, connection
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils import translation
from django.views.defaults import server_error

from accounts.commands import request_id

HEADER: Final = "X-Request-ID"
AGAIN_IN: Final = "30"
"""Seconds after which a page that the database could not answer is worth another try."""


class Numbered:
    """Middleware, the outermost: gives each request its number, for the answer, the logs and what it writes down.

    The number is ours: one that a stranger sends along could point an enquiry at somebody else's request. A program's
    door gives its own requests a number of their own (`api:`, `v1:`) and writes that down.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        number = f"web:{uuid4().hex}"
        token = request_id.set(number)
        structlog.contextvars.bind_contextvars(request=number)
        try:
            answer = self.get_response(request)
        finally:
            request_id.reset(token)
        answer.headers.setdefault(HEADER, number)
        return answer


@receiver(request_finished)
def _forget(**_: object) -> None:
    """Not sooner: Django's line about an answer of 4xx is written when all middleware is done."""
    structlog.contextvars.unbind_contextvars("request")


def broken(request: HttpRequest) -> HttpResponseBase:
    """The handler of what nobody caught: 503 when the database is away, for that passes; 500 otherwise.

    Neither page asks the database for anything.
    """
    if not _is_database_away():
        return server_error(request)
    return HttpResponse(render_to_string("503.html"), status=503, headers={"Retry-After": AGAIN_IN})


def _is_database_away() -> bool:
    try:
        connection.ensure_connection()  # before its first query a thread has none
        return not connection.is_usable()
    except OperationalError:
        return True


def unreadable(request: HttpRequest) -> HttpResponse:
    """For an address refused before anyone chose the page's language."""
    with translation.override(translation.get_language_from_request(request)):
        return HttpResponse(render_to_string("400.html"), status=400)


def wrong_method(answer: HttpResponseBase) -> HttpResponseBase:
    """An address that takes another method says so on a page; what it takes stays in the header."""
    if answer.status_code != 405 or (isinstance(answer, HttpResponse) and answer.content):
        return answer
    return HttpResponse(render_to_string("405.html"), status=405, headers={"Allow": answer.headers["Allow"]})
