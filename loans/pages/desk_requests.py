"""One request on the manager's desk: what was asked and accepted, what it would do now, and the decision."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import approvals
from accounts.commands import needs_release, registered
from accounts.errors import Refused
from accounts.models import Approval
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans import authority, limits
from loans.models import Application, Loan, SignedSheet
from loans.pages.bargain import AnswerForm, DeskWantedForm, standing_terms, talks_of
from loans.pages.desk_access import for_manager
from loans.pages.desk_calculator import calculator_of
from loans.pages.desk_rows import history_of
from loans.pages.desk_waiting import accepted_lines, before_and_after
from loans.pages.requests import left_out_of
from loans.vip import origination, stakes
from loans.vip.moves import UNDECIDED
from loans.vip.terms import TermSheet
from risk.levels import band


class ApproveForm(forms.Form):
    """Which coins are paid out on which sheet. With one coin there is nothing to choose."""

    sheet = forms.CharField(max_length=64, widget=forms.HiddenInput())
    coins = forms.MultipleChoiceField(
        label=tell("Pay out"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": tell("Choose at least one coin, or reject the request.")},
    )
    note = forms.CharField(
        label=tell("Why a coin is left out; the client reads this"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    why = forms.CharField(
        label=tell("For the second person: why to approve it"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    key = key_field()

    def __init__(self, *args: Any, application: Application, **kwargs: Any) -> None:
        self.asked = [(line.asset_id, str(line)) for line in application.lines.order_by("asset_id")]
        first = {
            "sheet": application.accepted.sha256 if application.accepted else "",
            "coins": [symbol for symbol, _ in self.asked],
        }
        super().__init__(*args, **({"initial": first} | kwargs))
        field = self.fields["coins"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = self.asked
        if len(self.asked) == 1:
            field.widget = forms.MultipleHiddenInput()

    def arguments(self, application: Application) -> dict[str, Any]:
        """What a valid form asks `vip.approve` for."""
        told = self.cleaned_data
        chosen = tuple(sorted(told["coins"]))
        return {
            "application_id": application.pk,
            "sheet_sha256": told["sheet"],
            "coins": None if len(chosen) == len(self.asked) else chosen,
            "note": told["note"],
        }


class RejectForm(forms.Form):
    reason = forms.CharField(
        label=tell("Why it is rejected; the client reads this"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": tell("Say why the request is rejected; the client will read it.")},
    )
    key = key_field()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold for an approval; `messages` say what does not."""

    label: str
    holds: str
    messages: tuple[str, ...] = ()


@require_safe
@for_manager
def detail(request: HttpRequest, request_id: int) -> HttpResponse:
    return page_of(request, application_of(request, request_id), at=timezone.now())


@require_http_methods(["GET", "HEAD", "POST"])
@for_manager
def approve(request: HttpRequest, request_id: int) -> HttpResponse:
    application, at = application_of(request, request_id), timezone.now()
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("loans:desk_request", request_id=application.pk)
    form = ApproveForm(request.POST, application=application)
    if form.is_valid():
        try:
            proposal = approvals.run_or_propose(
                command="vip.approve",
                arguments=form.arguments(application),
                title=tell(
                    "Approve {application} of {customer}",
                    application=application,
                    customer=application.customer.name,
                ),
                preview=_preview(application, at=at),
                reason=form.cleaned_data["why"],
                actor=actor_of(request),
                at=at,
                customer=application.customer,
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, _done(application, proposal))
            return redirect("loans:desk_request", request_id=application.pk)
    return page_of(request, application_of(request, request_id), at=at, approval=form)


