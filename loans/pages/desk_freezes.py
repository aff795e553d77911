"""The desk's switches: what is frozen, why and until when; freeze something, and propose to lift it. R-ADM-04"""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Account, Asset, User
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, LongSelect, key_field, key_of, refuse
from accounts.pages.tables import Column, Filter, Table
from accounts.words import tell
from loans.pages.desk_access import clients_of, for_the_house, is_manager
from risk import freezes
from risk.models import CollateralGroup, Freeze

ENDED = Table(
    name="ended-freezes",
    columns=(
        Column("what", tell("Stopped"), text=lambda row: row.get_what_display(), sort=("what",)),
        Column("where", tell("Where"), text=lambda row: freezes.scope_of(row)),
        Column("by", tell("Placed by"), text=lambda row: row.placed_by, on_page=False),
        Column("reason", tell("Reason"), text=lambda row: row.reason),
        Column("from", tell("From"), text=lambda row: row.starts_at, sort=("starts_at",), n=True),
        Column("until", tell("Until"), text=lambda row: row.lifted_at or row.ends_at, sort=("over",), n=True),
        Column("lifter", tell("Lifted by"), text=lambda row: row.lifted_by, on_page=False),
    ),
    order=("-starts_at", "-pk"),
    search=("reason", "asset__symbol", "account__customer__name", "group__customer__name"),
    finds=tell("by reason, coin or client"),
    filters=(
        Filter("what", tell("Stopped"), {one.value: (one.label, Q(what=one)) for one in Freeze.What}),
        Filter(
            "end",
            tell("End"),
            {
                "by-itself": (tell("By itself"), Q(lifted_at=None)),
                "lifted": (tell("Lifted before"), Q(lifted_at__isnull=False)),
            },
        ),
    ),
)
HOURS = [
    (1, tell("1 hour")),
    (4, tell("4 hours")),
    (24, tell("24 hours")),
    (72, tell("3 days")),
    (168, tell("7 days")),
    (720, tell("30 days")),
]


