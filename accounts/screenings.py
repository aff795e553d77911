"""What the desk must know of a customer before it pays out: who they are, and that no sanction forbids it (R-ADM-10).

The desk's back office records the outcome of each check; a VIP manager, who lives from lending, never does. Rows are
history: of each kind the one recorded last counts, and a refusal stands until the kind is clear again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import Customer, Screening, User
from accounts.people import current_agreement
from accounts.words import tell

RECORDERS: Final = frozenset({User.Role.OPS, User.Role.RISK_OFFICER, User.Role.ADMIN})
LONGEST_REFERENCE: Final = 120  # characters; the widths of the columns
LONGEST_NOTE: Final = 2000
LONGEST_VALIDITY: Final = timedelta(days=10 * 365)
WAY_OUT: Final = tell(
    "Operations, a risk officer or an administrator records it on the client's screening page;"
    " then decide again."
)

Kind = Screening.Kind
Status = Screening.Status


class BadScreening(Refused):
    """A kind, outcome, date or text that no screening can have; the message says which."""

    code = "bad_screening"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a payout has to wait: a stable code (`not_screened`, `screening_refused`, `never_agreed`), and words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """Where one kind of check stands at an instant; `row` is the latest, None when it was never made.

    `refusal` is the refusal that no clear check has followed: looking into it again does not lift it.
    """

    kind: str
    row: Screening | None
    refusal: Screening | None
    at: datetime

    @property
    def label(self) -> str:
        return str(Kind(self.kind).label)

    @property
    def is_refused(self) -> bool:
        return self.refusal is not None

    @property
    def has_lapsed(self) -> bool:
        """A clear outcome whose time is over: valid up to, and not at, `valid_until`."""
        row = self.row
        until = None if row is None or row.status != Status.CLEAR else row.valid_until
        return until is not None and until <= self.at

    @property
    def is_clear(self) -> bool:
        return self.row is not None and self.row.status == Status.CLEAR and not self.has_lapsed

    @property
    def words(self) -> str:
        """ "clear", "refused", "being checked", "has to be done again" or "not checked yet"."""
        if self.row is None:
            return tell("not checked yet")
        if self.refusal is not None and self.refusal != self.row:
            return tell("refused, and being checked again")
        return tell("has to be done again") if self.has_lapsed else str(self.row.get_status_display()).lower()


@command(
    "screenings.record",
    returns=Screening,
    four_eyes=FourEyes(makers=RECORDERS, checkers=RECORDERS, needed=lambda _: False),
)
def record(
    *,
    customer_id: int,
    kind: str,
    status: str,
    actor: Actor,
    at: datetime,
    checked_at: datetime | None = None,
    valid_until: datetime | None = None,
    reference: str = "",
    note: str = "",
    key: str = "",
    reason: str = "",
) -> Screening:
    """Write down the outcome of a check, made at `checked_at` (now). R-ADM-10

    A refusal stops payouts at once: the customer's row is locked, as it is while a payout is decided.

    Raises:
        BadScreening: no such kind or status, a date in the future, valid for no time, or a refusal without a note.
        NotYourRole: anybody else than operations, a risk officer or an administrator.
    """
    customer = Customer.objects.select_for_update(of=("self",), no_key=True).get(pk=customer_id)
    checked_at = at if checked_at is None else checked_at
    _refuse_bad(kind=kind, status=status, checked_at=checked_at, valid_until=valid_until, at=at)
    _refuse_bad_texts(status=status, reference=reference, note=note)
    return Screening.objects.create(
        customer=customer,
        kind=kind,
        status=status,
        reference=reference.strip(),
        checked_at=checked_at,
        valid_until=valid_until,
        recorded_by_id=actor.user_id,
        note=note.strip(),
    )


# --- Reads ------------------------------------------------------------------------------------------


def status_of(customer: Customer | int, *, at: datetime) -> dict[str, Check]:
    """Where each kind of check stands at `at`, by kind. One query."""
    customer_id = customer.pk if isinstance(customer, Customer) else customer
    rows = list(Screening.objects.filter(customer_id=customer_id, checked_at__lte=at).order_by("pk"))
    latest = {row.kind: row for row in rows}
    decided = {row.kind: row for row in rows if row.status != Status.PENDING}
    refused = {kind: row for kind, row in decided.items() if row.status == Status.REFUSED}
    return {
        kind.value: Check(kind.value, latest.get(kind.value), refused.get(kind.value), at) for kind in Kind
    }


def summary(customer: Customer, at: datetime) -> list[Check]:
    """Every kind of check in its order: for the client's page (`loans/desk_screening.html`)."""
    return list(status_of(customer, at=at).values())


