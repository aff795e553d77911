"""A small desk that has been lived in, for the tests that call every endpoint of the dialect.

Mine has four receivers with a group each: the master with a running, a repaid and an asked-for loan, and three
sub-accounts, whose loan may be renewed now, is overdue, and is being sold. Theirs has one loan. Everything was done
through the commands; the clock stands at NOW.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.http import HttpResponse
from django.test import Client

import config.urls  # noqa: F401  importing it registers the endpoints
from accounts import keys
from accounts.commands import Actor, acting
from accounts.models import Account, ApiKey, Membership, User
from accounts.sapi.registry import Endpoint, Security, endpoints
from loans.models import Application, Loan, SupplyOrder
from loans.vip import expiry, repayment
from risk import accrual, gate
from risk.models import Liquidation
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.programs import FORM, api_key

DAY = timedelta(days=1)
NOW = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
HEADER = "X-MBX-APIKEY"
NOBODY = 987_654_321  # an id that no row has
OF_TRANSPORT = {"accounts_usedsignature", "accounts_apikeyuse"}
ENDPOINTS: dict[str, Endpoint] = {
    one.name: one for one in sorted(endpoints.values(), key=lambda one: one.name)
}


@dataclass
class Receiver:
    """Who receives loans, what secures them, and the loan it is here for."""

    desk: Desk
    account: Account
    backing: Account
    loan: Loan


@dataclass
class World:
    mine: Desk
    running: Receiver
    renewable: Receiver
    overdue: Receiver
    liquidating: Receiver
    closed: Loan
    pending: Application
    supply: SupplyOrder
    theirs: Desk
    their_loan: Loan
    keys: dict[str, ApiKey] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, key: ApiKey) -> None:
        self.keys[name], self.secrets[key.key] = key, keys.secret_of(key)

    def call(
        self,
        name: str,
        params: Mapping[str, Any],
        *,
        by: str = "owner",
        in_body: bool = False,
        **more: Any,
    ) -> HttpResponse:
        """Send "GET /path" with these parameters by the holder of one of the keys, signed where that is asked."""
        key = self.keys[by]
        payload = urlencode(params)
        if ENDPOINTS[name].security is Security.SIGNED:
            payload = sign(payload, secret=self.secrets[key.key])
        return send(name, payload, key=key.key, in_body=in_body, **more)


_client = Client(raise_request_exception=False)
_turn = count(1)


def sign(payload: str, *, secret: str, stamp: int | None = None) -> str:
    """The payload with a timestamp that no other request has, and its signature."""
    made = stamp if stamp is not None else int(NOW.timestamp() * 1000) - 50_000 + next(_turn) % 50_000
    window = "" if "recvWindow=" in payload else "&recvWindow=60000"
    payload = f"{payload}{window}&timestamp={made}".lstrip("&")
    return f"{payload}&signature={hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()}"


def send(
    name: str,
    payload: str,
    *,
    key: str | None,
    in_body: bool = False,
    content_type: str = FORM,
    headers: Mapping[str, str] | None = None,
    **meta: Any,
) -> HttpResponse:
    """One request as it is, in the query or in the body; no key, no header."""
    method, path = name.split(" ")
    return _client.generic(
        method,
        path,
        payload if in_body else "",
        content_type=content_type if in_body else "",
        headers=({} if key is None else {HEADER: key}) | dict(headers or {}),
        QUERY_STRING="" if in_body else payload,
        **meta,
    )


def problems_with(answer: HttpResponse) -> list[str]:
    """What is wrong with a refusal: its form, its size, or that it tells how the desk is built."""
    found = []
    body = answer.content
    if not 400 <= answer.status_code < 500:
        found.append(f"status {answer.status_code}")
    if not answer["Content-Type"].startswith("application/json"):
        found.append(f"content type {answer['Content-Type']}")
    if len(body) > 1024:
        found.append(f"{len(body)} bytes")
    if any(word in body for word in (b"Traceback", b"File \\u0022", b"psycopg", b"django", b"SELECT ")):
        found.append("tells of the inside")
    try:
        told = json.loads(body)
    except ValueError:
        return [*found, "no JSON"]
    if not isinstance(told, dict) or set(told) != {"code", "msg"}:
        return [*found, f"keys {told}"]
    if (
        type(told["code"]) is not int
        or told["code"] >= 0
        or not isinstance(told["msg"], str)
        or not told["msg"]
    ):
        found.append(f"code or msg: {told}")
    return found


def everything() -> dict[str, Any]:
    """What no refusal may change: the rows of every table but those of transport, and what the rows add up to."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " ORDER BY relname"
        )
        tables = [name for (name,) in cursor.fetchall() if name not in OF_TRANSPORT]
        counts = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in tables)  # noqa: S608
        cursor.execute(counts)
        rows: dict[str, Any] = dict(cursor.fetchall())
        for name in _CHANGING:
            digest = "md5(coalesce(string_agg(x::text, ';' ORDER BY x::text), ''))"
            cursor.execute(f"SELECT {digest} FROM {name} x")  # noqa: S608
            (rows[f"{name}: contents"],) = cursor.fetchone()
    return rows


_CHANGING = (
    "accounts_ledgeraccount",
    "accounts_account",
    "accounts_customer",
    "risk_debt",
    "risk_collateralgroup",
    "loans_application",
    "loans_supplyorder",
)
"""Tables whose rows change; of the others it is enough to count them."""


# --- How it came to be ------------------------------------------------------------------------------


