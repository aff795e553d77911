"""The way out to a customer's own program: one signed POST per notice, to a public https address and nowhere else.

What a program gets is one JSON object, UTF-8::

    {"event": "margin_call:7:12:1", "kind": "margin_call", "title": "…", "body": "…", "facts": {…},
     "at": "2026-01-01T12:00:00+00:00", "customer": {"id": 3, "name": "…"}}

with the headers

* ``X-Lombard-Delivery``: the number of this delivery; the same number never comes twice,
* ``X-Lombard-Timestamp``: seconds since 1970 when it was sent,
* ``X-Lombard-Signature``: HMAC-SHA256 of the timestamp, a full stop and the body's bytes, under the ASCII bytes of the
  secret that was shown when the contact was added; 64 hexadecimal digits.

A receiver computes the signature of what it got, compares in constant time, refuses a timestamp that is minutes old,
and answers 2xx. Anything else is a no; nothing is sent again, so whatever matters is also in the inbox. New fields may
be added to the object.

Customers choose the address, so it is where somebody could make us talk to our own machines (TRUST 7, outbound): it is
looked up once, every address found must be public, and the connection goes to one of those that were judged; the name
is then proved by its certificate. No redirect is followed and no proxy asked, whatever the environment says.
"""

import hashlib
import hmac
import io
import ipaddress
import json
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException, HTTPResponse
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from accounts.channels import ANSWER_KEPT, MOST_ANSWERED, NotTaken
from accounts.errors import Refused
from accounts.models import Delivery

TIMEOUT: Final = 5  # seconds for looking up, connecting, asking and reading together
LONGEST_ADDRESS: Final = 300  # characters; the width of the column
HERE: Final = "127.0.0.1"

