"""The file on a client: who writes, what a note and a document may be, and that the content says what a file is."""

import hashlib
import zipfile
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from hypothesis import given
from hypothesis import strategies as st

from accounts.commands import Actor, NotYourRole
from accounts.models import AuditRecord
from accounts.people import NotYourClient
from loans import client_file
from loans.client_file import XLSX, BadDocument, BadNote, NotOpen, safe_name, type_of
from loans.models import ClientDocument, ClientNote
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

HOUR = timedelta(hours=1)
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
JPEG = b"\xff\xd8\xff\xe0" + bytes(8)


def workbook(*parts: str) -> bytes:
    kept = BytesIO()
    with zipfile.ZipFile(kept, "w") as file:
        for part in parts:
            file.writestr(part, "<x/>")
    return kept.getvalue()


BOOK = workbook("[Content_Types].xml", "xl/workbook.xml")


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def note(desk: Desk, kind: str = "note", text: str = "Spoke with the treasurer", **told: Any) -> ClientNote:
    told = {"actor": desk.decider, "at": TEN} | told
    return client_file.note(customer_id=desk.owner.pk, kind=kind, text=text, **told)


def add(desk: Desk, content: bytes = PDF, name: str = "resolution.pdf", **told: Any) -> ClientDocument:
    told = {"title": "Board resolution", "actor": desk.decider, "at": TEN} | told
    return client_file.add_document(customer_id=desk.owner.pk, file_name=name, content=content, **told)


# --- Notes ------------------------------------------------------------------------------------------------


def test_the_manager_and_staff_write_notes(desk: Desk) -> None:
    """R-ADM-02, R-FTR-16"""
    row = note(desk, "call", "  Asked for two more days.  ")
    assert (row.kind, row.text, row.at, row.written_by) == (
        "call",
        "Asked for two more days.",
        TEN,
        desk.manager,
    )
    for role in ("risk_officer", "ops", "finance", "admin"):
        note(desk, actor=Actor.user(build.user(role)))
    assert ClientNote.objects.count() == 5


@pytest.mark.parametrize("role", ["auditor", "borrower"])
def test_who_only_reads_writes_nothing(desk: Desk, role: str) -> None:
    """R-ADM-01, R-FTR-16: nor does the client, nor a job."""
    for actor in (Actor.user(build.user(role)), desk.borrower, Actor.job("test")):
        with pytest.raises(NotYourRole):
            note(desk, actor=actor)
        with pytest.raises(NotYourRole):
            add(desk, actor=actor)
    assert not ClientNote.objects.exists()
    assert not ClientDocument.objects.exists()


def test_another_manager_writes_nothing_about_this_client(desk: Desk) -> None:
    """R-ADM-01, R-FTR-16"""
    other, task = Actor.user(build.user("vip_manager")), note(desk, "task", due_at=TEN + HOUR)
    for act in (
        lambda: note(desk, actor=other),
        lambda: add(desk, actor=other),
        lambda: client_file.done(note_id=task.pk, actor=other, at=TEN),
    ):
        with pytest.raises(NotYourClient):
            act()
    task.refresh_from_db()
    assert (ClientNote.objects.count(), task.done_at, ClientDocument.objects.count()) == (1, None, 0)


BAD_NOTES = [
    ({"text": "   "}, "Write something"),
    ({"text": "x" * 4001}, "at most 4000"),
    ({"kind": "rumour"}, "is none of"),
    ({"kind": "promise"}, "Say by when"),
    ({"kind": "task", "due_at": TEN}, "is over"),
    ({"kind": "note", "due_at": TEN + HOUR}, "has no date"),
]


@pytest.mark.parametrize(("told", "words"), BAD_NOTES)
def test_a_note_that_means_nothing_is_refused(desk: Desk, told: dict[str, Any], words: str) -> None:
    """R-FTR-16"""
    with pytest.raises(BadNote, match=words):
        note(desk, **told)
    assert not ClientNote.objects.exists()


def test_a_promise_is_ticked_off_once(desk: Desk) -> None:
    """R-FTR-16: by whom and when; a mere note cannot be."""
    promise = note(desk, "promise", due_at=TEN + 2 * HOUR)
    officer = build.user("risk_officer", name="Olga")
    row = client_file.done(note_id=promise.pk, actor=Actor.user(officer), at=TEN + HOUR)
    assert (row.done_at, row.done_by) == (TEN + HOUR, officer)
    with pytest.raises(NotOpen, match="Olga ticked this off on 1 January 2026, 11:00 UTC"):
        client_file.done(note_id=promise.pk, actor=desk.decider, at=TEN + 2 * HOUR)
    with pytest.raises(NotOpen, match="A note is not something to be done"):
        client_file.done(note_id=note(desk).pk, actor=desk.decider, at=TEN)
    assert ClientNote.objects.get(pk=promise.pk).done_at == TEN + HOUR


def test_what_is_open_comes_by_date_and_the_overdue_is_marked(desk: Desk) -> None:
    """R-FTR-16"""
    late = note(desk, "task", "later", due_at=TEN + 5 * HOUR)
    soon = note(desk, "promise", "soon", due_at=TEN + HOUR)
    gone = note(desk, "task", "gone", due_at=TEN + HOUR)
    note(desk)
    client_file.done(note_id=gone.pk, actor=desk.decider, at=TEN)
    found = client_file.actions([desk.owner], at=TEN + HOUR, most=10)
    assert [(one.note, one.is_overdue) for one in found] == [(soon, True), (late, False)]


