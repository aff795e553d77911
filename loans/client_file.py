"""The file on a client: notes, contacts, promises, next actions and documents (R-ADM-02, R-FTR-16).

For the desk alone; a borrower never sees it. The text of a note and the bytes of a document never change: what
ends is a task, and a document is followed by another one. A document's type is read off its content, never
believed from its name, and it is given back as a file only, never shown inside a page.
"""

import hashlib
import re
import struct
import zipfile
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts.commands import Actor, acting_user, command
from accounts.errors import Refused
from accounts.models import Customer, User
from accounts.people import refuse_others_client
from accounts.words import joined, tell
from loans.models import ClientDocument, ClientNote

Kind = ClientNote.Kind
WRITERS: Final = frozenset(
    {User.Role.VIP_MANAGER, User.Role.RISK_OFFICER, User.Role.OPS, User.Role.FINANCE, User.Role.ADMIN}
)
DATED: Final = frozenset({Kind.PROMISE, Kind.TASK})  # these wait until somebody says that they are done
LONGEST_TEXT: Final = 4000  # characters; the width of the column
LONGEST_TITLE: Final = 120
LONGEST_NAME: Final = 120
LARGEST_FILE: Final = 5 * 1024 * 1024  # bytes
MOST_PARTS: Final = 5000  # of a workbook; one with more is no workbook

XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SUFFIXES: Final = {
    "application/pdf": "pdf",
    "image/png": "png",
    "image/jpeg": "jpg",
    "text/plain": "txt",
    "text/csv": "csv",
    XLSX: "xlsx",
}
_SIGNATURES: Final = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


class BadNote(Refused):
    code = "bad_note"


class NotOpen(Refused):
    """There is nothing to tick off: a mere note, or done already."""

    code = "note_not_open"


class BadDocument(Refused):
    """Too large, empty, untitled, or of a kind that the file does not take."""

    code = "bad_document"


class AlreadyKept(Refused):
    code = "document_already_kept"


# --- Notes --------------------------------------------------------------------------------------------


@command("client.note", returns=ClientNote)
def note(
    *,
    customer_id: int,
    kind: str,
    text: str,
    actor: Actor,
    at: datetime,
    due_at: datetime | None = None,
    key: str = "",
    reason: str = "",
) -> ClientNote:
    """Write down a note, a contact, a promise or a next action; the last two with a date to come. R-FTR-16

    Raises:
        NotYourRole: an auditor, a borrower or a job.
        people.NotYourClient: a VIP manager, but not this client's.
        BadNote: no text or too much, an unknown kind, or a date where none belongs, or in the past.
    """
    writer = acting_user(actor, roles=WRITERS, doing=tell("write into a client's file"))
    customer = Customer.objects.select_related("manager").get(pk=customer_id)
    refuse_others_client(customer=customer, actor=actor)
    if kind not in Kind.values:
        raise BadNote(tell("{kind!r} is none of: {values}.", kind=kind, values=joined(", ", Kind.values)))
    if not 1 <= len(text.strip()) <= LONGEST_TEXT:
        raise BadNote(
            tell("Write something, in at most {longest_text} characters.", longest_text=LONGEST_TEXT)
        )
    _check_date(Kind(kind), due_at, at=at)
    return ClientNote.objects.create(
        customer=customer, kind=kind, text=text.strip(), due_at=due_at, at=at, written_by=writer
    )


