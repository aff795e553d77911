"""Freezes per account, group and coin, and everywhere: R-ADM-04, and what they stop."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import people
from accounts.commands import Actor, NeedsApproval, NotYourRole, acting
from accounts.models import Asset, AuditRecord
from risk import book, freezes, gate, groups, interest
from risk.levels import Action
from risk.models import Debt, Freeze, Member, RiskEvent
from tests import build
from tests.build import NOON
from tests.risk.movements import (
    BY,
    D,
    deposit,
    member_of,
    nothing_moves,
    secured,
    sibling,
    trade,
    transfer,
    with_eth,
    withdraw,
)

pytestmark = pytest.mark.django_db

JOB = Actor.job("test")
LATER = NOON + timedelta(hours=5)


@pytest.fixture
def debt() -> Debt:
    return secured()


def frozen(what: str, *, hours: int = 5, at: datetime = NOON, **scope: object) -> Freeze:
    return freezes.place(
        what=what, reason="A test.", ends_at=at + timedelta(hours=hours), actor=JOB, at=at, **scope
    )


def lifted(freeze: Freeze, *, at: datetime) -> Freeze:
    return freezes.lift(freeze_id=freeze.pk, actor=JOB, at=at)


# --- Placing and lifting ------------------------------------------------------------------------------


def test_a_freeze_says_what_where_why_and_until_when(debt: Debt) -> None:
    """R-ADM-04: it is logged, and the group's history has it."""
    row = frozen("withdraw", group_id=debt.group_id)

    with nothing_moves(freezes.Frozen) as refused:
        withdraw(member_of(debt), "BTC", "1")
    assert refused.value.message == (
        f"Taking coins out is frozen for the group {debt.group} until 1 January 2026 17:00 UTC, when it ends by"
        " itself. The reason: A test."
    )
    event = RiskEvent.objects.get(kind="frozen")
    assert (event.group, event.facts["freeze"], event.facts["what"]) == (debt.group, row.pk, "withdraw")
    assert AuditRecord.objects.filter(kind="command", subject="risk.freeze").count() == 1


def test_a_freeze_ends_by_itself_at_its_end_and_not_before(debt: Debt) -> None:
    """R-ADM-04: half-open, from its start until before its end."""
    frozen("withdraw", hours=5, account_uid=member_of(debt).uid)
    asked = {"action": Action.MOVE_OUT, "uids": [member_of(debt).uid]}
    with pytest.raises(freezes.Frozen):
        freezes.refuse_frozen(at=LATER - timedelta(microseconds=1), **asked)
    freezes.refuse_frozen(at=LATER, **asked)


def test_a_freeze_does_not_outlast_a_month(debt: Debt) -> None:
    """R-ADM-04: refused in words, and nothing is frozen."""
    with nothing_moves(freezes.BadFreeze) as refused:
        frozen("withdraw", hours=31 * 24 + 1, group_id=debt.group_id)
    assert "at most 31 days" in refused.value.message
    assert not Freeze.objects.exists()


def test_a_manager_does_not_pause_the_sale_of_their_own_client(debt: Debt) -> None:
    """R-ADM-05, R-ADM-03: that is the risk desk's; a manager proposes more time, which a second person releases."""
    manager = build.user("vip_manager")
    with acting(JOB):
        type(debt.group.customer).objects.filter(pk=debt.group.customer_id).update(manager=manager)
    told = {"what": "liquidate", "reason": "Please.", "group_id": debt.group_id, "ends_at": LATER, "at": NOON}

    with nothing_moves(NotYourRole):
        freezes.place(actor=Actor.user(manager), **told)
    freezes.place(actor=Actor.user(build.user("risk_officer")), **told)

    assert freezes.liquidation_paused(debt.group, NOON) is not None


def test_operations_stop_things_and_do_not_restart_them(debt: Debt) -> None:
    """R-ADM-01, R-ADM-04: one person stops; a pause of liquidations and lifting are the risk desk's."""
    actor = Actor.user(build.user("ops"))
    told = {"reason": "A feed is down.", "ends_at": LATER, "actor": actor, "at": NOON}

    row = freezes.place(what="borrow", asset="BTC", **told)
    with pytest.raises(NotYourRole):
        freezes.place(what="liquidate", group_id=debt.group_id, **told)
    with pytest.raises(NotYourRole):
        freezes.lift(freeze_id=row.pk, actor=actor, at=NOON)

    assert [each.pk for each in Freeze.objects.filter(lifted_at__isnull=True)] == [row.pk]