@pytest.mark.breaks_the_books
def test_the_text_of_a_note_never_changes(desk: Desk) -> None:
    """R-FTR-16: the application's own role may write only that it is done."""
    row = note(desk)
    with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute("UPDATE loans_clientnote SET text = 'never said' WHERE id = %s", [row.pk])


# --- Documents --------------------------------------------------------------------------------------------


def test_a_document_is_kept_by_its_digest(desk: Desk) -> None:
    """R-ADM-02, R-FTR-16: its bytes are in no audit record."""
    row = add(desk)
    assert (row.title, row.file_name, row.content_type) == (
        "Board resolution",
        "resolution.pdf",
        "application/pdf",
    )
    assert (row.size, row.sha256) == (len(PDF), hashlib.sha256(PDF).hexdigest())
    assert bytes(ClientDocument.objects.get().content) == PDF
    [kept] = AuditRecord.objects.filter(subject=f"loans_clientdocument:{row.pk}")
    assert kept.after is not None
    assert kept.after["sha256"] == row.sha256
    assert "content" not in kept.after


def test_the_same_bytes_are_kept_once_for_a_client(desk: Desk) -> None:
    """R-FTR-16: and again for another one."""
    add(desk)
    with pytest.raises(client_file.AlreadyKept, match="kept already as “Board resolution”"):
        add(desk, title="Once more")
    other = build.customer(manager=desk.manager)
    client_file.add_document(
        customer_id=other.pk, title="Theirs", file_name="a.pdf", content=PDF, actor=desk.decider, at=TEN
    )
    assert ClientDocument.objects.count() == 2


KINDS = [
    (PDF, "a.pdf", "application/pdf"),
    (PNG, "a.png", "image/png"),
    (JPEG, "a.jpg", "image/jpeg"),
    ("Grüße\r\n\tund Zahlen".encode(), "a.txt", "text/plain"),
    (b"day,LTV\n1,0.5\n", "a.CSV", "text/csv"),
    (BOOK, "a.xlsx", XLSX),
    (PDF, "a.txt", "application/pdf"),  # whatever it is called
    (b"<script>alert(1)</script>", "a.html", "text/plain"),  # text, given back as text
    (b"MZ\x90\x00", "a.pdf", None),
    (b"\x00\x01", "a.txt", None),
    (b"\xff\xfe", "a.txt", None),
    (b"PK\x03\x04 broken", "a.xlsx", None),
    (workbook("a.txt"), "a.xlsx", None),
    (workbook("[Content_Types].xml", "xl/workbook.xml", "xl/vbaProject.bin"), "a.xlsx", None),
]


@pytest.mark.parametrize(("content", "name", "expected"), KINDS)
def test_the_content_says_what_a_file_is(content: bytes, name: str, expected: str | None) -> None:
    """R-FTR-16: never its name."""
    assert type_of(content, file_name=name) == expected


@given(content=st.binary(max_size=300), start=st.sampled_from([b"", b"PK\x03\x04", b"%PDF-", BOOK[:40]]))
def test_no_bytes_upset_the_reader(content: bytes, start: bytes) -> None:
    """R-FTR-16"""
    assert type_of(start + content) in {None, *client_file.SUFFIXES}


@pytest.mark.parametrize(
    ("name", "content_type", "expected"),
    [
        ("resolution.pdf", "application/pdf", "resolution.pdf"),
        ("photo.JPEG", "image/jpeg", "photo.jpg"),
        ("../../etc/passwd", "text/plain", "passwd.txt"),
        ("C:\\files\\list.exe", "text/csv", "list.exe.csv"),
        ('a"\r\nSet-Cookie: x=1', "text/plain", "a___Set-Cookie_ x_1.txt"),
        ("", "application/pdf", "document.pdf"),
        ("...", "application/pdf", "document.pdf"),
        ("x" * 300 + ".png", "image/png", "x" * 116 + ".png"),
    ],
)
def test_a_name_is_no_path_and_has_the_ending_of_its_content(
    name: str, content_type: str, expected: str
) -> None:
    """R-FTR-16"""
    assert safe_name(name, content_type) == expected


BAD_DOCUMENTS = [
    ({"content": b""}, "empty"),
    ({"content": b"%PDF-" + bytes(client_file.LARGEST_FILE)}, "at most 5,242,880"),
    ({"content": b"MZ\x90\x00"}, "no PDF, PNG"),
    ({"title": "  "}, "title"),
    ({"title": "x" * 121}, "title"),
]


@pytest.mark.parametrize(("told", "words"), BAD_DOCUMENTS)
def test_a_file_that_is_not_kept(desk: Desk, told: dict[str, Any], words: str) -> None:
    """R-FTR-16"""
    with pytest.raises(BadDocument, match=words):
        add(desk, **told)
    assert not ClientDocument.objects.exists()


def test_documents_come_newest_first(desk: Desk) -> None:
    """R-FTR-16"""
    first, second = (add(desk, PDF + bytes([48 + n]), at=TEN + n * HOUR) for n in range(2))
    assert list(client_file.documents_of(desk.owner)) == [second, first]
