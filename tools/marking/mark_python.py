"""Wrap the English texts of Python files in `tell(...)`, f-strings with their facts. Run again, it changes nothing more.

    python tools/marking/mark_python.py accounts loans risk

What it cannot know it leaves; the pseudo-language test (tests/faces/test_words.py) names what a page still says bare.
"""

import ast
import io
import keyword
import re
import sys
import tokenize
from pathlib import Path

SKIPPED = re.compile(
    r"(^|/)(migrations|api|sapi|management|demo|admin|feeds|models/fields\.py|console\.py|admin\.py"
    r"|words\.py|tongue\.py|typed\.py|spoken\.py|.*_sql\.py|exports\.py|journal\.py|books\.py|chain\.py|signing\.py"
    r"|sheet_pdf\.py|paper\.py|confirmation_paper\.py|statements|catalogue|rehearsal\.py|proof\.py"
    r"|webhooks\.py|channels\.py|vault\.py|audit\.py|population\.py|whole_book\.py|replay\.py|errors\.py"
    r"|sensitivity\.py|sensitivity_chart\.py|charts\.py|arrays\.py|columns\.py|stress_tables\.py|faults\.py|tasks\.py)"
)
MACHINES = frozenset(
    """filter exclude get values values_list order_by select_related prefetch_related only defer reverse redirect render
    path re_path compile match fullmatch search sub split rsplit partition rpartition strip lstrip rstrip replace startswith
    endswith removeprefix removesuffix getattr setattr hasattr Decimal execute RawSQL F Q OuterRef Func Value format strftime
    strptime encode decode get_or_create update_or_create create ForeignKey OneToOneField ManyToManyField TypeVar register
    open mark_safe format_html field command debug info warning error exception critical get_object_or_404 getLogger
    import_string UniqueConstraint CheckConstraint Index require_http_methods setdefault pop add_header index count find
    cursor fetch login_required Prefetch cast TypedDict NamedTuple StrEnum aggregate annotate in_bulk visible_to
    GeneratedField set_cookie lru_cache HttpResponse StreamingHttpResponse JsonResponse render_to_string capture tell
    figure worded say Lag kind_of writerow quantize ContentFile attrgetter itemgetter add_argument""".split()
)
PROGRAMMERS = frozenset(
    """ValueError TypeError KeyError RuntimeError AssertionError LookupError ImproperlyConfigured CommandError
    NotImplementedError NotTaken NobodyToTell GatewayNotSafe OSError IndexError ArithmeticError AttributeError Http404
    PermissionDenied Denied Bad Exception SystemExit NotPublic""".split()
)
MACHINE_WORDS = frozenset(
    """name sql condition related_name db_table key event event_prefix kind code sapi template template_name format id
    pattern fields order search sort index permission action facts reason auto_id prefix verbose_name verbose_name_plural
    output_field default_permissions attrs only_to payload headers content_type type request subject slug css status
    returns default app_label db_column separators template_part actor caller list_display readonly_fields search_fields""".split()
)
LABELS = frozenset(
    """label help_text title body caption empty_label hint words note strong legend placeholder said finds text message
    question heading sentence why verb unit_name""".split()
)
ROWS = frozenset("Column Filter Fact Row Cell Figure Head Option Choice".split())
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|CREATE|GROUP BY|ORDER BY|JOIN|GRANT|REVOKE|SET|VALUES)\b")
STRANGE = re.compile(
    r"[<>]|\\|\(\?|\[[a-z0-9^]|^https?://|charset=|attachment;|filename=|^%|%\(|%[sdYHMb]|^[\w.-]+/[\w.+-]+$|::|\$\d|[{}]\{|=\{?$|^[-\w]+:[-\w]*$"
)
WORDY = re.compile(r"[^\W\d_]{2,}")
SPACED = re.compile(r"[^\W\d_][^\W\d_]*[,.;:!?’”)%]*[ \u00a0][“(‘]*[^\W_]|[ \u00a0][^\W\d_]{2,}|[^\W\d_]{2,}[,;:]?[ \u00a0]$")
CAPITAL = re.compile(r"^[A-Z][a-z]+(-[a-z]+)*[.…]?$|^[A-Z][a-z]+[ \u00a0]|^(LTV|PDF|CSV|SMS|API)$")
OURS = re.compile(r"^from accounts\.words import [^\n]*\btell\b(?! as)", re.M)
MOST = 96  # characters of one piece of a text on a line


