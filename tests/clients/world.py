"""Whom the clients work for: a firm with its sub-accounts, coins and keys, a desk that decides, and somebody else.

What the firm does it does through its client. What others do, an approval, a midnight, a price, is done here, by the
same commands as on the site.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from accounts import keys
from accounts.commands import acting
from accounts.models import Account, ApiKey, User
from loans.models import Application, Loan, SupplyOrder
from risk import accrual
from tests import build
from tests.build import BUILDER, LONG_AGO
from tests.clients.stage import Client, Site, Told
from tests.loans import desk, supplies
from tests.loans.desk import Desk
from tests.programs import api_key

OPENING = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
ETH = "3000"


@dataclass
class World:
    """`desk.sub` has the collateral, `spare` coins to move about; `foreign` is an order of another firm."""

    desk: Desk
    spare: Account
    foreign: Loan
    site: Site

    @property
    def master(self) -> Account:
        return self.desk.master

    def approve(self, request: str) -> Loan:
        """The VIP manager approves the request with this number and pays out."""
        line = Application.objects.get(pk=int(request))
        desk.approved(self.desk, line, at=self.site.now())
        return Loan.objects.get(line__application_id=line.pk)

    def go_to(self, at: datetime, *clients: Client) -> None:
        """Time passes: for the site, for the clients, and on the market; every midnight until then is charged."""
        self.site.move(at)
        for client in clients:
            client.follow_the_clock()
        prices(at)
        accrual.accrue(at=at)

    def offer(self, rate: str, amount: str) -> SupplyOrder:
        """Finance offers an amount at a rate for 30 days."""
        return supplies.entered(rate, amount, at=self.site.now())

    def balance(self, account: Account, symbol: str = "USDT", *, wallet: str = "spot") -> Decimal:
        return build.balance(account, symbol, wallet=wallet)


def prices(at: datetime) -> None:
    desk.quote(at, ETH=ETH)


def built(site: Site) -> World:
    """25 BTC and 10 ETH to pledge, 50,000 USDT of its own in the master, 20,000 USDT in a third account."""
    build.asset("ETH")
    build.ratios("ETH", ("0", "1"), ("10000000", "0.8"))
    here = desk.set_up()
    prices(OPENING)
    build.deposit(here.sub, "ETH", "10", at=LONG_AGO)
    build.deposit(here.master, "USDT", "50000", at=LONG_AGO)
    with acting(BUILDER):
        spare = Account.objects.create(
            customer=here.owner,
            kind=Account.Kind.SUB,
            label="spare",
            email="desk+spare@example.com",
            opened_at=LONG_AGO,
        )
    build.deposit(spare, "USDT", "20000", at=LONG_AGO)
    return World(here, spare, _foreign_loan(here.manager), site)


def _foreign_loan(manager: User) -> Loan:
    applicant = build.user()
    owner = build.customer(manager=manager, member=applicant)
    sub = build.account(owner)
    build.deposit(sub, "BTC", "25", at=LONG_AGO)
    return desk.drawn(Desk(owner, applicant, manager, build.master(owner), sub), at=OPENING)


def keys_of(world: World) -> dict[str, Told]:
    """Keys of each kind, and some that open nothing; each as a driver wants it."""
    member, master = world.desk.applicant, world.master
    hmac = _told(api_key(master, member))
    rsa, ed25519 = generate_private_key(public_exponent=65537, key_size=2048), Ed25519PrivateKey.generate()
    revoked = api_key(master, member)
    keys.revoke(api_key_id=revoked.pk, actor=world.desk.borrower, at=OPENING)
    return {
        "master": hmac,
        "sub": _told(api_key(world.spare, member)),
        "reader": _told(api_key(master, member, "can_read")),
        "forged": hmac | {"secret": "x" * 64},
        "unknown": {"key": "x" * 64, "secret": "x" * 64},
        "garbled": {"key": "no-key", "secret": "x" * 64},
        "revoked": _told(revoked),
        "rsa": _paired(world, "rsa", rsa),
        "ed25519": _paired(world, "ed25519", ed25519),
    }


def _told(row: ApiKey) -> Told:
    return {"key": row.key, "secret": keys.secret_of(row)}


def _paired(world: World, kind: str, private_key: Any) -> Told:
    public = private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    row = api_key(world.master, world.desk.applicant, kind=kind, public_key=public.decode())
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"key": row.key, "private_key": pem.decode()}
