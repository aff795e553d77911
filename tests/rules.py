"""Which test proves which rule: `make rules` (or `make rules ID=R-GEN-30`).

The rules in scope are listed here by number, so that forgetting one in docs/rules.md is as visible as forgetting
its test. A test cites a rule in its name's docstring, its comments or its parameters; ranges and lists count:
`R-VIP-60…63`, `R-GEN-20, 21`, `EX-01 to EX-03`.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "docs" / "rules.md"

IN_SCOPE = {
    "R-GEN": "01-06 10-16 20-24 30-38 40-45 50-53 60-65 70-81 90-97",
    "R-VIP": "01-07 10-27 30-34 40-47 50-56 60-63",
    "R-ADM": "01-12",
    "R-FTR": "01-05 08 13-18 21 22 27",
    "EX": "01-06 09-13 20 22 23",
}
LATER: dict[str, tuple[str, str]] = {}
WAIVED = {
    "R-VIP-08": "a VIP level is set by the exchange in front of the desk; it is not earned by borrowing here"
}

_PREFIX = r"(?P<prefix>R-[A-Z]{3}|EX)-"
_MORE = (
    r"(?:(?P<joint>\s*(?:…|\.\.\.|–|-| to |, | and )\s*)(?:(?P<same>R-[A-Z]{3}|EX)-)?(?P<number>\d\d)(?!\d))"
)
FIRST = re.compile(_PREFIX + r"(?P<number>\d\d)(?!\d)")
MORE = re.compile(_MORE)
RANGES = ("…", "...", "–", "to", "-")


@dataclass(frozen=True, slots=True)
class Citations:
    """Tests by rule id, each as `tests/risk/test_levels.py::test_a_call`."""

    by_rule: Mapping[str, list[str]]

    @property
    def missing(self) -> list[str]:
        return [rule for rule in in_scope() if not self.by_rule.get(rule)]

    @property
    def unknown(self) -> dict[str, list[str]]:
        """Ids of our own families that no rule has: a slip of the pen proves nothing."""
        known = {*in_scope(), *later(), *WAIVED}
        families = tuple(f"{family}-" for family in IN_SCOPE)
        return {
            rule: tests
            for rule, tests in self.by_rule.items()
            if rule.startswith(families) and rule not in known and not rule.startswith("EX-")
        }


def ids_in(text: str) -> set[str]:
    """Every rule id that a text names, ranges and lists included."""
    found: set[str] = set()
    for first in FIRST.finditer(text):
        prefix, last = first["prefix"], int(first["number"])
        found.add(f"{prefix}-{last:02d}")
        end = first.end()
        while (more := MORE.match(text, end)) is not None and more["same"] in (None, prefix):
            number = int(more["number"])
            if more["joint"].strip() in RANGES:
                found |= {f"{prefix}-{between:02d}" for between in range(last, number + 1)}
            else:
                found.add(f"{prefix}-{number:02d}")
            last, end = number, more.end()
    return found


def in_scope() -> list[str]:
    return [rule for family, numbers in IN_SCOPE.items() for rule in _expand(family, numbers)]


def later() -> dict[str, str]:
    return {rule: why for family, (numbers, why) in LATER.items() for rule in _expand(family, numbers)}


def stated() -> set[str]:
    """The ids that docs/rules.md states: in the first cell of a table row, or in bold."""
    text = RULES.read_text(encoding="utf-8")
    told = re.findall(r"^\| *([^|]+)\||\*\*((?:R|EX)-[^*]+)\*\*", text, flags=re.MULTILINE)
    return {rule for cell, bold in told for rule in ids_in(cell or bold)}


def citations() -> Citations:
    by_rule: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        for name, segment in _tests(source):
            for rule in sorted(ids_in(segment)):
                by_rule[rule].append(f"{path.relative_to(ROOT)}::{name}")
    return Citations(by_rule=by_rule)


def _expand(family: str, numbers: str) -> Iterator[str]:
    for part in numbers.split():
        first, _, last = part.partition("-")
        for number in range(int(first), int(last or first) + 1):
            yield f"{family}-{number:02d}"


def _tests(source: str) -> Iterator[tuple[str, str]]:
    """Each test function's name and text, its decorators and the comment lines right above it included."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        is_test = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        is_machine = isinstance(node, ast.ClassDef) and any(
            "StateMachine" in ast.unparse(b) for b in node.bases
        )
        if not (is_test or is_machine):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
        while first > 0 and lines[first - 1].startswith("#"):
            first -= 1
        yield node.name, "\n".join(lines[first : node.end_lineno])


def main(wanted: str = "") -> int:
    found = citations()
    if wanted:
        print(*found.by_rule.get(wanted, [f"no test cites {wanted}"]), sep="\n")
        return 0 if found.by_rule.get(wanted) else 1
    for rule in in_scope():
        tests = found.by_rule.get(rule, [])
        more = f"  and {len(tests) - 2} more" if len(tests) > 2 else ""
        print(f"{rule:<9} {len(tests):>3}  {', '.join(tests[:2]) or 'NO TEST'}{more}")
    for rule, why in WAIVED.items():
        print(f"{rule:<9} waived: {why}")
    for rule, why in later().items():
        print(f"{rule:<9} later: {why}")
    unstated = sorted({*in_scope(), *later(), *WAIVED} - stated())
    faults = [
        *(f"{rule}: no test cites it" for rule in found.missing),
        *(f"{rule}: docs/rules.md does not state it" for rule in unstated),
        *(f"{rule}: there is no such rule, cited by {tests[0]}" for rule, tests in found.unknown.items()),
    ]
    total = len(in_scope())
    print(
        f"rules: {total - len(found.missing)} of {total} in scope are proved by tests; {len(faults)} faults"
    )
    print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
