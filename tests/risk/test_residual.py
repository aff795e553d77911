"""What a liquidation left owing, and every way it ends: exact, conserved, and never by itself. R-GEN-78, CX-9"""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import approvals, ledger
from accounts.commands import Actor, NeedsApproval, NotYourRole
from accounts.errors import BadAmount, Refused
from accounts.models import Notice
from risk import accrual, groups, insurance, plans, residual
from risk.models import Debt, Instalment, PaymentPlan
from risk.plans import Due
from tests import build
from tests.build import BUILDER, NOON
from tests.risk.leftovers import FUND, LEFT, Leftover, desk

pytestmark = pytest.mark.django_db
D = Decimal
DAY = timedelta(days=1)


def set_off(left: Leftover, actor: Actor = BUILDER) -> Any:
    return residual.set_off(debt_id=left.debt.pk, actor=actor, at=NOON)


def settle(left: Leftover, amount: str, actor: Actor = BUILDER) -> Any:
    return residual.settle_from_fund(debt_id=left.debt.pk, amount=D(amount), actor=actor, at=NOON)


def write_off(left: Leftover, actor: Actor = BUILDER, reason: str = "Bankrupt") -> Any:
    return residual.write_off(debt_id=left.debt.pk, actor=actor, at=NOON, reason=reason)


def agree(left: Leftover, *amounts: str, actor: Actor = BUILDER) -> PaymentPlan:
    due = tuple(Due(NOON + number * DAY, D(amount)) for number, amount in enumerate(amounts, start=1))
    return plans.agree_plan(debt_id=left.debt.pk, instalments=due, actor=actor, at=NOON)


def test_it_bears_nothing_however_long_it_stays() -> None:
    """R-GEN-78, EX-13: 0 % and no fee"""
    left = Leftover()
    accrual.accrue(at=NOON + 400 * DAY)
    assert left.owed == LEFT


# --- Set-off ----------------------------------------------------------------------------------------------


def test_a_set_off_takes_what_spot_has_and_no_more() -> None:
    """R-GEN-78, R-GEN-51"""
    left = Leftover(spot="4000.5")
    before = desk()
    entry = set_off(left)
    assert (entry.kind, entry.principal) == ("repayment", -D("4000.5"))
    assert (left.owed, left.spot, left.debt.closed_at) == (LEFT - D("4000.5"), 0, None)
    assert desk()["pool"] - before["pool"] == D("4000.5")
    notice = Notice.objects.get(kind="set_off")
    assert notice.title == "4,000.5 USDT was set off against what you owe"
    assert notice.body.endswith("2,903.61 USDT is still owed.")
    assert notice.facts == {
        "debt": left.debt.pk,
        "coin": "USDT",
        "paid": "4000.50000000",
        "left": "2903.61000000",
    }


def test_a_set_off_of_all_closes_it_and_leaves_the_rest() -> None:
    """R-GEN-78"""
    left = Leftover(spot="10000")
    set_off(left)
    assert (left.owed, left.spot, left.debt.closed_reason) == (0, 10000 - LEFT, "repaid")
    with pytest.raises(residual.NotResidual, match="nothing is owed"):
        set_off(left)


def test_an_empty_spot_is_refused() -> None:
    """R-GEN-78"""
    left = Leftover()
    with pytest.raises(residual.NothingToTake):
        set_off(left)
    assert left.owed == LEFT


def test_a_debt_with_collateral_is_nothing_to_set_off() -> None:
    """R-GEN-78: only what a liquidation left"""
    debt = build.secured_debt()
    for call in (
        lambda: residual.set_off(debt_id=debt.pk, actor=BUILDER, at=NOON),
        lambda: residual.write_off(debt_id=debt.pk, actor=BUILDER, at=NOON, reason="x"),
        lambda: residual.settle_from_fund(debt_id=debt.pk, amount=D(1), actor=BUILDER, at=NOON),
    ):
        with pytest.raises(residual.NotResidual):
            call()
    debt.refresh_from_db()
    assert (debt.booked, debt.closed_at) == (1000000, None)


