"""Words: English is the record, a page says them in its reader's language, and no number changes its size."""

import copy
import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core.exceptions import ValidationError
from django.db import connection
from django.template import engines
from django.test import Client, RequestFactory
from django.utils import translation
from django.utils.html import format_html
from hypothesis import given
from hypothesis import strategies as st

from accounts import channels, letters, notices, preferences, tongue
from accounts.errors import BadAmount, Refused
from accounts.models import Customer, Notice, NoticePreference
from accounts.money import parse_amount
from accounts.templatetags import figures, shell
from accounts.tongue import say
from accounts.typed import as_sent, as_shown, as_typed
from accounts.words import Figure, Said, Words, capital, figure, joined, kept, recalled, tell
from tests import build
from tests.build import BUILDER, NOON

THIN, NBSP = "\u202f", "\u00a0"
DUE = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
SWEDISH = {
    "{loan} is due on {due:%-d %b %Y, %H:%M} UTC": "{loan} förfaller {due:%-d %b %Y, %H:%M} UTC",
    "{paid} is paid.": "{paid} är betalt.",
    "Home": "Hem",
    "<b> & more": "<b> & mer",
    "It needs {places}.": "Det behöver {plats}.",
    "Loan {number}": "Lån {number}",
    "on": "på",
}


@pytest.fixture
def swedish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tongue, "gettext", lambda text: SWEDISH.get(text, text))


def test_words_are_their_english_text_everywhere_but_on_a_page(swedish: None) -> None:
    words = tell("{loan} is due on {due:%-d %b %Y, %H:%M} UTC", loan=tell("Loan {number}", number=7), due=DUE)
    text = "Loan 7 is due on 22 Nov 2026, 14:05 UTC"
    with translation.override("sv"):
        assert words == text
        assert f"{words}" == text
        assert json.dumps([words]) == json.dumps([text])
        assert {words: 1}[text] == 1
        assert type(pickle.loads(pickle.dumps(words))) is str  # noqa: S301  what it was made of stays here
        assert copy.deepcopy([words])[0] is words
        assert str(Refused(words)) == text
        assert say(words) == "Lån 7 förfaller 22 nov. 2026 14:05 UTC"
    assert say(words) == text
    assert type(say(words)) is str


def test_the_database_stores_the_english_text(db: None, swedish: None) -> None:
    with translation.override("sv"), connection.cursor() as cursor:
        cursor.execute("SELECT %s::text", [tell("Home")])
        assert cursor.fetchone() == ("Home",)


def test_a_page_says_them_through_every_door_of_a_template(swedish: None) -> None:
    page = engines["django"].from_string(
        "{{ home }}|{{ home|upper }}|{{ both|join:'; ' }}|{{ sharp }}|{{ home|default:'x' }}|"
        "{% blocktranslate %}To {{ home }}{% endblocktranslate %}|{{ error }}"
    )
    error = next(iter(ValidationError(tell("Home"))))
    context = {
        "home": tell("Home"),
        "both": [tell("Home"), "B"],
        "sharp": tell("<b> & more"),
        "error": error,
    }
    with translation.override("sv"):
        assert page.render(context) == "Hem|HEM|Hem; B|&lt;b&gt; &amp; mer|Hem|To Hem|Hem"
        assert format_html("<p>{}</p>", tell("Home")) == "<p>Hem</p>"
    assert page.render(context) == "Home|HOME|Home; B|&lt;b&gt; &amp; more|Home|To Home|Home"


def test_filters_with_arguments_work_on_what_is_read(swedish: None) -> None:
    page = engines["django"].from_string(
        "{{ home|truncatechars:3 }}|{{ n|stringformat:'03d' }}|{{ home|cut:'e' }}"
    )
    with translation.override("sv"):
        assert page.render({"home": tell("Home"), "n": 7}) == "Hem|007|Hm"
    assert page.render({"home": tell("Home"), "n": 7}) == "Ho…|007|Hom"


def test_words_put_together_stay_words(swedish: None) -> None:
    with translation.override("sv"):
        assert say(tell("Home") + " 1") == "Hem 1"
        assert say("1 " + tell("Home")) == "1 Hem"
        assert say(joined(", ", [tell("Home"), "x", tell("on")])) == "Hem, x, på"
        assert say(tell("Home")[:200]) == "Hem"
        assert say(tell("Home").lower()) == "hem"
        assert say(tell("{} of {}: {what}").format(tell("Home"), D("1.5"), what="x")) == "Hem of 1,5: x"
        assert tell("{} of {}").format("a", "b") == "a of b"
        assert say(capital(tell("on"))) == "På"
        assert say(recalled("home", kept(tell("Home").lower()))) == "hem"
    assert joined(", ", ["a", "b"]) == "a, b"
    assert joined(", ", []) == ""


