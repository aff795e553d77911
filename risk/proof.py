"""What `check_ledger` adds for debts and forced sales: totals, controls, charges and coins taken over prove each other.

I-09, I-10, I-13, I-14, R-GEN-79. And for the funding: each tranche is what the ledger says of it (R-ADM-12).
"""

from datetime import UTC

from django.db import connection
from django.db.models import Count, DecimalField, F, Max, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts import ledger
from accounts.models import LedgerAccount, Transfer
from accounts.money import ZERO
from risk.models import Debt, DebtEntry, Sale, Tranche, TrancheEntry
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
OTHERWISE_BOOKED = """
    WITH said AS (
        SELECT entry_id, sum(principal) AS principal, sum(cost) AS cost FROM risk_trancheentry GROUP BY entry_id),
    booked AS (
        SELECT s.entry_id,
            sum(CASE WHEN c.kind IN ('lenders', 'capital') THEN t.amount ELSE 0 END)
                - sum(CASE WHEN d.kind IN ('lenders', 'capital') THEN t.amount ELSE 0 END) AS principal,
            sum(CASE WHEN c.kind = 'cost_owed' THEN t.amount ELSE 0 END)
                - sum(CASE WHEN d.kind = 'cost_owed' THEN t.amount ELSE 0 END) AS cost
        FROM said s JOIN accounts_transfer t ON t.entry_id = s.entry_id
        JOIN accounts_ledgeraccount d ON d.id = t.debit_id JOIN accounts_ledgeraccount c ON c.id = t.credit_id
        GROUP BY s.entry_id)
    SELECT e.reference FROM said s JOIN accounts_journalentry e ON e.id = s.entry_id
    LEFT JOIN booked b ON b.entry_id = s.entry_id
    WHERE coalesce(b.principal, 0) <> s.principal OR coalesce(b.cost, 0) <> s.cost ORDER BY e.id LIMIT 100
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
    releases = releases.filter(entry__reversed_by=None)  # one that was undone left nothing (R-ADM-11)
    released = dict(releases.order_by().values_list("credit__asset").annotate(total=Sum("amount")))
    accounts = LedgerAccount.objects.filter(kind=LedgerAccount.Kind.WORKOUT)
    held = {account.asset_id: account.balance for account in accounts}
    due = {coin: taken.get(coin, ZERO) - released.get(coin, ZERO) for coin in {*taken, *released, *held}}
    return [
        f"workout:{coin}: holds {held.get(coin, ZERO)} but takeovers less releases are {due[coin]}"
        for coin in sorted(due)
        if held.get(coin, ZERO) != due[coin]
    ]


def _lenders_are_their_tranches() -> list[str]:
    """What we owe lenders, and its cost, is what their tranches say. Capital has more than its tranches. R-ADM-12

    `capital` = own tranches + what pools were given before there were tranches + coins taken over and released, less
    what is set aside in the insurance fund: so of our own money each entry is proven, and not the balance.
    """
    rows = TrancheEntry.objects.order_by().values_list("tranche__asset")
    of_lenders = dict(rows.exclude(tranche__lender="").annotate(total=Sum("principal")))
    costs = dict(rows.annotate(total=Sum("cost")))
    charged = dict(rows.filter(kind=TrancheEntry.Kind.CHARGE).annotate(total=Sum("cost")))
    said = {"lenders": of_lenders, "cost_owed": costs, "cost_of_funds": charged}
    held = LedgerAccount.objects.filter(kind__in=said)
    balances = {(account.kind, account.asset_id): account.balance for account in held}
    named = {(kind, asset) for kind, sums in said.items() for asset in sums}
    return [
        f"{kind}:{asset}: holds {balances.get((kind, asset), ZERO)} but its tranches say {said[kind].get(asset, ZERO)}"
        for kind, asset in sorted({*named, *balances})
        if balances.get((kind, asset), ZERO) != said[kind].get(asset, ZERO)
    ]


def _tranche_entries_are_booked() -> list[str]:
    """Each journal entry of a tranche moved just its principal and its cost; a closed tranche has nothing left."""
    with connection.cursor() as cursor:
        cursor.execute(OTHERWISE_BOOKED)
        found = [f"{reference}: its tranche's rows say otherwise" for (reference,) in cursor.fetchall()]
    closed = Tranche.objects.filter(closed_at__isnull=False)
    left = closed.annotate(principal=Sum("entries__principal"), cost=Sum("entries__cost"))
    rows = left.exclude(principal=0, cost=0).order_by("pk")
    return found + [f"{row}: closed with {row.principal:f} and {row.cost:f} of cost left" for row in rows]


def _costs_have_no_gap() -> list[str]:
    """From its opening to its last charge a tranche has one charge for every 00:00 UTC."""
    charges = Tranche.objects.filter(entries__kind=TrancheEntry.Kind.CHARGE)
    rows = charges.annotate(days=Count("entries"), last=Max("entries__day_end")).order_by("pk")
    return [
        f"{row}: {row.days} charges up to {row.last:%Y-%m-%d}, not one for each day"
        for row in rows
        if row.days != (row.last.astimezone(UTC).date() - row.opened_at.astimezone(UTC).date()).days
    ]


checks: list[ledger.Check] = [
    _debts_are_their_entries,
    _controls_are_the_debts,
    _charges_have_no_gap,
    _workout_is_what_was_taken_over,
    _lenders_are_their_tranches,
    _tranche_entries_are_booked,
    _costs_have_no_gap,
]
