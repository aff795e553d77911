"""Entries undone by their mirror: what may be, what may not and why, and that every balance is as before (R-ADM-11)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import approvals, books, closing, ledger
from accounts.commands import Actor, NeedsApproval, NotYourRole, acting
from accounts.errors import Refused
from accounts.models import JournalEntry, LedgerAccount, Notice
from risk import accrual, corrections, debts, gate, groups, insurance, residual, workout
from risk.models import Debt, DebtEntry, Liquidation, RiskEvent, Tranche, TrancheEntry
from tests import build
from tests.build import BUILDER, NOON
from tests.risk.forced_sales import World, liquidate
from tests.risk.leftovers import Leftover
from tests.risk.movements import BY, member_of, secured, sibling, with_eth

pytestmark = pytest.mark.django_db
D = Decimal
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATER = NOON + timedelta(seconds=20)


def reverse(entry: JournalEntry, *, at: datetime = LATER, actor: Actor = BUILDER) -> JournalEntry:
    return corrections.reverse(entry_id=entry.pk, actor=actor, at=at, reason="Booked for the wrong client")


def balances() -> dict[str, Decimal]:
    return {row.code: row.balance for row in LedgerAccount.objects.all() if row.balance}


def owed() -> dict[int, tuple[Decimal, ...]]:
    return {row.pk: (row.principal, row.interest, row.late_fee) for row in Debt.objects.all()}


@contextmanager
def nothing_moves(refusal: type[Refused], match: str) -> Iterator[None]:
    before = (balances(), owed(), JournalEntry.objects.count(), RiskEvent.objects.count())
    with pytest.raises(refusal, match=match):
        yield
    assert (balances(), owed(), JournalEntry.objects.count(), RiskEvent.objects.count()) == before


def repay(debt: Debt, amount: str, *, at: datetime = NOON) -> JournalEntry:
    wallets = [books.wallet(debt.group.receiver_id, debt.asset_id)]
    number = debt.entries.count()
    with acting(BUILDER):
        [locked] = Debt.objects.locked(debt.pk)
        row = debts.take_payment(
            debt=locked, amount=D(amount), wallets=wallets, reference=f"repayment:{debt.pk}:{number}", at=at
        )
    return row.entry


# --- What may be undone ------------------------------------------------------------------------------------------


def a_deposit() -> JournalEntry:
    uid = member_of(secured()).pk
    return gate.deposit(account_uid=uid, asset="BTC", amount=D(3), **BY).entry


def a_transfer() -> JournalEntry:
    debt = secured()
    uid = debt.group.receiver_id
    return gate.transfer(
        source_uid=uid,
        source_wallet="spot",
        target_uid=uid,
        target_wallet="funding",
        asset="USDT",
        amount=D(7),
        **BY,
    ).entry


def a_trade() -> JournalEntry:
    debt = secured()
    with_eth(debt)
    uid = member_of(debt).pk
    return gate.trade(account_uid=uid, sell="BTC", amount=D("0.5"), buy="ETH", **BY).entry


def a_repayment() -> JournalEntry:
    return repay(secured(), "20000.5")


def a_sum_set_aside() -> JournalEntry:
    secured()
    return insurance.fund(asset="USDT", amount=D(5), actor=BUILDER, at=NOON)


def a_sum_drawn_back() -> JournalEntry:
    a_sum_set_aside()
    return insurance.draw_back(asset="USDT", amount=D(2), actor=BUILDER, at=NOON)


def a_settlement() -> JournalEntry:
    left = Leftover()
    return residual.settle_from_fund(debt_id=left.debt.pk, amount=D(900), actor=BUILDER, at=NOON).entry


def a_release() -> JournalEntry:
    secured()
    lines = [ledger.Line(books.pool("BTC"), books.capital("BTC"), D(1))]
    ledger.post(kind="funding", reference="f", lines=lines, at=NOON)
    return _taken_over()


def a_funding() -> JournalEntry:
    build.fund_pool("USDT", "500", at=NOON)
    return JournalEntry.objects.latest("pk")


def _taken_over() -> JournalEntry:
    from tests.risk.test_workout import depth

    build.ratios("ETH")
    world = World(["ETH"], ETH=("10", "0"))
    build.prices(ETH="100", USDT="1")
    world.owe("USDT", "910")
    depth("ETH", "3000")
    assert liquidate(world.group) is not None
    return workout.release_workout(asset="ETH", amount=D(2), actor=BUILDER, at=NOON)


@pytest.mark.parametrize(
    "made",
    [
        a_deposit,
        a_transfer,
        a_trade,
        a_repayment,
        a_sum_set_aside,
        a_sum_drawn_back,
        a_settlement,
        a_release,
        a_funding,
    ],
)
def test_a_reversal_shows_both_sides_and_restores_every_balance(made: Callable[[], JournalEntry]) -> None:
    """R-ADM-11: the mirror of each transfer and of each debt row; both entries stay."""
    entry = made()
    moved = {
        account.pk: delta
        for line in entry.transfers.all()
        for account, delta in ((line.debit, line.amount), (line.credit, -line.amount))
    }
    before, owed_before = balances(), owed()

    reversal = reverse(entry)

    assert (reversal.kind, reversal.reverses, reversal.at) == ("reversal", entry, LATER)
    assert reversal.reference == f"reversal:{entry.reference}"
    told = entry.transfers.order_by("pk").values_list("debit", "credit", "amount")
    assert list(reversal.transfers.order_by("pk").values_list("credit", "debit", "amount")) == list(told)
    parts = ("debt", "principal", "interest", "late_fee")
    rows = zip(
        entry.debt_entries.order_by("pk").values_list(*parts),
        reversal.debt_entries.order_by("pk").values_list(*parts),
        strict=True,
    )
    for there, back in rows:
        assert back == (there[0], -there[1], -there[2], -there[3])
    assert {row.kind for row in reversal.debt_entries.all()} <= {DebtEntry.Kind.CORRECTION}
    touched = LedgerAccount.objects.filter(pk__in=moved)
    assert any(before.get(row.code, D(0)) != row.balance for row in touched)
    assert corrected_by_hand() == balances()
    assert owed_by_hand() == owed()
    assert owed_before.keys() == owed().keys()
    assert ledger.problems() == []


def corrected_by_hand() -> dict[str, Decimal]:
    """What the accounts hold when entries that were reversed, and their reversals, had never been."""
    found: dict[str, Decimal] = {}
    kept = JournalEntry.objects.filter(reverses=None, reversed_by=None)
    for line in (line for entry in kept for line in entry.transfers.all()):
        for account, side in ((line.debit, "debit"), (line.credit, "credit")):
            delta = line.amount if account.normal == side else -line.amount
            found[account.code] = found.get(account.code, D(0)) + delta
    return {code: balance for code, balance in found.items() if balance}


def owed_by_hand() -> dict[int, tuple[Decimal, ...]]:
    rows = DebtEntry.objects.filter(entry__reverses=None, entry__reversed_by=None)
    found = {debt.pk: [D(0), D(0), D(0)] for debt in Debt.objects.all()}
    for row in rows:
        for position, part in enumerate((row.principal, row.interest, row.late_fee)):
            found[row.debt_id][position] += part
    return {pk: tuple(parts) for pk, parts in found.items()}


def test_a_reversed_repayment_is_owed_again_and_back_in_spot() -> None:
    """R-ADM-11, R-GEN-51: interest and principal as they were; the client is told with figures."""
    debt = build.secured_debt()
    accrual.accrue(at=NOON + DAY)
    spot = build.balance(debt.group.receiver, "USDT")
    entry = repay(debt, "1000", at=NOON + DAY)
    assert owed()[debt.pk] == (D("999230.13698631"), D(0), D(0))

    reversal = reverse(entry, at=NOON + DAY + HOUR)

    assert owed()[debt.pk] == (D(1_000_000), D("230.13698631"), D(0))
    assert build.balance(debt.group.receiver, "USDT") == spot
    event = RiskEvent.objects.get(kind=RiskEvent.Kind.CORRECTED)
    assert (event.group, event.debt, event.facts["reversal"]) == (debt.group, debt, reversal.pk)
    notice = Notice.objects.get(kind="corrected")
    assert notice.customer == debt.customer
    assert f"J-{entry.pk} was wrong and is reversed by J-{reversal.pk}" in notice.body
    assert f"Spot of {debt.group.receiver}: +1,000 USDT" in notice.body
    assert (
        f"{debt}: +769.86301369 principal, +230.13698631 interest; 1,000,230.13698631 USDT is owed now"
        in notice.body
    )


def test_days_are_charged_before_and_after_on_what_was_owed_then() -> None:
    """R-ADM-11, R-GEN-04: the chain of charges goes on; days charged on less stay as they were."""
    debt = build.secured_debt(rate="0.365")  # 0.1 % a day
    accrual.accrue(at=NOON + DAY)
    entry = repay(debt, "501000", at=NOON + DAY)  # 1,000 of interest, 500,000 of principal

    reverse(entry, at=NOON + 2 * DAY)  # 2 January's midnight was not charged yet
    accrual.accrue(at=NOON + 3 * DAY)

    charges = debt.entries.filter(kind=DebtEntry.Kind.CHARGE).order_by("period_end")
    assert [row.basis for row in charges] == [D(1_000_000), D(500_000), D(1_000_000)]
    assert owed()[debt.pk] == (D(1_000_000), D(2500), D(0))
    assert ledger.problems() == []


def test_an_entry_of_a_closed_month_is_reversed_in_the_open_one() -> None:
    """R-ADM-11"""
    entry = a_deposit()
    ended = datetime(2026, 2, 1, tzinfo=UTC)
    accrual.accrue(at=ended)
    closing.close(through=ended, actor=BUILDER, at=ended)

    with nothing_moves(ledger.PeriodClosed, "closed through 1 February 2026"):
        reverse(entry, at=ended)
    reverse(entry, at=ended + HOUR)

    assert closing.tampered() == []
    assert corrected_by_hand() == balances()


# --- What may not ------------------------------------------------------------------------------------------------


def test_an_entry_is_reversed_once_and_a_reversal_never() -> None:
    """R-ADM-11"""
    entry = a_deposit()
    reversal = reverse(entry)

    with nothing_moves(corrections.AlreadyReversed, f"J-{entry.pk} was reversed by J-{reversal.pk}"):
        reverse(entry)
    with nothing_moves(corrections.NotReversible, "It undoes another entry already"):
        reverse(reversal)


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        ("withdrawal", "book them as a deposit"),
        ("borrow", "undone by repaying it"),
        ("accrual", "Set the right rate"),
        ("minimum", "stays"),
        ("renewal", "renew it again"),
        ("seizure", "settled from the insurance fund"),
        ("liquidation", "settled from the insurance fund"),
        ("write_off", "closed"),
        ("something", "Use the page that made it"),
    ],
)
def test_other_kinds_are_not_reversed_and_the_refusal_says_what_to_do(kind: str, way_out: str) -> None:
    """R-ADM-11"""
    wallet = books.wallet(build.account(build.customer()), build.asset("USDT"))
    line = ledger.Line(books.custody("USDT"), wallet, D(1))
    entry = ledger.post(kind=kind, reference="test:1", lines=[line], at=NOON)

    with nothing_moves(corrections.NotReversible, way_out):
        reverse(entry)
    assert way_out in corrections.why_not(entry, at=NOON)


def test_every_kind_that_is_booked_has_a_row_of_the_table() -> None:
    """R-ADM-11: a liquidation's life and a renewal's; what is not named is refused, but should be said in words."""
    a_settlement()
    debt = build.secured_debt()
    accrual.accrue(at=NOON + DAY)
    repay(debt, "5", at=NOON + DAY)

    kinds = set(JournalEntry.objects.values_list("kind", flat=True))
    assert kinds <= set(corrections.KINDS)
    assert {"seizure", "liquidation", "accrual", "borrow", "deposit"} <= kinds


def test_what_is_not_there_any_more_is_not_taken() -> None:
    """R-ADM-11, I-03: the wallet is named, with what it holds."""
    debt = secured()
    uid = debt.group.receiver_id
    entry = gate.deposit(account_uid=uid, asset="BTC", amount=D(3), **BY).entry
    gate.withdraw(account_uid=uid, asset="BTC", amount=D(1), address="x", **BY)

    with nothing_moves(corrections.TakesTooMuch, rf"spot:{uid}:BTC holds 2.* would take 3.* out of it"):
        reverse(entry)


def test_a_closed_debt_is_left_alone() -> None:
    """R-ADM-11"""
    debt = secured()
    build.deposit(debt.group.receiver, "USDT", "5000")
    entry = repay(debt, "720000")
    assert Debt.objects.get(pk=debt.pk).closed_at

    with nothing_moves(
        corrections.NotReversible, f"{debt} is repaid, and nothing is booked on a closed debt"
    ):
        reverse(entry)
    assert "closed debt" in corrections.why_not(entry, at=NOON)


def test_nothing_is_corrected_during_a_liquidation() -> None:
    """R-ADM-11: neither the group's debts nor the wallets that are being sold."""
    debt = secured()
    deposit = gate.deposit(account_uid=member_of(debt).pk, asset="BTC", amount=D(3), **BY).entry
    payment = repay(debt, "100")
    with acting(BUILDER):
        Liquidation.objects.create(
            group=debt.group,
            cause="ltv",
            started_at=NOON,
            debt_value=1,
            collateral_value=1,
            market_value=1,
            snapshot={},
        )

    for entry in (deposit, payment):
        with nothing_moves(corrections.NotReversible, "is being liquidated"):
            reverse(entry)
        assert "is being liquidated" in corrections.why_not(entry, at=NOON)


