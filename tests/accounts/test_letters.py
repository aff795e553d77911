"""Letters: the figures of the notice and one link, as text and as HTML, inert; and a demo's mailbox. R-GEN-65"""

import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from accounts import letters, notices, outbox
from accounts.models import Customer, Notice
from tests import build
from tests.build import NOON
from tests.loans.visit import client_of

pytestmark = pytest.mark.django_db
FACTS = {
    "ltv": "0.7812",
    "debt_usd": "781200.5",
    "collateral_usd": "1000000",
    "lines": {"initial": "0.72", "margin_call": "0.77", "liquidation": "0.91"},
    "prices": {"BTC": {"usd": "50000", "state": "fresh"}, "ETH": {"usd": "2500.5", "state": "stale"}},
    "to_initial": {
        "line": "0.72",
        "repay": {"USDT": "61200.5"},
        "add_usd": "85000.7",
        "add": {"BTC": "1.70001400"},
    },
}


class Page(HTMLParser):
    """What an e-mail program would draw: the tags and attributes, the text without them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def notice(
    title: str = "LTV is 78.12 %", body: str = "Repay or add.", owner: Customer | None = None
) -> Notice:
    return notices.send(
        customer=owner or build.customer(member=build.user()),
        event=f"call:{Notice.objects.count()}",
        kind="margin_call",
        title=title,
        body=body,
        facts=FACTS,
        at=NOON,
    )


def test_both_forms_tell_the_same_figures_and_lead_to_one_place(settings: Any) -> None:
    """R-GEN-65: LTV, debt, collateral, lines, prices and every single way out, in figures people can read."""
    settings.SITE_URL = "https://desk.example.com"
    row = notice()

    letter = letters.of_notice(row)

    page = Page(letter.html)
    for figures in (letter.text, page.text.replace("\xa0", " ")):
        for told in (
            "Repay or add.",
            "78.12 %",
            "781,200.50 USD",
            "1,000,000.00 USD",
            "77 %",
            "61,200.50 USDT",
            "1.700014 BTC",
            "BTC 50,000.00 USD",
            "ETH 2,500.50 USD (old then)",
        ):
            assert told in figures.replace("\u202f", " "), told
    link = f"https://desk.example.com{reverse('accounts:notice', args=[row.pk])}"
    assert re.findall(r"https?://\S+", letter.text) == [link]
    assert [attrs["href"] for tag, attrs in page.tags if tag == "a"] == [link]
    assert not {tag for tag, _ in page.tags} & {"img", "script", "link", "style", "iframe", "form"}
    assert not any("background" in (attrs.get("style") or "") for _, attrs in page.tags)
    assert "<" not in letter.text


@given(
    title=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80),
    body=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200),
)
def test_what_people_wrote_is_text_in_every_letter(title: str, body: str) -> None:
    """TRUST B-16: no markup, no second header, nothing lost."""
    owner = Customer(name=f"<b>{title}</b>"[:120])
    row = Notice(pk=7, customer=owner, kind="test", title=title, body=body, facts={}, at=NOON)

    letter = letters.of_notice(row)
    message = letter.to(["a@example.com"]).message()

    tags = {tag for tag, _ in Page(letter.html).tags}
    assert tags <= {"html", "head", "meta", "title", "body", "div", "p", "a", "br"}
    assert len(message.get_all("Subject")) == 1
    assert "\n" not in letter.subject
    assert set(body.split()) <= set(letter.text.split())


def test_a_formula_of_markup_and_a_header_in_a_name(settings: Any) -> None:
    row = notice(title="LTV\r\nBcc: x@example.com <script>", body='<img src=x onerror="x()"> & co')

    letter = letters.of_notice(row)

    assert letter.subject == "LTV Bcc: x@example.com <script>"
    assert letter.to(["a@example.com"]).message()["Bcc"] is None
    assert "&lt;img src=x" in letter.html
    assert '<img src=x onerror="x()"> & co' in letter.text


def test_a_letter_about_signing_in_has_the_same_frame(client: Client) -> None:
    """A password is asked for anew: both forms, the one link of the reset, nothing else to press."""
    user = build.user()
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)

    client.post(reverse("account_reset_password"), {"email": user.email})

    [sent] = mail.outbox
    assert isinstance(sent, mail.EmailMultiAlternatives)
    [(html, kind)] = [(one.content, one.mimetype) for one in sent.alternatives]
    assert kind == "text/html"
    links = [attrs["href"] or "" for tag, attrs in Page(str(html)).tags if tag == "a"]
    assert len(links) == 1
    assert links[0] in sent.body
    assert client.get(urlsplit(links[0]).path).status_code == 302


# --- A demo's mailbox ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.EMAIL_BACKEND, settings.EMAIL_FOLDER = "accounts.outbox.Folder", str(tmp_path / "mail")
    return tmp_path / "mail"


def test_letters_stay_in_a_folder_and_each_person_reads_their_own(folder: Path) -> None:
    """R-GEN-60, R-GEN-95: somebody else's looks like one that is not there."""
    mine, other = build.user(), build.user()
    row = notice(owner=build.customer(member=mine))
    assert notices.deliver_due(at=NOON)
    delivery = row.deliveries.get(channel="email")
    assert (delivery.status, delivery.answer[:19]) == ("sent", "accepted for 1 of 1")

    [kept] = outbox.addressed_to(mine.email.upper())
    assert (kept.subject, kept.to) == ("LTV is 78.12 %", (mine.email,))
    [path] = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    me, they = client_of(mine), client_of(other)
    assert "LTV is 78.12" in me.get(reverse("accounts:mail")).content.decode()
    page = me.get(reverse("accounts:letter", args=[kept.name])).content.decode()
    assert "Repay or add." in page
    assert reverse("accounts:notice", args=[row.pk]) in page
    raw = me.get(reverse("accounts:letter", args=[kept.name]), {"eml": "1"})
    assert (raw["Content-Type"], b"text/html" in raw.content) == ("message/rfc822", True)

    assert "LTV is 78.12" not in they.get(reverse("accounts:mail")).content.decode()
    assert they.get(reverse("accounts:letter", args=[kept.name])).status_code == 404
    assert Client().get(reverse("accounts:mail")).status_code == 302


@pytest.mark.parametrize("twin", ["\u017fusan@demo.example", "su\u017fan@demo.example"])
def test_a_letter_that_looks_alike_opens_nobody_elses_mail(folder: Path, twin: str) -> None:
    """R-GEN-95: such an address is a valid one of somebody else, and a password's link may be among the letters."""
    letters.of_text("Reset", "secret").to(["susan@demo.example"]).send()
    [kept] = outbox.addressed_to("Susan@demo.example")
    assert outbox.addressed_to(twin) == []
    assert outbox.read(kept.name, address=twin) is None


@pytest.mark.parametrize("name", ["..", "x.eml", "20260101T000000000000-aaaaaaaa.eml", "%2e%2e%2fenv"])
def test_nothing_but_a_letter_is_read_from_the_folder(folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / "x.eml").write_text("To: a@example.com\n\nsecret")
    assert client_of(build.user()).get(f"/mail/{name}/").status_code == 404


def test_without_a_folder_there_is_no_mailbox(settings: Any) -> None:
    settings.EMAIL_FOLDER = ""
    member = client_of(build.user())
    assert member.get("/mail/").status_code == 404
    assert member.get("/mail/20260101T000000000000-aaaaaaaa.eml/").status_code == 404
