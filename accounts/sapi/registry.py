"""The dialect's endpoints: one entry each, from which requests are served, the schema is written and tests are made.

An app registers its own with the decorator; importing its `sapi` package is enough (config/urls.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from accounts.commands import Actor
from accounts.keys import Caller
from accounts.models import Account, Customer
from accounts.sapi.params import Param
from accounts.sapi.wire import Json


class Security(StrEnum):
    """What a request needs. MARKET takes a key and looks no further; SIGNED takes key, time and signature."""

    PUBLIC = "public"
    MARKET = "market"
    SIGNED = "signed"


READ: Final = "can_read"
BORROW: Final = "can_borrow"
TRANSFER: Final = "can_transfer"
WITHDRAW: Final = "can_withdraw"


@dataclass(frozen=True, slots=True)
class Call:
    """One request that may be served: who calls, at what time, with which values, by parameter."""

    at: datetime
    values: Mapping[str, Any]
    who: Caller | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def caller(self) -> Caller:
        assert self.who is not None, "only a signed endpoint asks who calls"
        return self.who

    @property
    def actor(self) -> Actor:
        return self.caller.actor

    @property
    def account(self) -> Account:
        return self.caller.account

    @property
    def customer(self) -> Customer:
        return self.caller.customer


View = Callable[[Call], Json]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`uid`: its weight counts for the account; else for the address. `permission`: of the key; empty is none."""

    method: str
    path: str
    view: View
    params: tuple[Param, ...]
    security: Security
    permission: str
    weight: int
    uid: bool
    example: Json | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_write(self) -> bool:
        """Takes its signature: no other request is ever served with it."""
        return self.permission in {BORROW, TRANSFER, WITHDRAW}


endpoints: dict[tuple[str, str], Endpoint] = {}


def endpoint(
    name: str,
    *params: Param,
    security: Security = Security.SIGNED,
    permission: str = READ,
    weight: int = 1,
    uid: bool = False,
    example: Json | None = None,
) -> Callable[[View], View]:
    """Serve `name`, such as "GET /sapi/v1/loan/vip/ongoing/orders", by the function below."""
    method, path = name.split(" ")

    def register(view: View) -> View:
        known = endpoints.get((method, path))
        assert known is None or known.view.__module__ == view.__module__, f"{name} is served twice"
        endpoints[method, path] = Endpoint(
            method=method,
            path=path,
            view=view,
            params=params,
            security=security,
            permission=permission if security is Security.SIGNED else "",
            weight=weight,
            uid=uid,
            example=example,
        )
        return view

    return register
