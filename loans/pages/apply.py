"""Apply for a loan: the form, the check of terms, and the acceptance that sends it (R-VIP-10, 11, 16).

Three steps on one address. The typed values travel in the forms and are kept as this person's draft; the terms
are worked out anew at each step, so what is accepted is what would be granted now.
"""

from dataclasses import dataclass
from datetime import datetime
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
from accounts.pages import firm_inbox
from accounts.pages.access import actor_of, for_customer, lacks, user_of
from accounts.pages.forms import REFUSED, is_look, key_of, refuse
from accounts.powers import Power
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans import drafts, ratecards
from loans.models import Application, ApplicationDraft
from loans.pages import second_person
from loans.pages.apply_figures import Figures, figures_of, outlook_of
from loans.pages.apply_form import (
    AGREEMENT,
    ApplyForm,
    Choices,
    choices_of,
    draft_values,
    outline_of,
    rows_of,
    rows_of_draft,
    typed_values,
    with_coin,
)
from loans.pages.apply_group import barred_from
from loans.pages.bargain import WantedForm, wanted_from
from loans.vip import applications, papers, sheet_pdf, terms
from loans.vip.applications import TermsRefused
from loans.vip.terms import TermSheet
from risk.models import ProductCode

OURS: Final = {"agreement_needed"}  # settled by the tick beside the accept button


@dataclass(frozen=True, slots=True)
class SoFar:
    """A form that is still being filled in: what it comes to, what is still to be said, and what cannot be read."""

    figures: Figures
    missing: list[str]
    mistakes: list[str]


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def apply(request: HttpRequest, customer: Customer) -> HttpResponse:
    at, user = timezone.now(), user_of(request)
    product = ratecards.product_at(ProductCode.VIP, at=at)
    if request.POST.get("step") == "discard":
        drafts.discard(user=user, customer=customer)
        return redirect("loans:apply")
    choices = choices_of(customer, user, at=at)
    if request.method != "POST":
        return _opened(request, choices, most=product.max_coins, at=at)
    step = "look" if is_look(request) else request.POST.get("step", "check")
    rows = min(rows_of(request.POST, most=product.max_coins) + (step == "more"), product.max_coins)
    form = ApplyForm(request.POST, choices=choices, rows=rows, most=product.max_coins)
    drafts.keep(user=user, customer=customer, typed=draft_values(form, request.POST), at=at)
    if step in {"more", "edit", "look"}:
        return _looked(request, form, choices, at, judges=step == "look")
    form.forget_falls()
    if why_not := lacks(request, Power.APPLY):
        form.add_error(None, why_not)
    if not form.is_valid():
        return _form_page(request, form, choices, at=at)
    if step in {"accept", "negotiate"}:
        return _answer(request, customer, form, choices, at, satisfied=step == "accept")
    return _check(request, customer, form, choices, at)


# --- Steps ------------------------------------------------------------------------------------------------


def _opened(request: HttpRequest, choices: Choices, *, most: int, at: datetime) -> HttpResponse:
    """Where it was left, on whichever device that was; else the likeliest request."""
    draft = drafts.draft_of(user=choices.user, customer=choices.customer)
    told = choices.defaults(request.GET)
    if draft is not None:
        asked = told["asset_1"] if told["asset_1"] in choices.loanable else ""
        told = with_coin(draft.typed, asked, most=most)
    else:
        barred = barred_from(choices, receiver=told["receiver"], at=at)
        told["accounts"] = [uid for uid in told["accounts"] if uid not in barred]
    rows = rows_of_draft(told, most=most)
    form = ApplyForm(outline_of(told), choices=choices, rows=rows, most=most)
    return _looked(request, form, choices, at, judges=False, initial=told, draft=draft)


