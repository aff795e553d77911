"""The one door of the dialect: every request of /sapi and /api/v3 comes in here and leaves as JSON.

Who it is, when it was made and that it was signed is settled here, once, for all endpoints; what it asks for is one
endpoint's view, which calls one chapter. No session, no cookie, no redirect, no other form of answer.
"""

import json
import logging
import re
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts import keys
from accounts.commands import request_id
from accounts.errors import Refused
from accounts.keys import Caller
from accounts.sapi import transport, weights
from accounts.sapi.errors import (
    BAD_SIGNATURE,
    DISCONNECTED,
    KEY_FORMAT,
    NO_SUCH_KEY,
    NOT_FOUND,
    NOT_SIGNED,
    STATUS,
    UNKNOWN,
    UNREAD,
    UNSUPPORTED,
    Denied,
)
from accounts.sapi.registry import Call, Endpoint, Security, endpoints
from accounts.sapi.transport import OF_TRANSPORT, Arrived

logger = logging.getLogger(__name__)

KEY_HEADER: Final = "X-MBX-APIKEY"
LONGEST_MESSAGE: Final = 900  # bytes as they are sent; no error is longer than 1 KB
_SLASHES: Final = re.compile("/{2,}")


@csrf_exempt
def door(request: HttpRequest) -> HttpResponse:
    """Serve one request. A missing, doubled or trailing slash is no reason to send anybody elsewhere."""
    token = request_id.set(f"api:{uuid4().hex}")
    try:
        return _served(request)
    except Denied as denied:
        wait = {"Retry-After": str(denied.retry_after)} if denied.retry_after else {}
        return _refusal(denied.number, denied.message, denied.status, denied.headers | wait)
    except Refused as refusal:
        return _refusal(refusal.sapi, refusal.message, STATUS.get(refusal.sapi, 400))
    except (OperationalError, InterfaceError):
        logger.exception("%s could not be served", request.path)
        words = "Unable to process your request for now; look whether it was done before you send it again."
        return _refusal(DISCONNECTED, words, 503, {"Retry-After": "1"})
    except Exception:
        logger.exception("%s failed", request.path)
        return _refusal(UNKNOWN, "An unknown error occurred while processing the request.", 500)
    finally:
        request_id.reset(token)


def _served(request: HttpRequest) -> HttpResponse:
    endpoint = _endpoint(request)
    at, address = timezone.now(), transport.address_of(request)
    arrived = transport.read(request)
    caller, signature = _known(request, endpoint, arrived, address=address, at=at)
    counted = weights.count(endpoint, address=address, caller=caller, at=at, signature=signature)
    if counted.reused:
        raise Denied(BAD_SIGNATURE, NOT_SIGNED)
    if caller is not None and endpoint.is_write:
        keys.use_up(caller, signature, at=at)
    call = Call(at=at, values=_values(endpoint, arrived), who=caller)
    with nullcontext() if caller is None else caller.acting():
        return _answer(endpoint.view(call), HTTPStatus.OK, counted.headers)


def _known(
    request: HttpRequest, endpoint: Endpoint, arrived: Arrived, *, address: str, at: datetime
) -> tuple[Caller | None, str]:
    """Who calls and what names their signature, as far as the endpoint wants to know it."""
    if endpoint.security is Security.PUBLIC:
        return None, ""
    signature = ""
    try:
        caller = keys.find(request.headers.get(KEY_HEADER, ""), address=address, at=at)
        if endpoint.security is Security.SIGNED:
            transport.refuse_outside_window(arrived.sent, at=at)
            signature = transport.digest_of(arrived, caller)
            keys.require(caller, endpoint.permission)
    except Refused as refusal:
        number = refusal.number if isinstance(refusal, Denied) else refusal.sapi
        logger.info("%s from %s is turned away: %s", endpoint.name, address, number)
        if number in {KEY_FORMAT, NO_SUCH_KEY, BAD_SIGNATURE}:
            weights.failed(address=address, at=at)
        raise
    keys.note_use(caller, address=address, at=at)
    return caller, signature


def _answer(body: Any, status: int, headers: Mapping[str, str]) -> HttpResponse:
    text = json.dumps(body, separators=(",", ":"), allow_nan=False)
    answer = HttpResponse(text, status=status, content_type="application/json;charset=UTF-8")
    for name, value in headers.items():
        answer[name] = value
    return answer


def _refusal(code: int, msg: str, status: int, headers: Mapping[str, str] | None = None) -> HttpResponse:
    while len(json.dumps(msg)) > LONGEST_MESSAGE:
        msg = msg[: len(msg) * 9 // 10]
    return _answer({"code": code, "msg": msg}, status, headers or {})


def _endpoint(request: HttpRequest) -> Endpoint:
    path = _SLASHES.sub("/", f"/{request.path_info}").rstrip("/")
    found = endpoints.get((str(request.method), path))
    if found is not None:
        return found
    methods = sorted(method for method, known in endpoints if known == path)
    if methods:
        refusal = Denied(UNSUPPORTED, f"This address takes {' or '.join(methods)}.", status=405)
        refusal.headers = {"Allow": ", ".join(methods)}
        raise refusal
    raise Denied(NOT_FOUND, "There is nothing at this address.", status=404)


def _values(endpoint: Endpoint, arrived: Arrived) -> dict[str, Any]:
    known = {param.name for param in endpoint.params}
    unread = set(arrived.sent) - known - OF_TRANSPORT
    if unread:
        raise Denied(
            UNREAD,
            "Not all sent parameters were read; this address knows "
            f"{', '.join(sorted(known)) or 'none'} besides timestamp, recvWindow and signature.",
        )
    return {param.name: param.value(arrived.sent.get(param.name)) for param in endpoint.params}
