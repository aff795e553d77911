"""What a replay is judged by: sales missed, sales that were wrong, sales in vain, from the stored rows alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts import books
from accounts.commands import Actor, acting
from accounts.exchange import exchange
from accounts.models import Account
from risk import aftermath, delays, parameters, stress
from risk.feeds.file import Bar
from risk.models import CollateralGroup, GroupCoin, Liquidation, RiskEvent
from risk.stress import Course, survey
from risk.sweep import SweepReport
from tests import build

EVENING = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
HALF = timedelta(minutes=30)
JOB = Actor("test:aftermath")


def bars(*closes: str) -> list[Bar]:
    """Flat ones of BTC, of half an hour, one after another."""
    return [
        Bar("BTC", EVENING + n * HALF, EVENING + (n + 1) * HALF, *[Decimal(close)] * 3)
        for n, close in enumerate(closes)
    ]


def course(*closes: str) -> Course:
    return survey(bars(*closes))


def fed(of: Course, before_sweep: stress.Jobs | None = None) -> None:
    stress.publish_watch(of, actor=JOB, at=of.first_day)
    stress.warm_up(of)
    for _ in stress.run(of, jobs=lambda at: None, before_sweep=before_sweep):
        pass


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that looks at nothing."""
    monkeypatch.setattr("risk.stress.sweep.sweep", lambda **_: SweepReport())


@pytest.mark.django_db
def test_a_crash_that_was_sold_is_neither_missed_nor_wrong() -> None:
    """R-GEN-23, R-GEN-41, EX-09: 25 BTC against 1,000,000 are over the line at 43,956"""
    build.secured_debt()
    fed(course("60000", "60000", "43900", "43800", "43800"))
    assert Liquidation.objects.count() == 1
    assert aftermath.missed() == []
    assert aftermath.unjust() == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("closes", "late"),
    [
        (["60000", "60000", "43900", "43800", "43800"], ["12:00"]),
        (["60000", "60000", "43900", "60000", "43900"], []),  # never confirmed
        (["60000", "60000", "43960", "43960", "43960"], []),  # never over
        (["60000", "60000", "43900", "43800", "60000", "43900", "43900"], ["12:00", "13:30"]),
        (["60000", "60000", "60000", "60000", "43900"], []),  # the file ends before anybody could
    ],
)
@pytest.mark.usefixtures("asleep")
def test_a_watch_that_sleeps_misses_what_stays_over_its_line(closes: list[str], late: list[str]) -> None:
    """R-GEN-23, R-GEN-41"""
    build.secured_debt(rate="0")
    fed(course(*closes))
    found = aftermath.missed()
    assert [told.partition("sold at ")[2][:5] for told in found] == late


@pytest.mark.django_db
@pytest.mark.usefixtures("asleep")
def test_a_grace_and_a_delay_are_waits_too() -> None:
    """R-GEN-24, R-VIP-60: nothing is missed before a grace ends; enrolled customers have a clock of their own"""
    group = build.secured_debt(rate="0").group
    until = EVENING + 7 * HALF
    with acting(JOB):
        RiskEvent.objects.create(group=group, kind="grace", at=EVENING, facts={"until": until.isoformat()})
    fed(course(*["60000"] * 2, *["43900"] * 8))
    [told] = aftermath.missed()
    assert f"sold at {until:%H:%M}" in told
    with acting(JOB):
        manager = build.user(role="vip_manager")
    delays.enrol(
        customer_id=group.customer_id,
        starts_at=EVENING,
        ends_at=None,
        granted_by_id=manager.pk,
        actor=JOB,
        at=EVENING,
    )
    assert aftermath.missed() == []


@pytest.mark.django_db
@pytest.mark.usefixtures("asleep")
def test_a_price_in_doubt_misses_nothing() -> None:
    """R-GEN-21, R-GEN-22: one tick at less than half is not believed; the next one is, and the one after is too late"""
    build.secured_debt(rate="0")
    fed(course("60000", "60000", "20000", "60000", "20000", "20000", "20000"))
    [told] = aftermath.missed()
    assert "from 2026-01-01 13:00 UTC" in told
    assert "sold at 13:30" in told


def both(*closes: str) -> Course:
    """BTC as in `bars`, and ETH, which ticks twice as often."""
    ticks = [
        Bar("ETH", EVENING + n * HALF / 2, EVENING + (n + 1) * HALF / 2, *[Decimal(1000)] * 3)
        for n in range(2 * len(closes))
    ]
    return survey(sorted([*bars(*closes), *ticks], key=lambda bar: bar.closes_at))


def choosing_eth() -> Account:
    """The collateral account of a group that owes 1,000,000 on 25 BTC, and may hold ETH."""
    group = build.secured_debt(rate="0").group
    build.ratios("ETH")
    with acting(JOB):
        GroupCoin.objects.create(group=group, asset_id="ETH", since=EVENING)
    return group.members.get().account


def arriving(account: Account, arrives: datetime) -> stress.Jobs:
    """A deposit of some ETH, by the first step at or after `arrives`."""
    put: list[datetime] = []

    def deposit(at: datetime) -> None:
        if at >= arrives and not put:
            put.append(at)
            build.deposit(account, "ETH", "0.001", at=at)

    return deposit


