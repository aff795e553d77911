"""Everything that happened with one client, in one line of time (R-FTR-16): reads only, for the desk.

Each source gives its instants and keys; the database puts them in one order and cuts a page out of it, and only the
rows of that page are read. So a page costs the same number of queries however long the story is. Nothing is copied:
what a line says is read off the row that it links to.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django.db.models import F, IntegerField, Model, QuerySet, Value

from accounts import reach
from accounts.models import Approval, AuditRecord, Customer, Notice, Screening, User
from accounts.words import tell
from loans import happenings
from loans.happenings import Entry, Topic
from loans.models import (
    BalanceConfirmation,
    ClientDocument,
    ClientNote,
    ClientTerms,
    Enquiry,
    LoanEvent,
    Statement,
)
from risk.models import CallRecord, DelayEnrolment, HandlingRule, Limits, Movement, RiskEvent

Told = Callable[[Any], Entry]


@dataclass(frozen=True, slots=True)
class Source:
    """Some rows about a client: when each happened (a column), and how it is told."""

    topic: Topic
    rows: Callable[[Customer], QuerySet[Any]]
    moment: str
    told: Told
    related: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()


Index = tuple[int, datetime, int]
"""Where a line comes from: the source's place in `SOURCES`, the instant, the row's key."""


def index(customer: Customer, *, topics: Collection[Topic] = (), at: datetime) -> QuerySet[Any, Index]:
    """The instants of everything up to `at`, newest first, to be counted and cut; of all topics when none is named."""
    found = []
    for number, source in enumerate(SOURCES):
        if topics and source.topic not in topics:
            continue
        rows = (
            source.rows(customer)
            .order_by()
            .annotate(origin=Value(number, IntegerField()), moment=F(source.moment), row=F("pk"))
        )
        if source.moment != "recorded_at":  # what the database itself stamped is never still to come
            rows = rows.filter(moment__lte=at)
        found.append(rows.values_list("origin", "moment", "row"))
    first, *others = found
    lines: QuerySet[Any, Index] = first.union(*others, all=True).order_by("-moment", "-origin", "-row")
    return lines


def told(lines: Iterable[Index]) -> list[Entry]:
    """The lines of a page, in their order: one query a source that is on it, and one for the names."""
    lines = list(lines)
    wanted: dict[int, set[int]] = defaultdict(set)
    for number, _, pk in lines:
        wanted[number].add(pk)
    rows = {number: _rows(SOURCES[number], pks) for number, pks in wanted.items()}
    entries = [SOURCES[number].told(rows[number][pk]) for number, _, pk in lines]
    names = names_of(entry.by for entry in entries)
    return [_signed(entry, names) for entry in entries]


def _rows(source: Source, pks: Collection[int]) -> Mapping[int, Model]:
    model = source.rows(Customer()).model
    rows = model._default_manager.select_related(*source.related).defer(*source.deferred)
    found: Mapping[int, Model] = rows.in_bulk(list(pks))
    return found


def names_of(labels: Iterable[str]) -> dict[str, str]:
    """`user:5` as the person's name."""
    pks = {label.partition(":")[2] for label in labels if label.startswith("user:")}
    people = User.objects.filter(pk__in=[int(pk) for pk in pks if pk.isdigit()])
    return {f"user:{pk}": name for pk, name in people.values_list("pk", "name")}


def _signed(entry: Entry, names: Mapping[str, str]) -> Entry:
    by = names.get(entry.by, entry.by)
    return replace(entry, by=tell("a job") if by.startswith("job:") else by)


SOURCES: Final = (
    Source(Topic.NOTES, lambda c: ClientNote.objects.filter(customer_id=c.pk), "at", happenings.of_note),
    Source(
        Topic.DOCUMENTS,
        lambda c: ClientDocument.objects.filter(customer_id=c.pk),
        "at",
        happenings.of_document,
        deferred=("content",),
    ),
    Source(
        Topic.REQUESTS,
        lambda c: LoanEvent.objects.filter(application__customer_id=c.pk, loan__isnull=True),
        "at",
        happenings.of_request,
        related=("application",),
    ),
    Source(
        Topic.REQUESTS, lambda c: Enquiry.objects.filter(customer_id=c.pk), "asked_at", happenings.of_enquiry
    ),
    Source(
        Topic.LOANS,
        lambda c: LoanEvent.objects.filter(loan__customer_id=c.pk),
        "at",
        happenings.of_loan,
        related=("loan",),
    ),
    Source(
        Topic.RISK,
        lambda c: RiskEvent.objects.filter(group__customer_id=c.pk, kind__in=list(happenings.RISK_WORDS)),
        "at",
        happenings.of_risk_event,
        related=("group",),
    ),
    Source(
        Topic.RISK,
        lambda c: CallRecord.objects.filter(call__group__customer_id=c.pk),
        "at",
        happenings.of_call_record,
        related=("call",),
    ),
    Source(Topic.APPROVALS, lambda c: _desks(c), "proposed_at", happenings.of_proposal),
    Source(
        Topic.APPROVALS,
        lambda c: _desks(c).filter(decided_at__isnull=False),
        "decided_at",
        happenings.of_decision,
    ),
    Source(
        Topic.TERMS, lambda c: ClientTerms.objects.filter(customer_id=c.pk), "starts_at", happenings.of_terms
    ),
    Source(
        Topic.TERMS, lambda c: Limits.objects.filter(customer_id=c.pk), "effective_at", happenings.of_lines
    ),
    Source(
        Topic.TERMS,
        lambda c: HandlingRule.objects.filter(customer_id=c.pk),
        "effective_at",
        happenings.of_handling,
    ),
    Source(
        Topic.TERMS,
        lambda c: DelayEnrolment.objects.filter(customer_id=c.pk),
        "granted_at",
        happenings.of_enrolment,
    ),
    Source(Topic.TERMS, lambda c: _changes(c), "recorded_at", happenings.of_customer),
    Source(
        Topic.PAPERS,
        lambda c: Screening.objects.filter(customer_id=c.pk),
        "checked_at",
        happenings.of_screening,
    ),
    Source(Topic.NOTICES, lambda c: _told_to(c), "at", happenings.of_notice),
    Source(
        Topic.MOVEMENTS, lambda c: Movement.objects.filter(customer_id=c.pk), "at", happenings.of_movement
    ),
    Source(
        Topic.PAPERS,
        lambda c: Statement.objects.filter(customer_id=c.pk),
        "made_at",
        happenings.of_statement,
        deferred=("body", "pdf"),
    ),
    Source(
        Topic.PAPERS,
        lambda c: BalanceConfirmation.objects.filter(customer_id=c.pk),
        "requested_at",
        happenings.of_confirmation,
        deferred=("body", "pdf"),
    ),
)


def _desks(customer: Customer) -> QuerySet[Approval]:
    """The desk's own proposals; a firm's are its own affair (R-ADM-09)."""
    return Approval.objects.filter(customer_id=customer.pk, side=Approval.Side.DESK)


def _told_to(customer: Customer) -> QuerySet[Notice]:
    """What its people ask each other is their own affair too (R-ADM-09)."""
    return Notice.objects.filter(customer_id=customer.pk).exclude(kind__in=reach.OWN_AFFAIRS)


def _changes(customer: Customer) -> QuerySet[AuditRecord]:
    return AuditRecord.objects.filter(
        subject=f"accounts_customer:{customer.pk}",
        kind=AuditRecord.Kind.UPDATE,
        after__has_any_keys=list(happenings.CUSTOMER_FIELDS),
    )
