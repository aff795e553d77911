"""A firm's proposals decided by several colleagues at once, with real commits (R-ADM-09)."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from accounts import approvals, firms, membership
from accounts.approvals import NotPending
from accounts.commands import Actor, NeedsApproval
from accounts.models import Approval
from risk.models import Movement
from tests import build
from tests.loans import desk as desks
from tests.loans.test_firm_second import SOON, asked, firm_of, propose, release

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def test_of_two_colleagues_at_once_one_has_an_effect(committed_db: object, in_threads: InThreads) -> None:
    """R-ADM-09, TRUST C-10"""
    firm = firm_of(desks.set_up())
    waiting = propose(firm, *asked(firm, "withdraw"))
    results = in_threads([lambda by=by: release(waiting, by) for by in (firm.checker, firm.treasurer)] * 3)
    assert sum(isinstance(result, Approval) for result in results) == 1
    assert sum(isinstance(result, NotPending) for result in results) == 5
    assert build.balance(firm.desk.sub, "BTC") == 24
    assert Movement.objects.count() == 1


def test_released_and_refused_at_once_it_is_one_of_both(committed_db: object, in_threads: InThreads) -> None:
    """R-ADM-09, TRUST C-10"""
    firm = firm_of(desks.set_up())
    waiting = propose(firm, *asked(firm, "withdraw"))

    def refuse() -> Approval:
        by = Actor.user(firm.treasurer)
        return approvals.refuse(approval_id=waiting.pk, actor=by, at=SOON, reason="No")

    results = in_threads([lambda: release(waiting, firm.checker), refuse] * 3)

    assert sum(isinstance(result, Approval) for result in results) == 1
    status = Approval.objects.get().status
    assert build.balance(firm.desk.sub, "BTC") == {"released": 24, "refused": 25}[status]
    assert Movement.objects.count() == (status == "released")


def test_two_people_asked_for_meanwhile_are_not_switched_off_by_one(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-ADM-09: whether it takes two is asked after a colleague's change, which is waited for."""
    owner = desks.set_up().owner
    ada, bob = (Actor.user(build.colleague(owner, "signatory")) for _ in range(2))
    written = threading.Event()

    def ask(by: Actor, *, withdraw: bool, minute: int) -> Any:
        acts = {"apply": False, "accept": False, "withdraw": withdraw, "remove": False}
        at = build.TEN + timedelta(minutes=minute)
        return firms.set_policy(customer_id=owner.pk, **acts, actor=by, at=at)

    def tighten() -> Any:
        with transaction.atomic():
            policy = ask(bob, withdraw=True, minute=1)
            written.set()
            _until_somebody_waits()
        return policy

    def loosen() -> Any:
        written.wait(timeout=10)
        return ask(ada, withdraw=False, minute=2)

    _, refused = in_threads([tighten, loosen])

    assert isinstance(refused, NeedsApproval)
    policy = membership.policy_of(owner.pk, at=build.TEN + timedelta(hours=1))
    assert policy is not None
    assert policy.withdraw


def _until_somebody_waits() -> None:
    for _ in range(100):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
        time.sleep(0.01)
    raise AssertionError("the other one did not wait")
