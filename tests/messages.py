"""The texts of pages for translators: taken from the code and templates, kept in one .po, compiled into its .mo.

    make messages                                   take the texts, keep what is translated, compile
    python -m tests.messages split FOLDER N         cut what is not translated into N files of JSON for translators
    python -m tests.messages merge FOLDER           put them back; what does not fit its English is named and left out

No gettext is needed on the machine. A text is the first argument of `tell(...)` in Python, and `{% translate %}`,
`{% blocktranslate %}` and `_("…")` in templates. Django doubles the per cent signs of templates' texts; translators see
one. A text with a context (`tell(…, context="verb")`, `{% translate "…" context "verb" %}`) is kept as gettext keys it:
the context, a \\4 and the text.
"""

import ast
import json
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any, Final

BASE: Final = Path(__file__).resolve().parents[1]
LANGUAGE: Final = "sv"
PO: Final = BASE / "locale" / LANGUAGE / "LC_MESSAGES" / "django.po"
MO: Final = PO.with_suffix(".mo")
APPS: Final = ("accounts", "risk", "loans", "config")
MARKS: Final = ("tell", "worded")
HEADER: Final = (
    "Project-Id-Version: Lombard\nLanguage: sv\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
    "Content-Transfer-Encoding: 8bit\nPlural-Forms: nplurals=2; plural=(n != 1);\n"
)
BETWEEN: Final = "\4"  # stands between a context and its text, as in a .mo
LETTERS: Final = re.compile(r"[^\W\d_]")
NAMED: Final = re.compile(r"%\((\w+)\)s")
TAGS: Final = re.compile(r"</?[a-z][^>]*>|&\w+;")

_STRING: Final = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'"
_CONTEXT: Final = rf"\s+context\s+({_STRING})"
_TRANSLATE: Final = re.compile(rf"{{%\s*trans(?:late)?\s+({_STRING})(?:{_CONTEXT})?")
_CONSTANT: Final = re.compile(rf"(?<![\w])_\(({_STRING})()\)")
_BLOCK: Final = re.compile(
    r"{%\s*blocktrans(?:late)?\b(.*?)%}(.*?)(?:{%\s*plural\s*%}(.*?))?{%\s*endblocktrans(?:late)?\s*%}", re.S
)
_VARIABLE: Final = re.compile(r"{{\s*(\w+)\s*}}")
_HIDDEN: Final = re.compile(r"{%\s*comment\b.*?{%\s*endcomment\s*%}|{#.*?#}", re.S)


@dataclass(slots=True)
class Text:
    """One text; `plural` is empty where it does not count. `swedish` has one form, or two where it counts."""

    english: str
    plural: str = ""
    where: set[str] = field(default_factory=set)
    swedish: tuple[str, ...] = ()

    @property
    def is_of_template(self) -> bool:
        return any(place.endswith((".html", ".txt")) for place in self.where)

    @property
    def context(self) -> str:
        return self.english.rpartition(BETWEEN)[0]

    @property
    def words(self) -> str:
        return self.english.rpartition(BETWEEN)[2]

    @property
    def forms(self) -> int:
        return 2 if self.plural else 1

    @property
    def is_translated(self) -> bool:
        return len(self.swedish) == self.forms and all(self.swedish)


# --- Taking ----------------------------------------------------------------------------------------------------------


def taken(base: Path = BASE) -> dict[str, Text]:
    """Every marked text, by its English."""
    found: dict[str, Text] = {}
    for app in APPS:
        for path in sorted((base / app).rglob("*.py")):
            if "migrations" not in path.parts:
                _add(found, of_python(path.read_text()), str(path.relative_to(base)))
    pages = (path for path in (base / "templates").rglob("*.*") if path.suffix in {".html", ".txt"})
    for path in sorted(pages):
        _add(found, of_template(path.read_text()), str(path.relative_to(base)))
    return found


def _add(found: dict[str, Text], texts: Iterable[tuple[str, str]], where: str) -> None:
    for english, plural in texts:
        text = found.setdefault(english, Text(english))
        text.plural = text.plural or plural
        text.where.add(where)


def of_python(source: str) -> Iterator[tuple[str, str]]:
    if not any(f"{mark}(" in source for mark in MARKS):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and _called(node) in MARKS:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and _says(first.value, node):
                yield _keyed(_context(node), first.value), ""


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", "") or getattr(node.func, "attr", "")