def test_a_payment_plan_is_ended_before_what_it_counts_on_is_undone() -> None:
    """R-ADM-11, R-GEN-78"""
    from risk import plans

    left = Leftover()
    entry = residual.settle_from_fund(debt_id=left.debt.pk, amount=D(900), actor=BUILDER, at=NOON).entry
    due = (plans.Due(NOON + DAY, left.owed),)
    plans.agree_plan(debt_id=left.debt.pk, instalments=due, actor=BUILDER, at=NOON)

    with nothing_moves(corrections.NotReversible, "End the plan first"):
        reverse(entry)
    plans.end_plan(debt_id=left.debt.pk, actor=BUILDER, at=NOON, reason="A mistake")
    reverse(entry)

    assert left.owed == D("6904.11")


def test_a_debt_that_has_just_expired_is_settled_first() -> None:
    """R-ADM-11, R-VIP-47"""
    debt = build.secured_debt(due_at=NOON + DAY)
    entry = repay(debt, "100")

    with nothing_moves(corrections.NotReversible, "has just expired"):
        reverse(entry, at=NOON + 2 * DAY)


def test_coins_that_secure_a_loan_leave_again_only_if_they_might_at_the_gate() -> None:
    """R-ADM-11, R-VIP-52: 20 BTC secure 720,000 at 72 % and more when one leaves."""
    debt = secured()
    member, free = member_of(debt), build.account(debt.customer)
    build.deposit(free, "BTC", "1")
    moved = {"source_wallet": "spot", "target_wallet": "spot", "asset": "BTC", "amount": D(1)}
    entry = gate.transfer(source_uid=free.pk, target_uid=member.pk, **moved, **BY).entry
    build.prices(at=LATER, BTC="50000", USDT="1")  # 21 BTC: 68.6 %; 20 BTC: 72 %, the line

    with nothing_moves(groups.NotPermitted, "72"):
        reverse(entry)
    build.prices(at=LATER + HOUR, BTC="60000", USDT="1")
    reverse(entry, at=LATER + HOUR)

    assert build.balance(free, "BTC") == 1


