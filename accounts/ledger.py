"""The one door for money. Every movement is a journal entry of transfers; the database refuses bad ones.

Totals are moved by a trigger (migration 0002), never from here, so totals and transfers cannot disagree.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, connection, transaction
from django.db.models import DecimalField, F, Max, Model, Q, Sum
from django.db.models.functions import Coalesce

from accounts import books
from accounts.errors import Refused
from accounts.models import JournalEntry, LedgerAccount, PeriodClose, Transfer
from accounts.words import tell

Check = Callable[[], list[str]]
REVERSAL = "reversal"  # the kind of an entry that undoes another one (R-ADM-11)


class AlreadyPosted(Refused):
    code = "already_posted"


class Overdrawn(Refused):
    code = "insufficient_balance"
    sapi = -5002


class PeriodClosed(Refused):
    """R-ADM-11: nothing is booked any more at or before the last close."""

    code = "period_closed"


@dataclass(frozen=True, slots=True)
class Line:
    """`amount` leaves `credit` and arrives at `debit`, in bookkeeping's sense of the words."""

    debit: LedgerAccount
    credit: LedgerAccount
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Turnover:
    """What one ledger account was debited and credited with until an instant, in its asset."""

    code: str
    kind: str
    asset: str
    debits: Decimal
    credits: Decimal


def post(
    *, kind: str, reference: str, lines: Iterable[Line], at: datetime, reverses: JournalEntry | None = None
) -> JournalEntry:
    """Book one event. Lines of amount zero are left out; a control posting of zero needs no transfer.

    Raises:
        AlreadyPosted: an entry with this reference, or one that reverses the same, exists; nothing was booked.
        Overdrawn: a wallet or pool holds less than the entry takes; nothing was booked.
        PeriodClosed: the books are closed through `at` or later; nothing was booked (R-ADM-11).
    """
    try:
        with transaction.atomic():
            entry = JournalEntry.objects.create(kind=kind, reference=reference, at=at, reverses=reverses)
            _move((entry, line) for line in lines)
    except IntegrityError as error:
        raise _explained(error, reference, at) from error
    return entry


def open_entry(*, kind: str, reference: str, at: datetime) -> JournalEntry:
    """The first half of `post`: an entry whose lines follow by `book_lines` in the same transaction.

    For a job that takes long over an entry: house accounts are locked from the first line on, so its lines come last.

    Raises:
        AlreadyPosted, PeriodClosed: as `post`.
    """
    return post(kind=kind, reference=reference, lines=(), at=at)


def book_lines(lines: Iterable[tuple[JournalEntry, Line]]) -> None:
    """The second half of `post`, for several entries at once: one statement locks all accounts, in their order.

    Raises:
        Overdrawn: as `post`; no line was booked.
    """
    lines = list(lines)
    try:
        with transaction.atomic():
            _move(lines)
    except IntegrityError as error:
        entry = lines[0][0]
        raise _explained(error, entry.reference, entry.at) from error


class Batch:
    """Some events, written together: house accounts are locked only then, and three statements do for all of them.

    The entries that `post` gives have no number before `write`. What it moved is in `balance`, not in the database.
    """

    def __init__(self, chart: books.Chart) -> None:
        self.chart = chart
        self._entries: list[JournalEntry] = []
        self._lines: list[tuple[JournalEntry, Line]] = []
        self.rows: list[
            Model
        ] = []  # of one kind: what other chapters keep of these entries, written after them

    def post(self, *, kind: str, reference: str, lines: Iterable[Line], at: datetime) -> JournalEntry:
        entry = JournalEntry(kind=kind, reference=reference, at=at)
        self._entries.append(entry)
        self._lines += [(entry, line) for line in lines]
        return entry

    def balance(self, account: LedgerAccount) -> Decimal:
        """What the account held when the chart found it, and what was posted here since."""
        moved = Decimal(0)
        for _, line in self._lines:
            moved += line.amount * ((line.debit.pk == account.pk) - (line.credit.pk == account.pk))
        return account.balance + (moved if account.normal == LedgerAccount.Normal.DEBIT else -moved)

    def write(self) -> None:
        """Book it all, in the order in which it was posted. Inside a transaction, which ends if it is refused.

        Raises:
            AlreadyPosted, Overdrawn, PeriodClosed: as `post`, of any of the events; none was booked.
        """
        entries, lines, rows = self._entries, self._lines, self.rows
        self._entries, self._lines, self.rows = [], [], []
        if not entries:
            return
        try:
            with transaction.atomic(savepoint=False):
                JournalEntry.objects.bulk_create(entries)
                _move(lines)
                if rows:
                    type(rows[0])._default_manager.bulk_create(rows)
        except IntegrityError as error:
            raise _explained(error, entries[0].reference, entries[0].at) from error


