"""The fixed-rate market for a borrower: what is offered, and taking of it (R-VIP-26).

Two steps on one address, as with every action that moves money: the first shows the loan's terms, the second carries
the signature of what was shown. Nothing is kept in between.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import people
from accounts.commands import NeedsApproval
from accounts.errors import Refused
from accounts.models import Approval, Asset, Customer
from accounts.pages import firm_inbox
from accounts.pages.access import actor_of, for_customer, lacks, user_of
from accounts.pages.forms import (
    REFUSED,
    amount_field,
    is_confirmed,
    key_field,
    key_of,
    read_amount,
    refuse,
    signature,
)
from accounts.powers import Power
from accounts.templatetags import figures
from accounts.words import tell
from loans import supply
from loans.matching import LONGEST_TERM, MOST_ORDERS, Taking, total
from loans.models import Loan
from loans.pages import second_person
from loans.pages.apply_form import AGREEMENT, FIELDS, Choices, choices_of
from loans.supply import Standing
from loans.vip import market, papers
from loans.vip.moves import TermsRefused
from loans.vip.terms import Problem, Request, TermSheet

MOST_SHOWN: Final = 25  # offers of one coin and term, the cheapest; more of them are taken in a second loan
REPAY, GO_ON = "repay", "go_on"
OURS: Final = {"agreement_needed"}  # settled by the tick beside the button


class TakeForm(forms.Form):
    """An amount for each offer, empty for none; who receives and secures; and what happens at the expiry."""

    receiver = forms.TypedChoiceField(label=tell("Receiving account"), coerce=int)
    accounts = forms.TypedMultipleChoiceField(
        label=tell("Collateral accounts"),
        coerce=int,
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=tell(
            "Their Spot wallets secure the loan. Tick none when the receiver's group has"
            " its accounts already."
        ),
    )
    coins = forms.MultipleChoiceField(
        label=tell("Collateral coins"),
        widget=forms.CheckboxSelectMultiple,
        help_text=tell("Only these count."),
    )
    at_expiry = forms.ChoiceField(
        label=tell("At expiry"),
        choices=[(REPAY, tell("Repay it from Spot")), (GO_ON, tell("Go on at the flexible rate"))],
        widget=forms.RadioSelect,
        initial=REPAY,
        help_text=tell("You can change this until the loan expires."),
    )
    key = key_field()

    def __init__(self, *args: Any, choices: Choices, standings: list[Standing], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.standings = standings
        self.takings: tuple[Taking, ...] = ()
        for standing in standings:
            self.fields[_name(standing)] = amount_field(
                tell("Take of {order}", order=standing.order), required=False
            )
        self._offer("receiver", [(account.pk, str(account)) for account in choices.receivers])
        self._offer("accounts", [(a.pk, choices.secured_label(a)) for a in choices.secure])
        self._offer("coins", [(symbol, choices.coin_label(symbol)) for symbol in choices.collateral])

    def _offer(self, name: str, choices: list[tuple[Any, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    @property
    def rows(self) -> list[tuple[Standing, forms.BoundField]]:
        return [(standing, self[_name(standing)]) for standing in self.standings]

    def clean(self) -> None:
        found = []
        for standing in self.standings:
            name, order = _name(standing), standing.order
            if not self.cleaned_data.get(name):
                continue
            amount = read_amount(self, name, places=order.asset.places)
            if amount is not None:
                found.append(Taking(order.pk, order.annual_rate, amount))
        self.takings = tuple(found)
        if not found and not self.errors:
            self.add_error(None, tell("Say of at least one offer how much you take."))
        if len(found) > MOST_ORDERS:
            self.add_error(
                None,
                tell(
                    "Take of at most {most_orders} offers at once, not of {count}.",
                    most_orders=MOST_ORDERS,
                    count=len(found),
                ),
            )

    def asked(self, asset: Asset, days: int, *, customer: Customer, request: HttpRequest) -> Request:
        """The request as the market reads it; for a valid form."""
        told, user = self.cleaned_data, user_of(request)
        return market.request_for(
            self.takings,
            asset=asset.pk,
            term_days=days,
            customer_id=customer.pk,
            applicant_id=user.pk,
            asked_by=None,
            receiver_uid=told["receiver"],
            account_uids=tuple(told["accounts"]),
            coins=tuple(told["coins"]),
            contact=user.email,
            auto_repay=told["at_expiry"] == REPAY,
        )

    def add_problem(self, problem: Problem) -> None:
        place = FIELDS.get(problem.field)
        self.add_error(place if place in self.fields else None, problem.message)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One visit to the page of a coin and term."""

    request: HttpRequest
    customer: Customer
    asset: Asset
    days: int
    at: datetime


# --- Pages ------------------------------------------------------------------------------------------


