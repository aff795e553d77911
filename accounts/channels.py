"""The ways out of the house: e-mail through Django, SMS through the adapter that SMS_BACKEND names.

An adapter takes a number and a text and returns what the channel said; it raises when the message was not
taken. `NotTaken` is a clear no from a provider that works; anything else means that it does not answer, and the
rest of the run leaves it alone. No adapter is ever called inside a transaction, and none repeats anything.
"""

import json
import logging
import os
import urllib.request
from collections.abc import Callable
from email.utils import make_msgid, parseaddr
from http.client import HTTPMessage
from pathlib import Path
from smtplib import SMTPRecipientsRefused, SMTPResponseException
from typing import IO, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import get_connection
from django.utils.module_loading import import_string

from accounts import letters
from accounts.models import Notice
from accounts.tongue import say

logger = logging.getLogger(__name__)

GATEWAY_TIMEOUT: Final = 5  # seconds for each step of the conversation
MOST_ANSWERED: Final = 4096  # bytes read of an answer; the rest is not wanted
ANSWER_KEPT: Final = 200  # characters; the width of the column
LONGEST_SMS: Final = 320  # two messages' worth
NO_ADDRESS: Final = "No active member has an e-mail address."
NO_PHONE: Final = "No phone number is known."

SmsBackend = Callable[[str, str], str]
"""Takes the number (E.164) and the text; returns what the provider said."""


class NotTaken(Exception):
    """The channel works and said no to this message."""


class NobodyToTell(NotTaken):
    """There is no address to send it to."""


def email(notice: Notice) -> str:
    """One message to each active member, so that they need not see each other's addresses.

    Returns which the mail server took, with the message's id. Raises when it took none.
    """
    members = notice.customer.memberships.filter(user__is_active=True, account=None).order_by("user__email")
    addresses = list(members.values_list("user__email", flat=True))
    if not addresses:
        raise NobodyToTell(NO_ADDRESS)
    return _mail(notice, addresses)


def email_to(notice: Notice, address: str) -> str:
    """One message to a contact besides the members. R-FTR-03"""
    return _mail(notice, [address])


def _mail(notice: Notice, addresses: list[str]) -> str:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].partition("@")[2] or "localhost"
    message_id = make_msgid(str(notice.pk), domain=domain)
    letter, headers = letters.of_notice(notice), {"Message-ID": message_id}
    taken = 0
    trouble: Exception | None = None
    with get_connection() as connection:
        for address in addresses:
            try:
                taken += connection.send_messages([letter.to([address], headers)]) or 0
            except (
                SMTPRecipientsRefused,
                SMTPResponseException,
            ) as error:  # about this address; others may work
                trouble = NotTaken(_one_line(str(error).encode()))
            except OSError as error:  # no answer; what was taken before it has left the house
                trouble = error
                break
    if not taken:
        raise trouble or NotTaken("The mail server took none of the messages.")
    return f"accepted for {taken} of {len(addresses)}, {message_id}"[:ANSWER_KEPT]


def sms(notice: Notice) -> str:
    preference = getattr(notice.customer, "notice_preference", None)
    phone = preference.phone if preference else ""
    if not phone:
        raise NobodyToTell(NO_PHONE)
    return sms_to(notice, phone)


def sms_to(notice: Notice, phone: str) -> str:
    backend: SmsBackend = import_string(settings.SMS_BACKEND)
    with letters.language_of(notice):
        title = letters.one_line(say(notice.title))
    return backend(phone, title[:LONGEST_SMS])[:ANSWER_KEPT]


# --- SMS adapters -------------------------------------------------------------------------------------


def sms_to_console(to: str, text: str) -> str:
    """A line in the log, without the whole number: logs are read by many."""
    logger.info("sms to %s…%s: %s", to[:3], to[-3:], text)
    return "written to the log"


def sms_to_file(to: str, text: str) -> str:
    """A line of JSON appended to SMS_FILE. One write per line, so that several workers do not mix theirs."""
    path = Path(settings.SMS_FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"to": to, "text": text}, ensure_ascii=False) + "\n"
    with open(path, "ab", opener=_private) as out:
        out.write(line.encode())
    return f"written to {path.name}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class GatewayNotSafe(Exception):
    """The address of the gateway would send its token in the clear."""


def sms_by_gateway(to: str, text: str) -> str:
    """POST {to, text, from} as JSON to SMS_GATEWAY_URL; any 2xx means taken. The token is never logged.

    Raises:
        GatewayNotSafe: the address is neither https nor on this machine.
        NotTaken: it answered, but not 2xx; a redirect is not followed, it would take the token along.
        OSError: it did not answer in time.
    """
    address = urlsplit(settings.SMS_GATEWAY_URL)
    is_local = address.scheme == "http" and address.hostname == "127.0.0.1"
    if address.scheme != "https" and not is_local:
        raise GatewayNotSafe("SMS_GATEWAY_URL must be https.")
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_local:
        handlers.append(urllib.request.ProxyHandler({}))
    body = json.dumps({"to": to, "text": text, "from": settings.SMS_SENDER}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {settings.SMS_GATEWAY_TOKEN}"}
    request = urllib.request.Request(settings.SMS_GATEWAY_URL, body, headers, method="POST")  # noqa: S310  checked above
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=GATEWAY_TIMEOUT) as answer:
            said = answer.read(MOST_ANSWERED)
            status = answer.status
    except HTTPError as error:
        with error:
            said, status = error.read(MOST_ANSWERED), error.code
        raise NotTaken(f"HTTP {status}: {_one_line(said)}"[:ANSWER_KEPT]) from None
    return f"HTTP {status}: {_one_line(said)}"[:ANSWER_KEPT]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None  # then the 3xx is an HTTPError like any other


def _one_line(said: bytes) -> str:
    """What was said as one printable line, without our token, should somebody echo it."""
    text = said.decode("utf-8", "replace")
    if settings.SMS_GATEWAY_TOKEN:
        text = text.replace(settings.SMS_GATEWAY_TOKEN, "…")
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
