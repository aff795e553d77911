"""R-FTR-04: rules that cure by themselves: what each kind does, its caps, its rest, and what it never does."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.membership import NotYourPart
from accounts.models import AuditRecord, Membership, Notice
from loans import auto_cure, cure_plans, cure_rules, tasks
from loans.cure_rules import BadRule, NoSuchRule, TooManyRules
from loans.models import Loan
from loans.vip import repayment
from risk import book, freezes, gate, groups, sweep
from risk.models import (
    CollateralGroup,
    CureRule,
    CureRun,
    DebtEntry,
    Freeze,
    Liquidation,
    MarginCall,
    Movement,
)
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk, everything

D = Decimal
LATER = TEN + timedelta(minutes=5)
InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def set_up() -> Desk:
    """1,000,000 USDT, spent, against 20 BTC and 100 ETH at 50 %: 1,350,000 counts, LTV 74.07 %."""
    build.asset("ETH", places=6)
    build.ratios("ETH", ("0", "0.5"))
    build.price("ETH", "3000", at=TEN)
    made = desk.set_up(btc="22")
    build.fund_pool("BTC", "1000")
    build.fund_pool("ETH", "100000")
    build.deposit(made.sub, "ETH", "100", at=TEN)
    return made


@pytest.fixture
def market(db: None) -> Desk:
    return set_up()


def borrowed(market: Desk) -> CollateralGroup:
    group = desk.drawn(market, coins=("BTC", "ETH", "USDT")).group
    desk.spend(market, "1000000")
    return group


def quote(at: datetime = LATER, btc: str = "60000", eth: str = "3000") -> None:
    build.prices(at=at, BTC=btc, ETH=eth, USDT="1")


def rule(market: Desk, group: CollateralGroup, how: str, **more: Any) -> CureRule:
    """From 75 % to 72 %; BTC from the master's Funding, USDT, or ETH into BTC."""
    base: dict[str, Any] = {"trigger": D("0.75"), "target": D("0.72"), "group_id": group.pk, "kind": how}
    base |= {
        "top_up": {
            "asset": "BTC",
            "source_uid": market.master.pk,
            "source_wallet": "funding",
            "account_uid": market.sub.pk,
        },
        "repay": {"asset": "USDT"},
        "swap": {"asset": "ETH", "buy": "BTC", "account_uid": market.sub.pk},
        "pray": {"asset": "USDT"},
    }[how]
    return cure_rules.set_rule(**(base | {"actor": market.borrower, "at": TEN} | more))


def ltv(group: CollateralGroup, at: datetime = LATER) -> Decimal:
    found = book.state_of(group, at=at).worth(permission=False).ltv
    assert found is not None
    return found


# --- What each kind does ------------------------------------------------------------------------------------


def test_the_rehearsal_says_what_the_rules_then_do(market: Desk) -> None:
    """R-FTR-04: a dry run before it changes nothing for the rule after it, on paper as in earnest."""
    group = borrowed(market)
    build.deposit(market.master, "BTC", "3", wallet="funding", at=TEN)
    build.deposit(market.master, "USDT", "200000", at=TEN)
    rule(market, group, "repay", position=1, is_dry_run=True)
    rule(market, group, "top_up", position=2)
    quote(btc="53000")
    state = book.state_of(group, at=LATER)
    told = cure_plans.rehearse(cure_rules.live_rules(group), state, at=LATER)
    planned = [one.plan.amount for one in told if one.plan is not None]
    auto_cure.run_due(at=LATER)
    runs = list(CureRun.objects.order_by("rule__position"))
    assert [run.outcome for run in runs] == [CureRun.Outcome.WOULD, CureRun.Outcome.DONE]
    assert [run.amount for run in runs] == planned
    assert runs[1].amount == D("1.37526206")


