"""`manage.py replay`: the same report for the same seed, whole books, and nothing left behind."""

import fcntl
import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from accounts import books, ledger
from accounts.models import JournalEntry
from loans import population, replay
from loans.management.own_database import PREFIX, own_database
from loans.models import Application, Loan
from loans.precautions import Precautions
from risk import book, stress
from risk.feeds.file import bars_of, read_bars
from risk.models import CollateralGroup, CureRule, Deleveraging
from risk.stress import Course
from risk.sweep import SweepReport
from tests.conftest import CommittedDatabase

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "prices"
START = datetime(2026, 3, 1, tzinfo=UTC)
KEYS = [
    *["seed", "mode", "delayed", "auto_cure", "soft"],
    *["groups", "loans", "calls", "liquidations", "groups_liquidated", "steps"],
    *["delays", "delays_cured", "lead_minutes"],
    *["sold_usd", "taken_over_usd", "fees_usd", "shortfall_usd", "interest_usd"],
    *["soft_steps", "soft_sold_usd", "soft_fees_usd", "cures"],
    *["wrong", "missed", "in_vain", "in_vain_usd", "ledger_problems"],
    *["opening_seconds", "sweeps", "sweeps_per_second", "seconds"],
]
CLOCKED = dict.fromkeys(["opening_seconds", "sweeps_per_second", "seconds"], 0)
ORDER = ["top_up", "repay", "swap"]
HEADER = "time_utc,asset,open,high,low,close\n"


