"""A client's file on the desk: write a note, tick one off, keep a document and get it back (R-ADM-02, R-FTR-16)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import content_disposition_header, url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.errors import Refused
from accounts.models import Customer, User
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans import client_file
from loans.client_file import Action
from loans.models import ClientDocument, ClientNote
from loans.pages.client_forms import instant_field
from loans.pages.desk_access import clients_of, for_the_house

NOTES_PER_PAGE = 25
MOST_DOCUMENTS = 200


class NoteForm(forms.Form):
    kind = forms.ChoiceField(label=tell("What"), choices=ClientNote.Kind.choices)
    text = forms.CharField(
        label=tell("In words"),
        max_length=client_file.LONGEST_TEXT,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": tell("Write something; the next reader was not there.")},
    )
    due_at = instant_field(tell("By when (UTC); for a promise or a next action"))
    what = forms.CharField(widget=forms.HiddenInput(), initial="note")
    key = key_field()


class DocumentForm(forms.Form):
    title = forms.CharField(
        label=tell("Title"),
        max_length=client_file.LONGEST_TITLE,
        error_messages={"required": tell("Give it a title, such as “Board resolution”.")},
    )
    file = forms.FileField(
        label=tell("File"),
        help_text=tell("PDF, PNG, JPEG, text, CSV or XLSX without macros, at most 5 MB."),
        error_messages={"required": tell("Choose a file."), "empty": tell("The file is empty.")},
    )
    what = forms.CharField(widget=forms.HiddenInput(), initial="document")
    key = key_field()


class DoneForm(forms.Form):
    """The button beside an open action; `back` is the page it stands on."""

    back = forms.CharField(widget=forms.HiddenInput(), required=False, max_length=200)
    key = key_field()


@dataclass(frozen=True, slots=True)
class ActionRow:
    action: Action
    form: DoneForm


def with_forms(actions: Iterable[Action]) -> list[ActionRow]:
    return [ActionRow(action, DoneForm(auto_id=False)) for action in actions]


def may_write(user: User) -> bool:
    """Hides forms only; the commands refuse by themselves."""
    return user.is_active and user.role in client_file.WRITERS


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def file(request: HttpRequest, client_id: int) -> HttpResponse:
    """Notes and documents of a client, and the forms that add to them."""
    at, user = timezone.now(), user_of(request)
    customer = get_object_or_404(clients_of(user).select_related("manager"), pk=client_id)
    note, document = NoteForm(), DocumentForm()
    if request.method == "POST" and request.POST.get("what") == "document":
        document = DocumentForm(request.POST, request.FILES)
        if document.is_valid() and _kept(request, customer, document, at):
            return redirect("loans:client_file", customer.pk)
    elif request.method == "POST":
        note = NoteForm(request.POST)
        if note.is_valid() and _noted(request, customer, note, at):
            return redirect("loans:client_file", customer.pk)
    notes = ClientNote.objects.filter(customer=customer).select_related("written_by", "done_by")
    context: dict[str, Any] = {
        "client": customer,
        "at": at,
        "may_write": may_write(user),
        "actions": with_forms(client_file.actions([customer], at=at, most=NOTES_PER_PAGE)),
        "page": Paginator(notes.order_by("-at", "-pk"), NOTES_PER_PAGE).get_page(request.GET.get("page")),
        "documents": client_file.documents_of(customer)[:MOST_DOCUMENTS],
        "note": note,
        "document": document,
    }
    refused = request.method == "POST"
    return render(request, "loans/desk_file.html", context, status=REFUSED if refused else 200)


def _noted(request: HttpRequest, customer: Customer, form: NoteForm, at: datetime) -> bool:
    typed = form.cleaned_data
    try:
        client_file.note(
            customer_id=customer.pk,
            kind=typed["kind"],
            text=typed["text"],
            due_at=typed["due_at"],
            actor=actor_of(request),
            at=at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    messages.success(request, tell("Written down."))
    return True


def _kept(request: HttpRequest, customer: Customer, form: DocumentForm, at: datetime) -> bool:
    sent = form.cleaned_data["file"]
    assert isinstance(sent, UploadedFile)
    try:
        # One byte more than is kept is enough to see that it is too large.
        row = client_file.add_document(
            customer_id=customer.pk,
            title=form.cleaned_data["title"],
            file_name=sent.name or "",
            content=sent.read(client_file.LARGEST_FILE + 1),
            actor=actor_of(request),
            at=at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    messages.success(request, tell("“{row}” is in the file.", row=row.title))
    return True


@require_POST
@for_the_house
def done(request: HttpRequest, note_id: int) -> HttpResponse:
    """Tick off a promise or a next action, and go back to the page it was on."""
    rows = ClientNote.objects.filter(customer__in=clients_of(user_of(request)))
    row = get_object_or_404(rows, pk=note_id)
    form = DoneForm(request.POST)
    if form.is_valid():
        try:
            client_file.done(note_id=row.pk, actor=actor_of(request), at=timezone.now(), key=key_of(form))
        except Refused as refusal:
            messages.error(request, refusal.message)
        else:
            messages.success(request, tell("Ticked off."))
    else:
        messages.error(request, tell("The form was damaged on its way; press the button again."))
    back = request.POST.get("back", "")
    if back and url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return redirect(back)
    return redirect("loans:client_file", row.customer_id)


@require_safe
@for_the_house
def document(request: HttpRequest, document_id: int) -> HttpResponse:
    """The bytes as they were kept: always as a file to save, never shown inside a page."""
    rows = ClientDocument.objects.filter(customer__in=clients_of(user_of(request)))
    row = get_object_or_404(rows, pk=document_id)
    answer = HttpResponse(bytes(row.content), content_type=row.content_type)
    answer["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=row.file_name)
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'"
    answer["Cache-Control"] = "private, no-store"
    return answer