def test_a_top_up_moves_the_least_that_reaches_the_target(market: Desk) -> None:
    """R-FTR-04: 22 x 54,000 + 150,000 = 1,338,000 : 74.74 %, not yet; at 53,000 it is 1,316,000 : 75.99 %.

    1,000,000 / 0.72 = 1,388,888.89, so 72,888.89 is missing: 1.37526206 BTC.
    """
    group = borrowed(market)
    mine = rule(market, group, "top_up")
    build.deposit(market.master, "BTC", "3", wallet="funding", at=TEN)
    quote(btc="54000")
    assert auto_cure.run_due(at=LATER).runs == []
    at = LATER + timedelta(minutes=1)
    quote(at, btc="53000")
    report = auto_cure.run_due(at=at)
    [run] = CureRun.objects.all()
    assert (report.groups, report.runs, report.failed) == (1, [run], [])
    assert (run.rule_id, run.outcome, run.amount, run.why) == (mine.pk, "done", D("1.37526206"), "")
    assert (run.ltv_before, run.ltv_after) == (D("0.759878419452"), ltv(group, at))
    assert ltv(group, at) <= D("0.72")
    assert build.balance(market.master, "BTC", wallet="funding") == D("1.62473794")
    assert build.balance(market.sub, "BTC") == D("23.37526206")
    movement = Movement.objects.get(pk=run.facts["movement"])
    assert (movement.kind, movement.amount) == ("transfer", D("1.37526206"))
    audit = AuditRecord.objects.get(subject="gate.transfer")
    assert (audit.actor, audit.reason) == ("job:auto_cure", f"Cure rule 1 (add collateral) of {group}")
    notice = Notice.objects.get(event=f"auto-cure:{run.pk}")
    assert "1.37526206 BTC moved from" in notice.body
    assert "LTV is 71.99 % now" in notice.body


def test_a_repayment_takes_only_spot(market: Desk) -> None:
    """R-FTR-04: 1,316,000 x 0.72 = 947,520, so 52,480 is repaid; what lies in Funding stays."""
    group = borrowed(market)
    rule(market, group, "repay")
    build.deposit(market.master, "USDT", "60000", at=TEN)
    build.deposit(market.master, "USDT", "60000", wallet="funding", at=TEN)
    quote(btc="53000")
    auto_cure.run_due(at=LATER)
    run = CureRun.objects.get()
    assert (run.outcome, run.amount, run.ltv_after) == ("done", 52_480, D("0.72"))
    entry = DebtEntry.objects.get(pk=run.facts["entries"][0])
    assert (entry.kind, entry.principal) == ("repayment", -52_480)
    assert build.balance(market.master, "USDT") == 7_520
    assert build.balance(market.master, "USDT", wallet="funding") == 60_000


def test_a_swap_sells_the_least_into_the_better_coin(market: Desk) -> None:
    """R-FTR-04: 72,888.89 is missing, ETH counts half: 145,777.777778 of it at 3,000 is 48.592593 ETH."""
    group = borrowed(market)
    rule(market, group, "swap")
    quote(btc="53000")
    auto_cure.run_due(at=LATER)
    run = CureRun.objects.get()
    assert (run.outcome, run.amount) == ("done", D("48.592593"))
    assert run.got_amount == D("2.75052413")
    assert build.balance(market.sub, "ETH") == D("51.407407")
    assert build.balance(market.sub, "BTC") == D("24.75052413")
    assert ltv(group) <= D("0.72")


def test_rules_act_in_their_order_each_on_what_the_one_before_left(market: Desk) -> None:
    """R-FTR-04: at 80 %: 10,000 USDT first, then 0.1 BTC, then ETH for the rest"""
    group = borrowed(market)
    swap, top_up, repay = (
        rule(market, group, kind, position=place)
        for kind, place in (("swap", 3), ("top_up", 2), ("repay", 1))
    )
    build.deposit(market.master, "USDT", "10000", at=TEN)
    build.deposit(market.master, "BTC", "0.1", wallet="funding", at=TEN)
    quote(btc="50000")
    auto_cure.run_due(at=LATER)
    runs = list(CureRun.objects.order_by("pk"))
    assert [(run.rule_id, run.outcome) for run in runs] == [
        (repay.pk, "done"),
        (top_up.pk, "done"),
        (swap.pk, "done"),
    ]
    assert [run.amount for run in runs[:2]] == [10_000, D("0.1")]
    assert runs[2].amount == 80  # 990,000 / 0.72 - 1,255,000 = 120,000; half of ETH counts: 240,000 at 3,000
    assert ltv(group) <= D("0.72")


