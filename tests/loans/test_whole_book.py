"""The same plans opened at once and by the commands leave the same book, and both are whole."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from accounts import ledger
from accounts.models import Account, LedgerAccount, Membership, Screening
from loans import population, whole_book
from loans.demo import opening
from loans.models import Application, Loan
from loans.population import Desk
from loans.precautions import Precautions
from risk import book, stress
from risk.feeds.file import Row, bars_of
from risk.models import CollateralGroup, CureRule, Debt, DebtEntry, DebtRate, Deleveraging, Limits, Member
from risk.stress import Course

START = datetime(2026, 3, 1, tzinfo=UTC)
Opened = Callable[[], None]


@pytest.fixture
def course() -> Course:
    """Three coins, priced once an hour; the third has no figures of its own."""
    prices = {"BTC": "60000", "ETH": "3000", "NEWCOIN": "0.5"}
    rows = [
        Row(line, START, asset, Decimal(price), Decimal(price), Decimal(price))
        for line, (asset, price) in enumerate(prices.items())
    ]
    return stress.survey(bars_of(rows))


def desk_of(course: Course, *, ratio_share: Decimal = Decimal(1)) -> Desk:
    population.publish(coins={*course.coins, *course.longest}, at=course.first_day, ratio_share=ratio_share)
    stress.publish_watch(course, actor=population.JOB, at=course.first_day)
    stress.warm_up(course)
    return population.open_desk(coins=course.coins, at=course.opens_at)


def _people() -> list[Any]:
    fields = ("customer__name", "customer__kind", "customer__vip_level", "customer__manager__name", "email")
    masters = Account.objects.filter(kind="master").order_by("email").values_list(*fields)
    subs = Account.objects.exclude(kind="master").order_by("customer__name", "uid")
    return [
        list(masters),
        list(subs.values_list("customer__name", "kind", "label", "opened_at")),
        list(Membership.objects.order_by("user__email").values_list("user__email", "user__role", "role")),
        list(
            Screening.objects.order_by("customer__name", "kind").values_list(
                "customer__name", "kind", "status", "checked_at", "recorded_by"
            )
        ),
    ]


def _wallets() -> list[Any]:
    rows = LedgerAccount.objects.order_by("account__customer__name", "account__label", "kind", "asset")
    fields = ("account__customer__name", "account__label", "kind", "asset", "normal", "debits", "credits")
    return list(rows.values_list(*fields))


def _groups() -> list[Any]:
    name = "customer__name"
    lines = ("effective_at", "ends_at", "initial", "margin_call", "liquidation", "cutoff", "fee")
    order = ("group__customer__name", "account__label")
    return [
        list(
            CollateralGroup.objects.order_by(name).values_list(name, "name", "band", "opened_at", "closed_at")
        ),
        list(Member.objects.order_by(*order).values_list(*order, "wallet", "since", "released_at")),
        list(
            CollateralGroup.objects.order_by(name, "coins__asset").values_list(
                name, "coins__asset", "coins__since"
            )
        ),
        list(
            Limits.objects.filter(group__isnull=False)
            .order_by("group__customer__name")
            .values_list("group__customer__name", "product", *lines)
        ),
        list(
            CollateralGroup.objects.order_by(name, "events__pk").values_list(
                name, "events__kind", "events__at"
            )
        ),
    ]


def _debts() -> list[Any]:
    fields = [
        field.attname for field in Debt._meta.fields if field.attname not in ("id", "group_id", "customer_id")
    ]
    order = ("debt__customer__name", "debt__pk", "pk")
    rates = DebtRate.objects.order_by(*order).values_list("starts_at", "fixed_rate", "spread")
    entries = DebtEntry.objects.order_by(*order).values_list(
        "kind", "at", "principal", "interest", "late_fee"
    )
    return [
        list(Debt.objects.order_by("customer__name", "pk").values_list("customer__name", *fields)),
        list(rates),
        list(entries),
    ]


def _loans(at: datetime) -> list[Any]:
    loans = (
        Loan.objects.with_debt()
        .select_related("customer", "line__application")
        .order_by("customer__name", "pk")
    )
    told = [
        (
            loan.customer.name,
            loan.asset_id,
            loan.amount,
            loan.rate_type,
            loan.annual_rate,
            loan.term_days,
            loan.drawn_at,
            loan.due_at,
            loan.line and (loan.line.amount, loan.line.annual_rate, loan.line.declined),
        )
        for loan in loans
    ]
    asked = Application.objects.order_by("customer__name", "pk")
    fields = (
        "customer__name",
        "rate_type",
        "term_days",
        "status",
        "submitted_at",
        "decided_at",
        "expires_at",
    )
    lists = [
        (
            sorted(row.collateral_accounts.values_list("label", flat=True)),
            sorted(row.collateral_coins.values_list("pk", flat=True)),
            row.decided_by and row.decided_by.name,
        )
        for row in asked
    ]
    return [told, list(asked.values_list(*fields)), lists]


def _states(at: datetime) -> list[Any]:
    rows = CollateralGroup.objects.order_by("customer__name")
    states = book.states(rows, at=at)
    return [
        (
            state.worth(),
            state.worth().ltv,
            state.lines,
            state.handling,
            sorted(state.coins),
            len(state.members),
        )
        for state in (states[row.pk] for row in rows)
    ]


def whole(at: datetime) -> list[Any]:
    return [_people(), _wallets(), _groups(), _debts(), _loans(at), _states(at)]


@pytest.mark.django_db
@pytest.mark.parametrize("prepared", [Precautions(), Precautions(auto_cure=True, soft=True)])
def test_thirty_borrowers_opened_at_once_are_those_that_the_commands_open(
    course: Course, prepared: Precautions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-VIP-14, R-VIP-50, R-GEN-12, R-GEN-40: the same rows and LTVs, to the last digit, in chunks that do not fit"""
    count = 6 if prepared.soft else 30
    desk, at = desk_of(course), course.opens_at
    with transaction.atomic():
        list(population.open_borrowers(desk=desk, count=count, seed=3, at=at, prepared=prepared))
        expected = whole(at)
        assert ledger.problems() == []
        transaction.set_rollback(True)
    monkeypatch.setattr(whole_book, "CHUNK", 7)
    plans = population.plans(desk=desk, count=count, seed=3)
    groups = list(whole_book.open_borrowers(plans, desk=desk, at=at, prepared=prepared))

    for part, wanted in zip(whole(at), expected, strict=True):
        assert part == wanted
    assert len(groups) == count
    assert [group.customer.name[-4:] for group in groups] == [f"{n:04d}" for n in range(1, count + 1)]
    assert (CureRule.objects.exists(), Deleveraging.objects.count()) == (
        prepared.auto_cure,
        count * prepared.soft,
    )
    assert ledger.problems() == []