def _move(lines: Iterable[tuple[JournalEntry, Line]]) -> None:
    Transfer.objects.bulk_create(
        Transfer(entry=entry, debit=line.debit, credit=line.credit, amount=line.amount)
        for entry, line in lines
        if line.amount != 0
    )


def _explained(error: IntegrityError, reference: str, at: datetime) -> Exception:
    diagnostics = getattr(error.__cause__, "diag", None)
    constraint = getattr(diagnostics, "constraint_name", None)
    if constraint == "ledger_account_not_overdrawn":
        return Overdrawn(tell("The balance is too small for this movement; nothing was moved."))
    if constraint == "period_is_open":
        return PeriodClosed(_closed(reference, at))
    if constraint and constraint.startswith(
        ("accounts_journalentry_reference", "accounts_journalentry_revers")
    ):
        return AlreadyPosted(tell("{reference} is already booked.", reference=reference))
    return error


def _closed(reference: str, at: datetime) -> str:
    through = PeriodClose.objects.aggregate(through=Max("through"))["through"]
    return tell(
        "The books are closed through {through:%-d %B %Y %H:%M} UTC, and {reference} is dated"
        " {at:%-d %B %Y %H:%M} UTC; nothing was booked. It can be booked with a later date.",
        through=through,
        reference=reference,
        at=at,
    )


def customer_of(entry_id: int) -> int | None:
    """Whose wallets an entry moved; None where it moved those of nobody, or of several."""
    rows = Transfer.objects.filter(entry=entry_id)
    sides = rows.values_list("debit__account__customer", "credit__account__customer")
    found = {customer for both in sides for customer in both} - {None}
    return found.pop() if len(found) == 1 else None


def balances(
    *, account_ids: Iterable[int], kinds: Iterable[str] = ("spot",)
) -> dict[tuple[int, str, str], Decimal]:
    """Wallet balances by (uid, kind, asset); wallets never opened are absent."""
    rows = LedgerAccount.objects.filter(account_id__in=list(account_ids), kind__in=list(kinds))
    found = rows.values_list("account_id", "kind", "asset_id", "credits", "debits")
    return {(uid or 0, kind, asset): credit - debit for uid, kind, asset, credit, debit in found}


def balances_at(
    *, account_ids: Iterable[int], kinds: Iterable[str] = ("spot",), at: datetime
) -> dict[tuple[int, str, str], Decimal]:
    """As `balances`, as they were at `at`: the sum of every entry dated then or before (R-ADM-11).

    Summed from the transfers, not from the totals; wallets that nothing had moved by then are absent.
    """
    wallets = {
        row.pk: row
        for row in LedgerAccount.objects.filter(account_id__in=list(account_ids), kind__in=list(kinds))
    }
    found: dict[tuple[int, str, str], Decimal] = {}
    for side, sign in (("credit", 1), ("debit", -1)):  # a wallet is what we owe
        moved = Transfer.objects.filter(**{f"{side}__in": list(wallets)}, entry__at__lte=at).order_by()
        for pk, total in moved.values_list(side).annotate(total=Sum("amount")):
            wallet = wallets[pk]
            key = (wallet.account_id or 0, wallet.kind, wallet.asset_id)
            found[key] = found.get(key, Decimal(0)) + sign * total
    return found