def test_loans_of_one_coin_are_repaid_as_a_sale_would(market: Desk) -> None:
    """R-FTR-04, R-GEN-71: the one that expires first, in one run"""
    group = borrowed(market)
    desk.drawn(market, "50000", coins=("BTC", "ETH", "USDT"), term_days=60)
    desk.spend(market, "50000")
    rule(market, group, "repay")
    first, second = group.debts.order_by("pk")
    build.deposit(market.master, "USDT", "2000000", at=TEN)
    quote(btc="1900", eth="100")  # 46,800 counts: both are far too much
    auto_cure.run_due(at=LATER)
    run = CureRun.objects.get()
    first.refresh_from_db(), second.refresh_from_db()
    assert first.closed_at == LATER
    assert second.principal == D("33696")  # 46,800 x 0.72
    assert run.facts["debts"] == [first.pk, second.pk]
    assert ltv(group) == D("0.72")


# --- Limits -------------------------------------------------------------------------------------------------------


def test_caps_and_rest(market: Desk) -> None:
    """R-FTR-04: 20,000 each, 30,000 in 24 hours, an hour between"""
    group = borrowed(market)
    mine = rule(market, group, "repay", most_each=D(20_000), most_daily=D(30_000), cooling_minutes=60)
    build.deposit(market.master, "USDT", "900000", at=TEN)
    done = []
    for minutes in (0, 59, 60, 121, 180, 24 * 60 - 1, 24 * 60):
        at = LATER + timedelta(minutes=minutes)
        quote(at, btc="50000")
        auto_cure.run_due(at=at)
        done.append(sum(run.amount for run in mine.runs.filter(outcome="done")))
    # At 24 h the first 20,000 are no longer of the last 24 hours.
    assert done == [20_000, 20_000, 30_000, 30_000, 30_000, 30_000, 50_000]
    refused = list(mine.runs.filter(outcome="refused").order_by("pk"))
    assert len(refused) == 2  # told once in its cooling time
    assert refused[0].why == "Its cap of 30000 USDT in 24 hours is used up."


def test_a_dry_run_moves_nothing(market: Desk) -> None:
    """R-FTR-04: it only writes down what it would do, once in its cooling time"""
    group = borrowed(market)
    mine = rule(market, group, "repay", is_dry_run=True)
    build.deposit(market.master, "USDT", "60000", at=TEN)
    quote(btc="53000")
    before = everything()
    auto_cure.run_due(at=LATER)
    auto_cure.run_due(at=LATER + timedelta(minutes=10))
    assert everything() == before
    run = mine.runs.get()
    assert (run.outcome, run.amount, run.ltv_after) == ("would", 52_480, D("0.72"))


def test_a_dry_run_says_what_would_be_refused(market: Desk) -> None:
    """R-FTR-04, R-ADM-04: its log must not promise what the gate would refuse; nothing moves either way"""
    group = borrowed(market)
    rule(market, group, "swap", is_dry_run=True)
    quote(btc="53000")
    freezes.place(
        what=Freeze.What.TRADE,
        reason="Dispute",
        ends_at=LATER + timedelta(hours=1),
        group_id=group.pk,
        actor=BUILDER,
        at=TEN,
    )
    before = everything()
    [run] = auto_cure.run_due(at=LATER).runs
    assert everything() == before
    assert (run.outcome, run.amount, run.facts["code"]) == ("refused", None, "frozen")


def test_a_little_is_still_a_help_but_not_less_than_ten_dollars(market: Desk) -> None:
    """R-FTR-04"""
    group = borrowed(market)
    mine = rule(market, group, "repay")
    build.deposit(market.master, "USDT", "9.99", at=TEN)
    quote(btc="50000")
    auto_cure.run_due(at=LATER)
    auto_cure.run_due(at=LATER + timedelta(minutes=1))
    run = mine.runs.get()  # told once
    assert (run.outcome, run.why) == ("refused", "What is there is worth less than 10 USD.")
    build.deposit(market.master, "USDT", "0.01", at=LATER)
    at = LATER + timedelta(minutes=2)
    quote(at, btc="50000")
    auto_cure.run_due(at=at)  # a refusal is no rest
    run = mine.runs.latest("pk")
    assert (run.outcome, run.amount) == ("done", 10)
    assert run.why == "All that was there or allowed; the target is not reached."


