"""Periods: once a month is closed nothing is booked in it any more, and its trial balance is kept (R-ADM-11).

A day's charge is booked at the 00:00 UTC that ends it, so January is (1 January 00:00, 1 February 00:00]. Closing
waits for whoever is posting, and whoever posts after it is refused by the database (migration 0007). A job that
runs late must not find its period closed, so a period closes only when nothing is left to book in it: every app
says what would be left in `obstacles`.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import connection
from django.db.models import Min

from accounts import ledger
from accounts.commands import Actor, Arguments, FourEyes, command
from accounts.errors import Refused
from accounts.models import AuditRecord, JournalEntry, PeriodClose, User
from accounts.money import ZERO
from accounts.words import joined, tell

FINANCE = frozenset({User.Role.FINANCE, User.Role.ADMIN})
PERIODS = 60_011  # the advisory lock's number, after R-ADM-11; the triggers of migration 0007 take the same
MOST_TOLD = 5  # of what stands in the way
PROOF = "books.proof"  # the subject of the audit rows that say when the books were proven

Obstacle = Callable[[datetime], list[str]]
obstacles: list[Obstacle] = []
"""Each says, in words, what is still to be booked at or before an instant; empty when nothing is."""

TrialBalance = dict[str, list[str]]
"""Debits and credits by the code of the account, as text with 8 decimals."""


class BadPeriod(Refused):
    """No month's end, one that is not over, or one that is closed already."""

    code = "bad_period"


class StillToBook(Refused):
    """Something belongs into the period and is not booked yet."""

    code = "still_to_book"


class BooksBroken(Refused):
    """The books do not prove themselves, so nothing is closed over it."""

    code = "books_broken"


@dataclass(frozen=True, slots=True)
class Period:
    """One month, (start, through], closed or not."""

    start: datetime
    through: datetime
    close: PeriodClose | None

    @property
    def last_day(self) -> datetime:
        return self.through - timedelta(days=1)


def _always(_: Arguments) -> bool:
    return True


@command(
    "books.close", returns=PeriodClose, four_eyes=FourEyes(makers=FINANCE, checkers=FINANCE, needed=_always)
)
def close(*, through: datetime, actor: Actor, at: datetime, key: str = "", reason: str = "") -> PeriodClose:
    """Close the books through `through`, the 00:00 UTC that ends a month. R-ADM-11

    Every month before that is still open closes with it.

    Raises:
        BadPeriod: no month's end, not over yet, or at or before the last close.
        StillToBook: charges or costs of the period are not booked.
        BooksBroken: `check_ledger` finds a fault.
    """
    _refuse_no_month(through, at)
    with connection.cursor() as cursor:  # waits for every posting under way; those to come see the close
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PERIODS])
    last = PeriodClose.objects.order_by("through").last()
    if last is not None and through <= last.through:
        raise BadPeriod(tell("The books are closed through {through} already.", through=_said(last.through)))
    left = to_book(through=through)
    if left:
        more = tell(" and {count} more", count=len(left) - MOST_TOLD) if len(left) > MOST_TOLD else ""
        raise StillToBook(
            tell(
                "Not everything until {through} is booked: {left}{more}. Let the jobs catch up, or"
                " settle it, and close then.",
                through=_said(through),
                left=joined("; ", left[:MOST_TOLD]),
                more=more,
            )
        )
    found = ledger.problems()
    if found:
        raise BooksBroken(
            tell(
                "The books do not prove themselves: {found}. Nothing was closed.",
                found=joined("; ", found[:MOST_TOLD]),
            )
        )
    balance = trial_balance(through=through)
    return PeriodClose.objects.create(
        through=through,
        closed_at=at,
        closed_by_id=actor.user_id,
        trial_balance=balance,
        sha256=digest(through=through, balance=balance, previous=last.sha256 if last else ""),
    )


def prove(*, actor: Actor, at: datetime) -> list[str]:
    """Every break in the books; the result is kept in the audit trail, so that people see when it was looked at."""
    found = ledger.problems()
    AuditRecord.objects.create(
        kind=AuditRecord.Kind.COMMAND,
        subject=PROOF,
        actor=actor.label,
        after={"at": at.isoformat(), "problems": found[:100]},
    )
    return found


# --- Reads ------------------------------------------------------------------------------------------------


def to_book(*, through: datetime) -> list[str]:
    """What still belongs into the books at or before `through`, in words."""
    return [told for obstacle in obstacles for told in obstacle(through)]


