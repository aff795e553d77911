"""Corrections by two people at one moment: one mirror, never two, and nothing left half done (R-ADM-11)."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from accounts import ledger
from accounts.models import JournalEntry
from risk import corrections, gate
from risk.models import Movement
from tests import build
from tests.build import BUILDER, NOON
from tests.risk.movements import BY, secured

Run = Callable[[list[Callable[[], Any]]], list[Any]]


def reverse(entry: JournalEntry) -> Callable[[], JournalEntry]:
    return lambda: corrections.reverse(entry_id=entry.pk, actor=BUILDER, at=NOON, reason="Twice")


def test_two_reversals_at_once_are_one(committed_db: Any, in_threads: Run) -> None:
    """R-ADM-11: of a deposit (its account is locked) and of an entry of the house (nothing is)."""
    uid = secured().group.receiver_id
    deposit = gate.deposit(account_uid=uid, asset="BTC", amount=Decimal(3), **BY).entry
    build.fund_pool("USDT", "500", at=NOON)
    funding = JournalEntry.objects.get(reference__startswith="test-funding", at=NOON)

    for entry in (deposit, funding):
        results = in_threads([reverse(entry), reverse(entry), reverse(entry)])

        made = [one for one in results if isinstance(one, JournalEntry)]
        assert len(made) == 1, results
        refusals = (corrections.AlreadyReversed, ledger.AlreadyPosted)
        assert sum(isinstance(one, refusals) for one in results) == 2, results
        assert JournalEntry.objects.get(reverses=entry) == made[0]


def test_the_slower_of_two_hears_that_it_was_undone_not_that_money_lacks(
    committed_db: Any, in_threads: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-ADM-11: the other one commits when this one has seen that nobody has, and before it reads what there is."""
    build.fund_pool("USDT", "500", at=NOON)
    funding = JournalEntry.objects.get(reference__startswith="test-funding", at=NOON)
    refuse_state, quicker = corrections.refuse_state, list[Any]()

    def overtaken(*args: Any, **kwargs: Any) -> None:
        refuse_state(*args, **kwargs)
        if not quicker:
            quicker.append(None)
            quicker[:] = in_threads([reverse(funding)])

    monkeypatch.setattr(corrections, "refuse_state", overtaken)

    with pytest.raises(corrections.AlreadyReversed):
        reverse(funding)()

    assert [JournalEntry.objects.get(reverses=funding)] == quicker
    assert JournalEntry.objects.filter(kind=ledger.REVERSAL).count() == 1


def test_a_reversal_that_races_a_withdrawal_never_overdraws(committed_db: Any, in_threads: Run) -> None:
    """R-ADM-11, I-03: the coins go once, to whoever came first."""
    uid = secured().group.receiver_id
    entry = gate.deposit(account_uid=uid, asset="BTC", amount=Decimal(3), **BY).entry

    def withdraw() -> Movement:
        return gate.withdraw(account_uid=uid, asset="BTC", amount=Decimal(3), address="x", **BY)

    undone, gone = in_threads([reverse(entry), withdraw])

    assert isinstance(undone, JournalEntry) != isinstance(gone, Movement), (undone, gone)
    assert isinstance(undone, JournalEntry | corrections.TakesTooMuch)
    assert ledger.balances(account_ids=[uid])[uid, "spot", "BTC"] == 0
