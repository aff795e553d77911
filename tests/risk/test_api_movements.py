"""Transfers, withdrawals and prices over our own API: the gate decides, as for the pages (R-VIP-52, R-VIP-53)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts import approvals, firms
from accounts.commands import Actor, acting
from accounts.models import Approval, LedgerAccount, Membership
from risk.models import Movement
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON
from tests.loans.visit import at
from tests.native import Native, program

pytestmark = pytest.mark.django_db
ADDRESS = "bc1-somewhere"


class World:
    """25 BTC at 60,000 in a sub-account secure 1,000,000 USDT that lie in the master's Spot."""

    def __init__(self) -> None:
        self.debt = build.secured_debt()
        self.owner = self.debt.group.customer
        self.master, self.sub = build.master(self.owner), self.owner.accounts.get(kind="sub")
        self.user = build.user()
        with acting(BUILDER):
            Membership.objects.create(customer=self.owner, user=self.user, role="signatory", since=LONG_AGO)
        build.prices(NOON, BTC="60000", USDT="1")
        self.api = program(self.master, self.user)

    def transfer(self, amount: str = "100", **changes: Any) -> dict[str, Any]:
        base = {"account": self.master.pk, "target": self.sub.pk, "asset": "USDT", "amount": amount}
        return base | changes


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with at(NOON):
        yield made


@contextmanager
def nothing_moves() -> Iterator[None]:
    before = totals()
    yield
    assert totals() == before


def totals() -> tuple[Any, ...]:
    rows = LedgerAccount.objects.order_by("pk").values_list("pk", "debits", "credits")
    return (*rows, Movement.objects.count(), Approval.objects.count())


def test_a_transfer_moves_once_for_one_key(world: World) -> None:
    """R-GEN-06: the same key again gets the first outcome; with another amount it is refused."""
    status, row = world.api.post("transfers", world.transfer(target_wallet="funding"), key="t1")
    assert status == 201
    assert (row["kind"], row["amount"], row["account"], row["target"], row["target_wallet"]) == (
        "transfer",
        "100",
        world.master.pk,
        world.sub.pk,
        "funding",
    )
    assert world.api.post("transfers", world.transfer(target_wallet="funding"), key="t1") == (201, row)
    assert build.balance(world.sub, "USDT", wallet="funding") == Decimal(100)
    status, told = world.api.post("transfers", world.transfer("101", target_wallet="funding"), key="t1")
    assert (status, told["code"]) == (409, "idempotency_key_reused")
    assert build.balance(world.sub, "USDT", wallet="funding") == Decimal(100)


def test_collateral_leaves_only_as_ltv_allows(world: World) -> None:
    """R-VIP-53: LTV 66.67 %; 2 BTC out would be 72.46 %, 1 BTC 69.44 %."""
    with nothing_moves():
        status, told = world.api.post(
            "withdrawals", {"account": world.sub.pk, "asset": "BTC", "amount": "2", "address": ADDRESS}
        )
        assert (status, told["code"]) == (409, "ltv_too_high")
    status, row = world.api.post(
        "withdrawals", {"account": world.sub.pk, "asset": "BTC", "amount": "1", "address": ADDRESS}
    )
    assert status == 201
    assert (row["kind"], row["ltv_before"], row["ltv_after"]) == (
        "withdrawal",
        "0.666666666666",
        "0.694444444444",
    )
    assert world.api.get("movements", kind="withdrawal")[1] == {"rows": [row], "total": 1}
    assert world.api.get("movements", kind="trade")[1]["total"] == 0


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"amount": "2000000"}, 409, "insufficient_balance"),
        ({"amount": "0.000000001"}, 400, "bad_input"),
        ({"amount": "1e3"}, 400, "bad_input"),
        ({"amount": 100}, 400, "bad_input"),
        ({"asset": "DOGE"}, 400, "bad_input"),
        ({"wallet": "earn"}, 400, "bad_input"),
        ({"wallet": "fiat"}, 409, "bad_wallet"),
        ({"target": 2**53}, 400, "bad_input"),
        ({"account": True}, 400, "bad_input"),
        ({"target": 12345}, 404, "not_found"),
        ({"fee": "0"}, 400, "bad_input"),
    ],
)
def test_a_bad_transfer_moves_nothing(world: World, changes: dict[str, Any], status: int, code: str) -> None:
    """B-01…B-05, B-07, B-10: said with its code, and nothing moved."""
    with nothing_moves():
        answered, told = world.api.post("transfers", world.transfer(**changes), key="bad")
    assert (answered, told["code"]) == (status, code)


def test_the_same_wallet_is_no_transfer(world: World) -> None:
    """R-VIP-52"""
    with nothing_moves():
        status, told = world.api.post("transfers", world.transfer(target=world.master.pk))
    assert (status, told["code"]) == (409, "bad_wallet")


def test_another_customers_account_is_not_there(world: World) -> None:
    """R-GEN-95, B-13: byte for byte as an unknown one, on either side."""
    theirs = build.account(build.customer())
    for name in ("account", "target"):
        with nothing_moves():
            found = [world.api.post("transfers", world.transfer(**{name: uid})) for uid in (theirs.pk, 77)]
        assert found[0] == found[1]
        assert found[0][0] == 404
    told = {"account": theirs.pk, "asset": "BTC", "amount": "1", "address": ADDRESS}
    assert world.api.post("withdrawals", told)[0] == 404