def test_coins_that_another_group_needs_stay_there() -> None:
    """R-GEN-78, R-VIP-53: set-off does not break another group's lines"""
    left = Leftover(spot="4000")
    other = build.group(build.account(left.owner), [left.receiver], ["USDT"])
    build.fund_pool("USDT", "2850")
    build.debt(other, amount="2850", rate="0")  # 71.25 % of 4,000; every coin less breaks 72 % soon
    agree(left, str(LEFT))
    with pytest.raises(groups.NotPermitted):
        set_off(left)
    assert plans.collect_due(at=NOON + DAY).taken == ()
    assert (left.owed, left.spot) == (LEFT, 4000)


@pytest.mark.parametrize("role", ["borrower", "risk_officer", "auditor", "vip_manager"])
def test_only_finance_and_the_clients_manager_collect(role: str) -> None:
    """R-GEN-78: the other manager is a stranger too"""
    left = Leftover(spot="10")
    stranger = Actor.user(build.user(role))
    for call in (lambda: set_off(left, stranger), lambda: agree(left, str(LEFT), actor=stranger)):
        with pytest.raises(NotYourRole):
            call()
    assert (left.owed, left.spot) == (LEFT, 10)
    set_off(left, Actor.user(left.manager))
    assert left.owed == LEFT - 10
    agree(left, str(LEFT - 10), actor=Actor.user(build.user("finance")))


# --- The fund and the write-off -------------------------------------------------------------------------------


def test_the_fund_settles_a_part_and_then_all() -> None:
    """R-GEN-78, CX-9: no coin of the borrower moves, and the pool loses nothing more"""
    left = Leftover()
    before = desk()
    settle(left, "6900")
    assert (left.owed, left.debt.closed_at) == (D("4.11"), None)
    settle(left, "4.11")
    assert (left.owed, left.debt.closed_reason) == (0, "liquidated")
    after = desk()
    assert after["insurance"] == FUND - LEFT
    assert {name: after[name] for name in ("pool", "capital", "bad_debt")} == {
        name: before[name] for name in ("pool", "capital", "bad_debt")
    }


def test_the_fund_gives_no_more_than_is_owed_and_no_more_than_it_has() -> None:
    """R-GEN-78"""
    left = Leftover(fund="100")
    before = desk()
    with pytest.raises(residual.NothingToTake, match="is more"):
        settle(left, "6904.12")
    with pytest.raises(insurance.FundTooSmall, match="holds 100"):
        settle(left, "100.00000001")
    with pytest.raises(BadAmount):
        settle(left, "0")
    assert (desk(), left.owed) == (before, LEFT)


def test_a_write_off_is_an_expense_and_ends_the_debt() -> None:
    """R-GEN-78: bad debt, closed as written off"""
    left = Leftover()
    before = desk()
    write_off(left)
    assert (left.owed, left.debt.closed_reason) == (0, "written_off")
    after = desk()
    assert (after["bad_debt"], after["pool"], after["insurance"]) == (
        LEFT,
        before["pool"],
        before["insurance"],
    )
    assert left.debt.entries.get(kind="write_off").principal == -LEFT
    assert Notice.objects.get(kind="written_off").body.endswith("Nothing is owed on it any more.")


def test_a_write_off_says_why() -> None:
    """R-GEN-78"""
    left = Leftover()
    with pytest.raises(residual.NoReason):
        write_off(left, reason="  ")
    assert left.owed == LEFT


def test_nobody_writes_off_or_settles_alone() -> None:
    """R-GEN-78, TRUST I-24"""
    left = Leftover()
    maker, checker = build.user("finance"), build.user("admin")
    with pytest.raises(NeedsApproval):
        write_off(left, Actor.user(maker))
    with pytest.raises(NeedsApproval):
        settle(left, "1", Actor.user(maker))
    with pytest.raises(NotYourRole):
        write_off(left, Actor.user(left.manager))
    proposal = approvals.propose(
        command="residual.write_off",
        arguments={"debt_id": left.debt.pk},
        title="Write off",
        preview={},
        reason="Bankrupt",
        actor=Actor.user(maker),
        at=NOON,
        customer=left.owner,
    )
    assert left.owed == LEFT
    approvals.release(approval_id=proposal.pk, actor=Actor.user(checker), at=NOON)
    assert (left.owed, left.debt.closed_reason) == (0, "written_off")


# --- Payment plans --------------------------------------------------------------------------------------------


def paid(plan: PaymentPlan) -> list[bool]:
    return [row.paid_at is not None for row in plan.instalments.order_by("due_at")]