def _says(template: str, node: ast.Call) -> bool:
    """Not only facts and signs: there is something to translate."""
    if not [keyword for keyword in node.keywords if keyword.arg != "context"]:
        return bool(LETTERS.search(template))
    return any(LETTERS.search(text) for text, *_ in Formatter().parse(template) if text)


def _context(node: ast.Call) -> str:
    named = (word.value for word in node.keywords if word.arg == "context")
    return next((str(value.value) for value in named if isinstance(value, ast.Constant)), "")


def _keyed(context: str, text: str) -> str:
    return f"{context}{BETWEEN}{text}" if context else text


def of_template(source: str) -> Iterator[tuple[str, str]]:
    source = _HIDDEN.sub("", source)
    for pattern in (_TRANSLATE, _CONSTANT):
        for match in pattern.finditer(source):
            context = ast.literal_eval(match[2]) if match[2] else ""
            yield _keyed(context, ast.literal_eval(match[1]).replace("%", "%%")), ""
    for options, one, many in _BLOCK.findall(source):
        is_trimmed = "trimmed" in options.split()
        named = re.search(_CONTEXT, f" {options}")
        context = ast.literal_eval(named[1]) if named else ""
        yield _keyed(context, _block(one, is_trimmed)), _block(many, is_trimmed)


def _block(text: str, is_trimmed: bool) -> str:
    if is_trimmed:
        text = " ".join(line.strip() for line in text.strip().splitlines() if line.strip())
    return _VARIABLE.sub(r"%(\1)s", text.replace("%", "%%"))


# --- Keeping ---------------------------------------------------------------------------------------------


def read(path: Path = PO) -> dict[str, Text]:
    found: dict[str, Text] = {}
    if not path.exists():
        return found
    for entry in path.read_text().split("\n\n"):
        parts = dict(re.findall(r'^(msg\S+) (".*")$', entry, re.M))
        if parts.get("msgid", '""') == '""':
            continue
        words = {name: json.loads(value) for name, value in parts.items()}
        swedish = tuple(words[name] for name in ("msgstr", "msgstr[0]", "msgstr[1]") if name in words)
        where = set(re.findall(r"^#: (.*)$", entry, re.M))
        english = _keyed(words.get("msgctxt", ""), words["msgid"])
        found[english] = Text(english, words.get("msgid_plural", ""), where, swedish)
    return found


def written(texts: dict[str, Text]) -> str:
    entries = [
        f"# Swedish for Lombard, written by `make messages`.\n{_line('msgid', '')}\n{_line('msgstr', HEADER)}"
    ]
    for text in sorted(texts.values(), key=lambda one: (min(one.where), one.english)):
        lines = [f"#: {place}" for place in sorted(text.where)]
        lines.append("#, python-format" if NAMED.search(text.english) else "#, python-brace-format")
        if text.context:
            lines.append(_line("msgctxt", text.context))
        lines.append(_line("msgid", text.words))
        forms = text.swedish or ("",) * text.forms
        if text.plural:
            lines.append(_line("msgid_plural", text.plural))
            lines += [_line(f"msgstr[{place}]", form) for place, form in enumerate(forms)]
        else:
            lines.append(_line("msgstr", forms[0]))
        entries.append("\n".join(lines))
    return "\n\n".join(entries) + "\n"


def _line(name: str, text: str) -> str:
    return f"{name} {json.dumps(text, ensure_ascii=False)}"


def compiled(texts: dict[str, Text]) -> bytes:
    """The .mo of what is translated: a header, two tables of lengths and places, and the strings."""
    pairs = [(b"", HEADER.encode())]
    for text in texts.values():
        if text.is_translated:
            english = f"{text.english}\0{text.plural}" if text.plural else text.english
            pairs.append((english.encode(), "\0".join(text.swedish).encode()))
    pairs.sort()
    size, at = len(pairs), 28 + 16 * len(pairs)
    tables, body = ([], []), []  # type: tuple[list[bytes], list[bytes]], list[bytes]
    for side in (0, 1):
        for pair in pairs:
            tables[side].append(struct.pack("<II", len(pair[side]), at))
            body.append(pair[side] + b"\0")
            at += len(pair[side]) + 1
    head = struct.pack("<7I", 0x950412DE, 0, size, 28, 28 + 8 * size, 0, 28 + 16 * size)
    return head + b"".join(tables[0] + tables[1] + body)


