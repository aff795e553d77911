"""A request of the dialect as it arrived: its raw bytes, its parameters, its time and its signature."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.http import HttpRequest
from django.http.request import RawPostDataException, UnreadablePostError

from accounts import keys, signing
from accounts.keys import Caller
from accounts.sapi.errors import (
    AHEAD,
    BAD_SIGNATURE,
    BAD_TIME,
    BAD_WINDOW,
    ILLEGAL,
    MISSING,
    NOT_SIGNED,
    OUTSIDE,
    TOO_MANY_PARAMETERS,
    Denied,
)
from accounts.sapi.wire import ms

LARGEST: Final = 64 * 1024  # bytes of query and body together
MOST_PAIRS: Final = 100
DEFAULT_WINDOW: Final = Decimal(5000)  # milliseconds
LONGEST_WINDOW: Final = Decimal(60000)
AHEAD_MS: Final = 1000
FORM: Final = "application/x-www-form-urlencoded"
MICROSECONDS: Final = 16  # digits; fewer are milliseconds
_STAMP: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_WINDOW: Final = re.compile(r"[0-9]{1,16}(\.[0-9]{1,3})?", re.ASCII)
_NO_ESCAPE: Final = re.compile(b"%(?![0-9A-Fa-f]{2})")
OF_TRANSPORT: Final = frozenset({"timestamp", "recvWindow", "signature"})


@dataclass(frozen=True, slots=True)
class Arrived:
    """`payload` is what was signed; `sent` are the parameters by name, decoded; `signature` as it came, or None."""

    payload: bytes
    signature: bytes | None
    sent: Mapping[str, str]


def address_of(request: HttpRequest) -> str:
    """Where a request comes from; what a proxy says counts only behind one that we trust, and only its own word."""
    if settings.BEHIND_PROXY:
        last = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        if told := _bare(last):
            return told
    return str(request.META.get("REMOTE_ADDR", ""))


def _bare(told: str) -> str:
    """The address alone: some proxies write a port behind it. Empty where it is none."""
    host = told.partition("]")[0].removeprefix("[") if told.startswith("[") else told
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return ""


def read(request: HttpRequest) -> Arrived:
    """The parameters of query and form body, in any order; one in both places counts as in the query.

    Raises:
        Denied: too large, not a form, not UTF-8, or a parameter twice in one place.
    """
    query = request.META.get("QUERY_STRING", "").encode("latin-1", "replace")
    body = _body(request, room=LARGEST - len(query))
    query, in_query = signing.split(query)
    body, in_body = signing.split(body)
    signatures = in_query + in_body
    if len(signatures) > 1:
        raise Denied(TOO_MANY_PARAMETERS, "Duplicate values for parameter 'signature' detected.")
    sent = {**_pairs(body), **_pairs(query)}
    return Arrived(query + body, signatures[0] if signatures else None, sent)


def refuse_outside_window(sent: Mapping[str, str], *, at: datetime) -> None:
    """Refuse a request that was not made just now: at most a second ahead, at most its window behind.

    Raises:
        Denied: no or no proper timestamp, a window that is none, or outside of it.
    """
    stamp, window = sent.get("timestamp", ""), sent.get("recvWindow")
    if not stamp:
        raise Denied(MISSING, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
    if not _STAMP.fullmatch(stamp):
        raise Denied(
            ILLEGAL, "Illegal characters found in parameter 'timestamp'; legal range is '^[0-9]{1,16}$'."
        )
    wide = DEFAULT_WINDOW
    if window is not None:
        if not _WINDOW.fullmatch(window):
            raise Denied(ILLEGAL, "Illegal characters found in parameter 'recvWindow'.")
        wide = Decimal(window)
        if not 0 < wide <= LONGEST_WINDOW:
            raise Denied(BAD_WINDOW, "Parameter 'recvWindow' must be above 0 and at most 60000.")
    made = Decimal(stamp) / (1000 if len(stamp) == MICROSECONDS else 1)
    now = Decimal(ms(at))
    if made >= now + AHEAD_MS:
        raise Denied(BAD_TIME, AHEAD)
    if now - made > wide:
        raise Denied(BAD_TIME, OUTSIDE)


def digest_of(arrived: Arrived, caller: Caller) -> str:
    """What names the signature, when it is the caller's: 64 hexadecimal digits of its bytes.

    Raises:
        Denied: there is none, or it is not of this payload and key.
    """
    if arrived.signature is None:
        raise Denied(MISSING, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    key = caller.key
    found = signing.signature_bytes(arrived.signature, kind=key.kind)
    if found is None or not signing.is_signed(
        arrived.payload,
        found,
        kind=key.kind,
        secret=keys.secret_of(key) if key.secret else "",
        public_key=key.public_key,
    ):
        raise Denied(BAD_SIGNATURE, NOT_SIGNED)
    return hashlib.sha256(found).hexdigest()


def _body(request: HttpRequest, *, room: int) -> bytes:
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise Denied(ILLEGAL, "The request has no proper Content-Length.") from None
    if length > room or room < 0:
        raise Denied(ILLEGAL, f"A request has at most {LARGEST} bytes.", status=413)
    if request.headers.get("Transfer-Encoding"):  # without a length there would be nothing to read
        raise Denied(ILLEGAL, "Send a body with its Content-Length, in one piece.", status=411)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Denied(ILLEGAL, "Send the body as it is, not compressed.", status=415)
    try:
        body = request.body
    except (UnreadablePostError, RawPostDataException):
        raise Denied(ILLEGAL, "The body could not be read.") from None
    if body and request.content_type not in ("", "text/plain", FORM):
        raise Denied(ILLEGAL, f"Send parameters in the query, or in a body of {FORM}.", status=415)
    return body


def _pairs(raw: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    parts = [part for part in raw.split(b"&") if part]
    if len(parts) > MOST_PAIRS:
        raise Denied(TOO_MANY_PARAMETERS, f"Too many parameters; at most {MOST_PAIRS} are read.")
    for part in parts:
        name, _, value = part.partition(b"=")
        text = _decoded(name)
        if text in found:
            raise Denied(TOO_MANY_PARAMETERS, "Duplicate values for a parameter detected.")
        found[text] = _decoded(value)
    return found


def _decoded(part: bytes) -> str:
    if _NO_ESCAPE.search(part):
        raise Denied(ILLEGAL, "Illegal characters found in a parameter: '%' begins no escape there.")
    try:
        text = unquote_to_bytes(part.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise Denied(ILLEGAL, "Illegal characters found in a parameter.") from None
    if "\0" in text:
        raise Denied(ILLEGAL, "Illegal characters found in a parameter.")
    return text
