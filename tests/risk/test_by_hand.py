"""A sale that two people of the house decide, at any LTV. R-ADM-03, R-ADM-05"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from accounts import approvals
from accounts.commands import Actor, NeedsApproval, NotYourRole, acting
from accounts.errors import Refused
from accounts.models import Approval, AuditRecord, JournalEntry, Notice
from risk import freezes, groups, liquidation, steps
from risk.models import CollateralGroup, Debt, Liquidation, RiskEvent
from tests import build
from tests.risk.forced_sales import SWEEPER, carry_on, stepped

D = Decimal
NOON = build.NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def debt() -> Debt:
    """880,000 against 1,100,000: LTV 80 %, in margin call."""
    row = build.secured_debt(amount="880000", rate="0")
    build.prices(BTC="44000", USDT="1")
    return row


def by_hand(
    group: CollateralGroup, mode: str = "full", *, actor: Actor = SWEEPER, at: datetime = NOON
) -> Liquidation:
    return liquidation.liquidate_by_hand(group_id=group.pk, mode=mode, actor=actor, at=at, reason="Agreed.")


@contextmanager
def nothing_happens() -> Iterator[None]:
    before = JournalEntry.objects.count(), Liquidation.objects.count(), RiskEvent.objects.count()
    yield
    assert before == (JournalEntry.objects.count(), Liquidation.objects.count(), RiskEvent.objects.count())


def test_two_people_sell_below_the_liquidation_line(debt: Debt) -> None:
    """R-ADM-03, R-ADM-05: proposed by one risk officer, released by another, run as it was proposed"""
    maker, checker = build.user("risk_officer"), build.user("risk_officer")
    arguments = {"group_id": debt.group_id, "mode": "full"}
    proposal = approvals.run_or_propose(
        command="risk.liquidate_by_hand",
        arguments=arguments,
        title="Sell",
        preview={},
        reason="The client asked us to.",
        actor=Actor.user(maker),
        at=NOON,
        customer=debt.customer,
    )
    assert proposal is not None
    assert not Liquidation.objects.exists()
    with pytest.raises(Refused), nothing_happens():
        approvals.release(approval_id=proposal.pk, actor=Actor.user(maker), at=NOON)

    approvals.release(approval_id=proposal.pk, actor=Actor.user(checker), at=NOON)

    row = Liquidation.objects.get()
    debt.refresh_from_db()
    assert (row.cause, row.mode, row.status, row.ltv) == ("manual", "full", "done_surplus", D("0.8"))
    assert (debt.booked, debt.closed_reason) == (0, Debt.Closed.LIQUIDATED)
    assert Approval.objects.get().result == f"risk.liquidation:{row.pk}"
    told = AuditRecord.objects.get(subject="risk.liquidate_by_hand")
    assert told.after["arguments"] == arguments
    assert "The client asked us to." in told.reason
    assert "two people" in Notice.objects.get(kind="liquidation").body


@pytest.mark.parametrize(
    ("role", "refusal"),
    [("risk_officer", NeedsApproval), ("vip_manager", NotYourRole), ("borrower", NotYourRole)],
)
def test_nobody_sells_alone(debt: Debt, role: str, refusal: type[Exception]) -> None:
    """R-ADM-03"""
    with pytest.raises(refusal), nothing_happens():
        by_hand(debt.group, actor=Actor.user(build.user(role)))


def test_steps_by_hand_go_on_with_the_sweep_and_stop_at_the_target(debt: Debt) -> None:
    """R-ADM-05, R-GEN-73: 80 to 72 % takes (880,000 - 792,000) / 0.2656; three steps of a fifth at most"""
    stepped(step_share=D("0.2"))
    row = by_hand(debt.group, "stepped")
    assert (row.status, row.cause) == ("running", "manual")
    row = carry_on(carry_on(row))
    assert (row.status, row.steps, row.target) == ("stopped_healthy", 3, D("0.72"))
    assert sum(sale.proceeds - sale.fee for sale in row.sales.all()).quantize(D("0.01")) == D("331325.30")


def test_at_the_target_there_is_nothing_to_sell_in_steps(debt: Debt) -> None:
    """R-ADM-05"""
    build.price("BTC", "50000", at=NOON + timedelta(seconds=1))
    build.price("USDT", "1", at=NOON + timedelta(seconds=1))
    with pytest.raises(liquidation.NothingToSell, match="at or below 72.00%"), nothing_happens():
        by_hand(debt.group, "stepped", at=NOON + timedelta(seconds=1))


def test_a_group_that_owes_nothing_is_not_sold(debt: Debt) -> None:
    """R-ADM-05"""
    empty = build.group(build.account(debt.customer), [build.account(debt.customer)])
    with pytest.raises(liquidation.NothingToSell, match="owes nothing"), nothing_happens():
        by_hand(empty)


def test_nothing_is_sold_on_an_old_price(debt: Debt) -> None:
    """R-GEN-22, R-ADM-05"""
    later = NOON + timedelta(hours=1)
    build.price("USDT", "1", at=later)
    with pytest.raises(groups.PriceTooOld, match="BTC is too old"), nothing_happens():
        by_hand(debt.group, at=later)


def test_one_liquidation_at_a_time(debt: Debt) -> None:
    """R-GEN-70"""
    stepped(step_share=D("0.1"))
    by_hand(debt.group, "stepped")
    with pytest.raises(liquidation.AlreadyRunning), nothing_happens():
        by_hand(debt.group)


def test_a_pause_by_hand_stops_the_hand_too(debt: Debt) -> None:
    """R-ADM-05"""
    freezes.place(
        what="liquidate",
        group_id=debt.group_id,
        reason="In court.",
        ends_at=NOON + timedelta(days=1),
        actor=SWEEPER,
        at=NOON,
    )
    with pytest.raises(freezes.Frozen, match="paused until 2026-01-02 12:00 UTC"), nothing_happens():
        by_hand(debt.group)


def test_there_are_two_modes(debt: Debt) -> None:
    """R-GEN-73"""
    with pytest.raises(liquidation.BadMode), nothing_happens():
        by_hand(debt.group, "sudden")


def test_the_outlook_says_what_would_be_sold(debt: Debt) -> None:
    """R-ADM-05: the whole way down, before anybody proposes it"""
    stepped(step_share=D("0.2"))
    full = steps.outlook(group=debt.group, mode="full", at=NOON)
    slow = steps.outlook(group=debt.group, mode="stepped", at=NOON)

    assert (full.ltv, full.ltv_after, full.debt_usd) == (D("0.8"), 0, D(880000))
    assert full.sold == {"BTC": D("20.4")}
    assert (full.sold_usd, full.fee_usd, full.repaid_usd) == (D(897600), D(17600), D(880000))
    assert slow.repaid_usd.quantize(D("0.01")) == D("331325.30")
    assert slow.ltv_after is not None
    assert D("0.7199999") < slow.ltv_after <= D("0.72")
    with acting(SWEEPER), nothing_happens():
        steps.outlook(group=debt.group, mode="full", at=NOON)