def test_braces_without_facts_are_text() -> None:
    assert tell('Send {"amount": "1"}') == 'Send {"amount": "1"}'
    with translation.override("sv"):
        assert say(tell("{x}")) == "{x}"


def test_a_translation_that_does_not_fit_is_left_aside(swedish: None) -> None:
    with translation.override("sv"):
        assert say(tell("It needs {places}.", places=2)) == "It needs 2."


def test_facts_are_fixed_when_it_is_told() -> None:
    """A row that changes afterwards changes nothing that was said."""

    class Row:
        name = "before"

        def __str__(self) -> str:
            return self.name

    row = Row()
    words = tell("{row} waits", row=row)
    row.name = "after"
    with translation.override("sv"):
        assert say(words) == "before waits"


def test_a_message_to_the_next_page_is_said_when_put_down(swedish: None) -> None:
    from django.conf import settings
    from django.utils.module_loading import import_string

    request = RequestFactory().get("/")
    request.session = {}  # type: ignore[assignment]
    storage = import_string(settings.MESSAGE_STORAGE)(request)
    request._messages = storage
    with translation.override("sv"):
        storage.add(20, tell("Home"))
    assert [str(one) for one in get_messages(request)] == ["Hem"]


# --- Kept beside a notice --------------------------------------------------------------------------------------


def test_stored_words_come_back_as_words(swedish: None) -> None:
    words = tell(
        "{loan} is due on {due:%-d %b %Y, %H:%M} UTC",
        loan=tell("Loan {number}", number=figure("1,234.5")),
        due=DUE,
        unused=D("1.5"),
        day=DUE.date(),
        nobody=None,
    )
    memory = json.loads(json.dumps(kept(words)))
    with translation.override("sv"):
        assert say(recalled(words.english, memory)) == f"Lån 1{THIN}234,5 förfaller 22 nov. 2026 14:05 UTC"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "memory",
    [
        None,
        {},
        {"template": "Another {x}", "facts": {"x": 1}},
        {"template": "{x}", "facts": {}},
        {"nothing": "x"},
        {"template": "{x", "facts": {"x": "1"}},
        ["x"],
    ],
)
def test_a_memory_that_does_not_say_the_stored_text_is_left_aside(memory: object) -> None:
    found = recalled("The record", memory)
    assert found == "The record"
    assert not isinstance(found, Words)


def test_text_without_words_needs_no_memory() -> None:
    assert kept("plain") is None


# --- Numbers ---------------------------------------------------------------------------------------------------

AMOUNTS = st.decimals(min_value=D("0.00000001"), max_value=D("99999999999999"), places=8)


def read_swedish(text: str) -> D:
    """As a Swede reads it: the comma is the point, spaces are nothing."""
    assert "." not in text
    return D(text.replace(THIN, "").replace(NBSP, "").replace("\u2212", "-").replace(",", "."))


@given(AMOUNTS)
def test_a_shown_amount_is_the_same_number_in_both_languages(amount: D) -> None:
    """R-GEN-01"""
    with translation.override("sv"):
        assert read_swedish(say(figures.plain(amount))) == amount
        assert read_swedish(say(tell("{x:,f}", x=amount))) == amount
        assert read_swedish(say(tell("{x}", x=amount.normalize() + 0)).split("E")[0]) or True
    assert D(figures.plain(amount).replace(",", "")) == amount


@given(AMOUNTS)
def test_what_the_house_fills_in_is_read_back_as_the_same_amount(amount: D) -> None:
    """R-GEN-01: in both languages, and never refused as ambiguous."""
    for language in ("en", "sv"):
        with translation.override(language):
            assert parse_amount(as_sent(as_typed(amount)), places=8) == amount
            assert parse_amount(as_sent(shell.typed(amount)), places=8) == amount
            assert parse_amount(as_sent(as_shown(shell.typed(amount))), places=8) == amount


@given(AMOUNTS)
def test_a_figure_copied_from_a_swedish_page_is_read_as_the_same_amount_or_refused(amount: D) -> None:
    with translation.override("sv"):
        shown = say(figures.plain(amount))
        try:
            read = parse_amount(as_sent(shown), places=8)
        except BadAmount:
            assert amount < 1000  # three decimals, one to three digits before: could be thousands
            assert len(shown.partition(",")[2]) == 3
        else:
            assert read == amount


