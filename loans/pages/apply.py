"""Apply for a loan: the form, the check of terms, and the acceptance that sends it (R-VIP-10, 11, 16).

Three steps on one address. Nothing is kept between them: the typed values travel in the forms, and the terms
are worked out anew at each step, so what is accepted is what would be granted now.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import people
from accounts.commands import NeedsApproval
from accounts.errors import Refused
from accounts.models import Approval, Asset, Customer
from accounts.money import ZERO, exact
from accounts.pages import firm_inbox
from accounts.pages.access import actor_of, for_customer, lacks, user_of
from accounts.pages.forms import REFUSED, key_of, refuse
from accounts.powers import Power
from accounts.templatetags import figures
from loans import ratecards
from loans.models import Application
from loans.pages import second_person
from loans.pages.apply_form import AGREEMENT, ApplyForm, Choices, choices_of, rows_of, typed_values
from loans.pages.bargain import WantedForm, wanted_from
from loans.vip import applications, papers, sheet_pdf, terms
from loans.vip.applications import TermsRefused
from loans.vip.terms import TermSheet
from risk import book, valuation
from risk.levels import Band, band
from risk.models import ProductCode
from risk.pages.standing import next_price_of
from risk.pages.track import NextPrice, Track, track

OURS: Final = {"agreement_needed"}  # settled by the tick beside the accept button


@dataclass(frozen=True, slots=True)
class LinePrice:
    """Where the price of the coin that moves first takes LTV to one of the lines."""

    name: str
    ltv: Decimal
    price: Decimal | None
    move: Decimal | None
    effect: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """The group after the loan, drawn. `next_price` is what would call it."""

    band: Band
    track: Track
    next_price: NextPrice | None
    lines: tuple[LinePrice, ...]
    room: Decimal


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def apply(request: HttpRequest, customer: Customer) -> HttpResponse:
    at = timezone.now()
    product = ratecards.product_at(ProductCode.VIP, at=at)
    choices = choices_of(customer, user_of(request), at=at)
    if request.method != "POST":
        form = ApplyForm(
            choices=choices, rows=1, most=product.max_coins, initial=choices.defaults(request.GET)
        )
        return _form_page(request, form, choices)
    step, rows = request.POST.get("step", "check"), rows_of(request.POST, most=product.max_coins)
    if step in {"more", "edit"}:
        rows = min(rows + 1, product.max_coins) if step == "more" else rows
        form = ApplyForm(
            choices=choices, rows=rows, most=product.max_coins, initial=typed_values(request.POST)
        )
        return _form_page(request, form, choices)
    form = ApplyForm(request.POST, choices=choices, rows=rows, most=product.max_coins)
    if why_not := lacks(request, Power.APPLY):
        form.add_error(None, why_not)
    if not form.is_valid():
        return _form_page(request, form, choices)
    if step in {"accept", "negotiate"}:
        return _answer(request, customer, form, choices, at, satisfied=step == "accept")
    return _check(request, customer, form, choices, at)


# --- Steps ------------------------------------------------------------------------------------------------


def _check(
    request: HttpRequest, customer: Customer, form: ApplyForm, choices: Choices, at: datetime
) -> HttpResponse:
    asked = form.asked(customer_id=customer.pk, applicant_id=user_of(request).pk)
    sheet = terms.check(asked, at=at)
    for problem in sheet.without(OURS).problems:
        form.add_problem(problem)
    if form.errors:
        return _form_page(request, form, choices, sheet=sheet)
    return _sheet_page(request, form, choices, sheet)


def _answer(
    request: HttpRequest,
    customer: Customer,
    form: ApplyForm,
    choices: Choices,
    at: datetime,
    *,
    satisfied: bool,
) -> HttpResponse:
    """Accept the terms, or say what is wanted instead; the agreement first, which stays accepted in any case."""
    asked = form.asked(customer_id=customer.pk, applicant_id=user_of(request).pk)
    sheet = terms.check(asked, at=at)
    want = None if satisfied else _want(request, sheet)
    agreement = people.needs_agreement(customer=customer, at=at)
    if agreement is not None and request.POST.get(AGREEMENT) != agreement.version:
        form.add_error(None, f"Tick that you accept version {agreement.version} of the borrowing agreement.")
        return _sheet_page(request, form, choices, sheet, want=want)
    if want is not None and not want.is_valid():
        return _sheet_page(request, form, choices, sheet, want=want)
    try:
        made = _sent(request, customer, form, sheet, want, at)
    except TermsRefused as refusal:
        for problem in refusal.problems:
            form.add_problem(problem)
        return _form_page(request, form, choices, sheet=sheet)
    except Refused as refusal:
        refuse(form, refusal)
        return _sheet_page(request, form, choices, terms.check(asked, at=at), want=want)
    if isinstance(made, Approval):
        return redirect("accounts:firm_proposal", made.pk)
    messages.success(request, _said(made))
    return redirect("loans:request", made.pk)


def _sent(
    request: HttpRequest,
    customer: Customer,
    form: ApplyForm,
    sheet: TermSheet,
    want: WantedForm | None,
    at: datetime,
) -> Application | Approval:
    """Send it; or put it before the firm's second person, where it asks for two (R-ADM-09)."""
    actor, key = actor_of(request), key_of(form)
    agreement = people.needs_agreement(customer=customer, at=at)
    if agreement is not None:
        people.accept_agreement(
            customer_id=customer.pk,
            user_id=user_of(request).pk,
            version=agreement.version,
            actor=actor,
            at=at,
            key=f"{key}:agreement",
        )
    told: dict[str, Any] = {"request": sheet.request, "accepted": request.POST.get("accepted", "")}
    facts = {} if want is None else second_person.of_wanted(want.wanted(), rate_type=sheet.request.rate_type)
    try:
        if want is None:
            return applications.submit(**told, actor=actor, at=at, key=key)
        told |= {"wanted": want.wanted(), "message": want.message_text}
        return applications.negotiate(**told, actor=actor, at=at, key=key)
    except NeedsApproval:
        coins = ", ".join(figures.plain(line.amount, line.asset) for line in sheet.accepted_lines)
        return firm_inbox.send(
            request,
            command="vip.submit" if want is None else "vip.negotiate",
            arguments=told,
            title=f"Borrow {coins}" if want is None else f"Ask for {coins} on other terms",
            facts=second_person.of_sheet(sheet) | facts,
            at=at,
            key=key,
        )