def test_the_gate_and_freezes_say_no_as_to_a_person(market: Desk) -> None:
    """R-FTR-04, R-ADM-04: kept with its reason, and nothing moves"""
    group = borrowed(market)
    mine = rule(market, group, "top_up")
    build.deposit(market.master, "BTC", "3", wallet="funding", at=TEN)
    quote(btc="53000")
    freezes.place(
        what=Freeze.What.FULL,
        reason="Dispute",
        ends_at=LATER + timedelta(hours=1),
        account_uid=market.master.pk,
        actor=BUILDER,
        at=TEN,
    )
    before = everything()
    auto_cure.run_due(at=LATER)
    assert everything() == before
    run = mine.runs.get()
    assert run.outcome == "refused"
    assert "Dispute" in run.why
    assert (run.facts["code"], run.amount) == ("frozen", None)


def test_old_prices_do_nothing(market: Desk) -> None:
    """R-FTR-04, R-GEN-22: neither for what is owed nor for what would be moved"""
    group = borrowed(market)
    mine = rule(market, group, "top_up", target=D("0.6"))
    build.deposit(market.master, "BTC", "3", wallet="funding", at=TEN)
    quote(btc="50000")
    stale = LATER + timedelta(hours=3)
    before = everything()
    assert auto_cure.run_due(at=stale).groups == 0
    build.prices(at=stale, USDT="1", ETH="3000")  # what is owed is fresh again, BTC is not
    auto_cure.run_due(at=stale)
    assert everything() == before
    run = mine.runs.get()
    assert run.why == "There is no fresh price of BTC."


def test_a_group_of_another_loan_is_not_called_for_it(market: Desk) -> None:
    """R-FTR-04: from an account that secures another group only what that group's LTV lets out"""
    group = borrowed(market)
    other = build.account(market.owner)
    build.deposit(other, "BTC", "10", at=TEN)
    neighbour = build.group(build.account(market.owner), [other], ["BTC"])
    build.debt(neighbour, amount="370000", rate="0", at=TEN)
    mine = rule(market, group, "top_up", source_uid=other.pk, source_wallet="spot")
    quote(btc="52000")  # 370,000 : 520,000 = 71.15 %
    auto_cure.run_due(at=LATER)
    run = mine.runs.get()
    assert run.outcome == "done"
    assert 0 < run.amount < D("0.2")
    state = book.state_of(neighbour, at=LATER)
    assert state.worth().is_below(D("0.72"))


def test_coins_never_move_into_an_account_that_left_the_group(market: Desk) -> None:
    """R-FTR-04, R-VIP-55: it secures another group now; the rule says so, and its coins stay where they are"""
    group = borrowed(market)
    gone = build.account(market.owner)
    build.deposit(gone, "BTC", "5", at=TEN)
    groups.add_account(group_id=group.pk, uid=gone.pk, max_accounts=50, actor=BUILDER, at=TEN)
    rule(market, group, "top_up", account_uid=gone.pk)
    build.deposit(market.master, "BTC", "3", wallet="funding", at=TEN)
    quote(TEN, btc="80000")
    groups.remove_account(group_id=group.pk, uid=gone.pk, actor=BUILDER, at=TEN)
    build.group(build.account(market.owner), [gone], ["BTC"])
    quote(btc="53000")
    before = everything()
    [run] = auto_cure.run_due(at=LATER).runs
    assert (run.outcome, run.amount) == ("refused", None)
    assert "no collateral account of this group any more" in run.why
    assert everything() == before
    assert build.balance(market.master, "BTC", wallet="funding") == D(3)


