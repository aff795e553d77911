"""Collateral accounts and cure rules over our own API (R-VIP-55, R-GEN-13, R-FTR-04)."""

from collections.abc import Iterator
from typing import Any

import pytest

from accounts import approvals, firms
from accounts.commands import Actor
from accounts.models import Approval
from loans import auto_cure
from risk.models import CollateralGroup, CureRule, CureRun, Member
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.visit import at
from tests.native import Native, browser, program

pytestmark = pytest.mark.django_db


class World:
    """A loan of 1,000,000 USDT on 25 BTC at 60,000: LTV two thirds; and one more account with 5 BTC."""

    def __init__(self) -> None:
        self.desk = desks.set_up()
        self.loan = desks.drawn(self.desk)
        self.group: CollateralGroup = self.loan.group
        self.spare = build.account(self.desk.owner)
        build.deposit(self.spare, "BTC", "5", at=TEN)
        self.api = program(self.desk.master, self.desk.applicant)
        self.path = f"groups/{self.group.pk}"

    def rule(self, **changes: Any) -> dict[str, Any]:
        base = {
            "kind": "top_up",
            "asset": "BTC",
            "source_account": self.desk.master.pk,
            "source_wallet": "spot",
            "account": self.desk.sub.pk,
            "trigger": "0.75",
            "target": "0.7",
        }
        return {name: value for name, value in (base | changes).items() if value is not None}

    @property
    def members(self) -> set[int]:
        rows = Member.objects.filter(group=self.group, released_at=None)
        return set(rows.values_list("account_id", flat=True))


@pytest.fixture
def world(db: None) -> Iterator[World]:
    made = World()
    with at(TEN):
        yield made


def stranger() -> Native:
    user = build.user()
    other = build.customer(member=user)
    return program(build.master(other), user)


# --- Collateral accounts ------------------------------------------------------------------------------------


def test_an_account_joins_and_leaves_once_for_one_key(world: World) -> None:
    """R-VIP-55, R-GEN-13, R-GEN-06"""
    path, told = f"{world.path}/accounts", {"account": world.spare.pk}
    status, effect = world.api.post(f"{path}/check", told | {"do": "add"})
    assert (status, effect) == (
        200,
        {"allowed": True, "reason": "", "ltv_before": "0.666666666666", "ltv_after": "0.555555555555"},
    )
    assert world.members == {world.desk.sub.pk}
    status, row = world.api.post(path, told, key="a1")
    assert (status, row["account"], row["group"], row["released_at"]) == (
        201,
        world.spare.pk,
        world.group.pk,
        None,
    )
    assert world.api.post(path, told, key="a1") == (201, row)
    assert world.api.post(path, told)[1]["code"] == "collateral_account_in_use"
    assert world.members == {world.desk.sub.pk, world.spare.pk}
    status, row = world.api.delete(f"{path}/{world.spare.pk}", key="a2")
    assert (status, row["released_at"]) == (200, "2026-01-01T10:00:00Z")
    assert world.api.delete(f"{path}/{world.spare.pk}", key="a2") == (200, row)
    status, answer = world.api.delete(f"{path}/{world.spare.pk}")
    assert (status, answer["code"]) == (409, "not_a_collateral_account")
    assert world.members == {world.desk.sub.pk}


def test_what_secures_the_loan_stays(world: World) -> None:
    """R-VIP-55: without its only account LTV would be infinite."""
    status, effect = world.api.post(
        f"{world.path}/accounts/check", {"account": world.desk.sub.pk, "do": "remove"}
    )
    assert (status, effect["allowed"], effect["ltv_after"]) == (200, False, None)
    before = desks.everything()
    status, told = world.api.delete(f"{world.path}/accounts/{world.desk.sub.pk}")
    assert (status, told["code"]) == (409, "ltv_too_high")
    assert desks.everything() == before


def test_what_is_not_theirs_is_not_there(world: World) -> None:
    """R-GEN-95, B-13: accounts and groups of others are as unknown ones."""
    theirs = build.account(build.customer())
    path = f"{world.path}/accounts"
    for uid in (theirs.pk, 77):
        assert world.api.post(path, {"account": uid})[0] == 404
        assert world.api.delete(f"{path}/{uid}")[0] == 404
    found = [stranger().post(f"groups/{pk}/accounts", {"account": 1}) for pk in (world.group.pk, 999)]
    assert found[0] == found[1]
    assert found[0][0] == 404
    for part in ("cure-rules", "cure-rules/runs"):
        assert stranger().get(f"{world.path}/{part}")[0] == 404
        assert program(world.desk.sub, world.desk.applicant, "can_read").get(f"{world.path}/{part}")[0] == 404


def test_a_firm_that_asks_for_two_gets_a_proposal(world: World) -> None:
    """R-ADM-09: taking an account out waits for a colleague; the same key is the same proposal."""
    colleague = build.colleague(world.desk.owner, "signatory")
    acts = {"apply": False, "accept": False, "withdraw": False, "remove": True}
    firms.set_policy(customer_id=world.desk.owner.pk, **acts, actor=BUILDER, at=LONG_AGO)
    world.api.post(f"{world.path}/accounts", {"account": world.spare.pk})
    path = f"{world.path}/accounts/{world.spare.pk}"
    status, told = world.api.delete(path, key="r1")
    assert status == 202
    assert world.api.delete(path, key="r1") == (202, told)
    assert Approval.objects.count() == 1
    assert world.spare.pk in world.members
    approvals.release(approval_id=told["proposal"], actor=Actor.user(colleague), at=TEN)
    assert world.spare.pk not in world.members