def _want(request: HttpRequest, sheet: TermSheet) -> WantedForm | None:
    """What was typed as wanted; None when there are no terms to want something else than."""
    if sheet.effect is None:
        return None
    return WantedForm(request.POST, base=wanted_from(sheet), rate_type=sheet.request.rate_type)


def _said(row: Application) -> str:
    if row.status == Application.Status.DISBURSED:
        return f"{row} is approved and paid out."
    if row.status == Application.Status.NEGOTIATING:
        return f"{row} is with your VIP manager: they accept your terms or answer with an offer."
    return f"{row} is sent to your VIP manager. You will be told when it is decided."


# --- Pages ------------------------------------------------------------------------------------------------


def _form_page(
    request: HttpRequest, form: ApplyForm, choices: Choices, *, sheet: TermSheet | None = None
) -> HttpResponse:
    context = {
        "form": form,
        "choices": choices,
        "sheet": sheet,
        "outlook": _outlook(sheet) if sheet else None,
        "papers": papers.note_for(choices.customer, at=sheet.at if sheet else timezone.now()),
    }
    template = "loans/_apply_form.html" if request.headers.get("HX-Request") else "loans/apply.html"
    return render(request, template, context, status=REFUSED if form.errors else 200)


def _sheet_page(
    request: HttpRequest,
    form: ApplyForm,
    choices: Choices,
    sheet: TermSheet,
    *,
    want: WantedForm | None = None,
) -> HttpResponse:
    """The terms to accept or to answer. When they no longer hold, back to the form with the reasons."""
    blocking = sheet.without(OURS).problems
    if blocking:
        for problem in blocking:
            form.add_problem(problem)
        return _form_page(request, form, choices, sheet=sheet)
    context = {
        "form": form,
        "choices": choices,
        "sheet": sheet,
        "outlook": _outlook(sheet),
        "assets": Asset.objects.in_bulk([line.asset for line in sheet.lines]),
        "agreement_field": AGREEMENT,
        "accept": _accept_words(sheet),
        "papers": papers.note_for(choices.customer, at=sheet.at),
        "fee_base": sheet_pdf.FEE_BASES[sheet.handling.fee_base],
        "process": list(sheet_pdf.process_of(terms.handling_told(sheet.handling))),
        "want": want or WantedForm(base=wanted_from(sheet), rate_type=sheet.request.rate_type),
        "is_unsatisfied": want is not None,
    }
    refused = bool(form.errors) or (want is not None and bool(want.errors))
    template = "loans/_sheet.html" if request.headers.get("HX-Request") else "loans/sheet.html"
    return render(request, template, context, status=REFUSED if refused else 200)


def _accept_words(sheet: TermSheet) -> str:
    named = [figures.plain(line.amount, line.asset) for line in sheet.accepted_lines]
    if len(named) == 1:
        return f"Accept {named[0]} at {figures.rate(sheet.accepted_lines[0].annual_rate)}"
    return f"Accept {', '.join(named[:-1])} and {named[-1]}"


@exact
def _outlook(sheet: TermSheet) -> Outlook | None:
    """What the group would look like after the loan, on the lines it would have."""
    effect, asked = sheet.effect, sheet.request
    if effect is None:
        return None
    customer = Customer.objects.get(pk=asked.customer_id)
    accounts = customer.accounts.in_bulk([asked.receiver_uid, *asked.account_uids])
    state = book.prospect(
        customer=customer,
        product=ProductCode.VIP,
        receiver=accounts[asked.receiver_uid],
        accounts=[accounts[uid] for uid in asked.account_uids if uid in accounts],
        coins=asked.coins,
        borrowed={line.asset: line.amount for line in sheet.accepted_lines},
        at=sheet.at,
    )
    state = replace(state, lines=effect.lines)
    lines, after = effect.lines, effect.after
    next_price = next_price_of(state, lines.margin_call)
    before = effect.now.ltv if effect.now.debt else None
    drawn = (
        track(before, lines, after=after.ltv)
        if before is not None and after.ltv is not None
        else track(after.ltv, lines, next_price=next_price)
    )
    room = max(lines.initial * after.collateral - after.debt, ZERO)
    return Outlook(band(after, lines), drawn, next_price, _line_prices(state, next_price), room)


def _line_prices(state: book.GroupState, next_price: NextPrice | None) -> tuple[LinePrice, ...]:
    if next_price is None:
        return ()
    lines = state.lines
    named = (
        ("WATCH", lines.initial, "No withdrawals, no new loans"),
        ("CALL", lines.margin_call, "Margin call; only moves that lower LTV"),
        ("LIQ", lines.liquidation, "Collateral is sold, with a fee"),
        ("", lines.cutoff, "Above it, sold at once"),
    )
    holdings, owed = state.holdings(permission=False), state.owed()
    found = []
    for name, line, effect in named:
        price = valuation.line_price(holdings=holdings, debts=owed, asset=next_price.asset, line=line)
        move = None if price is None else price / next_price.today - 1
        found.append(LinePrice(name, line, price, move, effect))
    return tuple(found)