def make() -> World:
    """A month of it, from TEN to NOW."""
    mine = desks.set_up(btc="100")
    theirs = _neighbour()
    running = _receiver(mine, mine.master, mine.sub, at=TEN, term_days=60)
    overdue = _of_sub(mine, at=TEN)
    desks.quote(TEN + DAY)
    liquidating = _of_sub(mine, at=TEN + DAY, term_days=60)
    closed = desks.drawn(mine, "600000", at=TEN + DAY)
    repayment.repay(loan_id=closed.pk, amount=Decimal("1000"), actor=mine.borrower, at=TEN + 2 * DAY)
    repayment.repay(loan_id=closed.pk, share=Decimal(1), actor=mine.borrower, at=TEN + 3 * DAY)
    desks.quote(TEN + 5 * DAY)
    renewable = _of_sub(mine, at=TEN + 5 * DAY)
    their_loan = desks.drawn(theirs, "700000", at=TEN + 5 * DAY)
    expiry.expire_due(at=NOW - timedelta(hours=1))
    accrual.accrue(at=NOW)
    desks.quote(NOW)
    _send_out(mine)
    _sell(liquidating)
    _move(mine, mine.master, renewable.account, amount="20000")
    _move(mine, mine.master, mine.master, amount="50", wallet="funding")
    world = World(
        mine=mine,
        running=running,
        renewable=renewable,
        overdue=overdue,
        liquidating=liquidating,
        closed=closed,
        pending=desks.submitted(mine, "100000", at=NOW),
        supply=_supply(),
        theirs=theirs,
        their_loan=their_loan,
    )
    _keys(world)
    return world


def _neighbour() -> Desk:
    manager, applicant = build.user("vip_manager"), build.user()
    owner = build.customer(vip_level=1, manager=manager, member=applicant)
    sub = build.account(owner)
    build.deposit(sub, "BTC", "50", at=build.LONG_AGO)
    return Desk(owner, applicant, manager, build.master(owner), sub)


def _receiver(
    desk: Desk, account: Account, backing: Account, *, at: datetime, term_days: int = 30
) -> Receiver:
    asked = {"receiver_uid": account.pk, "account_uids": (backing.pk,), "term_days": term_days}
    return Receiver(desk, account, backing, desks.drawn(desk, "1000000", at=at, **asked))


def _of_sub(desk: Desk, *, at: datetime, term_days: int = 30) -> Receiver:
    account, backing = build.account(desk.owner), build.account(desk.owner)
    build.deposit(backing, "BTC", "100", at=build.LONG_AGO)
    return _receiver(desk, account, backing, at=at, term_days=term_days)


def _move(desk: Desk, source: Account, target: Account, *, amount: str, wallet: str = "spot") -> None:
    gate.transfer(
        source_uid=source.pk,
        source_wallet="spot",
        target_uid=target.pk,
        target_wallet=wallet,
        asset="USDT",
        amount=Decimal(amount),
        actor=desk.borrower,
        at=NOW - timedelta(hours=2),
    )


def _send_out(desk: Desk) -> None:
    """By a program that called it "one"."""
    gate.withdraw(
        account_uid=desk.master.pk,
        asset="USDT",
        amount=Decimal("20"),
        address="0x52908400098527886E0F7030069857D2E4169EE7",
        actor=desk.borrower,
        at=NOW - timedelta(hours=2),
        key=f"w:{desk.master.pk}:one",
    )


def _sell(receiver: Receiver) -> None:
    """A forced sale of it is under way."""
    with acting(BUILDER):
        Liquidation.objects.create(
            group=receiver.loan.group,
            cause=Liquidation.Cause.LTV,
            started_at=NOW - timedelta(minutes=1),
            debt_value=Decimal(1_000_000),
            collateral_value=Decimal(1_000_000),
            market_value=Decimal(1_000_000),
            ltv=Decimal(1),
            snapshot={},
        )


def _supply() -> SupplyOrder:
    with acting(BUILDER):
        return SupplyOrder.objects.create(
            asset=build.asset("USDT"),
            annual_rate=Decimal("0.05"),
            term_days=30,
            amount=Decimal(2_000_000),
            minimum=Decimal(100),
            opened_at=TEN,
            entered_by=build.user("finance"),
        )


def _keys(world: World) -> None:
    mine = world.mine
    viewer = build.colleague(mine.owner)
    world.add("owner", api_key(mine.master, mine.applicant))
    world.add("sub", api_key(world.renewable.account, mine.applicant))
    world.add("stranger", api_key(world.theirs.master, world.theirs.applicant))
    world.add("viewer", api_key(mine.master, viewer))
    world.add("elsewhere", api_key(mine.master, mine.applicant, networks=("203.0.113.7",)))
    world.add("expired", api_key(mine.master, mine.applicant, "can_read", networks=()))
    world.add("reader", api_key(mine.master, mine.applicant, "can_read"))
    world.add("mover", api_key(mine.master, mine.applicant, "can_transfer"))
    world.add("token", api_key(mine.master, mine.applicant, kind="token"))
    world.add("revoked", api_key(mine.master, mine.applicant))
    keys.revoke(api_key_id=world.keys["revoked"].pk, actor=Actor.user(mine.applicant), at=NOW - DAY)
    _demote(viewer)


def _demote(user: User) -> None:
    """Made a key while a treasurer, and may only look since."""
    with acting(BUILDER):
        Membership.objects.filter(user=user).update(role="viewer")
