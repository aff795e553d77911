"""The stress of the live book: it writes nothing, says the same twice, compares with a change, answers what waits."""

import io
import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import InternalError

from accounts import approvals
from accounts.commands import Actor, NotYourRole, acting
from accounts.models import Approval
from risk import regimes, shocks, stress_progress, stress_runs, stress_tables
from risk.handling import Mode
from risk.levels import LTV_FLOORS
from risk.models import CollateralGroup, HandlingRule, MarketDepth, Redemption, Settings, StressRun
from risk.stress_tables import Group, groups_of
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON

pytestmark = pytest.mark.django_db
D = Decimal
FALL = shocks.joint({"BTC": D("-0.2")})


@pytest.fixture
def groups() -> list[CollateralGroup]:
    """BTC at 60,000; three groups that owe 1,000,000 on 30, 25 and 20 BTC: LTV 55.6, 66.7 and 83.4 %."""
    build.fund_pool("USDT")
    found = [build.secured_debt(btc=btc, rate="0") for btc in ("30", "25", "20")]
    build.prices(at=NOON, BTC="60000", USDT="1")
    return [debt.group for debt in found]


def answer(path: shocks.Path = FALL, *, at: datetime = NOON, **more: Any) -> dict[str, Any]:
    return stress_runs.answer(stress_runs.scenario_of(path, **more), at=at)


def totals(found: dict[str, Any], column: int = 0) -> dict[str, int]:
    told: dict[str, int] = found["columns"][column]["totals"]
    return told


def one_sold(found: dict[str, Any], column: int = 0) -> Group:
    [sold] = [one for one in groups_of(found["columns"][column]["groups"]) if one.sold_at]
    return sold


def settings(**more: Any) -> None:
    with acting(BUILDER):
        Settings.objects.create(effective_at=LONG_AGO, **more)


# --- What is said -----------------------------------------------------------------------------------