def test_what_counts_already_is_not_added_a_second_time(market: Desk) -> None:
    """R-FTR-04: the rule's source became collateral, and a new initial line would let its coins move inside"""
    group = borrowed(market)
    joined = build.account(market.owner)
    rule(market, group, "top_up", source_uid=joined.pk, source_wallet="spot")
    build.deposit(joined, "BTC", "1", at=TEN)
    groups.add_account(group_id=group.pk, uid=joined.pk, max_accounts=50, actor=BUILDER, at=TEN)
    build.limits("0.80", "0.85", "0.91", "0.95", at=TEN, customer=market.owner)
    quote(btc="50500")  # 1,000,000 : 1,311,500 = 76.25 %
    [run] = auto_cure.run_due(at=LATER).runs
    assert (run.outcome, "counts for this group already" in run.why) == ("refused", True)
    assert build.balance(joined, "BTC") == D(1)


def test_a_group_being_sold_or_repaid_is_left_alone(market: Desk) -> None:
    """R-FTR-04: nothing is due for a closed group or a running sale"""
    group = borrowed(market)
    rule(market, group, "repay")
    build.deposit(market.master, "USDT", "1100000", at=TEN)
    repayment.repay(loan_id=Loan.objects.get().pk, share=D(1), actor=market.borrower, at=LATER)
    quote(btc="1")
    assert auto_cure.run_due(at=LATER).groups == 0


# --- Beside the sweep -------------------------------------------------------------------------------------------


def test_what_cures_itself_is_not_called(market: Desk) -> None:
    """R-FTR-04: 1,000,000 : 1,250,000 = 80 % is a call, unless the rule comes first"""
    group = borrowed(market)
    rule(market, group, "repay")
    build.deposit(market.master, "USDT", "200000", at=TEN)
    quote(btc="50000")
    with visit.at(LATER):
        tasks.watch()
    assert CureRun.objects.get().outcome == "done"
    assert not MarginCall.objects.exists()
    assert ltv(group) <= D("0.72")