class Marker:
    """One source text; edits are collected from the inside out."""

    def __init__(self, source: str, is_page: bool) -> None:
        self.source, self.is_page = source, is_page
        self.names: set[str] = set()

    def marked(self) -> str:
        tree = ast.parse(self.source)
        edits = self.edits(tree, self.source)
        return applied(self.source, edits)

    # -- Finding

    def edits(self, tree: ast.AST, source: str, *, in_words: bool = False) -> list[tuple[int, int, str]]:
        starts = line_starts(source)
        parents: dict[ast.AST, ast.AST] = {}
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                parents[child] = node
        found: list[tuple[int, int, str]] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                if is_inside_a_string(node, parents):
                    continue
                new = self.replacement(node, parents, source, starts, in_words)
                if new is not None:
                    begin, end = span(node, source, starts)
                    found.append((begin, end, new))
            elif isinstance(node, ast.Call) and self.is_join(node, parents):
                begin, end = span(node, source, starts)
                receiver = node.func.value
                last = span(node.args[0], source, starts)
                words = ast.get_source_segment(source, receiver)
                if WORDY.search(receiver.value):
                    words = f"tell({words})"
                    self.names.add("tell")
                self.names.add("joined")
                found.append((begin, last[0], f"joined({words}, "))
                if isinstance(node.args[0], ast.GeneratorExp):  # its span has the call's own parentheses
                    found.append((end, end, ")"))
        return outermost(found)

    def is_join(self, node: ast.Call, parents: dict[ast.AST, ast.AST]) -> bool:
        func = node.func
        if not (isinstance(func, ast.Attribute) and func.attr == "join" and len(node.args) == 1 and not node.keywords):
            return False
        receiver = func.value
        if not (isinstance(receiver, ast.Constant) and isinstance(receiver.value, str)):
            return False
        if not self.is_page and not WORDY.search(receiver.value) and receiver.value not in {"", " ", ", ", "; ", " · "}:
            return False
        if receiver.value == "":
            element = getattr(node.args[0], "elt", None)
            return isinstance(element, ast.JoinedStr | ast.IfExp) and not self.is_for_machines(node, parents)
        if receiver.value.strip() == receiver.value or SQL.search(receiver.value):
            return False
        return not self.is_for_machines(node, parents)

    # -- Judging

    def replacement(self, node, parents, source, starts, in_words) -> str | None:
        if self.is_for_machines(node, parents):
            return None
        is_label = in_words or self.is_label(node, parents)
        if isinstance(node, ast.Constant):
            if not is_prose(node.value, is_label, self.is_page):
                return None
        else:
            text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            if SQL.search(text) or STRANGE.search(text.replace("%", "")):
                return None
            joins = " " in text or "\u00a0" in text
            grouped = any(isinstance(p, ast.FormattedValue) and "," in spec_of(p) for p in node.values)
            if not (joins or grouped or (is_label and WORDY.search(text))):
                return None
            if not WORDY.search(text) and not (joins or grouped):
                return None
        begin, end = span(node, source, starts)
        indent = begin - source.rfind("\n", 0, begin) - 1
        return self.told(source[begin:end], min(indent, 24))

    def is_label(self, node, parents) -> bool:
        parent = parents.get(node)
        child = node
        while isinstance(parent, ast.Tuple | ast.List | ast.IfExp | ast.BoolOp | ast.Dict | ast.Starred):
            if isinstance(parent, ast.Tuple | ast.List) and parent.elts.index(child) == 0 and len(parent.elts) > 1:
                if not any(isinstance(parents.get(parent), kind) for kind in (ast.For,)):
                    if isinstance(parent, ast.Tuple) and isinstance(node, ast.Constant) and " " not in str(node.value):
                        return False
            child, parent = parent, parents.get(parent)
        if isinstance(parent, ast.keyword):
            return parent.arg in LABELS or parent.arg in {"choices", "error_messages"}
        if isinstance(parent, ast.Call):
            name = called(parent)
            if name in {"success", "error", "info", "warning"} and base(parent) == "messages":
                return True
            if name == "add_error":
                return True
            if name in ROWS and parent.args and child in parent.args[1:]:
                return True
        if isinstance(parent, ast.Assign) and isinstance(parents.get(parent), ast.ClassDef):
            return is_choices(parents[parent]) and isinstance(child, ast.Tuple)
        return False

    def is_for_machines(self, node, parents) -> bool:
        child, parent = node, parents.get(node)
        if isinstance(parent, ast.Attribute):
            return True
        first = True
        while parent is not None:
            if isinstance(parent, ast.Expr) and parent.value is node:
                return True
            if isinstance(parent, ast.Compare | ast.Subscript | ast.MatchValue | ast.Assert | ast.Global):
                if not (isinstance(parent, ast.Subscript) and child is parent.value):
                    return True
            if isinstance(parent, ast.AnnAssign) and child is parent.annotation:
                return True
            if isinstance(parent, ast.arg):
                return True
            if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef) and (
                child is parent.returns or child in parent.decorator_list
            ):
                return True
            if isinstance(parent, ast.ClassDef) and (child in parent.decorator_list or parent.name == "Meta"):
                return True
            if isinstance(parent, ast.Dict) and child in [key for key in parent.keys if key is not None]:
                return True
            if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mod):
                return True
            if isinstance(parent, ast.keyword) and parent.arg in MACHINE_WORDS and parent.arg not in LABELS:
                return True
            if isinstance(parent, ast.Call):
                name = called(parent)
                is_message = base(parent) == "messages" or name == "add_error"
                fallback = name in {"get", "pop"} and child in parent.args and parent.args.index(child) == 1
                if fallback and (not isinstance(node, ast.Constant) or " " in node.value):
                    return False
                if child in parent.args and not is_message and (name in MACHINES or name in PROGRAMMERS):
                    return True
                if child in parent.args and name == "add_error" and parent.args.index(child) == 0:
                    return True
                if name in {"tell", "worded", "figure", "joined"} and child in parent.args:
                    return not (name == "joined" and parent.args.index(child) == 1)
                if name in PROGRAMMERS:
                    return True
                if base(parent) == "logger":
                    return True
                if child is parent.func:
                    return False
            if isinstance(parent, ast.stmt):
                return False if not isinstance(parent, ast.ClassDef) else False
            child, parent, first = parent, parents.get(parent), False
        return False

    # -- Writing

    def told(self, text: str, indent: int) -> str:
        """`tell(...)` of a string as it stands in the source, implicit concatenation and all."""
        parts = pieces(text)
        facts: dict[str, str] = {}
        plural: list[tuple[str, str, str]] = []
        templates: list[tuple[str, str]] = []  # (quote, body)
        has_facts = any("f" in prefix and placeholders(body) for prefix, _, body in parts)
        for prefix, quote, body in parts:
            if "f" not in prefix:
                if "r" in prefix:
                    return None
                templates.append((quote, body.replace("{", "{{").replace("}", "}}") if has_facts else body))
                continue
            out, at = [], 0
            for begin, end, expr, conversion, spec in placeholders(body):
                out.append(body[at:begin])
                at = end
                ending = plural_of(expr)
                if ending:
                    plural.append(ending)
                    out.append(f"\0{len(plural) - 1}\0")
                    continue
                name = self.fact_name(expr, facts, in_spec=spec)
                tail = f"!{conversion}" if conversion else ""
                out.append("{" + name + tail + (f":{spec}" if spec else "") + "}")
            out.append(body[at:])
            whole = "".join(out)
            templates.append((quote, whole if has_facts else whole.replace("{{", "{").replace("}}", "}")))
        self.names.add("tell")
        said = {name: self.inside(expr) for name, expr in facts.items()}
        if not plural:
            return call(templates, said, indent)
        if len({condition for _, _, condition in plural}) > 1:
            return None
        one = [(quote, filled(body, [first for first, _, _ in plural])) for quote, body in templates]
        many = [(quote, filled(body, [second for _, second, _ in plural])) for quote, body in templates]
        return f"({call(one, said, indent)} if {plural[0][2]} else {call(many, said, indent)})"

    def inside(self, expr: str) -> str:
        """The same for the texts within a fact."""
        lone = f"({expr})"
        try:
            tree = ast.parse(lone, mode="eval")
        except SyntaxError:
            return expr
        return applied(lone, self.edits(tree, lone, in_words=True))[1:-1]

    def fact_name(self, expr: str, facts: dict[str, str], in_spec: str) -> str:
        wanted = name_of(expr)
        for name in [wanted, *(f"{wanted}{number}" for number in range(2, 99))]:
            if facts.get(name, expr) == expr:
                facts[name] = expr
                return name
        raise AssertionError(expr)


