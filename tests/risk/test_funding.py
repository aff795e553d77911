"""Where the pools' coins come from: tranches, their cost, giving them back, and the proof of it. R-ADM-12"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import approvals, books, closing, ledger
from accounts.commands import Actor, NeedsApproval, NotYourRole, acting
from accounts.errors import BadAmount, Refused
from accounts.models import JournalEntry, LedgerAccount, User
from risk import funding, insurance
from risk.funding import BadFunding, PoolTooSmall, TrancheClosed
from risk.insurance import CapitalTooSmall
from risk.models import Tranche, TrancheEntry
from tests import build
from tests.build import BUILDER, NOON

D = Decimal
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
A_DAY = D("273.97260274")  # ceil(1,000,000 × 10 % / 365)


def lent_to_us(amount: str = "1000000", *, at: datetime = NOON, **changes: Any) -> Tranche:
    build.asset("USDT")
    asked = {"lender": "Harbour Bank", "annual_rate": D("0.1")} | changes
    return funding.fund(asset="USDT", amount=D(amount), actor=BUILDER, at=at, **asked)


def ours(amount: str = "1000000", *, at: datetime = NOON) -> Tranche:
    build.asset("USDT")
    return funding.fund(asset="USDT", amount=D(amount), actor=BUILDER, at=at)


def held() -> dict[str, Decimal]:
    """Every balance of the desk in USDT that is not zero, by kind."""
    rows = LedgerAccount.objects.filter(asset="USDT", account__isnull=True)
    return {row.kind: row.balance for row in rows if row.balance}


def booked() -> list[tuple[Any, ...]]:
    """Every row of every tranche with its journal entry: equal whatever order jobs ran in."""
    rows = TrancheEntry.objects.order_by("tranche", "at", "kind", "pk")
    return list(rows.values_list("kind", "at", "principal", "cost", "day_end", "entry__at", "entry__kind"))


# --- Funding and giving back ------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_lender_funds_a_pool_and_gets_it_back_with_its_cost() -> None:
    """R-ADM-12, R-GEN-02, R-GEN-03: cost by the day at 00:00 UTC, rounded up, paid before principal"""
    tranche = lent_to_us(matures_at=NOON + 30 * DAY)
    assert held() == {"pool": 1000000, "lenders": 1000000}

    funding.draw(tranche_id=tranche.pk, amount=D("400000"), actor=BUILDER, at=NOON + 2 * DAY)
    assert held() == {
        "pool": D("600000") - 2 * A_DAY,
        "lenders": 600000,
        "cost_of_funds": 2 * A_DAY,
    }
    assert funding.owed_on(tranche) == funding.Owed(principal=D("600000"), cost=D(0))

    funding.accrue_costs(at=NOON + 3 * DAY)
    day = D("164.38356165")  # ceil(600,000 × 10 % / 365)
    assert held()["cost_owed"] == day
    funding.pay_cost(tranche_id=tranche.pk, amount=D("100"), actor=BUILDER, at=NOON + 3 * DAY)
    assert held()["cost_owed"] == day - 100

    build.fund_pool("USDT", "1000")
    closed = funding.draw(tranche_id=tranche.pk, actor=BUILDER, at=NOON + 4 * DAY)
    assert closed.closed_at == NOON + 4 * DAY
    cost = 2 * A_DAY + 2 * day
    assert held() == {"pool": 1000 - cost, "capital": 1000, "cost_of_funds": cost}
    with pytest.raises(TrancheClosed, match="was given back on 5 January 2026, 12:00 UTC"):
        funding.draw(tranche_id=tranche.pk, actor=BUILDER, at=NOON + 5 * DAY)


@pytest.mark.django_db
def test_own_capital_costs_nothing_and_goes_back_to_capital() -> None:
    """R-ADM-12"""
    tranche = ours()
    assert held() == {"pool": 1000000, "capital": 1000000}
    assert funding.accrue_costs(at=NOON + 40 * DAY) == 0
    funding.draw(tranche_id=tranche.pk, amount=D("999999.5"), actor=BUILDER, at=NOON + 40 * DAY)
    assert held() == {"pool": D("0.5"), "capital": D("0.5")}
    with pytest.raises(BadFunding, match="No cost is owed"):
        funding.pay_cost(tranche_id=tranche.pk, actor=BUILDER, at=NOON + 40 * DAY)


@pytest.mark.django_db
def test_coins_that_are_lent_out_cannot_be_given_back() -> None:
    """R-ADM-12, R-GEN-38: the pool is never overdrawn, and nothing moves"""
    tranche = lent_to_us()
    pool = books.pool("USDT")
    ledger.post(  # lent, as far as the pool is concerned
        kind="test", reference="lent", lines=[ledger.Line(books.workout("USDT"), pool, D("1"))], at=NOON
    )
    before = held()
    with (
        pytest.raises(PoolTooSmall, match=r"The pool holds 999999\.00000000 USDT and 1000000"),
        transaction.atomic(),
    ):
        funding.draw(tranche_id=tranche.pk, actor=BUILDER, at=NOON)
    assert held() == before
    # With the day's cost there is a little too little, though the principal alone would do.
    with (
        pytest.raises(PoolTooSmall, match=r"1000272\.97260274 is needed"),
        transaction.atomic(),
    ):
        funding.draw(tranche_id=tranche.pk, amount=D("999999"), actor=BUILDER, at=MIDNIGHT)
    assert held() == before
    ledger.post(
        kind="test", reference="back", lines=[ledger.Line(pool, books.workout("USDT"), D("1"))], at=NOON
    )


@pytest.mark.django_db
def test_capital_that_is_set_aside_cannot_be_drawn() -> None:
    """R-ADM-12, R-GEN-78: the insurance fund is a claim on the same coins"""
    tranche = ours("1000")
    insurance.fund(asset="USDT", amount=D("400"), actor=BUILDER, at=NOON)
    with pytest.raises(CapitalTooSmall, match="Capital holds 600"):
        funding.draw(tranche_id=tranche.pk, amount=D("601"), actor=BUILDER, at=NOON)
    assert held() == {"pool": 1000, "capital": 600, "insurance": 400}
    funding.draw(tranche_id=tranche.pk, amount=D("600"), actor=BUILDER, at=NOON)
    assert held() == {"pool": 400, "insurance": 400}
    insurance.draw_back(asset="USDT", amount=D("400"), actor=BUILDER, at=NOON)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"amount": D("0")}, BadAmount, "more than 0"),
        ({"amount": D("-1")}, BadAmount, "more than 0"),
        ({"amount": D("NaN")}, BadAmount, "more than 0"),
        ({"amount": D("0.000000001")}, BadAmount, "8 decimals"),
        ({"amount": D(10) ** 18}, BadAmount, "below"),
        ({"asset": "NONE"}, BadAmount, "no coin"),
        ({"lender": ""}, BadFunding, "Our own capital costs nothing"),
        ({"annual_rate": D("-0.1")}, BadFunding, "A rate is a fraction"),
        ({"annual_rate": D("10")}, BadFunding, "A rate is a fraction"),
        ({"annual_rate": D("NaN")}, BadFunding, "A rate is a fraction"),
        ({"annual_rate": D("0.0000000000001")}, BadFunding, "12 decimals"),
        ({"lender": "x" * 121}, BadFunding, "120 characters"),
        ({"lender": "a\nb"}, BadFunding, "one line"),
        ({"matures_at": NOON}, BadFunding, "matures in the future"),
    ],
)
def test_what_is_no_funding_is_refused(changes: dict[str, Any], error: type[Refused], words: str) -> None:
    """R-ADM-12, R-GEN-01: and nothing is booked"""
    build.asset("USDT")
    asked = {"asset": "USDT", "amount": D("1000"), "lender": "Harbour", "annual_rate": D("0.1")} | changes
    with pytest.raises(error, match=words):
        funding.fund(actor=BUILDER, at=NOON, **asked)
    assert (held(), Tranche.objects.count()) == ({}, 0)


@pytest.mark.django_db
def test_more_than_is_left_is_neither_given_back_nor_paid() -> None:
    """R-ADM-12"""
    tranche = lent_to_us()
    other = ours("5000000")
    with pytest.raises(BadFunding, match=r"has 1000000\.00000000 USDT left"):
        funding.draw(tranche_id=tranche.pk, amount=D("1000000.00000001"), actor=BUILDER, at=NOON)
    assert (held(), len(booked())) == ({"pool": 6000000, "lenders": 1000000, "capital": 5000000}, 2)
    funding.accrue_costs(at=MIDNIGHT)
    with pytest.raises(BadFunding, match=r"273\.97260274 USDT of cost is owed"):
        funding.pay_cost(tranche_id=tranche.pk, amount=A_DAY + D("0.00000001"), actor=BUILDER, at=MIDNIGHT)
    with pytest.raises(BadFunding, match="There is no tranche"):
        funding.draw(tranche_id=other.pk + 99, actor=BUILDER, at=NOON)
    with pytest.raises(BadFunding, match="nothing is booked before it"):
        funding.draw(tranche_id=tranche.pk, amount=D("1"), actor=BUILDER, at=NOON)  # charged at 00:00 since
    assert held()["cost_owed"] == A_DAY


@pytest.mark.django_db
def test_a_coin_that_is_not_lent_has_no_pool() -> None:
    """R-ADM-12"""
    coin = build.asset("EUR", places=2, kind="fiat")
    with acting(BUILDER):
        coin.loanable = False
        coin.save(update_fields=["loanable"])
    with pytest.raises(BadFunding, match="does not lend EUR"):
        funding.fund(asset="EUR", amount=D("10"), actor=BUILDER, at=NOON)
    assert not LedgerAccount.objects.filter(asset="EUR").exists()


# --- Cost -------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_day_is_charged_once_however_often_the_job_runs() -> None:
    """R-ADM-12, R-GEN-04, R-GEN-06"""
    lent_to_us(at=MIDNIGHT)  # funded at midnight: that midnight is not charged
    assert funding.accrue_costs(at=MIDNIGHT) == 0
    assert funding.accrue_costs(at=MIDNIGHT + DAY - timedelta(seconds=1)) == 0
    assert [funding.accrue_costs(at=MIDNIGHT + DAY) for _ in range(3)] == [1, 0, 0]
    assert held()["cost_owed"] == A_DAY
    entry = JournalEntry.objects.get(kind="cost_of_funds")
    pk = Tranche.objects.get().pk
    assert (entry.at, entry.reference) == (MIDNIGHT + DAY, f"funding:{pk}:cost:2026-01-03")


@pytest.mark.django_db
def test_the_least_principal_still_costs_a_unit_a_day() -> None:
    """R-GEN-02: what is owed rounds up"""
    lent_to_us("0.00000001", annual_rate=D("0.000000000001"))
    assert funding.accrue_costs(at=MIDNIGHT + DAY) == 2
    assert held()["cost_owed"] == D("0.00000002")


steps = st.lists(
    st.tuples(
        st.integers(1, 40),  # hours until then
        st.sampled_from(["job", "draw", "pay"]),
        st.integers(1, 999),  # thousandths of what is left
    ),
    max_size=6,
)


@pytest.mark.django_db
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(todo=steps, rate=st.decimals("0.000000000001", "9", places=12), amount=st.integers(1, 10**9))
def test_late_jobs_write_the_rows_of_punctual_ones(
    todo: list[tuple[int, str, int]], rate: Decimal, amount: int
) -> None:
    """R-ADM-12, R-GEN-04: with and without a job at every midnight, the rows and balances are the same"""

    def play(*, punctual: bool) -> tuple[list[tuple[Any, ...]], dict[str, Decimal]]:
        with transaction.atomic():
            build.fund_pool("USDT", "100000000000")
            tranche, at = lent_to_us(str(amount), annual_rate=rate), NOON
            for hours, what, share in todo:
                until = at + timedelta(hours=hours)
                if punctual:
                    for midnight in funding.midnights(after=at, until=until):
                        funding.accrue_costs(at=midnight)
                at = until
                _do(what, tranche, share, at)
            funding.accrue_costs(at=at + 3 * DAY)
            assert ledger.problems() == []
            found = booked(), held()
            transaction.set_rollback(True)
        return found

    assert play(punctual=True) == play(punctual=False)


def _do(what: str, tranche: Tranche, share: int, at: datetime) -> None:
    if what == "job":
        funding.accrue_costs(at=at)
        return
    owed = funding.owed_on(tranche)
    due = sum((cost for _, cost in funding.pending(tranche, at=at)), D(0))
    whole = owed.principal if what == "draw" else owed.cost + due
    part = max((whole * share / 1000).quantize(D("0.00000001")), D("0.00000001"))
    if part < whole:
        call = funding.draw if what == "draw" else funding.pay_cost
        call(tranche_id=tranche.pk, amount=part, actor=BUILDER, at=at)


@pytest.mark.django_db
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amount=st.decimals("0.00000001", "1000000000", places=8),
    rate=st.decimals("0", "9.999999999999", places=12),
    days=st.integers(0, 5),
)
def test_what_a_lender_gets_is_what_they_lent_and_each_day_rounded_up(
    amount: Decimal, rate: Decimal, days: int
) -> None:
    """R-ADM-12, R-GEN-02: money in = money out + what the pool bore, to the last unit"""
    with transaction.atomic():
        build.fund_pool("USDT", "1000000000000")
        before = books.pool("USDT").balance
        tranche = lent_to_us(str(amount), annual_rate=rate)
        funding.draw(tranche_id=tranche.pk, actor=BUILDER, at=NOON + days * DAY)
        cost = before - books.pool("USDT").balance
        exact = amount * rate / 365 * days
        assert exact <= cost <= exact + days * D("0.00000001")
        assert funding.owed_on(tranche) == funding.Owed(D(0), D(0))
        assert held().get("cost_of_funds", D(0)) == cost
        assert ledger.problems() == []
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_one_bad_tranche_does_not_shield_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """R-ADM-12"""
    bad, good = lent_to_us(), lent_to_us("3650000")
    real = funding.book_due

    def stumbling(tranche: Tranche, *, at: datetime) -> int:
        if tranche.pk == bad.pk:
            raise RuntimeError("stumbles")
        return real(tranche, at=at)

    monkeypatch.setattr(funding, "book_due", stumbling)
    with pytest.raises(funding.CostsIncomplete, match=str(bad.pk)):
        funding.accrue_costs(at=MIDNIGHT)
    assert [funding.owed_on(row).cost for row in (bad, good)] == [0, 1000]


@pytest.mark.django_db
def test_a_month_is_not_closed_over_cost_that_is_not_booked() -> None:
    """R-ADM-11, R-ADM-12: else a late job would find its period closed"""
    tranche, month = lent_to_us(), datetime(2026, 2, 1, tzinfo=UTC)
    funding.accrue_costs(at=month - timedelta(seconds=1))
    with pytest.raises(closing.StillToBook, match=f"the cost of 1 tranche.*{tranche}"):
        closing.close(through=month, actor=BUILDER, at=month + DAY)
    funding.accrue_costs(at=month + DAY)
    closing.close(through=month, actor=BUILDER, at=month + DAY)
    assert funding.owed_on(tranche).cost == 32 * A_DAY


# --- Who --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_finance_proposes_and_another_of_finance_releases() -> None:
    """R-ADM-12, R-ADM-03"""
    build.asset("USDT")
    maker, checker = build.user("finance"), build.user("finance")
    asked = {"asset": "USDT", "amount": D("1000"), "lender": "Harbour Bank", "annual_rate": D("0.05")}
    with pytest.raises(NeedsApproval):
        funding.fund(**asked, actor=Actor.user(maker), at=NOON)
    for role in sorted(set(User.Role.values) - {"finance", "admin"}):
        with pytest.raises(NotYourRole):
            funding.fund(**asked, actor=Actor.user(build.user(role)), at=NOON)
    released(maker, checker, "funding.fund", asked)
    tranche = Tranche.objects.get()
    assert held() == {"pool": 1000, "lenders": 1000}

    for command in (funding.draw, funding.pay_cost):
        with pytest.raises(NeedsApproval):
            command(tranche_id=tranche.pk, actor=Actor.user(maker), at=NOON)
        with pytest.raises(NotYourRole):
            command(tranche_id=tranche.pk, actor=Actor.user(build.user("auditor")), at=NOON)
    assert held() == {"pool": 1000, "lenders": 1000}
    released(maker, checker, "funding.draw", {"tranche_id": tranche.pk, "amount": None})
    assert held() == {}


@pytest.mark.django_db
def test_the_cost_that_leaves_with_a_drawing_counts_for_four_eyes() -> None:
    """R-ADM-12, R-ADM-03: one unit of principal is no way to pay a lender alone"""
    tranche, finance = lent_to_us(), Actor.user(build.user("finance"))
    build.price("USDT", "1", at=NOON)
    for command in ("funding.draw", "funding.pay_cost"):
        approvals.publish_policy(governed=command, required=True, above_usd=3 * A_DAY, actor=BUILDER, at=NOON)
    cent, day = D("0.01"), NOON + 3 * DAY
    before = held()
    with pytest.raises(NeedsApproval):
        funding.draw(tranche_id=tranche.pk, amount=cent, actor=finance, at=day)
    assert held() == before
    funding.pay_cost(tranche_id=tranche.pk, actor=finance, at=day)
    funding.draw(tranche_id=tranche.pk, amount=cent, actor=finance, at=day)
    assert held() == {
        "pool": 1000000 - 3 * A_DAY - cent,
        "lenders": 1000000 - cent,
        "cost_of_funds": 3 * A_DAY,
    }


def released(maker: User, checker: User, command: str, asked: dict[str, Any]) -> None:
    proposal = approvals.propose(
        command=command,
        arguments=asked,
        title="Funding",
        preview={},
        reason="Board of 1 January",
        actor=Actor.user(maker),
        at=NOON,
    )
    before = held()
    with pytest.raises(approvals.OwnProposal):
        approvals.release(approval_id=proposal.pk, actor=Actor.user(maker), at=NOON)
    assert held() == before
    approvals.release(approval_id=proposal.pk, actor=Actor.user(checker), at=NOON)


# --- Races and proof --------------------------------------------------------------------------------

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def test_a_tranche_drawn_eight_times_at_once_is_given_back_once(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-ADM-12, TRUST I-23: and its cost is charged once, whoever comes first"""
    build.fund_pool("USDT", "10000000")
    tranche = lent_to_us()
    at = NOON + 2 * DAY

    def draw() -> Tranche:
        return funding.draw(tranche_id=tranche.pk, actor=BUILDER, at=at)

    results = in_threads([*[draw] * 6, *[lambda: funding.accrue_costs(at=at)] * 2])

    assert sum(isinstance(result, Tranche) for result in results) == 1
    assert sum(isinstance(result, TrancheClosed) for result in results) == 5
    assert sum(isinstance(result, int) for result in results) == 2
    assert held() == {
        "pool": D("10000000") - 2 * A_DAY,
        "capital": 10000000,
        "cost_of_funds": 2 * A_DAY,
    }


