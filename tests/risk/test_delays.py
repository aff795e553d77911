"""Delayed liquidation over the rows it leaves: who grants it, when it starts, how it ends, what is told."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import approvals, books
from accounts.commands import Actor, NeedsApproval, NotYourRole, acting
from accounts.models import AuditRecord, Notice
from risk import debts, delays, extensions, freezes, groups, margin_calls, sweep
from risk.models import (
    CollateralGroup,
    Debt,
    DelayEnrolment,
    Freeze,
    HandlingRule,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    RiskEvent,
    Settings,
)
from tests import build

D = Decimal
NOON = build.NOON
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
START = NOON + 5 * SECOND
JOB = Actor.job("test")

pytestmark = pytest.mark.django_db


def at_ltv(ltv: str, at: datetime) -> datetime:
    """Fresh prices at which 1,000,000 on 25 BTC is at this LTV in per cent, or a hair above; that instant."""
    price = (4_000_000 / D(ltv)).quantize(D("1e-8"), rounding="ROUND_FLOOR")
    build.prices(at, BTC=str(price), USDT="1")
    return at


def look(ltv: str, at: datetime) -> sweep.SweepReport:
    """One pass at this LTV; the passes between were not missed, they are only not made here."""
    sweep.SweepRun.objects.update(at=at)
    report = sweep.sweep(at=at_ltv(ltv, at))
    assert not report.failed
    return report


def enrolled() -> CollateralGroup:
    manager = build.user("vip_manager")
    group = build.secured_debt(rate="0").group
    with acting(build.BUILDER):
        group.customer.manager = manager
        group.customer.save(update_fields=["manager"])
    delays.enrol(
        customer_id=group.customer_id, starts_at=NOON, ends_at=None, actor=Actor.user(manager), at=NOON
    )
    return group


def in_delay(ltv: str = "91.5") -> CollateralGroup:
    """The breach is seen at noon and confirmed five seconds later, where the delay starts."""
    group = enrolled()
    look(ltv, NOON)
    look(ltv, START)
    return group


def kinds(group: CollateralGroup) -> list[str]:
    rows = RiskEvent.objects.filter(group=group, kind__startswith="delay").order_by("pk")
    return list(rows.values_list("kind", flat=True))


def ended() -> str:
    return LiquidationDelay.objects.get().ended


# --- Who grants it --------------------------------------------------------------------------------------------


def test_a_manager_enrols_own_clients_and_a_risk_officer_anybodys() -> None:
    """R-VIP-60, R-ADM-02"""
    manager, stranger, officer = (
        build.user("vip_manager"),
        build.user("vip_manager"),
        build.user("risk_officer"),
    )
    mine, other = build.customer(manager=manager), build.customer(manager=manager)
    for who, refusal in ((stranger, delays.NotYourClient), (build.user("borrower"), NotYourRole)):
        with pytest.raises(refusal):
            delays.enrol(customer_id=mine.pk, starts_at=NOON, ends_at=None, actor=Actor.user(who), at=NOON)
    assert not DelayEnrolment.objects.exists()

    for customer, who in ((mine, manager), (other, officer)):
        row = delays.enrol(
            customer_id=customer.pk,
            starts_at=NOON,
            ends_at=NOON + 90 * 24 * HOUR,
            actor=Actor.user(who),
            at=NOON,
            reason="long client",
        )
        assert (row.granted_by, row.granted_at) == (who, NOON)
    assert AuditRecord.objects.filter(subject="risk.enrol_delay", reason="long client").count() == 2


def test_an_enrolment_has_sensible_dates_and_is_the_only_one() -> None:
    """R-VIP-60"""
    customer = build.customer()

    def enrol(starts_at: datetime, ends_at: datetime | None) -> DelayEnrolment:
        return delays.enrol(
            customer_id=customer.pk,
            starts_at=starts_at,
            ends_at=ends_at,
            granted_by_id=build.user("vip_manager").pk,
            actor=JOB,
            at=NOON,
        )

    for starts_at, ends_at in ((NOON - SECOND, None), (NOON, NOON), (NOON + HOUR, NOON)):
        with pytest.raises(delays.BadEnrolment):
            enrol(starts_at, ends_at)
    with pytest.raises(delays.BadEnrolment, match="who grants"):
        delays.enrol(customer_id=customer.pk, starts_at=NOON, ends_at=None, actor=JOB, at=NOON)
    enrol(NOON, NOON + 2 * HOUR)
    with pytest.raises(delays.AlreadyEnrolled, match="2026-01-01 14:00 UTC"):
        enrol(NOON + HOUR, None)
    enrol(NOON + 2 * HOUR, None)
    assert DelayEnrolment.objects.count() == 2


def test_an_enrolment_ended_before_it_began_keeps_nobody_from_another() -> None:
    """R-VIP-60"""
    customer, officer = build.customer(), Actor.user(build.user("risk_officer"))

    def enrol(starts_at: datetime, at: datetime) -> DelayEnrolment:
        return delays.enrol(
            customer_id=customer.pk, starts_at=starts_at, ends_at=None, actor=officer, at=at, reason="client"
        )

    planned = enrol(NOON + 48 * HOUR, NOON)
    delays.end_enrolment(enrolment_id=planned.pk, actor=officer, at=NOON + HOUR)
    row = enrol(NOON + 2 * HOUR, NOON + 2 * HOUR)
    assert (row.starts_at, row.ends_at) == (NOON + 2 * HOUR, None)


def test_ending_an_enrolment_leaves_a_running_delay_its_time() -> None:
    """R-VIP-60, R-VIP-62"""
    group = in_delay()
    row = DelayEnrolment.objects.get()
    delays.end_enrolment(enrolment_id=row.pk, actor=JOB, at=NOON + HOUR)
    with pytest.raises(delays.NotEnrolled, match="ended on 2026-01-01 13:00 UTC"):
        delays.end_enrolment(enrolment_id=row.pk, actor=JOB, at=NOON + 2 * HOUR)
    look("92", NOON + 23 * HOUR)
    assert (ended(), Liquidation.objects.count()) == ("", 0)
    assert delays.clocks([group], settings=Settings(), at=NOON + HOUR)[group.pk].running is not None


# --- How it starts -----------------------------------------------------------------------------------------------


def test_the_confirmed_breach_starts_the_clock_instead_of_a_sale() -> None:
    """R-VIP-60, R-GEN-23, R-GEN-65, EX-22"""
    group = enrolled()
    assert look("91.5", NOON).liquidated == 0
    assert not LiquidationDelay.objects.exists()

    assert look("91.5", START).liquidated == 0

    row = LiquidationDelay.objects.get()
    assert (row.group, row.started_at, row.ends_at) == (group, START, START + 24 * HOUR)
    assert row.ltv is not None
    assert row.ltv >= D("0.915")
    notice = Notice.objects.get()
    assert (notice.kind, notice.title) == (
        "delay",
        f"Liquidation call: {group.name} has until 2026-01-02 12:00 UTC",
    )
    needed = D(notice.facts["to_initial"]["repay"]["USDT"])
    # 1,000,000 - 0.72 x 1,000,000 / 0.915, as the price is rounded
    assert needed == pytest.approx(D("213114.75"), abs=D("0.01"))
    assert "Needed now, to get back to the initial line of 72.00%: repay 213,114.76 USDT" in notice.body
    assert "unless LTV rises above 95.00%" in notice.body
    assert set(notice.facts) >= {"ltv", "prices", "until"}
    event = RiskEvent.objects.get(kind="delay_started")
    assert event.facts["until"] == row.ends_at.isoformat()


def test_above_the_cutoff_there_is_no_delay_at_all() -> None:
    """R-VIP-61"""
    enrolled()
    assert look("95.01", NOON).liquidated == 1
    assert not LiquidationDelay.objects.exists()


@pytest.mark.parametrize("enrolment", ["none", "not begun", "over"])
def test_without_an_enrolment_in_force_it_is_sold_at_once(enrolment: str) -> None:
    """R-VIP-60, R-VIP-63"""
    group = build.secured_debt(rate="0").group
    if enrolment != "none":
        grant = delays.enrol(
            customer_id=group.customer_id,
            starts_at=NOON + HOUR if enrolment == "not begun" else NOON,
            ends_at=None,
            granted_by_id=build.user("vip_manager").pk,
            actor=JOB,
            at=NOON,
        )
        if enrolment == "over":
            delays.end_enrolment(enrolment_id=grant.pk, actor=JOB, at=NOON + SECOND)
    look("92", NOON)
    assert look("92", START).liquidated == 1


def test_a_margin_call_not_sent_yet_is_dropped_for_the_liquidation_call() -> None:
    """R-GEN-61, R-VIP-60"""
    enrolled()
    look("78", NOON - 30 * SECOND)
    look("92", NOON)
    look("92", START)
    call, delay = Notice.objects.order_by("pk")
    assert (call.kind, call.dropped_at) == ("margin_call", START)
    assert (delay.kind, delay.dropped_at) == ("delay", None)


# --- How it ends -------------------------------------------------------------------------------------------------


def test_oscillation_moves_nothing_and_above_the_cutoff_all_is_sold() -> None:
    """R-VIP-61, R-VIP-62, EX-22: 88 % at five hours, 95.01 % at nine"""
    group = in_delay()
    for hours, ltv in ((5, "88"), (6, "76"), (7, "92"), (8, "73")):
        assert look(ltv, NOON + hours * HOUR).liquidated == 0
        assert delays.running(group).ends_at == START + 24 * HOUR  # type: ignore[union-attr]

    assert look("95.01", NOON + 9 * HOUR).liquidated == 1

    assert (ended(), Liquidation.objects.get().cause) == ("cut_off", "ltv")
    assert kinds(group) == ["delay_started", "delay_ended"]
    assert "above the cut-off" in Notice.objects.get(kind="delay_ended").title


def test_while_it_runs_an_account_may_join_which_may_cure_it() -> None:
    """R-VIP-52 (add an account: in a grace), R-VIP-60: the hours are there for topping up"""
    group = in_delay("91.5")
    more = build.account(group.customer)
    build.deposit(more, "BTC", "7", at=NOON)
    with acting(JOB):
        LiquidationDelay.objects.update(ended_at=START)
    with pytest.raises(groups.NotPermitted, match="below the liquidation line"):
        groups.add_account(group_id=group.pk, uid=more.pk, max_accounts=50, actor=JOB, at=START)
    with acting(JOB):
        LiquidationDelay.objects.update(ended_at=None)
    groups.add_account(group_id=group.pk, uid=more.pk, max_accounts=50, actor=JOB, at=START)

    look("91.5", START + SECOND)  # 71.48 % with 32 BTC
    assert ended() == "cured"


def test_at_the_initial_line_it_is_cured() -> None:
    """R-VIP-60, R-VIP-62, EX-22: 71.9 % at twenty hours"""
    group = in_delay()
    look("71.9", NOON + 20 * HOUR)
    assert (ended(), Liquidation.objects.exists()) == ("cured", False)
    notice = Notice.objects.get(kind="delay_ended")
    assert "nothing is sold" in notice.title
    assert kinds(group) == ["delay_started", "delay_ended"]


def test_when_time_is_up_over_liquidation_it_is_sold_in_the_mode_in_force() -> None:
    """R-VIP-62, EX-22"""
    in_delay()
    assert look("92", START + 24 * HOUR - SECOND).liquidated == 0
    assert look("92", START + 24 * HOUR).liquidated == 1
    assert (ended(), Liquidation.objects.get().mode) == ("sold", HandlingRule.Mode.FULL)


def test_when_time_is_up_in_a_call_it_is_sold_in_steps_to_the_initial_line() -> None:
    """R-VIP-62, R-GEN-73, EX-22: 80 % at twenty-four hours, to 72 %"""
    group = in_delay()
    look("80", START + 23 * HOUR)
    assert look("80", START + 24 * HOUR).liquidated == 1

    row = Liquidation.objects.get()
    assert (ended(), row.mode, row.target) == ("stepped", HandlingRule.Mode.STEPPED, D("0.72"))
    at = START + 24 * HOUR
    for _ in range(10):
        at += 5 * SECOND
        look("80", at)
    row.refresh_from_db()
    assert row.status == Liquidation.Status.STOPPED_HEALTHY
    assert row.end_ltv is not None
    assert row.end_ltv <= D("0.72")
    assert D("0.7199") < row.end_ltv
    assert Debt.objects.get(group=group).closed_at is None


def test_when_time_is_up_below_the_call_nothing_is_sold_and_the_manager_reviews() -> None:
    """R-VIP-62, EX-22"""
    in_delay()
    end = START + 24 * HOUR
    look("75", end)
    enrolment = DelayEnrolment.objects.get()
    assert (ended(), enrolment.review_since, Liquidation.objects.exists()) == ("no_sale", end, False)

    delays.keep_enrolment(enrolment_id=enrolment.pk, actor=JOB, at=end + HOUR)
    enrolment.refresh_from_db()
    assert (enrolment.review_since, enrolment.ends_at) == (None, None)
    with pytest.raises(delays.NotEnrolled):
        delays.keep_enrolment(enrolment_id=enrolment.pk, actor=JOB, at=end + HOUR)


def test_a_stale_price_waits_past_the_end() -> None:
    """R-VIP-62, R-GEN-22"""
    in_delay()
    at = START + 25 * HOUR
    sweep.SweepRun.objects.update(at=at)
    assert sweep.sweep(at=at).blind == 1
    assert (ended(), Liquidation.objects.exists()) == ("", False)


def test_who_repays_everything_is_settled() -> None:
    """R-VIP-62, R-GEN-34: even though its group is closed by then"""
    group = in_delay()
    with acting(build.BUILDER):
        [debt] = Debt.objects.locked(*group.debts.values_list("pk", flat=True))
        wallets = [books.wallet(group.receiver, "USDT")]
        debts.take_payment(debt=debt, amount=debt.booked, wallets=wallets, reference="test:all", at=NOON)
        groups.release_empty(group, at=NOON)
    look("92", NOON + HOUR)
    assert (ended(), Liquidation.objects.exists()) == ("settled", False)
    assert sweep.sweep(at=at_ltv("92", NOON + HOUR + SECOND)).groups == 0


@pytest.mark.parametrize(("hours", "delayed"), [(167.999, False), (168, True)])
def test_one_delay_in_seven_days(hours: float, delayed: bool) -> None:
    """R-VIP-62"""
    group = in_delay()
    look("71", NOON + HOUR)
    again = START + hours * HOUR
    look("92", again - 5 * SECOND)
    report = look("92", again)
    assert report.liquidated == (0 if delayed else 1)
    assert LiquidationDelay.objects.filter(group=group).count() == (2 if delayed else 1)


# --- What is told meanwhile ---------------------------------------------------------------------------------------


def test_it_is_told_again_when_twelve_three_and_one_hours_are_left() -> None:
    """R-VIP-60, R-GEN-65: once each, with what is needed now; a late pass says only the last"""
    in_delay()
    end = START + 24 * HOUR
    told = []
    for left in (timedelta(hours=12, seconds=1), 12 * HOUR, 11 * HOUR, 3 * HOUR, HOUR, HOUR / 2):
        look("92", end - left)
        told.append(Notice.objects.filter(kind="delay_left").count())
    assert told == [0, 1, 1, 2, 3, 3]
    last = Notice.objects.filter(kind="delay_left").latest("pk")
    assert D(last.facts["to_initial"]["repay"]["USDT"]) == pytest.approx(D("217391.30"), abs=D("0.01"))


def test_a_pass_that_comes_late_skips_the_reminders_that_are_past() -> None:
    """R-GEN-65"""
    in_delay()
    look("92", START + 23 * HOUR + HOUR / 2)
    assert Notice.objects.filter(kind="delay_left").count() == 1


# --- More time ---------------------------------------------------------------------------------------------------


def test_two_persons_extend_a_running_delay() -> None:
    """R-ADM-05, R-ADM-03"""
    group = in_delay()
    officer, checker = build.user("risk_officer"), build.user("risk_officer")
    until, at = START + 30 * HOUR, NOON + HOUR
    with pytest.raises(NeedsApproval):
        extensions.extend_grace(group_id=group.pk, until=until, actor=Actor.user(officer), at=at)
    assert delays.running(group).ends_at == START + 24 * HOUR  # type: ignore[union-attr]

    approval = approvals.run_or_propose(
        command="risk.extend_grace",
        arguments={"group_id": group.pk, "until": until},
        title="More time",
        preview={},
        reason="the wire is on its way",
        actor=Actor.user(officer),
        at=at,
    )
    assert approval is not None
    approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=at + SECOND)

    assert delays.running(group).ends_at == until  # type: ignore[union-attr]
    event = RiskEvent.objects.get(kind="delay_extended")
    assert (event.facts["from"], event.facts["until"]) == (
        (START + 24 * HOUR).isoformat(),
        until.isoformat(),
    )
    assert look("92", START + 24 * HOUR).liquidated == 0
    assert look("92", until).liquidated == 1


def test_an_outage_grace_may_be_extended_too_and_nothing_else() -> None:
    """R-ADM-05, R-GEN-24"""
    group = build.secured_debt(rate="0").group
    at, until = NOON, NOON + 2 * HOUR
    with pytest.raises(extensions.NothingToExtend, match="Neither a delay nor a grace"):
        extensions.extend_grace(group_id=group.pk, until=until, actor=JOB, at=at)
    with acting(build.BUILDER):
        CollateralGroup.objects.filter(pk=group.pk).update(grace_until=NOON + HOUR)
    for bad in (NOON + HOUR, NOON, NOON + 169 * HOUR):
        with pytest.raises(extensions.NothingToExtend, match="after 2026-01-01 13:00 UTC and at the latest"):
            extensions.extend_grace(group_id=group.pk, until=bad, actor=JOB, at=at)
    extensions.extend_grace(group_id=group.pk, until=until, actor=JOB, at=at)
    assert CollateralGroup.objects.get(pk=group.pk).grace_until == until
    assert RiskEvent.objects.get(group=group, kind="grace_extended").facts["until"] == until.isoformat()


def more(group: CollateralGroup, until: datetime, at: datetime) -> CollateralGroup:
    return extensions.extend_grace(
        group_id=group.pk, until=until, actor=JOB, at=at, reason="the wire is late"
    )


def test_an_extension_is_at_most_a_whole_delay_at_a_time() -> None:
    """R-FTR-17: 24 h on top of the end, not a second more."""
    group = in_delay()
    end = START + 24 * HOUR
    before = LiquidationDelay.objects.values().get()
    for bad in (end, end + 24 * HOUR + SECOND):
        with pytest.raises(extensions.NothingToExtend, match="at most 24 h at a time and 48 h within 168 h"):
            more(group, bad, NOON + HOUR)
    assert LiquidationDelay.objects.values().get() == before
    assert not RiskEvent.objects.filter(kind="delay_extended").exists()
    more(group, end + 24 * HOUR, NOON + HOUR)
    assert delays.running(group).ends_at == end + 24 * HOUR  # type: ignore[union-attr]


def test_all_extensions_within_a_rest_have_a_limit_too() -> None:
    """R-FTR-17: 24 h and 14 h are given; 10 h are left of 48, then none."""
    group = in_delay()
    end = START + 24 * HOUR
    more(group, end + 24 * HOUR, NOON + HOUR)
    more(group, end + 38 * HOUR, NOON + 2 * HOUR)
    room = extensions.room(group, at=NOON + 3 * HOUR)
    assert room is not None
    assert (room.last, room.used) == (end + 48 * HOUR, 38 * HOUR)
    with pytest.raises(extensions.NothingToExtend, match="at the latest 2026-01-04 12:00 UTC"):
        more(group, end + 48 * HOUR + SECOND, NOON + 3 * HOUR)
    more(group, end + 48 * HOUR, NOON + 3 * HOUR)
    with pytest.raises(extensions.NothingToExtend, match="No more time can be given"):
        more(group, end + 49 * HOUR, NOON + 4 * HOUR)
    assert delays.running(group).ends_at == end + 48 * HOUR  # type: ignore[union-attr]
    assert RiskEvent.objects.filter(kind="delay_extended").count() == 3


def test_a_delay_is_no_longer_than_the_rest_between_two() -> None:
    """R-ADM-05, R-VIP-62, R-FTR-17: with a rest of 30 h a delay of 24 h is lengthened by 6 h at most."""
    with acting(build.BUILDER):
        Settings.objects.create(effective_at=build.LONG_AGO, delay_rest_hours=30)
    group = in_delay()
    with pytest.raises(extensions.NothingToExtend, match="at the latest 2026-01-02 18:00 UTC"):
        more(group, START + 30 * HOUR + SECOND, NOON + HOUR)
    more(group, START + 30 * HOUR, NOON + HOUR)


def test_the_limits_are_those_in_force() -> None:
    """R-FTR-17, R-VIP-60: half a day at a time where a delay is half a day."""
    with acting(build.BUILDER):
        Settings.objects.create(effective_at=build.LONG_AGO, delay_hours=12)
    group = in_delay()
    room = extensions.room(group, at=NOON + HOUR)
    assert room is not None
    assert (room.ends_at, room.last) == (START + 12 * HOUR, START + 24 * HOUR)
    assert (room.each_hours, room.week_hours, room.used) == (12, 24, timedelta())


def test_nothing_that_runs_has_no_room() -> None:
    """R-FTR-17"""
    group = build.secured_debt(rate="0").group
    assert extensions.room(group, at=NOON) is None


def test_a_manager_extends_nothing_for_the_client_of_another() -> None:
    """R-ADM-05"""
    group = in_delay()
    with pytest.raises(delays.NotYourClient):
        approvals.propose(
            command="risk.extend_grace",
            arguments={"group_id": group.pk, "until": START + 30 * HOUR},
            title="More time",
            preview={},
            reason="none of my business",
            actor=Actor.user(build.user("vip_manager")),
            at=NOON + HOUR,
        )
    assert delays.running(group).ends_at == START + 24 * HOUR  # type: ignore[union-attr]


# --- The sweep ---------------------------------------------------------------------------------------------------


def test_the_calls_go_on_in_a_delay() -> None:
    """R-GEN-62, R-VIP-62"""
    group = in_delay()
    look("80", NOON + HOUR)
    assert margin_calls.open_call(group) is not None
    look("95.5", NOON + 2 * HOUR)
    assert MarginCall.objects.get().ended == "liquidated"


def test_reading_the_delays_of_many_groups_asks_no_more_questions() -> None:
    """STYLE 15"""
    rows = [in_delay().pk]

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            delays.clocks(
                CollateralGroup.objects.filter(pk__in=rows), settings=Settings(delay_rest_hours=168), at=NOON
            )
        return len(captured)

    one = queries()
    for _ in range(3):
        rows.append(build.secured_debt(rate="0").group.pk)
    assert (
        queries() <= one + 3
    )  # the enrolments and when the last began, asked once for all who have no delay


# --- A pause by hand ---------------------------------------------------------------------------------------------


def pause(*, group: CollateralGroup | None = None, at: datetime = NOON, hours: int = 2) -> Freeze:
    return freezes.place(
        what="liquidate",
        reason="the venue is being repaired",
        group_id=group.pk if group else None,
        ends_at=at + hours * HOUR,
        actor=Actor.user(build.user("risk_officer")),
        at=at,
    )


@pytest.mark.parametrize("everywhere", [True, False])
def test_in_a_pause_nothing_is_sold_and_it_is_said_once(everywhere: bool) -> None:
    """R-ADM-05, R-ADM-04: not even above the cut-off; when the pause ends the sale follows"""
    group = build.secured_debt(rate="0").group
    pause(group=None if everywhere else group)
    for hours, ltv in ((0, "92"), (0.5, "92"), (1, "96"), (1.9, "92")):
        assert look(ltv, NOON + hours * HOUR).liquidated == 0
    [notice] = Notice.objects.all()
    assert notice.kind == "liquidation_paused"
    assert "paused liquidations until 2026-01-01 14:00 UTC" in notice.body
    assert "repay 217,391.31 USDT" in notice.body
    assert look("92", NOON + 2 * HOUR).liquidated == 1


def test_a_pause_of_another_group_changes_nothing() -> None:
    """R-ADM-05"""
    group, other = build.secured_debt(rate="0").group, build.secured_debt(rate="0").group
    pause(group=other)
    look("92", NOON)
    assert look("92", START).liquidated == 1
    assert Liquidation.objects.get().group_id == group.pk


def test_in_a_pause_the_calls_go_on() -> None:
    """R-ADM-05, R-GEN-62"""
    build.secured_debt(rate="0")
    pause()
    assert look("78", NOON).called == 1
    look("70", NOON + HOUR)
    assert MarginCall.objects.get().ended == "cured"


def test_a_delay_neither_starts_nor_is_followed_by_a_sale_in_a_pause() -> None:
    """R-ADM-05, R-VIP-60, R-VIP-62"""
    group = enrolled()
    pause(hours=2)
    look("92", NOON)
    look("92", NOON + HOUR)
    assert not LiquidationDelay.objects.exists()
    look("92", NOON + 2 * HOUR)
    row = delays.running(group)
    assert row is not None
    assert row.started_at == NOON + 2 * HOUR

    end = row.ends_at
    pause(at=end - HOUR)
    assert look("92", end).liquidated == 0
    assert look("97", end + SECOND).liquidated == 0
    assert ended() == ""
    assert look("92", end + HOUR).liquidated == 1
    assert ended() == "sold"


def test_a_sale_in_steps_stands_still_in_a_pause() -> None:
    """R-ADM-05, R-GEN-70: and goes on by itself afterwards, one step in each pass"""
    with acting(build.BUILDER):  # 37.7 % of the debt has to go, a tenth of what is left at a time: five steps
        HandlingRule.objects.create(product="vip", effective_at=build.LONG_AGO, step_share=D("0.1"))
    in_delay()
    end = START + 24 * HOUR
    look("80", end - HOUR)
    look("80", end)
    running = Liquidation.objects.get()
    assert (running.status, running.steps) == (Liquidation.Status.RUNNING, 1)
    pause(at=end, hours=1)
    assert look("80", end + 5 * SECOND).liquidated == 0
    running.refresh_from_db()
    assert (running.status, running.steps) == (Liquidation.Status.RUNNING, 1)
    for step in range(5):
        look("80", end + HOUR + 5 * step * SECOND)
    running.refresh_from_db()
    assert (running.status, running.steps) == (Liquidation.Status.STOPPED_HEALTHY, 5)
