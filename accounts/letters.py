"""What leaves the house as a letter: one frame for every e-mail, as text and as HTML, with figures and one link.

A letter sets no background and fetches nothing, so it reads in dark and in plain programs and tells nobody when it is
opened. What people wrote stands in it as text, never as markup, and a subject is one line.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import get_language

from accounts.models import Notice
from accounts.tongue import ENGLISH, say
from accounts.words import joined


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    text: str
    html: str
    language: str = ENGLISH

    def to(
        self, addresses: Iterable[str], headers: Mapping[str, str] | None = None
    ) -> EmailMultiAlternatives:
        message = EmailMultiAlternatives(
            self.subject,
            self.text,
            settings.DEFAULT_FROM_EMAIL,
            list(addresses),
            headers={"Content-Language": self.language, **(headers or {})},
        )
        message.attach_alternative(self.html, "text/html")
        return message


def of_notice(notice: Notice) -> Letter:
    """A notice with the figures it was sent with and the link to itself, in its customer's language. R-GEN-65"""
    link = f"{settings.SITE_URL}{reverse('accounts:notice', args=[notice.pk])}"
    context = {"notice": notice, "link": link, "desk": desk()}
    with language_of(notice):
        return Letter(
            subject=one_line(say(notice.title)),
            text=tidy(render_to_string("mail/notice.txt", context)),
            html=render_to_string("mail/notice.html", context),
            language=get_language() or ENGLISH,
        )


def language_of(notice: Notice) -> translation.override:
    """Letters and SMS speak the language the customer chose; webhooks are for programs and speak English."""
    preference = getattr(notice.customer, "notice_preference", None)
    return translation.override(preference.language if preference else ENGLISH)


def of_text(subject: str, text: str) -> Letter:
    """A letter that somebody else worded (sign-in, addresses, passwords): the same frame around its text."""
    context = {"subject": one_line(subject), "text": text.strip(), "desk": desk()}
    return Letter(one_line(subject), text.strip() + "\n", render_to_string("mail/text.html", context))


def desk() -> str:
    """The site as people read it, without its scheme."""
    return str(settings.SITE_URL).partition("://")[2]


def one_line(text: str) -> str:
    """A header is one line, whatever a group is called."""
    return joined(" ", text.split())


def tidy(text: str) -> str:
    """Without blanks at line ends, and never two empty lines in a row."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    kept = [line for place, line in enumerate(lines) if line or (place and lines[place - 1])]
    return "\n".join(kept) + "\n"
