"""docs/rules.md is true: every rule in scope is stated and proved by a test, and every example computes."""

import doctest

import pytest

from tests import rules

EXAMPLES = doctest.DocTestParser().get_doctest(
    rules.RULES.read_text(encoding="utf-8"), globs={}, name="rules.md", filename=str(rules.RULES), lineno=0
)


def test_every_rule_in_scope_is_cited_by_a_test() -> None:
    assert rules.citations().missing == []


def test_every_rule_is_stated_in_the_projects_own_words() -> None:
    assert sorted({*rules.in_scope(), *rules.later(), *rules.WAIVED} - rules.stated()) == []


def test_no_test_cites_a_rule_that_does_not_exist() -> None:
    assert rules.citations().unknown == {}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("R-VIP-60…63", {"R-VIP-60", "R-VIP-61", "R-VIP-62", "R-VIP-63"}),
        ("R-GEN-20, 21 and EX-01 to EX-03", {"R-GEN-20", "R-GEN-21", "EX-01", "EX-02", "EX-03"}),
        ("R-GEN-30, R-GEN-33", {"R-GEN-30", "R-GEN-33"}),
        ("R-VIP-52, TRUST I-19", {"R-VIP-52"}),
        ("nothing", set()),
    ],
)
def test_ranges_and_lists_of_ids_count(text: str, ids: set[str]) -> None:
    assert rules.ids_in(text) == ids


def test_every_example_in_the_rules_runs() -> None:
    """EX-01…06, EX-09…13, EX-20: the figures in docs/rules.md, computed by the rules themselves."""
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    results = runner.run(EXAMPLES, out=said.append)
    assert results.attempted > 40
    assert results.failed == 0, "".join(said)
