"""Opening, charging, repaying and renewing a debt: exact rows, exact balances (R-VIP-30…34, 42, 43)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import Error, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import books, ledger
from accounts.commands import acting
from accounts.models import LedgerAccount
from risk import debts
from risk.interest import daily_charge
from risk.models import Debt, DebtEntry
from risk.waterfall import Parts
from tests import build
from tests.build import BUILDER, TEN

DAY = timedelta(days=1)


def pay(debt: Debt, amount: str, *, at: datetime, reference: str = "test:pay") -> DebtEntry:
    with acting(BUILDER):
        [locked] = Debt.objects.locked(debt.pk)
        return debts.take_payment(
            debt=locked,
            amount=Decimal(amount),
            wallets=[books.wallet(debt.group.receiver, debt.asset_id)],
            reference=reference,
            at=at,
        )


def charge(debt: Debt, at: datetime) -> Debt:
    with acting(BUILDER):
        debts.bring_up_to_date(Debt.objects.locked(debt.pk), at=at)
    debt.refresh_from_db()
    return debt


@transaction.atomic
def book_forged(forged: DebtEntry) -> None:
    lines = [ledger.Line(books.interest("USDT"), books.interest_income("USDT"), Decimal(1))]
    forged.entry = ledger.post(kind="accrual", reference="test:forged", lines=lines, at=TEN)
    forged.save()


def test_opening_pays_out_of_the_pool_into_spot(db: None) -> None:
    """R-VIP-14: at once, no transaction fee."""
    debt = build.secured_debt(amount="1000000")

    assert (debt.principal, debt.interest, debt.accrued_through) == (1000000, 0, TEN)
    assert build.balance(debt.group.receiver, "USDT") == 1000000
    assert (books.pool("USDT").balance, books.principal("USDT").balance) == (0, 1000000)
    assert books.custody("USDT").balance == 1000000


def test_an_empty_pool_lends_nothing(db: None) -> None:
    """R-GEN-38"""
    debt = build.secured_debt(amount="1000000")

    with pytest.raises(debts.PoolEmpty), transaction.atomic():
        build.debt(debt.group, amount="1")

    assert Debt.objects.count() == 1
    assert build.balance(debt.group.receiver, "USDT") == 1000000


def test_a_fixed_loan_pays_the_same_each_midnight(db: None) -> None:
    """EX-01: 1,000,000 at 8.40 % for 30 days."""
    debt = charge(build.secured_debt(rate="0.084", due_at=TEN + 30 * DAY), TEN + 30 * DAY)

    charges = debt.entries.filter(kind="charge").order_by("period_start")
    assert [row.interest for row in charges] == [Decimal("230.13698631")] * 30
    assert debt.interest == Decimal("6904.10958930")
    assert charges[0].period_start == TEN
    assert charges[29].period_end == datetime(2026, 1, 31, tzinfo=UTC)
    assert books.interest_income("USDT").balance == Decimal("6904.10958930")


def test_a_flexible_loan_follows_the_rate_of_each_day(db: None) -> None:
    """EX-02, R-VIP-32: 8, 9 and 7.5 %; a day costs the rate in force just before its midnight."""
    build.flexible_rate("USDT", "0.08")
    build.flexible_rate("USDT", "0.09", at=datetime(2026, 1, 2, tzinfo=UTC))
    build.flexible_rate("USDT", "0.075", at=datetime(2026, 1, 3, tzinfo=UTC))
    debt = charge(build.secured_debt(rate=None), TEN + 3 * DAY)

    charges = debt.entries.filter(kind="charge").order_by("period_start")
    assert [str(row.interest) for row in charges] == ["219.17808220", "246.57534247", "205.47945206"]
    assert debt.interest == Decimal("671.23287673")


def test_an_overdue_loan_pays_three_times(db: None) -> None:
    """EX-06, R-VIP-43: the first triple charge is the first midnight after expiry."""
    debt = charge(build.secured_debt(rate="0.084", due_at=TEN + 30 * DAY), TEN + 33 * DAY)

    late = debt.entries.filter(kind="charge", late_fee__gt=0).order_by("period_start")
    assert [(row.interest, row.late_fee) for row in late] == [
        (Decimal("230.13698631"), Decimal("460.27397260"))
    ] * 3
    assert debt.booked == Decimal("1008975.34246603")
    assert books.late_fee_income("USDT").balance == 3 * Decimal("460.27397260")


def test_charging_twice_or_late_gives_the_same_rows(db: None) -> None:
    """R-GEN-04, I-09"""
    punctual, late = build.secured_debt(), build.secured_debt()
    for day in range(1, 6):
        charge(punctual, TEN + day * DAY)
        charge(punctual, TEN + day * DAY)
    charge(late, TEN + 5 * DAY)

    fields = ("period_start", "period_end", "interest", "late_fee", "basis", "annual_rate", "at")
    rows = [
        list(debt.entries.filter(kind="charge").order_by("period_start").values_list(*fields))
        for debt in (punctual, late)
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 5


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-01-01 10:00", "2026-01-02 00:00"),  # a second time
        ("2026-01-03 00:00", "2026-01-04 00:00"),  # leaving a day out
        ("2026-01-01 12:00", "2026-01-02 12:00"),  # overlapping
    ],
)
def test_the_database_refuses_a_charge_off_the_chain(db: None, start: str, end: str) -> None:
    """I-09, I-10"""
    debt = charge(build.secured_debt(), TEN + DAY)
    forged = DebtEntry(
        debt=debt,
        kind="charge",
        at=TEN,
        interest=1,
        basis=1000000,
        annual_rate="0.084",
        period_start=datetime.fromisoformat(start + "+00:00"),
        period_end=datetime.fromisoformat(end + "+00:00"),
    )

    with pytest.raises(Error, match="does not start where|one_charge_per_period"):
        book_forged(forged)

    debt.refresh_from_db()
    assert debt.interest == Decimal("230.13698631")


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE risk_debt SET principal = 0",
        "UPDATE risk_debt SET interest = 0, closed_at = now(), closed_reason = 'repaid'",
        "UPDATE risk_debt SET accrued_through = now()",
        "DELETE FROM risk_debt",
        "UPDATE risk_debtentry SET interest = 0",
        "DELETE FROM risk_debtentry",
        "UPDATE risk_price SET price = 1",
        "UPDATE risk_debtrate SET fixed_rate = 0",
    ],
)
def test_the_application_may_not_forgive_a_debt(db: None, attack: str) -> None:
    """I-05, I-07, I-31"""
    debt = build.secured_debt()
    build.price("BTC", "60000")

    with pytest.raises(Error), acting(BUILDER), connection.cursor() as cursor:
        cursor.execute(attack)

    debt.refresh_from_db()
    assert (debt.principal, debt.closed_at) == (1000000, None)


def test_a_payment_serves_late_fee_then_interest_then_principal(db: None) -> None:
    """R-GEN-51"""
    debt = build.secured_debt(rate="0.084", due_at=TEN + 30 * DAY)
    at = TEN + 31 * DAY  # one day late

    first = pay(debt, "460.27397261", at=at, reference="test:1")
    second = pay(debt, "10000", at=at, reference="test:2")

    assert (first.late_fee, first.interest, first.principal) == (
        Decimal("-460.27397260"),
        Decimal("-0.00000001"),
        0,
    )
    assert (second.late_fee, second.interest) == (0, -(31 * Decimal("230.13698631") - Decimal("0.00000001")))
    debt.refresh_from_db()
    assert debt.principal == 1000000 - (10000 + second.interest)
    assert books.pool("USDT").balance == Decimal("10460.27397261")


def test_paying_all_closes_the_debt(db: None) -> None:
    debt = build.secured_debt()
    build.deposit(debt.group.receiver, "USDT", "230.13698631")

    pay(debt, "1000230.13698631", at=TEN + DAY)

    debt.refresh_from_db()
    assert (debt.booked, debt.closed_reason, debt.closed_at) == (0, "repaid", TEN + DAY)
    assert build.balance(debt.group.receiver, "USDT") == 0
    assert books.pool("USDT").balance == Decimal("1000230.13698631")


def test_a_loan_repaid_before_its_first_midnight_pays_one_day(db: None) -> None:
    """R-VIP-31, vip_min_days"""
    debt = build.secured_debt()
    build.deposit(debt.group.receiver, "USDT", "1000")
    at = TEN + timedelta(hours=1)
    assert debts.payoff_at(debt, at=at) == Parts(Decimal(0), Decimal("230.13698631"), Decimal(1000000))

    pay(debt, "1000230.13698631", at=at)

    debt.refresh_from_db()
    assert debt.closed_reason == "repaid"
    assert debt.entries.get(kind="minimum").interest == Decimal("230.13698631")


def test_paying_all_but_the_one_day_leaves_it_owed(db: None) -> None:
    """R-VIP-31: the principal to the last coin, but not the day."""
    debt = build.secured_debt()

    pay(debt, "1000000", at=TEN)

    debt.refresh_from_db()
    assert (debt.principal, debt.interest, debt.closed_at) == (Decimal("230.13698631"), 0, None)


def test_a_residual_debt_is_paid_off_without_a_minimum_day(db: None) -> None:
    """R-GEN-78: 0 %, nothing added."""
    debt = build.secured_debt()
    with acting(BUILDER):
        debts.make_residual(debt, at=TEN)

    pay(debt, "1000000", at=TEN)

    debt.refresh_from_db()
    assert debt.closed_reason == "repaid"


def test_a_late_repayment_books_the_midnight_before_it(db: None) -> None:
    """R-VIP-31: paid at 00:20, before the night's run; the day is charged as a punctual run would have."""
    debt = build.secured_debt()

    pay(debt, "1000", at=datetime(2026, 1, 2, 0, 20, tzinfo=UTC))

    row = debt.entries.get(kind="charge")
    assert (row.basis, row.interest, row.at) == (
        1000000,
        Decimal("230.13698631"),
        datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_a_payment_the_wallet_cannot_bear_moves_nothing(db: None) -> None:
    debt = build.secured_debt()
    with acting(BUILDER):
        ledger.post(
            kind="withdrawal",
            reference="test:gone",
            lines=[
                ledger.Line(books.wallet(debt.group.receiver, "USDT"), books.custody("USDT"), Decimal(999999))
            ],
            at=TEN,
        )

    with pytest.raises(ledger.Overdrawn):
        pay(debt, "2", at=TEN)

    debt.refresh_from_db()
    assert (debt.principal, debt.interest) == (1000000, 0)
    assert build.balance(debt.group.receiver, "USDT") == 1


def test_a_closed_debt_takes_no_more(db: None) -> None:
    debt = build.secured_debt()
    build.deposit(debt.group.receiver, "USDT", "1000")
    pay(debt, "1000230.13698631", at=TEN, reference="test:1")

    with pytest.raises(debts.NothingOwed):
        pay(debt, "1", at=TEN, reference="test:2")


def test_a_renewal_carries_the_principal_and_the_old_rate_to_the_old_expiry(db: None) -> None:
    """R-VIP-42: 8.4 % to 31 January, 9.125 % from there; no midnight is charged twice or left out."""
    old = build.secured_debt(rate="0.084", due_at=TEN + 30 * DAY)
    at = TEN + 25 * DAY
    build.deposit(old.group.receiver, "USDT", "100000")
    pay(charge(old, at), "5753.42465775", at=at)
    with acting(BUILDER):
        [locked] = Debt.objects.locked(old.pk)
        new = debts.renew(old=locked, due_at=TEN + 60 * DAY, fixed_rate=Decimal("0.09125"), at=at)

    charge(new, TEN + 32 * DAY)

    old.refresh_from_db()
    assert (old.principal, old.closed_reason) == (0, "renewed")
    assert new.principal == 1000000
    charges = new.entries.filter(kind="charge").order_by("period_start")
    assert [str(row.annual_rate.normalize()) for row in charges] == ["0.084"] * 5 + ["0.09125"] * 2
    nights = DebtEntry.objects.filter(kind="charge").order_by("at").values_list("at", flat=True)
    assert list(nights) == [datetime(2026, 1, 1, tzinfo=UTC) + day * DAY for day in range(1, 33)]
    assert books.principal("USDT").balance == 1000000


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    principal=st.decimals(min_value="0.00000001", max_value=10**9, places=8),
    rate=st.decimals(min_value=0, max_value=2, places=12),
    splits=st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
def test_what_is_booked_is_the_formula_whatever_the_calls(
    db: None, principal: Decimal, rate: Decimal, splits: list[int]
) -> None:
    """R-VIP-30, R-GEN-04: any cutting of the days into runs books ceil(P*r/365) per day."""
    with transaction.atomic():
        debt = build.secured_debt(amount=str(principal), rate=str(rate))
        days = 0
        for days_later in splits:
            days += days_later
            charge(debt, TEN + days * DAY)
        assert debt.interest == days * daily_charge(principal=principal, annual_rate=rate, places=8).interest
        assert debt.entries.filter(kind="charge").count() == days
        assert books.interest("USDT").balance == debt.interest
        transaction.set_rollback(True)


def test_wallets_are_drawn_in_order(db: None) -> None:
    """R-VIP-34: Spot first, then Fiat."""
    debt = build.secured_debt()
    receiver = debt.group.receiver
    with acting(BUILDER):
        out = [ledger.Line(books.wallet(receiver, "USDT"), books.custody("USDT"), Decimal(999990))]
        ledger.post(kind="withdrawal", reference="test:out", lines=out, at=TEN)
    build.deposit(receiver, "USDT", "100", wallet="fiat")

    with acting(BUILDER):
        wallets = [
            books.wallet(receiver, "USDT", kind)
            for kind in (LedgerAccount.Kind.SPOT, LedgerAccount.Kind.FIAT)
        ]
        [locked] = Debt.objects.locked(debt.pk)
        debts.take_payment(debt=locked, amount=Decimal(50), wallets=wallets, reference="test:pay", at=TEN)

    assert (build.balance(receiver, "USDT"), build.balance(receiver, "USDT", wallet="fiat")) == (0, 60)


@pytest.mark.breaks_the_books
def test_check_ledger_finds_a_debt_that_left_its_books(committed_db: object) -> None:
    """I-10, I-13, I-14: planted by the owner with the triggers off."""
    import psycopg

    debt = charge(build.secured_debt(), TEN + 3 * DAY)
    assert ledger.problems() == []
    with psycopg.connect(committed_db.owner_url, autocommit=True) as owner:  # type: ignore[attr-defined]
        owner.execute("ALTER TABLE risk_debt DISABLE TRIGGER USER")
        owner.execute("ALTER TABLE risk_debtentry DISABLE TRIGGER USER")
        owner.execute("UPDATE risk_debt SET principal = principal - 1")
        owner.execute("DELETE FROM risk_debtentry WHERE kind = 'charge' AND period_end = '2026-01-03'")

    found = ledger.problems()
    assert any(f"D-{debt.pk}: principal is 999999" in problem for problem in found)
    assert any("principal:USDT: holds 1000000" in problem for problem in found)
    assert any(f"D-{debt.pk}: interest is" in problem for problem in found)
    assert any("leaves a gap" in problem for problem in found)


def test_interest_earns_no_interest(db: None) -> None:
    """R-GEN-50: after ten nights the eleventh is charged on the principal alone."""
    debt = charge(build.secured_debt(), TEN + 11 * DAY)

    charges = debt.entries.filter(kind="charge")
    assert {(row.basis, row.interest) for row in charges} == {(1000000, Decimal("230.13698631"))}
