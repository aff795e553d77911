"""What every command promises: an actor, an audit row, one effect per key."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import pytest
from django.db import Error

from accounts.commands import Actor, BadKey, KeyReused, acting, command
from accounts.errors import Refused
from accounts.models import AuditRecord, Customer, IdempotencyKey
from tests import build
from tests.build import NOON

ALICE, BOB = Actor("user:1"), Actor("user:2")


@command("test.rename", returns=Customer)
def rename(
    *,
    customer_id: int,
    name: str,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
    weight: Decimal = Decimal(1),
) -> Customer:
    customer = Customer.objects.select_for_update().get(pk=customer_id)
    if name == "refused":
        raise Refused("That name is taken.")
    customer.name = f"{customer.name}>{name}"
    customer.save(update_fields=["name"])
    return customer


def test_a_command_and_the_rows_it_changed_are_signed(db: None) -> None:
    """I-21"""
    customer = build.customer("Old")

    rename(customer_id=customer.pk, name="New", actor=ALICE, at=NOON, reason="asked by phone")

    done = AuditRecord.objects.get(subject="test.rename")
    assert (done.actor, done.reason, done.kind) == ("user:1", "asked by phone", "command")
    assert done.after["arguments"] == {"customer_id": customer.pk, "name": "New"}
    changed = AuditRecord.objects.get(subject=f"accounts_customer:{customer.pk}", kind="update")
    assert (changed.actor, changed.before, changed.after) == ("user:1", {"name": "Old"}, {"name": "Old>New"})


def test_an_unsigned_change_is_refused(db: None) -> None:
    """I-21: the trigger, not the code, insists on an actor."""
    customer = build.customer("Old")

    with pytest.raises(Error, match="must name its actor"), acting(Actor("")):
        Customer.objects.filter(pk=customer.pk).update(name="Unsigned")

    customer.refresh_from_db()
    assert customer.name == "Old"


def test_a_repeated_key_returns_the_first_outcome(db: None) -> None:
    """R-GEN-06, I-25"""
    customer = build.customer("A")

    first = rename(customer_id=customer.pk, name="B", actor=ALICE, at=NOON, key="k1")
    again = rename(customer_id=customer.pk, name="B", actor=ALICE, at=NOON, key="k1")

    assert (first.name, again.name) == ("A>B", "A>B")
    assert AuditRecord.objects.filter(subject="test.rename").count() == 1


def test_a_key_with_another_request_is_refused(db: None) -> None:
    """I-25: never the first answer for another question."""
    customer, other = build.customer("A"), build.customer("Z")
    rename(customer_id=customer.pk, name="B", actor=ALICE, at=NOON, key="k1")

    with pytest.raises(KeyReused):
        rename(customer_id=other.pk, name="B", actor=ALICE, at=NOON, key="k1")

    other.refresh_from_db()
    assert other.name == "Z"


@pytest.mark.parametrize("key", ["k" * 65, "k\n1", "k\x00", "１"])
def test_a_key_that_cannot_be_kept_is_refused(db: None, key: str) -> None:
    """I-25, TRUST B-06: in words, before anything is done."""
    customer = build.customer("A")

    with pytest.raises(BadKey):
        rename(customer_id=customer.pk, name="B", actor=ALICE, at=NOON, key=key)

    customer.refresh_from_db()
    assert customer.name == "A"


def test_keys_belong_to_their_caller(db: None) -> None:
    """I-25: the same key from somebody else is another request."""
    customer = build.customer("A")

    rename(customer_id=customer.pk, name="B", actor=ALICE, at=NOON, key="k1")
    rename(customer_id=customer.pk, name="C", actor=BOB, at=NOON, key="k1")

    customer.refresh_from_db()
    assert customer.name == "A>B>C"


def test_a_refusal_keeps_nothing_and_frees_the_key(db: None) -> None:
    customer = build.customer("A")

    with pytest.raises(Refused):
        rename(customer_id=customer.pk, name="refused", actor=ALICE, at=NOON, key="k1")

    assert not IdempotencyKey.objects.exists()
    assert not AuditRecord.objects.filter(subject="test.rename").exists()


def test_one_key_in_eight_threads_is_one_effect(
    committed_db: object, in_threads: Callable[[list[Callable[[], Customer]]], list[Customer]]
) -> None:
    """C-07"""
    customer = build.customer("A")

    outcomes = in_threads(
        [lambda: rename(customer_id=customer.pk, name="B", actor=ALICE, at=NOON, key="k1") for _ in range(8)]
    )

    assert {outcome.name for outcome in outcomes} == {"A>B"}
    assert IdempotencyKey.objects.count() == 1
