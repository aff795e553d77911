"""The demo: 45 days through the real commands, every kind of thing in it, and a market that can be pushed.

The seed runs once for this file (`demo` in conftest.py); every test works on a savepoint of it.
"""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.test import override_settings

from accounts import books, ledger
from accounts.models import Account, Agreement, Customer, Delivery, JobRun, JournalEntry, Notice, User
from accounts.people import needs_agreement
from loans import auto_cure, cure_rules
from loans.demo import cast, market, past, seeding, stories
from loans.demo.seeding import NotADemo, Seeded
from loans.lifecycle import LoanStatus
from loans.models import Application, Loan
from loans.queries import loan_rows
from loans.vip import renewal
from risk import book, call_records, prices, sweep
from risk.call_stages import Promise, Stage
from risk.feeds.simulated import Walk
from risk.models import (
    CollateralGroup,
    CureRun,
    Debt,
    DebtEntry,
    Liquidation,
    MarginCall,
    Movement,
    Price,
    RiskEvent,
)
from tests.demo import DEMO_NOW as NOW


def group_of(name: str, receiver: str = stories.MASTER) -> CollateralGroup:
    return CollateralGroup.objects.open().get(customer__name=name, name=receiver)


def ltv_of(group: CollateralGroup, at: datetime = NOW) -> Decimal:
    ltv = book.state_of(group, at=at).worth(permission=False).ltv
    assert ltv is not None
    return ltv


def watch(at: datetime) -> None:
    """What the worker does every five seconds."""
    prices.record(prices.feed()(at), at=at)
    assert auto_cure.run_due(at=at).failed == []
    assert sweep.sweep(at=at).failed == ()


# --- What is there ------------------------------------------------------------------------------------------------


def test_every_kind_of_loan_and_request_is_there(demo: Seeded) -> None:
    found = Counter(row.status for row in loan_rows(Loan.objects.all(), at=NOW))
    assert found == {
        LoanStatus.ACCRUING: 24,
        LoanStatus.OVERDUE: 1,
        LoanStatus.REPAID: 3,
        LoanStatus.RENEWED: 1,
        LoanStatus.LIQUIDATED: 1,
        LoanStatus.RESIDUAL: 1,
    }
    assert Counter(Application.objects.values_list("status", flat=True)) == {
        "disbursed": 27,
        "submitted": 3,
        "offered": 1,
        "cancelled": 1,
        "rejected": 1,
    }
    waiting = Application.objects.filter(status="submitted").values_list(
        "customer__manager__email", flat=True
    )
    assert set(waiting) == {"manager@lombard.example", "manager2@lombard.example"}
    assert demo == Seeded(customers=29, requests=33, loans=31, days=45)


def test_people_and_accounts_of_every_kind_are_there(demo: Seeded) -> None:
    assert set(User.objects.values_list("role", flat=True)) == set(User.Role.values)
    assert set(Account.objects.values_list("kind", flat=True)) == set(Account.Kind.values)
    assert set(Customer.objects.values_list("kind", flat=True)) == set(Customer.Kind.values)
    assert set(Movement.objects.values_list("kind", flat=True)) == set(Movement.Kind.values)
    newcomer = Customer.objects.get(name="Jonas Weber")
    assert needs_agreement(customer=newcomer, at=NOW) == Agreement.objects.get()


def test_one_group_is_called_one_is_just_below_and_one_is_near_liquidation(demo: Seeded) -> None:
    called = MarginCall.objects.filter(ended_at__isnull=True).values_list("group__customer__name", flat=True)
    assert set(called) == {"Kestrel Digital", "Cinder Row Mining"}
    bands = dict(CollateralGroup.objects.open().exclude(band="SAFE").values_list("customer__name", "band"))
    assert bands == {
        "Cinder Row Mining": "LIQ",
        "Kestrel Digital": "CALL",
        "Alder Street Capital": "WATCH",
        "Meridian Treasury": "WATCH",
    }
    assert Decimal("0.785") < ltv_of(group_of("Kestrel Digital")) < Decimal("0.8")
    assert Decimal("0.75") < ltv_of(group_of("Alder Street Capital", "Trading")) < Decimal("0.765")
    assert Decimal("0.83") < ltv_of(group_of("Meridian Treasury")) < Decimal("0.845")


