"""Who asks in bench/requests.py, and the loans there are: firms of bench/book.py with contracts on their debts."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from django.db import connection

from accounts.commands import acting
from accounts.models import Customer, Membership
from bench import book, stand
from loans.models import Loan
from risk import debts
from tests import build


class People:
    """Who looks: a manager whose clients all firms are, an auditor, and the one who applies for everybody."""

    def __init__(self) -> None:
        self.manager, self.auditor = build.user("vip_manager"), build.user("auditor")
        self.applicant = build.user()


def parameters(at: datetime) -> None:
    book.fill(groups=0, at=at)


def loans(
    at: datetime, *, groups: int, people: People, each: int = 1, ltvs: tuple[Decimal, Decimal] = book.LTVS
) -> None:
    """Firms with `each` loans and three coins, clients of the manager, their applications paid out.

    In steps with a look of the planner between them: what it knows of a few rows makes it loop over many.
    """
    asked: dict[str, Any] = {"manager": people.manager.pk, "applicant": people.applicant.pk, "at": at}
    done = 0
    while done < groups:
        step = min(groups - done, max(9 * Customer.objects.count(), 10))
        book.fill(groups=step, coins=3, loans=each, at=at, seed=done + step + each, ltvs=ltvs)
        with acting(book.BUILDER), connection.cursor() as cursor:
            cursor.execute(_LOANS, asked)
        analyse()
        done += step


_LOANS = """
    UPDATE accounts_customer SET manager_id = %(manager)s WHERE manager_id IS NULL;
    CREATE TEMPORARY TABLE bench_loans AS
    WITH asked AS (
        INSERT INTO loans_application (product, customer_id, applicant_id, receiver_id, rate_type, term_days, contact,
                purpose, all_or_nothing, auto_repay, status, terms, submitted_at, decision_reason)
            SELECT 'vip', d.customer_id, %(applicant)s, g.receiver_id, 'flexible', NULL, d.id, 'bench', false, false,
                'draft', '{}', %(at)s, ''
            FROM risk_debt d JOIN risk_collateralgroup g ON g.id = d.group_id
            WHERE NOT EXISTS (SELECT FROM loans_loan l WHERE l.debt_id = d.id)
            RETURNING id, contact),
    lines AS (
        INSERT INTO loans_applicationline (application_id, asset_id, amount, annual_rate, declined)
            SELECT a.id, d.asset_id, d.principal, 0.08, '' FROM asked a JOIN risk_debt d ON d.id = a.contact::bigint
            RETURNING id, application_id)
    SELECT a.contact::bigint AS debt, l.id AS line FROM asked a JOIN lines l ON l.application_id = a.id;
    INSERT INTO loans_loan (product, customer_id, line_id, group_id, debt_id, asset_id, amount, rate_type, annual_rate,
            drawn_at, sheet_sha256)
        SELECT 'vip', d.customer_id, b.line, d.group_id, d.id, d.asset_id, d.principal, 'flexible', 0.08,
            d.opened_at, ''
        FROM bench_loans b JOIN risk_debt d ON d.id = b.debt ORDER BY d.id;
    DROP TABLE bench_loans;
    UPDATE loans_application SET status = 'submitted' WHERE status = 'draft';
    UPDATE loans_application SET status = 'approved' WHERE status = 'submitted';
    UPDATE loans_application SET status = 'disbursed' WHERE status = 'approved'
"""


def reader(at: datetime) -> Customer:
    """The newest firm, with a member of its own."""

    firm = Customer.objects.order_by("-pk")[0]
    with acting(book.BUILDER):
        Membership.objects.create(customer=firm, user=build.user(), since=at - book.LONG_AGO)
    return firm


def aged(people: People, at: datetime, *, days: int) -> Customer:
    """A firm whose one loan was charged every midnight of that many days."""

    opened = at - timedelta(days=days)
    owner = build.customer(member=build.user())
    build.deposit(build.account(owner), "BTC", "200", at=opened)
    group = build.group(build.master(owner), owner.accounts.filter(kind="sub"), ("BTC", "ETH", "USDT"))
    row = build.debt(group, amount="1000000", rate="0.0847", at=opened)
    with acting(book.BUILDER):
        debts.bring_up_to_date([row], at=at)
    with acting(book.BUILDER), connection.cursor() as cursor:
        cursor.execute(_LOANS, {"manager": people.manager.pk, "applicant": people.applicant.pk, "at": opened})
    assert Loan.objects.get(debt=row).debt.entries.filter(kind="charge").count() >= days
    return owner


def analyse() -> None:
    """As the owner: nobody else may."""
    with psycopg.connect(stand.url(owner=True), autocommit=True) as owner:
        owner.execute("ANALYZE")