def test_a_deposit_that_never_was_secures_nothing_whatever_ltv_is() -> None:
    """R-ADM-11: the books tell what is there; the sweep acts on it."""
    entry = a_deposit()
    build.prices(at=LATER, BTC="30000", USDT="1")

    reverse(entry)

    assert balances()["custody:BTC"] == 20


def test_a_move_inside_a_group_is_undone_inside_it() -> None:
    """R-ADM-11, R-VIP-52: nothing leaves, so WATCH permits it."""
    debt = secured()
    first, second = member_of(debt), sibling(debt)
    moved = {"source_wallet": "spot", "target_wallet": "spot", "asset": "BTC", "amount": D(4)}
    entry = gate.transfer(source_uid=first.pk, target_uid=second.pk, **moved, **BY).entry
    build.prices(at=LATER, BTC="49000", USDT="1")  # 73.5 %

    reverse(entry)

    assert (build.balance(first, "BTC"), build.balance(second, "BTC")) == (20, 0)


def test_what_moved_a_tranche_is_given_back_on_the_funding_page() -> None:
    """R-ADM-11, R-ADM-12"""
    entry = a_funding()
    with acting(BUILDER):
        tranche = Tranche.objects.create(asset_id="USDT", lender="", opened_at=NOON)
        TrancheEntry.objects.create(tranche=tranche, entry=entry, kind="fund", at=NOON, principal=D(500))

    with pytest.raises(corrections.NotReversible, match="funding page"):
        reverse(entry)
    assert not JournalEntry.objects.filter(reverses=entry).exists()


