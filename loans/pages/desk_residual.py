"""Residual debts on the desk: what liquidations left owing, its story, and what may be done about it (R-GEN-78).

The house reads; finance and the client's manager collect; finance proposes what the desk bears, and another
person releases it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Approval, User
from accounts.money import ZERO
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, amount_field, key_field, key_of, read_amount, refuse
from accounts.pages.tables import Column, Filter, Table
from accounts.templatetags import figures
from accounts.words import tell
from loans.models import Loan
from loans.pages.desk_access import clients_of, for_the_house
from risk import insurance, plans, residual
from risk.models import Debt, Liquidation, PaymentPlan

RESIDUALS = Table(
    name="residual-debts",
    columns=(
        Column("debt", tell("Debt"), text=str, sort=("customer__name",)),
        Column("client", tell("Client"), text=lambda row: row.customer.name, on_page=False),
        Column("state", tell("State"), text=lambda row: _state(row)),
        Column("owed", tell("Owed"), text=lambda row: row.booked, sort=("asset", "owed"), n=True),
        Column("coin", tell("Coin"), text=lambda row: row.asset_id, on_page=False),
        Column("since", tell("Since"), text=lambda row: row.residual_since, sort=("residual_since",), n=True),
    ),
    order=("-closed_at", "-residual_since", "-pk"),
    search=("customer__name", "asset__symbol"),
    finds=tell("by client or coin"),
    filters=(
        Filter(
            "state",
            tell("State"),
            {
                "open": (tell("Open"), Q(closed_at=None, has_plan=False)),
                "plan": (tell("Payment plan"), Q(closed_at=None, has_plan=True)),
                "closed": (tell("Closed"), Q(closed_at__isnull=False)),
            },
        ),
    ),
)


class SetOffForm(forms.Form):
    key = key_field()


LONGEST_WAIT = timedelta(days=366)


class PlanForm(forms.Form):
    count = forms.IntegerField(
        label=tell("Payments"),
        min_value=1,
        max_value=plans.MOST_INSTALMENTS,
        initial=3,
        help_text=tell("Of equal size"),
    )
    first = forms.DateField(
        label=tell("First on"),
        help_text=tell("Each is taken at 00:00 UTC of its day"),
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    every = forms.IntegerField(label=tell("Then every so many days"), min_value=1, max_value=366, initial=30)
    key = key_field()


class ReasonForm(forms.Form):
    reason = forms.CharField(label=tell("Why"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    key = key_field()


class SettleForm(ReasonForm):
    amount = amount_field(tell("Amount from the fund"))

    field_order = ("amount", "reason")


@dataclass(frozen=True, slots=True)
class Done:
    """What is said after an action, by what came of it."""

    at_once: str
    proposal: Approval | None = None

    @property
    def sentence(self) -> str:
        if self.proposal is None:
            return self.at_once
        return tell(
            "{proposal} is proposed; it happens when another person releases it.", proposal=self.proposal
        )


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do about a debt: its form, who may, and what it calls. `do` refuses by raising."""

    form: type[forms.Form]
    may: Callable[[User], bool]
    do: Callable[[HttpRequest, Debt, forms.Form, datetime], Done | None]


# --- Pages ------------------------------------------------------------------------------------------------


@require_safe
@for_the_house
def index(request: HttpRequest) -> HttpResponseBase:
    """Open ones first, then the newest."""
    user = user_of(request)
    running = PaymentPlan.objects.filter(debt=OuterRef("pk"), ended_at__isnull=True)
    owed = F("principal") + F("interest") + F("late_fee")
    rows = _visible_to(user).annotate(has_plan=Exists(running), owed=owed)
    file = RESIDUALS.file(request, rows)
    if file is not None:
        return file
    open_count = _visible_to(user).filter(closed_at__isnull=True).count()
    context = {
        "list": RESIDUALS.shown(request, rows),
        "open_count": open_count,
        "sees_fund": user.is_staff,
    }
    return render(request, "loans/desk_residuals.html", context)


@require_safe
@for_the_house
def detail(request: HttpRequest, debt_id: int) -> HttpResponse:
    return _page(request, _debt(request, debt_id))


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def act(request: HttpRequest, debt_id: int, action: str) -> HttpResponse:
    debt, what = _debt(request, debt_id), ACTIONS.get(action)
    if what is None:
        raise Http404
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("loans:residual", debt_id=debt.pk)
    if not what.may(user_of(request)):
        raise PermissionDenied(
            tell("Finance does this, or the client's own manager where no money of the desk is used.")
        )
    form = what.form(request.POST)
    if form.is_valid():
        try:
            done = what.do(request, debt, form, timezone.now())
        except Refused as refusal:
            refuse(form, refusal)
        else:
            if done is not None:
                messages.success(request, done.sentence)
                return redirect("loans:residual", debt_id=debt.pk)
    return _page(request, _debt(request, debt_id), {action: form})


def _state(row: Any) -> str:
    if row.closed_at is not None:
        return str(row.get_closed_reason_display())
    return tell("Payment plan") if row.has_plan else tell("Open")


def _visible_to(user: User) -> QuerySet[Debt]:
    rows = Debt.objects.filter(residual_since__isnull=False, customer__in=clients_of(user))
    return rows.select_related("asset", "customer", "group__receiver")


def _debt(request: HttpRequest, debt_id: int) -> Debt:
    return get_object_or_404(_visible_to(user_of(request)), pk=debt_id)


