"""The frame of every page: which way you can go, and where you are."""

from decimal import Decimal
from typing import Any

from django import template
from django.conf import settings
from django.template.context import Context
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from accounts.commands import request_id
from accounts.pages import access
from accounts.powers import Power
from accounts.typed import unmistakable
from accounts.words import tell

register = template.Library()


@register.simple_tag(takes_context=True)
def nav_link(context: Context, view_name: str, label: str, apart: str = "", count: int = 0) -> str:
    """A link of the main navigation, marked when it is this page or holds it.

    Nothing when no such page is installed: the frame belongs to `accounts`, the pages to the apps above it.
    `apart` names the pages below this one that have a link of their own; `count` is how much waits there.
    """
    try:
        href = reverse(view_name)
        others = [reverse(other) for other in apart.split()]
    except NoReverseMatch:
        return ""
    label = tell("{label} ({count})", label=label, count=count) if count else label
    request = context.get("request")
    current = "" if any(_current(request, other) for other in others) else _current(request, href)
    if not current:
        return format_html('<a href="{}">{}</a>', href, label)
    return format_html('<a href="{}" aria-current="{}">{}</a>', href, current, label)


@register.simple_tag(takes_context=True)
def demo_link(context: Context, view_name: str, label: str) -> str:
    """As `nav_link`, for a page that exists in a demo only."""
    return nav_link(context, view_name, label) if settings.DEMO else ""


def _current(request: Any, href: str) -> str:
    path = getattr(request, "path", "")
    if path == href:
        return "page"
    return "true" if href.count("/") > 1 and path.startswith(href) else ""


@register.simple_tag(takes_context=True)
def lacks(context: Context, power: str) -> str:
    """Why the signed-in member may not do this, and who may; empty when they may: `{% lacks "repay" as why %}`."""
    return access.lacks(context["request"], Power(power))


@register.simple_tag
def request_number() -> str:
    """The number by which the logs know this request; empty outside one. It needs no request to be at hand."""
    return request_id.get()


@register.filter
def typed(value: Decimal) -> str:
    """An amount as a program types it into a form or a link: plain digits and a point, no idle zeros.

    For a Swedish reader three decimals become four, because three could be thousands (accounts/typed.py).
    """
    return unmistakable(f"{value.normalize():f}")
