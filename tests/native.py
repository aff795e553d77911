"""Programs and browsers that use our own API, for tests: with a bearer token, or signed in."""

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

from accounts import keys
from accounts.models import Account, User
from tests import programs

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
JSON = "application/json"


class Native:
    """Sends JSON and gives back the status and what was answered."""

    def __init__(self, *, token: str = "", client: Client | None = None) -> None:
        self.client = client or Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, **query: Any) -> tuple[int, Any]:
        return self.told(self.client.get(f"/api/v1/{path}", query, headers=self.headers))

    def post(self, path: str, body: Any = None, *, key: str = "") -> tuple[int, Any]:
        return self.send("POST", path, body, key=key)

    def delete(self, path: str, *, key: str = "") -> tuple[int, Any]:
        return self.send("DELETE", path, key=key)

    def send(self, method: str, path: str, body: Any = None, *, key: str = "") -> tuple[int, Any]:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        sent = json.dumps({} if body is None else body)
        return self.told(
            self.client.generic(method, f"/api/v1/{path}", sent, content_type=JSON, headers=headers)
        )

    @staticmethod
    def told(response: HttpResponse) -> tuple[int, Any]:
        return response.status_code, response.json() if response.content else None


def program(account: Account, user: User, *permissions: str) -> Native:
    """With a token of this member for this account; it may all that such a key may, unless said."""
    key = programs.api_key(account, user, *permissions, kind="token")
    return Native(token=keys.secret_of(key))


def browser(user: User) -> Native:
    """Signed in; the test client needs no CSRF token."""
    client = Client(raise_request_exception=False)
    client.force_login(user, backend=BACKEND)
    return Native(client=client)