def test_a_rule_that_breaks_never_stops_the_sweep(market: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-FTR-04: the call comes all the same, and the fault is reported"""
    group = borrowed(market)
    rule(market, group, "repay")
    build.deposit(market.master, "USDT", "200000", at=TEN)
    quote(btc="50000")

    def broken(**_: object) -> None:
        raise IntegrityError("broken")

    monkeypatch.setattr(auto_cure.repayment, "repay", broken)
    with visit.at(LATER), pytest.raises(tasks.CureIncomplete):
        tasks.watch()
    assert MarginCall.objects.get().group_id == group.pk
    assert not CureRun.objects.exists()


def test_no_time_left_is_told_and_the_next_pass_goes_on(market: Desk) -> None:
    """R-FTR-04: the sweep never waits long for rules"""
    group = borrowed(market)
    rule(market, group, "repay")
    build.deposit(market.master, "USDT", "200000", at=TEN)
    quote(btc="50000")
    report = auto_cure.run_due(at=LATER, most_seconds=-1)
    assert (report.groups, report.left, report.runs) == (0, 1, [])
    assert auto_cure.run_due(at=LATER).count("done") == 1


def test_groups_that_nothing_helps_do_not_take_the_time_of_others(
    market: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-FTR-04: a refusal is no rest, yet whoever has not tried lately comes first, whatever its LTV"""
    worse = borrowed(market)
    rule(market, worse, "repay")  # there is nothing in the receiver's Spot
    receiver, sub = build.account(market.owner), build.account(market.owner)
    build.deposit(sub, "BTC", "1", at=TEN)
    better = build.group(receiver, [sub], ["BTC"])
    build.debt(better, amount="38000", rate="0", at=TEN)
    rule(market, better, "top_up", account_uid=sub.pk)
    build.deposit(market.master, "BTC", "1", wallet="funding", at=TEN)
    quote(btc="50000")  # 80 and 76 %
    one_group = [0.0, 0.0, 9.0]  # the clock: at the start, at the first group, at the second
    for second, expected in ((0, [("refused", worse.pk)]), (5, [("done", better.pk)])):
        monkeypatch.setattr(auto_cure, "time", SimpleNamespace(monotonic=iter(one_group).__next__))
        report = auto_cure.run_due(at=LATER + timedelta(seconds=second), most_seconds=3)
        assert [(run.outcome, run.rule.group_id) for run in report.runs] == expected
        assert report.left == 1


# --- Setting and removing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("repay", {"trigger": D("0.91")}, "below the liquidation line of 91 %"),
        ("repay", {"trigger": D("0.7199")}, "from the initial line of 72 % on"),
        ("repay", {"target": D("0.75")}, "The target must be above 0 and below 75 %"),
        ("repay", {"target": D(0)}, "The target must be above 0"),
        ("repay", {"asset": "BTC"}, "owes no BTC; it owes USDT"),
        ("repay", {"most_each": D("0.000000001")}, "A cap is an amount"),
        ("repay", {"cooling_minutes": 0}, "rests 1 to 10080 minutes"),
        ("repay", {"position": 11}, "places 1 to 10"),
        ("top_up", {"source_wallet": "custody"}, "one of your own wallets"),
        ("top_up", {"asset": "SOL"}, "There is no coin SOL"),
        ("top_up", {"account_uid": 1}, "one of the group's collateral accounts"),
        ("swap", {"buy": "ETH"}, "two coins"),
        ("swap", {"buy": None}, "two coins"),
        ("pray", {}, "adds collateral, repays or swaps"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(
    market: Desk, kind: str, changes: dict[str, Any], says: str
) -> None:
    """R-FTR-04: with the reason; nothing is set"""
    group = borrowed(market)
    with pytest.raises(BadRule, match=says):
        rule(market, group, kind, **changes)
    assert not CureRule.objects.exists()


def test_a_wallet_that_counts_already_and_a_strangers_are_no_source(market: Desk) -> None:
    """R-FTR-04"""
    group = borrowed(market)
    with pytest.raises(BadRule, match="counts for this group already"):
        rule(market, group, "top_up", source_uid=market.sub.pk, source_wallet="spot")
    stranger = build.master(build.customer())
    with pytest.raises(Refused):
        rule(market, group, "top_up", source_uid=stranger.pk)
    with pytest.raises(BadRule, match="your own wallets"):
        rule(market, group, "top_up", source_uid=stranger.pk, actor=BUILDER)
    assert not CureRule.objects.exists()


def test_a_trader_of_the_firm_may_not_set_rules(market: Desk) -> None:
    """R-FTR-04, R-ADM-09: coins would move without the treasurer"""
    group = borrowed(market)
    trader = build.user()
    with acting(BUILDER):
        Membership.objects.create(customer=market.owner, user=trader, since=TEN, role="trader")
    with pytest.raises(NotYourPart, match="set warnings, automatic rules"):
        rule(market, group, "repay", actor=Actor.user(trader))
    assert not CureRule.objects.exists()


def test_ten_rules_are_enough_and_one_removed_makes_room(market: Desk) -> None:
    """R-FTR-04: places are kept; a removed rule does nothing more"""
    group = borrowed(market)
    rules = [rule(market, group, "repay") for _ in range(10)]
    assert [one.position for one in cure_rules.live_rules(group)] == list(range(1, 11))
    with pytest.raises(TooManyRules, match="at most 10"):
        rule(market, group, "repay")
    by: dict[str, Any] = {"group_id": group.pk, "actor": market.borrower, "at": LATER}
    for one in rules[:1] + rules[2:]:
        cure_rules.remove_rule(rule_id=one.pk, **by)
    with pytest.raises(NoSuchRule):
        cure_rules.remove_rule(rule_id=rules[0].pk, **by)
    with pytest.raises(BadRule, match="Another rule stands at place 2"):
        rule(market, group, "repay", position=2)
    assert rule(market, group, "repay", position=1).position == 1
    build.deposit(market.master, "USDT", "200000", at=TEN)
    quote(btc="50000")
    auto_cure.run_due(at=LATER)
    assert CureRun.objects.get().rule.position == 1


# --- Whatever the prices ----------------------------------------------------------------------------------------


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    btc=st.integers(35_000, 60_000),
    eth=st.integers(500, 3_000),
    spot=st.integers(0, 400_000),
    funding=st.integers(0, 5),
    kinds=st.permutations(["top_up", "repay", "swap"]),
    cap=st.one_of(st.none(), st.integers(1, 20)),
)
def test_rules_only_ever_lower_ltv_and_stop_at_their_target(
    market: Desk, btc: int, eth: int, spot: int, funding: int, kinds: list[str], cap: int | None
) -> None:
    """R-FTR-04: never worse, never past the target by more than a unit, never more than the caps, books balanced"""
    with transaction.atomic():
        group = borrowed(market)
        for place, kind in enumerate(kinds, start=1):
            most = None if cap is None else D(cap) * (1000 if kind == "repay" else 1)
            rule(market, group, kind, position=place, most_each=most)
        if spot:
            build.deposit(market.master, "USDT", str(spot), at=TEN)
        if funding:
            build.deposit(market.master, "BTC", str(funding), wallet="funding", at=TEN)
        quote(btc=str(btc), eth=str(eth))
        before = ltv(group)
        auto_cure.run_due(at=LATER)
        runs = list(CureRun.objects.order_by("pk"))
        event(" ".join(f"{run.rule.kind} {run.outcome}" for run in runs) or "nothing")
        last = before
        for run in runs:
            if run.outcome == "done":
                assert run.ltv_after < run.ltv_before == last
                assert run.ltv_after > D("0.7199")
                assert run.rule.most_each is None or run.amount <= run.rule.most_each
                last = run.ltv_after
        assert ltv(group) == last
        assert (before < D("0.75")) == (not runs)
        transaction.set_rollback(True)


# --- Races, with real commits ----------------------------------------------------------------------------------


@pytest.fixture
def at_80(committed_db: object) -> tuple[Desk, CollateralGroup]:
    market = set_up()
    group = borrowed(market)
    build.deposit(market.master, "USDT", "400000", at=TEN)
    rule(market, group, "repay")
    quote(btc="50000")
    return market, group


def test_two_passes_at_once_act_once(at_80: tuple[Desk, CollateralGroup], in_threads: InThreads) -> None:
    """R-FTR-04: 100,000 is repaid, not 200,000"""
    _, group = at_80
    reports = in_threads([lambda: auto_cure.run_due(at=LATER)] * 6)
    assert [report.failed for report in reports] == [[]] * 6
    assert CureRun.objects.get().amount == 100_000
    assert group.debts.get().principal == 900_000


def test_a_repayment_at_the_same_moment_is_seen(
    at_80: tuple[Desk, CollateralGroup], in_threads: InThreads
) -> None:
    """R-FTR-04: whoever comes first; LTV 72 % after a repayment of 60,000 needs 40,000 more, or none below 75 %"""
    market, group = at_80
    loan = Loan.objects.get()

    def repay() -> DebtEntry:
        return repayment.repay(loan_id=loan.pk, amount=D(60_000), actor=market.borrower, at=LATER)

    answers = in_threads([repay, lambda: auto_cure.run_due(at=LATER)])
    assert isinstance(answers[0], DebtEntry)
    assert answers[1].failed == []
    run = CureRun.objects.get()
    assert (run.amount, group.debts.get().principal) in [(40_000, 900_000), (100_000, 840_000)]


def test_beside_the_sweep_nothing_is_sold_that_was_cured(
    at_80: tuple[Desk, CollateralGroup], in_threads: InThreads
) -> None:
    """R-FTR-04: at 95.2 % a sale or a cure, never a sale of what the rule had cured"""
    market, group = at_80
    for second in (60, 65):
        at = LATER + timedelta(seconds=second)
        quote(at, btc="41000")
    sweep.sweep(at=LATER + timedelta(seconds=60))
    at = LATER + timedelta(seconds=65)
    answers = in_threads([lambda: auto_cure.run_due(at=at), lambda: sweep.sweep(at=at)])
    assert [answer.failed for answer in answers] in ([[], ()],)
    run, sale = CureRun.objects.filter(outcome="done").first(), Liquidation.objects.first()
    assert (run is None) != (sale is None)
    if run is not None:
        assert ltv(group, at) <= D("0.72")
    assert gate.most_withdrawable(account_uid=market.sub.pk, asset="BTC", at=at) >= 0