# --- Strings as they stand in the source ----------------------------------------------------------------------


def pieces(text: str) -> list[tuple[str, str, str]]:
    found = []
    for token in tokenize.generate_tokens(io.StringIO(f"({text}\n)").readline):
        if token.type == tokenize.STRING:
            prefix = re.match(r"[a-zA-Z]*", token.string)[0]
            rest = token.string[len(prefix) :]
            quote = rest[:3] if rest[:3] in {'"""', "'''"} else rest[0]
            found.append((prefix.lower(), quote, rest[len(quote) : -len(quote)]))
    return found


def placeholders(body: str) -> list[tuple[int, int, str, str, str]]:
    """(begin, end, expression, conversion, format) of each {…} of an f-string's body."""
    found, at = [], 0
    while at < len(body):
        if body[at : at + 2] in {"{{", "}}"}:
            at += 2
        elif body[at] == "{":
            end = expression_end(body, at + 1)
            expr, conversion, spec = body[at + 1 : end], "", ""
            if body[end] == "!":
                conversion, end = body[end + 1], end + 2
            if body[end] == ":":
                close = spec_end(body, end + 1)
                spec, end = body[end + 1 : close], close
            found.append((at, end + 1, expr.strip(), conversion, spec))
            at = end + 1
        else:
            at += 1
    return found


