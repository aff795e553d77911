"""Pages that tell what went wrong: in the reader's language, with the number the logs and the audit trail have."""

import logging
import re
from typing import Any

import pytest
import structlog
from django.db import OperationalError, connections
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.commands import Actor, acting, request_id
from accounts.models import AuditRecord, User
from config import errors
from tests import build

NUMBER = re.compile(r"web:[0-9a-f]{32}")


@pytest.fixture
def stranger() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that fails, logging as it does."""

    def fail(self: object, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        logging.getLogger("desk").warning("about to fail")
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr("allauth.account.views.LoginView.dispatch", fail)


def logged(caplog: pytest.LogCaptureFixture, number: str) -> list[str]:
    return [
        record.message for record in caplog.records if getattr(record, "bound", {}).get("request") == number
    ]


@pytest.fixture
def bound(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the formatter of the logs would add to each line."""

    def remember(record: logging.LogRecord) -> bool:
        record.bound = structlog.contextvars.get_contextvars()
        return True

    caplog.handler.addFilter(remember)
    return caplog


@pytest.mark.django_db
def test_a_fault_shows_the_number_that_its_log_lines_have(
    stranger: Client, breaks: None, bound: pytest.LogCaptureFixture
) -> None:
    answer = stranger.get(reverse("account_login"))
    number = answer["X-Request-ID"]
    assert answer.status_code == 500
    assert NUMBER.fullmatch(number)
    assert number in answer.content.decode()
    assert "about to fail" in logged(bound, number)
    assert "Internal Server Error: /accounts/login/" in logged(bound, number)
    assert request_id.get() == ""  # nothing stays behind for the next request of this thread
    assert "request" not in structlog.contextvars.get_contextvars()


@pytest.mark.django_db
def test_djangos_own_line_about_a_missing_page_has_the_number(
    stranger: Client, bound: pytest.LogCaptureFixture
) -> None:
    number = stranger.get("/nothing/")["X-Request-ID"]
    assert logged(bound, number) == ["Not Found: /nothing/"]
    assert "request" not in structlog.contextvars.get_contextvars()


@pytest.mark.django_db
def test_a_number_sent_along_is_not_ours(stranger: Client) -> None:
    first = stranger.get("/nothing/", headers={"X-Request-ID": "web:" + "0" * 32})
    second = stranger.get("/nothing/")
    assert NUMBER.fullmatch(first["X-Request-ID"])
    assert len({first["X-Request-ID"], second["X-Request-ID"], "web:" + "0" * 32}) == 3


@pytest.mark.django_db
def test_what_a_page_writes_down_has_the_number_of_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    user = build.user(name="Mia Halden")

    def rename(request: HttpRequest) -> HttpResponse:
        with acting(Actor.user(user)):
            User.objects.filter(pk=user.pk).update(name="Mia Holm")
        return HttpResponse("done")

    answer = errors.Numbered(rename)(HttpRequest())
    structlog.contextvars.clear_contextvars()  # as the end of a request does
    latest = AuditRecord.objects.latest("pk")
    assert latest.subject == f"accounts_user:{user.pk}"
    assert latest.request == answer.headers["X-Request-ID"]


@pytest.mark.django_db
def test_without_the_database_the_page_says_to_come_back(
    stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: object, *args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as away:
        away.setattr("allauth.account.views.LoginView.dispatch", gone)
        away.setattr("django.db.backends.utils.CursorWrapper.execute", gone)
        away.setattr(connections["default"], "is_usable", lambda: False)
        answer = stranger.get(reverse("account_login"))
    assert answer.status_code == 503
    assert answer["Retry-After"] == "30"
    assert "cannot reach its books" in answer.content.decode()
    assert answer["X-Request-ID"] in answer.content.decode()


@pytest.mark.django_db
def test_an_error_is_told_in_the_readers_language(stranger: Client, breaks: None) -> None:
    swedish = {"Accept-Language": "sv"}
    for path, status in ((reverse("account_login"), 500), ("/nothing/", 404), ("/x%00y/", 400)):
        answer = stranger.get(path, headers=swedish)
        assert answer.status_code == status
        assert '<html lang="sv">' in answer.content.decode(), path


@pytest.mark.django_db
def test_an_address_that_only_takes_forms_says_so() -> None:
    user = build.user(name="Mia Halden")
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    answer = client.get(reverse("accounts:test_notice"))
    assert answer.status_code == 405
    assert answer["Allow"] == "POST"
    assert "only takes what a form sends" in answer.content.decode()


@pytest.mark.django_db
def test_a_form_without_its_token_is_refused_with_a_way_back() -> None:
    answer = Client(enforce_csrf_checks=True).post(reverse("account_login"), {"login": "a@b.example"})
    assert answer.status_code == 403
    assert "This form is too old to be sent" in answer.content.decode()
    assert answer["X-Request-ID"] in answer.content.decode()
