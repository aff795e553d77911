"""The manager's queue of enquiries: take what is nobody's, answer what is one's own (R-VIP-17)."""

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.errors import Refused
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans import enquiries
from loans.enquiries import LONGEST_ANSWER
from loans.models import Enquiry
from loans.pages.desk_access import for_manager

PER_PAGE = 25


class AnswerForm(forms.Form):
    text = forms.CharField(
        label=tell("Your answer; the client reads this"),
        max_length=LONGEST_ANSWER,
        widget=forms.Textarea(attrs={"rows": 5}),
        error_messages={"required": tell("Write an answer; the client will read it.")},
    )
    key = key_field()


@require_safe
@for_manager
def index(request: HttpRequest) -> HttpResponse:
    """Those that wait, oldest first; then the answered."""
    rows = enquiries.queue_of_user(user_of(request).pk).select_related("customer__manager", "asked_by")
    waiting = rows.filter(status=Enquiry.Status.OPEN).order_by("asked_at", "pk")
    done = rows.exclude(status=Enquiry.Status.OPEN).order_by(F("handled_at").desc(nulls_last=True), "-pk")
    page = Paginator(done, PER_PAGE).get_page(request.GET.get("page"))
    context = {"waiting": waiting[:100], "page": page, "at": timezone.now()}
    return render(request, "loans/desk_enquiries.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_manager
def detail(request: HttpRequest, enquiry_id: int) -> HttpResponse:
    row = _enquiry(request, enquiry_id)
    form = AnswerForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            enquiries.answer(
                enquiry_id=row.pk,
                text=form.cleaned_data["text"],
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(
                request,
                tell("{row} is answered; {customer} has been told.", row=row, customer=row.customer.name),
            )
            return redirect("loans:desk_enquiries")
    context = {
        "enquiry": row,
        "form": form,
        "is_mine": row.customer.manager_id == user_of(request).pk,
        "at": timezone.now(),
    }
    return render(request, "loans/desk_enquiry.html", context, status=REFUSED if form.errors else 200)


@require_POST
@for_manager
def take(request: HttpRequest, enquiry_id: int) -> HttpResponse:
    row = _enquiry(request, enquiry_id)
    try:
        enquiries.take(enquiry_id=row.pk, actor=actor_of(request), at=timezone.now())
    except Refused as refusal:
        messages.error(request, refusal.message)
        return redirect("loans:desk_enquiries")
    messages.success(
        request, tell("{row} is yours, and so is {customer}.", row=row, customer=row.customer.name)
    )
    return redirect("loans:desk_enquiry", row.pk)


def _enquiry(request: HttpRequest, enquiry_id: int) -> Enquiry:
    mine = Q(pk__in=enquiries.queue_of_user(user_of(request).pk))
    rows = Enquiry.objects.filter(mine).select_related("customer__manager", "asked_by", "account", "manager")
    return get_object_or_404(rows, pk=enquiry_id)