def test_instalments_are_taken_when_due_and_the_last_closes_the_debt() -> None:
    """R-GEN-78: exact, each once, however often the job runs"""
    left = Leftover(spot="10000")
    plan = agree(left, "3000", "3904.11")
    assert plans.collect_due(at=NOON) == plans.CollectReport((), (), ())
    assert plans.collect_due(at=NOON + DAY).taken == (left.debt.pk,)
    assert plans.collect_due(at=NOON + DAY).taken == ()
    assert (left.owed, left.spot, paid(plan)) == (D("3904.11"), 7000, [True, False])
    plans.collect_due(at=NOON + 2 * DAY)
    plan.refresh_from_db()
    assert (left.owed, left.spot, left.debt.closed_reason) == (0, 10000 - LEFT, "repaid")
    assert (paid(plan), plan.ended_at) == ([True, True], NOON + 2 * DAY)


def test_what_spot_lacks_stays_due_and_is_told_once() -> None:
    """R-GEN-78, R-GEN-62"""
    left = Leftover(spot="1000")
    plan = agree(left, "3000", "3904.11")
    for _ in range(2):
        assert plans.collect_due(at=NOON + DAY).missed == (left.debt.pk,)
    assert (left.owed, left.spot, paid(plan)) == (LEFT - 1000, 0, [False, False])
    assert Notice.objects.get(kind="instalment_missed").title == "A payment of 3,000 USDT is missing"
    build.deposit(left.receiver, "USDT", "10000")
    assert plans.collect_due(at=NOON + DAY).missed == ()
    assert (left.owed, left.spot, paid(plan)) == (D("3904.11"), 8000, [True, False])


def test_a_run_that_comes_late_takes_all_that_is_due() -> None:
    """R-GEN-04"""
    left = Leftover(spot="10000")
    plan = agree(left, "1000", "2000", "3904.11")
    plans.collect_due(at=NOON + 2 * DAY)
    assert (left.owed, paid(plan)) == (D("3904.11"), [True, True, False])


def test_paying_otherwise_counts_and_is_not_asked_for_twice() -> None:
    """R-GEN-78: a set-off or settlement shortens the plan from its front"""
    left = Leftover(spot="3500")
    plan = agree(left, "3000", "3904.11")
    set_off(left)
    assert paid(plan) == [True, False]
    build.deposit(left.receiver, "USDT", "10000")
    assert plans.collect_due(at=NOON + DAY) == plans.CollectReport((), (), ())
    settle(left, "404.11")
    plans.collect_due(at=NOON + 2 * DAY)
    assert (left.owed, left.spot) == (0, 7000)


@pytest.mark.parametrize(
    ("amounts", "days"),
    [
        ([], []),
        (["6904.10"], [1]),
        (["6904.12"], [1]),
        (["3000", "3904.11"], [2, 1]),
        (["3000", "3904.11"], [1, 1]),
        (["6904.11"], [0]),
        (["6904.11"], [-1]),
    ],
)
def test_a_plan_is_what_is_owed_in_rising_dates_ahead(amounts: list[str], days: list[int]) -> None:
    """R-GEN-78"""
    left = Leftover()
    due = tuple(Due(NOON + day * DAY, D(amount)) for amount, day in zip(amounts, days, strict=True))
    with pytest.raises(plans.BadPlan):
        plans.agree_plan(debt_id=left.debt.pk, instalments=due, actor=BUILDER, at=NOON)
    assert not PaymentPlan.objects.exists()


@pytest.mark.parametrize("amount", ["0", "-1", "0.000000001"])
def test_a_payment_of_a_plan_is_an_amount(amount: str) -> None:
    """R-GEN-78, R-GEN-01"""
    left = Leftover()
    with pytest.raises(BadAmount):
        agree(left, amount, str(LEFT - D(amount)))
    assert not Instalment.objects.exists()


def test_one_plan_at_a_time_and_it_can_be_ended() -> None:
    """R-GEN-78"""
    left = Leftover(spot="10000")
    first = agree(left, str(LEFT))
    with pytest.raises(plans.PlanRuns):
        agree(left, str(LEFT))
    with pytest.raises(residual.NoReason):
        plans.end_plan(debt_id=left.debt.pk, actor=BUILDER, at=NOON, reason="")
    plans.end_plan(debt_id=left.debt.pk, actor=BUILDER, at=NOON, reason="New terms")
    assert plans.collect_due(at=NOON + DAY) == plans.CollectReport((), (), ())
    assert (left.owed, left.spot) == (LEFT, 10000)
    with pytest.raises(plans.NoPlan):
        plans.end_plan(debt_id=left.debt.pk, actor=BUILDER, at=NOON, reason="Again")
    second = agree(left, str(LEFT))
    assert {first.pk, second.pk} == set(PaymentPlan.objects.values_list("pk", flat=True))