@require_safe
@for_customer
def offers(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Everything on offer, by coin and term."""
    at = timezone.now()
    found = supply.standings(supply.on_offer(at=at).order_by("asset", "term_days", "annual_rate", "pk"))
    shown = [standing for standing in found if standing.available]
    return render(request, "loans/fixed_market.html", {"at": at, "standings": shown})


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def take(request: HttpRequest, customer: Customer, symbol: str, days: int) -> HttpResponse:
    """The offers of one coin and term, the cheapest first, and the form to take of them."""
    asset = get_object_or_404(Asset, pk=symbol, loanable=True)
    at = timezone.now()
    here = _Asked(request, customer, asset, days, at)
    days_asked = days if days <= LONGEST_TERM else 0
    standings = supply.standings(supply.on_offer(at=at, asset=symbol, term_days=days_asked)[:MOST_SHOWN])
    choices = choices_of(customer, user_of(request), at=at)
    if request.method != "POST":
        form = TakeForm(choices=choices, standings=standings, initial=choices.defaults({}))
        return _page(here, form)
    form = TakeForm(request.POST, choices=choices, standings=standings)
    if why_not := lacks(request, Power.APPLY):
        form.add_error(None, why_not)
    if not form.is_valid():
        return _page(here, form)
    asked = form.asked(asset, days, customer=customer, request=request)
    sheet = _checked(form, asked, at)
    if sheet is None or form.errors or not is_confirmed(request, form):
        return _page(here, form, sheet)
    made = _taken(here, form, sheet)
    if made is None:
        return _page(here, form, None if form.errors else sheet)
    if isinstance(made, Approval):
        return redirect("accounts:firm_proposal", made.pk)
    messages.success(
        request,
        tell("{made} is paid out: {amount}.", made=made, amount=figures.plain(made.amount, made.asset_id)),
    )
    return redirect("loans:loan", made.pk)


# --- Private ----------------------------------------------------------------------------------------


def _name(standing: Standing) -> str:
    return f"amount_{standing.order.pk}"


def _checked(form: TakeForm, asked: Request, at: datetime) -> TermSheet | None:
    """What it would cost and do; what stands in the way is on the form."""
    try:
        sheet = market.check(asked, form.takings, at=at)
    except Refused as refusal:
        refuse(form, refusal)
        return None
    for problem in sheet.without(OURS).problems:
        form.add_problem(problem)
    return sheet if sheet.effect is not None else None


def _taken(here: _Asked, form: TakeForm, sheet: TermSheet) -> Loan | Approval | None:
    """The agreement first, which stays accepted in any case; None with the reason on the form."""
    request, actor, key = here.request, actor_of(here.request), key_of(form)
    agreement = people.needs_agreement(customer=here.customer, at=here.at)
    if agreement is not None and request.POST.get(AGREEMENT) != agreement.version:
        form.add_error(
            None,
            tell(
                "Tick that you accept version {version} of the borrowing agreement.",
                version=agreement.version,
            ),
        )
        return None
    told: dict[str, Any] = {
        "request": sheet.request,
        "takings": form.takings,
        "accepted": request.POST.get("accepted", ""),
    }
    try:
        if agreement is not None:
            people.accept_agreement(
                customer_id=here.customer.pk,
                user_id=user_of(request).pk,
                version=agreement.version,
                actor=actor,
                at=here.at,
                key=f"{key}:agreement",
            )
        return market.take(**told, actor=actor, at=here.at, key=key)
    except NeedsApproval:
        return _proposed(here, form, sheet, told)
    except TermsRefused as refusal:
        for problem in refusal.problems:
            form.add_problem(problem)
    except Refused as refusal:
        refuse(form, refusal)
    return None


def _proposed(here: _Asked, form: TakeForm, sheet: TermSheet, told: dict[str, Any]) -> Approval | None:
    """Put it before the firm's second person, where it asks for two (R-ADM-09)."""
    amount = figures.plain(total(form.takings), here.asset)
    try:
        return firm_inbox.send(
            here.request,
            command="vip.take",
            arguments=told,
            title=tell(
                "Take {amount} for {days} days from the fixed-rate market", amount=amount, days=here.days
            ),
            facts=second_person.of_sheet(sheet),
            at=here.at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
    return None


def _page(here: _Asked, form: TakeForm, sheet: TermSheet | None = None) -> HttpResponse:
    agreement = people.needs_agreement(customer=here.customer, at=here.at)
    context: dict[str, Any] = {
        "at": here.at,
        "asset": here.asset,
        "days": here.days,
        "form": form,
        "choices_customer": here.customer,
        "papers": papers.note_for(here.customer, at=here.at),
        "agreement": agreement,
        "agreement_field": AGREEMENT,
        "sheet": None if form.errors else sheet,
    }
    if sheet is not None and not form.errors:
        context |= {"seen": signature(form), "line": sheet.accepted_lines[0]}
    return render(here.request, "loans/fixed_take.html", context, status=REFUSED if form.errors else 200)


def _market_now(asked: second_person.Arguments, at: datetime) -> dict[str, str]:
    """What a proposed taking would do now, for the colleague who decides it."""
    try:
        sheet = market.check(asked["request"], asked["takings"], at=at)
    except Refused as refusal:
        return {tell("Possible"): tell("no: {message}", message=refusal.message)}
    return second_person.of_now(sheet, accepted=asked.get("accepted", ""))


firm_inbox.effects["vip.take"] = _market_now