def test_a_freeze_may_begin_later(debt: Debt) -> None:
    """R-ADM-04"""
    frozen("trade", hours=5, starts_at=NOON + timedelta(hours=1))
    freezes.refuse_frozen(action=Action.TRADE, at=NOON + timedelta(minutes=59))
    with pytest.raises(freezes.Frozen):
        freezes.refuse_frozen(action=Action.TRADE, at=NOON + timedelta(hours=1))


def test_lifting_ends_it_at_once_and_only_once(debt: Debt) -> None:
    """R-ADM-04"""
    row = frozen("full", group_id=debt.group_id)
    done = lifted(row, at=NOON)
    assert (done.lifted_at, done.lifted_by) == (NOON, "job:test")
    assert withdraw(member_of(debt), "BTC", "1").amount == 1
    assert RiskEvent.objects.filter(kind="unfrozen", group=debt.group).count() == 1
    with pytest.raises(freezes.NotFrozen, match="ended on 1 January 2026 12:00 UTC"):
        lifted(row, at=NOON + timedelta(hours=1))
    over = frozen("full", hours=1)
    with pytest.raises(freezes.NotFrozen, match="13:00 UTC"):
        lifted(over, at=NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("what", "scope", "words"),
    [
        ("nothing", {}, "what to freeze"),
        ("collateral", {}, "a coin only"),
        ("collateral", {"group_id": 1}, "a coin only"),
        ("repay", {"account_uid": 1}, "a coin or everything only"),
        ("liquidate", {"asset": "BTC"}, "a group or everything only"),
        ("full", {"asset": "BTC", "group_id": 1}, "one account, one group or one coin"),
    ],
)
def test_a_freeze_that_makes_no_sense_is_refused(what: str, scope: dict[str, object], words: str) -> None:
    """R-ADM-04"""
    with pytest.raises(freezes.BadFreeze, match=words):
        frozen(what, **scope)
    assert not Freeze.objects.exists()


def test_a_freeze_needs_a_reason_and_an_end_and_cannot_rewrite_the_past() -> None:
    """R-ADM-04: each with reason and expiry."""
    told = {"what": "full", "actor": JOB, "at": NOON}
    with pytest.raises(freezes.BadFreeze, match="Say why"):
        freezes.place(reason="  ", ends_at=LATER, **told)
    with pytest.raises(freezes.BadFreeze, match="later end"):
        freezes.place(reason="x", ends_at=NOON, **told)
    with pytest.raises(freezes.BadFreeze, match="in the past"):
        freezes.place(reason="x", ends_at=LATER, starts_at=NOON - timedelta(seconds=1), **told)
    assert not Freeze.objects.exists()


# --- Who may ------------------------------------------------------------------------------------------


def test_one_person_freezes_and_two_lift(debt: Debt) -> None:
    """R-ADM-03, R-ADM-04: an emergency does not wait for a second person; the way back does."""
    officer = Actor.user(build.user("risk_officer"))
    row = freezes.place(what="full", reason="Outage", ends_at=LATER, actor=officer, at=NOON)
    assert row.placed_by == officer.label
    with pytest.raises(NeedsApproval):
        freezes.lift(freeze_id=row.pk, actor=officer, at=NOON)
    row.refresh_from_db()
    assert row.lifted_at is None


@pytest.mark.parametrize("role", ["borrower", "finance", "auditor"])
def test_others_do_not_freeze(role: str) -> None:
    """R-ADM-01, R-ADM-04"""
    with pytest.raises(NotYourRole):
        freezes.place(what="full", reason="x", ends_at=LATER, actor=Actor.user(build.user(role)), at=NOON)
    assert not Freeze.objects.exists()


def test_a_vip_manager_freezes_own_clients_only_and_never_everything(debt: Debt) -> None:
    """R-ADM-01, R-ADM-04"""
    mine, other = build.user("vip_manager"), build.user("vip_manager")
    with acting(build.BUILDER):
        debt.customer.manager = mine
        debt.customer.save(update_fields=["manager"])
    asked = {"what": "withdraw", "reason": "x", "ends_at": LATER, "at": NOON}
    for scope in ({"group_id": debt.group_id}, {"account_uid": member_of(debt).uid}):
        with pytest.raises(people.NotYourClient):
            freezes.place(actor=Actor.user(other), **asked, **scope)
        assert freezes.place(actor=Actor.user(mine), **asked, **scope).pk
    for scope in ({}, {"asset": "BTC"}):
        with pytest.raises(people.NotYourClient, match="ask a risk officer"):
            freezes.place(actor=Actor.user(mine), **asked, **scope)


