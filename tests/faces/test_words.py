"""Every page in a language nobody speaks: what is still English on it was never marked for translators.

Each marked text is said as «its English»; what stands outside of such marks is data, a unit or bare. Data is what the
demo's people wrote and what things are called.
"""

import html
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from django.apps import apps
from django.db.models import CharField, TextField
from django.utils.translation import trans_real

from tests.faces.conftest import Desk
from tests.faces.pages import Visit, visits

ALL = os.environ.get("FACES") == "all"
REPORT = Path(__file__).resolve().parents[2] / ".local" / "faces" / "bare.txt"
SHOWN = re.compile(r"<(script|style|svg|code|pre|textarea)\b.*?</\1>|<!--.*?-->|<!doctype[^>]*>", re.S | re.I)
TAG = re.compile(r"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
OTHER_LANGUAGE = re.compile(r'<(\w+)\b[^>]*\slang="en"[^>]*>.*?</\1>', re.S)  # what stays English says so
READ_OUT = re.compile(r'\s(?:title|aria-label|placeholder|alt|data-l)="([^"]*)"')
MARKED = re.compile(r"«[^«»]*»")
CUT = re.compile(r"«[^«»\0]*")  # a label without its unit
ZONE = re.compile(r"\b[A-Z]\w+(?:/[A-Z][\w -]+)+")  # time zones have names of their own
LETTERS = re.compile(r"[^\W\d_]{3,}")
FIVE = (
    Visit("account_login", "signed out"),
    Visit("loans:home", "borrower"),
    Visit("risk:group", "called", "called"),
    Visit("loans:desk", "manager"),
    Visit("loans:approval", "risk2"),
)
SAME: Final = frozenset(
    ("UTC", "LTV", "VIP", "CSV", "PDF", "SMS", "API", "SHA", "Lombard", "English", "Svenska", "min")
    + ("lombard", "demo", "desk")  # what every login of the demo types
)
"""Units and names that are the same in every language; coins and what is spelled in capitals are, too."""

# What is data by its shape, wherever it stands.
SHAPES: Final = re.compile(
    r"\b[A-Z][A-Z0-9]{0,4}-\d+\b"  # L-0016, J-175
    r"|\b[\w.+-]+@[\w.-]+\w"  # an address
    r"|\bhttps?://\S+"
    r"|\b[\w-]+\.(?:csv|txt|pdf|eml|json)\b"  # a file
    r"|\b[a-z]+(?:_[a-z]+)*\.[a-z_]+\b"  # a command: risk.publish_ratios
    r"|\b[a-z][\w-]*(?:_[a-z]+)*:[\w:.+-]+"  # an account of the chart, a reference of an entry: spot:10000080:USDT
    r"|\b(?:[0-9a-f]{16,}|[0-9A-Za-z]{6,}(?=…)|bc1[\w-]+)"  # a digest, the start of one, an address of coins
)


YES_NO: Final = re.compile(r"\w+(,\w+)+")  # for the filter of that name


class Pseudo(trans_real.DjangoTranslation):
    """Says every text it is asked for in «»; counting as in English."""

    def gettext(self, message: str) -> str:
        said = message.rpartition("\4")[2]  # without its context
        return (
            ",".join(f"«{one}»" for one in said.split(","))
            if YES_NO.fullmatch(said)
            else said and f"«{said}»"
        )

    def ngettext(self, msgid1: str, msgid2: str, n: Any) -> str:
        return f"«{msgid1 if n == 1 else msgid2}»"


@pytest.fixture(autouse=True)
def pseudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trans_real._translations, "sv", Pseudo("sv"))


def bare(page: str, known: Callable[[str], str] = str) -> set[str]:
    """Texts and read-out attributes with letters outside of the marks; `known` takes out what is data."""
    page = SHOWN.sub(" ", page)
    page = OTHER_LANGUAGE.sub(" ", page)
    page = re.sub(r"<time\b.*?</time>", " ", page, flags=re.S)  # written by the figures' filters
    found = {_unmarked(html.unescape(text)) for text in READ_OUT.findall(page)}
    shown = _unmarked(html.unescape(TAG.sub("\0", page)))  # marks reach over tags
    found |= set(shown.split("\0"))
    return {text.strip() for text in found if _letters(known(ZONE.sub(" ", text)))}


def _unmarked(text: str) -> str:
    before = ""
    while before != text:  # words within words
        before, text = text, MARKED.sub(" ", text)
    return CUT.sub(" ", text)


def _letters(text: str) -> bool:
    text = SHAPES.sub(" ", text)
    return any(word not in SAME and not word.isupper() for word in LETTERS.findall(text))


def test_the_mirror_sees_what_is_bare() -> None:
    page = '<p title="Left">«Said «in» here» <b>Bare words</b> 5 USDT</p><script>no words</script>'
    assert bare(page) == {"Left", "Bare words"}


@pytest.mark.timeout(900)
def test_pages_say_nothing_bare(face: Desk) -> None:
    """Each page of the demo, or the five: what is no data is said in the reader's language."""
    known, found = _data(), {}
    for visit in visits() if ALL else FIVE:
        if visit.name.startswith(("admin:", "api_docs")):
            continue  # the console and the description of the API are English
        answer = face.client(visit.who).get(visit.address, headers={"accept-language": "sv"})
        page = b"".join(answer.streaming_content) if answer.streaming else answer.content
        for text in bare(page.decode(), known):
            found.setdefault(text, visit.slug)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("".join(f"{slug}: {text!r}\n" for text, slug in sorted(found.items())))
    assert not found, f"{len(found)} texts stand bare, see {REPORT}"


OWN_WORDS: Final = frozenset(
    {
        *(
            "reason",
            "decision_reason",
            "purpose",
            "message",
            "note",
            "text",
            "words",
            "said",
            "lender",
            "label",
        ),
        *(
            "address",
            "contact",
            "where_found",
            "answer",
            "reply",
            "wish",
            "title",
            "file_name",
            "name",
            "email",
        ),
        "source",
    }
)
"""Columns in which people write in their own words, or name things."""
SAID_BY_THE_DESK: Final = frozenset({"accounts.Notice", "accounts.Approval", "risk.StressRun"})
"""Rows whose titles are the desk's: they remember what they were made of."""


def _data() -> Callable[[str], str]:
    """Takes out of a text what people called things and wrote, whole paragraphs first."""
    found = set()
    for model in apps.get_models():
        if model._meta.app_label not in {"accounts", "risk", "loans"}:
            continue
        for field in model._meta.concrete_fields:
            is_text = isinstance(field, CharField | TextField) and not field.choices
            is_desks = field.name in {"title", "words"} and model._meta.label in SAID_BY_THE_DESK
            if is_text and field.name in OWN_WORDS and not is_desks:
                rows = model._default_manager.values_list(field.name, flat=True).distinct()
                found.update(line for value in rows if value for line in (value, *value.splitlines()))
    longest = sorted((text for text in found if LETTERS.search(text)), key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in longest))
    return lambda text: pattern.sub(" ", text)
