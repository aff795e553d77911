"""A client's policy in one view: what differs from the published terms, from when to when, by whom and why (R-FTR-14).

Own terms, LTV lines, handling and delayed liquidation are rows of their own with dates; here each is laid beside what
is published and beside the version before it. Nothing is changed here: the forms are one press away.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Approval, AuditRecord, Customer, User
from accounts.pages.access import user_of
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans import ratecards
from loans.models import ClientTerms
from loans.pages.bargain import LABELS
from loans.pages.desk_access import clients_of, for_the_house
from risk import parameters
from risk.handling import Handling
from risk.levels import Lines
from risk.models import DelayEnrolment, HandlingRule, Limits, ProductCode

SHOWN: Final = 4  # versions side by side; older ones are counted
IN_FORCE, COMING, PAST = tell("in force"), "coming", "past"
AS_PUBLISHED: Final = tell("as published")

Values = Mapping[str, str]
"""The terms of one version in words, by label."""


@dataclass(frozen=True, slots=True)
class Version:
    """One row: from when to when it counts, who set and who released it, and what it says.

    `ends_at` is its own end or the start of the one that took over, whichever comes first.
    """

    state: str
    starts_at: datetime
    ends_at: datetime | None
    is_replaced: bool  # it ends because another one begins
    by: str
    released_by: str
    why: str
    values: Values


@dataclass(frozen=True, slots=True)
class Cell:
    state: str
    text: str
    is_own: bool  # another value than the published one
    is_changed: bool  # another value than in the version before


@dataclass(frozen=True, slots=True)
class Term:
    label: str
    published: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """One part of the policy; `versions` and each term's cells stand in the same order, oldest first."""

    slug: str
    title: str
    versions: tuple[Version, ...]
    terms: tuple[Term, ...]
    hidden: int

    @property
    def now(self) -> Version | None:
        return next((one for one in self.versions if one.state == IN_FORCE), None)


@require_safe
@for_the_house
def policy(request: HttpRequest, client_id: int) -> HttpResponse:
    at = timezone.now()
    customer = get_object_or_404(clients_of(user_of(request)).select_related("manager"), pk=client_id)
    subjects = subjects_of(customer, at=at)
    waiting = Approval.objects.filter(
        customer=customer, status=Approval.Status.PENDING, side=Approval.Side.DESK
    )
    context = {
        "client": customer,
        "at": at,
        "subjects": subjects,
        "own": [subject for subject in subjects if subject.now is not None],
        "coming": [subject for subject in subjects if any(one.state == COMING for one in subject.versions)],
        "waiting": waiting.order_by("pk"),
        "changes": _changes(customer),
    }
    return render(request, "loans/desk_policy.html", context)


def subjects_of(customer: Customer, *, at: datetime) -> list[Subject]:
    """Every part of the policy, own or not, in a constant number of queries. R-FTR-14"""
    terms = list(ClientTerms.objects.filter(customer=customer).order_by("starts_at", "pk"))
    lines = list(
        Limits.objects.filter(customer=customer, product=ProductCode.VIP).order_by("effective_at", "pk")
    )
    rules = HandlingRule.objects.filter(customer=customer, product=ProductCode.VIP)
    handling = list(rules.order_by("effective_at", "pk"))
    delays = [
        row
        for row in DelayEnrolment.objects.filter(customer=customer).order_by("starts_at", "pk")
        if row.ends_at is None or row.ends_at > row.starts_at  # ended before it began: it never was
    ]
    signed = _signatures([*terms, *lines, *handling, *delays])
    product = ratecards.product_at(ProductCode.VIP, at=at)
    published_lines = parameters.lines_for(product=ProductCode.VIP, customer=None, assets=[], at=at)
    [published_handling] = parameters.handling_by_customer([0], product=ProductCode.VIP, at=at).values()
    published_terms = {
        SPREAD: tell("none"),
        HOURS: tell("{overdue_hours} h", overdue_hours=product.overdue_hours),
        EXPOSURE: tell("no limit of its own"),
        MAXIMUM: tell("by coin and VIP level"),
        COINS: tell("every loan coin"),
    }
    coins: dict[str, list[ClientTerms]] = {"": []}
    for row in terms:
        coins.setdefault(row.asset_id or "", []).append(row)
    found = [
        _subject(
            f"terms-{coin.lower()}" if coin else "terms",
            tell("Rate, hours and limits, {coin}", coin=coin or tell("every coin")),
            _versions(rows, signed, at=at, told=_told_terms),
            {k: v for k, v in published_terms.items() if not coin or k in OF_A_COIN},
        )
        for coin, rows in sorted(coins.items())
    ]
    return [
        *found,
        _subject(
            "lines",
            tell("LTV lines"),
            _versions(lines, signed, at=at, told=_told_lines),
            _lines(published_lines),
        ),
        _subject(
            "handling",
            tell("In a call and at liquidation"),
            _versions(handling, signed, at=at, told=_told_handling),
            _handling(published_handling),
        ),
        _subject(
            "delay",
            tell("Delayed liquidation"),
            _versions(delays, signed, at=at, told=lambda _: {DELAYED: "enrolled"}),
            {DELAYED: tell("not enrolled: sold at once")},
        ),
    ]