# --- What each stops ----------------------------------------------------------------------------------

STOPS = {
    "borrow": {Action.BORROW, Action.RENEW},
    "withdraw": {Action.MOVE_OUT, Action.REMOVE_ACCOUNT},
    "trade": {Action.TRADE},
    "full": set(Action) - {Action.DEPOSIT, Action.REPAY},
    "repay": {Action.REPAY},
    "liquidate": set(),
}


@pytest.mark.parametrize("what", STOPS)
@pytest.mark.parametrize("action", Action)
def test_what_each_kind_stops(what: str, action: Action) -> None:
    """R-ADM-04: FULL leaves deposits and repayments open; nothing stops a deposit."""
    frozen(what)
    assert freezes.is_frozen(action, at=NOON) is (action in STOPS[what])


SCOPES = ["account_uid", "group_id", "asset", "everywhere"]


def scope_of(name: str, debt: Debt) -> dict[str, object]:
    found = {"account_uid": member_of(debt).uid, "group_id": debt.group_id, "asset": "BTC"}
    return {name: found[name]} if name in found else {}


@pytest.mark.parametrize("scope", SCOPES)
def test_withdrawals_and_transfers_out_stop_and_deposits_do_not(scope: str, debt: Debt) -> None:
    """R-ADM-04: one refusal for every scope; coins go on arriving."""
    frozen("withdraw", **scope_of(scope, debt))
    with nothing_moves(freezes.Frozen):
        withdraw(member_of(debt), "BTC", "0.1")
    with nothing_moves(freezes.Frozen):
        transfer(member_of(debt), debt.group.receiver, "BTC", "0.1")
    with nothing_moves(freezes.Frozen):
        transfer(member_of(debt), member_of(debt), "BTC", "0.1", wallets="spot funding")
    told = gate.preview_withdraw(account_uid=member_of(debt).uid, asset="BTC", amount=D("0.1"), at=NOON)
    assert (told.allowed, "frozen" in told.reason) == (False, True)
    assert gate.most_withdrawable(account_uid=member_of(debt).uid, asset="BTC", at=NOON) == 0
    assert deposit(member_of(debt), "BTC", "1").amount == 1


@pytest.mark.parametrize("scope", SCOPES)
def test_trades_stop(scope: str, debt: Debt) -> None:
    """R-ADM-04"""
    with_eth(debt)
    frozen("trade", **scope_of(scope, debt))
    with nothing_moves(freezes.Frozen, "Trading is frozen"):
        trade(member_of(debt), "BTC", "1", "ETH")
    assert withdraw(member_of(debt), "BTC", "0.1").amount == D("0.1")


def test_a_coin_frozen_for_trades_is_neither_sold_nor_bought(debt: Debt) -> None:
    """R-ADM-04"""
    with_eth(debt)
    frozen("trade", asset="ETH")
    with nothing_moves(freezes.Frozen):
        trade(member_of(debt), "BTC", "1", "ETH")
    with nothing_moves(freezes.Frozen):
        trade(debt.group.receiver, "USDT", "3000", "ETH")


def test_a_freeze_elsewhere_stops_nothing_here(debt: Debt) -> None:
    """R-ADM-04"""
    stranger = build.master(build.customer())
    frozen("full", account_uid=stranger.uid)
    frozen("full", group_id=build.group(stranger, []).pk)
    frozen("full", asset="USDT")
    assert withdraw(member_of(debt), "BTC", "1").amount == 1


def test_an_account_that_secures_nothing_can_be_frozen_too(debt: Debt) -> None:
    """R-ADM-04: the proceeds are otherwise free to use."""
    receiver = debt.group.receiver
    frozen("withdraw", group_id=debt.group_id)
    assert withdraw(receiver, "USDT", "1").amount == 1  # the group's freeze holds its collateral accounts
    frozen("withdraw", account_uid=receiver.uid)
    with nothing_moves(freezes.Frozen, "for the account"):
        withdraw(receiver, "USDT", "1")