@require_http_methods(["GET", "HEAD", "POST"])
@for_manager
def reject(request: HttpRequest, request_id: int) -> HttpResponse:
    application, at = application_of(request, request_id), timezone.now()
    if request.method != "POST":  # the address of a form that was shown again, opened anew
        return redirect("loans:desk_request", request_id=application.pk)
    form = RejectForm(request.POST)
    if form.is_valid():
        reason, key = form.cleaned_data["reason"], key_of(form)
        try:
            origination.reject(
                application_id=application.pk, actor=actor_of(request), at=at, reason=reason, key=key
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(
                request,
                tell("{application} is rejected; the client has been told why.", application=application),
            )
            return redirect("loans:desk_request", request_id=application.pk)
    return page_of(request, application_of(request, request_id), at=at, rejection=form)


def application_of(request: HttpRequest, request_id: int) -> Application:
    related = ("customer__manager", "receiver", "applicant", "decided_by", "manager", "accepted")
    rows = Application.objects.visible_to(user_of(request)).select_related(*related)
    return get_object_or_404(rows, pk=request_id)


def _done(application: Application, proposal: Approval | None) -> str:
    if proposal is None:
        loans = Loan.objects.filter(line__application=application).select_related("asset").order_by("pk")
        amounts = joined(" + ", (figures.plain(loan.amount, loan.asset) for loan in loans))
        return tell(
            "{application} is approved: {amounts} paid out.", application=application, amounts=amounts
        )
    return tell(
        "{proposal} proposes to approve {application}; it is paid out when another person releases it.",
        proposal=proposal,
        application=application,
    )


def _preview(application: Application, *, at: datetime) -> dict[str, Any]:
    """What the second person is shown: the sheet, and what paying out would do to the group."""
    sheet = origination.review(application, at=at)
    effect, shown = sheet.effect, application.accepted
    return {
        "request": str(application),
        "sheet": shown.sha256 if shown else "",
        "coins": [
            tell("{amount:f} {asset}", amount=line.amount, asset=line.asset) for line in sheet.accepted_lines
        ],
        "worth_usd": f"{sheet.value:.2f}",
        "ltv_now": figures.ltv(effect.now.ltv) if effect else "",
        "ltv_after": figures.ltv(effect.after.ltv) if effect else "",
    }


def page_of(
    request: HttpRequest,
    application: Application,
    *,
    at: datetime,
    approval: ApproveForm | None = None,
    rejection: RejectForm | None = None,
    answer: AnswerForm | None = None,
    want: DeskWantedForm | None = None,
) -> HttpResponse:
    """The page of one request; with the form that was refused, when one was."""
    lines = list(application.lines.select_related("asset").order_by("asset_id"))
    room = talks_of(application, at=at)
    is_live = _is_live(application, at)
    may_offer = is_live and application.status != Application.Status.OFFERED
    tried = calculator_of(request, application, room.last, at=at) if is_live and room.last else None
    if may_offer and want is None and tried is not None:
        want = DeskWantedForm(base=tried.wanted, rate_type=application.rate_type)
    context: dict[str, Any] = {
        "application": application,
        "client": application.customer,
        "lines": lines,
        "amounts": joined(" + ", (figures.plain(line.amount, line.asset) for line in lines)),
        "collateral_accounts": application.collateral_accounts.order_by("pk"),
        "collateral_coins": application.collateral_coins.order_by("pk"),
        "history": tried.look.history if tried else history_of(application.customer),
        "accepted": accepted_lines(application),
        "shown_ltv": Decimal(application.terms["ltv_after"]),
        "at": at,
        "approval": approval or ApproveForm(application=application),
        "rejection": rejection or RejectForm(),
        "answer": answer or AnswerForm(initial={"version": room.last.version if room.last else None}),
        "want": want if may_offer else None,
        "talks": room if len(room.versions) > 1 else None,
        "to_accept": room.open_offer if room.is_desks_move else None,
        "is_live": is_live,
        "calculator": tried,
        "look": tried.look if tried else None,
        "left_out": left_out_of(application),
        "own_authority": authority.authority_of(user_of(request), at=at),
        "sheets": SignedSheet.objects.filter(offer__application=application).defer("pdf", "body"),
        **standing_terms(application),
    }
    if application.status == Application.Status.SUBMITTED and context["is_live"]:
        context |= _look(application, at)
        context |= _second(request, "vip.approve", {"application_id": application.pk}, at)
    elif context["to_accept"] is not None:
        asked = {"application_id": application.pk, "version": context["to_accept"].version}
        context |= _second(request, "vip.accept_counter", asked, at)
    loans = Loan.objects.filter(line__application=application).select_related("asset", "group", "debt")
    context["loans"] = loans.order_by("pk")
    refused = any(form is not None and form.errors for form in (approval, rejection, answer, want))
    return render(request, "loans/desk_request.html", context, status=REFUSED if refused else 200)


STAKES = {"vip.approve": stakes.of_approval, "vip.accept_counter": stakes.of_counter}


def _second(request: HttpRequest, command: str, arguments: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Whether somebody else has to release it, and in what it goes beyond the manager's own authority. R-ADM-10"""
    asked = arguments | {"at": at, "actor": actor_of(request)}
    return {
        "needs_second": needs_release(registered[command], asked, at=at),
        "beyond": authority.beyond_maker(asked, STAKES[command]),
    }


def _is_live(application: Application, at: datetime) -> bool:
    return application.status in UNDECIDED and (application.expires_at is None or application.expires_at > at)


def _look(application: Application, at: datetime) -> dict[str, Any]:
    """What approving would do now: the very check that `approve` makes again under the locks."""
    sheet = origination.review(application, at=at)
    found: dict[str, Any] = {"sheet": sheet, "checks": checks(sheet), "waits": at - application.submitted_at}
    effect = sheet.effect
    if effect is not None:
        found |= {
            "effect": effect,
            "track": before_and_after(effect.now, effect.after, effect.lines),
            "band": band(effect.now, effect.current_lines or effect.lines),
            "band_after": band(effect.after, effect.lines),
            "room": effect.lines.initial * effect.before.collateral - effect.before.debt,
            "room_after": effect.lines.initial * effect.after.collateral - effect.after.debt,
        }
        if effect.now.ltv is not None and effect.after.ltv is not None:
            found["rise"] = effect.after.ltv - effect.now.ltv
    return found


# --- Checks in plain words ----------------------------------------------------------------------------


def _ltv(sheet: TermSheet) -> str:
    return tell("no collateral or no prices") if sheet.effect is None else figures.ltv(sheet.effect.after.ltv)


def _fresh(sheet: TermSheet) -> str:
    coins = {line.asset: line.price is not None for line in sheet.lines}
    coins |= {coin.asset: coin.is_fresh for coin in (sheet.effect.coins if sheet.effect else ())}
    return tell("{values} of {count}", values=sum(coins.values()), count=len(coins))


def _pool(sheet: TermSheet) -> str:
    return joined(
        ", ",
        (tell("{lendable} free", lendable=figures.plain(line.lendable, line.asset)) for line in sheet.lines),
    )


CHECKS: list[tuple[str, frozenset[str], Callable[[TermSheet], str]]] = [
    (tell("LTV afterwards"), frozenset({"ltv_too_high", "no_coins", "not_collateral"}), _ltv),
    (tell("Lines as accepted"), frozenset({"lines_changed"}), lambda _: tell("unchanged")),
    (tell("Prices fresh"), frozenset({"stale_price"}), _fresh),
    (
        tell("Amounts within limits"),
        limits.CODES | {"no_rate", "too_many_coins"},
        lambda _: tell("yes"),
    ),
    (tell("Pool"), frozenset({"pool_empty"}), _pool),
    (
        tell("May borrow"),
        frozenset({"vip_only", "residual_debt", "not_a_member", "master_only", "frozen"}),
        lambda _: tell("yes"),
    ),
    (tell("Agreement"), frozenset({"agreement_needed", "never_agreed"}), lambda sheet: _agreement(sheet)),
    (
        tell("Identity and sanctions"),
        frozenset({"not_screened", "screening_refused"}),
        lambda _: tell("clear"),
    ),
]
"""Which problems belong to which check, and what is said when there are none."""


def _agreement(sheet: TermSheet) -> str:
    if sheet.agreement is not None:  # published after the request, which does not undo it
        return tell("version {version} not yet accepted", version=sheet.agreement.version)
    return (
        tell("version {agreement_version} accepted", agreement_version=sheet.agreement_version)
        if sheet.agreement_version
        else tell("none in force")
    )


def checks(sheet: TermSheet) -> list[Check]:
    """Everything an approval looks at. What no named check covers is about the accounts."""
    known = frozenset().union(*(codes for _, codes, _ in CHECKS))
    found = [
        Check(label, holds(sheet), tuple(p.message for p in sheet.problems if p.code in codes))
        for label, codes, holds in CHECKS
    ]
    rest = tuple(problem.message for problem in sheet.problems if problem.code not in known)
    return [*found, Check(tell("Accounts"), tell("free and allowed"), rest)]
