"""Requests of the dialect byte by byte, and endpoints that say what they were asked: for tests of its door."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver

from accounts import keys
from accounts.models import Account, ApiKey, User
from accounts.sapi import params
from accounts.sapi.registry import READ, TRANSFER, Call, Endpoint, Security, endpoints
from tests.programs import FORM, api_key

ECHO = "/sapi/v1/echo"
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_ED = Ed25519PrivateKey.generate()
KNOWN = (
    params.identity("orderId"),
    params.identity("loanAccountId"),
    params.amount("amount"),
    params.amount("loanAmount"),
    params.symbol("loanCoin"),
    params.symbols("collateralCoin", most=10),
    params.uids("collateralAccountId", most=10),
    params.flag("isFlexibleRate"),
    params.whole("limit", low=1, high=100),
    params.email("fromEmail"),
    params.email("toEmail"),
    params.words("remark", longest=60),
)


@dataclass
class Echo:
    """What was served: method, path and the values that were sent."""

    served: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    @property
    def values(self) -> dict[str, Any]:
        return self.served[-1][2]


@contextmanager
def echoing(*names: str, weight: int = 1, uid: bool = False) -> Iterator[Echo]:
    """Serve these endpoints by repeating what they were sent; reads are GETs, all others are writes."""
    get_resolver().url_patterns  # noqa: B018  importing the pages imports every endpoint first
    echo, before = Echo(), dict(endpoints)
    for name in names or (f"GET {ECHO}", f"POST {ECHO}", f"DELETE {ECHO}"):
        method, _, path = name.partition(" ")

        def view(call: Call, method: str = method, path: str = path) -> dict[str, Any]:
            sent = {name: value for name, value in call.values.items() if value is not None}
            echo.served.append((method, path, sent))
            return {"served": len(echo.served)}

        endpoints[method, path] = Endpoint(
            method=method,
            path=path,
            view=view,
            params=KNOWN,
            security=Security.SIGNED,
            permission=READ if method == "GET" else TRANSFER,
            weight=weight,
            uid=uid,
            example=None,
        )
    try:
        yield echo
    finally:
        endpoints.clear()
        endpoints.update(before)


@dataclass
class Wire:
    """One key and how it signs; `ask` puts the signature at the end of whatever the client sends."""

    key: ApiKey
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def sign(self, payload: str) -> str:
        raw = payload.encode()
        if self.key.kind == "rsa":
            made = _RSA.sign(raw, padding.PKCS1v15(), hashes.SHA256())
            return quote_plus(base64.b64encode(made))
        if self.key.kind == "ed25519":
            return quote_plus(base64.b64encode(_ED.sign(raw)))
        return hmac.new(keys.secret_of(self.key).encode(), raw, hashlib.sha256).hexdigest()

    def send(
        self,
        method: str,
        path: str = ECHO,
        query: str = "",
        body: str | bytes = "",
        content_type: str | None = FORM,
        key: str | None = None,
        **more: Any,
    ) -> HttpResponse:
        headers: Mapping[str, str] = {"X-MBX-APIKEY": self.key.key if key is None else key}
        if content_type is not None:
            more = {"CONTENT_TYPE": content_type} | more
        return self.client.generic(
            method,
            path,
            body,
            content_type or "",
            headers=headers,
            QUERY_STRING=query,
            PATH_INFO=path,
            **more,
        )


def now_ms(later: int = 0) -> int:
    return int(time.time() * 1000) + later


def public_half(kind: str) -> str:
    key = _RSA if kind == "rsa" else _ED
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def wire(account: Account, user: User, kind: str = "hmac", *permissions: str, **more: Any) -> Wire:
    half = public_half(kind) if kind in ("rsa", "ed25519") else ""
    return Wire(api_key(account, user, *permissions, kind=kind, public_key=half, **more))


def refused(answer: Any, code: int, status: int = 400) -> bool:
    """It was, in the one form of every error: JSON, small, and nothing but code and words."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert answer["Content-Type"].startswith("application/json")
    assert set(answer.json()) == {"code", "msg"}
    assert len(answer.content) <= 1024
    return True


def signed(one: Wire, payload: str = "") -> str:
    """The payload with the time and, last, its signature."""
    payload = f"{payload}&timestamp={now_ms()}".lstrip("&")
    return f"{payload}&signature={one.sign(payload)}"