def test_inside_the_group_coins_move_unless_everything_or_their_account_is_frozen(debt: Debt) -> None:
    """R-VIP-53, R-ADM-04: out of a frozen account to its sibling would be the way around the freeze."""
    source, target = member_of(debt), sibling(debt)
    frozen("withdraw", hours=1, group_id=debt.group_id)
    assert transfer(source, target, "BTC", "1").amount == 1
    row = frozen("withdraw", account_uid=source.uid)
    with nothing_moves(freezes.Frozen):
        transfer(source, target, "BTC", "1")
    assert transfer(target, source, "BTC", "1").amount == 1  # into it: a top-up
    lifted(row, at=NOON)
    frozen("full", group_id=debt.group_id)
    with nothing_moves(freezes.Frozen):
        transfer(source, target, "BTC", "1")


@pytest.mark.parametrize("scope", ["account_uid", "group_id", "everywhere"])
def test_full_stops_accounts_joining_and_leaving(scope: str, debt: Debt) -> None:
    """R-ADM-04; a withdrawal freeze stops the leaving alone, or leaving would be the way around it."""
    new = build.account(debt.customer)
    asked = {"group_id": debt.group_id, **BY}
    where = {"account_uid": new.uid} if scope == "account_uid" else scope_of(scope, debt)
    row = frozen("full", **where)
    with nothing_moves(freezes.Frozen, "Adding a collateral account is frozen"):
        groups.add_account(uid=new.uid, max_accounts=50, **asked)
    lifted(row, at=NOON)
    groups.add_account(uid=new.uid, max_accounts=50, **asked)
    for what in ("full", "withdraw"):
        row = frozen(what, **where)
        with nothing_moves(freezes.Frozen, "Removing a collateral account is frozen"):
            groups.remove_account(uid=new.uid, **asked)
        lifted(row, at=NOON)
    assert Member.objects.filter(account=new, released_at__isnull=True).exists()
    groups.remove_account(uid=new.uid, **asked)


@pytest.mark.parametrize("what", ["borrow", "full"])
@pytest.mark.parametrize("scope", ["receiver", "member", "group", "everywhere"])
def test_no_group_is_opened_or_extended_for_a_loan_while_borrowing_is_frozen(
    scope: str, what: str, debt: Debt
) -> None:
    """R-VIP-13, R-ADM-04: every payout of a loan passes here."""
    group = debt.group
    frozen(
        what,
        **{
            "receiver": {"account_uid": group.receiver_id},
            "member": {"account_uid": member_of(debt).uid},
            "group": {"group_id": group.pk},
            "everywhere": {},
        }[scope],
    )
    with nothing_moves(freezes.Frozen, "New borrowing is frozen"), acting(JOB):
        groups.open_or_extend(
            customer=debt.customer,
            receiver=group.receiver,
            product="vip",
            accounts=[],
            coins=[Asset.objects.get(pk="BTC")],
            at=NOON,
        )


def test_the_problems_of_a_borrow_are_all_told(debt: Debt) -> None:
    """R-VIP-13: the terms check lists them; a coin frozen for borrowing is told for that coin only."""
    frozen("borrow", asset="USDT")
    frozen("full", group_id=debt.group_id, hours=6)
    frozen("trade")
    told = freezes.borrow_problems(uids=[debt.group.receiver_id], group=debt.group, assets=["USDT"], at=NOON)
    assert [words.split(" until ")[0] for words in told] == [
        f"New borrowing is frozen for the group {debt.group}",
        "New borrowing is frozen for USDT everywhere",
    ]
    assert freezes.borrow_problems(assets=["ETH"], at=NOON) == []


# --- Coins as collateral -------------------------------------------------------------------------------


def test_a_frozen_coin_counts_nothing_for_new_borrowing_and_keeps_its_value_for_the_rest(debt: Debt) -> None:
    """R-ADM-04, R-VIP-13: no liquidation and no margin call comes from freezing a coin."""
    with_eth(debt)
    deposit(member_of(debt), "ETH", "100")  # 300 000, half of which counts
    before = book.state_of(debt.group, at=NOON)
    frozen("collateral", asset="ETH")

    state = book.state_of(debt.group, at=NOON)
    assert state.frozen_coins == {"ETH"}
    assert state.worth() == before.worth()
    assert state.worth(permission=False) == before.worth(permission=False)
    assert state.worth().collateral == 1_350_000
    assert state.for_borrowing().worth().collateral == 1_200_000
    assert book.state_of(debt.group, at=LATER).frozen_coins == set()
    most = gate.most_withdrawable(account_uid=member_of(debt).uid, asset="BTC", at=NOON)
    assert most > D("3.34")  # R-GEN-45: withdrawals value it as before (3.33 without it)


