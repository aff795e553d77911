"""Loans: the list, and one loan with what it owes, why, and what its borrower can do: repay, renew, auto-repay.

Looking first, pressing second: a repayment is shown with its split and its effect on LTV before the button that
names it appears; a renewal says what is paid first and whether Spot can pay it (R-VIP-33, 34, 40…42, 47).
"""

from datetime import datetime
from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRedirect

from accounts.errors import Refused
from accounts.models import Customer
from accounts.pages.access import (
    actor_of,
    customer_of,
    for_customer,
    for_member,
    lacks,
    limited_to,
    user_of,
)
from accounts.pages.forms import REFUSED, key_of, refuse, signature
from accounts.pages.tables import Column, Filter, Table
from accounts.powers import Power
from accounts.words import tell
from loans import queries
from loans.models import Loan
from loans.pages.desk_access import clients_of, is_manager, is_of_the_house
from loans.pages.loan_forms import AutoRepayForm, RenewForm, RepayForm
from loans.pages.loan_panels import (
    available,
    can_be_called,
    cure_again,
    is_promise_broken,
    may_call,
    paid_words,
    payment_of,
    plan_of,
    renewal_of,
    renewed_words,
)
from loans.vip import at_expiry, auto_repay, renewal, repayment
from risk import book, delays, freezes
from risk.models import DebtEntry
from risk.pages.effect import standing_words
from risk.pages.promised import is_pressed, let_go, promise_of
from risk.pages.standing import standing_of
from risk.promises import NeededNoMore, PromiseBroken, keeping

CHARGES_PER_PAGE: Final = 10
REPAY, RENEW = "loans/_repay.html", "loans/_renew.html"
RELATED: Final = ("asset", "customer", "debt__asset", "group__receiver", "renews")

LOANS: Final = Table(
    name="loans",
    columns=(
        Column("loan", tell("Loan"), text=str),
        Column("drawn", tell("Drawn"), text=lambda row: row.drawn_at, sort=("drawn_at",)),
        Column("status", tell("Status"), sort=("debt__closed_at",)),
        Column("group", tell("Group"), text=lambda row: row.group.name, sort=("group__name",)),
        Column("coin", tell("Coin"), text=lambda row: row.asset_id, on_page=False),
        Column("principal", tell("Principal"), text=lambda row: row.amount, sort=("asset", "amount"), n=True),
        Column("owed", tell("Owed"), n=True),
        Column("rate", tell("Rate"), n=True),
        Column("day", tell("Per day"), n=True),
        Column("due", tell("Due"), text=lambda row: row.debt.due_at, sort=("debt__due_at",), n=True),
        Column("closed", tell("Closed"), text=lambda row: row.debt.closed_at, on_page=False),
    ),
    order=("-drawn_at", "-pk"),
    search=("asset__symbol", "group__name"),
    finds=tell("by coin or group"),
    filters=(
        Filter(
            "state",
            tell("State"),
            {
                "open": (tell("Open"), Q(debt__closed_at__isnull=True)),
                "overdue": (
                    tell("Overdue"),
                    Q(debt__closed_at__isnull=True, debt__overdue_since__isnull=False),
                ),
                "closed": (tell("Closed"), Q(debt__closed_at__isnull=False)),
            },
        ),
    ),
)


# --- Pages ------------------------------------------------------------------------------------------------


@require_safe
@for_member
def loans(request: HttpRequest, customer: Customer) -> HttpResponseBase:
    at = timezone.now()
    mine = Loan.objects.visible_to(user_of(request)).filter(customer=customer)
    found = Loan.objects.filter(pk__in=mine.values("pk"))
    found = found.select_related("debt", "asset", "group__receiver", "customer")
    file = LOANS.file(request, found)
    if file is not None:
        return file
    listed = LOANS.shown(request, found)
    rows = queries.rows_of(listed.page.object_list, at=at)
    context = {"list": listed, "page": listed.page, "rows": rows, "at": at}
    return render(request, "loans/loans.html", context)


@require_safe
@login_required
def loan(request: HttpRequest, loan_id: int) -> HttpResponse:
    """For its borrower, and to look at for the house."""
    row = get_object_or_404(_seen_by(request).select_related(*RELATED), pk=loan_id)
    form = RepayForm(
        asset=row.asset, initial={name: request.GET.get(name, "") for name in ("amount", "cure")}
    )
    return _page(request, row, timezone.now(), repay_form=form)


