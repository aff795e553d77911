"""How fast a coin is sold: sales wait for room, the most dangerous first, and are told why. R-FTR-22"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts import books
from accounts.commands import Actor, acting
from accounts.exchange import exchange
from accounts.models import JournalEntry, Notice
from accounts.money import ZERO
from risk import liquidation, overdue_sales, pace, parameters, sweep
from risk.models import Candidate, CollateralGroup, Debt, Liquidation, PaceLimit, Sale
from tests import build
from tests.risk.forced_sales import SWEEPER, stepped

D = Decimal
NOON = build.NOON
SPAN = timedelta(seconds=600)
InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def limit(
    most: str | None, coin: str = "BTC", *, at: datetime = build.LONG_AGO, span: int = 600
) -> PaceLimit:
    build.asset(coin)
    return parameters.publish_pace_limit(
        asset=coin, most_usd=None if most is None else D(most), span_seconds=span, actor=SWEEPER, at=at
    )


def groups(*owed: str) -> list[CollateralGroup]:
    """Each on 25 BTC; at 40,000 all of these are above the cut-off, so one reading is enough."""
    return [build.secured_debt(amount=amount, rate="0").group for amount in owed]


def prices(at: datetime = NOON, btc: str = "40000") -> datetime:
    build.prices(at, BTC=btc, USDT="1")
    return at


def sold() -> list[int]:
    return list(Liquidation.objects.order_by("pk").values_list("group", flat=True))


@pytest.mark.django_db
def test_the_sale_that_crosses_the_limit_is_completed_and_the_next_waits_for_room() -> None:
    """R-FTR-22: the most dangerous first, before and after"""
    mild, worst, middle = groups("960000", "980000", "970000")
    limit("1000000")
    entries_before = JournalEntry.objects.count()

    report = sweep.sweep(at=prices())

    # 980,000 and 2 % are about 999,600 USD: below the limit, so one more sale begins, and is completed.
    assert (report.liquidated, report.failed) == (2, ())
    assert sold() == [worst.pk, middle.pk]
    assert Debt.objects.get(group=mild).booked == 960000
    assert JournalEntry.objects.count() == entries_before + 4
    [notice] = Notice.objects.filter(kind="liquidation_paced")
    assert notice.customer == mild.customer
    assert "as the desk lets them" in notice.body
    assert "no further sale of BTC begins" in notice.body
    assert "1,989,000" not in notice.body  # what others sold is not for a borrower
    assert "By 2026-01-01 12:10:00 UTC there is room" in notice.body

    assert sweep.sweep(at=prices(NOON + SPAN - timedelta(seconds=1))).liquidated == 0
    assert Notice.objects.filter(kind="liquidation_paced").count() == 1  # once
    assert sweep.sweep(at=prices(NOON + SPAN)).liquidated == 1
    assert sold()[-1] == mild.pk


@pytest.mark.django_db
def test_exactly_at_the_limit_nothing_more_begins() -> None:
    """R-FTR-22: below it a sale begins, at it none"""
    first, _ = groups("980000", "960000")
    limit("2000000")
    sweep.sweep(at=prices())
    total = sum((row.sold * row.price for row in Sale.objects.filter(liquidation__group=first)), ZERO)
    limit(str(total), at=NOON)
    full = pace.paces_at(NOON, ["BTC"])["BTC"]
    assert full.is_full
    limit(None, "BTC", at=NOON + timedelta(seconds=1))
    assert pace.paces_at(NOON + timedelta(seconds=1)) == {}


@pytest.mark.django_db
def test_other_coins_go_on_and_what_is_netted_needs_no_room() -> None:
    """R-FTR-22"""
    build.ratios("ETH")
    first, second = groups("980000", "970000")
    limit("1")
    other = build.customer()
    account = build.account(other)
    build.deposit(account, "ETH", "500", at=build.LONG_AGO)
    build.fund_pool("USDT", "970000")
    other_group = build.group(build.master(other), [account], ["ETH"])
    build.debt(other_group, amount="970000", rate="0")
    build.price("ETH", "2000")

    sweep.sweep(at=prices())

    assert sorted(sold()) == sorted([first.pk, other_group.pk])
    assert Debt.objects.get(group=second).booked == 970000


@pytest.mark.django_db
def test_a_group_that_may_sell_another_coin_first_is_tried_and_undone_as_a_whole() -> None:
    """R-FTR-22: the coin turns out to be full in the middle; nothing of the sale stays, and it is told"""
    build.ratios("ETH", rank=1)
    [first] = groups("980000")
    limit("1")
    other = build.customer()
    account = build.account(other)
    build.deposit(account, "ETH", "100", at=build.LONG_AGO)
    build.deposit(account, "BTC", "20", at=build.LONG_AGO)
    build.fund_pool("USDT", "970000")
    both = build.group(build.master(other), [account], ["ETH", "BTC"])
    build.debt(both, amount="970000", rate="0")
    build.price("ETH", "2000")

    report = sweep.sweep(at=prices())

    assert (sold(), report.failed) == ([first.pk], ())
    assert (build.balance(account, "ETH"), build.balance(account, "BTC")) == (100, 20)
    assert not Sale.objects.filter(account=account).exists()
    assert Notice.objects.filter(kind="liquidation_paced", customer=other).count() == 1


@pytest.mark.django_db
def test_a_sale_in_steps_waits_between_two_of_them() -> None:
    """R-FTR-22, R-GEN-70: RUNNING, and it goes on when there is room"""
    [group] = groups("1000000")
    stepped()
    limit("1")
    sweep.sweep(at=prices(btc="43900"))
    at = prices(NOON + timedelta(seconds=5), btc="43900")
    assert sweep.sweep(at=at).liquidated == 1
    row = Liquidation.objects.get()
    assert (row.status, row.steps) == ("running", 1)
    assert sweep.sweep(at=prices(NOON + timedelta(seconds=10), btc="43900")).liquidated == 0
    row.refresh_from_db()
    assert (row.status, row.steps) == ("running", 1)
    assert Notice.objects.filter(kind="liquidation_paced", customer=group.customer).count() == 1
    sweep.sweep(at=prices(at + SPAN, btc="43900"))
    row.refresh_from_db()
    assert row.steps == 2


@pytest.mark.django_db
def test_what_is_overdue_waits_too_and_a_sale_by_hand_does_not() -> None:
    """R-FTR-22, R-VIP-45, R-ADM-05: by hand counts, and is not kept waiting"""
    first, by_hand = groups("980000", "500000")
    late = build.secured_debt(amount="100000", rate="0", due_at=NOON - timedelta(days=8))
    spot = books.wallet(late.group.receiver, "USDT")
    exchange().pay_out(wallet=spot, amount=D(100000), key="test:out", at=build.TEN)  # else it would be netted
    limit("1")
    sweep.sweep(at=prices())
    assert sold() == [first.pk]
    with acting(SWEEPER):
        late.overdue_since = late.due_at
        late.save(update_fields=["overdue_since"])

    with pytest.raises(pace.NoRoom) as refused:
        overdue_sales.liquidate_overdue(debt_id=late.pk, actor=SWEEPER, at=NOON)
    assert refused.value.code == "liquidation_paced"
    report = overdue_sales.run_overdue(at=NOON)
    assert (report.waiting, report.failed) == ((late.pk,), ())
    assert Notice.objects.filter(kind="liquidation_paced", customer=late.customer).count() == 1
    assert Debt.objects.get(pk=late.pk).booked == 100000

    liquidation.liquidate_by_hand(group_id=by_hand.pk, mode="full", actor=SWEEPER, at=NOON)
    assert sold() == [first.pk, by_hand.pk]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"most_usd": ZERO}, "pause liquidations instead"),
        ({"span_seconds": 0}, "span_seconds must be 1 to 86400"),
        ({"span_seconds": 86_401}, "span_seconds must be 1 to 86400"),
        ({"most_usd": D("NaN")}, "most_usd"),
    ],
)
@pytest.mark.django_db
def test_a_limit_that_makes_no_sense_is_refused(wrong: dict[str, Any], words: str) -> None:
    """R-FTR-22"""
    build.asset("BTC")
    asked: dict[str, Any] = {"asset": "BTC", "most_usd": D(10), "span_seconds": 60} | wrong
    with pytest.raises(parameters.BadParameter, match=words):
        parameters.publish_pace_limit(**asked, actor=SWEEPER, at=NOON)
    assert not PaceLimit.objects.exists()


def test_many_deciders_never_sell_more_than_the_limit_and_one_sale(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-FTR-22: the lock on the coin makes it exact"""
    found = groups(*(str(960_000 + 1000 * number) for number in range(8)))
    limit("1500000")
    sweep.sweep(at=prices(), seconds=0)

    done = in_threads([sweep.drain] * 4)

    assert [one.failed for one in done] == [[]] * 4
    assert Liquidation.objects.count() == 2  # about a million each: the second crosses it
    assert set(sold()) <= {group.pk for group in found[-5:]}
    assert Notice.objects.filter(kind="liquidation_paced").count() == 6


