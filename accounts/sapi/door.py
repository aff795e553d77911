"""The one door of the dialect: every request of /sapi and /api/v3 comes in here and leaves as JSON.

Who it is, when it was made and that it was signed is settled here, once, for all endpoints; what it asks for is one
endpoint's view, which calls one chapter. No session, no cookie, no redirect, no other form of answer.
"""

import json
import logging
import re
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts import keys
from accounts.commands import request_id
from accounts.errors import Refused
from accounts.sapi import transport, weights
from accounts.sapi.errors import (
    BAD_SIGNATURE,
    DISCONNECTED,
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
_SLASHES: Final = re.compile("/{2,}")


@csrf_exempt
def door(request: HttpRequest) -> HttpResponse:
    """Serve one request. A missing, doubled or trailing slash is no reason to send anybody elsewhere."""
    token = request_id.set(f"api:{uuid4().hex}")
    try:
        status, body, headers = _served(request)
    except Denied as denied:
        status, body = denied.status, {"code": denied.number, "msg": denied.message}
        headers = denied.headers | ({"Retry-After": str(denied.retry_after)} if denied.retry_after else {})
    except Refused as refusal:
        status, headers = STATUS.get(refusal.sapi, 400), {}
        body = {"code": refusal.sapi, "msg": refusal.message}
    except OperationalError:
        logger.exception("%s could not be served", request.path)
        status, headers = 503, {"Retry-After": "1"}
        body = {
            "code": DISCONNECTED,
            "msg": "Internal error; unable to process your request. Please try again.",
        }
    except Exception:
        logger.exception("%s failed", request.path)
        status, headers = 500, {}
        body = {"code": UNKNOWN, "msg": "An unknown error occurred while processing the request."}
    finally:
        request_id.reset(token)
    answer = HttpResponse(
        json.dumps(body, separators=(",", ":")), status=status, content_type="application/json;charset=UTF-8"
    )
    for name, value in headers.items():
        answer[name] = value
    return answer


def _served(request: HttpRequest) -> tuple[int, Any, dict[str, str]]:
    endpoint = _endpoint(request)
    at, address = timezone.now(), transport.address_of(request)
    arrived = transport.read(request)
    caller, signature = None, ""
    if endpoint.security is not Security.PUBLIC:
        caller = keys.find(request.headers.get(KEY_HEADER, ""), address=address, at=at)
    if endpoint.security is Security.SIGNED:
        assert caller is not None
        transport.refuse_outside_window(arrived.sent, at=at)
        signature = transport.digest_of(arrived, caller)
        keys.require(caller, endpoint.permission)
    counted = weights.count(endpoint, address=address, caller=caller, at=at, signature=signature)
    values = _values(endpoint, arrived)
    call = Call(at=at, values=values, who=caller)
    if caller is None:
        return HTTPStatus.OK, endpoint.view(call), counted.headers
    if endpoint.is_write:
        if counted.reused:
            raise Denied(BAD_SIGNATURE, NOT_SIGNED)
        keys.use_up(caller, signature, at=at)
    with caller.acting():
        return HTTPStatus.OK, endpoint.view(call), counted.headers


def _endpoint(request: HttpRequest) -> Endpoint:
    path = _SLASHES.sub("/", f"/{request.path_info}").rstrip("/")
    found = endpoints.get((str(request.method), path))
    if found is not None:
        return found
    if any(path == known for _, known in endpoints):
        raise Denied(UNSUPPORTED, "This address takes another method.", status=405)
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
