"""Monthly statements: what was issued, any other month on demand, and the proof from the ledger (R-GEN-94).

For who acts for a whole customer, and for the house about its clients.
"""

from datetime import date, datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts import exports
from accounts.errors import Refused
from accounts.models import Customer
from accounts.pages.access import actor_of, customer_of, limited_to, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans import statements
from loans.models import Statement
from loans.pages.desk_access import clients_of
from loans.pages.history import scope_of
from loans.statements import Month
from risk.models import Debt

PER_PAGE: Final = 12
MOST_MONTHS: Final = 60  # offered on demand
KINDS: Final = {"pdf": statements.PDF, "csv": statements.CSV}


class AskForm(forms.Form):
    """One month that is over, as a file."""

    month = forms.ChoiceField(label=tell("Month"))
    kind = forms.ChoiceField(
        label=tell("As"),
        choices=[("pdf", "PDF"), ("csv", tell("CSV, every line"))],
        widget=forms.RadioSelect,
        initial="pdf",
    )
    key = key_field()

    def __init__(self, *args: Any, customer: Customer, at: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["month"].choices = [  # type: ignore[attr-defined]
            (f"{month.first:%Y-%m}", tell("{month:%B %Y}", month=month.first))
            for month in _months(customer, at)
        ]


@require_safe
@login_required
def index(request: HttpRequest, client_id: int | None = None) -> HttpResponse:
    customer, at = _customer(request, client_id), timezone.now()
    return _page(request, customer, client_id, AskForm(customer=customer, at=at))


@require_POST
@login_required
def ask(request: HttpRequest, client_id: int | None = None) -> HttpResponse:
    """Put the file into the queue; its own page says how far it is."""
    customer, at = _customer(request, client_id), timezone.now()
    form = AskForm(request.POST, customer=customer, at=at)
    if not form.is_valid():
        return _page(request, customer, client_id, form)
    month = Month(date.fromisoformat(f"{form.cleaned_data['month']}-01"))
    try:
        statements.check(customer, month, at=at)
        export = exports.ask(
            kind=KINDS[form.cleaned_data["kind"]],
            title=f"Statement of {month}, {customer.name}",
            arguments={"customer": customer.pk, "month": form.cleaned_data["month"]},
            customer=customer,
            actor=actor_of(request),
            at=at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return _page(request, customer, client_id, form)
    return redirect("accounts:export", export.pk)


@require_safe
@login_required
def pdf(request: HttpRequest, statement_id: int) -> HttpResponse:
    """The paper as it was issued."""
    row = get_object_or_404(_seen_by(request), pk=statement_id)
    return _file(bytes(row.pdf), "application/pdf", f"statement-{row.month:%Y-%m}.pdf")


@require_safe
@login_required
def rows_csv(request: HttpRequest, statement_id: int) -> HttpResponse:
    """Every line of the body as it was issued."""
    row = get_object_or_404(_seen_by(request).defer("pdf"), pk=statement_id)
    file = statements.csv_of(row.body)
    return _file(file.content, file.content_type, file.name)


@require_POST
@login_required
def verify(request: HttpRequest, statement_id: int) -> HttpResponse:
    """Make the month again from the ledger of today and compare."""
    row = get_object_or_404(_seen_by(request), pk=statement_id)
    proof = statements.verify(row, at=timezone.now())
    month = Month(row.month)
    if proof.holds:
        messages.success(request, f"The ledger says the same of {month} today: {proof.sha256}.")
    else:
        messages.error(
            request, f"The ledger differs from the statement of {month}: {', '.join(proof.differs)}."
        )
    if customer_of(request) is not None:
        return redirect("loans:statements")
    return redirect("loans:client_statements", row.customer_id)


# --- Private ----------------------------------------------------------------------------------------


def _customer(request: HttpRequest, client_id: int | None) -> Customer:
    """A statement tells of the whole customer, so who acts for one account has none. R-GEN-95"""
    scope = scope_of(request, client_id)
    if scope.account is not None:
        raise Http404
    return scope.customer


def _seen_by(request: HttpRequest) -> QuerySet[Statement]:
    customer = customer_of(request)
    if customer is None:
        return Statement.objects.filter(customer__in=clients_of(user_of(request)))
    rows = Statement.objects.filter(customer=customer)
    return rows if limited_to(request) is None else rows.none()


def _page(request: HttpRequest, customer: Customer, client_id: int | None, form: AskForm) -> HttpResponse:
    rows = Statement.objects.filter(customer=customer).defer("pdf", "body").order_by("-month")
    context = {
        "page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        "form": form,
        "client": customer if client_id is not None else None,
        "has_months": bool(form.fields["month"].choices),  # type: ignore[attr-defined]
    }
    return render(request, "loans/statements.html", context, status=REFUSED if form.errors else 200)


def _months(customer: Customer, at: datetime) -> list[Month]:
    """Those that are over since the customer's first loan, newest first."""
    first = Debt.objects.filter(customer=customer).aggregate(first=Min("opened_at"))["first"]
    found: list[Month] = []
    month = statements.last_month(at)
    while first is not None and month.until >= first and len(found) < MOST_MONTHS:
        found.append(month)
        month = month.before
    return found


def _file(content: bytes, content_type: str, name: str) -> HttpResponse:
    return HttpResponse(
        content,
        content_type=content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )
