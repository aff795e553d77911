"""Wrap the texts of templates in {% translate %} and {% blocktranslate %}. Run again, it changes nothing more.

    python tools/marking/mark_templates.py templates

A text is what stands between two tags, of HTML or of Django, with the variables in it; so are the attributes people
read. `{% load %}` is not needed: the settings make the tags known to every template.
"""

import html
import re
import sys
from pathlib import Path

ATTRIBUTES = {
    *("title", "aria-label", "placeholder", "alt", "label", "caption", "hint", "strong", "note", "legend", "sub"),
    *("verb", "unit", "aria-description", "summary", "heading", "words", "data-confirm", "summary-label"),
}
SKIPPED = re.compile(r"(^|/)(sprite|brand)\.html$|/api/docs\.html$|/admin/|/account/messages/|/email/")
RAW = {"script", "style", "svg", "code", "pre", "textarea"}
DJANGO = re.compile(r"{%.*?%}|{{.*?}}|{#.*?#}", re.S)
LETTERS = re.compile(r"[^\W\d_]{2,}")
OPENS = re.compile(r"{%\s*(blocktranslate|blocktrans|comment|verbatim)\b")
CONSTANT = re.compile(r'(\|default(?:_if_none)?:|\|yesno:|\|add:)"([^"]*)"')
SAME = re.compile(r"^(LTV|USD|UTC|VIP|API|CSV|PDF|SMS|Lombard|[A-Z]{2,5}|https?|e\.g|pp|min|UID)$")


class Cursor:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def django(self) -> str | None:
        found = DJANGO.match(self.text, self.at)
        return found[0] if found else None

    def block(self, name: str) -> str:
        """From here to the end of the block `name`, whole."""
        end = re.compile(r"{%\s*end" + name + r"\b.*?%}", re.S).search(self.text, self.at)
        return self.text[self.at : end.end()]

    def tag(self) -> str:
        """An HTML tag, whatever stands in its attributes."""
        at, quote = self.at + 1, ""
        while True:
            found = DJANGO.match(self.text, at)
            if found:
                at = found.end()
                continue
            sign = self.text[at]
            at += 1
            if quote:
                quote = "" if sign == quote else quote
            elif sign in "\"'":
                quote = sign
            elif sign == ">":
                return self.text[self.at : at]


def tokens(text: str) -> list[tuple[str, str]]:
    """("text" | "var" | "block" | "whole" | "tag", source)"""
    found, cursor, raw = [], Cursor(text), ""
    while cursor.at < len(text):
        django = cursor.django()
        if django:
            opens = OPENS.match(django)
            if opens:
                kind, source = "whole", cursor.block(opens[1])
            else:
                kind, source = ("var" if django.startswith("{{") else "block"), django
        elif text.startswith("<!--", cursor.at):
            kind, source = "whole", text[cursor.at : text.index("-->", cursor.at) + 3]
        elif re.match(r"<[a-zA-Z/!]", text[cursor.at : cursor.at + 2]):
            kind, source = "tag", cursor.tag()
        else:
            end = re.compile(r"{%|{{|{#|<[a-zA-Z/!]").search(text, cursor.at + 1)
            kind, source = "text", text[cursor.at : end.start() if end else len(text)]
        cursor.at += len(source)
        if kind == "tag":
            name = re.match(r"</?([\w.:-]+)", source)
            name = name[1].lower() if name else ""
            if raw and source.startswith("</") and name == raw:
                raw = ""
            elif not raw and name in RAW and not source.endswith("/>") and not source.startswith("</"):
                raw = name
        elif raw:
            kind = "whole" if kind in {"text", "var"} else kind
        found.append((kind, source))
    return found


def marked(text: str) -> str:
    out: list[str] = []
    run: list[tuple[str, str]] = []

    def close() -> None:
        out.append(told(run))
        run.clear()

    for kind, source in tokens(text):
        if kind in {"text", "var"}:
            run.append((kind, constants(source) if kind == "var" else source))
            continue
        close()
        if kind == "tag":
            source = attributes(source)
        elif kind == "block":
            source = arguments(source)
        out.append(source)
    close()
    return "".join(out)