@require_safe
@login_required
def of_debt(request: HttpRequest, debt_id: int) -> HttpResponse:
    """Pages of `risk` know debts; this finds the loan. The question part of the address is kept."""
    row = get_object_or_404(_seen_by(request), debt_id=debt_id)
    query = request.GET.urlencode()
    return redirect(reverse("loans:loan", args=[row.pk]) + (f"?{query}#repay" if query else ""))


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def repay(request: HttpRequest, customer: Customer, loan_id: int) -> HttpResponse:
    return _repay(request, _mine(customer, loan_id))


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def repay_debt(request: HttpRequest, customer: Customer, debt_id: int) -> HttpResponse:
    """For the pages of `risk`, whose cures know debts."""
    mine = Loan.objects.filter(customer=customer).select_related(*RELATED)
    return _repay(request, get_object_or_404(mine, debt_id=debt_id))


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def renew(request: HttpRequest, customer: Customer, loan_id: int) -> HttpResponse:
    row, at = _mine(customer, loan_id), timezone.now()
    if request.method != "POST":
        return redirect("loans:loan", row.pk)
    form = RenewForm(request.POST)
    if form.is_valid():
        try:
            new = renewal.renew(
                loan_id=row.pk,
                term_days=form.cleaned_data["term"],
                actor=actor_of(request),
                at=at,
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            stands = standing_words(book.state_of(row.group, at=at))
            messages.success(
                request, tell("{row} {stands}", row=renewed_words(row, new, at=at), stands=stands)
            )
            return _gone(request, reverse("loans:loan", args=[new.pk]))
    return _page(request, row, at, renew_form=form, part=RENEW)


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def switch_auto_repay(request: HttpRequest, customer: Customer, loan_id: int) -> HttpResponse:
    """R-VIP-47"""
    row, at = _mine(customer, loan_id), timezone.now()
    if request.method != "POST":
        return redirect("loans:loan", row.pk)
    form = AutoRepayForm(request.POST)
    if form.is_valid():
        on = form.cleaned_data["on"]
        try:
            auto_repay.set_auto_repay(loan_id=row.pk, on=on, actor=actor_of(request), at=at, key=key_of(form))
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(
                request,
                tell("Auto-repay of {row} is {which}.", row=row, which=tell("on") if on else tell("off")),
            )
            return redirect("loans:loan", row.pk)
    return _page(request, row, at, auto_form=form)


# --- Private ----------------------------------------------------------------------------------------------


def _repay(request: HttpRequest, row: Loan) -> HttpResponse:
    at = timezone.now()
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("loans:loan", row.pk)
    form = RepayForm(request.POST, asset=row.asset)
    if why_not := lacks(request, Power.REPAY):
        form.add_error(None, why_not)
    if not form.is_valid():
        return _page(request, row, at, repay_form=form, part=REPAY)
    if not is_pressed(request, form, row.group):
        return _look(request, row, form, at)
    try:
        entry = _pay(request, row, form, at)
    except NeededNoMore as refusal:
        return _look(request, row, form, at, told=refusal.message)
    except Refused as refusal:
        refuse(form, refusal)
        return _page(
            request, row, at, repay_form=form, part=REPAY, is_broken=isinstance(refusal, PromiseBroken)
        )
    messages.success(
        request,
        tell(
            "{row} {group}", row=paid_words(row, entry), group=standing_words(book.state_of(row.group, at=at))
        ),
    )
    return _gone(request, reverse("loans:loan", args=[row.pk]))


def _look(request: HttpRequest, row: Loan, form: RepayForm, at: datetime, told: str = "") -> HttpResponse:
    if row.debt.closed_at is not None:
        form.add_error(None, tell("{row} is closed; nothing is owed on it.", row=row))
        return _page(request, row, at, repay_form=form, part=REPAY)
    needless = let_go(request, form, row.group, at=at, told=told)
    return _page(request, row, at, repay_form=form, part=REPAY, is_checked=True, needless=needless)


def _pay(request: HttpRequest, row: Loan, form: RepayForm, at: datetime) -> DebtEntry:
    actor, key, amount = actor_of(request), key_of(form), form.cleaned_data["amount"]
    promise = promise_of(request, form)

    def pay() -> DebtEntry:
        return repayment.repay(loan_id=row.pk, amount=amount, share=form.share, actor=actor, at=at, key=key)

    uids = [row.group.receiver_id]
    return keeping(promise, pay, group=row.group, uids=uids, actor=actor, at=at, key=key)


def _mine(customer: Customer, loan_id: int) -> Loan:
    return get_object_or_404(Loan.objects.filter(customer=customer).select_related(*RELATED), pk=loan_id)


def _seen_by(request: HttpRequest) -> QuerySet[Loan]:
    """The loans whoever is signed in may look at: the house its clients', a borrower their customer's."""
    user = user_of(request)
    if is_of_the_house(user):
        return Loan.objects.filter(customer__in=clients_of(user))
    return Loan.objects.visible_to(user).filter(customer=customer_of(request))


def _gone(request: HttpRequest, to: str) -> HttpResponse:
    return HttpResponseClientRedirect(to) if request.headers.get("HX-Request") else redirect(to)


def _page(
    request: HttpRequest,
    row: Loan,
    at: datetime,
    *,
    repay_form: RepayForm | None = None,
    renew_form: RenewForm | None = None,
    auto_form: AutoRepayForm | None = None,
    part: str = "",
    is_checked: bool = False,
    is_broken: bool = False,
    needless: str = "",
) -> HttpResponse:
    state = book.state_of(row.group, at=at) if row.debt.closed_at is None else None
    [shown] = queries.rows_of([row], at=at, states={} if state is None else {row.group_id: state})
    due = renewal.due_amounts(row, at=at)
    repay_form = repay_form or RepayForm(asset=row.asset)
    renew_form = renew_form or RenewForm()
    standing = standing_of(row.group, state) if state is not None and shown.is_open else None
    payment = None
    if is_checked:
        payment = payment_of(row, form=repay_form, share=repay_form.share, at=at)
        is_broken = is_promise_broken(request, repay_form, payment)
    offer, customer, user = renewal_of(row, standing, at), customer_of(request), user_of(request)
    is_on = at_expiry.auto_repays(row)
    context = {
        "at": at,
        "row": shown,
        "loan": row,
        "due": due,
        "standing": standing,
        "delay": delays.running(row.group) if standing is not None and standing.is_called else None,
        "repay_form": repay_form,
        "payment": payment,
        "available": available(row),
        "renew_form": renew_form,
        "renewal": offer,
        "instalments": plan_of(row) if row.debt.residual_since else [],
        "auto_repays": is_on,
        "converts": not is_on and at_expiry.converts(row),
        "auto_form": auto_form or AutoRepayForm(initial={"on": "off" if is_on else "on"}),
        "may_switch": shown.is_open
        and not row.debt.residual_since
        and (not row.debt.due_at or at < row.debt.due_at),
        "repay_closed": freezes.repay_closed(row.asset_id, at) if shown.is_open else None,
        "calls_open": can_be_called(row) and may_call(user, row),
        "called_for": row.events.filter(kind="called").order_by("-pk").first()
        if row.debt.called_at
        else None,
        "latest": queries.latest_order(row),
        "charges": Paginator(queries.interest_history(row), CHARGES_PER_PAGE).get_page(
            request.GET.get("page")
        ),
        "entries": row.debt.entries.exclude(kind__in=["charge"])
        .select_related("entry")
        .order_by("-at", "-pk"),
        "rates": row.debt.rates.order_by("starts_at"),
        "again": cure_again(request, row, repay_form, at=at) if is_broken else None,
        "needless": needless,
        "typing": request.POST.get("look") == "typing",
        "may_act": customer is not None and customer.pk == row.customer_id and limited_to(request) is None,
        "is_house": customer is None,
        "decides": is_manager(user),
        "renewed_by": Loan.objects.filter(renews=row).first(),
    }
    if payment is not None:
        context |= {"seen": signature(repay_form)}
    is_partial = bool(part and request.headers.get("HX-Request"))
    context["on_top"] = not is_partial  # a cure's button led to this page from another
    refusals = [*repay_form.non_field_errors(), *renew_form.non_field_errors()]
    if is_partial and refusals and (offer is None if part == RENEW else not shown.is_open):
        messages.error(request, refusals[0])  # the panel that asked is gone; the whole page says why
        return _gone(request, reverse("loans:loan", args=[row.pk]))
    template = part if is_partial else "loans/loan.html"
    is_refused = repay_form.errors or renew_form.errors or (auto_form is not None and auto_form.errors)
    return render(request, template, context, status=REFUSED if is_refused else 200)
