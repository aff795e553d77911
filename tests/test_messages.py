"""The catalogue of texts: what is marked is taken, what is taken is kept, and Swedish fits its English."""

import gettext
import io
import json
from pathlib import Path

import pytest

from tests import messages
from tests.messages import Text, compiled, faults, of_python, of_template, read, written

PYTHON = """
tell("It is closed.")
tell("{loan} is {state}", loan=loan, state=tell("late") if late else "")
tell("{a}, {b:%Y}", a=1, b=2)
tell(template)
worded(
    "In two "
    "pieces"
)
words.tell("Elsewhere")
tell("Open", context="verb")
"""
TEMPLATE = """
{% comment %}{% translate "hidden" %}{% endcomment %}
<c-panel title="{% translate "Rates now" %}" hint='{% translate "it’s 50 % now" %}'>
{% blocktranslate with a=b|amount:"x" %}of {{ a }} at 5 %{% endblocktranslate %}
{% blocktranslate count count=rows|length with b=c %}{{ count }} row of {{ b }}{% plural %}\
{{ count }} rows of {{ b }}{% endblocktranslate %}
{% blocktranslate trimmed %}
  One
  two
{% endblocktranslate %}
{% translate "Open" context "state" %}
{% blocktranslate context "loans" %}{{ number }} open{% endblocktranslate %}
{% nav_link "x" _("Home") %}{{ y|default:_("none") }}{% include "z.html" with verb=_("would") %}
"""


def test_texts_are_taken_from_python() -> None:
    """Facts alone are no text; a template that is computed cannot be one."""
    assert {english for english, _ in of_python(PYTHON)} == {
        "It is closed.",
        "{loan} is {state}",
        "late",
        "In two pieces",
        "Elsewhere",
        "verb\4Open",
    }


def test_texts_are_taken_from_templates_as_django_asks_for_them() -> None:
    assert set(of_template(TEMPLATE)) == {
        ("Rates now", ""),
        ("it’s 50 %% now", ""),
        ("of %(a)s at 5 %%", ""),
        ("%(count)s row of %(b)s", "%(count)s rows of %(b)s"),
        ("One two", ""),
        ("Home", ""),
        ("none", ""),
        ("would", ""),
        ("state\4Open", ""),
        ("loans\4%(number)s open", ""),
    }


def test_what_is_kept_is_read_back_and_gettext_reads_what_is_compiled(tmp_path: Path) -> None:
    texts = {
        text.english: text
        for text in (
            Text('A "quoted"\n\\ line', where={"a.py"}, swedish=('En "citerad"\n\\ rad',)),
            Text("%(count)s row", "%(count)s rows", {"b.html"}, ("%(count)s rad", "%(count)s rader")),
            Text("Not yet", where={"a.py", "b.html"}),
            Text("verb\4Open", where={"a.py"}, swedish=("Öppna",)),
        )
    }
    path = tmp_path / "django.po"
    path.write_text(written(texts))
    again = read(path)
    assert written(again) == path.read_text()
    assert {key: one.swedish for key, one in again.items() if one.is_translated} == {
        key: one.swedish for key, one in texts.items() if one.swedish
    }
    found = gettext.GNUTranslations(io.BytesIO(compiled(again)))
    assert found.gettext('A "quoted"\n\\ line') == 'En "citerad"\n\\ rad'
    assert found.ngettext("%(count)s row", "%(count)s rows", 1) == "%(count)s rad"
    assert found.ngettext("%(count)s row", "%(count)s rows", 2) == "%(count)s rader"
    assert found.pgettext("verb", "Open") == "Öppna"
    assert found.gettext("Open") == "Open"
    assert found.gettext("Not yet") == "Not yet"


@pytest.mark.parametrize(
    ("english", "swedish", "fault"),
    [
        ("{loan} is {due:%H:%M}", "{loan} är {due:%H}", "facts differ"),
        ("{loan} is", "lån är", "facts differ"),
        ("%(a)s rows", "%(b)s rader", "facts differ"),
        ("<b>Now</b>", "Nu", "tags differ"),
        (" and ", "och", "white space"),
        ("50 %%", "50 %", "per cent"),
        ("Home", "", "not translated"),
    ],
)
def test_a_translation_that_does_not_fit_is_named(english: str, swedish: str, fault: str) -> None:
    found = faults(Text(english, where={"a.html"}, swedish=(swedish,)))
    assert found
    assert found[0].startswith(("facts", "tags", "white", "a per cent", "not"))
    assert fault in found[0]


def test_a_translation_that_fits_has_no_fault() -> None:
    fits = Text("{loan} is {due:%H:%M}, 5 %", where={"a.py"}, swedish=("Klockan {due:%H:%M} är {loan}, 5 %",))
    assert faults(fits) == []


def test_translators_get_what_waits_and_give_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    po = tmp_path / "django.po"
    texts = {
        "Home": Text("Home", where={"a.html"}),
        "5 %% of %(a)s": Text("5 %% of %(a)s", where={"a.html"}),
        "%(count)s row": Text("%(count)s row", "%(count)s rows", {"a.html"}),
        "{a} waits": Text("{a} waits", where={"a.py"}),
    }
    monkeypatch.setattr(messages, "PO", po)
    monkeypatch.setattr(messages, "MO", po.with_suffix(".mo"))
    monkeypatch.setattr(messages, "brought_up_to_date", lambda: texts)
    assert messages.split(tmp_path / "parts", 3) == 4
    swedish = {
        "Home": "Hem",
        "5 % of %(a)s": "5 % av %(a)s",
        "%(count)s row": "%(count)s rad",
        "{a} waits": "{b} väntar",
    }
    for path in (tmp_path / "parts").glob("*.json"):
        rows = json.loads(path.read_text())
        for row in rows:
            row["swedish"] = swedish[row["english"]]
            if "english_many" in row:
                row["swedish_many"] = "%(count)s rader"
        path.write_text(json.dumps(rows))
    left_out = messages.merge(tmp_path / "parts")
    assert len(left_out) == 1
    assert "facts differ" in left_out[0]
    kept = read(po)
    assert kept["5 %% of %(a)s"].swedish == ("5 %% av %(a)s",)
    assert kept["%(count)s row"].swedish == ("%(count)s rad", "%(count)s rader")
    assert not kept["{a} waits"].is_translated


# --- The desk's own catalogue --------------------------------------------------------------------------------------


def _known() -> dict[str, Text]:
    if not messages.PO.exists():
        pytest.skip(
            f"NOT VERIFIED: there is no Swedish yet; {len(messages.taken())} marked texts wait for it"
        )
    return read()


def test_every_marked_text_is_in_the_catalogue_and_nothing_else() -> None:
    known = _known()
    assert messages.PO.read_text() == written(messages.brought_up_to_date()), "stale: make messages"
    assert set(known) == set(messages.taken())


def test_the_compiled_catalogue_is_fresh() -> None:
    known = _known()
    assert messages.MO.read_bytes() == compiled(known), "stale: make messages"


def test_every_translation_fits_its_english() -> None:
    wrong = {text.english: faults(text) for text in _known().values() if text.is_translated and faults(text)}
    assert wrong == {}


def test_every_text_is_translated() -> None:
    waiting = [text.english for text in _known().values() if not text.is_translated]
    assert waiting == [], f"{len(waiting)} texts are not in Swedish"