def test_the_called_client_was_telephoned_promised_and_has_not_acknowledged(demo: Seeded) -> None:
    """R-FTR-03, R-FTR-18"""
    calls = list(MarginCall.objects.filter(ended_at__isnull=True).select_related("group__customer"))
    seen = {one.call.group.customer.name: one for one in call_records.followed(calls, at=NOW).values()}
    called = seen["Kestrel Digital"]
    assert (called.stage, called.promise, called.acknowledged) == (Stage.PROMISED, Promise.RUNNING, None)
    assert called.last_promise is not None
    assert called.last_promise.promised_by == NOW + timedelta(hours=6)
    assert [row.by.email for row in called.records] == ["manager@lombard.example"] * 2
    assert seen["Cinder Row Mining"].records == ()
    deliveries = called.told[0].deliveries.filter(contact__isnull=False).order_by("due_at")
    assert [(row.contact.name, row.due_at - called.told[0].at) for row in deliveries if row.contact] == [
        ("Treasury mailbox", timedelta(seconds=60)),
        ("Tom Baker, deputy", timedelta(seconds=60, minutes=30)),
    ]


def test_the_liquidation_of_a_week_ago_left_a_surplus(demo: Seeded) -> None:
    done = Liquidation.objects.exclude(group__customer__name="Wexford Arbitrage").get()
    assert (done.group.customer.name, done.status) == ("Tiber Quant", "done_surplus")
    assert timedelta(days=5) < NOW - done.started_at < timedelta(days=8)
    assert done.ltv >= Decimal("0.91")
    uids = list(done.group.members.values_list("account_id", flat=True))
    assert sum(ledger.balances(account_ids=uids).values()) > 0


def test_a_loan_is_due_this_week_and_its_renewal_window_is_open(demo: Seeded) -> None:
    loan = Loan.objects.get(
        customer__name="Alder Street Capital", asset="USDT", group__receiver__label="Master"
    )
    assert loan.due_at is not None
    assert timedelta(days=4) < loan.due_at - NOW < timedelta(days=6)
    opens_at = renewal.due_amounts(loan, at=NOW).window_opens_at
    assert opens_at is not None
    assert opens_at <= NOW


def test_every_loan_has_exactly_one_charge_for_each_midnight(demo: Seeded) -> None:
    """R-VIP-30, R-VIP-31"""
    for debt in Debt.objects.order_by("pk"):
        until = debt.closed_at or debt.residual_since or NOW  # a residual debt bears no interest (R-GEN-78)
        days = [debt.opened_at.date() + timedelta(days=n) for n in range(1, 60)]
        midnights = [datetime.combine(day, time(), UTC) for day in days]
        expected = [midnight for midnight in midnights if debt.opened_at < midnight <= until]
        charged = debt.entries.filter(kind=DebtEntry.Kind.CHARGE).order_by("period_end")
        assert list(charged.values_list("period_end", flat=True)) == expected


def test_nothing_in_the_past_was_quarantined_blind_or_in_grace(demo: Seeded) -> None:
    assert not Price.objects.exclude(status="good").exists()
    assert not RiskEvent.objects.filter(kind__in=["blind", "grace", "sighted"]).exists()
    assert not JournalEntry.objects.filter(at__gt=NOW).exists()


def test_the_inboxes_are_full_and_no_old_mail_waits(demo: Seeded) -> None:
    """Otherwise the desk's first minute would send a month of mail."""
    told = set(Notice.objects.values_list("kind", flat=True))
    assert {"margin_call", "liquidation", "loan_overdue", "loan_paid_out", "application_rejected"} <= told
    assert not Delivery.objects.filter(status="pending", due_at__lte=NOW).exists()


def test_prices_end_where_the_simulated_market_starts(demo: Seeded) -> None:
    quotes = prices.latest(at=NOW)
    assert {symbol: quotes[symbol].price for symbol in ("BTC", "ETH", "USDT")} == {
        "BTC": 91500,
        "ETH": 3050,
        "USDT": 1,
    }
    assert all(quote.fresh for quote in quotes.values())


# --- Once, and only in a demo -------------------------------------------------------------------------------------


def test_a_second_seed_says_so_and_changes_nothing(demo: Seeded) -> None:
    before = (JournalEntry.objects.count(), Price.objects.count(), User.objects.count())
    out = StringIO()
    call_command("seed_demo", stdout=out)
    assert out.getvalue() == "The demo is there already; nothing was changed.\n"
    assert (JournalEntry.objects.count(), Price.objects.count(), User.objects.count()) == before


