"""The insurance fund on the desk: what is set aside per coin, and finance's proposals to change it (R-GEN-78)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Approval, Asset, JournalEntry, LedgerAccount, Transfer
from accounts.money import ZERO
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, LongSelect, amount_field, key_field, key_of, read_amount, refuse
from accounts.templatetags import figures
from accounts.words import tell
from loans.pages.desk_access import for_the_house
from risk import insurance

NEWEST = 20
COMMANDS = {"fund": "insurance.fund", "draw_back": "insurance.draw_back"}


@dataclass(frozen=True, slots=True)
class Movement:
    """One change of the fund, signed, in its coin."""

    entry: JournalEntry
    said: str
    amount: Decimal
    asset: Asset


class FundForm(forms.Form):
    way = forms.ChoiceField(
        label=tell("What"),
        choices=[("fund", tell("Set aside")), ("draw_back", tell("Draw back"))],
        widget=forms.RadioSelect,
        initial="fund",
    )
    asset = forms.ModelChoiceField(
        label=tell("Coin"),
        queryset=Asset.objects.filter(loanable=True).order_by("pk"),
        empty_label=tell("Choose a coin"),
        widget=LongSelect,
    )
    amount = amount_field()
    reason = forms.CharField(label=tell("Why"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def fund(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    if not user.is_staff:
        raise Http404  # a manager's clients are theirs; the fund is the house's
    changes = user.role in insurance.FINANCE
    form = FundForm(request.POST or None)
    if request.method == "POST":
        if not changes:
            raise PermissionDenied(tell("Finance changes the fund."))
        said = _change(request, form, timezone.now())
        if said:
            messages.success(request, said)
            return redirect("loans:insurance")
    held = insurance.balances()
    capital = {
        row.asset_id: row.balance
        for row in LedgerAccount.objects.house(LedgerAccount.Kind.CAPITAL).select_related("asset")
    }
    assets = Asset.objects.in_bulk([*held, *capital])
    rows = [(assets[coin], held.get(coin, ZERO), capital.get(coin, ZERO)) for coin in sorted(assets)]
    context = {
        "rows": [row for row in rows if row[1]],
        "empty": [row for row in rows if not row[1]],
        "form": form,
        "changes": changes,
        "movements": _movements(),
        "proposals": Approval.objects.filter(status=Approval.Status.PENDING, command__in=COMMANDS.values()),
    }
    return render(request, "loans/desk_insurance.html", context, status=REFUSED if form.errors else 200)


def _movements() -> list[Movement]:
    """The newest changes of the fund: what was set aside from capital, drawn back, or settled of a residual debt."""
    kind = LedgerAccount.Kind.INSURANCE
    rows = Transfer.objects.filter(Q(debit__kind=kind) | Q(credit__kind=kind)).order_by("-pk")
    rows = rows.select_related("entry", "debit__asset", "credit__asset", "debit", "credit")
    found = []
    for row in rows[:NEWEST]:
        is_up = row.credit.kind == kind
        said = tell("Set aside") if is_up else tell("Drawn back")
        if row.entry.kind != "insurance":
            said = tell("Settled what a liquidation left owing")
        found.append(Movement(row.entry, said, row.amount if is_up else -row.amount, row.debit.asset))
    return found


def _change(request: HttpRequest, form: FundForm, at: datetime) -> str:
    """What is said when it is done or proposed; empty when the form has to be shown again."""
    if not form.is_valid():
        return ""
    asset, way = form.cleaned_data["asset"], form.cleaned_data["way"]
    amount = read_amount(form, "amount", places=asset.places)
    if amount is None:
        return ""
    now = insurance.balances().get(asset.pk, ZERO)
    after = now + amount if way == "fund" else now - amount
    shown = figures.plain(amount, asset)
    try:
        approval = approvals.run_or_propose(
            command=COMMANDS[way],
            arguments={"asset": asset.pk, "amount": amount},
            title=tell(
                "{which} {shown}: insurance fund",
                which=tell("Set aside") if way == "fund" else tell("Draw back"),
                shown=shown,
            ),
            preview={
                tell("Fund now"): figures.plain(now, asset),
                tell("Fund after"): figures.plain(after, asset),
            },
            reason=form.cleaned_data["reason"],
            actor=actor_of(request),
            at=at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return ""
    done = tell(
        "{shown} was {which}.", shown=shown, which=tell("set aside") if way == "fund" else tell("drawn back")
    )
    return (
        tell("{approval} is proposed; it happens when another person releases it.", approval=approval)
        if approval
        else done
    )
