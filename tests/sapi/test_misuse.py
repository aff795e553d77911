"""Well-formed requests that the desk's rules refuse (B-19): the dialect's code, words that say why, nothing moved."""

from typing import Any

import pytest

from tests.sapi import values
from tests.sapi import world as worlds
from tests.sapi.world import NOBODY, World, problems_with

VIP, SUB = "/sapi/v1/loan/vip", "/sapi/v1/sub-account"
BORROW, FIXED = f"POST {VIP}/borrow", f"POST {VIP}/fixed/borrow"
RENEW, REPAY = f"POST {VIP}/renew", f"POST {VIP}/repay"
MOVE, BETWEEN = "POST /sapi/v1/asset/transfer", f"POST {SUB}/universalTransfer"
OUT = "POST /sapi/v1/capital/withdraw/apply"


def orders(world: World) -> dict[str, Any]:
    return {
        "closed": world.closed.pk,
        "theirs": world.their_loan.pk,
        "unknown": NOBODY,
        "running": world.running.loan.pk,
        "overdue": world.overdue.loan.pk,
        "liquidating": world.liquidating.loan.pk,
        "the request": world.pending.pk + 10**6,
    }


def others(world: World) -> dict[str, Any]:
    return {
        "their account": world.theirs.sub.pk,
        "their master": world.theirs.master.pk,
        "pledged elsewhere": world.renewable.backing.pk,
        "the receiver": world.mine.master.pk,
        "nobody": NOBODY,
    }


@pytest.mark.parametrize(
    ("order", "amount"),
    [
        *[("closed", "5"), ("theirs", "5"), ("unknown", "5"), ("the request", "5")],
        *[("running", "99999999"), ("running", "5000000"), ("overdue", "9999999")],
    ],
)
def test_a_repayment_that_cannot_be(order: str, amount: str, world: World) -> None:
    """B-19, R-VIP-34, R-GEN-52: a closed, foreign or unknown order, or more than is owed."""
    refused(world, REPAY, orderId=orders(world)[order], amount=amount)


@pytest.mark.parametrize(
    "order", ["closed", "theirs", "unknown", "running", "overdue", "liquidating", "the request"]
)
def test_a_renewal_that_cannot_be(order: str, world: World) -> None:
    """B-19, R-VIP-40, R-VIP-41: outside the window, in a forced sale, over, or not mine."""
    refused(world, RENEW, orderId=orders(world)[order])


@pytest.mark.parametrize("term", [1, 29, 45, 90, 365])
def test_a_renewal_for_another_term(term: int, world: World) -> None:
    """B-19, R-VIP-42: 30 or 60 days."""
    refused(world, RENEW, loanTerm=term)


@pytest.mark.parametrize(
    "whose", ["their account", "their master", "pledged elsewhere", "the receiver", "nobody"]
)
def test_collateral_that_is_not_free_to_pledge(whose: str, world: World) -> None:
    """B-13, B-19, R-GEN-13, R-VIP-03: somebody else's, another group's, the receiver itself."""
    for name in (BORROW, FIXED):
        refused(world, name, collateralAccountId=str(others(world)[whose]))


@pytest.mark.parametrize("whose", ["their account", "their master", "nobody"])
def test_a_loan_paid_out_to_somebody_else(whose: str, world: World) -> None:
    """B-13, R-VIP-03"""
    refused(world, BORROW, loanAccountId=others(world)[whose])
    refused(world, FIXED, borrowUid=others(world)[whose])


@pytest.mark.parametrize(
    "changes",
    [
        {"loanAmount": "1"},
        {"loanAmount": "99999999"},
        {"loanAmount": "60000.123456789"},
        {"loanCoin": "DOGE"},
        {"loanCoin": "BTC"},
        {"collateralCoin": "DOGE"},
        {"collateralCoin": "BTC-Earn"},
        {"collateralCoin": "BTC,BTC-Earn"},
        {"loanTerm": 45},
        {"loanTerm": None},
        {"isFlexibleRate": "maybe"},
    ],
    ids=str,
)
def test_a_loan_that_cannot_be_asked_for(changes: dict[str, Any], world: World) -> None:
    """B-19, R-VIP-06, R-VIP-07, R-VIP-20; Earn positions are not there yet (-10213)."""
    answer = refused(world, BORROW, **changes)
    if "Earn" in str(changes):
        assert answer.json()["code"] == -10213


@pytest.mark.parametrize(
    "supply",
    [
        "{}:0.06:60000",
        "{}:0.05:2000001",
        "{}:0.05:1",
        "{}:0.05:60000;{}:0.05:60000",
        "99999:0.05:60000",
        "{}:0.05",
    ],
)
def test_an_offer_that_cannot_be_taken(supply: str, world: World) -> None:
    """B-19, R-VIP-26: another rate, more than there is, less than its minimum, twice, or no such offer."""
    refused(world, FIXED, supplyRequest=supply.replace("{}", str(world.supply.pk)))


@pytest.mark.parametrize(
    "changes", [{"loanTerm": 60}, {"borrowCoin": "BTC"}, {"collateralCoin": "DOGE"}], ids=str
)
def test_an_offer_taken_as_what_it_is_not(changes: dict[str, Any], world: World) -> None:
    """B-19, R-VIP-26: its coin and its term are its own."""
    refused(world, FIXED, **changes)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (MOVE, {"amount": "99999999"}),
        (MOVE, {"asset": "DOGE"}),
        (MOVE, {"type": "MAIN_MARGIN"}),
        (MOVE, {"type": "FUNDING_MAIN", "amount": "51"}),
        (BETWEEN, {"amount": "99999999"}),
        (BETWEEN, {"toAccountType": "MARGIN"}),
        (BETWEEN, {"fromAccountType": "ISOLATED_MARGIN", "symbol": "BTCUSDT"}),
        (BETWEEN, {"toEmail": None}),
        (BETWEEN, {"toEmail": "nobody@example.com"}),
        (OUT, {"amount": "99999999"}),
        (OUT, {"coin": "DOGE"}),
        (OUT, {"walletType": "1", "amount": "51"}),
        (OUT, {"network": "ETH"}),
    ],
    ids=str,
)
def test_coins_that_cannot_go(name: str, changes: dict[str, Any], world: World) -> None:
    """B-19, R-VIP-52, R-VIP-53: more than there is, to what is not there, or from itself to itself."""
    refused(world, name, **changes)


def test_collateral_does_not_leave_below_the_line(world: World) -> None:
    """B-19, R-VIP-53: what secures a loan stays where it is, by the master's key as by any other."""
    mine = world.running.backing.email
    answer = refused(world, BETWEEN, fromEmail=mine, toEmail=None, asset="BTC", amount="99")
    assert "72" in answer.json()["msg"]


def test_a_strangers_coins_stay(world: World) -> None:
    """B-13: from a stranger's account, or to one."""
    for side, other in (("fromEmail", "toEmail"), ("toEmail", "fromEmail")):
        refused(world, BETWEEN, **{side: world.theirs.sub.email, other: None, "asset": "BTC", "amount": "1"})
    refused(world, f"POST {SUB}/transfer/subToSub", toEmail=world.theirs.master.email)


def refused(world: World, name: str, **changes: Any) -> Any:
    """Send a good call with these changes (None: left out); it must say no and do nothing."""
    params = values.good(world, name) | changes
    before = worlds.everything()
    answer = world.call(
        name, {key: value for key, value in params.items() if value is not None}, by=values.caller_of(name)
    )
    assert problems_with(answer) == [], answer.content
    assert worlds.everything() == before
    return answer
