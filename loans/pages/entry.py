"""One entry of the books as its borrower sees it: what it did to their wallets and their debts, row by row.

An entry may touch other people too, such as a midnight that charges every loan; of those nothing is shown. R-GEN-95
"""

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts.models import Customer, JournalEntry, Transfer
from accounts.pages.access import for_customer
from risk.models import DebtEntry


@require_safe
@for_customer
def entry(request: HttpRequest, customer: Customer, entry_id: int) -> HttpResponse:
    row = get_object_or_404(JournalEntry, pk=entry_id)
    # A wallet is what the desk owes its owner: what is debited leaves it, what is credited comes in.
    mine = Q(debit__account__customer=customer) | Q(credit__account__customer=customer)
    lines = Transfer.objects.filter(mine, entry=row).select_related(
        "debit__asset", "debit__account__customer", "credit__account__customer"
    )
    debts = DebtEntry.objects.filter(entry=row, debt__customer=customer)
    context = {
        "entry": row,
        "lines": list(lines.order_by("pk")),
        "debt_entries": list(debts.select_related("debt__asset", "debt__loan").order_by("pk")),
        "mine": customer,
    }
    if not (context["lines"] or context["debt_entries"]):
        raise Http404
    return render(request, "loans/entry.html", context)