@pytest.mark.django_db
def test_the_first_proof_of_the_books_is_a_run_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "seed", lambda **_: Seeded(customers=0, requests=0, loans=0, days=0))
    call_command("seed_demo", stdout=StringIO())
    assert JobRun.objects.get().name == "check the books"
    assert JobRun.objects.get().outcome == JobRun.Outcome.DONE


@pytest.mark.django_db
def test_a_desk_that_is_no_demo_gets_no_people_with_known_passwords() -> None:
    with override_settings(DEMO=False):
        with pytest.raises(NotADemo):
            seeding.seed(at=NOW)
        with pytest.raises(CommandError, match="Set DEMO=1"):
            call_command("seed_demo")
        with pytest.raises(CommandError, match="not a demo"):
            call_command("demo_logins")
    assert not User.objects.exists()


@pytest.mark.django_db
def test_a_seed_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing: a killed seed is a rolled back transaction, too."""
    broken = stories.Story("Jonas Weber", steps=(stories.Withdraw("44", "Savings", "BTC", "1"),))
    monkeypatch.setattr(seeding, "STORIES", (broken,))
    monkeypatch.setattr(cast, "BORROWERS", tuple(b for b in cast.BORROWERS if b.name == "Jonas Weber"))
    with override_settings(DEMO=True), pytest.raises(seeding.StoryBroken, match="Withdraw of Jonas Weber"):
        seeding.seed(at=NOW)
    assert not User.objects.exists()
    assert not Price.objects.exists()


def test_the_logins_are_printed_and_work(demo: Seeded) -> None:
    out = StringIO()
    call_command("demo_logins", stdout=out)
    first, *lines = out.getvalue().splitlines()
    assert cast.PASSWORD in first
    assert [line.split()[0] for line in lines] == [login.email for login in cast.logins()]
    assert lines[0].split()[0] == "borrower@lombard.example"
    roles = {User.objects.get(email=login.email).role for login in cast.logins()}
    assert roles == set(User.Role.values)
    user = authenticate(email="borrower@lombard.example", password=cast.PASSWORD)
    assert user is not None
    assert user.is_active


# --- Pushing the market -------------------------------------------------------------------------------------------


def test_a_small_push_of_btc_calls_the_main_borrower(demo: Seeded) -> None:
    """R-GEN-41: the visitor's first click"""
    group = group_of("Alder Street Capital", "Trading")
    market.push("BTC", Decimal("-0.03"), NOW + timedelta(seconds=4))
    watch(NOW + timedelta(seconds=9))
    group.refresh_from_db()
    assert group.band == "CALL"
    notice = Notice.objects.filter(customer=group.customer, kind="margin_call").latest("pk")
    assert notice.at == NOW + timedelta(seconds=9)
    delivery = notice.deliveries.first()
    assert delivery is not None
    assert delivery.due_at - notice.at == timedelta(seconds=10)  # the demo's short wait (R-GEN-61)


def test_a_second_push_lets_the_main_borrowers_rule_add_collateral(demo: Seeded) -> None:
    """R-FTR-04: the rule starts above where one push leads, and brings LTV to its target"""
    group = group_of("Alder Street Capital", "Trading")
    rehearsed, live = cure_rules.live_rules(group)
    assert (rehearsed.is_dry_run, live.is_dry_run) == (True, False)
    logged = CureRun.objects.get()
    assert (logged.rule, logged.outcome) == (rehearsed, CureRun.Outcome.WOULD)
    assert logged.ltv_before is not None
    assert logged.ltv_before >= Decimal("0.75")
    for seconds in (4, 14):
        market.push("BTC", Decimal("-0.03"), NOW + timedelta(seconds=seconds))
        watch(NOW + timedelta(seconds=seconds + 5))
    done = CureRun.objects.filter(rule=live).get()
    assert done.outcome == CureRun.Outcome.DONE
    assert done.amount is not None
    assert 0 < done.amount <= 3
    assert Decimal("0.7599") < ltv_of(group, NOW + timedelta(seconds=19)) <= Decimal("0.76")
    spare = Account.objects.get(customer=group.customer, label="Spare")
    assert books.wallet(spare, "BTC").balance == 14 - done.amount


def test_the_called_client_is_de_leveraged_a_little_at_a_time_when_coins_fall(demo: Seeded) -> None:
    """R-FTR-05"""
    group = group_of("Kestrel Digital")
    assert not Liquidation.objects.filter(cause=Liquidation.Cause.SOFT).exists()
    market.push(None, Decimal("-0.07"), NOW + timedelta(seconds=4))
    before = ltv_of(group, NOW + timedelta(seconds=8))
    assert before > Decimal("0.84")
    for seconds in (9, 14, 19):
        watch(NOW + timedelta(seconds=seconds))
    step = Liquidation.objects.filter(group=group, cause=Liquidation.Cause.SOFT).first()
    assert step is not None
    assert step.ended_at is not None
    assert ltv_of(group, NOW + timedelta(seconds=20)) < before


