"""Places where words would be lost in string methods, mended by exact replacement. A place that is not there is named.

    python tools/marking/by_hand.py
"""

import re
from pathlib import Path

STRIPPED = (
    r'return (\w+)\.rstrip\("0"\)\.rstrip\("\."\) if "\." in \1 else \1$',
    r'return figure(\1.rstrip("0").rstrip(".") if "." in \1 else \1)',
)
CAPITAL = (r"return (\w+)\[:1\]\.upper\(\) \+ \1\[1:\]$", r"return capital(\1)")
PLACES = {
    "loans/vip/messages.py": [STRIPPED],
    "risk/corrections.py": [STRIPPED],
    "risk/pages/standing.py": [
        (r'ratio = (f"\{\(tier\.ratio \* 100\)\.normalize\(\):f\}")', r"ratio = figure(\1)"),
        (r'return (f"\{value\.normalize\(\):f\}")$', r"return figure(\1)"),
    ],
    "accounts/pages/arguments.py": [CAPITAL],
    "loans/happenings.py": [CAPITAL],
    "loans/pages/history_tabs.py": [
        (r"row\.status\[:1\]\.upper\(\) \+ row\.status\[1:\]", r"capital(row.status)"),
    ],
}


def with_import(source: str, name: str) -> str:
    if not re.search(rf"(?<!\w){name}\(", source) or re.search(rf"^from accounts\.words import .*\b{name}\b", source, re.M):
        return source
    present = re.search(r"^from accounts\.words import ([^\n]+)$", source, re.M)
    if present:
        names = ", ".join(sorted({*present[1].split(", "), name}))
        return source.replace(present[0], f"from accounts.words import {names}", 1)
    last = list(re.finditer(r"^(?:from|import) [^\n(]+(?:\([^)]*\))?\n", source, re.M))[-1].end()
    return f"{source[:last]}from accounts.words import {name}\n{source[last:]}"


def main() -> None:
    for place, changes in PLACES.items():
        path = Path(place)
        if not path.exists():
            print("gone:", place)  # noqa: T201
            continue
        source = before = path.read_text()
        for old, new in changes:
            source = re.sub(old, new, source, flags=re.M)
        for name in ("figure", "capital"):
            source = with_import(source, name)
        if source == before and not any(re.search(r"figure\(|capital\(", source) for _ in [0]):
            print("nothing to mend:", place)  # noqa: T201
        path.write_text(source)


if __name__ == "__main__":
    main()