# --- In words -----------------------------------------------------------------------------------------

SPREAD: Final = tell("Spread on the published rate, a year")
HOURS: Final = tell("From expiry to forced sale")
EXPOSURE: Final = tell("Most that may be owed, USD")
MAXIMUM: Final = tell("Maximum per order")
COINS: Final = tell("Coins it may borrow")
OF_A_COIN: Final = frozenset({SPREAD, MAXIMUM})
DELAYED: Final = tell("A liquidation by LTV")


def _told_terms(row: ClientTerms) -> Values:
    told = {
        SPREAD: AS_PUBLISHED if row.spread is None else figures.pp(row.spread),
        MAXIMUM: tell("none: good credit history") if row.is_uncapped else AS_PUBLISHED,
    }
    if row.asset_id is not None:
        return told
    coins = row.allowed_coins
    return told | {
        HOURS: AS_PUBLISHED
        if row.overdue_hours is None
        else tell("{overdue_hours} h", overdue_hours=row.overdue_hours),
        EXPOSURE: AS_PUBLISHED
        if row.max_exposure_usd is None
        else figures.plain(f"{row.max_exposure_usd:.2f}"),
        COINS: AS_PUBLISHED if coins is None else joined(", ", coins) or tell("none"),
    }


def _told_lines(row: Limits) -> Values:
    return _lines(Lines(row.initial, row.margin_call, row.liquidation, row.cutoff, row.fee))


def _lines(lines: Lines) -> Values:
    return {label: figures.line(getattr(lines, name)) for name, label in LABELS.items()}


def _told_handling(row: HandlingRule) -> Values:
    return {
        tell("Liquidation"): row.get_mode_display().lower(),
        tell("Steps stop at LTV"): tell("the initial line")
        if row.target is None
        else figures.line(row.target),
        tell("Largest step, of the debt"): figures.line(row.step_share),
        tell("Repaid whole below, USD"): tell("{full_below_usd:,.2f}", full_below_usd=row.full_below_usd),
        tell("Fee taken on"): row.get_fee_base_display(),
        tell("Trades in a call"): row.get_call_trades_display(),
    }


def _handling(handling: Handling) -> Values:
    return _told_handling(
        HandlingRule(
            mode=handling.mode.value,
            target=handling.target,
            step_share=handling.step_share,
            full_below_usd=handling.full_below_usd,
            fee_base=handling.fee_base.value,
            call_trades=handling.call_trades.value,
        )
    )


# --- Versions -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Signature:
    by: str = ""
    released_by: str = ""
    why: str = ""


