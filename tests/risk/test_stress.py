"""The feeding of a recorded market: when things become known, what runs when, and what the figures say."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts.commands import Actor, acting
from risk import faults, parameters, prices, stress
from risk.feeds.file import Bar
from risk.models import (
    CollateralGroup,
    DebtEntry,
    Deleveraging,
    FeedRule,
    Liquidation,
    MarginCall,
    Price,
    Sale,
)
from risk.stress import Course, survey
from tests import build

EVENING = datetime(2026, 1, 1, 22, 0, tzinfo=UTC)
HOUR, HALF, MINUTE = timedelta(hours=1), timedelta(minutes=30), timedelta(minutes=1)


def bars(*closes: str, asset: str = "BTC", start: datetime = EVENING, length: timedelta = HALF) -> list[Bar]:
    """One bar after another, each flat at its close."""
    return [
        Bar(
            asset,
            start + number * length,
            start + (number + 1) * length,
            Decimal(close),
            *[Decimal(close)] * 2,
        )
        for number, close in enumerate(closes)
    ]


def course(*series: list[Bar]) -> Course:
    return survey(sorted((bar for own in series for bar in own), key=lambda bar: (bar.closes_at, bar.asset)))


def fed(of: Course, jobs: Callable[[datetime], None] = lambda at: None) -> None:
    stress.warm_up(of)
    for _ in stress.run(of, jobs=jobs):
        pass


def published(of: Course) -> Course:
    stress.publish_watch(of, actor=Actor("test:stress"), at=of.first_day)
    return of


# --- The course -------------------------------------------------------------------------------------


def test_the_book_opens_when_every_coin_that_trades_from_the_beginning_has_a_price() -> None:
    slow = bars("1", "2", asset="DOGE", length=HOUR)
    late = bars("5", asset="NEW", start=EVENING + 3 * HOUR)
    found = course(bars("1", "2", "3", "4"), slow, late)

    assert found.opens_at == EVENING + HOUR
    assert found.coins == ["BTC", "DOGE", "USDT"]
    assert found.longest == {"BTC": HALF, "DOGE": HOUR, "NEW": HALF}
    assert found.first_day == datetime(2026, 1, 1, tzinfo=UTC)
    assert [step.at for step in found.before()] == [EVENING + HALF, EVENING + HOUR]
    assert [step.at for step in found.after()] == [EVENING + 3 * HALF, EVENING + 2 * HOUR, EVENING + 7 * HALF]


def test_thin_bars_keep_the_extremes_and_the_last_close_and_are_known_when_all_is_over() -> None:
    """Five bars of a minute, from :58 on; those of half an hour stay; a part that has a hole is known no sooner"""
    start = EVENING + 58 * MINUTE
    fine = [
        Bar(
            "BTC",
            start + n * MINUTE,
            start + (n + 1) * MINUTE,
            Decimal(close),
            Decimal(close) + 2,
            Decimal(close) - n,
        )
        for n, close in enumerate(["10", "20", "30", "40", "50"])
    ]
    slow = bars("7", asset="DOGE")
    found = stress.thinned([*fine[:4], *slow], 5 * MINUTE)

    assert found == [
        *slow,
        Bar("BTC", start - 3 * MINUTE, start + 2 * MINUTE, Decimal(20), Decimal(22), Decimal(10)),
        Bar("BTC", start + 2 * MINUTE, start + 7 * MINUTE, Decimal(40), Decimal(42), Decimal(28)),
    ]
    assert stress.thinned(fine, MINUTE) == fine


def test_a_window_has_the_bars_that_are_whole_in_it() -> None:
    found = bars("1", "2", "3", "4")
    assert stress.within(found, since=EVENING + HALF, until=EVENING + 3 * HALF) == found[1:3]
    assert stress.within(found, since=None, until=None) == found


@pytest.mark.django_db
def test_waits_fit_the_bars() -> None:
    """R-GEN-21, R-GEN-23, R-GEN-24: two steps in a row confirm; 2.5 bars without a price are stale, or an outage"""
    build.asset("BTC"), build.asset("DOGE"), build.asset("USDT")
    published(course(bars("1", "2", "3"), bars("1", "2", asset="DOGE", length=HOUR)))

    settings = parameters.settings_at(EVENING)
    assert (settings.confirm_seconds, settings.outage_seconds) == (1800, 9000)
    ages = dict(FeedRule.objects.values_list("asset", "max_age_seconds"))
    assert ages == {"BTC": 4500, "DOGE": 9000, "USDT": 9000}


@pytest.mark.django_db
def test_bars_of_a_minute_do_not_make_ten_minutes_an_outage() -> None:
    """R-GEN-24"""
    build.asset("BTC"), build.asset("USDT")
    published(course(bars("1", "2", length=MINUTE)))

    settings = parameters.settings_at(EVENING)
    assert (settings.confirm_seconds, settings.outage_seconds) == (60, 600)


# --- The feeding ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_bar_is_known_when_it_closes_and_the_dollar_at_every_step() -> None:
    build.asset("BTC"), build.asset("USDT"), build.limits()
    of = published(course(bars("100", "101", "102")))
    stress.warm_up(of)
    assert {quote.price for quote in prices.latest(at=EVENING + 3 * HALF).values()} == {
        Decimal(100),
        Decimal(1),
    }

    for step, _ in stress.run(of, jobs=lambda at: None):
        quotes = prices.latest(at=step.at)
        assert all(quote.fresh and quote.observed_at == step.at for quote in quotes.values())
    told = [(p.asset_id, p.price, p.observed_at) for p in Price.objects.order_by("observed_at", "asset_id")]
    assert told == [
        (asset, Decimal(price), EVENING + number * HALF)
        for number, btc in enumerate(["100", "101", "102"], start=1)
        for asset, price in (("BTC", btc), ("USDT", "1"))
    ]


@pytest.mark.django_db
def test_a_recording_that_prices_the_dollar_is_believed() -> None:
    build.asset("USDT"), build.limits()
    fed(published(course(bars("0.99", "0.98", asset="USDT"))))
    assert [p.price for p in Price.objects.order_by("pk")] == [Decimal("0.99"), Decimal("0.98")]


@pytest.mark.django_db
def test_each_midnight_is_charged_once_and_the_jobs_run_before_it_and_hourly() -> None:
    """R-VIP-30, EX-01: 1,000,000 at 8.4 % is 230.13698631 a day"""
    build.secured_debt()
    of = published(course(bars(*["60000"] * 10, length=timedelta(hours=6), start=EVENING - 22 * HOUR)))
    of = Course(of.steps, of.longest, EVENING, of.first_day)
    ran: list[tuple[datetime, int]] = []
    fed(of, lambda at: ran.append((at, DebtEntry.objects.filter(kind="charge").count())))

    midnights = [datetime(2026, 1, day, tzinfo=UTC) for day in (2, 3)]
    charges = DebtEntry.objects.filter(kind="charge").order_by("at")
    assert [(row.at, row.interest) for row in charges] == [(m, Decimal("230.13698631")) for m in midnights]
    assert ran[:2] == [(midnights[0], 0), (midnights[0], 1)]  # before the accrual, and with the step at 00:00
    assert [at for at, _ in ran] == sorted(at for at, _ in ran)
    assert stress.outcome().interest_usd == Decimal("460.27397262")


@pytest.mark.django_db
def test_a_crash_is_called_confirmed_by_the_next_bar_and_sold() -> None:
    """R-GEN-23, R-GEN-41, EX-09: 25 BTC against 1,000,000 is called at 51,948 and sold at 43,956"""
    build.secured_debt()
    of = published(course(bars("60000", "50000", "43900", "43800", "43800")))
    fed(of)

    assert (MarginCall.objects.get().opened_at, Liquidation.objects.get().started_at) == (
        EVENING + 2 * HALF,
        EVENING + 4 * HALF,
    )
    found = stress.outcome()
    assert (found.groups, found.calls, found.liquidations, found.leads) == (1, 1, 1, (60.0,))
    assert found.lead_minutes == {"min": 60.0, "median": 60.0, "max": 60.0}
    assert found.fees_usd > 0
    assert found.shortfall_usd == 0
    assert faults.found() == []


@pytest.mark.django_db
def test_a_fall_that_recovers_within_a_bar_is_called_but_not_sold() -> None:
    """R-GEN-23"""
    build.secured_debt()
    fed(published(course(bars("60000", "50000", "43900", "50000"))))

    found = stress.outcome()
    assert (found.calls, found.liquidations) == (1, 0)
    assert found.lead_minutes == {"min": None, "median": None, "max": None}


# --- The proof --------------------------------------------------------------------------------------


def _planted(
    group: CollateralGroup, *, debt: str, collateral: str, at: datetime, cause: str = "ltv"
) -> Liquidation:
    with acting(build.BUILDER):
        return Liquidation.objects.create(
            group=group,
            cause=cause,
            status="done_surplus",
            started_at=at,
            debt_value=Decimal(debt),
            collateral_value=Decimal(collateral),
            market_value=Decimal(collateral),
            snapshot={},
        )


@pytest.mark.django_db
@pytest.mark.parametrize(("debt", "wrong"), [("909999.99", 1), ("910000", 0), ("910000.01", 0)])
def test_a_sale_below_the_line_is_a_fault(debt: str, wrong: int) -> None:
    """R-GEN-41"""
    group = build.secured_debt().group
    _planted(group, debt=debt, collateral="1000000", at=EVENING)
    assert len(faults.found()) == wrong


def _chosen(group: CollateralGroup, *, start: str, at: datetime, until: datetime | None = None) -> None:
    with acting(build.BUILDER):
        Deleveraging.objects.create(
            group=group, start=Decimal(start), target=Decimal("0.76"), set_at=at, removed_at=until
        )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("debt", "said"),
    [
        ("819999.99", "below its chosen start of 0.82"),
        ("820000", None),
        ("909999.99", None),
        ("910000.01", "where a liquidation takes its place"),
    ],
)
def test_a_chosen_step_outside_its_lines_is_a_fault(debt: str, said: str | None) -> None:
    """R-FTR-05, R-GEN-41: by the choice that stood at its time, not by a later one"""
    group = build.secured_debt().group
    _chosen(group, start="0.82", at=EVENING - HOUR, until=EVENING + HOUR)
    _chosen(group, start="0.85", at=EVENING + HOUR)
    _planted(group, debt=debt, collateral="1000000", at=EVENING, cause="soft")
    found = faults.found()
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
    help_given = stress.outcome()
    assert (help_given.soft.times, help_given.liquidations, help_given.groups_liquidated) == (1, 0, 0)


@pytest.mark.django_db
def test_a_step_that_nobody_had_chosen_is_a_fault() -> None:
    """R-FTR-05: ended before, or chosen after"""
    group = build.secured_debt().group
    _chosen(group, start="0.80", at=EVENING - 2 * HOUR, until=EVENING - HOUR)
    _chosen(group, start="0.80", at=EVENING + HOUR)
    _planted(group, debt="850000", collateral="1000000", at=EVENING, cause="soft")
    [fault] = faults.found()
    assert "nobody had chosen it" in fault


@pytest.mark.django_db
def test_a_crash_with_a_choice_is_stepped_first_and_told_apart() -> None:
    """R-FTR-05, R-GEN-23: 25 BTC against 1,000,000 at 48,000 is 83.3 %; the second bar there sells a tenth"""
    debt = build.secured_debt(rate="0")
    of = published(course(bars("60000", "60000", "48000", "48000", "40000", "40000")))
    _chosen(debt.group, start="0.82", at=EVENING)
    fed(of)

    found = stress.outcome()
    assert (found.soft.times, found.soft.moved_usd, found.soft.fees_usd) == (1, 100_500, 500)
    assert (found.liquidations, found.groups_liquidated, found.calls) == (1, 1, 1)
    assert found.fees_usd > 500
    assert faults.found() == []


@pytest.mark.django_db
def test_what_runs_before_a_sweep_sees_its_prices_first() -> None:
    """R-FTR-04"""
    build.secured_debt()
    of = published(course(bars("60000", "50000", "40000")))
    stress.warm_up(of)
    seen: list[tuple[datetime, Decimal, int]] = []

    def look(at: datetime) -> None:
        seen.append((at, prices.latest(at=at)["BTC"].price, MarginCall.objects.count()))

    for _ in stress.run(of, jobs=lambda at: None, before_sweep=look):
        pass
    assert seen == [(EVENING + 2 * HALF, Decimal(50000), 0), (EVENING + 3 * HALF, Decimal(40000), 1)]


@pytest.mark.django_db
@pytest.mark.parametrize(("minutes", "wrong"), [(1, []), (2, ["BTC", "USDT"])])
@pytest.mark.parametrize("cause", ["ltv", "soft"])
def test_a_sale_on_an_old_price_is_a_fault(minutes: int, wrong: list[str], cause: str) -> None:
    """R-GEN-22, R-FTR-05: the default price rule calls it old after 60 seconds"""
    debt = build.secured_debt()
    _chosen(debt.group, start="0.80", at=EVENING - HOUR)
    mark, debt_mark = build.price("BTC", "43900", at=EVENING), build.price("USDT", "1", at=EVENING)
    owed = {"ltv": "1000000", "soft": "850000"}[cause]
    at = EVENING + minutes * MINUTE
    row = _planted(debt.group, debt=owed, collateral="1000000", at=at, cause=cause)
    with acting(build.BUILDER):
        Sale.objects.create(
            liquidation=row,
            step=1,
            account=debt.group.receiver,
            debt=debt,
            coin_id="BTC",
            sold=Decimal(1),
            mark=mark,
            debt_mark=debt_mark,
            price=mark.price,
            slippage=Decimal(0),
            proceeds=Decimal(43900),
            venue="desk",
            at=row.started_at,
        )
    told = faults.found()
    assert [fault for fault in told if "which was not fresh" not in fault] == []
    assert [asset for asset in ("BTC", "USDT") for fault in told if f" of {asset}," in fault] == wrong