class FreezeForm(forms.Form):
    """Where it holds is one of three, or nowhere in particular: everywhere."""

    what = forms.ChoiceField(label=tell("Stop"), choices=Freeze.What.choices)
    account_uid = forms.IntegerField(
        label=tell("Account (uid)"), required=False, min_value=1, max_value=2**53
    )
    group_id = forms.IntegerField(label=tell("Group (number)"), required=False, min_value=1, max_value=2**53)
    asset = forms.ChoiceField(label=tell("Coin"), required=False, widget=LongSelect)
    hours = forms.TypedChoiceField(
        label=tell("For", context="how long"), coerce=int, choices=HOURS, initial=24
    )
    reason = forms.CharField(
        label=tell("Reason"),
        max_length=500,
        help_text=tell("Those it stops are told the reason."),
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    key = key_field()

    def __init__(self, *args: Any, clients: "QuerySet[Any]", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clients = clients
        coins = Asset.objects.order_by("pk").values_list("pk", flat=True)
        self.fields["asset"].choices = [("", tell("no coin in particular")), *((c, c) for c in coins)]  # type: ignore[attr-defined]

    def clean_account_uid(self) -> int | None:
        return self._known(
            Account, "account_uid", tell("There is no such account among those you look after.")
        )

    def clean_group_id(self) -> int | None:
        return self._known(
            CollateralGroup, "group_id", tell("There is no such group among those you look after.")
        )

    def clean_asset(self) -> str | None:
        return self.cleaned_data["asset"] or None

    def _known(self, model: Any, field: str, words: str) -> int | None:
        value: int | None = self.cleaned_data[field]
        if value is not None and not model.objects.filter(pk=value, customer__in=self.clients).exists():
            raise forms.ValidationError(words)
        return value


class LiftForm(forms.Form):
    reason = forms.CharField(label=tell("Why it may end now"), max_length=500)
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def freezes_page(request: HttpRequest) -> HttpResponseBase:
    """One person is enough to freeze; who may not, or may not here, is told so by the command."""
    at, clients = timezone.now(), clients_of(user_of(request))
    file = ENDED.file(request, _ended(user_of(request), at))
    if file is not None:
        return file
    told = {name: request.GET[name] for name in ("account_uid", "group_id", "asset") if name in request.GET}
    form = FreezeForm(request.POST or None, clients=clients, initial=told)
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            row = freezes.place(
                what=asked["what"],
                reason=asked["reason"],
                ends_at=at + timedelta(hours=asked["hours"]),
                account_uid=asked["account_uid"],
                group_id=asked["group_id"],
                asset=asked["asset"],
                actor=actor_of(request),
                at=at,
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(
                request,
                tell(
                    "Frozen for {row} until {ends_at:%-d %b %Y, %H:%M} UTC.",
                    row=freezes.scope_of(row),
                    ends_at=row.ends_at,
                ),
            )
            return redirect("loans:desk_freezes")
    return _page(request, at, form=form)


@require_POST
@for_the_house
def lift(request: HttpRequest, freeze_id: int) -> HttpResponse:
    """Before its end a freeze is lifted by two persons; this is the first of them. R-ADM-03"""
    at = timezone.now()
    row = get_object_or_404(_seen_by(user_of(request)), pk=freeze_id)
    form = LiftForm(request.POST, auto_id=False)
    if form.is_valid():
        scope = freezes.scope_of(row)
        try:
            waiting = approvals.run_or_propose(
                command="risk.unfreeze",
                arguments={"freeze_id": row.pk},
                title=tell("Lift the freeze of {scope}: {what}", scope=scope, what=row.get_what_display()),
                preview={
                    "what": row.what,
                    "where": scope,
                    "reason": row.reason,
                    "ends": row.ends_at.isoformat(),
                },
                reason=form.cleaned_data["reason"],
                actor=actor_of(request),
                at=at,
                customer=_customer_of(row),
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            done = (
                tell("{waiting} waits for a second person.", waiting=waiting)
                if waiting
                else tell("The freeze is lifted.")
            )
            messages.success(request, done)
            return redirect("loans:desk_freezes")
    return _page(request, at, lift_form=form, lifting=row.pk)


def _page(
    request: HttpRequest,
    at: datetime,
    *,
    form: FreezeForm | None = None,
    lift_form: LiftForm | None = None,
    lifting: int | None = None,
) -> HttpResponse:
    user = user_of(request)
    live = list(_with_places(_seen_by(user)).exclude(_over(at)).order_by("ends_at", "pk"))
    listed = ENDED.shown(request, _ended(user, at))
    names = _names([*live, *listed.page.object_list])
    is_refused = (form is not None and bool(form.errors)) or (
        lift_form is not None and bool(lift_form.errors)
    )
    context = {
        "at": at,
        "live": [_row(row, names) for row in live],
        "ended": [_row(row, names) for row in listed.page.object_list],
        "list": listed,
        "form": form or FreezeForm(clients=clients_of(user)),
        "lift_form": lift_form or LiftForm(auto_id=False),
        "lifting": lifting,
        "may_lift": user.role in {User.Role.RISK_OFFICER, User.Role.ADMIN},
        "may_freeze": is_manager(user)
        or user.role in {User.Role.RISK_OFFICER, User.Role.OPS, User.Role.ADMIN},
    }
    return render(request, "loans/desk_freezes.html", context, status=REFUSED if is_refused else 200)


def _over(at: datetime) -> Q:
    return Q(lifted_at__isnull=False) | Q(ends_at__lte=at)


def _ended(user: User, at: datetime) -> "QuerySet[Freeze]":
    over = Coalesce("lifted_at", "ends_at")
    return _with_places(_seen_by(user)).filter(_over(at)).annotate(over=over)


def _with_places(rows: "QuerySet[Freeze]") -> "QuerySet[Freeze]":
    return rows.select_related("account__customer", "group__customer", "asset")


def _seen_by(user: User) -> "QuerySet[Freeze]":
    """The staff see all; a manager what holds their clients: theirs, and every coin's and general one."""
    if not is_manager(user):
        return Freeze.objects.all()
    mine = Q(account__customer__manager=user) | Q(group__customer__manager=user)
    return Freeze.objects.filter(mine | Q(account__isnull=True, group__isnull=True))


def _customer_of(row: Freeze) -> Any:
    place = row.account or row.group
    return None if place is None else place.customer


def _names(rows: list[Freeze]) -> dict[str, str]:
    """Who stands behind the actors' labels `user:7`; a job stands for itself."""
    labels = {label for row in rows for label in (row.placed_by, row.lifted_by)}
    numbers = [label.removeprefix("user:") for label in labels if label.startswith("user:")]
    return {f"user:{user.pk}": user.name for user in User.objects.filter(pk__in=numbers)}


def _row(row: Freeze, names: dict[str, str]) -> dict[str, Any]:
    return {
        "row": row,
        "scope": freezes.scope_of(row),
        "placed_by": names.get(row.placed_by, row.placed_by),
        "lifted_by": names.get(row.lifted_by, row.lifted_by),
        "customer": _customer_of(row),
    }