def _page(request: HttpRequest, debt: Debt, shown: dict[str, forms.Form] | None = None) -> HttpResponse:
    user, shown = user_of(request), shown or {}
    plan = residual.running_plan(debt)
    context: dict[str, Any] = {
        "debt": debt,
        "loan": Loan.objects.filter(debt=debt).first(),
        "liquidation": Liquidation.objects.filter(group=debt.group_id, ended_at=debt.residual_since).first(),
        "entries": debt.entries.select_related("entry").order_by("at", "pk"),
        "plan": plan,
        "instalments": plan.instalments.order_by("due_at") if plan else (),
        "spot": residual.in_spot(debt),
        "fund": insurance.balances().get(debt.asset_id, ZERO),
        "proposals": Approval.objects.filter(
            status=Approval.Status.PENDING, payload__debt_id=debt.pk, command__startswith="residual."
        ).order_by("pk"),
        "at": timezone.now(),
        "collects": debt.closed_at is None and _collects(user),
        "decides": debt.closed_at is None and _decides(user),
    }
    for name, what in ACTIONS.items():
        context[f"{name.replace('-', '_')}_form"] = shown.get(name) or what.form()
    refused = any(form.errors for form in shown.values())
    return render(request, "loans/desk_residual.html", context, status=REFUSED if refused else 200)


# --- Actions ----------------------------------------------------------------------------------------------


def _collects(user: User) -> bool:
    return user.role in residual.COLLECTORS


def _decides(user: User) -> bool:
    return user.role in insurance.FINANCE


def _set_off(request: HttpRequest, debt: Debt, form: forms.Form, at: datetime) -> Done:
    entry = residual.set_off(debt_id=debt.pk, actor=actor_of(request), at=at, key=key_of(form))
    taken = -(entry.principal + entry.interest + entry.late_fee)
    return Done(tell("{taken} was set off.", taken=figures.plain(taken, debt.asset)))


def _agree(request: HttpRequest, debt: Debt, form: forms.Form, at: datetime) -> Done | None:
    asked = form.cleaned_data
    first = datetime.combine(asked["first"], time(), UTC)
    if first - at > LONGEST_WAIT:
        form.add_error(
            "first", tell("The first payment is at most {days} days away.", days=LONGEST_WAIT.days)
        )
        return None
    days = [first + timedelta(days=asked["every"]) * number for number in range(asked["count"])]
    amounts = plans.equal_parts(debt.booked, count=asked["count"], places=debt.asset.places)
    due = tuple(plans.Due(day, amount) for day, amount in zip(days, amounts, strict=True))
    plans.agree_plan(debt_id=debt.pk, instalments=due, actor=actor_of(request), at=at, key=key_of(form))
    return Done(tell("The plan is agreed; the client has been told."))


def _end(request: HttpRequest, debt: Debt, form: forms.Form, at: datetime) -> Done:
    plans.end_plan(
        debt_id=debt.pk, actor=actor_of(request), at=at, reason=form.cleaned_data["reason"], key=key_of(form)
    )
    return Done(tell("The plan is ended; nothing more is taken by it."))


def _settle(request: HttpRequest, debt: Debt, form: forms.Form, at: datetime) -> Done | None:
    amount = read_amount(form, "amount", places=debt.asset.places)
    if amount is None:
        return None
    shown = figures.plain(amount, debt.asset)
    fund = insurance.balances().get(debt.asset_id, ZERO)
    return _proposed(
        request,
        debt,
        form,
        command="residual.settle_from_fund",
        arguments={"debt_id": debt.pk, "amount": amount},
        title=tell("Settle {shown} of {debt} from the insurance fund", shown=shown, debt=debt),
        preview=_preview(debt, left=debt.booked - amount)
        | {tell("Fund after"): figures.plain(fund - amount, debt.asset)},
        done=tell("The fund settled {shown}.", shown=shown),
        at=at,
    )


def _write_off(request: HttpRequest, debt: Debt, form: forms.Form, at: datetime) -> Done:
    shown = figures.plain(debt.booked, debt.asset)
    return _proposed(
        request,
        debt,
        form,
        command="residual.write_off",
        arguments={"debt_id": debt.pk},
        title=tell("Write off {debt}: {shown}", debt=debt, shown=shown),
        preview=_preview(debt, left=ZERO) | {tell("Loss"): shown},
        done=tell("{shown} was written off.", shown=shown),
        at=at,
    )


def _preview(debt: Debt, *, left: Decimal) -> dict[str, str]:
    return {
        tell("Client"): debt.customer.name,
        tell("Owed now"): figures.plain(debt.booked, debt.asset),
        tell("Owed after"): figures.plain(left, debt.asset),
    }


def _proposed(
    request: HttpRequest, debt: Debt, form: forms.Form, *, done: str, at: datetime, **proposal: Any
) -> Done:
    approval = approvals.run_or_propose(
        **proposal,
        reason=form.cleaned_data["reason"],
        actor=actor_of(request),
        at=at,
        customer=debt.customer,
        key=key_of(form),
    )
    return Done(done, approval)


ACTIONS = {
    "set-off": Action(SetOffForm, _collects, _set_off),
    "plan": Action(PlanForm, _collects, _agree),
    "end-plan": Action(ReasonForm, _collects, _end),
    "settle": Action(SettleForm, _decides, _settle),
    "write-off": Action(ReasonForm, _decides, _write_off),
}
