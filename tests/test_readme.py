"""The README says nothing that is not true: what it names is there."""

import re
from pathlib import Path

import pytest

BASE = Path(__file__).resolve().parents[1]
README = (BASE / "README.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:accounts|risk|loans|config|tests|docs)/[\w./]*?)(?:::(\w+))?`", README)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_what_the_map_names_is_there(path: str, name: str) -> None:
    place = BASE / path
    assert place.exists(), f"README names {path}"
    if name:
        assert re.search(rf"^(def|class) {name}\b", place.read_text(), re.MULTILINE), (
            f"{name} is not in {path}"
        )


def test_every_rule_of_the_map_is_told_and_cited() -> None:
    """Each id stands in docs/rules.md, and in some test."""
    rules = (BASE / "docs" / "rules.md").read_text()
    tests = "".join(path.read_text() for path in (BASE / "tests").rglob("test_*.py"))
    ids = set(re.findall(r"R-(?:GEN|VIP)-\d\d", README))
    assert len(ids) > 20
    assert [rule for rule in sorted(ids) if rule not in tests] == []
    families = {rule: rule.rpartition("-") for rule in ids}
    untold = [
        rule
        for rule, (family, _, number) in families.items()
        if not re.search(rf"{family}-[\d, …to-]*{number}|{family}-{number}", rules)
    ]
    assert untold == []


def test_the_two_commands_and_the_demo_logins_are_those_of_the_project() -> None:
    makefile = (BASE / "Makefile").read_text()
    for target in re.findall(r"make ([a-z][a-z-]*)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    cast = (BASE / "loans" / "demo" / "cast.py").read_text()
    assert "lombard-demo-desk" in cast
    for login in re.findall(r"`(\w+)@(?:lombard\.example)?`", README):
        assert f"{login}@" in cast or f'"{login}"' in cast, login