def problems(customer: Customer, *, is_first: bool, at: datetime) -> list[Problem]:
    """What stands against paying out to the customer at `at`; `is_first`: nothing was ever paid out. R-ADM-10

    A refusal stops every payout. The first one also needs both checks clear and in their time, and an accepted
    agreement where the desk has published one.
    """
    checks = status_of(customer, at=at).values()
    refused = [_refused(check, customer) for check in checks if check.is_refused]
    if refused or not is_first:
        return refused
    found = [_not_clear(check, customer) for check in checks if not check.is_clear]
    if current_agreement(at=at) is not None and not customer.acceptances.filter(at__lte=at).exists():
        found.append(
            Problem(
                "never_agreed",
                tell(
                    "{customer} has not accepted the borrowing agreement yet. The first payout waits"
                    " for it: ask them to accept it on their Agreement page.",
                    customer=customer.name,
                ),
            )
        )
    return found


# --- Private ----------------------------------------------------------------------------------------


def _refused(check: Check, customer: Customer) -> Problem:
    assert check.refusal is not None
    return Problem(
        "screening_refused",
        tell(
            "The check of {check} of {customer} was refused on {checked_at:%-d %B %Y}; nothing is"
            " paid out to them. Only a new, clear check changes that: ask operations or a risk"
            " officer.",
            check=check.label,
            customer=customer.name,
            checked_at=check.refusal.checked_at,
        ),
    )


def _not_clear(check: Check, customer: Customer) -> Problem:
    row = check.row
    if row is None:
        state = "has not been checked"
    elif check.has_lapsed:
        state = tell(
            "was checked, valid until {valid_until:%-d %B %Y, %H:%M} UTC, and has to be checked again",
            valid_until=row.valid_until,
        )
    else:
        state = tell("is being checked since {checked_at:%-d %B %Y}", checked_at=row.checked_at)
    label = check.label[:1].upper() + check.label[1:]
    return Problem(
        "not_screened",
        tell(
            "{label}: {customer} {state}. The first payout waits for it. {way_out}",
            label=label,
            customer=customer.name,
            state=state,
            way_out=WAY_OUT,
        ),
    )


def _refuse_bad(
    *, kind: str, status: str, checked_at: datetime, valid_until: datetime | None, at: datetime
) -> None:
    if kind not in Kind.values or status not in Status.values:
        raise BadScreening(tell("A check is of identity or of sanctions; it is pending, clear or refused."))
    if checked_at > at:
        raise BadScreening(
            tell("A check that is still to come cannot be recorded; give the time it was made.")
        )
    if valid_until is None:
        return
    if status != Status.CLEAR:
        raise BadScreening(tell("Only a clear check is valid until a time; leave it empty otherwise."))
    if not at < valid_until <= checked_at + LONGEST_VALIDITY:
        raise BadScreening(
            tell("A clear check is valid until a later time than now, at most ten years after it was made.")
        )


def _refuse_bad_texts(*, status: str, reference: str, note: str) -> None:
    if len(reference.strip()) > LONGEST_REFERENCE or len(note.strip()) > LONGEST_NOTE:
        raise BadScreening(
            tell(
                "A reference has at most {longest_reference} characters, a note {longest_note}.",
                longest_reference=LONGEST_REFERENCE,
                longest_note=LONGEST_NOTE,
            )
        )
    if "\x00" in reference or "\x00" in note:
        raise BadScreening(tell("A text may not contain the character NUL."))
    if status == Status.REFUSED and not note.strip():
        raise BadScreening(tell("Say in the note why it is refused; it is kept in the file."))