def test_a_member_of_the_desk_alone_cannot_publish_it(db: None) -> None:
    """R-ADM-03, R-FTR-22"""
    build.asset("BTC")
    officer = Actor.user(build.user("risk_officer"))
    with pytest.raises(Exception, match="second person"):
        parameters.publish_pace_limit(asset="BTC", most_usd=D(10), actor=officer, at=NOON)
    assert not PaceLimit.objects.exists()


@pytest.mark.django_db
def test_who_only_waits_for_room_keeps_nobody_else_waiting() -> None:
    """R-FTR-22, R-GEN-23: a pass ends before its queue does, and those that wait are in every one of them"""
    build.ratios("ETH")
    first, *paced = groups("980000", "975000", "970000")
    mixed = build.secured_debt(amount="972000", rate="0")
    [member] = mixed.group.members.all()
    build.deposit(member.account, "ETH", "0.01", at=build.LONG_AGO)
    with acting(SWEEPER):
        mixed.group.coins.create(asset_id="ETH", since=build.LONG_AGO)
    other = build.customer()
    account = build.account(other)
    build.deposit(account, "ETH", "500", at=build.LONG_AGO)
    build.fund_pool("USDT", "960000")
    sellable = build.group(build.master(other), [account], ["ETH"])
    build.debt(sellable, amount="960000", rate="0")
    limit("1")
    build.price("ETH", "3000")
    sweep.sweep(at=prices())
    assert sold() == [first.pk]
    later = NOON + timedelta(seconds=5)
    build.price("ETH", "2000", at=later)

    sweep.sweep(at=prices(later), seconds=0)

    queue = Candidate.objects.order_by("-danger").values_list("group", "sells")
    assert list(queue) == [
        (sellable.pk, True),
        (mixed.group_id, True),
        *((group.pk, False) for group in paced),
    ]
    sweep.drain()
    assert sold() == [first.pk, sellable.pk]


@pytest.mark.django_db
def test_a_sale_in_steps_that_two_people_began_waits_for_no_room() -> None:
    """R-FTR-22, R-ADM-05: nor between two of its steps"""
    [group] = groups("1000000")
    limit("1")
    liquidation.liquidate_by_hand(group_id=group.pk, mode="stepped", actor=SWEEPER, at=prices(btc="43900"))
    assert pace.paces_at(NOON)["BTC"].is_full
    sweep.sweep(at=prices(NOON + timedelta(seconds=5), btc="43900"))
    row = Liquidation.objects.get()
    assert (row.status, row.steps) == ("running", 2)
