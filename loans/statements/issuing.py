"""Statements as they are issued: once per customer and month, kept as they were, provable from the ledger any day."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from django.db.models import Q

from accounts import notices
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Customer
from accounts.words import joined, tell
from loans.models import Statement
from loans.statements import body as bodies
from loans.statements import paper
from loans.statements.month import Body, Month, digest, last_month
from risk.models import Debt

logger = logging.getLogger(__name__)

JOB: Final = Actor.job("statements")
READY_AFTER: Final = timedelta(
    hours=2
)  # of the month's end: the last charges and expiries are booked by then
CATCH_UP: Final = 3  # months back


class StatementsIncomplete(Exception):
    """Some statements could not be made; all others were. Not a refusal: somebody must look."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the ledger says today what the statement said; `differs` names the parts that do not agree."""

    statement: Statement
    sha256: str
    differs: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.differs


@command("statements.issue", returns=Statement)
def issue(
    *, customer_id: int, month: date, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Statement:
    """Make, keep and announce the statement of one month; a second one of the same month is the first. R-GEN-94

    Raises:
        NotOver, NothingOwed, NotCharged: as `body.of`.
    """
    customer = Customer.objects.get(pk=customer_id)
    existing = Statement.objects.filter(customer=customer, month=month).first()
    if existing is not None:
        return existing
    asked = Month(month)
    body = bodies.of(customer, asked, at=at)
    sha256 = digest(body)
    pdf = paper.render(customer=customer.name, body=body, sha256=sha256, made_at=at)
    statement, is_new = Statement.objects.get_or_create(
        customer=customer,
        month=month,
        defaults={"body": body, "sha256": sha256, "pdf": pdf, "made_at": at},
    )
    if is_new:
        _tell(statement, asked, at)
    return statement


def recompute(statement: Statement, *, at: datetime) -> Body:
    """The same month from the ledger as it is now."""
    return bodies.of(statement.customer, Month(statement.month), at=at)


def verify(statement: Statement, *, at: datetime) -> Proof:
    """Compare what was issued with what the ledger says now. R-GEN-94"""
    try:
        now = recompute(statement, at=at)
    except Refused as refusal:
        return Proof(statement, "", (refusal.message,))
    issued = statement.body
    differs = [name for name in sorted({*issued, *now}) if issued.get(name) != now.get(name)]
    if digest(issued) != statement.sha256:
        differs.append("the kept body is not the one its digest is of")
    return Proof(statement, digest(now), tuple(differs))


def issue_due(*, at: datetime, actor: Actor = JOB, enough: Callable[[], bool] = lambda: False) -> int:
    """Issue what is missing of the last months for everybody who owed something; returns how many were made.

    From 02:00 UTC of a month's first day on, each in its own transaction, until `enough`: the next run goes on.
    Safe to run twice, or two at once.

    Raises:
        StatementsIncomplete: after all others were made.
    """
    made, failed = 0, []
    for month in _months(at):
        for customer_id in _missing(month):
            if enough():
                return made
            try:
                issue(customer_id=customer_id, month=month.first, actor=actor, at=at)
                made += 1
            except Refused as refusal:  # not charged yet: the next run makes it
                logger.info("statement of %s for %s waits: %s", month, customer_id, refusal.code)
            except Exception:  # one customer's must not hold up the others
                logger.exception("the statement of %s for %s could not be made", month, customer_id)
                failed.append((customer_id, f"{month.first:%Y-%m}"))
    if failed:
        raise StatementsIncomplete(f"These statements could not be made: {failed}.")
    return made


def tampered() -> list[str]:
    """Every statement whose body is not the one that was issued; empty when all is well."""
    rows = Statement.objects.defer("pdf").order_by("pk").iterator()
    return [
        f"{row}: the body is not the one that was issued" for row in rows if digest(row.body) != row.sha256
    ]


# --- Private ----------------------------------------------------------------------------------------


def _months(at: datetime) -> list[Month]:
    """Oldest first."""
    found = [last_month(at - READY_AFTER)]
    while len(found) < CATCH_UP:
        found.append(found[-1].before)
    return found[::-1]


def _missing(month: Month) -> Iterable[int]:
    still = Q(closed_at__isnull=True) | Q(closed_at__gt=month.since)
    owed = Debt.objects.filter(still, opened_at__lte=month.until).values("customer")
    has_one = Statement.objects.filter(month=month.first).values("customer")
    rows = Customer.objects.filter(pk__in=owed).exclude(pk__in=has_one)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _tell(statement: Statement, month: Month, at: datetime) -> None:
    lines = [
        tell(
            "Your statement of {month:%B %Y} is ready, with every movement, charge and sale of the month.",
            month=month.first,
        ),
        "",
        *(
            f"L-{loan['loan'] or 0:04d}: {loan['opening']['total']} -> {loan['closing']['total']} {loan['asset']}"
            for loan in statement.body["loans"]
        ),
        "",
        tell("SHA-256 of its body: {digest}", digest=statement.sha256),
    ]
    notices.send(
        customer=statement.customer,
        event=f"statement:{statement.customer_id}:{month.first:%Y-%m}",
        kind="statement",
        title=tell("Your statement of {month:%B %Y}", month=month.first),
        body=joined("\n", lines),
        facts={"statement": statement.pk, "sha256": statement.sha256},
        at=at,
    )