# --- Who ---------------------------------------------------------------------------------------------------------


def test_two_people_of_finance_correct_and_say_why() -> None:
    """R-ADM-11, R-ADM-03"""
    entry = a_deposit()
    maker, checker = build.user("finance"), build.user("finance")
    for role in ("auditor", "risk_officer", "vip_manager", "ops"):
        with pytest.raises(NotYourRole):
            reverse(entry, actor=Actor.user(build.user(role)))
    with nothing_moves(NeedsApproval, "second person"):
        reverse(entry, actor=Actor.user(maker))
    with nothing_moves(residual.NoReason, "why it is reversed"):
        corrections.reverse(entry_id=entry.pk, actor=BUILDER, at=NOON)
    proposal = approvals.propose(
        command="corrections.reverse",
        arguments={"entry_id": entry.pk},
        title="Reverse",
        preview={},
        reason="Booked twice",
        actor=Actor.user(maker),
        at=LATER,
    )
    assert not JournalEntry.objects.filter(reverses=entry).exists()

    approvals.release(approval_id=proposal.pk, actor=Actor.user(checker), at=LATER)

    assert JournalEntry.objects.get(reverses=entry).kind == "reversal"


# --- Any set -----------------------------------------------------------------------------------------------------

MADE = ("deposit", "out", "in", "trade", "repay", "fund")


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    acts=st.lists(st.tuples(st.sampled_from(MADE), st.integers(1, 10**9)), min_size=1, max_size=8),
    drawn=st.lists(st.integers(0, 7), max_size=8, unique=True),
)
def test_any_set_of_reversals_leaves_what_the_others_made(
    db: None, acts: list[tuple[str, int]], drawn: list[int]
) -> None:
    """R-ADM-11: in any order; one that is refused changes nothing, and the books stay whole."""
    with transaction.atomic():
        debt = secured()
        with_eth(debt)
        made = [entry for kind, size in acts if (entry := _act(debt, kind, D(size).scaleb(-8)))]
        for position in drawn:
            if position < len(made):
                _reverse_or_not(made[position])
        assert corrected_by_hand() == balances()
        assert owed_by_hand() == owed()
        assert ledger.problems() == []
        transaction.set_rollback(True)


def _act(debt: Debt, kind: str, amount: Decimal) -> JournalEntry | None:
    member, receiver = member_of(debt).pk, debt.group.receiver_id
    spots: dict[str, Any] = {"source_wallet": "spot", "target_wallet": "spot", "amount": amount, **BY}
    try:
        match kind:
            case "deposit":
                return gate.deposit(account_uid=member, asset="BTC", amount=amount, **BY).entry
            case "out":
                return gate.transfer(source_uid=member, target_uid=receiver, asset="BTC", **spots).entry
            case "in":
                return gate.transfer(source_uid=receiver, target_uid=member, asset="USDT", **spots).entry
            case "trade":
                return gate.trade(account_uid=member, sell="BTC", amount=amount / 10, buy="ETH", **BY).entry
            case "repay":
                return repay(debt, f"{amount * 1000:f}")
            case _:
                return insurance.fund(asset="ETH", amount=amount, actor=BUILDER, at=NOON)
    except Refused:
        return None


def _reverse_or_not(entry: JournalEntry) -> None:
    before = (balances(), owed())
    try:
        reverse(entry, at=NOON)
    except Refused:
        assert (balances(), owed()) == before
        assert not JournalEntry.objects.filter(reverses=entry).exists()
