"""De-leveraging that a borrower chooses: its bounds, what is told before it and of its steps. R-FTR-05"""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.models import Delivery, Notice
from accounts.money import round_down
from risk import (
    book,
    deleveraging,
    parameters,
    soft_plan,
    sweep,
)
from risk.models import (
    CollateralGroup,
    Deleveraging,
    Liquidation,
    RiskEvent,
    Sale,
    Settings,
)
from risk.soft_plan import Choice
from tests import build
from tests.risk.chosen import NOON, SECOND, D, chosen, owing, passes
from tests.risk.forced_sales import SWEEPER

pytestmark = pytest.mark.django_db


# --- The choice -------------------------------------------------------------------------------------


def test_a_choice_is_told_in_history_and_the_next_one_replaces_it() -> None:
    """R-FTR-05"""
    debt = owing()
    first = chosen(debt)
    second = chosen(debt, at=NOON, start=D("0.85"), target=D("0.72"), step_share=D("0.5"))

    first.refresh_from_db()
    assert (first.removed_at, second.removed_at) == (NOON, None)
    assert deleveraging.live_of([debt.group]) == {debt.group_id: second}
    events = RiskEvent.objects.filter(kind="soft_set").order_by("pk")
    assert [event.facts["start"] for event in events] == ["0.82", "0.85"]
    assert events[1].facts["replaces"] == first.pk
    with pytest.raises(deleveraging.AlreadyChosen):
        chosen(debt, at=NOON, start=D("0.85"), target=D("0.72"), step_share=D("0.5"))
    ended = deleveraging.end(group_id=debt.group_id, actor=SWEEPER, at=NOON + SECOND)
    assert (ended.pk, ended.removed_at) == (second.pk, NOON + SECOND)
    with pytest.raises(deleveraging.NotChosen, match="nothing to end"):
        deleveraging.end(group_id=debt.group_id, actor=SWEEPER, at=NOON + SECOND)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"start": D("0.7999")}, "begin from 80 % to 85 %"),
        ({"start": D("0.8501")}, "begin from 80 % to 85 %"),
        ({"target": D("0.7199")}, "from your initial line of 72 %"),
        ({"target": D("0.82")}, "below the start of 82 %"),
        ({"step_share": D("0.0099")}, "from 1 % to 50 %"),
        ({"step_share": D("0.51")}, "from 1 % to 50 %"),
        ({"step_share": D("0.1000000000001")}, "at most ten decimals"),
    ],
)
def test_a_choice_out_of_its_bounds_is_refused_with_them(wrong: dict[str, Decimal], said: str) -> None:
    """R-FTR-05"""
    debt = owing()
    with pytest.raises(deleveraging.BadChoice, match=said):
        chosen(debt, **wrong)
    assert not Deleveraging.objects.exists()
    assert not RiskEvent.objects.filter(kind="soft_set").exists()


@pytest.mark.parametrize(
    ("lines", "start", "said"),
    [
        (("0.6", "0.65", "0.8", "0.9"), "0.80", "leave no room"),  # liquidation at the least start
        (("0.7", "0.75", "0.84", "0.9"), "0.84", "below your liquidation line of 84 %"),
        (("0.8", "0.83", "0.91", "0.95"), "0.82", "begin from 83 % to 85 %"),  # the margin call comes first
        (("0.8", "0.86", "0.91", "0.95"), "0.85", "leave no room"),
    ],
)
def test_it_stays_between_the_groups_own_lines(lines: tuple[str, ...], start: str, said: str) -> None:
    """R-FTR-05, R-GEN-42"""
    debt = owing()
    build.limits(*lines, at=build.LONG_AGO, customer=debt.customer)
    with pytest.raises(deleveraging.BadChoice, match=said):
        chosen(debt, start=D(start), target=D("0.8"))
    assert not Deleveraging.objects.exists()


def test_a_closed_group_has_nothing_to_choose() -> None:
    """R-FTR-05"""
    debt = owing()
    with acting(SWEEPER):
        CollateralGroup.objects.update(closed_at=NOON)
    with pytest.raises(deleveraging.GroupClosed):
        chosen(debt)


def test_its_bounds_and_its_fee_are_published_and_checked() -> None:
    """R-FTR-05, R-GEN-36"""
    row = parameters.publish_settings(
        soft_start_least=D("0.78"), soft_fee=D("0.01"), soft_step_seconds=30, actor=SWEEPER, at=NOON
    )
    assert (row.soft_start_least, row.soft_start_most, row.soft_fee, row.soft_step_seconds) == (
        D("0.78"),
        D("0.85"),
        D("0.01"),
        30,
    )
    for wrong in (
        {"soft_start_least": D("0.86")},
        {"soft_start_least": D(0)},
        {"soft_start_most": D(1)},
        {"soft_fee": D("-0.01")},
        {"soft_step_seconds": -1},
    ):
        with pytest.raises(parameters.BadParameter):
            parameters.publish_settings(**wrong, actor=SWEEPER, at=NOON + SECOND)
    assert Settings.objects.count() == 1


