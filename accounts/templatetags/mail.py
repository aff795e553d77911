"""What the templates of letters need besides the figures' filters."""

from django import template
from django.utils.html import strip_tags

from accounts.models import Notice
from accounts.pages import facts
from accounts.tongue import say

register = template.Library()


@register.simple_tag
def told_in(notice: Notice) -> facts.Told:
    """The figures that the notice was sent with. R-GEN-65"""
    return facts.told(notice.facts)


@register.filter
def words(value: str) -> str:
    """A figure or words without markup, for a letter of plain text."""
    return strip_tags(say(value)).replace("\u00a0", " ").replace("\u202f", " ")
