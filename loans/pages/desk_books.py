"""The books on the desk: months and their close, the trial balance, files of the journal (R-ADM-11).

Finance and admins close, auditors read; to the rest of the house these pages are closed, to borrowers they do not
exist.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts import approvals, closing, exports, journal, ledger
from accounts.errors import Refused
from accounts.ledger import Turnover
from accounts.models import Approval, Asset, JournalEntry, LedgerAccount, PeriodClose
from accounts.money import ZERO
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans import confirmations
from loans.models import BalanceConfirmation
from loans.pages.desk_access import for_roles
from risk import entries

MONTHS = 12  # to a page
COMMANDS = ("books.close", "corrections.reverse")
DAY = timedelta(days=1)
FILES = [
    (journal.JOURNAL, tell("Journal: every transfer")),
    (entries.DEBT_ENTRIES, tell("Debt entries")),
    (journal.TRIAL_BALANCE, tell("Trial balance at the end")),
]

for_books = for_roles(confirmations.ASKERS, tell("Finance, auditors and admins read the books."))


class ReasonForm(forms.Form):
    reason = forms.CharField(label=tell("Why"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    key = key_field()


class ExportForm(forms.Form):
    """Days are whole: from the 00:00 that begins the first to the 00:00 that ends the last."""

    kind = forms.ChoiceField(label=tell("File"), choices=FILES)
    first = forms.DateField(label=tell("From"), widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label=tell("Through"), widget=forms.DateInput(attrs={"type": "date"}))
    key = key_field()

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        first, last = found.get("first"), found.get("last")
        if first and last and not date(2009, 1, 1) <= first <= last <= date(2999, 12, 30):
            self.add_error("last", tell("The last day comes after the first."))
        return found

    def arguments(self) -> dict[str, str]:
        after, through = midnight(self.cleaned_data["first"]), midnight(self.cleaned_data["last"]) + DAY
        return {"after": after.isoformat(), "through": through.isoformat()}

    def title(self) -> str:
        name = dict(FILES)[self.cleaned_data["kind"]].partition(":")[0]
        return tell(
            "{name}, {cleaned_data:%-d %B %Y} to {cleaned_data2:%-d %B %Y}",
            name=name,
            cleaned_data=self.cleaned_data["first"],
            cleaned_data2=self.cleaned_data["last"],
        )


@dataclass(slots=True)
class Folded:
    """One line of the trial balance: an account of the house, or all wallets of a kind together."""

    kind: str
    code: str  # of the one account; "" for wallets
    accounts: int = 0
    debits: Decimal = ZERO
    credits: Decimal = ZERO

    @property
    def name(self) -> str:
        return str(LedgerAccount.Kind(self.kind).label).capitalize()

    @property
    def debit_balance(self) -> Decimal:
        return max(self.debits - self.credits, ZERO)

    @property
    def credit_balance(self) -> Decimal:
        return max(self.credits - self.debits, ZERO)


@dataclass(slots=True)
class Coin:
    """The trial balance of one coin; both sides are equal, or the books are broken."""

    asset: Asset
    lines: list[Folded] = field(default_factory=list)
    debits: Decimal = ZERO
    credits: Decimal = ZERO


@require_safe
@for_books
def books(request: HttpRequest) -> HttpResponse:
    return _index(request, None)


@require_POST
@for_books
def export(request: HttpRequest) -> HttpResponse:
    """Ask for a file of a span of days; its own page says how far it is."""
    form = ExportForm(request.POST)
    if form.is_valid():
        try:
            made = exports.ask(
                kind=form.cleaned_data["kind"],
                title=form.title(),
                arguments=form.arguments(),
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            return redirect("accounts:export", made.pk)
    return _index(request, form)


@require_safe
@for_books
def period(request: HttpRequest, year: int, month: int) -> HttpResponse:
    return _period(request, _ending(year, month), None)


@require_POST
@for_books
def close(request: HttpRequest, year: int, month: int) -> HttpResponse:
    """Propose to close the month; another person releases it."""
    if user_of(request).role not in closing.FINANCE:
        raise PermissionDenied(tell("Finance closes the books."))
    through, form = _ending(year, month), ReasonForm(request.POST)
    if form.is_valid():
        try:
            approval = approvals.run_or_propose(
                command="books.close",
                arguments={"through": through},
                title=tell("Close the books through {through}", through=_last_day(through)),
                preview=_preview(through),
                reason=form.cleaned_data["reason"],
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            done = tell("The books are closed through {through}.", through=_last_day(through))
            said = (
                tell("{approval} is proposed; it happens when another person releases it.", approval=approval)
                if approval
                else done
            )
            messages.success(request, said)
            return redirect("loans:books")
    return _period(request, through, form)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def folded(balance: Iterable[Turnover]) -> list[Coin]:
    """The trial balance for people: per coin, the house's accounts, and each kind of wallet as one line."""
    coins: dict[str, dict[str, Folded]] = defaultdict(dict)
    for row in balance:
        is_wallet = row.kind in LedgerAccount.WALLETS
        line = coins[row.asset].setdefault(
            row.kind, Folded(kind=row.kind, code="" if is_wallet else row.code)
        )
        line.accounts += 1
        line.debits += row.debits
        line.credits += row.credits
    assets = Asset.objects.in_bulk(list(coins))
    order = list(LedgerAccount.Kind)
    found = []
    for symbol in sorted(coins):
        lines = sorted(coins[symbol].values(), key=lambda line: order.index(LedgerAccount.Kind(line.kind)))
        coin = Coin(asset=assets[symbol], lines=lines)
        coin.debits = sum((line.debit_balance for line in lines), ZERO)
        coin.credits = sum((line.credit_balance for line in lines), ZERO)
        found.append(coin)
    return found