# --- What is said -----------------------------------------------------------------------------------


def test_the_first_step_is_told_at_once_and_the_following_ones_once_an_hour() -> None:
    """R-FTR-05, R-GEN-60, R-GEN-65"""
    debt = owing()
    chosen(debt, step_share=D("0.01"))
    passes(2, btc="47000")
    [first] = Notice.objects.filter(kind="soft_step")
    assert set(Delivery.objects.filter(notice=first).values_list("due_at", flat=True)) == {NOON + 5 * SECOND}
    assert first.title.startswith("De-leveraging: one step of")
    assert "while LTV is 82 % or more" in first.body
    assert "of which 50.00000000 is the fee" in first.body

    passes(25, btc="47000", first=2)  # two more steps
    assert Liquidation.objects.count() == 3
    told = Notice.objects.filter(kind="soft_step", dropped_at__isnull=True).order_by("pk")
    assert told.count() == 2
    waiting = told[1]
    due = set(Delivery.objects.filter(notice=waiting, status="pending").values_list("due_at", flat=True))
    assert due == {NOON + 5 * SECOND + timedelta(hours=1)}
    assert waiting.title.startswith("De-leveraging: 2 steps of")
    assert waiting.facts["steps"] == 2
    two = Liquidation.objects.order_by("pk")[1:]
    assert D(waiting.facts["sold_usd"]) == sum(row.sold_usd for row in two)
    assert D(waiting.facts["fee_usd"]) == sum(row.fee_usd for row in two)


# --- What is told beforehand ------------------------------------------------------------------------


def test_the_plan_is_what_the_sweep_then_does() -> None:
    """R-FTR-05: at the price the table names, the step sells what it says, to the last unit"""
    debt = owing()
    build.prices(BTC="60000", USDT="1")
    choice = Choice(D("0.82"), D("0.76"), D("0.1"))
    settings = parameters.settings_at(NOON)
    rows = soft_plan.table(book.state_of(debt.group, at=NOON), choice, settings=settings)
    assert [round_down(row.step.ltv, 4) for row in rows if row.step.ltv] == [
        D("0.8200"),
        D("0.8400"),
        D("0.8600"),
        D("0.8800"),
        D("0.9000"),
    ]
    row = rows[1]
    price = f"{60000 * (1 - row.fall):f}"
    chosen(debt)
    with acting(SWEEPER):
        Settings.objects.create(effective_at=NOON - 2 * SECOND, confirm_seconds=5)
    later = NOON + timedelta(minutes=10)
    for seconds in (0, 5):
        build.prices(later + seconds * SECOND, BTC=price, USDT="1")
        sweep.sweep(at=later + seconds * SECOND)
    [sale] = Sale.objects.all()
    assert {sale.coin_id: sale.sold} == dict(row.step.sold)
    assert (sale.fee, sale.liquidation.ltv, sale.liquidation.end_ltv) == (
        row.step.fee_usd,
        row.step.ltv,
        row.step.ltv_after,
    )


def test_the_table_begins_now_where_ltv_is_there_already_and_is_empty_without_prices() -> None:
    """R-FTR-05"""
    debt = owing()
    choice = Choice(D("0.82"), D("0.76"), D("0.1"))
    settings = parameters.settings_at(NOON)
    assert soft_plan.table(book.state_of(debt.group, at=NOON), choice, settings=settings) == []
    build.prices(BTC="47000", USDT="1")  # 85.1 %
    rows = soft_plan.table(book.state_of(debt.group, at=NOON), choice, settings=settings)
    assert [row.fall == 0 for row in rows] == [True, False, False, False]


@pytest.mark.parametrize("who", ["job", "person"])
def test_who_chose_is_kept(who: str) -> None:
    """R-FTR-05, R-ADM-06"""
    debt = owing()
    person = build.user()
    with acting(SWEEPER):
        debt.customer.memberships.create(user=person, since=build.LONG_AGO)
    actor = Actor.user(person) if who == "person" else SWEEPER
    row = deleveraging.choose(
        group_id=debt.group_id,
        start=D("0.8"),
        target=D("0.72"),
        step_share=D("0.05"),
        actor=actor,
        at=NOON,
    )
    assert row.set_by_id == (person.pk if who == "person" else None)


def test_a_stranger_may_not_choose_for_them() -> None:
    """R-FTR-05, R-ADM-09"""
    debt = owing()
    stranger = build.user()
    build.customer(member=stranger)
    with pytest.raises(Refused):
        deleveraging.choose(
            group_id=debt.group_id,
            start=D("0.8"),
            target=D("0.72"),
            step_share=D("0.05"),
            actor=Actor.user(stranger),
            at=NOON,
        )
    assert not Deleveraging.objects.exists()
