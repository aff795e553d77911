"""Explain this LTV: what it was at any moment, and every row that it came from (R-GEN-94, R-GEN-40).

Who sees the group sees why it stood where it stood; the house also opens the journal behind each row. The moment is
in the address, so an explanation can be sent to somebody else. Nothing is done here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from accounts import ledger
from accounts.models import LedgerAccount, User
from accounts.money import ZERO
from accounts.pages.access import customer_of, limited_to, user_of
from accounts.pages.forms import REFUSED
from accounts.words import tell
from risk import explained, past
from risk.book import WALLET
from risk.models import CollateralGroup, Debt, Member, RiskEvent
from risk.pages.groups import event_words, groups_for
from risk.pages.track import track

Row = TypeVar("Row", bound=Model)
PER_PAGE: Final = 50
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STEPS: Final = (
    (-DAY, tell("1 day earlier")),
    (-HOUR, tell("1 hour earlier")),
    (HOUR, tell("1 hour later")),
    (DAY, tell("1 day later")),
)
NOT_YET: Final = tell("That moment has not come yet.")
UNREADABLE: Final = tell("Write the moment as a date and a time, such as 2026-11-20 and 14:05.")


class MomentForm(forms.Form):
    """A moment in UTC, to the second; one from an address may be finer."""

    day = forms.DateField(
        label=tell("Day"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"required": UNREADABLE, "invalid": UNREADABLE},
    )
    time = forms.TimeField(
        label=tell("Time, UTC"),
        widget=forms.TimeInput(attrs={"type": "time", "step": "1"}, format="%H:%M:%S"),
        error_messages={"required": UNREADABLE, "invalid": UNREADABLE},
    )


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment asked for. `problem`: why nothing can be told of it; then it is the nearest that something can."""

    at: datetime
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Jump:
    """A link to another moment of the same page."""

    words: str
    href: str


@dataclass(frozen=True, slots=True)
class Near:
    """Something that happened, and the explanation of that very moment."""

    event: RiskEvent
    words: str
    band: str  # where it moved to one
    href: str
    is_it: bool


@require_safe
@login_required
def explain(request: HttpRequest, group_id: int) -> HttpResponse:
    """The LTV of a moment, taken apart; without a moment, of now."""
    group, now = _group(request, group_id), timezone.now()
    moment = moment_of(request, group, now=now)
    found = None if moment.problem else explained.explain(group, at=moment.at)
    user = user_of(request)
    context = {
        **_common(request, group, moment),
        "form": MomentForm(initial={"day": moment.at.astimezone(UTC), "time": moment.at.astimezone(UTC)}),
        "found": found,
        "track": track(found.point.ltv, found.state.lines, band=found.band) if found else None,
        "jumps": _jumps(group, moment.at, now),
        "near": _near(group, moment.at),
        "is_now": moment.at == now,
        "opens_parameters": user.is_staff,
        "limited": limited_to(request),
    }
    return render(request, "risk/explain.html", context, status=REFUSED if moment.problem else 200)


@require_safe
@login_required
def wallet(request: HttpRequest, group_id: int, uid: int, symbol: str) -> HttpResponse:
    """Every transfer that made a balance what it was; of an account that secured the group at that moment."""
    group = _group(request, group_id)
    moment = _settled(request, group)
    only = limited_to(request)
    held = Q(released_at__isnull=True) | Q(released_at__gt=moment.at)
    secured = Member.objects.filter(held, group=group, account=uid, since__lte=moment.at)
    if (only is not None and only.pk != uid) or not secured.exists():
        raise Http404
    rows = LedgerAccount.objects.select_related("asset", "account")
    row = get_object_or_404(rows, account=uid, kind=WALLET, asset=symbol)
    page = _page(request, explained.moves_of(row, until=moment.at))
    context = {
        **_common(request, group, moment),
        "wallet": row,
        "page": page,
        "balance": ledger.balances_at(account_ids=[uid], kinds=[WALLET], at=moment.at).get(
            (uid, WALLET, symbol), ZERO
        ),
        "lines": [(line, line.debit if line.credit_id == row.pk else line.credit) for line in page],
    }
    return render(request, "risk/explain_wallet.html", context)


