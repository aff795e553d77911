"""Every endpoint answers a good call with 200 and the exact JSON types of its golden answer."""

import json
import re
from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

from tests.sapi import values
from tests.sapi.world import ENDPOINTS, World

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "spec" / "sapi_golden.json"
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
EMPTY = {
    "GET /sapi/v1/loan/income",
    "GET /sapi/v1/loan/borrow/history",
    "GET /sapi/v1/loan/repay/history",
    "GET /sapi/v1/loan/ltv/adjustment/history",
    "GET /sapi/v1/margin/isolated/allPairs",
}
"""Whose lists are rightly empty: products that were retired before we opened, or that we do not have."""
LOOSE = {
    "GET /sapi/v1/margin/crossMarginCollateralRatio": {"maxUsdValue"},  # the last tier has no end
    "GET /sapi/v1/asset/wallet/balance": {"assetBalances"},  # when it is asked for
}
"""Keys that are there or not."""
NUMBERS = {"GET /sapi/v3/sub-account/assets"}
"""Whose amounts are JSON numbers at the exchange, so here too."""


def differences(found: Any, example: Any, *, where: str, loose: Set[str] = frozenset()) -> list[str]:
    """How the JSON types differ: a key too few or too many, another scalar type, a null."""
    if type(example) is float and type(found) is int:  # JSON has one kind of number
        return []
    if type(found) is not type(example):
        return [f"{where}: {type(found).__name__} instead of {type(example).__name__}"]
    if isinstance(example, list):
        return _of_rows(found, example, where, loose)
    if isinstance(example, dict):
        missing, more = set(example) - set(found) - loose, set(found) - set(example) - loose
        told = [f"{where}: without {sorted(missing)}"] if missing else []
        told += [f"{where}: also {sorted(more)}"] if more else []
        for name in set(example) & set(found):
            told += differences(found[name], example[name], where=f"{where}.{name}", loose=loose)
        return told
    if (
        isinstance(example, str)
        and "." in example
        and DECIMAL.fullmatch(example)
        and not DECIMAL.fullmatch(found)
    ):
        return [f"{where}: {found!r} is no plain decimal"]
    return []


def _of_rows(found: list[Any], example: list[Any], where: str, loose: Set[str]) -> list[str]:
    if not example:
        return []
    told = []
    for number, row in enumerate(found):
        told += differences(row, example[0], where=f"{where}[{number}]", loose=loose)
    return told


def has_rows(found: Any) -> bool:
    """Whether the list that an answer is, or holds, has any."""
    if isinstance(found, dict):
        lists = [value for value in found.values() if isinstance(value, list)]
        return any(lists) if lists else True
    return bool(found)


@pytest.mark.parametrize("name", list(ENDPOINTS))
@pytest.mark.parametrize("whole", [False, True], ids=["mandatory", "all"])
def test_a_good_call_answers_like_its_example(name: str, whole: bool, world: World) -> None:
    """SAPI sections 1, 2.2, 5 and 9: 200, JSON, each scalar a string or a number as the exchange sends it."""
    answer = world.call(name, values.good(world, name, whole=whole), by=values.caller_of(name))
    found = json.loads(answer.content)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json;charset=UTF-8"), found
    assert differences(found, ENDPOINTS[name].example, where=name, loose=LOOSE.get(name, set())) == []
    assert name in EMPTY or has_rows(found), found
    if isinstance(found, dict):  # ccxt takes both for a failure
        assert not {"code", "success"} & set(found)


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if not name.startswith("GET")])
def test_a_body_is_read_like_a_query(name: str, world: World) -> None:
    """SAPI section 6.2: parameters of a write, or of a DELETE, come in either."""
    answer = world.call(name, values.good(world, name), by=values.caller_of(name), in_body=True)
    assert answer.status_code == 200, answer.content


def test_examples_are_of_the_golden_types() -> None:
    """What our examples show is what all known clients accept, wherever the golden answers have it."""
    if not GOLDEN.exists():
        pytest.skip(
            f"the golden answers are not beside the project ({GOLDEN.name}): the examples stand alone"
        )
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    common = sorted(set(golden) & set(ENDPOINTS))
    assert len(common) >= 25
    told = []
    for name in common:
        wanted, example = golden[name], ENDPOINTS[name].example
        told += [one for one in differences(example, wanted, where=name) if ": also " not in one]
    assert told == []


def test_no_answer_has_a_number_that_a_client_would_round(world: World) -> None:
    """SAPI section 6.6: JavaScript keeps whole numbers up to 2^53, and no amount is a JSON number."""
    for name in set(ENDPOINTS) - NUMBERS:
        answer = world.call(name, values.good(world, name), by=values.caller_of(name))
        for number in _numbers(json.loads(answer.content)):
            assert isinstance(number, int), (name, number)
            assert number < 2**53, (name, number)


def _numbers(found: Any) -> list[Any]:
    if found is None or isinstance(found, (bool, str)):
        return []
    if isinstance(found, dict):
        return [number for value in found.values() for number in _numbers(value)]
    if isinstance(found, list):
        return [number for value in found for number in _numbers(value)]
    return [found]