def trial_balance(*, at: datetime) -> list[Turnover]:
    """Every account that entries dated at or before `at` moved, with both sums, by code (R-ADM-11).

    Recomputed from the transfers; per asset the debits add up to the credits.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT a.code, a.kind, a.asset_id, sum(s.debit), sum(s.credit) FROM (
                SELECT entry_id, debit_id AS id, amount AS debit, 0::numeric AS credit FROM accounts_transfer
                UNION ALL SELECT entry_id, credit_id, 0, amount FROM accounts_transfer
            ) s JOIN accounts_journalentry e ON e.id = s.entry_id JOIN accounts_ledgeraccount a ON a.id = s.id
            WHERE e.at <= %s GROUP BY a.code, a.kind, a.asset_id ORDER BY a.code
            """,
            [at],
        )
        return [Turnover(*row) for row in cursor.fetchall()]


# --- Proof ------------------------------------------------------------------------------------------


def _totals_are_their_transfers() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH moved AS (
                SELECT id, sum(debit) AS debit, sum(credit) AS credit FROM (
                    SELECT debit_id AS id, amount AS debit, 0::numeric AS credit FROM accounts_transfer
                    UNION ALL SELECT credit_id, 0, amount FROM accounts_transfer
                ) sides GROUP BY id
            )
            SELECT a.code, a.debits, a.credits, coalesce(m.debit, 0), coalesce(m.credit, 0)
            FROM accounts_ledgeraccount a LEFT JOIN moved m USING (id)
            WHERE a.debits <> coalesce(m.debit, 0) OR a.credits <> coalesce(m.credit, 0) ORDER BY a.code
            """
        )
        rows = cursor.fetchall()
    return [
        tell("{code}: totals {d}/{c} but transfers say {td}/{tc}", code=code, d=d, c=c, td=td, tc=tc)
        for code, d, c, td, tc in rows
    ]


def _debits_equal_credits() -> list[str]:
    rows = LedgerAccount.objects.values("asset").annotate(net=Sum(F("debits") - F("credits"))).exclude(net=0)
    return [
        tell("{row}: debits and credits differ by {row2}", row=row["asset"], row2=row["net"])
        for row in rows.order_by("asset")
    ]


def _nothing_is_overdrawn() -> list[str]:
    short = LedgerAccount.objects.filter(may_overdraw=False).filter(
        Q(normal="credit", debits__gt=F("credits")) | Q(normal="debit", credits__gt=F("debits"))
    )
    return [
        tell("{row}: overdrawn by {balance}", row=row.code, balance=-row.balance)
        for row in short.order_by("code")
    ]


def _custody_is_the_wallets() -> list[str]:
    def total(expression: object, condition: Q) -> Coalesce:
        return Coalesce(Sum(expression, filter=condition), Decimal(0), output_field=DecimalField())

    rows = LedgerAccount.objects.values("asset").annotate(
        held=total(F("debits") - F("credits"), Q(kind="custody")),
        owed=total(F("credits") - F("debits"), Q(kind__in=LedgerAccount.WALLETS)),
    )
    return [
        tell(
            "{row}: custody holds {row2} but wallets add up to {row3}",
            row=row["asset"],
            row2=row["held"],
            row3=row["owed"],
        )
        for row in rows.exclude(held=F("owed")).order_by("asset")
    ]


def _every_asset_is_one() -> list[str]:
    mixed = Transfer.objects.exclude(debit__asset=F("credit__asset"))
    return [tell("transfer {row} moves between two assets", row=row.pk) for row in mixed.order_by("pk")[:100]]


def _controls_agree_entry_by_entry() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT e.reference, a.code, c.ledger, c.subledger FROM accounts_controlsum c
            JOIN accounts_journalentry e ON e.id = c.entry_id JOIN accounts_ledgeraccount a ON a.id = c.account_id
            WHERE c.ledger <> c.subledger ORDER BY e.id LIMIT 100
            """
        )
        rows = cursor.fetchall()
    return [
        tell(
            "{ref}: {code} moved {ledger} but its debts moved {sub}",
            ref=ref,
            code=code,
            ledger=ledger,
            sub=sub,
        )
        for ref, code, ledger, sub in rows
    ]


checks: list[Check] = [
    _totals_are_their_transfers,
    _debits_equal_credits,
    _nothing_is_overdrawn,
    _custody_is_the_wallets,
    _every_asset_is_one,
    _controls_agree_entry_by_entry,
]
"""Adding a check is adding a line; `risk` adds its own (debts against their control accounts)."""


def problems() -> list[str]:
    """Every break in the books, in words; empty when they are whole."""
    return [problem for check in checks for problem in check()]