def test_a_push_of_ten_per_cent_liquidates_the_negotiated_client_within_a_minute(demo: Seeded) -> None:
    """R-GEN-23: two readings, five seconds apart in the demo"""
    group = group_of("Meridian Treasury")
    market.push("BTC", Decimal("-0.1"), NOW + timedelta(seconds=4))
    for seconds in (9, 14, 19):
        watch(NOW + timedelta(seconds=seconds))
    sold = Liquidation.objects.get(group=group)
    assert sold.ended_at is not None
    assert sold.ended_at - NOW < timedelta(minutes=1)
    assert sold.status == Liquidation.Status.DONE_SURPLUS
    assert not group.debts.watched().exists()


def test_a_push_beyond_the_gate_is_believed_and_the_feed_goes_on_from_there(demo: Seeded) -> None:
    """R-GEN-21: no tick jumps more than the rule takes, so none is quarantined"""
    at = NOW + timedelta(seconds=4)
    ticks = market.push("ETH", Decimal("-0.6"), at)
    assert len(ticks) > 1
    assert {tick.status for tick in ticks} == {Price.Status.GOOD}
    assert prices.latest(at=at + timedelta(seconds=1), assets=["ETH"])["ETH"].price == Decimal("1220")
    later = {tick.asset: tick.price for tick in prices.feed()(at + timedelta(seconds=5))}
    assert abs(later["ETH"] - 1220) < 12
    assert abs(later["BTC"] - 91500) < 915


def test_pushing_everything_leaves_stable_coins_alone(demo: Seeded) -> None:
    pushed = {tick.asset_id for tick in market.push(None, Decimal("0.05"), NOW + timedelta(seconds=4))}
    assert {"BTC", "INJ"} <= pushed
    assert not pushed & {"USDT", "USDC", "FDUSD", "DAI", "USD"}


@pytest.mark.parametrize("fraction", ["0", "-0.91", "2.01", "NaN", "-Infinity"])
def test_a_push_that_no_market_makes_is_refused(demo: Seeded, fraction: str) -> None:
    before = Price.objects.count()
    with pytest.raises(market.BadPush):
        market.push("BTC", Decimal(fraction), NOW + timedelta(seconds=4))
    assert Price.objects.count() == before


@pytest.mark.parametrize("asset", ["NOPE", "USD"])
def test_a_coin_that_is_not_simulated_cannot_be_pushed(demo: Seeded, asset: str) -> None:
    with pytest.raises(market.BadPush, match=asset):
        market.push(asset, Decimal("-0.1"), NOW + timedelta(seconds=4))


@pytest.mark.parametrize("away", [{"DEMO": False}, {"PRICE_FEED": "ccxt"}])
def test_only_a_demo_on_simulated_prices_can_be_pushed(demo: Seeded, away: dict[str, object]) -> None:
    before = Price.objects.count()
    with override_settings(**away), pytest.raises(market.NotADemo):
        market.push("BTC", Decimal("-0.1"), NOW + timedelta(seconds=4))
    assert Price.objects.count() == before


# --- The market of the past ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_coins() -> Callable[[datetime], past.Past]:
    walks = {
        "SOL": Walk(start=Decimal("138"), daily_volatility=Decimal("0.042")),
        "USDT": Walk(start=Decimal(1), daily_volatility=Decimal("0.0004"), stable=True),
    }
    return lambda end: past.until(end, walks=walks)


def test_the_past_ends_at_the_start_prices_and_is_the_same_whenever_it_is_told(
    two_coins: Callable[[datetime], past.Past],
) -> None:
    one, other = two_coins(NOW), two_coins(NOW + timedelta(days=100, hours=7))
    assert [tick.price for tick in one.ticks[-1]] == [Decimal("138"), Decimal(1)]
    assert [[tick.price for tick in moment] for moment in one.ticks] == [
        [tick.price for tick in moment] for moment in other.ticks
    ]
    assert one.ticks[0][0].observed_at == NOW - past.SPAN
    assert one.prices(NOW) == {"SOL": Decimal("138"), "USDT": Decimal(1)}