def brought_up_to_date() -> dict[str, Text]:
    """The marked texts of today with the Swedish that is known."""
    known, texts = read(), taken()
    for english, text in texts.items():
        if english in known and known[english].forms == text.forms:
            text.swedish = known[english].swedish
    return texts


def keep(texts: dict[str, Text]) -> None:
    PO.parent.mkdir(parents=True, exist_ok=True)
    PO.write_text(written(texts))
    MO.write_bytes(compiled(texts))


# --- Translators -----------------------------------------------------------------------------------------


def faults(text: Text) -> list[str]:
    """What a translation does not have in common with its English: facts, tags, white space at its ends."""
    if not text.is_translated:
        return ["not translated"]
    found = []
    pairs = zip((text.words, text.plural or text.words), text.swedish, strict=False)
    for english, swedish in pairs:
        if _facts(english) != _facts(swedish):
            found.append(f"facts differ: {_facts(english)} and {_facts(swedish)}")
        if sorted(TAGS.findall(english)) != sorted(TAGS.findall(swedish)):
            found.append("tags differ")
        if [bool(re.match(r"\s", side)) for side in (english, english[::-1])] != [
            bool(re.match(r"\s", side)) for side in (swedish, swedish[::-1])
        ]:
            found.append("white space at the ends differs")
        if text.is_of_template and re.search(r"(?<!%)(?:%%)*%(?![%(])", swedish):
            found.append("a per cent sign stands alone")
    return found


def _facts(text: str) -> set[str]:
    named = {f"%({name})s" for name in NAMED.findall(text)}
    try:
        parsed = list(Formatter().parse(text))
    except ValueError:
        return named
    return named | {f"{name}!{conversion}:{spec}" for _, name, spec, conversion in parsed if name is not None}


def split(folder: Path, parts: int) -> int:
    """What is not translated, in `parts` files that lie together by where they are used; returns how many texts."""
    waiting = [text for text in brought_up_to_date().values() if not text.is_translated]
    waiting.sort(key=lambda one: (min(one.where), one.english))
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(waiting) // parts) or 1
    for place in range(parts):
        rows = [_row(text) for text in waiting[place * size : (place + 1) * size]]
        (folder / f"part{place + 1:02}.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    return len(waiting)


def _row(text: Text) -> dict[str, Any]:
    row: dict[str, Any] = {
        "english": _seen(text, text.english),
        "swedish": "",
        "where": sorted(text.where)[:3],
    }
    if text.plural:
        row |= {"english_many": _seen(text, text.plural), "swedish_many": ""}
    return row


def _seen(text: Text, words: str) -> str:
    return words.replace("%%", "%") if text.is_of_template else words


def _doubled(text: Text, words: str) -> str:
    return re.sub(r"%(?!\(\w+\)s)", "%%", words) if text.is_of_template else words


def merge(folder: Path) -> list[str]:
    """Put translators' files into the .po and .mo; returns what was left out and why."""
    texts, left_out = brought_up_to_date(), []
    by_sight = {_seen(text, english): text for english, text in texts.items()}
    for path in sorted(folder.glob("*.json")):
        for row in json.loads(path.read_text()):
            text = by_sight.get(row["english"])
            if text is None:
                left_out.append(f"{path.name}: no such text any more: {row['english'][:60]!r}")
                continue
            forms = (row["swedish"], row.get("swedish_many", "")) if text.plural else (row["swedish"],)
            candidate = Text(
                text.english, text.plural, text.where, tuple(_doubled(text, form) for form in forms)
            )
            problems = faults(candidate)
            if problems:
                left_out.append(f"{path.name}: {'; '.join(problems)}: {row['english'][:60]!r}")
            else:
                text.swedish = candidate.swedish
    keep(texts)
    return left_out


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["split"]:
        print(f"{split(Path(arguments[1]), int(arguments[2]))} texts wait for Swedish, in {arguments[1]}")
        return 0
    if arguments[:1] == ["merge"]:
        left_out = merge(Path(arguments[1]))
        print("\n".join(left_out))
    else:
        left_out = []
        keep(brought_up_to_date())
    texts = read()
    print(f"{sum(text.is_translated for text in texts.values())} of {len(texts)} texts are in Swedish")
    return 1 if left_out else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