def test_two_tranches_drawn_at_once_from_a_pool_that_holds_one(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-ADM-12: the ledger refuses the second; the pool never goes below 0"""
    first, second = (lent_to_us("1000", annual_rate=D(0)) for _ in range(2))
    spent = ledger.Line(books.workout("USDT"), books.pool("USDT"), D("1000"))
    ledger.post(kind="test", reference="lent", lines=[spent], at=NOON)

    results = in_threads(
        [
            lambda pk=row.pk: funding.draw(tranche_id=pk, actor=BUILDER, at=NOON)  # type: ignore[misc]
            for row in (first, second)
        ]
    )

    assert sum(isinstance(result, Tranche) for result in results) == 1
    assert sum(isinstance(result, (PoolTooSmall, ledger.Overdrawn)) for result in results) == 1
    assert held() == {"lenders": 1000, "workout": 1000}
    back = ledger.Line(books.pool("USDT"), books.workout("USDT"), D("1000"))
    ledger.post(kind="test", reference="back", lines=[back], at=NOON)


@pytest.mark.breaks_the_books
def test_the_proof_finds_planted_faults(committed_db: object) -> None:
    """R-ADM-12: planted by the owner with the triggers off"""
    build.fund_pool("USDT", "1000")
    tranche, own = lent_to_us(), ours("500")
    funding.accrue_costs(at=MIDNIGHT + 2 * DAY)
    assert ledger.problems() == []
    with psycopg.connect(committed_db.owner_url, autocommit=True) as owner:  # type: ignore[attr-defined]
        owner.execute("ALTER TABLE risk_trancheentry DISABLE TRIGGER USER")
        owner.execute("ALTER TABLE risk_tranche DISABLE TRIGGER USER")
        owner.execute("DELETE FROM risk_trancheentry WHERE day_end = '2026-01-03'")
    found = "\n".join(ledger.problems())
    assert f"cost_owed:USDT: holds {3 * A_DAY} but its tranches say {2 * A_DAY}" in found
    assert f"cost_of_funds:USDT: holds {3 * A_DAY} but its tranches say {2 * A_DAY}" in found
    assert f"{tranche}: 2 charges up to 2026-01-04, not one for each day" in found
    with psycopg.connect(committed_db.owner_url, autocommit=True) as owner:  # type: ignore[attr-defined]
        owner.execute("UPDATE risk_trancheentry SET principal = principal - 1 WHERE kind = 'fund'")
        owner.execute("UPDATE risk_tranche SET closed_at = '2026-01-05' WHERE lender = ''")
    found = "\n".join(ledger.problems())
    assert "lenders:USDT: holds 1000000.00000000 but its tranches say 999999.00000000" in found
    assert f"funding:{own.pk}:fund:0: its tranche's rows say otherwise" in found
    assert f"{own}: closed with 499.00000000 and 0.00000000 of cost left" in found