def constants(source: str) -> str:
    """{{ x|default:"none" }}"""

    def one(found: re.Match[str]) -> str:
        return f'{found[1]}_("{found[2]}")' if LETTERS.search(found[2]) else found[0]

    return CONSTANT.sub(one, source)


def arguments(source: str) -> str:
    """{% nav_link "x" "Home" %}, {% include … with verb="would call you" %}, {% with x="words" %}"""
    name = source[2:-2].split()[0]
    if name in {"nav_link", "demo_link"}:
        return re.sub(r'^({%\s*\w+ "[^"]+" )("[^"]*")', lambda found: f"{found[1]}_({found[2]})", source)
    if name in {"include", "with"}:
        return re.sub(
            r'\b(verb|title|label|hint|caption|strong|note|empty|words)=("[^"]*[a-z][^"]*")', r"\1=_(\2)", source
        )
    return constants(source) if name in {"if", "elif", "firstof"} and "default" in source else source


def attributes(source: str) -> str:
    if source.startswith(("</", "<!", "<c-vars", "<meta", "<link")):
        return source
    out, at = [], 0
    for name, begin, end in attribute_spans(source):
        if name in ATTRIBUTES and not source.startswith("<c-slot"):
            out.append(source[at:begin])
            out.append(value_told(source[begin:end]))
            at = end
    out.append(source[at:])
    return "".join(out)


def attribute_spans(source: str) -> list[tuple[str, int, int]]:
    """Quoted attributes: name and where the value stands."""
    found, at, name = [], 1, ""
    while at < len(source):
        django = DJANGO.match(source, at)
        if django:
            at, name = django.end(), ""
            continue
        match = re.compile(r"([\w:@.-]+)=([\"'])").match(source, at)
        if not match:
            at += 1
            continue
        name, quote, begin = match[1], match[2], match.end()
        at = begin
        while source[at] != quote:
            inner = DJANGO.match(source, at)
            at = inner.end() if inner else at + 1
        if not re.match(r"[\w:@.-]", source[match.start() - 1]):
            found.append((name, begin, at))
        at += 1
    return found


def value_told(value: str) -> str:
    if "{% translate" in value or "{% blocktranslate" in value:
        return value
    out, run = [], []
    for kind, source in tokens(value):
        if kind in {"text", "var"}:
            run.append((kind, source))
            continue
        out.append(told(run))
        run = []
        out.append(source)
    out.append(told(run))
    return "".join(out)


# --- One text ----------------------------------------------------------------------------------------------------


def told(run: list[tuple[str, str]]) -> str:
    whole = "".join(source for _, source in run)
    says = "".join(html.unescape(source) for kind, source in run if kind == "text")
    if not LETTERS.search(says) or all(SAME.match(word) for word in LETTERS.findall(says)):
        return whole
    if "__COTTON" in whole:
        return whole
    left = re.match(r"(?:\s|&nbsp;)*[·•|]?(?:\s|&nbsp;)*", run[0][1])[0] if run[0][0] == "text" else ""
    right = re.search(r"(?:\s|&nbsp;)*[·•|]?(?:\s|&nbsp;)*$", run[-1][1])[0] if run[-1][0] == "text" else ""
    body = whole[len(left) : len(whole) - len(right)]
    dotted = re.split(r"(\s+·\s+)", body)
    if len(dotted) > 1:  # parts between dots are texts of their own
        return left + "".join(part if place % 2 else told(parts_of(part)) for place, part in enumerate(dotted)) + right
    return left + one_text(body) + right


