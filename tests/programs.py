"""Customers' programs, for tests: a key in force, and requests signed with it as the exchange's clients sign them."""

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.test import Client

from accounts import keys
from accounts.commands import Actor
from accounts.models import Account, ApiKey, User
from tests.build import LONG_AGO

ALL = ("can_read", "can_borrow", "can_transfer", "can_withdraw")
FORM = "application/x-www-form-urlencoded"


def api_key(
    account: Account,
    user: User,
    *permissions: str,
    kind: str = "hmac",
    networks: tuple[str, ...] = ("127.0.0.1",),
    public_key: str = "",
) -> ApiKey:
    """A key of this member for this account, in force since long ago; with all it can have when nothing is named."""
    wanted = permissions or tuple(one for one in ALL if account.is_master or one != "can_borrow")
    return keys.create(
        account_uid=account.pk,
        label="program",
        kind=kind,
        permissions=wanted,
        networks=networks,
        public_key=public_key,
        actor=Actor.user(user),
        at=LONG_AGO,
    )


class Program:
    """Sends signed requests through Django's test client. Parameters go in the query, or in the body of a write."""

    def __init__(self, key: ApiKey, *, in_body: bool = False) -> None:
        self.key, self.secret, self.in_body = key.key, keys.secret_of(key), in_body
        self.client = Client(raise_request_exception=False)
        self._last = 0

    def get(self, path: str, **params: Any) -> HttpResponse:
        return self.send("GET", path, params)

    def post(self, path: str, **params: Any) -> HttpResponse:
        return self.send("POST", path, params)

    def delete(self, path: str, **params: Any) -> HttpResponse:
        return self.send("DELETE", path, params)

    def send(self, method: str, path: str, params: dict[str, Any]) -> HttpResponse:
        """Each request gets a timestamp of its own, so that none is taken for the repeat of another."""
        self._last = max(int(time.time() * 1000), self._last + 1)
        payload = urlencode({"recvWindow": 60000, **params, "timestamp": self._last})
        return self.raw(method, path, f"{payload}&signature={self.sign(payload)}")

    def sign(self, payload: str) -> str:
        return hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()

    def raw(self, method: str, path: str, signed: str) -> HttpResponse:
        in_body = self.in_body and method != "GET"
        return self.client.generic(
            method,
            path if in_body else f"{path}?{signed}",
            signed if in_body else "",
            content_type=FORM if in_body else "",
            headers={"X-MBX-APIKEY": self.key},
            PATH_INFO=path,  # the client would take what follows a doubled slash for a host
        )
