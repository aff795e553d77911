"""Undoing one journal entry from the desk: what its mirror would do, and the proposal of it (R-ADM-11)."""

from collections.abc import Iterator

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import approvals
from accounts.errors import Refused
from accounts.models import JournalEntry
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_of, refuse
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans.pages.desk_books import ReasonForm, for_books
from risk import corrections, insurance
from risk.models import DebtEntry


@require_http_methods(["GET", "HEAD", "POST"])
@for_books
def reverse(request: HttpRequest, entry_id: int) -> HttpResponse:
    """Finance proposes; another person releases it on the proposal's page."""
    if user_of(request).role not in insurance.FINANCE:
        raise PermissionDenied(tell("Finance corrects the books."))
    row, at = get_object_or_404(JournalEntry, pk=entry_id), timezone.now()
    form = ReasonForm(request.POST or None)
    if form.is_valid():
        try:
            approval = approvals.run_or_propose(
                command="corrections.reverse",
                arguments={"entry_id": row.pk},
                title=tell(
                    "Reverse J-{row}: {kind}, {reference}",
                    row=row.pk,
                    kind=row.kind_words,
                    reference=row.reference,
                ),
                preview=dict(_effects(row)),
                reason=form.cleaned_data["reason"],
                actor=actor_of(request),
                at=at,
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            done = tell("J-{row} is reversed.", row=row.pk)
            said = (
                tell("{approval} is proposed; it happens when another person releases it.", approval=approval)
                if approval
                else done
            )
            messages.success(request, said)
            return redirect("loans:ledger_entry", row.pk)
    context = {
        "entry": row,
        "effects": list(_effects(row)),
        "why_not": corrections.why_not(row, at=at),
        "form": form,
    }
    return render(request, "loans/desk_reverse.html", context, status=REFUSED if form.errors else 200)


def _effects(row: JournalEntry) -> Iterator[tuple[str, str]]:
    """By how much the mirror would change each account and each debt."""
    for account, delta in corrections.deltas(corrections.mirrored(row)).items():
        owner = tell(", {customer}", customer=account.account.customer.name) if account.account else ""
        yield f"{account.code}{owner}", f"{'+' if delta > 0 else ''}{figures.plain(delta, account.asset_id)}"
    for entry in (
        DebtEntry.objects.filter(entry=row).select_related("debt__asset", "debt__customer").order_by("pk")
    ):
        parts = (
            ("principal", entry.principal),
            ("interest", entry.interest),
            (tell("late fee"), entry.late_fee),
        )
        moved = joined(
            ", ", (tell("{delta:+,f} {name}", delta=-delta, name=name) for name, delta in parts if delta)
        )
        yield (
            tell("{debt} of {customer}", debt=entry.debt, customer=entry.debt.customer.name),
            tell("{moved} {asset}", moved=moved, asset=entry.debt.asset_id),
        )