_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
_NAME = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*")
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
"""All that was ever given out for the public internet; what lies beside it is ours, or nobody's."""
_WRAPPED = tuple(
    ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
"""IPv6 networks that carry an IPv4 address, which may be one of ours."""


class BadAddress(Refused):
    """Not the address of a program outside; says what is wrong with it."""

    code = "bad_webhook_address"


class NotPublic(NotTaken):
    """The name leads to an address that is not on the public internet."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and what to ask there."""

    is_encrypted: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        return self.host if self.port == (443 if self.is_encrypted else 80) else f"{self.host}:{self.port}"


def address_of(url: str) -> Address:
    """The parts of a webhook's address, judged by its words alone.

    Raises:
        BadAddress: not https, without a name, with a password, or with what a request line cannot hold.
    """
    if len(url) > LONGEST_ADDRESS or not _PRINTABLE.fullmatch(url) or "\\" in url or "#" in url:
        raise BadAddress(
            f"A webhook's address is at most {LONGEST_ADDRESS} plain characters, without spaces and #."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadAddress("This is no address; write it as https://name.example/path.") from None
    is_here = parts.scheme == "http" and host == HERE and settings.WEBHOOKS_TO_THIS_MACHINE
    if parts.scheme != "https" and not is_here:
        raise BadAddress(
            "A webhook's address begins with https://, so that nobody else reads what it is told."
        )
    if "@" in parts.netloc:
        raise BadAddress("A webhook's address holds no user and no password; its secret proves who sends.")
    if port == 0 or not (is_here or _NAME.fullmatch(host)):
        raise BadAddress(
            "A webhook's address names its host in full, such as https://alerts.example.com/lombard."
        )
    path = parts.path or "/"
    return Address(
        is_encrypted=not is_here,
        host=host,
        port=port or (80 if is_here else 443),
        path=f"{path}?{parts.query}" if parts.query else path,
    )


def signature(*, secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 of "timestamp.body": 64 hexadecimal digits."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def payload(delivery: Delivery) -> bytes:
    """What is sent, as it is signed."""
    notice = delivery.notice
    told = {
        "event": notice.event,
        "kind": notice.kind,
        "title": notice.title,
        "body": notice.body,
        "facts": notice.facts,
        "at": notice.at.isoformat(),
        "customer": {"id": notice.customer_id, "name": notice.customer.name},
    }
    return json.dumps(told, ensure_ascii=False).encode()


def post(delivery: Delivery, *, at: datetime) -> str:
    """Send a notice to a contact's program, once; returns what it answered. Never inside a transaction.

    Raises:
        NotTaken: it answered, but not 2xx, or its name leads to a place that is not public.
        OSError: it did not answer in time, or not as itself.
    """
    contact = delivery.contact
    assert contact is not None, "a webhook is always a contact's"
    try:
        address = address_of(contact.address)
    except BadAddress as refusal:
        raise NotTaken(refusal.message) from None
    body, timestamp = payload(delivery), str(int(at.timestamp()))
    headers = {
        "Host": address.authority,
        "User-Agent": "Lombard",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "X-Lombard-Delivery": str(delivery.pk),
        "X-Lombard-Timestamp": timestamp,
        "X-Lombard-Signature": signature(secret=contact.secret, timestamp=timestamp, body=body),
    }
    lines = [f"POST {address.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    status, said = _ask(address, "\r\n".join([*lines, "", ""]).encode("ascii") + body)
    answer = f"HTTP {status}: {_one_line(said)}"[:ANSWER_KEPT]
    if not 200 <= status < 300:
        raise NotTaken(answer)
    return answer


# --- The conversation ---------------------------------------------------------------------------------


def _ask(address: Address, request: bytes) -> tuple[int, bytes]:
    """Send the request's bytes; the status and the first of the answer, all within TIMEOUT."""
    until = time.monotonic() + TIMEOUT
    found = _public_addresses(address, until)
    with _connected(found, address, until) as connection:
        connection.settimeout(_left(until))
        connection.sendall(request)
        answer = HTTPResponse(_Reader(connection, until), method="POST")  # type: ignore[arg-type]
        try:
            answer.begin()
            return answer.status, answer.read(MOST_ANSWERED)
        except HTTPException as error:
            raise OSError(f"no proper answer: {type(error).__name__}") from None
        finally:
            answer.close()


def _public_addresses(address: Address, until: float) -> list[str]:
    """Where the name leads, looked up once: every answer must be public, or none is used. TRUST 7"""
    if not address.is_encrypted:
        return [HERE]  # `address_of` lets nothing else through without encryption
    found = _look_up(address, until)
    if not found:
        raise OSError(f"{address.host} leads nowhere")
    if not all(is_public(each) for each in found):
        raise NotPublic(f"{address.host} is not on the public internet; nothing was sent.")
    return found


def _look_up(address: Address, until: float) -> list[str]:
    """The resolver knows no time limit, and whoever owns the name may be slow: it is left to end by itself."""
    looking = ThreadPoolExecutor(max_workers=1)
    try:
        asked = looking.submit(socket.getaddrinfo, address.host, address.port, type=socket.SOCK_STREAM)
        rows = asked.result(timeout=_left(until))
    except TimeoutError:
        raise TimeoutError("timed out looking the name up") from None
    finally:
        looking.shutdown(wait=False)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet, and not one of ours in disguise."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:  # with a scope, such as fe80::1%eth0
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip not in _PUBLIC_IPV6 or any(ip in network for network in _WRAPPED):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _connected(found: list[str], address: Address, until: float) -> socket.socket:
    """A connection to the first of the judged addresses that answers; the name is proved by its certificate."""
    trouble: OSError = TimeoutError("timed out")
    for each in found:
        # Not `create_connection`: that looks names up once more.
        plain = socket.socket(socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM)
        try:
            plain.settimeout(_left(until))
            plain.connect((each, address.port))
        except OSError as error:
            plain.close()
            trouble = error
            continue
        return _proved(plain, address, until) if address.is_encrypted else plain
    raise trouble


def _proved(plain: socket.socket, address: Address, until: float) -> socket.socket:
    try:
        plain.settimeout(_left(until))
        return ssl.create_default_context().wrap_socket(plain, server_hostname=address.host)
    except BaseException:
        plain.close()
        raise


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class _Reader(io.RawIOBase):
    """A connection's bytes, all reads together within the time: who drips them is given up, too."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection, self._until = connection, until

    def makefile(self, *_: object) -> io.BufferedReader:
        """What `HTTPResponse` asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(_left(self._until))
        return self._connection.recv_into(buffer)


def _one_line(said: bytes) -> str:
    text = " ".join(said.decode("utf-8", "replace").split())
    return "".join(letter for letter in text if letter.isprintable())