@command("client.done", returns=ClientNote)
def done(*, note_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> ClientNote:
    """A promise was kept, or a next action taken. R-FTR-16

    Raises:
        NotYourRole, people.NotYourClient: as `note`.
        NotOpen: it is no promise or task, or it is done.
    """
    doer = acting_user(actor, roles=WRITERS, doing=tell("write into a client's file"))
    rows = ClientNote.objects.select_for_update(of=("self",), no_key=True)
    row = rows.select_related("customer__manager", "done_by").get(pk=note_id)
    refuse_others_client(customer=row.customer, actor=actor)
    if row.kind not in DATED:
        raise NotOpen(tell("A {kind} is not something to be done.", kind=row.get_kind_display().lower()))
    if row.done_at is not None and row.done_by is not None:
        raise NotOpen(
            tell(
                "{done_by} ticked this off on {done_at:%-d %B %Y, %H:%M} UTC.",
                done_by=row.done_by.name,
                done_at=row.done_at,
            )
        )
    row.done_at, row.done_by = at, doer
    row.save(update_fields=["done_at", "done_by"])
    return row


def open_actions(clients: "QuerySet[Customer] | list[Customer]") -> "QuerySet[ClientNote]":
    """Promises and tasks about these clients that nobody has ticked off, the nearest date first. R-FTR-16"""
    rows = ClientNote.objects.filter(customer__in=clients, kind__in=DATED, done_at__isnull=True)
    return rows.select_related("customer", "written_by").order_by("due_at", "pk")


def _check_date(kind: ClientNote.Kind, due_at: datetime | None, *, at: datetime) -> None:
    if kind not in DATED:
        if due_at is not None:
            raise BadNote(
                tell("A {kind} has no date; make it a promise or a next action.", kind=kind.label.lower())
            )
        return
    if due_at is None:
        raise BadNote(tell("Say by when: a {kind} has a date.", kind=kind.label.lower()))
    if due_at <= at:
        raise BadNote(tell("{due_at:%-d %B %Y, %H:%M} UTC is over; give a time to come.", due_at=due_at))


# --- Documents ----------------------------------------------------------------------------------------


@command("client.add_document", returns=ClientDocument)
def add_document(
    *,
    customer_id: int,
    title: str,
    file_name: str,
    content: bytes,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> ClientDocument:
    """Keep a file about a client: PDF, PNG, JPEG, text, CSV or XLSX, up to 5 MB. R-ADM-02, R-FTR-16

    Raises:
        NotYourRole, people.NotYourClient: as `note`.
        BadDocument: no title, empty, too large, or its content is none of these.
        AlreadyKept: the very same bytes are in this client's file.
    """
    writer = acting_user(actor, roles=WRITERS, doing=tell("write into a client's file"))
    customer = Customer.objects.select_related("manager").get(pk=customer_id)
    refuse_others_client(customer=customer, actor=actor)
    if not 1 <= len(title.strip()) <= LONGEST_TITLE:
        raise BadDocument(
            tell(
                "Give the document a title of at most {longest_title} characters.",
                longest_title=LONGEST_TITLE,
            )
        )
    if not content:
        raise BadDocument(tell("The file is empty."))
    if len(content) > LARGEST_FILE:
        raise BadDocument(
            tell(
                "The file has {count:,} bytes; at most {largest_file:,} are kept.",
                count=len(content),
                largest_file=LARGEST_FILE,
            )
        )
    content_type = type_of(content, file_name=file_name)
    if content_type is None:
        raise BadDocument(
            tell("The file's content is no PDF, PNG, JPEG, plain text, CSV or XLSX without macros.")
        )
    row = ClientDocument(
        customer=customer,
        title=title.strip(),
        file_name=safe_name(file_name, content_type),
        content_type=content_type,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content=content,
        at=at,
        uploaded_by=writer,
    )
    _keep(row)
    return row


def type_of(content: bytes, *, file_name: str = "") -> str | None:
    """The media type that the bytes themselves show; None is none that is kept.

    The name only tells CSV from other text: both are inert.
    """
    for start, content_type in _SIGNATURES:
        if content.startswith(start):
            return content_type
    if content.startswith(b"PK\x03\x04"):
        return XLSX if _is_workbook(content) else None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if _NO_TEXT.search(text):
        return None
    return "text/csv" if file_name.lower().endswith(".csv") else "text/plain"


def safe_name(file_name: str, content_type: str) -> str:
    """A name that is no path and no trick, with the ending that belongs to the content."""
    stem = re.split(r"[/\\]", file_name)[-1]
    stem = re.sub(r"[^\w .()+-]", "_", stem).strip(" .") or "document"
    suffix = SUFFIXES[content_type]
    endings = {suffix, "jpeg"} if suffix == "jpg" else {suffix}
    base, _, ending = stem.rpartition(".")
    if base and ending.lower() in endings:
        stem = base
    return f"{stem[: LONGEST_NAME - len(suffix) - 1]}.{suffix}"


def _is_workbook(content: bytes) -> bool:
    """Reads the list of parts only and unpacks nothing, so a bomb stays packed."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as parts:
            names = set(parts.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return False
    has_macros = any(name.lower().endswith("vbaproject.bin") for name in names)
    return {"[Content_Types].xml", "xl/workbook.xml"} <= names and not has_macros and len(names) <= MOST_PARTS


def _keep(row: ClientDocument) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        same = (
            ClientDocument.objects.filter(customer=row.customer, sha256=row.sha256).defer("content").first()
        )
        if same is None:
            raise
        raise AlreadyKept(
            tell(
                "This file is kept already as “{same}”, since {at:%-d %B %Y, %H:%M} UTC.",
                same=same.title,
                at=same.at,
            )
        ) from error


def documents_of(customer: Customer) -> "QuerySet[ClientDocument]":
    """Newest first, without their bytes."""
    rows = ClientDocument.objects.filter(customer=customer).defer("content").select_related("uploaded_by")
    return rows.order_by("-at", "-pk")


@dataclass(frozen=True, slots=True)
class Action:
    """An open promise or task as a list shows it."""

    note: ClientNote
    is_overdue: bool


def actions(clients: "QuerySet[Customer] | list[Customer]", *, at: datetime, most: int) -> list[Action]:
    """The first `most` open ones; the overdue are the first of all, since the nearest date comes first."""
    rows = open_actions(clients)[:most]
    return [Action(row, row.due_at is not None and row.due_at <= at) for row in rows]
