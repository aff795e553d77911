"""Django's filters of text, for words too: they work on what the reader reads, not on the English behind it.

A library of every template (settings), so no template loads it.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django import template
from django.template import defaultfilters

from accounts.tongue import say

register = template.Library()


def _of_words(name: str) -> None:
    """Register Django's filter `name` again, with words said before it looks at them."""
    original: Callable[..., Any] = defaultfilters.register.filters[name]

    @wraps(original)  # Django counts the arguments of what is wrapped
    def spoken(value: Any, *arguments: Any, **keywords: Any) -> Any:
        said = say(value) if isinstance(value, str) else value
        return original(said, *arguments, **keywords)

    flags = {flag: getattr(original, flag, False) for flag in ("is_safe", "needs_autoescape")}
    register.filter(name, spoken, **flags)


for _name in (
    *("capfirst", "lower", "upper", "title", "linebreaks", "linebreaksbr", "truncatechars", "truncatewords"),
    *("stringformat", "cut", "force_escape", "striptags", "wordwrap", "slugify", "ljust", "rjust", "center"),
):
    _of_words(_name)


@register.filter
def said(text: str) -> str:
    """Words in the reader's language, where nothing is escaped and so nobody else says them: letters of plain text."""
    return say(text)


@register.filter(is_safe=True, needs_autoescape=True)
def join(value: Iterable[Any], separator: str, autoescape: bool = True) -> Any:
    """As Django's, of words too."""
    try:
        said = [say(one) if isinstance(one, str) else one for one in value]
    except TypeError:
        return value
    return defaultfilters.register.filters["join"](said, separator, autoescape=autoescape)