def test_a_plan_ends_with_its_debt() -> None:
    """R-GEN-78: written off, nothing more is taken"""
    left = Leftover(spot="10000")
    plan = agree(left, str(LEFT))
    write_off(left)
    plan.refresh_from_db()
    assert plan.ended_at == NOON
    assert plans.collect_due(at=NOON + DAY) == plans.CollectReport((), (), ())
    assert left.spot == 10000


# --- Whatever the order -----------------------------------------------------------------------------------------


@pytest.fixture
def left() -> Iterator[Leftover]:
    return Leftover()


STEPS = st.one_of(
    st.tuples(st.just("deposit"), st.decimals(D("0.01"), D("4000"), places=8)),
    st.tuples(st.just("set_off"), st.just(D(0))),
    st.tuples(st.just("settle"), st.decimals(D("0.01"), D("4000"), places=8)),
    st.tuples(st.just("agree"), st.integers(1, 4).map(D)),
    st.tuples(st.just("collect"), st.integers(0, 5).map(D)),
    st.tuples(st.just("end"), st.just(D(0))),
)


def step(left: Leftover, name: str, value: Decimal, at: Any) -> None:
    pk = left.debt.pk
    if name == "deposit":
        build.deposit(left.receiver, "USDT", str(value), at=at)
    elif name == "set_off":
        residual.set_off(debt_id=pk, actor=BUILDER, at=at)
    elif name == "settle":
        residual.settle_from_fund(debt_id=pk, amount=value, actor=BUILDER, at=at)
    elif name == "agree":
        count = int(value)
        part = (left.owed / count).quantize(D("1E-8"))
        amounts = [part] * (count - 1) + [left.owed - part * (count - 1)]
        due = tuple(Due(at + number * DAY, each) for number, each in enumerate(amounts, start=1))
        plans.agree_plan(debt_id=pk, instalments=due, actor=BUILDER, at=at)
    elif name == "collect":
        plans.collect_due(at=at + int(value) * DAY)
    else:
        plans.end_plan(debt_id=pk, actor=BUILDER, at=at, reason="changed")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=10), ends=st.sampled_from(["repaid", "liquidated", "written_off"]))
def test_every_way_to_zero_conserves_every_unit(
    left: Leftover, steps: list[tuple[str, Decimal]], ends: str
) -> None:
    """R-GEN-78, CX-9: what the borrower, the fund and the desk bore is exactly what was owed"""
    with transaction.atomic():
        before, deposited = desk(), D(0)
        for number, (name, value) in enumerate(steps):
            try:
                with transaction.atomic():
                    step(left, name, value, NOON + number * DAY)
                deposited += value if name == "deposit" else 0
            except Refused:
                pass  # a refusal moves nothing; the sums below would show it
        at = NOON + 99 * DAY
        if left.owed and ends == "repaid":
            build.deposit(left.receiver, "USDT", "10000", at=at)
            deposited += 10000
            residual.set_off(debt_id=left.debt.pk, actor=BUILDER, at=at)
        elif left.owed and ends == "liquidated":
            residual.settle_from_fund(debt_id=left.debt.pk, amount=left.owed, actor=BUILDER, at=at)
        elif left.owed:
            residual.write_off(debt_id=left.debt.pk, actor=BUILDER, at=at, reason="end")
        plans.collect_due(at=at)

        after = desk()
        borrower = deposited - left.spot
        fund, lost = before["insurance"] - after["insurance"], after["bad_debt"]
        assert borrower + fund + lost == LEFT
        assert after["pool"] - before["pool"] == borrower
        assert (left.owed, after["principal"], after["interest"]) == (0, 0, 0)
        assert left.debt.closed_at is not None
        assert not PaymentPlan.objects.filter(ended_at__isnull=True).exists()
        assert not Debt.objects.open().exists()
        assert ledger.problems() == []
        transaction.set_rollback(True)