def expression_end(body: str, at: int) -> int:
    depth, quote = 0, ""
    while True:
        sign = body[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}" and depth:
            depth -= 1
        elif not depth and (sign in ":}" or (sign == "!" and body[at + 1] != "=")):
            return at
        at += 1


def spec_end(body: str, at: int) -> int:
    depth = 0
    while body[at] != "}" or depth:
        depth += {"{": 1, "}": -1}.get(body[at], 0)
        at += 1
    return at


def plural_of(expr: str) -> tuple[str, str, str] | None:
    """(ending of one, ending of many, condition) of {'' if n == 1 else 's'}."""
    try:
        node = ast.parse(expr, mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(node, ast.IfExp):
        return None
    ends = [one.value if isinstance(one, ast.Constant) else None for one in (node.body, node.orelse)]
    if not all(isinstance(end, str) and re.fullmatch(r"[a-z]{0,3}", end) for end in ends) or len(ends) != 2:
        return None
    if "" not in ends and set(ends) not in ({"is", "are"}, {"it", "they"}, {"y", "ies"}, {"s", "ve"}, {"has", "have"}):
        return None
    if not (set(ends) & {"", "is", "it", "y", "s", "has"}):
        return None
    if "" in ends and not set(ends) & {"s", "es"}:
        return None
    return ends[0], ends[1], ast.unparse(node.test)


def filled(body: str, endings: list[str]) -> str:
    for place, ending in enumerate(endings):
        body = body.replace(f"\0{place}\0", ending)
    return body


def call(templates: list[tuple[str, str]], facts: dict[str, str], indent: int) -> str:
    whole: list[tuple[str, str]] = []
    for quote, body in templates:
        if whole and whole[-1][0] == quote and len(quote) == 1:
            whole[-1] = (quote, whole[-1][1] + body)
        else:
            whole.append((quote, body))
    lines = [f"{quote}{part}{quote}" for quote, body in whole for part in short(quote, body, MOST - indent)]
    said = "".join(f", {name}={expr}" for name, expr in facts.items())
    return f"tell({' '.join(lines)}{said})" if len(lines) == 1 else "tell(\n" + "\n".join(lines) + f"{said})"


def short(quote: str, body: str, most: int) -> list[str]:
    """A long piece as several; breaks only at a space outside of braces."""
    if len(quote) == 3 or len(body) <= most:
        return [body]
    cuts = [m.start() for m in re.finditer(" ", body) if m.start() <= most and body[: m.start()].count("{") == body[: m.start()].count("}")]
    if not cuts or cuts[-1] < most // 3:
        return [body]
    return [body[: cuts[-1]], *short(quote, body[cuts[-1] :], most)]


def name_of(expr: str) -> str:
    try:
        node = ast.parse(expr, mode="eval").body
    except SyntaxError:
        return "value"
    name = re.sub(r"\W", "", _name(node)).strip("_").lower()
    name = re.sub(r"_(id|pk)$", "", name) or "value"
    if not name.isidentifier() or keyword.iskeyword(name):
        name = f"{name}_" if name.isidentifier() else "value"
    return name


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        if node.attr in {"pk", "id", "name", "symbol", "label", "value", "title", "code", "display"} or node.attr.startswith("get_"):
            inner = _name(node.value)
            return inner if inner not in {"self", "value"} else f"{node.attr}"
        return node.attr
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr.startswith("get_") and node.func.attr.endswith("_display"):
            return node.func.attr[4:-8]
        if isinstance(node.func, ast.Attribute) and not node.args:
            return _name(node.func.value) if node.func.attr in {"normalize", "lower", "upper", "strip", "isoformat", "capitalize"} else node.func.attr
        if isinstance(node.func, ast.Name) and node.func.id == "len" and node.args:
            return "count"
        return _name(node.args[0]) if node.args else _name(node.func)
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    if isinstance(node, ast.BinOp):
        return _name(node.left)
    if isinstance(node, ast.IfExp):
        inner = _name(node.body)
        return inner if inner != "value" else _name(node.orelse) if _name(node.orelse) != "value" else "which"
    if isinstance(node, ast.BoolOp):
        return _name(node.values[0])
    if isinstance(node, ast.UnaryOp):
        return _name(node.operand)
    if isinstance(node, ast.JoinedStr):
        inner = [part for part in node.values if isinstance(part, ast.FormattedValue)]
        return _name(inner[0].value) if inner else "value"
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _name(node.generators[0].iter)
    return "value"


# --- Helpers ---------------------------------------------------------------------------------------------------


def is_prose(text: str, is_label: bool, is_page: bool) -> bool:
    if not re.search(r"[^\W\d_]", text) or SQL.search(text) or STRANGE.search(text) or re.fullmatch(r"[A-Z0-9_ -]{1,5}", text):
        return bool(is_label and text == "LTV")
    if is_label:
        return bool(WORDY.search(text)) and "_" not in text
    if "_" in text or not (SPACED.search(text) or (is_page and CAPITAL.match(text))):
        return False
    return not re.fullmatch(r"[a-z.:-]+( [a-z.:-]+)*", text) or is_page and " " in text and not re.search(r"[:.-]\w", text)


def is_choices(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        getattr(one, "attr", getattr(one, "id", "")) in {"TextChoices", "IntegerChoices"} for one in node.bases
    )


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def base(node: ast.Call) -> str:
    func = node.func
    return getattr(func.value, "id", "") if isinstance(func, ast.Attribute) else ""


def spec_of(node: ast.FormattedValue) -> str:
    spec = node.format_spec
    return "".join(p.value for p in spec.values if isinstance(p, ast.Constant)) if isinstance(spec, ast.JoinedStr) else ""


def is_inside_a_string(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    parent = parents.get(node)
    while parent is not None:
        if isinstance(parent, ast.JoinedStr):
            return True
        parent = parents.get(parent)
    return False


def line_starts(source: str) -> list[int]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def span(node: ast.AST, source: str, starts: list[int]) -> tuple[int, int]:
    def place(line: int, column: int) -> int:
        text = source[starts[line - 1] : starts[line]]
        return starts[line - 1] + len(text.encode()[:column].decode())

    return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)


def outermost(edits: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    kept: list[tuple[int, int, str]] = []
    for edit in sorted(set(edits), key=lambda one: (one[0], -one[1])):
        if not kept or edit[0] >= kept[-1][1]:
            kept.append(edit)
    return kept


def applied(source: str, edits: list[tuple[int, int, str]]) -> str:
    for begin, end, new in sorted(edits, reverse=True):
        source = source[:begin] + new + source[end:]
    return source


def with_labels(source: str) -> str:
    """Give every choice without a label the one Django makes of its name, so that it can be marked."""
    tree, starts, edits = ast.parse(source), line_starts(source), []
    for node in ast.walk(tree):
        if not is_choices(node) or any(getattr(one, "attr", "") == "IntegerChoices" for one in node.bases):
            continue
        for line in node.body:
            if (
                isinstance(line, ast.Assign)
                and isinstance(line.value, ast.Constant)
                and isinstance(line.targets[0], ast.Name)
                and line.targets[0].id != "__empty__"
            ):
                end = span(line.value, source, starts)[1]
                edits.append((end, end, f', "{line.targets[0].id.replace("_", " ").title()}"'))
    return applied(source, edits)


def with_import(source: str, names: set[str]) -> str:
    if not names:
        return source
    names = {"tell as worded" if name == "worded" else name for name in names}
    present = re.search(r"^from accounts\.words import ([^\n(]+)$", source, re.M)
    if present:
        wanted = sorted(set(present[1].split(", ")) | names)
        return source.replace(present[0], f"from accounts.words import {', '.join(wanted)}", 1)
    tree = ast.parse(source)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    line = f"from accounts.words import {', '.join(sorted(names))}\n"
    starts = line_starts(source)
    if imports:
        at = starts[imports[-1].end_lineno]
    else:
        first = tree.body[0]
        is_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        at = starts[first.end_lineno] if is_doc else 0
        line = f"\n{line}\n"
    return source[:at] + line + source[at:]


def mark(path: Path) -> bool:
    before = path.read_text()
    source = with_labels(before) if "Choices" in before else before
    marker = Marker(source, is_page="/pages/" in str(path))
    after = marker.marked()
    if re.search(r"^\s*def tell\(|^tell\b|[(,] *tell\b *[:=,)]|import [^\n]*(?<!words import )\btell\b", source, re.M) and not OURS.search(source):
        after = re.sub(r"(?<!\w)(?<!def )tell\((?=\s*['\"])", "worded(", after)
        marker.names = {"worded" if name == "tell" else name for name in marker.names}
    after = with_import(after, {name for name in marker.names if re.search(rf"\b{name}\(", after)} if after != before else set())
    if after == before:
        return False
    ast.parse(after)
    path.write_text(after)
    return True


def main() -> None:
    changed = 0
    for folder in sys.argv[1:]:
        for path in sorted(Path(folder).rglob("*.py")) if Path(folder).is_dir() else [Path(folder)]:
            if not SKIPPED.search(str(path)):
                changed += mark(path)
    print(f"{changed} files marked")  # noqa: T201


if __name__ == "__main__":
    main()