@require_safe
@login_required
def debt(request: HttpRequest, group_id: int, debt_id: int) -> HttpResponse:
    """Every entry that made a debt what it was, residual or closed ones too."""
    group = _group(request, group_id)
    moment = _settled(request, group)
    row = get_object_or_404(
        Debt.objects.select_related("asset"), pk=debt_id, group=group, opened_at__lte=moment.at
    )
    owed = next((one for one in past.debts_at(group, at=moment.at) if one.debt.pk == row.pk), None)
    page = _page(request, explained.entries_of(row.pk, until=moment.at))
    context = {
        **_common(request, group, moment),
        "debt": row,
        "owed": owed,
        "pending": owed.parts.total - owed.debt.booked if owed else ZERO,
        "page": page,
    }
    return render(request, "risk/explain_debt.html", context)


# --- The moment -----------------------------------------------------------------------------------------


def moment_of(request: HttpRequest, group: CollateralGroup, *, now: datetime) -> Moment:
    """The moment that an address asks for: `?at=`, or a day and a time as the form sends them; else now."""
    asked = request.GET
    if "at" in asked:
        at = _instant(asked["at"])
    elif "day" in asked or "time" in asked:
        form = MomentForm(asked)
        at = _joined(form.cleaned_data) if form.is_valid() else None
    else:
        at = now
    if at is None:
        return Moment(now, UNREADABLE)
    if at > now:
        return Moment(now, NOT_YET)
    if at < group.opened_at:
        opened = tell("{utc:%-d %b %Y, %H:%M:%S} UTC", utc=group.opened_at.astimezone(UTC))
        return Moment(
            group.opened_at,
            tell("The group was opened on {opened}; before that there was no LTV.", opened=opened),
        )
    return Moment(at)


def link_to(group: CollateralGroup | int, at: datetime) -> str:
    """The explanation of the group's LTV at this very instant."""
    pk = group if isinstance(group, int) else group.pk
    return f"{reverse('risk:explain', args=[pk])}?{_query(at)}"


def _query(at: datetime) -> str:
    return urlencode({"at": at.astimezone(UTC).isoformat().replace("+00:00", "Z")})


def _instant(text: str) -> datetime | None:
    """An instant as ISO 8601 writes it; UTC where it does not say."""
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _joined(told: dict[str, Any]) -> datetime:
    return datetime.combine(told["day"], told["time"], tzinfo=UTC)


def _settled(request: HttpRequest, group: CollateralGroup) -> Moment:
    """The moment of a page below: one of which nothing can be told has no rows either."""
    moment = moment_of(request, group, now=timezone.now())
    if moment.problem:
        raise Http404
    return moment


# --- Private ----------------------------------------------------------------------------------------


def _group(request: HttpRequest, group_id: int) -> CollateralGroup:
    rows = groups_for(user_of(request)).select_related("customer", "receiver")
    return get_object_or_404(rows, pk=group_id)


def _page(request: HttpRequest, rows: QuerySet[Row]) -> "Page[Row]":
    return Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))


def _common(request: HttpRequest, group: CollateralGroup, moment: Moment) -> dict[str, Any]:
    user = user_of(request)
    return {
        "group": group,
        "at": moment.at,
        "problem": moment.problem,
        "query": f"{_query(moment.at)}&",
        "here": _query(moment.at),
        "is_house": customer_of(request) is None,
        "opens_books": user.is_staff or user.role == User.Role.VIP_MANAGER,
        "opens_all_books": user.is_staff,  # an accrual's entry holds the debts of many clients
        "opens_own": customer_of(request) is not None and limited_to(request) is None,
    }


def _jumps(group: CollateralGroup, at: datetime, now: datetime) -> list[Jump]:
    """Earlier and later moments of which something can be told, and now."""
    found = [
        Jump(words, link_to(group, at + step)) for step, words in STEPS if group.opened_at <= at + step <= now
    ]
    return [*found, Jump(tell("Now"), reverse("risk:explain", args=[group.pk]))]


def _band(event: RiskEvent) -> str:
    return str(event.facts.get("to", "")) if event.kind == RiskEvent.Kind.BAND else ""


def _near(group: CollateralGroup, at: datetime) -> list[Near]:
    earlier, later = explained.near(group, at=at)
    return [
        Near(event, event_words(event), _band(event), link_to(group, event.at), is_it=event.at == at)
        for event in (*earlier, *later)
    ]