@pytest.mark.django_db
@pytest.mark.parametrize(("has_left", "late"), [(False, "11:45"), (True, "12:00")])
@pytest.mark.usefixtures("asleep")
def test_a_coin_that_has_left_the_group_confirms_nothing(has_left: bool, late: str) -> None:
    """R-GEN-23: once none of the ETH is there, only BTC tells something new"""
    account = choosing_eth()
    build.deposit(account, "ETH", "0.001", at=EVENING)
    if has_left:
        wallet = books.wallet(account, "ETH")
        exchange().pay_out(wallet=wallet, amount=wallet.balance, key="left", at=EVENING + HALF / 2)

    fed(both("60000", "60000", "43900", "43900", "43900"))

    assert [told.partition("sold at ")[2][:5] for told in aftermath.missed()] == [late]


@pytest.mark.django_db
def test_a_sale_that_a_coin_confirmed_which_just_came_is_just() -> None:
    """R-GEN-23: over the line from 11:30, when the ETH comes, which tells something new at 11:45"""
    account = choosing_eth()
    fed(both("60000", "60000", "43900", "43900", "43900"), arriving(account, EVENING + 3 * HALF))
    assert Liquidation.objects.get().started_at == EVENING + 3 * HALF + HALF / 2
    assert aftermath.unjust() == []


@pytest.mark.django_db
@pytest.mark.usefixtures("asleep")
def test_a_sale_that_such_a_coin_would_have_confirmed_is_missed() -> None:
    """R-GEN-23: back below the line at 12:00, when BTC tells"""
    account = choosing_eth()
    fed(both("60000", "60000", "43900", "44100", "44100"), arriving(account, EVENING + 3 * HALF))
    [told] = aftermath.missed()
    assert "sold at 11:45" in told


def _sold(group: CollateralGroup, at: datetime) -> Liquidation:
    with acting(JOB):
        return Liquidation.objects.create(
            group=group,
            cause="ltv",
            status="done_surplus",
            started_at=at,
            debt_value=Decimal(1_000_000),
            collateral_value=Decimal(1_000_000),
            market_value=Decimal(1_000_000),
            sold_usd=Decimal(5000),
            snapshot={},
        )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("step", "said"),
    [
        (2, "below its line"),
        (4, "before its breach was confirmed"),
        (5, None),
        (7, "before its breach was confirmed"),
    ],
)
@pytest.mark.usefixtures("asleep")
def test_a_sale_is_wrong_below_its_line_and_before_it_is_confirmed(step: int, said: str | None) -> None:
    """R-GEN-23, R-GEN-41"""
    group = build.secured_debt(rate="0").group
    fed(course("60000", "60000", "60000", "43900", "43900", "60000", "43900"))
    _sold(group, EVENING + step * HALF)
    found = aftermath.unjust()
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


@pytest.mark.django_db
@pytest.mark.usefixtures("asleep")
def test_above_the_cut_off_nothing_is_waited_for() -> None:
    """R-GEN-23: at 42,000 LTV is 95.2 %"""
    group = build.secured_debt(rate="0").group
    fed(course("60000", "60000", "42000", "60000"))
    _sold(group, EVENING + 3 * HALF)
    assert aftermath.unjust() == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("later", "needless"),
    [
        (["51900", "51900"], 0),
        (["51948", "51948"], 0),
        (["51949", "40000"], 1),
        (["60000", "60000"], 1),
        ([], 0),
    ],
)
@pytest.mark.usefixtures("asleep")
def test_a_sale_is_in_vain_when_the_group_would_have_come_back(later: list[str], needless: int) -> None:
    """R-GEN-41, R-VIP-50: back below the margin call line of 77 %, at more than 51,948.05 for 25 BTC, once is enough"""
    group = build.secured_debt(rate="0").group
    fed(course("60000", "60000", "43900", "43900", *later))
    _sold(group, EVENING + 4 * HALF)
    found = aftermath.in_vain()
    assert (found.sales, found.of, found.sold_usd) == (needless, 1, 5000 * needless)


@pytest.mark.django_db
@pytest.mark.parametrize(("days", "needless"), [(7, 1), (8, 0)])
@pytest.mark.usefixtures("asleep")
def test_a_sale_is_given_seven_days_to_come_back(days: int, needless: int) -> None:
    """A return on the seventh day is in time, one on the eighth is too late"""
    group = build.secured_debt(rate="0").group
    sold_at = EVENING + 4 * HALF
    back = sold_at + timedelta(days=days)
    crash = [bar for step in course("60000", "60000", "43900", "43900").steps for bar in step.bars]
    fed(survey([*crash, Bar("BTC", back - HALF, back, *[Decimal(60000)] * 3)]))
    _sold(group, sold_at)
    assert aftermath.in_vain().sales == needless


@pytest.mark.django_db
def test_only_the_groups_asked_for_are_judged() -> None:
    build.secured_debt()
    fed(course("60000", "60000", "43900", "43800", "43800"))
    assert stress.outcome([]).liquidations == 0
    assert aftermath.in_vain([]).of == 0
    mine = list(CollateralGroup.objects.values_list("pk", flat=True))
    assert stress.outcome(mine) == stress.outcome()
    assert parameters.settings_at(EVENING).confirm_seconds == 1800
