"""What the database refuses of debt entries, by its own names: in a statement of one row per debt and of several."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import Error, transaction

from accounts import books, ledger
from accounts.models import JournalEntry
from risk.models import Debt, DebtEntry
from tests import build
from tests.build import TEN

DAY = timedelta(days=1)
FIRST = TEN.replace(hour=0) + DAY  # the first midnight after a debt of `build` is opened
GOOD: dict[str, Any] = {"start": TEN, "end": FIRST, "interest": "1", "late_fee": "0", "basis": "1000000"}
NEXT = GOOD | {"start": FIRST, "end": FIRST + DAY}


@pytest.fixture
def pair(db: None) -> Iterator[list[int]]:
    """Two debts of a million USDT; whatever is refused, neither is charged afterwards."""
    pair = [build.secured_debt().pk for _ in range(2)]
    yield pair
    assert not DebtEntry.objects.filter(kind="charge").exists()
    assert set(Debt.objects.values_list("interest", "late_fee", "accrued_through")) == {(0, 0, TEN)}


@transaction.atomic
def booked(rows: list[tuple[int, dict[str, Any]]], *, entry: int | None = None) -> None:
    """All of them by one statement, as an application that has lost its mind would."""
    if entry is None:
        total = sum(Decimal(row["interest"]) for _, row in rows)
        lines = [ledger.Line(books.interest("USDT"), books.interest_income("USDT"), total)]
        entry = ledger.post(kind="accrual", reference="test:forged", lines=lines, at=TEN).pk
    DebtEntry.objects.bulk_create(
        DebtEntry(
            debt_id=pk,
            entry_id=entry,
            kind="charge",
            at=TEN,
            interest=row["interest"],
            late_fee=row["late_fee"],
            period_start=row["start"],
            period_end=row["end"],
            basis=row["basis"],
            annual_rate="0.084",
        )
        for pk, row in rows
    )


def refused(pair: list[int], bad: dict[str, Any], *, is_alone: bool) -> Error:
    """The bad row is the second debt's; the first has one good charge beside it, or two."""
    good = [(pair[0], GOOD)] if is_alone else [(pair[0], GOOD), (pair[0], NEXT)]
    with pytest.raises(Error) as refusal:
        booked([*good, (pair[1], bad)])
    return refusal.value


@pytest.mark.parametrize("is_alone", [True, False])
@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [
        ({"start": FIRST, "end": FIRST + DAY}, "charges_are_a_chain"),
        ({"basis": "999999.99999999"}, "charge_is_plausible"),
        ({"interest": "231"}, "charge_is_plausible"),
        ({"late_fee": "461"}, "charge_is_plausible"),
    ],
)
def test_a_wrong_charge_is_refused_by_name(
    pair: list[int], wrong: dict[str, Any], constraint: str, is_alone: bool
) -> None:
    """I-09, I-10, I-12: whichever way the statement is checked"""
    error = refused(pair, GOOD | wrong, is_alone=is_alone)

    assert isinstance(error.__cause__, psycopg.errors.CheckViolation)
    assert error.__cause__.diag.constraint_name == constraint


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_charge_on_no_debt_is_refused(pair: list[int], is_alone: bool) -> None:
    """I-10"""
    error = refused([pair[0], pair[1] + 1000], GOOD, is_alone=is_alone)

    assert isinstance(error.__cause__, psycopg.errors.ForeignKeyViolation)


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_charge_under_a_sealed_entry_is_refused(committed_db: object, is_alone: bool) -> None:
    """I-07: an entry takes lines in its own transaction only"""
    debt = build.secured_debt()
    sealed = JournalEntry.objects.order_by("pk")[0]
    rows = [(debt.pk, GOOD)] if is_alone else [(debt.pk, GOOD), (debt.pk, NEXT)]

    with pytest.raises(Error, match=f"entry {sealed.pk} is sealed or missing"):
        booked(rows, entry=sealed.pk)

    assert not DebtEntry.objects.filter(kind="charge").exists()


@pytest.mark.parametrize(
    "change", ["interest = 1", "principal = 1", "accrued_through = now()", "opened_at = now()"]
)
def test_not_even_the_owner_moves_totals_by_hand(committed_db: Any, change: str) -> None:
    """I-05: whoever has the right to the column still may not; other facts may change"""
    debt = build.secured_debt()
    before = Debt.objects.values().get(pk=debt.pk)

    with psycopg.connect(committed_db.owner_url) as owner:
        owner.execute("SELECT set_config('app.actor', 'test', true)")
        owner.execute("UPDATE risk_debt SET due_at = opened_at + interval '9 days', principal = principal")
        message = f"totals of debt {debt.pk} move only with its entries"
        with pytest.raises(psycopg.errors.RestrictViolation, match=message):
            owner.execute(f"UPDATE risk_debt SET {change}")  # type: ignore[call-overload]  # noqa: S608

    assert Debt.objects.values().get(pk=debt.pk) == before


@pytest.mark.parametrize("is_alone", [True, False])
def test_an_amount_finer_than_its_coin_is_refused(db: None, is_alone: bool) -> None:
    """R-GEN-01: a charge of half a cent on a coin of two places"""
    build.asset("EURC", places=2)
    build.fund_pool("EURC", "1000000")
    of = build.secured_debt().group
    pair = [build.debt(of, "EURC", "1000").pk for _ in range(2)]
    good = GOOD | {"basis": "1000", "interest": "0.23"}
    first = (
        [(pair[0], good)]
        if is_alone
        else [(pair[0], good), (pair[0], good | {"start": FIRST, "end": FIRST + DAY})]
    )

    with pytest.raises(Error) as refusal:
        booked([*first, (pair[1], good | {"interest": "0.235"})])

    assert isinstance(refusal.value.__cause__, psycopg.errors.CheckViolation)
    assert refusal.value.__cause__.diag.constraint_name == "debt_open_and_at_its_places"
    assert not DebtEntry.objects.filter(kind="charge").exists()


def test_a_debt_opens_empty(db: None) -> None:
    """I-05"""
    debt = build.secured_debt()
    copy = Debt.objects.get(pk=debt.pk)
    copy.pk = None

    with pytest.raises(Error, match="a debt must open empty"), transaction.atomic():
        copy.save(force_insert=True)

    assert Debt.objects.count() == 1