def _crash(*, coins: dict[str, tuple[int, str]], hours: int) -> str:
    """A quiet first half, then a fall by more than half in 8 hours, then a little less. Minutes and price by coin."""
    rows = []
    random = Random(7)
    for asset, (minutes, price) in sorted(coins.items()):
        last = Decimal(price)
        for number in range(hours * 60 // minutes):
            hour = number * minutes / 60
            drift = -110 if hours / 2 <= hour < hours / 2 + 8 else 0  # in 1/1000 an hour
            moved = 1 + Decimal(random.randint(-4, 4) * 4 + drift * minutes // 60) / 1000
            opened, last = last, round(last * moved, 6)
            at = START + timedelta(minutes=number * minutes)
            rows.append((at, asset, f"{opened},{max(opened, last)},{min(opened, last)},{last}"))
    return HEADER + "".join(f"{at:%Y-%m-%dT%H:%M:%SZ},{asset},{rest}\n" for at, asset, rest in sorted(rows))


def _replay(file: Path, *, borrowers: int, seed: int = 1, **more: Any) -> tuple[dict[str, Any], str]:
    out, report = StringIO(), file.with_suffix(".json")
    call_command("replay", str(file), borrowers=borrowers, seed=seed, report=report, stdout=out, **more)
    return json.loads(report.read_text()), out.getvalue()


@contextmanager
def _replays(how: int) -> Iterator[None]:
    with (Path(os.environ["LOMBARD_TEST_HOME"]) / "replay.lock").open("w") as guard:
        fcntl.flock(guard, how)
        yield


@pytest.fixture
def beside_others() -> Iterator[None]:
    """While nobody counts databases."""
    with _replays(fcntl.LOCK_SH):
        yield


@pytest.fixture
def alone() -> Iterator[None]:
    """For those who count the databases of the whole server, which parallel workers of a run share."""
    with _replays(fcntl.LOCK_EX):
        yield


def _databases() -> set[str]:
    with psycopg.connect(settings.DATABASE_OWNER_URL) as owner:
        rows = owner.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [PREFIX])
        return {name for (name,) in rows.fetchall()}


@pytest.fixture
def crash(tmp_path: Path) -> Path:
    file = tmp_path / "crash.csv.gz"
    coins = {"BTC": (30, "60000"), "ETH": (15, "3000"), "NEWCOIN": (60, "0.5")}
    file.write_bytes(gzip.compress(_crash(coins=coins, hours=48).encode()))
    return file


@pytest.fixture(scope="module")
def known() -> list[dict[str, Any]]:
    """The plain report, once a test has made it: the same seed gives the same one, as the first test proves."""
    return []


def _plain(crash: Path, known: list[dict[str, Any]]) -> dict[str, Any]:
    if not known:
        known.append(_replay(crash, borrowers=8)[0])
    return known[0]


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("alone")
def test_the_same_seed_gives_the_same_report_and_leaves_nothing(
    committed_db: CommittedDatabase, crash: Path, known: list[dict[str, Any]]
) -> None:
    before = _databases()
    first, told = _replay(crash, borrowers=8)
    second, _ = _replay(crash, borrowers=8)
    known.append(first)

    assert list(first) == KEYS
    assert first | CLOCKED == second | CLOCKED
    assert (first["wrong"], first["missed"]) == (0, 0)
    assert (first["seed"], first["groups"], first["ledger_problems"]) == (1, 8, 0)
    assert (first["auto_cure"], first["soft"], first["soft_steps"], first["cures"]) == (False, False, 0, {})
    assert first["loans"] >= 8
    assert first["calls"] >= 1
    assert first["liquidations"] >= 1
    assert first["lead_minutes"]["min"] <= first["lead_minutes"]["median"] <= first["lead_minutes"]["max"]
    assert all(Decimal(first[key]).as_tuple().exponent == -2 for key in KEYS if key.endswith("_usd"))
    assert Decimal(first["sold_usd"]) > Decimal(first["fees_usd"]) > 0
    last = told.strip().splitlines()[-1]
    assert last.startswith(f"replay: 8 groups, {first['loans']} loans, {first['calls']} calls")
    assert "(0 wrong, 0 missed), 0 ledger problems" in last
    # It worked elsewhere: this database saw nothing of it, and is the default one again.
    assert _databases() == before
    assert connection.settings_dict["NAME"] == committed_db.name
    assert not JournalEntry.objects.exists()


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("beside_others")
def test_steps_and_delays_are_the_same_market_under_other_rules(
    committed_db: CommittedDatabase, crash: Path, known: list[dict[str, Any]]
) -> None:
    """R-GEN-73, R-VIP-60, R-VIP-61"""
    plain = _plain(crash, known)
    told, out = _replay(crash, borrowers=8, mode="stepped", delayed=True)

    assert (plain["mode"], plain["delayed"], plain["delays"]) == ("full", False, 0)
    assert plain["steps"] >= plain["liquidations"] == plain["groups_liquidated"]
    assert (told["mode"], told["delayed"], told["loans"]) == ("stepped", True, plain["loans"])
    assert told["delays"] >= 1
    assert told["liquidations"] >= 1
    assert told["ledger_problems"] == plain["ledger_problems"] == 0
    assert "handling          stepped, delayed" in out


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("beside_others")
def test_precautions_act_and_break_nothing(committed_db: CommittedDatabase, crash: Path) -> None:
    """R-FTR-04, R-FTR-05: rules acted, steps were taken, no sale was wrong, the books are whole"""
    told, out = _replay(crash, borrowers=8, auto_cure=True, soft=True)

    assert (told["auto_cure"], told["soft"]) == (True, True)
    assert sum(cure["times"] for cure in told["cures"].values()) >= 1
    assert all(Decimal(cure["moved_usd"]) > 0 for cure in told["cures"].values())
    assert told["soft_steps"] >= 1
    assert 0 < Decimal(told["soft_fees_usd"]) <= Decimal(told["soft_sold_usd"]) * Decimal("0.005")
    assert told["ledger_problems"] == 0
    assert "handling          full, auto-cure, soft" in out
    assert "(0 wrong, 0 missed)" in out


@pytest.fixture
def course() -> stress.Course:
    """Three coins, priced once an hour; the third has no figures of its own."""
    from risk.feeds.file import Row

    prices = {"BTC": "60000", "ETH": "3000", "NEWCOIN": "0.5"}
    rows = [
        Row(line, START, asset, Decimal(price), Decimal(price), Decimal(price))
        for line, (asset, price) in enumerate(prices.items())
    ]
    return stress.survey(bars_of(rows))


@pytest.mark.django_db
def test_the_book_is_made_by_the_rules_and_spread_up_to_the_initial_line(course: stress.Course) -> None:
    """R-VIP-07, R-VIP-13, R-VIP-50, R-GEN-13"""
    population.publish(coins={*course.coins, *course.longest}, at=course.first_day)
    stress.publish_watch(course, actor=population.JOB, at=course.first_day)
    stress.warm_up(course)
    desk = population.open_desk(coins=course.coins, at=course.opens_at)
    list(population.open_borrowers(desk=desk, count=25, seed=3, at=course.opens_at))

    states = book.states(CollateralGroup.objects.all(), at=course.opens_at).values()
    ltvs = sorted(state.worth().ltv or Decimal(0) for state in states)
    assert len(ltvs) == 25
    assert Decimal("0.34") < ltvs[0] < Decimal("0.45")
    assert Decimal("0.65") < ltvs[-1] <= Decimal("0.72")
    assert {len(state.members) for state in states} == {1, 2, 3}
    assert {len(state.coins) for state in states} == {1, 2, 3, 4}
    assert set(Application.objects.values_list("status", flat=True)) == {"disbursed"}
    terms = set(Loan.objects.values_list("rate_type", "term_days"))
    assert terms == {(kind, days) for kind in ("fixed", "flexible") for days in (30, 60)} | {
        ("flexible", None)
    }
    first = {}
    for loan in Loan.objects.order_by("pk"):
        order = first.setdefault(loan.customer_id, {})
        order[loan.line.application_id] = order.get(loan.line.application_id, 0) + (
            loan.amount * desk.prices[loan.asset_id]
        )
    assert all(next(iter(orders.values())) >= 500_000 for orders in first.values())
    assert all(value >= 50_000 for orders in first.values() for value in orders.values())
    assert ledger.problems() == []


@pytest.mark.django_db
def test_precautions_change_neither_loans_nor_collateral(course: stress.Course) -> None:
    """R-FTR-04, R-FTR-05: the same draws; a reserve of 8 %, a tenth of each loan kept, rules in their order"""
    population.publish(coins={*course.coins, *course.longest}, at=course.first_day)
    stress.publish_watch(course, actor=population.JOB, at=course.first_day)
    stress.warm_up(course)
    desk = population.open_desk(coins=course.coins, at=course.opens_at)

    def opened(prepared: Precautions) -> list[Any]:
        list(population.open_borrowers(desk=desk, count=3, seed=3, at=course.opens_at, prepared=prepared))
        states = book.states(CollateralGroup.objects.order_by("pk"), at=course.opens_at).values()
        loans = Loan.objects.order_by("pk").values_list("asset", "amount", "rate_type", "term_days")
        return [list(loans), [state.worth() for state in states]]

    with transaction.atomic():
        plain = opened(Precautions())
        assert not CureRule.objects.exists()
        assert not Deleveraging.objects.exists()
        transaction.set_rollback(True)
    assert opened(Precautions(auto_cure=True, soft=True)) == plain
    chosen = set(Deleveraging.objects.values_list("start", "target", "step_share"))
    assert chosen == {(Decimal("0.82"), Decimal("0.76"), Decimal("0.1"))}
    assert set(CureRule.objects.values_list("trigger", "target")) == {(Decimal("0.75"), Decimal("0.72"))}
    for group in CollateralGroup.objects.all():
        rules = list(CureRule.objects.filter(group=group).order_by("position"))
        assert [rule.kind for rule in rules] == sorted([rule.kind for rule in rules], key=ORDER.index)
        top_up = rules[0]
        market = book.state_of(group, at=course.opens_at).worth().market
        reserve = books.wallet(top_up.source, top_up.asset_id, "funding").balance
        worth = reserve * desk.prices[top_up.asset_id]
        assert market * Decimal("0.08") - desk.prices[top_up.asset_id] < worth <= market * Decimal("0.08")
        for debt in group.debts.all():
            lent = sum(one.principal for one in group.debts.filter(asset=debt.asset))
            assert books.wallet(group.receiver, debt.asset, "spot").balance - lent / 10 < 1
    assert ledger.problems() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEADER}2026-03-01T00:00:00Z,BTC,1,1,1,1\n2026-03-01T00:01:00Z,BTC,1,1,1,free\n", "line 3"),
        (f"{HEADER}2026-03-01T00:00:00Z,BTC,1,1,1,-1\n", "line 2"),
        ("time,asset\n", "line 1"),
        ("", "empty"),
        (None, "cannot be read"),
    ],
)
@pytest.mark.usefixtures("alone")
def test_a_bad_file_is_refused_by_its_line_before_anything_is_made(
    committed_db: CommittedDatabase, tmp_path: Path, text: str | None, said: str
) -> None:
    file = tmp_path / "bad.csv"
    if text is not None:
        file.write_text(text)
    before = _databases()
    with pytest.raises(CommandError, match=said) as refused:
        _replay(file, borrowers=1)
    assert refused.value.returncode == 2
    assert not file.with_suffix(".json").exists()
    assert _databases() == before


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("beside_others")
def test_a_book_opened_at_once_goes_through_the_same_market(
    committed_db: CommittedDatabase, crash: Path, known: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same figures, whichever way the borrowers were opened; joined bars and a window are another market"""
    plain = _plain(crash, known)
    monkeypatch.setattr("loans.replay.BY_COMMANDS", 3)
    at_once, _ = _replay(crash, borrowers=8)
    assert at_once | CLOCKED == plain | CLOCKED

    joined, _ = _replay(
        crash,
        borrowers=8,
        every=timedelta(hours=1),
        since=START + timedelta(hours=12),
        until=START + timedelta(hours=36),
    )
    assert joined["sweeps"] == 23 < plain["sweeps"]
    assert (joined["groups"], joined["wrong"], joined["missed"], joined["ledger_problems"]) == (8, 0, 0, 0)


@pytest.mark.parametrize("word", ["--every=7m", "--every=2h", "--every=0m", "--from=yesterday"])
def test_bars_and_times_that_make_no_sense_are_refused(crash: Path, word: str) -> None:
    with pytest.raises(CommandError, match=r"every|from"):
        call_command("replay", str(crash), word)


def test_a_window_without_bars_is_refused(crash: Path) -> None:
    with pytest.raises(CommandError, match="no bars between"):
        call_command("replay", str(crash), since=START + timedelta(days=90))


@pytest.mark.parametrize(
    "options", [{"borrowers": 0}, {"borrowers": 1_000_000}, {"report": Path("/nowhere/r.json")}]
)
def test_bad_options_are_refused(crash: Path, options: dict[str, Any]) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("replay", str(crash), **options)
    assert refused.value.returncode == 2


@pytest.mark.usefixtures("alone")
def test_a_recording_nobody_could_lend_on_is_refused_and_its_database_dropped(
    committed_db: CommittedDatabase, tmp_path: Path
) -> None:
    file = tmp_path / "dollars.csv"
    file.write_text(f"{HEADER}2026-03-01T00:00:00Z,USDC,1,1,1,1\n")
    before = _databases()
    with pytest.raises(CommandError, match="no coin .* moves") as refused:
        _replay(file, borrowers=1)
    assert refused.value.returncode == 2
    assert _databases() == before
    assert connection.settings_dict["NAME"] == committed_db.name


@pytest.fixture
def forgotten(committed_db: CommittedDatabase) -> Iterator[str]:
    """The database of a replay that was killed."""
    name = f"{PREFIX}forgotten"
    with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}")
        yield name
        owner.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.usefixtures("alone")
def test_what_a_killed_replay_left_is_removed_by_the_next_one_but_not_one_in_use(forgotten: str) -> None:
    with own_database():
        mine = _databases()
        assert forgotten not in mine
        with own_database():
            assert len(_databases() - mine) == 1
            assert mine <= _databases()
    assert not mine & _databases()


@pytest.mark.timeout(240)
@pytest.mark.skipif(not REAL.is_dir(), reason="NO REAL PRICES: ../shared/data/prices is absent")
@pytest.mark.usefixtures("beside_others")
def test_black_thursday_is_called_sold_and_whole(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    """The real crash, its 24 worst hours. R-GEN-41, R-GEN-22"""
    source = REAL / "2020-03-12_black_thursday.csv.gz"
    lines = gzip.decompress(source.read_bytes()).decode().splitlines(keepends=True)
    file = tmp_path / "thursday.csv"
    file.write_text(
        HEADER + "".join(line for line in lines[1:] if "2020-03-12T08" <= line[:13] < "2020-03-13T04")
    )
    assert {bar.asset for bar in read_bars(file)} >= {"BTC", "ETH", "DOGE"}

    report, _ = _replay(file, borrowers=10)

    assert report["ledger_problems"] == 0
    assert report["calls"] >= 1
    assert report["liquidations"] >= 1
    assert Decimal(report["interest_usd"]) > 0


@pytest.mark.parametrize(("steps", "looks"), [(5, 6), (20, 21), (39, 20), (400, 21)])
def test_the_planner_looks_at_the_start_and_at_most_twenty_times_on_the_way(
    steps: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STYLE 15: a replay of ten days grows its tables as they would in months"""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    course, report = SimpleNamespace(after=lambda: [at] * steps), SweepReport()
    fed = [(SimpleNamespace(at=at), report)] * steps
    monkeypatch.setattr("loans.replay.stress.run", lambda *_, **__: iter(fed))
    seen: list[None] = []
    replay.feed(cast(Course, course), told=lambda *_: None, analyse=lambda: seen.append(None))
    assert len(seen) == looks