def test_a_fall_of_a_fifth_calls_one_and_sells_one_at_a_loss(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: BTC at 48,000 makes LTVs of 69.4, 83.3 and 104.2 %; 20 BTC bring 960,000 of the 1,000,000 owed"""
    found = answer()

    assert totals(found) == {
        "called": 1,
        "called_today": 1,
        "liquidation_today": 0,
        "liquidated": 1,
        "without_call": 1,
        "owed": 1_000_000,
        "sold": 960_000,
        "fee": 0,
        "lost": 40_000,
        "with_loss": 1,
    }
    assert found["columns"][0]["coins"] == [
        {"coin": "BTC", "sold": 960_000, "groups": 1, "lost": 0},
        {"coin": "USDT", "sold": 0, "groups": 0, "lost": 40_000},
    ]
    assert found["book"] == {"groups": 3, "unjudged": []}
    assert [one["client"] for one in found["columns"][0]["clients"]] == [
        groups[2].customer_id,
        groups[1].customer_id,
    ]


def test_fee_and_slippage_are_taken_before_anything_is_left(groups: list[CollateralGroup]) -> None:
    """R-FTR-27, R-GEN-75, R-GEN-80: at 54,000 the third owes 92.6 %; 1,000,000 and a fee of 20,000 are brought"""
    settings(slippage=D("0.01"))

    sold = one_sold(answer(shocks.joint({"BTC": D("-0.1")})))

    assert (sold.group, sold.sold, sold.fee, sold.lost) == (groups[2].pk, 1_020_000, 20_000, 0)


def test_steps_are_followed_one_after_the_other(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: 56,000, 52,000 and 48,000; the third is called at once and sold at 52,000, the second called there"""
    found = answer(shocks.joint({"BTC": D("-0.2")}, steps=3))

    assert [(one.group, one.called, one.sold_at) for one in groups_of(found["columns"][0]["groups"])] == [
        (groups[1].pk, 3, None),
        (groups[2].pk, 1, 2),
    ]
    assert found["columns"][0]["course"] == [[1, 0, 0], [2, 1_020_000, 0], [3, 1_020_000, 0]]


def test_late_sells_at_the_prices_of_the_next_step(groups: list[CollateralGroup]) -> None:
    """R-FTR-27, R-GEN-23: the breach at 54,000 is confirmed at 48,000; above the cut-off nothing is waited for"""
    path = shocks.Path(title="", columns={"BTC": (D("0.9"), D("0.8"))})

    late = one_sold(answer(path, late=True))
    beyond = one_sold(answer(late=True))

    assert (late.sold_at, late.sold, late.lost) == (2, 960_000, 40_000)
    assert (beyond.sold_at, beyond.lost) == (1, 40_000)


def test_a_breach_that_does_not_last_is_not_sold_when_it_must_be_confirmed(
    groups: list[CollateralGroup],
) -> None:
    """R-FTR-27, R-GEN-23: 52,000 for one step only"""
    path = shocks.Path(title="", columns={"BTC": (D("0.88"), D(1), D("0.88"), D(1))})

    assert totals(answer(path, late=True))["liquidated"] == 0
    assert totals(answer(path))["liquidated"] == 1


def test_in_steps_a_group_stops_at_its_target_and_may_be_sold_from_again(
    groups: list[CollateralGroup],
) -> None:
    """R-FTR-27, R-GEN-73: to 72 % at 54,000; then it stays, and a further fall finds it again"""
    with acting(BUILDER):
        HandlingRule.objects.create(product="vip", effective_at=LONG_AGO, mode="stepped")

    once = one_sold(answer(shocks.joint({"BTC": D("-0.1")})))
    path = shocks.Path(title="", columns={"BTC": (D("0.9"), D("0.7"))})
    twice = {one.group: one for one in groups_of(answer(path)["columns"][0]["groups"])}[groups[2].pk]

    # x repaid, 1.02 x sold: (1,000,000 - x) = 0.72 (1,080,000 - 1.02 x), so x = 222,400 / 0.2656.
    assert once.sold == round(1.02 * 222_400 / 0.2656)
    assert once.lost == 0
    assert twice.sold_at == 1
    assert twice.sold > once.sold


def test_a_coin_is_known_by_how_long_its_market_takes(groups: list[CollateralGroup]) -> None:
    """R-FTR-27, R-GEN-79: a tenth of 500,000 a day; 960,000 take 19.2 days"""
    with acting(BUILDER):
        MarketDepth.objects.create(
            asset_id="BTC", effective_at=LONG_AGO, volume_usd=D(500_000), max_share=D("0.1")
        )

    depth = answer()["depths"]["BTC"]

    assert stress_tables.days_to_exit(960_000, (D(depth[0]), D(depth[1]))) == "19.2"
    assert stress_tables.days_to_exit(960_001, (D(depth[0]), D(depth[1]))) == "19.3"
    assert stress_tables.days_to_exit(1, None) == ""


def test_a_redeemed_coin_follows_what_it_is_redeemed_for(groups: list[CollateralGroup]) -> None:
    """R-FTR-27, R-FTR-21"""
    build.asset("WBTC")
    build.price("WBTC", "60000")
    with acting(BUILDER):
        Redemption.objects.create(asset_id="WBTC", underlying_id="BTC", effective_at=LONG_AGO, ratio=D(1))
    owner = build.customer()
    sub = build.account(owner)
    build.deposit(sub, "WBTC", "1")
    build.debt(build.group(build.master(owner), [sub], ["WBTC"]), amount="1000")

    assert {one["coin"]: one["last"] for one in answer()["moves"]} == {
        "BTC": "0.800000000000",
        "USDT": "1",
        "WBTC": "0.800000000000",
    }


def test_a_group_that_owes_a_coin_without_a_price_is_named_and_not_judged(
    groups: list[CollateralGroup],
) -> None:
    """R-FTR-27, R-GEN-22"""
    build.fund_pool("NEW")
    build.debt(groups[2], "NEW", "1", rate="0")

    found = answer()

    assert found["book"] == {"groups": 2, "unjudged": [groups[2].pk]}
    assert totals(found)["liquidated"] == 0


def test_what_is_due_and_not_booked_is_owed(groups: list[CollateralGroup]) -> None:
    """R-FTR-27, R-GEN-40: a loan at 36.5 % owes 0.1 % more for every midnight that nobody has charged yet"""
    owner = build.customer()
    sub = build.account(owner)
    build.deposit(sub, "BTC", "20", at=LONG_AGO)
    build.fund_pool("USDT", "1000000")
    debt = build.debt(build.group(build.master(owner), [sub]), amount="1000000", rate="0.365")
    days = timedelta(days=10)
    build.prices(at=NOON + days, BTC="60000", USDT="1")

    found = groups_of(answer(at=NOON + days)["columns"][0]["groups"])

    assert {one.group: one.owed for one in found}[debt.group_id] == 1_010_000


# --- Nothing but reading ---------------------------------------------------------------------------------


def test_it_cannot_write(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: the database itself refuses, and lets everything be written again afterwards"""
    with pytest.raises(InternalError, match="read-only transaction"), stress_runs.reading():
        StressRun.objects.create(scenario={}, asked_at=NOON)
    with stress_runs.reading():
        assert CollateralGroup.objects.count() == 3
    StressRun.objects.create(scenario={}, asked_at=NOON)


def test_the_same_book_and_scenario_give_the_same_bytes(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: also a second later; no clock is in the answer"""
    first, second = answer(), answer(at=NOON + timedelta(seconds=1))

    assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


# --- A change beside it ----------------------------------------------------------------------------------


def test_lines_ratios_and_mode_that_somebody_thinks_of(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: at 60/65/80 the second is sold too; BTC at 80 % brings the first over 77 %; steps lose no less"""
    lines = answer(change={"limits": ["0.60", "0.65", "0.80"]})
    ratio = answer(change={"ratios": {"BTC": "0.8"}})
    stepped = answer(shocks.joint({"BTC": D("-0.1")}), change={"mode": "stepped"})

    assert [totals(lines, column)["liquidated"] for column in (0, 1)] == [1, 2]
    assert lines["change"] == "lines 60 % / 65 % / 80 %"
    assert [totals(ratio, column)["called"] for column in (0, 1)] == [1, 1]
    assert [totals(ratio, column)["liquidated"] for column in (0, 1)] == [1, 2]
    assert [totals(ratio, column)["called_today"] for column in (0, 1)] == [1, 1]
    assert one_sold(stepped, 1).sold < one_sold(stepped, 0).sold


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "Say what would change"),
        ({"limits": ["0.8", "0.7", "0.9"]}, "The lines must rise"),
        ({"limits": ["0.7", "0.8"]}, "Give three lines"),
        ({"ratios": {"BTC": "1.2"}}, "not one from 0 to 1"),
        ({"ratios": {"GONE": "0.2"}}, "GONE is no collateral coin"),
        ({"mode": "by lot"}, "by lot"),
        ({"proposal": 4}, "There is no waiting proposal 4"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    groups: list[CollateralGroup], told: dict[str, Any], words: str
) -> None:
    """R-FTR-27"""
    with pytest.raises(regimes.BadChange, match=words):
        regimes.change_of(told, at=NOON)


@pytest.mark.parametrize(
    ("command", "arguments", "liquidated"),
    [
        ("risk.publish_ratios", {"asset": "BTC", "tiers": [(D(0), D("0.8"))]}, 2),
        ("risk.publish_handling", {"product": "vip", "mode": Mode.STEPPED}, 1),
    ],
)
def test_a_waiting_proposal(
    groups: list[CollateralGroup], command: str, arguments: dict[str, Any], liquidated: int
) -> None:
    """R-FTR-27, R-ADM-03: what it would do, without it being done; one that is taken back cannot be asked for"""
    maker = Actor.user(build.user("risk_officer"))
    waiting = approvals.propose(
        command=command,
        arguments=arguments,
        title="As proposed",
        preview={},
        reason="test",
        actor=maker,
        at=NOON,
    )

    found = answer(change={"proposal": waiting.pk})

    assert found["change"] == f"{waiting}: As proposed"
    assert totals(found, 1)["liquidated"] == liquidated
    assert totals(found, 0)["liquidated"] == 1
    assert Approval.objects.get().status == Approval.Status.PENDING
    approvals.withdraw(approval_id=waiting.pk, actor=maker, at=NOON)
    with pytest.raises(regimes.BadChange):
        answer(change={"proposal": waiting.pk})


# --- Runs ----------------------------------------------------------------------------------------------------


def test_a_run_is_answered_once_and_one_that_cannot_be_says_why(groups: list[CollateralGroup]) -> None:
    """R-FTR-27"""
    officer = Actor.user(build.user("risk_officer"))
    good = stress_runs.ask(scenario=stress_runs.scenario_of(FALL), actor=officer, at=NOON)
    bad = StressRun.objects.create(
        scenario=stress_runs.scenario_of(FALL, change={"proposal": 9}), asked_at=NOON
    )
    old = StressRun.objects.create(scenario=stress_runs.scenario_of(FALL), asked_at=NOON - timedelta(hours=2))

    assert stress_runs.run_due(at=NOON) == 3
    assert stress_runs.run_due(at=NOON) == 0

    for run in (good, bad, old):
        run.refresh_from_db()
        assert run.finished_at == NOON
    assert good.result["columns"][0]["totals"]["liquidated"] == 1
    assert (bad.result, bad.problem) == (None, "There is no waiting proposal 9 of lines, ratios or a mode.")
    assert old.problem == stress_runs.GIVEN_UP


@pytest.mark.parametrize("role", ["borrower", "vip_manager", "ops"])
def test_who_may_not_watch_the_book_may_not_stress_it(groups: list[CollateralGroup], role: str) -> None:
    """R-FTR-27"""
    user = build.user(role)
    with pytest.raises(NotYourRole):
        stress_runs.ask(scenario=stress_runs.scenario_of(FALL), actor=Actor.user(user), at=NOON)
    assert not StressRun.objects.exists()
    assert not stress_runs.visible_to(user).exists()


# --- The command ---------------------------------------------------------------------------------------------


def told(*arguments: str) -> str:
    out = io.StringIO()
    with time_machine.travel(NOON, tick=False):
        call_command("stress", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_command_prints_a_table_and_writes_the_whole_answer(
    groups: list[CollateralGroup], tmp_path: Path
) -> None:
    """R-FTR-27: both files again byte by byte"""
    files = [(tmp_path / f"{name}.json", tmp_path / f"{name}.csv") for name in "ab"]
    for answered, listed in files:
        words = told(
            "--shock", "BTC=-20%", "--limits", "60/65/80", "--json", str(answered), "--csv", str(listed)
        )

    rows = [line.split() for line in words.splitlines()]
    assert ["liquidated", "1", "2", "+1"] in rows
    assert ["lost,", "USD", "40,000", "40,000", "+0"] in rows
    assert "change: lines 60 % / 65 % / 80 %" in words
    assert files[0][0].read_bytes() == files[1][0].read_bytes()
    assert files[0][1].read_bytes() == files[1][1].read_bytes()
    assert json.loads(files[0][0].read_text())["columns"][1]["totals"]["liquidated"] == 2
    assert len(files[0][1].read_text().splitlines()) == 3


def test_the_command_takes_a_recorded_market_and_a_known_day(
    groups: list[CollateralGroup], tmp_path: Path
) -> None:
    """R-FTR-27"""
    file = tmp_path / "fall.csv"
    rows = [
        f"2020-03-12T10:0{minute}:00Z,BTC,{usd},{usd},{usd},{usd}" for minute, usd in enumerate((100, 80, 90))
    ]
    file.write_text("\n".join(["time_utc,asset,open,high,low,close", *rows]) + "\n")

    assert "3 groups that owe something, 3 steps" in told(str(file))
    assert "10 to 13 March 2020" in told("--day", "2020-03-13", "--late")
    assert "every coin -1 %, at once" in told("--all", "-1%", "--follow", "USDT=BTC")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--day", "2020-03-13", "--all", "-30%"],
        ["--day", "1929"],
        ["--shock", "BTC"],
        ["--shock", "BTC=-20%", "--limits", "80/70/90"],
        ["--shock", "BTC=-20%", "--limits", "a/b/c"],
        ["--shock", "BTC=-20%", "--ratio", "BTC"],
        ["--shock", "BTC=-20%", "--mode", "full", "--proposal", "1"],
        ["--shock", "BTC=-20%", "--json", "/nowhere/at/all.json"],
        ["/nowhere.csv"],
    ],
    ids=" ".join,
)
def test_the_command_says_what_it_does_not_understand(
    groups: list[CollateralGroup], arguments: list[str]
) -> None:
    """R-FTR-27"""
    with pytest.raises(CommandError) as refused:
        told(*arguments)
    assert refused.value.returncode == 2


def test_connection_is_writable_after_a_refusal(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: an answer that is refused half-way leaves no read-only transaction behind"""
    with pytest.raises(regimes.BadChange):
        answer(change={"proposal": 1})
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("off",)


# --- How far it is ----------------------------------------------------------------------------------


def test_it_tells_how_many_steps_of_all_are_done(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: rising to the end, skipped spans counted; with a change both columns are."""
    heard: list[tuple[int, int]] = []
    path = shocks.joint({"BTC": D("-0.2")}, steps=40)

    stress_runs.answer(stress_runs.scenario_of(path), at=NOON, told=lambda *far: heard.append(far))

    assert heard == sorted(heard)
    assert heard[-1] == (40, 40)
    assert {total for _, total in heard} == {40}
    late: list[tuple[int, int]] = []
    stress_runs.answer(stress_runs.scenario_of(path, late=True), at=NOON, told=lambda *far: late.append(far))
    assert max(late) == (40, 40)


def test_how_far_a_run_is_can_be_read_while_it_runs(groups: list[CollateralGroup], monkeypatch: Any) -> None:
    """R-FTR-27: from the run's own count, kept beside the database; the next in the queue knows its place."""
    user = build.user("risk_officer")
    for _ in range(2):
        ask_for(user)
    first, second = StressRun.objects.order_by("pk")
    seen: dict[int, stress_progress.HowFar] = {}
    real = stress_progress.teller

    def spying(run_id: int) -> stress_progress.Told:
        monkeypatch.setattr(stress_progress, "TOLD_EVERY", 0.0)
        tell = real(run_id)

        def both(done: int, total: int) -> None:
            tell(done, total)
            if run_id == first.pk and done == total:
                seen.update(stress_progress.of([first, second]))

        return both

    monkeypatch.setattr(stress_progress, "teller", spying)
    assert stress_progress.of([first]) == {first.pk: stress_progress.HowFar(0, 0, 0)}
    assert stress_runs.run_due(at=NOON) == 2

    assert seen[first.pk] == stress_progress.HowFar(before=0, done=1, total=1)
    assert seen[first.pk].percent == 100
    assert seen[second.pk] == stress_progress.HowFar(before=1, done=0, total=0)
    assert stress_progress.of([first, second]) == {}  # answered


def test_a_run_is_answered_where_nobody_keeps_how_far_it_is(
    groups: list[CollateralGroup], monkeypatch: Any
) -> None:
    """R-FTR-27: the count is worth less than the answer."""

    def broken(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(stress_progress.cache, "set", broken)
    monkeypatch.setattr(stress_progress.cache, "get_many", broken)
    ask_for(build.user("risk_officer"))
    run = StressRun.objects.get()
    assert stress_progress.of([run]) == {run.pk: stress_progress.HowFar(0, 0, 0)}
    assert stress_runs.run_due(at=NOON) == 1
    run.refresh_from_db()
    assert (run.problem, run.result is not None) == ("", True)


def ask_for(user: Any) -> None:
    stress_runs.ask(scenario=stress_runs.scenario_of(FALL), actor=Actor.user(user), at=NOON)


# --- The book by LTV --------------------------------------------------------------------------------


def test_the_book_by_ltv_before_and_after(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: 55.6, 66.7 and 83.3 % now; at -20 % the third is sold whole, the others stand at 69.4 and 83.3 %."""
    column = answer()["columns"][0]
    floors = [int(floor * 100) for floor in LTV_FLOORS]

    def of(moment: str) -> dict[int, list[int]]:
        rows = zip(floors, column["ltvs"][moment], strict=True)
        return {floor: row for floor, row in rows if row[0]}

    assert of("now") == {50: [1, 1_000_000], 65: [1, 1_000_000], 80: [1, 1_000_000]}
    assert of("end") == {65: [1, 1_000_000], 80: [1, 1_000_000]}
    assert column["totals"]["liquidated"] == 1
