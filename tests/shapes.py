"""Whether a JSON answer has exactly the types an endpoint promises by its example."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse

from accounts.sapi.registry import endpoints

assert settings.ROOT_URLCONF  # importing it registers the endpoints
__import__(settings.ROOT_URLCONF)


def misshapen(found: Any, wanted: Any, path: str = "$") -> list[str]:
    """Where `found` differs from `wanted` in its types or lacks a key; keys of its own are fine."""
    if isinstance(wanted, float) and type(found) is int:
        return []  # 2 for 2.0: JSON has one kind of number
    if type(found) is not type(wanted):
        return [f"{path} is {type(found).__name__}, not {type(wanted).__name__}"]
    if isinstance(wanted, list):
        return [
            fault
            for place, each in enumerate(found)
            if wanted
            for fault in misshapen(each, wanted[0], f"{path}[{place}]")
        ]
    if isinstance(wanted, dict):
        lacking = [f"{path} lacks {name}" for name in wanted if name not in found]
        known = [name for name in wanted if name in found]
        return lacking + [
            fault for name in known for fault in misshapen(found[name], wanted[name], f"{path}.{name}")
        ]
    return []


def told(answer: HttpResponse, name: str) -> Any:
    """What a success says; it has the types that the endpoint's own example has."""
    method, path = name.split(" ")
    assert answer.status_code == 200, answer.content
    found = answer.json()
    assert misshapen(found, endpoints[method, path].example) == []
    return found


def refused(answer: HttpResponse) -> tuple[int, int]:
    """Status and code of a refusal, which has nothing else in it."""
    found = answer.json()
    assert set(found) == {"code", "msg"}, found
    return answer.status_code, found["code"]