# --- Private ----------------------------------------------------------------------------------------------


def _index(request: HttpRequest, form: ExportForm | None) -> HttpResponse:
    at = timezone.now()
    months = closing.periods(at=at)
    still_open = [one for one in months if one.close is None]
    proof = closing.last_proof()
    context = {
        "page": Paginator(months, MONTHS).get_page(request.GET.get("page")),
        "closed_through": closing.closed_through(),
        "left": closing.to_book(through=still_open[-1].through) if still_open else [],
        "oldest_open": still_open[-1] if still_open else None,
        "proof": proof,
        "proof_at": datetime.fromisoformat(proof.after["at"]) if proof and proof.after else None,
        "problems": proof.after["problems"] if proof and proof.after else [],
        "proposals": Approval.objects.filter(status=Approval.Status.PENDING, command__in=COMMANDS)
        .select_related("proposed_by")
        .order_by("pk"),
        "disputed": BalanceConfirmation.objects.filter(status=confirmations.Status.DISPUTED).count(),
        "waiting": BalanceConfirmation.objects.filter(status=confirmations.Status.WAITING).count(),
        "corrected": JournalEntry.objects.filter(kind=ledger.REVERSAL).order_by("-pk")[:5],
        "form": form or ExportForm(initial=_last_month(at)),
    }
    return render(request, "loans/desk_books.html", context, status=REFUSED if form else 200)


def _period(request: HttpRequest, through: datetime, form: ReasonForm | None) -> HttpResponse:
    at = timezone.now()
    row = next((one for one in closing.periods(at=at) if one.through == through), None)
    if row is None:
        raise Http404
    kept = PeriodClose.objects.filter(through=through).select_related("closed_by").first()
    balance = list(_kept(kept)) if kept else ledger.trial_balance(at=through)
    days = {"first": row.start.date(), "last": row.last_day.date()}
    context = {
        "period": row,
        "kept": kept,
        "coins": folded(balance),
        "left": [] if row.close else closing.to_book(through=through),
        "closes": row.close is None and user_of(request).role in closing.FINANCE,
        "form": form or ReasonForm(),
        "files": [(label, ExportForm(initial=days | {"kind": kind}), kind) for kind, label in FILES],
        "days": days,
    }
    return render(request, "loans/desk_period.html", context, status=REFUSED if form else 200)


def _kept(row: PeriodClose) -> Iterator[Turnover]:
    """A close's trial balance as it was kept. A code is `kind:asset` or `kind:uid:asset`."""
    for code, (debits, credits) in sorted(row.trial_balance.items()):
        parts = code.split(":")
        yield Turnover(code, parts[0], parts[-1], Decimal(debits), Decimal(credits))


def _preview(through: datetime) -> dict[str, str]:
    booked = JournalEntry.objects.filter(at__lte=through)
    last = closing.closed_through()
    if last is not None:
        booked = booked.filter(at__gt=last)
    return {
        tell("Closes through"): tell("{through}, 24:00 UTC", through=_last_day(through)),
        tell("Closed so far"): tell("nothing")
        if last is None
        else tell("through {last}", last=_last_day(last)),
        tell("Entries in it"): str(booked.count()),
    }


def _ending(year: int, month: int) -> datetime:
    """Where the month ends; 404 for none."""
    try:
        return closing.next_month(datetime(year, month, 1, tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise Http404 from error


def _last_day(through: datetime) -> str:
    return f"{through - DAY:%-d %B %Y}"


def _last_month(at: datetime) -> dict[str, date]:
    last = at.astimezone(UTC).date().replace(day=1) - DAY
    return {"first": last.replace(day=1), "last": last}