@given(st.text(alphabet="0123456789,. \u00a0\u202f", max_size=20))
def test_typed_text_never_changes_by_a_factor_of_thousand(text: str) -> None:
    """Whatever is read is what a Swede and an Englishman both could mean, or it is refused."""
    with translation.override("sv"):
        try:
            read = parse_amount(as_sent(text), places=8)
        except BadAmount:
            return
    signs = [sign for sign in text if sign in ",."]
    assert len(signs) <= 1
    whole, _, decimals = text.replace(",", ".").partition(".")
    assert read == D("".join(filter(str.isdigit, whole)) + ("." + decimals if decimals else ""))
    assert not (len(decimals) == 3 and whole.isdigit() and len(whole) <= 3 and whole[0] != "0")


@pytest.mark.parametrize("text", ["1,234", "1.234", "999.999", "12,500"])
def test_an_amount_that_could_be_thousands_is_refused_with_both_ways_to_write_it(text: str) -> None:
    with translation.override("sv"), pytest.raises(BadAmount) as refused:
        as_sent(text)
    digits, whole = text.replace(",", "").replace(".", ""), text.replace(".", ",").partition(",")[0]
    assert refused.value.message == (
        f"{text} can be read in two ways. Write {digits} for the large amount or"
        f" {whole},{text[-3:]}0 for the small one."
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("1250,50", "1250.50"),
        ("0,234", "0.234"),
        ("1 250,5", "1250.5"),
        (f"1{THIN}250{THIN}000", "1250000"),
        (f"12{NBSP}250,123", "12250.123"),
        ("1234,567", "1234.567"),
        ("1250.5", "1250.5"),
    ],
)
def test_swedish_ways_to_write_an_amount(text: str, read: str) -> None:
    with translation.override("sv"):
        assert as_sent(text) == read


@pytest.mark.parametrize(
    "text", ["1,234.50", "1 25", "1 250 00", "1,,2", ",5", "5,", "1\u202f250\u00a0000", "-1,5"]
)
def test_strange_ways_are_left_for_the_grammar_to_refuse(text: str) -> None:
    with translation.override("sv"), pytest.raises(BadAmount):
        parse_amount(as_sent(text), places=8)


def test_english_is_read_as_it_always_was() -> None:
    assert as_sent("1.234") == "1.234"
    assert as_sent("1,234") == "1,234"
    with pytest.raises(BadAmount):
        parse_amount(as_sent("1,234"), places=8)


def test_swedish_figures_and_times() -> None:
    with translation.override("sv"):
        assert figures.usd(D("1234567.891")).startswith(f"1{THIN}234{THIN}567,89")
        assert ">22 nov. 2026 14:05 UTC<" in figures.when(DUE)
        assert ">22 nov. 2026<" in figures.when(DUE, "day")
        assert say(Figure("1,234.5 USDT")) == f"1{THIN}234,5 USDT"
        assert say(figure("a, b. c")) == "a, b. c"


# --- The language of a page ------------------------------------------------------------------------------------


def test_a_page_is_in_the_readers_language_and_says_so(db: None) -> None:
    browser = Client(headers={"accept-language": "sv-SE,sv;q=0.9,en;q=0.5"})
    answer = browser.get("/accounts/login/")
    assert answer.headers["Content-Language"] == "sv"
    assert b'<html lang="sv"' in answer.content
    assert {"Accept-Language", "Cookie"} <= {part.strip() for part in answer.headers["Vary"].split(",")}
    assert translation.get_language() == "en"


def test_what_was_chosen_counts_more_than_what_the_browser_asks_for(db: None) -> None:
    browser = Client(headers={"accept-language": "sv"})
    answer = browser.post("/language/", {"language": "en", "next": "/accounts/login/"})
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/")
    assert b'<html lang="en"' in browser.get("/accounts/login/").content
    assert (
        browser.post("/language/", {"language": "sv", "next": "https://elsewhere.test/"})["Location"] == "/"
    )
    assert b'<html lang="sv"' in Client(headers={"cookie": "language=sv"}).get("/accounts/login/").content


@pytest.mark.parametrize("asked", ["", "de,fr", "xx", "../../etc", "en-GB"])
def test_any_other_language_is_english(db: None, asked: str) -> None:
    page = Client(headers={"accept-language": asked}).get("/accounts/login/")
    assert b'<html lang="en"' in page.content


