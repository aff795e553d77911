"""The frame of every page: signing in and out, the way around, error pages, and a strict content policy."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import User
from tests import build

PAGES = Path(settings.BASE_DIR) / "templates"
# Letters are no pages: mail programs know no style sheet, and no content policy is sent along (`mail/`).
TEMPLATES = sorted(path for path in PAGES.rglob("*.html") if path.parent != PAGES / "mail")
PASSWORD = "correct horse battery"


@pytest.fixture
def borrower(db: None) -> User:
    return build.user(name="Mia Halden", password=PASSWORD)


def sign_in(client: Client, user: User, password: str = PASSWORD) -> int:
    return client.post(reverse("account_login"), {"login": user.email, "password": password}).status_code


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
def test_templates_hold_no_inline_style_or_script(template: Path) -> None:
    """TRUST: the content policy allows nothing inline, so nothing inline may be written."""
    text = re.sub(r"{%.*?%}", "", template.read_text(encoding="utf-8"), flags=re.S)  # what Django takes out
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|hx-on", text)
    assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", text))


@pytest.mark.django_db
def test_sign_in_page_asks_with_labels(client: Client) -> None:
    page = client.get(reverse("account_login")).content.decode()
    assert re.search(r'<label for="id_login">\s*E-mail', page)
    assert re.search(r'<label for="id_password">\s*Password', page)
    assert "sign up" not in page.lower()


def test_signing_in_and_out(client: Client, borrower: User) -> None:
    assert sign_in(client, borrower) == 302
    assert client.session["_auth_user_id"] == str(borrower.pk)
    assert client.get(reverse("account_logout")).status_code == 200
    assert client.session["_auth_user_id"] == str(borrower.pk)
    assert client.post(reverse("account_logout")).status_code == 302
    assert "_auth_user_id" not in client.session


def test_a_wrong_password_says_so_and_signs_nobody_in(client: Client, borrower: User) -> None:
    answer = client.post(
        reverse("account_login"), {"login": borrower.email, "password": "wrong horse battery"}
    )
    assert "_auth_user_id" not in client.session
    assert 'role="alert"' in answer.content.decode()
    assert borrower.email in answer.content.decode()


@pytest.mark.parametrize("name", ["account_change_password", "mfa_index", "account_logout"])
def test_pages_about_my_sign_in_wear_the_frame(client: Client, borrower: User, name: str) -> None:
    client.force_login(borrower, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(reverse(name)).content.decode()
    assert "Mia Halden" in page
    assert '<main class="page"' in page
    assert f'action="{reverse("account_logout")}"' in page


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["account_reset_password", "account_reset_password_done"])
def test_a_stranger_reaches_the_password_reset(client: Client, name: str) -> None:
    assert client.get(reverse(name)).status_code == 200


def test_colours_follow_the_cookie_and_nothing_else_in_it(client: Client, db: None) -> None:
    client.cookies["theme"] = "dark"
    assert '<html lang="en" data-theme="dark">' in client.get(reverse("account_login")).content.decode()
    client.cookies["theme"] = '"><b>'
    assert '<html lang="en">' in client.get(reverse("account_login")).content.decode()


def test_colours_are_chosen_by_a_plain_form(client: Client, borrower: User) -> None:
    client.force_login(borrower, backend="allauth.account.auth_backends.AuthenticationBackend")
    here = reverse("account_change_password")
    choose = reverse("accounts:colours")
    assert f'action="{choose}"' in client.get(here).content.decode()
    answer = client.post(choose, {"theme": "dark", "next": here})
    assert (answer.status_code, answer["Location"]) == (302, here)
    page = client.get(here).content.decode()
    assert '<html lang="en" data-theme="dark">' in page
    assert 'value="dark" aria-pressed="true"' in page
    client.post(choose, {"theme": "", "next": here})
    assert '<html lang="en">' in client.get(here).content.decode()


def test_a_choice_of_colours_leads_nowhere_else_and_writes_nothing_else(client: Client, db: None) -> None:
    choose = reverse("accounts:colours")
    assert client.post(choose, {"theme": "light", "next": "https://evil.example/"})["Location"] == "/"
    assert client.cookies["theme"].value == "light"
    assert client.post(choose, {"theme": "pink", "next": "/"}).status_code == 400
    assert client.cookies["theme"].value == "light"
    assert client.get(choose).status_code == 405
    assert Client(enforce_csrf_checks=True).post(choose, {"theme": "dark"}).status_code == 403


@pytest.mark.parametrize(
    "name",
    ["400.html", "403.html", "403_csrf.html", "404.html", "405.html", "429.html", "500.html", "503.html"],
)
def test_error_pages_need_nothing(name: str) -> None:
    """No request, no database, no context: either may be what is missing."""
    page = render_to_string(name)
    assert "<h1" in page
    assert 'href="/"' in page


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/sapi/v1/account/status",
            {"code": -1002, "msg": "Use https: what you sent could be read on its way."},
        ),
        ("/api/v3/time", {"code": -1002, "msg": "Use https: what you sent could be read on its way."}),
        (
            "/api/v1/me",
            {"code": "https_only", "message": "Use https: what you sent could be read on its way."},
        ),
    ],
)
def test_a_program_is_told_to_use_https_and_not_sent_there(
    client: Client, settings: Settings, path: str, body: dict[str, object]
) -> None:
    """A redirect would let it go on sending its key in the clear (TRUST section 7)."""
    settings.SECURE_SSL_REDIRECT = True
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (403, body)
    assert client.get("/").status_code == 301
