"""A client's file in the browser: writing, keeping, downloading, and who may (R-ADM-02, R-FTR-16)."""

from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse

from accounts.models import User
from loans.models import ClientDocument, ClientNote
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of

pytestmark = pytest.mark.django_db
PDF = b"%PDF-1.7\n"


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def post(desk: Desk, *, by: User | None = None, **typed: Any) -> HttpResponse:
    sent = {"key": str(uuid4())} | typed
    with at(TEN):
        return client_of(by or desk.manager).post(f"/desk/clients/{desk.owner.pk}/file/", sent)


def upload(desk: Desk, content: bytes = PDF, name: str = "a.pdf", **typed: Any) -> HttpResponse:
    sent = {"what": "document", "title": "Accounts", "file": SimpleUploadedFile(name, content)} | typed
    return post(desk, **sent)


def test_a_note_is_written_and_shown_as_text(desk: Desk) -> None:
    """R-FTR-16: and pressing twice writes once."""
    typed = {"what": "note", "kind": "promise", "text": "<b>Pays</b> on Friday", "due_at": "2026-01-02T12:00"}
    key = str(uuid4())
    for _ in range(2):
        assert post(desk, **typed, key=key).status_code == 302
    row = ClientNote.objects.get()
    assert (row.kind, row.due_at) == ("promise", TEN.replace(day=2, hour=12))
    with at(TEN):
        client = client_of(desk.manager)
        for url in (f"/desk/clients/{desk.owner.pk}/file/", f"/desk/clients/{desk.owner.pk}/"):
            seen = client.get(url).content.decode()
            assert "&lt;b&gt;Pays&lt;/b&gt; on Friday" in seen
            assert "<b>Pays</b>" not in seen


def test_what_is_wrong_is_said_on_the_form_and_kept(desk: Desk) -> None:
    """R-FTR-16"""
    answer = post(desk, what="note", kind="task", text="Call them")
    assert answer.status_code == 422
    assert "Say by when" in answer.content.decode()
    assert "Call them" in answer.content.decode()
    assert post(desk, what="note", kind="note", text=" ").status_code == 422
    assert post(desk, what="note", kind="note", text="a\0b").status_code == 422
    assert not ClientNote.objects.exists()


def test_a_document_comes_back_byte_for_byte_as_a_file(desk: Desk) -> None:
    """R-ADM-02, R-FTR-16: never shown inside a page, whatever it is."""
    assert upload(desk, b"<script>alert(1)</script>", "page.html").status_code == 302
    row = ClientDocument.objects.get()
    with at(TEN):
        answer = client_of(desk.manager).get(f"/desk/documents/{row.pk}/")
    assert answer.content == b"<script>alert(1)</script>"
    assert answer["Content-Type"] == "text/plain"
    assert answer["Content-Disposition"] == 'attachment; filename="page.html.txt"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"MZ\x90\x00", "a.pdf", "no PDF, PNG"),
        (b"%PDF-" + bytes(5 * 1024 * 1024), "a.pdf", "at most 5,242,880 are kept"),
        (b"", "a.pdf", "The file is empty."),
    ],
)
def test_a_file_that_is_not_taken_says_why(desk: Desk, content: bytes, name: str, words: str) -> None:
    """R-FTR-16"""
    answer = upload(desk, content, name)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not ClientDocument.objects.exists()


def test_an_auditor_reads_and_does_not_write(desk: Desk) -> None:
    """R-ADM-01, R-FTR-16"""
    upload(desk)
    auditor, row = build.user("auditor"), ClientDocument.objects.get()
    with at(TEN):
        client = client_of(auditor)
        seen = client.get(f"/desk/clients/{desk.owner.pk}/file/").content.decode()
        assert client.get(f"/desk/documents/{row.pk}/").status_code == 200
    assert "You may read this file" in seen
    assert "Write it down" not in seen
    for answer in (
        post(desk, by=auditor, what="note", kind="note", text="Mine"),
        upload(desk, b"%PDF-2", by=auditor),
    ):
        assert answer.status_code == 422
        assert "Only these roles may write into a client" in answer.content.decode()
    assert (ClientNote.objects.count(), ClientDocument.objects.count()) == (0, 1)


@pytest.mark.parametrize("who", ["vip_manager", "borrower"])
def test_for_others_the_file_does_not_exist(desk: Desk, who: str) -> None:
    """R-ADM-01, R-FTR-16: another manager, and the client."""
    stranger = build.user(who)
    for user in (stranger, desk.applicant):
        assert post(desk, by=user, what="note", kind="note", text="Mine").status_code == 404
        assert upload(desk, by=user).status_code == 404
    assert not ClientNote.objects.exists()
    assert not ClientDocument.objects.exists()