def _looked(
    request: HttpRequest,
    form: ApplyForm,
    choices: Choices,
    at: datetime,
    *,
    judges: bool,
    initial: dict[str, Any] | None = None,
    draft: ApplicationDraft | None = None,
) -> HttpResponse:
    """The form with what it comes to so far. It `judges` what is filled in; what is not yet is no mistake."""
    form.is_valid()
    missing, mistakes = form.forgive(), form.typed_errors
    figures = figures_of(form, choices, at=at)
    if judges:
        for problem in figures.problems:
            form.add_problem(problem)
        so_far = SoFar(figures, missing, mistakes)
        return _form_page(request, form, choices, at=at, so_far=so_far)
    blank = ApplyForm(
        choices=choices, rows=form.rows, most=form.most, initial=initial or typed_values(request.POST)
    )
    so_far = SoFar(
        figures, missing, mistakes if initial else []
    )  # who asks for another row is not judged yet
    return _form_page(request, blank, choices, at=at, so_far=so_far, draft=draft)


def _check(
    request: HttpRequest, customer: Customer, form: ApplyForm, choices: Choices, at: datetime
) -> HttpResponse:
    asked = form.asked(customer_id=customer.pk, applicant_id=user_of(request).pk)
    sheet = terms.check(asked, at=at)
    for problem in sheet.without(OURS).problems:
        form.add_problem(problem)
    if form.errors:
        return _form_page(request, form, choices, at=sheet.at)
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
        form.add_error(
            None,
            tell(
                "Tick that you accept version {version} of the borrowing agreement.",
                version=agreement.version,
            ),
        )
        return _sheet_page(request, form, choices, sheet, want=want)
    if want is not None and not want.is_valid():
        return _sheet_page(request, form, choices, sheet, want=want)
    try:
        made = _sent(request, customer, form, sheet, want, at)
    except TermsRefused as refusal:
        for problem in refusal.problems:
            form.add_problem(problem)
        return _form_page(request, form, choices, at=sheet.at)
    except Refused as refusal:
        refuse(form, refusal)
        return _sheet_page(request, form, choices, terms.check(asked, at=at), want=want)
    drafts.discard(user=user_of(request), customer=customer)
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
        coins = joined(", ", (figures.plain(line.amount, line.asset) for line in sheet.accepted_lines))
        return firm_inbox.send(
            request,
            command="vip.submit" if want is None else "vip.negotiate",
            arguments=told,
            title=tell("Borrow {coins}", coins=coins)
            if want is None
            else tell("Ask for {coins} on other terms", coins=coins),
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
        return tell("{row} is approved and paid out.", row=row)
    if row.status == Application.Status.NEGOTIATING:
        return tell(
            "{row} is with your VIP manager: they accept your terms or answer with an offer.", row=row
        )
    return tell("{row} is sent to your VIP manager. You will be told when it is decided.", row=row)


# --- Pages ------------------------------------------------------------------------------------------------


def _form_page(
    request: HttpRequest,
    form: ApplyForm,
    choices: Choices,
    *,
    at: datetime,
    so_far: SoFar | None = None,
    draft: ApplicationDraft | None = None,
) -> HttpResponse:
    """`so_far` is None once the whole form was judged: then what is wrong stands at the fields."""
    is_refused = so_far is None and bool(form.errors)
    context = {
        "form": form,
        "choices": choices,
        "figures": so_far.figures if so_far else figures_of(form, choices, at=at),
        "missing": so_far.missing if so_far else [],
        "mistakes": so_far.mistakes if so_far else [],
        "draft": draft,
        "is_kept": request.method == "POST",
        "is_refused": is_refused,
        "terms": ratecards.FIXED_TERMS,
        "papers": papers.note_for(choices.customer, at=at),
    }
    template = "loans/_apply_form.html" if request.headers.get("HX-Request") else "loans/apply.html"
    return render(request, template, context, status=REFUSED if is_refused else 200)


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
        return _form_page(request, form, choices, at=sheet.at)
    context = {
        "form": form,
        "choices": choices,
        "sheet": sheet,
        "outlook": outlook_of(sheet, choices),
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
        return tell(
            "Accept {named} at {annual_rate}",
            named=named[0],
            annual_rate=figures.rate(sheet.accepted_lines[0].annual_rate),
        )
    return tell("Accept {named} and {named2}", named=joined(", ", named[:-1]), named2=named[-1])