def trial_balance(*, through: datetime) -> TrialBalance:
    """As it is kept: recomputed from every transfer dated at or before `through`."""
    return {row.code: _told(row.debits, row.credits) for row in ledger.trial_balance(at=through)}


def digest(*, through: datetime, balance: Mapping[str, list[str]], previous: str) -> str:
    """SHA-256 over the trial balance and the close before it: 64 hexadecimal digits."""
    body = {
        "through": through.astimezone(UTC).isoformat(),
        "trial_balance": dict(balance),
        "previous": previous,
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def closed_through() -> datetime | None:
    """The end of the last closed period; None while none is."""
    last = PeriodClose.objects.order_by("through").last()
    return None if last is None else last.through


def periods(*, at: datetime) -> list[Period]:
    """Every month that is over, from that of the first entry on, newest first."""
    first = JournalEntry.objects.aggregate(first=Min("at"))["first"]
    if first is None:
        return []
    closes = {row.through: row for row in PeriodClose.objects.select_related("closed_by").order_by("through")}
    closed = max(closes, default=None)
    found = []
    start = month_of(first)
    while (through := next_month(start)) <= at:
        close = closes.get(through)
        if close is None and closed is not None and through <= closed:  # closed along with a later month
            close = closes[min(end for end in closes if end >= through)]
        found.append(Period(start=start, through=through, close=close))
        start = through
    return found[::-1]


def month_of(instant: datetime) -> datetime:
    """The start of the period that `instant` is in: the 00:00 on the first of a month ends the month before."""
    inside = instant.astimezone(UTC) - timedelta(microseconds=1)
    return inside.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(start: datetime) -> datetime:
    return (start + timedelta(days=32)).replace(day=1)


def last_proof() -> AuditRecord | None:
    """When the books were proven last, and what was found."""
    return AuditRecord.objects.filter(subject=PROOF).order_by("-pk").first()


def tampered() -> list[str]:
    """Every close whose trial balance is no longer what the transfers say, or whose chain is broken."""
    closes = list(PeriodClose.objects.order_by("through"))
    moved = _moved_by_close() if closes else {}
    sums: dict[str, tuple[Decimal, Decimal]] = {}
    found, previous = [], ""
    for row in closes:
        for code, debits, credits in moved.get(row.through, []):
            before = sums.get(code, (ZERO, ZERO))
            sums[code] = (before[0] + debits, before[1] + credits)
        if {code: _told(*both) for code, both in sums.items()} != row.trial_balance:
            found.append(tell("{row}: the trial balance is no longer what was kept", row=row))
        if digest(through=row.through, balance=row.trial_balance, previous=previous) != row.sha256:
            found.append(tell("{row}: its digest does not follow from the close before", row=row))
        previous = row.sha256
    return found


# --- Private ----------------------------------------------------------------------------------------------


def _refuse_no_month(through: datetime, at: datetime) -> None:
    if next_month(month_of(through)) != through:
        raise BadPeriod(tell("A period ends on the first of a month, 00:00 UTC; choose one that does."))
    if through > at:
        raise BadPeriod(tell("The period until {through} is not over yet.", through=_said(through)))


def _moved_by_close() -> dict[datetime, list[tuple[str, Decimal, Decimal]]]:
    """What moved on each account between one close and the next, by the later one."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.through, a.code, sum(s.debit), sum(s.credit) FROM (
                SELECT entry_id, debit_id AS id, amount AS debit, 0::numeric AS credit FROM accounts_transfer
                UNION ALL SELECT entry_id, credit_id, 0, amount FROM accounts_transfer
            ) s JOIN accounts_journalentry e ON e.id = s.entry_id JOIN accounts_ledgeraccount a ON a.id = s.id
            JOIN LATERAL (SELECT min(through) AS through FROM accounts_periodclose WHERE through >= e.at) c
                ON c.through IS NOT NULL
            GROUP BY c.through, a.code
            """
        )
        rows = cursor.fetchall()
    found: dict[datetime, list[tuple[str, Decimal, Decimal]]] = defaultdict(list)
    for through, code, debits, credits in rows:
        found[through].append((code, debits, credits))
    return found


def _told(debits: Decimal, credits: Decimal) -> list[str]:
    return [f"{debits:.8f}", f"{credits:.8f}"]


def _said(instant: datetime) -> str:
    return tell("{instant:%-d %B %Y %H:%M} UTC", instant=instant)
