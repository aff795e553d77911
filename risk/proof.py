"""What `check_ledger` adds for debts and forced sales: totals, controls, charges and coins taken over prove each other.

I-09, I-10, I-13, I-14, R-GEN-79
"""

from django.db import connection
from django.db.models import DecimalField, F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts import ledger
from accounts.models import LedgerAccount, Transfer
from accounts.money import ZERO
from risk.models import Debt, DebtEntry, Sale
from risk.workout import RELEASE, TAKEOVER

PARTS = ("principal", "interest", "late_fee")

OFF_THE_CHAIN = """
    SELECT debt_id, period_start FROM (
        SELECT e.debt_id, e.period_start, d.opened_at,
            lag(e.period_end) OVER (PARTITION BY e.debt_id ORDER BY e.period_start) AS before
        FROM risk_debtentry e JOIN risk_debt d ON d.id = e.debt_id WHERE e.kind = 'charge') chain
    WHERE period_start <> coalesce(before, opened_at) ORDER BY debt_id, period_start LIMIT 100
"""
ACCRUED_ELSEWHERE = """
    SELECT d.id, d.accrued_through FROM risk_debt d
    LEFT JOIN (SELECT debt_id, max(period_end) AS ends FROM risk_debtentry WHERE kind = 'charge' GROUP BY debt_id) c
        ON c.debt_id = d.id
    WHERE d.accrued_through <> coalesce(c.ends, d.opened_at) ORDER BY d.id LIMIT 100
"""


def _debts_are_their_entries() -> list[str]:
    found = []
    for part in PARTS:
        rows = DebtEntry.objects.filter(debt=OuterRef("pk")).order_by().values("debt")
        total = Subquery(rows.annotate(total=Sum(part)).values("total"))
        sums = Debt.objects.annotate(booked_sum=Coalesce(total, ZERO, output_field=DecimalField())).exclude(
            booked_sum=F(part)
        )
        for pk, is_now, should in sums.order_by("pk").values_list("pk", part, "booked_sum"):
            found.append(f"D-{pk}: {part} is {is_now} but its entries say {should}")
    return found


def _controls_are_the_debts() -> list[str]:
    found = []
    sums = Debt.objects.order_by().values_list("asset").annotate(*[Sum(part) for part in PARTS])
    owed = {
        (asset, part): total for asset, *totals in sums for part, total in zip(PARTS, totals, strict=True)
    }
    for control in LedgerAccount.objects.filter(kind__in=PARTS).order_by("code"):
        total = owed.get((control.asset_id, control.kind), ZERO)
        if control.balance != total:
            found.append(f"{control.code}: holds {control.balance} but debts add up to {total}")
    return found


def _charges_have_no_gap() -> list[str]:
    """Each charge starts where the one before it ended, the first where the debt opened; the last ends it."""
    with connection.cursor() as cursor:
        cursor.execute(OFF_THE_CHAIN)
        off = cursor.fetchall()
        cursor.execute(ACCRUED_ELSEWHERE)
        elsewhere = cursor.fetchall()
    return [
        f"D-{pk}: the charge from {start:%Y-%m-%d %H:%M} leaves a gap or overlaps" for pk, start in off
    ] + [
        f"D-{pk}: accrued through {through:%Y-%m-%d %H:%M}, but its charges end elsewhere"
        for pk, through in elsewhere
    ]


def _workout_is_what_was_taken_over() -> list[str]:
    """Coins come into workout by takeover sales only, and leave it by releases only. R-GEN-79"""
    sales = Sale.objects.filter(venue=TAKEOVER).order_by().values_list("coin")
    taken = dict(sales.annotate(total=Sum("sold")))
    releases = Transfer.objects.filter(entry__kind=RELEASE, credit__kind=LedgerAccount.Kind.WORKOUT)
    released = dict(releases.order_by().values_list("credit__asset").annotate(total=Sum("amount")))
    accounts = LedgerAccount.objects.filter(kind=LedgerAccount.Kind.WORKOUT)
    held = {account.asset_id: account.balance for account in accounts}
    due = {coin: taken.get(coin, ZERO) - released.get(coin, ZERO) for coin in {*taken, *released, *held}}
    return [
        f"workout:{coin}: holds {held.get(coin, ZERO)} but takeovers less releases are {due[coin]}"
        for coin in sorted(due)
        if held.get(coin, ZERO) != due[coin]
    ]


checks: list[ledger.Check] = [
    _debts_are_their_entries,
    _controls_are_the_debts,
    _charges_have_no_gap,
    _workout_is_what_was_taken_over,
]