# --- Cure rules ---------------------------------------------------------------------------------------------


def test_a_rule_is_set_listed_rehearsed_and_removed(world: World) -> None:
    """R-FTR-04, R-GEN-06: at 53,000 LTV is 75.47 %: the least BTC that brings it to 70 %."""
    build.deposit(world.desk.master, "BTC", "9", at=TEN)
    path = f"{world.path}/cure-rules"
    status, row = world.api.post(path, world.rule(most_each="8.5"), key="s1")
    assert status == 201
    assert (row["kind"], row["trigger"], row["target"], row["most_each"], row["position"]) == (
        "top_up",
        "0.75",
        "0.7",
        "8.5",
        1,
    )
    assert row["does"].startswith("Move BTC from")
    assert world.api.post(path, world.rule(most_each="8.5"), key="s1") == (201, row)
    assert world.api.get(path) == (200, {"rows": [row], "total": 1})

    status, told = world.api.post(f"{path}/rehearse", {"fall": "0"})
    assert (status, told["ltv"]) == (200, "0.666666666666")
    assert (told["rules"][0]["acts"], told["rules"][0]["why"]) == (
        False,
        "It would not start: LTV is below its trigger.",
    )
    _, told = world.api.post(f"{path}/rehearse", {"fall": "0.2"})
    assert told["ltv"] == "0.833333333333"
    assert (told["rules"][0]["acts"], told["rules"][0]["amount"]) == (True, "4.76190477")
    assert told["rules"][0]["ltv_after"] <= "0.7"
    assert build.balance(world.desk.master, "BTC") == 9

    assert world.api.delete(f"{path}/{row['id']}", key="s2")[0] == 200
    assert world.api.delete(f"{path}/{row['id']}", key="s2")[0] == 200
    assert world.api.delete(f"{path}/{row['id']}")[1]["code"] == "no_such_cure_rule"
    assert world.api.delete(f"{path}/{row['id'] + 99}")[0] == 404
    assert world.api.get(path)[1]["total"] == 0


def test_what_a_rule_did_is_its_log(world: World) -> None:
    """R-FTR-04: run by the job; newest first."""
    build.deposit(world.desk.master, "BTC", "9", at=TEN)
    world.api.post(f"{world.path}/cure-rules", world.rule())
    later = desks.TEN.replace(hour=11)
    desks.quote(later, BTC="50000")
    auto_cure.run_due(at=later)
    [run] = CureRun.objects.all()
    status, told = world.api.get(f"{world.path}/cure-rules/runs")
    assert (status, told["total"]) == (200, 1)
    assert told["rows"][0]["outcome"] == "done"
    assert told["rows"][0]["amount"] == f"{run.amount.normalize():f}"
    assert told["rows"][0]["at"] == "2026-01-01T11:00:00Z"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"trigger": "0.95"}, 409, "bad_cure_rule"),
        ({"target": "0.8"}, 409, "bad_cure_rule"),
        ({"account": None}, 409, "bad_cure_rule"),
        ({"source_account": 77}, 404, "not_found"),
        ({"most_each": "0.000000001"}, 400, "bad_input"),
        ({"most_daily": "0"}, 400, "bad_input"),
        ({"cooling_minutes": "60"}, 400, "bad_input"),
        ({"cooling_minutes": 0}, 400, "bad_input"),
        ({"is_dry_run": "false"}, 400, "bad_input"),
        ({"position": 11}, 400, "bad_input"),
        ({"kind": "burn"}, 400, "bad_input"),
        ({"trigger": 0.75}, 400, "bad_input"),
        ({"set_by": 1}, 400, "bad_input"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(
    world: World, changes: dict[str, Any], status: int, code: str
) -> None:
    """R-FTR-04, B-01…B-05, B-10"""
    before = desks.everything()
    answered, told = world.api.post(f"{world.path}/cure-rules", world.rule(**changes))
    assert (answered, told["code"]) == (status, code), told
    assert not CureRule.objects.exists()
    assert desks.everything() == before


def test_a_member_without_the_power_sets_nothing(world: World) -> None:
    """R-ADM-09: a trader's own session."""
    trader = browser(build.colleague(world.desk.owner, "trader"))
    status, told = trader.post(f"{world.path}/cure-rules", world.rule())
    assert (status, told["code"]) == (409, "not_your_part")
    assert not CureRule.objects.exists()


def test_a_top_up_takes_a_token_that_may_transfer(world: World) -> None:
    """R-FTR-04: it is a standing order to move coins between accounts."""
    borrows = program(world.desk.master, world.desk.applicant, "can_read", "can_borrow")
    told = world.rule()
    assert borrows.post(f"{world.path}/cure-rules", told)[0] == 403
    assert borrows.get(f"{world.path}/cure-rules")[1]["total"] == 0
    assert world.api.post(f"{world.path}/cure-rules", told)[0] == 201
