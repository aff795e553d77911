"""The insurance fund: capital's coins set aside, never below zero, and never by one person alone. R-GEN-78, CX-9"""

from decimal import Decimal

import pytest

from accounts import approvals, books
from accounts.commands import Actor, NeedsApproval, NotYourRole
from accounts.errors import BadAmount
from risk import insurance
from tests import build
from tests.build import BUILDER, NOON

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture(autouse=True)
def _capital() -> None:
    build.fund_pool("USDT", "1000")


def held() -> tuple[Decimal, Decimal, Decimal]:
    return books.capital("USDT").balance, books.insurance("USDT").balance, books.pool("USDT").balance


def test_setting_aside_moves_a_claim_and_no_coin() -> None:
    """R-GEN-78"""
    insurance.fund(asset="USDT", amount=D("400"), actor=BUILDER, at=NOON)
    assert held() == (600, 400, 1000)
    insurance.draw_back(asset="USDT", amount=D("150.5"), actor=BUILDER, at=NOON)
    assert held() == (D("750.5"), D("249.5"), 1000)
    assert insurance.balances() == {"USDT": D("249.5")}


def test_the_fund_never_owes_anything() -> None:
    """R-GEN-78: neither fund nor capital goes below zero"""
    insurance.fund(asset="USDT", amount=D("400"), actor=BUILDER, at=NOON)
    with pytest.raises(insurance.FundTooSmall, match="holds 400"):
        insurance.draw_back(asset="USDT", amount=D("400.00000001"), actor=BUILDER, at=NOON)
    with pytest.raises(insurance.CapitalTooSmall, match="holds 600"):
        insurance.fund(asset="USDT", amount=D("601"), actor=BUILDER, at=NOON)
    assert held() == (600, 400, 1000)


@pytest.mark.parametrize("amount", ["0", "-1", "0.000000001", "NaN", "Infinity"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    """R-GEN-01"""
    with pytest.raises(BadAmount):
        insurance.fund(asset="USDT", amount=D(amount), actor=BUILDER, at=NOON)
    assert held() == (1000, 0, 1000)


def test_one_person_proposes_and_another_releases() -> None:
    """R-GEN-78, TRUST I-24"""
    maker, checker = build.user("finance"), build.user("finance")
    asked = {"asset": "USDT", "amount": D("400")}
    with pytest.raises(NeedsApproval):
        insurance.fund(**asked, actor=Actor.user(maker), at=NOON)
    for role in ("borrower", "vip_manager", "risk_officer", "auditor"):
        with pytest.raises(NotYourRole):
            insurance.fund(**asked, actor=Actor.user(build.user(role)), at=NOON)
    proposal = approvals.propose(
        command="insurance.fund",
        arguments=asked,
        title="Set aside 400 USDT",
        preview={},
        reason="Board of 1 January",
        actor=Actor.user(maker),
        at=NOON,
    )
    assert held() == (1000, 0, 1000)
    with pytest.raises(approvals.OwnProposal):
        approvals.release(approval_id=proposal.pk, actor=Actor.user(maker), at=NOON)
    assert held() == (1000, 0, 1000)
    approvals.release(approval_id=proposal.pk, actor=Actor.user(checker), at=NOON)
    assert held() == (600, 400, 1000)