@pytest.mark.parametrize(("path", "needed"), [("transfers", "can_transfer"), ("withdrawals", "can_withdraw")])
def test_a_token_needs_the_permission_of_each(world: World, path: str, needed: str) -> None:
    """TRUST 7: permissions are off unless given; the others do not help."""
    others = [one for one in ("can_read", "can_borrow", "can_transfer", "can_withdraw") if one != needed]
    weak = program(world.master, world.user, *others)
    told = world.transfer() if path == "transfers" else {}
    with nothing_moves():
        status, answer = weak.post(path, told)
    assert (status, answer["code"]) == (403, "not_permitted")


def test_who_acts_for_one_account_moves_its_coins_only_and_hears_no_ltv(world: World) -> None:
    """R-GEN-95: a key of the sub-account; what the loan stands at is not told."""
    bound = program(world.sub, world.user, "can_read", "can_transfer", "can_withdraw")
    with nothing_moves():
        assert bound.post("transfers", world.transfer())[0] == 404
        told = {"account": world.sub.pk, "asset": "BTC", "amount": "2", "address": ADDRESS}
        status, answer = bound.post("withdrawals", told)
        assert (status, answer["code"]) == (409, "ltv_too_high")
        assert "%" not in answer["message"]
    status, row = bound.post("withdrawals", told | {"amount": "1"})
    assert (status, row["ltv_before"], row["ltv_after"]) == (201, None, None)
    assert bound.get("movements")[1]["total"] == 1
    world.api.post("transfers", world.transfer(target=world.master.pk, target_wallet="funding"))
    assert bound.get("movements")[1]["total"] == 1
    assert world.api.get("movements")[1]["total"] == 2


def test_a_firm_that_asks_for_two_gets_a_proposal_once(world: World) -> None:
    """R-ADM-09: 202, done when a colleague releases it; the same key again is the same proposal."""
    colleague = build.colleague(world.owner, "signatory")
    asks_for_two(world)
    told = {"account": world.master.pk, "asset": "USDT", "amount": "250", "address": ADDRESS}
    status, answer = world.api.post("withdrawals", told, key="w1")
    assert status == 202
    assert "Withdraw 250 USDT" in answer["message"]
    assert world.api.post("withdrawals", told, key="w1") == (202, answer)
    assert Approval.objects.filter(command="gate.withdraw").count() == 1
    assert build.balance(world.master, "USDT") == Decimal(1000000)
    approvals.release(approval_id=answer["proposal"], actor=Actor.user(colleague), at=NOON)
    assert build.balance(world.master, "USDT") == Decimal(999750)


def test_a_repeat_of_what_waited_is_not_done_when_the_firm_asks_for_one_only(world: World) -> None:
    """R-GEN-06, R-ADM-09: released, then the policy ends; the program that never heard back pays out once."""
    colleague = build.colleague(world.owner, "signatory")
    asks_for_two(world)
    told = {"account": world.master.pk, "asset": "USDT", "amount": "250", "address": ADDRESS}
    first = world.api.post("withdrawals", told, key="w1")
    approvals.release(approval_id=first[1]["proposal"], actor=Actor.user(colleague), at=NOON)
    asks_for_two(world, since=NOON, withdraw=False)
    with at(NOON + timedelta(seconds=5)):
        assert world.api.post("withdrawals", told, key="w1") == first
        assert build.balance(world.master, "USDT") == Decimal(999750)
        assert world.api.post("withdrawals", told, key="w2")[0] == 201  # one person is enough now


def test_a_key_that_came_to_a_proposal_is_good_for_nothing_else(world: World) -> None:
    """R-GEN-06: neither for another amount nor at another address."""
    build.colleague(world.owner, "signatory")
    asks_for_two(world)
    told = {"account": world.master.pk, "asset": "USDT", "amount": "250", "address": ADDRESS}
    assert world.api.post("withdrawals", told, key="w1")[0] == 202
    bodies = [
        ("withdrawals", told | {"amount": "251"}),
        ("transfers", world.transfer(target_wallet="funding")),
    ]
    for path, body in bodies:
        with nothing_moves():
            status, answer = world.api.post(path, body, key="w1")
        assert (status, answer["code"]) == (409, "idempotency_key_reused")


def asks_for_two(world: World, *, since: datetime = LONG_AGO, withdraw: bool = True) -> None:
    """The firm's policy keeps withdrawals for two of its people, or no longer."""
    acts = {"apply": False, "accept": False, "withdraw": withdraw, "remove": False}
    firms.set_policy(customer_id=world.owner.pk, **acts, actor=BUILDER, at=since)


def test_the_price_board_says_what_is_fresh(world: World) -> None:
    """R-GEN-22: an old price is shown as old."""
    assert world.api.get("prices")[1]["total"] == 2
    status, told = world.api.get("prices", asset="BTC")
    assert (status, told["total"]) == (200, 1)
    assert told["rows"][0] == {
        "asset": "BTC",
        "price_usd": "60000",
        "observed_at": "2026-01-01T12:00:00Z",
        "is_fresh": True,
        "tiers": [{"floor": "0", "ratio": "1"}],
    }
    assert world.api.get("prices", asset="DOGE")[0] == 400
    with at(NOON + timedelta(hours=3)):
        assert not world.api.get("prices", asset="BTC")[1]["rows"][0]["is_fresh"]


def test_nobody_is_let_in_without_a_token(world: World) -> None:
    """TRUST 7: 401, and how to ask."""
    for path in ("movements", "prices", "groups"):
        status, told = Native().get(path)
        assert (status, told["code"]) == (401, "not_authenticated")
    response = Native().client.get("/api/v1/prices")
    assert response["WWW-Authenticate"] == "Bearer"