def test_a_group_to_be_does_not_borrow_on_a_frozen_coin(debt: Debt) -> None:
    """R-ADM-04: the terms check sees it too."""
    frozen("collateral", asset="BTC")
    owner = build.customer()
    sub = build.account(owner)
    build.deposit(sub, "BTC", "1")
    state = book.prospect(
        customer=owner,
        product="vip",
        receiver=build.master(owner),
        accounts=[sub],
        coins=["BTC"],
        borrowed={"USDT": D(1)},
        at=NOON,
    )
    assert state.worth().collateral == 60_000
    assert state.for_borrowing().worth().collateral == 0


# --- Repayments and liquidations -----------------------------------------------------------------------


def test_repayments_are_closed_for_a_coin_or_everywhere(debt: Debt) -> None:
    """R-VIP-45: the desk cannot take them; the clocks of what is late stand still."""
    assert freezes.repay_closed("USDT", NOON) is None
    row = frozen("repay", asset="USDT")
    assert freezes.repay_closed("USDT", NOON) == row
    assert freezes.repay_closed("BTC", NOON) is None
    assert freezes.repay_closed("USDT", LATER) is None
    everywhere = frozen("repay", hours=1)
    assert freezes.repay_closed("BTC", NOON) == everywhere


def test_pauses_are_merged_cut_at_their_lifting_and_told_per_coin() -> None:
    """R-VIP-45: global ones count for every coin."""
    build.asset("BTC"), build.asset("USDT")

    def hour(number: int) -> datetime:
        return NOON + timedelta(hours=number)

    first = frozen("repay", hours=10, asset="USDT")
    lifted(first, at=hour(2))
    frozen("repay", hours=2, at=hour(2))  # touches the first: one pause
    frozen("repay", hours=3, at=hour(6), asset="USDT")
    assert freezes.repay_pauses(["USDT", "BTC"], hour(24)) == {
        "USDT": ((hour(0), hour(4)), (hour(6), hour(9))),
        "BTC": ((hour(2), hour(4)),),
    }
    assert freezes.repay_pauses(["USDT"], hour(7))["USDT"][-1] == (hour(6), hour(7))
    assert freezes.repay_pauses(["USDT"], NOON) == {"USDT": ()}


spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=8)


@given(spans=spans)
def test_merged_pauses_cover_the_same_hours_and_never_touch(spans: list[tuple[int, int]]) -> None:
    """R-VIP-45: what counts is whether an instant was inside any of them."""
    rows = sorted((NOON + timedelta(hours=s), NOON + timedelta(hours=s + n)) for s, n in spans)
    merged = interest.merged(rows)
    assert all(one[1] < two[0] for one, two in zip(merged, merged[1:], strict=False))
    assert all(start < end for start, end in merged)
    for number in range(90):
        instant = NOON + timedelta(minutes=30 * number)
        inside = any(start <= instant < end for start, end in rows)
        assert any(start <= instant < end for start, end in merged) is inside


def test_a_pause_holds_back_the_liquidation_of_its_group_or_of_all(debt: Debt) -> None:
    """R-ADM-05: by hand, logged, with an end."""
    assert freezes.liquidation_paused(debt.group, NOON) is None
    other = build.group(build.master(build.customer()), [])
    row = frozen("liquidate", group_id=debt.group_id)
    assert freezes.liquidation_paused(debt.group, NOON) == row
    assert freezes.liquidation_paused(other, NOON) is None
    assert freezes.liquidation_paused(debt.group, LATER) is None
    everywhere = frozen("liquidate", hours=9)
    assert freezes.liquidation_paused(other, NOON) == everywhere


def test_the_one_that_ends_last_is_told(debt: Debt) -> None:
    """R-ADM-04: the way out is when the last of them ends."""
    frozen("withdraw", hours=1)
    frozen("full", hours=9, group_id=debt.group_id)
    assert [row.what for row in freezes.in_force(group=debt.group, at=NOON)] == ["full", "withdraw"]
    with nothing_moves(freezes.Frozen, "1 January 2026 21:00 UTC"):
        withdraw(member_of(debt), "BTC", "1")