def _versions(
    rows: Sequence[Any], signed: Mapping[str, _Signature], *, at: datetime, told: Callable[[Any], Values]
) -> list[Version]:
    """The rows of one scope, oldest first. The one that began last counts until its end; none comes back."""
    found = []
    for row, following in zip_longest(rows, rows[1:]):
        starts = _starts(row)
        taken_over = None if following is None else _starts(following)
        ends = min((end for end in (row.ends_at, taken_over) if end is not None), default=None)
        state = COMING if starts > at else PAST if ends is not None and ends <= at else IN_FORCE
        signature = signed.get(_subject_of(row), _Signature())
        found.append(
            Version(
                state=state,
                starts_at=starts,
                ends_at=ends,
                is_replaced=ends is not None and ends == taken_over and ends != row.ends_at,
                by=signature.by,
                released_by=signature.released_by,
                why=signature.why,
                values=told(row),
            )
        )
    return found


def _subject(slug: str, title: str, versions: Sequence[Version], published: Values) -> Subject:
    shown = tuple(versions[-SHOWN:])
    terms = []
    for label, value in published.items():
        texts = [one.values.get(label, AS_PUBLISHED) for one in shown]
        before = [one.values.get(label, AS_PUBLISHED) for one in versions[-SHOWN - 1 : -1]]
        if len(versions) <= SHOWN:  # the first of all had only the published terms before it
            before = [value, *before]
        cells = (
            Cell(one.state, text, is_own=_differs(text, value), is_changed=_differs(text, earlier, value))
            for one, text, earlier in zip(shown, texts, before, strict=False)
        )
        terms.append(Term(label, value, tuple(cells)))
    return Subject(slug, title, shown, tuple(terms), hidden=len(versions) - len(shown))


def _differs(text: str, other: str, published: str = "") -> bool:
    """ "As published" is the published value, however it is written."""
    same = {AS_PUBLISHED, published or other}
    return text != other and not (text in same and other in same)


def _starts(row: Any) -> datetime:
    starts: datetime = row.effective_at if hasattr(row, "effective_at") else row.starts_at
    return starts


def _subject_of(row: Any) -> str:
    return f"{row._meta.db_table}:{row.pk}"


def _signatures(rows: Sequence[Any]) -> dict[str, _Signature]:
    """Who wrote each row and why, off the audit trail; who released it, off the proposal. Three queries."""
    subjects = [_subject_of(row) for row in rows]
    records = AuditRecord.objects.filter(subject__in=subjects, kind=AuditRecord.Kind.INSERT)
    results = {f"{row._meta.label_lower}:{row.pk}": _subject_of(row) for row in rows}
    releases = Approval.objects.filter(result__in=list(results), status=Approval.Status.RELEASED)
    released = {results[one.result]: one for one in releases.select_related("decided_by")}
    found = {record.subject: record for record in records}
    names = _names(record.actor for record in found.values())
    return {
        subject: _Signature(
            by=names.get(record.actor, record.actor),
            released_by=_releaser(released.get(subject)),
            why=released[subject].reason if subject in released else record.reason or _reason(rows, subject),
        )
        for subject, record in found.items()
    }


def _releaser(approval: Approval | None) -> str:
    return approval.decided_by.name if approval is not None and approval.decided_by is not None else ""


def _reason(rows: Iterable[Any], subject: str) -> str:
    return next((getattr(row, "reason", "") for row in rows if _subject_of(row) == subject), "")


def _names(labels: Iterable[str]) -> dict[str, str]:
    pks = {label.partition(":")[2] for label in labels if label.startswith("user:")}
    people = User.objects.filter(pk__in=[int(pk) for pk in pks if pk.isdigit()])
    return {f"user:{pk}": name for pk, name in people.values_list("pk", "name")}


def _changes(customer: Customer) -> list[AuditRecord]:
    """When the client was let in without a VIP level, got another level or another manager; newest first."""
    rows = AuditRecord.objects.filter(
        subject=f"accounts_customer:{customer.pk}",
        kind=AuditRecord.Kind.UPDATE,
        after__has_any_keys=["whitelisted", "vip_level", "manager_id"],
    )
    return list(rows.order_by("-pk")[:50])