@pytest.mark.django_db
def test_other_lines_and_ratios_ask_for_more_collateral_for_the_same_loans(course: Course) -> None:
    """R-GEN-30, R-VIP-13: LTV lies as far below another initial line; half the ratio, more coins; loans as before"""

    def opened(lines: Any, share: str) -> tuple[list[Decimal], list[Decimal], Decimal]:
        with transaction.atomic():
            desk = replace(desk_of(course, ratio_share=Decimal(share)), lines=lines)
            plans = population.plans(desk=desk, count=12, seed=5)
            list(whole_book.open_borrowers(plans, desk=desk, at=course.opens_at))
            rows = CollateralGroup.objects.order_by("pk")
            states = book.states(rows, at=course.opens_at)
            ltvs = [states[row.pk].worth().ltv or Decimal(0) for row in rows]
            market = sum((states[row.pk].worth().market for row in rows), Decimal(0))
            amounts = list(Loan.objects.order_by("pk").values_list("amount", flat=True))
            assert {state.lines for state in states.values()} == {lines}
            transaction.set_rollback(True)
        return amounts, ltvs, market

    strict = replace(
        opening.LINES, initial=Decimal("0.65"), margin_call=Decimal("0.72"), liquidation=Decimal("0.85")
    )
    amounts, ltvs, market = opened(opening.LINES, "1")
    stricter = opened(strict, "1")
    lower = opened(opening.LINES, "0.8")
    assert stricter[0] == amounts
    assert all(
        abs(mine / Decimal("0.65") - theirs / Decimal("0.72")) < Decimal("0.000001")
        for mine, theirs in zip(stricter[1], ltvs, strict=True)
    )
    assert stricter[2] > market
    assert all(abs(mine - theirs) < Decimal("0.000001") for mine, theirs in zip(lower[1], ltvs, strict=True))
    assert lower[2] > market * Decimal("1.2")