def parts_of(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    for variable in re.finditer(r"{{.*?}}", text, re.S):
        if variable.start() > at:
            found.append(("text", text[at : variable.start()]))
        found.append(("var", variable[0]))
        at = variable.end()
    if at < len(text):
        found.append(("text", text[at:]))
    return found or [("text", "")]


plain = False  # a letter of plain text: its lines are its own


def one_text(body: str) -> str:
    parts = parts_of(body)
    trimmed = " trimmed" if "\n" in body and not plain else ""
    if all(kind == "text" for kind, _ in parts):
        if not trimmed and '"' not in body and "\\" not in body:
            return f'{{% translate "{body}" %}}'
        return f"{{% blocktranslate{trimmed} %}}{body}{{% endblocktranslate %}}"
    counts = {plural(source)[0] for kind, source in parts if kind == "var" and plural(source)}
    if len(counts) > 1:
        return by_commas(body)
    facts: dict[str, str] = {}
    counted = counts.pop() if counts else ""
    names: list[str] = []
    for kind, source in parts:
        if kind == "text" or plural(source):
            names.append("")
            continue
        expression = source[2:-2].strip()
        names.append("count" if expression == counted else fact(expression, facts))
    with_ = " with " + " ".join(f"{name}={value}" for name, value in facts.items() if name != value) if any(name != value for name, value in facts.items()) else ""
    one = "".join(rendered(part, name, 0) for part, name in zip(parts, names, strict=True))
    if not counted:
        return f"{{% blocktranslate{trimmed}{with_} %}}{one}{{% endblocktranslate %}}"
    many = "".join(rendered(part, name, 1) for part, name in zip(parts, names, strict=True))
    return f"{{% blocktranslate{trimmed} count count={counted}{with_} %}}{one}{{% plural %}}{many}{{% endblocktranslate %}}"


def by_commas(body: str) -> str:
    """Two counts in one text: each on its side of a comma or semicolon, when that parts them."""
    pieces = re.split(r"([,;:] )", body)
    if len(pieces) == 1:
        return body
    return "".join(piece if place % 2 else told(parts_of(piece)) for place, piece in enumerate(pieces))


def plural(source: str) -> tuple[str, str, str] | None:
    """(what is counted, ending of one, ending of many)"""
    found = re.fullmatch(r'{{\s*(.+?)\|pluralize(?::"([^"]*)")?\s*}}', source)
    if not found:
        return None
    endings = (found[2] if found[2] is not None else "s").split(",")
    return found[1], endings[0] if len(endings) > 1 else "", endings[-1]


def rendered(part: tuple[str, str], name: str, form: int) -> str:
    kind, source = part
    if kind == "text":
        return source
    ends = plural(source)
    return ends[1 + form] if ends else f"{{{{ {name} }}}}"


def fact(expression: str, facts: dict[str, str]) -> str:
    base = re.split(r"[|]", expression)[0]
    last = re.split(r"[.]", base.strip("_()\"' "))
    word = last[-1]
    if word in {"pk", "name", "symbol", "label", "title", "id", "code"} and len(last) > 1:
        word = last[-2]
    word = re.sub(r"^get_(\w+)_display$", r"\1", word)
    word = re.sub(r"\W", "_", word) or "value"
    if word[0].isdigit() or word in {"count", "with", "as", "context", "trimmed", "asvar", "and", "plural", "forloop"}:
        word = f"the_{word}"
    for name in [word, *(f"{word}_{number}" for number in range(2, 50))]:
        if facts.get(name, expression) == expression:
            facts[name] = expression
            return name
    raise AssertionError(expression)


def main() -> None:
    changed = 0
    for path in sorted(path for path in Path(sys.argv[1]).rglob("*.*") if path.suffix in {".html", ".txt"}):
        if SKIPPED.search(str(path)):
            continue
        global plain
        before, plain = path.read_text(), path.suffix == ".txt"
        try:
            after = marked(before)
        except Exception as error:
            print(f"left alone: {path}: {type(error).__name__} {error}")  # noqa: T201
            continue
        if after != before:
            path.write_text(after)
            changed += 1
    print(f"{changed} templates marked")  # noqa: T201


if __name__ == "__main__":
    main()
