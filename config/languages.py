"""Which language a page is in: what its reader chose, else what their browser asks for, else English.

Pages only. What programs read (`/sapi`, `/api`) is English, the record, and so is the console, whose words are those of
the tables and commands it shows.
"""

import re
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers

from accounts.tongue import ENGLISH, LANGUAGES
from config import errors

_ENGLISH_ONLY: Final = re.compile("^/*(s?api|admin)(/|$)")


class Languages:
    """The language is put back afterwards: a worker's thread answers a program next."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if _ENGLISH_ONLY.match(request.path_info):
            with translation.override(ENGLISH):
                return self.get_response(request)
        chosen = translation.get_language_from_request(request)
        with translation.override(chosen):
            answer = errors.wrong_method(self.get_response(request))
        answer.headers.setdefault("Content-Language", chosen)
        patch_vary_headers(answer, ("Accept-Language", "Cookie"))
        return answer


def language(request: HttpRequest) -> dict[str, object]:
    """`language` of this page and the `languages` there are, for `<html lang>` and the form that chooses."""
    return {"language": translation.get_language() or ENGLISH, "languages": LANGUAGES}