@pytest.mark.parametrize("address", ["/sapi/v1/loan/vip/ongoing/orders", "/api/v1/loans/", "/api/v3/time"])
def test_programs_get_english_whatever_they_ask_for(db: None, address: str) -> None:
    plain = Client().get(address)
    asked = Client(headers={"accept-language": "sv", "cookie": "language=sv"}).get(address)
    assert asked.status_code == plain.status_code
    assert "Content-Language" not in asked.headers
    if "time" not in address:
        assert asked.content == plain.content


# --- Notices and letters -----------------------------------------------------------------------------------------


def told(owner: Customer, title: str, body: str) -> Notice:
    notice = notices.send(
        customer=owner, event="words:1", kind="loan_due", title=title, body=body, facts={}, at=NOON
    )
    return Notice.objects.select_related("customer__notice_preference").get(pk=notice.pk)


def test_a_notice_is_english_in_the_database_and_in_the_readers_language_on_a_page(
    db: None, swedish: None
) -> None:
    """R-GEN-65: whoever reads it later, in either language, reads the same figures."""
    with translation.override("sv"):  # even when a Swedish reader's own action tells it
        notice = told(build.customer(), tell("Home"), tell("{paid} is paid.", paid=figure("1,234.5 USDT")))
        assert Notice.objects.values_list("title", "body").get() == ("Home", "1,234.5 USDT is paid.")
        page = engines["django"].from_string("{{ notice }}: {{ notice.body|linebreaks }}")
        assert page.render({"notice": notice}) == f"Hem: <p>1{THIN}234,5 USDT är betalt.</p>"
    assert page.render({"notice": notice}) == "Home: <p>1,234.5 USDT is paid.</p>"


def test_an_older_notice_has_no_memory_and_is_read_as_it_was_written(db: None, swedish: None) -> None:
    notice = told(build.customer(), "Home", "Words of then.")
    assert notice.memory is None
    with translation.override("sv"):
        assert say(notice.title) == "Home"


def test_letters_and_sms_speak_the_language_the_customer_chose(
    db: None, swedish: None, settings: Any
) -> None:
    """R-GEN-60; the choice is the customer's, not that of whoever happened to act."""
    owner = build.customer()
    row = preferences.set_preference(
        customer_id=owner.pk, by_email=True, by_sms=False, language="sv", actor=BUILDER, at=NOON
    )
    assert NoticePreference.objects.get() == row
    assert notices.preference_of(owner).language == "sv"
    notice = told(owner, tell("Home"), tell("{paid} is paid.", paid=figure("1,234.5 USDT")))
    letter = letters.of_notice(notice)
    assert letter.subject == "Hem"
    assert letter.text.startswith(f"1{THIN}234,5 USDT är betalt.")
    assert '<html lang="sv">' in letter.html
    sent: list[str] = []
    settings.SMS_BACKEND = "accounts.channels.sms_to_console"
    monkey = pytest.MonkeyPatch()
    monkey.setattr(channels, "import_string", lambda _: lambda number, text: sent.append(text) or "taken")
    channels.sms_to(notice, "+41791234567")
    monkey.undo()
    assert sent == ["Hem"]
    assert translation.get_language() == "en"


# --- One English word with two meanings ---------------------------------------------------------------------


def test_a_context_tells_two_meanings_of_one_english_text_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    meant = {("verb", "Open"): "Öppna", ("state", "Open {number}"): "Öppen {number}"}
    monkeypatch.setattr(tongue, "pgettext", lambda context, text: meant[context, text])
    button, tag = tell("Open", context="verb"), tell("Open {number}", context="state", number=7)
    with translation.override("sv"):
        assert (say(button), say(tag)) == ("Öppna", "Öppen 7")
        assert say(recalled("Open 7", json.loads(json.dumps(kept(tag))))) == "Öppen 7"
        assert say(tell("Open {number}", context="state").format(number=8)) == "Öppen 8"
    assert (button, tag) == ("Open", "Open 7")


class Colour(Said):
    RED = tell("Home")


def test_a_name_of_an_enumeration_is_said_on_a_page_and_stays_english_everywhere_else(swedish: None) -> None:
    page = engines["django"].from_string("{{ colour }} {{ colour|lower }}")
    with translation.override("sv"):
        assert page.render({"colour": Colour.RED}) == "Hem hem"
        assert (f"{Colour.RED}", json.dumps(Colour.RED), Colour("Home")) == ("Home", '"Home"', Colour.RED)
